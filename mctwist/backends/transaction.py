"""
A batch in the making, and a snapshot to read: the two transactions, for every backend.

A `Transaction` reads through to the store and writes nothing to it. What the operations write
collects here, one state for each key, and the backend applies the whole of it at the end. So a
step that fails is rolled back by forgetting, a batch for which there is no room has touched
nothing, and a key written a hundred times in a batch reaches the disk once. The counts in its
`State` are brought up to date with every write.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Callable, Optional

from zope.interface import implementer

from mctwist.backends.sieve import Sieve, seen, stamp
from mctwist.backends.state import State
from mctwist.interfaces import (
    MOST_BYTES,
    MOST_STEPS,
    VALUED,
    ITransaction,
    Many,
    NeedsWrite,
    Results,
    Step,
    Steps,
    StorageError,
    StoreFull,
)
from mctwist.item import BYTES, Entry, Item, size_in_memcached, without_value

#: A batch stops starting lists when its results hold this many bytes; the rest waits.
MOST_BATCH_BYTES = 16 << 20

Read = Callable[[bytes], Optional[Item]]

#: What a batch has changed: a key, what it now holds, and what it held before the batch.
Change = tuple[bytes, Optional[Item], Optional[Item]]

_new = tuple.__new__
_UNREAD: Any = object()
_FLUSH = b""  # stands for a flush where keys stand; no key is empty


@implementer(ITransaction)
class Snapshot:
    """One state of the store, to read."""

    __slots__ = ("_flushed", "_prefixes", "_read", "_stamp_of", "_state", "now", "stamp", "visits")

    def __init__(
        self, read: Read, stamp_of: Callable[[int], int], sieve: Sieve, state: State, now: int
    ) -> None:
        """:param stamp_of: the stamp that is kept of a place; 0: none."""
        self._read = read
        self._stamp_of = stamp_of
        self._state: Optional[State] = None
        self.renew(sieve, state, now)

    def renew(self, sieve: Sieve, state: State, now: int) -> None:
        """Show what `read` reads as the store in `state`, at `now`."""
        if state is not self._state:
            self._state = state
            self._flushed = state.flushed
            self._prefixes = state.prefixes if state.prefixes.last else None
        if state.deadline:
            self._flushed = state.flushed_at(now)
        self.now = now
        self.visits = sieve.visits
        self.stamp = now << 64 | state.sequence

    def get(self, key: bytes) -> Optional[Item]:
        item = self._read(key)
        if item is None or item.sequence <= self._flushed or 0 < item.expiry <= self.now:
            return None
        if self._prefixes is not None and self._prefixes.cover(key, item.sequence):
            return None
        return item

    def accessed(self, item: Item) -> tuple[int, bool]:
        return _accessed(item, self._stamp_of(item.place))

    def put(
        self,
        key: bytes,
        value: bytes,
        flags: int,
        expiry: int,
        marks: int = 0,
        cas: Optional[int] = None,
        kind: int = BYTES,
    ) -> Item:
        raise NeedsWrite

    def delete(self, key: bytes) -> None:
        raise NeedsWrite

    def flush(self, deadline: int) -> None:
        raise NeedsWrite

    def flush_prefix(self, prefix: bytes) -> bool:
        raise NeedsWrite

    def counts(self) -> tuple[int, int]:
        state = self._state
        assert state is not None
        return (state.items, state.size) if self._flushed == state.flushed else (0, 0)


@implementer(ITransaction)
class Transaction:
    """
    A batch of steps over one state of the store.

    :param stamp_of: the stamp that is kept of a place; 0: none.
    :param limit: bytes that may be stored, above which nothing may grow; None: any number.
    :ivar state: the store's `State`, brought up to date as the steps run.
    :ivar replaced: what the running step has replaced; whoever runs the steps empties it.
    """

    __slots__ = (
        "_before",
        "_items",
        "_limit",
        "_read",
        "_second",
        "_stamp_of",
        "_stored",
        "_written",
        "now",
        "replaced",
        "state",
        "visits",
    )

    def __init__(
        self,
        read: Read,
        stamp_of: Callable[[int], int],
        sieve: Sieve,
        state: State,
        now: int,
        limit: Optional[int] = None,
    ) -> None:
        if state.deadline and state.deadline <= now:
            state.flush()
        self._read = read
        self._stamp_of = stamp_of
        self._limit = limit
        self.state = state
        self._before = state.stored
        self.now = now
        self.visits = sieve.visits
        self._second = now // 1000
        self._written = stamp(now, 0)
        self._items: dict[bytes, Optional[Item]] = {}  # as they are now, stored or not
        self._stored: dict[bytes, Optional[Item]] = {}  # as they were, of the keys written
        self.replaced: list[tuple[bytes, Any]] = []

    @property
    def stamp(self) -> int:
        return stamp(self.now, self.state.sequence)

    def _raw(self, key: bytes) -> Optional[Item]:
        item: Optional[Item] = self._items.get(key, _UNREAD)
        if item is _UNREAD:
            item = self._items[key] = self._read(key)
        return item

    def get(self, key: bytes) -> Optional[Item]:
        item = self._raw(key)
        return None if item is None or self._is_dead(key, item) else item

    def _is_dead(self, key: bytes, item: Item) -> bool:
        state = self.state
        return (
            item.sequence <= state.flushed
            or 0 < item.expiry <= self.now
            or (state.prefixes.last >= item.sequence and state.prefixes.cover(key, item.sequence))
        )

    def accessed(self, item: Item) -> tuple[int, bool]:
        return _accessed(item, self._stamp_of(item.place))

    def put(
        self,
        key: bytes,
        value: bytes,
        flags: int,
        expiry: int,
        marks: int = 0,
        cas: Optional[int] = None,
        kind: int = BYTES,
    ) -> Item:
        old = self._raw(key)
        state = self.state
        size = size_in_memcached(key, len(value), flags)
        if self._limit is not None:
            self._check_room(key, size, old)
        self.replaced.append((key, old))
        sequence = state.sequence = state.sequence + 1
        if old is None:
            if key not in self._stored:
                self._stored[key] = None
            place = state.place = state.place + 1
        else:
            if key not in self._stored:
                self._stored[key] = old
            place = old.place
            self._discount(key, old)
            # To be written is to be visited, but not to be fetched.
            self.visits[place] = self._written
        state.items += 1
        state.size += size
        if cas is None:
            cas = sequence
        fields = (kind, marks, flags, expiry, cas, sequence, place, self._second, value)
        item = self._items[key] = _new(Item, fields)
        return item

    def delete(self, key: bytes) -> None:
        old = self._raw(key)
        if old is None:
            return
        self.replaced.append((key, old))
        if key not in self._stored:
            self._stored[key] = old
        self._items[key] = None
        self._discount(key, old)

    def _check_room(self, key: bytes, size: int, old: Optional[Item]) -> None:
        growth = size - (size_in_memcached(key, len(old.value), old.flags) if old else 0)
        if growth > 0 and self.state.size + growth > (self._limit or 0):
            raise StoreFull("the store is at its limit")

    def _discount(self, key: bytes, item: Item) -> None:
        """Take `item`, which is or was stored, off the counts."""
        state = self.state
        size = size_in_memcached(key, len(item.value), item.flags)
        if item.sequence > state.flushed:
            state.items -= 1
            state.size -= size
        else:
            state.dead -= 1
            state.dead_size -= size

    def _count(self, key: bytes, item: Item) -> None:
        """Undo `_discount`."""
        state = self.state
        size = size_in_memcached(key, len(item.value), item.flags)
        if item.sequence > state.flushed:
            state.items += 1
            state.size += size
        else:
            state.dead += 1
            state.dead_size += size

    def flush(self, deadline: int) -> None:
        self.replaced.append((_FLUSH, self.state.copy()))
        if deadline > self.now:
            self.state.deadline = deadline
        else:
            self.state.flush()

    def flush_prefix(self, prefix: bytes) -> bool:
        state = self.state
        marked = state.prefixes.marked(prefix, state.sequence + 1)
        if marked is None:
            return False
        self.replaced.append((_FLUSH, state.copy()))
        state.sequence += 1
        state.prefixes = marked
        return True

    def counts(self) -> tuple[int, int]:
        return self.state.items, self.state.size

    def rollback(self) -> None:
        """The running step has failed: its writes have not happened."""
        for key, old in reversed(self.replaced):
            if key == _FLUSH:
                self.state.restore(old)
                continue
            new = self._items[key]
            if new is not None:
                self._discount(key, new)
            if old is not None:
                self._count(key, old)
            self._items[key] = old
        self.replaced.clear()

    # For the backend, behind the steps

    @property
    def written(self) -> int:
        """The keys that have been written."""
        return len(self._stored)

    @property
    def growth(self) -> int:
        """Bytes of items that there are more than before."""
        return max(self.state.stored - self._before, 0)

    def reap(self, key: bytes) -> Optional[Item]:
        """Remove what is under `key` if it is dead. Returns it, or None."""
        item = self._raw(key)
        if item is None or not self._is_dead(key, item):
            return None
        self.delete(key)
        return item

    def evict(self, key: bytes, place: int) -> Optional[Item]:
        """Remove what is under `key` if it has `place`, and is not of this batch. Returns it."""
        if key in self._stored:
            return None
        item = self._raw(key)
        if item is None or item.place != place:
            return None
        self.delete(key)
        return item

    def finish(self) -> "list[Change]":
        """What has to be done to the store."""
        items = self._items
        return [
            (key, items[key], old) for key, old in self._stored.items() if items[key] is not old
        ]


def _accessed(item: Item, stamp: int) -> tuple[int, bool]:
    second, sequence = seen(stamp)
    fetched = sequence >= item.sequence and second >= item.accessed
    return max(second, item.accessed), fetched


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
                if result.__class__ in VALUED:
                    size += len(result.value)
                elif result.__class__ is Many:
                    size += result.size
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
            if result.__class__ in VALUED:
                size += len(result.value)
            elif result.__class__ is Many:
                size += result.size
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
        if result.__class__ in VALUED:
            size += len(result.value)
        elif result.__class__ is Many:
            size += result.size
        if size > MOST_BYTES:
            break
    return results


def listed(snapshot: Snapshot, keys: Sequence[bytes]) -> "list[Entry]":
    """What a listing tells of those of `keys` that are live."""
    entries: list[Entry] = []
    for key in keys:
        item = snapshot.get(key)
        if item is not None:
            accessed, fetched = snapshot.accessed(item)
            entries.append(Entry(key, without_value(item), len(item.value), accessed, fetched))
    return entries
