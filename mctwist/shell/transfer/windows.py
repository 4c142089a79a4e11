"""
Many requests on one connection, with their answers counted.

Requests go out in windows, several of which are under way at a time. The answers to a window come
in the order of its requests, one line each; a window is acknowledged when all of them are there.
They are loud ones: a quiet one's failure has no name, where memcached answers with an error, and
the answers of a window in which nothing failed are one comparison all the same.

The rule: whoever sends also reads, for a server may stop reading until its answers are taken. And
what is not acknowledged is sent again when a connection is lost and made again: whatever it was is
to be harmless when it is done twice.
"""

import select
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import Any, Callable, NamedTuple, Optional

from pymemcache.exceptions import (  # type: ignore[import-untyped]  # it has no types
    MemcacheUnexpectedCloseError,
)

from mctwist.client import LOST, Connection, Server
from mctwist.shell.output import said, tell

#: The most windows under way, and the most bytes of them, but for one alone that has more.
MOST_WINDOWS, MOST_BYTES = 8, 4 << 20

#: Seconds for which a lost connection is made again, from the last answer on; and between tries.
PATIENCE, FIRST_PAUSE, LONGEST_PAUSE = 60.0, 0.1, 1.0

_RECEIVE = 1 << 18

#: That a socket is not ready, as plain ones and those of TLS say it.
_NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Window(NamedTuple):
    """
    Requests that are sent together.

    :ivar request: the bytes of all of them.
    :ivar answers: how many there will be, one of each.
    :ivar about: whatever the caller wants to have back with the answers.
    """

    request: bytes
    answers: int
    about: Any


#: Called with a window and its answers, without their ends; None: all are what was hoped for.
Acknowledge = Callable[[Window, "Optional[list[bytes]]"], None]


class Windows:
    """
    The windows that go to a server.

    :param hoped: the answer of a request that has been granted.
    """

    def __init__(self, server: Server, hoped: bytes, acknowledge: Acknowledge) -> None:
        self._server = server
        self._line = hoped + b"\r\n"
        self._acknowledge = acknowledge
        self._under_way: deque[Window] = deque()
        self._bytes = 0
        self._unsent: deque[memoryview] = deque()
        self._received = bytearray()
        self._lost: Optional[float] = None
        self._connection = self._connected()

    def put(self, window: Window) -> None:
        """
        Send `window`, when there is room for it.

        :raises OSError, MemcacheUnexpectedCloseError: the connection is lost for good.
        """
        while self._under_way and (
            len(self._under_way) >= MOST_WINDOWS or self._bytes + len(window.request) > MOST_BYTES
        ):
            self._turn()
        self._under_way.append(window)
        self._bytes += len(window.request)
        if window.request:
            self._unsent.append(memoryview(window.request))
        self._settle()
        if self._unsent:
            self._turn(0.0)

    def wait(self, until: float) -> None:
        """Go on until that moment of `time.monotonic`."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return
            if self._under_way:
                self._turn(left)
            else:
                time.sleep(left)

    def drain(self) -> None:
        """Go on until all is acknowledged. Raises as `put` does."""
        while self._under_way:
            self._turn()

    def close(self) -> None:
        self._connection.close()

    def _connected(self) -> Connection:
        connection = self._server.connect()
        connection.sock.setblocking(False)
        self._poll = select.poll()
        return connection

    def _turn(self, wait: Optional[float] = None) -> None:
        """
        Send and receive what can be.

        :param wait: seconds to wait for that, if need be; None: until an answer is overdue.
        """
        sock = self._connection.sock
        events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        self._poll.register(sock, events)
        patience = self._server.timeout if wait is None else wait
        try:
            if self._poll.poll(patience * 1000):
                self._receive(sock)
                self._send(sock)
            elif wait is None:
                raise TimeoutError
        except LOST as fault:
            self._connect_again(fault)
        self._settle()

    def _send(self, sock: Any) -> None:
        with suppress(*_NOT_READY):
            while self._unsent:
                sent = sock.send(self._unsent[0])
                if sent < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][sent:]
                else:
                    self._unsent.popleft()

    def _receive(self, sock: Any) -> None:
        # Until there is no more: what TLS has read ahead is not seen by a poll.
        with suppress(*_NOT_READY):
            while True:
                data = sock.recv(_RECEIVE)
                if not data:
                    raise MemcacheUnexpectedCloseError
                self._received += data

    def _settle(self) -> None:
        """Acknowledge the windows whose answers are there."""
        while self._under_way:
            window = self._under_way[0]
            hoped = self._line * window.answers
            answers: Optional[list[bytes]] = None
            if self._received.startswith(hoped):
                size = len(hoped)
            elif hoped.startswith(self._received):
                return
            else:
                *answers, rest = bytes(self._received).split(b"\r\n", window.answers)
                if len(answers) < window.answers:
                    return
                size = len(self._received) - len(rest)
            del self._received[:size]
            self._under_way.popleft()
            self._bytes -= len(window.request)
            self._lost = None
            self._acknowledge(window, answers)

    def _connect_again(self, fault: BaseException) -> None:
        if isinstance(fault, BrokenPipeError):
            # Which would pass for a closed output.
            fault = MemcacheUnexpectedCloseError()
        if self._lost is None:
            self._lost = time.monotonic()
            tell(f"{said(fault)}; trying to connect again")
        self._connection.close()
        pause = FIRST_PAUSE
        while True:
            if time.monotonic() + pause > self._lost + PATIENCE:
                raise fault
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                self._connection = self._connected()
                break
            except LOST as again:
                fault = again
        self._received.clear()
        self._unsent = deque(
            memoryview(window.request) for window in self._under_way if window.answers
        )
