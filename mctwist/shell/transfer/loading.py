"""
A load, from the lines of a dump to answers that say they are stored.

The rule: a line is loaded, or counted with the reason why it is not; and it is counted when
everything before it is, so that a load that is stopped knows where it was.
"""

import time
from collections.abc import Iterator
from typing import Any, Optional, Union

from mctwist.client import Server
from mctwist.dumps import BadLine, NoDump, Reader, Record, lines
from mctwist.shell.output import tell
from mctwist.shell.progress import bar
from mctwist.shell.transfer.files import Origin
from mctwist.shell.transfer.position import Position
from mctwist.shell.transfer.sinks import EXPIRED, LASTING, Dialect, Impossible
from mctwist.shell.transfer.windows import Window, Windows

#: The items of a window, and its bytes, but for one item that has more.
_WINDOW_ITEMS, _WINDOW_BYTES = 512, 256 << 10

#: How often a second a load sends that is told its rate.
_PACE = 20

#: Of each reason, so many are named.
_EXAMPLES = 3

#: Why an item is not stored: this is none.
DAMAGED = "damaged line"


class Tally:
    """
    What has become of the lines.

    :param state: what `state` has said before.
    :ivar loaded: how many items are stored.
    :ivar unmarked: how many of them without marks that they had.
    :ivar skipped: by the reason, how many are not, and the first of them.
    """

    def __init__(self, state: "dict[str, Any]") -> None:
        self.loaded: int = state.get("loaded", 0)
        self.unmarked: int = state.get("unmarked", 0)
        self.skipped: dict[str, list[Any]] = state.get("skipped", {})

    def skip(self, reason: str, what: Union[bytes, str], line: Optional[int] = None) -> None:
        """
        Count an item that is not stored.

        :param what: its key, or what is wrong with its line.
        """
        count, first = self.skipped.setdefault(reason, [0, []])
        if count < _EXAMPLES:
            shown = what.decode(errors="backslashreplace") if isinstance(what, bytes) else what
            first.append(shown if line is None else f"line {line}: {shown}")
        self.skipped[reason][0] = count + 1

    def state(self) -> "dict[str, Any]":
        """This, as JSON can have it."""
        return {"loaded": self.loaded, "unmarked": self.unmarked, "skipped": self.skipped}


class Lines:
    """
    The items of a dump. Iterated, it gives the number of each line, and its item or what is wrong
    with it.

    :param begin: behind this line.
    :ivar fault: what is wrong with the dump as a whole, for people; "": nothing. It is known at
        the end.
    """

    def __init__(self, origin: Origin, begin: int = 0) -> None:
        self.fault = ""
        self._origin = origin
        self._begin = begin

    def __iter__(self) -> "Iterator[tuple[int, Union[Record, BadLine]]]":
        """:raises NoDump: it is none."""
        reader = Reader()
        number = 0
        try:
            for number, line in enumerate(lines(self._origin.content), 1):
                try:
                    if number <= self._begin:
                        reader.pass_over(line)
                        continue
                    record = reader.record(line)
                except BadLine as fault:
                    yield number, fault
                else:
                    if record is not None:
                        yield number, record
        except Origin.FAULTS as fault:
            self.fault = f"it cannot be read behind line {number}: {fault}"
            return
        if not number:
            raise NoDump("this is no dump: it is empty")
        if not reader.complete:
            self.fault = f"it was cut short, or lines of it are missing: {number} are there"


class Batch:
    """
    What a window is about: lines of the dump, one behind the other.

    :ivar items: the line and the key of each of its requests.
    :ivar skipped: what has no request, as `Tally.skip` takes it.
    :ivar last: the last line. :ivar unmarked: as of `Tally`.
    """

    __slots__ = ("items", "last", "skipped", "unmarked")

    def __init__(self) -> None:
        self.items: list[tuple[int, bytes]] = []
        self.skipped: list[tuple[str, Union[bytes, str], int]] = []
        self.last = 0
        self.unmarked = 0


class Run:
    """
    A load into a server.

    :param position: where it is recorded, and begins with `resume`.
    :param rate: items a second at most; None: as many as go.
    :ivar line: the last one that is acknowledged.
    :raises Refused: the position is of something else.
    """

    def __init__(
        self, origin: Origin, position: Position, resume: bool, rate: Optional[float]
    ) -> None:
        state = position.read() if resume else {}
        if resume and not state:
            tell("nothing was stopped: it begins with the first line")
        self.tally = Tally(state)
        self.line = self._begin = state.get("lines", 0)
        self.lines = Lines(origin, self._begin)
        self._origin = origin
        self._position = position
        self._rate = rate
        self._dialect: Dialect

    def into(self, server: Server, dialect: Dialect) -> None:
        """
        Load all of it.

        :raises NoDump: it is none.
        :raises OSError, MemcacheUnexpectedCloseError: the server is lost.
        """
        self._dialect = dialect
        windows = Windows(server, dialect.granted, self._acknowledge)
        sent, began = 0, time.monotonic()
        try:
            with bar("Loading", self._origin.size, of_bytes=True) as show:
                for window in self._windows():
                    if self._rate is not None:
                        windows.wait(began + sent / self._rate)
                        sent += window.answers
                    windows.put(window)
                    show(self._origin.position())
                windows.drain()
        finally:
            windows.close()

    def interrupted(self, file: str) -> None:
        """Record how far it has come, and say so."""
        if self.line > self._begin:
            self._position.write(self._state())
        if self._position.recorded:
            tell(f"stopped behind line {self.line}; to go on: mctwist load --resume {file}")
        elif self.line:
            tell(f"stopped behind line {self.line}")

    def _windows(self) -> "Iterator[Window]":
        """The requests of the dump, and the reasons of what has none."""
        most = _WINDOW_ITEMS
        if self._rate is not None:
            most = max(1, min(most, int(self._rate / _PACE)))
        spell, takes_marks = self._dialect.spell, self._dialect.takes_marks
        now = time.time() * 1000
        batch, requests, size = Batch(), [], 0
        for number, record in self.lines:
            batch.last = number
            if isinstance(record, BadLine):
                batch.skipped.append((DAMAGED, str(record), number))
            elif 0 < record.expiry <= now:
                batch.skipped.append((EXPIRED, record.key, number))
            else:
                try:
                    request = spell(record)
                except Impossible as fault:
                    batch.skipped.append((str(fault), record.key, number))
                else:
                    requests.append(request)
                    size += len(request)
                    batch.items.append((number, record.key))
                    if record.marks & LASTING and not takes_marks:
                        batch.unmarked += 1
            if len(requests) >= most or size >= _WINDOW_BYTES or len(batch.skipped) >= most:
                yield Window(b"".join(requests), len(requests), batch)
                batch, requests, size = Batch(), [], 0
                now = time.time() * 1000
        yield Window(b"".join(requests), len(requests), batch)

    def _acknowledge(self, window: Window, answers: "Optional[list[bytes]]") -> None:
        batch: Batch = window.about
        tally = self.tally
        tally.loaded += window.answers
        tally.unmarked += batch.unmarked
        for (line, key), answer in zip(batch.items, answers or ()):
            if answer != self._dialect.granted:
                batch.skipped.append((self._dialect.reason(answer), key, line))
                tally.loaded -= 1
        for skipped in batch.skipped:
            tally.skip(*skipped)
        self.line = max(self.line, batch.last)
        if self._position.due:
            self._position.write(self._state())

    def _state(self) -> "dict[str, Any]":
        return {"lines": self.line, **self.tally.state()}
