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
from pathlib import Path
from threading import Event, Lock
from typing import Any, Optional

import lmdb
from zope.interface import implementer

from mctwist.backends.folder import Folder
from mctwist.backends.journal import Entry, Journal, journals, next_journal, replay
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
#: ... and at which batches wait for the one that is under way, for at most so many seconds.
MOST_JOURNAL = 4 * CHECKPOINT
CHECKPOINT_TIMEOUT = 60.0

_STATE = b"state"
_ELSEWHERE: Any = object()
# EFBIG is RLIMIT_FSIZE's word for a full disk.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_Records = dict[bytes, Optional[bytes]]


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
        self._checkpoint = checkpoint
        self._lock = Lock()  # held while what reads look into is replaced, or taken hold of
        self._view_lock = Lock()  # held while the view is read
        self._view: Optional[Snapshot] = None  # kept until the next checkpoint
        self._view_txn: Optional[lmdb.Transaction[bytes]] = None
        self._env: Optional[lmdb.Environment] = None
        self._journal: Optional[Journal] = None
        self._recent: _Records = {}
        self._frozen: Optional[_Records] = None
        self._frozen_state = b""
        self._old: list[Path] = []  # the journals of what is frozen
        self._written = Event()  # nothing is frozen
        self._written.set()
        self._state = State()
        self._taken = 0  # bytes of LMDB's pages
        self._stuck: Optional[StorageError] = None  # why the last checkpoint failed
        self._faulty = False  # the journal has failed, and must not be appended to

    # Opening and closing

    def open(self) -> None:
        self.damaged = 0
        self._folder.take(unsynced=self._sync == "never")
        try:
            self._open_environment()
            self._replay()
            self._begin_journal()
        except (lmdb.Error, OSError, StorageError) as fault:
            self._close_environment()
            self._folder.release()
            raise StartError(f"cannot open the store {self._folder.path}: {fault}") from None

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
                state = State(txn.get(_STATE, db=self._about))
                self._taken = self._pages(txn)
        except BaseException:
            env.close()
            raise
        self._env = env
        self._state = state

    def _replay(self) -> None:
        """Bring into LMDB what the journals hold, and remove them."""
        self._old = journals(self._folder.path)
        records: _Records = {}
        for path in self._old:
            for state, entries in replay(path, State.SIZE):
                records.update(entries)
                self._state = State(state)
        self._recent = records
        self._freeze()
        self.maintain()

    def close(self) -> None:
        if self._env is None:
            return
        try:
            # What cannot be written now is in the journals, and is written at the next opening.
            self._written.wait(CHECKPOINT_TIMEOUT)
            self._settle()
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

    # Reading

    @property
    def notice(self) -> Optional[str]:
        return self._folder.notice

    def live(self) -> tuple[int, int]:
        return self._state.items, self._state.size

    def read(self, steps: Steps, now: int) -> Results:
        # One reader at a time has the view that is kept; in the reactor, that is every one.
        if self._view_lock.acquire(False):
            try:
                view = self._view or self._make_view()
                view.renew(self._state, now)
                return look(view, steps)
            finally:
                self._view_lock.release()
        with self._lock:
            txn = self._begin()
            snapshot = Snapshot(self._reader(txn), self._state, now)
        try:
            return look(snapshot, steps)
        finally:
            txn.abort()

    def _make_view(self) -> Snapshot:
        with self._lock:
            self._view_txn = self._begin()
            self._view = Snapshot(self._reader(self._view_txn), self._state, 0)
            return self._view

    def _drop_view(self) -> None:
        """What the view looks into has changed; it would also keep pages from being reused."""
        with self._view_lock:
            self._view = None
            txn, self._view_txn = self._view_txn, None
            if txn is not None:
                txn.abort()

    def _begin(self) -> "lmdb.Transaction[bytes]":
        if self._env is None:
            raise StorageError("the store is closed")
        return self._env.begin(self._items)

    def _reader(self, txn: "lmdb.Transaction[bytes]") -> Read:
        stored = txn.get
        recent = self._recent
        frozen = self._frozen

        def read(key: bytes) -> Optional[Item]:
            record = recent.get(key, _ELSEWHERE)
            if record is _ELSEWHERE:
                record = frozen.get(key, _ELSEWHERE) if frozen else _ELSEWHERE
                if record is _ELSEWHERE:
                    record = stored(key)
            if record is None:
                return None
            try:
                return decode(key, record)
            except DamagedRecord:
                self.damaged += 1
                return None

        return read

    # Writing

    def perform(self, lists: Sequence[Steps], now: int) -> list[Results]:
        if self._faulty:
            self._mend()
        try:
            return self._attempt(lists, now)
        except StoreFull:
            return run_alone(lambda step: self._attempt([[step]], now)[0][0], lists)

    def _attempt(self, lists: Sequence[Steps], now: int) -> list[Results]:
        before = self._state
        state = before.copy()
        txn = self._begin()
        try:
            transaction = Transaction(self._reader(txn), state, now)
            answers = run(transaction, lists)
        finally:
            txn.abort()
        entries = [
            (key, None if item is None else encode(key, item)) for key, item in transaction.finish()
        ]
        record = state.encode()
        if entries or record != before.encode():
            if state.size > before.size:
                self._check_room()
            self._append(record, entries)
            with self._lock:
                self._recent.update(entries)
                self._state = state
            assert self._journal is not None
            if self._journal.size > self._checkpoint and self._frozen is None:
                self._turn()
        return answers

    def _check_room(self) -> None:
        assert self._journal is not None
        if self._stuck is not None:
            raise StoreFull(str(self._stuck))
        if self._taken + self._journal.size > self._limit:
            raise StoreFull("the store is at its limit")

    def _append(self, state: bytes, entries: "list[Entry]") -> None:
        assert self._journal is not None
        if self._journal.size > MOST_JOURNAL and not self._written.wait(CHECKPOINT_TIMEOUT):
            raise StoreFull("the journal is full, and its checkpoint does not end")
        try:
            self._journal.append(state, entries)
        except OSError as fault:
            if fault.errno in _NO_ROOM:
                raise StoreFull(str(fault)) from fault
            self._faulty = True
            raise StorageError(str(fault)) from fault

    def _mend(self) -> None:
        """After a fault of the journal: all that is known into LMDB, and a new journal."""
        self._written.wait(CHECKPOINT_TIMEOUT)
        self._settle()
        try:
            self._begin_journal()
        except OSError as fault:
            raise StorageError(str(fault)) from fault
        self._faulty = False

    # Checkpoints

    @property
    def due(self) -> bool:
        return self._frozen is not None

    def _begin_journal(self) -> None:
        self._journal = Journal(next_journal(self._folder.path), self._sync)

    def _freeze(self) -> None:
        """What is recent is for the next checkpoint."""
        with self._lock:
            self._frozen_state = self._state.encode()
            self._frozen, self._recent = self._recent, {}
        self._drop_view()

    def _turn(self) -> None:
        """Freeze what is recent, and begin a new journal for what comes."""
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
        self._old = [journal.path]
        self._written.clear()
        self._freeze()

    def maintain(self) -> None:
        frozen = self._frozen
        if frozen is None:
            return
        try:
            if self._env is None:
                self._reopen()
            self._write(frozen)
            # In order, and before the next are written: an old journal that was left behind
            # would be replayed over what is newer.
            for path in self._old:
                path.unlink(missing_ok=True)
        except (lmdb.Error, OSError, StorageError) as fault:
            self._stuck = self._trouble(fault)
            self._written.set()
            raise self._stuck from fault
        self._old = []
        with self._lock:
            self._frozen = None
        self._drop_view()
        self._stuck = None
        self._written.set()

    def _settle(self) -> None:
        """Have nothing frozen and nothing recent, in this thread."""
        self.maintain()
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
            self._old.append(journal.path)
        self._freeze()
        self.maintain()

    def _write(self, records: _Records) -> None:
        """One transaction of LMDB's, in the order of the keys, which is the order of its pages."""
        assert self._env is not None
        with self._env.begin(self._items, write=True) as txn:
            for key in sorted(records):
                record = records[key]
                if record is None:
                    txn.delete(key)
                else:
                    txn.put(key, record)
            txn.put(_STATE, self._frozen_state, db=self._about)
            taken = self._pages(txn)
        self._taken = taken

    def _pages(self, txn: "lmdb.Transaction[bytes]") -> int:
        """Bytes of the pages in use; the file itself never shrinks."""
        pages = 0
        for table in (self._items, self._about):
            stat = txn.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * stat["psize"]

    def _trouble(self, fault: Exception) -> StorageError:
        """What `fault` means; one of LMDB's but a lack of room puts the environment in doubt."""
        if isinstance(fault, StorageError):
            return fault
        code = fault.code if isinstance(fault, lmdb.Error) else getattr(fault, "errno", None)
        if isinstance(fault, (lmdb.MapFullError, lmdb.TxnFullError)) or code in _NO_ROOM:
            return StoreFull(str(fault))
        if isinstance(fault, lmdb.Error):
            try:
                self._reopen()
            except StorageError as worse:
                return worse
        return StorageError(str(fault))

    def _reopen(self) -> None:
        """Close the environment and open it anew, while nobody reads."""
        self._drop_view()
        with self._lock:
            state, env, self._env = self._state, self._env, None
            if env is not None:
                env.close()
            try:
                self._open_environment()
            except lmdb.Error as fault:
                raise StorageError(f"the store could not be opened again: {fault}") from fault
            finally:
                self._state = state
