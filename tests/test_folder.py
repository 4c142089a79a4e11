"""The directory of a store: who may have it, and when what is in it can be trusted."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends import folder as folder_module
from mctwist.backends.folder import Folder
from mctwist.interfaces import StartError


class FolderTests(SynchronousTestCase):
    """One directory, opened and closed by one server after another."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "store"
        self.boot_id = self.directory / "boot_id"
        self.boot("one")

    def boot(self, name: str) -> None:
        self.boot_id.write_text(f"{name}\n")

    def folder(self, kind: str = "lmdb", version: int = 1) -> Folder:
        folder = Folder(str(self.path), kind, version, self.boot_id)
        self.addCleanup(folder.release)
        return folder

    def taken(self, unsynced: bool = False) -> Folder:
        folder = self.folder()
        folder.take(unsynced)
        return folder

    def refusal(self, folder: Folder) -> str:
        error = self.assertRaises(StartError, folder.take, False)
        text = str(error)
        self.assertNotIn("\n", text)
        self.assertIn(str(self.path), text)
        return text

    def test_it_is_made_with_the_directories_above_it(self) -> None:
        self.path = self.directory / "not" / "yet"
        self.taken().leave()
        self.assertTrue(self.path.is_dir())

    def test_only_one_may_have_it(self) -> None:
        first = self.taken()
        second = self.folder()
        self.assertIn("in use by process", self.refusal(second))
        second.release()
        self.refusal(self.folder())
        first.leave()
        self.taken()

    def test_the_lock_names_its_holder_and_nobody_else(self) -> None:
        self.taken().release()
        (self.path / "lock").write_text("12345678901\n")
        self.taken()
        self.assertEqual((self.path / "lock").read_text(), f"{os.getpid()}\n")

    def test_what_a_kill_leaves_can_be_taken(self) -> None:
        self.taken().release()
        self.taken()

    def test_what_lies_in_it_decides_whether_it_is_ours(self) -> None:
        cases: list[tuple[str, str, str]] = [
            ("notes.txt", "anything", "not a mctwist store"),
            (".hidden", "", "not a mctwist store"),
            ("mctwist", "directory 1\n", "--storage directory:"),
            ("mctwist", "lmdb 2\n", "format 2"),
            ("mctwist", "lmdb 10\n", "format 10"),
        ]
        for name, content, words in cases:
            self.path.mkdir()
            (self.path / name).write_text(content)
            self.assertIn(words, self.refusal(self.folder()), name)
            self.assertEqual([entry.name for entry in self.path.iterdir()], [name])
            self.assertEqual((self.path / name).read_text(), content)
            shutil.rmtree(self.path)

    def test_a_start_that_finds_no_room_to_write_can_be_repeated(self) -> None:
        """A full disk, or a kill, between the opening of a file and its first byte."""
        for unsynced in (False, True):
            for before in (False, True):
                if before:
                    folder = self.taken(unsynced)
                    (self.path / "data").write_text("kept")
                    folder.release()
                with NoRoom(), contextlib.suppress(StartError):
                    self.taken(unsynced).release()
                folder = self.taken(unsynced)
                self.assertIsNone(folder.set_aside)
                self.assertEqual((self.path / "data").exists(), before)
                folder.leave()
                shutil.rmtree(self.path)

    def test_a_synced_store_is_trusted_whatever_has_happened(self) -> None:
        self.taken().release()
        (self.path / "data").write_text("kept")
        self.boot("two")
        self.assertIsNone(self.taken().set_aside)
        self.assertTrue((self.path / "data").exists())

    def test_an_unsynced_store_is_trusted_until_the_machine_goes_down(self) -> None:
        self.taken(unsynced=True).release()
        (self.path / "data").write_text("kept")
        for unsynced in (False, True):
            folder = self.taken(unsynced)
            self.assertIsNone(folder.set_aside)
            folder.release()
        self.boot("two")
        folder = self.taken()
        aside = folder.set_aside
        assert aside is not None
        self.assertEqual(aside.parent, self.directory)
        self.assertEqual((aside / "data").read_text(), "kept")
        self.assertTrue((aside / "mctwist").exists())
        self.assertFalse((self.path / "data").exists())
        # What has been set aside is a store like any other, for whoever wants to look into it.
        folder.leave()
        self.assertIsNone(self.taken().set_aside)

    def test_an_unsynced_store_that_was_closed_whole_is_trusted(self) -> None:
        self.taken(unsynced=True).leave()
        (self.path / "data").write_text("kept")
        self.boot("two")
        self.assertIsNone(self.taken(unsynced=True).set_aside)
        self.assertTrue((self.path / "data").exists())

    def test_who_is_refused_an_unsynced_store_does_not_set_it_aside(self) -> None:
        first = self.taken(unsynced=True)
        (self.path / "data").write_text("kept")
        self.boot("two")
        self.refusal(self.folder())
        self.refusal(self.folder(version=2))
        self.assertTrue((self.path / "data").exists())
        first.leave()

    def test_setting_aside_that_is_cut_short_is_repeated(self) -> None:
        self.taken(unsynced=True).release()
        for name in ("data", "more"):
            (self.path / name).write_text("untrusted")
        self.boot("two")
        rename, renamed = Path.rename, []

        def rename_once(path: Path, target: Any) -> Any:
            renamed.append(path.name)
            if len(renamed) > 1:
                raise OSError(5, "Input/output error")
            return rename(path, target)

        self.patch(Path, "rename", rename_once)
        self.refusal(self.folder())
        self.patch(Path, "rename", rename)
        # By a later second, for the name of the new place carries the time.
        self.patch(folder_module, "strftime", lambda form: "later")
        self.assertIsNotNone(self.taken().set_aside)
        self.assertFalse((self.path / "data").exists() or (self.path / "more").exists())

    def test_it_is_known_after_a_clean_stop_and_after_no_other(self) -> None:
        folder = self.taken()
        self.assertEqual(folder.last_clean_stop, 0)
        folder.leave()
        folder = self.taken()
        self.assertTrue(folder.last_clean_stop > 1_000_000_000)
        folder.release()
        self.assertEqual(self.taken().last_clean_stop, 0)

    def test_what_cannot_be_read_is_no_stop(self) -> None:
        for content in (b"", b"soon", b"\xff"):
            self.taken().leave()
            (self.path / "stopped").write_bytes(content)
            folder = self.taken()
            self.assertEqual(folder.last_clean_stop, 0)
            folder.release()


class NoRoom:
    """While it lasts, the module can open files and make them, and write nothing to them."""

    def __enter__(self) -> None:
        def open_only(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            file = open(path, mode, *rest, **more)  # noqa: SIM115  # closed below, or by who asked
            if "r" in mode:
                return file
            file.close()
            raise OSError(28, "No space left on device")

        folder_module.open = open_only  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        del folder_module.open  # type: ignore[attr-defined]
