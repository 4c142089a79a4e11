"""What the meta commands mean, on a transaction over a dict."""

from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from mctwist import meta_operations, operations
from mctwist.backends.sieve import Sieve, stamp
from mctwist.backends.state import State
from mctwist.backends.transaction import Snapshot, Transaction, look, run
from mctwist.interfaces import MOST_BYTES, Fetched, NeedsWrite
from mctwist.item import BINARY_KEY, STALE, WON, Item
from mctwist.meta_operations import RENEW, TELL, TOUCH, VIVIFY
from mctwist.testing import NOW, SECOND

NOW_IN_SECONDS = NOW // SECOND
LATER = NOW + 60 * SECOND
LIMIT = 1 << 20

#: Written ten seconds ago, and to expire in sixty.
OLD = Item(0, 0, 7, LATER, 5, 5, 1, NOW_IN_SECONDS - 10, b"old")
NUMBER = OLD._replace(value=b"10")


def marked(marks: int, item: Item = OLD) -> Item:
    return item._replace(marks=marks)


class MetaCase(SynchronousTestCase):
    """A transaction in which an item is under b"key", and nothing else anywhere."""

    def setUp(self) -> None:
        self.sieve = Sieve()

    def transaction(self, item: Optional[Item] = None) -> Transaction:
        items = {} if item is None else {b"key": item}
        state = State()
        state.sequence, state.place, state.items = 100, 100, len(items)
        return Transaction(items.get, self.sieve.stamp_of, self.sieve, state, NOW)

    def snapshot(self, item: Optional[Item] = None) -> Snapshot:
        items = {} if item is None else {b"key": item}
        state = State()
        state.sequence = 100
        return Snapshot(items.get, self.sieve.stamp_of, self.sieve, state, NOW)

    def fetched(self, item: Optional[Item], *arguments: Any, **options: Any) -> Fetched:
        found = meta_operations.fetch(self.transaction(item), b"key", *arguments, **options)
        assert found is not None
        return found


class FetchTests(MetaCase):
    """mg."""

    def test_a_look_at_an_item_without_marks_is_the_item_and_writes_nothing(self) -> None:
        self.assertEqual(meta_operations.look(self.snapshot(OLD), b"key"), OLD)
        binary = marked(BINARY_KEY)
        self.assertEqual(meta_operations.look(self.snapshot(binary), b"key"), binary)
        self.assertIsNone(meta_operations.look(self.snapshot(), b"key"))

    def test_the_first_who_looks_at_what_is_stale_wins_and_no_other(self) -> None:
        transaction = self.transaction(marked(STALE))
        outcomes = [meta_operations.look(transaction, b"key") for _ in range(3)]
        self.assertEqual(
            [(found.won, found.sent) for found in outcomes if isinstance(found, Fetched)],
            [(True, False), (False, True), (False, True)],
        )
        item = transaction.get(b"key")
        assert item is not None
        self.assertEqual((item.marks, item.cas, item.value), (STALE | WON, OLD.cas, OLD.value))
        self.assertEqual((item.flags, item.expiry), (OLD.flags, OLD.expiry))

    def test_a_win_is_a_write_and_to_be_late_is_none(self) -> None:
        self.assertRaises(NeedsWrite, meta_operations.look, self.snapshot(marked(STALE)), b"key")
        for marks in (WON, STALE | WON):
            found = meta_operations.look(self.snapshot(marked(marks)), b"key")
            assert isinstance(found, Fetched)
            self.assertEqual((found.won, found.sent), (False, True))

    def test_on_a_snapshot_only_what_changes_something_needs_to_write(self) -> None:
        soon, late = ((RENEW, 61),), ((RENEW, 60),)
        for item, terms, options, writes in (
            (OLD, soon, {}, True),
            (OLD, late, {}, False),
            (marked(WON), soon, {}, False),
            (OLD, ((TOUCH, 30),), {}, True),
            (OLD, ((TOUCH, 60),), {}, False),
            (OLD, ((VIVIFY, 30),), {"vivify": True}, False),
            (None, ((VIVIFY, 30),), {"vivify": True}, True),
            (None, ((TOUCH, 30),), {}, False),
        ):
            snapshot = self.snapshot(item)
            call: Any = (meta_operations.fetch, snapshot, b"key", terms)
            if writes:
                self.assertRaises(NeedsWrite, *call, **options)
            else:
                call[0](*call[1:], **options)

    def test_what_is_vivified(self) -> None:
        transaction = self.transaction()
        options: dict[str, Any] = {"new": 9, "marks": BINARY_KEY, "vivify": True}
        found = meta_operations.fetch(transaction, b"key", ((VIVIFY, 30),), **options)
        assert found is not None
        self.assertTrue(found.created)
        self.assertTrue(found.won)
        self.assertFalse(found.sent)
        item = transaction.get(b"key")
        self.assertEqual(item, found.item)
        assert item is not None
        self.assertEqual((item.value, item.flags, item.cas), (b"", 0, 9))
        self.assertEqual((item.marks, item.expiry), (BINARY_KEY | WON, NOW + 30 * SECOND))
        again = meta_operations.fetch(transaction, b"key", ((VIVIFY, 90),), **options)
        assert again is not None
        self.assertEqual((again.created, again.won, again.sent), (False, False, True))
        self.assertEqual(again.item.expiry, item.expiry)

    def test_terms_are_met_in_their_order(self) -> None:
        for item, terms, told, after, won in (
            (OLD, (), -1, 60, False),
            (OLD, ((TELL, 0),), 60, 60, False),
            (OLD, ((TELL, 0), (TOUCH, 90)), 60, 90, False),
            (OLD, ((TOUCH, 90), (TELL, 0)), 90, 90, False),
            (OLD, ((TOUCH, 0), (TELL, 0)), -1, None, False),
            (OLD, ((RENEW, 61), (TOUCH, 90)), -1, 90, True),
            (OLD, ((TOUCH, 90), (RENEW, 61)), -1, 90, False),
            (OLD, ((TOUCH, 10), (RENEW, 30)), -1, 10, True),
            (OLD, ((VIVIFY, 10),), -1, 60, False),
            (None, ((TELL, 0), (VIVIFY, 10)), -1, 10, True),
            (None, ((VIVIFY, 10), (TELL, 0)), 10, 10, True),
            (None, ((VIVIFY, 10), (TOUCH, 20), (TELL, 0)), 20, 20, True),
            (None, ((TOUCH, 20), (VIVIFY, 10)), -1, 10, True),
        ):
            found = self.fetched(item, terms, vivify=True)
            expiry = 0 if after is None else NOW + after * SECOND
            self.assertEqual((found.left, found.item.expiry, found.won), (told, expiry, won), terms)

    def test_an_item_without_expiry_is_never_renewed_for_that(self) -> None:
        for exptime in (1, 30, 30 * 86400, 2_000_000_000):
            self.assertFalse(self.fetched(OLD._replace(expiry=0), ((RENEW, exptime),)).won)

    def test_what_soon_expires_by_the_date(self) -> None:
        for date, won in ((LATER // SECOND, False), (LATER // SECOND + 1, True)):
            self.assertEqual(self.fetched(OLD, ((RENEW, date),)).won, won)

    def test_the_past_is_that_before_this_fetch(self) -> None:
        transaction = self.transaction(OLD)
        told = []
        for unseen in (True, False, True, True):
            found = meta_operations.fetch(transaction, b"key", unseen=unseen, past=True)
            assert found is not None
            told.append((found.idle, found.fetched))
        self.assertEqual(told, [(10, False), (10, False), (0, True), (0, True)])

    def test_a_change_of_its_expiry_or_marks_does_not_forget_that_it_was_fetched(self) -> None:
        self.sieve.visits[OLD.place] = stamp(NOW_IN_SECONDS - 5, OLD.sequence)
        for change in (
            lambda transaction: meta_operations.fetch(transaction, b"key", ((TOUCH, 9),)),
            lambda transaction: meta_operations.fetch(
                transaction, b"key", ((TOUCH, 9),), unseen=True
            ),
            lambda transaction: meta_operations.invalidate(transaction, b"key", None, None, None),
            lambda transaction: operations.increment(transaction, b"key", 1),
        ):
            transaction = self.transaction(NUMBER)
            change(transaction)
            found = meta_operations.inspect(transaction, b"key")
            assert found is not None
            self.assertTrue(found.fetched)

    def test_nor_is_what_was_not_fetched_taken_for_it(self) -> None:
        transaction = self.transaction(NUMBER)
        meta_operations.fetch(transaction, b"key", ((TOUCH, 9),), unseen=True)
        meta_operations.invalidate(transaction, b"key", None, None, None)
        found = meta_operations.inspect(transaction, b"key")
        assert found is not None
        self.assertFalse(found.fetched)

    def test_to_inspect_is_no_access_and_no_win(self) -> None:
        snapshot = self.snapshot(marked(STALE))
        self.assertEqual(
            meta_operations.inspect(snapshot, b"key"), Fetched(marked(STALE), 60, 10, False)
        )
        self.assertEqual(self.sieve.visits, {})
        self.assertIsNone(meta_operations.inspect(self.snapshot(), b"key"))

    def test_the_bytes_of_an_instalment_are_also_those_of_what_is_fetched_on_terms(self) -> None:
        large = OLD._replace(value=b"v" * (MOST_BYTES // 2))
        step = (meta_operations.fetch, b"key", (((TELL, 0),),), lambda *_: b"")
        self.assertEqual(len(run(self.transaction(large), [[step] * 10])[0]), 3)
        self.assertEqual(len(look(self.snapshot(large), [step] * 10)), 3)


class ChangeTests(MetaCase):
    """md and ma, and what ms has beyond the classic commands."""

    def test_invalidate(self) -> None:
        for item, cas, exptime, new, status, after in (
            (None, None, None, None, "NOT_FOUND", None),
            (OLD, 4, None, None, "EXISTS", (0, LATER, 5)),
            (OLD, 0, None, None, "EXISTS", (0, LATER, 5)),
            (OLD, 5, None, None, "DONE", (STALE, LATER, 101)),
            (OLD, None, 30, 8, "DONE", (STALE, NOW + 30 * SECOND, 8)),
            (OLD, None, 0, 0, "DONE", (STALE, 0, 0)),
            (marked(STALE | WON | BINARY_KEY), None, None, None, "DONE",
             (STALE | BINARY_KEY, LATER, 101)),
        ):  # fmt: skip
            transaction = self.transaction(item)
            outcome = meta_operations.invalidate(transaction, b"key", cas, exptime, new)
            self.assertEqual(outcome[0].name, status)
            held = transaction.get(b"key")
            self.assertEqual(held and (held.marks, held.expiry, held.cas), after)
            self.assertEqual(held and held.value, after and b"old")

    def test_blank(self) -> None:
        for item, cas, new, stale, status, after in (
            (None, None, None, False, "NOT_FOUND", None),
            (OLD, 4, None, False, "EXISTS", (b"old", 7, LATER, 0, 5)),
            (OLD, 5, None, False, "DELETED", (b"", 3, NOW + 9 * SECOND, 0, 5)),
            (OLD, None, 8, False, "DELETED", (b"", 3, NOW + 9 * SECOND, 0, 8)),
            (OLD, None, None, True, "DONE", (b"", 3, NOW + 9 * SECOND, STALE, 101)),
            (marked(WON | STALE | BINARY_KEY), None, None, False, "DELETED",
             (b"", 3, NOW + 9 * SECOND, BINARY_KEY, 5)),
        ):  # fmt: skip
            transaction = self.transaction(item)
            outcome = meta_operations.blank(transaction, b"key", cas, 3, 9, new, stale)
            self.assertEqual(outcome[0].name, status)
            held = transaction.get(b"key")
            self.assertEqual(
                held and (held.value, held.flags, held.expiry, held.marks, held.cas), after
            )

    def test_count(self) -> None:
        for item, up, delta, cas, status, value in (
            (None, True, 1, 0, "NOT_FOUND", None),
            (NUMBER, True, 5, 0, "STORED", b"15"),
            (NUMBER, False, 5, 0, "STORED", b"5 "),
            (NUMBER, False, 11, 0, "STORED", b"0 "),
            (NUMBER, True, 5, 5, "STORED", b"15"),
            (NUMBER, True, 5, 4, "EXISTS", b"10"),
            (OLD, True, 5, 0, "NOT_NUMERIC", b"old"),
            (OLD, True, 5, 4, "EXISTS", b"old"),
            (OLD._replace(value=b""), True, 5, 4, "NOT_NUMERIC", b""),
        ):
            transaction = self.transaction(item)
            arguments: Any = (up, delta, cas, (), None, 0, None)
            counted = meta_operations.count(transaction, b"key", *arguments)
            self.assertEqual(counted[0].name, status)
            held = transaction.get(b"key")
            self.assertEqual(held and held.value, value)
            self.assertEqual(held, counted[1])

    def test_a_count_that_makes_its_item_makes_it_as_it_is_to_begin(self) -> None:
        transaction = self.transaction()
        terms = ((VIVIFY, 30), (TELL, 0))
        status, item, left = meta_operations.count(
            transaction, b"key", True, 5, 0, terms, 9, BINARY_KEY, 13
        )
        self.assertEqual(item, transaction.get(b"key"))
        assert item is not None
        self.assertEqual((status.name, item.value, left), ("DONE", b"13", 30))
        self.assertEqual((item.cas, item.expiry), (9, NOW + 30 * SECOND))
        self.assertEqual(item.marks, BINARY_KEY)
        _, again, _ = meta_operations.count(transaction, b"key", True, 5, 0, terms, None, 0, 13)
        assert again is not None
        self.assertEqual((again.value, again.expiry), (b"18", item.expiry))
        self.assertEqual(again.marks, BINARY_KEY)

    def test_a_number_keeps_its_marks_as_long_as_it_has_room(self) -> None:
        for value, marks in ((b"8", STALE | BINARY_KEY), (b"9", BINARY_KEY)):
            item = OLD._replace(value=value, marks=STALE | BINARY_KEY)
            transaction = self.transaction(item)
            operations.increment(transaction, b"key", 1)
            held = transaction.get(b"key")
            assert held is not None
            self.assertEqual(held.marks, marks)

    def test_older_over_newer_where_that_is_allowed(self) -> None:
        for item, cas, stale, status, after in (
            (OLD, 5, True, "STORED", (b"new", 0, 9)),
            (OLD, 4, True, "STORED", (b"new", STALE, LATER)),
            (OLD, 4, False, "EXISTS", (b"old", 0, LATER)),
            (OLD, 6, True, "EXISTS", (b"old", 0, LATER)),
            (OLD, 0, True, "EXISTS", (b"old", 0, LATER)),
            (marked(STALE | WON), 4, True, "STORED", (b"new", STALE | WON, LATER)),
            (marked(WON), 4, True, "STORED", (b"new", STALE | WON, LATER)),
            (marked(STALE | WON), 5, True, "STORED", (b"new", 0, 9)),
        ):
            transaction = self.transaction(item)
            expiry = NOW + 9
            arguments: Any = (b"new", 0, expiry, cas, 0, None, stale)
            outcome = operations.compare_and_swap(transaction, b"key", *arguments)
            self.assertEqual(outcome[0].name, status)
            held = transaction.get(b"key")
            assert held is not None
            shown = 9 if held.expiry == expiry else held.expiry
            self.assertEqual((held.value, held.marks, shown), after)

    def test_an_append_may_compare_and_may_make_what_is_not_there(self) -> None:
        made = (3, LATER, BINARY_KEY)
        for extend in (operations.append, operations.prepend):
            for item, cas, otherwise, status, size in (
                (OLD, 5, None, "STORED", 4),
                (OLD, 4, None, "EXISTS", 3),
                (OLD, 4, made, "EXISTS", 3),
                (None, 4, None, "NOT_STORED", None),
                (None, 4, made, "STORED", 1),
                (None, 0, made, "STORED", 1),
            ):
                transaction = self.transaction(item)
                outcome = extend(transaction, b"key", b"!", LIMIT, cas, 77, otherwise)
                self.assertEqual(outcome[0].name, status)
                held = transaction.get(b"key")
                self.assertEqual(held and len(held.value), size)
                if held is not None and status == "STORED":
                    self.assertEqual(held.cas, 77)
                if held is not None and item is None:
                    self.assertEqual((held.flags, held.expiry, held.marks), made)

    def test_what_is_stored_has_the_marks_and_the_cas_it_is_given(self) -> None:
        for store in (operations.store, operations.add, operations.replace):
            item = None if store is operations.add else OLD
            transaction = self.transaction(item)
            store(transaction, b"key", b"new", 0, 0, BINARY_KEY, 77)
            held = transaction.get(b"key")
            assert held is not None
            self.assertEqual((held.marks, held.cas), (BINARY_KEY, 77))

    def test_a_delete_may_compare(self) -> None:
        for cas, status in ((5, "DELETED"), (4, "EXISTS"), (0, "EXISTS"), (None, "DELETED")):
            transaction = self.transaction(OLD)
            self.assertEqual(operations.delete(transaction, b"key", cas)[0].name, status)
            self.assertEqual(transaction.get(b"key") is None, status == "DELETED")
