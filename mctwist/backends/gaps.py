"""
Where nothing lives: how a store that is a queue does not look through all that it ever held.

What has been removed or has expired, but is still in one layer of a store or another, has to be
passed over to find the first key that is alive. In a queue that is all at the front, and would be
passed over again by everyone who takes the next entry. So whoever has passed over many leaves a
gap, `[start, end)`: in the committed store nothing from `start` to before `end` is alive.

A gap stays true whatever becomes of the layers, and as time goes on: what lives there can only
have been put there. So a put cuts the gap that it falls into, and nothing else has to be told;
only a flush to come that is put off makes anything alive that somebody may have seen dead.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Callable, Optional

from mctwist.interfaces import NeedsWrite
from mctwist.item import Item

#: So many gaps are remembered, ...
MOST = 1024
#: ... of those for which so many keys had to be passed over.
WORTH = 4

#: Keys that are looked at in one go, at first and at the most.
FEW, MANY = 2, 256

#: The keys in `start <= key < end` that may be alive, and others: `(start, end, most, last)`, as
#: `SortedKeys.between`. Fewer than `most`: there are no more.
Between = Callable[[bytes, bytes, int, bool], "list[bytes]"]


class Gaps:
    """Ranges of keys, in order, no two of which meet."""

    def __init__(self, ranges: "Optional[list[tuple[bytes, bytes]]]" = None) -> None:
        # Replaced or changed in one stroke, so that a copy is whole.
        self._ranges = ranges or []

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def copy(self) -> "Gaps":
        return Gaps(self._ranges[:])

    def replace(self, other: "Gaps") -> None:
        """Be as `other` is, which is used no more."""
        self._ranges = other._ranges

    def clear(self) -> None:
        self._ranges = []

    def above(self, key: bytes) -> bytes:
        """The next key from `key` on that is in no gap."""
        index = bisect_left(self._ranges, (key + b"\0",)) - 1
        return max(self._ranges[index][1], key) if index >= 0 else key

    def below(self, end: bytes) -> bytes:
        """The lowest end from which down to `end` there is a gap; `end`: there is none."""
        index = bisect_left(self._ranges, (end,)) - 1
        if index < 0:
            return end
        start, stop = self._ranges[index]
        return start if stop >= end else end

    def add(self, start: bytes, end: bytes) -> None:
        """Remember a gap, and make one of those that it meets."""
        if start >= end:
            return
        ranges = self._ranges
        first = bisect_left(ranges, (start,))
        if first and ranges[first - 1][1] >= start:
            first -= 1
        behind = bisect_left(ranges, (end + b"\0",))
        if first < behind:
            start = min(start, ranges[first][0])
            end = max(end, ranges[behind - 1][1])
        ranges[first:behind] = [(start, end)]
        if len(ranges) > MOST:
            self._ranges = [(start, end)]

    def cut(self, key: bytes) -> None:
        """Something lives under `key`."""
        index = bisect_left(self._ranges, (key + b"\0",)) - 1
        if index < 0:
            return
        start, end = self._ranges[index]
        if key < end:
            parts = ((start, key), (key + b"\0", end))
            self._ranges[index : index + 1] = [part for part in parts if part[0] < part[1]]
            if len(self._ranges) > MOST:
                self.clear()


def walk(
    between: Between,
    gaps: Gaps,
    get: "Callable[[bytes], Optional[Item]]",
    start: bytes,
    end: bytes,
    most: int,
    last: bool,
    patience: Optional[int] = None,
) -> "Iterator[tuple[bytes, Item]]":
    """
    What is alive in `start <= key < end`, in order, upwards or, `last`, downwards.

    :param get: what is alive under a key.
    :param most: about how many are wanted.
    :param patience: how many may be passed over in a row; None: any number.
    :raises NeedsWrite: those were more.
    """
    edge = end if last else start  # nothing has been alive from here on
    passed = 0
    count = min(max(most, FEW), MANY)
    while True:
        jumped = gaps.below(end) if last else gaps.above(start)
        if jumped != (end if last else start):
            passed += WORTH
            start, end = (start, jumped) if last else (jumped, end)
        found = between(start, end, count, last) if start < end else []
        for key in found:
            item = get(key)
            if item is None:
                passed += 1
                continue
            if passed >= WORTH:
                gaps.add(*((key + b"\0", edge) if last else (edge, key)))
            passed = 0
            edge = key if last else key + b"\0"
            yield key, item
        if len(found) < count:
            if passed >= WORTH:
                gaps.add(*((start, edge) if last else (edge, end)))
            return
        if patience is not None and passed > patience:
            raise NeedsWrite
        start, end = (start, found[-1]) if last else (found[-1] + b"\0", end)
        count = min(2 * count, MANY)
