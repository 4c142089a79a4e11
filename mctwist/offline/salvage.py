"""
All that can still be read of LMDB's tables, by processes that may die of it.

    from the first key on, until something is damaged;
    from the last key back, until something is, or what has been read already;
    between the two single keys, if they are known from elsewhere.

Each is a process, and one that dies is begun again behind the key that it died of. So one bad page
costs what is on it; two of them cost what nobody knows the keys of between them.
"""

import os
import shutil
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import product
from mmap import PAGESIZE
from pathlib import Path
from typing import Optional

import lmdb

from mctwist.backends.reading import ITEMS, Broken, Pair, Reading
from mctwist.offline.process import Died, run
from mctwist.offline.stores import OfflineError

#: Pairs, and bytes of them, in one message.
_PIECE, _PIECE_BYTES = 1000, 1 << 20

#: How many processes may die over single keys.
MOST_DEATHS = 100


class Salvage:
    """
    Of the tables in the directory `path`.

    :ivar faults: what was met, for people.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._deaths = 0
        self.faults: list[str] = []

    def pairs(self, table: bytes) -> "Generator[list[Pair], None, None]":
        """What is in a table, in pieces: in order, and then, if there is a gap, backwards."""
        before = b""
        for piece in self._walk(table, None, backward=False):
            before = piece[-1][0]
            yield piece
        if not self._is_broken:
            return
        for piece in self._walk(table, None, backward=True):
            kept = [pair for pair in piece if pair[0] > before]
            if kept:
                yield kept
            if len(kept) < len(piece):
                break

    def found(self, keys: "Iterable[bytes]") -> "Iterator[list[Pair]]":
        """The records of single keys, as far as they can be read."""
        remaining = sorted(keys)
        while remaining and self._deaths < MOST_DEATHS:
            done = 0
            try:
                with closing(run("keys", self._path, remaining)) as messages:
                    for pair in messages:
                        done += 1
                        if pair is not None:
                            yield [pair]
                return
            except Died as fault:
                self._deaths += 1
                self.faults.append(str(fault))
                remaining = remaining[done + 1 :]
            except OfflineError as fault:
                self.faults.append(str(fault))
                return

    def _walk(self, table: bytes, start: Optional[bytes], backward: bool) -> "Iterator[list[Pair]]":
        self._is_broken = False
        for most in (_PIECE, 1):
            # At the second time nothing is lost of what is before the damage.
            try:
                with closing(run("piece", self._path, table, start, backward, most)) as pieces:
                    for piece in pieces:
                        start = piece[-1][0] if backward else piece[-1][0] + b"\0"
                        yield piece
                return
            except OfflineError as fault:
                self.faults.append(str(fault))
                break
            except Died as fault:
                self.faults.append(str(fault))
        self._is_broken = True


def readable(path: Path, scratch: Path) -> "tuple[Path, bool]":
    """
    A directory of tables that can be opened: `path`, or a copy in `scratch`; and whether that is of
    one transaction earlier.

    A file of LMDB begins with two pages, written by turns, that say what it is and where its trees
    are. It cannot be opened when either is damaged. What it is can be had from the other; where its
    trees were one transaction earlier, too.

    :raises OfflineError: neither way leads to anything.
    """
    faults = []
    for number, (first, older) in enumerate(((b"", False), *_first_pages(path))):
        tables = _copy_with(path, scratch / f"pages-{number}", first) if first else path
        salvage = Salvage(tables)
        with closing(salvage.pairs(ITEMS)) as pieces:
            # A store may be empty, but not for having been looked at in another way.
            if next(pieces, None) is not None or not (first or salvage.faults):
                return tables, older
        faults += salvage.faults
    raise OfflineError(f"nothing can be read of {path / 'data.mdb'}: {faults[0]}")


def _first_pages(path: Path) -> "Iterator[tuple[bytes, bool]]":
    """What the first two pages may have been, and whether that is an earlier state."""
    with open(path / "data.mdb", "rb") as file:
        pages = [file.read(PAGESIZE) for _ in range(2)]
        last = os.fstat(file.fileno()).st_size // PAGESIZE - 1
    if len(pages[1]) < PAGESIZE:
        return
    trees = sorted((page[_TREES:_END] for page in pages), key=_number_of, reverse=True)
    for tree, page in product(trees, pages):
        content = page[_HEADER:_TREES] + tree[:_LAST] + last.to_bytes(8, sys.byteorder)
        content += tree[_LAST + 8 :]
        # A page begins with its number.
        both = (
            number.to_bytes(8, sys.byteorder) + page[8:_HEADER] + content + page[_END:]
            for number in (0, 1)
        )
        yield b"".join(both), tree is not trees[0]


# mdb.c, MDB_page and MDB_meta: the header of the page; magic, version, address and size of the map;
# the two trees, the last page, the number of the transaction.
_HEADER, _TREES, _END = 16, 40, 152
_LAST = 96  # in the part that begins with the trees


def _number_of(trees: bytes) -> int:
    return int.from_bytes(trees[-8:], sys.byteorder)


def _copy_with(path: Path, copy: Path, first: bytes) -> Path:
    """A copy of the tables that begins with `first`."""
    copy.mkdir()
    shutil.copyfile(path / "data.mdb", copy / "data.mdb")
    with open(copy / "data.mdb", "r+b") as file:
        file.write(first)
    return copy


def read(
    path: str, table: bytes, start: Optional[bytes], backward: bool, most: int
) -> "Iterator[list[Pair]]":
    """The task of a process: what is in a table, in pieces."""
    piece: list[Pair] = []
    size = 0
    try:
        with Reading(Path(path)) as reading:
            for pair in reading.pairs(table, start, backward):
                piece.append(pair)
                size += len(pair[1])
                if len(piece) >= most or size > _PIECE_BYTES:
                    yield piece
                    piece, size = [], 0
            if piece:
                yield piece
    except (lmdb.Error, Broken, OSError) as fault:
        if piece:
            yield piece
        raise OfflineError(str(fault)) from None


def find(path: str, keys: "list[bytes]") -> "Iterator[Optional[Pair]]":
    """The task of a process: the records of these keys; None: there is none, or it is damaged."""
    try:
        with Reading(Path(path)) as reading:
            look_up = reading.find(ITEMS)
            for key in keys:
                try:
                    record = look_up(key)
                except lmdb.Error:
                    record = None
                yield None if record is None else (key, record)
    except (lmdb.Error, OSError) as fault:
        raise OfflineError(str(fault)) from None
