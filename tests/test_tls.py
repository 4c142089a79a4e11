"""
Certificates, good and bad, and connections that are made with them: OpenSSL on both sides, and
nothing between them but bytes.
"""

import ssl
import tempfile
from pathlib import Path
from typing import Any, Optional

from attrs import evolve
from cryptography.hazmat.primitives import serialization
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mctwist.interfaces import StartError
from mctwist.stats import Stats
from mctwist.testing import ManualReactor
from mctwist.tls import Certificates, TLSSettings
from tests.certificates import Identity, make_identity


class Echo(Protocol):
    """Says what it hears."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Peer:
    """A client, and the server's side of its connection."""

    def __init__(self, case: "TLSCase", context: ssl.SSLContext) -> None:
        factory = case.certificates.around(Factory.forProtocol(Echo), case.reactor)
        self._reactor = case.reactor
        self._there, self._back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._back, self._there, server_hostname="127.0.0.1")
        self._server: Any = factory.buildProtocol(None)
        self._transport = StringTransport()
        self._server.makeConnection(self._transport)

    def ask(self, data: bytes) -> bytes:
        """Agree on TLS if that is not done yet, say `data` and hear the answer."""
        self._until(self._tls.do_handshake)
        self._tls.write(data)
        answer: bytes = self._until(self._tls.read)
        return answer

    def serial(self) -> int:
        """The number of the certificate that the server has shown."""
        self._until(self._tls.do_handshake)
        shown = self._tls.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)

    def send_raw(self, data: bytes) -> None:
        self._server.dataReceived(data)

    def _until(self, act: Any) -> Any:
        for _ in range(10):
            try:
                return act()
            except ssl.SSLWantReadError:
                self._exchange()
        raise AssertionError("the two do not come to an end")

    def _exchange(self) -> None:
        data = self._there.read()
        if data:
            self._server.dataReceived(data)
        self._reactor.advance(0)
        self._back.write(self._transport.value())
        self._transport.clear()


class TLSCase(SynchronousTestCase):
    """A server with its certificate."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="mctwist-")
        self.addCleanup(directory.cleanup)
        self.folder = Path(directory.name)
        self.reactor = ManualReactor()
        self.stats = Stats(self.reactor.seconds)
        self.identity = make_identity(self.folder, "server")
        self.settings = TLSSettings(
            str(self.identity.certificate_file), str(self.identity.key_file)
        )

    def load(self, **settings: Any) -> None:
        self.certificates = Certificates(evolve(self.settings, **settings), self.stats)
        self.certificates.load()

    def context(self, client: Optional[Identity] = None) -> ssl.SSLContext:
        """How a client that trusts the server speaks TLS."""
        context = ssl.create_default_context(cafile=str(self.identity.certificate_file))
        if client is not None:
            context.load_cert_chain(client.certificate_file, client.key_file)
        return context

    def connect(self, context: Optional[ssl.SSLContext] = None) -> Peer:
        return Peer(self, context or self.context())


class ConnectionTests(TLSCase):
    """What is agreed on."""

    def test_it_is_what_twisted_makes_connections_with(self) -> None:
        self.load()
        verifyObject(IOpenSSLServerConnectionCreator, self.certificates)

    def test_a_client_is_heard(self) -> None:
        self.load()
        self.assertEqual(self.connect().ask(b"version\r\n"), b"version\r\n")
        self.assertEqual((self.stats.ssl_handshake_errors, self.stats.ssl_proto_errors), (0, 0))

    def test_a_key_may_be_der(self) -> None:
        der = self.folder / "key.der"
        der.write_bytes(
            self.identity.key.private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        self.load(key=str(der), key_format=2)
        self.assertEqual(self.connect().ask(b"x"), b"x")

    def test_tls_is_1_2_at_least_or_what_is_said(self) -> None:
        # What this OpenSSL would do of the oldest by itself differs between machines.
        for least, version, served in (
            (2, ssl.TLSVersion.TLSv1_2, True),
            (2, ssl.TLSVersion.TLSv1_3, True),
            (3, ssl.TLSVersion.TLSv1_2, False),
            (3, ssl.TLSVersion.TLSv1_3, True),
        ):
            self.load(min_version=least)
            context = self.context()
            context.minimum_version = context.maximum_version = version
            if served:
                self.assertEqual(self.connect(context).ask(b"x"), b"x")
            else:
                self.assertRaises(ssl.SSLError, self.connect(context).ask, b"x")

    def test_ciphers_are_those_that_are_said(self) -> None:
        self.load(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
        for cipher, served in (
            ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
            ("ECDHE-ECDSA-AES256-GCM-SHA384", False),
        ):
            context = self.context()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(cipher)
            if served:
                self.assertEqual(self.connect(context).ask(b"x"), b"x")
            else:
                self.assertRaises(ssl.SSLError, self.connect(context).ask, b"x")

    def test_clients_are_asked_for_certificates_as_is_said(self) -> None:
        authority = make_identity(self.folder, "authority")
        friend = make_identity(self.folder, "friend", authority)
        stranger = make_identity(self.folder, "stranger")
        for mode, client, served in (
            (0, None, True),
            (0, stranger, True),
            (1, None, True),
            (1, friend, True),
            (1, stranger, False),
            (2, None, False),
            (2, friend, True),
            (2, stranger, False),
            (3, None, False),
            (3, friend, True),
        ):
            self.load(verify_mode=mode, authorities=str(authority.certificate_file))
            if served:
                self.assertEqual(self.connect(self.context(client)).ask(b"x"), b"x", mode)
                continue
            errors = self.stats.ssl_handshake_errors
            self.assertRaises(ssl.SSLError, self.connect(self.context(client)).ask, b"x")
            self.assertEqual(self.stats.ssl_handshake_errors, errors + 1)

    def test_what_goes_wrong_is_counted(self) -> None:
        self.load()
        self.connect().send_raw(b"get k\r\n" * 10)
        self.assertEqual((self.stats.ssl_handshake_errors, self.stats.ssl_proto_errors), (1, 0))
        peer = self.connect()
        self.assertEqual(peer.ask(b"x"), b"x")
        peer.send_raw(b"get k\r\n" * 10)
        self.assertEqual((self.stats.ssl_handshake_errors, self.stats.ssl_proto_errors), (1, 1))


class FileTests(TLSCase):
    """What the files may be."""

    def broken(self) -> "list[tuple[str, dict[str, Any]]]":
        """What is told of settings, and these."""
        empty, other = self.folder / "empty", make_identity(self.folder, "other")
        empty.write_text("")
        locked = self.folder / "locked"
        locked.write_bytes(
            self.identity.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"password"),
            )
        )
        none = "/nowhere/x.pem"
        chain, key, authority = (
            "Error loading the certificate chain: ",
            "Error loading the key: ",
            "Error loading the CA certificate: ",
        )
        return [
            (f"{chain}{none} : No such file or directory", {"chain": none}),
            (f"{chain}{empty} : ", {"chain": str(empty)}),
            (f"{chain}{self.identity.key_file} : ", {"chain": str(self.identity.key_file)}),
            (f"{chain}{self.folder} : Is a directory", {"chain": str(self.folder)}),
            (f"{key}{none} : No such file or directory", {"key": none}),
            (f"{key}{empty} : ", {"key": str(empty)}),
            (f"{key}{locked} : ", {"key": str(locked)}),
            (f"{key}{self.identity.key_file} : ", {"key_format": 2}),
            ("Error validating the certificate: ", {"key": str(other.key_file)}),
            (f"{authority}{none} : No such file", {"authorities": none, "verify_mode": 2}),
            (f"{authority}{empty} : ", {"authorities": str(empty), "verify_mode": 2}),
            ("Error setting the provided cipher(s): NONE-SUCH", {"ciphers": "NONE-SUCH"}),
        ]

    def test_what_is_wrong_is_told_in_one_line(self) -> None:
        for told, settings in self.broken():
            error = self.assertRaises(StartError, self.load, **settings)
            self.assertTrue(str(error).startswith(told), f"{error} is not {told}")
            self.assertNotIn("\n", str(error))
        self.assertIsNone(self.stats.certificates_loaded)

    def test_new_ones_are_for_those_who_come_after_them(self) -> None:
        self.load()
        loaded = self.reactor.seconds()
        self.assertEqual(self.stats.certificates_loaded, loaded)
        before, context = self.connect(), self.context()
        self.assertEqual(before.serial(), self.identity.certificate.serial_number)
        self.reactor.advance(60)
        renewed = make_identity(self.folder, "server")
        self.assertIsNone(self.certificates.reload())
        self.assertEqual(self.stats.certificates_loaded, loaded + 60)
        self.assertRaises(ssl.SSLError, self.connect(context).ask, b"x")
        self.assertEqual(self.connect().serial(), renewed.certificate.serial_number)
        self.assertEqual(before.ask(b"x"), b"x")

    def test_broken_new_ones_change_nothing_and_are_told_of_once(self) -> None:
        self.load()
        context, key = self.context(), self.identity.key_file
        for content in (b"", b"nonsense", make_identity(self.folder, "o").key_file.read_bytes()):
            key.write_bytes(content)
            with capturedLogs() as events:
                fault = self.certificates.reload()
            self.assertIsNotNone(fault)
            (event,) = events
            self.assertEqual(event["log_level"].name, "error")
            self.assertEqual(str(event["fault"]), fault)
            self.reactor.advance(60)
            self.assertEqual(self.connect(context).ask(b"x"), b"x")
        self.assertEqual(self.stats.certificates_loaded, self.reactor.seconds() - 180)
