"""
The items of a store as a dump knows them: out of one that no server has open, and into one.

Out: what is live, from the tables and the journals before them, and nothing is changed; not by an
opening of the store, which would write what the journals hold. Into: by the store itself, as a
server would, in batches.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

import lmdb

from mctwist import meta_operations
from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import DEFAULT_LIMIT, LMDBBackend
from mctwist.backends.reading import ITEMS, ORDER, Broken, Reading, placed
from mctwist.backends.sieve import seen
from mctwist.backends.state import Prefixes, State
from mctwist.backends.tables import PREFIXES, stamp_of_visit
from mctwist.dumps import MARKS, Record
from mctwist.interfaces import IBackend, StartError, Step, StorageError
from mctwist.item import (
    BINARY_KEY,
    BYTES,
    FETCHED,
    KEY_LENGTH,
    TYPED,
    DamagedRecord,
    Item,
    decode,
    marks_of,
    size_in_memcached,
)
from mctwist.offline import directories
from mctwist.offline.journalled import Journalled
from mctwist.offline.process import Died, run
from mctwist.offline.stores import (
    DIRECTORY,
    LMDB,
    OfflineError,
    Store,
    held,
    refuse_untrusted,
    told,
)
from mctwist.operations import STORED

#: Items of one batch, and bytes of their values.
_BATCH, _BATCH_BYTES = 1000, 4 << 20
_PIECE, _PIECE_BYTES = 1000, 1 << 20

_MARKS = sum(MARKS.values())

BACKENDS: "dict[str, Callable[..., Any]]" = {LMDB: LMDBBackend, DIRECTORY: DirectoryBackend}

# Why an item is not taken.
EXPIRED = "expired"
THERE = "there already"
TOO_LARGE = "too large"
BAD_KEY = "a key that no item can have"
BAD_KIND = "a kind of value that is not known"


# Out


class Contents:
    """
    The items of a store, once.

    :ivar expected: about how many there are.
    :ivar damaged: how many did not verify, and were left out; known at the end.
    """

    def __init__(self, pieces: "Iterator[Any]") -> None:
        self._pieces = pieces
        self.expected: int = next(pieces)
        self.damaged = 0

    def __iter__(self) -> "Iterator[Record]":
        for records, damaged in self._pieces:
            self.damaged += damaged
            yield from map(Record._make, records)


@contextmanager
def records(store: Store) -> "Iterator[Contents]":
    """
    What is live in a store that no server has open; it is held meanwhile.

    :raises OfflineError: it is in use, or cannot be read.
    """
    with held(store), _alive(store):
        refuse_untrusted(store)
        if store.kind == DIRECTORY:
            yield Contents(_live_files(store.path))
        else:
            with closing(run("live", str(store.path))) as pieces:
                yield Contents(pieces)


@contextmanager
def _alive(store: Store) -> "Iterator[None]":
    try:
        yield
    except Died as fault:
        raise OfflineError(f"{store} cannot be read: {fault}; see mctwist check") from None


_Piece = tuple[list[Record], int]


def _live_files(root: Path) -> "Iterator[Union[int, _Piece]]":
    with told(root):
        files = directories.Files(root)
    if files.state is None:
        raise OfflineError(f"{root} cannot be read: {files.fault}")
    yield len(files.names)
    is_live = _liveness(files.state)
    for name in files.names:
        try:
            with told(root):
                key, item = files.read(name)
        except (DamagedRecord, ValueError):
            yield [], 1
            continue
        if is_live(key, item):
            yield [_record(key, item, 0)], 0


def live(path: str) -> "Iterator[Union[int, _Piece]]":
    """
    The task of another process: what is live in an LMDB store.

    :return: how many there are about; then items, and how many were damaged.
    """
    try:
        with Reading(Path(path)) as reading:
            yield from _live(Path(path), reading)
    except (lmdb.Error, Broken, DamagedRecord, OSError) as fault:
        raise OfflineError(f"{path} cannot be read: {fault}; see mctwist check") from None


def _live(path: Path, reading: Reading) -> "Iterator[Union[int, _Piece]]":
    journalled = Journalled(path, reading.first_journal())
    newer = journalled.records
    state = journalled.state or State(reading.state())
    prefixes = newer.get(PREFIXES) or reading.prefixes()
    if prefixes is not None:
        state.prefixes = Prefixes.decode(prefixes)
    yield state.items
    is_live = _liveness(state)
    visits = _visits(reading)
    piece: list[Record] = []
    size = damaged = 0
    for key, record in _both(reading, newer):
        try:
            item = decode(key, record)
        except DamagedRecord:
            damaged += 1
            continue
        if is_live(key, item):
            piece.append(_record(key, item, visits(item.place)))
            size += len(item.value)
        if len(piece) >= _PIECE or size > _PIECE_BYTES:
            yield piece, damaged
            piece, size, damaged = [], 0, 0
    yield piece, damaged


def _both(
    reading: Reading, newer: "dict[bytes, Optional[bytes]]"
) -> "Iterator[tuple[bytes, bytes]]":
    for key, record in reading.pairs(ITEMS):
        if key not in newer:
            yield key, record
    for key, newest in newer.items():
        if newest is not None and key != PREFIXES:
            yield key, newest


def _visits(reading: Reading) -> "Callable[[int], int]":
    """The visit that is written down of a place; 0: none."""
    visits: dict[int, int] = {}
    for packed, block in reading.pairs(ORDER):
        visits.update((place, visit) for place, _, visit in placed(packed, block) if visit)
    return lambda place: visits.get(place, 0)


def _liveness(state: State) -> "Callable[[bytes, Item], bool]":
    now = int(time.time() * 1000)
    flushed, prefixes = state.flushed_at(now), state.prefixes

    def is_live(key: bytes, item: Item) -> bool:
        if item.sequence <= flushed or 0 < item.expiry <= now:
            return False
        return not (prefixes.last and prefixes.cover(key, item.sequence))

    return is_live


def _record(key: bytes, item: Item, visit: int) -> Record:
    second, sequence = seen(stamp_of_visit(visit))
    marks = item.marks
    if sequence >= item.sequence and second >= item.accessed:
        marks |= FETCHED
    if marks & marks_of(key):
        # That follows from the key.
        marks &= ~BINARY_KEY
    accessed = max(second, item.accessed)
    return Record(
        *(key, item.value, item.flags, item.expiry, item.cas, marks & _MARKS, item.kind, accessed)
    )


# Into


class Stored(NamedTuple):
    """How many items were stored, and how many not, by the reason."""

    stored: int
    refused: "dict[str, int]"


def store(
    destination: Store,
    items: "Iterable[Record]",
    adds: bool = False,
    limit: int = DEFAULT_LIMIT,
    largest: Optional[int] = None,
    refused: "Callable[[Record, str], None]" = lambda record, why: None,
    done: "Callable[[int], None]" = lambda number: None,
) -> Stored:
    """
    Put items into a store, which is made if need be. All of it is durable when this returns.

    To be killed half-way leaves the store as a server with --sync never does.

    :param adds: leave alone what is there.
    :param limit: bytes of items, as for the server; above it nothing is stored.
    :param largest: bytes of an item, as memcached counts them; None: of any size.
    :param refused: told of each item that is not stored, and why.
    :param done: told how many items have been looked at.
    :raises OfflineError: the store cannot be used, or fails; what was stored before that is there.
    """
    backend: IBackend = BACKENDS[destination.kind](
        str(destination.path), "never", limit, evicts=False
    )
    # Opening it would set it aside, and have an empty one in its place.
    refuse_untrusted(destination)
    try:
        backend.open()
    except StartError as fault:
        raise OfflineError(str(fault)) from None
    filling = _Filling(backend, adds, largest, refused)
    try:
        batch: list[Record] = []
        size = looked = 0
        for record in items:
            batch.append(record)
            size += len(record.value)
            if len(batch) >= _BATCH or size > _BATCH_BYTES:
                filling.add(batch)
                looked += len(batch)
                done(looked)
                batch, size = [], 0
        filling.add(batch)
    except StorageError as fault:
        raise OfflineError(f"{destination}: {fault}") from None
    finally:
        backend.close()
    return Stored(filling.stored, filling.refused)


class _Filling:
    """Of a store that is open."""

    def __init__(
        self,
        backend: IBackend,
        adds: bool,
        largest: Optional[int],
        told: "Callable[[Record, str], None]",
    ) -> None:
        self.stored = 0
        self.refused: dict[str, int] = {}
        self._backend = backend
        self._adds = adds
        self._largest = largest
        self._told = told

    def add(self, batch: "list[Record]") -> None:
        """Store some items, durably as far as the backend is told to be."""
        taken: list[tuple[Record, Step]] = []
        for record in batch:
            why = self._why_not(record)
            if why is None:
                taken.append((record, self._step(record)))
            else:
                self._refuse(record, why)
        while taken:
            now = int(time.time() * 1000)
            (results,) = self._backend.perform([[step for _, step in taken]], now)
            for (record, _), result in zip(taken, results):
                self._note(record, result, now)
            taken = taken[len(results) :]
            if self._backend.due:
                self._backend.maintain()

    def _why_not(self, record: Record) -> Optional[str]:
        if not 0 < len(record.key) <= KEY_LENGTH:
            return BAD_KEY
        if record.kind not in (BYTES, TYPED):
            return BAD_KIND
        size = size_in_memcached(record.key, len(record.value), record.flags)
        return TOO_LARGE if self._largest is not None and size > self._largest else None

    def _step(self, record: Record) -> Step:
        key, value, flags, expiry, cas, marks, kind, accessed = record
        marks |= marks_of(key)
        arguments = (
            *(value, flags, expiry, marks, cas or None, kind, accessed or None),
            self._adds,
        )
        return meta_operations.restore, key, arguments, _nobody

    def _note(self, record: Record, result: Any, now: int) -> None:
        if isinstance(result, StorageError):
            self._refuse(record, str(result))
        elif isinstance(result, Exception):
            raise result
        elif result[0] is STORED:
            self.stored += 1
        else:
            self._refuse(record, EXPIRED if 0 < record.expiry <= now else THERE)

    def _refuse(self, record: Record, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1
        self._told(record, why)


def _nobody(stats: Any, key: bytes, result: Any) -> bytes:
    return b""
