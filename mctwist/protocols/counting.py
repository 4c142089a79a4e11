"""
What a result counts as, in memcached's words, whatever the dialect.

A few renders that most answers come from count by themselves, for their speed.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Callable, Optional

from mctwist import operations, simpledb_operations
from mctwist.interfaces import Operation, Render, Step
from mctwist.item import Item
from mctwist.operations import DELETED, DONE, EXISTS, NOT_FOUND, STORED, TOUCHED, Status
from mctwist.stats import Prefixes, Stats


def count_get(stats: Stats, item: Optional[Item]) -> None:
    """What has been fetched, or not."""
    if item is None:
        stats.get_misses += 1
    else:
        stats.get_hits += 1


def count_touch(stats: Stats, item: Optional[Item]) -> None:
    """What has been fetched and touched: a touch, and not a get (proto_parser.c:701-735)."""
    if item is None:
        stats.touch_misses += 1
    else:
        stats.touch_hits += 1


def count_touched(stats: Stats, status: Status) -> None:
    if status is TOUCHED:
        stats.touch_hits += 1
    else:
        stats.touch_misses += 1


def count_store(stats: Stats, status: Status) -> None:
    stats.set_commands += 1
    if status is STORED:
        stats.total_items += 1


def count_swap(stats: Stats, status: Status) -> None:
    """What else a store counts as that was to be over one state alone."""
    if status is STORED:
        stats.cas_hits += 1
    elif status is EXISTS:
        stats.cas_badval += 1
    else:
        stats.cas_misses += 1


def count_delete(stats: Stats, status: Status) -> None:
    if status is DELETED:
        stats.delete_hits += 1
    else:
        stats.delete_misses += 1


def count_count(stats: Stats, status: Status, up: bool) -> None:
    """
    incr, decr and ma.

    :param status: `DONE`: the item has been made.
    """
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


# `stats detail`, of the dialects that have no `noreply`

_Count = Callable[[Prefixes, bytes, Any], None]


def _detail_get(counts: Prefixes, key: bytes, item: Optional[Item]) -> None:
    counts.count_get(key, item is not None)


def _detail_set(counts: Prefixes, key: bytes, result: Any) -> None:
    counts.count_set(key)


def _detail_delete(counts: Prefixes, key: bytes, result: Any) -> None:
    counts.count_delete(key)


def _detail_swap(counts: Prefixes, key: bytes, item: Optional[Item]) -> None:
    _detail_get(counts, key, item)
    counts.count_set(key)


_DETAILS: dict[Operation, _Count] = {
    operations.fetch: _detail_get,
    operations.delete: _detail_delete,
    simpledb_operations.pop: _detail_delete,
    simpledb_operations.swap: _detail_swap,
    **dict.fromkeys((operations.store, simpledb_operations.store), _detail_set),
    **dict.fromkeys((simpledb_operations.add, simpledb_operations.update), _detail_set),
}


def detailed(steps: Iterable[Step]) -> Iterator[Step]:
    """`steps`, counted for `stats detail` when they are answered."""
    for operation, key, arguments, render in steps:
        count = _DETAILS.get(operation)
        if count is not None:
            # What was bound to it is still to be found there.
            bound = render.args if isinstance(render, partial) else ()
            render = partial(_count_detail, *bound, render=render, count=count)
        yield operation, key, arguments, render


def _count_detail(*arguments: Any, render: Render, count: _Count) -> bytes:
    stats, key, result = arguments[-3:]
    if stats.prefixes.counting:
        count(stats.prefixes, key, result)
    return render(stats, key, result)
