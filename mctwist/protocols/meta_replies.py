"""
The answers of the meta commands: what makes a `render(stats, key, result) -> bytes` of the flags.

A flag that asks for something is answered in its place among those of the command, what nobody
asked for (Z, X, W) comes behind. What found nothing answers only with O and k, but for ms, which
answers all (proto_text.c, _finalize_mset). Errors are never quiet, so no render here is one of
`replies.SILENT`. As in memcached, `stats detail` does not count meta commands.
"""

from binascii import b2a_base64
from collections.abc import Mapping
from typing import Any, Callable, Optional

from mctwist.interfaces import Fetched, Render
from mctwist.item import BINARY_KEY, STALE, Item, size_in_memcached
from mctwist.meta_operations import Counted
from mctwist.operations import (
    DELETED,
    DONE,
    EXISTS,
    NOT_FOUND,
    NOT_NUMERIC,
    NOT_STORED,
    STORED,
    Outcome,
    Status,
)
from mctwist.protocols.counting import count_count, count_swap
from mctwist.protocols.replies import NON_NUMERIC
from mctwist.range_operations import pushed as made_key
from mctwist.stats import Stats

NO_OPERATION = b"MN\r\n"

_WORDS: dict[Status, bytes] = {
    STORED: b"HD",
    DELETED: b"HD",
    DONE: b"HD",
    NOT_STORED: b"NS",
    EXISTS: b"EX",
    NOT_FOUND: b"NF",
}

#: What a flag is answered with: `(key, item, more)`.
Show = Callable[[bytes, Any, Any], bytes]


def _key(key: bytes, item: Any = None, more: Any = None) -> bytes:
    return b" k" + key


def _binary_key(key: bytes, item: Any = None, more: Any = None) -> bytes:
    return b" k%b b" % base64(key)


#: Of mg, with a `Fetched` where one is needed. The key is shown as it was stored.
_FETCHED: dict[bytes, Show] = {
    b"k": lambda key, item, more: (_binary_key if item[1] & BINARY_KEY else _key)(key),
    b"s": lambda key, item, more: b" s%d" % len(item[8]),
    b"c": lambda key, item, more: b" c%d" % item[4],
    b"f": lambda key, item, more: b" f%d" % item[2],
    b"t": lambda key, item, more: b" t%d" % more.left,
    b"l": lambda key, item, more: b" l%d" % more.idle,
    b"h": lambda key, item, more: b" h%d" % more.fetched,
}

#: Of ms, with what was stored, or None, and the length of what was to be.
_STORED: dict[bytes, Show] = {
    b"c": lambda key, item, more: b" c%d" % (item.cas if item else 0),
    b"s": lambda key, item, more: b" s%d" % (len(item.value) if item else more),
}

#: Of ma, with the seconds that are left.
_COUNTED: dict[bytes, Show] = {
    b"c": lambda key, item, more: b" c%d" % item.cas,
    b"t": lambda key, item, more: b" t%d" % more,
}


def _shows(flags: Mapping[bytes, Any], table: Mapping[bytes, Show]) -> list[Show]:
    """What the flags that ask for something are answered with: those of `table`, O and k."""
    shows: dict[bytes, Show] = {b"k": _binary_key if b"b" in flags else _key, **table}
    if b"O" in flags:
        opaque = b" " + flags[b"O"]
        shows[b"O"] = lambda key, item, more: opaque
    return [shows[letter] for letter in flags if letter in shows]


def _shown(shows: list[Show], key: bytes, item: Any = None, more: Any = None) -> bytes:
    return b"".join([show(key, item, more) for show in shows])


def value(stats: Stats, key: bytes, result: Any) -> bytes:
    """mg with v alone. Written out, for most answers are this one."""
    if result.__class__ is Item:
        stats.get_hits += 1
        data = result[8]
        return b"VA %d\r\n%b\r\n" % (len(data), data)
    return _value(stats, key, result)


def fetched(flags: Mapping[bytes, Any]) -> Render:
    """mg."""
    shows, echo = _shows(flags, _FETCHED), _shows(flags, {})
    quiet, touches, valued = b"q" in flags, b"T" in flags, b"v" in flags
    cas = flags.get(b"C")

    def render(stats: Stats, key: bytes, result: Any) -> bytes:
        if result is None:
            stats.get_misses += 1
            return b"" if quiet else b"EN%b\r\n" % _shown(echo, key)
        if touches:
            stats.touch_hits += 1
        else:
            stats.get_hits += 1
        if result.__class__ is Item:
            item = result
            words = _shown(shows, key, item)
        else:
            item = result.item
            stats.total_items += result.created
            words = _shown(shows, key, item, result) + _tokens(result)
        if valued and item[4] != cas:
            data = item[8]
            return b"VA %d%b\r\n%b\r\n" % (len(data), words, data)
        return b"HD%b\r\n" % words

    return render


_value = fetched({b"v": b"v"})


def stored(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """ms without flags that ask for something."""
    stats.set_commands += 1
    status = outcome[0]
    if status is STORED:
        stats.total_items += 1
        return b"HD\r\n"
    return _WORDS[status] + b"\r\n"


def storing(flags: Mapping[bytes, Any], swaps: bool, length: int = 0) -> Render:
    """
    ms.

    :param swaps: it counts as a cas. :param length: of the value, which a s is answered with
        where it is not stored.
    """
    shows, quiet = _shows(flags, _STORED), b"q" in flags
    if not (shows or quiet or swaps):
        return stored

    def render(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        status, item = outcome
        if swaps:
            count_swap(stats, status)
        answer = stored(stats, key, outcome)
        if status is STORED:
            return b"" if quiet else b"HD%b\r\n" % _shown(shows, key, item, length)
        return answer[:2] + _shown(shows, key, None, length) + b"\r\n"

    return render


def pushed(render: Render) -> Render:
    """ms with MU, of whose key the client only knows the beginning."""

    def render_pushed(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        item = outcome[1]
        return render(stats, key if item is None else made_key(key, item.sequence), outcome)

    return render_pushed


def deleted(flags: Mapping[bytes, Any]) -> Render:
    """md."""
    echo, quiet, blanks = _shows(flags, {}), b"q" in flags, b"x" in flags

    def render(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        status = outcome[0]
        if status is DELETED or status is DONE:
            stats.delete_hits += status is DELETED
            stats.total_items += blanks
            if quiet:
                return b""
        else:
            stats.delete_misses += 1
        return b"%b%b\r\n" % (_WORDS[status], _shown(echo, key))

    return render


def counted(flags: Mapping[bytes, Any], up: bool) -> Render:
    """ma."""
    shows, echo = _shows(flags, _COUNTED), _shows(flags, {})
    quiet, valued = b"q" in flags, b"v" in flags

    def render(stats: Stats, key: bytes, result: Counted) -> bytes:
        status, item, left = result
        count_count(stats, status, up)
        if status is NOT_NUMERIC:
            return NON_NUMERIC
        if item is None or status is EXISTS:
            return b"%b%b\r\n" % (_WORDS[status], _shown(echo, key))
        if quiet:
            return b""
        words = _shown(shows, key, item, left)
        if valued:
            number = item.value.rstrip(b" ")
            return b"VA %d%b\r\n%b\r\n" % (len(number), words, number)
        return b"HD%b\r\n" % words

    return render


def inspected(stats: Stats, key: bytes, found: Optional[Fetched]) -> bytes:
    """me. Sizes are as memcached counts them, and there is one slab class."""
    stats.meta_commands += 1
    if found is None:
        return b"EN\r\n"
    item = found.item
    return b"ME %b exp=%d la=%d cas=%d fetch=%b cls=1 size=%d\r\n" % (
        base64(key) if item.marks & BINARY_KEY else key,
        found.left,
        found.idle,
        item.cas,
        b"yes" if found.fetched else b"no",
        size_in_memcached(key, len(item.value), item.flags),
    )


def _tokens(fetched: Fetched) -> bytes:
    sent = b" Z" if fetched.sent else b""
    stale = b" X" if fetched.item.marks & STALE else b""
    return sent + stale + (b" W" if fetched.won else b"")


def base64(key: bytes) -> bytes:
    """`key` as a client that says `b` sends it."""
    return b2a_base64(key, newline=False)
