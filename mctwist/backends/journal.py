"""
An append-only journal: what has happened since the last checkpoint, one frame for each batch.

    frame:  length of the body, CRC-32 of the body | body
    body:   the `State` | entries
    entry:  length of the key, length of the record | key | record

A frame holds whole records, never changes to them, so replaying a journal twice, or one whose
batches have reached the store already, does no harm. A frame that is not whole ends its journal:
it was being written when the process died, and nobody has been told that it happened.

One sequential write and one fdatasync make a batch durable. To scatter the same batch over the
pages of a tree takes five to fifty times as long; that is done later, for many batches at once.

Behind its frames a journal holds room that only deleting may use: a disk that is full could not
be emptied otherwise, for that has to be written down, too.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from time import perf_counter
from typing import Callable, NamedTuple, Optional
from zlib import crc32

from mctwist.backends.folder import sync_directory

#: A key and its record; None: the key is removed.
Entry = tuple[bytes, Optional[bytes]]

_FRAME = Struct("<QI")
_ENTRY = Struct("<HI")
_REMOVED = 0xFFFFFFFF
_PREFIX = "journal-"

#: Bytes that are held for what does not grow the store; and by how many room is taken at once.
RESERVE = 512 * 1024
_STEP = 512 * 1024


class Journal:
    """
    A journal being written.

    :param sync: "always": a batch is synced before `append` returns; "relaxed": before the next
        one is written; "never": nothing is.
    :param timed: told how many seconds each sync has taken.
    :ivar size: bytes of the frames in it.
    """

    def __init__(
        self, path: Path, sync: str, timed: "Callable[[float], None]" = lambda seconds: None
    ) -> None:
        self.path = path
        self.size = 0
        self._timed = timed
        self._sync = sync
        self._synced = True
        self._room = 0  # bytes of the file that are taken
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self._take(RESERVE)
        except OSError:
            self.close()
            path.unlink()
            raise
        if sync != "never":
            sync_directory(path.parent)

    def append(
        self, state: bytes, entries: Iterable[Entry], awaited: bool = True, grows: bool = True
    ) -> None:
        """
        Write one batch.

        :param awaited: somebody is to be told that it is durable; else the next sync will do.
        :param grows: the store does, by it; if not, the reserve may be used.
        :raises OSError: it has not been written, or not synced; what was before it stays.
        """
        parts = [state]
        for key, record in entries:
            if record is None:
                parts += (_ENTRY.pack(len(key), _REMOVED), key)
            else:
                parts += (_ENTRY.pack(len(key), len(record)), key, record)
        body = b"".join(parts)
        frame = _FRAME.pack(len(body), crc32(body)) + body
        if grows:
            self._take(self.size + len(frame) + RESERVE)
        if self._sync == "relaxed":
            self.sync()
        try:
            self._write(frame)
            self._synced = False
            if awaited and self._sync == "always":
                self.sync()
        except OSError:
            # The next frame is written over this one; until then it is to be none.
            with suppress(OSError):
                os.pwrite(self._file, bytes(_FRAME.size), self.size)
            raise
        self.size += len(frame)

    def sync(self) -> None:
        """Make durable what has been appended."""
        if not self._synced:
            began = perf_counter()
            os.fdatasync(self._file)
            self._timed(perf_counter() - began)
            self._synced = True

    def restart(self) -> None:
        """Forget what has been appended: it is durable elsewhere."""
        os.ftruncate(self._file, 0)
        self.size = self._room = 0

    def close(self) -> None:
        """Give up the file; what it holds stays."""
        os.close(self._file)

    def _write(self, frame: bytes) -> None:
        view, offset = memoryview(frame), self.size
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written

    def _take(self, size: int) -> None:
        """Have `size` bytes of the disk taken, and some more for the next time."""
        if size > self._room:
            os.posix_fallocate(self._file, self._room, size + _STEP - self._room)
            self._room = size + _STEP


def sync_file(path: Path) -> None:
    """Make durable what the file at `path` holds."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def journals(directory: Path) -> "list[Path]":
    """The journals in `directory`, oldest first."""
    return sorted(directory.glob(f"{_PREFIX}*"))


def number_of(journal: Path) -> int:
    """Where the journal stands among the others."""
    return int(journal.name[len(_PREFIX) :])


def next_journal(directory: Path, last: Optional[Path] = None) -> Path:
    """The path of the journal after all that are in `directory`, and after `last`."""
    present = [*journals(directory), *([last] if last else [])]
    number = max(map(number_of, present), default=0) + 1
    return directory / f"{_PREFIX}{number:010d}"


def replay(
    path: Path, state_size: "Callable[[bytes], int]"
) -> "Iterator[tuple[bytes, list[Entry]]]":
    """
    The batches in the journal at `path`, in order, each as its state and its entries.

    :param state_size: of how many bytes the state is with which a body begins.
    """
    with open(path, "rb") as file:
        while True:
            header = file.read(_FRAME.size)
            if len(header) < _FRAME.size:
                return
            length, checksum = _FRAME.unpack(header)
            if not 0 < length <= os.fstat(file.fileno()).st_size:
                return
            body = file.read(length)
            if len(body) < length or crc32(body) != checksum:
                return
            size = state_size(body)
            yield body[:size], list(_entries(body, size))


class Frame(NamedTuple):
    """
    A batch, and where it stands in its journal.

    :ivar start: bytes of the journal before the frame; :ivar end: with it.
    """

    start: int
    end: int
    state: bytes
    entries: "list[Entry]"


def frames(
    path: Path, state_size: "Callable[[bytes], int]", states: "Callable[[bytes], bool]"
) -> "Iterator[Frame]":
    """
    All the batches in the journal at `path` that are whole, also those that `replay` does not
    come to: the one before them has been damaged, and does not end where they begin.

    :param state_size: as in `replay`.
    :param states: whether a body that begins so begins with a state.
    """
    content = path.read_bytes()
    start = 0
    while True:
        end = _end_of(content, start)
        if end == start:
            found = _next_frame(content, start, states)
            if found is None:
                return
            start, end = found
        body = content[start + _FRAME.size : end]
        size = state_size(body)
        yield Frame(start, end, body[:size], list(_entries(body, size)))
        start = end


def is_torn(path: Path, end: int) -> bool:
    """Whether something has been begun behind the frames that end at `end`."""
    with open(path, "rb") as file:
        file.seek(end)
        return any(file.read(_FRAME.size))


def _end_of(content: bytes, start: int) -> int:
    """Where the frame ends that begins at `start`; there: none does, or it is not whole."""
    if start + _FRAME.size > len(content):
        return start
    length, checksum = _FRAME.unpack_from(content, start)
    end: int = start + _FRAME.size + length
    body = memoryview(content)[start + _FRAME.size : end]
    return end if 0 < length == len(body) and crc32(body) == checksum else start


def _next_frame(
    content: bytes, start: int, states: "Callable[[bytes], bool]"
) -> "Optional[tuple[int, int]]":
    """The first whole frame behind one at `start` that is not."""
    if start + _FRAME.size <= len(content):
        # If the length is right, what lies in the body is not taken for a frame.
        behind = start + _FRAME.size + _FRAME.unpack_from(content, start)[0]
        if behind < len(content) and behind > start + _FRAME.size:
            end = _end_of(content, behind)
            if end > behind:
                return behind, end
    for match in _LENGTH.finditer(content, start + 1):
        at = match.start()
        body = at + _FRAME.size
        if states(content[body : body + _LONGEST_STATE]):
            end = _end_of(content, at)
            if end > at:
                return at, end
    return None


# A length of less than 4 GiB, and not 0.
_LENGTH = re.compile(rb"(?s)(?=[^\0]...\0{4}|.[^\0]..\0{4}|..[^\0].\0{4}|...[^\0]\0{4})")
_LONGEST_STATE = 256


def _entries(body: bytes, offset: int) -> Iterator[Entry]:
    while offset < len(body):
        key_size, size = _ENTRY.unpack_from(body, offset)
        offset += _ENTRY.size
        key = body[offset : offset + key_size]
        offset += key_size
        if size == _REMOVED:
            yield key, None
        else:
            yield key, body[offset : offset + size]
            offset += size
