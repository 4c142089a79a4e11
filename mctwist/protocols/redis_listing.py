"""
What the store holds, told to Redis's clients: SCAN, KEYS, RANDOMKEY.

Each is an answer that comes by a Deferred, as one piece (see `pipeline`). SCAN asks the store for
its next places, so it holds nothing between two calls, survives a restart, and never misses a key
that stays. KEYS has to know how many there are before it can say the first, so it collects what
it finds, up to the longest answer there may be.
"""

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
#: The most that one SCAN looks at, whatever its COUNT.
MOST_COUNT = 1000

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
    cursor = words[1]
    # C's strtoul, which Redis has read it, is laxer only in what no server has ever answered.
    if not cursor.isdigit() or len(cursor) > 20 or int(cursor) >> 64:
        raise _BAD_CURSOR
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

    def answer(found: "tuple[list[Entry], int]") -> bytes:
        entries, following = found
        keys = [
            replies.bulk(entry.key)
            for entry in entries
            if matches(entry.key) and kind in (None, _kind_of(entry))
        ]
        return replies.array([replies.bulk(b"%d" % following), replies.array(keys)])

    return lambda: storage.scan(int(cursor), min(count, MOST_COUNT)).addCallback(answer)


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
