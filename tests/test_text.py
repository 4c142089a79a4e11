"""
The text protocol on the wire: conversations, each held in every way in which bytes can arrive.

A conversation is a row of `(sent, answered)`, with a number of seconds where time passes. `check`
has it exchange by exchange, whole, byte by byte, with more behind it, with a store that answers
late, and with one that the reactor may not read. The numbers of the classes are those of the facts
in memcached's source that they are about (proto_parser.c, proto_text.c, memcached.c of 1.6.45).
"""

import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional, Union

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import IBackend, Results, Steps, StorageError
from mctwist.item import size_in_memcached
from mctwist.protocols.grammar import MOST_GET_LINE
from mctwist.protocols.services import Settings
from mctwist.protocols.text import LONG_GET
from mctwist.testing import START, Trouble
from tests.wire import Client, FaultyBackend, Server

Exchange = tuple[bytes, bytes]
Conversation = Sequence[Union[Exchange, int, float]]

BAD_FORMAT = b"CLIENT_ERROR bad command line format\r\n"
BAD_CHUNK = b"CLIENT_ERROR bad data chunk\r\n"
BAD_DELTA = b"CLIENT_ERROR invalid numeric delta argument\r\n"
BAD_EXPTIME = b"CLIENT_ERROR invalid exptime argument\r\n"
NOT_A_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
TOO_LARGE = b"SERVER_ERROR object too large for cache\r\n"
FULL = b"SERVER_ERROR out of memory storing object\r\n"
INTERNAL = b"SERVER_ERROR internal error\r\n"
STORED, NOT_STORED, EXISTS = b"STORED\r\n", b"NOT_STORED\r\n", b"EXISTS\r\n"
NOT_FOUND, DELETED, TOUCHED = b"NOT_FOUND\r\n", b"DELETED\r\n", b"TOUCHED\r\n"
ERROR, END, OK = b"ERROR\r\n", b"END\r\n", b"OK\r\n"

#: What `stats` counts of commands.
COUNTERS = (
    b"cmd_set total_items cas_hits cas_badval cas_misses cmd_get get_hits get_misses cmd_touch "
    b"touch_hits touch_misses incr_hits incr_misses decr_hits decr_misses store_too_large "
    b"delete_hits delete_misses cmd_flush"
).split()

DAY = 24 * 60 * 60
LONGEST = b"k" * 250
TOO_LONG = b"k" * 251
TOP = (1 << 64) - 1


def stored(key: bytes, value: bytes, flags: object = 0, exptime: object = 0) -> Exchange:
    """A set that succeeds."""
    return upload(b"set", key, value, flags, exptime), STORED


def upload(
    verb: bytes, key: bytes, value: bytes, flags: object = 0, exptime: object = 0, more: bytes = b""
) -> bytes:
    """A storage command, with `more` behind its length."""
    line = f"{flags} {exptime} {len(value)}".encode()
    return b"%b %b %b%b\r\n%b\r\n" % (verb, key, line, more, value)


def hit(key: bytes, value: bytes, flags: int = 0) -> Exchange:
    """A get that finds `value`."""
    return b"get %b\r\n" % key, b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (key, flags, len(value), value)


def miss(key: bytes) -> Exchange:
    """A get that finds nothing."""
    return b"get %b\r\n" % key, END


def with_cas(key: bytes, value: bytes, cas: int, flags: int = 0) -> Exchange:
    """A gets that finds `value`."""
    data = (key, flags, len(value), cas, value)
    return b"gets %b\r\n" % key, b"VALUE %b %d %d %d\r\n%b\r\nEND\r\n" % data


def lines(answer: bytes, *commands: bytes) -> Iterator[Exchange]:
    """Several commands that are all answered with `answer`."""
    for command in commands:
        yield command + b"\r\n", answer


class TextCase(SynchronousTestCase):
    """A server for each conversation."""

    def server(self, **options: Any) -> Server:
        server = Server(**options)
        self.addCleanup(server.stop)
        return server

    def check(
        self,
        *conversation: Union[Exchange, int, float],
        closes: bool = False,
        bytewise: bool = True,
        settings: Optional[Settings] = None,
        backend: Callable[[], IBackend] = MemoryBackend,
    ) -> None:
        """
        Hold `conversation` in every way; each must come to the same.

        :param closes: the server hangs up at its end, or else it does not.
        :param bytewise: False where it matters how the bytes arrive.
        """
        ways: list[tuple[str, Callable[..., None], str]] = [
            ("by exchanges", self._by_exchanges, "always"),
            ("whole", self._whole, "always"),
            ("whole, read by threads", self._whole, "never"),
            ("with more behind it", self._with_more_behind, "always"),
            ("with a late store", self._late, "auto"),
        ]
        if bytewise:
            ways.append(("byte by byte", self._byte_by_byte, "always"))
        for way, hold, inline_reads in ways:
            server = self.server(settings=settings, backend=backend(), inline_reads=inline_reads)
            client = server.connect()
            rounds = list(_rounds(conversation))
            for number, (exchanges, pause) in enumerate(rounds):
                hold(client, exchanges, way, number == len(rounds) - 1, closes)
                server.reactor.advance(pause)
            self.assertEqual(client.closed, closes, way)
            server.stop()

    def _by_exchanges(
        self, client: Client, exchanges: "list[Exchange]", way: str, last: bool, closes: bool
    ) -> None:
        for sent, answered in exchanges:
            self.assertEqual(client.ask(sent), answered, f"{way}: {sent[:100]!r}")

    def _whole(
        self, client: Client, exchanges: "list[Exchange]", way: str, last: bool, closes: bool
    ) -> None:
        sent, answered = _joined(exchanges)
        self.assertEqual(client.ask(sent), answered, way)

    def _with_more_behind(
        self, client: Client, exchanges: "list[Exchange]", way: str, last: bool, closes: bool
    ) -> None:
        sent, answered = _joined(exchanges)
        if not last:
            self.assertEqual(client.ask(sent), answered, way)
            return
        answers = client.ask(sent + b"no-such-verb\r\nverbosity unfinis")
        self.assertEqual(answers, answered if closes else answered + ERROR, way)
        if not closes:
            self.assertEqual(client.ask(b"hed\r\n"), BAD_FORMAT, way)

    def _late(
        self, client: Client, exchanges: "list[Exchange]", way: str, last: bool, closes: bool
    ) -> None:
        for sent, _ in exchanges:
            client.send(sent)
        self.assertEqual(client.ask(b""), _joined(exchanges)[1], way)

    def _byte_by_byte(
        self, client: Client, exchanges: "list[Exchange]", way: str, last: bool, closes: bool
    ) -> None:
        sent, answered = _joined(exchanges)
        for place in range(len(sent)):
            client.send(sent[place : place + 1])
            client.server.settle()
        self.assertEqual(client.answers(), answered, way)


def _rounds(conversation: Conversation) -> "Iterator[tuple[list[Exchange], float]]":
    """What is said between two passings of time, and how much then passes."""
    exchanges: list[Exchange] = []
    for part in conversation:
        if isinstance(part, tuple):
            exchanges.append(part)
        else:
            yield exchanges, part
            exchanges = []
    yield exchanges, 0


def _joined(exchanges: "list[Exchange]") -> Exchange:
    sent, answered = zip(*exchanges) if exchanges else ((), ())
    return b"".join(sent), b"".join(answered)


class LineTests(TextCase):
    """Facts 1 to 3: lines and words."""

    def test_a_bare_newline_ends_a_command(self) -> None:
        self.check(
            stored(b"k", b"v"),
            (b"get k\n", b"VALUE k 0 1\r\nv\r\nEND\r\n"),
            (b"set k 0 0 1\nw\r\n", STORED),
            hit(b"k", b"w"),
            (b"delete k\n", DELETED),
        )

    def test_one_carriage_return_before_it_is_not_part_of_the_line(self) -> None:
        self.check(
            stored(b"k", b"v"),
            (b"get k\r\r\n", END),
            stored(b"k\r", b"w"),
            (b"get k\r k\r\n", b"VALUE k\r 0 1\r\nw\r\nVALUE k 0 1\r\nv\r\nEND\r\n"),
        )

    def test_a_line_too_short_for_a_command(self) -> None:
        self.check(*lines(BAD_FORMAT, b"", b"a"), *((line + b"\n", BAD_FORMAT) for line in
                   (b"", b"a", b"ab", b" ", b"  ")))  # fmt: skip

    def test_a_verb_that_there_is_not(self) -> None:
        self.check(
            *lines(ERROR, b"abc", b"GET k", b"Get k", b"SET k 0 0 1", b"getx k", b"get\tk",
                   b"\0\0\0", b"\xff\xfe\xfd", b" get k", b"END", b"   ")
        )  # fmt: skip

    def test_a_verb_without_its_arguments(self) -> None:
        self.check(
            *lines(BAD_FORMAT, b"get", b"gets", b"get ", b"gat", b"gat 0", b"gats 0", b"delete",
                   b"incr", b"incr k", b"decr k", b"touch", b"touch k", b"set", b"set k",
                   b"set k 0 0", b"add k 0 0", b"replace", b"append k 0", b"prepend", b"cas k 0 0",
                   b"verbosity")
        )  # fmt: skip

    def test_a_cas_without_its_token_takes_its_value_all_the_same(self) -> None:
        self.check((b"cas k 0 0 3\r\nget\r\n", BAD_FORMAT), miss(b"k"))

    def test_words_may_stand_apart(self) -> None:
        self.check(
            (b"set  k   0 0  1 \r\nv\r\n", STORED),
            (b"get   k \r\n", b"VALUE k 0 1\r\nv\r\nEND\r\n"),
            (b"delete  k  \r\n", DELETED),
        )

    def test_the_administrators_words_may_stand_behind_spaces(self) -> None:
        self.check((b"  flush_all\r\n", OK), (b" verbosity 1\r\n", OK))

    def test_a_line_that_does_not_end_is_cut_off(self) -> None:
        most = 2048
        for line in (b"x" * (most + 1), b"set " + b"k" * most, b"gets" * most):
            for size in (1, 100, len(line)):
                client = self.server().connect()
                self.assertEqual(client.ask(b"bogus\r\n" + line[:most]), ERROR)
                self.assertFalse(client.closed)
                for place in range(most, len(line), size):
                    client.send(line[place : place + size])
                client.send(b"\r\nbogus\r\n")
                self.assertEqual((client.answers(), client.closed), (b"", True))

    def test_one_that_ends_in_time_is_not(self) -> None:
        self.check((b"x" * 2047 + b"\r\n", ERROR), miss(b"k"))

    def test_a_get_of_many_keys_is_not(self) -> None:
        keys = [b"key-%d-" % number + b"k" * 230 for number in range(520)]
        everything = b"get " + b" ".join(keys) + b"\r\n"
        self.assertTrue(len(everything) > 120_000)
        expected = b"VALUE %b 0 1\r\nv\r\n" % keys[0] + b"VALUE %b 0 1\r\nw\r\n" % keys[-1] + END
        self.check(stored(keys[0], b"v"), stored(keys[-1], b"w"), (everything, expected))
        self.check((b"gets " + b" ".join(keys) + b"\r\n", END), bytewise=False)

    def test_a_get_of_very_many_keys_is_answered_as_any_other(self) -> None:
        count = 100_000
        for verb, cas in ((b"get", b""), (b"gets", b" 1")):
            server = self.server()
            client = server.connect()
            client.ask(upload(b"set", b"k", b"v"))
            line = verb + b"  k" + b"   x y" * count + b" k  \r\n"
            self.assertTrue(len(line) > LONG_GET)
            value = b"VALUE k 0 1%b\r\nv\r\n" % cas
            for size in (len(line), 1000):
                for place in range(0, len(line), size):
                    client.send(line[place : place + size])
                client.send(b"bogus\r\n")
                self.assertEqual(client.ask(b""), 2 * value + END + ERROR)
        self.assertEqual(server.stats.get_misses, 4 * count)

    def test_those_around_it_are_answered_in_their_order(self) -> None:
        server = self.server()
        client = server.connect()
        client.ask(upload(b"set", b"k:", b"v"))
        value = hit(b"k:", b"v")[1]
        line = b"get" + b" x:" * (LONG_GET // 2) + b"\r\n"
        client.ask(b"stats detail on\r\n")
        answer = client.ask(b"get k:\r\n" + line + b"get k:\r\n" + line + b"get k:\r\n")
        self.assertEqual(answer, value + END + value + END + value)
        self.assertIn(
            b"PREFIX x get %d hit 0 " % (2 * (LONG_GET // 2)), client.ask(b"stats detail dump\r\n")
        )

    def test_what_is_wrong_with_one_is_found_before_it_is_answered(self) -> None:
        client = self.server().connect()
        client.ask(upload(b"set", b"k", b"v"))
        many = b" k" * 50_000
        for keys in (many + b" " + TOO_LONG, b" " + TOO_LONG + many, b" " * 100_000):
            self.assertEqual(
                client.ask(b"get" + keys + b"\r\nget k\r\n"), BAD_FORMAT + hit(b"k", b"v")[1]
            )
        self.assertEqual(client.ask(b" get" + many + b"\r\n"), ERROR)
        longest = b" " + LONGEST
        self.assertEqual(client.ask(b"get" + longest * 1000 + b"\r\n"), END)

    def test_the_keys_of_one_are_not_all_taken_from_it_at_once(self) -> None:
        server = self.server()
        client = server.connect()
        line = b"get" + b" ab" * 300_000 + b"\r\n"
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        client.send(line)
        _, peak = tracemalloc.get_traced_memory()
        self.assertTrue(peak < 5 * len(line), peak)
        self.assertEqual(client.ask(b""), END)

    def test_but_for_one_without_end(self) -> None:
        server = self.server()
        client = server.connect()
        sent = 0
        while not client.closed:
            self.assertTrue(sent <= MOST_GET_LINE, sent)
            client.send(b"get " + b"k " * 5000 if sent == 0 else b"k " * 5000)
            sent += 10_000
        self.assertEqual(client.answers(), b"")

    def test_a_browser_is_hung_up_on_and_nothing_of_its_request_is_run(self) -> None:
        for request in (b"GET / HTTP/1.1\r\n", b"POST /x?y HTTP/1.0\r\nHost: a\r\n\r\n"):
            server = self.server()
            client = server.connect()
            client.send(request + upload(b"set", b"k", b"v"))
            client.send(upload(b"set", b"k", b"v"))
            server.settle()
            self.assertEqual((client.answers(), client.closed), (b"", True))
            self.assertEqual(server.connect().ask(b"get k\r\n"), END)
        self.check(stored(b"k", b"v"), (b"GET / HTTP/1.1\r\n", b""), closes=True)

    def test_quit_answers_what_came_before_it(self) -> None:
        self.check(stored(b"k", b"v"), hit(b"k", b"v"), (b"quit\r\n", b""), closes=True)


class KeyTests(TextCase):
    """Fact 4: keys have at most 250 bytes."""

    def test_the_longest_key(self) -> None:
        self.check(
            stored(LONGEST, b"1"),
            hit(LONGEST, b"1"),
            (b"incr %b 1\r\n" % LONGEST, b"2\r\n"),
            (b"touch %b 0\r\n" % LONGEST, TOUCHED),
            (b"gat 0 %b\r\n" % LONGEST, b"VALUE %b 0 1\r\n2\r\nEND\r\n" % LONGEST),
            (b"delete %b\r\n" % LONGEST, DELETED),
        )

    def test_a_key_that_is_too_long(self) -> None:
        commands = (b"get %b", b"gets %b", b"gat 0 %b", b"gats 0 %b", b"delete %b", b"incr %b 1",
                    b"decr %b 1", b"touch %b 0", b"get a %b b")  # fmt: skip
        self.check(*lines(BAD_FORMAT, *(command % TOO_LONG for command in commands)))

    def test_its_value_is_swallowed(self) -> None:
        for verb in (b"set", b"add", b"replace", b"append", b"prepend"):
            self.check((upload(verb, TOO_LONG, b"get k\r\n"), BAD_FORMAT), miss(b"k"))
        self.check((upload(b"cas", TOO_LONG, b"get k\r\n", more=b" 1"), BAD_FORMAT), miss(b"k"))

    def test_one_of_several_makes_an_error_of_the_whole_answer(self) -> None:
        self.check(
            stored(b"a", b"v"),
            (b"get a %b\r\n" % TOO_LONG, BAD_FORMAT),
            (b"gets %b a\r\n" % TOO_LONG, BAD_FORMAT),
            (b"gat 0 a %b a\r\n" % TOO_LONG, BAD_FORMAT),
            hit(b"a", b"v"),
        )

    def test_any_byte_but_a_blank_or_a_line_end_may_be_in_one(self) -> None:
        for byte in sorted(set(range(256)) - set(b" \r\n")):
            key = b"a%cb" % byte
            server = self.server()
            client = server.connect()
            for sent, answered in (stored(key, b"v"), hit(key, b"v")):
                self.assertEqual(client.ask(sent), answered, byte)

    def test_a_get_of_several_answers_in_order_and_as_often_as_asked(self) -> None:
        one, two = b"VALUE a 1 1\r\n1\r\n", b"VALUE b 2 2\r\n22\r\n"
        self.check(
            stored(b"a", b"1", 1),
            stored(b"b", b"22", 2),
            (b"get b none a b\r\n", two + one + two + END),
            (b"get none other\r\n", END),
            (b"gets a b\r\n", b"VALUE a 1 1 1\r\n1\r\nVALUE b 2 2 2\r\n22\r\nEND\r\n"),
            (b"gat 0 a b none\r\n", one + two + END),
            (b"gats 0 b a\r\n", b"VALUE b 2 2 2\r\n22\r\nVALUE a 1 1 1\r\n1\r\nEND\r\n"),
        )


class ValueTests(TextCase):
    """Facts 5 to 7: lengths and values."""

    def test_a_length_that_means_nothing_swallows_nothing(self) -> None:
        for length in (b"-1", b"abc", b"1e3", b"0x2", b"1_0", b"2147483646", b"4294967296",
                       b"18446744073709551616", b"1" * 30, b"1.0", b"\xd9\xa1"):  # fmt: skip
            for verb in (b"set", b"append"):
                self.check((b"%b k 0 0 %b\r\n" % (verb, length), BAD_FORMAT), (b"abcde\r\n", ERROR))
        self.check((b"cas k 0 0 -1 1\r\n", BAD_FORMAT), (b"abcde\r\n", ERROR))

    def test_a_value_is_exactly_as_long_as_it_was_said_to_be(self) -> None:
        self.check(
            stored(b"k", b"old"),
            # What is left over is a command; what is missing is taken from the next.
            (b"set k 0 0 3\r\nabcdebogus\r\n", BAD_CHUNK + ERROR),
            (b"set k 0 0 3\r\na\r\nget k\r\n", BAD_CHUNK + ERROR),
            hit(b"k", b"old"),
        )

    def test_it_ends_in_both_bytes_of_a_line_end(self) -> None:
        self.check(
            (b"set k 0 0 1\r\nv\nget k\r\n", BAD_CHUNK + ERROR),
            (b"set k 0 0 1\r\nv\rbogus\r\n", BAD_CHUNK + ERROR),
            (b"set k 0 0 0\r\n\n\nbogus\r\n", BAD_CHUNK + ERROR),
            miss(b"k"),
        )

    def test_however_small_its_pieces_it_takes_no_more_memory_than_it_has_bytes(self) -> None:
        size = 200_000
        for head, end in ((b"set k 0 0 %d\r\n" % size, b"\r\n"), (b"get ", b" k\r\n")):
            client = self.server().connect()
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            client.send(head)
            for _ in range(size // 2):
                client.send(b"v ")
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertTrue(held < 1.5 * size, held)
            self.assertIn(client.ask(end), (STORED, END))

    def test_any_byte_may_be_in_one(self) -> None:
        for value in (bytes(range(256)), b"", b"\r\n", b"END\r\n", b"set k 0 0 1\r\nx\r\n"):
            self.check(stored(b"k", value), hit(b"k", value))

    def test_flags_are_kept(self) -> None:
        for flags in (0, 1, 0xFFFF, 0xFFFFFFFF):
            self.check(stored(b"k", b"v", flags), hit(b"k", b"v", flags))
        self.check(
            *((upload(b"set", b"k", b"v", flags), BAD_FORMAT) for flags in ("abc", "1x", "0x1")),
            miss(b"k"),
        )

    def test_the_largest_item_counts_its_header_and_key(self) -> None:
        limit = 1024
        settings = Settings(max_item_size=limit)
        for key, flags in ((b"k", 0), (b"k", 1), (LONGEST, 7)):
            room = limit - size_in_memcached(key, 0, flags)
            self.check(
                stored(key, b"v" * room, flags),
                hit(key, b"v" * room, flags),
                (upload(b"set", key, b"v" * (room + 1), flags), TOO_LARGE),
                settings=settings,
            )

    def test_a_set_that_is_too_large_takes_the_old_value_with_it(self) -> None:
        large = b"get k\r\n" * 200
        settings = Settings(max_item_size=1024)
        self.check(
            stored(b"k", b"old"),
            (upload(b"set", b"k", large), TOO_LARGE),
            miss(b"k"),
            (upload(b"set", b"k", large), TOO_LARGE),
            settings=settings,
        )
        self.check(
            stored(b"k", b"old"),
            (upload(b"set", b"k", large, more=b" noreply"), b""),
            miss(b"k"),
            settings=settings,
        )

    def test_only_a_set_does(self) -> None:
        large = b"get k\r\n" * 200
        for verb, more in ((b"add", b""), (b"replace", b""), (b"append", b""), (b"prepend", b""),
                           (b"cas", b" 1")):  # fmt: skip
            self.check(
                stored(b"k", b"old"),
                (upload(verb, b"k", large, more=more), TOO_LARGE),
                (upload(verb, b"k", large, more=more + b" noreply"), b""),
                hit(b"k", b"old"),
                settings=Settings(max_item_size=1024),
            )

    def test_a_mebibyte_is_too_large_by_its_header(self) -> None:
        value = b"v" * (1 << 20)
        self.check((upload(b"set", b"k", value), TOO_LARGE), bytewise=False)
        self.check(
            stored(b"k", value[:-100]), hit(b"k", value[:-100]), miss(b"none"), bytewise=False
        )


class NoreplyTests(TextCase):
    """Fact 8: noreply hides what came of a command, errors too."""

    def test_it_hides_success_and_failure(self) -> None:
        quiet = b" noreply"
        self.check(
            (upload(b"set", b"k", b"1", more=quiet), b""),
            (upload(b"add", b"k", b"2", more=quiet), b""),
            (upload(b"replace", b"none", b"2", more=quiet), b""),
            (upload(b"append", b"k", b"0", more=quiet), b""),
            (upload(b"prepend", b"k", b"2", more=quiet), b""),
            (upload(b"cas", b"k", b"2", more=b" 99 noreply"), b""),
            (upload(b"cas", b"none", b"2", more=b" 99 noreply"), b""),
            (b"incr k 1 noreply\r\n", b""),
            (b"decr k 2 noreply\r\n", b""),
            (b"incr none 1 noreply\r\n", b""),
            (b"touch k 0 noreply\r\n", b""),
            (b"touch none 0 noreply\r\n", b""),
            (b"delete none noreply\r\n", b""),
            (b"verbosity 0 noreply\r\n", b""),
            hit(b"k", b"209"),
            (b"delete k noreply\r\n", b""),
            miss(b"k"),
            stored(b"k", b"v"),
            (b"flush_all noreply\r\n", b""),
            (b"flush_all 0 noreply\r\n", b""),
            miss(b"k"),
        )

    def test_it_hides_errors_that_are_found_behind_it(self) -> None:
        self.check(
            (upload(b"set", TOO_LONG, b"v", more=b" noreply"), b""),
            (upload(b"set", b"k", b"v", "abc", more=b" noreply"), b""),
            (upload(b"set", b"k", b"v", 0, "abc", more=b" noreply"), b""),
            (b"set k 0 0 1 noreply\r\nabc", b""),
            (b"gus\r\n", ERROR),
            (b"delete %b noreply\r\n" % TOO_LONG, b""),
            (b"incr k abc noreply\r\n", b""),
            (b"touch k abc noreply\r\n", b""),
            stored(b"k", b"v"),
            (b"incr k 1 noreply\r\n", b""),
        )

    def test_it_does_not_hide_that_the_line_makes_no_sense(self) -> None:
        self.check(
            (b"set k 0 0 abc noreply\r\n", BAD_FORMAT),
            (b"set k 0 0 -1 noreply\r\n", BAD_FORMAT),
            (b"set noreply\r\n", BAD_FORMAT),
            (b"incr noreply\r\n", BAD_FORMAT),
        )

    def test_a_get_takes_it_for_a_key(self) -> None:
        self.check(stored(b"noreply", b"v"), hit(b"noreply", b"v"))


class StoreTests(TextCase):
    """Facts 9 and 10: the storage commands."""

    def test_add_and_replace(self) -> None:
        self.check(
            (upload(b"replace", b"k", b"1"), NOT_STORED),
            (upload(b"add", b"k", b"2", 2), STORED),
            (upload(b"add", b"k", b"3"), NOT_STORED),
            hit(b"k", b"2", 2),
            (upload(b"replace", b"k", b"4", 4), STORED),
            hit(b"k", b"4", 4),
        )

    def test_append_and_prepend_keep_flags_and_exptime(self) -> None:
        self.check(
            (upload(b"append", b"k", b"1"), NOT_STORED),
            (upload(b"prepend", b"k", b"1"), NOT_STORED),
            stored(b"k", b"b", 7, 10),
            (upload(b"append", b"k", b"c", 9, 1000), STORED),
            (upload(b"prepend", b"k", b"a", 9, -1), STORED),
            hit(b"k", b"abc", 7),
            (upload(b"append", b"k", b""), STORED),
            10,
            miss(b"k"),
        )

    def test_what_would_become_too_large_is_not_stored(self) -> None:
        room = 1024 - size_in_memcached(b"k", 0, 0)
        self.check(
            stored(b"k", b"v" * (room - 10)),
            (upload(b"append", b"k", b"v" * 11), NOT_STORED),
            (upload(b"prepend", b"k", b"v" * 11), NOT_STORED),
            (upload(b"append", b"k", b"v" * 10), STORED),
            hit(b"k", b"v" * room),
            settings=Settings(max_item_size=1024),
        )

    def test_cas(self) -> None:
        self.check(
            (upload(b"cas", b"k", b"v", more=b" 1"), NOT_FOUND),
            stored(b"k", b"1"),
            with_cas(b"k", b"1", 1),
            (upload(b"cas", b"k", b"2", more=b" 99"), EXISTS),
            (upload(b"cas", b"k", b"2", more=b" 0"), EXISTS),
            (upload(b"cas", b"k", b"2", 7, more=b" 1"), STORED),
            (upload(b"cas", b"k", b"3", more=b" 1"), EXISTS),
            with_cas(b"k", b"2", 2, 7),
        )

    def test_a_token_that_is_no_number(self) -> None:
        for token in (b"abc", b"-1", b"18446744073709551616", b"1x"):
            self.check((upload(b"cas", b"k", b"get k\r\n", more=b" " + token), BAD_FORMAT))
        self.check((upload(b"cas", b"k", b"v", more=b" %d" % TOP), NOT_FOUND))

    def test_what_moves_the_cas(self) -> None:
        self.check(
            stored(b"k", b"1"),
            with_cas(b"k", b"1", 1),
            (b"touch k 100\r\n", TOUCHED),
            (b"gat 100 k\r\n", hit(b"k", b"1")[1]),
            with_cas(b"k", b"1", 1),
            (b"incr k 1\r\n", b"2\r\n"),
            with_cas(b"k", b"2", 4),
            (upload(b"append", b"k", b"0"), STORED),
            with_cas(b"k", b"20", 5),
        )


class ExpiryTests(TextCase):
    """Fact 11: exptimes."""

    def test_when_an_item_is_gone(self) -> None:
        month = 30 * DAY
        for exptime, seconds in (
            (1, 1),
            (60, 60),
            (month, month),
            (START + 60, 60),
            (START + 10 * month, 10 * month),
        ):
            self.check(
                stored(b"k", b"v", 7, exptime),
                seconds - 0.25,
                hit(b"k", b"v", 7),
                0.25,
                miss(b"k"),
                (upload(b"add", b"k", b"w"), STORED),
            )

    def test_when_it_is_gone_at_once(self) -> None:
        for exptime in (-1, -(1 << 31), START, START - 1, 30 * DAY + 1):
            self.check(stored(b"k", b"old"), stored(b"k", b"v", 0, exptime), miss(b"k"))

    def test_never(self) -> None:
        self.check(stored(b"k", b"v"), 100 * 365 * DAY, hit(b"k", b"v"))

    def test_touch_and_get_and_touch_move_it(self) -> None:
        self.check(
            (b"touch k 10\r\n", NOT_FOUND),
            (b"gat 10 k\r\n", END),
            stored(b"k", b"v", 0, 10),
            (b"touch k 20\r\n", TOUCHED),
            15,
            (b"gat 20 k\r\n", hit(b"k", b"v")[1]),
            15,
            (b"gats 0 k\r\n", with_cas(b"k", b"v", 1)[1]),
            100 * DAY,
            (b"touch k -1\r\n", TOUCHED),
            miss(b"k"),
        )

    def test_a_clock_that_is_set_back_kills_nothing(self) -> None:
        server = self.server()
        client = server.connect()
        client.ask(upload(b"set", b"old", b"v", 0, 7200))
        server.reactor.rightNow -= 3600
        client.ask(upload(b"set", b"k", b"v", 0, 60) + b"touch old 60\r\n")
        for key in (b"k", b"old"):
            sent, answered = hit(key, b"v")
            self.assertEqual(client.ask(sent), answered, repr(key))

    def test_what_is_no_number(self) -> None:
        self.check(
            stored(b"k", b"v"),
            (upload(b"set", b"k", b"get k\r\n", 0, "abc"), BAD_FORMAT),
            (upload(b"set", b"k", b"get k\r\n", 0, "1x"), BAD_FORMAT),
            (b"touch k abc\r\n", BAD_EXPTIME),
            (b"touch k 1x\r\n", BAD_EXPTIME),
            (b"touch k 2147483648\r\n", BAD_EXPTIME),
            (b"gat abc k\r\n", BAD_EXPTIME),
            (b"gats 1_0 k\r\n", BAD_EXPTIME),
            (b"flush_all abc\r\n", BAD_EXPTIME),
            (b"flush_all 4294967296\r\n", BAD_EXPTIME),
            hit(b"k", b"v"),
        )


class FlushTests(TextCase):
    """Fact 13: flush_all."""

    def test_now_is_exact_within_the_second(self) -> None:
        for command in (b"flush_all", b"flush_all 0", b"flush_all -1"):
            self.check(
                stored(b"a", b"v"),
                stored(b"b", b"v"),
                (command + b"\r\n", OK),
                miss(b"a"),
                stored(b"a", b"w"),
                (b"get a b\r\n", hit(b"a", b"w")[1]),
                (upload(b"add", b"b", b"w"), STORED),
                3600,
                hit(b"b", b"w"),
            )

    def test_later_takes_what_is_stored_before_its_deadline_too(self) -> None:
        self.check(
            stored(b"before", b"v"),
            (b"flush_all 10\r\n", OK),
            hit(b"before", b"v"),
            5,
            stored(b"between", b"v"),
            4.75,
            (b"get before between\r\n", hit(b"before", b"v")[1][:-5] + hit(b"between", b"v")[1]),
            0.25,
            (b"get before between\r\n", END),
            stored(b"after", b"v"),
            3600,
            hit(b"after", b"v"),
        )

    def test_a_delay_of_more_than_thirty_days_is_a_date(self) -> None:
        self.check(
            stored(b"k", b"v"),
            (b"flush_all %d\r\n" % (START + 100), OK),
            99,
            hit(b"k", b"v"),
            1,
            miss(b"k"),
        )

    def test_the_next_replaces_one_to_come(self) -> None:
        self.check(
            stored(b"k", b"v"),
            (b"flush_all 10\r\n", OK),
            (b"flush_all 100\r\n", OK),
            50,
            hit(b"k", b"v"),
            (b"flush_all 10\r\n", OK),
            10,
            miss(b"k"),
        )

    def test_it_may_be_refused(self) -> None:
        refused = b"CLIENT_ERROR flush_all not allowed\r\n"
        self.check(
            stored(b"k", b"v"),
            *lines(refused, b"flush_all", b"flush_all 0", b"flush_all 10"),
            (b"flush_all noreply\r\n", b""),
            100,
            hit(b"k", b"v"),
            settings=Settings(flush_enabled=False),
        )


class FlushPrefixTests(TextCase):
    """flush_prefix, which memcached has not."""

    def test_it_takes_what_begins_with_the_prefix_and_nothing_else(self) -> None:
        self.check(
            *(stored(key, b"v") for key in (b"a", b"a:", b"a:b", b"b", b"ba:")),
            (b"flush_prefix a:\r\n", OK),
            stored(b"a:new", b"v"),
            (b"get a: a:b\r\n", END),
            *(hit(key, b"v") for key in (b"a", b"b", b"ba:", b"a:new")),
            (b"flush_prefix b noreply\r\nget b ba:\r\n", END),
            hit(b"a", b"v"),
            (b"flush_prefix %b\r\n" % LONGEST, OK),
        )

    def test_what_is_no_prefix(self) -> None:
        self.check(
            stored(b"a", b"v"),
            *lines(
                BAD_FORMAT,
                b"flush_prefix",
                b"flush_prefix %b" % TOO_LONG,
                b"flush_prefix a 10",
                b"flush_prefix a b noreply x",
            ),
            (b"flush_prefix noreply\r\nflush_prefix a 10 noreply\r\n", b""),
            hit(b"a", b"v"),
        )

    def test_too_many_at_once(self) -> None:
        lengths = range(1, 18)
        several = b"".join(b"flush_prefix %b\r\n" % (b"p" * length) for length in lengths)
        refused = b"SERVER_ERROR too many prefixes are being flushed\r\n"
        self.check((several, OK * 16 + refused), 3600, (b"flush_prefix p\r\n", OK), bytewise=False)

    def test_it_may_be_refused(self) -> None:
        self.check(
            stored(b"k", b"v"),
            (b"flush_prefix k\r\n", b"CLIENT_ERROR flush_prefix not allowed\r\n"),
            (b"flush_prefix k noreply\r\n", b""),
            hit(b"k", b"v"),
            settings=Settings(flush_enabled=False),
        )


class ArithmeticTests(TextCase):
    """Fact 14: incr and decr."""

    def test_counting(self) -> None:
        self.check(
            (b"incr n 1\r\n", NOT_FOUND),
            (b"decr n 1\r\n", NOT_FOUND),
            stored(b"n", b"5", 7),
            (b"incr n 5\r\n", b"10\r\n"),
            (b"incr n 0\r\n", b"10\r\n"),
            hit(b"n", b"10", 7),
            (b"decr n 11\r\n", b"0\r\n"),
            hit(b"n", b"0 ", 7),
            (b"incr n %d\r\n" % TOP, b"%d\r\n" % TOP),
            (b"incr n 1\r\n", b"0\r\n"),
            (b"incr n 8\r\n", b"8\r\n"),
        )

    def test_a_number_that_gets_shorter_keeps_the_length_of_its_value(self) -> None:
        self.check(
            stored(b"n", b"10"),
            (b"decr n 1\r\n", b"9\r\n"),
            hit(b"n", b"9 "),
            (b"incr n 1\r\n", b"10\r\n"),
            hit(b"n", b"10"),
            (b"incr n 90\r\n", b"100\r\n"),
            hit(b"n", b"100"),
        )

    def test_the_exptime_stays(self) -> None:
        self.check(
            stored(b"n", b"1", 0, 10),
            (b"incr n 1\r\n", b"2\r\n"),
            9.75,
            hit(b"n", b"2"),
            0.25,
            (b"incr n 1\r\n", NOT_FOUND),
        )

    def test_a_delta_that_is_no_number(self) -> None:
        deltas = (b"abc", b"-1", b"+1", b"1.5", b"0x1", b"1_0", b"18446744073709551616")
        self.check(
            stored(b"n", b"1"),
            *lines(BAD_DELTA, *(b"incr n " + delta for delta in deltas)),
            *lines(BAD_DELTA, *(b"decr n " + delta for delta in deltas)),
            *lines(BAD_DELTA, b"incr none abc"),
            hit(b"n", b"1"),
        )

    def test_a_value_that_is_no_number(self) -> None:
        for value in (b"", b"abc", b"1x", b"%d" % (TOP + 1), b"-1"):
            self.check(
                stored(b"n", value),
                *lines(NOT_A_NUMBER, b"incr n 1", b"decr n 1"),
                hit(b"n", value),
            )


class OtherTests(TextCase):
    """Fact 15: the rest."""

    def test_delete(self) -> None:
        self.check(
            (b"delete k\r\n", NOT_FOUND),
            stored(b"k", b"v"),
            (b"delete k 0\r\n", DELETED),
            stored(b"k", b"v"),
            (b"delete k 0 noreply\r\n", b""),
            (b"delete k 10 and more\r\n", NOT_FOUND),
            (b"delete k 10 and yet more\r\n", ERROR),
        )

    def test_version(self) -> None:
        answer = self.server().connect().ask(b"version\r\n")
        self.assertRegex(answer, rb"\AVERSION 1\.6\.[0-9]+\S*\r\n\Z")

    def test_verbosity(self) -> None:
        told: list[int] = []
        settings = Settings(set_verbosity=told.append)
        client = self.server(settings=settings).connect()
        for line, answer in (
            (b"verbosity 0", OK),
            (b"verbosity 1", OK),
            (b"verbosity 5", OK),
            (b"verbosity 1 noreply", b""),
            (b"verbosity", BAD_FORMAT),
            (b"verbosity abc", BAD_FORMAT),
            (b"verbosity -1", BAD_FORMAT),
        ):
            self.assertEqual(client.ask(line + b"\r\n"), answer, repr(line))
        self.assertEqual(told, [0, 1, 2, 1])

    def test_refresh_certs(self) -> None:
        self.check((b"refresh_certs\r\n", b"ERROR\r\n"))
        self.check((b"refresh_certs noreply\r\nmn\r\n", b"MN\r\n"))
        settings = Settings(refresh_certs=lambda: None)
        self.check(
            (b"refresh_certs\r\n", b"OK\r\n"),
            (b"refresh_certs again\r\n", b"OK\r\n"),
            (b"refresh_certs noreply\r\nmn\r\n", b"MN\r\n"),
            settings=settings,
        )
        fault = "Error loading the key: /k\udcff : no start line"
        wire = b"Error loading the key: /k\xff : no start line\r\n"
        settings = Settings(refresh_certs=lambda: fault)
        self.check(
            (b"refresh_certs\r\n", wire),
            (b"refresh_certs noreply\r\nmn\r\n", wire + b"MN\r\n"),
            settings=settings,
        )

    def test_shutdown(self) -> None:
        self.check((b"shutdown\r\n", b"SERVER_ERROR: shutdown not enabled\r\n"))
        stopped: list[bool] = []
        settings = Settings(shutdown=lambda: stopped.append(True))
        self.check(
            (b"shutdown abc\r\n", b"CLIENT_ERROR invalid shutdown mode\r\n"),
            stored(b"k", b"v"),
            (b"shutdown graceful\r\n", b""),
            closes=True,
            settings=settings,
        )
        self.assertTrue(stopped)
        self.check((b"shutdown\r\n", b""), closes=True, settings=settings)


class StatsTests(TextCase):
    """`stats`, for those who watch."""

    def stats(self, client: Client, what: bytes = b"stats") -> "dict[bytes, bytes]":
        answer = client.ask(what + b"\r\n")
        self.assertTrue(answer.endswith(b"END\r\n"), repr(answer))
        found = {}
        for line in answer.split(b"\r\n")[:-2]:
            # Telegraf rejects a line of other than three words.
            word, name, value = line.split(b" ")
            self.assertEqual(word, b"STAT")
            found[name] = value
        return found

    def test_counts(self) -> None:
        server = self.server(settings=Settings(max_item_size=1024))
        client = server.connect()
        for sent, changes in (
            (upload(b"set", b"k", b"1"), "cmd_set total_items"),
            (upload(b"add", b"k", b"1"), "cmd_set"),
            (upload(b"cas", b"k", b"1", more=b" 1"), "cmd_set total_items cas_hits"),
            (upload(b"cas", b"k", b"1", more=b" 1"), "cmd_set cas_badval"),
            (upload(b"cas", b"x", b"1", more=b" 1"), "cmd_set cas_misses"),
            (b"get k\r\n", "cmd_get get_hits"),
            (b"get x\r\n", "cmd_get get_misses"),
            (b"gets k\r\n", "cmd_get get_hits"),
            (b"gat 0 k\r\n", "cmd_touch touch_hits"),
            (b"gat 0 x\r\n", "cmd_touch touch_misses"),
            (b"touch k 0\r\n", "cmd_touch touch_hits"),
            (b"touch x 0\r\n", "cmd_touch touch_misses"),
            (b"incr k 1\r\n", "incr_hits"),
            (b"incr x 1\r\n", "incr_misses"),
            (b"decr k 1 noreply\r\n", "decr_hits"),
            (b"decr x 1\r\n", "decr_misses"),
            (upload(b"add", b"y", b"v" * 1024), "store_too_large"),
            (upload(b"set", b"y", b"v" * 1024), "store_too_large"),
            (b"delete x\r\n", "delete_misses"),
            (b"delete k\r\n", "delete_hits"),
            (b"flush_all\r\n", "cmd_flush"),
            (b"flush_all bogus\r\n", "cmd_flush"),
            (b"flush_prefix k\r\n", "cmd_flush"),
            (b"flush_prefix k noreply\r\n", "cmd_flush"),
            (b"flush_prefix\r\n", "cmd_flush"),
            (b"set y 0 0 1\r\nno\r\n", "cmd_set"),
            (b"get x %b\r\n" % TOO_LONG, "cmd_get get_misses"),
            (b"get x x x\r\n", "cmd_get get_misses"),
        ):
            before = self.stats(client)
            client.ask(sent)
            after = self.stats(client)
            step = 3 if sent.count(b"x") == 3 else 1
            changed = {name for name in COUNTERS if after[name] != before[name]}
            self.assertEqual(changed, set(changes.encode().split()), repr(sent[:40]))
            for name in changed:
                grown = int(after[name]) - int(before[name])
                self.assertEqual(grown, step, f"{name!r} of {sent[:40]!r}")

    def test_items_and_bytes(self) -> None:
        server = self.server()
        client = server.connect()
        client.ask(upload(b"set", b"k", b"12345", 1) + upload(b"set", b"l", b""))
        stats = self.stats(client)
        self.assertEqual(stats[b"curr_items"], b"2")
        size = size_in_memcached(b"k", 5, 1) + size_in_memcached(b"l", 0, 0)
        self.assertEqual(stats[b"bytes"], b"%d" % size)

    def test_bytes_on_the_wire(self) -> None:
        server = self.server()
        client = server.connect()
        sent = upload(b"set", b"k", b"v" * 1000) + b"get k\r\n"
        answered = client.ask(sent)
        self.assertEqual(server.stats.bytes_read, len(sent))
        self.assertEqual(server.stats.bytes_written, len(answered))

    def test_time(self) -> None:
        server = self.server()
        client = server.connect()
        server.reactor.advance(90)
        stats = self.stats(client)
        self.assertEqual((stats[b"uptime"], stats[b"time"]), (b"90", b"%d" % (START + 90)))

    def test_of_what_there_is_not(self) -> None:
        self.check(*lines(ERROR, b"stats bogus", b"stats bogus more"))


class SickBackend(MemoryBackend):
    """A store that can do nothing."""

    fault: Exception = StorageError("the disk is gone")

    def perform(self, lists: Sequence[Steps], now: int) -> "list[Results]":
        raise self.fault

    def read(self, steps: Steps, now: int, patient: bool = False) -> Results:
        raise self.fault


class ConfusedBackend(SickBackend):
    """A store that fails as nobody thought it could."""

    fault = Trouble("nobody thought of this")


class FaultTests(TextCase):
    """What a client is told when the store fails: never of our insides."""

    def test_each_command_is_answered_for_itself(self) -> None:
        for key, answer in ((b"full", FULL), (b"sick", INTERNAL), (b"strange", INTERNAL)):
            self.check(
                stored(b"a", b"1"),
                (upload(b"set", key, b"v"), answer),
                hit(b"a", b"1"),
                (upload(b"cas", key, b"v", more=b" 1"), answer),
                (b"incr a 1\r\n", b"2\r\n"),
                (b"incr %b 1\r\n" % key, answer),
                (b"touch %b 0\r\n" % key, answer),
                (b"get %b\r\n" % key, answer),
                (b"gat 0 %b\r\n" % key, answer),
                (b"delete a\r\n", DELETED),
                backend=FaultyBackend,
            )
            logged = self.flushLoggedErrors(Trouble)
            self.assertEqual(bool(logged), key == b"strange")

    def test_noreply_hides_it(self) -> None:
        for key in (b"full", b"sick", b"strange"):
            self.check(
                (upload(b"set", key, b"v", more=b" noreply"), b""),
                (upload(b"append", key, b"v", more=b" noreply"), b""),
                (b"delete %b noreply\r\n" % key, b""),
                (b"incr %b 1 noreply\r\n" % key, b""),
                (b"touch %b 1 noreply\r\n" % key, b""),
                stored(b"a", b"1"),
                backend=FaultyBackend,
            )
            self.flushLoggedErrors(Trouble)

    def test_with_details_counted_it_is_told_and_hidden_the_same(self) -> None:
        self.check(
            (b"stats detail on\r\n", OK),
            (upload(b"set", b"sick", b"v"), INTERNAL),
            (upload(b"set", b"sick", b"v", more=b" noreply"), b""),
            (b"delete sick noreply\r\n", b""),
            (b"get sick a:b\r\n", INTERNAL),
            (b"gats 0 a:b sick\r\n", INTERNAL),
            (b"stats detail off\r\n", OK),
            backend=FaultyBackend,
        )

    def test_what_found_no_room_is_counted(self) -> None:
        server = self.server(backend=FaultyBackend())
        server.connect().ask(upload(b"set", b"full", b"v") + upload(b"set", b"sick", b"v"))
        self.assertEqual(server.stats.store_no_memory, 1)

    def test_a_get_of_several_keys_is_answered_once(self) -> None:
        for key in (b"sick", b"strange"):
            for keys in ((key, b"a"), (b"a", key), (b"a", key, b"b"), (key, key)):
                server = self.server(backend=FaultyBackend())
                client = server.connect()
                client.ask(upload(b"set", b"a", b"v"))
                for verb in (b"get ", b"gets ", b"gat 0 "):
                    answer = client.ask(verb + b" ".join(keys) + b"\r\n")
                    self.assertEqual(answer.count(b"SERVER_ERROR"), 1, repr(answer))
                    self.assertTrue(answer.endswith(INTERNAL), repr(answer))
                    self.assertNotIn(END, answer)
                self.flushLoggedErrors(Trouble)

    def test_a_store_that_can_do_nothing(self) -> None:
        for backend in (SickBackend, ConfusedBackend):
            self.check(
                (upload(b"set", b"k", b"v"), INTERNAL),
                *lines(INTERNAL, b"delete k", b"get k", b"gat 0 k", b"incr k 1", b"stats"),
                backend=backend,
            )
            self.flushLoggedErrors(Trouble)

    def test_a_flush_that_has_not_happened_is_not_acknowledged(self) -> None:
        self.check((b"flush_all\r\n", INTERNAL), backend=SickBackend)

    def test_what_needs_no_store_is_answered_beside_what_does(self) -> None:
        self.check(
            (b"delete k\r\n", INTERNAL),
            (b"bogus\r\n", ERROR),
            (b"delete k\r\n", INTERNAL),
            backend=SickBackend,
        )

    def test_a_store_that_can_do_nothing_answers_a_get_of_several_keys_once(self) -> None:
        self.check((b"get a b c\r\n", INTERNAL), (b"get a\r\n", INTERNAL), backend=SickBackend)

    def test_the_traceback_is_in_the_log_and_not_on_the_wire(self) -> None:
        server = self.server(backend=FaultyBackend())
        answer = server.connect().ask(upload(b"set", b"strange", b"v"))
        self.assertEqual(answer, INTERNAL)
        (failure,) = self.flushLoggedErrors(Trouble)
        self.assertIn("nobody thought of this", failure.getTraceback())
