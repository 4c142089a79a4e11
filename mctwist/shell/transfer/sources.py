"""
Where the items of a dump come from: a live server, of two kinds.

A mctwist tells whole records, `lru_crawler itemdump all`, as the commands that make them again:

    OK
    mi KEY SIZE FLAG*
    VALUE
    EN

Any other memcached tells of its keys (`metadump`), and is asked for what they hold. To know which
it is, it is asked for the first: memcached answers ERROR.

The rule: of what was not taken, each is counted, under the reason. Nothing is left out in silence.
"""

import re
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Callable, NamedTuple, NoReturn, Optional, TypeVar

import click
from pymemcache.exceptions import (  # type: ignore[import-untyped]  # it has no types
    MemcacheUnexpectedCloseError,
)

from mctwist.client import REFUSED, Connection, Server, raw_line, stats
from mctwist.dumps import MARKS, MOST_VALUE, Record
from mctwist.shell.output import tell

T = TypeVar("T")

#: Seconds for which a server that is busy is asked again, and between two times.
BUSY_PATIENCE, BUSY_PAUSE = 30.0, 0.5

#: The longest key, of every dialect; of memcached's meta commands it is that of the base64.
KEY_LENGTH = 250

#: What text cannot spell in a key; what mctwist marks as binary, too.
is_binary = re.compile(rb"[\0- \x7f]").search

UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated"

#: What a server says whose dump cannot begin, by how it begins, and what it means.
REFUSALS = {
    b"CLIENT_ERROR lru crawler disabled": "the server's LRU crawler is off:"
    " `lru_crawler enable` turns it on",
    UNAUTHENTICATED: "the server asks for a user: --user",
    b"CLIENT_ERROR permission denied": "permission denied: a user who is read-only or has a"
    " prefix may not list, and so not dump",
    b"ERROR metadump not allowed": "the server does not allow dumps (memcached's -X)",
    b"ERROR itemdump not allowed": "the server does not allow dumps (-X)",
    b"ERROR": "the server cannot list its items: memcached can since 1.4.31",
    b"BUSY": "the server is busy with another dump or crawl",
}

#: Answers after which it is worth while to ask again.
_PASSING = (b"BUSY", b"ERROR locked")

#: Why something was not taken that should have been.
TOO_LARGE = f"larger than {MOST_VALUE >> 20} MB"


class Source(NamedTuple):
    """
    Where items come from.

    :ivar name: for people, and the first line of a dump.
    :ivar records: the items. They can be had once.
    :ivar total: about how many there are; None: it is not known.
    :ivar left_out: how many were not taken, by the reason; it grows while `records` is read.
    """

    name: str
    records: "Iterator[Record]"
    total: Optional[int]
    left_out: "Counter[str]"


class Busy(Exception):
    """The server cannot begin just now."""


def refused(answer: bytes) -> NoReturn:
    """Tell what it means that a dump is answered with `answer`, and end."""
    for words, meaning in REFUSALS.items():
        if answer.startswith(words):
            raise click.ClickException(meaning)
    raise click.ClickException(f"the server answers {answer[:200].decode(errors='replace')}")


def once_free(ask: "Callable[[], T]") -> T:
    """What `ask` comes to, which is tried again for a while as long as it raises `Busy`."""
    deadline = time.monotonic() + BUSY_PATIENCE
    told = False
    while True:
        try:
            return ask()
        except Busy as fault:
            if time.monotonic() + BUSY_PAUSE > deadline:
                raise click.ClickException(REFUSALS[b"BUSY"]) from None
            if not told:
                tell(f"{REFUSALS[b'BUSY']} ({fault}); waiting")
                told = True
        time.sleep(BUSY_PAUSE)


def begin(connection: Connection, request: bytes) -> "tuple[bytes, BinaryIO]":
    """
    Ask for a dump: the first line of the answer, and the stream that goes on behind it.

    :raises Busy: it is to be asked again.
    """
    connection.send(request)
    # A stream of its own, for that of the connection would ask for 8 KB at a time.
    answers = connection.sock.makefile("rb", 1 << 18)
    first = raw_line(answers)
    if first.startswith(_PASSING):
        raise Busy(first.decode(errors="replace"))
    return first, answers


def count_of(server: Server) -> Optional[int]:
    """How many items a server has; None: it does not say."""
    with suppress(*REFUSED, ValueError):
        connection = server.connect()
        try:
            told = connection.ask(b"stats\r\n", stats)
        finally:
            connection.close()
        return int(told.get("curr_items", ""))
    return None


def itemdump(server: Server, prefix: bytes) -> Optional[Source]:
    """The items of a live mctwist; None: it is none."""
    # The server can be spared the others, where a line can say so.
    words = b" " + prefix if prefix and not is_binary(prefix) else b""

    def ask() -> "Optional[tuple[Connection, BinaryIO]]":
        connection = server.connect()
        try:
            first, answers = begin(connection, b"lru_crawler itemdump all%b\r\n" % words)
            if first == b"OK":
                return connection, answers
            if first != b"ERROR":
                refused(first)
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    begun = once_free(ask)
    if begun is None:
        return None
    connection, answers = begun
    left_out: Counter[str] = Counter()
    records = _until_closed(connection, records_of(answers, prefix, left_out))
    return Source(str(server), records, count_of(server), left_out)


def _until_closed(connection: Connection, records: "Iterator[Record]") -> "Iterator[Record]":
    try:
        yield from records
    finally:
        connection.close()


_MARKS = {
    b"X": MARKS["stale"],
    b"W": MARKS["won"],
    b"H": MARKS["fetched"],
    b"K": MARKS["kept"],
}


def records_of(answers: BinaryIO, prefix: bytes, left_out: "Counter[str]") -> "Iterator[Record]":
    """
    The items of an `itemdump`, from behind its first line up to its end.

    :param prefix: those whose keys begin so.
    :raises click.ClickException: the server could not go on.
    """
    read, readline = answers.read, answers.readline
    while True:
        line = readline()
        if not line.endswith(b"\n"):
            raise MemcacheUnexpectedCloseError
        if not line.startswith(b"mi "):
            if line == b"EN\r\n":
                return
            refused(line.rstrip())
        words = line[:-2].split(b" ")
        try:
            size = int(words[2])
            if size > MOST_VALUE:
                skip(answers, size + 2)
                left_out[TOO_LARGE] += 1
                continue
            value = read(size + 2)
            if len(value) < size + 2:
                raise MemcacheUnexpectedCloseError
            record = _record(words, value[:-2])
        except (ValueError, IndexError, Base64Error):
            refused(line.rstrip())
        if record.key.startswith(prefix):
            yield record


def _record(words: "list[bytes]", value: bytes) -> Record:
    # A chain and no table: it is run for each item, and E, a and F are nearly all there is.
    key = words[1]
    flags = expiry = cas = marks = kind = accessed = 0
    for word in words[3:]:
        letter = word[:1]
        if letter == b"E":
            cas = int(word[1:])
        elif letter == b"a":
            accessed = int(word[1:])
        elif letter == b"F":
            flags = int(word[1:])
        elif letter == b"e":
            expiry = int(word[1:])
        elif letter == b"b":
            key = b64decode(key, validate=True)
            if not is_binary(key):
                marks |= MARKS["binary"]
        elif letter == b"Y":
            kind = int(word[1:])
        else:
            marks |= _MARKS.get(word, 0)
    return Record(key, value, flags, expiry, cas, marks, kind, accessed)


def skip(answers: BinaryIO, size: int) -> None:
    """Pass over `size` bytes, which are next."""
    while size:
        taken = len(answers.read(min(size, 1 << 20)))
        if not taken:
            raise MemcacheUnexpectedCloseError
        size -= taken
