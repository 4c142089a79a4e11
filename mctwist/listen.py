"""
What a word of --listen says: where to listen, for which dialect, and how.

    [DIALECT[,anonymous]=]ENDPOINT
    [DIALECT[,anonymous]=][notls:]ADDRESS[:PORT][,...]

An endpoint is one of Twisted's, and is what it says: TLS if it is `ssl:`. An address is as
memcached takes it, and TLS where the whole server is, but behind `notls:`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, Optional, Union

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError

_DIALECT = re.compile(r"([a-z]+)(,anonymous)?=(.*)", re.DOTALL)
_TLS = re.compile(r"(haproxy:)?ssl:")
_NO_TLS = "notls:"


class Listen(NamedTuple):
    """
    One listener, as it was asked for.

    :ivar where: `(interface, port)` for TCP, 0 being any port that is free; or an endpoint string.
    :ivar tls: who connects there has to speak TLS.
    :ivar anonymous: no user is asked for there.
    """

    dialect: str
    where: "Union[tuple[str, int], str]"
    tls: bool = False
    anonymous: bool = False


def endpoint_kinds() -> "frozenset[str]":
    """What Twisted's server endpoint strings may begin with."""
    plugins = {plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser)}
    return frozenset(plugins | {"tcp", "unix", "ssl"})


def listeners(word: str, dialect: str, port: int, tls: bool) -> "Iterator[Listen]":
    """
    What `word` asks for; a port in it is as the user gave it: 0 is none, and -1 any.

    :param dialect: of those that name none.
    :param port: of the addresses that name none.
    :param tls: addresses are TLS.
    :raises UsageError: it means nothing.
    """
    anonymous = False
    match = _DIALECT.fullmatch(word)
    if match is not None:
        dialect, anonymous, word = match[1], match[2] is not None, match[3]
    if word.partition(":")[0] in endpoint_kinds():
        yield Listen(dialect, word, _TLS.match(word) is not None, anonymous)
        return
    for address in word.split(","):
        clear = address.startswith(_NO_TLS)
        if clear and not tls:
            raise UsageError(f"--listen {address!r}: nothing is TLS without --enable-ssl")
        interface, own_port = _address(address[len(_NO_TLS) :] if clear else address)
        where = interface, port if own_port is None else own_port
        yield Listen(dialect, where, tls and not clear, anonymous)


def unix(path: str, mode: int) -> str:
    """The endpoint of the UNIX socket `path`."""
    return f"unix:{_quoted(path)}:mode={mode:o}"


def _address(text: str) -> "tuple[str, Optional[int]]":
    """memcached's ADDRESS[:PORT]; an IPv6 address with a port stands in brackets."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.%\w]+)\](?::([0-9]{1,5}))?", text)
    if match is None and text.count(":") > 1:
        match = re.fullmatch(r"([0-9A-Fa-f:.]+)()", text)
    if match is None:
        match = re.fullmatch(r"([^:\s/=]+)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise UsageError(f"--listen {text!r} is neither an address nor an endpoint")
    port = int(match[2]) if match[2] else None
    if port is not None and port > 65535:
        raise UsageError(f"--listen {text!r}: there is no such port")
    return match[1], port


def _quoted(argument: str) -> str:
    """`argument` as it stands in an endpoint string."""
    return argument.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
