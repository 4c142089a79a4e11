"""Certificates for the tests: of servers and of clients, and who vouches for them."""

import datetime
import ipaddress
from pathlib import Path
from typing import Any, Optional

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@frozen
class Identity:
    """
    A key and a certificate.

    :ivar key_file, certificate_file: both in PEM.
    """

    key_file: Path
    certificate_file: Path
    key: Any
    certificate: x509.Certificate

    @property
    def options(self) -> "list[str]":
        """Of a server that has it."""
        return ["-Z", f"--ssl-chain-cert={self.certificate_file}", f"--ssl-key={self.key_file}"]


def make_identity(
    folder: Path, name: str = "127.0.0.1", issuer: Optional[Identity] = None
) -> Identity:
    """
    One for 127.0.0.1, in files that begin with `name`.

    :param issuer: who signs it; None: it does itself, and may sign others.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        .sign(key if issuer is None else issuer.key, hashes.SHA256())
    )
    made = Identity(folder / f"{name}.key", folder / f"{name}.pem", key, certificate)
    made.key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    made.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return made
