"""
Every backend held to the contract, and what all that keep items on disk promise besides.

The contract is `mctwist.testing.BackendContract`. The second part is about what may happen to a
directory between two servers, or under one: a kill, a flipped bit, another's files, a full disk.
A kill is a copy of the directory, taken at that moment and opened by a fresh backend.
"""

import contextlib  # trial takes a name `suppress` in a module for its own
import errno
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Callable, Optional, Union

import lmdb
from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist.backends.directory import DirectoryBackend, name_of
from mctwist.backends.folder import Folder
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import IBackend, StartError, StorageError, StoreFull
from mctwist.item import size_in_memcached
from mctwist.testing import NOW, BackendContract, delete, flush, get, put, step

#: The calls by which our own code writes to the disk; between any two of them it may be killed.
SYSTEM_CALLS = ("fsync", "fdatasync", "pwrite", "ftruncate", "replace", "rename", "unlink")

LONG_KEY = b"/" * 250


class Killed(BaseException):
    """The process is gone. No code of ours may catch this."""


class MemoryTests(BackendContract, SynchronousTestCase):
    """The memory backend."""

    durable = False

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return MemoryBackend()


class DurableContract(BackendContract):
    """What a backend promises that keeps its items in a directory of its own."""

    kind: str
    sync = "always"

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return self.make_synced(path, self.sync)

    def make_synced(self, path: str, sync: str) -> IBackend:
        """A backend on `path` that syncs as `sync` says."""
        raise NotImplementedError

    def damage(self, key: bytes, change: "Callable[[bytes], bytes]") -> None:
        """Change what the closed store holds under `key`."""
        raise NotImplementedError

    def killed(self, name: str) -> str:
        """The path of a copy of the directory, as a kill at this moment would leave it."""
        path = str(self.directory / name)
        shutil.copytree(self.path, path)
        return path

    def use(self, backend: IBackend) -> None:
        """Have `backend` be the one that the helpers speak to."""
        self.backend = backend

    # The directory

    def test_a_directory_that_is_not_ours_is_refused_and_left_alone(self) -> None:
        foreign = self.directory / "foreign"
        foreign.mkdir()
        (foreign / "notes.txt").write_text("mine")
        a_file = self.directory / "file"
        a_file.write_text("mine")
        other_kind = self.directory / "other"
        folder = Folder(str(other_kind), "another", 1)
        folder.take(unsynced=False)
        folder.made()
        folder.release()
        newer = self.directory / "newer"
        self.shut(self.opened(str(newer)))
        name = newer / "mctwist"
        name.write_text(f"{name.read_text().split()[0]} 99\n")
        for path in (foreign, a_file, other_kind, newer):
            self.assert_refused(str(path))

    def test_a_second_server_is_refused_and_changes_nothing(self) -> None:
        self.do(put(b"key", b"value"))
        self.assert_refused(self.path, str(os.getpid()))
        self.assertEqual(self.value(b"key"), b"value")
        self.reopen()
        self.assertEqual(self.value(b"key"), b"value")

    def test_a_directory_that_cannot_be_made_is_refused(self) -> None:
        self.assert_refused("/proc/mctwist/store")

    def assert_refused(self, path: str, *words: str) -> None:
        before = tree(self.directory)
        backend = self.make_backend(path)
        error = self.assertRaises(StartError, backend.open)
        for word in (path, *words):
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))
        self.assertEqual(tree(self.directory), before)

    def test_a_closed_store_answers_errors(self) -> None:
        self.shut(self.backend)
        self.assertRaises(StorageError, self.backend.perform, [[put(b"key")]], NOW)
        self.assertRaises(StorageError, self.backend.read, [get(b"key")], NOW)

    def test_a_closed_store_opens_again(self) -> None:
        self.do(put(b"key", b"value"))
        self.shut(self.backend)
        self.backend.open()
        self.assertEqual(self.value(b"key"), b"value")

    # Kills

    def test_what_was_acknowledged_survives_a_kill(self) -> None:
        self.do(put(b"kept", b"value", 7), put(b"key", b"1"), put(b"gone"))
        self.do(put(b"key", b"2"), delete(b"gone"), put(LONG_KEY, b"long"))
        items, counted = self.seen(b"kept"), self.counted()
        self.use(self.opened(self.killed("copy")))
        self.assertEqual(self.seen(b"kept"), items)
        self.assertEqual([self.value(key) for key in (b"key", b"gone", LONG_KEY)],
                         [b"2", None, b"long"])  # fmt: skip
        self.assertEqual(self.counted(), counted)

    def test_a_flush_to_come_survives_a_kill(self) -> None:
        self.do(put(b"key"), flush(NOW + 1000))
        self.use(self.opened(self.killed("copy")))
        self.assertIsNotNone(self.seen(b"key", NOW + 999))
        self.assertIsNone(self.seen(b"key", NOW + 1000))

    def test_no_number_is_given_out_twice_over_a_kill(self) -> None:
        ((_, item), _) = self.do(put(b"key"), delete(b"key"))
        self.use(self.opened(self.killed("copy")))
        ((_, again),) = self.do(put(b"key"))
        self.assertTrue(again.sequence > item.sequence)
        self.assertTrue(again.place > item.place)

    def test_a_kill_at_any_moment_leaves_each_batch_whole_or_not_at_all(self) -> None:
        points = 0
        for turn, copy in self.killings(self.a_batch):
            points += 1
            self.assert_whole(copy, turn)
        self.assertTrue(points)

    def test_a_kill_while_a_kill_is_recovered_from(self) -> None:
        # Copies of the store, killed at every moment of a batch ...
        copies = [copy for _, copy in self.killings(self.a_batch)]
        for number, copy in enumerate(copies):
            # ... and each of them at every moment of its opening.
            for turn in count():
                path = f"{copy}-{turn}"
                again = f"{path}-again"
                shutil.copytree(copy, path)
                backend = self.make_backend(path)
                with self.kill_at(turn, path, again) as happened:
                    backend.open()
                if not happened:
                    self.shut(backend)
                    break
                self.release(backend)
                self.assert_whole(again, (number, turn))
                shutil.rmtree(path)
                shutil.rmtree(again)

    def a_batch(self) -> None:
        self.batch(
            [put(b"a", b"new"), delete(b"b"), put(b"c", b"new")],
            [put(LONG_KEY, b"new"), step(operations.increment, b"n", 1)],
        )

    def killings(self, work: Callable[[], None]) -> Iterator["tuple[int, str]"]:
        """Do `work` on fresh stores, killed at one system call after another; their copies."""
        self.shut(self.backend)
        for turn in count():
            self.path = str(self.directory / f"kill-{turn}")
            self.use(self.make_backend(self.path))
            self.backend.open()
            self.do(put(b"a", b"old"), put(b"b", b"old"), put(LONG_KEY, b"old"), put(b"n", b"1"))
            copy = f"{self.path}-copy"
            with self.kill_at(turn, self.path, copy) as happened:
                work()
            if not happened:
                self.shut(self.backend)
                break
            self.release(self.backend)
            yield turn, copy
            shutil.rmtree(self.path)

    @contextlib.contextmanager
    def kill_at(self, turn: int, path: str, copy: str) -> Iterator["list[int]"]:
        """Copy `path` and raise `Killed` at the system call `turn`; true when it was reached."""
        happened: list[int] = []
        calls = count()

        def before(name: str, *args: Any) -> None:
            if not happened and next(calls) == turn:
                happened.append(turn)
                shutil.copytree(path, copy)
                raise Killed

        with system_calls(before), contextlib.suppress(Killed):
            yield happened

    def release(self, backend: IBackend) -> None:
        """Give up what a killed process would give up, so that the test can end."""
        with contextlib.suppress(StorageError):
            self.shut(backend)

    def assert_whole(self, path: str, moment: object) -> None:
        """In the store at `path`, `a_batch` has happened, or it has not."""
        self.use(self.make_backend(path))
        self.backend.open()
        keys = (b"a", b"b", b"c", LONG_KEY, b"n")
        found = [self.value(key) for key in keys]
        before = [b"old", b"old", None, b"old", b"1"]
        after = [b"new", None, b"new", b"new", b"2"]
        self.assertIn(found, (before, after), moment)
        sizes = [size_in_memcached(key, len(value), 0) for key, value in zip(keys, found) if value]
        self.assertEqual(self.counted(), (len(sizes), sum(sizes)), moment)
        # And it works.
        self.do(put(b"a", b"newer"), put(b"b", b"newer"))
        self.assertEqual([self.value(b"a"), self.value(b"b")], [b"newer"] * 2)
        self.shut(self.backend)

    # Faults

    def test_a_batch_that_meets_a_fault_of_the_disk_has_happened_or_has_not(self) -> None:
        self.assert_whole_after(errno.EIO)

    def test_a_batch_that_meets_a_full_disk_has_happened_once_or_not_at_all(self) -> None:
        self.assert_whole_after(errno.ENOSPC)

    def assert_whole_after(self, number: int) -> None:
        """At whichever system call errno `number` is met, what was answered is the case."""
        for turn in count():
            self.use(self.opened(str(self.directory / f"fault-{turn}")))
            self.do(put(b"n", b"1"), put(b"a", b"old"))
            with self.fault_at(turn, number) as happened:
                status, value = self.increment_and_put()
            self.assertEqual(value, b"2" if status == "STORED" else b"1", (turn, status))
            self.assertEqual(self.value(b"a"), b"new" if value == b"2" else b"old")
            if not happened:
                self.assertEqual(status, "STORED")
                break
            # The fault is over, and the store works.
            ((again, item),) = self.do(step(operations.increment, b"n", 1))
            self.assertEqual((again.name, item.value), ("STORED", b"%d" % (int(value) + 1)))
            self.reopen_at_once()
            self.assertEqual(self.value(b"n"), item.value, turn)

    def reopen_at_once(self) -> None:
        path = self.backend.name.partition(":")[2]
        self.shut(self.backend)
        self.use(self.opened(path))

    def increment_and_put(self) -> "tuple[str, bytes]":
        """What becomes of one batch under a fault: its outcome, and what the store then holds."""
        steps = [step(operations.increment, b"n", 1), put(b"a", b"new")]
        try:
            ((first, *_),) = self.backend.perform([steps], NOW)
        except StorageError as fault:
            status = type(fault).__name__
        else:
            status = type(first).__name__ if isinstance(first, Exception) else first[0].name
        with contextlib.suppress(StorageError):
            n, a = self.backend.read([get(b"n"), get(b"a")], NOW)
            self.assertIn((n.value, a.value), ((b"1", b"old"), (b"2", b"new")))
        with contextlib.suppress(StorageError):
            # What fails is still due, and is done later.
            self.maintain()
        value = self.value(b"n")
        assert value is not None
        return status, value

    @contextlib.contextmanager
    def fault_at(self, turn: int, number: int) -> Iterator["list[int]"]:
        """Have the system call `turn` fail with errno `number`; true when it was reached."""
        happened: list[int] = []
        calls = count()

        def before(name: str, *args: Any) -> None:
            if not happened and next(calls) == turn:
                happened.append(turn)
                raise OSError(number, os.strerror(number))

        with system_calls(before):
            yield happened

    # Damage

    def test_a_damaged_record_is_a_miss_and_is_counted_and_can_be_overwritten(self) -> None:
        size = len(self.stored(b"00"))
        keys = [b"%02d" % place for place in range(size)]
        self.do(*(put(key, b"value") for key in keys), put(b"whole", b"value"))
        self.shut(self.backend)
        for place, key in enumerate(keys):
            self.damage(key, lambda record, place=place: flipped(record, place))  # type: ignore[misc]
        self.use(self.opened(self.path))
        self.assertEqual(self.backend.read([get(key) for key in keys], NOW), [None] * size)
        self.assertEqual(self.backend.damaged, size)
        self.assertEqual(self.do(*map(get, keys)), [None] * size)
        self.assertTrue(self.backend.damaged > size)
        self.assertEqual(self.value(b"whole"), b"value")
        outcomes = self.do(delete(b"00"), step(operations.add, b"01", b"added", 0, 0), put(b"02"))
        self.assertEqual(
            [status for status, _ in outcomes],
            [operations.NOT_FOUND, operations.STORED, operations.STORED],
        )
        self.reopen()
        self.assertEqual([self.value(b"%02d" % place) for place in range(4)],
                         [None, b"added", b"value", None])  # fmt: skip

    def test_a_record_cut_short_or_of_another_key_is_a_miss(self) -> None:
        self.do(put(b"a", b"value"), put(b"b", b"value"), put(b"c", b"value"), put(b"d", b"value"))
        other = self.stored(b"d")
        for key, change in (
            (b"a", lambda record: b""),
            (b"b", lambda record: record[:-1]),
            (b"c", lambda record: other),
        ):
            self.shut(self.backend)
            self.damage(key, change)
            self.use(self.opened(self.path))
            self.assertIsNone(self.value(key), repr(key))
        self.assertEqual(self.value(b"d"), b"value")

    def test_what_was_damaged_is_counted_from_the_opening_on(self) -> None:
        self.do(put(b"key"))
        self.shut(self.backend)
        self.damage(b"key", lambda record: b"")
        self.backend.open()
        self.assertIsNone(self.value(b"key"))
        self.assertTrue(self.backend.damaged > 0)
        self.shut(self.backend)
        self.backend.open()
        self.assertEqual(self.backend.damaged, 0)

    def stored(self, key: bytes) -> bytes:
        """What the store holds under `key`; the store is closed and opened for it."""
        records: list[bytes] = []
        self.do(step(operations.add, key, b"value", 0, 0))
        self.shut(self.backend)

        def look(record: bytes) -> bytes:
            records.append(record)
            return record

        self.damage(key, look)
        self.use(self.opened(self.path))
        return records[0]


class FullDiskContract(DurableContract):
    """What a backend promises besides whose writes can be seen to meet a full disk."""

    def test_a_full_disk_stops_what_is_large_and_nothing_else(self) -> None:
        self.do(put(b"gone", b"small"), put(b"kept", b"small"), put(b"n", b"1"))
        large = b"v" * 100_000

        def before(name: str, descriptor: Any, *rest: Any) -> None:
            if name == "pwrite":
                size = len(rest[0])
            elif name in ("fsync", "fdatasync"):
                size = os.fstat(descriptor).st_size
            else:
                return
            if 50_000 < size < 1 << 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        steps = [step(operations.increment, b"n", 1), put(b"large", large), delete(b"gone"),
                 get(b"kept"), put(b"kept", b"other"), put(b"small", b"small")]  # fmt: skip
        with system_calls(before):
            (results,) = self.backend.perform([steps], NOW)
        self.assertIs(results[1].__class__, StoreFull)
        self.assertEqual(
            [results[place][0].name for place in (0, 2, 4, 5)],
            ["STORED", "DELETED", "STORED", "STORED"],
        )
        self.assertEqual(results[3].value, b"small")
        for _ in range(2):
            self.assertEqual(
                [self.value(key) for key in (b"n", b"large", b"gone", b"kept", b"small")],
                [b"2", None, None, b"other", b"small"],
            )
            self.reopen()
        self.do(put(b"large", large))
        self.assertEqual(self.value(b"large"), large)


class UnsyncedContract(DurableContract):
    """What a backend promises besides when it is told to sync nothing."""

    sync = "never"

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        boot_id = self.directory / "boot_id"
        if not boot_id.exists():
            boot_id.write_text("one\n")
        backend = self.make_synced(path, self.sync)
        backend._folder = Folder(path, self.kind, 2, boot_id)  # type: ignore[attr-defined]
        return backend

    def opened_after(self, path: str, boot: str = "one", sync: str = "never") -> IBackend:
        """A backend on `path`, open, on a machine that has last been booted as `boot`."""
        (self.directory / "boot_id").write_text(f"{boot}\n")
        self.sync = sync
        return self.opened(path)

    def test_a_crash_of_the_machine_sets_the_store_aside(self) -> None:
        self.do(put(b"key", b"value"))
        copy = self.killed("copy")
        self.use(self.opened_after(copy, "two"))
        self.assertIsNone(self.value(b"key"))
        self.assertEqual(self.counted(), (0, 0))
        (aside,) = self.directory.glob("copy?*")
        self.assertTrue((aside / "mctwist").exists())
        # What comes from now on is kept again.
        self.do(put(b"key", b"new"))
        self.shut(self.backend)
        self.use(self.opened_after(copy, "three"))
        self.assertEqual(self.value(b"key"), b"new")

    def test_a_store_closed_whole_is_trusted_after_a_reboot(self) -> None:
        self.do(put(b"key", b"value"))
        self.shut(self.backend)
        self.use(self.opened_after(self.path, "two"))
        self.assertEqual(self.value(b"key"), b"value")

    def test_what_was_stored_with_sync_always_after_a_kill_survives_the_machine(self) -> None:
        self.do(put(b"old", b"value"))
        self.use(self.opened_after(self.killed("killed"), sync="always"))
        self.path = str(self.directory / "killed")
        self.do(put(b"key", b"acknowledged"))
        self.use(self.opened_after(self.killed("cut"), "two", sync="always"))
        self.assertEqual(self.value(b"key"), b"acknowledged")


class LMDBContract(FullDiskContract):
    kind = "lmdb"

    def setUp(self) -> None:
        super().setUp()

    def make_synced(self, path: str, sync: str) -> IBackend:
        return LMDBBackend(path, sync)

    def damage(self, key: bytes, change: "Callable[[bytes], bytes]") -> None:
        with lmdb.open(self.path, max_dbs=8, lib_version=0) as env:
            items = env.open_db(b"items")
            with env.begin(items, write=True) as txn:
                record = txn.get(key)
                assert record is not None
                txn.put(key, change(record))


class LMDBTests(LMDBContract, SynchronousTestCase):
    """LMDB, every batch synced; nearly all of it is read from the journal's records."""


class LMDBRelaxedTests(LMDBContract, SynchronousTestCase):
    """LMDB, every batch but the last synced."""

    sync = "relaxed"


class LMDBNeverTests(UnsyncedContract, LMDBContract, SynchronousTestCase):
    """LMDB, nothing synced."""


class LMDBCheckpointTests(LMDBContract, SynchronousTestCase):
    """LMDB with a checkpoint after every batch: all of it is read from the tables."""

    def make_synced(self, path: str, sync: str) -> IBackend:
        return LMDBBackend(path, sync, checkpoint=0)


class DirectoryContract(DurableContract):
    kind = "directory"

    def make_synced(self, path: str, sync: str) -> IBackend:
        return DirectoryBackend(path, sync)

    def damage(self, key: bytes, change: "Callable[[bytes], bytes]") -> None:
        path = Path(self.path) / "items" / name_of(key)
        path.write_bytes(change(path.read_bytes()))


class DirectoryTests(DirectoryContract, FullDiskContract, SynchronousTestCase):
    """A file a key, every batch synced."""


class DirectoryNeverTests(UnsyncedContract, DirectoryContract, SynchronousTestCase):
    """A file a key, nothing synced."""

    def setUp(self) -> None:
        # Of the whole machine, and slow where others write.
        self.patch(os, "sync", lambda: None)
        super().setUp()


@contextlib.contextmanager
def system_calls(before: Callable[..., None]) -> Iterator[None]:
    """Have `before(name, *arguments)` called ahead of each of `SYSTEM_CALLS`."""

    def guarded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guard(*args: Any, **kw: Any) -> Any:
            before(name, *args)
            return call(*args, **kw)

        return guard

    originals = {name: getattr(os, name) for name in SYSTEM_CALLS}
    for name, call in originals.items():
        setattr(os, name, guarded(name, call))
    try:
        yield
    finally:
        for name, call in originals.items():
            setattr(os, name, call)


def flipped(record: bytes, place: int) -> bytes:
    """`record` with one bit of the byte at `place` flipped."""
    return record[:place] + bytes([record[place] ^ 1 << place % 8]) + record[place + 1 :]


def tree(path: Path) -> "dict[str, Optional[Union[bytes, str]]]":
    """Everything under `path`, with what is in it."""
    return {
        str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None
        for entry in sorted(path.rglob("*"))
    }
