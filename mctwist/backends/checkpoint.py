"""
A checkpoint: many batches' records, on their way from the journal into the tables.

It is written in several transactions. What a transaction changes LMDB writes anew, elsewhere, and
only the next one can use the pages that it has given up; so a small store must be changed in small
parts. A crash between two of them does no harm, for the journals are there, and are replayed.
"""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Callable, NamedTuple, Optional, TypeVar

import lmdb

from mctwist.backends.layers import Order
from mctwist.backends.state import State
from mctwist.backends.tables import Records, Tables, finds_no_room

#: One transaction writes so many records, and in a small store fewer: one for so many bytes of
#: the limit.
MOST_RECORDS = 16_384
LIMIT_A_RECORD = 512 << 10

#: Keys that are sorted in one go.
SORTED_RUN = 4096

_Key = TypeVar("_Key", bytes, int)


class Frozen(NamedTuple):
    """
    What a checkpoint is to write: records, the keys of those whose place or expiry is not the
    one that the tables know (None: any may be), the state of the store with them, the journals
    they are from, which it removes, and their order (None: there is nothing).
    """

    records: Records
    moved: "Optional[set[bytes]]"
    state: State
    journals: "list[Path]"
    order: Optional[Order] = None


#: No checkpoint.
NOTHING = Frozen({}, set(), State(), [])


def write(
    tables: Tables,
    frozen: Frozen,
    stamps: "dict[int, int]",
    limit: int,
    written: Callable[[], None],
) -> None:
    """
    Have the tables know what is frozen, and the stamps of places.

    :param limit: of the store, in bytes.
    :param written: called after each transaction.
    :raises lmdb.Error: it could not be done, or not all of it; it can be done again.
    """
    encoded = None if frozen is NOTHING else frozen.state.encode()
    try:
        _write_parts(tables, frozen.records, frozen.moved, encoded, stamps, limit, written)
    except lmdb.Error as fault:
        if not finds_no_room(fault):
            raise
        # A page that is given up is used again from the next transaction on.
        records: Records = {key: None for key, record in frozen.records.items() if record is None}
        tables.commit(records, None, encoded, {})
        _write_parts(tables, frozen.records, None, encoded, {}, limit, written)


def _write_parts(
    tables: Tables,
    records: Records,
    moved: "Optional[set[bytes]]",
    state: Optional[bytes],
    stamps: "dict[int, int]",
    limit: int,
    written: Callable[[], None],
) -> None:
    keys, places = list(_ordered(records)), list(_ordered(stamps))
    size = min(max(limit // LIMIT_A_RECORD, 64), MOST_RECORDS)
    total = max(len(keys), len(places), 1)
    for start in range(0, total, size):
        end = start + size
        part = {key: records[key] for key in keys[start:end]}
        visited = {place: stamps[place] for place in places[start:end]}
        tables.commit(part, moved, state if end >= total else None, visited)
        written()


def _ordered(keys: "Iterable[_Key]") -> "Iterator[_Key]":
    """
    `keys` in order. To sort a hundred thousand of them in one go takes 80 ms in which no other
    thread runs; runs of a few thousand are sorted, and merged.
    """
    remaining = iter(keys)
    runs: list[list[_Key]] = []
    while True:
        run = sorted(islice(remaining, SORTED_RUN))
        if not run:
            return merge(*runs)
        runs.append(run)
