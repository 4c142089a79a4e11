"""
The store that forgets: a dict, for tests and for those who want memcached's own bargain.

A batch is published at once under a lock, so a reader never sees half of one. The dict keeps its
keys in the order in which they came, which is the order in which eviction goes over them. Bytewise
order, and exact places, are kept beside it from when somebody first asks for them.
"""

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, Callable, Optional

from zope.interface import implementer

from mctwist.backends.eviction import evict, welcome
from mctwist.backends.gaps import Gaps
from mctwist.backends.places import Places, scan
from mctwist.backends.rounds import Rounds
from mctwist.backends.sieve import MOST_VISITS, Sieve
from mctwist.backends.sorted_keys import SortedKeys
from mctwist.backends.state import State
from mctwist.backends.tally import Tally
from mctwist.backends.transaction import (
    Change,
    Snapshot,
    Transaction,
    in_pieces,
    listed,
    look,
    run,
)
from mctwist.interfaces import IBackend, Results, Steps
from mctwist.item import Entry, Item

DEFAULT_LIMIT = 10 << 30

#: A walk lists so many items in one go.
PIECE = 500


@implementer(IBackend)
class MemoryBackend:
    """
    Everything in this process, nothing after it.

    :param limit: bytes of items, as memcached counts them, above which nothing may grow.
    :param evicts: above the limit items are evicted; if not, what would grow is refused.
    """

    name = "memory:"
    inline = True
    ordered = True
    damaged = 0
    changed = 0
    notice = None

    def __init__(self, limit: int = DEFAULT_LIMIT, evicts: bool = True) -> None:
        self.evicted: Optional[Callable[[list[Entry]], None]] = None
        self._limit = limit
        self._evicts = evicts
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._items: dict[bytes, Item] = {}
        self._state = State()
        self._sieve = Sieve()
        self._stamps: dict[int, int] = {}
        self._keys: Optional[SortedKeys] = None
        self._places: Optional[Places] = None
        self._gaps = Gaps()
        self._changes: list[Change] = []  # of the last batch
        self._in_vain = False  # there was nothing to evict
        self._tally = Tally()
        self._rounds = Rounds(
            lambda: list(self._items),
            lambda: [(item.place, key) for key, item in self._items.items()],
            self._tally,
        )

    def open(self) -> None:
        self._begin()

    def close(self) -> None:
        self._begin()

    def perform(self, lists: Sequence[Steps], now: int) -> list[Results]:
        self._changes = []
        state = self._state.copy()
        transaction = Transaction(
            self._items.get,
            self._stamp_of,
            self._sieve,
            state,
            now,
            limit=None if self._evicts else self._limit,
            most_kept=self._limit,
            between=self._locked_between,
            gaps=self._gaps,
        )
        answers = run(transaction, lists)
        self._rounds.sweep(transaction)
        victims: list[Entry] = []
        if self._overflows(state):
            victims = evict(transaction, self._sieve, self._limit, self._rounds.in_order)
            self._in_vain = not victims and state.kept > 0
        changes = self._changes = transaction.finish()
        welcome(changes, self._sieve)
        with self._lock:
            self._keep_in_order(changes)
            transaction.leave_gaps(self._gaps, self._state, changes)
            for key, item, old in changes:
                if item is None or (old is not None and old.place != item.place):
                    self._items.pop(key, None)
                    if old is not None:
                        self._stamps.pop(old.place, None)
                if item is not None:
                    self._items[key] = item
            self._state = state
        self._rounds.committed(state)
        self._tally.count_batch(answers, victims, now)
        if victims and self.evicted is not None:
            self.evicted(victims)
        return answers

    def read(self, steps: Steps, now: int, patient: bool = False) -> Results:
        with self._lock:
            return look(self._snapshot(now), steps)

    def _keep_in_order(self, changes: "list[Change]") -> None:
        if self._keys is not None:
            for key, item, old in changes:
                if item is None:
                    self._keys.discard(key)
                elif old is None:
                    self._keys.add(key)
        if self._places is not None:
            self._places.add(changes)
            if len(self._places) > 2 * len(self._items) + MOST_VISITS:
                # Mostly of what is gone.
                self._places = None

    def _between(self, start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
        if self._keys is None:
            self._keys = SortedKeys(self._items)
        return self._keys.between(start, end, most, last)

    def _locked_between(self, start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
        with self._lock:
            return self._between(start, end, most, last)

    def scan(self, cursor: int, most: int, now: int) -> "tuple[list[Entry], int]":
        with self._lock:
            if self._places is None:
                self._places = Places((item.place, key) for key, item in self._items.items())
            snapshot = self._snapshot(now)
            return scan(self._places.behind, lambda keys: listed(snapshot, keys), cursor, most)

    def written(self) -> "Iterable[bytes]":
        return (key for key, item, _ in self._changes if item is not None)

    def walk(self, prefix: bytes, now: int, whole: bool = False) -> "Iterator[list[Entry]]":
        with self._lock:
            keys = [key for key in self._items if key.startswith(prefix)]

        def entries(some: "Iterator[bytes]") -> "list[Entry]":
            with self._lock:
                return listed(self._snapshot(now), some, whole)

        yield from in_pieces(iter(keys), PIECE, entries)

    def _snapshot(self, now: int) -> Snapshot:
        return Snapshot(
            self._items.get,
            self._stamp_of,
            self._sieve,
            self._state,
            now,
            self._between,
            self._gaps,
        )

    def _stamp_of(self, place: int) -> int:
        return self._sieve.stamp_of(place) or self._stamps.get(place, 0)

    @property
    def pending(self) -> bool:
        return self._rounds.busy or (self._overflows(self._state) and not self._in_vain)

    def _overflows(self, state: State) -> bool:
        """Whether there is more than is allowed, and not for being kept."""
        return self._evicts and state.stored > max(self._limit, state.kept)

    @property
    def due(self) -> bool:
        return len(self._sieve.visits) >= MOST_VISITS

    def maintain(self) -> None:
        self._sieve.fold()
        stamps = self._sieve.stamps()
        with self._lock:
            if len(self._stamps) > 2 * len(self._items) + MOST_VISITS:
                # Mostly of places that are gone.
                self._stamps.clear()
            self._stamps.update(stamps)
        self._sieve.written(stamps)

    # For the operator

    def resize(self, limit: int) -> bool:
        self._limit = limit
        return limit > 0

    def live(self) -> tuple[int, int]:
        return self._state.items, self._state.size

    def figures(self) -> "dict[str, Any]":
        return self._tally.figures(self.name, self._state, self._limit, 0, {})
