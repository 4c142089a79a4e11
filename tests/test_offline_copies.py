"""Backup and restore: copies of one moment, whatever the server does meanwhile."""

import json
import os
import shutil
import signal
import tempfile
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, Callable

from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.journal import Journal, journals
from mctwist.backends.reading import Reading
from mctwist.backends.state import State
from mctwist.backends.tables import STATE
from mctwist.interfaces import StartError
from mctwist.item import Item
from mctwist.offline import copies
from mctwist.offline.check import check
from mctwist.offline.stores import DIRECTORY, LMDB, Store, held
from mctwist.testing import NOW, SECOND, delete, put, step
from tests.processes import PATIENCE, Server, eventually, stats_of
from tests.stores import (
    command,
    edited,
    fill,
    items_in,
    kill_when,
    killed_at,
    started,
    stop,
    tree_of,
    various,
)


class Load:
    """
    Somebody who sets `first`, one of many, and `last`, all to the same number, and then all to the
    next: in every state that there has been, what is there follows from `last`.
    """

    #: How many there are, and how many rounds are on their way at a time.
    MANY, AHEAD = 200, 50

    def __init__(self, server: Server) -> None:
        self.acknowledged = 0
        self._connection = server.connect()
        self._ending = Event()
        self._thread = Thread(target=self._write)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._connection.close()

    def _write(self) -> None:
        number = 0
        while not self._ending.is_set():
            requests = []
            for _ in range(self.AHEAD):
                number += 1
                value = b"%-1000d" % number
                for key in (b"first", b"%d" % (number % self.MANY), b"last"):
                    requests.append(b"set %b 0 0 1000\r\n%b\r\n" % (key, value))
            answer = b"STORED\r\n" * 3 * self.AHEAD
            self._connection.send(b"".join(requests))
            assert self._connection.exactly(len(answer)) == answer
            self.acknowledged = number

    def verify(self, items: "dict[bytes, Item]", acknowledged: int) -> None:
        """That this is a state that has been, after `acknowledged` was."""
        numbers = {key: int(item.value) for key, item in items.items()}
        first, last = numbers.pop(b"first"), numbers.pop(b"last")
        assert acknowledged <= last <= first <= last + 1, (acknowledged, last, first)
        newest = first if numbers[b"%d" % (first % self.MANY)] == first else last
        expected = {b"%d" % (number % self.MANY): number
                    for number in range(max(newest - self.MANY + 1, 1), newest + 1)}  # fmt: skip
        assert numbers == expected, set(numbers.items()) ^ set(expected.items())


class HotTests(SynchronousTestCase):
    """A server that writes as fast as it can, and has a checkpoint every few milliseconds."""

    def test_every_copy_is_of_one_moment_and_has_all_that_was_acknowledged(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, folder)
        with Server(folder, "--storage-limit", "4m") as server:
            attempts = 0
            with server.connect() as connection, closing(Load(server)) as load:
                eventually(lambda: load.acknowledged > load.MANY, "there is something")
                before = int(stats_of(connection, "storage")["checkpoints"])
                for number in range(int(os.environ.get("HOT_BACKUPS", "4"))):
                    copy = folder / f"copy-{number}"
                    acknowledged = load.acknowledged
                    process = started("backup", str(copy), "--storage", str(server.store), "--json")
                    said, wrong = process.communicate(timeout=PATIENCE)
                    self.assertEqual((process.returncode, wrong), (0, b""))
                    attempts += json.loads(said)["attempts"]
                    load.verify(items_in(Store(LMDB, copy)), acknowledged)
                    shutil.rmtree(copy)
                after = int(stats_of(connection, "storage")["checkpoints"])
            self.assertTrue(after - before > 3, (before, after))
            if number > 10:
                print(f"{attempts} attempts for {number + 1} copies, {after - before} checkpoints")


class CopyCase(SynchronousTestCase):
    """A store, and room beside it."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "store"
        self.copy = self.directory / "copy"

    def do(self, *arguments: str) -> str:
        """What a command says when it has done that."""
        result = command(*arguments)
        self.assertEqual((result.exit_code, result.stderr), (0, ""), result.output)
        return result.stdout

    def refusal(self, *arguments: str) -> str:
        """The line in which it refuses; nothing is changed."""
        before = tree_of(self.directory)
        result = command(*arguments)
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertEqual(result.stderr.count("\n"), 1)
        self.assertEqual(tree_of(self.directory), before)
        return result.stderr


class JournalTests(CopyCase):
    """What may happen to the journals while they are read."""

    def setUp(self) -> None:
        super().setUp()
        self.path.mkdir()
        self.copy.mkdir()
        self.state = State()

    def append(self, journal: Journal) -> None:
        self.state.sequence += 1
        journal.append(self.state.encode(), [(b"key", b"record")])

    def read(self, happens: "Callable[[], None]") -> bool:
        """Whether what was read is believed, when that happens behind it."""
        read = copies._read_journals(self.path, self.copy, 1)
        happens()
        assert read is not None
        return all(copies._is_as_it_was(*each) for each in read)

    def test_what_is_appended_does_no_harm(self) -> None:
        journal = Journal(self.path / "journal-0000000001", "never")
        self.addCleanup(journal.close)
        for _ in range(3):
            self.assertTrue(self.read(lambda: self.append(journal)))

    def test_one_that_is_emptied_in_its_place_is_not_believed(self) -> None:
        journal = Journal(self.path / "journal-0000000001", "never")
        self.addCleanup(journal.close)
        self.append(journal)

        def empty_and_append() -> None:
            journal.restart()
            self.append(journal)

        self.assertFalse(self.read(empty_and_append))
        self.assertFalse(self.read(journal.restart))

    def test_one_that_has_gone_is_not_believed(self) -> None:
        journal = Journal(self.path / "journal-0000000001", "never")
        self.addCleanup(journal.close)
        self.append(journal)
        self.assertFalse(self.read(journal.path.unlink))


class ReplacedTests(CopyCase):
    """Another store takes the place of the one that is being copied."""

    def setUp(self) -> None:
        super().setUp()
        self.copy.mkdir()
        self.other = Store(LMDB, self.directory / "other")
        fill(self.other, [put(b"key", b"new"), put(b"more", b"m")])
        fill(Store(LMDB, self.path), [put(b"key", b"old")], closes=False)
        shutil.copy(self.path / "mctwist", self.copy)

    def replace(self) -> None:
        """As `replace_tables` does; the lock is the one of whoever opens them then."""
        (self.other.path / "data.mdb").replace(self.path / "data.mdb")
        (self.path / "lock.mdb").unlink()
        (self.path / "lock.mdb").touch()
        for journal in journals(self.path):
            journal.unlink()

    def take_again(self) -> None:
        self.assertTrue(copies._take(self.path, self.copy, True))
        values = {key: item.value for key, item in items_in(Store(LMDB, self.copy)).items()}
        self.assertEqual(values, {b"key": b"new", b"more": b"m"})

    def test_what_was_read_of_the_old_journals_is_not_replayed_over_the_new_tables(self) -> None:
        def read(*arguments: Any) -> Any:
            found = read_journals(*arguments)
            self.replace()
            self.assertEqual(len(found or ()), 1)
            return []  # for these went only after they had been looked at again

        read_journals = copies._read_journals
        patch = self.patch(copies, "_read_journals", read)
        self.assertFalse(copies._take(self.path, self.copy, True))
        patch.restore()
        self.take_again()

    def test_tables_whose_server_does_not_know_of_the_snapshot_are_copied_again(self) -> None:
        def copy(reading: Reading, path: Path) -> None:
            self.replace()
            copy_tables(reading, path)

        copy_tables = Reading.copy
        patch = self.patch(Reading, "copy", copy)
        self.assertFalse(copies._take(self.path, self.copy, True))
        patch.restore()
        self.take_again()


class BackupTests(CopyCase):
    """Copies of stores that nobody changes."""

    def test_a_copy_is_the_same_store(self) -> None:
        for kind in (LMDB, DIRECTORY):
            store, copy = (Store(kind, path / kind) for path in (self.path, self.copy))
            fill(store, various(5))
            fill(store, [delete(b"plain:0003"), put(b"new", b"n" * 9)], closes=False)
            before = tree_of(self.path)
            said = self.do("backup", str(copy), "--storage", f"{kind}:{store}")
            self.assertEqual(tree_of(self.path), before)
            self.assertTrue(said.startswith(f"{copy}: 25 items of 9.6 KB, "), said)
            self.assertEqual(check(copy).batches, 0)
            items = items_in(copy)
            self.assertEqual((len(items), items), (25, items_in(store)))

    def test_in_json(self) -> None:
        fill(Store(LMDB, self.path), various(2))
        said = json.loads(self.do("backup", str(self.copy), f"--storage={self.path}", "--json"))
        self.assertEqual((said["path"], said["items"], said["whole"]), (str(self.copy), 10, True))
        self.assertEqual(said["file_bytes"], sum(map(len, tree_of(self.copy).values())))

    def test_what_cannot_be_copied_is_refused_in_one_line(self) -> None:
        fill(Store(LMDB, self.path), various(2))
        fill(Store(DIRECTORY, self.directory / "files"), various(2))
        here = str(self.path)
        self.assertIn("there already", self.refusal("backup", here, "--storage", here))
        new = str(self.copy)
        for storage, words in [
            (str(self.directory / "none"), "no mctwist store"),
            ("memory:", "no files"),
            (f"directory:{self.path}", "is a lmdb store"),
        ]:
            self.assertIn(words, self.refusal("backup", new, "--storage", storage))
        (self.path / "unsynced").write_text("another boot\n")
        self.assertIn("went down", self.refusal("backup", new, "--storage", here))

    def test_a_directory_store_that_is_served_is_refused(self) -> None:
        files = Store(DIRECTORY, self.path)
        fill(files, various(2))
        folder = files.folder()
        folder.hold()
        self.addCleanup(folder.release)
        said = self.refusal("backup", str(self.copy), "--storage", str(self.path))
        self.assertIn("in use by process", said)

    def test_damage_is_told_and_copied_only_when_that_is_wanted(self) -> None:
        fill(Store(LMDB, self.path), various(2))
        with edited(self.path) as tables:
            tables[b"items"].flip(b"plain:0001")
        arguments = ("backup", str(self.copy), "--storage", str(self.path))
        self.assertIn("is damaged (record, count)", self.refusal(*arguments))
        result = command(*arguments, "--even-damaged")
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (0, 1))
        self.assertEqual(len(items_in(Store(LMDB, self.copy))), 9)

    def test_a_journal_that_is_broken_is_not_copied_in_silence(self) -> None:
        fill(Store(LMDB, self.path), [put(b"%d" % number, b"v") for number in range(300)], False)
        (journal,) = journals(self.path)
        content = bytearray(journal.read_bytes())
        content[20] ^= 1
        journal.write_bytes(content)
        said = self.refusal("backup", str(self.copy), "--storage", str(self.path))
        self.assertIn("is damaged (journal)", said)

    def test_killed_at_any_moment_it_leaves_no_copy_or_a_whole_one(self) -> None:
        fill(Store(LMDB, self.path), various(400))
        for seen in ("copy.partial-*", "copy.partial-*/data.mdb", "copy.partial-*/stopped"):
            process = started("backup", str(self.copy), "--storage", str(self.path))
            kill_when(process, self.directory, seen)
            if self.copy.exists():
                self.assertEqual(len(items_in(Store(LMDB, self.copy))), 2000)
                shutil.rmtree(self.copy)
        self.do("backup", str(self.copy), "--storage", str(self.path))
        self.assertEqual({*self.directory.iterdir()}, {self.path, self.copy})

    def test_another_backup_that_is_under_way_is_left_alone(self) -> None:
        store = Store(DIRECTORY, self.path)
        fill(store, various(1))
        with copies._put_together(self.directory / "copy.partial-1"):
            copies.back_up(store, self.copy)
            self.assertTrue((self.directory / "copy.partial-1").exists())

    def test_stopped_it_leaves_nothing(self) -> None:
        fill(Store(LMDB, self.path), various(40))
        process = started("backup", str(self.copy), "--storage", str(self.path))
        eventually(lambda: any(self.directory.glob("copy.partial-*")), "it has begun")
        stop(process, signal.SIGINT)
        self.assertEqual(list(self.directory.iterdir()), [self.path])

    def test_while_a_copy_is_verified_a_server_may_start(self) -> None:
        store = Store(DIRECTORY, self.path)
        fill(store, various(1))
        seen = []

        def progress(done: int, total: int) -> None:
            with held(store):
                seen.append(done)

        copies.back_up(store, self.copy, progress=progress)
        self.assertEqual(seen, [0, 5])

    def test_where_it_cannot_be_written_a_server_may_still_be_at_work(self) -> None:
        fill(Store(LMDB, self.path), various(1))
        folder = Store(LMDB, self.path).folder()
        folder.hold()
        self.addCleanup(folder.release)
        self.patch(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
        said = self.refusal("backup", str(self.copy), "--storage", str(self.path))
        self.assertIn("is in use, and cannot be written to here", said)

    def test_a_file_that_cannot_be_copied_is_named(self) -> None:
        fill(Store(DIRECTORY, self.path), various(1))
        os.mkfifo(self.path / "items" / "pipe")
        said = self.refusal("backup", str(self.copy), "--storage", str(self.path))
        self.assertIn("items/pipe` is a named pipe", said)


class RestoreTests(CopyCase):
    """A copy is put back."""

    def setUp(self) -> None:
        super().setUp()
        self.stores: dict[str, Store] = {}
        for kind in (LMDB, DIRECTORY):
            copy = self.stores[kind] = Store(kind, self.copy / kind)
            fill(copy, [*various(5), put(b"soon", b"s")])
            fill(copy, [step(operations.touch, b"soon", NOW + SECOND)])

    def test_where_nothing_is(self) -> None:
        for kind, copy in self.stores.items():
            (self.path / f"{kind}-there").mkdir(parents=True)
            for name in (f"{kind}-there", f"{kind}-not-there"):
                before = tree_of(self.copy)
                path = self.path / name
                said = self.do("restore", str(copy), "--storage", str(path))
                self.assertEqual(said, f"{path}: 26 items of 9.6 KB\n")
                self.assertEqual(tree_of(self.copy), before)
                restored = Store(kind, path)
                self.assertEqual(items_in(restored), items_in(copy))
                self.assertNotIn(b"soon", items_in(restored, NOW + 2 * SECOND))

    def test_what_is_there_is_replaced_by_force_only_and_kept(self) -> None:
        for kind, copy in self.stores.items():
            there = Store(kind, self.path / kind)
            fill(there, [put(b"other", b"%d" % number) for number in range(500)], closes=False)
            arguments = ("restore", str(copy), "--storage", f"{kind}:{there}")
            self.assertIn("--force replaces it", self.refusal(*arguments))
            said = json.loads(self.do(*arguments, "--force", "--json"))
            items = items_in(there)
            self.assertEqual(items, items_in(copy))
            aside = Store(kind, Path(said["aside"]))
            self.assertEqual(aside.path.parent, there.path)
            self.assertEqual([item.value for item in items_in(aside).values()], [b"499"])
            # A CAS unique that was given out for what is not there any more is not given again.
            fill(there, [put(b"other", b"new")])
            self.assertEqual(items_in(there)[b"other"].cas, 501)

    def test_what_must_not_be_is_refused_in_one_line(self) -> None:
        copy = str(self.stores[LMDB])
        fill(Store(DIRECTORY, self.path / "files"), various(1))
        (self.path / "foreign").mkdir()
        (self.path / "foreign" / "file").touch()
        (self.path / "file").touch()
        for storage, words in [
            (f"{self.path / 'files'}", "is a lmdb store"),
            (f"directory:{self.path / 'new'}", "is a lmdb store"),
            (f"{self.path / 'foreign'}", "is not a mctwist store"),
            (f"{self.path / 'file'}", "Not a directory"),
            (copy, "where it is to be restored"),
        ]:
            self.assertIn(words, self.refusal("restore", copy, "--storage", storage, "--force"))
        none = str(self.path / "none")
        self.assertIn("no mctwist store", self.refusal("restore", none, "--storage", none + "2"))

    def test_a_damaged_copy_is_refused(self) -> None:
        with edited(self.stores[LMDB].path) as tables:
            tables[b"about"].flip(STATE)
        copy = str(self.stores[LMDB])
        self.assertIn("is damaged", self.refusal("restore", copy, "--storage", str(self.path)))

    def test_one_that_is_served_is_refused(self) -> None:
        there = Store(LMDB, self.path)
        fill(there, various(1))
        folder = there.folder()
        folder.hold()
        self.addCleanup(folder.release)
        copy = str(self.stores[LMDB])
        said = self.refusal("restore", copy, "--storage", str(self.path), "--force")
        self.assertIn("in use by process", said)

    def test_killed_in_the_middle_it_can_be_done_again(self) -> None:
        copy, there = self.stores[LMDB], Store(LMDB, self.path)
        fill(there, [put(b"other", b"o")])
        arguments = ("restore", str(copy), "--storage", str(there), "--force")
        for seen in ("restoring/new", "replaced-*"):
            kill_when(started(*arguments), there.path, seen)
            self.assertIn(len(items_in(there)), (1, 26))
        self.do(*arguments)
        self.assertEqual(items_in(there), items_in(copy))

    def test_stopped_it_leaves_all_as_it_was(self) -> None:
        copy, there = self.stores[LMDB], Store(LMDB, self.path)
        fill(there, [put(b"other", b"o")])
        before = tree_of(there.path)
        process = started("restore", str(copy), "--storage", str(there), "--force")
        eventually(lambda: any(there.path.glob("restoring/new")), "it has begun")
        stop(process, signal.SIGTERM)
        self.assertEqual(tree_of(there.path), before)

    def test_files_are_replaced_whenever_that_is_cut_short_and_no_server_has_a_half(self) -> None:
        copy, there = self.stores[DIRECTORY], Store(DIRECTORY, self.path)
        shutil.rmtree(copy.path)
        fill(copy, [put(b"one", b"1"), put(b"same", b"new")])
        old = self.directory / "old"
        fill(Store(DIRECTORY, old), [put(b"other", b"%d" % number) for number in range(9)])
        self.leave_a_batch_unfinished(old)
        (self.directory / "nothing").mkdir()
        # The last CAS unique, behind which it goes on.
        for before, last in ((self.directory / "nothing", 2), (old, 11)):
            for moment in range(1, 60):
                shutil.rmtree(self.path, ignore_errors=True)
                shutil.copytree(before, self.path)
                if not killed_at(moment, lambda: copies.put_back(copy, there, force=True)):
                    break
                self.verify_no_half_is_served(there, before == old)
                copies.put_back(copy, there, force=True)
                self.assertEqual(items_in(there), items_in(copy))
                kept = (Store(DIRECTORY, each) for each in there.path.glob("replaced-*"))
                self.assertTrue(before != old or 2 in map(len, map(items_in, kept)), moment)
                fill(there, [put(b"next", b"n")])
                self.assertEqual(items_in(there)[b"next"].cas, last + 1, moment)
            self.assertGreater(moment, 10)

    def verify_no_half_is_served(self, store: Store, was_there: bool) -> None:
        copy = Store(store.kind, self.directory / "served")
        shutil.copytree(store.path, copy.path)
        try:
            values = {item.value for item in items_in(copy).values()}
        except StartError as fault:
            self.assertIn("restor", str(fault))
        else:
            before = {b"8", b"old"} if was_there else set()
            self.assertIn(values, ({b"1", b"new"}, before))
        finally:
            shutil.rmtree(copy.path)

    def leave_a_batch_unfinished(self, path: Path) -> None:
        """As a kill does, behind the write of the journal."""

        def interrupted(*arguments: Any) -> None:
            raise OSError("killed")

        backend = DirectoryBackend(str(path), "never")
        backend.open()
        self.patch(backend, "_finish", interrupted)
        backend.perform([[put(b"same", b"old"), delete(b"other"), put(b"other", b"8")]], NOW)
        backend._folder.release()
        self.assertTrue((path / "journal").exists())

    def test_a_server_serves_what_is_restored_and_a_copy_itself(self) -> None:
        for kind, copy in self.stores.items():
            folder = self.directory / f"server-{kind}"
            folder.mkdir()
            self.do("restore", str(copy), "--storage", str(folder / "store"))
            with Server(folder, kind=kind) as server, server.connect() as connection:
                answer = connection.ask(b"get plain:0004\r\n", b"END\r\n")
                self.assertIn(b"\r\nvalue 4\r\n", answer)
