"""
TLS for the listeners: one set of certificates for all of them, which can be read anew.

A connection keeps the certificates with which it has begun. New ones are put in place only when
all of them are whole and fit together, so a listener never is without: what is broken at the start
keeps the server from starting, and what is broken later changes nothing.

What is allowed is what Twisted allows, but for what the user says. The texts of faults are
memcached's (tls.c, load_server_certificates), for `refresh_certs` answers them. This module needs
pyOpenSSL, which comes with the extra `tls`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from attrs import frozen
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from mctwist.interfaces import StartError
from mctwist.stats import Stats

#: By memcached's numbers (tls.c, ssl_set_min_version, ssl_set_verify_mode).
VERSIONS = (TLSVersion.TLSv1_0, TLSVersion.TLSv1_1, TLSVersion.TLSv1_2, TLSVersion.TLSv1_3)
VERIFY_MODES = (
    SSL.VERIFY_NONE,
    SSL.VERIFY_PEER,
    SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
    SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT | SSL.VERIFY_CLIENT_ONCE,
)


@frozen
class TLSSettings:
    """
    What TLS is made of.

    :ivar chain: file of the certificate and those that vouch for it, PEM.
    :ivar key: file of its key.
    :ivar key_format: 1 for PEM, 2 for DER.
    :ivar authorities: file of who vouches for clients, PEM.
    :ivar verify_mode: index into `VERIFY_MODES`.
    :ivar min_version: index into `VERSIONS`.
    :ivar ciphers: of TLS up to 1.2, as OpenSSL lists them; None: Twisted's choice.
    """

    chain: str
    key: str
    key_format: int = crypto.FILETYPE_PEM
    authorities: Optional[str] = None
    verify_mode: int = 0
    min_version: int = 2
    ciphers: Optional[str] = None


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """
    What TLS connections are made with, and how to make them.

    :param stats: is told when they were loaded, and what goes wrong in connections.
    """

    log = Logger()

    def __init__(self, settings: TLSSettings, stats: Stats) -> None:
        self._settings = settings
        self._stats = stats
        self._context: Optional[SSL.Context] = None

    def load(self) -> None:
        """
        Read the files.

        :raises StartError: they are of no use; those that were there before stay.
        """
        self._context = _make_context(self._settings)
        self._stats.certificates_loaded = self._stats.seconds()

    def reload(self) -> Optional[str]:
        """Read the files anew; what is wrong with them, if something is: then nothing changes."""
        try:
            self.load()
        except StartError as fault:
            self.log.error("the certificates stay what they were: {fault}", fault=fault)
            return str(fault)
        self.log.info("read the certificates of {path} anew", path=self._settings.chain)
        return None

    def around(self, factory: Factory, reactor: Any) -> TLSMemoryBIOFactory:
        """`factory`, its connections being TLS."""
        return TLSMemoryBIOFactory(self, False, factory, reactor)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        assert self._context is not None
        return _Connection(self._context, self._stats)


class _Connection(SSL.Connection):
    """Counts what goes wrong, as memcached does (tls.c, ssl_accept and ssl_read)."""

    def __init__(self, context: SSL.Context, stats: Stats) -> None:
        super().__init__(context, None)
        self._stats = stats

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except SSL.WantReadError:
            raise
        except SSL.Error:
            self._stats.ssl_handshake_errors += 1
            raise

    def recv(self, *arguments: Any) -> bytes:
        try:
            return super().recv(*arguments)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            raise
        except SSL.Error:
            self._stats.ssl_proto_errors += 1
            raise


def _make_context(settings: TLSSettings) -> SSL.Context:
    acceptable = None
    if settings.ciphers is not None:
        acceptable = AcceptableCiphers.fromOpenSSLCipherString(settings.ciphers)
    try:
        context = CertificateOptions(
            insecurelyLowerMinimumTo=VERSIONS[settings.min_version], acceptableCiphers=acceptable
        ).getContext()
    except ValueError:
        raise StartError(f"Error setting the provided cipher(s): {settings.ciphers}") from None
    except MemoryError as fault:
        # There is memory, but none that pyOpenSSL may put code in, as its callbacks are.
        raise StartError(f"{fault} (of systemd, TLS needs MemoryDenyWriteExecute=no)") from None
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.set_verify(VERIFY_MODES[settings.verify_mode])
    chain, key, authorities = settings.chain, settings.key, settings.authorities
    with _doing(f"loading the certificate chain: {chain} "):
        _read(chain)
        context.use_certificate_chain_file(chain)
    with _doing(f"loading the key: {key} "):
        # First with a password that is none: OpenSSL by itself would ask the terminal for one.
        password = b"" if settings.key_format == crypto.FILETYPE_PEM else None
        crypto.load_privatekey(settings.key_format, _read(key), password)
    with _doing("validating the certificate"):
        context.use_privatekey_file(key, settings.key_format)
        context.check_privatekey()
    if authorities is not None:
        with _doing(f"loading the CA certificate: {authorities} "):
            _read(authorities)
            context.load_verify_locations(authorities)
            context.load_client_ca(os.fsencode(authorities))
    return context


def _read(path: str) -> bytes:
    """OpenSSL has no clear word for a file that is not there."""
    with open(path, "rb") as file:
        return file.read()


@contextmanager
def _doing(what: str) -> "Iterator[None]":
    """What goes wrong meanwhile is a StartError."""
    try:
        yield
    except OSError as fault:
        reason = fault.strerror
    except (SSL.Error, crypto.Error) as fault:
        errors = fault.args[0] if fault.args else ()
        reason = errors[0][2] if errors else None
    else:
        return
    raise StartError(f"Error {what}: {reason or 'it is not what it should be'}")
