"""
The answers of the binary protocol: `render(opcode, opaque, stats, key, result) -> bytes`.

A step carries one with its first two arguments bound: what a frame has to echo. An answer is a
frame of its own; what is wrong has a status, and the words that memcached has for it
(proto_bin.c, write_bin_error). A quiet form says nothing of what was to be expected, a hit apart;
an error is never kept quiet.
"""

from struct import Struct
from typing import Any, Callable, NamedTuple, Optional

from mctwist.interfaces import NotPermitted, StoreFull
from mctwist.item import Item
from mctwist.meta_operations import Counted
from mctwist.operations import DELETED, EXISTS, NOT_FOUND, NOT_NUMERIC, STORED, Outcome, Status
from mctwist.protocols import statistics
from mctwist.protocols.counting import (
    count_count,
    count_delete,
    count_get,
    count_store,
    count_swap,
    count_touch,
)
from mctwist.protocols.statistics import Report
from mctwist.stats import Stats

MAGIC = 0x81

#: Magic, opcode, lengths of key and extras, data type, status, length of the body, opaque, CAS.
_HEADER = Struct(">BBHBBHIIQ")
# The same, and the extras of an answer that has flags.
_FLAGGED = Struct(">BBHBBHIIQI")
_NUMBER = Struct(">Q")

_pack_header, _pack_flagged = _HEADER.pack, _FLAGGED.pack

#: As `interfaces.Render`, behind the opcode and the opaque.
FrameRender = Callable[..., bytes]


class Error(NamedTuple):
    """What is wrong: a status, and its words."""

    status: int
    text: bytes


MISSING = Error(0x01, b"Not found")
DATA_EXISTS = Error(0x02, b"Data exists for key.")
TOO_LARGE = Error(0x03, b"Too large.")
INVALID = Error(0x04, b"Invalid arguments")
UNSTORED = Error(0x05, b"Not stored.")
NON_NUMERIC = Error(0x06, b"Non-numeric server-side value for incr or decr")
UNAUTHORIZED = Error(0x20, b"Auth failure.")
GO_ON = Error(0x21, b"")
UNKNOWN_COMMAND = Error(0x81, b"Unknown command")
NO_MEMORY = Error(0x82, b"Out of memory allocating item")
INTERNAL_ERROR = Error(0x84, b"Internal error")


def frame(opcode: int, opaque: int, body: bytes = b"", cas: int = 0, key: bytes = b"") -> bytes:
    """An answer without extras, that all is well."""
    size = len(key) + len(body)
    return _pack_header(MAGIC, opcode, len(key), 0, 0, 0, size, opaque, cas) + key + body


def failure(opcode: int, opaque: int, error: Error) -> bytes:
    """The answer that something is wrong."""
    status, text = error
    return _pack_header(MAGIC, opcode, 0, 0, 0, status, len(text), opaque, 0) + text


def said(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """An answer known beforehand."""
    return answer


def value(opcode: int, opaque: int, stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    """GET. Written out, for most answers are this one."""
    if item is None:
        stats.get_misses += 1
        return failure(opcode, opaque, MISSING)
    stats.get_hits += 1
    data = item[8]
    return _pack_flagged(MAGIC, opcode, 0, 4, 0, 0, 4 + len(data), opaque, item[4], item[2]) + data


def fetched(
    count: Callable[[Stats, Optional[Item]], None],
    keyed: bool = False,
    valued: bool = True,
    quiet: bool = False,
) -> FrameRender:
    """
    The others that fetch.

    :param keyed: the key is shown, of a miss, too; :param valued: the value is.
    """

    def render(opcode: int, opaque: int, stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
        count(stats, item)
        shown = key if keyed else b""
        if item is not None:
            body = shown + item.value if valued else shown
            lengths = (len(shown), 4, 0, 0, 4 + len(body))
            return _pack_flagged(MAGIC, opcode, *lengths, opaque, item.cas, item.flags) + body
        if quiet:
            return b""
        if not keyed:
            return failure(opcode, opaque, MISSING)
        header = _pack_header(MAGIC, opcode, len(key), 0, 0, MISSING.status, len(key), opaque, 0)
        return header + key

    return render


quiet_value = fetched(count_get, quiet=True)
value_and_key = fetched(count_get, keyed=True)
quiet_value_and_key = fetched(count_get, keyed=True, quiet=True)
touched = fetched(count_touch, valued=False)
touched_value = fetched(count_touch)
quiet_touched_value = fetched(count_touch, quiet=True)
touched_value_and_key = fetched(count_touch, keyed=True)
quiet_touched_value_and_key = fetched(count_touch, keyed=True, quiet=True)


def stored(unstored: Error, swaps: bool, quiet: bool) -> FrameRender:
    """
    What stores.

    :param unstored: what there is to say when it is not. :param swaps: it was to be over one
        state alone.
    """
    errors = {EXISTS: DATA_EXISTS, NOT_FOUND: MISSING}

    def render(opcode: int, opaque: int, stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        status, item = outcome
        count_store(stats, status)
        if swaps:
            count_swap(stats, status)
        if status is not STORED:
            return failure(opcode, opaque, errors.get(status, unstored))
        if quiet or item is None:
            return b""
        return _pack_header(MAGIC, opcode, 0, 0, 0, 0, 0, opaque, item[4])

    return render


def refused(opcode: int, opaque: int, stats: Stats, key: bytes, result: Any) -> bytes:
    """A value that is too large."""
    stats.store_too_large += 1
    return failure(opcode, opaque, TOO_LARGE)


def deleted(quiet: bool) -> FrameRender:
    """DELETE."""

    def render(opcode: int, opaque: int, stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        status = outcome[0]
        if status is EXISTS:
            return failure(opcode, opaque, DATA_EXISTS)
        count_delete(stats, status)
        if status is not DELETED:
            return failure(opcode, opaque, MISSING)
        return b"" if quiet else frame(opcode, opaque)

    return render


def counted(up: bool, quiet: bool) -> FrameRender:
    """INCREMENT, DECREMENT."""
    errors: dict[Status, Error] = {
        NOT_FOUND: MISSING,
        EXISTS: DATA_EXISTS,
        NOT_NUMERIC: NON_NUMERIC,
    }

    def render(opcode: int, opaque: int, stats: Stats, key: bytes, result: Counted) -> bytes:
        status, item, _ = result
        count_count(stats, status, up)
        if status in errors or item is None:
            return failure(opcode, opaque, errors[status])
        return b"" if quiet else frame(opcode, opaque, _NUMBER.pack(int(item.value)), item.cas)

    return render


def flushed(quiet: bool) -> FrameRender:
    """FLUSH."""

    def render(opcode: int, opaque: int, stats: Stats, key: bytes, outcome: Outcome) -> bytes:
        stats.flush_commands += 1
        return b"" if quiet else frame(opcode, opaque)

    return render


def reported(
    opcode: int, opaque: int, report: Report, stats: Stats, key: bytes, counts: tuple[int, int]
) -> bytes:
    """STAT: a frame for each figure, and an empty one at the end."""
    frames = [
        frame(opcode, opaque, str(figure).encode(), key=name.encode())
        for name, figure in report(stats, *counts)
    ]
    return b"".join(frames) + frame(opcode, opaque)


def detail_dump(opcode: int, opaque: int, stats: Stats, key: bytes, result: Any) -> bytes:
    """STAT detail dump: the text of it in one figure."""
    text = statistics.detail_dump(stats, key, result)
    return frame(opcode, opaque, text, key=b"detailed") + frame(opcode, opaque)


def fault(stats: Stats, exception: Exception) -> Error:
    """What a step answers that ended in `exception`: nothing of our insides."""
    if isinstance(exception, NotPermitted):
        return UNAUTHORIZED
    if isinstance(exception, StoreFull):
        stats.store_no_memory += 1
        return NO_MEMORY
    return INTERNAL_ERROR
