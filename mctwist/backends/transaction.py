"""
A batch in the making, and a snapshot to read: the two transactions, for every backend.

A `Transaction` reads through to the store and writes nothing to it. What the operations write
collects here, one state for each key, and the backend applies the whole of it at the end. So a
step that fails is rolled back by forgetting, a batch for which there is no room has touched
nothing, and a key written a hundred times in a batch reaches the disk once. The counts in its
`State` are brought up to date with every write.

Both see their keys in order where the store does. A transaction has gaps of its own, begun with a
copy of the store's when somebody first asks, which take over from those with the commit.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Callable, Optional

from zope.interface import implementer

from mctwist.backends.gaps import Between, Gaps, walk
from mctwist.backends.sieve import Sieve, seen, stamp
from mctwist.backends.sorted_keys import Growing
from mctwist.backends.state import State
from mctwist.interfaces import (
    MOST_BYTES,
    MOST_STEPS,
    VALUED,
    IOrderedTransaction,
    Many,
    NeedsWrite,
    Results,
    Step,
    Steps,
    StorageError,
    StoreFull,
    Unsupported,
)
from mctwist.item import BYTES, FETCHED, KEPT, Entry, Item, size_in_memcached, without_value

#: A batch ends when its results, or the values that it has read to write, or written, hold this
#: many bytes; the rest waits.
MOST_BATCH_BYTES = 16 << 20

#: From here on a CAS unique is taken for a client's own, and not for a sequence number.
MOST_SEQUENCE = 1 << 62

#: A snapshot passes over so many dead keys in a row: more is for the storage thread, to do once.
PATIENCE = 2000

Read = Callable[[bytes], Optional[Item]]

#: What a batch has changed: a key, what it now holds, and what it held before the batch.
Change = tuple[bytes, Optional[Item], Optional[Item]]

_new = tuple.__new__
_UNREAD: Any = object()
_FLUSH = b""  # stands for a flush where keys stand; no key is empty


def unordered(start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
    """The `Between` of a store that has no order of its keys."""
    raise Unsupported


class _View:
    """What both are asked for, and answer alike."""

    __slots__ = ()
    _stamp_of: Callable[[int], int]

    def accessed(self, item: Item) -> tuple[int, bool]:
        return _accessed(item, self._stamp_of(item.place))

    def first(self, start: bytes, end: bytes, last: bool = False) -> Optional[tuple[bytes, Item]]:
        return next(self._walk(start, end, 1, last), None)

    def range(
        self, start: bytes, end: bytes, most: int, last: bool = False
    ) -> list[tuple[bytes, Item]]:
        return list(islice(self._walk(start, end, most, last), most))

    def _walk(
        self, start: bytes, end: bytes, most: int, last: bool
    ) -> "Iterator[tuple[bytes, Item]]":
        """The live items of a range in their order, looked up as many at a time as `most`."""
        raise NotImplementedError


@implementer(IOrderedTransaction)
class Snapshot(_View):
    """One state of the store, to read."""

    held = 0

    __slots__ = (
        *("_between", "_flushed", "_gaps", "_prefixes", "_read", "_stamp_of", "_state"),
        *("now", "stamp", "visits"),
    )

    def __init__(
        self,
        read: Read,
        stamp_of: Callable[[int], int],
        sieve: Sieve,
        state: State,
        now: int,
        between: Between = unordered,
        gaps: Optional[Gaps] = None,
    ) -> None:
        """
        :param stamp_of: the stamp that is kept of a place; 0: none.
        :param between: the keys of the store; :param gaps: of them, to which more are added.
        """
        self._read = read
        self._stamp_of = stamp_of
        self._between = between
        self._gaps = Gaps() if gaps is None else gaps
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

    @property
    def sequence(self) -> int:
        assert self._state is not None
        return self._state.sequence

    def get(self, key: bytes) -> Optional[Item]:
        item = self._read(key)
        if item is None or item.sequence <= self._flushed or 0 < item.expiry <= self.now:
            return None
        if self._prefixes is not None and self._prefixes.cover(key, item.sequence):
            return None
        return item

    def _walk(
        self, start: bytes, end: bytes, most: int, last: bool
    ) -> "Iterator[tuple[bytes, Item]]":
        between, gaps, get = self._between, self._gaps, self.get
        return walk(between, gaps, get, start, end, most, last, PATIENCE)

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

    def restore(self, key: bytes, item: Item) -> Item:
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


@implementer(IOrderedTransaction)
class Transaction(_View):
    """
    A batch of steps over one state of the store.

    :param stamp_of: the stamp that is kept of a place; 0: none.
    :param limit: bytes that may be stored, above which nothing may grow; None: any number.
    :param most_kept: bytes that may be kept from eviction, likewise.
    :param between: the keys of the store; :param gaps: of them.
    :ivar state: the store's `State`, brought up to date as the steps run.
    :ivar replaced: what the running step has replaced; whoever runs the steps empties it.
    :ivar gaps: those that there are with what the batch has done; None: nobody has asked.
    """

    __slots__ = (
        "_before",
        "_between",
        "_gaps",
        "_items",
        "_limit",
        "_most_kept",
        "_read",
        "_second",
        "_stamp_of",
        "_stored",
        "_written",
        "_written_keys",
        "gaps",
        "held",
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
        most_kept: Optional[int] = None,
        between: Between = unordered,
        gaps: Optional[Gaps] = None,
    ) -> None:
        if state.deadline and state.deadline <= now:
            state.flush()
        self._read = read
        self._stamp_of = stamp_of
        self._limit = limit
        self._most_kept = most_kept
        self._between = between
        self._gaps = gaps
        self.gaps: Optional[Gaps] = None
        self.state = state
        self._before = state.stored
        self.now = now
        self.visits = sieve.visits
        self._second = now // 1000
        self._written = stamp(now, 0)
        self._items: dict[bytes, Optional[Item]] = {}  # as they are now, stored or not
        self._stored: dict[bytes, Optional[Item]] = {}  # as they were, of the keys written
        self._written_keys = Growing(self._stored)
        self.replaced: list[tuple[bytes, Any]] = []
        self.held = 0  # bytes of values

    @property
    def stamp(self) -> int:
        return stamp(self.now, self.state.sequence)

    @property
    def sequence(self) -> int:
        return self.state.sequence

    def _raw(self, key: bytes) -> Optional[Item]:
        item: Optional[Item] = self._items.get(key, _UNREAD)
        if item is _UNREAD:
            item = self._items[key] = self._read(key)
            if item is not None:
                self.held += len(item.value)
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

    def _walk(
        self, start: bytes, end: bytes, most: int, last: bool
    ) -> "Iterator[tuple[bytes, Item]]":
        if self.gaps is None:
            self.gaps = Gaps() if self._gaps is None else self._gaps.copy()
            for key in self._stored if self.gaps else ():
                self.gaps.cut(key)
        return walk(self._both_between, self.gaps, self.get, start, end, most, last)

    def _both_between(self, start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
        """As `Between`: the keys of the store, and those that the batch has written."""
        stored = self._between(start, end, most, last)
        written = self._written_keys.between(start, end, most, last)
        if not written:
            return stored
        return sorted({*stored, *written}, reverse=last)[:most]

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
        self.held += len(value)
        size = size_in_memcached(key, len(value), flags)
        if self._limit is not None:
            self._check_room(key, size, old)
        if marks & KEPT or state.kept:
            self._check_kept(key, size, marks, old)
        if self.gaps is not None:
            self.gaps.cut(key)
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
        if marks & KEPT:
            state.kept += size
        if cas is None:
            cas = sequence
        fields = (kind, marks, flags, expiry, cas, sequence, place, self._second, value)
        item = self._items[key] = _new(Item, fields)
        return item

    def restore(self, key: bytes, item: Item) -> Item:
        # Of the place that the key had it is known when that was visited: it gets another.
        self.delete(key)
        kind, marks, flags, expiry, cas, _, _, accessed, value = item
        made = self.put(key, value, flags, expiry, marks, cas, kind)
        made = self._items[key] = made._replace(accessed=accessed)
        if self.state.sequence < cas < MOST_SEQUENCE:
            self.state.sequence = cas
        return made

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

    def _check_kept(self, key: bytes, size: int, marks: int, old: Optional[Item]) -> None:
        """What grows must have room beside what is kept: that does not make any."""
        if self._most_kept is None:
            return
        kept, before, kept_before = self.state.kept, 0, 0
        if old is not None:
            before = size_in_memcached(key, len(old.value), old.flags)
            kept_before = before if self.is_kept(old) else 0
        grows = size > before or (marks & KEPT and size > kept_before)
        if grows and kept - kept_before + size > self._most_kept:
            raise StoreFull("what must be kept is at the limit of the store")

    def is_kept(self, item: Item) -> bool:
        """Whether `item`, which is stored, counts as kept: not if it has been flushed."""
        return bool(item.marks & KEPT) and item.sequence > self.state.flushed

    def _discount(self, key: bytes, item: Item) -> None:
        """Take `item`, which is or was stored, off the counts."""
        state = self.state
        size = size_in_memcached(key, len(item.value), item.flags)
        if item.sequence > state.flushed:
            state.items -= 1
            state.size -= size
            if item.marks & KEPT:
                state.kept -= size
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
            if item.marks & KEPT:
                state.kept += size
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
                if self.gaps is not None:
                    self.gaps.clear()
                continue
            if self.gaps is not None and old is not None:
                self.gaps.cut(key)
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

    def at(self, key: bytes, place: int) -> Optional[Item]:
        """What is under `key` if it has `place`, dead or alive, and is not of this batch."""
        if key in self._stored:
            return None
        item = self._raw(key)
        return None if item is None or item.place != place else item

    def must_stay(self, key: bytes, item: Item) -> bool:
        """Whether what is under `key` may not be evicted."""
        return bool(item.marks & KEPT) and not self._is_dead(key, item)

    def finish(self) -> "list[Change]":
        """What has to be done to the store."""
        items = self._items
        return [
            (key, items[key], old) for key, old in self._stored.items() if items[key] is not old
        ]

    def leave_gaps(self, gaps: Gaps, before: State, changes: "list[Change]") -> None:
        """
        It is committed: have `gaps` be those of the store as it is now.

        :param before: the state of the store until then; :param changes: what `finish` told.
        """
        if self.gaps is not None:
            gaps.replace(self.gaps)
            self.gaps = None
        elif gaps:
            for key, item, _ in changes:
                if item is not None:
                    gaps.cut(key)
        state = self.state
        put_off = before.deadline and state.deadline != before.deadline
        if put_off and state.flushed == before.flushed:
            # A flush to come was put off: whoever has seen it happen has seen too much.
            gaps.clear()


def _accessed(item: Item, stamp: int) -> tuple[int, bool]:
    second, sequence = seen(stamp)
    fetched = sequence >= item.sequence and second >= item.accessed
    return max(second, item.accessed), fetched or bool(item.marks & FETCHED)


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
        if total > MOST_BATCH_BYTES or transaction.held > MOST_BATCH_BYTES:
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
            if size > MOST_BYTES or transaction.held > MOST_BATCH_BYTES:
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


def listed(snapshot: Snapshot, keys: Iterable[bytes], whole: bool = False) -> "list[Entry]":
    """
    What a listing tells of those of `keys` that are live.

    :param whole: with their values; no more of `keys` are taken when it is enough for a piece.
    """
    entries: list[Entry] = []
    size = 0
    for key in keys:
        item = snapshot.get(key)
        if item is None:
            continue
        accessed, fetched = snapshot.accessed(item)
        length = len(item.value)
        shown = item if whole else without_value(item)
        entries.append(Entry(key, shown, length, accessed, fetched))
        size += length
        if whole and size > MOST_BYTES:
            break
    return entries


def in_pieces(
    keys: Iterator[bytes], most: int, look: "Callable[[Iterator[bytes]], list[Entry]]"
) -> "Iterator[list[Entry]]":
    """
    What is listed of `keys`, so `most` of them at a time.

    :param look: lists some of them: as many as it takes.
    """
    for first in keys:
        yield look(chain((first,), islice(keys, most - 1)))
