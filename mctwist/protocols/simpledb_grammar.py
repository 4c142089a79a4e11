"""
The grammar of simpledb's dialect: bytes in, requests out.

A request is an array, whose elements may be values of any kind, nested at will; or a line of
words. It is read in one pass that remembers where it is, so that a request may come in any pieces
at no cost, and without recursion: of each container that is open only the number of elements that
it still misses is known. What is too large is read to its end and let go, and the stream stays in
step. Where it cannot, `Malformed` is raised: nothing that follows means anything.
"""

import re
from collections.abc import Iterator
from typing import Optional, Union

from mctwist.protocols.simpledb_values import (
    ARRAY,
    BULKS,
    CONTAINERS,
    DICTIONARY,
    JSON,
    MOST_DEPTH,
    NULL,
    NULL_WIRE,
    NUMBER,
    STRING,
    TEXT,
    CommandError,
    Value,
    is_json,
    is_number,
)

#: A request has no more elements than this, those of elements too.
MOST_ELEMENTS = 1 << 16
#: A line has no more bytes than this.
MOST_LINE = 1 << 16
#: A bulk that is said to be longer cannot be right.
MOST_BULK = 1 << 30

#: The arguments of a request, the command first; or what is wrong with it.
Request = Union[list[Value], CommandError]

_LENGTH = re.compile(rb"[0-9]{1,10}").fullmatch
_SORTS = frozenset({*BULKS, *CONTAINERS, NUMBER, b"+", b"-"})


class Malformed(CommandError):
    """What has come is no request, and where the next one begins is not known."""

    def __init__(self, words: str) -> None:
        super().__init__(f"Protocol error: {words}.")


class Reader:
    """
    Makes requests of what comes.

    :param most_bulk: bytes that a bulk may have; :param most: that a request may have.
    """

    def __init__(self, most_bulk: int, most: int) -> None:
        self._most_bulk = most_bulk
        self._most = most
        self._data = bytearray()  # what has not been made requests, from the begin of one
        self._needed = 0  # bytes of it, to go on
        self._begin()

    def _begin(self) -> None:
        self._at = 0  # of the first byte that has not been read
        self._missing: list[int] = []  # elements of each open container, the outermost first
        self._elements = 0
        self._arguments: list[Value] = []
        self._argument_at = 0  # of the argument that is a container, and its sort
        self._argument_sort = b""
        self._words: Optional[list[bytes]] = None  # of a request that is no array
        self._sort = b""
        self._wrong: Optional[CommandError] = None  # and nothing more is kept
        self._skipped = 0  # bytes that are still to be let go

    @property
    def skips(self) -> bool:
        """Whether what comes is let go."""
        return self._skipped > 0

    @property
    def waits(self) -> bool:
        """Whether a bulk has not come whole."""
        return self._needed > 0

    def requests(self, data: bytes) -> Iterator[Request]:
        """
        The requests that `data` completes.

        :raises Malformed: behind those before it.
        """
        self._data += data
        if len(self._data) < self._needed:
            return
        self._needed = 0
        while self._element():
            if self._missing:
                continue
            yield self._request()
            del self._data[: self._at]
            self._begin()

    def _request(self) -> Request:
        """What has been read, which is whole."""
        if self._wrong is not None:
            return self._wrong
        if self._words is not None:
            return [Value(STRING, word) for word in self._words]
        if self._sort != ARRAY:
            return CommandError("Unrecognized request type.")
        return self._arguments

    def _element(self) -> bool:
        """Read one element, or the head of a container; False: it has not come whole."""
        if self._skipped:
            skipped = min(self._skipped, len(self._data))
            del self._data[:skipped]
            self._skipped -= skipped
            return not self._skipped and self._have(None)
        if self._wrong is not None:
            # Of what is wrong, only the end is looked for.
            del self._data[: self._at]
            self._at = 0
        elif self._at > self._most:
            self._wrong = CommandError("Request is too large.")
        start = self._at
        end = self._data.find(b"\n", start, start + MOST_LINE)
        if end < 0:
            if len(self._data) - start >= MOST_LINE:
                raise Malformed("too long a line")
            return False
        sort = bytes(self._data[start : start + 1])
        if sort not in _SORTS and not self._missing:
            self._words = bytes(self._data[start:end]).split()
            self._at = end + 1
            return True
        line = bytes(self._data[start + 1 : end + 1])
        if not line.endswith(b"\r\n"):
            raise Malformed("a line without its end")
        line = line[:-2]
        if sort in CONTAINERS:
            return self._container(sort, line, start, end + 1)
        if sort in BULKS:
            return self._bulk(sort, line, end + 1)
        self._at = end + 1
        if sort == b"+":
            return self._have(Value(STRING, line))
        if sort == NUMBER and is_number(line):
            return self._have(Value(NUMBER, line))
        if sort == b"-":
            raise Malformed("an error is no value")
        raise Malformed("not a number" if sort == NUMBER else "unknown type")

    def _container(self, sort: bytes, line: bytes, start: int, end: int) -> bool:
        count = self._length(line) * (2 if sort == DICTIONARY else 1)
        self._elements += count
        if self._elements > MOST_ELEMENTS:
            raise Malformed("too many elements")
        # The request itself is none of them.
        if len(self._missing) > MOST_DEPTH:
            raise Malformed("nested too deep")
        if len(self._missing) == 0:
            self._sort = sort
        elif len(self._missing) == 1:
            self._argument_sort, self._argument_at = sort, start
        self._at = end
        self._missing.append(count)
        return self._close()

    def _bulk(self, sort: bytes, line: bytes, start: int) -> bool:
        if line == b"-1" and sort == STRING:
            self._at = start
            return self._have(Value(NULL, b""))
        length = self._length(line)
        if length > MOST_BULK:
            raise Malformed("too long a bulk")
        if length > self._most_bulk or start + length > self._most:
            self._wrong = self._wrong or CommandError("Value is too large.")
        if self._wrong is not None:
            del self._data[:start]
            self._at = 0
            self._skipped = length + 2
            return self._element()
        end = start + length
        if len(self._data) < end + 2:
            self._needed = end + 2
            return False
        if self._data[end : end + 2] != b"\r\n":
            raise Malformed("a bulk without its end")
        content = bytes(memoryview(self._data)[start:end])
        self._at = end + 2
        if not _is_right(sort, content):
            self._wrong = CommandError("Value is not what it is said to be.")
        return self._have(Value(sort, content))

    def _length(self, line: bytes) -> int:
        if not _LENGTH(line):
            raise Malformed("not a length")
        return int(line)

    def _have(self, value: Optional[Value]) -> bool:
        """An element has been read."""
        if not self._missing:
            self._sort = b""
            if value is not None and value.sort in (STRING, TEXT):
                self._words = value.content.split()
            return True
        if len(self._missing) == 1 and value is not None and self._wrong is None:
            self._arguments.append(value)
        self._missing[-1] -= 1
        return self._close()

    def _close(self) -> bool:
        """Leave the containers that miss nothing."""
        missing = self._missing
        while missing and not missing[-1]:
            missing.pop()
            if len(missing) == 1 and self._wrong is None:
                wire = bytes(self._data[self._argument_at : self._at])
                self._arguments.append(Value(self._argument_sort, wire))
            if missing:
                missing[-1] -= 1
        return True


def elements(container: bytes) -> "list[Value]":
    """
    What is in a container, by its wire form, which is whole.

    :raises CommandError: it is nested too deep.
    """
    # As an array it is a request, whose head may be longer.
    reader = Reader(len(container), 2 * len(container))
    head = container.index(b"\r\n")
    count = int(container[1:head]) * (2 if container[:1] == DICTIONARY else 1)
    (request,) = reader.requests(b"*%d%b" % (count, container[head:]))
    assert isinstance(request, list)
    return request


def is_wire(data: bytes) -> bool:
    """
    Whether `data` is what is stored of a value that is not bytes: its wire form, whole.

    What was nested and extended by this server may be deeper and longer than a request.
    """
    if data[:1] in (STRING, b"+") and data != NULL_WIRE:
        return False
    at, missing = 0, 1
    while missing:
        end = data.find(b"\n", at)
        sort, line = data[at : at + 1], data[at + 1 : end + 1]
        if end < 0 or line[-2:] != b"\r\n":
            return False
        line = line[:-2]
        at = end + 1
        missing -= 1
        if sort in CONTAINERS and _LENGTH(line):
            missing += int(line) * (2 if sort == DICTIONARY else 1)
        elif sort in BULKS and _LENGTH(line):
            content = data[at : at + int(line)]
            at += int(line) + 2
            if data[at - 2 : at] != b"\r\n" or not _is_right(sort, content):
                return False
        elif not (
            sort == b"+" or (sort == NUMBER and is_number(line)) or (sort, line) == (STRING, b"-1")
        ):
            return False
    return at == len(data)


def _is_right(sort: bytes, content: bytes) -> bool:
    """Whether a bulk holds what it is said to."""
    if sort == TEXT:
        return _is_text(content)
    return sort != JSON or is_json(content)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
