"""
Keys in order, for stores that keep them in dicts.

A list kept sorted moves all that is behind a key to let it in; of a million that takes a
millisecond. In a list of short lists it takes a microsecond or two, wherever the key belongs.
(sortedcontainers does the same and much else; its last release is of 2021, and this is all that
is needed of it.)

The rule: nobody pays for an order that nobody asks for. `Growing` sorts the keys of a dict when
it is first asked, and after that only those that have come since.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any, Optional

#: A list is cut in two when it is longer than this.
LONGEST = 1024

#: So many keys at once, as a part of those that there are, are sorted together with them.
MANY = 8


class SortedKeys:
    """Keys, each once, from the lowest to the highest."""

    def __init__(self, keys: "Iterable[bytes]" = ()) -> None:
        self._sort(keys)

    def _sort(self, keys: "Iterable[bytes]") -> None:
        ordered = sorted(keys)
        self._count = len(ordered)
        size = LONGEST // 2
        self._lists = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        self._lowest = [keys[0] for keys in self._lists]

    def __len__(self) -> int:
        return self._count

    def update(self, keys: "list[bytes]") -> None:
        """Take in `keys`, none of which it has."""
        if len(keys) * MANY > self._count:
            self._sort(chain(*self._lists, keys))
        else:
            for key in keys:
                self.add(key)

    def add(self, key: bytes) -> None:
        """Take in `key`, which it does not have."""
        if not self._lists:
            self._sort([key])
            return
        number = max(bisect_right(self._lowest, key) - 1, 0)
        keys = self._lists[number]
        insort(keys, key)
        self._lowest[number] = keys[0]
        self._count += 1
        if len(keys) > LONGEST:
            half = len(keys) // 2
            self._lists[number : number + 1] = [keys[:half], keys[half:]]
            self._lowest.insert(number + 1, keys[half])

    def discard(self, key: bytes) -> None:
        """Give up `key`, if it is there."""
        number = bisect_right(self._lowest, key) - 1
        if number < 0:
            return
        keys = self._lists[number]
        index = bisect_left(keys, key)
        if index == len(keys) or keys[index] != key:
            return
        del keys[index]
        self._count -= 1
        if keys:
            self._lowest[number] = keys[0]
        else:
            del self._lists[number], self._lowest[number]

    def between(self, start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
        """The lowest `most` in `start <= key < end`; or, downwards, the highest."""
        found: list[bytes] = []
        if last:
            number = bisect_left(self._lowest, end) - 1
            while number >= 0 and len(found) < most:
                keys = self._lists[number]
                stop = bisect_left(keys, end)
                first = max(bisect_left(keys, start), stop - (most - len(found)))
                found += reversed(keys[first:stop])
                if keys[0] < start:
                    break
                number -= 1
            return found
        number = max(bisect_right(self._lowest, start) - 1, 0)
        while number < len(self._lists) and len(found) < most:
            keys = self._lists[number]
            if keys[0] >= end:
                break
            first = bisect_left(keys, start)
            stop = min(bisect_left(keys, end), first + most - len(found))
            found += keys[first:stop]
            number += 1
        return found


class Growing:
    """The keys of a dict from which none is ever removed."""

    def __init__(self, grown: "dict[bytes, Any]") -> None:
        self._dict = grown
        self._keys: Optional[SortedKeys] = None

    def between(self, start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
        """As `SortedKeys.between`; not to be called by two threads, nor while the dict changes."""
        if self._keys is None:
            self._keys = SortedKeys(self._dict)
        fresh = len(self._dict) - len(self._keys)
        if fresh:
            # The last to come are the first of a dict that is gone through backwards.
            self._keys.update(list(islice(reversed(self._dict), fresh)))
        return self._keys.between(start, end, most, last)
