"""memcached's meaning of every command, on a transaction over a dict."""

from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mctwist import operations
from mctwist.backends.sieve import Sieve
from mctwist.backends.state import State
from mctwist.backends.transaction import Snapshot, Transaction
from mctwist.interfaces import ITransaction, NeedsWrite
from mctwist.item import STALE, Item, size_in_memcached
from mctwist.operations import expiry_of, number_in
from mctwist.testing import NOW, SECOND

DAY = 24 * 60 * 60
LATER = NOW + 60 * SECOND
LIMIT = 1 << 20

OLD = Item(0, STALE, 7, LATER, 5, 5, 1, 0, b"old")
TOP = (1 << 64) - 1


def no_stamp(place: int) -> int:
    """Nothing has ever been visited."""
    return 0


class OperationTests(SynchronousTestCase):
    """Each operation where there is an item, and where there is none."""

    def transaction(self, item: Optional[Item] = None) -> Transaction:
        """One in which `item` is under b"key", and nothing else anywhere."""
        items = {} if item is None else {b"key": item}
        state = State()
        state.sequence, state.place, state.items = 100, 100, len(items)
        return Transaction(items.get, no_stamp, Sieve(), state, NOW)

    def test_the_transactions_provide_the_interface(self) -> None:
        verifyObject(ITransaction, self.transaction())
        verifyObject(ITransaction, Snapshot(lambda key: None, no_stamp, Sieve(), State(), NOW))

    def test_on_a_hit_and_on_a_miss(self) -> None:
        store = (b"new", 9, LATER + 1)
        new: tuple[Any, ...] = (b"new", 9, LATER + 1)
        old: tuple[Any, ...] = (b"old", 7, LATER)
        gone: tuple[Any, ...] = (None, None, None)
        for operation, arguments, hit, after_hit, miss, after_miss in (
            (operations.store, store, "STORED", new, "STORED", new),
            (operations.add, store, "NOT_STORED", old, "STORED", new),
            (operations.replace, store, "STORED", new, "NOT_STORED", gone),
            (operations.compare_and_swap, (*store, 5), "STORED", new, "NOT_FOUND", gone),
            (operations.compare_and_swap, (*store, 6), "EXISTS", old, "NOT_FOUND", gone),
            (operations.compare_and_swap, (*store, 0), "EXISTS", old, "NOT_FOUND", gone),
            (operations.append, (b"er", LIMIT), "STORED", (b"older", 7, LATER), "NOT_STORED", gone),
            (operations.prepend, (b"c", LIMIT), "STORED", (b"cold", 7, LATER), "NOT_STORED", gone),
            (operations.delete, (), "DELETED", gone, "NOT_FOUND", gone),
            (operations.touch, (LATER + 2,), "TOUCHED", (b"old", 7, LATER + 2), "NOT_FOUND", gone),
            (operations.touch, (0,), "TOUCHED", (b"old", 7, 0), "NOT_FOUND", gone),
            (operations.increment, (1,), "NOT_NUMERIC", old, "NOT_FOUND", gone),
            (operations.decrement, (1,), "NOT_NUMERIC", old, "NOT_FOUND", gone),
        ):
            for item, status, after in ((OLD, hit, after_hit), (None, miss, after_miss)):
                transaction = self.transaction(item)
                outcome = operation(transaction, b"key", *arguments)
                case = f"{operation.__name__} {arguments} on {item}"
                self.assertEqual(outcome[0].name, status, case)
                held = transaction.get(b"key")
                found = (held.value, held.flags, held.expiry) if held else gone
                self.assertEqual(found, after, case)
                if status == "DELETED":
                    self.assertEqual(outcome[1], OLD)
                else:
                    # What the key now holds, or what kept the command from its end.
                    self.assertEqual(outcome[1], held, case)

    def test_reads(self) -> None:
        self.assertEqual(operations.fetch(self.transaction(OLD), b"key"), OLD)
        self.assertIsNone(operations.fetch(self.transaction(), b"key"))
        self.assertEqual(operations.constant(self.transaction(), b"", b"answer"), b"answer")
        transaction = self.transaction()
        operations.store(transaction, b"key", b"12345", 1, 0)
        self.assertEqual(operations.counts(transaction, b""), (1, size_in_memcached(b"key", 5, 1)))

    def test_fetch_and_touch(self) -> None:
        self.assertIsNone(operations.fetch_and_touch(self.transaction(), b"key", 0))
        transaction = self.transaction(OLD)
        item = operations.fetch_and_touch(transaction, b"key", LATER + 5)
        assert item is not None
        self.assertEqual((item.value, item.flags, item.expiry), (b"old", 7, LATER + 5))
        self.assertEqual(transaction.get(b"key"), item)

    def test_flush(self) -> None:
        transaction = self.transaction(OLD)
        self.assertEqual(operations.flush(transaction, b"", 0), (operations.DONE, None))
        self.assertIsNone(transaction.get(b"key"))

    def test_what_changes_the_cas_and_what_does_not(self) -> None:
        number = OLD._replace(value=b"1")
        for operation, arguments, changes in (
            (operations.store, (b"new", 0, 0), True),
            (operations.replace, (b"new", 0, 0), True),
            (operations.compare_and_swap, (b"new", 0, 0, 5), True),
            (operations.append, (b"1", LIMIT), True),
            (operations.prepend, (b"1", LIMIT), True),
            (operations.increment, (1,), True),
            (operations.decrement, (1,), True),
            (operations.touch, (0,), False),
            (operations.fetch_and_touch, (0,), False),
        ):
            transaction = self.transaction(number)
            operation(transaction, b"key", *arguments)
            item = transaction.get(b"key")
            assert item is not None
            self.assertEqual(item.cas != number.cas, changes, operation.__name__)
            self.assertEqual(item.sequence, 101)

    def test_marks_go_with_the_old_value_and_stay_with_a_touch(self) -> None:
        for operation, arguments, marks in (
            (operations.store, (b"new", 0, 0), 0),
            (operations.touch, (0,), STALE),
            (operations.fetch_and_touch, (0,), STALE),
        ):
            transaction = self.transaction(OLD)
            operation(transaction, b"key", *arguments)
            item = transaction.get(b"key")
            assert item is not None
            self.assertEqual(item.marks, marks, operation.__name__)

    def test_a_cas_twice_with_one_token_succeeds_once(self) -> None:
        transaction = self.transaction(OLD)
        first = operations.compare_and_swap(transaction, b"key", b"1", 0, 0, OLD.cas)
        second = operations.compare_and_swap(transaction, b"key", b"2", 0, 0, OLD.cas)
        self.assertEqual((first[0], second[0]), (operations.STORED, operations.EXISTS))

    def test_a_token_of_zero_names_nothing(self) -> None:
        transaction = self.transaction(OLD._replace(cas=0))
        outcome = operations.compare_and_swap(transaction, b"key", b"1", 0, 0, 0)
        self.assertEqual(outcome[0], operations.EXISTS)

    def test_an_item_is_extended_up_to_the_limit_and_no_further(self) -> None:
        for extend in (operations.append, operations.prepend):
            limit = size_in_memcached(b"key", len(b"old") + 10, OLD.flags)
            for length, status in ((10, "STORED"), (11, "NOT_STORED"), (0, "STORED")):
                transaction = self.transaction(OLD)
                outcome = extend(transaction, b"key", b"v" * length, limit)
                self.assertEqual(outcome[0].name, status, (extend.__name__, length))
                item = transaction.get(b"key")
                assert item is not None
                self.assertEqual(len(item.value), 3 + (length if status == "STORED" else 0))

    def test_on_a_snapshot_whatever_finds_something_to_write_says_so(self) -> None:
        items = {b"key": OLD, b"n": OLD._replace(value=b"1")}
        snapshot = Snapshot(items.get, no_stamp, Sieve(), State(), NOW)
        for operation, key, arguments in (
            (operations.store, b"new", (b"", 0, 0)),
            (operations.add, b"new", (b"", 0, 0)),
            (operations.delete, b"key", ()),
            (operations.touch, b"key", (0,)),
            (operations.fetch_and_touch, b"key", (0,)),
            (operations.increment, b"n", (1,)),
            (operations.append, b"key", (b"", LIMIT)),
            (operations.flush, b"", (0,)),
        ):
            self.assertRaises(NeedsWrite, operation, snapshot, key, *arguments)
        self.assertEqual(operations.fetch(snapshot, b"key"), OLD)


class ArithmeticTests(SynchronousTestCase):
    """incr and decr (memcached.c, do_add_delta)."""

    def counted(self, operation: Any, value: bytes, delta: int) -> "tuple[str, bytes]":
        items = {b"key": OLD._replace(value=value)}
        transaction = Transaction(items.get, no_stamp, Sieve(), State(), NOW)
        status, item = operation(transaction, b"key", delta)
        self.assertEqual(transaction.get(b"key"), item)
        self.assertEqual((item.flags, item.expiry), (OLD.flags, OLD.expiry))
        return status.name, item.value

    def test_increment(self) -> None:
        for value, delta, after in (
            (b"0", 1, b"1"),
            (b"9", 1, b"10"),
            (b"99", 0, b"99"),
            (b"5", TOP, b"4"),
            (b"%d" % TOP, 1, b"0".ljust(20)),
            (b"%d" % TOP, 2, b"1".ljust(20)),
            (b"%d" % (1 << 63), 1 << 63, b"0".ljust(19)),
            (b"%d" % (TOP - 1), 1, b"%d" % TOP),
            (b"007", 1, b"8  "),
            (b"5 ", 1, b"6 "),
            (b"9 ", 1, b"10"),
            (b"9  ", 1, b"10 "),
        ):
            self.assertEqual(
                self.counted(operations.increment, value, delta), ("STORED", after), (value, delta)
            )

    def test_decrement(self) -> None:
        for value, delta, after in (
            (b"1", 1, b"0"),
            (b"10", 1, b"9 "),
            (b"100", 1, b"99 "),
            (b"100", 91, b"9  "),
            (b"0", 1, b"0"),
            (b"5", 6, b"0"),
            (b"5", TOP, b"0"),
            (b"10", 11, b"0 "),
            (b"%d" % TOP, TOP, b"0".ljust(20)),
            (b"9 ", 1, b"8 "),
        ):
            self.assertEqual(
                self.counted(operations.decrement, value, delta), ("STORED", after), (value, delta)
            )

    def test_what_is_no_number_stays_as_it_is(self) -> None:
        for value in (b"", b" ", b"a", b"1a", b"-1", b"1.5", b"0x10", b"1e3", b"1_0",
                      b"%d" % (TOP + 1), b"9" * 30, "\u0661".encode()):  # fmt: skip
            for operation in (operations.increment, operations.decrement):
                self.assertEqual(
                    self.counted(operation, value, 1), ("NOT_NUMERIC", value), repr(value)
                )

    def test_what_is_read_as_a_number(self) -> None:
        # util.c, safe_strtoull: strtoull, then a blank or the end.
        for value, number in (
            (b"0", 0),
            (b"%d" % TOP, TOP),
            (b"%d" % (TOP + 1), None),
            (b"00000000000000000000000001", 1),
            (b" 1", 1),
            (b"\t1", 1),
            (b"1 ", 1),
            (b"1 and more", 1),
            (b"1\r\n", 1),
            (b"1\0", 1),
            (b"+1", 1),
            (b"+", None),
            (b"++1", None),
            (b"-0", 0),
            (b"-1", None),
            # What strtoull makes of it is small, so the sign is not looked for.
            (b"-%d" % TOP, 1),
            (b"-%d" % (TOP + 1), None),
            (b"1\xff", None),
        ):
            self.assertEqual(number_in(value), number, repr(value))

    def test_a_very_long_value_is_no_number_and_takes_no_time(self) -> None:
        self.assertIsNone(number_in(b"9" * (1 << 20)))
        self.assertIsNone(number_in(b" " * (1 << 20)))


class ExpiryTests(SynchronousTestCase):
    """memcached's exptimes (memcached.c, realtime)."""

    def test_expiry_of(self) -> None:
        thirty_days = 30 * DAY
        for exptime, expiry in (
            (0, 0),
            (1, NOW + SECOND),
            (thirty_days, NOW + thirty_days * SECOND),
            (thirty_days + 1, (thirty_days + 1) * SECOND),
            (NOW // SECOND + 100, NOW + 100 * SECOND),
            ((1 << 31) - 1, ((1 << 31) - 1) * SECOND),
        ):
            self.assertEqual(expiry_of(exptime, NOW), expiry, exptime)

    def test_a_negative_one_has_passed(self) -> None:
        for exptime in (-1, -thirty(), -(1 << 31)):
            expiry = expiry_of(exptime, NOW)
            self.assertTrue(0 < expiry <= NOW, exptime)


def thirty() -> int:
    """Thirty days, in seconds."""
    return 30 * DAY
