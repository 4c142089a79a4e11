"""
What a store knows of itself: the last numbers given out, what has been flushed, how much there is.

A `State` is a record in the store, written by the same commit as the items it counts, so no
number is given out twice and no flush comes undone.

Flushing marks and never removes: everything up to a sequence number is gone. A deadline still to
come is kept beside it: a reader whose `now` has reached it takes all that it sees for gone, and
the first batch past it turns it into the mark. Marks for a prefix (`Prefixes`) are the same for
the keys that begin with it; they are looked up at every read, so there are few, and each is
dropped when the sweep has removed what it covers.
"""

from operator import attrgetter
from struct import Struct
from typing import Optional
from zlib import crc32

from mctwist.item import DamagedRecord

#: The most prefixes that may be marked at a time, and the most different lengths of them.
MOST_PREFIXES = 1024
MOST_LENGTHS = 16

# The fields of a `State`, in the order of its record.
_FIELDS = (
    *("sequence", "place", "flushed", "deadline", "items", "size", "dead", "dead_size"),
    *("hand", "gate", "now", "kept"),
)
_figures = attrgetter(*_FIELDS)
_STATE = Struct("<QQQqQQQQQQQQ")
# As it was before anything could be kept: without the last field.
_OLD_STATE = Struct("<QQQqQQQQQQQ")
_CHECKSUM = Struct("<I")
_PREFIX = Struct("<QB")


class Prefixes:
    """
    Which prefixes are flushed, and up to which sequence number. Never changed, but replaced.

    :ivar last: the highest of the sequence numbers; 0: there is none.
    """

    __slots__ = ("_lengths", "_marks", "last")

    def __init__(self, marks: "Optional[dict[bytes, int]]" = None) -> None:
        self._marks = marks or {}
        self._lengths = sorted({len(prefix) for prefix in self._marks})
        self.last = max(self._marks.values(), default=0)

    @classmethod
    def decode(cls, record: bytes) -> "Prefixes":
        """Raises `DamagedRecord` where it is not what `encode` made."""
        body = _verified(record)
        marks = {}
        offset = 0
        while offset < len(body):
            sequence, length = _PREFIX.unpack_from(body, offset)
            offset += _PREFIX.size + length
            marks[body[offset - length : offset]] = sequence
        return cls(marks)

    def encode(self) -> bytes:
        return _sealed(
            b"".join(
                _PREFIX.pack(sequence, len(prefix)) + prefix
                for prefix, sequence in self._marks.items()
            )
        )

    def __len__(self) -> int:
        return len(self._marks)

    def cover(self, key: bytes, sequence: int) -> bool:
        """Whether what `key` got with `sequence` is gone."""
        find = self._marks.get
        return any(find(key[:length], -1) >= sequence for length in self._lengths)

    def marked(self, prefix: bytes, sequence: int) -> "Optional[Prefixes]":
        """These and one more; None: that would be too many."""
        more = Prefixes({**self._marks, prefix: sequence})
        if len(more) > MOST_PREFIXES or len(more._lengths) > MOST_LENGTHS:
            return None
        return more

    def after(self, sequence: int) -> "Prefixes":
        """Those later than `sequence`."""
        return Prefixes({prefix: mark for prefix, mark in self._marks.items() if mark > sequence})


_NONE = Prefixes()


class State:
    """
    :ivar sequence: the last sequence number given out.
    :ivar place: the last place given out.
    :ivar flushed: items up to this sequence number are gone.
    :ivar deadline: milliseconds since the epoch at which all stored before is flushed; 0: none.
    :ivar items: items that are live (expired ones, and those under a flushed prefix, included
        until they are swept); :ivar size: their bytes, as memcached counts.
    :ivar dead: items that are flushed but still stored; :ivar dead_size: their bytes.
    :ivar hand: the place to which eviction's hand has come; :ivar gate: and its gate.
    :ivar now: milliseconds since the epoch of the last batch that has changed anything.
    :ivar kept: bytes of those live items that are kept from eviction.
    :ivar prefixes: the flushed prefixes; a record of their own, for they seldom change.
    """

    __slots__ = (*_FIELDS, "prefixes")
    SIZE = _STATE.size + _CHECKSUM.size
    sequence: int
    place: int
    flushed: int
    deadline: int
    items: int
    size: int
    dead: int
    dead_size: int
    hand: int
    gate: int
    now: int
    kept: int
    prefixes: Prefixes

    def __init__(self, record: Optional[bytes] = None) -> None:
        """
        :param record: what `encode` made; None: of an empty store.
        :raises DamagedRecord: it is not whole.
        """
        figures = _of_state(record) if record else (0,) * len(_FIELDS)
        for name, figure in zip(_FIELDS, figures):
            setattr(self, name, figure)
        self.prefixes = _NONE

    def encode(self) -> bytes:
        return _sealed(_STATE.pack(*_figures(self)))

    @staticmethod
    def size_in(content: bytes) -> int:
        """The bytes of the record of a state with which `content` begins, of whichever version."""
        old = _OLD_STATE.size
        checksum = _CHECKSUM.pack(crc32(content[:old]))
        return old + _CHECKSUM.size if content.startswith(checksum, old) else State.SIZE

    @staticmethod
    def begins(content: bytes) -> bool:
        """Whether `content` begins with the record of a state."""
        try:
            State(content[: State.size_in(content)])
        except DamagedRecord:
            return False
        return bool(content)

    def copy(self) -> "State":
        state = State.__new__(State)
        state.restore(self)
        return state

    def restore(self, other: "State") -> None:
        """Be as `other` is."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    @property
    def stored(self) -> int:
        """Bytes of all that is stored, live or dead."""
        return self.size + self.dead_size

    def flushed_at(self, now: int) -> int:
        """The sequence number up to which items are gone at `now`."""
        return self.sequence if self.deadline and self.deadline <= now else self.flushed

    def flush(self) -> None:
        # A number of its own: no two flushes are to be taken for one.
        self.sequence += 1
        self.flushed = self.sequence
        self.deadline = 0
        self.dead += self.items
        self.dead_size += self.size
        self.items = self.size = self.kept = 0


def _of_state(record: bytes) -> "tuple[int, ...]":
    body = _verified(record)
    if len(body) == _OLD_STATE.size:
        return (*_OLD_STATE.unpack(body), 0)
    if len(body) != _STATE.size:
        raise DamagedRecord("the state of the store is of another version")
    return _STATE.unpack(body)


def _sealed(body: bytes) -> bytes:
    return body + _CHECKSUM.pack(crc32(body))


def _verified(record: bytes) -> bytes:
    body, checksum = record[: -_CHECKSUM.size], record[-_CHECKSUM.size :]
    if checksum != _CHECKSUM.pack(crc32(body)):
        raise DamagedRecord("the state of the store does not verify")
    return body
