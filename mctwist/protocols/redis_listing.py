"""
What the store holds, told to Redis's clients: SCAN, KEYS, RANDOMKEY.

Each is an answer that comes by a Deferred, as one piece (see `pipeline`). SCAN asks the store for
its next places, so it holds nothing between two calls, survives a restart, and never misses a key
that stays. KEYS has to know how many there are before it can say the first, so it collects what
it finds, up to the longest answer there may be.
"""

import re
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from mctwist.interfaces import StorageError
from mctwist.item import BYTES, Entry
from mctwist.protocols import resp_replies as replies
from mctwist.protocols.glob import literal_prefix, matcher
from mctwist.protocols.redis_commands import SYNTAX, CommandError, Words, integer

#: The longest pattern: what is longer than any key is only a way to have us compile it.
MOST_PATTERN = 4096
#: The most that one SCAN finds, whatever its COUNT.
MOST_COUNT = 1000
#: A SCAN that has found too little asks the store again, so that what has gone from a small one is
#: behind it: up to so many times, and only so often that it looks at no more than the largest.
MOST_ROUNDS = 100

# What C's strtoul, which Redis has read it, takes up to a NUL.
_is_cursor = re.compile(rb"([+-]?)0*([0-9]{1,20})(?:\0.*)?", re.DOTALL).fullmatch
_is_nothing = re.compile(rb"(?:\0.*)?", re.DOTALL).fullmatch

_BAD_CURSOR = CommandError(b"ERR invalid cursor")
_LONG_PATTERN = CommandError(b"ERR a pattern must have up to %d bytes" % MOST_PATTERN)

#: Looks at what the store holds, and comes to an answer.
Search = Callable[[], "Deferred[Optional[bytes]]"]


class Found:
    """
    An answer that has to be looked for; what `Pipeline.run_pieces` takes.

    :param search: begins to; called when its turn has come.
    """

    log = Logger()
    state = "conn_io_queue"

    def __init__(self, search: Search) -> None:
        self._search: Optional[Search] = search

    def next(self) -> "Deferred[Optional[bytes]]":
        search, self._search = self._search, None
        return succeed(None) if search is None else search().addErrback(self._failed)

    def end(self) -> None:
        """Nothing has to be undone: what has been begun ends by itself."""

    def _failed(self, failure: Failure) -> bytes:
        # A fault of the store has been logged by whoever walks it.
        if failure.check(StorageError) is None:
            self.log.failure("an answer could not be found", failure)
        return replies.INTERNAL_ERROR


def scan(storage: Any, words: Words) -> Search:
    """`SCAN CURSOR [MATCH PATTERN] [COUNT COUNT] [TYPE TYPE]`. Raises `CommandError`."""
    begin = _cursor_in(words[1])
    matches: Callable[[bytes], bool] = _everything
    count, kind = 10, None
    if len(words) % 2:
        raise SYNTAX
    for option, word in zip(words[2::2], words[3::2]):
        option = option.upper()
        if option == b"MATCH":
            matches = _matcher(word)
        elif option == b"COUNT":
            count = integer(word)
            if count < 1:
                raise SYNTAX
        elif option == b"TYPE":
            kind = word.lower()
        else:
            raise SYNTAX

    @inlineCallbacks
    def search() -> Any:
        keys: list[bytes] = []
        cursor, left = begin, min(count, MOST_COUNT)
        for _ in range(min(MOST_ROUNDS, MOST_COUNT // left)):
            entries, cursor = yield storage.scan(cursor, left)
            keys += [
                replies.bulk(entry.key)
                for entry in entries
                if matches(entry.key) and kind in (None, _kind_of(entry))
            ]
            # As Redis: what it has met counts, and not what of that is wanted.
            left -= len(entries)
            if left <= 0 or not cursor:
                break
        return replies.array([replies.bulk(b"%d" % cursor), replies.array(keys)])

    return search


def _cursor_in(word: bytes) -> int:
    """The place that a cursor stands for. Raises `CommandError`."""
    match = _is_cursor(word)
    if match is None:
        if _is_nothing(word):
            return 0
        raise _BAD_CURSOR
    number = int(match[2])
    if number >> 64:
        raise _BAD_CURSOR
    return -number % (1 << 64) if match[1] == b"-" else number


def keys(storage: Any, pattern: bytes, most: int) -> Search:
    """
    `KEYS PATTERN`. Raises `CommandError`.

    :param most: bytes of the answer.
    """
    matches = _matcher(pattern)
    prefix = literal_prefix(pattern)

    @inlineCallbacks
    def search() -> Any:
        found: list[bytes] = []
        size = 0
        following = storage.walk(prefix)
        while True:
            entries = yield following()
            if entries is None:
                return replies.array(found)
            for entry in entries:
                if matches(entry.key):
                    found.append(replies.bulk(entry.key))
                    size += len(found[-1])
            if size > most:
                return _TOO_LONG

    return search


def random_key(storage: Any, random: Callable[[int], int], version: int) -> Search:
    """
    `RANDOMKEY`: what comes soon behind a place between the first and the last.

    :param random: a number from 0 up to below its argument.
    """

    @inlineCallbacks
    def soon_behind(place: int, end: int) -> Any:
        """A key behind `place`; None: there is none up to `end`."""
        most = 1
        while True:
            entries, place = yield storage.scan(place, most)
            if entries:
                return entries[random(len(entries))].key
            # Here are places that have been left, maybe most of those there have ever been.
            if not place or place >= end or not storage.live()[0]:
                return None
            most = min(2 * most, MOST_COUNT)

    @inlineCallbacks
    def search() -> Any:
        # Behind this place there is nothing. How far they go nobody knows, so it is felt for.
        end = 16
        while any((yield storage.scan(end, 1))):
            end *= 16
        while end > 0:
            place = random(end)
            key = yield soon_behind(place, end)
            if key is not None:
                return replies.bulk(key)
            end = place
        return replies.NULL[version]

    return search


def _matcher(pattern: bytes) -> "Callable[[bytes], bool]":
    if len(pattern) > MOST_PATTERN:
        raise _LONG_PATTERN
    return _everything if pattern == b"*" else matcher(pattern)


def _everything(key: bytes) -> bool:
    return True


def _kind_of(entry: Entry) -> bytes:
    return b"string" if entry.item.kind == BYTES else b"simpledb"


_TOO_LONG = b"-ERR the answer would be longer than --max-reply\r\n"
