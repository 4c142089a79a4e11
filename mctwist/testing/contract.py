"""What every backend promises of the items in it: a subclass tests all of it."""

import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from zope.interface.verify import verifyObject

from mctwist import operations
from mctwist.interfaces import (
    MOST_BYTES,
    MOST_STEPS,
    IBackend,
    ITransaction,
    NeedsWrite,
    Results,
    Step,
)
from mctwist.item import (
    BINARY_KEY,
    FETCHED,
    KEPT,
    STALE,
    TYPED,
    WON,
    Item,
    size_in_memcached,
)

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object

from mctwist.testing.doubles import NOW, SECOND, START, counts, delete, flush, get, put, step

#: The most bytes of results that one batch may hold before it starts no more lists.
MOST_BATCH_BYTES = 16 << 20


class Trouble(Exception):
    """What the operations below end in."""


def fail(transaction: ITransaction, key: bytes) -> None:
    """An operation that raises."""
    raise Trouble(repr(key))


def put_and_fail(transaction: ITransaction, key: bytes) -> None:
    """An operation that stores and then raises."""
    transaction.put(key, b"never", 0, 0)
    raise Trouble(repr(key))


def put_twice_and_fail(transaction: ITransaction, key: bytes) -> None:
    """An operation that stores twice and then raises."""
    transaction.put(key, b"never", 0, 0)
    transaction.put(key, b"nor this", 0, 0)
    raise Trouble(repr(key))


def delete_and_fail(transaction: ITransaction, key: bytes) -> None:
    """An operation that deletes and then raises."""
    transaction.delete(key)
    raise Trouble(repr(key))


def flush_and_fail(transaction: ITransaction, key: bytes, deadline: int) -> None:
    """An operation that flushes and then raises."""
    transaction.flush(deadline)
    raise Trouble(repr(key))


def restore(transaction: ITransaction, key: bytes, item: Item) -> Item:
    """An operation that stores what was an item elsewhere."""
    return transaction.restore(key, item)


def restore_and_fail(transaction: ITransaction, key: bytes) -> None:
    """An operation that stores what was an item elsewhere, and then raises."""
    transaction.restore(key, ELSEWHERE)
    raise Trouble(repr(key))


def put_marked(transaction: ITransaction, key: bytes, marks: int, cas: Optional[int]) -> Item:
    """An operation that stores with everything an item may carry."""
    return transaction.put(key, b"marked", 0xFFFFFFFF, NOW + 3600 * SECOND, marks, cas)


#: An item of another store.
ELSEWHERE = Item(
    kind=TYPED,
    marks=STALE | WON | FETCHED | BINARY_KEY,
    flags=0xFFFFFFFF,
    expiry=NOW + 3600 * SECOND + 1,
    cas=1_000_000,
    sequence=999_999,
    place=3,
    accessed=START - 77,
    value=b":1\r\n",
)

#: Keys that a file system, a terminal, a C string or a careless encoding would trip over.
HARD_KEYS = (
    *(bytes([byte]) for byte in range(256)),
    *(b"/", b"..", b"a/b", b"../../etc/passwd", b"a" * 199 + b"/", b"./x"),
    *(b"%", b"%2E", b"%25", b"~", b"a~b", b"a\0b", b"a", b"A", b"aa", b"aA", b"Aa", b"a\nb"),
    *(b"\xff" * 250, b"/" * 250, b"x" * 250, b"x" * 249 + b"y", b"X" * 250, b"." * 250),
)

#: Values that a line, a C string or a buffer of fixed size would spoil.
HARD_VALUES = (b"", b"\0", b"\r\n", b"END\r\n", bytes(range(256)), b"\n" * 1000, b"v" * (1 << 20))


class BackendCase(_Case):
    """A backend on a directory of its own, and what its tests are written with."""

    #: Whether what was stored is there after `close` and `open`.
    durable = True

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        """
        A backend on `path`, not opened.

        :param path: in a directory that exists; nothing is there, or what an earlier backend
            of the same test has left.
        :param limits: `limit` and `evicts`, as the backend takes them; none: its own.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = str(self.directory / "store")
        self.backend = self.opened(self.path)

    # What the tests are written with

    def opened(self, path: str, **limits: Any) -> IBackend:
        """A backend on `path`, open, and closed when the test ends."""
        backend = self.make_backend(path, **limits)
        backend.open()
        self.addCleanup(self.shut, backend)
        return backend

    def shut(self, backend: IBackend) -> None:
        """Close `backend` as the storage service does: when nothing is due."""
        if backend.due:
            backend.maintain()
        backend.close()

    def reopen(self) -> None:
        """Close the store and open it anew, as the next process would."""
        self.shut(self.backend)
        self.backend = self.opened(self.path)

    def maintain(self) -> None:
        if self.backend.due:
            self.backend.maintain()

    def batch(self, *lists: Sequence[Step], now: int = NOW) -> "list[Results]":
        """One batch, and the maintenance that has become due."""
        answers = self.backend.perform(lists, now)
        self.maintain()
        return answers

    def do(self, *steps: Step, now: int = NOW) -> Results:
        """All the results of `steps`, in as many instalments as they take."""
        results: Results = []
        while len(results) < len(steps):
            (answered,) = self.batch(steps[len(results) :], now=now)
            self.assertTrue(answered, "a batch of one list has answered nothing")
            results += answered
        return results

    def seen(self, key: bytes, now: int = NOW) -> Optional[Item]:
        """What is under `key`; a snapshot and a batch must agree on it."""
        (read,) = self.backend.read([get(key)], now)
        (performed,) = self.do(get(key), now=now)
        self.assertEqual(read, performed)
        item: Optional[Item] = read
        return item

    def value(self, key: bytes, now: int = NOW) -> Optional[bytes]:
        item = self.seen(key, now)
        return None if item is None else item.value

    def counted(self, now: int = NOW) -> "tuple[int, int]":
        """The counts, on which snapshot, batch and `live` must agree."""
        (read,) = self.backend.read([counts()], now)
        (performed,) = self.do(counts(), now=now)
        self.assertEqual(read, performed)
        self.assertEqual(self.backend.live(), performed)
        items, size = performed
        return items, size


class BackendContract(BackendCase):
    """What every `IBackend` promises."""

    # The interface

    def test_provides_the_interface(self) -> None:
        verifyObject(IBackend, self.backend)

    def test_declares_what_it_is(self) -> None:
        self.assertIsInstance(self.backend.name, str)
        self.assertIn(":", self.backend.name)
        self.assertIsInstance(self.backend.inline, bool)
        self.assertEqual(self.backend.damaged, 0)
        self.assertFalse(self.backend.due)

    def test_opens_empty(self) -> None:
        self.assertIsNone(self.seen(b"key"))
        self.assertEqual(self.counted(), (0, 0))

    def test_an_empty_batch_and_an_empty_list_come_to_nothing(self) -> None:
        self.assertEqual(list(self.batch()), [])
        self.assertEqual(self.batch([], [get(b"key")], []), [[], [None], []])
        self.assertEqual(self.backend.read([], NOW), [])

    def test_maintenance_that_is_not_due_does_nothing(self) -> None:
        self.do(put(b"key", b"value"))
        self.backend.maintain()
        self.assertEqual(self.value(b"key"), b"value")

    def test_maintenance_changes_nothing_that_is_seen(self) -> None:
        keys = (b"a", b"b", b"c", b"d")
        self.batch([put(key, b"old") for key in keys])
        self.backend.perform([[put(b"a", b"new"), delete(b"b")]], NOW)
        self.backend.perform([[put(b"d", b"new"), put(b"e"), delete(b"e")]], NOW)
        self.backend.perform([[delete(b"d"), put(b"b", b"again"), get(b"c")]], NOW)
        steps = [*map(get, (*keys, b"e")), counts()]
        seen = self.backend.read(steps, NOW)
        self.assertEqual([item and item.value for item in seen[:-1]],
                         [b"new", b"again", b"old", None, None])  # fmt: skip
        while self.backend.due:
            self.backend.maintain()
            self.assertEqual(self.backend.read(steps, NOW), seen)
        self.assertEqual(self.do(*steps), seen)

    # Items

    def test_an_item_comes_back_as_it_was_put(self) -> None:
        ((_, item),) = self.do(put(b"key", b"value", 0xFFFFFFFF, NOW + SECOND))
        self.assertEqual(self.seen(b"key"), item)
        self.assertEqual(
            (item.value, item.flags, item.expiry, item.marks),
            (b"value", 0xFFFFFFFF, NOW + SECOND, 0),
        )
        self.assertEqual(item.accessed, START)
        self.assertEqual(item.cas, item.sequence)

    def test_everything_an_item_carries_is_kept_over_a_reopening(self) -> None:
        cases = [
            (b"no marks", 0, None),
            (b"all marks", STALE | WON | FETCHED | KEPT, None),
            (b"its own CAS", STALE, (1 << 64) - 1),
            (b"a CAS of one", WON, 1),
        ]
        items = self.do(*(step(put_marked, key, marks, cas) for key, marks, cas in cases))
        self.reopen()
        for (key, marks, cas), item in zip(cases, items):
            self.assertEqual(item.marks, marks)
            self.assertEqual(item.cas, item.sequence if cas is None else cas)
            self.assertEqual(self.seen(key), item if self.durable else None, repr(key))

    def test_what_was_an_item_elsewhere_is_one_here_with_numbers_of_its_own(self) -> None:
        ((_, old),) = self.do(put(b"old", b"longer", 1))
        for cas in (ELSEWHERE.cas, 1, (1 << 64) - 1):
            there = ELSEWHERE._replace(cas=cas)
            items = {key: self.do(step(restore, key, there))[0] for key in (b"old", b"new")}
            size = sum(size_in_memcached(key, 4, 1) for key in items)
            for _ in range(2 if self.durable else 1):
                for key, item in items.items():
                    self.assertEqual(item, there._replace(sequence=item.sequence, place=item.place))
                    self.assertEqual(self.seen(key), item)
                    self.assertTrue(item.place > old.place)
                self.assertEqual(self.counted(), (2, size))
                self.reopen()
            if not self.durable:
                self.do(*(step(restore, key, there) for key in items))

    def test_what_is_numbered_behind_an_item_from_elsewhere_is_above_its_cas(self) -> None:
        ((_, first), _) = self.do(put(b"a"), step(restore, b"b", ELSEWHERE._replace(cas=2)))
        ((_, second), _) = self.do(put(b"a"), step(restore, b"b", ELSEWHERE))
        self.assertTrue(first.cas < second.cas < ELSEWHERE.cas)
        for _ in range(2 if self.durable else 1):
            ((_, item),) = self.do(put(b"a"))
            self.assertTrue(item.cas == item.sequence > ELSEWHERE.cas)
            self.reopen()
        # Numbers that nobody can have counted to are none of ours.
        (_, (_, item)) = self.do(step(restore, b"b", ELSEWHERE._replace(cas=1 << 62)), put(b"a"))
        self.assertTrue(item.sequence < 2 * ELSEWHERE.cas)

    def test_every_key_is_a_key_of_its_own(self) -> None:
        keys = list(dict.fromkeys(HARD_KEYS))
        self.do(*(put(key, b"%d of " % place + key) for place, key in enumerate(keys)))
        for _ in range(2):
            for place, key in enumerate(keys):
                self.assertEqual(self.value(key), b"%d of " % place + key, repr(key))
            self.assertEqual(self.counted()[0], len(keys))
            if not self.durable:
                break
            self.reopen()
        self.do(*(delete(key) for key in keys[::2]))
        self.reopen()
        for key in keys[::2]:
            self.assertIsNone(self.value(key), repr(key))
        if self.durable:
            for place, key in list(enumerate(keys))[1::2]:
                self.assertEqual(self.value(key), b"%d of " % place + key, repr(key))

    def test_every_value_is_kept_to_the_byte(self) -> None:
        for value in HARD_VALUES:
            self.do(put(b"key", value))
            self.assertEqual(self.value(b"key"), value, repr(value[:20]))
            self.do(put(b"%d" % len(value), value))
        self.reopen()
        for value in HARD_VALUES:
            kept = self.value(b"%d" % len(value))
            if self.durable:
                self.assertEqual(kept is not None and len(kept), len(value))

    def test_a_deleted_item_does_not_come_back(self) -> None:
        self.do(put(b"key"), put(b"other"))
        self.do(delete(b"key"))
        self.assertIsNone(self.seen(b"key"))
        self.reopen()
        self.assertIsNone(self.seen(b"key"))

    def test_a_touch_keeps_the_cas_and_moves_the_sequence(self) -> None:
        ((_, item),) = self.do(put(b"key"))
        ((_, touched),) = self.do(step(operations.touch, b"key", NOW + SECOND))
        self.assertEqual(touched.cas, item.cas)
        self.assertTrue(touched.sequence > item.sequence)
        self.assertEqual(self.seen(b"key"), touched)

    # Numbers

    def test_a_key_keeps_its_place_through_overwrites(self) -> None:
        (_, first), (_, second), (_, again) = self.do(put(b"a"), put(b"b"), put(b"a", b"longer"))
        self.assertEqual(again.place, first.place)
        self.assertTrue(second.place > first.place)
        if self.durable:
            self.reopen()
            ((_, later),) = self.do(put(b"a"))
            self.assertEqual(later.place, first.place)

    def test_no_number_is_given_out_twice(self) -> None:
        sequences: list[int] = []
        places: list[int] = []
        for turn in range(4):
            key = b"%d" % turn
            (_, item), _, (_, other) = self.do(put(key), delete(key), put(b"key"))
            sequences += (item.sequence, other.sequence)
            places.append(item.place)
            self.do(delete(b"key"))
            if self.durable:
                self.reopen()
        for numbers in (sequences, places):
            self.assertEqual(sorted(set(numbers)), numbers)

    # Batches

    def test_results_are_in_the_order_of_the_steps(self) -> None:
        first = [put(b"a", b"1"), get(b"a"), put(b"a", b"2"), get(b"a")]
        second = [get(b"a"), get(b"none"), delete(b"a"), get(b"a")]
        one, two = self.batch(first, second)
        self.assertEqual([one[1].value, one[3].value, two[0].value], [b"1", b"2", b"2"])
        self.assertEqual([status for status, _ in (one[0], one[2], two[2])],
                         [operations.STORED, operations.STORED, operations.DELETED])  # fmt: skip
        self.assertEqual(two[1::2], [None, None])

    def test_a_step_that_fails_spoils_no_neighbour(self) -> None:
        self.do(put(b"key", b"before"))
        one, two = self.batch(
            [put(b"a", b"1"), step(fail, b"key"), put(b"b", b"2")], [put(b"c", b"3")]
        )
        self.assertIsInstance(one[1], Trouble)
        self.assertEqual([one[0][0], one[2][0], two[0][0]], [operations.STORED] * 3)
        self.reopen()
        expected = [b"1", b"2", b"3", b"before"] if self.durable else [None] * 4
        self.assertEqual([self.value(key) for key in (b"a", b"b", b"c", b"key")], expected)

    def test_a_step_that_writes_and_fails_leaves_no_trace(self) -> None:
        for operation in (put_and_fail, put_twice_and_fail, delete_and_fail, restore_and_fail):
            self.do(put(b"key", b"before", 7))
            items = self.counted()
            before, after, absent = self.do(
                get(b"key"), step(operation, b"key"), step(operation, b"absent")
            )
            self.assertIsInstance(after, Trouble)
            self.assertIsInstance(absent, Trouble)
            self.assertEqual(self.seen(b"key"), before)
            self.assertIsNone(self.seen(b"absent"))
            self.assertEqual(self.counted(), items)

    def test_what_a_failing_step_wrote_is_undone_to_what_its_batch_had_made(self) -> None:
        self.do(put(b"key", b"stored"), put(b"gone", b"stored"))
        results = self.do(
            put(b"key", b"of this batch"), step(put_and_fail, b"key"), get(b"key"),
            delete(b"gone"), step(put_and_fail, b"gone"), get(b"gone"),
            put(b"new", b"of this batch"), step(delete_and_fail, b"new"), get(b"new"),
        )  # fmt: skip
        self.assertEqual([item and item.value for item in results[2::3]],
                         [b"of this batch", None, b"of this batch"])  # fmt: skip
        self.assertEqual(self.value(b"key"), b"of this batch")
        self.assertIsNone(self.value(b"gone"))
        self.assertEqual(self.value(b"new"), b"of this batch")
        self.assertEqual(self.counted()[0], 2)

    def test_a_step_that_flushes_and_fails_leaves_no_trace(self) -> None:
        self.do(put(b"key"))
        for deadline in (0, NOW + SECOND):
            (fault,) = self.do(step(flush_and_fail, b"", deadline))
            self.assertIsInstance(fault, Trouble)
            self.assertIsNotNone(self.seen(b"key", NOW + SECOND), f"flushed at {deadline}")

    def test_the_same_batch_comes_to_the_same_on_another_store(self) -> None:
        other = self.opened(str(self.directory / "other"))
        lists = [
            [put(b"n", b"9"), step(operations.increment, b"n", 1), step(put_and_fail, b"n")],
            [step(operations.append, b"n", b"0", 1000), get(b"n"), delete(b"n"), put(b"n")],
            [flush(), put(b"n"), get(b"n"), counts()],
        ]
        first, second = self.backend.perform(lists, NOW), other.perform(lists, NOW)
        for answers in (first, second):
            self.assertIsInstance(answers[0].pop(), Trouble)  # no two exceptions are equal
        self.assertEqual(first, second)

    # Instalments

    def test_a_list_is_run_for_so_many_steps_at_once(self) -> None:
        self.do(put(b"key"))
        steps = [get(b"key")] * MOST_STEPS
        steps.append(put(b"behind"))
        (results,) = self.batch(steps)
        self.assertEqual(len(results), MOST_STEPS)
        self.assertIsNone(self.seen(b"behind"))
        self.assertEqual(len(self.backend.read([get(b"key")] * (MOST_STEPS + 1), NOW)), MOST_STEPS)
        self.assertEqual(len(self.do(*steps)), MOST_STEPS + 1)
        self.assertIsNotNone(self.seen(b"behind"))

    def test_a_list_is_run_for_so_many_bytes_at_once(self) -> None:
        size = 300 * 1024
        self.do(*(put(b"%d" % place, b"v" * size) for place in range(8)))
        steps = [get(b"%d" % place) for place in range(8)]
        for results in (self.batch(steps)[0], self.backend.read(steps, NOW)):
            self.assertTrue(len(results) < len(steps))
            self.assertTrue(MOST_BYTES < size * len(results) <= MOST_BYTES + size)
        self.assertEqual(len(self.do(*steps)), 8)

    def test_a_batch_ends_when_it_has_written_so_much(self) -> None:
        lists = [[put(b"%d" % number, b"x" * 1_000_000) for number in range(30)]] * 2
        first, second = self.backend.perform(lists, NOW)
        self.assertTrue(0 < len(first) <= 18, len(first))
        self.assertEqual(second, [])

    def test_one_value_larger_than_an_instalment_is_one(self) -> None:
        self.do(put(b"key", b"v" * (2 * MOST_BYTES)))
        self.assertEqual(len(self.batch([get(b"key")] * 2)[0]), 1)
        self.assertEqual(len(self.backend.read([get(b"key")] * 2, NOW)), 1)

    def test_a_batch_starts_no_list_when_its_results_are_large(self) -> None:
        self.do(put(b"key", b"v" * MOST_BYTES))
        lists = [[get(b"key"), put(b"%d" % place)] for place in range(40)]
        answers = self.batch(*lists)
        self.assertEqual(len(answers), len(lists))
        held = sum(len(item.value) for results in answers for item in results[:1])
        self.assertTrue(held <= MOST_BATCH_BYTES + 2 * MOST_BYTES, held)
        self.assertTrue(answers[0])
        self.assertFalse(answers[-1])
        for place, results in enumerate(answers):
            # What has no result has not happened.
            self.assertEqual(self.seen(b"%d" % place) is None, len(results) < 2, place)

    # Snapshots

    def test_a_snapshot_refuses_to_write_and_nothing_has_happened(self) -> None:
        self.do(put(b"key", b"1"))
        before, items = self.seen(b"key"), self.counted()
        for write in (
            put(b"key"),
            put(b"new"),
            delete(b"key"),
            flush(),
            flush(NOW + SECOND),
            step(operations.touch, b"key", 0),
            step(operations.increment, b"key", 1),
            step(operations.fetch_and_touch, b"key", 0),
            step(restore, b"key", ELSEWHERE),
        ):
            for steps in ([write], [get(b"key"), write]):
                self.assertRaises(NeedsWrite, self.backend.read, steps, NOW)
        self.assertEqual(self.seen(b"key", NOW + SECOND), before)
        self.assertIsNone(self.seen(b"new"))
        self.assertEqual(self.counted(), items)

    def test_a_write_that_finds_nothing_to_write_is_a_read(self) -> None:
        results = self.backend.read(
            [delete(b"none"), step(operations.touch, b"none", 0), get(b"none")], NOW
        )
        self.assertEqual(
            results, [(operations.NOT_FOUND, None), (operations.NOT_FOUND, None), None]
        )

    def test_what_a_step_raises_comes_through_a_snapshot(self) -> None:
        self.assertRaises(Trouble, self.backend.read, [step(fail, b"key")], NOW)

    # Expiry

    def test_an_item_is_gone_from_its_expiry_on(self) -> None:
        expiry = NOW + SECOND
        self.do(put(b"key", expiry=expiry), put(b"kept"))
        for _ in range(2 if self.durable else 1):
            self.assertIsNotNone(self.backend.read([get(b"key")], expiry - 1)[0])
            for now in (expiry, expiry + 3600 * SECOND):
                self.assertIsNone(self.backend.read([get(b"key")], now)[0])
                self.assertIsNotNone(self.backend.read([get(b"kept")], now)[0])
            self.reopen()
        self.assertIsNone(self.seen(b"key", expiry))
        # It is gone for good, whatever the clock does.
        self.assertIsNone(self.seen(b"key", expiry))

    def test_an_expired_item_is_as_none_to_every_operation(self) -> None:
        self.do(put(b"key", b"1", expiry=NOW))
        outcomes = self.do(
            delete(b"key"),
            step(operations.touch, b"key", 0),
            step(operations.increment, b"key", 1),
            step(operations.replace, b"key", b"2", 0, 0),
            step(operations.add, b"key", b"3", 0, 0),
        )
        self.assertEqual(
            [status.name for status, _ in outcomes],
            ["NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "NOT_STORED", "STORED"],
        )
        self.assertEqual(self.value(b"key"), b"3")
        self.assertEqual(self.counted(), (1, size_in_memcached(b"key", 1, 0)))

    # Flushing

    def test_a_flush_takes_all_before_it_and_nothing_after(self) -> None:
        for deadline in (0, NOW - SECOND, NOW):
            self.do(put(b"a"), put(b"b"))
            self.do(put(b"a", b"same batch"), flush(deadline), put(b"c", b"after"))
            for _ in range(2 if self.durable else 1):
                self.assertEqual(
                    [self.value(key) for key in (b"a", b"b", b"c")], [None, None, b"after"]
                )
                self.assertEqual(self.counted(), (1, size_in_memcached(b"c", 5, 0)))
                if self.durable:
                    self.reopen()

    def test_a_flush_to_come_takes_all_that_is_stored_before_its_deadline(self) -> None:
        deadline = NOW + 2 * SECOND
        self.do(put(b"before"), flush(deadline), put(b"same batch"))
        self.do(put(b"between"), now=NOW + SECOND)
        keys = (b"before", b"same batch", b"between")
        for _ in range(2 if self.durable else 1):
            for key in keys:
                self.assertIsNotNone(self.seen(key, deadline - 1), repr(key))
            if self.durable:
                self.reopen()
        # A snapshot knows it before any batch has.
        self.assertEqual(self.backend.read([*map(get, keys), counts()], deadline),
                         [None, None, None, (0, 0)])  # fmt: skip
        self.do(put(b"after"), now=deadline)
        for _ in range(2 if self.durable else 1):
            self.assertIsNotNone(self.seen(b"after", deadline + SECOND))
            for key in keys:
                self.assertIsNone(self.seen(key, deadline + SECOND), repr(key))
            self.assertEqual(self.counted(deadline + SECOND)[0], 1)
            if self.durable:
                self.reopen()

    def test_a_flush_to_come_is_replaced_by_the_next(self) -> None:
        first, second = NOW + SECOND, NOW + 3 * SECOND
        self.do(put(b"key"), flush(first))
        self.do(flush(second))
        self.assertIsNotNone(self.seen(b"key", first))
        self.assertIsNone(self.seen(b"key", second))
        self.do(put(b"key"), flush(second + 2 * SECOND), now=second)
        self.do(flush(second + SECOND), now=second)
        self.assertIsNone(self.seen(b"key", second + SECOND))

    def test_a_flush_now_replaces_one_to_come(self) -> None:
        deadline = NOW + SECOND
        self.do(put(b"old"), flush(deadline))
        self.do(flush(), put(b"new"))
        self.assertIsNone(self.seen(b"old", deadline))
        self.assertIsNotNone(self.seen(b"new", deadline))

    def test_a_flush_whose_deadline_passes_while_the_store_is_closed(self) -> None:
        if not self.durable:
            return
        self.do(put(b"key"), flush(NOW + SECOND))
        self.reopen()
        self.assertIsNone(self.seen(b"key", NOW + 2 * SECOND))
        self.assertEqual(self.counted(NOW + 2 * SECOND), (0, 0))

    # Counts

    def test_counts_are_exact(self) -> None:
        def size(*items: "tuple[bytes, int, int]") -> "tuple[int, int]":
            return len(items), sum(size_in_memcached(*item) for item in items)

        expiry = NOW + SECOND
        for steps, expected in (
            ([put(b"a", b"12345"), put(b"bb", b"1", 7)], size((b"a", 5, 0), (b"bb", 1, 7))),
            ([put(b"a", b"1"), put(b"a", b"12")], size((b"a", 2, 0), (b"bb", 1, 7))),
            ([delete(b"bb"), delete(b"none")], size((b"a", 2, 0))),
            ([put(b"c", b"1"), delete(b"c")], size((b"a", 2, 0))),
            ([delete(b"a"), put(b"a", b"123")], size((b"a", 3, 0))),
            ([put(b"e", b"", expiry=expiry)], size((b"a", 3, 0), (b"e", 0, 0))),
            ([flush(), put(b"d", b"1")], size((b"d", 1, 0))),
            ([put(b"a", b"1")], size((b"a", 1, 0), (b"d", 1, 0))),
            ([flush()], (0, 0)),
            ([flush(), delete(b"a"), put(b"d", b"12")], size((b"d", 2, 0))),
        ):
            self.do(*steps)
            self.assertEqual(self.counted(), expected)
            if self.durable:
                self.reopen()
                self.assertEqual(self.counted(), expected)

    def test_a_batch_counts_what_it_has_done_so_far(self) -> None:
        results = self.do(put(b"a", b"1"), counts(), put(b"b", b"1"), delete(b"a"), counts(),
                          flush(), counts())  # fmt: skip
        one = (1, size_in_memcached(b"a", 1, 0))
        self.assertEqual([results[place] for place in (1, 4, 6)], [one, one, (0, 0)])

    def test_agrees_with_a_dict(self) -> None:
        """Two thousand steps of every kind; the dict is what should be there."""
        dice = random.Random(1)
        model: dict[bytes, bytes] = {}
        keys = [b"%d" % number for number in range(12)]
        for turn in range(60):
            steps: list[Step] = []
            for _ in range(dice.randrange(60)):
                key, value = dice.choice(keys), b"v" * dice.randrange(50)
                kind = dice.random()
                if kind < 0.5:
                    steps.append(put(key, value))
                    model[key] = value
                elif kind < 0.8:
                    steps.append(delete(key))
                    model.pop(key, None)
                elif kind < 0.9:
                    steps.append(step(put_and_fail, key))
                elif kind < 0.97:
                    steps.append(step(operations.append, key, value, 1 << 20))
                    if key in model:
                        model[key] += value
                else:
                    steps.append(flush())
                    model.clear()
            self.do(*steps)
            for key in keys:
                self.assertEqual(self.value(key), model.get(key), (turn, key))
            size = sum(size_in_memcached(key, len(value), 0) for key, value in model.items())
            self.assertEqual(self.counted(), (len(model), size), turn)
            if self.durable and turn % 10 == 9:
                self.reopen()
