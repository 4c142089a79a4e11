"""The items of a store, out of it and into one: what `dump` and `load` do to a directory."""

import shutil
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist.backends.lmdb import LMDBBackend
from mctwist.dumps import MARKS, Record
from mctwist.item import KEPT, STALE, WON
from mctwist.offline import contents
from mctwist.offline.check import check
from mctwist.offline.contents import records
from mctwist.offline.stores import DIRECTORY, LMDB, OfflineError, Store
from mctwist.testing import NOW, delete, put, step
from tests.stores import NEVER, edited, fill, items_in, tree_of, various


class ContentsCase(SynchronousTestCase):
    """A store of each kind."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.stores = [Store(kind, self.directory / kind) for kind in (LMDB, DIRECTORY)]

    def all_of(self, store: Store) -> "dict[bytes, Record]":
        with records(store) as items:
            return {record.key: record for record in items}


class RecordsTests(ContentsCase):
    """Out."""

    def test_what_is_live_comes_and_nothing_changes(self) -> None:
        now = int(time.time() * 1000)
        for store in self.stores:
            fill(store, [put(b"flushed", b"f"), step(operations.flush_prefix, b"", b"flu")])
            fill(store, various(20))
            steps = [
                *(delete(b"plain:0003"), put(b"plain:0004", b"new")),
                step(operations.store, b"expired", b"e", 0, now - 1, 0),
            ]
            fill(store, steps, closes=False)
            before = tree_of(store.path)
            with records(store) as items:
                self.assertIn(items.expected, range(99, 103))
                found = {record.key: record for record in items}
                self.assertEqual(items.damaged, 0)
            self.assertEqual(tree_of(store.path), before)
            self.assertEqual(len(found), 99)
            self.assertEqual(found[b"plain:0004"].value, b"new")
            self.assertEqual(found[b"expires:0007"].expiry, NEVER + 7)
            kept = found[b"kept \xff0007"]
            self.assertEqual((kept.flags, kept.marks), (7, MARKS["kept"]))
            there = items_in(store, now)
            self.assertEqual({key: record.cas for key, record in found.items()},
                             {key: item.cas for key, item in there.items()})  # fmt: skip

    def test_a_file_is_not_loaded_into(self) -> None:
        file = self.directory / "file"
        file.touch()
        with self.assertRaisesRegex(OfflineError, "Not a directory"):
            contents.store(Store(LMDB, file), [])

    def test_a_store_that_is_not_to_be_trusted_is_not_taken_for_one_in_silence(self) -> None:
        for store in self.stores:
            fill(store, [put(b"key", b"v")])
            (store.path / "unsynced").write_text("another boot\n")
            before = tree_of(self.directory)
            with self.assertRaisesRegex(OfflineError, "went down"):
                self.all_of(store)
            with self.assertRaisesRegex(OfflineError, "went down"):
                contents.store(store, [])
            self.assertEqual(tree_of(self.directory), before)

    def test_a_damaged_one_is_left_out_and_counted(self) -> None:
        for store in self.stores:
            fill(store, various(2))
        with edited(self.stores[0].path) as tables:
            tables[b"items"].flip(b"plain:0001")
        with open(self.stores[1].path / "items" / "plain%3A0001", "ab") as file:
            file.write(b"more")
        for store in self.stores:
            with records(store) as items:
                self.assertEqual((len(list(items)), items.damaged), (9, 1))

    def test_when_it_was_last_accessed_comes_too(self) -> None:
        fill(self.stores[0], [put(b"a", b"1")])
        backend = LMDBBackend(str(self.stores[0].path), "never")
        backend.open()
        backend.read([step(operations.fetch, b"a")], NOW + 500_000)
        backend.close()
        (record,) = self.all_of(self.stores[0]).values()
        self.assertEqual((record.accessed, record.marks), (NOW // 1000 + 500, MARKS["fetched"]))

    def test_what_cannot_be_read_is_refused(self) -> None:
        for store in (*self.stores, Store(LMDB, self.directory / "damaged")):
            fill(store, various(2))
        for path in (self.directory / "damaged" / "data.mdb", self.stores[1].path / "state"):
            path.write_bytes(b"nothing")
        folder = self.stores[0].folder()
        folder.hold()
        self.addCleanup(folder.release)
        none = Store(LMDB, self.directory / "none")
        for store in (*self.stores, Store(LMDB, self.directory / "damaged"), none):
            with self.assertRaises(OfflineError):
                self.all_of(store)


class StoreTests(ContentsCase):
    """Into."""

    def test_what_comes_out_goes_in_as_it_was(self) -> None:
        marks = STALE | WON | KEPT
        now = int(time.time() * 1000)
        given = [
            Record(b"a", b"1", 0xFFFFFFFF, now + 10**9, (1 << 64) - 1, marks, 1, now // 1000 - 5),
            Record(b"binary \xff", b"", 0, 0, 7, 0, 0, 1),
            *(Record(b"%d" % number, b"v" * number, 0, 0, number + 1, 0, 0, 2)
              for number in range(2500)),
        ]  # fmt: skip
        for store in self.stores:
            few = given if store.kind == LMDB else given[:50]
            done: list[int] = []
            told = contents.store(store, few, done=done.append)
            self.assertEqual((told.stored, told.refused), (len(few), {}))
            if store.kind == LMDB:
                self.assertEqual(done, [1000, 2000])
            self.assertEqual(self.all_of(store), {record.key: record for record in few})
            self.assertTrue(check(store).whole)

    def test_what_is_not_stored_is_told_with_the_reason(self) -> None:
        store = self.stores[0]
        fill(store, [put(b"there", b"old")])
        refused: dict[bytes, str] = {}
        given = [
            Record(b"there", b"new"),
            Record(b"expired", b"e", expiry=NOW),
            Record(b"large", b"v" * 1000),
            Record(b"", b"v"),
            Record(b"k" * 251, b"v"),
            Record(b"kind", b"v", kind=9),
            Record(b"new", b"v"),
        ]
        told = contents.store(
            *(store, given),
            adds=True,
            largest=1000,
            refused=lambda record, why: refused.update({record.key: why}),
        )
        self.assertEqual(told.stored, 1)
        self.assertEqual(
            refused,
            {
                b"there": contents.THERE,
                b"expired": contents.EXPIRED,
                b"large": contents.TOO_LARGE,
                b"": contents.BAD_KEY,
                b"k" * 251: contents.BAD_KEY,
                b"kind": contents.BAD_KIND,
            },
        )
        self.assertEqual(told.refused[contents.BAD_KEY], 2)
        self.assertEqual(self.all_of(store)[b"there"].value, b"old")
        self.assertEqual(contents.store(store, given[:1]).stored, 1)
        self.assertEqual(self.all_of(store)[b"there"].value, b"new")

    def test_above_the_limit_nothing_is_stored_and_nothing_evicted(self) -> None:
        for store in self.stores:
            given = [Record(b"%d" % number, b"v" * 1000) for number in range(100)]
            told = contents.store(store, given, limit=50_000)
            self.assertEqual(sum(told.refused.values()), 100 - told.stored)
            self.assertIn(told.stored, range(30, 48))
            self.assertEqual(len(self.all_of(store)), told.stored)

    def test_a_store_that_is_in_use_is_refused(self) -> None:
        fill(self.stores[0], [put(b"a", b"1")])
        folder = self.stores[0].folder()
        folder.hold()
        self.addCleanup(folder.release)
        with self.assertRaises(OfflineError):
            contents.store(self.stores[0], [])
