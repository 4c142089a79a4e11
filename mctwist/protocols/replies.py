"""
The answers of the classic text protocol: `render(stats, key, result) -> bytes`.

Each is a pure function but for the counts it raises, which are memcached's: what a command came
to is counted where it is known. `silent` makes the `noreply` form of one, which counts and says
nothing.
"""

from typing import Any, Callable, Optional

from mctwist.interfaces import Render, StoreFull
from mctwist.item import Item
from mctwist.operations import (
    DELETED,
    EXISTS,
    NOT_FOUND,
    NOT_NUMERIC,
    NOT_STORED,
    STORED,
    TOUCHED,
    Outcome,
)
from mctwist.stats import Stats

END = b"END\r\n"
ERROR = b"ERROR\r\n"
OK = b"OK\r\n"
TOO_LARGE = b"SERVER_ERROR object too large for cache\r\n"
OUT_OF_MEMORY = b"SERVER_ERROR out of memory storing object\r\n"
INTERNAL_ERROR = b"SERVER_ERROR internal error\r\n"
NON_NUMERIC = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"

_WORDS = {
    STORED: b"STORED\r\n",
    NOT_STORED: b"NOT_STORED\r\n",
    EXISTS: b"EXISTS\r\n",
    NOT_FOUND: b"NOT_FOUND\r\n",
    DELETED: b"DELETED\r\n",
    TOUCHED: b"TOUCHED\r\n",
}


def value(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    """One key of a get with several."""
    if item is None:
        stats.get_misses += 1
        return b""
    stats.get_hits += 1
    data = item[8]
    return b"VALUE %b %d %d\r\n%b\r\n" % (key, item[2], len(data), data)


def last_value(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    """The only or the last key of a get. As `value`, written out: most answers are this one."""
    if item is None:
        stats.get_misses += 1
        return END
    stats.get_hits += 1
    data = item[8]
    return b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (key, item[2], len(data), data)


def value_and_cas(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    """One key of a gets."""
    if item is None:
        stats.get_misses += 1
        return b""
    stats.get_hits += 1
    return _with_cas(key, item)


def touched_value(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    """One key of a gat."""
    if not _count_touched(stats, item):
        return b""
    assert item is not None
    return b"VALUE %b %d %d\r\n%b\r\n" % (key, item.flags, len(item.value), item.value)


def touched_value_and_cas(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    """One key of a gats."""
    return _with_cas(key, item) if _count_touched(stats, item) and item else b""


def closing(render: Render) -> Render:
    """`render` for the last key of a command, with the END behind it."""

    def render_last(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
        return render(stats, key, item) + END

    return render_last


def stored(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """set, add, replace, append, prepend."""
    stats.set_commands += 1
    status = outcome[0]
    if status is STORED:
        stats.total_items += 1
        return b"STORED\r\n"
    return _WORDS[status]


def swapped(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """cas."""
    status = outcome[0]
    if status is STORED:
        stats.cas_hits += 1
    elif status is EXISTS:
        stats.cas_badval += 1
    else:
        stats.cas_misses += 1
    return stored(stats, key, outcome)


def deleted(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """delete."""
    if outcome[0] is DELETED:
        stats.delete_hits += 1
    else:
        stats.delete_misses += 1
    return _WORDS[outcome[0]]


def refused(stats: Stats, key: bytes, result: Any) -> bytes:
    """A value that is too large."""
    stats.store_too_large += 1
    return TOO_LARGE


def incremented(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """incr."""
    if outcome[0] is NOT_FOUND:
        stats.incr_misses += 1
    elif outcome[0] is STORED:
        stats.incr_hits += 1
    return _number(outcome)


def decremented(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """decr."""
    if outcome[0] is NOT_FOUND:
        stats.decr_misses += 1
    elif outcome[0] is STORED:
        stats.decr_hits += 1
    return _number(outcome)


def touched(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """touch."""
    if outcome[0] is TOUCHED:
        stats.touch_hits += 1
    else:
        stats.touch_misses += 1
    return _WORDS[outcome[0]]


def flushed(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """flush_all."""
    stats.flush_commands += 1
    return OK


def line(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """An answer known beforehand."""
    return answer


def general_stats(stats: Stats, key: bytes, counts: tuple[int, int]) -> bytes:
    """stats."""
    fields = [f"STAT {name} {figure}\r\n" for name, figure in stats.general(*counts)]
    return "".join(fields).encode() + END


def fault(stats: Stats, exception: Exception) -> bytes:
    """What a step answers that ended in `exception`: nothing of our insides."""
    if isinstance(exception, StoreFull):
        stats.store_no_memory += 1
        return OUT_OF_MEMORY
    return INTERNAL_ERROR


def _with_cas(key: bytes, item: Item) -> bytes:
    return b"VALUE %b %d %d %d\r\n%b\r\n" % (
        key,
        item.flags,
        len(item.value),
        item.cas,
        item.value,
    )


def _count_touched(stats: Stats, item: Optional[Item]) -> bool:
    if item is None:
        stats.touch_misses += 1
        stats.get_misses += 1
        return False
    stats.touch_hits += 1
    stats.get_hits += 1
    return True


def _number(outcome: Outcome) -> bytes:
    status, item = outcome
    if status is STORED and item is not None:
        return item.value.rstrip(b" ") + b"\r\n"
    return NON_NUMERIC if status is NOT_NUMERIC else _WORDS[status]


def _silence(render: Render) -> Render:
    def count_only(stats: Any, key: bytes, result: Any) -> bytes:
        render(stats, key, result)
        return b""

    return count_only


#: The `noreply` form of each answer that has one.
SILENT: dict[Render, Render] = {
    render: _silence(render)
    for render in (
        stored,
        swapped,
        deleted,
        refused,
        incremented,
        decremented,
        touched,
        touched_value,
        flushed,
        line,
    )
}

#: Answers to a value that is too large.
REFUSALS = frozenset({refused, SILENT[refused]})

#: Answers behind which another of the same command follows.
UNFINISHED = frozenset({value, value_and_cas, touched_value, touched_value_and_cas})

_SILENT_FORMS = frozenset(SILENT.values())


def is_silent(render: Callable[..., bytes]) -> bool:
    """Whether `render` is a `noreply` form: its errors are not shown either."""
    return render in _SILENT_FORMS
