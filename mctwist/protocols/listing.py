"""
What the store holds, told piece by piece: `lru_crawler metadump`, `mgdump`, `itemdump`, `stats
cachedump`.

A listing is an answer without a size. It is made of the pieces of a walk through the store, each
of which is asked for when the one before has been written and the peer reads (see `pipeline`), so
no more than a piece of it exists at once, and a peer that does not read holds up nobody.

A walk costs, so of dumps there is one at a time, as in memcached, which says of another that it
is busy (crawler.c). One that has not moved for a while has stopped costing, and counts no more:
memcached waits half an hour for a client that does not read, and keeps all others out.

The lines are memcached's (crawler.c, items.c); of `itemdump` they are in `records`. All items
are in slab class 1.
"""

from base64 import b64encode
from typing import Callable, NamedTuple, Optional
from urllib.parse import quote_from_bytes

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from mctwist.item import BINARY_KEY, Entry
from mctwist.protocols.grammar import BAD_FORMAT, ClientError, PlainError, unsigned
from mctwist.protocols.records import record
from mctwist.protocols.replies import BUSY, END, INTERNAL_ERROR

#: Seconds without a piece after which a dump makes room for another.
STALLED = 10.0

#: The most of a cachedump, in bytes (items.c, item_cachedump).
MOST_CACHEDUMP = 2 << 20

_ENDLESS = 1 << 62

#: As of `IStorage.walk`, and its result.
NextPiece = Callable[[], "Deferred[Optional[list[Entry]]]"]
Walk = Callable[[], NextPiece]
#: The line of an entry; nothing: it is left out.
Spell = Callable[[Entry], bytes]


def metadump_line(entry: Entry) -> bytes:
    """Of `lru_crawler metadump`; it ends with a space and without a return."""
    key, item, _, accessed, fetched = entry
    return b"key=%b exp=%d la=%d cas=%d fetch=%b cls=1 size=%d flags=%d \n" % (
        quote_from_bytes(key, safe="").encode(),
        -(-item.expiry // 1000) or -1,
        accessed,
        item.cas,
        b"yes" if fetched else b"no",
        entry.size,
        item.flags,
    )


def mgdump_line(entry: Entry) -> bytes:
    """Of `lru_crawler mgdump`: the command that fetches it."""
    if entry.item.marks & BINARY_KEY:
        return b"mg %b b\r\n" % b64encode(entry.key)
    return b"mg %b\r\n" % entry.key


def cachedump_line(entry: Entry) -> bytes:
    """Of `stats cachedump`, where a key ends at its first NUL and a binary one is left out."""
    if entry.item.marks & BINARY_KEY:
        return b""
    key, _, _ = entry.key.partition(b"\0")
    return b"ITEM %b [%d b; %d s]\r\n" % (key, entry.length, -(-entry.item.expiry // 1000))


class Crawler:
    """
    Who dumps: the turn that dumps of one server take.

    :ivar at_work: the listing whose turn it is, if any.
    :ivar moved: when it last asked for a piece.
    """

    def __init__(self) -> None:
        self.at_work: Optional[Listing] = None
        self.moved = 0.0

    def admit(self, listing: "Listing", now: float) -> bool:
        """Whether `listing` may begin; if so, it is its turn."""
        if self.at_work is not None and now - self.moved < STALLED:
            return False
        self.at_work, self.moved = listing, now
        return True


class Listing:
    """
    An answer that lists items; what `Pipeline.run_pieces` takes.

    :param walk: begins the walk; None: there is nothing to be listed.
    :param first: what comes before the lines; :param last: and behind them.
    :param crawler: whose turn it needs; None: it needs none.
    :param seconds: the clock.
    :param most_lines: the most lines, and :param most_bytes: the most bytes of them.
    """

    state = "conn_watch"

    def __init__(
        self,
        walk: Optional[Walk],
        spell: Spell,
        seconds: Callable[[], float],
        first: bytes = b"",
        last: bytes = END,
        crawler: Optional[Crawler] = None,
        most_lines: int = _ENDLESS,
        most_bytes: int = _ENDLESS,
    ) -> None:
        self._walk = walk
        self._spell = spell
        self._seconds = seconds
        self._first = first
        self._last = last
        self._crawler = crawler
        self._lines_left = most_lines
        self._bytes_left = most_bytes
        self._next: Optional[NextPiece] = None
        self._over = False

    def next(self) -> "Deferred[Optional[bytes]]":
        """The next piece of the answer; None behind the last. It does not fail."""
        if self._over:
            return succeed(None)
        crawler = self._crawler
        if self._next is None:
            if crawler is not None and not crawler.admit(self, self._seconds()):
                return self._end_with(BUSY)
            if self._walk is None:
                return self._end_with(self._first + self._last)
            self._next = self._walk()
        elif crawler is not None and crawler.at_work is self:
            crawler.moved = self._seconds()
        return self._next().addCallbacks(self._have, self._have_failed)

    def end(self) -> None:
        """No more of it will be asked for."""
        self._over = True
        self._next = self._walk = None
        if self._crawler is not None and self._crawler.at_work is self:
            self._crawler.at_work = None

    def _have(self, entries: "Optional[list[Entry]]") -> bytes:
        first, self._first = self._first, b""
        lines = [first]
        for entry in entries or ():
            line = self._spell(entry)
            if not line:
                continue
            self._lines_left -= 1
            self._bytes_left -= len(line)
            if self._lines_left < 0 or self._bytes_left < 0:
                break
            lines.append(line)
        if entries is None or self._lines_left <= 0 or self._bytes_left <= 0:
            self._over = True
            lines.append(self._last)
        return b"".join(lines)

    def _have_failed(self, failure: Failure) -> bytes:
        # Whoever walks the store has logged it.
        self._over = True
        return INTERNAL_ERROR

    def _end_with(self, answer: bytes) -> "Deferred[Optional[bytes]]":
        self._over = True
        return succeed(answer)


class Dump(NamedTuple):
    """
    A kind of dump.

    :ivar name: its word behind `lru_crawler`.
    :ivar last: what ends it; :ivar refusal: what is answered where dumping is not allowed.
    :ivar whole: the values are asked for, too.
    """

    name: bytes
    spell: Spell
    last: bytes
    refusal: ClientError
    whole: bool = False


_METADUMP = Dump(b"metadump", metadump_line, END, PlainError(b"metadump not allowed"))
_MGDUMP = Dump(b"mgdump", mgdump_line, b"EN\r\n", PlainError(b"key dump not allowed"))
_ITEMDUMP = Dump(b"itemdump", record, b"EN\r\n", PlainError(b"itemdump not allowed"), whole=True)
_DUMPS = (_METADUMP, _MGDUMP, _ITEMDUMP)
_NO_CACHEDUMP = ClientError(b"stats cachedump not allowed")
_BAD_CACHEDUMP = ClientError(b"bad command line")
_BAD_CLASS = ClientError(b"Illegal slab id")
_CLASSES = 64


def dump_of(words: "list[bytes]") -> Optional[Dump]:
    """
    What `lru_crawler` is to dump, of which the first letters will do; None: it is not to dump.

    `metadump CLASSES`; ours: `metadump all PREFIX`, and `itemdump`.
    """
    if len(words) == 4 and (words[2] not in (b"all", b"hash") or words[3] == b"noreply"):
        return None
    if len(words) not in (3, 4) or b"crawl".startswith(words[1]):
        return None
    return next((dump for dump in _DUMPS if dump.name.startswith(words[1])), None)


def cachedump(
    words: "list[bytes]", allowed: bool, walk: Walk, seconds: Callable[[], float]
) -> Listing:
    """`stats cachedump CLASS LIMIT`, where a limit of 0 is none."""
    if not allowed:
        raise _NO_CACHEDUMP
    if len(words) < 4:
        raise _BAD_CACHEDUMP
    number, limit = (unsigned(word, 32, BAD_FORMAT) for word in words[2:4])
    if number >= _CLASSES:
        raise _BAD_CLASS
    return Listing(
        walk if number == 1 else None,
        cachedump_line,
        seconds,
        most_lines=limit or _ENDLESS,
        # Six are for what ends it.
        most_bytes=MOST_CACHEDUMP - 6,
    )
