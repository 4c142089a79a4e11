"""The record of an item: what goes in comes out, and nothing else does."""

from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mctwist.item import DamagedRecord, Item, decode, encode, size_in_memcached
from tests import DRAWN_IS_COMPARED

suppress = DRAWN_IS_COMPARED

KEYS = st.binary(min_size=1, max_size=250)
UNSIGNED = st.integers(0, (1 << 64) - 1)
ITEMS = st.builds(
    Item,
    kind=st.integers(0, 255),
    marks=st.integers(0, (1 << 16) - 1),
    flags=st.integers(0, (1 << 32) - 1),
    expiry=st.integers(-(1 << 63), (1 << 63) - 1),
    cas=UNSIGNED,
    sequence=UNSIGNED,
    place=UNSIGNED,
    accessed=st.integers(0, (1 << 32) - 1),
    value=st.binary(max_size=300),
)

KEY = b"key"
ITEM = Item(0, 3, 7, 1_700_000_000_000, 11, 12, 13, 14, b"value")
RECORD = encode(KEY, ITEM)


class RecordTests(SynchronousTestCase):
    """Encode and decode."""

    @settings(database=None, deadline=None)
    @given(KEYS, ITEMS)
    def test_what_was_encoded_is_decoded(self, key: bytes, item: Item) -> None:
        decoded = decode(key, encode(key, item))
        self.assertEqual(decoded, item)
        self.assertIs(decoded.__class__, Item)

    @settings(database=None, deadline=None)
    @given(KEYS, KEYS, ITEMS)
    def test_a_record_is_of_one_key(self, key: bytes, other: bytes, item: Item) -> None:
        if key != other:
            self.assert_damaged(other, encode(key, item))

    def test_each_flipped_bit_is_noticed(self) -> None:
        for place in range(len(RECORD)):
            for bit in range(8):
                record = bytearray(RECORD)
                record[place] ^= 1 << bit
                self.assert_damaged(KEY, bytes(record))

    def test_each_truncation_is_noticed(self) -> None:
        for size in range(len(RECORD)):
            self.assert_damaged(KEY, RECORD[:size])
            self.assert_damaged(KEY, RECORD[size + 1 :])
        self.assert_damaged(KEY, RECORD + b"\0")

    def test_a_record_that_verifies_and_is_too_short_is_noticed(self) -> None:
        # A key that ends in its own checksum makes that of an empty record come out right.
        key = b"key" + crc32(b"key").to_bytes(4, "little")
        self.assert_damaged(key, b"")
        for size in range(1, 40):
            body = RECORD[:size]
            self.assert_damaged(KEY, body + crc32(body, crc32(KEY)).to_bytes(4, "little"))

    def test_another_version_is_noticed(self) -> None:
        for version in (0, 3, 255):
            body = bytes([version]) + RECORD[1:-4]
            self.assert_damaged(KEY, body + crc32(body, crc32(KEY)).to_bytes(4, "little"))

    def test_without_flags_expiry_and_a_cas_of_its_own_a_record_is_short(self) -> None:
        item = Item(0, 3, 0, 0, 12, 12, 13, 14, b"value")
        record = encode(KEY, item)
        self.assertEqual(len(RECORD) - len(record), 20)
        self.assertEqual(decode(KEY, record), item)
        self.assertEqual(record.hex()[:-8],
                         "02" "00" "0300" "0c00000000000000" "0d00000000000000" "0e000000"
                         "76616c7565")  # fmt: skip

    def test_the_format_of_a_whole_record_is_for_ever(self) -> None:
        self.assertEqual(
            RECORD.hex(),
            "01" "00" "0300" "07000000" "0068e5cf8b010000" "0b00000000000000"
            "0c00000000000000" "0d00000000000000" "0e000000" "76616c7565" "@"
            .replace("@", crc32(RECORD[:-4], crc32(KEY)).to_bytes(4, "little").hex()),
        )  # fmt: skip

    def assert_damaged(self, key: bytes, record: bytes) -> None:
        self.assertRaises(DamagedRecord, decode, key, record)


class SizeTests(SynchronousTestCase):
    """What memcached would count (items.c, item_make_header)."""

    def test_it_is_header_cas_key_value_and_flags_if_any(self) -> None:
        for key, length, flags, size in (
            (b"k", 0, 0, 60),
            (b"key", 5, 0, 67),
            (b"key", 5, 1, 71),
            (b"k" * 250, 1 << 20, 0xFFFFFFFF, 48 + 8 + 251 + (1 << 20) + 2 + 4),
        ):
            self.assertEqual(size_in_memcached(key, length, flags), size)
