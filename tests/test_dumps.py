"""Items as lines of JSON, there and back."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mctwist.dumps import BadLine, Record, decode, encode
from mctwist.item import FETCHED, KEPT, STALE, WON
from tests import DRAWN_IS_COMPARED

suppress = DRAWN_IS_COMPARED

RECORDS = st.builds(
    Record,
    st.binary(min_size=1, max_size=250),
    st.one_of(st.binary(), st.text().map(str.encode)),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 63) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 15),
    st.integers(0, 1),
    st.integers(0, (1 << 32) - 1),
)


class LineTests(SynchronousTestCase):
    """A line is the whole item."""

    @given(RECORDS)
    def test_every_item_comes_back(self, record: Record) -> None:
        line = encode(record)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(decode(line), record)

    def test_what_is_usual_is_left_out(self) -> None:
        self.assertEqual(
            json.loads(encode(Record(b"greeting", b"hello\n", cas=7))),
            {"key": "greeting", "value": "hello\n", "cas": 7},
        )

    def test_what_could_not_be_seen_is_base64(self) -> None:
        line = json.loads(encode(Record(b"a\nb", "a\u202eb".encode())))
        self.assertEqual(set(line), {"key64", "value64"})

    def test_marks_are_told_by_their_names(self) -> None:
        line = json.loads(encode(Record(b"k", b"v", marks=STALE | WON | FETCHED | KEPT)))
        self.assertEqual(line["marks"], ["stale", "won", "fetched", "kept"])
        self.assertEqual(json.loads(encode(Record(b"k", b"v", marks=KEPT)))["marks"], ["kept"])

    def test_what_is_no_item_is_refused(self) -> None:
        for line, complaint in [
            (b"", "no JSON"),
            (b"[1]\n", "no object"),
            (b"[" * 100_000, "no JSON"),
            (b'{"value": "v"}', "key or key64"),
            (b'{"key": "k"}', "value or value64"),
            (b'{"key": "k", "key64": "aw==", "value": "v"}', "key or key64"),
            (b'{"key": "\\ud800", "value": "v"}', "key is no text"),
            (b'{"key": "k", "value64": "?"}', "value64 is not base64"),
            (b'{"key": "k", "value": "v", "flags": 4294967296}', "flags"),
            (b'{"key": "k", "value": "v", "flags": true}', "flags"),
            (b'{"key": "k", "value": "v", "expiry": -1}', "expiry"),
            (b'{"key": "k", "value": "v", "cas": 1.5}', "cas"),
            (b'{"key": "k", "value": "v", "marks": "kept"}', "marks"),
            (b'{"key": "k", "value": "v", "marks": ["new"]}', "marks"),
            (b'{"key": "k", "value": "v", "marks": [["kept"]]}', "marks"),
        ]:
            with self.assertRaises(BadLine) as caught:
                decode(line)
            self.assertIn(complaint, str(caught.exception), line)
