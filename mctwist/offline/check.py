"""
Whether a store is whole: everything in it is read, and nothing changed.

An LMDB store is its tables and the journals before them. The tables agree among themselves after
every transaction, so their two indexes are held against the records that lie in the tables; but
the state counts what is there with the journals, and a checkpoint may have been cut short, so the
counts are held against the records as the journals leave them.

Both sides of an index are added up, in any order, as a sum of hashes; single entries are looked up
only where the sums differ. So a million records take seconds, and hardly any memory.

LMDB's own structure is what its trees come to when they are walked: their keys in order, as many
as they say, and every page of the file used once, or free. A file that LMDB dies of is damaged,
too, which is why this is done in another process.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Callable, Optional

import lmdb

from mctwist.backends.reading import EXPIRING, ITEMS, ORDER, Broken, Reading, placed, timed
from mctwist.backends.state import Prefixes, State
from mctwist.backends.tables import EXPIRY, PREFIXES
from mctwist.item import DamagedRecord, Item, decode
from mctwist.offline import directories
from mctwist.offline.journalled import Journalled
from mctwist.offline.process import Died, run
from mctwist.offline.report import Report
from mctwist.offline.stores import DIRECTORY, LMDB, OfflineError, Store

#: Told how many of how many have been done.
Progress = Callable[[int, int], None]

_TURN = 20_000  # records between two tellings
_SUM = (1 << 64) - 1


def nobody(done: int, total: int) -> None:
    """The `Progress` that nobody sees."""


def check(store: Store, progress: Progress = nobody) -> Report:
    """
    What is to be said of a store that nobody changes.

    :raises OfflineError: it cannot be read at all, for a reason that is not in it.
    """
    report = Report(store.kind, str(store.path))
    try:
        if store.kind == DIRECTORY:
            directories.look_through(store.path, report, progress)
        else:
            report = _in_another_process(store, report, progress)
        if store.folder().went_down:
            report.found("untrusted", "unsynced")
    except OSError as fault:
        raise OfflineError(f"cannot read {fault.filename}: {fault.strerror}") from None
    return report


def _in_another_process(store: Store, report: Report, progress: Progress) -> Report:
    # It tells what it has found so far: the last of that is known even when it dies.
    try:
        with closing(run("check", str(store.path))) as messages:
            for done, total, found in messages:
                report = found
                progress(done, total)
    except Died as fault:
        report.found("structure", str(fault))
    return report


def look_through(path: str) -> "Iterator[tuple[int, int, Report]]":
    """
    The task of the other process: an LMDB store.

    :return: how much is done, of how much, and what has been found so far.
    """
    report = Report(LMDB, path)
    yield 0, 0, report
    try:
        with Reading(Path(path)) as reading:
            yield from _Check(Path(path), reading, report).run()
            reading.verify_pages()
    except (lmdb.Error, Broken, FileNotFoundError) as fault:
        report.found("structure", str(fault))
    yield 1, 1, report


class _Check:
    """Of an LMDB store."""

    def __init__(self, path: Path, reading: Reading, report: Report) -> None:
        self._path = path
        self._reading = reading
        self._report = report
        self._done = 0
        self._damaged: set[bytes] = set()  # keys: where these should stand nobody knows
        self._total = sum(map(reading.count, (ITEMS, ORDER, EXPIRING)))

    def run(self) -> "Iterator[tuple[int, int, Report]]":
        report = self._report
        journalled = Journalled(self._path, self._reading.first_journal())
        report.journals, report.batches = len(journalled.paths), journalled.batches
        report.torn = journalled.torn
        for place in journalled.breaks:
            report.found("journal", place)
        state = journalled.state or self._stored_state()
        self._look_at_prefixes(journalled.records.get(PREFIXES))
        yield from self._look_at_items(journalled, state or State())
        yield from self._look_at_order()
        yield from self._look_at_expiring()
        if state is not None:
            report.compare(state)
        if self._places != self._placed:
            yield from self._search_order()
        if self._expiries != self._timed:
            yield from self._search_expiring()

    def _stored_state(self) -> Optional[State]:
        try:
            return State(self._reading.state())
        except DamagedRecord as fault:
            self._report.found("state", str(fault))
            return None

    def _look_at_prefixes(self, journalled: Optional[bytes]) -> None:
        record = self._reading.prefixes() if journalled is None else journalled
        try:
            if record is not None:
                Prefixes.decode(record)
        except DamagedRecord as fault:
            self._report.found("prefixes", str(fault))

    def _look_at_items(
        self, journalled: Journalled, state: State
    ) -> "Iterator[tuple[int, int, Report]]":
        """The records, and what the indexes should come to: `_places`, `_expiries`."""
        report, newer = self._report, journalled.records
        places = expiries = 0
        for key, record in self._walk(ITEMS):
            if not self._done % _TURN:
                yield self._done, self._total, report
            report.records += 1
            try:
                item = decode(key, record)
            except DamagedRecord:
                report.found("record", key)
                self._damaged.add(key)
                continue
            places += hash((item.place, key))
            if item.expiry > 0:
                expiries += hash((item.expiry, item.place, key))
            if key not in newer:
                report.count(key, item, state)
        for key, newest in newer.items():
            if newest is None or key == PREFIXES:
                continue
            try:
                report.count(key, decode(key, newest), state)
            except DamagedRecord:
                report.found("record", key)
        self._places, self._expiries = places & _SUM, expiries & _SUM

    def _look_at_order(self) -> "Iterator[tuple[int, int, Report]]":
        placed_there = 0
        for packed, block in self._walk(ORDER):
            if not self._done % (_TURN // 64):
                yield self._done, self._total, self._report
            try:
                for place, key, _ in placed(packed, block):
                    if key not in self._damaged:
                        placed_there += hash((place, key))
            except Broken:
                self._report.found("place", f"block {packed.hex()}")
        self._placed = placed_there & _SUM

    def _look_at_expiring(self) -> "Iterator[tuple[int, int, Report]]":
        timed_there = 0
        for packed, key in self._walk(EXPIRING):
            if not self._done % _TURN:
                yield self._done, self._total, self._report
            try:
                if key not in self._damaged:
                    timed_there += hash((*timed(packed), key))
            except Broken:
                self._report.found("expiry", key)
        self._timed = timed_there & _SUM

    def _walk(self, table: bytes) -> "Iterator[tuple[bytes, bytes]]":
        met = 0
        for pair in self._reading.pairs(table):
            met += 1
            self._done += 1
            yield pair
        says = self._reading.count(table)
        if met != says:
            self._report.found("structure", f"{table.decode()} has {met} entries, and says {says}")

    # One entry after the other, where the sums differ

    def _search_order(self) -> "Iterator[tuple[int, int, Report]]":
        report, has_place = self._report, self._reading.has_place
        for key, item in self._items():
            if not self._done % _TURN:
                yield self._done, self._total, report
            if not has_place(key, item.place):
                report.found("unplaced", key)
        for packed, block in self._reading.pairs(ORDER):
            for place, key, _ in _placed_or_none(packed, block):
                there = self._item(key)
                if there is not None and there.place != place:
                    report.found("place", key)

    def _search_expiring(self) -> "Iterator[tuple[int, int, Report]]":
        report, find = self._report, self._reading.find(EXPIRING)
        for key, item in self._items():
            if not self._done % _TURN:
                yield self._done, self._total, report
            if item.expiry > 0 and find(EXPIRY.pack(item.expiry, item.place)) != key:
                report.found("untimed", key)
        for packed, key in self._reading.pairs(EXPIRING):
            there = self._item(key)
            if len(packed) != EXPIRY.size or there is None:
                continue
            if (there.expiry, there.place) != timed(packed):
                report.found("expiry", key)

    def _items(self) -> "Iterator[tuple[bytes, Item]]":
        self._total += self._reading.count(ITEMS)
        for key, record in self._reading.pairs(ITEMS):
            self._done += 1
            try:
                yield key, decode(key, record)
            except DamagedRecord:
                continue

    def _item(self, key: bytes) -> Optional[Item]:
        """What is under `key`: nothing is `_NOTHING`; None: it is damaged, and told already."""
        try:
            record = self._reading.find(ITEMS)(key)
        except lmdb.BadValsizeError:
            record = None
        try:
            return _NOTHING if record is None else decode(key, record)
        except DamagedRecord:
            return None


_NOTHING = Item(0, 0, 0, -1, 0, 0, -1, 0, b"")


def _placed_or_none(packed: bytes, block: bytes) -> "list[tuple[int, bytes, int]]":
    try:
        return placed(packed, block)
    except Broken:
        return []
