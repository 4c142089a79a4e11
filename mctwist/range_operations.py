"""
What the range commands mean, as pure functions of a transaction.

A range is all keys from one on and below another, in the order of their bytes. Queues, schedules
and logs are ranges whose keys are made for it: what is `push`ed goes behind all that was pushed
before, `pop` takes from the front, and each of the entries is an item like any other.

Whoever is cut off does not know whether what was asked for has been done, and must not have it
done twice. So a pop or a push may be given a *slip*, a key of the client's, and a number that goes
up with each request. What is done is written on the slip in the same transaction, and a request
whose number is not above the slip's does nothing but read out what is there. So the same request
may be sent again until it is answered, wherever the connection or the server went down.

The rule: a call is bounded. It takes so many items and so many bytes of values as an instalment
may have, and says whether there may be more.
"""

from collections.abc import Iterator
from itertools import islice
from struct import Struct
from struct import error as StructError
from typing import NamedTuple, Optional

from mctwist.interfaces import MOST_BYTES, IOrderedTransaction, Ranged
from mctwist.item import KEPT, DamagedRecord, Item, decode, encode
from mctwist.operations import STORED, Outcome

#: What one call returns or removes, and what it counts.
MOST_ITEMS = 1000
MOST_COUNTED = 10_000

#: Digits of a sequence number, of which a push makes its key.
DIGITS = 20

#: Milliseconds after its last use that a slip is kept: who is cut off for longer has given up.
SLIP_LIFE = 24 * 60 * 60 * 1000

# Items are looked up so many at a time: a thousand of a megabyte would be a gigabyte at once.
_PIECE = 16


class Slip(NamedTuple):
    """
    What makes a request one that is done once.

    :ivar key: of the slip. :ivar number: of the request.
    """

    key: bytes
    number: int


def read(
    transaction: IOrderedTransaction,
    start: bytes,
    end: bytes,
    most: int,
    last: bool = False,
    counts: bool = False,
) -> Ranged:
    """
    mr: the first `most` items of a range.

    :param last: those with the highest keys, beginning with the highest.
    :param counts: only how many there are, and the last of them.
    """
    items = _items(transaction, start, end, most, last)
    if counts:
        most = min(most, MOST_COUNTED)
        count, latest = 0, []
        for pair in islice(items, most):
            count, latest = count + 1, [pair]
        return Ranged(latest, count == most, count)
    found = _bounded(items, most)
    for _, item in found.items:
        transaction.visits[item.place] = transaction.stamp
    return found


def pop(
    transaction: IOrderedTransaction,
    start: bytes,
    end: bytes,
    most: int,
    last: bool = False,
    counts: bool = False,
    slip: Optional[Slip] = None,
) -> Ranged:
    """
    mp: as `read`, and they are gone.

    In a full store there may be no room for the slip; without one there is always room.
    """
    if slip is not None:
        done = _done(transaction, slip)
        if done is not None:
            return done
    items = _items(transaction, start, end, most, last)
    if counts:
        most = min(most, MOST_ITEMS)
        count = 0
        latest: list[tuple[bytes, Item]] = []
        for pair in islice(items, most):
            transaction.delete(pair[0])
            count, latest = count + 1, [pair]
        found = Ranged(latest, count == most, count)
    else:
        found = _bounded(items, most)
        for key, _ in found.items:
            transaction.delete(key)
    if slip is not None and found.number:
        _note(transaction, slip, found)
    return found


def push(
    transaction: IOrderedTransaction,
    key: bytes,
    value: bytes,
    flags: int,
    expiry: int,
    marks: int = 0,
    new: Optional[int] = None,
    slip: Optional[Slip] = None,
) -> Outcome:
    """ms with MU: store under a key that begins with `key` and is behind all that did so far."""
    if slip is not None:
        done = _done(transaction, slip)
        if done is not None and done.items:
            return STORED, done.items[0][1]
    made = pushed(key, transaction.sequence + 1)
    item = transaction.put(made, value, flags, expiry, marks, new)
    if slip is not None:
        _note(transaction, slip, Ranged([(made, item)], False, 1))
    return STORED, item


def pushed(key: bytes, sequence: int) -> bytes:
    """The key of what is pushed behind `key` by the write of that sequence number."""
    return b"%b%0*d" % (key, DIGITS, sequence)


def behind(prefix: bytes) -> bytes:
    """The lowest key behind all that begin with `prefix`; b"": there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b""


def covers(prefix: bytes, start: bytes, end: bytes) -> bool:
    """Whether each key of the range begins with `prefix`."""
    limit = behind(prefix)
    return prefix <= start and (not limit or end <= limit)


def _items(
    transaction: IOrderedTransaction, start: bytes, end: bytes, most: int, last: bool
) -> Iterator[tuple[bytes, Item]]:
    """The items of a range, which may be removed as they come; a few more than `most` or all."""
    if most == 1:
        # As nearly always: the next of a queue.
        first = transaction.first(start, end, last)
        if first is not None:
            yield first
        return
    while True:
        piece = transaction.range(start, end, _PIECE, last)
        yield from piece
        if len(piece) < _PIECE:
            return
        if last:
            end = piece[-1][0]
        else:
            start = piece[-1][0] + b"\0"


def _bounded(items: Iterator[tuple[bytes, Item]], most: int) -> Ranged:
    most = min(most, MOST_ITEMS)
    found: list[tuple[bytes, Item]] = []
    size = 0
    for key, item in islice(items, most):
        size += len(item.value)
        if found and size > MOST_BYTES:
            return Ranged(found, True, len(found))
        found.append((key, item))
    return Ranged(found, len(found) == most, len(found))


# Slips. What is on one: whether there may be more, how many there were, and of each the key and
# the record, which carries a checksum; its number is the CAS unique of the slip.

_SLIP = Struct("<?I")
_ENTRY = Struct("<BI")


def _note(transaction: IOrderedTransaction, slip: Slip, found: Ranged) -> None:
    parts = [_SLIP.pack(found.more, found.number)]
    for key, item in found.items:
        record = encode(key, item)
        parts += (_ENTRY.pack(len(key), len(record)), key, record)
    expiry = transaction.now + SLIP_LIFE
    transaction.put(slip.key, b"".join(parts), 0, expiry, KEPT, slip.number)


def _done(transaction: IOrderedTransaction, slip: Slip) -> Optional[Ranged]:
    """What has been done under `slip`; None: nothing yet."""
    item = transaction.get(slip.key)
    if item is None or item.cas < slip.number:
        return None
    try:
        return _noted(item.value)
    except (StructError, DamagedRecord):
        # Somebody has stored something else there.
        return None


def _noted(value: bytes) -> Ranged:
    more, count = _SLIP.unpack_from(value)
    items: list[tuple[bytes, Item]] = []
    place = _SLIP.size
    while place < len(value):
        length, size = _ENTRY.unpack_from(value, place)
        middle = place + _ENTRY.size + length
        key = value[middle - length : middle]
        place = middle + size
        items.append((key, decode(key, value[middle:place])))
    return Ranged(items, more, count)
