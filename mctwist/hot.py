"""
Which keys are used most, as far as samples tell.

Nothing is looked at before somebody asks, and nothing when nobody has asked for a minute: until
then it costs nothing, and while it lasts, one key in eight is counted.

There is a counter for a thousand keys and no more. Where there is no room for another key, the
median of the counters is taken from each, and a key that has nothing left goes (Misra and Gries,
"Finding repeated elements", 1982; to take the median is of Anderson et al., "A high-performance
algorithm for identifying frequent items in data streams", 2017). So a key of which there is more
than one among 500 is never lost. A count may be too low by as much as that, and is never too high
but for the luck of sampling.
"""

from collections.abc import Iterable
from random import randint
from statistics import median_low
from typing import Callable, NamedTuple

#: Keys that are counted at the same time, ...
MOST_KEYS = 1000
#: ... and that are told.
MOST_TOLD = 50
#: One key in so many is counted.
EVERY = 8

#: Seconds after which what has been counted is put aside, and twice that after which it is
#: forgotten.
WINDOW = 10.0
#: Seconds for which keys are counted after somebody has asked.
ASKED = 60.0


class Sketch:
    """Counts of the keys that come most often; see above."""

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}

    def count(self, key: bytes, times: int) -> None:
        counts = self.counts
        if key in counts:
            counts[key] += times
            return
        if len(counts) >= MOST_KEYS:
            taken = median_low(counts.values())
            counts = self.counts = {
                each: count - taken for each, count in counts.items() if count > taken
            }
        counts[key] = times


class Hottest(NamedTuple):
    """
    :ivar seconds: that this is about.
    :ivar operations: that there were in them, about.
    :ivar keys: the busiest first; each with about how many of the operations were its own.
    """

    seconds: float
    operations: int
    keys: list[tuple[bytes, int]]


class HotKeys:
    """
    The busiest keys of one server.

    :param seconds: the clock; :param draw: as `random.randint`.
    :ivar active: they are being counted. Who uses a key looks here first.
    """

    def __init__(
        self, seconds: Callable[[], float], draw: Callable[[int, int], int] = randint
    ) -> None:
        self.active = False
        self._seconds = seconds
        self._draw = draw
        self._until = 0.0
        self._begin()

    def _begin(self) -> None:
        self._began = self._seconds()
        self._length = 0.0  # of the window before, in seconds
        self._before, self._current = Sketch(), Sketch()
        self._operations_before = self._operations = 0
        self._left = 0

    def ask(self) -> Hottest:
        """What they were in the last seconds; from now on they are counted for a while."""
        self._turn()
        if not self.active:
            self.active = True
            self._begin()
        now = self._seconds()
        self._until = now + ASKED
        counts = dict(self._current.counts)
        for key, count in self._before.counts.items():
            counts[key] = counts.get(key, 0) + count
        # What has been seen once says nothing.
        busiest = [(key, count) for key, count in counts.items() if count > EVERY]
        busiest.sort(key=lambda counted: (-counted[1], counted[0]))
        seconds = now - self._began + self._length
        operations = self._operations_before + self._operations
        return Hottest(seconds, operations, busiest[:MOST_TOLD])

    def count(self, keys: Iterable[bytes]) -> None:
        """These have been used."""
        self._turn()
        left, operations = self._left, 0
        for key in keys:
            operations += 1
            if left:
                left -= 1
            else:
                self._current.count(key, EVERY)
                left = self._draw(0, 2 * EVERY - 2)
        self._left = left
        self._operations += operations

    def _turn(self) -> None:
        now = self._seconds()
        passed = now - self._began
        if now > self._until or passed < 0:
            self.active = False
        if 0 <= passed < WINDOW:
            return
        fresh = 0 <= passed < 2 * WINDOW
        self._before = self._current if fresh else Sketch()
        self._operations_before = self._operations if fresh else 0
        self._length = WINDOW if fresh else 0.0
        self._current, self._operations = Sketch(), 0
        self._began += WINDOW if fresh else passed
