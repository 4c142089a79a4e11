"""
LMDB's side of the default store: one file, four tables.

    items      key                 -> record
    order      place // 64         -> the places of these 64: key, last visit    what came first
    expiring   expiry, place       -> key                                        what expires next
    about      a name              -> the `State`, the flushed prefixes, the first journal

LMDB spends ten bytes on every entry and leaves a third of its pages empty; by sixty-fours a place
costs its key and six bytes, which decides how many small items fit below the limit.

`commit` is the only thing that writes, and keeps the tables in step: whoever has a key's record
knows its place and expiry, and so where it stands in the other two. Everything else reads, in
short transactions of its own: one that lived long would keep freed pages from being used again.

LMDB's laws are kept here: a write transaction stays on its thread; the environment is opened
once, after every fork; `writemap` is never used: with it a full disk would be a SIGBUS.
"""

import errno
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from struct import Struct
from typing import Any, Callable, Optional

import lmdb

from mctwist.backends.gaps import Between
from mctwist.backends.sieve import ALL, seen, stamp
from mctwist.backends.state import Prefixes, State
from mctwist.item import DamagedRecord, decode

#: Records by their keys; None: the key is removed. The empty key, which no item has, stands for
#: the flushed prefixes.
Records = dict[bytes, Optional[bytes]]
PREFIXES = b""

STATE = b"state"
FLUSHED = b"prefixes"
FIRST_JOURNAL = b"first journal"
BLOCK = Struct(">Q")
EXPIRY = Struct(">QQ")
_IN_ITEMS, _IN_ORDER = b"i", b"o"
PLACES = 64  # of a block
# Of each place that is taken: its number in the block, the length of the key, the last visit; then
# the key. A visit is its second, rounded up to an even one, plus 1 where it was a fetch.
PLACE = Struct(">BBI")
_EVEN = 0xFFFFFFFE
# EFBIG is RLIMIT_FSIZE's word for a full disk.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

RecordOf = Callable[[bytes], Optional[bytes]]
_Transaction = Any


class Tables:
    """
    :param room: bytes of address space, which the file cannot outgrow.
    :param synced: a commit is durable when it returns.
    :ivar taken: bytes of the pages that the tables take up; the file itself never shrinks.
    """

    def __init__(self, path: Path, room: int, synced: bool) -> None:
        self._env = env = lmdb.open(
            str(path), map_size=room, max_dbs=8, max_spare_txns=2, sync=synced, lib_version=0
        )
        try:
            env.reader_check()
            self._items = env.open_db(b"items")
            self._order = env.open_db(b"order")
            self._expiring = env.open_db(b"expiring")
            self._about = env.open_db(b"about")
            with env.begin() as txn:
                self.taken = self._pages(txn)
        except BaseException:
            env.close()
            raise

    def close(self) -> None:
        self._env.close()

    def sync(self) -> None:
        self._env.sync(True)

    def check_readers(self) -> None:
        """Free what processes that have died while they read still hold."""
        self._env.reader_check()

    # Reading

    def state(self) -> State:
        """Raises `DamagedRecord` where it is not whole."""
        with self._env.begin(self._about) as txn:
            state = State(txn.get(STATE))
            prefixes = txn.get(FLUSHED)
        if prefixes is not None:
            state.prefixes = Prefixes.decode(prefixes)
        return state

    def begin(
        self,
    ) -> "tuple[RecordOf, Callable[[int], int], Between, Callable[[], None]]":
        """What finds the record of a key, the stamp of a place, and keys; and what ends that."""
        txn = self._env.begin(self._items)
        record_of = txn.get
        order = self._order

        # What is swept or evicted one after the other stands in one block.
        last, block = -1, _places_in(b"")

        def stamp_of(place: int) -> int:
            nonlocal last, block
            number, index = divmod(place, PLACES)
            if number != last:
                last, block = number, _places_in(txn.get(BLOCK.pack(number), b"", db=order))
            visit, _ = block.get(index, (0, b""))
            return stamp_of_visit(visit)

        def between(start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
            keys: list[bytes] = []
            with txn.cursor() as cursor:
                if last:
                    # To the first at `end` or behind it, and one back from there.
                    found = cursor.prev() if cursor.set_range(end) else cursor.last()
                    following = cursor.iterprev(values=False)
                else:
                    found = cursor.set_range(start)
                    following = cursor.iternext(values=False)
                if found:
                    for key in islice(following, most):
                        if key < start if last else key >= end:
                            break
                        keys.append(key)
            return keys

        def end() -> None:
            # py-lmdb frees a reader's slot only with the object, so nobody may keep that: not
            # the traceback of a step's exception either.
            nonlocal txn, record_of
            txn.abort()
            del txn, record_of

        return record_of, stamp_of, between, end

    def from_key(
        self, start: bytes, prefix: bytes, most: int, most_bytes: int
    ) -> "list[tuple[bytes, bytes]]":
        """
        The next keys from `start` on that begin with `prefix`, and their records.

        :param most: how many; :param most_bytes: and how many bytes of records, or one more.
        """
        found: list[tuple[bytes, bytes]] = []
        size = 0
        with self._cursor(self._items) as cursor:
            if cursor.set_range(start):
                for key, record in cursor.iternext():
                    if not key.startswith(prefix):
                        break
                    found.append((key, record))
                    size += len(record)
                    if len(found) >= most or size > most_bytes:
                        break
        return found

    def in_order(self, place: int) -> "Generator[tuple[int, bytes], None, None]":
        """The places behind `place` and their keys, for as long as the caller goes on."""
        first = place + 1
        with self._cursor(self._order) as cursor:
            if cursor.set_range(BLOCK.pack(first // PLACES)):
                for packed, block in cursor.iternext():
                    start = BLOCK.unpack(packed)[0] * PLACES
                    for index, (_, key) in sorted(_places_in(block).items()):
                        if start + index >= first:
                            yield start + index, key

    def expired(self, start: bytes, now: int, most: int) -> "tuple[list[bytes], bytes]":
        """
        Keys that have expired at `now`, soonest first.

        :param start: where to go on; b"": at the beginning.
        :return: at most so many keys, and where to go on.
        """
        keys: list[bytes] = []
        end = EXPIRY.pack(now, (1 << 64) - 1)
        with self._cursor(self._expiring) as cursor:
            if cursor.set_range(start or EXPIRY.pack(0, 0)):
                for place, key in cursor.iternext():
                    if place > end or len(keys) == most:
                        return keys, place
                    keys.append(key)
        return keys, end

    @contextmanager
    def _cursor(self, table: Any) -> "Iterator[Any]":
        with self._env.begin(table) as txn, txn.cursor() as cursor:
            yield cursor

    def first_journal(self) -> int:
        """The number of the first journal that counts: the tables hold what was before it."""
        with self._env.begin(self._about) as txn:
            return number_in(txn.get(FIRST_JOURNAL))

    # Writing

    def begin_journals(self, first: int) -> None:
        """Have those journals not count whose number is less than `first`."""
        with self._env.begin(self._about, write=True) as txn:
            txn.put(FIRST_JOURNAL, b"%d" % first)

    def commit(
        self,
        records: Records,
        moved: "Optional[set[bytes]]",
        state: Optional[bytes],
        stamps: "Mapping[int, int]",
    ) -> None:
        """
        One transaction, in the order of the keys, which is the order of the pages.

        :param moved: the keys whose place or expiry has changed; None: any may have.
        :param state: None: it is as it was.
        :param stamps: of places; one that is gone is passed over.
        """
        with self._env.begin(self._items, write=True, buffers=True) as txn:
            places: dict[int, Optional[bytes]] = {}  # by the key that they are to have
            for key in sorted(records):
                record = records[key]
                if key == PREFIXES:
                    txn.put(FLUSHED, record or b"", db=self._about)
                    continue
                if moved is None or key in moved:
                    self._move(txn, key, record, places)
                if record is None:
                    txn.delete(key)
                else:
                    txn.put(key, record)
            self._put_places(txn, places, stamps)
            if state is not None:
                txn.put(STATE, state, db=self._about)
            taken = self._pages(txn)
        self.taken = taken

    def repack(self, start: bytes, size: int) -> bytes:
        """
        Write what is stored from `start` on anew, so that it fills its pages.

        LMDB leaves pages half full when it splits them, and does not merge them before they are
        a quarter full; in a row, from lowest to highest, it fills them.

        :param start: b"": from the beginning.
        :param size: how many bytes to write.
        :return: where to go on.
        """
        name, start = start[:1], start[1:]
        table = self._order if name == _IN_ORDER else self._items
        found: list[tuple[bytes, bytes]] = []
        with self._env.begin(table, write=True) as txn:
            with txn.cursor() as cursor:
                if cursor.set_range(start):
                    for key, record in cursor.iternext():
                        found.append((key, record))
                        size -= len(record)
                        if size < 0:
                            break
            with txn.cursor() as cursor:
                for key, _ in found:
                    txn.delete(key)
                cursor.putmulti(found)
            taken = self._pages(txn)
        self.taken = taken
        if found:
            return (name or _IN_ITEMS) + found[-1][0] + b"\0"
        return _IN_ITEMS if name == _IN_ORDER else _IN_ORDER

    def _move(
        self,
        txn: _Transaction,
        key: bytes,
        record: Optional[bytes],
        places: "dict[int, Optional[bytes]]",
    ) -> None:
        """Have `key` found where `record` says; `places` collects what that changes in `order`."""
        before, old = _index_of(key, txn.get(key))
        after, new = _index_of(key, record)
        if old != new:
            if old:
                places[old] = None
            if new:
                places[new] = key
        if (before, old) != (after, new):
            if before > 0:
                txn.delete(EXPIRY.pack(before, old), db=self._expiring)
            if after > 0:
                txn.put(EXPIRY.pack(after, new), key, db=self._expiring)

    def _put_places(
        self,
        txn: _Transaction,
        places: "dict[int, Optional[bytes]]",
        stamps: "Mapping[int, int]",
    ) -> None:
        for number, changed in _by_blocks({*places, *stamps}):
            packed = BLOCK.pack(number)
            taken = _places_in(bytes(txn.get(packed, b"", db=self._order)))
            for place in changed:
                index = place % PLACES
                visit, key = taken.pop(index, (0, None))
                key = places.get(place, key)
                if place in stamps:
                    second, sequence = seen(stamps[place])
                    visit = (second + 1) & _EVEN | (sequence > 0)
                if key is not None:
                    taken[index] = visit, key
            block = b"".join(
                PLACE.pack(index, len(key), visit) + key for index, (visit, key) in taken.items()
            )
            if not block:
                txn.delete(packed, db=self._order)
            # New places are most often the last, and then fill their pages.
            elif not txn.put(packed, block, db=self._order, append=True):
                txn.put(packed, block, db=self._order)

    def _pages(self, txn: _Transaction) -> int:
        pages = 0
        for table in (self._items, self._order, self._expiring, self._about):
            stat = txn.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        size: int = pages * stat["psize"]
        return size


def _index_of(key: bytes, record: Optional[bytes]) -> "tuple[int, int]":
    """The expiry and the place in a record; 0, 0: there is none that could be believed."""
    if record is None:
        return 0, 0
    try:
        item = decode(key, bytes(record))
    except DamagedRecord:
        # What stands for it in the other tables stays, and is passed over there.
        return 0, 0
    return item.expiry, item.place


def stamp_of_visit(visit: int) -> int:
    """The stamp that a visit was written down of."""
    # That it was fetched is kept, not how late: any sequence number will do.
    return stamp((visit & _EVEN) * 1000, ALL if visit & 1 else 0)


def number_in(record: Optional[bytes]) -> int:
    return int(record) if record and record.isdigit() else 0


def _by_blocks(places: "set[int]") -> "Iterator[tuple[int, list[int]]]":
    """The numbers of the blocks of `places`, and the places in each; all in order."""
    for number, group in groupby(sorted(places), lambda place: place // PLACES):
        yield number, list(group)


def _places_in(block: bytes) -> "dict[int, tuple[int, bytes]]":
    """The places that are taken in a block of `order`: the last visit, and the key."""
    taken = {}
    offset, end = 0, len(block)
    while offset < end:
        index, length, visit = PLACE.unpack_from(block, offset)
        start = offset + PLACE.size
        offset = start + length
        taken[index] = visit, block[start:offset]
    return taken


def finds_no_room(fault: Exception) -> bool:
    """Whether `fault`, of LMDB or of the system, is for want of room."""
    if isinstance(fault, lmdb.Error):
        full = isinstance(fault, (lmdb.MapFullError, lmdb.TxnFullError))
        # EIO is what LMDB makes of a write that was cut short, which is how a full disk begins.
        return full or fault.code in NO_ROOM or fault.code == errno.EIO
    return isinstance(fault, OSError) and fault.errno in NO_ROOM
