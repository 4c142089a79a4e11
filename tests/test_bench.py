"""What the benchmark takes for the right answer: a wrong figure is worse than none."""

from twisted.trial.unittest import SynchronousTestCase

from bench.load import WrongReply, rest
from bench.wire import any_cas, binary_get, binary_set, join, value

KEY = b"key:00000001"


def with_cas(reply: bytes, cas: bytes) -> bytes:
    return reply[:16] + cas + reply[24:]


class AnyCasTests(SynchronousTestCase):
    """Answers of the binary protocol."""

    def setUp(self) -> None:
        get, got = binary_get(KEY, value(1))
        _, stored = binary_set(KEY, value(1))
        self.came = with_cas(got, b"\x01\xff\0\0\0\0\0\x07") + with_cas(stored, b"\xff" * 8)
        self.owed = any_cas(join([(get, got), (b"", stored)])[1])

    def test_a_cas_may_be_any(self) -> None:
        self.assertEqual(self.owed, self.came)

    def test_nothing_else_may_differ(self) -> None:
        second = self.came.index(b"\x81\x01")
        unknown = {*range(16, 24), *range(second + 16, second + 24)}
        for place, byte in enumerate(self.came):
            other = self.came[:place] + bytes([byte ^ 1]) + self.came[place + 1 :]
            self.assertEqual(self.owed == other, place in unknown, place)

    def test_nor_the_length(self) -> None:
        for other in self.came[:-1], self.came + b"\0", b"\0" + self.came, b"":
            self.assertNotEqual(self.owed, other)

    def test_it_may_come_in_pieces(self) -> None:
        for place in range(1, len(self.came)):
            begun, left = self.came[:place], self.came[place:]
            self.assertEqual(rest(self.owed, begun), left)

    def test_a_wrong_piece_is_wrong(self) -> None:
        with self.assertRaises(WrongReply):
            rest(self.owed, self.came[:7] + b"!")
        with self.assertRaises(WrongReply):
            rest(self.owed, self.came + b"!")

    def test_an_answer_to_another_key_is_wrong(self) -> None:
        _, other = binary_get(b"key:00000002", value(1))
        self.assertNotEqual(any_cas(binary_get(KEY, value(1))[1]), other)
