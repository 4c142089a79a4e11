"""Keys kept in order, and the gaps in them: held against lists and sets."""

import random
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.gaps import MOST, Gaps, walk
from mctwist.backends.sorted_keys import LONGEST, Growing, SortedKeys
from mctwist.item import BYTES, Item

ITEM = Item(BYTES, 0, 0, 0, 1, 1, 1, 1, b"")


def key_of(number: int) -> bytes:
    return b"%06d" % number


class SortedKeysTests(SynchronousTestCase):
    """Keys that come and go."""

    def test_they_agree_with_a_sorted_list(self) -> None:
        dice = random.Random(1)
        keys: set[bytes] = set()
        ordered = SortedKeys()
        for turn in range(400):
            fresh = {key_of(dice.randrange(9999)) for _ in range(dice.choice((1, 3, 300)))} - keys
            ordered.update(list(fresh))
            keys |= fresh
            for key in dice.sample(sorted(keys), min(len(keys), dice.choice((0, 1, 100)))):
                ordered.discard(key)
                keys.discard(key)
            ordered.discard(b"none")
            self.assertEqual(len(ordered), len(keys))
            start, end = (key_of(dice.randrange(9999)) for _ in range(2))
            most = dice.choice((1, 2, 50, 9999))
            expected = [key for key in sorted(keys) if start <= key < end]
            self.assertEqual(ordered.between(start, end, most, False), expected[:most], turn)
            self.assertEqual(ordered.between(start, end, most, True), expected[::-1][:most], turn)

    def test_one_at_a_time_from_either_end(self) -> None:
        for numbers in (range(3 * LONGEST), range(3 * LONGEST, 0, -1)):
            ordered = SortedKeys()
            for number in numbers:
                ordered.add(key_of(number))
            expected = sorted(map(key_of, numbers))
            self.assertEqual(ordered.between(b"", b"\xff", 10**6, False), expected)
            for key in expected[:-1]:
                ordered.discard(key)
            self.assertEqual(ordered.between(b"", b"\xff", 9, True), expected[-1:])

    def test_of_a_dict_that_grows_only_what_has_come_is_sorted(self) -> None:
        grown: dict[bytes, Any] = {b"b": 1, b"a": 2}
        growing = Growing(grown)
        self.assertEqual(growing.between(b"", b"z", 9, False), [b"a", b"b"])
        grown.update({b"b": 3, b"0": 4, b"c": 5})
        self.assertEqual(growing.between(b"", b"z", 9, False), [b"0", b"a", b"b", b"c"])
        self.assertEqual(growing.between(b"a", b"c", 1, True), [b"b"])


class GapsTests(SynchronousTestCase):
    """Ranges in which nothing lives."""

    def test_they_agree_with_a_set_of_numbers(self) -> None:
        dice = random.Random(2)
        gaps, empty = Gaps(), set()
        for turn in range(5000):
            first, second = sorted((dice.randrange(300), dice.randrange(300)))
            if dice.random() < 0.3 and second - first < 30:
                gaps.add(key_of(first), key_of(second))
                empty |= set(range(first, second))
            else:
                gaps.cut(key_of(first))
                empty.discard(first)
            number = dice.randrange(300)
            above = number
            while above in empty:
                above += 1
            # What lies between two numbers is in the gap as well; so is what is behind a cut.
            found = gaps.above(key_of(number))
            self.assertEqual(int(found[:6]) + (found[6:] == b"\0" and above > number),
                             above, turn)  # fmt: skip
            self.assertEqual(gaps.copy()._ranges, gaps._ranges)
            for (_, end), (start, _) in zip(gaps._ranges, gaps._ranges[1:]):
                self.assertTrue(end < start, turn)

    def test_going_down_a_gap_is_left_at_its_start(self) -> None:
        gaps = Gaps()
        gaps.add(b"c", b"f")
        for end, below in (
            (b"f", b"c"),
            (b"e", b"c"),
            (b"c", b"c"),
            (b"f\0", b"f\0"),
            (b"a", b"a"),
        ):
            self.assertEqual(gaps.below(end), below)

    def test_they_are_few(self) -> None:
        gaps = Gaps()
        for number in range(3 * MOST):
            gaps.add(key_of(2 * number), key_of(2 * number + 1))
            self.assertTrue(len(gaps) <= MOST)
        gaps = Gaps()
        gaps.add(key_of(0), key_of(10**5))
        for number in range(3 * MOST):
            gaps.cut(key_of(7 * number))
            self.assertTrue(len(gaps) <= MOST)


class WalkTests(SynchronousTestCase):
    """What it costs to take the first of a queue, or the last."""

    def taken(self, count: int, last: bool, front: int = 0) -> float:
        """
        How many keys are looked at for each of `count` that are taken, one after the other.

        :param front: after each so many, one comes in at the front.
        """
        keys = SortedKeys(map(key_of, range(count)))
        alive = set(map(key_of, range(count)))
        gaps = Gaps()
        looked = 0

        def get(key: bytes) -> Optional[Item]:
            nonlocal looked
            looked += 1
            return ITEM if key in alive else None

        taken = 0
        while alive:
            found = next(walk(keys.between, gaps, get, b"", b"\xff", 1, last), None)
            assert found is not None
            expected = max(alive) if last else min(alive)
            self.assertEqual(found[0], expected)
            alive.discard(expected)
            taken += 1
            if front and taken % front == 0 and taken < count:
                # Where there was something before: its key is still among them.
                back = key_of(count - 1 - taken // front if last else taken // front)
                alive.add(back)
                gaps.cut(back)
        return looked / taken

    def test_it_does_not_grow_with_what_has_been_taken(self) -> None:
        for last in (False, True):
            self.assertTrue(self.taken(3000, last) < 6)
            self.assertTrue(self.taken(3000, last, front=5) < 12)
