"""
The range commands: what they mean, on the wire in every way in which bytes can arrive, and how
those wait who find nothing.
"""

import os
import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import MOST_BYTES, MOST_STEPS, Ranged, Rights, StoreFull
from mctwist.item import KEPT, Item
from mctwist.protocols import ranges
from mctwist.protocols.grammar import ClientError
from mctwist.protocols.rights import within
from mctwist.range_operations import (
    MOST_COUNTED,
    MOST_ITEMS,
    SLIP_LIFE,
    Slip,
    behind,
    covers,
    pop,
    push,
    read,
)
from mctwist.testing import NOW, put, step
from tests import DRAWN_IS_COMPARED
from tests.test_meta import BAD_LINE, EN, HD, ms, va, wrong
from tests.test_text import TextCase
from tests.wire import Client

suppress = DRAWN_IS_COMPARED

BAD_TOKEN = wrong(b"bad token in command line format")
MR, MN = b"MR\r\n", b"MN\r\n"
BIG = b"v" * 400_000


def numbered(prefix: bytes, number: int) -> bytes:
    return b"%b%020d" % (prefix, number)


class KeyTests(SynchronousTestCase):
    """Ranges, prefixes, and what they have to do with each other."""

    def test_behind_all_that_begin_with_a_prefix(self) -> None:
        for prefix, limit in (
            (b"a", b"b"), (b"a.", b"a/"), (b"a\xff", b"b"), (b"a\xff\xff", b"b"), (b"\xff", b""),
            (b"", b""),
        ):  # fmt: skip
            self.assertEqual(behind(prefix), limit)

    @given(*[st.binary(max_size=4)] * 4)
    def test_what_covers_a_range_begins_each_of_its_keys(
        self, prefix: bytes, start: bytes, end: bytes, key: bytes
    ) -> None:
        if start <= key < end and covers(prefix, start, end):
            self.assertTrue(key.startswith(prefix))


class OperationTests(SynchronousTestCase):
    """On a store in memory, a batch for each."""

    def setUp(self) -> None:
        self.backend = MemoryBackend()

    def perform(self, operation: Any, key: bytes, *arguments: Any, now: int = NOW) -> Any:
        ((result,),) = self.backend.perform([[step(operation, key, *arguments)]], now)
        return result

    def fill(self, *keys: bytes, value: bytes = b"v") -> None:
        steps = [put(key, value) for key in keys]
        for start in range(0, len(steps), MOST_STEPS):
            self.backend.perform([steps[start : start + MOST_STEPS]], NOW)

    def keys(self, found: Ranged) -> "list[bytes]":
        return [key for key, _ in found.items]

    def test_an_answer_is_bounded_in_items_and_in_bytes(self) -> None:
        keys = [b"%05d" % number for number in range(MOST_ITEMS + 1)]
        self.fill(*keys)
        for operation in (read, pop):
            found = self.perform(operation, b"0", b"9", 5000)
            self.assertEqual((self.keys(found), found.more), (keys[:-1], True))
        self.fill(b"a", b"b", b"c", value=b"v" * (MOST_BYTES // 2))
        found = self.perform(pop, b"a", b"z", 3)
        self.assertEqual((self.keys(found), found.more), ([b"a", b"b"], True))
        self.fill(b"huge", value=b"v" * (MOST_BYTES + 1))
        self.assertEqual(self.keys(self.perform(pop, b"d", b"z", 9)), [b"huge"])

    def test_to_count_is_bounded_too(self) -> None:
        self.fill(*[b"%05d" % number for number in range(MOST_COUNTED + 1)])
        found = self.perform(read, b"0", b"9", 1 << 31, False, True)
        self.assertEqual((found.number, found.more), (MOST_COUNTED, True))
        self.assertEqual(self.keys(found), [b"%05d" % (MOST_COUNTED - 1)])
        found = self.perform(pop, b"0", b"9", 1 << 31, False, True)
        self.assertEqual((found.number, found.more), (MOST_ITEMS, True))

    def test_what_is_pushed_goes_behind_all_that_was_and_comes_out_in_that_order(self) -> None:
        for value in (b"a", b"b"):
            self.perform(push, b"q.", value, 0, 0)
        # In one batch, too.
        self.backend.perform([[step(push, b"q.", value, 0, 0) for value in (b"c", b"d")]], NOW)
        popped = [self.perform(pop, b"q.", b"q/", 1).items for _ in range(5)]
        self.assertEqual([items[0][1].value for items in popped[:4]], [b"a", b"b", b"c", b"d"])
        self.assertEqual(popped[4], [])

    def test_one_batch_of_many_who_pop_gives_each_another(self) -> None:
        self.fill(*[b"%d" % number for number in range(5)])
        (results,) = self.backend.perform([[step(pop, b"0", b"9", 1)] * 6], NOW)
        self.assertEqual(
            [self.keys(found) for found in results], [[b"%d" % n] for n in range(5)] + [[]]
        )

    def test_a_request_with_a_slip_is_done_once(self) -> None:
        slip = Slip(b"slip", 1)
        _, item = self.perform(push, b"q.", b"a", 7, 0, KEPT, None, slip)
        self.assertEqual(self.perform(push, b"q.", b"a", 7, 0, KEPT, None, slip)[1], item)
        self.perform(push, b"q.", b"b", 0, 0, 0, None, Slip(b"slip", 2))
        found = self.perform(pop, b"q.", b"q/", 1, False, False, Slip(b"mine", 1))
        self.assertEqual(found.items, [(numbered(b"q.", 1), item)])
        for _ in range(2):
            # The last of these is one of long ago, that comes now.
            self.assertEqual(
                self.perform(pop, b"q.", b"q/", 1, False, False, Slip(b"mine", 1)), found
            )
        found = self.perform(pop, b"q.", b"q/", 5, False, False, Slip(b"mine", 2))
        self.assertEqual((found.number, found.more), (1, False))
        self.assertEqual(self.perform(pop, b"q.", b"q/", 1, False, False, Slip(b"mine", 1)), found)

    def test_a_pop_that_finds_nothing_leaves_the_slip_as_it_is(self) -> None:
        slip = Slip(b"mine", 1)
        self.assertEqual(
            self.perform(pop, b"q.", b"q/", 1, False, False, slip), Ranged([], False, 0)
        )
        self.perform(push, b"q.", b"a", 0, 0)
        self.assertEqual(self.perform(pop, b"q.", b"q/", 1, False, False, slip).number, 1)

    def test_a_slip_is_kept_for_a_day_and_what_is_no_slip_is_replaced(self) -> None:
        self.fill(b"mine", b"0", b"1", b"2")
        slip = Slip(b"mine", 1)
        first = self.perform(pop, b"0", b"9", 1, False, False, slip)
        self.assertEqual(self.keys(first), [b"0"])
        item: Item = self.perform(lambda transaction, key: transaction.get(key), b"mine")
        self.assertEqual((item.marks, item.expiry), (KEPT, NOW + SLIP_LIFE))
        later = NOW + SLIP_LIFE
        second = self.perform(pop, b"0", b"9", 1, False, False, slip, now=later)
        self.assertEqual(self.keys(second), [b"1"])

    def test_a_full_store_can_be_emptied(self) -> None:
        self.backend = MemoryBackend(limit=1000, evicts=False)
        self.fill(*[b"%d" % number for number in range(9)], value=b"v" * 40)
        self.assertIsInstance(self.perform(push, b"q", b"v" * 200, 0, 0), StoreFull)
        slip = Slip(b"s" * 200, 1)
        self.assertIsInstance(self.perform(pop, b"0", b"9", 1, False, False, slip), StoreFull)
        popped = [self.perform(pop, b"0", b"9", 1) for _ in range(9)]
        self.assertEqual([found.number for found in popped], [1] * 9)


class WireTests(TextCase):
    """What is said, and what is answered."""

    def test_a_range_is_read_in_its_order_from_either_end(self) -> None:
        self.check(
            *[ms(key, key, b"F3") for key in (b"b", b"a", b"d", b"c")],
            (b"mr a z 10 k\r\n", b"HD ka\r\nHD kb\r\nHD kc\r\nHD kd\r\nEN\r\n"),
            (b"mr b d 10 v k f s t c\r\n",
             va(b"b", b"kb f3 s1 t-1 c1") + va(b"c", b"kc f3 s1 t-1 c4") + EN),
            (b"mr a z 2 r k Oab\r\n", b"HD kd\r\nHD kc\r\nMR Oab\r\n"),
            (b"mr a z 4\r\n", HD * 4 + MR),
            (b"mr a z 5\r\n", HD * 4 + EN),
            (b"mr z a 5\r\n", EN),
            (b"mr a z 9 n k\r\n", b"EN n4 kd\r\n"),
            (b"mr a z 2 n\r\n", b"MR n2\r\n"),
            (b"mr x z 9 n k\r\n", b"EN n0\r\n"),
        )  # fmt: skip

    def test_what_is_popped_is_gone(self) -> None:
        self.check(
            *[ms(key, key) for key in (b"a", b"b", b"c", b"d", b"e")],
            (b"mp a z 1 v\r\n", va(b"a") + MR),
            (b"mp a z 1 v r\r\n", va(b"e") + MR),
            (b"mg a\r\nmg e\r\n", EN + EN),
            (b"mp a d 9 n k\r\n", b"EN n2 kc\r\n"),
            (b"mp a z 9 k\r\nmp a z 9 k\r\n", b"HD kd\r\n" + EN + EN),
        )

    def test_a_push_names_what_it_has_made(self) -> None:
        self.check(
            ms(b"q.", b"1", b"MU k", b"HD k%b\r\n" % numbered(b"q.", 1)),
            ms(b"q.", b"2", b"MU K T60 q", b""),
            ms(b"q.", b"3", b"MU As G1 k", b"HD k%b\r\n" % numbered(b"q.", 3)),
            ms(b"q.", b"3", b"MU As G1 k", b"HD k%b\r\n" % numbered(b"q.", 3)),
            (b"mr q. q/ 9 v t\r\n", va(b"1", b"t-1") + va(b"2", b"t60") + va(b"3", b"t-1") + EN),
            (b"mp q. q/ 1 v Am G1\r\n", va(b"1") + MR),
            (b"mp q. q/ 1 v Am G1\r\n", va(b"1") + MR),
            (b"mp q. q/ 9 n Am G2\r\n", b"EN n2\r\n"),
            (b"mp q. q/ 9 n Am G2\r\n", b"EN n2\r\n"),
        )

    def test_keys_in_base64(self) -> None:
        self.check(
            ms(b"IDE=", b"v", b"b"),
            ms(b"!", b"w"),
            (b"mr IA== /w== 9 b k\r\n", b"HD kIDE= b\r\nHD k!\r\nEN\r\n"),
            (b"mp IA== IQ== 9 b v AIC0= G7\r\n", va(b"v") + EN),
            (b"mp IA== IQ== 9 b v AIC0= G7\r\n", va(b"v") + EN),
            (b"mr ! /w== 9 b\r\n", wrong(b"error decoding key")),
        )

    def test_what_is_wrong_with_a_line(self) -> None:
        long = b"k" * 252
        self.check(
            (b"mr\r\nmr a\r\nmr a b\r\nmp a b\r\n", BAD_LINE * 4),
            (b"mr a b 0\r\nmr a b -1\r\nmr a b x\r\nmr a b +5\r\n", BAD_LINE * 4),
            (b"mr %b b 1\r\nmr a %b 1\r\n" % (long, long), BAD_LINE * 2),
            (b"mr a b 1 k k\r\n", wrong(b"duplicate flag")),
            (b"mr a b 1 z\r\nmr a b 1 As G1\r\nmr a b 1 T5\r\n", wrong(b"invalid flag") * 3),
            (b"mr a b 1 B\r\nmr a b 1 B-1\r\nmr a b 1 B3600001\r\nmr a b 1 vk\r\n", BAD_TOKEN * 4),
            (b"mp a b 1 As\r\nmp a b 1 G1\r\nmp a b 1 As G0\r\nmp a b 1 A G1\r\n", BAD_TOKEN * 4),
            (b"mr a b 1" + b" k" * 17 + b"\r\n", wrong(b"options flags are too long")),
            (b"mr a b 1 O%b\r\n" % (b"o" * 32), wrong(b"opaque token too long")),
            ms(b"q", b"v", b"MU As", BAD_TOKEN),
            ms(b"k" * 231, b"v", b"MU", BAD_LINE),
            ms(b"k" * 230, b"v", b"MU"),
            ms(b"k", b"v" * (1 << 20), b"MU", b"SERVER_ERROR object too large for cache\r\n"),
        )

    def test_what_is_too_large_to_be_pushed_takes_nothing_away(self) -> None:
        self.check(
            ms(b"q", b"v"),
            ms(b"q", b"v" * (1 << 20), b"MU", b"SERVER_ERROR object too large for cache\r\n"),
            (b"mg q v\r\n", va(b"v")),
        )

    def test_kept_is_kept_through_changes(self) -> None:
        server = self.server()
        client = server.connect()
        client.ask(
            ms(b"a", b"9", b"K")[0] + b"ma a\r\n" + ms(b"a", b"0", b"MA")[0] + b"touch a 0\r\n"
        )
        client.ask(b"ma b N0 K\r\n" + ms(b"c", b"1", b"K")[0] + ms(b"c", b"1")[0])
        (results,) = server.backend.perform([[step(read, b"a", b"z", 9)]], NOW)
        marks = [item.marks & KEPT for _, item in results[0].items]
        self.assertEqual(marks, [KEPT, KEPT, 0])

    def test_many_large_answers_come_in_instalments(self) -> None:
        server = self.server()
        client = server.connect()
        client.ask(b"".join(ms(key, BIG)[0] for key in (b"a", b"b")))
        client.send(b"mr a z 2 v\r\n" * 10)
        most = va(BIG) * 2 + MR
        self.assertEqual(client.answers(), most * 2)
        server.settle()
        self.assertEqual(client.answers(), most * 8)

    def test_a_store_without_order_says_so(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        server = self.server(backend=DirectoryBackend(os.path.join(folder.name, "store")))
        client = server.connect()
        answer = b"SERVER_ERROR not supported by this backend\r\n"
        self.assertEqual(
            client.ask(b"mr a b 1\r\nmp a b 1\r\nmp a b 1 B100\r\nmn\r\n"), answer * 3 + MN
        )
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.lists(st.binary(max_size=12), max_size=6).map(b" ".join))
    @settings(max_examples=300, deadline=None)
    def test_whatever_the_words_there_is_a_step_or_an_error(self, rest: bytes) -> None:
        words = [word for word in (b"mp " + rest).split(b" ") if word]
        for parse in (ranges.read, ranges.pop):
            try:
                asked = parse(words)
            except ClientError as error:
                self.assertTrue(error.wire.startswith(b"CLIENT_ERROR "))
            else:
                self.assertGreaterEqual(len(words), 4)
                self.assertTrue(0 <= asked.wait <= ranges.MOST_WAIT)


class RightsTests(SynchronousTestCase):
    """Whose range is whose."""

    def allowed(self, rights: Rights, words: bytes) -> bool:
        parse = ranges.read if words.startswith(b"mr") else ranges.pop
        asked = parse(words.split())
        (screened,) = within(rights, [asked.step])
        return screened == asked.step

    def test_a_range_is_to_be_within_the_prefix_as_is_the_slip(self) -> None:
        mine = Rights(prefix=b"q.")
        for words in (b"mr q. q/ 1", b"mr q.1 q.2 1", b"mp q. q/ 1", b"mp q. q/ 1 Aq.s G1"):
            self.assertTrue(self.allowed(mine, words), words)
        for words in (
            b"mr q r 1", b"mr q. q0 1", b"mr q. q// 1", b"mp a q. 1", b"mp q. q/ 1 As G1",
        ):  # fmt: skip
            self.assertFalse(self.allowed(mine, words), words)
        for key, slip, right in (
            (b"q.", b"q.s", True),
            (b"q.", b"s", False),
            (b"q", b"q.s", False),
        ):
            pushed = step(push, key, b"v", 0, 0, 0, None, Slip(slip, 1))
            self.assertEqual(list(within(mine, [pushed])) == [pushed], right)

    def test_who_may_only_read_may_not_pop(self) -> None:
        self.assertTrue(self.allowed(Rights(read_only=True), b"mr a b 1"))
        self.assertFalse(self.allowed(Rights(read_only=True), b"mp a b 1"))


class WaitTests(TextCase):
    """B: who finds nothing waits."""

    def clients(self, count: int) -> "list[Client]":
        """Of one server."""
        server = self.server()
        return [server.connect() for _ in range(count)]

    def test_what_is_there_is_answered_at_once_and_what_is_not_at_the_deadline(self) -> None:
        self.check(
            ms(b"a", b"1"),
            (b"mp a b 1 v B5000\r\n", va(b"1") + MR),
            (b"mp a b 1 v B0\r\n", EN),
        )
        (client,) = self.clients(1)
        self.assertEqual(client.ask(b"mr a b 1 B2500\r\nmp a b 1 B1\r\nmn\r\n"), b"")
        for seconds, answers in (
            (1.0, b""),
            (1.0, b""),
            (0.499, b""),
            (0.001, EN),
            (0.001, EN + MN),
        ):
            client.server.reactor.advance(seconds)
            client.server.settle()
            self.assertEqual(client.answers(), answers)

    def test_each_entry_wakes_who_came_first(self) -> None:
        one, two, producer = self.clients(3)
        for client in (one, two):
            self.assertEqual(client.ask(b"mp q. q/ 1 v B60000\r\nmn\r\n"), b"")
        producer.ask(ms(b"other", b"0")[0])
        self.assertEqual((one.answers(), two.answers()), (b"", b""))
        producer.ask(ms(b"q.", b"1", b"MU")[0])
        self.assertEqual((one.answers(), two.answers()), (va(b"1") + MR + MN, b""))
        producer.ask(ms(b"q.", b"2", b"MU")[0])
        self.assertEqual((one.answers(), two.answers()), (b"", va(b"2") + MR + MN))

    def test_an_entry_of_the_batch_in_which_nothing_was_found_is_found(self) -> None:
        server = self.server(inline_reads="never")
        waiter, producer = server.connect(), server.connect()
        waiter.send(b"mp q. q/ 1 v B60000\r\n")
        producer.send(ms(b"q.", b"1", b"MU")[0])
        server.settle()
        self.assertEqual(waiter.answers(), va(b"1") + MR)

    def test_who_has_been_told_of_what_is_gone_looks_again_by_itself(self) -> None:
        *twins, other, producer = self.clients(4)
        for client in twins:
            client.ask(b"mp q. q/ 1 v Aslip G1 B60000\r\n")
        other.ask(b"mp q. q/ 1 v B60000\r\n")
        producer.ask(ms(b"q.", b"1", b"MU")[0] + ms(b"q.", b"2", b"MU")[0])
        # The second is told to one who has had the first by then, and leaves it there.
        self.assertEqual([client.answers() for client in twins], [va(b"1") + MR] * 2)
        self.assertEqual(other.answers(), b"")
        other.server.reactor.advance(1)
        other.server.settle()
        self.assertEqual(other.answers(), va(b"2") + MR)

    def test_who_only_reads_keeps_nothing_from_others(self) -> None:
        *readers, first, second, producer = self.clients(5)
        for client in readers:
            client.ask(b"mr q. q/ 1 v B60000\r\n")
        for client in (first, second):
            client.ask(b"mp q. q/ 1 v B60000\r\n")
        producer.ask(ms(b"q.", b"1", b"MU")[0])
        self.assertEqual([client.answers() for client in readers], [va(b"1") + MR] * 2)
        self.assertEqual((first.answers(), second.answers()), (va(b"1") + MR, b""))

    def test_who_waits_for_another_range_is_left_alone(self) -> None:
        """What both ranges begin with begins the key as well."""
        other, mine, producer = self.clients(3)
        other.ask(b"mp q.a q.c 1 v B60000\r\n")
        mine.ask(b"mp q.c q.e 1 v B60000\r\n")
        producer.ask(ms(b"q.d", b"1")[0])
        self.assertEqual((other.answers(), mine.answers()), (b"", va(b"1") + MR))

    def test_who_is_gone_takes_nothing(self) -> None:
        gone, halfway, producer = self.clients(3)
        for client in (gone, halfway):
            client.ask(b"mp q. q/ 1 v B60000\r\n")
        gone.protocol.connectionLost(Failure(ConnectionDone()))
        halfway.protocol.readConnectionLost()
        self.assertEqual((halfway.answers(), halfway.closed), (EN, True))
        self.assertEqual(
            producer.ask(ms(b"q.", b"1", b"MU")[0] + b"mr q. q/ 9 v\r\n"), HD + va(b"1") + EN
        )
        self.assertEqual(gone.answers(), b"")

    def test_a_server_that_stops_answers_who_waits(self) -> None:
        (client,) = self.clients(1)
        client.ask(b"mp q. q/ 1 v B60000\r\nmn\r\nmp q. q/ 1 B1000\r\n")
        client.protocol.finish("shutdown")
        client.server.settle()
        self.assertEqual((client.answers(), client.closed), (EN + MN + EN, True))

    def test_behind_one_that_waits_reading_ends(self) -> None:
        (client,) = self.clients(1)
        client.ask(b"mp q. q/ 1 v B60000\r\n")
        client.send(b"mn\r\n" * 20_000)
        self.assertEqual(client.transport.producerState, "paused")
        client.server.reactor.advance(60)
        client.server.settle()
        self.assertEqual(client.answers(), EN + MN * 20_000)
        self.assertEqual(client.transport.producerState, "producing")

    def test_who_is_not_allowed_to_is_told_at_once(self) -> None:
        (client,) = self.clients(1)
        client.protocol._rights, client.protocol._restricted = Rights(prefix=b"a"), True
        answer = wrong(b"permission denied")
        self.assertEqual(client.ask(b"mp q. q/ 1 v B60000\r\nmn\r\n"), answer + MN)
