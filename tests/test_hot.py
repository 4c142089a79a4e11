"""The busiest keys: who they are, for how long it is looked for, and what it may take."""

from collections import Counter
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mctwist.hot import ASKED, EVERY, MOST_KEYS, MOST_TOLD, WINDOW, HotKeys, Sketch


class SketchTests(SynchronousTestCase):
    """Counters for a bounded number of keys."""

    def test_exact_while_there_is_room(self) -> None:
        sketch = Sketch()
        for number in range(MOST_KEYS):
            sketch.count(b"%d" % number, number + 1)
            sketch.count(b"0", 1)
        self.assertEqual(sketch.counts[b"7"], 8)
        self.assertEqual(sketch.counts[b"0"], 1 + MOST_KEYS)

    def test_what_is_frequent_stays_and_is_never_counted_too_often(self) -> None:
        random = Random(0)
        keys = [b"hot:%d" % random.randrange(5) for _ in range(20_000)]
        keys += [b"cold:%d" % number for number in range(200_000)]
        random.shuffle(keys)
        sketch, exact = Sketch(), Counter(keys)
        most = 0
        for key in keys:
            sketch.count(key, 1)
            most = max(most, len(sketch.counts))
        self.assertEqual(most, MOST_KEYS)
        for number in range(5):
            key = b"hot:%d" % number
            count = sketch.counts[key]
            self.assertTrue(exact[key] - 2 * len(keys) / MOST_KEYS <= count <= exact[key], count)


class HotKeysTests(SynchronousTestCase):
    """What a server has of them."""

    def setUp(self) -> None:
        self.clock = Clock()
        # Every eighth key, beginning with the first.
        self.hot = HotKeys(self.clock.seconds, lambda least, most: EVERY - 1)

    def test_nothing_before_somebody_asks(self) -> None:
        self.assertFalse(self.hot.active)
        seconds, operations, keys = self.hot.ask()
        self.assertEqual((seconds, operations, keys), (0, 0, []))
        self.assertTrue(self.hot.active)

    def test_who_they_are_and_how_busy(self) -> None:
        self.hot.ask()
        for _ in range(10):
            self.hot.count([b"a"] * EVERY * 3)
            self.hot.count([b"b"] * EVERY)
        self.clock.advance(2)
        seconds, operations, keys = self.hot.ask()
        self.assertEqual((seconds, operations), (2, 40 * EVERY))
        self.assertEqual(keys, [(b"a", 30 * EVERY), (b"b", 10 * EVERY)])

    def test_lists_of_one_key_are_sampled_as_long_ones_are(self) -> None:
        self.hot.ask()
        for _ in range(10 * EVERY):
            self.hot.count([b"a"])
        self.assertEqual(self.hot.ask().keys, [(b"a", 10 * EVERY)])

    def test_what_has_been_seen_once_is_not_told(self) -> None:
        self.hot.ask()
        self.hot.count([b"a"] * EVERY)
        self.hot.count([b"b"] * 2 * EVERY)
        self.assertEqual(self.hot.ask().keys, [(b"b", 2 * EVERY)])

    def test_no_more_than_so_many_are_told(self) -> None:
        self.hot.ask()
        for number in range(MOST_TOLD + 5):
            self.hot.count([b"%03d" % number] * EVERY * 2)
        keys = self.hot.ask().keys
        self.assertEqual([key for key, _ in keys], [b"%03d" % each for each in range(MOST_TOLD)])

    def test_only_the_last_seconds_count(self) -> None:
        self.hot.ask()
        self.hot.count([b"a"] * EVERY * 4)
        self.clock.advance(WINDOW + 1)
        self.hot.count([b"b"] * EVERY * 2)
        seconds, _, keys = self.hot.ask()
        self.assertEqual(seconds, WINDOW + 1)
        self.assertEqual(keys, [(b"a", EVERY * 4), (b"b", EVERY * 2)])
        self.clock.advance(WINDOW)
        self.assertEqual(self.hot.ask().keys, [(b"b", EVERY * 2)])

    def test_a_minute_after_the_last_question_it_ends(self) -> None:
        self.hot.ask()
        self.clock.advance(ASKED - 1)
        self.hot.ask()
        self.clock.advance(ASKED - 1)
        self.hot.count([b"a"] * EVERY * 2)
        self.assertTrue(self.hot.active)
        self.clock.advance(2)
        self.hot.count([b"a"] * EVERY * 2)
        self.assertFalse(self.hot.active)
        # Who asks anew is told nothing of what was before.
        self.assertEqual(self.hot.ask(), (0, 0, []))

    def test_a_clock_that_is_set_back(self) -> None:
        self.clock.advance(1000)
        self.hot.ask()
        self.clock.rightNow -= 500
        self.assertEqual(self.hot.ask(), (0, 0, []))
        self.hot.count([b"a"] * EVERY * 2)
        self.assertEqual(self.hot.ask().keys, [(b"a", EVERY * 2)])
