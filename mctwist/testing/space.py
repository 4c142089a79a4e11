"""What every backend promises of the room it takes: sweeping, flushing, evicting, listing."""

from typing import Any

from mctwist import operations
from mctwist.interfaces import MOST_BYTES, Results, Step, StoreFull
from mctwist.item import FETCHED, Entry, size_in_memcached
from mctwist.testing.contract import ELSEWHERE, BackendCase, restore
from mctwist.testing.doubles import NOW, SECOND, START, counts, delete, flush, get, put, step

#: More than a sweep of anybody's needs for a few hundred items.
_PATIENCE = 500


def flush_prefix(prefix: bytes) -> Step:
    """A step that flushes what has keys that begin with `prefix`."""
    return step(operations.flush_prefix, b"", prefix)


class SpaceContract(BackendCase):
    """What is dead or too much goes by itself, and nothing else does."""

    def limited(self, limit: int, evicts: bool = True) -> None:
        """Use a store that may hold `limit` bytes."""
        self.shut(self.backend)
        self.backend = self.opened(str(self.directory / f"limited-{limit}"), limit=limit,
                                   evicts=evicts)  # fmt: skip

    def tick(self, now: int, times: int = 1) -> None:
        """Empty batches, a second apart, with what they make due."""
        for turn in range(times):
            self.batch(now=now + turn * SECOND)

    def swept(self, now: int) -> "tuple[int, int]":
        """The counts when there is nothing more to sweep."""
        for turn in range(_PATIENCE):
            self.tick(now + turn * SECOND)
            if not (self.backend.pending or self.backend.due) and turn > 70:
                break
        return self.backend.live()

    def listed(self, prefix: bytes = b"", now: int = NOW) -> "dict[bytes, Entry]":
        """What a walk shows; no key comes twice."""
        entries = [entry for piece in self.backend.walk(prefix, now) for entry in piece]
        found = {entry.key: entry for entry in entries}
        self.assertEqual(len(entries), len(found))
        return found

    # Sweeping

    def test_what_has_expired_is_removed_by_itself_and_nothing_else(self) -> None:
        expiry = NOW + 10 * SECOND
        dying = [put(b"dying %d" % place, expiry=expiry + place) for place in range(300)]
        self.do(*dying, put(b"late", expiry=expiry + 10**9), put(b"for ever"))
        self.do(put(b"saved", expiry=expiry))
        self.do(step(operations.touch, b"saved", 0))
        self.tick(NOW, 3)
        self.assertEqual(self.backend.live()[0], 303)
        size = sum(size_in_memcached(key, 5, 0) for key in (b"late", b"for ever", b"saved"))
        for _ in range(2 if self.durable else 1):
            self.assertEqual(self.swept(expiry + 300), (3, size))
            self.assertEqual(set(self.listed(now=NOW)), {b"late", b"for ever", b"saved"})
            if self.durable:
                self.reopen()
        self.assertEqual(self.backend.figures()["crawler_reclaimed"] > 0, not self.durable)

    def test_what_was_flushed_is_removed_by_itself(self) -> None:
        self.do(*(put(b"old %d" % place) for place in range(300)), flush())
        self.do(put(b"new"), put(b"old 7", b"again"))
        self.assertEqual(self.swept(NOW)[0], 2)
        self.assertEqual(self.backend.figures()["mem_requested"], self.backend.live()[1])
        self.assertEqual(self.value(b"old 7"), b"again")

    def test_what_is_flushed_later_is_removed_then(self) -> None:
        self.do(*(put(b"old %d" % place) for place in range(50)), flush(NOW + 10 * SECOND))
        self.tick(NOW, 5)
        self.assertEqual(self.backend.live()[0], 50)
        self.swept(NOW + 10 * SECOND)
        self.assertEqual(self.backend.figures()["mem_requested"], 0)

    # Flushing by prefix

    def test_a_prefix_is_flushed_at_once_and_for_good(self) -> None:
        self.do(put(b"user:1"), put(b"user:2"), put(b"use"), put(b"other"), put(b"user:"))
        results = self.do(flush_prefix(b"user:"), get(b"user:1"), put(b"user:2", b"new"),
                          get(b"user:2"))  # fmt: skip
        self.assertEqual(results[0][0], operations.DONE)
        self.assertIsNone(results[1])
        self.assertEqual(results[3].value, b"new")
        for _ in range(3):
            values = [self.value(key) for key in (b"user:1", b"user:2", b"use", b"other", b"user:")]
            self.assertEqual(values, [None, b"new", b"value", b"value", None])
            self.assertEqual(set(self.listed()), {b"user:2", b"use", b"other"})
            if self.durable:
                self.reopen()
        self.assertEqual(self.swept(NOW)[0], 3)
        self.assertEqual(self.value(b"user:2"), b"new")
        self.assertIsNone(self.value(b"user:1"))

    def test_flushing_a_prefix_again_covers_what_has_come_since(self) -> None:
        for value in (b"1", b"2", b"3"):
            self.do(put(b"a:1", value), put(b"b:1", value), flush_prefix(b"a:"))
            self.assertIsNone(self.value(b"a:1"))
            self.assertEqual(self.value(b"b:1"), value)
            self.do(flush_prefix(b"a:"))
        self.assertEqual(self.swept(NOW)[0], 1)
        self.do(put(b"a:1", b"new"))
        self.swept(NOW + 1000 * SECOND)
        self.assertEqual(self.value(b"a:1"), b"new")

    def test_two_flushes_without_a_write_between_are_two(self) -> None:
        keys = [b"%b%d" % (letter, place) for letter in (b"a", b"b") for place in range(3)]
        self.do(*map(put, keys))
        self.do(flush_prefix(b"a"))
        self.swept(NOW)
        self.do(flush_prefix(b"b"))
        self.assertEqual(self.swept(NOW + 100 * SECOND), (0, 0))
        self.assertEqual(self.listed(), {})
        self.do(put(b"a1"), put(b"c"), flush_prefix(b"a"))
        self.swept(NOW + 200 * SECOND)
        self.do(flush())
        self.swept(NOW + 300 * SECOND)
        self.assertEqual(self.backend.figures()["mem_requested"], 0)

    def test_what_was_written_and_deleted_does_not_hold_up_a_flush(self) -> None:
        self.do(put(b"kept"))
        self.swept(NOW)
        self.do(put(b"key"), delete(b"key"))
        self.do(flush())
        self.swept(NOW + 100 * SECOND)
        self.assertEqual(self.backend.figures()["mem_requested"], 0)

    def test_a_piece_of_a_sweep_is_bounded_in_bytes(self) -> None:
        expiry = NOW + 1000 * SECOND
        self.do(*(put(b"%d" % place, b"v" * 600_000, expiry=expiry) for place in range(12)))
        self.assertEqual(self.swept(NOW)[0], 12)
        left = [12]
        for turn in range(60):
            self.tick(expiry + turn * SECOND)
            left.append(self.backend.live()[0])
        self.assertEqual(left[-1], 0)
        self.assertTrue(max(before - after for before, after in zip(left, left[1:])) <= 2, left)

    def test_prefixes_are_few_and_room_for_more_comes_back(self) -> None:
        def refused() -> int:
            steps = [flush_prefix(b"%04d" % number) for number in range(1030)]
            return [status for status, _ in self.do(*steps)].count(operations.NOT_STORED)

        self.do(put(b"0007"), put(b"kept"))
        for turn in range(2):
            self.assertEqual(refused(), 1030 - 1024)
            self.assertEqual(self.swept(NOW + turn * 1000 * SECOND)[0], 1)
            self.assertEqual(self.backend.figures()["storage"]["prefixes_flushed"], 0)
            self.do(put(b"0007"))
            self.assertIsNotNone(self.value(b"0007"))

    def test_prefixes_have_few_lengths(self) -> None:
        flushes = [flush_prefix(b"k" * length) for length in range(1, 20)]
        statuses = [status for status, _ in self.do(*flushes)]
        self.assertEqual(statuses, [operations.DONE] * 16 + [operations.NOT_STORED] * 3)

    # Evicting

    limit = 2 << 20

    def fill(self, count: int, now: int = NOW, first: int = 0) -> Results:
        """Store so many items of 10 KB, ten a batch."""
        results: Results = []
        for start in range(first, first + count, 10):
            steps = [put(b"%d" % place, b"v" * 10_000) for place in range(start, start + 10)]
            results += self.do(*steps, now=now + start)
            self.tick(now + start)
        return results

    def test_above_the_limit_items_go_and_every_set_succeeds(self) -> None:
        self.limited(self.limit)
        results = self.fill(1000)
        self.assertEqual([status for status, _ in results], [operations.STORED] * 1000)
        self.tick(NOW + 2000, 70)
        stored = self.backend.figures()["mem_requested"]
        self.assertTrue(self.limit * 0.8 < stored <= self.limit, stored / self.limit)
        items, _ = self.backend.live()
        self.assertEqual(self.backend.figures()["evictions"], 1000 - items)
        self.assertEqual(set(self.listed()), {key for key in self.keys(1000) if self.value(key)})
        # The last is there: it is not what has just come that goes.
        self.assertIsNotNone(self.value(b"999"))

    def keys(self, count: int) -> "list[bytes]":
        return [b"%d" % place for place in range(count)]

    def test_what_is_visited_stays(self) -> None:
        self.limited(self.limit)
        self.fill(100)
        visited = [b"%d" % place for place in range(3, 100, 10)]
        for start in range(100, 1000, 50):
            self.assertNotIn(None, self.backend.read([get(key) for key in visited], NOW + start))
            self.fill(50, first=start)
        self.assertNotIn(None, self.backend.read([get(key) for key in visited], NOW + 1000))

    def test_what_is_written_again_and_again_stays(self) -> None:
        self.limited(self.limit)
        self.do(put(b"counter", b"0"))
        for start in range(0, 1000, 50):
            self.do(step(operations.increment, b"counter", 1), now=NOW + start)
            self.fill(50, first=start)
        self.assertEqual(self.value(b"counter"), b"20")

    def test_who_wants_to_know_is_told_what_has_been_evicted(self) -> None:
        self.limited(self.limit)
        told: list[Entry] = []
        self.backend.evicted = told.extend
        self.fill(500)
        gone = [key for key in self.keys(500) if self.value(key) is None]
        self.assertEqual(sorted(entry.key for entry in told), sorted(gone))
        self.assertTrue(gone)
        self.assertEqual({entry.length for entry in told}, {10_000})
        self.assertEqual({entry.item.value for entry in told}, {b""})
        self.assertEqual({entry.fetched for entry in told}, {False})

    def test_without_eviction_what_would_grow_is_refused_and_the_rest_goes_on(self) -> None:
        self.limited(self.limit, evicts=False)
        results = self.fill(1000)
        refused = [isinstance(result, StoreFull) for result in results]
        number = refused.index(True)
        self.assertTrue(150 < number < 210, number)
        self.assertTrue(all(refused[number:]))
        results = self.do(
            put(b"new", b"v" * 10_000),
            get(b"0"),
            put(b"0", b"v" * 9_999),
            step(operations.append, b"3", b"v" * 20_000, 1 << 20),
            delete(b"2"),
            put(b"new", b"v" * 5_000),
            counts(),
        )
        self.assertIsInstance(results[0], StoreFull)
        self.assertEqual(len(results[1].value), 10_000)
        self.assertEqual(results[2][0], operations.STORED)
        self.assertIsInstance(results[3], StoreFull)
        self.assertEqual([results[4][0], results[5][0]], [operations.DELETED, operations.STORED])
        self.assertEqual(results[6][0], number)
        self.assertEqual(self.backend.figures()["evictions"], 0)

    def test_the_limit_is_changed_while_it_runs(self) -> None:
        self.limited(self.limit)
        self.fill(1000)
        for limit in (self.limit // 2, self.limit * 2):
            self.assertTrue(self.backend.resize(limit))
            self.fill(500, now=NOW + 10_000 * SECOND)
            self.swept(NOW + 20_000 * SECOND)
            stored = self.backend.figures()["mem_requested"]
            self.assertTrue(limit * 0.7 < stored <= limit, stored / limit)
            self.assertEqual(self.backend.figures()["limit_maxbytes"], limit)
        self.assertFalse(self.backend.resize(0))

    # Listing, and when an item was last asked for

    def test_a_walk_shows_what_is_live(self) -> None:
        self.do(*(put(b"a%d" % place, b"v" * place, place) for place in range(50)))
        self.do(put(b"b"), put(b"gone"), put(b"expired", expiry=NOW + SECOND), delete(b"gone"))
        self.maintain()
        found = self.listed(now=NOW + SECOND)
        self.assertEqual(set(found), {b"b", *(b"a%d" % place for place in range(50))})
        for place in range(50):
            entry = found[b"a%d" % place]
            self.assertEqual((entry.length, entry.item.flags), (place, place))
            self.assertEqual(entry.item.value, b"")
        self.assertEqual(
            set(self.listed(b"a4")), {b"a4", *(b"a4%d" % place for place in range(10))}
        )
        self.assertEqual(self.listed(b"none"), {})

    def test_a_walk_meets_all_that_is_there_all_the_while(self) -> None:
        stays = [b"stays %d" % place for place in range(400)]
        self.do(*(put(key) for key in stays))
        met: list[bytes] = []
        for turn, piece in enumerate(self.backend.walk(b"", NOW)):
            met += [entry.key for entry in piece]
            self.do(*(put(b"comes %d %d" % (turn, place)) for place in range(50)))
            self.do(put(stays[turn % 400], b"overwritten"), delete(b"comes %d 7" % turn))
            self.tick(NOW + turn * SECOND, 2)
            if turn > 200:
                break
        self.assertEqual(sorted(key for key in met if key.startswith(b"stays")), sorted(stays))

    def test_a_walk_may_show_the_values_in_pieces_of_so_many_bytes(self) -> None:
        values = {b"large %d" % place: b"%d" % place * (300 * 1024) for place in range(10)}
        values.update({b"small %d" % place: b"v%d" % place for place in range(700)})
        self.do(*(put(key, value, 7) for key, value in values.items()), put(b"none", expiry=NOW))
        pieces = list(self.backend.walk(b"", NOW, True))
        for piece in pieces:
            self.assertTrue(sum(entry.length for entry in piece[:-1]) <= MOST_BYTES)
        entries = [entry for piece in pieces for entry in piece]
        self.assertEqual(len(entries), len(values))
        self.assertEqual({entry.key: entry.item.value for entry in entries}, values)
        for entry in entries[::100]:
            self.assertEqual(entry.item, self.seen(entry.key))
            self.assertEqual(entry.length, len(entry.item.value))
        (piece,) = self.backend.walk(b"large 1", NOW, True)
        self.assertEqual([entry.item.value for entry in piece], [values[b"large 1"]])

    def test_what_was_an_item_elsewhere_brings_the_time_of_its_last_access(self) -> None:
        later, accessed = NOW + 100 * SECOND, START + 33
        item = ELSEWHERE._replace(accessed=accessed, expiry=0)
        fetched = {b"fetched": True, b"not": False, b"new": False}

        def restores() -> "list[Step]":
            return [
                step(restore, key, item._replace(marks=FETCHED if fetched[key] else 0))
                for key in fetched
            ]

        # What was there before has been fetched, and nothing of that is left.
        self.do(put(b"fetched"), put(b"not"))
        self.backend.read([get(b"fetched"), get(b"not")], later)
        self.tick(later, 130)
        self.backend.read([get(b"fetched"), get(b"not")], later)
        self.do(*restores(), now=later)
        for _ in range(2):
            found = self.listed(now=later)
            self.assertEqual({entry.accessed for entry in found.values()}, {accessed})
            self.assertEqual({key: entry.fetched for key, entry in found.items()}, fetched)
            self.tick(later, 130)
            if self.durable:
                self.reopen()
        self.backend.read([get(b"new")], later)
        self.do(put(b"fetched"), step(operations.touch, b"not", 0), now=later)
        for key, entry in self.listed(now=later).items():
            self.assertEqual((entry.accessed * 1000, entry.fetched), (later, key != b"fetched"))

    def test_it_is_known_when_an_item_was_last_fetched(self) -> None:
        later = NOW + 100 * SECOND
        self.do(
            put(b"fetched"), put(b"not"), put(b"overwritten"), put(b"touched"), put(b"in batch")
        )
        self.backend.read([get(b"fetched"), get(b"overwritten")], later)
        self.do(put(b"overwritten"), step(operations.touch, b"touched", 0), get(b"in batch"),
                now=later)  # fmt: skip

        def shown() -> "dict[bytes, tuple[int, bool]]":
            found = self.listed(now=later)
            return {key: (entry.accessed * 1000, entry.fetched) for key, entry in found.items()}

        expected = {
            b"fetched": (later, True),
            b"not": (NOW, False),
            b"overwritten": (later, False),
            b"touched": (later, True),
            b"in batch": (later, True),
        }
        self.assertEqual(shown(), expected)
        for _ in range(2):
            self.tick(later, 130)
            self.assertEqual(shown(), expected)
            if self.durable and self.remembers_visits:
                self.reopen()
                self.assertEqual(shown(), expected)

    #: Whether it is known after `open` when an item was last fetched.
    remembers_visits = True

    def test_figures_are_figures(self) -> None:
        def flat(figures: Any) -> "list[object]":
            return [
                figure
                for value in figures.values()
                for figure in (flat(value) if isinstance(value, dict) else [value])
            ]

        self.do(put(b"key"))
        for figure in flat(self.backend.figures()):
            self.assertIsInstance(figure, (int, str, float))
