"""
The order in the layers above LMDB: the keys and places of what is recent, and of what is frozen.

LMDB has both orders in its tables; a dict has neither. They are made when somebody first asks for
them, and go on with the records when these are frozen, until LMDB has those. Of a key that is
above, LMDB may know nothing or what is past, so all that the layers say is where to look: what is
there is for a read through all of them to tell.
"""

from collections.abc import Iterable
from threading import Lock
from typing import NamedTuple, Optional

from mctwist.backends.gaps import Between
from mctwist.backends.places import Placed, Places
from mctwist.backends.sorted_keys import Growing
from mctwist.backends.tables import PREFIXES, Records
from mctwist.backends.transaction import Change
from mctwist.item import DamagedRecord, decode

#: The lowest key there can be. Below it are only the flushed prefixes.
_LOWEST = b"\0"


class Order:
    """
    The order of some records.

    :param records: to which more may come, from which none is removed.
    :param lock: held while they change, and while their keys or places are looked at.
    :param follows: of the records that these follow: whoever asks for the places of the one will
        ask for those of the other.
    """

    def __init__(self, records: Records, lock: Lock, follows: "Optional[Order]" = None) -> None:
        self.keys = Growing(records)
        self._records = records
        self._lock = lock
        self._sorting = Lock()  # held by who makes the places, and by who waits for them
        self._places: Optional[Places] = None
        self._whole = False
        if follows is not None and follows._places is not None:
            self._places, self._whole = Places(()), True

    def add(self, changes: "list[Change]") -> None:
        """A batch has made `changes`; the lock is held."""
        if self._places is not None:
            self._places.add(changes)

    def behind(self, place: int, most: int) -> "list[Placed]":
        """The first `most` places behind `place`, and others that are not taken any more."""
        if not self._records:
            return []
        with self._sorting:
            if not self._whole:
                # What comes from now on is added, at the end, while the rest is sorted.
                with self._lock:
                    places = self._places = Places(())
                    records = list(self._records.items())
                earlier = sorted(_placed(records))
                with self._lock:
                    places.before(earlier)
                self._whole = True
        with self._lock:
            assert self._places is not None
            return self._places.behind(place, most)


def _placed(records: "list[tuple[bytes, Optional[bytes]]]") -> "Iterable[Placed]":
    for key, record in records:
        if record is not None and key != PREFIXES:
            try:
                yield decode(key, record).place, key
            except DamagedRecord:
                # Whoever reads it counts it.
                continue


class Recent(NamedTuple):
    """
    What the journal holds: records, the keys of those whose place or expiry is not the one that
    LMDB knows, and their order.
    """

    records: Records
    moved: "set[bytes]"
    order: Order


def nothing_recent(lock: Lock, follows: Optional[Order] = None) -> Recent:
    """As `Order`, of no records yet."""
    records: Records = {}
    return Recent(records, set(), Order(records, lock, follows))


def between_in(recent: Order, frozen: Optional[Order], stored: Between) -> Between:
    """The keys of all layers; `stored` are those in the tables. The lock is held by who asks."""

    def between(start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
        start = start or _LOWEST
        found = stored(start, end, most, last)
        above = recent.keys.between(start, end, most, last)
        if frozen is not None:
            above += frozen.keys.between(start, end, most, last)
        return sorted({*found, *above}, reverse=last)[:most] if above else found

    return between


def locked(between: Between, lock: Lock) -> Between:
    """As `between`, for who does not hold the lock."""

    def holding(start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
        with lock:
            return between(start, end, most, last)

    return holding


class NotLocked(Exception):
    """What is asked for takes the lock."""


def refused(start: bytes, end: bytes, most: int, last: bool) -> "list[bytes]":
    """The `Between` of who reads without the lock."""
    raise NotLocked
