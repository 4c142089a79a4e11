"""
A batch in the making, and a snapshot to read: the two transactions, for every backend.

A `Transaction` reads through to the store and writes nothing to it. What the operations write
collects here, one state for each key, and the backend applies the whole of it at the end. So a
step that fails is rolled back by forgetting, a batch for which there is no room has touched
nothing, and a key written a hundred times in a batch reaches the disk once.

`State` is what the store knows of itself: the last numbers given out, what has been flushed,
and how much is live. It is a record in the store, written by the same commit as the items it
counts, so no number is ever given out twice and no flush comes undone.

Flushing marks and never removes: everything up to a sequence number is gone. A deadline still to
come is kept beside it. A reader whose `now` has reached it takes all that it sees for gone; the
first batch past it turns it into the mark.
"""

from collections.abc import Sequence
from itertools import islice
from struct import Struct
from typing import Any, Callable, Optional
from zlib import crc32

from zope.interface import implementer

from mctwist.interfaces import (
    MOST_BYTES,
    MOST_STEPS,
    ITransaction,
    NeedsWrite,
    Results,
    Step,
    Steps,
    StorageError,
)
from mctwist.item import BYTES, DamagedRecord, Item, size_in_memcached

#: A batch stops starting lists when its results hold this many bytes; the rest waits.
MOST_BATCH_BYTES = 16 << 20

Read = Callable[[bytes], Optional[Item]]

_STATE = Struct("<QQQqQQQ")
_CHECKSUM = Struct("<I")
_new = tuple.__new__
_UNREAD: Any = object()
_FLUSH = b""  # stands for a flush where keys stand; no key is empty


class State:
    """
    What the store knows of itself.

    :ivar sequence: the last sequence number given out.
    :ivar place: the last place given out.
    :ivar flushed: items up to this sequence number are gone.
    :ivar deadline: milliseconds since the epoch at which all stored before is flushed; 0: none.
    :ivar items: items that are live; :ivar size: their bytes, as memcached counts.
    :ivar dead: items that are flushed but still stored.
    """

    __slots__ = ("dead", "deadline", "flushed", "items", "place", "sequence", "size")
    SIZE = _STATE.size + _CHECKSUM.size
    sequence: int
    place: int
    flushed: int
    deadline: int
    items: int
    size: int
    dead: int

    def __init__(self, record: Optional[bytes] = None) -> None:
        """
        :param record: what `encode` made; None: of an empty store.
        :raises DamagedRecord: it is not whole.
        """
        fields = _STATE.unpack(_verified(record)) if record else (0,) * 7
        (
            self.sequence,
            self.place,
            self.flushed,
            self.deadline,
            self.items,
            self.size,
            self.dead,
        ) = fields

    def encode(self) -> bytes:
        body = _STATE.pack(
            self.sequence,
            self.place,
            self.flushed,
            self.deadline,
            self.items,
            self.size,
            self.dead,
        )
        return body + _CHECKSUM.pack(crc32(body))

    def copy(self) -> "State":
        state = State()
        state.restore(self)
        return state

    def restore(self, other: "State") -> None:
        """Be as `other` is."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def flushed_at(self, now: int) -> int:
        """The sequence number up to which items are gone at `now`."""
        return self.sequence if self.deadline and self.deadline <= now else self.flushed

    def flush(self) -> None:
        self.flushed = self.sequence
        self.deadline = 0
        self.dead += self.items
        self.items = self.size = 0


def _verified(record: bytes) -> bytes:
    body, checksum = record[: _STATE.size], record[_STATE.size :]
    if len(body) < _STATE.size or checksum != _CHECKSUM.pack(crc32(body)):
        raise DamagedRecord("the state of the store does not verify")
    return body


@implementer(ITransaction)
class Snapshot:
    """One state of the store, to read."""

    __slots__ = ("_flushed", "_read", "_state", "now")

    def __init__(self, read: Read, state: State, now: int) -> None:
        self._read = read
        self.renew(state, now)

    def renew(self, state: State, now: int) -> None:
        """Show what `read` reads as the store in `state`, at `now`."""
        self._state = state
        self._flushed = state.flushed_at(now) if state.deadline else state.flushed
        self.now = now

    def get(self, key: bytes) -> Optional[Item]:
        item = self._read(key)
        if item is None or item.sequence <= self._flushed or 0 < item.expiry <= self.now:
            return None
        return item

    def put(
        self,
        key: bytes,
        value: bytes,
        flags: int,
        expiry: int,
        marks: int = 0,
        cas: Optional[int] = None,
    ) -> Item:
        raise NeedsWrite

    def delete(self, key: bytes) -> None:
        raise NeedsWrite

    def flush(self, deadline: int) -> None:
        raise NeedsWrite

    def counts(self) -> tuple[int, int]:
        state = self._state
        return (state.items, state.size) if self._flushed == state.flushed else (0, 0)


@implementer(ITransaction)
class Transaction:
    """
    A batch of steps over one state of the store.

    :ivar state: the store's `State`, brought up to date as the steps run.
    :ivar replaced: what the running step has replaced; whoever runs the steps empties it.
    """

    __slots__ = ("_accessed", "_items", "_read", "_stored", "now", "replaced", "state")

    def __init__(self, read: Read, state: State, now: int) -> None:
        if state.deadline and state.deadline <= now:
            state.flush()
        self._read = read
        self.state = state
        self.now = now
        self._accessed = now // 1000
        self._items: dict[bytes, Optional[Item]] = {}  # as they are now, stored or not
        self._stored: dict[bytes, Optional[Item]] = {}  # as they were, of the keys written
        self.replaced: list[tuple[bytes, Any]] = []

    def _raw(self, key: bytes) -> Optional[Item]:
        item: Optional[Item] = self._items.get(key, _UNREAD)
        if item is _UNREAD:
            item = self._items[key] = self._read(key)
        return item

    def get(self, key: bytes) -> Optional[Item]:
        item = self._raw(key)
        if item is None or item.sequence <= self.state.flushed or 0 < item.expiry <= self.now:
            return None
        return item

    def put(
        self,
        key: bytes,
        value: bytes,
        flags: int,
        expiry: int,
        marks: int = 0,
        cas: Optional[int] = None,
    ) -> Item:
        old = self._raw(key)
        self._replace(key, old)
        state = self.state
        sequence = state.sequence = state.sequence + 1
        if old is None:
            place = state.place = state.place + 1
        else:
            place = old.place
        if cas is None:
            cas = sequence
        fields = (BYTES, marks, flags, expiry, cas, sequence, place, self._accessed, value)
        item = self._items[key] = _new(Item, fields)
        return item

    def delete(self, key: bytes) -> None:
        self._replace(key, self._raw(key))
        self._items[key] = None

    def _replace(self, key: bytes, old: Optional[Item]) -> None:
        """Remember what a step is about to replace, and what was stored before the batch."""
        self.replaced.append((key, old))
        if key not in self._stored:
            self._stored[key] = old

    def flush(self, deadline: int) -> None:
        self.replaced.append((_FLUSH, self.state.copy()))
        if deadline > self.now:
            self.state.deadline = deadline
        else:
            self.state.flush()

    def counts(self) -> tuple[int, int]:
        state = self.state.copy()
        self._settle(state)
        return state.items, state.size

    def rollback(self) -> None:
        """The running step has failed: its writes have not happened."""
        for key, old in reversed(self.replaced):
            if key == _FLUSH:
                self.state.restore(old)
            else:
                self._items[key] = old
        self.replaced.clear()

    def finish(self) -> "list[tuple[bytes, Optional[Item]]]":
        """
        Settle the counts.

        :return: the keys that have to change, with their items; None: remove it.
        """
        self._settle(self.state)
        items = self._items
        return [(key, items[key]) for key, old in self._stored.items() if items[key] is not old]

    def _settle(self, state: State) -> None:
        """Bring the counts up to date with what the batch has written."""
        flushed, items = state.flushed, self._items
        for key, old in self._stored.items():
            new = items[key]
            if new is not None:
                if new.sequence > flushed:
                    state.items += 1
                    state.size += size_in_memcached(key, len(new.value), new.flags)
                else:
                    state.dead += 1
            if old is not None:
                if old.sequence > flushed:
                    state.items -= 1
                    state.size -= size_in_memcached(key, len(old.value), old.flags)
                else:
                    state.dead -= 1


def run(transaction: Transaction, lists: Sequence[Steps]) -> list[Results]:
    """
    The results of the lists, each as far as an instalment reaches.

    A step that raises leaves its exception as its result and no trace in the transaction.
    """
    answers: list[Results] = []
    total = 0
    replaced = transaction.replaced
    for steps in lists:
        results: Results = []
        answers.append(results)
        if total > MOST_BATCH_BYTES:
            continue
        size = 0
        for operation, key, arguments, _ in islice(steps, MOST_STEPS):
            try:
                result = operation(transaction, key, *arguments)
            except Exception as fault:
                transaction.rollback()
                result = fault
            else:
                if replaced:
                    replaced.clear()
                if result.__class__ is Item:
                    size += len(result.value)
            results.append(result)
            if size > MOST_BYTES:
                break
        total += size
    return answers


def run_alone(attempt: Callable[[Step], Any], lists: Sequence[Steps]) -> list[Results]:
    """
    As `run`, with each step a batch of its own: what is done when there is no room for all.

    :param attempt: performs one step; whatever it raises is that step's result.
    """
    answers: list[Results] = []
    size = 0
    for steps in lists:
        answers.append([])
        for step in islice(steps, MOST_STEPS):
            if size > MOST_BYTES:
                break
            try:
                result = attempt(step)
            except StorageError as fault:
                result = fault
            answers[-1].append(result)
            if result.__class__ is Item:
                size += len(result.value)
    return answers


def look(snapshot: Snapshot, steps: Steps) -> Results:
    """
    The results of an instalment of `steps`.

    :raises NeedsWrite: a step wants to write. Whatever else a step raises comes through too.
    """
    results: Results = []
    size = 0
    for operation, key, arguments, _ in islice(steps, MOST_STEPS):
        result = operation(snapshot, key, *arguments)
        results.append(result)
        if result.__class__ is Item:
            size += len(result.value)
            if size > MOST_BYTES:
                break
    return results
