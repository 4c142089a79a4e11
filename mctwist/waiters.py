"""
Who waits for something to be stored: the blocking commands, parked.

Each waits for a range of keys. A key that has been written is told to all who would only look at
it, and to one of those who would take it away, to whoever came first; he looks again, and waits
anew if somebody else was faster. All of this is in the reactor's thread: the storage hands over the
written keys of a batch when it answers it.

A batch is looked through once for each range, by bisection, however many wait for it.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, NamedTuple, Optional

from twisted.internet.defer import Deferred, succeed

#: So many may wait at a time.
MOST_WAITERS = 10_000


class Awaited(NamedTuple):
    """
    What is waited for: something from `start` on and below `end`.

    :ivar consumes: whoever finds it may take it away.
    """

    start: bytes
    end: bytes
    consumes: bool


class Waiters:
    """
    Those who wait, in the order in which they came.

    :param reactor: for its clock.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._numbers = count()
        self._waiting: dict[Awaited, OrderedDict[int, Deferred[None]]] = {}
        self._deadlines: dict[int, Any] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def wait(self, awaited: Awaited, seconds: Optional[float]) -> "Deferred[None]":
        """
        As `IStorage.await_change`.

        :param seconds: to the deadline; None: there is none.
        """
        if self._count >= MOST_WAITERS or (seconds is not None and seconds <= 0):
            return succeed(None)
        number = next(self._numbers)

        def forget(_: Any) -> None:
            self._take(awaited, number)

        waiting: Deferred[None] = Deferred(forget)
        self._waiting.setdefault(awaited, OrderedDict())[number] = waiting
        self._count += 1
        if seconds is not None:
            self._deadlines[number] = self._reactor.callLater(seconds, self._fire, awaited, number)
        return waiting

    def tell(self, keys: "Iterable[bytes]") -> None:
        """These keys have been written."""
        written = sorted(set(keys))
        if not written:
            return
        lowest, highest = written[0], written[-1]
        told: list[tuple[Awaited, int]] = []
        queues = []
        for awaited, waiting in self._waiting.items():
            # Where many wait and little is written, the first question is nearly always enough.
            if awaited.start > highest or awaited.end <= lowest or _first(written, awaited) is None:
                continue
            if awaited.consumes:
                numbers = iter(waiting)
                queues.append((next(numbers), awaited, numbers))
            else:
                told += [(awaited, number) for number in waiting]
        heapify(queues)
        # Of all who would take something away, the first takes the first that is there for him.
        while queues and written:
            number, awaited, numbers = heappop(queues)
            place = _first(written, awaited)
            if place is not None:
                del written[place]
                told.append((awaited, number))
                for following in numbers:
                    heappush(queues, (following, awaited, numbers))
                    break
        # Who is told may wait anew, or let others go.
        for awaited, number in told:
            self._fire(awaited, number)

    def tell_all(self) -> None:
        """Nothing will be written any more."""
        for awaited, waiting in list(self._waiting.items()):
            for number in list(waiting):
                self._fire(awaited, number)

    def _take(self, awaited: Awaited, number: int) -> "Optional[Deferred[None]]":
        """Let somebody go; None: he is gone already."""
        others = self._waiting.get(awaited)
        waiting = None if others is None else others.pop(number, None)
        if waiting is None:
            return None
        self._count -= 1
        if not others:
            del self._waiting[awaited]
        deadline = self._deadlines.pop(number, None)
        if deadline is not None and deadline.active():
            deadline.cancel()
        return waiting

    def _fire(self, awaited: Awaited, number: int) -> None:
        waiting = self._take(awaited, number)
        if waiting is not None:
            waiting.callback(None)


def _first(keys: Sequence[bytes], awaited: Awaited) -> Optional[int]:
    """Where in `keys`, which are in order, the first is that is waited for."""
    place = bisect_left(keys, awaited.start)
    return place if place < len(keys) and keys[place] < awaited.end else None
