"""
One port for every dialect: the first byte of a connection decides which it is.

A binary request begins with 0x80 and no text command does (memcached.c:2345); what Redis's clients
send begins with a `*`, and no text command does that there is. Until that byte has come the
connection speaks nothing; then it becomes one of the dialect, and this only hands on what Twisted
and the listening side have for it.
"""

from collections.abc import Mapping
from typing import Any, Callable, Optional

from twisted.internet.protocol import Protocol

from mctwist.protocols.connection import Connection
from mctwist.protocols.services import Services

#: What makes a connection of a dialect, given what it calls with itself when it is lost.
Build = Callable[[Services, Callable[[Any], None]], Any]


class SniffingProtocol(Connection, Protocol):
    """
    One connection whose dialect is not known yet.

    :param dialects: by the first byte. :param otherwise: the dialect of any other.
    """

    def __init__(
        self,
        services: Services,
        lost: Callable[[Any], None],
        dialects: Mapping[int, Build],
        otherwise: Build,
    ) -> None:
        super().__init__(services, lost)
        self._dialects = dialects
        self._otherwise = otherwise
        self._dialect: Optional[Any] = None

    def _parse(self, data: bytes) -> None:
        build = self._dialects.get(data[0], self._otherwise)
        dialect = self._dialect = build(self._services, self._gone)
        dialect.take_over(self)
        # From here on there is nothing to look at: no call is worth making for that.
        for name in _HANDED_ON:
            setattr(self, name, getattr(dialect, name))
        dialect.dataReceived(data)

    def _gone(self, dialect: Any) -> None:
        # It refers to this, and the collector seldom comes.
        self._dialect = None
        for name in _HANDED_ON:
            delattr(self, name)
        self._lost(self)

    @property
    def state(self) -> str:
        state: str = super().state if self._dialect is None else self._dialect.state
        return state


_HANDED_ON = (
    *("dataReceived", "connectionLost", "readConnectionLost", "writeConnectionLost"),
    *("finish", "leave", "heard", "owes"),
)
