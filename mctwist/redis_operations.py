"""
What Redis's commands on strings and keys mean, as pure functions of a transaction.

What memcached's commands mean as well is in `operations`, and used from there. Here a result is
one of RESP's own values: a number, an `Item` for its value, None for nothing there, `DONE`, a
`Fault` where Redis has an error. Of several keys, all is done in one transaction, or nothing.

An item is of bytes; what else there may be (simpledb's typed values) is of the wrong type for all
that reads or changes the value, and as good as any for what only moves, expires or replaces it.

The flags of an item are its memcached client's. What changes a value in place keeps them; what
replaces it sets them to 0. What is a number, to both:

    the value                           to INCR and its like
    digits, perhaps behind a minus      that number; nothing may lead, no zero and no plus
    the same with blanks behind it      that number: memcached's decr pads with blanks
    empty, or anything else             not an integer
    2^63 and above, memcached's `incr`  out of range
    flags, as pymemcache's 2 for int    stay, so that its client still reads a number
    what INCR has made                  is read by memcached's incr, unless it is below 0
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from fractions import Fraction
from typing import Any, NamedTuple, Optional, Union

from mctwist import long_double
from mctwist.interfaces import ITransaction, Many, NotPermitted, Step
from mctwist.item import BYTES, KEPT, LASTING, Item, marks_of, size_in_memcached
from mctwist.operations import DELETED, DONE, NOT_FOUND, Outcome, Status

_MOST = (1 << 63) - 1
_LEAST = -(1 << 63)

_is_integer = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch


class Fault(Enum):
    """What Redis has an error for."""

    WRONG_TYPE = "the key holds a value of another kind"
    NOT_AN_INTEGER = "it is no integer, or no signed one of 64 bits"
    OVERFLOW = "the sum would pass 64 bits"
    NOT_A_FLOAT = "it is no number"
    INFINITE = "the sum would be none"
    TOO_LARGE = "the item would pass the largest there may be"
    NO_SUCH_KEY = "there is nothing to be renamed"
    BAD_EXPIRY = "it would expire before time began, or never"


class When(NamedTuple):
    """
    A moment.

    :ivar milliseconds: since the epoch; or, if :ivar relative:, from the transaction's now.
    """

    relative: bool
    milliseconds: int

    def at(self, now: int) -> int:
        return now + self.milliseconds if self.relative else self.milliseconds


class Condition(Enum):
    """When an expiry is to be changed at all."""

    NX = "there is none"
    XX = "there is one"
    GT = "it becomes later"
    LT = "it becomes sooner"


class ReplyTooLong(NotPermitted):
    """What is asked for would not fit into the longest answer there may be."""


#: What a command of one value comes to.
Result = Union[Item, int, None, Status, Fault]


def integer_in(word: bytes) -> Optional[int]:
    """The signed 64 bits that Redis reads in `word` (util.c, string2ll); None: it reads none."""
    if not _is_integer(word):
        return None
    number = int(word)
    return number if _LEAST <= number <= _MOST else None


def float_in(word: bytes) -> Union[Fraction, Fault]:
    """
    The number that C's strtold reads in `word`.

    :return: or a fault: `INFINITE`, which Redis takes for a number until it is added.
    """
    number = long_double.number_in(word)
    if number is not None:
        return number
    return Fault.INFINITE if long_double.is_infinite(word) else Fault.NOT_A_FLOAT


def store(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    when: Optional[When] = None,
    exists: Optional[bool] = None,
    keeps: bool = False,
    tells: bool = False,
) -> Result:
    """
    SET with options, SETNX, SETEX, PSETEX, GETSET.

    :param when: it expires; a moment that has passed leaves nothing there.
    :param exists: only if there is something, or nothing; None: in any case.
    :param keeps: it expires when the old one did.
    :param tells: the old one is the result.
    :return: `DONE`; None: not stored.
    """
    old = transaction.get(key)
    if tells and old is not None and old.kind != BYTES:
        return Fault.WRONG_TYPE
    told = old if tells else None
    if exists is not None and exists != (old is not None):
        return told
    expiry = 0
    if keeps and old is not None:
        expiry = old.expiry
    elif when is not None:
        expiry = when.at(transaction.now)
        if expiry <= transaction.now:
            transaction.delete(key)
            return told if tells else DONE
    transaction.put(key, value, 0, expiry, marks_of(key))
    return told if tells else DONE


def fetch_and_delete(transaction: ITransaction, key: bytes) -> Result:
    """GETDEL."""
    item = transaction.get(key)
    if item is not None:
        if item.kind != BYTES:
            return Fault.WRONG_TYPE
        transaction.delete(key)
    return item


def fetch_and_expire(
    transaction: ITransaction,
    key: bytes,
    when: Optional[When],
    fault: Optional[Fault],
) -> Result:
    """
    GETEX with an option.

    :param when: None: it does not expire any more.
    :param fault: what is wrong with the option, which matters where there is something.
    """
    item = transaction.get(key)
    if item is None or item.kind != BYTES:
        return None if item is None else Fault.WRONG_TYPE
    if fault is not None:
        return fault
    transaction.visits[item.place] = transaction.stamp
    if when is not None or item.expiry:
        _expire(transaction, key, item, 0 if when is None else when.at(transaction.now))
    return item


def fetch_many(transaction: ITransaction, key: bytes, keys: Sequence[bytes], most: int) -> "Many":
    """
    MGET.

    :param most: bytes that the values may have.
    :raises ReplyTooLong: they have more.
    """
    items: list[Optional[Item]] = []
    size = 0
    for each in keys:
        item = transaction.get(each)
        if item is not None:
            transaction.visits[item.place] = transaction.stamp
            size += len(item.value)
            if size > most:
                raise ReplyTooLong
        items.append(item)
    return Many(items, size)


def store_many(
    transaction: ITransaction, key: bytes, pairs: Sequence["tuple[bytes, bytes]"], new: bool
) -> Result:
    """
    MSET, MSETNX.

    :param new: only if there is none of them; 0: there was one. 1: all are stored.
    """
    if new and any(transaction.get(each) is not None for each, _ in pairs):
        return 0
    for each, value in pairs:
        transaction.put(each, value, 0, 0, marks_of(each))
    return 1 if new else DONE


def delete_many(transaction: ITransaction, key: bytes, keys: Sequence[bytes]) -> "list[Outcome]":
    """DEL, UNLINK."""
    outcomes: list[Outcome] = []
    for each in keys:
        item = transaction.get(each)
        if item is None:
            outcomes.append((NOT_FOUND, None))
        else:
            transaction.delete(each)
            # Its value is of no interest any more, and a thousand of them are large.
            outcomes.append((DELETED, None))
    return outcomes


def exist(transaction: ITransaction, key: bytes, keys: Sequence[bytes]) -> int:
    """EXISTS: how many there are, each as often as it is asked for."""
    return sum(transaction.get(each) is not None for each in keys)


def visit(transaction: ITransaction, key: bytes, keys: Sequence[bytes]) -> "list[bool]":
    """TOUCH: they have been asked for, and this is all."""
    found = []
    for each in keys:
        item = transaction.get(each)
        if item is not None:
            transaction.visits[item.place] = transaction.stamp
        found.append(item is not None)
    return found


def append(transaction: ITransaction, key: bytes, value: bytes, limit: int) -> Result:
    """
    APPEND.

    :param limit: bytes of the largest item, as memcached counts them.
    :return: the length of the value.
    """
    item = transaction.get(key)
    return _changed(transaction, key, item, value if item is None else item.value + value, limit)


def overwrite(
    transaction: ITransaction, key: bytes, start: int, value: bytes, limit: int
) -> Result:
    """SETRANGE: what is missing before `start` is zeros. As `append`."""
    item = transaction.get(key)
    if item is not None and item.kind != BYTES:
        return Fault.WRONG_TYPE
    old = b"" if item is None else item.value
    if not value:
        return len(old)
    # Before anything of that length is made.
    if size_in_memcached(key, start + len(value), 0) > limit:
        return Fault.TOO_LARGE
    new = old[:start].ljust(start, b"\0") + value + old[start + len(value) :]
    return _changed(transaction, key, item, new, limit)


def _changed(
    transaction: ITransaction, key: bytes, item: Optional[Item], value: bytes, limit: int
) -> Result:
    """Have `value` in place of that of `item`; its length."""
    flags, expiry, marks = 0, 0, marks_of(key)
    if item is not None:
        if item.kind != BYTES:
            return Fault.WRONG_TYPE
        flags, expiry, marks = item.flags, item.expiry, item.marks & LASTING
    if size_in_memcached(key, len(value), flags) > limit:
        return Fault.TOO_LARGE
    transaction.put(key, value, flags, expiry, marks)
    return len(value)


def measure(transaction: ITransaction, key: bytes) -> Result:
    """STRLEN."""
    item = transaction.get(key)
    if item is None:
        return 0
    return len(item.value) if item.kind == BYTES else Fault.WRONG_TYPE


def fetch_range(transaction: ITransaction, key: bytes, start: int, end: int) -> Result:
    """GETRANGE: both ends count, from the end where they are negative (t_string.c)."""
    item = transaction.get(key)
    if item is None or item.kind != BYTES:
        return None if item is None else Fault.WRONG_TYPE
    transaction.visits[item.place] = transaction.stamp
    length = len(item.value)
    if start < 0 and end < 0 and start > end:
        return item._replace(value=b"")
    first = start if start >= 0 else max(length + start, 0)
    last = end if end >= 0 else max(length + end, 0)
    return item._replace(value=item.value[first : last + 1])


def count(transaction: ITransaction, key: bytes, delta: int) -> Result:
    """INCR, DECR, INCRBY, DECRBY: see the table of this module."""
    item = transaction.get(key)
    if item is None:
        transaction.put(key, b"%d" % delta, 0, 0, marks_of(key))
        return delta
    if item.kind != BYTES:
        return Fault.WRONG_TYPE
    number = integer_in(item.value.rstrip(b" "))
    if number is None:
        return Fault.NOT_AN_INTEGER
    number += delta
    if not _LEAST <= number <= _MOST:
        return Fault.OVERFLOW
    marks = item.marks & LASTING
    transaction.put(key, b"%d" % number, item.flags, item.expiry, marks)
    return number


def count_float(transaction: ITransaction, key: bytes, delta: Union[Fraction, Fault]) -> Result:
    """INCRBYFLOAT, as x87 adds; the new item is the result."""
    item = transaction.get(key)
    if item is not None and item.kind != BYTES:
        return Fault.WRONG_TYPE
    old = float_in(b"0" if item is None else item.value.rstrip(b" "))
    if old is Fault.NOT_A_FLOAT or delta is Fault.NOT_A_FLOAT:
        return Fault.NOT_A_FLOAT
    if isinstance(old, Fault) or isinstance(delta, Fault):
        return Fault.INFINITE
    number = long_double.rounded(old + delta)
    if long_double.is_out_of_range(number):
        return Fault.INFINITE
    flags, expiry, marks = 0, 0, marks_of(key)
    if item is not None:
        flags, expiry, marks = item.flags, item.expiry, item.marks & LASTING
    return transaction.put(key, long_double.text_of(number), flags, expiry, marks)


def expire(
    transaction: ITransaction, key: bytes, when: When, conditions: "frozenset[Condition]"
) -> int:
    """EXPIRE and its like: 1, or 0 where nothing was changed; one that has passed deletes."""
    item = transaction.get(key)
    if item is None:
        return 0
    expiry = when.at(transaction.now)
    if not all(_MEETS[condition](expiry, item.expiry) for condition in conditions):
        return 0
    _expire(transaction, key, item, expiry if expiry > 0 else 1)
    return 1


#: Whether a new expiry meets a condition, given the old one; 0 is never, which is later than all.
_MEETS = {
    Condition.NX: lambda new, old: not old,
    Condition.XX: lambda new, old: bool(old),
    Condition.GT: lambda new, old: bool(old) and new > old,
    Condition.LT: lambda new, old: not old or new < old,
}


def persist(transaction: ITransaction, key: bytes) -> int:
    """PERSIST."""
    item = transaction.get(key)
    if item is None or not item.expiry:
        return 0
    _expire(transaction, key, item, 0)
    return 1


def _expire(transaction: ITransaction, key: bytes, item: Item, expiry: int) -> None:
    if 0 < expiry <= transaction.now:
        transaction.delete(key)
    else:
        # The CAS stays: as to memcached, this is a touch.
        transaction.put(key, item.value, item.flags, expiry, item.marks, item.cas, item.kind)


def time_left(transaction: ITransaction, key: bytes, unit: int, absolute: bool) -> int:
    """
    TTL and its like.

    :param unit: milliseconds; seconds are rounded to the nearest.
    :return: -2: there is none; -1: it does not expire.
    """
    item = transaction.get(key)
    if item is None:
        return -2
    if not item.expiry:
        return -1
    left = item.expiry if absolute else item.expiry - transaction.now
    return (left + unit // 2) // unit


def kind_of(transaction: ITransaction, key: bytes) -> Optional[int]:
    """TYPE: the item's kind."""
    item = transaction.get(key)
    return None if item is None else item.kind


def rename(transaction: ITransaction, key: bytes, new: bytes, limit: int) -> Result:
    """RENAME: all of the item but its marks of memcached's moves; as to those it is a new one."""
    item = transaction.get(key)
    if item is None:
        return Fault.NO_SUCH_KEY
    if size_in_memcached(new, len(item.value), item.flags) > limit:
        return Fault.TOO_LARGE
    if new != key:
        transaction.delete(key)
        marks = marks_of(new) | item.marks & KEPT
        transaction.put(new, item.value, item.flags, item.expiry, marks, kind=item.kind)
    return DONE


def watch(transaction: ITransaction, key: bytes, keys: Sequence[bytes]) -> "list[int]":
    """WATCH: the number of the state that each of the keys is in; 0: there is none."""
    return [_sequence(transaction, each) for each in keys]


def execute(
    transaction: ITransaction,
    key: bytes,
    watched: Mapping[bytes, int],
    steps: Sequence[Step],
    most: int,
) -> Optional[Many]:
    """
    EXEC: all of `steps`, unless one of the `watched` keys has changed.

    :param watched: as of `watch`.
    :param most: bytes that the results may have.
    :return: None: one has.
    :raises ReplyTooLong: they have more; then nothing has happened.
    """
    if any(_sequence(transaction, each) != sequence for each, sequence in watched.items()):
        return None
    results = []
    size, before = 0, transaction.held
    for operation, each, arguments, _ in steps:
        result = operation(transaction, each, *arguments)
        size += _size(result)
        # What it changes is held until the end, too: small commands can make large values.
        if size > most or transaction.held - before > most:
            raise ReplyTooLong
        results.append(result)
    return Many(results, size)


def _sequence(transaction: ITransaction, key: bytes) -> int:
    item = transaction.get(key)
    return 0 if item is None else item.sequence


def _size(result: Any) -> int:
    if isinstance(result, Item):
        return len(result.value)
    if isinstance(result, Many):
        return result.size
    return len(result) if isinstance(result, bytes) else 0
