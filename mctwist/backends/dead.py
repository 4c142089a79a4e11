"""
What is dead in LMDB's tables and has still to be removed: what has expired or been flushed.

    find (in the maintenance thread, a piece at a time) -> keys -> removed with the batches

What has expired is found by the index. After a flush everything is looked through once, from the
first key to the last: such a pass begins when the tables know all that the flush has covered, and
when it has ended, and all that it found is removed, the marks of flushed prefixes can go as well.
"""

from collections import deque
from itertools import islice

from mctwist.backends.state import State
from mctwist.backends.tables import Tables
from mctwist.backends.tally import Tally
from mctwist.item import DamagedRecord, decode

#: How many keys are looked for at once, and how many one batch removes.
SOUGHT = 1024
REMOVED = 12

# A pass reads so many records, or so many bytes of them, in one go, and so often at most.
_PIECE, _PIECE_BYTES, _PIECES = 500, 1 << 20, 10


class Dead:
    """
    :ivar due: it is time to call `find`.
    """

    def __init__(self, tally: Tally) -> None:
        self.due = False
        self._tally = tally
        self._keys: deque[bytes] = deque()
        self._expired_from = b""  # where to go on in the index of what expires
        self._flushed_from = b""  # where to go on in a pass
        self._goal = 0  # the sequence number of the flush that the pass is for; 0: there is none
        self._passed = 0  # up to which all has been looked through
        self._known = 0  # up to which the tables know everything
        self._prefixes = 0  # flushed prefixes up to this are needed no more, once `_keys` is empty

    def __bool__(self) -> bool:
        return bool(self._keys)

    def piece(self) -> "list[bytes]":
        """What the next batch is to remove."""
        return list(islice(self._keys, REMOVED))

    def swept_prefixes(self, piece: "list[bytes]") -> int:
        """
        The sequence number up to which flushed prefixes can go with the batch that removes
        `piece`; 0: none.
        """
        return self._prefixes if len(self._keys) == len(piece) else 0

    def removed(self, piece: "list[bytes]", prefixes: int) -> None:
        """The batch that removes `piece`, and the prefixes up to this, is durable."""
        for _ in piece:
            self._keys.popleft()
        if piece and not self._keys:
            self.due = True
        if prefixes:
            self._prefixes = 0

    def checkpointed(self, sequence: int) -> None:
        """The tables know everything up to `sequence`."""
        self._known = sequence
        # What was found and has been removed is not in the way any more.
        self._expired_from = b""

    def awaits_checkpoint(self, state: State) -> bool:
        """Whether there was a flush of which the tables do not know enough."""
        flushed = state.flushed if state.dead else 0
        return max(flushed, state.prefixes.last) > self._known

    def find(self, tables: Tables, state: State, now: int) -> None:
        """Look for a piece of what is dead, unless what was found last is still there."""
        self.due = False
        if self._keys:
            return
        keys, self._expired_from = tables.expired(self._expired_from, now, SOUGHT)
        self._tally.examined += len(keys)
        # Replaced, not filled: the storage thread may be looking at the one that is empty.
        self._keys = deque(keys or self._find_flushed(tables, state))

    def _find_flushed(self, tables: Tables, state: State) -> "list[bytes]":
        if not self._goal:
            goal = max(state.flushed if state.dead else 0, state.prefixes.last)
            if goal <= self._passed:
                # What a prefix flushed again covers has been looked through.
                self._prefixes = self._passed if state.prefixes.last else 0
                return []
            if goal > self._known:
                return []
            self._flushed_from, self._goal = b"", goal
            self._tally.passes += 1
        for _ in range(_PIECES):
            found = tables.from_key(self._flushed_from, b"", _PIECE, _PIECE_BYTES)
            self._tally.examined += len(found)
            if not found:
                self._passed, self._goal = self._goal, 0
                self._prefixes = self._passed if state.prefixes.last else 0
                return []
            self._flushed_from = found[-1][0] + b"\0"
            keys = [key for key, record in found if _is_flushed(state, key, record)]
            if keys:
                return keys
        self.due = True
        return []


def _is_flushed(state: State, key: bytes, record: bytes) -> bool:
    try:
        sequence = decode(key, record).sequence
    except DamagedRecord:
        return False
    return sequence <= state.flushed or state.prefixes.cover(key, sequence)
