"""
How long commands take: from when a list of them has been parsed until its answers are written.

To time a list costs nearly as much as a get of one key does. So lists are sampled: where there are
many, one in 256; where there are few, each. Which one is drawn, for of clients that take turns in a
pattern always the same would else be timed. A sample counts for all the lists since the one before
it, so that the percentiles are those of all lists.

Only a list that finds nothing of its own connection before it is timed: what a client has waiting
behind what it has sent itself, or does not read, says nothing about the server.
"""

from random import randint
from time import perf_counter_ns
from typing import Callable

from mctwist.histogram import Histogram

#: One list in so many is timed, at the least.
FEWEST = 256
#: Where samples are further apart than this, in nanoseconds, more lists are timed, ...
_FAR = 50_000_000
#: ... and where they are closer than this, fewer.
_CLOSE = 5_000_000

#: Seconds after which what has been counted is put aside, and twice that after which it is
#: forgotten: what is told is about the last one or two minutes.
WINDOW = 60.0


class Recent:
    """
    What has been counted of late.

    :param seconds: the clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.clear()

    def clear(self) -> None:
        """Count from nothing again."""
        self._began = self._seconds()
        self._before = Histogram()
        self._current = Histogram()

    def count(self, value: int, times: int) -> None:
        self._turn()
        self._current.count(value, times)

    def histogram(self) -> Histogram:
        """All of the last one or two `WINDOW`s."""
        self._turn()
        both = Histogram()
        both.add(self._before)
        both.add(self._current)
        return both

    def _turn(self) -> None:
        passed = self._seconds() - self._began
        if 0 <= passed < WINDOW:
            return
        # Nothing has come for long; or the clock has been set back.
        fresh = 0 <= passed < 2 * WINDOW
        self._before = self._current if fresh else Histogram()
        self._current = Histogram()
        self._began += WINDOW if fresh else passed


class Latency:
    """
    What the latency of one kind of lists is measured by. Times are nanoseconds.

    :param seconds: the clock, for what is recent; :param nanoseconds: the one that is measured by.
    :param draw: as `random.randint`.
    :ivar left: the lists up to the next one that is timed, and with it. Who takes up a list
        lowers it, and times it when nothing is left; that is all that a list costs otherwise.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        nanoseconds: Callable[[], int] = perf_counter_ns,
        draw: Callable[[int, int], int] = randint,
    ) -> None:
        self.left = 1
        self._recent = Recent(seconds)
        self._nanoseconds = nanoseconds
        self._draw = draw
        self._every = 1
        self._skipped = 1
        self._last = nanoseconds()

    def clear(self) -> None:
        """Forget what has been measured."""
        self._recent.clear()

    def histogram(self) -> Histogram:
        """As `Recent.histogram`."""
        return self._recent.histogram()

    def begin(self) -> Callable[[], None]:
        """Time a list, whose turn it is; what is returned is to be called when it is answered."""
        began, counted = self._nanoseconds(), self._skipped
        apart, self._last = began - self._last, began
        if apart > _FAR:
            self._every = max(self._every * _FAR // apart, 1)
        elif apart < _CLOSE:
            self._every = min(self._every * 2, FEWEST)
        self.left = self._skipped = self._draw(1, 2 * self._every - 1)

        def end() -> None:
            self._recent.count(self._nanoseconds() - began, counted)

        return end
