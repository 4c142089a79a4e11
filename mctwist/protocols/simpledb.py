"""
simpledb's dialect on a connection: Redis's requests, with values that have types.

The reader makes requests of what comes, the commands make steps of those, and what is wrong with
one is answered in its turn. Only behind bytes that are no request the connection is closed, for
there is no telling where the next one would begin.

There is no way to log in: whoever may connect may do everything.
"""

from typing import Any, Callable, Optional

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mctwist.interfaces import Step
from mctwist.protocols import simpledb_commands as commands
from mctwist.protocols.connection import BROWSERS, Connection
from mctwist.protocols.services import Services
from mctwist.protocols.simpledb_commands import FLUSH, QUIT, Terms
from mctwist.protocols.simpledb_grammar import (
    MOST_ELEMENTS,
    MOST_LINE,
    Malformed,
    Reader,
    Request,
)
from mctwist.protocols.simpledb_values import MOST_DEPTH, MOST_DIGITS, CommandError

#: A request has room for so many of the largest items.
MOST_ITEMS = 4

#: As those of `connection`.
BOUNDS: dict[str, object] = {
    "simpledb_request_items": MOST_ITEMS,
    "simpledb_elements": MOST_ELEMENTS,
    "simpledb_line": MOST_LINE,
    "simpledb_depth": MOST_DEPTH,
    "simpledb_digits": MOST_DIGITS,
}


class SimpleDBProtocol(Connection, Protocol):
    """One connection that speaks simpledb's dialect."""

    def __init__(self, services: Services, lost: Callable[[Any], None]) -> None:
        super().__init__(services, lost)
        limit = self._settings.max_item_size
        self._reader = Reader(limit, MOST_ITEMS * limit)

    # What a dialect adds

    @property
    def state(self) -> str:
        if not self._closed and self._reader.skips:
            return "conn_swallow"
        if not self._closed and self._reader.waits:
            return "conn_nread"
        return super().state

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._reader = Reader(0, 0)
        super().connectionLost(reason)

    def _parse(self, data: bytes) -> None:
        try:
            for request in self._reader.requests(data):
                self._take(request)
                if self._closed:
                    return
        except Malformed as error:
            self._fail(error)
            self.finish("error")
            return
        if self._steps:
            # What came before counts too: the steps are of all of it.
            self._submit()

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        return commands.fault(self._stats, fault)

    # Requests

    def _take(self, request: Request) -> None:
        try:
            if isinstance(request, CommandError):
                raise request
            if request and request[0].content.upper() in BROWSERS:
                self.finish("error")
                return
            name, command = commands.command_of(request)
            if name == FLUSH and not self._settings.flush_enabled:
                raise CommandError("FLUSH is not allowed.")
            terms = Terms(self._storage.now(), self._settings.max_item_size)
            self._steps += command.make(request[1:], terms)
        except CommandError as error:
            self._fail(error)
            return
        self._stats.simpledb_commands += 1
        if not command.reads:
            self._reads_only = False
        if name == QUIT:
            self.finish()

    def _fail(self, error: CommandError) -> None:
        self._stats.simpledb_errors += 1
        self._steps.append(commands.say(error.wire))
