"""
The default store in what is its own: its limit, its checkpoints, what its files may look like.

What every backend promises is in test_backends.py.
"""

import contextlib
import errno
import itertools
import os
import shutil
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any, Optional, cast

import lmdb
from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist.backends import lmdb as lmdb_backend
from mctwist.backends.journal import Journal, journals, replay
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.state import State
from mctwist.backends.tables import Tables
from mctwist.interfaces import Results, StartError, Step, StorageError, StoreFull
from mctwist.testing import NOW, SECOND, counts, delete, flush, get, put, step

KIB, MIB = 1 << 10, 1 << 20


def tables_of(backend: LMDBBackend) -> Tables:
    """The LMDB side of a store that is open."""
    assert backend._tables is not None
    return backend._tables


class LMDBCase(SynchronousTestCase):
    """A store in a directory of its own."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "store"

    def opened(self, **options: Any) -> LMDBBackend:
        backend = LMDBBackend(str(options.pop("path", self.path)), **options)
        backend.open()
        self.addCleanup(backend.close)
        return backend

    def do(self, backend: LMDBBackend, *steps: Step) -> Results:
        """The results of `steps` as one batch, with the maintenance that it made due."""
        (results,) = backend.perform([steps], NOW)
        if backend.due:
            backend.maintain()
        return results

    def value(self, backend: LMDBBackend, key: bytes) -> Optional[bytes]:
        (item,) = backend.read([get(key)], NOW)
        return None if item is None else item.value


class LimitTests(LMDBCase):
    """`--storage-limit`."""

    limit = 4 * MIB

    def filled(self, checkpoint: int = lmdb_backend.CHECKPOINT) -> "tuple[LMDBBackend, int]":
        """A store in which no more fits, and how many keys it holds."""
        backend = self.opened(sync="never", limit=self.limit, evicts=False, checkpoint=checkpoint)
        for number in range(1000):
            (result,) = self.do(backend, put(b"%d" % number, b"v" * (64 * KIB)))
            if isinstance(result, StoreFull):
                break
        self.assertTrue(30 < number < 70, number)
        return backend, number

    def test_what_would_grow_is_refused_and_the_rest_goes_on(self) -> None:
        for checkpoint in (lmdb_backend.CHECKPOINT, 0):
            backend, number = self.filled(checkpoint)
            results = self.do(
                backend,
                put(b"new", b"v" * 64 * KIB),
                get(b"0"),
                put(b"0", b"v" * (64 * KIB - 1)),
                step(operations.touch, b"1", NOW + 1000),
                step(operations.append, b"3", b"v" * 64 * KIB, MIB),
                delete(b"2"),
                counts(),
            )
            self.assertIsInstance(results[0], StoreFull)
            self.assertEqual(len(results[1].value), 64 * KIB)
            self.assertEqual(
                [results[place][0] for place in (2, 3, 5)],
                [operations.STORED, operations.TOUCHED, operations.DELETED],
            )
            self.assertIsInstance(results[4], StoreFull)
            self.assertEqual(results[6][0], number - 1)
            self.assertEqual(len(self.value(backend, b"0") or b""), 64 * KIB - 1)
            self.assertIsNone(self.value(backend, b"new"))
            self.assertEqual(len(self.value(backend, b"3") or b""), 64 * KIB)
            backend.close()
            shutil.rmtree(self.path)

    def test_deleting_makes_room(self) -> None:
        for checkpoint in (0, lmdb_backend.CHECKPOINT):
            backend, number = self.filled(checkpoint)
            self.do(backend, *(delete(b"%d" % place) for place in range(number)))
            self.assert_stores(backend, checkpoint)
            backend.close()
            shutil.rmtree(self.path)

    def test_overwriting_one_key_for_ever_does_not_fill_the_store(self) -> None:
        backend = self.opened(sync="never", limit=self.limit)
        for _ in range(100):
            self.do(backend, *[put(b"key", b"v" * (64 * KIB))] * 2)
        self.assert_stores(backend, "overwritten")

    def assert_stores(self, backend: LMDBBackend, how: object) -> None:
        """Somebody who tries a few times gets his item stored."""
        for _ in range(5):
            (result,) = self.do(backend, put(b"new", b"v" * KIB))
        self.assertFalse(isinstance(result, StorageError), f"{how}: {result}")


class FullMapTests(LMDBCase):
    """LMDB has no room for a checkpoint: its map, or the disk under it, is full."""

    def test_nothing_may_grow_and_nothing_is_lost_until_there_is_room_again(self) -> None:
        backend = self.opened(sync="never", limit=0, checkpoint=0)
        backend._packing.resize(1 << 40)  # the map stays as it is, at 64 MiB
        stored = 0
        for number in range(100):
            (result,) = backend.perform([[put(b"%d" % number, b"v" * MIB)]], NOW)[0]
            if isinstance(result, StoreFull):
                break
            stored += 1
            if backend.due:
                try:
                    backend.maintain()
                except StorageError as fault:
                    self.assertIsInstance(fault, StoreFull)
        self.assertTrue(30 < stored < 100, stored)
        # All that was acknowledged is there, in the tables or not.
        for number in range(stored):
            self.assertIsNotNone(self.value(backend, b"%d" % number), number)
        ((result,),) = backend.perform([[put(b"new")]], NOW)
        self.assertIsInstance(result, StoreFull)
        (results,) = backend.perform([[put(b"0", b"shorter"), delete(b"1")]], NOW)
        self.assertEqual([status for status, _ in results],
                         [operations.STORED, operations.DELETED])  # fmt: skip
        # Room is made.
        backend.perform([[delete(b"%d" % number) for number in range(stored)]], NOW)
        for _ in range(5):
            if backend.due:
                try:
                    backend.maintain()
                except StorageError:
                    continue
            (result,) = backend.perform([[put(b"new", b"v")]], NOW)[0]
        self.assertNotIsInstance(result, StorageError)


class FullJournalTests(LMDBCase):
    """A disk on which the journal may have so many bytes and no more."""

    room = 4096

    def setUp(self) -> None:
        super().setUp()

        def pwrite(file: int, data: bytes, offset: int) -> int:
            if offset + len(data) > self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return os_pwrite(file, data, offset)

        self.patch(os, "pwrite", pwrite)

    def test_what_is_in_the_tables_makes_room_in_the_journal(self) -> None:
        backend = self.opened()
        for number in range(40):
            self.do(backend, put(b"%d" % number, b"v" * 100))
            for value in (b"w" * 1000, b"%d" % number):
                ((status, _),) = self.do(backend, put(b"key", value))
                self.assertIs(status, operations.STORED, number)
        copy = self.directory / "killed"
        shutil.copytree(self.path, copy)
        for store in (backend, self.opened(path=copy)):
            self.assertEqual(self.value(store, b"key"), b"39")
            for number in range(40):
                self.assertIsNotNone(self.value(store, b"%d" % number), number)

    def test_what_fits_nowhere_is_refused_alone(self) -> None:
        backend = self.opened()
        large, small, gone = self.do(
            backend, put(b"large", b"v" * self.room), put(b"small"), delete(b"none")
        )
        self.assertIsInstance(large, StoreFull)
        self.assertEqual((small[0], gone[0]), (operations.STORED, operations.NOT_FOUND))
        self.assertIsNone(self.value(backend, b"large"))
        self.assertEqual(self.value(backend, b"small"), b"value")


class PanicTests(LMDBCase):
    """LMDB, having failed in the middle of a commit, takes nothing more until it is reopened."""

    def test_it_is_opened_anew_and_nothing_is_lost(self) -> None:
        backend = self.opened(checkpoint=0)
        self.do(backend, put(b"old"))
        backend.perform([[put(b"key")]], NOW)
        tables_of(backend)._env = cast(lmdb.Environment, Panicked(backend))
        for _ in range(2):
            self.assertRaises(StorageError, backend.maintain)
            self.assertTrue(backend.due)
            self.assertEqual(self.value(backend, b"key"), b"value")
        # The next batch opens it, and then the checkpoint is done.
        self.do(backend, get(b"old"))
        self.assertFalse(backend.due)
        self.do(backend, put(b"new"))
        for key in (b"old", b"key", b"new"):
            self.assertEqual(self.value(backend, key), b"value")


class Panicked:
    """An LMDB environment that has panicked: it can be read, and nothing else."""

    def __init__(self, backend: LMDBBackend) -> None:
        self._env = tables_of(backend)._env

    def begin(self, *args: Any, **options: Any) -> Any:
        if options.get("write"):
            panic: Any = lmdb.PanicError("MDB_PANIC")
            panic.code = -30795
            raise panic
        return self._env.begin(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


class CheckpointTests(LMDBCase):
    """What is on its way from the journal to the tables."""

    def test_a_checkpoint_that_ends_while_a_batch_begins_hides_nothing_from_it(self) -> None:
        for first in (True, False):
            backend = self.opened(checkpoint=0)
            backend.perform([[put(b"key", b"1")]], NOW)
            self.assertTrue(backend.due)
            tables_of(backend)._env = cast(lmdb.Environment, Overtaken(backend, first))
            ((result,),) = backend.perform([[step(operations.increment, b"key", 1)]], NOW)
            self.assertEqual(result[0], operations.STORED)
            backend.close()
            shutil.rmtree(self.path)

    def test_a_checkpoint_that_begins_while_it_is_prepared_loses_nothing(self) -> None:
        for moment in itertools.count():
            path = self.directory / f"store-{moment}"
            backend = Hurried(str(path), checkpoint=0)
            backend.open()
            self.addCleanup(backend.close)
            backend.moment = moment
            for number in range(3):
                backend.perform([[put(b"%d" % number)]], NOW)
            if backend.moment >= 0:
                break
            copy = self.directory / f"killed-{moment}"
            shutil.copytree(path, copy)
            for store in (backend, self.opened(path=copy)):
                for number in range(3):
                    self.assertIsNotNone(self.value(store, b"%d" % number), (moment, number))
        self.assertTrue(moment > 0)

    def test_a_reader_never_sees_half_a_batch(self) -> None:
        for others in (False, True):
            backend = self.opened()
            self.do(backend, put(b"a", b"old"), put(b"b", b"old"))
            if others:
                # Another reader is at it, which ends as soon as this one has begun.
                self.assertTrue(backend._lock.acquire(False))

            def be_overtaken(
                transaction: object, key: bytes, backend: LMDBBackend, held: "list[bool]"
            ) -> None:
                # What the storage thread may do between two steps of a reader, if it may.
                if held.pop():
                    backend._lock.release()
                if backend._lock.acquire(False):
                    backend._lock.release()
                    backend.perform([[put(b"a", b"new"), put(b"b", b"new")]], NOW)
                held.append(False)

            overtake = step(be_overtaken, b"", backend, [others])
            a, _, b = backend.read([get(b"a"), overtake, get(b"b")], NOW, others)
            self.assertEqual(a.value, b.value)
            backend.close()
            shutil.rmtree(self.path)

    def test_a_reader_sees_the_batches_that_came_since_it_last_read(self) -> None:
        backend = self.opened(checkpoint=200)
        for number in range(50):
            value = b"%d" % number
            backend.perform([[put(b"key", value)]], NOW)
            self.assertEqual(self.value(backend, b"key"), value)
            if number % 3 == 0 and backend.due:
                backend.maintain()
                self.assertEqual(self.value(backend, b"key"), value)

    def test_a_journal_that_cannot_be_removed_holds_nobody_up(self) -> None:
        backend = self.opened(checkpoint=0)
        backend.perform([[put(b"key", b"1")]], NOW)
        self.patch(Path, "unlink", refuse)
        with contextlib.suppress(StorageError):
            backend.maintain()
        self.assertTrue(backend.due)

    def test_the_place_is_given_back_even_if_the_environment_is_gone(self) -> None:
        backend = self.opened(checkpoint=0)
        backend.perform([[put(b"key", b"value")]], NOW)
        # As after a fault of the disk behind which it could not be opened again.
        backend._drop_view()
        tables_of(backend).close()
        backend._tables = None
        backend.close()
        self.assertEqual(self.value(self.opened(), b"key"), b"value")

    def test_a_journal_that_could_not_be_synced_is_not_relied_on_again(self) -> None:
        for sync in ("always", "relaxed"):
            backend = self.opened(sync=sync)
            backend.perform([[put(b"a", b"acknowledged")]], NOW)
            self.patch(os, "fdatasync", refuse)
            self.assertRaises(StorageError, backend.perform, [[put(b"b")]], NOW)
            self.patch(os, "fdatasync", os_fdatasync)
            (suspect,) = self.path.glob("journal-*")
            backend.perform([[put(b"c")]], NOW)
            self.assertNotIn(suspect, set(self.path.glob("journal-*")))
            self.assertEqual(
                [self.value(backend, key) for key in (b"a", b"b", b"c")],
                [b"acknowledged", None, b"value"],
            )
            backend.close()
            shutil.rmtree(self.path)


class Overtaken:
    """An LMDB environment in which a checkpoint ends just before, or after, a reader begins."""

    def __init__(self, backend: LMDBBackend, first: bool) -> None:
        self._backend: Optional[LMDBBackend] = backend
        self._first = first
        self._env = tables_of(backend)._env

    def begin(self, *args: Any, **options: Any) -> Any:
        backend, self._backend = self._backend, None
        if backend is not None and self._first:
            backend.maintain()
        txn = self._env.begin(*args, **options)
        if backend is not None and not self._first:
            backend.maintain()
        return txn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


class Hurried(LMDBBackend):
    """
    A store whose checkpoint begins as soon as it is due, if nothing holds it up.

    :ivar moment: after so many changes of what it is due by; below 0: it has begun.
    """

    moment = -1

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if self.__dict__.get("moment", -1) < 0 or name == "moment":
            return
        if self.due and not (self._maintenance.locked() or self._lock.locked()):
            self.moment -= 1
            if self.moment < 0:
                self.maintain()


class JournalDamageTests(LMDBCase):
    """Journals as a crash, or a disk, may leave them."""

    def batches(self) -> "tuple[Path, list[int]]":
        """A journal of three batches, in a directory as a kill leaves it, and their ends."""
        backend = self.opened()
        ends = []
        for number in range(1, 4):
            self.do(backend, put(b"key", b"%d" % number), put(b"%d" % number))
            # Behind it is the room that is held.
            ends.append(len(self.journal(self.path).read_bytes().rstrip(b"\0")))
        copy = self.directory / "killed"
        shutil.copytree(self.path, copy)
        journal = self.journal(copy)
        journal.write_bytes(journal.read_bytes()[: ends[-1]])
        return copy, ends

    def journal(self, path: Path) -> Path:
        (journal,) = path.glob("journal-*")
        return journal

    def recovered(self, number: int, path: Path, content: bytes) -> int:
        """Which of the batches are there when the journal has `content`: so many of the first."""
        copy = self.directory / f"copy-{number}"
        shutil.copytree(path, copy)
        self.journal(copy).write_bytes(content)
        backend = self.opened(path=copy, sync="never")
        (items, _), *found = backend.read([counts(), *(get(b"%d" % place) for place in (1, 2, 3))],
                                          NOW)  # fmt: skip
        there = sum(item is not None for item in found)
        self.assertEqual([item is not None for item in found],
                         [place < there for place in range(3)])  # fmt: skip
        self.assertEqual(self.value(backend, b"key"), b"%d" % there if there else None)
        self.assertEqual(items, there + 1 if there else 0)
        # And it works, without giving out a number twice.
        ((_, item),) = self.do(backend, put(b"next"))
        self.assertEqual(item.sequence, 2 * there + 1)
        backend.close()
        shutil.rmtree(copy)
        return there

    def test_a_torn_journal_is_replayed_as_far_as_it_is_whole(self) -> None:
        path, ends = self.batches()
        content = self.journal(path).read_bytes()
        for size in range(0, len(content) + 1, 7):
            there = self.recovered(size, path, content[:size])
            self.assertEqual(there, sum(end <= size for end in ends), size)
        self.assertEqual(self.recovered(-1, path, content), 3)

    def test_a_flipped_bit_in_a_journal_is_never_served(self) -> None:
        path, ends = self.batches()
        content = self.journal(path).read_bytes()
        for place in range(0, len(content), 5):
            damaged = bytearray(content)
            damaged[place] ^= 1 << place % 8
            there = self.recovered(place, path, bytes(damaged))
            self.assertTrue(there <= sum(end <= place for end in ends), place)


class DamageTests(LMDBCase):
    """Files that are not as LMDB left them."""

    def test_a_data_file_that_is_not_one_is_refused_in_one_line(self) -> None:
        self.opened().close()
        data = self.path / "data.mdb"
        data.write_bytes(b"\0" * data.stat().st_size)
        error = self.assertRaises(StartError, LMDBBackend(str(self.path)).open)
        self.assertIn(str(self.path), str(error))
        self.assertNotIn("\n", str(error))
        # And nothing is held: whoever puts the file right can start.
        data.unlink()
        self.opened()

    def test_a_damaged_state_brings_back_nothing_that_was_flushed(self) -> None:
        backend = self.opened()
        self.do(backend, put(b"key", b"flushed"))
        self.do(backend, flush())
        backend.close()
        for place, bit in itertools.product(range(State.SIZE), range(3)):
            copy = self.directory / f"copy-{place}-{bit}"
            shutil.copytree(self.path, copy)
            with lmdb.open(str(copy), max_dbs=8, lib_version=0) as env:
                about = env.open_db(b"about")
                with env.begin(about, write=True) as txn:
                    state = bytearray(txn.get(b"state") or b"")
                    state[place] ^= 1 << bit
                    txn.put(b"state", bytes(state))
            backend = LMDBBackend(str(copy))
            try:
                backend.open()
            except StartError:
                continue
            self.assertIsNone(self.value(backend, b"key"), (place, bit))
            backend.close()
            shutil.rmtree(copy)

    def test_a_state_cut_short_is_refused_in_one_line(self) -> None:
        backend = self.opened()
        self.do(backend, put(b"key"))
        backend.close()
        with lmdb.open(str(self.path), max_dbs=8, lib_version=0) as env:
            about = env.open_db(b"about")
            with env.begin(about, write=True) as txn:
                txn.put(b"state", b"short")
        self.assertRaises(StartError, LMDBBackend(str(self.path)).open)
        self.assertRaises(StartError, LMDBBackend(str(self.path)).open)


os_fdatasync, os_pwrite = os.fdatasync, os.pwrite


def refuse(*args: object, **kw: object) -> None:
    """A system call that fails."""
    raise OSError(5, "Input/output error")


class OldStateTests(LMDBCase):
    """A store that was written before anything could be kept."""

    def older(self, record: bytes) -> bytes:
        """The record of a state, as it was written then."""
        body = record[: State.SIZE - 12]
        return body + struct.pack("<I", zlib.crc32(body))

    def test_it_opens_after_a_stop_and_nothing_is_kept(self) -> None:
        backend = self.opened()
        self.do(backend, put(b"key", b"value"), flush(NOW + 1000))
        backend.close()
        with lmdb.open(str(self.path), max_dbs=8, lib_version=0) as env:
            about = env.open_db(b"about")
            with env.begin(about, write=True) as txn:
                txn.put(b"state", self.older(txn.get(b"state") or b""))
        backend = self.opened()
        self.assertEqual(backend.live()[0], 1)
        self.assertEqual(backend._state.kept, 0)
        self.assertEqual(backend._state.deadline, NOW + 1000)

    def test_it_opens_after_a_kill_and_nothing_is_lost(self) -> None:
        backend = self.opened()
        self.do(backend, put(b"key", b"value"), put(b"gone"))
        self.do(backend, delete(b"gone"))
        copy = self.directory / "killed"
        shutil.copytree(self.path, copy)
        (path,) = journals(copy)
        frames = list(replay(path, State.size_in))
        self.assertEqual(len(frames), 2)
        path.unlink()
        journal = Journal(path, "never")
        for state, entries in frames:
            journal.append(self.older(state), entries)
        journal.close()
        killed = self.opened(path=copy)
        self.assertEqual(self.value(killed, b"key"), b"value")
        self.assertIsNone(self.value(killed, b"gone"))
        self.assertEqual((killed.live()[0], killed._state.kept), (1, 0))


class ReviewedTests(LMDBCase):
    """Faults that have been found, each as its finder saw it."""

    def test_a_fault_while_pages_are_written_anew_ends_that(self) -> None:
        backend = self.opened()
        backend._packing.due = 1 << 20
        tables_of(backend)._env.close()
        backend.maintain()
        self.assertEqual(backend._packing.due, 0)
        backend._tables = None

    def test_a_damaged_record_that_is_written_again_holds_nothing_up(self) -> None:
        backend = self.opened(checkpoint=0)
        self.do(backend, put(b"key"), put(b"other"))
        tables = tables_of(backend)
        for damage in (b"\x07", b"\x01", b""):
            with tables._env.begin(tables._items, write=True) as txn:
                txn.put(b"key", damage + (txn.get(b"key") or b"")[1:] if damage else b"")
            backend._drop_view()
            self.assertIsNone(self.value(backend, b"key"))
            self.do(backend, put(b"key", b"again"))
            backend.close()
            backend = self.opened(checkpoint=0)
            tables = tables_of(backend)
            self.assertEqual(self.value(backend, b"key"), b"again")
            self.assertEqual(self.value(backend, b"other"), b"value")

    def test_a_flush_survives_the_room_that_is_made_for_what_follows(self) -> None:
        backend = self.opened()
        self.do(backend, put(b"key"))
        backend._turn()
        backend.maintain()
        self.do(backend, flush())
        self.assertTrue(backend._make_room())
        copy = self.directory / "killed"
        shutil.copytree(self.path, copy)
        self.assertIsNone(self.value(self.opened(path=copy), b"key"))

    def test_it_says_how_old_the_oldest_items_are_and_whether_it_sweeps(self) -> None:
        backend = self.opened(checkpoint=0)
        self.do(backend, put(b"first"), put(b"second", expiry=NOW + SECOND))
        backend.perform([], NOW + 7 * SECOND)
        backend.maintain()
        figures = backend.figures()
        self.assertEqual((figures["oldest_age"], figures["lru_crawler_running"]), (7, 1))
        backend.perform([], NOW + 7 * SECOND)
        self.assertEqual(backend.figures()["lru_crawler_running"], 0)
        backend.read([get(b"first")], NOW + 7 * SECOND)
        self.assertEqual(backend.figures()["oldest_age"], 0)

    def test_a_smaller_limit_does_not_empty_the_store(self) -> None:
        backend = self.opened(sync="never", limit=8 * MIB)
        for start in range(0, 60_000, 500):
            keys = range(start, start + 500)
            self.do(backend, *(put(b"%d" % key, b"v" * 100) for key in keys))
        backend.resize(4 * MIB)
        for turn in range(3000):
            backend.perform([], NOW + turn * SECOND)
            if backend.due:
                backend.maintain()
        self.assertTrue(1.5 * MIB < backend.figures()["mem_requested"] <= 4 * MIB)

    def test_a_store_without_eviction_takes_sets_behind_a_flush(self) -> None:
        backend = self.opened(limit=4 * MIB, evicts=False)
        for number in range(50):
            (result,) = self.do(backend, put(b"%d" % number, b"v" * 100_000))
        self.assertIsInstance(result, StoreFull)
        (_, (status, _)) = self.do(backend, flush(), put(b"new", b"v" * 100_000))
        self.assertIs(status, operations.STORED)
