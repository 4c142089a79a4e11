"""
What simpledb's commands mean beyond memcached's, as pure functions of a transaction.

They keep what an item is: its kind. What a value of a kind is they do not know; whoever asks
for a change brings a function that makes the new value of the old one.

Those of many keys have none of their own and name them in their arguments. Each is one step, so
that nobody sees a part of it.
"""

from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional, Union

from mctwist.interfaces import ITransaction
from mctwist.item import LASTING, Item, marks_of, size_in_memcached
from mctwist.operations import NOT_STORED, STORED, Outcome

#: A value and its kind.
Data = tuple[bytes, int]


class Refusal(NamedTuple):
    """
    A change that cannot be made.

    :ivar why: in the words of the dialect.
    """

    why: str


#: Makes a value of what there was, None being nothing.
Change = Callable[[Optional[Data]], Union[Data, Refusal]]

TOO_LARGE = Refusal("Value is too large.")


def store(
    transaction: ITransaction, key: bytes, value: bytes, flags: int, expiry: int, kind: int
) -> Outcome:
    """SET."""
    return STORED, transaction.put(key, value, flags, expiry, marks_of(key), kind=kind)


def add(
    transaction: ITransaction, key: bytes, value: bytes, flags: int, expiry: int, kind: int
) -> Outcome:
    """SETNX: only where there is nothing."""
    item = transaction.get(key)
    if item is not None:
        return NOT_STORED, item
    return STORED, transaction.put(key, value, flags, expiry, marks_of(key), kind=kind)


def swap(transaction: ITransaction, key: bytes, value: bytes, kind: int) -> Optional[Item]:
    """GETSET: returns what there was, whose expiry stays."""
    item = fetched(transaction, key)
    expiry = item.expiry if item is not None else 0
    transaction.put(key, value, 0, expiry, marks_of(key), kind=kind)
    return item


def pop(transaction: ITransaction, key: bytes) -> Optional[Item]:
    """POP: what there was, and is no more."""
    item = transaction.get(key)
    if item is not None:
        transaction.delete(key)
    return item


def update(
    transaction: ITransaction, key: bytes, change: Change, limit: int
) -> Union[Item, Refusal]:
    """
    INCR, APPEND and their like; flags and expiry stay.

    :param limit: of an item, in bytes.
    """
    item = transaction.get(key)
    made = change(None if item is None else (item.value, item.kind))
    if isinstance(made, Refusal):
        return made
    value, kind = made
    flags, expiry, marks = (item.flags, item.expiry, item.marks) if item else (0, 0, marks_of(key))
    if size_in_memcached(key, len(value), flags) > limit:
        return TOO_LARGE
    return transaction.put(key, value, flags, expiry, marks & LASTING, kind=kind)


def store_many(
    transaction: ITransaction, key: bytes, pairs: "dict[bytes, Data]", expiry: int
) -> int:
    """MSET: all of them, or none. Returns how many."""
    for each, (value, kind) in pairs.items():
        transaction.put(each, value, 0, expiry, marks_of(each), kind=kind)
    return len(pairs)


def delete_many(transaction: ITransaction, key: bytes, keys: Sequence[bytes]) -> int:
    """MDELETE: how many of `keys` there were."""
    return sum(pop(transaction, each) is not None for each in keys)


def flush(transaction: ITransaction, key: bytes) -> int:
    """FLUSH: all is gone. Returns how many items those were."""
    count, _ = transaction.counts()
    transaction.flush(transaction.now)
    return count


def fetched(transaction: ITransaction, key: bytes) -> Optional[Item]:
    """What is under `key`, which somebody has asked for."""
    item = transaction.get(key)
    if item is not None:
        transaction.visits[item.place] = transaction.stamp
    return item
