"""
The requests of Redis's protocol, cut out of what a connection reads.

A request is an array of bulk strings, or an inline command: a line of words. What a read has
brought is cut in one pass; of an array that has not come whole the words that have are kept, and
only the piece behind them is looked at again. What a peer announces costs nothing: room is taken
by what has come, and that is bounded. A word larger than any value may be is let go as it comes.
Where Redis cannot tell where the next request begins it says so and hangs up, and so do we.

GET and SET in their plain form are most of what comes: they are recognised by one regular
expression each, and what that does not match goes the long way to the same end.
"""

import re
from typing import Any, Callable

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mctwist import operations
from mctwist.item import KEY_LENGTH, size_in_memcached
from mctwist.protocols import resp_replies as replies
from mctwist.protocols.connection import BROWSERS, Connection
from mctwist.protocols.inline import Words, split
from mctwist.protocols.pending import Pending
from mctwist.protocols.services import Services

#: The first byte of an array.
ARRAY = 0x2A

#: The most elements of an array (networking.c before 7.0), the longest bulk string
#: (proto-max-bulk-len) and the longest line (PROTO_INLINE_MAX_SIZE); and the first two of
#: somebody who has not logged in.
MOST_ELEMENTS, MOST_BULK, MOST_LINE = 1 << 20, 512 << 20, 64 * 1024
MOST_STRANGE_ELEMENTS, MOST_STRANGE_BULK = 10, 16 * 1024

#: The most of one request, or of a transaction, in bytes of memory besides one value.
MOST_REQUEST = 64 << 20
#: What a word takes besides its bytes.
WORD = 48

_plain_get = re.compile(
    rb"\*2\r\n\$3\r\nGET\r\n\$([0-9]{1,3})\r\n([!-~\x80-\xff]{1,%d})\r\n" % KEY_LENGTH
).match
# Up to the value, whose length is the last group.
_plain_set = re.compile(
    rb"\*3\r\n\$3\r\nSET\r\n\$([0-9]{1,3})\r\n([!-~\x80-\xff]{1,%d})\r\n\$(0|[1-9][0-9]{0,6})\r\n"
    % KEY_LENGTH
).match
# A dictionary finds a length in a third of the time of int().
_LENGTHS = {b"%d" % length: length for length in range(1, KEY_LENGTH + 1)}

# What announces a short word.
_SHORT = {b"$%d" % length: length for length in range(1024)}

_is_count = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch


class ProtocolError(Exception):
    """A peer says what has no end: where the next request begins is not known any more."""


class RequestConnection(Connection, Protocol):
    """One connection that reads requests; what becomes of them is its subclass's to know."""

    def __init__(self, services: Services, lost: Callable[[Any], None]) -> None:
        super().__init__(services, lost)
        self._version = 2  # of the protocol, or 3
        self._pending = Pending()
        self._words: Words = []  # of an array that has not come whole
        self._left = 0  # words that are still to come
        self._bulk = -1  # the length of the next; -1: not known yet
        self._weight = 0  # of these words, in memory
        self._spoiled = False  # one of them was let go

    # What the subclass adds

    def _run(self, words: Words, spoiled: bool) -> None:
        """
        Take one command.

        :param spoiled: a word of it was let go, and is empty.
        """
        raise NotImplementedError

    def _say(self, answer: bytes) -> None:
        """Answer, in its turn."""
        raise NotImplementedError

    @property
    def _collects(self) -> bool:
        """Whether no command is run before others have come."""
        raise NotImplementedError

    # What a dialect adds

    @property
    def state(self) -> str:
        if not self._closed and self._pending.skipped:
            return "conn_swallow"
        if not self._closed and (self._left or self._pending):
            return "conn_nread"
        return super().state

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._pending.clear()
        self._words = []
        super().connectionLost(reason)

    def _parse(self, data: bytes) -> None:
        whole = self._pending.join(data, MOST_LINE)
        if whole is None:
            return
        try:
            start = self._requests(whole)
        except ProtocolError as error:
            self._say(replies.error(b"ERR Protocol error: " + error.args[0]))
            self.finish("error")
            return
        if self._asking:
            self._behind.append(whole[start:])
        elif start < len(whole) and not self._closed:
            self._pending.keep(whole[start:])
        self._submit()

    # Requests

    def _requests(self, data: bytes) -> int:
        """Take all that `data` has whole; return where the rest begins."""
        start, size = 0, len(data)
        while start < size and not (self._asking or self._closed):
            if not self._left:
                if self._rights is not None and not self._collects:
                    start = self._plain_requests(data, start)
                    if start == size:
                        break
                if data[start] != ARRAY:
                    end = self._inline(data, start)
                    if end < 0:
                        break
                    start = end
                    continue
                end = self._line_end(data, start, b"too big mbulk count string")
                if end < 0:
                    break
                self._begin(data[start + 1 : end])
                start = end + 2
            start = self._elements(data, start)
            if self._left:
                break
        return start

    def _plain_requests(self, data: bytes, start: int) -> int:
        """Take the GETs and SETs from `start` on; return where something else begins."""
        steps = self._steps
        fetch, value = operations.fetch, replies.VALUE[self._version]
        store, stored = operations.store, replies.stored
        limit = self._settings.max_item_size
        while True:
            match = _plain_get(data, start)
            if match is not None:
                length, key = match.groups()
                if _LENGTHS.get(length) != len(key):
                    return start
                start = match.end()
                steps.append((fetch, key, (), value))
                continue
            match = _plain_set(data, start)
            if match is None:
                return start
            length, key, digits = match.groups()
            begin = match.end()
            end = begin + int(digits)
            if (
                _LENGTHS.get(length) != len(key)
                or end + 2 > len(data)
                or size_in_memcached(key, end - begin, 0) > limit
            ):
                return start
            steps.append((store, key, (data[begin:end], 0, 0), stored))
            self._reads_only = False
            start = end + 2

    def _line_end(self, data: bytes, start: int, what: bytes, end: bytes = b"\r\n") -> int:
        """Where a line ends; -1: it has not come whole. Raises `ProtocolError`."""
        place = data.find(end, start)
        if place < 0:
            self._pending.needed = 0
            if len(data) - start > MOST_LINE:
                raise ProtocolError(what)
        return place

    def _begin(self, digits: bytes) -> None:
        """An array begins, of so many words; of none or fewer there is nothing to be done."""
        if not _is_count(digits) or not -(1 << 63) <= int(digits) <= MOST_ELEMENTS:
            raise ProtocolError(b"invalid multibulk length")
        count = int(digits)
        if count > MOST_STRANGE_ELEMENTS and self._rights is None:
            raise ProtocolError(b"unauthenticated multibulk length")
        self._left = max(count, 0)
        self._words, self._weight, self._spoiled = [], 0, False

    def _elements(self, data: bytes, start: int) -> int:
        """Take words of the array that has begun, and run it when it is whole."""
        if not self._left:
            return start
        words, size = self._words, len(data)
        largest = self._settings.max_item_size
        while self._left:
            length = self._bulk
            if length < 0:
                end = data.find(b"\r\n", start)
                # Most words are short, and a dictionary is faster than what is strict.
                announced = _SHORT.get(data[start:end]) if end >= 0 else None
                if announced is not None:
                    length = announced
                elif self._line_end(data, start, b"too big bulk count string") < 0:
                    return start
                else:
                    length = self._announced(data[start : start + 1], data[start + 1 : end])
                start = end + 2
                if length <= largest:
                    self._weight += length + WORD
                    if self._weight > MOST_REQUEST + largest:
                        raise ProtocolError(b"too big request")
            end = start + length
            if length > largest:
                # Whatever it is for, it is too large: it goes by, perhaps beyond the answer.
                self._spoiled = True
                self._pending.let_go(end + 2, size)
                words.append(b"")
            elif end + 2 > size:
                self._bulk = length
                self._pending.needed = length + 2
                return start
            else:
                words.append(data[start:end])
            start = min(end + 2, size)
            self._bulk = -1
            self._left -= 1
        self._words = []
        self._run(words, self._spoiled)
        return start

    def _announced(self, mark: bytes, digits: bytes) -> int:
        """How many bytes the next word has. Raises `ProtocolError`."""
        if mark != b"$":
            raise ProtocolError(b"expected '$', got '%b'" % mark)
        if not _is_count(digits) or not 0 <= int(digits) <= MOST_BULK:
            raise ProtocolError(b"invalid bulk length")
        length = int(digits)
        if length > MOST_STRANGE_BULK and self._rights is None:
            raise ProtocolError(b"unauthenticated bulk length")
        return length

    def _inline(self, data: bytes, start: int) -> int:
        """Run a line; return where the next begins; -1: it has not come whole."""
        end = self._line_end(data, start, b"too big inline request", b"\n")
        if end < 0:
            return -1
        line = data[start:end]
        words = split(line[:-1] if line.endswith(b"\r") else line)
        if words is None:
            raise ProtocolError(b"unbalanced quotes in request")
        if words:
            if words[0].upper() in BROWSERS or words[-1].startswith(b"HTTP/"):
                # A browser, or somebody who makes one send this: nothing of it is run.
                self.finish("error")
            else:
                self._run(words, max(map(len, words)) > self._settings.max_item_size)
        return end + 1
