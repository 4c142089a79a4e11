"""
Sweeping and evicting for stores that have no index of what expires or of what came first: they go
round over all of their keys, a piece with every batch.

What little is dead is let lie for a while: a piece a second. Where a quarter of a piece was dead,
or something has been flushed, the next piece follows at once.
"""

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
        self._to_judge: deque[Placed] = deque()
        self._covered = 0  # the prefixes that this round has looked for from its beginning
        self._next = 0  # milliseconds since the epoch

    def sweep(self, transaction: Transaction) -> None:
        """Remove what is dead of the next piece."""
        if transaction.now < self._next and not self.busy:
            return
        self._next = transaction.now + _SECOND
        state = transaction.state
        if not self._to_sweep:
            self._to_sweep.extend(self._keys())
            self._covered = state.prefixes.last
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

    def in_order(self, place: int) -> "Generator[Placed, None, None]":
        """What is left of the round of the eviction's hand, wherever that was."""
        if not self._to_judge:
            self._to_judge.extend(self._order())
        while self._to_judge:
            yield self._to_judge.popleft()


def _has_flushed(state: State) -> bool:
    return state.dead > 0 or state.prefixes.last > 0
