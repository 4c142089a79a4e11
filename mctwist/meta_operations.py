"""
What the meta commands mean beyond the classic ones, as pure functions of a transaction.

An item can be *stale*: no longer right, and still better than nothing. Of all who fetch it one
*wins*: it is to renew the item, while the others go on with the old value. The win is a mark on
the item, which the store that renews it takes away, so it is decided once, whoever asks at the
same time, and outlives a restart. One also wins by asking for what is not there (a *vivified*
item, empty until it is stored), or for what soon expires.

Times come as memcached's exptimes, in seconds, and count from the transaction's moment.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Optional, Union

from mctwist.interfaces import Fetched, ITransaction
from mctwist.item import LASTING, STALE, WON, Item
from mctwist.operations import (
    DELETED,
    DONE,
    EXISTS,
    NOT_FOUND,
    NOT_NUMERIC,
    NOT_STORED,
    RELATIVE,
    STORED,
    Outcome,
    Status,
    changed,
    counted,
    expiry_of,
    number_in,
    renumbered,
)


class Term(Enum):
    """What is to happen about an item's expiry, in the order in which it was asked for."""

    TOUCH = "it is to expire then"
    VIVIFY = "if it has to be made, it is to expire then"
    RENEW = "if it expires sooner, one is to renew it"
    TELL = "the time that is left is to be told"


TOUCH, VIVIFY, RENEW, TELL = Term.TOUCH, Term.VIVIFY, Term.RENEW, Term.TELL

#: Terms, each with its exptime.
Terms = Iterable[tuple[Term, int]]

#: What a count came to: the item as in an `Outcome`, and the seconds it has left, as asked for.
Counted = tuple[Status, Optional[Item], int]

_MARKS = STALE | WON


def left(expiry: int, now: int) -> int:
    """Seconds from `now` to `expiry`, begun ones too; -1: it never comes."""
    return max(-((now - expiry) // 1000), 0) if expiry else -1


def look(
    transaction: ITransaction, key: bytes, wins: bool = True
) -> Optional[Union[Item, Fetched]]:
    """mg without terms. The item alone where it has no marks that matter."""
    item = transaction.get(key)
    if item is None:
        return None
    if item[1] & _MARKS:
        return fetch(transaction, key, wins=wins)
    transaction.visits[item[6]] = transaction.stamp
    return item


def fetch(
    transaction: ITransaction,
    key: bytes,
    terms: Terms = (),
    new: Optional[int] = None,
    marks: int = 0,
    vivify: bool = False,
    unseen: bool = False,
    past: bool = False,
    wins: bool = True,
) -> Optional[Fetched]:
    """
    mg.

    :param new: the CAS unique of a vivified item; :param marks: of it.
    :param unseen: this is not to count as an access; :param past: those before are asked for.
    :param wins: whoever asks may be chosen to renew it.
    """
    now = transaction.now
    item = transaction.get(key)
    if item is None:
        if not vivify:
            return None
        expiry, told, _ = _on(terms, 0, now, created=True)
        item = transaction.put(key, b"", 0, expiry, marks | WON, new)
        if not unseen:
            transaction.visits[item.place] = transaction.stamp
        return Fetched(item, told, won=True, created=True)
    idle, fetched = 0, False
    if past:
        accessed, fetched = transaction.accessed(item)
        idle = max(now // 1000 - accessed, 0)
    expiry, told, soon = _on(terms, item.expiry, now)
    sent = bool(item.marks & WON)
    won = wins and not sent and (soon or bool(item.marks & STALE))
    if won or expiry != item.expiry:
        marks = item.marks | WON if won else item.marks
        item = changed(transaction, key, item, item.value, expiry, marks, item.cas)
    if not unseen:
        transaction.visits[item.place] = transaction.stamp
    return Fetched(item, told, idle, fetched, sent, won)


def inspect(transaction: ITransaction, key: bytes) -> Optional[Fetched]:
    """me: it changes nothing, and is no access."""
    item = transaction.get(key)
    if item is None:
        return None
    now = transaction.now
    accessed, fetched = transaction.accessed(item)
    return Fetched(item, left(item.expiry, now), max(now // 1000 - accessed, 0), fetched)


def invalidate(
    transaction: ITransaction,
    key: bytes,
    cas: Optional[int],
    exptime: Optional[int],
    new: Optional[int],
) -> Outcome:
    """
    md with I: the item is stale, and the next who fetches it is to renew it.

    :param cas: only the state that this names; :param exptime: None: it stays as it is.
    """
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    if cas is not None and item.cas != cas:
        return EXISTS, item
    expiry = item.expiry if exptime is None else expiry_of(exptime, transaction.now)
    marks = item.marks & ~WON | STALE
    return DONE, changed(transaction, key, item, item.value, expiry, marks, new)


def blank(
    transaction: ITransaction,
    key: bytes,
    cas: Optional[int],
    flags: int,
    exptime: int,
    new: Optional[int],
    stale: bool,
) -> Outcome:
    """
    md with x: the item stays, without its value, its flags and its expiry.

    :param new: the CAS unique; None: it stays, or is the next one where the item becomes `stale`.
    """
    item = transaction.get(key)
    if item is None:
        return NOT_FOUND, None
    if cas is not None and item.cas != cas:
        return EXISTS, item
    marks = item.marks & LASTING
    if stale:
        marks |= STALE
    elif new is None:
        new = item.cas
    expiry = expiry_of(exptime, transaction.now)
    return DONE if stale else DELETED, transaction.put(key, b"", flags, expiry, marks, new)


def count(
    transaction: ITransaction,
    key: bytes,
    up: bool,
    delta: int,
    cas: int,
    terms: Terms,
    new: Optional[int],
    marks: int,
    initial: Optional[int],
) -> Counted:
    """
    ma.

    :param cas: only the state that this names; 0: any.
    :param initial: what a vivified item holds, with `marks`; None: none is made.
    """
    item = transaction.get(key)
    if item is None:
        if initial is None:
            return NOT_FOUND, None, -1
        expiry, told, _ = _on(terms, 0, transaction.now, created=True)
        item = transaction.put(key, b"%d" % initial, 0, expiry, marks, new)
        return DONE, item, told
    # The order is memcached's (memcached.c, do_add_delta).
    if not item.value:
        return NOT_NUMERIC, item, -1
    if cas not in (0, item.cas):
        return EXISTS, item, -1
    number = number_in(item.value)
    if number is None:
        return NOT_NUMERIC, item, -1
    expiry, told, _ = _on(terms, item.expiry, transaction.now)
    number = counted(number, delta, up)
    return STORED, renumbered(transaction, key, item, number, expiry, new), told


def restore(
    transaction: ITransaction,
    key: bytes,
    value: bytes,
    flags: int,
    expiry: int,
    marks: int,
    cas: Optional[int],
    kind: int,
    accessed: Optional[int],
    adds: bool,
) -> Outcome:
    """
    mi: an item as it was told elsewhere, unless it has expired since.

    :param expiry: milliseconds since the epoch; 0: never. :param cas: None: a new one.
    :param accessed: when it was last, in seconds since the epoch; None: now.
    :param adds: only where there is nothing.
    """
    now = transaction.now
    if 0 < expiry <= now:
        return NOT_STORED, None
    if adds:
        there = transaction.get(key)
        if there is not None:
            return NOT_STORED, there
    second = now // 1000
    last = second if accessed is None else min(accessed, second)
    new = transaction.sequence + 1 if cas is None else cas
    item = Item(kind, marks, flags, expiry, new, 0, 0, last, value)
    return STORED, transaction.restore(key, item)


def _on(terms: Terms, expiry: int, now: int, created: bool = False) -> "tuple[int, int, bool]":
    """
    What an item that expires at `expiry` comes to on these terms.

    :return: its expiry; the seconds it has left, as asked for; whether it is to be renewed.
    """
    told, soon = -1, False
    for term, exptime in terms:
        if term is TELL:
            told = left(expiry, now)
        elif term is RENEW:
            soon = soon or _is_before(expiry, exptime, now)
        elif term is TOUCH or created:
            expiry = expiry_of(exptime, now)
    return expiry, told, soon


def _is_before(expiry: int, exptime: int, now: int) -> bool:
    # In whole seconds, as clients see them: R30 does not win what was stored with T30 just now.
    if exptime > RELATIVE:
        return 0 < expiry < exptime * 1000
    return 0 <= left(expiry, now) < exptime
