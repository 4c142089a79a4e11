"""
What a user may do, asked of each step, whatever the dialect spells it like.

The rule: what is not known to be allowed is not. A step that is not allowed stays where it is
among the others, and comes to `NotPermitted`; how that is said is the dialect's to know.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Callable, Optional

from mctwist import (
    meta_operations,
    operations,
    range_operations,
    redis_operations,
    simpledb_operations,
)
from mctwist.interfaces import Operation, Rights, Step
from mctwist.meta_operations import TELL
from mctwist.range_operations import Slip, covers

#: What touches no item.
_FREE = frozenset({operations.constant, operations.counts})
_READS = frozenset(
    {
        *(operations.fetch, meta_operations.inspect, range_operations.read),
        *(redis_operations.fetch_many, redis_operations.fetch_range, redis_operations.measure),
        *(redis_operations.exist, redis_operations.visit, redis_operations.watch),
        *(redis_operations.kind_of, redis_operations.time_left),
    }
)

#: The keys of an operation that has several, by its arguments.
_KEYS: "dict[Operation, Callable[..., Iterable[bytes]]]" = {
    **dict.fromkeys(
        (
            *(redis_operations.fetch_many, redis_operations.delete_many, redis_operations.exist),
            *(redis_operations.visit, redis_operations.watch),
        ),
        lambda keys, *_: keys,
    ),
    **dict.fromkeys(
        (simpledb_operations.store_many, simpledb_operations.delete_many), lambda keys, *_: keys
    ),
    redis_operations.store_many: lambda pairs, *_: (key for key, _ in pairs),
    redis_operations.rename: lambda new, *_: (new,),
}

#: What is about all there is.
_OF_ALL = frozenset({operations.flush, simpledb_operations.flush})
#: What touches more items than the one under its key.
_RANGES = frozenset({range_operations.read, range_operations.pop, range_operations.push})


def within(rights: Rights, steps: Iterable[Step]) -> Iterator[Step]:
    """`steps`, those of them that `rights` do not allow replaced."""
    for step in steps:
        yield _allowed(rights, step) or (operations.forbid, step[1], (), step[3])


def _allowed(rights: Rights, step: Step) -> Optional[Step]:
    """What there is to do about `step`; None: nothing."""
    operation, key, arguments, render = step
    if operation in _FREE:
        return step
    if operation is operations.flush_prefix:
        reached = arguments[0].startswith(rights.prefix)
        return step if reached and not rights.read_only else None
    if operation is redis_operations.execute:
        return step if all(_allowed(rights, each) is each for each in arguments[1]) else None
    if operation in _KEYS and not _all_within(rights, key, _KEYS[operation](*arguments)):
        return None
    if operation in _RANGES and _reaches_out(rights.prefix, operation, key, arguments):
        return None
    if operation in _OF_ALL or not (key.startswith(rights.prefix) or operation in _KEYS):
        return None
    if not rights.read_only or operation in _READS:
        return step
    # Who may not write cannot renew a stale item, and so must not be chosen to.
    if operation is meta_operations.look:
        return operation, key, (False,), render
    if operation is meta_operations.fetch and _only_looks(*arguments):
        return operation, key, (*arguments, False), render
    return None


def _all_within(rights: Rights, key: bytes, keys: Iterable[bytes]) -> bool:
    """:param key: of the step; b"": it has none beside `keys`."""
    return all(each.startswith(rights.prefix) for each in (key, *keys) if each)


def _reaches_out(prefix: bytes, operation: Operation, key: bytes, arguments: Any) -> bool:
    """Whether a range command is about other keys than those that begin with `prefix`."""
    if operation is not range_operations.push and not covers(prefix, key, arguments[0]):
        return True
    return any(
        argument.__class__ is Slip and not argument.key.startswith(prefix) for argument in arguments
    )


def _only_looks(
    terms: meta_operations.Terms,
    new: Optional[int],
    marks: int,
    vivify: bool,
    unseen: bool,
    past: bool,
) -> bool:
    return new is None and not vivify and all(term is TELL for term, _ in terms)
