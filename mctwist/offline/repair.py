"""
A store that is whole, made of one that is not.

An LMDB store is made anew, beside the old tables, of everything that can be read and verifies:
the records of the tables, what the journals hold, the time of each last access. Indexes and counts
follow from the records. What does not verify is written to a file, one line of JSON for each, and
the old files are kept beside that.

The new store is verified before it takes the place of the old one, which it does by one rename;
a repair that is killed leaves the old store, and the next one clears away what it has left.

A state that does not verify is made anew as well, but what it knew is lost: items that had been
flushed and were not swept yet are back. So it is with the flushed prefixes.
"""

import json
import os
import shutil
from base64 import b64encode
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Optional

from mctwist.backends.journal import journals
from mctwist.backends.reading import ABOUT, ITEMS, ORDER, Broken, Pair, placed
from mctwist.backends.state import Prefixes, State
from mctwist.backends.tables import (
    FIRST_JOURNAL,
    FLUSHED,
    PREFIXES,
    STATE,
    Records,
    Tables,
    number_in,
    stamp_of_visit,
)
from mctwist.item import KEY_LENGTH, DamagedRecord, Item, decode, encode
from mctwist.offline import directories
from mctwist.offline.check import Progress, check, nobody
from mctwist.offline.journalled import Journalled
from mctwist.offline.replace import replace_tables
from mctwist.offline.report import COUNTS, Report, shown
from mctwist.offline.salvage import Salvage, readable
from mctwist.offline.stores import DIRECTORY, LMDB, OfflineError, Store, dated, give_to_owner, told

#: Where the new store is made, in the directory of the old one.
WORKSHOP = "repairing"

#: Sequence numbers and places that are passed over when nobody knows which were given out.
UNKNOWN = 1 << 20

STATE_LOST = "the record of the state: items that were flushed and not yet swept are back"
PREFIXES_LOST = "the record of the flushed prefixes: what was under them and not yet swept is back"

_PIECE, _PIECE_BYTES = 5000, 8 << 20


class Repaired(NamedTuple):
    """
    What a repair has come to.

    :ivar report: of the store as it is now.
    :ivar aside: the directory that has what was there before.
    :ivar removed: how many records did not verify; they are in a file in :ivar aside:.
    :ivar lost: what else was lost, for people.
    """

    report: Report
    aside: Path
    removed: int
    lost: "list[str]"


def repair(store: Store, progress: Progress = nobody) -> Repaired:
    """
    Make a store whole whose lock is held.

    :raises OfflineError: there is nothing that it could be made of; the store is as it was.
    """
    workshop = store.path / WORKSHOP
    shutil.rmtree(workshop, ignore_errors=True)
    aside = workshop / "aside"
    new = workshop / "new"
    with told(store.path):
        try:
            aside.mkdir(parents=True)
            new.mkdir()
            kept = dated(store.path / "damaged")
            damaged = _Damaged(aside / f"{kept.name}.jsonl")
            if store.kind == DIRECTORY:
                kept = aside.rename(kept)
                damaged.path = kept / damaged.path.name
                known = directories.repair(store.path, kept, damaged.add)
                lost = [] if known else [STATE_LOST]
                give_to_owner(store.path, store.path)
            else:
                lost = _rebuild(store.path, new, damaged, progress)
                made = check(Store(LMDB, new), progress)
                if not made.whole:
                    raise OfflineError(f"what was made of {store} is not whole: nothing is changed")
                replace_tables(store.path, new, aside, kept)
            if (store.path / "unsynced").exists():
                # It is to be trusted from here on, and its files were left as they lay.
                os.sync()
                (store.path / "unsynced").unlink()
            report = check(store, progress)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    return Repaired(report, kept, damaged.count, lost)


class _Damaged:
    """The file of what does not verify; there is none before there is something."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def add(self, key: bytes, record: bytes) -> None:
        """Write down what was found under `key`."""
        fields = {
            "key": shown(key),
            "key64": b64encode(key).decode(),
            "record64": b64encode(record).decode(),
        }
        with open(self.path, "a") as file:
            file.write(f"{json.dumps(fields)}\n")
        self.count += 1


def _rebuild(path: Path, new: Path, damaged: _Damaged, progress: Progress) -> "list[str]":
    """
    Make a new store in the directory `new` of what is in `path`.

    :return: what is lost, besides records that do not verify.
    """
    source, older = readable(path, new.parent)
    salvage = Salvage(source)
    about = dict(pair for piece in salvage.pairs(ABOUT) for pair in piece)
    journalled = Journalled(path, number_in(about.get(FIRST_JOURNAL)), behind=True)
    state = journalled.state or _state_in(about.get(STATE))
    sizes = ((path / "data.mdb").stat().st_size, *(j.stat().st_size for j in journals(path)))
    with closing(Tables(new, 4 * sum(sizes) + (1 << 30), False)) as tables:
        making = _Making(tables, damaged)
        for piece in salvage.pairs(ITEMS):
            making.add(piece)
            progress(making.done, 0)
        missing = {key for piece in salvage.pairs(ORDER) for key in making.visit(piece)}
        for piece in salvage.found(missing):
            making.add(piece)
        making.add_newer(journalled.records)
        prefixes = journalled.records.get(PREFIXES) or about.get(FLUSHED)
        knows_prefixes = making.finish(state, prefixes)
        tables.sync()
    lost = [f"a part of it could not be read: {fault}" for fault in sorted({*salvage.faults})]
    if state is None:
        lost.append(STATE_LOST)
    if not knows_prefixes:
        lost.append(PREFIXES_LOST)
    if older:
        lost.append("what the last transaction had written could not be found")
    return lost


def _state_in(record: Optional[bytes]) -> Optional[State]:
    try:
        return None if record is None else State(record)
    except DamagedRecord:
        return None


def _verifies(prefixes: bytes) -> bool:
    try:
        Prefixes.decode(prefixes)
    except DamagedRecord:
        return False
    return True


class _Making:
    """
    Tables that are filled with what verifies.

    :ivar done: how many records they have got.
    """

    def __init__(self, tables: Tables, damaged: _Damaged) -> None:
        self.done = 0
        self._tables = tables
        self._damaged = damaged
        self._taken: dict[int, bytearray] = {}  # places, a bit each
        self._displaced: list[tuple[bytes, Item]] = []
        self._refused: set[bytes] = set()
        self._sequence = self._place = 0

    def add(self, pairs: "Iterable[Pair]") -> None:
        """Take in records of keys that are not there yet."""
        records: Records = {}
        for key, record in pairs:
            item = self._verified(key, record)
            if item is not None:
                if self._take(item.place):
                    records[key] = record
                else:
                    self._displaced.append((key, item))
        self._commit(records)

    def visit(self, pairs: "Iterable[Pair]") -> "list[bytes]":
        """
        Take in what is known of last accesses.

        :return: keys that are said to have a place, and are not there.
        """
        stamps: dict[int, int] = {}
        missing: list[bytes] = []
        find, _, _, end = self._tables.begin()
        try:
            for packed, block in pairs:
                for place, key, visit in _placed(packed, block):
                    record = find(key)
                    if record is None:
                        if key not in self._refused:
                            missing.append(key)
                    elif decode(key, record).place == place and visit:
                        stamps[place] = stamp_of_visit(visit)
        finally:
            del find
            end()
        self._tables.commit({}, set(), None, stamps)
        return missing

    def add_newer(self, records: Records) -> None:
        """Take in records that replace those that are there."""
        keys = sorted(key for key in records if key != PREFIXES)
        self._displaced = [(key, item) for key, item in self._displaced if key not in records]
        for start in range(0, len(keys), _PIECE):
            piece: Records = {}
            find, _, _, end = self._tables.begin()
            try:
                for key in keys[start : start + _PIECE]:
                    old, record = find(key), records[key]
                    item = None if record is None else self._verified(key, record)
                    same = item and old and decode(key, old).place == item.place
                    if item is None or same or self._take(item.place):
                        piece[key] = record if item else None
                    else:
                        piece[key] = None
                        self._displaced.append((key, item))
            finally:
                del find
                end()
            self._commit(piece)

    def finish(self, known: Optional[State], prefixes: Optional[bytes]) -> bool:
        """
        All is there.

        :param known: the state, but for what follows from the records; None: it is lost.
        :param prefixes: the record of the flushed prefixes, as it was.
        :return: whether that verifies.
        """
        state = known.copy() if known else State()
        margin = 0 if known else UNKNOWN
        state.sequence = max(state.sequence, self._sequence + margin)
        state.place = max(state.place, self._place + margin)
        again: Records = {}
        for key, item in self._displaced:
            state.place += 1
            again[key] = encode(key, item._replace(place=state.place))
        self._commit(again)
        report = Report(LMDB, "")
        start = b""
        while True:
            found = self._tables.from_key(start, b"", _PIECE, _PIECE_BYTES)
            if not found:
                break
            for key, record in found:
                report.count(key, decode(key, record), state)
            start = found[-1][0] + b"\0"
        for name in COUNTS:
            setattr(state, name, getattr(report, name))
        verifies = prefixes is None or _verifies(prefixes)
        records: Records = {PREFIXES: prefixes} if prefixes is not None and verifies else {}
        self._tables.commit(records, set(), state.encode(), {})
        return verifies

    def _verified(self, key: bytes, record: bytes) -> Optional[Item]:
        try:
            item = decode(key, record)
        except DamagedRecord:
            item = None
        if item is None or not 0 < len(key) <= KEY_LENGTH:
            self._damaged.add(key, record)
            self._refused.add(key)
            return None
        self._sequence = max(self._sequence, item.sequence)
        self._place = max(self._place, item.place)
        return item

    def _take(self, place: int) -> bool:
        """Whether a place is free; it is not any more."""
        number, index = divmod(place, 1 << 15)
        bits = self._taken.setdefault(number, bytearray(1 << 12))
        byte, bit = index >> 3, 1 << (index & 7)
        if bits[byte] & bit or place <= 0:
            return False
        bits[byte] |= bit
        return True

    def _commit(self, records: Records) -> None:
        if records:
            self._tables.commit(records, None, None, {})
            self.done += len(records)


def _placed(packed: bytes, block: bytes) -> "list[tuple[int, bytes, int]]":
    try:
        return placed(packed, block)
    except Broken:
        return []
