"""What a load asks, and what it takes answers for."""

import tracemalloc
from itertools import islice

from twisted.trial.unittest import SynchronousTestCase

from mctwist.shell.measure.traffic import Judged, Work, judge

GET, SET = False, True


def work(gets: int = 9, sets: int = 1, depth: int = 1, keys: int = 5, size: int = 10) -> Work:
    return Work(b"p:", keys, size, gets, sets, depth, 60)


class WorkTests(SynchronousTestCase):
    """Requests, and the answers to them."""

    def test_a_get_and_a_set(self) -> None:
        self.assertEqual(
            work().get(3),
            (b"get p:00000003\r\n", b"VALUE p:00000003 0 10\r\n0000000300\r\nEND\r\n"),
        )
        self.assertEqual(
            work().set(3), (b"set p:00000003 0 60 10\r\n0000000300\r\n", b"STORED\r\n")
        )

    def test_values_are_as_long_as_they_are_to_be(self) -> None:
        for size in (0, 1, 7, 8, 9, 1000):
            self.assertEqual(len(work(size=size).value(7)), size)

    def test_the_ratio(self) -> None:
        for gets, sets in ((9, 1), (1, 0), (0, 1), (1, 1), (2, 3), (500, 500)):
            whole = gets + sets
            exchanges = islice(work(gets, sets).exchanges(), 3 * whole)
            stores = [stores for exchange in exchanges for stores in exchange.stores]
            self.assertEqual(sum(stores), 3 * sets, (gets, sets))

    def test_kinds_take_turns(self) -> None:
        exchanges = islice(work(1, 1).exchanges(), 6)
        kinds = [exchange.stores[0] for exchange in exchanges]
        self.assertEqual({kinds[0], kinds[1]}, {GET, SET})
        self.assertEqual(kinds, kinds[:2] * 3)

    def test_every_key_in_its_turn(self) -> None:
        for many in (1, 2, 5, 6, 1000):
            exchanges = islice(work(1, 0, keys=many).exchanges(), 2 * many)
            keys = [exchange.request.split()[1] for exchange in exchanges]
            self.assertEqual(len(set(keys[:many])), many)
            self.assertEqual(keys[:many], keys[many:])

    def test_many_keys_take_no_memory(self) -> None:
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        next(work(keys=99_999_999).exchanges())
        _, most = tracemalloc.get_traced_memory()
        self.assertLess(most, 1 << 20)

    def test_pipelined(self) -> None:
        exchange = next(work(1, 1, depth=4).exchanges())
        self.assertEqual(len(exchange.stores), 4)
        self.assertEqual(exchange.request.count(b"p:"), 4)
        self.assertEqual(judge(exchange.answer, exchange.stores), Judged(0, 0, None))


class JudgeTests(SynchronousTestCase):
    """Answers that are not the one expected: whole, byte by byte."""

    def check(self, answer: bytes, stores: "list[bool]", judged: Judged) -> None:
        for end in range(len(answer)):
            self.assertIsNone(judge(answer[:end], stores), answer[:end])
        self.assertEqual(judge(answer, stores), judged)

    def test_a_miss(self) -> None:
        self.check(b"END\r\n", [GET], Judged(1, 0, None))

    def test_a_hit_with_another_value(self) -> None:
        self.check(b"VALUE k 7 5\r\nEND\r\n\r\nEND\r\n", [GET], Judged(0, 0, None))
        self.check(b"VALUE k 7 0\r\n\r\nEND\r\n", [GET], Judged(0, 0, None))

    def test_errors(self) -> None:
        full = b"SERVER_ERROR out of memory storing object\r\n"
        self.check(full, [SET], Judged(0, 1, "SERVER_ERROR out of memory storing object"))
        self.check(b"NOT_STORED\r\n", [SET], Judged(0, 1, "NOT_STORED"))
        self.check(b"ERROR\r\n", [GET], Judged(0, 1, "ERROR"))

    def test_several(self) -> None:
        answer = b"END\r\nSTORED\r\nVALUE k 0 1\r\nx\r\nEND\r\nERROR a\r\nERROR b\r\nEND\r\n"
        self.check(answer, [GET, SET, GET, SET, GET, GET], Judged(2, 2, "ERROR a"))
