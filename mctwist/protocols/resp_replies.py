"""
The answers of RESP: `reply(version, stats, key, result) -> bytes`.

A step carries one with its first argument bound: the version of the protocol that the connection
spoke when the command came, 2 or 3 (HELLO changes it in mid-stream). The versions differ in how
null, a map and a text for people are spelled; everything else is spelled alike.

A result says by its type what it is (see `redis_operations`), so one table spells them all; a
reply that has more to do counts first, in memcached's words.
"""

from collections.abc import Sequence
from typing import Any, Callable, Optional

from mctwist.interfaces import Many, NotPermitted, Render, Step, StoreFull
from mctwist.item import BYTES, Item
from mctwist.operations import DELETED, DONE, NOT_FOUND, STORED, TOUCHED, Outcome, Status
from mctwist.protocols.counting import (
    count_count,
    count_delete,
    count_get,
    count_store,
    count_touch,
    count_touched,
)
from mctwist.redis_operations import Fault, ReplyTooLong, Result
from mctwist.stats import Stats

#: As `interfaces.Render`, behind the version.
Reply = Callable[..., bytes]

OK = b"+OK\r\n"
QUEUED = b"+QUEUED\r\n"
PONG = b"+PONG\r\n"
NULL = {2: b"$-1\r\n", 3: b"_\r\n"}
NO_ARRAY = {2: b"*-1\r\n", 3: b"_\r\n"}
_MAP = {2: b"*%d\r\n", 3: b"%%%d\r\n"}

WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

_KINDS = {None: b"+none\r\n", BYTES: b"+string\r\n"}
#: Of what Redis has no word for.
_OTHER_KIND = b"+simpledb\r\n"


def error(text: bytes) -> bytes:
    """An error, in whose text a peer may have had a word: no line can end in it."""
    return b"-%b\r\n" % text.translate(_ONE_LINE)


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")

_FAULTS = {
    Fault.WRONG_TYPE: WRONG_TYPE,
    Fault.NOT_AN_INTEGER: b"-ERR value is not an integer or out of range\r\n",
    Fault.OVERFLOW: b"-ERR increment or decrement would overflow\r\n",
    Fault.NOT_A_FLOAT: b"-ERR value is not a valid float\r\n",
    Fault.INFINITE: b"-ERR increment would produce NaN or Infinity\r\n",
    Fault.TOO_LARGE: b"-ERR string exceeds maximum allowed size (--max-item-size)\r\n",
    Fault.NO_SUCH_KEY: b"-ERR no such key\r\n",
    Fault.BAD_EXPIRY: b"-ERR invalid expire time in 'getex' command\r\n",
}


def number(value: int) -> bytes:
    return b":%d\r\n" % value


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def array(parts: Sequence[bytes]) -> bytes:
    """Of parts that are spelled already."""
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def mapping(version: int, parts: Sequence[bytes]) -> bytes:
    """Of names and what they stand for in turn, spelled already."""
    count = len(parts) if version == 2 else len(parts) // 2
    return _MAP[version] % count + b"".join(parts)


def text(version: int, value: bytes) -> bytes:
    """A text for people."""
    return bulk(value) if version == 2 else b"=%d\r\ntxt:%b\r\n" % (len(value) + 4, value)


def _item(version: int, item: Item) -> bytes:
    if item[0] != BYTES:
        return WRONG_TYPE
    data = item[8]
    return b"$%d\r\n%b\r\n" % (len(data), data)


_SPELL: dict[type, Callable[[int, Any], bytes]] = {
    Item: _item,
    int: lambda version, value: b":%d\r\n" % value,
    type(None): lambda version, value: NULL[version],
    Fault: lambda version, fault: _FAULTS[fault],
    Status: lambda version, status: OK,
}


def spelled(version: int, result: Result) -> bytes:
    """A result, which says by its type what it is."""
    return _SPELL[result.__class__](version, result)


# The replies


def said(version: int, stats: Stats, key: bytes, answer: bytes) -> bytes:
    """An answer known beforehand."""
    return answer


def result(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """What counts as nothing of memcached's."""
    return spelled(version, result)


def _value(version: int) -> Render:
    null = NULL[version]

    def render(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
        if item is None:
            stats.get_misses += 1
            return null
        stats.get_hits += 1
        if item[0]:
            return WRONG_TYPE
        data = item[8]
        return b"$%d\r\n%b\r\n" % (len(data), data)

    return render


#: GET, by version, nothing left to bind: most answers are this one.
VALUE: dict[int, Render] = {2: _value(2), 3: _value(3)}


def fetched(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """What fetches a value, or a part of it."""
    count_get(stats, result if isinstance(result, Item) else None)
    return spelled(version, result)


def part(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """GETRANGE: of nothing, nothing."""
    count_get(stats, result if isinstance(result, Item) else None)
    return b"$0\r\n\r\n" if result is None else spelled(version, result)


def fetched_many(version: int, stats: Stats, key: bytes, many: Many) -> bytes:
    """MGET: what is of another kind is not there."""
    parts = []
    for item in many.results:
        count_get(stats, item)
        wrong = item is not None and item.kind != BYTES
        parts.append(NULL[version] if wrong else spelled(version, item))
    return array(parts)


def stored(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """SET without options, nothing left to bind."""
    stats.set_commands += 1
    stats.total_items += 1
    return OK


def set_(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """SET with options, and what else stores."""
    count_store(stats, STORED if result is DONE else NOT_FOUND)
    return spelled(version, result)


def added(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """SETNX."""
    count_store(stats, STORED if result is DONE else NOT_FOUND)
    return number(int(result is DONE))


def stored_many(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """MSET, MSETNX."""
    count_store(stats, NOT_FOUND if result == 0 else STORED)
    return spelled(version, result)


def refused(version: int, stats: Stats, key: bytes, answer: bytes) -> bytes:
    """A value that is too large."""
    stats.store_too_large += 1
    return answer


def lengthened(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """APPEND, SETRANGE."""
    if result is Fault.TOO_LARGE:
        stats.store_too_large += 1
    else:
        count_store(stats, STORED if isinstance(result, int) else NOT_FOUND)
    return spelled(version, result)


def deleted(version: int, stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """DEL of one key."""
    count_delete(stats, outcome[0])
    return number(int(outcome[0] is DELETED))


def deleted_many(version: int, stats: Stats, key: bytes, outcomes: "list[Outcome]") -> bytes:
    """DEL of several."""
    for status, _ in outcomes:
        count_delete(stats, status)
    return number(sum(status is DELETED for status, _ in outcomes))


def visited(version: int, stats: Stats, key: bytes, found: "list[bool]") -> bytes:
    """TOUCH."""
    for each in found:
        count_touched(stats, TOUCHED if each else NOT_FOUND)
    return number(sum(found))


def expired(version: int, stats: Stats, key: bytes, done: int) -> bytes:
    """EXPIRE and its like."""
    count_touched(stats, TOUCHED if done else NOT_FOUND)
    return number(done)


def fetched_and_expired(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
    """GETEX with an option."""
    count_touch(stats, result if isinstance(result, Item) else None)
    return spelled(version, result)


def counted(up: bool) -> Reply:
    """INCR, DECR and their like; what was not there has been 0, and so is no miss."""

    def reply(version: int, stats: Stats, key: bytes, result: Result) -> bytes:
        if not isinstance(result, Fault):
            count_count(stats, STORED, up)
        return spelled(version, result)

    return reply


counted_up, counted_down = counted(True), counted(False)


def kind(version: int, stats: Stats, key: bytes, kind: Optional[int]) -> bytes:
    """TYPE."""
    return _KINDS.get(kind, _OTHER_KIND)


def size(version: int, stats: Stats, key: bytes, counts: "tuple[int, int]") -> bytes:
    """DBSIZE."""
    return number(counts[0])


def flushed(version: int, stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """FLUSHDB, FLUSHALL."""
    stats.flush_commands += 1
    return OK


def watched(
    seen: "dict[bytes, int]", keys: Sequence[bytes], version: int, stats: Stats, key: bytes,
    sequences: "list[int]",
) -> bytes:  # fmt: skip
    """
    WATCH.

    :param seen: is told the states that the keys are in, but of those that it knows already.
    """
    for each, sequence in zip(keys, sequences):
        if seen[each] == UNSEEN:
            seen[each] = sequence
    return OK


#: Of a key whose state has not been seen yet; no state has it, so nothing passes for unchanged.
UNSEEN = -1


def executed(
    steps: Sequence[Step], version: int, stats: Stats, key: bytes, many: Optional[Many]
) -> bytes:
    """EXEC of `steps`."""
    if many is None:
        return NO_ARRAY[version]
    return array([step[3](stats, step[1], each) for step, each in zip(steps, many.results)])


def fault(stats: Stats, exception: Exception) -> bytes:
    """What a step answers that ended in `exception`: nothing of our insides."""
    if isinstance(exception, ReplyTooLong):
        return b"-ERR the answer would be longer than --max-reply\r\n"
    if isinstance(exception, NotPermitted):
        return NO_PERMISSION
    if isinstance(exception, StoreFull):
        stats.store_no_memory += 1
        return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    return INTERNAL_ERROR


NO_PERMISSION = b"-NOPERM this user has no permissions to run this command on these keys\r\n"
INTERNAL_ERROR = b"-ERR internal error\r\n"
