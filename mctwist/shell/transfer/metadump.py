"""
The items of a live memcached that knows no whole records: any, from 1.4.31 on.

`lru_crawler metadump` tells of the keys, with their expiry; then `gets` asks for what they hold,
many at a time. The keys are read to their end first, to a file when they are many, for as long as a
metadump is not read the server can neither crawl for expired items nor, where it walks its table of
hashes, grow that.

What text cannot spell, a key with blanks or control bytes, is asked for by `mg` with the key in
base64; and nothing else is, for `mg` of a stale item takes the win: the client that asks next is
told that somebody renews it already. `gets` does not.

The rule: nothing is changed but what reading changes. `gets` counts as a hit and marks what it
reads as fetched; `mg` comes with `u`, and does not even that.

What it may miss: what is stored while it runs. What is evicted, deleted or expires before its turn
is counted. From 1.6.9 on the table of hashes is walked, where each key is once. Before, it is the
lists of least recent use, where an item that moves meanwhile can be missed, or seen twice, and one
that somebody is reading just then is passed over. Marks of stale and won are told by `mg` alone,
so those of text keys are lost: a stale item is dumped as if it were fresh.
"""

import re
import select
import tempfile
import time
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import BinaryIO, NamedTuple, Optional, cast
from urllib.parse import unquote_to_bytes

from pymemcache.exceptions import (  # type: ignore[import-untyped]  # it has no types
    MemcacheUnexpectedCloseError,
)

from mctwist.client import Connection, Server, block, raw_line
from mctwist.dumps import MARKS, MOST_VALUE, Record
from mctwist.shell.transfer.sources import (
    KEY_LENGTH,
    TOO_LARGE,
    Busy,
    Source,
    begin,
    count_of,
    is_binary,
    once_free,
    refused,
    skip,
)

#: The bytes of keys that are held in memory; more are in a file.
_SPOOL = 16 << 20

#: The most keys of a request, and how many requests are under way at a time. So few that they fit
#: into what the kernel holds: nobody waits for somebody who waits.
_BATCH, _DEPTH = 100, 3

#: Why something was not taken.
GONE = "gone meanwhile"
NO_META = "a key that text cannot spell, and the server knows no meta commands"
LONG_KEY = "a key that text cannot spell, and too long for the server in base64"

_value = re.compile(rb"VALUE (\S+) (\d{1,10}) (\d{1,10}) (\d{1,20})\Z").match

_meta_answer = re.compile(
    rb"VA (\d{1,10}) f(\d{1,10}) c(\d{1,20}) t(-?\d{1,20})((?: [WXZ])*)\Z"
).match

_about = re.compile(rb"ME \S+ exp=(-?\d{1,20}) ").match

_entry = re.compile(
    rb"key=(\S+) exp=(-?\d+) la=(\d+)(?: cas=(\d+))?(?: fetch=(yes|no))?", re.ASCII
).match

#: From here on a metadump has an end that is told, and can walk the table of hashes.
_ENDED, _HASHED = (1, 5, 4), (1, 6, 9)


class Key(NamedTuple):
    """
    What a metadump tells of an item.

    :ivar expiry: as of `Record`, as :ivar cas: and :ivar accessed: are.
    """

    key: bytes
    expiry: int
    accessed: int
    cas: int
    fetched: bool


def metadump(server: Server, prefix: bytes) -> Source:
    """The items of a live memcached whose keys begin with `prefix`."""
    spool = once_free(lambda: _spooled(server))
    left_out: Counter[str] = Counter()
    records = _records(server, spool, prefix, left_out)
    return Source(str(server), records, count_of(server), left_out)


# The keys


def _spooled(server: Server) -> BinaryIO:
    """The lines of a metadump, all of them."""
    connection = server.connect()
    try:
        first, answers = _begun(connection, _version(connection))
        with ExitStack() as stack:
            spool = stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL))
            told = _lines(first, answers)
            # Not by writelines, which would hold all of them before it looks how many they are.
            while lines := b"".join(islice(told, 1000)):
                spool.write(lines)
            spool.seek(0)
            stack.pop_all()
        return cast(BinaryIO, spool)
    finally:
        connection.close()


def _version(connection: Connection) -> "tuple[int, ...]":
    answer = connection.ask(b"version\r\n", raw_line)
    return tuple(map(int, re.findall(rb"\d+", answer)[:3]))


def _begun(connection: Connection, version: "tuple[int, ...]") -> "tuple[bytes, BinaryIO]":
    request = b"lru_crawler metadump %b\r\n" % (b"hash" if version >= _HASHED else b"all")
    if version >= _ENDED:
        return begin(connection, request)
    # Its end is what is answered next. What is next must not come with the request, or it is
    # forgotten; while the dump goes on it waits for its turn. Of nothing there is no first byte.
    connection.send(request)
    select.select([connection.sock], [], [], 2.0)
    return begin(connection, b"version\r\n")


def _lines(first: bytes, answers: BinaryIO) -> "Iterator[bytes]":
    """The lines that tell of keys, up to the end of the dump."""
    line = first if first.startswith(b"OK") else first + b"\n"
    if line.startswith(b"OK"):
        line = answers.readline()
    while True:
        if line.startswith(b"key="):
            if not line.endswith(b"\n"):
                raise MemcacheUnexpectedCloseError
            yield line
        elif line.startswith((b"END", b"VERSION", b"NOTSTARTED")):
            return
        elif line.startswith(b"ERROR locked"):
            raise Busy(line.decode().strip())
        elif not line.endswith(b"\n"):
            raise MemcacheUnexpectedCloseError
        else:
            refused(line.rstrip())
        line = answers.readline()


def key_of(line: bytes) -> Key:
    """What a line of a metadump tells."""
    match = _entry(line)
    if match is None:
        refused(line.rstrip())
    key, expiry, accessed, cas, fetched = match.groups()
    return Key(
        unquote_to_bytes(key) if b"%" in key else key,
        # -1 is never; what is there and has an end has one ahead of 1970.
        max(int(expiry), 0) * 1000,
        int(accessed),
        int(cas or 0),
        fetched == b"yes",
    )


# What they hold


def _records(
    server: Server, spool: BinaryIO, prefix: bytes, left_out: "Counter[str]"
) -> "Iterator[Record]":
    keys = (key for key in map(key_of, spool) if key.key.startswith(prefix))
    connection = server.connect()
    aside = _Aside(server)
    # As of `sources.begin`.
    answers = connection.sock.makefile("rb", 1 << 18)
    under_way: deque[dict[bytes, Key]] = deque()
    try:
        while True:
            batch = {key.key: key for key in islice(keys, _BATCH)}
            if batch:
                connection.send(_request(batch))
                under_way.append(batch)
            if len(under_way) >= _DEPTH or (under_way and not batch):
                yield from _held(answers, under_way.popleft(), aside, left_out)
            elif not batch:
                return
    finally:
        aside.close()
        connection.close()
        spool.close()


def _request(batch: "dict[bytes, Key]") -> bytes:
    plain = [key for key in batch if not is_binary(key)]
    request = b"gets %b\r\n" % b" ".join(plain) if plain else b""
    for key in batch:
        if is_binary(key):
            request += b"mg %b b v f c t u\r\n" % b64encode(key)
    return request


def _held(
    answers: BinaryIO, batch: "dict[bytes, Key]", aside: "_Aside", left_out: "Counter[str]"
) -> "Iterator[Record]":
    """The items of a batch, from the answers to its request."""
    binary = [known for key, known in batch.items() if is_binary(key)]
    plain = len(batch) - len(binary)
    changed = []
    for record in _values(answers, batch, left_out) if plain else ():
        plain -= 1
        known = batch[record.key]
        record = _completed(record, known)
        if record.cas != known.cas:
            changed.append(record)
        else:
            yield record
    left_out[GONE] += plain
    for known in binary:
        found = _meta_value(answers, known, left_out)
        if found is not None:
            yield found
    if changed:
        yield from aside.renewed(changed)


def _values(
    answers: BinaryIO, batch: "dict[bytes, Key]", left_out: "Counter[str]"
) -> "Iterator[Record]":
    """What `gets` answers, of keys in `batch`."""
    while True:
        line = raw_line(answers)
        if line == b"END":
            return
        match = _value(line)
        if match is None or match[1] not in batch:
            refused(line)
        key, flags, size, cas = match.groups()
        if int(size) > MOST_VALUE:
            skip(answers, int(size) + 2)
            left_out[TOO_LARGE] += 1
            left_out[GONE] -= 1
            continue
        yield Record(key, block(answers, int(size)), int(flags), cas=int(cas))


def _completed(record: Record, known: Key) -> Record:
    marks = MARKS["fetched"] if known.fetched else 0
    return record._replace(expiry=known.expiry, marks=marks, accessed=known.accessed)


def _meta_value(answers: BinaryIO, known: Key, left_out: "Counter[str]") -> Optional[Record]:
    """What `mg` answers of a key that text cannot spell; None: nothing."""
    line = raw_line(answers)
    if line == b"EN":
        left_out[GONE] += 1
        return None
    if line.startswith(b"CLIENT_ERROR") and len(b64encode(known.key)) > KEY_LENGTH:
        left_out[LONG_KEY] += 1
        return None
    if line.startswith((b"ERROR", b"CLIENT_ERROR")):
        left_out[NO_META] += 1
        return None
    match = _meta_answer(line)
    if match is None:
        refused(line)
    size, flags, cas, left = map(int, match.groups()[:4])
    if size > MOST_VALUE:
        skip(answers, size + 2)
        left_out[TOO_LARGE] += 1
        return None
    record = _completed(Record(known.key, block(answers, size), flags, cas=cas), known)
    if cas != known.cas:
        record = record._replace(expiry=_from_now(left))
    # Z: the win was taken before; W: it was ours, which is why the docs speak of it.
    stale = MARKS["stale"] if b"X" in match[5] else 0
    won = MARKS["won"] if b"Z" in match[5] else 0
    return record._replace(marks=record.marks | stale | won)


class _Aside:
    """
    A connection for questions in between: when those expire that have been stored anew since they
    were listed. It is opened when there is one.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Optional[Connection] = None
        self._knows = True

    def renewed(self, records: "Iterable[Record]") -> "Iterator[Record]":
        """`records`, with the expiry that they have now, as far as the server can tell."""
        for record in records:
            expiry = self._expiry(record) if self._knows else None
            yield record if expiry is None else record._replace(expiry=expiry)

    def _expiry(self, record: Record) -> Optional[int]:
        if self._connection is None:
            self._connection = self._server.connect()
        answer = self._connection.ask(b"me %b\r\n" % record.key, raw_line)
        if answer.startswith(b"ERROR"):
            self._knows = False
        match = _about(answer)
        return None if match is None else _from_now(int(match[1]))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _from_now(seconds: int) -> int:
    """The expiry of what has `seconds` left, or no end at -1."""
    return 0 if seconds < 0 else (int(time.time()) + seconds) * 1000
