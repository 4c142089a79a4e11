"""
The tables of a store as who only reads them sees them: one snapshot of all, whatever it holds.

`Tables` believes what it has written. This believes nothing: the records come as they lie, entries
are taken apart with care, and what cannot be is `Broken`. LMDB itself is less careful with a file
that is not its own any more, and may end the process; so whoever reads what nobody has verified
does it in a process that may end.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from struct import error as StructError
from typing import Any, Optional

import lmdb

from mctwist.backends import tables
from mctwist.backends.tables import PLACES, RecordOf

Pair = tuple[bytes, bytes]

ITEMS, ORDER, EXPIRING, ABOUT = b"items", b"order", b"expiring", b"about"
_EMPTY = object()
_PLACE_SIZE = tables.PLACE.size


class Broken(Exception):
    """What is there cannot be: a tree, or a part of it, is damaged."""


class Reading:
    """
    :param path: the directory of the store.
    :param shared: a server may have it open, and must keep the pages of the snapshot. If not,
        nothing is written, not even to LMDB's own lock.
    :ivar number: of the transaction whose work the snapshot shows.
    :raises lmdb.Error: it cannot be opened.
    """

    def __init__(self, path: Path, shared: bool = False) -> None:
        # Whole in the address space, and what is added until the snapshot is taken.
        room = 2 * (path / "data.mdb").stat().st_size + (1 << 30)
        self._env = lmdb.open(
            str(path),
            map_size=room,
            max_dbs=8,
            readonly=True,
            lock=shared,
            create=False,
            lib_version=0,
        )
        try:
            names = (ITEMS, ORDER, EXPIRING, ABOUT)
            self._tables = {name: self._env.open_db(name, create=False) for name in names}
            self._txn = self._env.begin()
            self.number: int = self._txn.id()
        except BaseException:
            self._env.close()
            raise

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._txn.abort()
        self._env.close()

    def is_newest(self) -> bool:
        """Whether nothing has been written to the tables since the snapshot was taken."""
        number: int = self._env.info()["last_txnid"]
        return number == self.number

    def copy(self, path: Path) -> None:
        """Have what the snapshot shows in a file in the directory `path`, without holes."""
        self._env.copy(str(path), compact=True, txn=self._txn)

    def verify_pages(self) -> None:
        """Look at every page, also at those that are free. Raises lmdb.Error."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            self._env.copyfd(nowhere, compact=True, txn=self._txn)
        finally:
            os.close(nowhere)

    def count(self, table: bytes) -> int:
        """How many entries a table says to have."""
        number: int = self._txn.stat(self._tables[table])["entries"]
        return number

    def pairs(
        self, table: bytes, start: Optional[bytes] = None, backward: bool = False
    ) -> "Iterator[Pair]":
        """
        Keys and what is under them, from `start` on (None: all), in order.

        :raises Broken: they are not in order; the tree may go round in circles.
        """
        with self._txn.cursor(self._tables[table]) as cursor:
            if start is None:
                found = cursor.last() if backward else cursor.first()
            elif backward:
                found = cursor.prev() if cursor.set_range(start) else cursor.last()
            else:
                found = cursor.set_range(start)
            if not found:
                return
            last: Any = _EMPTY
            for pair in cursor.iterprev() if backward else cursor:
                key = pair[0]
                if last is not _EMPTY and (key >= last if backward else key <= last):
                    raise Broken(f"the keys of {table.decode()} are not in order")
                last = key
                yield pair

    def find(self, table: bytes) -> RecordOf:
        """What finds the entry of a key in a table."""
        txn, of_table = self._txn, self._tables[table]

        def find(key: bytes) -> Optional[bytes]:
            record: Optional[bytes] = txn.get(key, db=of_table)
            return record

        return find

    def state(self) -> Optional[bytes]:
        """The record of the store's state."""
        return self.find(ABOUT)(tables.STATE)

    def prefixes(self) -> Optional[bytes]:
        """The record of the flushed prefixes."""
        return self.find(ABOUT)(tables.FLUSHED)

    def first_journal(self) -> int:
        """As `Tables.first_journal`."""
        return tables.number_in(self.find(ABOUT)(tables.FIRST_JOURNAL))

    def has_place(self, key: bytes, place: int) -> bool:
        """Whether it says at `place` that `key` has it."""
        number, index = divmod(place, PLACES)
        block = self.find(ORDER)(tables.BLOCK.pack(number)) or b""
        # Looked for, for to take a block apart for each of its keys takes long.
        head = bytes((index, len(key) & 255))
        at = block.find(key, _PLACE_SIZE)
        while at > 0:
            if block.startswith(head, at - _PLACE_SIZE):
                return True
            at = block.find(key, at + 1)
        return False


Placed = tuple[int, bytes, int]


def placed(packed: bytes, block: bytes) -> "list[Placed]":
    """
    What an entry of `order` says: places, their keys, and when each was last visited.

    :raises Broken: it is none.
    """
    found: list[Placed] = []
    seen = set()
    offset = 0
    try:
        start = tables.BLOCK.unpack(packed)[0] * PLACES
        while offset < len(block):
            index, length, visit = tables.PLACE.unpack_from(block, offset)
            offset += tables.PLACE.size + length
            key = block[offset - length : offset]
            if index >= PLACES or index in seen or offset > len(block) or not key:
                raise Broken("a block of places is not whole")
            seen.add(index)
            found.append((start + index, key, visit))
    except StructError:
        raise Broken("a block of places is not whole") from None
    return found


def timed(packed: bytes) -> "tuple[int, int]":
    """
    What a key of `expiring` says: an expiry and a place.

    :raises Broken: it is none.
    """
    try:
        expiry, place = tables.EXPIRY.unpack(packed)
    except StructError:
        raise Broken("what expires is not known by its moment") from None
    return expiry, place
