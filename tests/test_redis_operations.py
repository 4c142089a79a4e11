"""What Redis's commands mean, on a transaction over a dict."""

from fractions import Fraction
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist import redis_operations as redis
from mctwist.backends.sieve import Sieve
from mctwist.backends.state import State
from mctwist.backends.transaction import Snapshot, Transaction, run
from mctwist.interfaces import Many, NeedsWrite
from mctwist.item import BINARY_KEY, BYTES, KEPT, STALE, TYPED, Item
from mctwist.operations import DONE
from mctwist.redis_operations import Condition, Fault, ReplyTooLong, When
from mctwist.testing import NOW, SECOND, step
from tests.test_operations import no_stamp

LATER = NOW + 60 * SECOND
LIMIT = 1 << 20
SOON = When(True, 60 * SECOND)
OLD = Item(BYTES, STALE, 7, LATER, 5, 5, 1, 0, b"old")


class RedisOperationTests(SynchronousTestCase):
    def transaction(self, item: Optional[Item] = None) -> Transaction:
        """One in which `item` is under b"key", and nothing else anywhere."""
        items = {} if item is None else {b"key": item}
        state = State()
        state.sequence, state.place, state.items = 100, 100, len(items)
        return Transaction(items.get, no_stamp, Sieve(), state, NOW)

    def check(
        self,
        operation: Any,
        arguments: "tuple[Any, ...]",
        expected: Any,
        after: Any,
        item: Optional[Item] = OLD,
    ) -> None:
        """`after`: value, flags and expiry of what is then under b"key"; None: nothing is."""
        transaction = self.transaction(item)
        result = operation(transaction, b"key", *arguments)
        if isinstance(result, Item):
            result = result.value
        self.assertEqual(result, expected, (operation, arguments))
        left = transaction.get(b"key")
        found = None if left is None else (left.value, left.flags, left.expiry)
        self.assertEqual(found, after, (operation, arguments))

    def test_what_is_kept_stays_so_when_it_is_changed(self) -> None:
        number = Item(BYTES, KEPT, 0, 0, 100, 100, 100, NOW // 1000, b"5")
        for operation, arguments in (
            (redis.count, (1,)),
            (redis.count_float, (Fraction(1, 2),)),
            (redis.append, (b"5", LIMIT)),
            (redis.overwrite, (0, b"7", LIMIT)),
        ):
            transaction = self.transaction(number)
            operation(transaction, b"key", *arguments)
            left = transaction.get(b"key")
            assert left is not None
            self.assertEqual(left.marks, KEPT, operation)
        transaction = self.transaction(number)
        redis.rename(transaction, b"key", b"a new one", LIMIT)
        moved = transaction.get(b"a new one")
        assert moved is not None
        self.assertEqual(moved.marks, KEPT | BINARY_KEY)

    def test_small_commands_that_make_large_values_are_bounded(self) -> None:
        transaction = self.transaction()
        steps = [step(redis.overwrite, b"key", 1000, b"x", 1 << 20)] * 100
        self.assertRaises(redis.ReplyTooLong, redis.execute, transaction, b"", {}, steps, 50 * 1001)
        redis.execute(self.transaction(), b"", {}, steps[:49], 50 * 1001)

    def test_on_a_hit(self) -> None:
        old = (b"old", 7, LATER)
        for operation, arguments, expected, after in (
            (redis.store, (b"new",), DONE, (b"new", 0, 0)),
            (redis.store, (b"new", SOON), DONE, (b"new", 0, LATER)),
            (redis.store, (b"new", When(False, LATER)), DONE, (b"new", 0, LATER)),
            (redis.store, (b"new", When(False, NOW)), DONE, None),
            (redis.store, (b"new", None, True), DONE, (b"new", 0, 0)),
            (redis.store, (b"new", None, False), None, old),
            (redis.store, (b"new", None, None, True), DONE, (b"new", 0, LATER)),
            (redis.store, (b"new", None, None, False, True), b"old", (b"new", 0, 0)),
            (redis.store, (b"new", None, False, False, True), b"old", old),
            (redis.store, (b"new", When(False, 1), None, False, True), b"old", None),
            (redis.fetch_and_delete, (), b"old", None),
            (redis.fetch_and_expire, (None, None), b"old", (b"old", 7, 0)),
            (redis.fetch_and_expire, (When(True, 5), None), b"old", (b"old", 7, NOW + 5)),
            (redis.fetch_and_expire, (When(False, 5), None), b"old", None),
            (redis.fetch_and_expire, (None, Fault.BAD_EXPIRY), Fault.BAD_EXPIRY, old),
            (redis.append, (b"er", LIMIT), 5, (b"older", 7, LATER)),
            (redis.append, (b"er", 70), Fault.TOO_LARGE, old),
            (redis.overwrite, (1, b"xyz", LIMIT), 4, (b"oxyz", 7, LATER)),
            (redis.overwrite, (5, b"x", LIMIT), 6, (b"old\0\0x", 7, LATER)),
            (redis.overwrite, (1 << 40, b"x", LIMIT), Fault.TOO_LARGE, old),
            (redis.overwrite, (9, b"", LIMIT), 3, old),
            (redis.measure, (), 3, old),
            (redis.fetch_range, (1, -1), b"ld", old),
            (redis.count, (1,), Fault.NOT_AN_INTEGER, old),
            (redis.count_float, (Fraction(1),), Fault.NOT_A_FLOAT, old),
            (redis.expire, (SOON, frozenset()), 1, (b"old", 7, LATER)),
            (redis.expire, (When(False, 0), frozenset()), 1, None),
            (redis.expire, (When(True, -5), frozenset()), 1, None),
            (redis.expire, (When(True, 5), frozenset({Condition.GT})), 0, old),
            (redis.persist, (), 1, (b"old", 7, 0)),
            (redis.time_left, (1, False), 60 * SECOND, old),
            (redis.time_left, (1000, False), 60, old),
            (redis.time_left, (1000, True), LATER // 1000, old),
            (redis.kind_of, (), BYTES, old),
            (redis.rename, (b"key", LIMIT), DONE, old),
            (redis.rename, (b"new", LIMIT), DONE, None),
            (redis.rename, (b"k" * 250, 100), Fault.TOO_LARGE, old),
        ):
            self.check(operation, arguments, expected, after)

    def test_on_a_miss(self) -> None:
        for operation, arguments, expected, after in (
            (redis.store, (b"new", None, True), None, None),
            (redis.store, (b"new", None, False), DONE, (b"new", 0, 0)),
            (redis.store, (b"new", None, None, True), DONE, (b"new", 0, 0)),
            (redis.store, (b"new", None, None, False, True), None, (b"new", 0, 0)),
            (redis.fetch_and_delete, (), None, None),
            (redis.fetch_and_expire, (None, Fault.BAD_EXPIRY), None, None),
            (redis.append, (b"x", LIMIT), 1, (b"x", 0, 0)),
            (redis.overwrite, (2, b"x", LIMIT), 3, (b"\0\0x", 0, 0)),
            (redis.overwrite, (2, b"", LIMIT), 0, None),
            (redis.measure, (), 0, None),
            (redis.fetch_range, (0, -1), None, None),
            (redis.count, (-5,), -5, (b"-5", 0, 0)),
            (redis.count_float, (Fraction(1, 2),), b"0.5", (b"0.5", 0, 0)),
            (redis.expire, (SOON, frozenset()), 0, None),
            (redis.persist, (), 0, None),
            (redis.time_left, (1, False), -2, None),
            (redis.kind_of, (), None, None),
            (redis.rename, (b"new", LIMIT), Fault.NO_SUCH_KEY, None),
        ):
            self.check(operation, arguments, expected, after, None)

    def test_what_is_a_number(self) -> None:
        for value, delta, expected in (
            (b"5", 1, 6),
            (b"-5", 1, -4),
            (b"10  ", -1, 9),
            (b"9223372036854775806", 1, 9223372036854775807),
            (b"9223372036854775807", 1, Fault.OVERFLOW),
            (b"-9223372036854775808", -1, Fault.OVERFLOW),
            (b"9223372036854775808", 1, Fault.NOT_AN_INTEGER),
            (b"18446744073709551615", 1, Fault.NOT_AN_INTEGER),
            *((word, 1, Fault.NOT_AN_INTEGER) for word in _NO_INTEGERS),
        ):
            item = OLD._replace(value=value)
            left = (b"%d" % expected if isinstance(expected, int) else value, 7, LATER)
            self.check(redis.count, (delta,), expected, left, item)

    def test_numbers_are_added_as_redis_adds_them(self) -> None:
        for value, delta, expected in (
            (b"3.0", b"1.1", b"4.1"),
            (b"0.1", b"0.2", b"0.3"),
            (b"100000000000000000", b"0.1", b"100000000000000000.1015625"),
            (b"12345678901234567890", b"1", b"12345678901234567891"),
            (b"5e3", b"-0.5", b"4999.5"),
            (b"1", b"-1", b"0"),
            (b"-1", b"0.5", b"-0.5"),
            (b"1", b"1e-20", b"1"),
            (b"1 ", b".5", b"1.5"),
        ):
            item = OLD._replace(value=value)
            number = redis.float_in(delta)
            self.check(redis.count_float, (number,), expected, (expected, 7, LATER), item)

    def test_a_sum_of_five_thousand_digits(self) -> None:
        transaction = self.transaction(OLD._replace(value=b"1e4931"))
        delta = redis.float_in(b"1e4931")
        item = redis.count_float(transaction, b"key", delta)
        assert isinstance(item, Item)
        self.assertEqual(len(item.value), 4932)
        self.assertIsInstance(redis.count_float(transaction, b"key", delta), Item)

    def test_a_getex_that_changes_nothing_is_no_change(self) -> None:
        transaction = self.transaction(OLD._replace(expiry=0))
        redis.fetch_and_expire(transaction, b"key", None, None)
        self.assertEqual(transaction.finish(), [])

    def test_what_is_no_float(self) -> None:
        for word in (
            b"",
            b"x",
            b" 1",
            b"1 ",
            b"1e",
            b"nan",
            b"0x",
            b"0x.",
            b"0x1p",
            b"0x1p99999",
            b"0x1p999999999",
            b"0xg",
            b"1_0",
            b"1e5000",
            b"1e-5000",
        ):
            self.assertIs(redis.float_in(word), Fault.NOT_A_FLOAT, word)
        self.assertIs(redis.float_in(b"1e999999999"), Fault.NOT_A_FLOAT)
        self.assertIs(redis.float_in(b"-inf"), Fault.INFINITE)

    def test_floats_in_hexadecimal(self) -> None:
        for word, number in (
            (b"0x10", 16),
            (b"-0X1.8p4", -24),
            (b"+0x.8", Fraction(1, 2)),
            (b"0x1.p-1", Fraction(1, 2)),
            (b"0xAbP+1", 342),
            (b"0x0", 0),
            # More digits than Python's int() takes of decimal ones.
            (b"0x." + b"0" * 5000 + b"1p16384", Fraction(1, 1 << 3620)),
        ):
            self.assertEqual(redis.float_in(word), number, word[:20])

    def test_of_another_kind(self) -> None:
        typed = OLD._replace(kind=TYPED)
        for operation, arguments in (
            *((redis.append, (b"x", LIMIT)), (redis.overwrite, (0, b"x", LIMIT))),
            *((redis.count, (1,)), (redis.count_float, (Fraction(1),)), (redis.measure, ())),
            *((redis.fetch_range, (0, 1)), (redis.fetch_and_delete, ())),
            *((redis.fetch_and_expire, (None, None)),),
            *((redis.store, (b"x", None, None, False, True)),),
        ):
            left = (b"old", 7, LATER)
            self.check(operation, arguments, Fault.WRONG_TYPE, left, typed)

    def test_what_only_moves_or_expires_keeps_its_kind(self) -> None:
        transaction = self.transaction(OLD._replace(kind=TYPED))
        redis.expire(transaction, b"key", When(True, 9), frozenset())
        redis.rename(transaction, b"key", b"new", LIMIT)
        item = transaction.get(b"new")
        assert item is not None
        self.assertEqual((item.kind, item.expiry, item.flags), (TYPED, NOW + 9, 7))

    def test_an_expiry_keeps_the_cas_and_changes_the_sequence(self) -> None:
        transaction = self.transaction(OLD)
        redis.expire(transaction, b"key", SOON, frozenset())
        item = transaction.get(b"key")
        assert item is not None
        self.assertEqual((item.cas, item.marks), (5, STALE))
        self.assertGreater(item.sequence, 5)

    def test_conditions(self) -> None:
        earlier, later = When(False, LATER - 1), When(False, LATER + 1)
        forever = OLD._replace(expiry=0)
        for condition, item, when, done in (
            *((Condition.NX, OLD, later, 0), (Condition.NX, forever, later, 1)),
            *((Condition.XX, OLD, later, 1), (Condition.XX, forever, later, 0)),
            *((Condition.GT, OLD, later, 1), (Condition.GT, OLD, earlier, 0)),
            *((Condition.GT, forever, later, 0), (Condition.GT, OLD, When(False, LATER), 0)),
            *((Condition.LT, OLD, later, 0), (Condition.LT, OLD, earlier, 1)),
            *((Condition.LT, forever, later, 1), (Condition.LT, OLD, When(False, LATER), 0)),
        ):
            result = redis.expire(self.transaction(item), b"key", when, frozenset({condition}))
            self.assertEqual(result, done, (condition, when))

    def test_several_keys(self) -> None:
        transaction = self.transaction(OLD)
        redis.store_many(transaction, b"a", [(b"a", b"1"), (b"a b", b"2")], False)
        marked = transaction.get(b"a b")
        assert marked is not None
        self.assertEqual(marked.marks, BINARY_KEY)
        self.assertEqual(redis.store_many(transaction, b"a", [(b"n", b"1"), (b"a", b"3")], True), 0)
        self.assertIsNone(transaction.get(b"n"))
        many = redis.fetch_many(transaction, b"a", [b"a", b"x", b"key"], 4)
        self.assertEqual([item and item.value for item in many.results], [b"1", None, b"old"])
        self.assertEqual(many.size, 4)
        with self.assertRaises(ReplyTooLong):
            redis.fetch_many(transaction, b"a", [b"a", b"x", b"key"], 3)
        self.assertEqual(redis.exist(transaction, b"a", [b"a", b"a", b"x"]), 2)
        self.assertEqual(redis.visit(transaction, b"a", [b"a", b"x"]), [True, False])
        outcomes = redis.delete_many(transaction, b"a", [b"a", b"a"])
        self.assertEqual([status.name for status, _ in outcomes], ["DELETED", "NOT_FOUND"])

    def test_execute(self) -> None:
        steps = [step(redis.append, b"key", b"er", LIMIT), step(operations.fetch, b"key")]
        transaction = self.transaction(OLD)
        (sequence, none) = redis.watch(transaction, b"key", [b"key", b"x"])
        watched = {b"key": sequence, b"x": none}
        many = redis.execute(transaction, b"", watched, steps, LIMIT)
        assert many is not None
        self.assertEqual(many.results[0], 5)
        self.assertEqual(many.size, len(b"older"))
        self.assertIsNone(redis.execute(transaction, b"", watched, steps, LIMIT))
        self.assertIsNone(redis.execute(transaction, b"", {b"x": 7}, steps, LIMIT))

    def test_a_transaction_that_is_refused_has_done_nothing(self) -> None:
        transaction = self.transaction(OLD)
        steps = [step(operations.store, b"new", b"1", 0, 0), step(operations.fetch, b"key")]
        ((result,),) = run(transaction, [[step(redis.execute, b"", {}, steps, 2)]])
        self.assertIsInstance(result, ReplyTooLong)
        self.assertIsNone(transaction.get(b"new"))
        self.assertEqual(transaction.finish(), [])

    def test_what_reads_reads_a_snapshot(self) -> None:
        state = State()
        snapshot = Snapshot({b"key": OLD}.get, no_stamp, Sieve(), state, NOW)
        redis.fetch_many(snapshot, b"key", [b"key"], LIMIT)
        redis.watch(snapshot, b"key", [b"key"])
        redis.time_left(snapshot, b"key", 1, False)
        redis.execute(snapshot, b"", {}, [step(operations.fetch, b"key")], LIMIT)
        with self.assertRaises(NeedsWrite):
            redis.persist(snapshot, b"key")

    def test_an_instalment_counts_what_many_hold(self) -> None:
        transaction = self.transaction(OLD._replace(value=b"x" * 700_000))
        fetch = step(redis.fetch_many, b"key", [b"key"], LIMIT)
        (results,) = run(transaction, [[fetch] * 5])
        self.assertEqual([type(result) for result in results], [Many, Many])


_NO_INTEGERS = (
    b"",
    b" ",
    b" 1",
    b"+1",
    b"01",
    b"-0",
    b"1.0",
    b"1_0",
    b"0x1",
    b"1\n",
    b"abc",
    b"1e3",
)
