"""
Connections to a server, for commands that may have to be sent again.

pymemcache's `Client` opens and closes them: TCP, UNIX sockets, TLS. What is sent and how its answer
is read is for the caller, for pymemcache knows nothing of ranges.

The rule: what has surely not reached the server is sent again, for as long as patience lasts; what
may have reached it only where the caller says that to do it twice is to do it once.
"""

import os
import select
import time
from contextlib import suppress
from typing import Any, BinaryIO, Callable, Optional, TypeVar

from pymemcache.client.base import Client  # type: ignore[import-untyped]  # it has no types
from pymemcache.exceptions import (  # type: ignore[import-untyped]
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
)
from pymemcache.pool import ObjectPool  # type: ignore[import-untyped]

#: Seconds between two attempts, at first and at the most.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5

#: What it looks like when a connection fails.
LOST = (OSError, MemcacheUnexpectedCloseError)

T = TypeVar("T")
Read = Callable[[BinaryIO], T]


class Connection(Client):  # type: ignore[misc]  # it has no types
    """
    One connection.

    :param login: the name and the password of a user; None: nobody is asked for one.
    """

    def __init__(self, server: Any, login: Optional[tuple[str, str]], **options: Any) -> None:
        super().__init__(server, **options)
        self._login = login
        self._answers: Optional[BinaryIO] = None

    def open(self) -> None:
        """Be connected. One that the server has closed meanwhile is replaced."""
        if self.sock is not None and not self._is_stale():
            return
        self.close()
        self._connect()
        self._answers = self.sock.makefile("rb")
        if self._login is not None:
            words = " ".join(self._login).encode()
            self.ask(b"set login 0 0 %d\r\n%b\r\n" % (len(words), words), line, 0.0)

    def ask(self, request: bytes, read: "Read[T]", wait: float) -> T:
        """
        Send `request`, and read its answer.

        :param wait: seconds that the server may take, beyond the timeout of the connection.
        """
        assert self.sock is not None
        assert self._answers is not None
        if self.timeout is not None:
            self.sock.settimeout(self.timeout + wait)
        self.sock.sendall(request)
        return read(self._answers)

    def close(self) -> None:
        if self._answers is not None:
            with suppress(OSError):
                self._answers.close()
            self._answers = None
        super().close()

    def _is_stale(self) -> bool:
        # Nobody is asked anything, so there is nothing to read but an end.
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


class Connections:
    """
    A pool of connections, of which each thread uses its own while it asks. A process that has been
    forked begins with none.

    :param patience: seconds for which a server is waited for that cannot be reached.
    :param options: as of pymemcache's Client.
    """

    def __init__(
        self, server: Any, patience: float, login: Optional[tuple[str, str]], **options: Any
    ) -> None:
        self._patience = patience
        self._make = lambda: Connection(server, login, **options)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._pool = ObjectPool(self._make, after_remove=lambda connection: connection.close())

    def forked(self) -> bool:
        """Whether this is another process than before; it begins anew then."""
        if self._process == os.getpid():
            return False
        self.close()
        self._begin()
        return True

    def close(self) -> None:
        self._pool.clear()

    def ask(self, request: bytes, read: "Read[T]", again: bool = True, wait: float = 0.0) -> T:
        """
        The answer to `request`, as `read` reads it.

        :param again: to do it twice is to do it once.
        :param wait: as of `Connection.ask`.
        """
        deadline = time.monotonic() + self._patience
        pause = FIRST_PAUSE
        while True:
            sent = False
            try:
                connection = self._pool.get()
                try:
                    connection.open()
                    sent = True
                    answer: T = connection.ask(request, read, wait)
                except BaseException:
                    # Also when a task is interrupted: the answer would be taken for the next one's.
                    self._pool.destroy(connection)
                    raise
                self._pool.release(connection)
                return answer
            except LOST:
                if (sent and not again) or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def line(answers: BinaryIO) -> bytes:
    """
    The next line, without its end.

    :raises MemcacheServerError: it says so; :raises MemcacheClientError: it says so.
    """
    words = answers.readline()
    if not words.endswith(b"\r\n"):
        raise MemcacheUnexpectedCloseError
    if words.startswith(b"SERVER_ERROR "):
        raise MemcacheServerError(words[13:-2].decode(errors="replace"))
    if words.startswith((b"CLIENT_ERROR ", b"ERROR")):
        raise MemcacheClientError(words[:-2].decode(errors="replace"))
    return words[:-2]


def block(answers: BinaryIO, size: int) -> bytes:
    """A value of `size` bytes, which is next."""
    value = answers.read(size + 2)
    if len(value) < size + 2:
        raise MemcacheUnexpectedCloseError
    return value[:-2]
