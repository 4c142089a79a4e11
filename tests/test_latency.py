"""Which lists of commands are timed, and for how long that is remembered."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mctwist.latency import FEWEST, WINDOW, Latency, Recent

MICROSECOND = 1_000
SECOND = 1_000_000_000


class RecentTests(SynchronousTestCase):
    """What is remembered."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.recent = Recent(self.clock.seconds)

    def total(self) -> int:
        return self.recent.histogram().total

    def test_a_window_and_the_one_before_it(self) -> None:
        self.recent.count(5, 1)
        self.clock.advance(WINDOW - 1)
        self.recent.count(5, 10)
        self.clock.advance(2)
        self.recent.count(5, 100)
        self.assertEqual(self.total(), 111)
        self.clock.advance(WINDOW)
        self.assertEqual(self.total(), 100)
        self.clock.advance(WINDOW)
        self.assertEqual(self.total(), 0)

    def test_what_was_before_a_long_silence_is_forgotten(self) -> None:
        self.recent.count(5, 1)
        self.clock.advance(10 * WINDOW + 1)
        self.assertEqual(self.total(), 0)
        self.recent.count(5, 2)
        self.clock.advance(WINDOW - 1)
        self.assertEqual(self.total(), 2)

    def test_a_clock_that_is_set_back_loses_what_there_was_and_goes_on(self) -> None:
        self.clock.advance(1000)
        self.recent.count(5, 1)
        self.clock.rightNow -= 900
        self.assertEqual(self.total(), 0)
        self.recent.count(5, 3)
        self.clock.advance(WINDOW - 1)
        self.assertEqual(self.total(), 3)

    def test_what_is_told_does_not_change_behind_the_back(self) -> None:
        self.recent.count(5, 1)
        told = self.recent.histogram()
        self.recent.count(5, 1)
        self.assertEqual(told.total, 1)

    def test_cleared(self) -> None:
        self.recent.count(5, 1)
        self.recent.clear()
        self.assertEqual(self.total(), 0)


class LatencyTests(SynchronousTestCase):
    """A server's lists, at a pace that the test sets."""

    def setUp(self) -> None:
        self.now = 0
        clock = Clock()
        # What is drawn is the mean.
        self.latency = Latency(clock.seconds, lambda: self.now, lambda least, most: (most + 1) // 2)

    def run_lists(self, count: int, apart: int, takes: int = 0) -> int:
        """As the pipeline does it; returns how many were timed."""
        timed = 0
        for _ in range(count):
            self.now += apart
            self.latency.left -= 1
            if not self.latency.left:
                timed += 1
                end = self.latency.begin()
                self.now += takes
                end()
        return timed

    def test_where_there_are_few_each_is_timed(self) -> None:
        self.assertEqual(self.run_lists(100, apart=SECOND, takes=70 * MICROSECOND), 100)
        told = self.latency.histogram()
        self.assertEqual((told.total, told.least), (100, 70 * MICROSECOND))

    def test_where_there_are_many_few_are_and_they_stand_for_all(self) -> None:
        count = 100 * FEWEST
        timed = self.run_lists(count, apart=10 * MICROSECOND, takes=MICROSECOND)
        self.assertTrue(100 <= timed <= 120, timed)
        told = self.latency.histogram().total
        self.assertTrue(count - 2 * FEWEST <= told <= count, told)

    def test_between_there_are_some_tens_a_second(self) -> None:
        timed = self.run_lists(20_000, apart=SECOND // 2000)
        self.assertTrue(10 * 15 <= timed <= 10 * 250, timed)

    def test_when_many_have_become_few_each_is_timed_again(self) -> None:
        self.run_lists(100 * FEWEST, apart=10 * MICROSECOND)
        # As many as it was to let go are still let go.
        self.run_lists(2 * FEWEST, apart=SECOND)
        self.assertEqual(self.run_lists(50, apart=SECOND), 50)

    def test_no_draw_ever_lets_none_or_too_many_go(self) -> None:
        for pick in (min, max):
            latency = Latency(Clock().seconds, lambda: self.now, pick)
            for _ in range(1000):
                latency.begin()()
                self.assertTrue(0 < latency.left < 2 * FEWEST)

    def test_cleared(self) -> None:
        self.run_lists(5, apart=SECOND)
        self.latency.clear()
        self.assertEqual(self.latency.histogram().total, 0)
