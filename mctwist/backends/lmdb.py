"""
The default store: LMDB's tables, behind a journal.

    perform ->  journal (durable: the batch has happened)  ->  recent  ->  reads
                                                                 |  checkpoint, many batches
                                                                 v
                                                              tables

A batch is one frame of the journal and one fdatasync. Its records are then in `recent`, a dict,
which reads look into before they look into LMDB. When the journal has grown to `CHECKPOINT`
bytes, or a minute has passed, `recent` is frozen, a new journal begun, and `maintain`, in another
thread, writes what is frozen to LMDB (`checkpoint`); then the old journal goes. LMDB alone would
write every page a batch touches, and sync twice, for every batch: a tenth of the throughput.

Opening replays what journals there are, at most a few times `CHECKPOINT`, and so does the opening
after a crash.

Space comes back with the batches. `maintain` looks for what is dead, a piece at a time; `perform`
removes some of it in the same transaction as the steps, and evicts what is above the limit. So
removals are journalled, counted and seen like any other write.

A read by the reactor goes through one view, kept from one read to the next; it does not wait for
the disk while the store is in memory. A thread that reads makes a view of its own.

When there is no room on the disk a batch is run again a step at a time, each a batch of its own:
those that grow the store fail, the others do not.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any, Callable, Optional

import lmdb
from zope.interface import implementer

from mctwist.backends.checkpoint import NOTHING, Frozen, write
from mctwist.backends.dead import Dead
from mctwist.backends.eviction import evict, welcome
from mctwist.backends.folder import Folder
from mctwist.backends.gaps import Between, Gaps
from mctwist.backends.journal import Entry as Written
from mctwist.backends.journal import (
    Journal,
    journals,
    next_journal,
    number_of,
    replay,
    sync_file,
)
from mctwist.backends.layers import (
    NotLocked,
    Order,
    Recent,
    between_in,
    locked,
    nothing_recent,
    refused,
)
from mctwist.backends.packing import Packing
from mctwist.backends.places import Placed, scan
from mctwist.backends.sieve import MOST_VISITS, Sieve
from mctwist.backends.state import Prefixes, State
from mctwist.backends.tables import PREFIXES, Records, Tables, finds_no_room
from mctwist.backends.tally import Tally
from mctwist.backends.transaction import (
    Change,
    Read,
    Snapshot,
    Transaction,
    in_pieces,
    listed,
    look,
    run,
    run_alone,
)
from mctwist.interfaces import (
    Fetched,
    IBackend,
    Results,
    StartError,
    Steps,
    StorageError,
    StoreFull,
)
from mctwist.item import DamagedRecord, Entry, Item, decode, encode

#: The format of journal and tables; the file format is LMDB 0.9's (py-lmdb's lib_version 0).
FORMAT = 2
DEFAULT_LIMIT = 10 << 30

#: Bytes of journal after which it is time for a checkpoint, ...
CHECKPOINT = 16 << 20
#: ... and at which the next batch waits for the one that is under way.
MOST_JOURNAL = 4 * CHECKPOINT
MIN_JOURNAL = 1 << 20

#: What LMDB may map, in limits: `resize` cannot go beyond half of it.
MAP_RATIO = 8

#: A batch removes so many bytes of values that are dead, or one more.
REAPED_BYTES = 1 << 20
#: Of so many of the next places the first that is taken tells how old the oldest items are.
OLDEST = 8
#: The pieces of a walk: records, and bytes of them, read in one go.
PIECE = 500
PIECE_BYTES = 1 << 20

_SECOND, _MINUTE = 1000, 60_000
_ELSEWHERE: Any = object()


@implementer(IBackend)
class LMDBBackend:
    """
    :param sync: "always", "relaxed" or "never" (docs/durability.md).
    :param limit: bytes of items, as memcached counts them, above which nothing may grow; for
        what that means on the disk see `packing`.
    :param evicts: above the limit items are evicted; if not, what would grow is refused.
    :param checkpoint: as `CHECKPOINT`.
    """

    inline = True
    ordered = True

    def __init__(
        self,
        path: str,
        sync: str = "always",
        limit: int = DEFAULT_LIMIT,
        evicts: bool = True,
        checkpoint: int = CHECKPOINT,
    ) -> None:
        self.name = f"lmdb:{path}"
        self.damaged = 0
        self.evicted: Optional[Callable[[list[Entry]], None]] = None
        self._folder = Folder(path, "lmdb", FORMAT)
        self._sync = sync
        self._packing = Packing(limit)
        self._most_limit = (MAP_RATIO // 2) * limit
        self._room = MAP_RATIO * limit + (64 << 20)
        self._evicts = evicts
        # A small store is not to be all journal.
        self._checkpoint = min(checkpoint, limit // 64)
        self._most_journal = max(min(MOST_JOURNAL, limit // 32), MIN_JOURNAL)
        self._open = False
        self._tables: Optional[Tables] = None
        self._journal: Optional[Journal] = None
        self._last_journal: Optional[Path] = None
        self._state = State()
        self._now = 0  # of the last batch
        self._changes: list[Change] = []  # of the last batch
        # What reads look into before LMDB, the recent and the frozen, replaced as one: whoever
        # has taken hold of both and then begins a transaction misses nothing.
        self._lock = Lock()  # held while a batch is published, and while the view is read
        self._layers: tuple[Recent, Frozen] = (nothing_recent(self._lock), NOTHING)
        self._gaps = Gaps()  # changed under the lock
        self._sieve = Sieve()
        self._tally = Tally()
        self._published = 0  # odd while a batch is being published
        self._view: Optional[Snapshot] = None  # kept from one read to the next
        self._end_view: Optional[Callable[[], None]] = None
        self._maintenance = Lock()  # held by a checkpoint
        self._stuck: Optional[StorageError] = None  # why the last checkpoint failed, ...
        self._stuck_size = 0  # ... and how large the store was
        self._panicked = False  # LMDB wants to be opened anew
        self._faulty = False  # the journal has failed, and must not be appended to
        self._has_looked_for_room = False  # this batch has had a checkpoint written for it
        self._begin_sweep()

    def _begin_sweep(self) -> None:
        self._dead = Dead(self._tally)
        self._next_seek = self._next_turn = 0  # milliseconds since the epoch
        self._write_stamps = False
        self._exhausted = False  # there was nothing to evict, ...
        self._in_vain = False  # ... or nothing but what must be kept was met

    # Opening and closing

    def open(self) -> None:
        self.damaged = 0
        self._tally.reset()
        self._sieve = Sieve()
        self._begin_sweep()
        self._folder.take(unsynced=self._sync == "never")
        try:
            if self._folder.new:
                for path in (*journals(self._folder.path), *self._folder.path.glob("*.mdb")):
                    path.unlink()
            self._open_tables()
            assert self._tables is not None
            self._state = self._tables.state()
            if self._folder.new:
                self._tables.sync()
                self._folder.made()
            self._pass_over_journals()
            self._replay()
            self._begin_journal()
        except (lmdb.Error, OSError, StorageError, DamagedRecord) as fault:
            self._close_tables()
            self._folder.release()
            raise StartError(f"cannot open the store {self._folder.path}: {fault}") from None
        self._open = True

    def _open_tables(self) -> None:
        self._tables = Tables(self._folder.path, self._room, self._sync != "never")

    def _pass_over_journals(self) -> None:
        """Remove what the tables say that they hold: they have come in the place of others."""
        assert self._tables is not None
        first = self._tables.first_journal()
        if first:
            for path in journals(self._folder.path):
                if number_of(path) < first:
                    path.unlink()
            self._folder.sync()
            self._tables.begin_journals(0)

    def _replay(self) -> None:
        """Bring into LMDB what the journals hold, and remove them."""
        old = journals(self._folder.path)
        records: Records = {}
        for path in old:
            sync_file(path)
            for state, entries in replay(path, State.size_in):
                records.update(entries)
                prefixes = self._state.prefixes
                self._state = State(state)
                self._state.prefixes = prefixes
        if PREFIXES in records:
            self._state.prefixes = Prefixes.decode(records[PREFIXES] or b"")
        order = Order(records, self._lock)
        self._layers = (nothing_recent(self._lock), Frozen(records, None, self._state, old, order))
        self._gaps = Gaps()
        self._write_frozen()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            # What cannot be written now is in the journals, and is written at the next opening.
            self._write_all()
            assert self._tables is not None
            self._tables.sync()
            clean = True
        except (lmdb.Error, OSError, StorageError):
            clean = False
        self._close_tables()
        if clean:
            self._folder.leave()
        else:
            self._folder.release()

    def _close_tables(self) -> None:
        self._drop_view()
        tables, self._tables = self._tables, None
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
        if tables is not None:
            tables.close()

    @property
    def notice(self) -> Optional[str]:
        return self._folder.notice

    @property
    def changed(self) -> int:
        return self._state.now

    # Reading

    def live(self) -> tuple[int, int]:
        return self._state.items, self._state.size

    def read(self, steps: Steps, now: int, patient: bool = False) -> Results:
        if not patient:
            with self._lock:
                view = self._view or self._make_view()
                view.renew(self._sieve, self._state, now)
                return look(view, steps)
        # Without the lock, unless that shows half a batch, or keys in their order are wanted.
        published = self._published
        with suppress(NotLocked):
            results = self._look(steps, now, refused)
            one = len(results) == 1 and results[0].__class__ in (Item, Fetched, type(None))
            if one or (published == self._published and published % 2 == 0):
                return results
        with self._lock:
            return self._look(steps, now)

    def _look(self, steps: Steps, now: int, instead: Optional[Between] = None) -> Results:
        """:param instead: of the keys in their order, for which the lock must be held."""
        state = self._state
        read, stamp_of, between, end = self._begin()
        between = instead or between
        try:
            return look(
                Snapshot(read, stamp_of, self._sieve, state, now, between, self._gaps), steps
            )
        finally:
            end()

    def _begin(self) -> "tuple[Read, Callable[[int], int], Between, Callable[[], None]]":
        """
        What reads the store as it is now: an item, the stamp of a place, and keys in their order
        (for which the lock must be held); and what ends that.
        """
        (recent, _, order), (frozen, _, _, _, frozen_order) = self._layers
        if self._tables is None:
            raise StorageError("the store is closed")
        record_of, stored_stamp_of, stored_between, end = self._tables.begin()
        sieve = self._sieve
        find_recent, find_older = recent.get, record_of
        if frozen:

            def find_older(key: bytes) -> Optional[bytes]:
                record = frozen.get(key, _ELSEWHERE)
                return record_of(key) if record is _ELSEWHERE else record

        def read(key: bytes) -> Optional[Item]:
            record = find_recent(key, _ELSEWHERE)
            if record is _ELSEWHERE:
                record = find_older(key)
            if record is None:
                return None
            try:
                return decode(key, record)
            except DamagedRecord:
                self.damaged += 1
                return None

        def stamp_of(place: int) -> int:
            return sieve.stamp_of(place) or stored_stamp_of(place)

        def end_both() -> None:
            nonlocal record_of, stored_stamp_of, find_older
            del record_of, stored_stamp_of, find_older
            end()

        return read, stamp_of, between_in(order, frozen_order, stored_between), end_both

    def _make_view(self) -> Snapshot:
        read, stamp_of, between, self._end_view = self._begin()
        self._view = Snapshot(read, stamp_of, self._sieve, self._state, 0, between, self._gaps)
        return self._view

    def _drop_view(self) -> None:
        """What the view looks into has changed; it would also keep pages from being reused."""
        with self._lock:
            self._view = None
            end, self._end_view = self._end_view, None
            if end is not None:
                end()

    def walk(self, prefix: bytes, now: int, whole: bool = False) -> "Iterator[list[Entry]]":
        def entries(keys: "Iterator[bytes]") -> "list[Entry]":
            return self._entries(keys, now, whole)

        # What is not in LMDB yet comes first: it may be, before the walk gets there.
        recent, frozen = self._layers
        early = {
            key
            for records in (frozen.records, recent.records)
            for key in list(records)
            if key != PREFIXES and key.startswith(prefix)
        }
        yield from in_pieces(iter(early), PIECE, entries)
        start = prefix
        while self._tables is not None:
            found = self._tables.from_key(start, prefix, PIECE, PIECE_BYTES)
            if not found:
                return
            start = found[-1][0] + b"\0"
            keys = [key for key, _ in found if key not in early]
            del found  # before somebody takes his time over the piece
            yield from in_pieces(iter(keys), PIECE, entries)

    def scan(self, cursor: int, most: int, now: int) -> "tuple[list[Entry], int]":
        return scan(self._behind, lambda keys: self._entries(keys, now), cursor, most)

    def _behind(self, place: int, most: int) -> "list[Placed]":
        # The layers first: what is not in them any more is in LMDB by then.
        recent, frozen = self._layers
        if self._tables is None:
            raise StorageError("the store is closed")
        with closing(self._tables.in_order(place)) as placed:
            found = list(islice(placed, most))
        found += recent.order.behind(place, most)
        if frozen.order is not None:
            found += frozen.order.behind(place, most)
        return sorted(set(found))[:most]

    def _entries(self, keys: Iterable[bytes], now: int, whole: bool = False) -> "list[Entry]":
        """As `listed`."""
        read, stamp_of, _, end = self._begin()
        try:
            return listed(Snapshot(read, stamp_of, self._sieve, self._state, now), keys, whole)
        finally:
            end()

    # Writing

    def perform(self, lists: Sequence[Steps], now: int) -> list[Results]:
        if self._panicked:
            self._reopen()
        if self._faulty:
            self._mend()
        if self._stuck is not None:
            self._merge()
        self._now = now
        self._changes = []
        self._has_looked_for_room = False
        try:
            answers = self._attempt(lists, now)
        except StoreFull:
            answers = run_alone(lambda step: self._attempt([[step]], now)[0][0], lists)
        self._tell_the_time(now)
        return answers

    def _attempt(self, lists: Sequence[Steps], now: int) -> list[Results]:
        if self._faulty:
            raise StorageError("the journal has failed")
        before = self._state
        state = before.copy()
        read, stamp_of, between, end = self._begin()
        assert self._tables is not None
        reaped = self._dead.piece()
        victims: list[Entry] = []
        try:
            transaction = Transaction(
                read,
                stamp_of,
                self._sieve,
                state,
                now,
                limit=None if self._evicts else self._packing.limit,
                most_kept=self._packing.limit,
                between=locked(between, self._lock),
                gaps=self._gaps,
            )
            answers = run(transaction, lists)
            if reaped:
                reaped = self._reap(transaction, reaped)
            if self._overflows(state):
                victims = evict(
                    transaction, self._sieve, self._packing.allowed, self._tables.in_order
                )
                self._exhausted = not victims
                self._in_vain = not victims and state.kept > 0
            swept = self._dead.swept_prefixes(reaped)
            if swept:
                state.prefixes = state.prefixes.after(swept)
        finally:
            end()
        changes = transaction.finish()
        welcome(changes, self._sieve)
        entries: list[Written] = [
            (key, None if new is None else encode(key, new)) for key, new, _ in changes
        ]
        if state.prefixes is not before.prefixes:
            entries.append((PREFIXES, state.prefixes.encode()))
        if entries or state.encode() != before.encode():
            state.now = max(state.now, now)
            record = state.encode()
            if state.stored > before.stored:
                self._check_room(state)
            self._append(record, entries, bool(lists), state.stored > before.stored)
            self._publish(transaction, entries, changes)
        elif transaction.gaps is not None:
            with self._lock:
                transaction.leave_gaps(self._gaps, before, changes)
        self._tally.count_batch(answers, victims, now)
        self._dead.removed(reaped, swept)
        if victims and self.evicted is not None:
            self.evicted(victims)
        return answers

    def _check_room(self, state: State) -> None:
        assert self._journal is not None
        assert self._tables is not None
        if self._stuck is not None:
            raise StoreFull(str(self._stuck))
        # Eviction makes room in the pages; but not of what must be kept.
        evicts = self._evicts and state.kept <= self._packing.allowed
        if evicts or self._taken <= self._packing.most_bytes:
            return
        # What has been deleted since the last checkpoint may have made room.
        if not self._has_looked_for_room:
            self._has_looked_for_room = True
            if self._journal.size:
                self._turn()
            try:
                self._write_frozen()
            except StorageError as fault:
                raise StoreFull(str(fault)) from fault
        if self._taken > self._packing.most_bytes:
            raise StoreFull("the pages of the store are at their limit")

    @property
    def _taken(self) -> int:
        """Bytes of the tables and of the journal."""
        assert self._journal is not None
        assert self._tables is not None
        return self._tables.taken + self._journal.size

    def _append(self, state: bytes, entries: "list[Written]", awaited: bool, grows: bool) -> None:
        assert self._journal is not None
        if self._journal.size > self._most_journal:
            try:
                self._write_frozen()
            except StorageError as fault:
                raise StoreFull(f"the journal is full: {fault}") from fault
            self._turn()
        try:
            try:
                self._journal.append(state, entries, awaited, grows)
            except OSError as fault:
                if not (finds_no_room(fault) and self._make_room()):
                    raise
                self._journal.append(state, entries, awaited, grows)
        except OSError as fault:
            if finds_no_room(fault):
                raise StoreFull(str(fault)) from fault
            self._faulty = True
            raise StorageError(str(fault)) from fault

    def _make_room(self) -> bool:
        """Have LMDB take over what the journal holds, and begin that anew in its place."""
        if self._stuck is not None and self._state.stored >= self._stuck_size:
            # Nothing has been deleted since that was last tried in vain.
            return False
        self._merge()
        try:
            self._write_frozen()
        except StorageError:
            return False
        assert self._journal is not None
        self._journal.restart()
        return True

    def _publish(
        self, transaction: Transaction, entries: "list[Written]", changes: "list[Change]"
    ) -> None:
        self._changes += changes
        records, moved, order = self._layers[0]
        with self._lock:
            self._published += 1
            records.update(entries)
            order.add(changes)
            transaction.leave_gaps(self._gaps, self._state, changes)
            self._state = transaction.state
            self._published += 1
        moved.update(
            [
                key
                for key, new, old in changes
                if old is None or new is None or old[3] != new[3] or old[6] != new[6]
            ]
        )
        assert self._journal is not None
        if self._journal.size > self._checkpoint:
            self._turn()

    def _mend(self) -> None:
        """After a fault of the journal: all that is known into LMDB, and a new journal."""
        self._write_all()
        try:
            self._begin_journal()
        except OSError as fault:
            raise StorageError(str(fault)) from fault
        self._faulty = False

    def _begin_journal(self) -> None:
        path = next_journal(self._folder.path, self._last_journal)
        self._journal = Journal(path, self._sync, self._tally.count_sync)
        self._last_journal = path

    def written(self) -> "Iterable[bytes]":
        return (key for key, item, _ in self._changes if item is not None)

    # Sweeping and evicting

    @property
    def pending(self) -> bool:
        if self._dead or self._dead.due:
            return True
        return self._overflows(self._state) and not self._in_vain

    def _overflows(self, state: State) -> bool:
        """Whether there is more than is allowed, and not for being kept."""
        return self._evicts and state.stored > max(self._packing.allowed, state.kept)

    def _reap(self, transaction: Transaction, keys: "list[bytes]") -> "list[bytes]":
        """Remove what is dead of `keys`. Returns those that it came to: large ones take long."""
        size = 0
        for done, key in enumerate(keys, 1):
            item = transaction.reap(key)
            if item is not None:
                self._tally.count_swept(transaction.accessed(item)[1])
                size += len(item.value)
                if size > REAPED_BYTES:
                    return keys[:done]
        return keys

    def _tell_the_time(self, now: int) -> None:
        """What is to be done from time to time is due again."""
        if self._in_vain and now < self._next_seek:
            # Not with every batch: it may be long before there is anything that can go.
            self._exhausted = False
        if now >= self._next_seek or not self._next_seek:
            self._next_seek = now + _SECOND
            self._dead.due = not self._dead
        if now >= self._next_turn:
            if self._next_turn:
                self._turn_at_leisure()
            self._next_turn = now + _MINUTE
        elif self._dead.awaits_checkpoint(self._state):
            # The sweep after a flush waits for LMDB to know what was flushed.
            self._turn_at_leisure()
        elif self._exhausted:
            # All that is in LMDB has been evicted, and what is recent has to be.
            self._turn_at_leisure()
            self._exhausted = False

    def _turn_at_leisure(self) -> None:
        if self._journal is not None and self._journal.size:
            self._turn()
        self._write_stamps = True

    # Checkpoints

    @property
    def due(self) -> bool:
        return (
            self._layers[1] is not NOTHING
            or self._dead.due
            or self._write_stamps
            or self._packing.due > 0
            or len(self._sieve.visits) >= MOST_VISITS
        )

    def _turn(self) -> None:
        """Freeze what is recent, and begin a new journal; unless there is something frozen."""
        if self._layers[1] is not NOTHING:
            return
        journal = self._journal
        assert journal is not None
        try:
            if self._sync != "never":
                journal.sync()
            self._begin_journal()
        except OSError as fault:
            # Without room for a new journal this one goes on, up to its bound.
            self._faulty = not finds_no_room(fault)
            return
        journal.close()
        self._freeze([journal.path])

    def _freeze(self, old: "list[Path]") -> None:
        records, moved, order = self._layers[0]
        frozen = Frozen(records, moved, self._state, old, order)
        self._layers = (nothing_recent(self._lock, order), frozen)
        self._drop_view()

    def _sync_journal(self) -> None:
        """LMDB must not know more than the journal that is replayed over it."""
        if self._journal is not None and self._sync != "never":
            with suppress(OSError):
                self._journal.sync()

    def _merge(self) -> None:
        """
        Have the checkpoint that finds no room be of all there is: of what has been deleted since
        as well. The journal goes on, and keeps what it has; replaying it does no harm.
        """
        with self._maintenance:
            recent, frozen = self._layers
            if recent.records or (self._journal is not None and self._journal.size):
                self._sync_journal()
                records = {**frozen.records, **recent.records}
                order = Order(records, self._lock)
                merged = Frozen(records, None, self._state, frozen.journals, order)
                self._layers = (nothing_recent(self._lock, recent.order), merged)
                self._drop_view()

    def maintain(self) -> None:
        with self._maintenance:
            tables = self._tables
            if tables is None:
                raise StorageError("the store is closed")
            if self._dead.due:
                self._dead.find(tables, self._state, self._now)
            if len(self._sieve.visits) >= MOST_VISITS:
                self._sieve.fold()
            self._write_down(tables)
            while self._packing.due and self._open:
                try:
                    self._packing.repack(tables)
                except lmdb.Error:
                    # Only pages stay half empty; a checkpoint will tell if there is a fault.
                    self._packing.due = 0
                self._drop_view()

    def _write_frozen(self) -> None:
        """A checkpoint of what is frozen, in this thread, and nothing else."""
        with self._maintenance:
            if self._tables is None:
                raise StorageError("the store is closed")
            self._write_down(self._tables)

    def _write_down(self, tables: Tables) -> None:
        """Bring into LMDB what is frozen, and when it is time the stamps."""
        frozen = self._layers[1]
        if frozen is NOTHING and not self._write_stamps:
            return
        began = perf_counter()
        stamps: dict[int, int] = {}
        if self._write_stamps:
            self._sieve.fold()
            stamps = self._sieve.stamps()
        try:
            tables.check_readers()
            write(tables, frozen, stamps, self._packing.limit, self._drop_view)
            # In order, and before the next are written: an old journal that was left behind
            # would be replayed over what is newer.
            for path in frozen.journals:
                path.unlink(missing_ok=True)
        except (lmdb.Error, OSError, StorageError) as fault:
            self._panicked = isinstance(fault, lmdb.PanicError)
            self._stuck_size = self._state.stored
            kind = StoreFull if finds_no_room(fault) else StorageError
            self._stuck = kind(str(fault))
            raise self._stuck from fault
        self._sieve.written(stamps)
        self._write_stamps = False
        if frozen is not NOTHING:
            self._layers = (self._layers[0], NOTHING)
            self._dead.checkpointed(frozen.state.sequence)
            self._packing.checkpointed(tables, frozen.state.stored, self._checkpoint)
            self._tally.checkpoints += 1
            self._tally.last_checkpoint_seconds = perf_counter() - began
        self._drop_view()
        self._stuck = None

    def _write_all(self) -> None:
        """Have nothing frozen and nothing recent, in this thread."""
        self._write_stamps = True
        self._write_frozen()
        self._sync_journal()
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
            self._freeze([journal.path])
        self._write_frozen()

    def _reopen(self) -> None:
        """Close LMDB, which has panicked, and open it anew; meanwhile reads are errors."""
        with self._maintenance:
            self._drop_view()
            tables, self._tables = self._tables, None
            if tables is not None:
                tables.close()
            try:
                self._open_tables()
            except lmdb.Error as fault:
                raise StorageError(f"the store could not be opened again: {fault}") from fault
            self._panicked = False

    # For the operator

    def resize(self, limit: int) -> bool:
        if not 0 < limit <= self._most_limit:
            return False
        self._packing.resize(limit)
        return True

    def figures(self) -> "dict[str, Any]":
        state = self._state
        recent, frozen = self._layers
        pages = 0 if self._tables is None else self._tables.taken
        journal = 0 if self._journal is None else self._journal.size
        more = {
            "sync": self._sync,
            "bytes_allowed": self._packing.allowed,
            "bytes_pages": pages,
            "bytes_journal": journal,
            "records_recent": len(recent.records),
            "records_frozen": len(frozen.records),
            "eviction_hand": state.hand,
            "eviction_gate": state.gate,
            "last_place": state.place,
            "last_sequence": state.sequence,
            "damaged_records": self.damaged,
            "last_clean_stop": self._folder.last_clean_stop,
        }
        return {
            **self._tally.figures(self.name, state, self._packing.limit, pages + journal, more),
            "lru_crawler_running": int(bool(self._dead)),
            "oldest_age": self._oldest_age(),
        }

    def _oldest_age(self) -> int:
        """Seconds since the last access of the item that the hand comes to next."""
        if self._tables is None:
            return 0
        with closing(self._tables.in_order(self._state.hand)) as places:
            keys = [key for _, key in islice(places, OLDEST)]
        entries = self._entries(keys, self._now)
        return max(self._now // 1000 - entries[0].accessed, 0) if entries else 0
