"""
The default store: LMDB, one write transaction and one sync for each batch.

Two tables: `items`, key to record, and `about`, which holds the `State`. A read takes a few
microseconds and never blocks, so the reactor may do it itself. LMDB's own laws are kept here:
a write transaction begins and ends inside `perform`, on one thread; a snapshot lives no longer
than one `read`, so that freed pages are used again; the environment is opened once, after every
fork; `writemap` is never used, for with it a full disk would be a SIGBUS.

When there is no room (the limit, the map, the disk) the batch is run again a step at a time,
each in a transaction of its own: those that grow the store fail, the others do not. After a
fault of the disk the environment is opened anew before the next batch.
"""

import errno
from collections.abc import Sequence
from threading import Lock
from typing import Optional

import lmdb
from zope.interface import implementer

from mctwist.backends.folder import Folder
from mctwist.backends.transaction import Read, Snapshot, State, Transaction, look, run, run_alone
from mctwist.interfaces import IBackend, Results, StartError, Steps, StorageError, StoreFull
from mctwist.item import DamagedRecord, Item, decode, encode

#: The format of the tables; the file format is LMDB 0.9's (py-lmdb's lib_version 0).
FORMAT = 1
DEFAULT_LIMIT = 10 << 30

_STATE = b"state"
# EFBIG is RLIMIT_FSIZE's word for a full disk.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@implementer(IBackend)
class LMDBBackend:
    """
    :param sync: "always", "relaxed" or "never" (see the README, "What is kept when").
    :param limit: bytes of pages in use above which nothing may grow. The map is twice as large
        and more, so that deleting, which copies pages, always has room.
    """

    inline = True

    def __init__(self, path: str, sync: str = "always", limit: int = DEFAULT_LIMIT) -> None:
        self.name = f"lmdb:{path}"
        self.damaged = 0
        self._folder = Folder(path, "lmdb", FORMAT)
        self._sync = sync
        self._limit = limit
        self._lock = Lock()  # held by readers for a read, and while the environment is replaced
        self._env: Optional[lmdb.Environment] = None
        self._faulty = False
        self._seen = (-1, State())  # the state, and the LMDB transaction it is of

    def open(self) -> None:
        self._folder.take(unsynced=self._sync == "never")
        try:
            self._open_environment()
        except lmdb.Error as fault:
            self._folder.release()
            raise StartError(f"cannot open the store {self._folder.path}: {fault}") from None

    def _open_environment(self) -> None:
        env = lmdb.open(
            str(self._folder.path),
            map_size=2 * self._limit + (64 << 20),
            max_dbs=8,
            max_spare_txns=2,
            sync=self._sync != "never",
            metasync=self._sync == "always",
            lib_version=0,
        )
        try:
            env.reader_check()
            self._items = env.open_db(b"items")
            self._about = env.open_db(b"about")
            with env.begin() as txn:
                self._seen = (txn.id(), State(txn.get(_STATE, db=self._about)))
        except BaseException:
            env.close()
            raise
        self._env = env

    def close(self) -> None:
        with self._lock:
            env, self._env = self._env, None
        if env is not None:
            env.sync(True)
            env.close()
            self._folder.leave()

    def live(self) -> tuple[int, int]:
        state = self._seen[1]
        return state.items, state.size

    def read(self, steps: Steps, now: int) -> Results:
        with self._lock:
            if self._env is None:
                raise StorageError("the store is closed")
            txn = self._env.begin(self._items)
            try:
                return look(Snapshot(self._reader(txn), self._state(txn), now), steps)
            finally:
                txn.abort()

    def perform(self, lists: Sequence[Steps], now: int) -> list[Results]:
        if self._faulty:
            self._reopen()
        try:
            return self._attempt(lists, now)
        except StoreFull:
            return run_alone(lambda step: self._attempt([[step]], now)[0][0], lists)

    def _attempt(self, lists: Sequence[Steps], now: int) -> list[Results]:
        if self._env is None:
            raise StorageError("the store is closed")
        txn = None
        try:
            txn = self._env.begin(self._items, write=True)
            state = State(txn.get(_STATE, db=self._about))
            size = state.size
            transaction = Transaction(self._reader(txn), state, now)
            answers = run(transaction, lists)
            self._apply(txn, transaction)
            if state.size > size and self._taken(txn) > self._limit:
                raise StoreFull("the store is at its limit")
            commit, txn = txn.commit, None
            commit()
            return answers
        except lmdb.Error as fault:
            raise self._trouble(fault) from fault
        finally:
            if txn is not None:
                txn.abort()

    def _apply(self, txn: "lmdb.Transaction[bytes]", transaction: Transaction) -> None:
        changed = False
        for key, _, item in transaction.finish():
            changed = True
            if item is None:
                txn.delete(key)
            else:
                txn.put(key, encode(key, item))
        record = transaction.state.encode()
        if changed or record != txn.get(_STATE, db=self._about):
            txn.put(_STATE, record, db=self._about)

    def _reader(self, txn: "lmdb.Transaction[bytes]") -> Read:
        get = txn.get

        def read(key: bytes) -> Optional[Item]:
            record = get(key)
            if record is None:
                return None
            try:
                return decode(key, record)
            except DamagedRecord:
                self.damaged += 1
                return None

        return read

    def _state(self, txn: "lmdb.Transaction[bytes]") -> State:
        seen, state = self._seen
        if txn.id() != seen:
            state = State(txn.get(_STATE, db=self._about))
            self._seen = (txn.id(), state)
        return state

    def _taken(self, txn: "lmdb.Transaction[bytes]") -> int:
        """Bytes of the pages in use; the file itself never shrinks."""
        pages = 0
        for table in (self._items, self._about):
            stat = txn.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * stat["psize"]

    def _trouble(self, fault: lmdb.Error) -> StorageError:
        """What `fault` means; all but a lack of room puts the environment in doubt."""
        if isinstance(fault, (lmdb.MapFullError, lmdb.TxnFullError)) or fault.code in _NO_ROOM:
            return StoreFull(str(fault))
        self._faulty = True
        return StorageError(str(fault))

    def _reopen(self) -> None:
        with self._lock:
            if self._env is not None:
                self._env.close()
                self._env = None
            try:
                self._open_environment()
            except lmdb.Error as fault:
                raise StorageError(f"the store could not be opened again: {fault}") from fault
            self._faulty = False
