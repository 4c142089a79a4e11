"""
An item, and its record on disk.

An item is everything the store knows of one key. Its record is the whole state, never a delta:
a fixed header, the value, and a checksum that covers the key as well, so that a record which
has strayed to another key is found out as surely as a flipped bit.

The rule: what does not verify is never shown. `decode` raises `DamagedRecord`, and whoever
reads answers a miss.
"""

import re
from struct import Struct
from typing import NamedTuple
from zlib import crc32

#: Kinds of value: the bytes that memcached's and Redis's dialects store, ...
BYTES = 0
#: ... and what simpledb's does beside them, in its wire form (`protocols.simpledb_values`).
TYPED = 1

#: Marks: bits of `Item.marks`.
STALE = 1
WON = 2
#: It had been fetched when this state was made; whether it has been since is for `accessed` to say.
FETCHED = 4
KEPT = 8
BINARY_KEY = 16
#: Those that an item keeps when its value is changed, not replaced.
LASTING = KEPT | BINARY_KEY

#: The longest key, in bytes, of every dialect (memcached.h, KEY_MAX_LENGTH).
KEY_LENGTH = 250


# What no line of text can have in a key.
_has_binary = re.compile(rb"[\0- \x7f]").search


def marks_of(key: bytes) -> int:
    """The marks of a new item: whether text could not spell its key."""
    return BINARY_KEY if _has_binary(key) else 0


class DamagedRecord(Exception):
    """A record does not carry the checksum or the version that it must."""


class Item(NamedTuple):
    """
    One key's state.

    A tuple, not an attrs class: it is made once for every read and every write, and
    `tuple.__new__` takes 0.27 us where a frozen attrs class takes 1.3.

    :ivar kind: what the value is; `BYTES`, or a number reserved for typed values.
    :ivar marks: bits `STALE`, `WON`, `FETCHED`, `KEPT`, `BINARY_KEY`.
    :ivar flags: the client's own 32 bits, returned as they came.
    :ivar expiry: milliseconds since the epoch from which the item is gone; 0: never.
    :ivar cas: the CAS unique, 64 bits.
    :ivar sequence: the number of the write that made this state; it only grows.
    :ivar place: given when the key first appeared, kept through overwrites.
    :ivar accessed: seconds since the epoch of the last access written back.
    """

    kind: int
    marks: int
    flags: int
    expiry: int
    cas: int
    sequence: int
    place: int
    accessed: int
    value: bytes


class Entry(NamedTuple):
    """
    What a listing tells of an item, and a log of evictions.

    :ivar item: the item, its value left out (b"") unless it has been asked for whole.
    :ivar length: bytes of its value.
    :ivar accessed: seconds since the epoch of the last access.
    :ivar fetched: it has been fetched since it was written.
    """

    key: bytes
    item: Item
    length: int
    accessed: int
    fetched: bool

    @property
    def size(self) -> int:
        """As memcached counts it."""
        return size_in_memcached(self.key, self.length, self.item.flags)


# A record is its version, fields, the value, and the CRC-32 of the key and all that is before it;
# little-endian and unpadded. The fields are Item's in their order; or, as nearly always when no
# flags, no expiry and no CAS of its own are to be kept, those that are left.
_ALL, _FEW = 1, 2
_ALL_FIELDS = Struct("<BBHIqQQQI")
_FEW_FIELDS = Struct("<BBHQQI")
_CHECKSUM = Struct("<I")
_SMALLEST = _FEW_FIELDS.size + _CHECKSUM.size
# CRC-32 over any message followed by its own CRC-32 (little-endian) is this constant, so a
# record verifies in one pass over the bytes as they lie, without a slice.
_RESIDUE = 0x2144DF1C

_new = tuple.__new__
_pack_all, _unpack_all, _ALL_SIZE = _ALL_FIELDS.pack, _ALL_FIELDS.unpack_from, _ALL_FIELDS.size
_pack_few, _unpack_few, _FEW_SIZE = _FEW_FIELDS.pack, _FEW_FIELDS.unpack_from, _FEW_FIELDS.size
_pack_checksum = _CHECKSUM.pack
_CHECKSUM_SIZE = _CHECKSUM.size


def encode(key: bytes, item: Item) -> bytes:
    """The record of `item` under `key`."""
    kind, marks, flags, expiry, cas, sequence, place, accessed, value = item
    if flags == 0 == expiry and cas == sequence:
        body = _pack_few(_FEW, kind, marks, sequence, place, accessed) + value
    else:
        fields = (kind, marks, flags, expiry, cas, sequence, place, accessed)
        body = _pack_all(_ALL, *fields) + value
    return body + _pack_checksum(crc32(body, crc32(key)))


def decode(key: bytes, record: bytes) -> Item:
    """
    The item that `encode` made `record` of.

    :raises DamagedRecord: the record is not whole, not of this key, or of another version.
    """
    if crc32(record, crc32(key)) == _RESIDUE and len(record) >= _SMALLEST:
        version = record[0]
        if version == _FEW:
            _, kind, marks, sequence, place, accessed = _unpack_few(record)
            value = record[_FEW_SIZE:-_CHECKSUM_SIZE]
            fields = (kind, marks, 0, 0, sequence, sequence, place, accessed, value)
            return _new(Item, fields)
        if version == _ALL and len(record) >= _ALL_SIZE + _CHECKSUM_SIZE:
            return _new(Item, (*_unpack_all(record)[1:], record[_ALL_SIZE:-_CHECKSUM_SIZE]))
    raise DamagedRecord("the checksum or the version of a record does not verify")


def without_value(item: Item) -> Item:
    """`item`, with its value left out."""
    return item._replace(value=b"")


def size_in_memcached(key: bytes, length: int, flags: int) -> int:
    """
    The bytes memcached would count for an item whose value has `length` bytes.

    `bytes` in `stats` and the limit of `--max-item-size` speak of this size: memcached's limit
    includes the item's header (48), its CAS (8), the key and its NUL, the value and its CRLF,
    and the flags (4) when there are any (items.c, item_make_header and item_size_ok).
    """
    return 48 + 8 + len(key) + 1 + length + 2 + (4 if flags else 0)
