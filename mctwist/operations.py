"""
memcached's meaning of every command, as pure functions of a transaction.

Each takes `(transaction, key, ...)` and sees only those: no clock, no log, no wire. A batch may
be run again, and then must come to the same. The dialects are spellings of these functions.

Reads answer an `Item` or None. Everything else answers an outcome, `(status, item)`: a plain
tuple, because one is made for every write. The item is what the key now holds, or what it held
when the status says that nothing was stored; None where there is none.
"""

import re
from enum import Enum
from typing import Optional

from mctwist.interfaces import ITransaction
from mctwist.item import Item, size_in_memcached

#: exptimes up to 30 days are relative (memcached.c, realtime; REALTIME_MAXDELTA).
RELATIVE = 60 * 60 * 24 * 30

#: An expiry that has always passed.
PAST = 1

_WRAP = 1 << 64
# Zeros may lead, so the bound on digits is only to keep int() short.
_NUMBER = re.compile(rb"[ \t-\r]*([+-]?[0-9]{1,64})(?:[ \t-\r\0]|\Z)").match


class Status(Enum):
    """How a command ended where no fault is involved."""

    STORED = "stored"
    NOT_STORED = "not stored"
    EXISTS = "exists"
    NOT_FOUND = "not found"
    DELETED = "deleted"
    TOUCHED = "touched"
    NOT_NUMERIC = "not numeric"
    DONE = "done"


Outcome = tuple[Status, Optional[Item]]

# Enum members are looked up through a descriptor; bound once, they cost a global.
STORED = Status.STORED
NOT_STORED = Status.NOT_STORED
EXISTS = Status.EXISTS
NOT_FOUND = Status.NOT_FOUND
DELETED = Status.DELETED
TOUCHED = Status.TOUCHED
NOT_NUMERIC = Status.NOT_NUMERIC
DONE = Status.DONE


def expiry_of(exptime: int, now: int) -> int:
    """
    The expiry, in milliseconds since the epoch, of memcached's `exptime`, in seconds.

    0 is never, a negative one has passed, up to 30 days counts from `now`, more is absolute
    (memcached's protocol.txt, "Expiration times").
    """
    if exptime == 0:
        return 0
    if exptime < 0:
        return PAST
    if exptime <= RELATIVE:
        return now + exptime * 1000
    return exptime * 1000


def constant(transaction: ITransaction, key: bytes, answer: bytes) -> bytes:
    """An answer known beforehand, in its turn among the others."""
    return answer


def counts(transaction: ITransaction, key: bytes) -> tuple[int, int]:
    """The live items and their bytes."""
    return transaction.counts()


def fetch(transaction: ITransaction, key: bytes) -> Optional[Item]:
    """get, gets."""
    item = transaction.get(key)
    if item is not None:
        transaction.visits[item[6]] = transaction.stamp
    return item


def fetch_and_touch(transaction: ITransaction, key: bytes, expiry: int) -> Optional[Item]:
    """gat, gats: the CAS stays as it is (items.c, do_item_get_and_touch)."""
    item = transaction.get(key)
    if item is None:
        return None
    return _touched(transaction, key, item, expiry)


def touch(transaction: ITransaction, key: bytes, expiry: int) -> Outcome:
    """touch: the CAS stays as it is."""
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    return TOUCHED, _touched(transaction, key, item, expiry)


def store(transaction: ITransaction, key: bytes, value: bytes, flags: int, expiry: int) -> Outcome:
    """set."""
    return STORED, transaction.put(key, value, flags, expiry)


def add(transaction: ITransaction, key: bytes, value: bytes, flags: int, expiry: int) -> Outcome:
    """add: only where there is nothing."""
    item = transaction.get(key)
    if item is not None:
        return NOT_STORED, item
    return STORED, transaction.put(key, value, flags, expiry)


def replace(
    transaction: ITransaction, key: bytes, value: bytes, flags: int, expiry: int
) -> Outcome:
    """replace: only where there is something."""
    if transaction.get(key) is None:
        return NOT_STORED, None
    return STORED, transaction.put(key, value, flags, expiry)


def compare_and_swap(
    transaction: ITransaction, key: bytes, value: bytes, flags: int, expiry: int, cas: int
) -> Outcome:
    """cas: only over the state that `cas` names; 0 names none (memcached.c, do_store_item)."""
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    if cas == 0 or item.cas != cas:
        return EXISTS, item
    return STORED, transaction.put(key, value, flags, expiry)


def append(transaction: ITransaction, key: bytes, value: bytes, limit: int) -> Outcome:
    """append: flags and expiry stay; an item that would pass `limit` bytes stays as it is."""
    item = transaction.get(key)
    if item is None:
        return NOT_STORED, None
    return _extended(transaction, key, item, item.value + value, limit)


def prepend(transaction: ITransaction, key: bytes, value: bytes, limit: int) -> Outcome:
    """prepend: as `append`, at the other end."""
    item = transaction.get(key)
    if item is None:
        return NOT_STORED, None
    return _extended(transaction, key, item, value + item.value, limit)


def delete(transaction: ITransaction, key: bytes) -> Outcome:
    """delete."""
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    transaction.delete(key)
    return DELETED, item


def increment(transaction: ITransaction, key: bytes, delta: int) -> Outcome:
    """incr: wraps at 2^64."""
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    number = number_in(item.value)
    if number is None:
        return NOT_NUMERIC, item
    return _counted(transaction, key, item, (number + delta) % _WRAP)


def decrement(transaction: ITransaction, key: bytes, delta: int) -> Outcome:
    """decr: stops at 0."""
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    number = number_in(item.value)
    if number is None:
        return NOT_NUMERIC, item
    return _counted(transaction, key, item, max(number - delta, 0))


def flush(transaction: ITransaction, key: bytes, deadline: int) -> Outcome:
    """flush_all: everything stored before `deadline` is gone from then on."""
    transaction.flush(deadline)
    return DONE, None


def flush_prefix(transaction: ITransaction, key: bytes, prefix: bytes) -> Outcome:
    """flush_prefix: all that is stored under keys that begin with `prefix` is gone."""
    return (DONE if transaction.flush_prefix(prefix) else NOT_STORED), None


def number_in(value: bytes) -> Optional[int]:
    """
    The number memcached reads in `value`, or None.

    Digits of a number below 2^64; blanks before them and whatever follows the first blank (or
    NUL) behind them do not count (util.c, safe_strtoull; decr itself pads with spaces).
    """
    match = _NUMBER(value)
    if match is None:
        return None
    number = int(match[1])
    if abs(number) >= _WRAP or (number < 0 and number % _WRAP >> 63):
        return None
    return number % _WRAP


def _touched(transaction: ITransaction, key: bytes, item: Item, expiry: int) -> Item:
    # memcached takes a touch for a fetch, too (items.c, do_item_get_and_touch).
    item = transaction.put(key, item.value, item.flags, expiry, item.marks, item.cas)
    transaction.visits[item.place] = transaction.stamp
    return item


def _extended(
    transaction: ITransaction, key: bytes, item: Item, value: bytes, limit: int
) -> Outcome:
    if size_in_memcached(key, len(value), item.flags) > limit:
        return NOT_STORED, item
    return STORED, transaction.put(key, value, item.flags, item.expiry)


def _counted(transaction: ITransaction, key: bytes, item: Item, number: int) -> Outcome:
    # A result shorter than the value keeps the value's length (memcached.c, do_add_delta).
    value = (b"%d" % number).ljust(len(item.value))
    return STORED, transaction.put(key, value, item.flags, item.expiry)
