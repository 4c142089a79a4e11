"""
Sweeping and evicting for stores that have no index of what expires or of what came first: they go
round over all of their keys, a piece with every batch.

What little is dead is let lie for a while: a piece a second. Where a quarter of a piece was dead,
or something has been flushed, the next piece follows at once.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Generator, Iterable
from itertools import islice
from typing import Callable

from mctwist.backends.state import State
from mctwist.backends.tally import Tally
from mctwist.backends.transaction import Transaction

#: A batch looks at so many items for what is dead.
PIECE = 100

_SECOND = 1000

#: A key and its place.
Placed = tuple[int, bytes]


class Rounds:
    """
    :param keys: all the keys of the store.
    :param in_order: all the keys and their places, oldest first.
    :ivar busy: the next piece should follow at once.
    """

    def __init__(
        self,
        keys: Callable[[], Iterable[bytes]],
        in_order: Callable[[], Iterable[Placed]],
        tally: Tally,
    ) -> None:
        self.busy = False
        self._keys = keys
        self._order = in_order
        self._tally = tally
        self._to_sweep: deque[bytes] = deque()
        self._places: list[Placed] = []
        self._known = 0  # the prefixes up to this were there before the batch, ...
        self._covered = 0  # ... and those up to this before the round
        self._next = 0  # milliseconds since the epoch

    def sweep(self, transaction: Transaction) -> None:
        """Remove what is dead of the next piece."""
        if transaction.now < self._next and not self.busy:
            return
        self._next = transaction.now + _SECOND
        state = transaction.state
        if not self._to_sweep:
            self._to_sweep.extend(self._keys())
            # Of this batch nothing is among the keys yet.
            self._covered = self._known
            self._tally.passes += 1
        piece = list(islice(self._to_sweep, PIECE))
        found = 0
        for key in piece:
            self._to_sweep.popleft()
            item = transaction.reap(key)
            if item is not None:
                found += 1
                self._tally.count_swept(transaction.accessed(item)[1])
        self._tally.examined += len(piece)
        if not self._to_sweep and self._covered:
            state.prefixes = state.prefixes.after(self._covered)
        self.busy = found > PIECE // 4 or _has_flushed(state)

    def committed(self, state: State) -> None:
        """A batch has come to `state`."""
        self._known = state.prefixes.last

    def in_order(self, place: int) -> "Generator[Placed, None, None]":
        """The places behind `place` and their keys, as they were not long ago."""
        while True:
            start = bisect_left(self._places, (place + 1, b""))
            for place, key in islice(self._places, start, None):
                yield place, key
            places = list(self._order())
            if not places or places[-1][0] <= place:
                return
            self._places = places


def _has_flushed(state: State) -> bool:
    return state.dead > 0 or state.prefixes.last > 0
