"""The journal: frames on a disk that may be full, slow in taking bytes, or cut off at any byte."""

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.journal import (
    RESERVE,
    Entry,
    Journal,
    journals,
    next_journal,
    replay,
)

STATE = b"s" * 8
BATCHES: "list[list[Entry]]" = [
    [(b"key", b"record"), (b"other", None)],
    [],
    [(b"\0" * 250, b""), (b"k", bytes(range(256)))],
]


class JournalTests(SynchronousTestCase):
    """One journal, written and read again."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "journal-0000000001"

    def journal(self, sync: str = "always") -> Journal:
        journal = Journal(self.path, sync)
        self.addCleanup(journal.close)
        return journal

    def written(self) -> "list[int]":
        """The sizes that a journal of `BATCHES` has after each of them."""
        journal, sizes = self.journal(), []
        for entries in BATCHES:
            journal.append(STATE, entries)
            sizes.append(journal.size)
        return sizes

    def frames(self, sizes: "list[int]") -> bytes:
        """What is in the file before the room that is held."""
        return self.path.read_bytes()[: sizes[-1]]

    def replayed(self) -> "list[tuple[bytes, list[Entry]]]":
        return list(replay(self.path, lambda body: len(STATE)))

    def test_what_was_appended_is_replayed_in_order(self) -> None:
        sizes = self.written()
        self.assertEqual(self.replayed(), [(STATE, entries) for entries in BATCHES])
        self.assertEqual(self.path.read_bytes().rstrip(b"\0"), self.frames(sizes).rstrip(b"\0"))

    def test_it_is_replayed_as_far_as_its_frames_are_whole(self) -> None:
        sizes = self.written()
        content = self.frames(sizes)
        for size in range(len(content)):
            self.path.write_bytes(content[:size])
            self.assertEqual(len(self.replayed()), sum(end <= size for end in sizes), size)

    def test_a_flipped_bit_ends_it(self) -> None:
        sizes = self.written()
        content = self.frames(sizes)
        for place in range(len(content)):
            wrong = bytearray(content)
            wrong[place] ^= 1 << place % 8
            self.path.write_bytes(wrong)
            self.assertEqual(self.replayed(), [(STATE, entries) for entries in BATCHES]
                             [: sum(end <= place for end in sizes)], place)  # fmt: skip

    def test_a_length_beyond_the_file_is_not_read(self) -> None:
        self.path.write_bytes(b"\xff" * 12 + b"body")
        self.assertEqual(self.replayed(), [])

    def test_a_file_that_takes_a_few_bytes_at_a_time_gets_them_all(self) -> None:
        pwrite = os.pwrite
        self.patch(os, "pwrite", lambda file, data, offset: pwrite(file, data[:5], offset))
        self.written()
        self.assertEqual(len(self.replayed()), len(BATCHES))

    def test_a_frame_that_found_no_room_is_gone_and_the_next_takes_its_place(self) -> None:
        journal = self.journal()
        journal.append(STATE, BATCHES[0])
        size = journal.size
        pwrite, writes = os.pwrite, []

        def half(file: int, data: bytes, offset: int) -> int:
            writes.append(offset)
            if len(writes) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return pwrite(file, data[: len(data) // 2], offset)

        self.patch(os, "pwrite", half)
        self.assertRaises(OSError, journal.append, STATE, BATCHES[2])
        self.assertEqual((journal.size, len(self.replayed())), (size, 1))
        self.patch(os, "pwrite", pwrite)
        journal.append(STATE, BATCHES[1])
        self.assertEqual([entries for _, entries in self.replayed()], BATCHES[:2])

    def test_a_frame_that_could_not_be_synced_is_gone(self) -> None:
        journal = self.journal()
        journal.append(STATE, BATCHES[0])
        self.patch(os, "fdatasync", refuse)
        self.assertRaises(OSError, journal.append, STATE, BATCHES[2])
        self.assertEqual([entries for _, entries in self.replayed()], BATCHES[:1])

    def test_what_does_not_grow_the_store_has_room_on_a_full_disk(self) -> None:
        journal = self.journal()

        def full(file: int, offset: int, size: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "posix_fallocate", full)
        large = [(b"k", b"v" * RESERVE)]
        self.assertRaises(OSError, journal.append, STATE, large, grows=True)
        self.assertEqual((journal.size, self.replayed()), (0, []))
        journal.append(STATE, BATCHES[1], grows=False)
        self.assertEqual([entries for _, entries in self.replayed()], BATCHES[1:2])

    def test_without_room_for_the_reserve_it_is_not_begun(self) -> None:
        def full(file: int, offset: int, size: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "posix_fallocate", full)
        self.assertRaises(OSError, Journal, self.path, "always")
        self.assertFalse(self.path.exists())

    def test_each_mode_syncs_when_it_says(self) -> None:
        synced: list[int] = []
        self.patch(os, "fdatasync", synced.append)
        for sync, expected in (("always", [1, 2, 3]), ("relaxed", [0, 1, 2]), ("never", [0, 0, 0])):
            journal, counted = self.journal(sync), []
            del synced[:]
            for entries in BATCHES:
                journal.append(STATE, entries)
                counted.append(len(synced))
            self.assertEqual(counted, expected, sync)

    def test_a_relaxed_frame_is_not_written_behind_one_that_could_not_be_synced(self) -> None:
        journal = self.journal("relaxed")
        journal.append(STATE, BATCHES[0])
        self.patch(os, "fdatasync", refuse)
        self.assertRaises(OSError, journal.append, STATE, BATCHES[1])
        self.assertEqual(len(self.replayed()), 1)

    def test_its_name_is_durable_before_anything_is_in_it(self) -> None:
        synced: list[Optional[str]] = []
        fsync = os.fsync

        def note(file: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{file}"))
            fsync(file)

        self.patch(os, "fsync", note)
        self.journal("always")
        self.assertEqual(synced, [str(self.directory)])

    def test_journals_are_in_the_order_in_which_they_were_begun(self) -> None:
        names: list[Any] = []
        for _ in range(12):
            names.append(next_journal(self.directory))
            names[-1].touch()
        self.assertEqual(journals(self.directory), names)
        names.pop(0).unlink()
        self.assertNotIn(next_journal(self.directory), names)
        self.assertTrue(next_journal(self.directory).name > names[-1].name)


def refuse(*args: object) -> None:
    """A system call that fails."""
    raise OSError(errno.EIO, "Input/output error")
