"""
The store that forgets: a dict, for tests and for those who want memcached's own bargain.

A batch is published at once under a lock, so a reader never sees half of one.
"""

from collections.abc import Sequence
from threading import Lock

from zope.interface import implementer

from mctwist.backends.transaction import Snapshot, State, Transaction, look, run
from mctwist.interfaces import IBackend, Results, Steps
from mctwist.item import Item


@implementer(IBackend)
class MemoryBackend:
    """Everything in this process, nothing after it."""

    name = "memory:"
    inline = True
    damaged = 0
    notice = None
    due = False

    def __init__(self) -> None:
        self._lock = Lock()
        self._items: dict[bytes, Item] = {}
        self._state = State()

    def open(self) -> None:
        self._items = {}
        self._state = State()

    def close(self) -> None:
        self._items = {}

    def perform(self, lists: Sequence[Steps], now: int) -> list[Results]:
        state = self._state.copy()
        transaction = Transaction(self._items.get, state, now)
        answers = run(transaction, lists)
        changes = transaction.finish()
        with self._lock:
            for key, item in changes:
                if item is None:
                    self._items.pop(key, None)
                else:
                    self._items[key] = item
            self._state = state
        return answers

    def read(self, steps: Steps, now: int) -> Results:
        with self._lock:
            return look(Snapshot(self._items.get, self._state, now), steps)

    def maintain(self) -> None:
        """There is nothing to do."""

    def live(self) -> tuple[int, int]:
        return self._state.items, self._state.size
