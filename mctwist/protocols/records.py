"""
Whole records on the wire, which memcached has not: an item as the command that makes it again.

    lru_crawler itemdump CLASSES    such a command for each item; see `listing`
    mi KEY LENGTH FLAG*             the command: of an item as it was, there or here

The rule: what `record` tells, `upload` takes, and the item is the same again, but for its place and
its sequence number, which are the store's own. So a dump that is sent to a server is a copy of
another, and there is one grammar for both ways.

It is made in the manner of ms, whose words, errors and answers it has. The flags are the fields of
an `Item`; each is left out where it says nothing.
"""

from typing import Any, Callable

from mctwist import meta_operations, operations
from mctwist.interfaces import Render, Step
from mctwist.item import (
    BINARY_KEY,
    BYTES,
    FETCHED,
    KEPT,
    KEY_LENGTH,
    STALE,
    TYPED,
    WON,
    Entry,
    size_in_memcached,
)
from mctwist.operations import Outcome
from mctwist.protocols import meta_replies, replies
from mctwist.protocols.classic import Now, TooLarge, Upload
from mctwist.protocols.grammar import BAD_FORMAT, ClientError
from mctwist.protocols.meta import (
    BAD_KEY,
    BAD_TOKEN,
    LONG_OPAQUE,
    MOST_OPAQUE,
    Flags,
    alone,
    decoded,
    flags_of,
    number,
)
from mctwist.protocols.meta_replies import base64
from mctwist.protocols.simpledb_grammar import is_wire
from mctwist.stats import Stats

_BAD_MODE = ClientError(b"invalid mode for mi M token")

#: The marks of an item that have a flag. (That of a binary key is b.)
_MARKS = {b"X": STALE, b"W": WON, b"H": FETCHED, b"K": KEPT}

_ADDS = {b"E": True, b"S": False}


# What is told


def record(entry: Entry) -> bytes:
    """The command that makes the item of `entry`, which is whole."""
    key, item, length, accessed, fetched = entry
    kind, marks, flags, expiry, cas, _, _, _, value = item
    words = [b"mi %b %d" % (key, length)]
    # A key that came in clear goes in clear, if that is how it can: other bytes than these do a
    # line no harm.
    if marks & BINARY_KEY or b" " in key or b"\n" in key:
        words = [b"mi %b %d b" % (base64(key), length)]
    if flags:
        words.append(b"F%d" % flags)
    if expiry:
        words.append(b"e%d" % expiry)
    words.append(b"E%d a%d" % (cas, accessed))
    if kind != BYTES:
        words.append(b"Y%d" % kind)
    if fetched:
        marks |= FETCHED
    words += [letter for letter, mark in _MARKS.items() if marks & mark]
    return b"%b\r\n%b\r\n" % (b" ".join(words), value)


# What is taken


_number = number(BAD_TOKEN)


def _expiry(word: bytes) -> int:
    expiry = _number(word)
    if expiry >> 63:
        raise BAD_TOKEN
    return expiry


def _kind(word: bytes) -> int:
    kind = _number(word)
    if kind not in (BYTES, TYPED):
        raise BAD_TOKEN
    return kind


_FLAGS: dict[bytes, Callable[[bytes], Any]] = {
    **dict.fromkeys((b"b", b"k", b"q", b"O", *_MARKS), alone),
    b"F": number(BAD_FORMAT, 32),
    b"e": _expiry,
    b"E": _number,
    b"a": number(BAD_TOKEN, 32),
    b"Y": _kind,
    b"M": lambda word: word[1:2],
}


def upload(words: list[bytes], length: int, quiet: bool, now: Now, limit: int) -> Upload:
    """As `meta.upload`, of mi."""
    key, fault = words[1], None
    if any(word[:1] == b"b" for word in words[3:]):
        key = decoded(key)
        fault = BAD_KEY if not key else None
    if len(key) > KEY_LENGTH:
        fault = BAD_FORMAT
    flags = flags_of(words[3:], 3, fault, _FLAGS)
    adds = _ADDS.get(flags.get(b"M", b"S"))
    if adds is None:
        raise _BAD_MODE
    client_flags = flags.get(b"F", 0)
    if size_in_memcached(key, length, client_flags) > limit:
        raise TooLarge((operations.refuse, key, ("set", True), replies.refused))
    if len(flags.get(b"O", b"")) > MOST_OPAQUE:
        raise LONG_OPAQUE
    marks = sum(mark for letter, mark in _MARKS.items() if letter in flags)
    marks |= BINARY_KEY if b"b" in flags else 0
    kind = flags.get(b"Y", BYTES)
    arguments = (
        *(client_flags, flags.get(b"e", 0), marks, flags.get(b"E"), kind, flags.get(b"a")),
        adds,
    )
    made = _TypedUpload if kind == TYPED else Upload
    return made(meta_operations.restore, key, arguments, _answer(flags))


class _TypedUpload(Upload):
    """Whoever asks for a typed value relies on it that it is one."""

    __slots__ = ()

    def step(self, value: bytes) -> Step:
        if is_wire(value):
            return super().step(value)
        return operations.constant, self.key, (replies.BAD_CHUNK,), replies.spoiled


# What is answered


def _counted(render: Render) -> Render:
    """`render`, counted for `stats detail`, as meta's own are not."""

    def render_counted(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        if stats.prefixes.counting:
            stats.prefixes.count_set(key)
        return render(stats, key, outcome)

    return render_counted


_stored = _counted(meta_replies.stored)


def _answer(flags: Flags) -> Render:
    render = meta_replies.storing(flags, False)
    return _stored if render is meta_replies.stored else _counted(render)
