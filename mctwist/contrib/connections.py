"""
Connections to a server, for commands that may have to be sent again.

The rule: what has surely not reached the server is sent again, for as long as patience lasts; what
may have reached it only where the caller says that to do it twice is to do it once.
"""

import os
import time
from typing import Any, Optional

from pymemcache.pool import ObjectPool  # type: ignore[import-untyped]  # it has no types

from mctwist.client import LOST, Connection, Read, T

#: Seconds between two attempts, at first and at the most.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5


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
