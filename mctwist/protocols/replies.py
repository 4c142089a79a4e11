"""
The answers of the classic text protocol: `render(stats, key, result) -> bytes`.

Each is a pure function but for the counts it raises, which are memcached's: what a command came
to is counted where it is known. `silent` makes the `noreply` form of one, which counts and says
nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Callable, Optional

from mctwist.interfaces import NotPermitted, Render, Step, StoreFull, Unsupported
from mctwist.item import Item
from mctwist.operations import (
    DELETED,
    DONE,
    EXISTS,
    NOT_FOUND,
    NOT_NUMERIC,
    NOT_STORED,
    STORED,
    TOUCHED,
    Outcome,
)
from mctwist.protocols.counting import (
    count_count,
    count_delete,
    count_swap,
    count_touch,
    count_touched,
)
from mctwist.protocols.grammar import NOT_PERMITTED
from mctwist.stats import Prefixes, Stats

END = b"END\r\n"
ERROR = b"ERROR\r\n"
OK = b"OK\r\n"
BUSY = b"BUSY currently processing crawler request\r\n"
BAD_CHUNK = b"CLIENT_ERROR bad data chunk\r\n"
TOO_LARGE = b"SERVER_ERROR object too large for cache\r\n"
OUT_OF_MEMORY = b"SERVER_ERROR out of memory storing object\r\n"
TOO_MANY_PREFIXES = b"SERVER_ERROR too many prefixes are being flushed\r\n"
INTERNAL_ERROR = b"SERVER_ERROR internal error\r\n"
UNSUPPORTED = b"SERVER_ERROR not supported by this backend\r\n"
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
    count_touch(stats, item)
    if item is None:
        return b""
    return b"VALUE %b %d %d\r\n%b\r\n" % (key, item.flags, len(item.value), item.value)


def touched_value_and_cas(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    """One key of a gats."""
    count_touch(stats, item)
    return b"" if item is None else _with_cas(key, item)


def closing(render: Render) -> Render:
    """`render` for the last key of a command, with the END behind it."""

    def render_last(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
        return render(stats, key, item) + END

    return render_last


last_value_and_cas = closing(value_and_cas)
last_touched_value = closing(touched_value)
last_touched_value_and_cas = closing(touched_value_and_cas)


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
    count_swap(stats, outcome[0])
    return stored(stats, key, outcome)


def deleted(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """delete."""
    count_delete(stats, outcome[0])
    return _WORDS[outcome[0]]


def refused(stats: Stats, key: bytes, result: Any) -> bytes:
    """A value that is too large."""
    stats.store_too_large += 1
    return TOO_LARGE


def spoiled(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """A value that does not end where it should: it was to be set, and counts as that."""
    stats.set_commands += 1
    return answer


def incremented(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """incr."""
    count_count(stats, outcome[0], True)
    return _number(outcome)


def decremented(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """decr."""
    count_count(stats, outcome[0], False)
    return _number(outcome)


def touched(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """touch."""
    count_touched(stats, outcome[0])
    return _WORDS[outcome[0]]


def flushed(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """flush_all."""
    stats.flush_commands += 1
    return OK


def flushed_prefix(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    """flush_prefix."""
    stats.flush_commands += 1
    return OK if outcome[0] is DONE else TOO_MANY_PREFIXES


def not_flushed(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """A flush that is not right, or not allowed; it counts all the same."""
    stats.flush_commands += 1
    return answer


def line(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """An answer known beforehand."""
    return answer


def fault(stats: Stats, exception: Exception) -> bytes:
    """What a step answers that ended in `exception`: nothing of our insides."""
    if isinstance(exception, NotPermitted):
        return NOT_PERMITTED.wire
    if isinstance(exception, StoreFull):
        stats.store_no_memory += 1
        return OUT_OF_MEMORY
    if isinstance(exception, Unsupported):
        return UNSUPPORTED
    return INTERNAL_ERROR


def _with_cas(key: bytes, item: Item) -> bytes:
    return b"VALUE %b %d %d %d\r\n%b\r\n" % (
        key,
        item.flags,
        len(item.value),
        item.cas,
        item.value,
    )


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
        value,
        value_and_cas,
        touched_value,
        touched_value_and_cas,
        spoiled,
        flushed,
        flushed_prefix,
        not_flushed,
        line,
    )
}


def _detailed(
    render: Render, count: Callable[[Prefixes, bytes, Any], None]
) -> dict[Render, Render]:
    def detail(form: Render) -> Render:
        def count_prefix(stats: Stats, key: bytes, result: Any) -> bytes:
            if stats.prefixes.counting:
                count(stats.prefixes, key, result)
            return form(stats, key, result)

        return count_prefix

    forms = [render, SILENT[render]] if render in SILENT else [render]
    return {form: detail(form) for form in forms}


#: The form of each answer that also counts for `stats detail`, of those that do. The others cost
#: nothing for it. memcached counts a set when its line is right, whatever becomes of it.
DETAILED: dict[Render, Render] = {}
for _render in (
    *(value, last_value, value_and_cas, last_value_and_cas),
    *(touched_value, last_touched_value, touched_value_and_cas, last_touched_value_and_cas),
):
    DETAILED.update(_detailed(_render, lambda counts, key, item: counts.count_get(key, bool(item))))
for _render in (stored, swapped, refused, spoiled):
    DETAILED.update(_detailed(_render, lambda counts, key, result: counts.count_set(key)))
DETAILED.update(_detailed(deleted, lambda counts, key, outcome: counts.count_delete(key)))


def detailed(steps: Iterable[Step]) -> Iterator[Step]:
    """`steps`, counted for `stats detail` when they are answered."""
    for operation, key, arguments, render in steps:
        yield operation, key, arguments, DETAILED.get(render, render)


def _and_detailed(renders: "set[Render]") -> "frozenset[Render]":
    return frozenset(renders | {DETAILED[render] for render in renders & DETAILED.keys()})


#: Answers behind which another of the same command follows.
UNFINISHED = _and_detailed({value, value_and_cas, touched_value, touched_value_and_cas})

_SILENT_FORMS = _and_detailed(set(SILENT.values()))


def is_silent(render: Callable[..., bytes]) -> bool:
    """Whether `render` is a `noreply` form: its errors are not shown either."""
    return render in _SILENT_FORMS
