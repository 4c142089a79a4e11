"""
Who waits for something to be stored: the blocking commands, parked.

Each waits for a prefix of keys. A key that has been written is told to one of those who wait for
it, to whoever came first; he looks again, and waits anew if somebody else was faster. All of this
is in the reactor's thread: the storage hands over the written keys of a batch when it answers it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import count
from typing import Any, Optional

from twisted.internet.defer import Deferred, succeed

#: So many may wait at a time.
MOST_WAITERS = 10_000


class Waiters:
    """
    Those who wait, in the order in which they came.

    :param reactor: for its clock.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._numbers = count()
        self._waiting: dict[bytes, OrderedDict[int, Deferred[None]]] = {}  # by their prefixes
        self._deadlines: dict[int, Any] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def wait(self, prefix: bytes, seconds: Optional[float]) -> "Deferred[None]":
        """
        As `IStorage.await_change`.

        :param seconds: to the deadline; None: there is none.
        """
        if self._count >= MOST_WAITERS or (seconds is not None and seconds <= 0):
            return succeed(None)
        number = next(self._numbers)

        def forget(_: Any) -> None:
            self._take(prefix, number)

        waiting: Deferred[None] = Deferred(forget)
        self._waiting.setdefault(prefix, OrderedDict())[number] = waiting
        self._count += 1
        if seconds is not None:
            self._deadlines[number] = self._reactor.callLater(seconds, self._fire, prefix, number)
        return waiting

    def tell(self, keys: "Iterable[bytes]") -> None:
        """These keys have been written."""
        lengths = {len(prefix) for prefix in self._waiting}
        for key in keys:
            waiting = self._waiting
            prefixes = [key[:n] for n in lengths if key[:n] in waiting]
            if prefixes:
                number, prefix = min((next(iter(waiting[prefix])), prefix) for prefix in prefixes)
                self._fire(prefix, number)

    def tell_all(self) -> None:
        """Nothing will be written any more."""
        for prefix, waiting in list(self._waiting.items()):
            for number in list(waiting):
                self._fire(prefix, number)

    def _take(self, prefix: bytes, number: int) -> "Optional[Deferred[None]]":
        """Let somebody go; None: he is gone already."""
        others = self._waiting.get(prefix)
        waiting = None if others is None else others.pop(number, None)
        if waiting is None:
            return None
        self._count -= 1
        if not others:
            del self._waiting[prefix]
        deadline = self._deadlines.pop(number, None)
        if deadline is not None and deadline.active():
            deadline.cancel()
        return waiting

    def _fire(self, prefix: bytes, number: int) -> None:
        waiting = self._take(prefix, number)
        if waiting is not None:
            waiting.callback(None)
