"""What backends promise of the order of their keys, of scans, and of what must be kept."""

import random
import shutil
from collections.abc import Iterable
from typing import Optional

from mctwist import operations
from mctwist.interfaces import IOrderedTransaction, NeedsWrite, Results, Step, StoreFull
from mctwist.item import KEPT, Item, size_in_memcached
from mctwist.testing.contract import BackendCase, Trouble, put_and_fail
from mctwist.testing.doubles import NOW, SECOND, delete, flush, get, put, step

Found = Optional[tuple[bytes, Item]]

#: Above every key of these tests.
END = b"\xff"


def first_between(
    transaction: IOrderedTransaction, key: bytes, start: bytes, end: bytes, last: bool = False
) -> Found:
    """An operation that looks for the lowest key, or the highest."""
    found: Found = transaction.first(start, end, last)
    return found


def range_between(
    transaction: IOrderedTransaction, key: bytes, start: bytes, end: bytes, most: int, last: bool
) -> "list[tuple[bytes, Item]]":
    """An operation that looks for the first keys."""
    found: list[tuple[bytes, Item]] = transaction.range(start, end, most, last)
    return found


def pop_between(
    transaction: IOrderedTransaction, key: bytes, start: bytes, end: bytes, last: bool = False
) -> Found:
    """An operation that removes the lowest key, or the highest."""
    found: Found = transaction.first(start, end, last)
    if found is not None:
        transaction.delete(found[0])
    return found


def pop_and_fail(
    transaction: IOrderedTransaction, key: bytes, start: bytes, end: bytes, count: int
) -> None:
    """An operation that removes the lowest keys and then raises."""
    for _ in range(count):
        pop_between(transaction, key, start, end)
    raise Trouble(repr(start))


def flush_look_and_fail(transaction: IOrderedTransaction, key: bytes) -> None:
    """An operation that flushes, finds nothing, and then raises."""
    transaction.flush(0)
    raise Trouble(repr(transaction.first(b"", END)))


def first(start: bytes, end: bytes, last: bool = False) -> Step:
    """A step that looks for the lowest key, or the highest."""
    return step(first_between, b"", start, end, last)


def between(start: bytes, end: bytes, most: int = 1000, last: bool = False) -> Step:
    """A step that looks for the first keys."""
    return step(range_between, b"", start, end, most, last)


def pop(start: bytes, end: bytes, last: bool = False) -> Step:
    """A step that removes the lowest key, or the highest."""
    return step(pop_between, b"", start, end, last)


def keep(key: bytes, value: bytes = b"value", expiry: int = 0) -> Step:
    """A step that stores what must be kept."""
    return step(operations.store, key, value, 0, expiry, KEPT)


def keys_in(found: "Iterable[tuple[bytes, Item]]") -> "list[bytes]":
    """The keys of what was found."""
    return [key for key, _ in found]


def disagreement(
    transaction: IOrderedTransaction,
    key: bytes,
    keys: "list[bytes]",
    start: bytes,
    end: bytes,
    most: int,
) -> str:
    """
    An operation that holds the order against what single keys hold.

    :param keys: all that there may be, in order.
    :return: b"": they agree.
    """
    alive = []
    for name in keys:
        item = transaction.get(name)
        if item is not None and start <= name < end:
            alive.append((name, item))
    for last in (False, True):
        expected = alive[::-1] if last else alive
        found = transaction.range(start, end, most, last)
        if found != expected[:most]:
            return f"{start!r} {end!r} {most} {last}: {keys_in(found)}, not {keys_in(expected)}"
        if transaction.first(start, end, last) != (expected[0] if expected else None):
            return f"{start!r} {end!r} {last}: another is first"
    return ""


class OrderedContract(BackendCase):
    """What every `IBackend` promises whose transactions are ordered."""

    def seen_between(self, start: bytes, end: bytes, now: int = NOW) -> "list[bytes]":
        """The keys of a range, on which everybody who can see it must agree."""
        up, down = between(start, end), between(start, end, last=True)
        few = between(start, end, 2)
        answers = [
            self.backend.read([up, down, few], now),
            self.backend.read([up, down, few], now, True),
            self.do(up, down, few, now=now),
        ]
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])
        lowest, highest = (self.backend.read([first(start, end, last)], now, True)[0]
                           for last in (False, True))  # fmt: skip
        found: list[tuple[bytes, Item]] = answers[0][0]
        self.assertEqual(answers[0][1:], [found[::-1], found[:2]])
        self.assertEqual([lowest, highest], [found[0], found[-1]] if found else [None, None])
        return keys_in(found)

    def test_it_says_so(self) -> None:
        self.assertTrue(self.backend.ordered)

    def test_keys_are_in_their_order_wherever_they_are(self) -> None:
        for keys in ((b"b1", b"a", b"b\xff"), (b"b", b"c", b"b0"), (b"b\0", b"\xff" * 250, b"\0")):
            self.do(*map(put, keys))
            if self.durable:
                self.reopen()
        self.do(put(b"b2"), delete(b"b1"))
        inside = [b"b", b"b\0", b"b0", b"b2", b"b\xff"]
        self.assertEqual(self.seen_between(b"b", b"c"), inside)
        self.assertEqual(self.seen_between(b"b\0", b"b\xff"), inside[1:-1])
        everything = [b"\0", b"a", *inside, b"c"]
        self.assertEqual(self.seen_between(b"", END), everything)
        self.assertEqual(self.seen_between(b"", b"\xff" * 251), [*everything, b"\xff" * 250])
        for start, end in ((b"c", b"b"), (b"b", b"b"), (b"b3", b"b4"), (b"", b"")):
            self.assertEqual(self.seen_between(start, end), [])
        self.assertEqual(self.do(between(b"", END, 0)), [[]])

    def test_a_batch_sees_what_it_has_done(self) -> None:
        self.do(put(b"b"), put(b"d"))
        results = self.do(
            put(b"a"), put(b"c"), between(b"", END), pop(b"", END), delete(b"d"), put(b"b", b"new"),
            between(b"", END), pop(b"", END, True), first(b"", END, True), put(b"d"),
            step(put_and_fail, b"e"), step(pop_and_fail, b"", b"", END, 2), between(b"", END),
        )  # fmt: skip
        self.assertEqual(keys_in(results[2]), [b"a", b"b", b"c", b"d"])
        self.assertEqual(results[3][0], b"a")
        self.assertEqual([(key, item.value) for key, item in results[6]],
                         [(b"b", b"new"), (b"c", b"value")])  # fmt: skip
        self.assertEqual((results[7][0], results[8][0]), (b"c", b"b"))
        self.assertEqual(keys_in(results[-1]), [b"b", b"d"])
        self.assertEqual(self.seen_between(b"", END), [b"b", b"d"])

    def test_what_is_dead_is_passed_over(self) -> None:
        self.do(*(put(b"%02d" % n, expiry=NOW + SECOND) for n in range(20)), put(b"99"))
        self.assertEqual(len(self.seen_between(b"", END)), 21)
        self.assertEqual(self.seen_between(b"", END, NOW + SECOND), [b"99"])
        self.do(put(b"05"), now=NOW + SECOND)
        self.assertEqual(self.seen_between(b"", END, NOW + SECOND), [b"05", b"99"])
        self.do(step(operations.flush_prefix, b"", b"0"), now=NOW + SECOND)
        self.assertEqual(self.seen_between(b"", END, NOW + SECOND), [b"99"])
        self.do(flush(), put(b"07"), now=NOW + SECOND)
        self.assertEqual(self.seen_between(b"", END, NOW + SECOND), [b"07"])

    def test_a_flush_that_is_put_off_hides_nothing(self) -> None:
        self.do(*(put(b"%02d" % n) for n in range(20)), flush(NOW + SECOND))
        # A reader's clock may be ahead of the batch that is under way.
        self.assertEqual(self.backend.read([between(b"", END)], NOW + SECOND), [[]])
        self.do(flush(NOW + 9 * SECOND), now=NOW + 999)
        self.assertEqual(len(self.seen_between(b"", END, NOW + SECOND)), 20)

    def test_what_a_failing_step_had_removed_is_back(self) -> None:
        self.do(*(put(b"%03d" % n) for n in range(100)))
        results = self.do(
            pop(b"", END), step(pop_and_fail, b"", b"", END, 50), first(b"", END), pop(b"", END)
        )
        self.assertEqual([results[2][0], results[3][0]], [b"001", b"001"])
        self.assertEqual(len(self.seen_between(b"", END)), 98)
        self.do(step(flush_look_and_fail, b""))
        self.assertEqual(len(self.seen_between(b"", END)), 98)

    def test_a_queue_is_emptied_in_order_and_each_entry_comes_once(self) -> None:
        keys = [b"q:%05d" % n for n in range(3000)]
        for start in range(0, 3000, 500):
            self.do(*(keep(key) for key in keys[start : start + 500]))
        popped: list[bytes] = []
        for turn in range(60):
            results = self.do(*([pop(b"q:", b"q;")] * 50))
            popped += [found[0] for found in results]
            if turn % 20 == 7:
                # One that comes to the front of what has been taken is next.
                self.do(put(b"q:00000a"))
                ((key, _),) = self.do(pop(b"q:", b"q;"))
                self.assertEqual(key, b"q:00000a")
            if self.durable and turn == 30:
                self.reopen()
        self.assertEqual(popped, keys)
        self.assertEqual(self.do(pop(b"q:", b"q;")), [None])
        self.assertEqual(self.backend.live(), (0, 0))

    def test_a_reader_does_not_pass_over_everything_that_is_dead(self) -> None:
        for start in range(0, 6000, 1000):
            self.do(*(put(b"%05d" % n) for n in range(start, start + 1000)))
        self.do(flush(), put(b"x"))
        look = first(b"", END)
        for patient in (False, True):
            self.assertRaises(NeedsWrite, self.backend.read, [look], NOW, patient)
        ((key, _),) = self.do(look)
        self.assertEqual(key, b"x")
        for patient in (False, True):
            self.assertEqual(self.backend.read([look], NOW, patient)[0][0], b"x")

    def test_a_patient_reader_sees_one_state(self) -> None:
        self.do(put(b"a"), put(b"b"))
        found = self.backend.read([get(b"a"), between(b"", END), get(b"b")], NOW, True)
        self.assertEqual(keys_in(found[1]), [b"a", b"b"])

    # Everything at once

    def any_steps(self, dice: random.Random, keys: "list[bytes]", now: int) -> "list[Step]":
        """Some steps of all kinds."""
        steps = []
        start, end = sorted((dice.choice(keys), dice.choice(keys)))
        for _ in range(dice.randrange(30)):
            kind, key = dice.random(), dice.choice(keys)
            expiry = dice.choice((0, 0, now + dice.randrange(9 * SECOND)))
            if kind < 0.25:
                value = b"v" * dice.choice((10, 100, 3000))
                marks = KEPT if dice.random() < 0.3 else 0
                steps.append(step(operations.store, key, value, 0, expiry, marks))
            elif kind < 0.5:
                steps.append(pop(start, end, dice.random() < 0.3))
            elif kind < 0.7:
                steps.append(delete(key))
            elif kind < 0.8:
                steps.append(step(pop_and_fail, b"", start, end, dice.randrange(9)))
            elif kind < 0.85:
                steps.append(step(put_and_fail, key))
            elif kind < 0.95:
                steps.append(step(disagreement, b"", keys, start, end, dice.randrange(1, 50)))
            elif kind < 0.97:
                steps.append(step(operations.touch, key, dice.choice((0, now + SECOND))))
            elif kind < 0.985:
                steps.append(step(operations.flush_prefix, b"", key[:1]))
            else:
                steps.append(flush(dice.choice((0, now + 2 * SECOND))))
        return steps

    def test_order_and_keys_agree_whatever_happens(self) -> None:
        keys = [b"%03d" % n for n in range(200)]
        for seed in range(4):
            dice = random.Random(seed)
            limit = (1 << 30, 60_000)[seed % 2]
            self.path = str(self.directory / f"seed-{seed}")
            self.backend = self.opened(self.path, limit=limit)
            now = NOW
            for turn in range(200):
                now += dice.choice((1, 50, SECOND))
                lists = [self.any_steps(dice, keys, now) for _ in range(2)]
                results = self.backend.perform(lists, now)
                for result in (*results[0], *results[1]):
                    if isinstance(result, (str, Exception)):
                        self.assertTrue(result == "" or isinstance(result, (Trouble, StoreFull)),
                                        (seed, turn, result))  # fmt: skip
                start, end = sorted((dice.choice(keys), dice.choice(keys)))
                look = step(disagreement, b"", keys, start, end, 20)
                for patient in (False, True):
                    self.assertEqual(self.backend.read([look], now, patient), [""], (seed, turn))
                while self.backend.due and dice.random() < 0.5:
                    self.backend.maintain()
                if self.durable and dice.random() < 0.05:
                    # As a kill would leave it.
                    killed = f"{self.path}-{turn}"
                    shutil.copytree(self.path, killed)
                    self.path = killed
                    self.backend = self.opened(self.path, limit=limit)


class ScanContract(BackendCase):
    """What every `IBackend` promises of `scan`, and of what it tells of its writes."""

    #: How often everything is done at once.
    seeds = 3

    def scanned(self, most: int = 10, now: int = NOW) -> "list[bytes]":
        """The keys that a scan meets."""
        keys: list[bytes] = []
        cursor, begun = 0, False
        while cursor or not begun:
            before, begun = cursor, True
            entries, cursor = self.backend.scan(cursor, most, now)
            self.assertTrue(len(entries) <= most)
            self.assertTrue(cursor == 0 or cursor > before)
            keys += [entry.key for entry in entries]
        return keys

    def test_it_meets_everything_once_in_the_order_in_which_it_came(self) -> None:
        self.assertEqual(self.scanned(), [])
        keys = [b"%d" % (n * 7919 % 1000) for n in range(100)]
        for start in range(0, 100, 25):
            self.do(*map(put, keys[start : start + 25]))
            if self.durable and start == 50:
                self.reopen()
        self.do(put(keys[7], b"overwritten"), delete(keys[3]), delete(keys[5]), put(keys[5]),
                put(b"expired", expiry=NOW))  # fmt: skip
        expected = [key for key in keys if key not in (keys[3], keys[5])] + [keys[5]]
        for most in (1, 10, 33, 1000):
            self.assertEqual(self.scanned(most), expected, most)
        entries, _ = self.backend.scan(0, 1, NOW)
        self.assertEqual((entries[0].item.value, entries[0].length), (b"", 5))

    def test_a_batch_that_gives_places_out_of_order_is_met_whole(self) -> None:
        self.assertEqual(self.scanned(), [])
        self.do(put(b"a"), put(b"b"), put(b"c"), delete(b"a"), put(b"a"))
        for most in (1, 2, 10):
            self.assertEqual(self.scanned(most), [b"b", b"c", b"a"])

    def test_what_a_call_looks_at_is_bounded(self) -> None:
        self.do(*(put(b"%d" % n) for n in range(1000)))
        self.maintain()
        self.do(*(delete(b"%d" % n) for n in range(900)))
        calls, cursor, found = 0, 0, 0
        while True:
            entries, cursor = self.backend.scan(cursor, 5, NOW)
            calls += 1
            found += len(entries)
            if not cursor:
                break
        self.assertEqual(found, 100)

    def test_what_stays_is_met_whatever_happens(self) -> None:
        for seed in range(self.seeds):
            dice = random.Random(seed)
            cursor = 0
            met: set[tuple[bytes, int]] = set()
            stay: Optional[set[tuple[bytes, int]]] = None
            keys = [b"%d:%d" % (seed, n) for n in range(300)]
            scans = 0
            for turn in range(300):
                steps = []
                for _ in range(dice.randrange(30)):
                    key = dice.choice(keys)
                    steps.append(put(key) if dice.random() < 0.7 else delete(key))
                self.backend.perform([steps], NOW + turn * SECOND)
                while self.backend.due and dice.random() < 0.5:
                    self.backend.maintain()
                if self.durable and dice.random() < 0.02:
                    while self.backend.due:
                        self.backend.maintain()
                    self.reopen()
                items = ((key, self.backend.read([get(key)], NOW)[0]) for key in keys)
                here = {(key, item.place) for key, item in items if item is not None}
                stay = here if stay is None else stay & here
                entries, cursor = self.backend.scan(cursor, 10, NOW)
                met |= {(entry.key, entry.item.place) for entry in entries}
                if not cursor:
                    self.assertEqual(stay - met, set(), (seed, turn))
                    met, stay = set(), None
                    scans += 1
            self.assertTrue(scans > 3, scans)
            self.do(flush())

    def test_what_a_batch_has_written_is_told(self) -> None:
        self.do(put(b"old"), put(b"gone"))
        self.do(put(b"a"), put(b"old"), delete(b"gone"), get(b"a"), step(put_and_fail, b"never"),
                put(b"b"), delete(b"b"))  # fmt: skip
        written = self.backend.written()
        self.do(put(b"later"))
        self.assertEqual(set(written), {b"a", b"old"})
        self.assertEqual(set(self.backend.written()), {b"later"})
        self.do(get(b"a"), delete(b"none"))
        self.assertEqual(list(self.backend.written()), [])


class KeptContract(BackendCase):
    """What every `IBackend` promises of what must be kept."""

    limit = 1 << 20

    def limited(self) -> None:
        """Use a store that may hold a mebibyte."""
        self.shut(self.backend)
        self.path = str(self.directory / "limited")
        self.backend = self.opened(self.path, limit=self.limit)

    @property
    def kept(self) -> int:
        """The bytes that are kept, as the store counts them."""
        size: int = self.backend.figures()["storage"]["bytes_kept"]
        return size

    def fill(self, name: bytes, count: int, kept: bool = False, now: int = NOW) -> Results:
        """Store so many items of 8 KB, five a batch."""
        results: Results = []
        store = keep if kept else put
        for start in range(0, count, 5):
            names = [b"%b-%d" % (name, n) for n in range(start, start + 5)]
            results += self.do(*(store(key, b"v" * 8_000) for key in names), now=now)
        return results

    def test_its_bytes_are_counted_and_the_count_is_kept(self) -> None:
        one = size_in_memcached(b"a", 5, 0)
        for steps, count in (
            ([keep(b"a"), keep(b"b"), put(b"c")], 2),
            ([put(b"a")], 1),
            ([keep(b"c")], 2),
            ([delete(b"b"), keep(b"b"), keep(b"b")], 2),
            ([step(put_and_fail, b"b"), step(put_and_fail, b"d")], 2),
            ([step(operations.touch, b"b", NOW + 9 * SECOND)], 2),
            ([delete(b"b")], 1),
            ([flush(), put(b"c"), keep(b"a")], 1),
            ([flush()], 0),
        ):
            self.do(*steps)
            self.assertEqual(self.kept, count * one)
            if self.durable:
                self.reopen()
                self.assertEqual(self.kept, count * one)

    def test_it_stays_and_the_rest_goes(self) -> None:
        self.limited()
        self.fill(b"kept", 40, kept=True)
        results = self.fill(b"cache", 300)
        self.assertEqual({status for status, _ in results}, {operations.STORED})
        for turn in range(70):
            self.batch(now=NOW + turn * SECOND)
        self.assertNotIn(None, self.backend.read([get(b"kept-%d" % n) for n in range(40)], NOW))
        self.assertTrue(self.backend.figures()["mem_requested"] <= self.limit)
        # Without the mark it goes as any other.
        self.do(*(put(b"kept-%d" % n, b"v" * 8_000) for n in range(40)))
        self.assertTrue(self.backend.resize(self.limit // 8))
        for turn in range(70):
            self.batch(now=NOW + (100 + turn) * SECOND)
        left = [self.value(b"kept-%d" % n) for n in range(40)]
        self.assertTrue(left.count(None) > 20, left.count(None))

    def test_when_only_that_is_left_nothing_may_grow_and_the_rest_goes_on(self) -> None:
        self.limited()
        refused = [isinstance(one, StoreFull) for one in self.fill(b"kept", 200, kept=True)]
        number = refused.index(True)
        self.assertTrue(110 < number < 135, number)
        self.assertTrue(all(refused[number:]))
        self.assertTrue(self.kept <= self.limit)
        results = self.do(
            put(b"new", b"v" * 8_000),
            get(b"kept-0"),
            keep(b"kept-1", b"v" * 20_000),
            keep(b"kept-2", b"v" * 7_999),
            delete(b"kept-3"),
            keep(b"kept-4", b"v" * 8_000),
            put(b"new", b"v" * 4_000),
        )
        self.assertEqual([isinstance(result, StoreFull) for result in results],
                         [True, False, True, False, False, False, False])  # fmt: skip
        self.assertEqual(len(results[1].value), 8_000)
        # What the mark alone makes kept, without growing, takes room as well.
        self.do(*(put(b"kept-%d" % n, b"v" * 8_000) for n in range(5, 10)))
        self.do(*(keep(b"more-%d" % n, b"v" * 8_000) for n in range(7)))
        again = self.do(*(keep(b"kept-%d" % n, b"v" * 8_000) for n in range(5, 10)))
        self.assertTrue(any(isinstance(result, StoreFull) for result in again))
        self.assertTrue(self.kept <= self.limit)

    def test_a_limit_below_what_is_kept_keeps_nobody_busy(self) -> None:
        self.limited()
        self.fill(b"kept", 60, kept=True)
        self.fill(b"cache", 30)
        self.assertTrue(self.backend.resize(self.limit // 4))
        for turn in range(100):
            self.batch(now=NOW + turn * SECOND)
        self.assertFalse(self.backend.pending)
        self.assertEqual(self.backend.live()[0], 60)
        self.assertIsInstance(self.do(put(b"new"))[0], StoreFull)
        self.assertTrue(self.backend.resize(self.limit))
        self.assertEqual(self.do(put(b"new"))[0][0], operations.STORED)

    def test_what_is_dead_is_not_kept(self) -> None:
        self.limited()
        expiry = NOW + SECOND
        self.do(*(keep(b"%d" % n, b"v" * 8_000, expiry) for n in range(120)))
        refused = isinstance(self.do(put(b"new", b"v" * 100_000))[0], StoreFull)
        self.assertTrue(refused)
        for turn in range(70):
            self.batch(now=expiry + turn * SECOND)
        self.assertEqual(self.kept, 0)
        self.do(*(keep(b"%d" % n, b"v" * 8_000) for n in range(90)))
        results = self.do(flush(), *(put(b"%d" % n, b"v" * 8_000) for n in range(60)))
        self.assertEqual({status for status, _ in results[1:]}, {operations.STORED})
