"""
The connection of a shell: made when it is needed, made again when it is lost, and shown.

The rule: what may have been done is not sent twice. A command that has not left is sent on a new
connection; one whose answer is missing is sent again only where it changes nothing.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Callable, Optional, cast

from mctwist.client import LOST, REFUSED, Connection, Read, Server, T
from mctwist.shell.output import said
from mctwist.shell.repl.answers import Refused

# To Python 3.9 these are two.
_TIMEOUTS = (TimeoutError, socket.timeout)

NO_ANSWER = "what the server says is no answer to that: is it a memcached?"

#: Shows what goes over the wire: whether it is sent, and what it is.
Show = Callable[[bool, bytes], None]


class Trouble(Exception):
    """There is no answer. Its text is for people."""


class Wire:
    """
    The connection to `server`.

    :param note: tells people something.
    :param show: shows what goes over the wire, while `traced`.
    """

    def __init__(self, server: Server, note: Callable[[str], None], show: Show) -> None:
        self.server = server
        self.traced = False
        self._note = note
        self._show = show
        self._connection: Optional[Connection] = None
        self._met = False
        #: It could not be reached when it was last tried.
        self.unreachable = False

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def open(self) -> Connection:
        """
        Be connected.

        :raises Trouble: the server cannot be reached.
        """
        before = self._connection
        before_socket = before and before.sock
        try:
            if before is None:
                connection = self.server.connect()
            else:
                connection = before
                connection.open()
        except LOST as fault:
            self.close()
            self.unreachable = True
            raise Trouble(f"cannot reach {self.server}: {said(fault)}") from None
        except BaseException:
            self.close()
            raise
        self._connection = connection
        if self._met and connection.sock is not before_socket:
            lost = "" if self.unreachable else "the connection was lost: "
            self._note(f"{lost}connected to {self.server} again")
        self.unreachable = False
        self._met = True
        return connection

    def close(self) -> None:
        """Have no connection; whatever is still to come over it is not read."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def leave(self) -> None:
        """As `close`, on purpose: the next connection is nothing to tell of."""
        self.close()
        self._met = False

    def ask(self, request: bytes, read: "Read[T]", wait: float = 0.0, again: bool = False) -> T:
        """
        The answer to `request`.

        :param wait: seconds that it may take, beyond the timeout.
        :param again: it changes nothing, and may be sent once more where its answer is lost.
        :raises Trouble: there is none.
        """
        connection = self.open()
        try:
            return self._ask(connection, request, read, wait)
        except LOST as fault:
            self.leave()
            if isinstance(fault, _TIMEOUTS):
                end = "given up" if again else "whether it will be done is not known"
                raise Trouble(
                    f"no answer within {self.server.timeout + wait:g} seconds: {end}"
                ) from None
            if not again:
                self._tell_again(said(fault))
                raise Trouble(
                    "the answer was lost: whether it was done is not known, so it is not sent again"
                ) from None
            self._note(f"the connection was lost: {said(fault)}; asked again")
        connection = self.open()
        try:
            return self._ask(connection, request, read, wait)
        except LOST as fault:
            self.leave()
            raise Trouble(f"the connection was lost: {said(fault)}") from None

    def _ask(self, connection: Connection, request: bytes, read: "Read[T]", wait: float) -> T:
        self._trace(request)
        try:
            answer = connection.ask(request, lambda answers: read(self._heard(answers)), wait)
        except Refused:
            self._check_rest(connection)
            raise
        except LOST:
            self.leave()
            raise
        except (ValueError, *REFUSED):
            self.leave()
            raise Trouble(NO_ANSWER) from None
        except BaseException:
            # Also when it is interrupted: the answer would be taken for the next one's.
            self.leave()
            raise
        self._check_rest(connection)
        return answer

    def _tell_again(self, why: str) -> None:
        self._note(f"the connection was lost: {why}")
        with suppress(Trouble):
            self.open()
            self._note(f"connected to {self.server} again")

    @contextmanager
    def streamed(self, request: bytes, wait: "Optional[float]") -> "Iterator[BinaryIO]":
        """
        A connection of its own, on which `request` has been sent, for an answer that need not be
        read whole.

        :param wait: seconds that each piece of it may take; None: for ever.
        :raises Trouble: it cannot be made, or is lost.
        """
        try:
            connection = self.server.connect()
        except LOST as fault:
            raise Trouble(f"cannot reach {self.server}: {said(fault)}") from None
        try:
            connection.sock.settimeout(wait)
            self._trace(request)
            connection.send(request)
            yield self._heard(connection.answers)
        except LOST as fault:
            raise Trouble(f"the connection was lost: {said(fault)}") from None
        finally:
            connection.close()

    def _check_rest(self, connection: Connection) -> None:
        """Let go what an answer has behind it, which is then no answer that we know."""
        rest = b""
        try:
            connection.sock.settimeout(0)
            # With nothing in it, it looks at the socket once.
            rest = cast(Any, connection.answers).peek(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError:
            self.close()
        finally:
            with suppress(OSError, AttributeError):
                connection.sock.settimeout(self.server.timeout)
        if rest:
            if self.traced:
                self._show(False, rest)
            self._note("the server says more than was asked for: the connection is made anew")
            self.leave()

    def _heard(self, answers: BinaryIO) -> BinaryIO:
        return cast(BinaryIO, Heard(answers, self._show)) if self.traced else answers

    def _trace(self, request: bytes) -> None:
        if self.traced:
            for line in request.splitlines(keepends=True):
                self._show(True, line)


class Heard:
    """What is read of a connection, which is shown as it is read."""

    def __init__(self, answers: BinaryIO, show: Show) -> None:
        self._answers = answers
        self._show = show

    def readline(self, most: int) -> bytes:
        data = self._answers.readline(most)
        self._show(False, data)
        return data

    def read(self, size: int) -> bytes:
        data = self._answers.read(size)
        self._show(False, data)
        return data
