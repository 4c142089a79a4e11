"""
The backend with a file for each key, in what is its own: names, files, its journal.

What every backend promises is in test_backends.py.
"""

import contextlib
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.directory import DirectoryBackend, decode_file, encode_file, name_of
from mctwist.interfaces import StartError, StorageError
from mctwist.item import DamagedRecord, Item
from mctwist.testing import HARD_KEYS, HARD_VALUES, NOW, counts, delete, get, put

ITEM = Item(0, 3, 7, NOW, 11, 12, 13, 14, b"value")


class NameTests(SynchronousTestCase):
    """The names of the files."""

    def test_no_two_keys_share_one_and_every_file_system_takes_them(self) -> None:
        keys = set(HARD_KEYS) | {b"%2F" * 70, b"/" * 67, b"/" * 66, b"/" * 66 + b"~" + b"a" * 49}
        names = {name_of(key) for key in keys}
        self.assertEqual(len(names), len(keys))
        for name in names:
            self.assertTrue(name.isascii() and name.isprintable(), repr(name))
            self.assertTrue(len(name) <= 200, repr(name))
            self.assertFalse(set(name) & set('/\\:*?"<>| .'), repr(name))

    def test_they_can_be_read_by_people(self) -> None:
        for key, name in (
            (b"greeting", "greeting"),
            (b"user/17", "user%2F17"),
            (b"..", "%2E%2E"),
            (b"a~b%", "a%7Eb%25"),
            (b"x" * 200, "x" * 200),
            (b"x" * 201, "x" * 100 + "~" + sha256(b"x" * 201).hexdigest()),
        ):
            self.assertEqual(name_of(key), name)


class FileTests(SynchronousTestCase):
    """What is in a file."""

    def test_it_holds_all_of_the_item(self) -> None:
        for key in (b"key", b" =\n%", b"\xff" * 250):
            for value in HARD_VALUES[:-1]:
                item = ITEM._replace(value=value)
                self.assertEqual(decode_file(key, encode_file(key, item)), item)

    def test_it_is_a_line_for_people_and_the_value(self) -> None:
        line, value = encode_file(b"a key", ITEM).split(b"\n")
        self.assertEqual(value, b"value")
        for word in (b"flags=7", b"cas=11", b"key=a%20key", b"length=5"):
            self.assertIn(word, line.split(b" "))

    def test_one_that_is_not_as_it_was_written_is_damaged(self) -> None:
        content = encode_file(b"key", ITEM._replace(value=b"one\ntwo\n"))
        for place in range(len(content)):
            for bit in range(8):
                wrong = bytearray(content)
                wrong[place] ^= 1 << bit
                self.assertRaises(DamagedRecord, decode_file, b"key", bytes(wrong))
            self.assertRaises(DamagedRecord, decode_file, b"key", content[:place])
        self.assertRaises(DamagedRecord, decode_file, b"key", content + b"\0")
        self.assertRaises(DamagedRecord, decode_file, b"yek", content)


class DirectoryTests(SynchronousTestCase):
    """The files of a store, as a crash may leave them."""

    def setUp(self) -> None:
        self.patch(os, "sync", lambda: None)  # of the whole machine
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "store"

    def opened(self, path: Optional[Path] = None) -> DirectoryBackend:
        backend = DirectoryBackend(str(path or self.path), "never")
        backend.open()
        self.addCleanup(backend.close)
        return backend

    def interrupted(self) -> Path:
        """A store whose process died when the journal was whole and nothing in its place."""
        backend = self.opened()
        backend.perform([[put(b"a", b"old"), put(b"b", b"old")]], NOW)

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        self.patch(os, "replace", die)
        steps = [put(b"a", b"new"), delete(b"b"), put(b"/" * 250, b"new")]
        self.assertRaises(KeyboardInterrupt, backend.perform, [steps], NOW)
        copy = self.directory / "killed"
        shutil.copytree(self.path, copy)
        self.patch(os, "replace", os_replace)
        return copy

    def found(self, path: Path) -> "tuple[list[Optional[bytes]], int]":
        """What is under the keys in the store at `path`, and how many it counts."""
        backend = self.opened(path)
        *items, (count, _) = backend.read([get(b"a"), get(b"b"), get(b"/" * 250), counts()], NOW)
        self.assertEqual(list((path / "incoming").iterdir()), [])
        self.assertFalse((path / "journal").exists())
        backend.close()
        return [item and item.value for item in items], count

    def test_a_journal_that_is_whole_is_finished(self) -> None:
        self.assertEqual(self.found(self.interrupted()), ([b"new", None, b"new"], 2))

    def test_a_journal_that_is_torn_is_dropped(self) -> None:
        path = self.interrupted()
        journal = (path / "journal").read_bytes()
        for size in range(len(journal)):
            copy = self.directory / f"torn-{size}"
            shutil.copytree(path, copy)
            (copy / "journal").write_bytes(journal[:size])
            self.assertEqual(self.found(copy), ([b"old", b"old", None], 2), size)

    def test_a_journal_with_a_flipped_bit_is_dropped(self) -> None:
        path = self.interrupted()
        journal = (path / "journal").read_bytes()
        for place in range(0, len(journal), 3):
            copy = self.directory / f"flipped-{place}"
            shutil.copytree(path, copy)
            wrong = bytearray(journal)
            wrong[place] ^= 1 << place % 8
            (copy / "journal").write_bytes(wrong)
            self.assertEqual(self.found(copy), ([b"old", b"old", None], 2), place)

    def test_a_journal_is_finished_as_often_as_need_be(self) -> None:
        path = self.interrupted()
        for name in ("a", "b"):
            # Killed again, with this much done.
            if name == "a":
                os.replace(path / "incoming" / name, path / "items" / name)
            else:
                (path / "items" / name).unlink()
        self.assertEqual(self.found(path), ([b"new", None, b"new"], 2))

    def test_what_lies_in_incoming_without_a_journal_is_dropped(self) -> None:
        self.opened().close()
        (self.path / "incoming" / "a").write_bytes(encode_file(b"a", ITEM))
        self.assertEqual(self.found(self.path), ([None, None, None], 0))

    def test_a_damaged_state_is_refused_in_one_line(self) -> None:
        backend = self.opened()
        backend.perform([[put(b"a")]], NOW)
        backend.close()
        state = (self.path / "state").read_bytes()
        for wrong in (b"", state[:-1], b"0" + state[1:], state + b"0"):
            (self.path / "state").write_bytes(wrong)
            error = self.assertRaises(StartError, self.opened)
            self.assertIn(str(self.path), str(error))
            self.assertNotIn("\n", str(error))

    def test_each_thing_is_on_the_disk_before_the_next_relies_on_it(self) -> None:
        backend = DirectoryBackend(str(self.path))
        backend.open()
        self.addCleanup(backend.close)
        backend.perform([[put(b"gone")]], NOW)
        done: list[str] = []
        fsync, replace, unlink = os.fsync, os.replace, os.unlink

        def name(path: object) -> str:
            return os.path.relpath(str(path), self.path)

        def note_sync(file: int) -> None:
            done.append(f"sync {name(os.readlink(f'/proc/self/fd/{file}'))}")
            fsync(file)

        def note_move(source: object, target: object) -> None:
            done.append(f"move {name(source)}")
            replace(str(source), str(target))

        def note_removal(path: object, **more: object) -> None:
            done.append(f"remove {name(path)}")
            unlink(str(path))

        self.patch(os, "fsync", note_sync)
        self.patch(os, "replace", note_move)
        self.patch(os, "unlink", note_removal)
        backend.perform([[put(b"a"), put(b"b"), delete(b"gone")]], NOW)
        stages: list[set[str]] = [
            {"sync incoming/a", "sync incoming/b"},
            {"sync incoming"},
            {"sync journal"},
            {"sync ."},
            {"move incoming/a", "move incoming/b", "remove items/gone", "sync state.new",
             "move state.new"},
            {"sync items", "sync ."},
            {"remove journal"},
        ]  # fmt: skip
        for stage in stages:
            self.assertEqual(set(done[: len(stage)]), stage, done)
            del done[: len(stage)]
        self.assertEqual(done, [])

    def test_a_reader_never_sees_half_a_batch(self) -> None:
        backend = self.opened()
        backend.perform([[put(b"a", b"old"), put(b"b", b"old")]], NOW)
        backend._lock = Impatient()  # type: ignore[assignment]
        seen: list[tuple[bytes, bytes]] = []

        def replace(source: Path, target: Path) -> None:
            # What a read thread may do meanwhile, unless it has to wait.
            with contextlib.suppress(Wait, StorageError):
                a, b = backend.read([get(b"a"), get(b"b")], NOW)
                seen.append((a.value, b.value))
            os_replace(source, target)

        self.patch(os, "replace", replace)
        backend.perform([[put(b"a", b"new"), put(b"b", b"new")]], NOW)
        self.patch(os, "replace", os_replace)
        for a, b in seen:
            self.assertEqual(a, b)

    def test_a_deleted_key_leaves_no_file(self) -> None:
        backend = self.opened()
        backend.perform([[put(b"a"), put(b"/" * 250)]], NOW)
        self.assertEqual(len(list((self.path / "items").iterdir())), 2)
        backend.perform([[delete(b"a"), delete(b"/" * 250)]], NOW)
        self.assertEqual(list((self.path / "items").iterdir()), [])


class Wait(Exception):
    """Another thread would have to wait here."""


class Impatient:
    """A lock that says so where a thread would have to wait."""

    def __init__(self) -> None:
        self._held = False

    def __enter__(self) -> None:
        if self._held:
            raise Wait
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


os_replace = os.replace
