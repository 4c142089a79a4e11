"""
The default store: LMDB, behind a journal.

    perform ->  journal (durable: the batch has happened)  ->  recent  ->  reads
                                                                 |  checkpoint, many batches
                                                                 v
                                                     LMDB's tables `items` and `about`

A batch is one frame of the journal and one fdatasync. Its records are then in `recent`, a dict,
which reads look into before they look into LMDB. When the journal has grown to `CHECKPOINT`
bytes, `recent` is frozen, a new journal begun, and `maintain`, in another thread, writes what is
frozen to LMDB in one transaction; then the old journal goes. LMDB alone would write every page a
batch touches, and sync twice, for every batch: a tenth of the throughput.

Opening replays what journals there are, at most a few times `CHECKPOINT`, and so does the opening
after a crash: there is no other recovery.

A read takes a few microseconds and never waits for the disk, so the reactor may do it itself.
LMDB's laws are kept here: a write transaction stays on its thread; a snapshot lives no longer
than one batch, or until the next checkpoint, so that freed pages are used again; the environment
is opened once, after every fork; `writemap` is never used: with it a full disk would be a SIGBUS.

When there is no room (the limit, the disk) a batch is run again a step at a time, each a batch of
its own: those that grow the store fail, the others do not.
"""

import errno
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Callable, NamedTuple, Optional

import lmdb
from zope.interface import implementer

from mctwist.backends.folder import Folder
from mctwist.backends.journal import Entry, Journal, journals, next_journal, replay, sync_file
from mctwist.backends.transaction import (
    Read,
    Snapshot,
    State,
    Transaction,
    look,
    run,
    run_alone,
)
from mctwist.interfaces import IBackend, Results, StartError, Steps, StorageError, StoreFull
from mctwist.item import DamagedRecord, Item, decode, encode

#: The format of journal and tables; the file format is LMDB 0.9's (py-lmdb's lib_version 0).
FORMAT = 1
DEFAULT_LIMIT = 10 << 30

#: Bytes of journal after which it is time for a checkpoint, ...
CHECKPOINT = 16 << 20
#: ... and at which the next batch waits for the one that is under way.
MOST_JOURNAL = 4 * CHECKPOINT

_STATE = b"state"
_ELSEWHERE: Any = object()
# EFBIG is RLIMIT_FSIZE's word for a full disk.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_Records = dict[bytes, Optional[bytes]]


class Frozen(NamedTuple):
    """
    What a checkpoint is to write: records, the state of the store with them, and the journals
    they are from, which it removes.
    """

    records: _Records
    state: bytes
    journals: "list[Path]"


_NOTHING = Frozen({}, b"", [])


@implementer(IBackend)
class LMDBBackend:
    """
    :param sync: "always", "relaxed" or "never" (see the README, "What is kept when").
    :param limit: bytes of pages and of journal above which nothing may grow. LMDB's map is twice
        as large and more, so that deleting, which copies pages, always has room.
    :param checkpoint: as `CHECKPOINT`.
    """

    inline = True

    def __init__(
        self,
        path: str,
        sync: str = "always",
        limit: int = DEFAULT_LIMIT,
        checkpoint: int = CHECKPOINT,
    ) -> None:
        self.name = f"lmdb:{path}"
        self.damaged = 0
        self._folder = Folder(path, "lmdb", FORMAT)
        self._sync = sync
        self._limit = limit
        # A small store is not to be all journal.
        self._checkpoint = min(checkpoint, limit // 8)
        self._open = False
        self._env: Optional[lmdb.Environment] = None
        self._journal: Optional[Journal] = None
        self._last_journal: Optional[Path] = None
        self._state = State()
        # What reads look into before LMDB, the recent and the frozen, replaced as one: whoever
        # has taken hold of both and then begins a transaction misses nothing.
        self._layers: tuple[_Records, Frozen] = ({}, _NOTHING)
        self._lock = Lock()  # held while a batch is published, and while the view is read
        self._published = 0  # odd while a batch is being published
        self._view: Optional[Snapshot] = None  # kept from one read to the next
        self._end_view: Optional[Callable[[], None]] = None
        self._maintenance = Lock()  # held by a checkpoint
        self._taken = 0  # bytes of LMDB's pages
        self._stuck: Optional[StorageError] = None  # why the last checkpoint failed, ...
        self._stuck_size = 0  # ... and how large the store was
        self._panicked = False  # LMDB wants to be opened anew
        self._faulty = False  # the journal has failed, and must not be appended to

    # Opening and closing

    def open(self) -> None:
        self.damaged = 0
        self._folder.take(unsynced=self._sync == "never")
        try:
            if self._folder.new:
                for path in (*journals(self._folder.path), *self._folder.path.glob("*.mdb")):
                    path.unlink()
            self._open_environment()
            if self._folder.new:
                assert self._env is not None
                self._env.sync(True)
                self._folder.made()
            self._replay()
            self._begin_journal()
        except (lmdb.Error, OSError, StorageError, DamagedRecord) as fault:
            self._close_environment()
            self._folder.release()
            raise StartError(f"cannot open the store {self._folder.path}: {fault}") from None
        self._open = True

    def _open_environment(self) -> None:
        env = lmdb.open(
            str(self._folder.path),
            map_size=2 * self._limit + (64 << 20),
            max_dbs=8,
            max_spare_txns=2,
            sync=self._sync != "never",
            lib_version=0,
        )
        try:
            env.reader_check()
            self._items = env.open_db(b"items")
            self._about = env.open_db(b"about")
            with env.begin() as txn:
                record = txn.get(_STATE, db=self._about)
                self._state = State(record)
                self._taken = self._pages(txn)
        except BaseException:
            env.close()
            raise
        self._env = env

    def _replay(self) -> None:
        """Bring into LMDB what the journals hold, and remove them."""
        old = journals(self._folder.path)
        records: _Records = {}
        for path in old:
            sync_file(path)
            for state, entries in replay(path, State.SIZE):
                records.update(entries)
                self._state = State(state)
        self._layers = ({}, Frozen(records, self._state.encode(), old))
        self.maintain()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            # What cannot be written now is in the journals, and is written at the next opening.
            self._settle()
            assert self._env is not None
            self._env.sync(True)
            clean = True
        except (lmdb.Error, OSError, StorageError):
            clean = False
        self._close_environment()
        if clean:
            self._folder.leave()
        else:
            self._folder.release()

    def _close_environment(self) -> None:
        self._drop_view()
        env, self._env = self._env, None
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
        if env is not None:
            env.close()

    @property
    def notice(self) -> Optional[str]:
        return self._folder.notice

    # Reading

    def live(self) -> tuple[int, int]:
        return self._state.items, self._state.size

    def read(self, steps: Steps, now: int) -> Results:
        # One reader at a time has the view; in the reactor, every one does.
        if self._lock.acquire(False):
            try:
                view = self._view or self._make_view()
                view.renew(self._state, now)
                return look(view, steps)
            finally:
                self._lock.release()
        # The others do without the lock, unless that shows them half a batch.
        published = self._published
        results = self._look(steps, now)
        if len(results) == 1 or (published == self._published and published % 2 == 0):
            return results
        with self._lock:
            return self._look(steps, now)

    def _look(self, steps: Steps, now: int) -> Results:
        state = self._state
        read, end = self._begin()
        try:
            return look(Snapshot(read, state, now), steps)
        finally:
            end()

    def _begin(self) -> "tuple[Read, Callable[[], None]]":
        """What reads the store as it is now, and what ends that."""
        recent, (frozen, _, _) = self._layers
        if self._env is None:
            raise StorageError("the store is closed")
        txn = self._env.begin(self._items)
        stored = txn.get

        def read(key: bytes) -> Optional[Item]:
            record = recent.get(key, _ELSEWHERE)
            if record is _ELSEWHERE:
                record = frozen.get(key, _ELSEWHERE)
                if record is _ELSEWHERE:
                    record = stored(key)
            if record is None:
                return None
            try:
                return decode(key, record)
            except DamagedRecord:
                self.damaged += 1
                return None

        def end() -> None:
            # py-lmdb frees a reader's slot only with the object, so nobody may keep that: not
            # the traceback of a step's exception either.
            nonlocal txn, stored
            txn.abort()
            del txn, stored

        return read, end

    def _make_view(self) -> Snapshot:
        read, self._end_view = self._begin()
        self._view = Snapshot(read, self._state, 0)
        return self._view

    def _drop_view(self) -> None:
        """What the view looks into has changed; it would also keep pages from being reused."""
        with self._lock:
            self._view = None
            end, self._end_view = self._end_view, None
            if end is not None:
                end()

    # Writing

    def perform(self, lists: Sequence[Steps], now: int) -> list[Results]:
        if self._faulty:
            self._mend()
        if self._panicked:
            self._reopen()
        if self._stuck is not None:
            self._merge()
        try:
            return self._attempt(lists, now)
        except StoreFull:
            return run_alone(lambda step: self._attempt([[step]], now)[0][0], lists)

    def _attempt(self, lists: Sequence[Steps], now: int) -> list[Results]:
        before = self._state
        state = before.copy()
        read, end = self._begin()
        try:
            transaction = Transaction(read, state, now)
            answers = run(transaction, lists)
        finally:
            end()
        entries = [
            (key, None if item is None else encode(key, item)) for key, item in transaction.finish()
        ]
        record = state.encode()
        if entries or record != before.encode():
            if state.size > before.size:
                self._check_room()
            self._append(record, entries)
            self._publish(state, entries)
        return answers

    def _check_room(self) -> None:
        assert self._journal is not None
        if self._stuck is not None:
            raise StoreFull(str(self._stuck))
        if self._taken + self._journal.size <= self._limit:
            return
        # What has been deleted since the last checkpoint may have made room.
        if self._journal.size:
            self._turn()
        try:
            self.maintain()
        except StorageError as fault:
            raise StoreFull(str(fault)) from fault
        if self._taken + self._journal.size > self._limit:
            raise StoreFull("the store is at its limit")

    def _append(self, state: bytes, entries: "list[Entry]") -> None:
        assert self._journal is not None
        if self._journal.size > MOST_JOURNAL:
            try:
                self.maintain()
            except StorageError as fault:
                raise StoreFull(f"the journal is full: {fault}") from fault
            self._turn()
        try:
            try:
                self._journal.append(state, entries)
            except OSError as fault:
                if not (_finds_no_room(fault) and self._make_room()):
                    raise
                self._journal.append(state, entries)
        except OSError as fault:
            if _finds_no_room(fault):
                raise StoreFull(str(fault)) from fault
            self._faulty = True
            raise StorageError(str(fault)) from fault

    def _make_room(self) -> bool:
        """Have LMDB take over what the journal holds, and begin that anew in its place."""
        if self._stuck is not None and self._state.size >= self._stuck_size:
            # Nothing has been deleted since that was last tried in vain.
            return False
        self._merge()
        try:
            self.maintain()
        except StorageError:
            return False
        assert self._journal is not None
        self._journal.restart()
        return True

    def _publish(self, state: State, entries: "list[Entry]") -> None:
        with self._lock:
            self._published += 1
            self._layers[0].update(entries)
            self._state = state
            self._published += 1
        assert self._journal is not None
        if self._journal.size > self._checkpoint:
            self._turn()

    def _mend(self) -> None:
        """After a fault of the journal: all that is known into LMDB, and a new journal."""
        self._settle()
        try:
            self._begin_journal()
        except OSError as fault:
            raise StorageError(str(fault)) from fault
        self._faulty = False

    def _begin_journal(self) -> None:
        path = next_journal(self._folder.path, self._last_journal)
        self._journal = Journal(path, self._sync)
        self._last_journal = path

    # Checkpoints

    @property
    def due(self) -> bool:
        return self._layers[1] is not _NOTHING

    def _turn(self) -> None:
        """Freeze what is recent, and begin a new journal; unless there is something frozen."""
        if self.due:
            return
        journal = self._journal
        assert journal is not None
        try:
            if self._sync != "never":
                journal.sync()
            self._begin_journal()
        except OSError:
            # No room for a new journal: this one goes on, up to its bound.
            return
        journal.close()
        self._freeze([journal.path])

    def _freeze(self, old: "list[Path]") -> None:
        self._layers = ({}, Frozen(self._layers[0], self._state.encode(), old))
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
            if recent:
                self._sync_journal()
                records = {**frozen.records, **recent}
                self._layers = ({}, Frozen(records, self._state.encode(), frozen.journals))
                self._drop_view()

    def maintain(self) -> None:
        with self._maintenance:
            frozen = self._layers[1]
            if frozen is _NOTHING:
                return
            try:
                self._write(frozen)
                # In order, and before the next are written: an old journal that was left behind
                # would be replayed over what is newer.
                for path in frozen.journals:
                    path.unlink(missing_ok=True)
            except (lmdb.Error, OSError, StorageError) as fault:
                self._panicked = isinstance(fault, lmdb.PanicError)
                self._stuck_size = self._state.size
                kind = StoreFull if _finds_no_room(fault) else StorageError
                self._stuck = kind(str(fault))
                raise self._stuck from fault
            self._layers = (self._layers[0], _NOTHING)
            self._drop_view()
            self._stuck = None

    def _settle(self) -> None:
        """Have nothing frozen and nothing recent, in this thread."""
        self.maintain()
        self._sync_journal()
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
            self._freeze([journal.path])
        self.maintain()

    def _write(self, frozen: Frozen) -> None:
        try:
            self._commit(frozen.records, frozen.state)
        except lmdb.Error as fault:
            if not _finds_no_room(fault):
                raise
            # A page that is given up is used again from the next transaction on.
            removals = {key: None for key, record in frozen.records.items() if record is None}
            self._commit({**removals}, frozen.state)
            self._commit(frozen.records, frozen.state)

    def _commit(self, records: _Records, state: bytes) -> None:
        """One transaction of LMDB's, in the order of the keys, which is the order of its pages."""
        if self._env is None:
            raise StorageError("the store is closed")
        with self._env.begin(self._items, write=True) as txn:
            for key in sorted(records):
                record = records[key]
                if record is None:
                    txn.delete(key)
                else:
                    txn.put(key, record)
            txn.put(_STATE, state, db=self._about)
            taken = self._pages(txn)
        self._taken = taken

    def _pages(self, txn: "lmdb.Transaction[bytes]") -> int:
        """Bytes of the pages in use; the file itself never shrinks."""
        pages = 0
        for table in (self._items, self._about):
            stat = txn.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * stat["psize"]

    def _reopen(self) -> None:
        """Close LMDB, which has panicked, and open it anew; meanwhile reads are errors."""
        with self._maintenance:
            self._drop_view()
            state, env, self._env = self._state, self._env, None
            if env is not None:
                env.close()
            try:
                self._open_environment()
            except (lmdb.Error, DamagedRecord) as fault:
                raise StorageError(f"the store could not be opened again: {fault}") from fault
            finally:
                self._state = state
            self._panicked = False


def _finds_no_room(fault: Exception) -> bool:
    if isinstance(fault, lmdb.Error):
        full = isinstance(fault, (lmdb.MapFullError, lmdb.TxnFullError))
        # EIO is what LMDB makes of a write that was cut short, which is how a full disk begins.
        return full or fault.code in _NO_ROOM or fault.code == errno.EIO
    return isinstance(fault, OSError) and fault.errno in _NO_ROOM
