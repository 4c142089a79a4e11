"""
What `stats detail` counts of the steps of every dialect, but for text's own (`replies`), which
knows it by its renders.

A step that is to be counted gets a render around its own, and only while somebody counts. What
was bound to its own render is bound to this one too, for a dialect may look there.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Callable

from mctwist import operations, redis_operations, simpledb_operations
from mctwist.interfaces import Many, Operation, Render, Step
from mctwist.item import Item
from mctwist.stats import Prefixes

_Count = Callable[[Prefixes, Step, Any], None]


def _get(counts: Prefixes, step: Step, result: Any) -> None:
    counts.count_get(step[1], isinstance(result, Item))


def _gets(counts: Prefixes, step: Step, many: Many) -> None:
    for key, item in zip(step[2][0], many.results):
        counts.count_get(key, item is not None)


def _set(counts: Prefixes, step: Step, result: Any) -> None:
    counts.count_set(step[1])


def _sets(counts: Prefixes, step: Step, result: Any) -> None:
    for key, _ in step[2][0]:
        counts.count_set(key)


def _delete(counts: Prefixes, step: Step, result: Any) -> None:
    counts.count_delete(step[1])


def _deletes(counts: Prefixes, step: Step, result: Any) -> None:
    for key in step[2][0]:
        counts.count_delete(key)


def _swap(counts: Prefixes, step: Step, result: Any) -> None:
    _get(counts, step, result)
    _set(counts, step, result)


_COUNTS: dict[Operation, _Count] = {
    operations.fetch: _get,
    operations.fetch_and_touch: _get,
    redis_operations.fetch_range: _get,
    redis_operations.fetch_and_delete: _get,
    redis_operations.fetch_and_expire: _get,
    redis_operations.fetch_many: _gets,
    **dict.fromkeys((operations.store, operations.add, operations.replace), _set),
    **dict.fromkeys((operations.append, operations.prepend), _set),
    **dict.fromkeys((operations.compare_and_swap, operations.refuse), _set),
    **dict.fromkeys((redis_operations.store, redis_operations.append), _set),
    redis_operations.overwrite: _set,
    redis_operations.store_many: _sets,
    **dict.fromkeys((simpledb_operations.store, simpledb_operations.add), _set),
    simpledb_operations.update: _set,
    simpledb_operations.swap: _swap,
    operations.delete: _delete,
    simpledb_operations.pop: _delete,
    redis_operations.delete_many: _deletes,
}


def detailed(steps: Iterable[Step]) -> Iterator[Step]:
    """`steps`, counted for `stats detail` when they are answered."""
    for step in steps:
        operation, key, arguments, render = step
        count = _COUNTS.get(operation)
        if count is not None:
            bound = render.args if isinstance(render, partial) else ()
            render = partial(_counted, *bound, step=step, count=count)
        yield operation, key, arguments, render


def _counted(*arguments: Any, step: Step, count: _Count) -> bytes:
    stats, key, result = arguments[-3:]
    if stats.prefixes.counting:
        count(stats.prefixes, step, result)
    render: Render = step[3]
    return render(stats, key, result)
