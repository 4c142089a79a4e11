"""
What the journals of a store come to: what they hold is newer than what is in the tables.

Opening a store replays them. Here they are only read, and with more care: batches behind a frame
that has been damaged, which an opening does not come to, are found. A frame that is cut short at
the end of the last journal is nothing of the kind: a crash leaves it.
"""

from pathlib import Path
from typing import Optional

from mctwist.backends.journal import frames, is_torn, journals, number_of
from mctwist.backends.state import State
from mctwist.backends.tables import Records


class Journalled:
    """
    :param first: the number of the first journal that counts.
    :param behind: take the batches behind a break as well.
    :ivar records: the last of each key. :ivar state: the last; None: there is none.
    :ivar breaks: where journals are damaged, for people.
    :ivar torn: the last batch was cut short.
    """

    def __init__(self, path: Path, first: int, behind: bool = False) -> None:
        self.records: Records = {}
        self.state: Optional[State] = None
        self.breaks: list[str] = []
        self.batches = 0
        self.torn = False
        self._behind = behind
        self.paths = [path for path in journals(path) if number_of(path) >= first]
        for path in self.paths:
            end = self._read(path)
            self.torn = is_torn(path, end)
            if self.torn and path != self.paths[-1]:
                # A journal is synced before the next is begun.
                self.breaks.append(f"{path.name}, byte {end}")

    def _read(self, path: Path) -> int:
        end, broken = 0, False
        for frame in frames(path, State.size_in, State.begins):
            state = State(frame.state)
            if frame.start != end:
                self.breaks.append(f"{path.name}, byte {end}")
                broken = True
            end = frame.end
            # What was there before the journal was begun anew in its place is not to come back.
            follows = self.state is None or state.sequence >= self.state.sequence
            if not broken or (self._behind and follows):
                self.batches += 1
                self.records.update(frame.entries)
                self.state = state
        return end
