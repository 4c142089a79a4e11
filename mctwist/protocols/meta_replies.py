"""
The answers of the meta commands: what makes a `render(stats, key, result) -> bytes` of the flags.

A flag that asks for something is answered in its place among those of the command, what nobody
asked for (Z, X, W) comes behind. What found nothing answers only with O and k, but for ms, which
answers all (proto_text.c, _finalize_mset). Errors are never quiet, so no render here is one of
`replies.SILENT`. As in memcached, `stats detail` does not count meta commands.
"""

from binascii import b2a_base64
from collections.abc import Mapping
from typing import Any, Callable, Optional, Union

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
from mctwist.protocols.replies import NON_NUMERIC
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

#: What a flag is answered with; of mg: `(key, item, fetched)`.
Show = Callable[[bytes, Item, Any], bytes]

_SHOWS: dict[bytes, Show] = {
    b"k": lambda key, item, fetched: _key(key, bool(item[1] & BINARY_KEY)),
    b"s": lambda key, item, fetched: b" s%d" % len(item[8]),
    b"c": lambda key, item, fetched: b" c%d" % item[4],
    b"f": lambda key, item, fetched: b" f%d" % item[2],
    b"t": lambda key, item, fetched: b" t%d" % fetched.left,
    b"l": lambda key, item, fetched: b" l%d" % fetched.idle,
    b"h": lambda key, item, fetched: b" h%d" % fetched.fetched,
}


def fetched(flags: Mapping[bytes, Any]) -> Render:
    """mg."""
    shows = [
        _constantly(b" " + flags[letter]) if letter == b"O" else _SHOWS[letter]
        for letter in flags
        if letter in _SHOWS or letter == b"O"
    ]
    echo = _echo(flags)
    quiet, touches, cas = b"q" in flags, b"T" in flags, flags.get(b"C")
    valued = b"v" in flags

    def render(stats: Stats, key: bytes, result: Optional[Union[Item, Fetched]]) -> bytes:
        if result is None:
            stats.get_misses += 1
            return b"" if quiet else b"EN%b\r\n" % echo(key)
        if touches:
            stats.touch_hits += 1
        else:
            stats.get_hits += 1
        item = result if result.__class__ is Item else result.item  # type: ignore[union-attr]
        words = b"".join([show(key, item, result) for show in shows])  # type: ignore[arg-type]
        if result.__class__ is Fetched:
            words += _tokens(stats, result)  # type: ignore[arg-type]
        if valued and item[4] != cas:  # type: ignore[index]
            data = item[8]  # type: ignore[index]
            return b"VA %d%b\r\n%b\r\n" % (len(data), words, data)
        return b"HD%b\r\n" % words

    return render


def storing(flags: Mapping[bytes, Any], swaps: bool) -> Callable[[int], Render]:
    """
    ms: what makes a render of the length of a value.

    :param swaps: it counts as a cas.
    """
    quiet, binary = b"q" in flags, b"b" in flags
    letters = [letter for letter in flags if letter in (b"O", b"k", b"c", b"s")]

    def of_length(length: int) -> Render:
        def render(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
            status, item = outcome
            _count_stored(stats, status, swaps)
            if status is STORED and quiet:
                return b""
            if not letters:
                return _WORDS[status] + b"\r\n"
            stored = item if status is STORED else None
            words = [_WORDS[status]]
            for letter in letters:
                if letter == b"O":
                    words.append(b" " + flags[b"O"])
                elif letter == b"k":
                    words.append(_key(key, binary))
                elif letter == b"c":
                    words.append(b" c%d" % (stored.cas if stored else 0))
                else:
                    words.append(b" s%d" % (len(stored.value) if stored else length))
            return b"".join(words) + b"\r\n"

        return render

    if b"s" in letters:
        return of_length
    any_length = of_length(0)
    return lambda length: any_length


def deleted(flags: Mapping[bytes, Any]) -> Render:
    """md."""
    echo, quiet, blanks = _echo(flags), b"q" in flags, b"x" in flags

    def render(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        status = outcome[0]
        if status is DELETED:
            stats.delete_hits += 1
        elif status is not DONE:
            stats.delete_misses += 1
            return _WORDS[status] + echo(key) + b"\r\n"
        stats.total_items += blanks
        return b"" if quiet else b"HD%b\r\n" % echo(key)

    return render


def counted(flags: Mapping[bytes, Any], up: bool) -> Render:
    """ma."""
    echo, quiet, valued = _echo(flags), b"q" in flags, b"v" in flags
    letters = [letter for letter in flags if letter in (b"O", b"k", b"c", b"t")]
    binary = b"b" in flags

    def render(stats: Stats, key: bytes, result: Counted) -> bytes:
        status, item, left = result
        _count_counted(stats, status, up)
        if status is NOT_NUMERIC:
            return NON_NUMERIC
        if item is None or status is EXISTS:
            return _WORDS[status] + echo(key) + b"\r\n"
        if quiet:
            return b""
        words = b""
        for letter in letters:
            if letter == b"O":
                words += b" " + flags[b"O"]
            elif letter == b"k":
                words += _key(key, binary)
            elif letter == b"c":
                words += b" c%d" % item.cas
            else:
                words += b" t%d" % left
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
        _base64(key) if item.marks & BINARY_KEY else key,
        found.left,
        found.idle,
        item.cas,
        b"yes" if found.fetched else b"no",
        size_in_memcached(key, len(item.value), item.flags),
    )


def _tokens(stats: Stats, fetched: Fetched) -> bytes:
    stats.total_items += fetched.created
    sent = b" Z" if fetched.sent else b""
    stale = b" X" if fetched.item.marks & STALE else b""
    return sent + stale + (b" W" if fetched.won else b"")


def _echo(flags: Mapping[bytes, Any]) -> Callable[[bytes], bytes]:
    """What is answered whether or not there is an item."""
    binary = b"b" in flags
    opaque = b" " + flags[b"O"] if b"O" in flags else b""
    if b"k" not in flags:
        return lambda key: opaque
    first = [letter for letter in flags if letter in (b"O", b"k")][0]
    if first == b"O":
        return lambda key: opaque + _key(key, binary)
    return lambda key: _key(key, binary) + opaque


def _constantly(word: bytes) -> Show:
    return lambda key, item, fetched: word


def _base64(key: bytes) -> bytes:
    return b2a_base64(key, newline=False)


def _key(key: bytes, binary: bool) -> bytes:
    return b" k%b b" % _base64(key) if binary else b" k" + key


def _count_stored(stats: Stats, status: Status, swaps: bool) -> None:
    stats.set_commands += 1
    if status is STORED:
        stats.total_items += 1
    if swaps:
        if status is STORED:
            stats.cas_hits += 1
        elif status is EXISTS:
            stats.cas_badval += 1
        else:
            stats.cas_misses += 1


def _count_counted(stats: Stats, status: Status, up: bool) -> None:
    if status is DONE:
        stats.total_items += 1
    elif status is STORED:
        if up:
            stats.incr_hits += 1
        else:
            stats.decr_hits += 1
    elif status is NOT_FOUND:
        if up:
            stats.incr_misses += 1
        else:
            stats.decr_misses += 1
