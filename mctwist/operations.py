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

from mctwist.interfaces import ITransaction, NotPermitted
from mctwist.item import BINARY_KEY, STALE, WON, Item, size_in_memcached

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


def refuse(transaction: ITransaction, key: bytes, verb: str, drops: bool) -> None:
    """
    A value that is too large.

    :param verb: the command, for those who watch. :param drops: what was there goes too, lest it
        be taken for the new.
    """
    if drops:
        transaction.delete(key)


def forbid(transaction: ITransaction, key: bytes) -> NotPermitted:
    """What may not be done, in its turn among the others."""
    return NotPermitted()


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


# What stores takes, at the end, what only the meta commands say: the marks of the new item, and
# its CAS unique.


def store(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    flags: int,
    expiry: int,
    marks: int = 0,
    new: Optional[int] = None,
) -> Outcome:
    """set; ms."""
    return STORED, transaction.put(key, value, flags, expiry, marks, new)


def add(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    flags: int,
    expiry: int,
    marks: int = 0,
    new: Optional[int] = None,
) -> Outcome:
    """add: only where there is nothing."""
    item = transaction.get(key)
    if item is not None:
        return NOT_STORED, item
    return STORED, transaction.put(key, value, flags, expiry, marks, new)


def replace(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    flags: int,
    expiry: int,
    marks: int = 0,
    new: Optional[int] = None,
) -> Outcome:
    """replace: only where there is something."""
    if transaction.get(key) is None:
        return NOT_STORED, None
    return STORED, transaction.put(key, value, flags, expiry, marks, new)


def compare_and_swap(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    flags: int,
    expiry: int,
    cas: int,
    marks: int = 0,
    new: Optional[int] = None,
    stale: bool = False,
) -> Outcome:
    """
    cas: only over the state that `cas` names; 0 names none (memcached.c, do_store_item).

    :param stale: over a state that is newer, too, for old is better than older; it then stays
        marked, whoever is to renew it still is, and it expires when it did.
    """
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    if cas != 0 and item.cas == cas:
        return STORED, transaction.put(key, value, flags, expiry, marks, new)
    if stale and 0 < cas < item.cas:
        marks |= STALE | item.marks & WON
        return STORED, transaction.put(key, value, flags, item.expiry, marks, new)
    return EXISTS, item


def append(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    limit: int,
    cas: int = 0,
    new: Optional[int] = None,
    otherwise: Optional[tuple[int, int, int]] = None,
) -> Outcome:
    """
    append: flags and expiry stay; an item that would pass `limit` bytes stays as it is.

    :param cas: only to the state that this names; 0: to any.
    :param otherwise: flags, expiry and marks of what is stored where there is nothing.
    """
    item = transaction.get(key)
    if item is None:
        return _begun(transaction, key, value, new, otherwise)
    return _extended(transaction, key, item, item.value + value, limit, cas, new)


def prepend(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    limit: int,
    cas: int = 0,
    new: Optional[int] = None,
    otherwise: Optional[tuple[int, int, int]] = None,
) -> Outcome:
    """prepend: as `append`, at the other end."""
    item = transaction.get(key)
    if item is None:
        return _begun(transaction, key, value, new, otherwise)
    return _extended(transaction, key, item, value + item.value, limit, cas, new)


def delete(transaction: ITransaction, key: bytes, cas: Optional[int] = None) -> Outcome:
    """
    delete; md.

    :param cas: only the state that this names; None: any.
    """
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    if cas is not None and item.cas != cas:
        return EXISTS, item
    transaction.delete(key)
    return DELETED, item


def increment(transaction: ITransaction, key: bytes, delta: int) -> Outcome:
    """incr: wraps at 2^64."""
    return _add(transaction, key, delta, True)


def decrement(transaction: ITransaction, key: bytes, delta: int) -> Outcome:
    """decr: stops at 0."""
    return _add(transaction, key, delta, False)


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


def counted(number: int, delta: int, up: bool) -> int:
    """`number` with `delta` added, which wraps at 2^64, or taken away, which stops at 0."""
    return (number + delta) % _WRAP if up else max(number - delta, 0)


def changed(
    transaction: ITransaction,
    key: bytes,
    item: Item,
    value: bytes,
    expiry: int,
    marks: int,
    cas: Optional[int] = None,
) -> Item:
    """Change `item`, which has been fetched since it was written, or not, as before."""
    _, fetched = transaction.accessed(item)
    item = transaction.put(key, value, item.flags, expiry, marks, cas, item.kind)
    if fetched:
        transaction.visits[item.place] = transaction.stamp
    return item


def renumbered(
    transaction: ITransaction,
    key: bytes,
    item: Item,
    number: int,
    expiry: int,
    cas: Optional[int] = None,
) -> Item:
    """
    Have `number` be the value of `item`.

    With fewer digits it keeps the value's length, for memcached writes it over the old one; with
    more it is a new item, without the marks of the old one (memcached.c, do_add_delta).
    """
    digits = b"%d" % number
    if len(digits) <= len(item.value):
        value = digits.ljust(len(item.value))
        return changed(transaction, key, item, value, expiry, item.marks, cas)
    return transaction.put(key, digits, item.flags, expiry, item.marks & BINARY_KEY, cas)


def _touched(transaction: ITransaction, key: bytes, item: Item, expiry: int) -> Item:
    # memcached takes a touch for a fetch, too (items.c, do_item_get_and_touch).
    item = transaction.put(key, item.value, item.flags, expiry, item.marks, item.cas, item.kind)
    transaction.visits[item.place] = transaction.stamp
    return item


def _begun(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    new: Optional[int],
    otherwise: Optional[tuple[int, int, int]],
) -> Outcome:
    if otherwise is None:
        return NOT_STORED, None
    flags, expiry, marks = otherwise
    return STORED, transaction.put(key, value, flags, expiry, marks, new)


def _extended(
    transaction: ITransaction,
    key: bytes,
    item: Item,
    value: bytes,
    limit: int,
    cas: int,
    new: Optional[int],
) -> Outcome:
    if cas != 0 and item.cas != cas:
        return EXISTS, item
    if size_in_memcached(key, len(value), item.flags) > limit:
        return NOT_STORED, item
    marks = item.marks & BINARY_KEY
    return STORED, transaction.put(key, value, item.flags, item.expiry, marks, new)


def _add(transaction: ITransaction, key: bytes, delta: int, up: bool) -> Outcome:
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    number = number_in(item.value)
    if number is None:
        return NOT_NUMERIC, item
    return STORED, renumbered(transaction, key, item, counted(number, delta, up), item.expiry)
