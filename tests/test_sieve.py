"""Who is spared and who is evicted: the marks, the two hands, the ghosts."""

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.eviction import evict
from mctwist.backends.memory import MemoryBackend
from mctwist.backends.sieve import MOST_GHOSTS, MOST_PIECES, MOST_VISITS, PIECE, Sieve, seen, stamp
from mctwist.backends.state import State
from mctwist.backends.transaction import Transaction
from mctwist.testing import NOW, get, put


class SieveTests(SynchronousTestCase):
    """The marks of places."""

    def test_a_stamp_is_a_moment_and_a_number(self) -> None:
        self.assertEqual(seen(stamp(NOW + 999, 7)), (NOW // 1000, 7))

    def test_a_visit_spares_once(self) -> None:
        for folded in (False, True):
            sieve = Sieve()
            sieve.visits[5] = stamp(NOW, 1)
            if folded:
                sieve.fold()
            self.assertEqual([sieve.spare(5), sieve.spare(5)], [True, False], folded)
            self.assertFalse(sieve.spare(6))

    def test_visits_in_every_round_spare_twice_more(self) -> None:
        sieve = Sieve()
        for _ in range(10):
            sieve.visits[5] = stamp(NOW, 1)
            self.assertTrue(sieve.spare(5))
        self.assertEqual([sieve.spare(5) for _ in range(3)], [True, True, False])

    def test_the_gate_takes_the_visit_away(self) -> None:
        sieve = Sieve()
        sieve.visits[5] = stamp(NOW, 1)
        self.assertEqual([sieve.admit(5), sieve.admit(5), sieve.spare(5)], [True, False, False])

    def test_the_stamp_stays_when_the_visit_is_taken(self) -> None:
        sieve = Sieve()
        sieve.visits[5] = mark = stamp(NOW, 1)
        for take in (lambda: sieve.spare(5), sieve.fold):
            self.assertEqual(sieve.stamp_of(5), mark)
            take()
        self.assertEqual(sieve.stamp_of(5), mark)
        sieve.written({5: mark})
        self.assertEqual(sieve.stamp_of(5), 0)

    def test_a_visit_meanwhile_is_not_taken_for_written(self) -> None:
        sieve = Sieve()
        sieve.visits[5] = stamp(NOW, 1)
        sieve.fold()
        stamps = sieve.stamps()
        sieve.visits[5] = later = stamp(NOW + 1, 2)
        sieve.fold()
        sieve.written(stamps)
        self.assertEqual(sieve.stamp_of(5), later)

    def test_what_a_round_has_not_met_leaves_no_marks(self) -> None:
        sieve = Sieve()
        for place in (1, 3 * PIECE, 9 * PIECE):
            sieve.visit(place)
        self.assertTrue(sieve.spare(3 * PIECE))
        sieve.end_round(9 * PIECE)
        self.assertEqual(set(sieve._marks), {3, 9})

    def test_all_that_grows_has_a_bound(self) -> None:
        sieve = Sieve()
        for place in range(MOST_VISITS + 10):
            sieve.visits[place * PIECE] = 1
        sieve.fold()
        self.assertEqual(len(sieve.stamps()), MOST_VISITS)
        self.assertEqual(len(sieve._marks), MOST_PIECES)
        for number in range(MOST_GHOSTS + 10):
            sieve.remember(b"%d" % number)
        self.assertFalse(sieve.knows(b"0"))
        self.assertTrue(sieve.knows(b"10"))
        self.assertFalse(sieve.knows(b"10"))


class EvictionTests(SynchronousTestCase):
    """The hands, over a store of a hundred items of the same size."""

    def setUp(self) -> None:
        self.backend = MemoryBackend()
        self.backend.open()
        self.backend.perform([[put(b"%02d" % number) for number in range(100)]], NOW)
        self.one = self.backend.live()[1] // 100

    def evicted(self, count: int) -> "list[int]":
        """What goes when there is room for so many fewer."""
        self.backend.resize(self.backend.live()[1] - count * self.one)
        told: list[int] = []
        self.backend.evicted = lambda entries: told.extend(int(entry.key) for entry in entries)
        self.backend.perform([], NOW)
        return told

    def visit(self, *numbers: int) -> None:
        self.backend.read([get(b"%02d" % number) for number in numbers], NOW)

    def test_the_oldest_that_nobody_has_visited_go_first(self) -> None:
        self.visit(0, 2, 5)
        self.assertEqual(self.evicted(4), [1, 3, 4, 6])

    def test_who_has_passed_the_gate_is_asked_again_when_few_are_young(self) -> None:
        self.visit(*range(95))
        # All that were visited pass; five are left, and the hand begins with the oldest.
        self.assertEqual(self.evicted(3), [0, 1, 2])
        self.visit(3, 4)
        self.assertEqual(self.evicted(2), [5, 6])

    def test_who_comes_back_counts_as_visited(self) -> None:
        self.assertEqual(self.evicted(2), [0, 1])
        self.backend.resize(1 << 30)
        self.backend.perform([[put(b"01"), put(b"aa")]], NOW)
        sieve = self.backend._sieve
        item = self.backend._items[b"01"]
        self.assertTrue(sieve.admit(item.place))
        self.assertFalse(sieve.admit(self.backend._items[b"aa"].place))

    def test_one_batch_does_not_go_through_everything(self) -> None:
        looked = 0

        def endless(place: int):  # type: ignore[no-untyped-def]
            nonlocal looked
            while True:
                place += 1
                looked += 1
                sieve.visits[place] = 1
                yield place, b"none"

        sieve, state = Sieve(), State()
        state.items, state.size, state.place = 10**6, 10**9, 10**9
        transaction = Transaction(lambda key: None, sieve.stamp_of, sieve, state, NOW)
        self.assertEqual(evict(transaction, sieve, 0, endless), [])
        self.assertTrue(1000 < looked < 100_000, looked)
