"""
Keys in the order of their places, which is the order in which they came: what SCAN goes by.

A cursor is the last place that has been looked at, and so it holds through everything: a key
keeps its place for as long as it is stored, and whatever comes later stands behind all others.

A store that has no such order on its disk keeps a list, `Places`, from when somebody first asks.
New places are higher than all before, so the list only grows at its end; what has left its place
is still in it, and is known by that the item has another place by now, or is not there.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Callable

from mctwist.backends.transaction import Change
from mctwist.item import Entry

#: A place, and the key that has it or has had it.
Placed = tuple[int, bytes]

#: One call looks at so many times what it is asked for.
TURNS = 10


class Places:
    """
    :param placed: the places that are taken, in any order.
    """

    def __init__(self, placed: "Iterable[Placed]") -> None:
        self._placed = sorted(placed)

    def __len__(self) -> int:
        return len(self._placed)

    def add(self, changes: "list[Change]") -> None:
        """A batch has made `changes`: take in the places that it has given out."""
        self._placed += sorted(
            (new.place, key)
            for key, new, old in changes
            if new is not None and (old is None or old.place != new.place)
        )

    def before(self, placed: "list[Placed]") -> None:
        """Take in what was there before anything was added; in order."""
        self._placed = placed + self._placed

    def behind(self, place: int, most: int) -> "list[Placed]":
        """The first `most` places behind `place`."""
        first = bisect_left(self._placed, (place + 1,))
        return self._placed[first : first + most]


def scan(
    behind: "Callable[[int, int], list[Placed]]",
    entries: "Callable[[list[bytes]], list[Entry]]",
    cursor: int,
    most: int,
) -> "tuple[list[Entry], int]":
    """
    As `IBackend.scan`.

    :param behind: the first so many places behind one; fewer: there are no more.
    :param entries: those of these keys that are live.
    """
    found: list[Entry] = []
    most = max(most, 1)
    for _ in range(TURNS):
        asked = most - len(found)
        placed = behind(cursor, asked)
        places = {key: place for place, key in placed}
        keys = sorted(places, key=places.__getitem__)
        found += [entry for entry in entries(keys) if entry.item.place == places[entry.key]]
        if len(placed) < asked:
            return found, 0
        cursor = placed[-1][0]
        if len(found) == most:
            break
    return found, cursor
