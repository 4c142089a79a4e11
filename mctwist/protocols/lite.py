"""
The lite dialect: three commands, for those who write a client in an afternoon.

    set KEY SIZE\\r\\nVALUE\\r\\n    STORED, NOT_STORED, ERROR
    get KEY\\r\\n                  VALUE KEY SIZE\\r\\nVALUE\\r\\nEND, NOT-FOUND, ERROR
    end\\r\\n                      closes

`SET` and `GET` do the same, and answer NOT STORED, NOT FOUND and INVALID COMMAND in the words of
another such server; so is any other command in capitals. Every answer ends with a line end.

What follows a set that is wrong is let go where its size is known, so that no value is taken for
commands. A value that does not end where it should is an error, and the next line end is its end.
"""

from functools import partial
from typing import Any, Callable, NamedTuple, Optional

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mctwist import operations
from mctwist.interfaces import Step, StoreFull
from mctwist.item import KEY_LENGTH, Item, marks_of, size_in_memcached
from mctwist.operations import Outcome
from mctwist.protocols.connection import BROWSERS, Connection
from mctwist.protocols.counting import count_get, count_store
from mctwist.protocols.services import Services
from mctwist.stats import Stats

#: A line with no end in sight is cut off here.
MOST_LINE = 2048
#: A value that is said to be longer cannot be right.
MOST_LENGTH = (1 << 31) - 3


class Words(NamedTuple):
    """How a command in small letters is answered, or one in capitals."""

    missing: bytes
    unstored: bytes
    wrong: bytes


_SMALL = Words(b"NOT-FOUND\r\n", b"NOT_STORED\r\n", b"ERROR\r\n")
_CAPITAL = Words(b"NOT FOUND\r\n", b"NOT STORED\r\n", b"INVALID COMMAND\r\n")


class Upload(NamedTuple):
    """
    A set whose value has not come.

    :ivar unfit: what is answered in its place, whatever it is; None: it may be stored.
    """

    key: bytes
    length: int
    words: Words
    unfit: Optional[bytes] = None


class LiteProtocol(Connection, Protocol):
    """One connection that speaks the lite dialect."""

    def __init__(self, services: Services, lost: Callable[[Any], None]) -> None:
        super().__init__(services, lost)
        self._data = bytearray()  # what has not been taken
        self._upload: Optional[Upload] = None
        self._skipped = 0  # bytes that are still to be let go
        self._lost_line = False  # up to the next line end, all is

    # What a dialect adds

    @property
    def state(self) -> str:
        if not self._closed and (self._skipped or self._lost_line):
            return "conn_swallow"
        if not self._closed and self._upload is not None:
            return "conn_nread"
        return super().state

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._data = bytearray()
        super().connectionLost(reason)

    def _parse(self, data: bytes) -> None:
        self._data += data
        at = 0
        while not self._closed:
            end = self._take(at)
            if end < 0:
                break
            at = end
        del self._data[:at]
        if self._steps:
            # What came before counts too: the value of a set is of it.
            self._submit()

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        words: Words = step[3].args[0]  # type: ignore[attr-defined]  # of a partial
        if isinstance(fault, StoreFull):
            self._stats.store_no_memory += 1
        return words.unstored if step[0] is operations.store else words.wrong

    # Lines and values

    def _take(self, at: int) -> int:
        """Take what is next, at `at`: where to go on; -1: it has not come whole."""
        if self._skipped:
            return self._skip(at)
        if self._upload is not None:
            return self._value(at, self._upload)
        end = self._data.find(b"\n", at, at + MOST_LINE)
        if end >= 0:
            line = bytes(self._data[at:end])
            if self._lost_line:
                self._lost_line = False
            else:
                self._line(line[:-1] if line.endswith(b"\r") else line)
            return end + 1
        if len(self._data) - at < MOST_LINE:
            return -1
        if self._lost_line:
            return at + MOST_LINE
        self._say(_SMALL.wrong)
        self.finish("error")
        return -1

    def _line(self, line: bytes) -> None:
        words = line.split(b" ")
        if line == b"end":
            self.finish()
        elif words[0].upper() in BROWSERS:
            self.finish("error")
        elif words[0] in _SETS:
            self._set(words, _SETS[words[0]])
        elif words[0] in _GETS:
            spelled = _GETS[words[0]]
            if len(words) == 2 and 0 < len(words[1]) <= KEY_LENGTH:
                self._steps.append((operations.fetch, words[1], (), partial(_found, spelled)))
            else:
                self._say(spelled.wrong)
        else:
            self._say((_CAPITAL if words[0].isupper() else _SMALL).wrong)

    def _set(self, words: "list[bytes]", spelled: Words) -> None:
        size = words[-1] if len(words) == 3 else b""
        if not (size.isdigit() and len(size) <= _MOST_DIGITS):
            self._say(spelled.wrong)
            return
        key, length = words[1], int(size)
        if length > MOST_LENGTH:
            self._say(spelled.wrong)
            self.finish("error")
            return
        unfit = None
        if not 0 < len(key) <= KEY_LENGTH:
            unfit = spelled.wrong
        elif size_in_memcached(key, length, 0) > self._settings.max_item_size:
            self._stats.store_too_large += 1
            unfit = spelled.unstored
        self._upload = Upload(key, length, spelled, unfit)

    def _value(self, at: int, upload: Upload) -> int:
        """Take the value of a set, as `_take`."""
        if upload.unfit is not None:
            self._upload = None
            self._skipped = upload.length
            self._lost_line = True
            self._say(upload.unfit)
            return at
        end = at + upload.length
        if len(self._data) < end + 2:
            return -1
        self._upload = None
        if self._data[end : end + 2] != b"\r\n":
            self._lost_line = True
            self._say(upload.words.wrong)
            return end
        value = bytes(memoryview(self._data)[at:end])
        render = partial(_stored, upload.words)
        self._steps.append(
            (operations.store, upload.key, (value, 0, 0, marks_of(upload.key)), render)
        )
        self._reads_only = False
        return end + 2

    def _skip(self, at: int) -> int:
        skipped = min(self._skipped, len(self._data) - at)
        self._skipped -= skipped
        return at + skipped if skipped else -1

    def _say(self, answer: bytes) -> None:
        self._steps.append((operations.constant, b"", (answer,), _said))


def _found(words: Words, stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    count_get(stats, item)
    if item is None:
        return words.missing
    return b"VALUE %b %d\r\n%b\r\nEND\r\n" % (key, len(item.value), item.value)


def _stored(words: Words, stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    count_store(stats, outcome[0])
    return b"STORED\r\n"


def _said(stats: Stats, key: bytes, answer: bytes) -> bytes:
    return answer


_SETS = {b"set": _SMALL, b"SET": _CAPITAL}
_GETS = {b"get": _SMALL, b"GET": _CAPITAL}
# Zeros may lead, so this is only to keep int() short.
_MOST_DIGITS = 20
