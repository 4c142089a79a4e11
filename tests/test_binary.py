"""
The binary protocol on the wire: conversations of frames, whole, byte by byte, and with more behind.

Frames are written as `(opcode, opaque, cas, extras, key, value)` and answers as `(opcode, status,
opaque, cas, extras, key, value)`, so that a row reads like the specification
(doc/protocol-binary.txt). What memcached itself answers is in test_differential.
"""

from collections.abc import Sequence
from struct import Struct, pack
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from mctwist.item import size_in_memcached
from mctwist.protocols.services import Settings
from mctwist.testing import START, Trouble
from tests.wire import Client, FaultyBackend, Server

HEADER = Struct(">BBHBBHIIQ")

GET, SET, ADD, REPLACE, DELETE, INCREMENT, DECREMENT, QUIT = range(8)
FLUSH, GETQ, NOOP, VERSION, GETK, GETKQ, APPEND, PREPEND, STAT = range(8, 17)
SETQ, ADDQ, REPLACEQ, DELETEQ, INCREMENTQ, DECREMENTQ, QUITQ = range(0x11, 0x18)
FLUSHQ, APPENDQ, PREPENDQ, VERBOSITY, TOUCH, GAT, GATQ = range(0x18, 0x1F)
SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = range(0x20, 0x25)

FOUND, MISSING, EXISTS, TOO_LARGE, INVALID, NOT_STORED, NOT_NUMERIC = range(7)
UNAUTHORIZED, UNKNOWN, NO_MEMORY, INTERNAL = 0x20, 0x81, 0x82, 0x84
TEXTS = {
    MISSING: b"Not found",
    EXISTS: b"Data exists for key.",
    TOO_LARGE: b"Too large.",
    INVALID: b"Invalid arguments",
    NOT_STORED: b"Not stored.",
    NOT_NUMERIC: b"Non-numeric server-side value for incr or decr",
    UNAUTHORIZED: b"Auth failure.",
    UNKNOWN: b"Unknown command",
    NO_MEMORY: b"Out of memory allocating item",
    INTERNAL: b"Internal error",
}

FLAGS = 0xDEADBEEF
NOTHING_MADE = 0xFFFFFFFF
THIRTY_DAYS = 30 * 24 * 60 * 60


class Answer(NamedTuple):
    """A response."""

    opcode: int
    status: int = FOUND
    cas: int = 0
    extras: bytes = b""
    key: bytes = b""
    value: bytes = b""
    opaque: int = 0


def ask(
    opcode: int,
    key: bytes = b"",
    extras: bytes = b"",
    value: bytes = b"",
    cas: int = 0,
    opaque: int = 0,
) -> bytes:
    """A request."""
    body = extras + key + value
    header = HEADER.pack(0x80, opcode, len(key), len(extras), 0, 0, len(body), opaque, cas)
    return header + body


def store(
    opcode: int, key: bytes, value: bytes, flags: int = 0, exptime: int = 0, cas: int = 0
) -> bytes:
    return ask(opcode, key, pack(">II", flags, exptime), value, cas)


def count(
    opcode: int,
    key: bytes,
    delta: int = 1,
    initial: int = 0,
    exptime: int = NOTHING_MADE,
    cas: int = 0,
) -> bytes:
    return ask(opcode, key, pack(">QQI", delta, initial, exptime), cas=cas)


def touch(opcode: int, key: bytes, exptime: int) -> bytes:
    return ask(opcode, key, pack(">I", exptime))


def failed(opcode: int, status: int, opaque: int = 0) -> Answer:
    return Answer(opcode, status, value=TEXTS[status], opaque=opaque)


def hit(opcode: int, value: bytes, cas: int, flags: int = 0, key: bytes = b"") -> Answer:
    return Answer(opcode, FOUND, cas, pack(">I", flags), key, value)


def number(opcode: int, value: int, cas: int) -> Answer:
    return Answer(opcode, FOUND, cas, value=pack(">Q", value))


def answers_in(data: bytes) -> "list[Answer]":
    """All of `data`, which is nothing but responses."""
    answers = []
    while data:
        magic, opcode, key, extras, data_type, status, body, opaque, cas = HEADER.unpack(data[:24])
        assert magic == 0x81
        assert data_type == 0
        assert len(data) >= 24 + body
        content, data = data[24 : 24 + body], data[24 + body :]
        answers.append(
            Answer(
                *(opcode, status, cas, content[:extras], content[extras : extras + key]),
                *(content[extras + key :], opaque),
            )
        )
    return answers


Rows = Sequence[Any]


class BinaryTestCase(SynchronousTestCase):
    def server(self, **more: Any) -> Server:
        server = Server(**more)
        self.addCleanup(server.stop)
        return server

    def client(self, **more: Any) -> Client:
        return self.server(**more).connect(dialect="binary")

    def check(self, *rows: Any, closed: bool = False, **more: Any) -> None:
        """
        Hold a conversation, as a whole, byte by byte, and in one piece with what is behind it.

        :param rows: a request and its answers in turn; a number: so many seconds pass.
        """
        for way in (self._whole, self._bytewise):
            client = self.client(**more)
            for row in rows:
                if isinstance(row, (int, float)):
                    client.server.reactor.advance(row)
                    continue
                request, *expected = row
                way(client, request)
                client.server.settle()
                self.assertEqual(answers_in(client.answers()), expected, request)
            self.assertEqual(client.closed, closed)
        if not any(isinstance(row, (int, float)) for row in rows):
            self._check_at_once(rows, closed, more)

    def _whole(self, client: Client, request: bytes) -> None:
        client.send(request)

    def _bytewise(self, client: Client, request: bytes) -> None:
        for place in range(len(request)):
            client.send(request[place : place + 1])

    def _check_at_once(self, rows: Rows, closed: bool, more: "dict[str, Any]") -> None:
        client = self.client(**more)
        answers = client.ask(b"".join(row[0] for row in rows) + ask(NOOP, opaque=9))
        expected = [answer for row in rows for answer in row[1:]]
        if not closed:
            expected.append(Answer(NOOP, opaque=9))
        self.assertEqual(answers_in(answers), expected)


class StorageTests(BinaryTestCase):
    """0x01 to 0x03, 0x0e, 0x0f, and their quiet forms."""

    def test_set_and_get(self) -> None:
        self.check(
            (ask(GET, b"k"), failed(GET, MISSING)),
            (store(SET, b"k", b"value", FLAGS), Answer(SET, cas=1)),
            (ask(GET, b"k"), hit(GET, b"value", 1, FLAGS)),
            (ask(GETK, b"k"), hit(GETK, b"value", 1, FLAGS, b"k")),
            (ask(GETQ, b"k"), hit(GETQ, b"value", 1, FLAGS)),
            (ask(GETKQ, b"k"), hit(GETKQ, b"value", 1, FLAGS, b"k")),
            (store(SET, b"k", b""), Answer(SET, cas=2)),
            (ask(GET, b"k"), hit(GET, b"", 2)),
        )

    def test_a_miss(self) -> None:
        self.check(
            (ask(GETQ, b"k"),),
            (ask(GETKQ, b"k"),),
            (ask(GETK, b"k"), Answer(GETK, MISSING, key=b"k")),
        )

    def test_add_and_replace(self) -> None:
        self.check(
            (store(REPLACE, b"k", b"1"), failed(REPLACE, MISSING)),
            (store(ADD, b"k", b"2"), Answer(ADD, cas=1)),
            (store(ADD, b"k", b"3"), failed(ADD, EXISTS)),
            (store(REPLACE, b"k", b"4"), Answer(REPLACE, cas=2)),
            (ask(GET, b"k"), hit(GET, b"4", 2)),
        )

    def test_append_and_prepend_keep_the_flags(self) -> None:
        self.check(
            (ask(APPEND, b"k", value=b"x"), failed(APPEND, NOT_STORED)),
            (ask(PREPENDQ, b"k", value=b"x"), failed(PREPENDQ, NOT_STORED)),
            (store(SET, b"k", b"b", FLAGS), Answer(SET, cas=1)),
            (ask(APPEND, b"k", value=b"c"), Answer(APPEND, cas=2)),
            (ask(PREPEND, b"k", value=b"a", cas=2), Answer(PREPEND, cas=3)),
            (ask(PREPEND, b"k", value=b"a", cas=2), failed(PREPEND, EXISTS)),
            (ask(APPENDQ, b"k", value=b"d"),),
            (ask(GET, b"k"), hit(GET, b"abcd", 4, FLAGS)),
        )

    def test_with_a_cas_each_of_them_is_a_cas(self) -> None:
        for opcode in (SET, ADD, REPLACE):
            self.check(
                (store(opcode, b"k", b"1", cas=7), failed(opcode, MISSING)),
                (store(SET, b"k", b"1"), Answer(SET, cas=1)),
                (store(opcode, b"k", b"2", cas=7), failed(opcode, EXISTS)),
                (store(opcode, b"k", b"3", cas=1), Answer(opcode, cas=2)),
                (ask(GET, b"k"), hit(GET, b"3", 2)),
            )

    def test_quiet_ones_tell_of_what_is_wrong_alone(self) -> None:
        self.check(
            (store(SETQ, b"k", b"1"),),
            (store(ADDQ, b"k", b"1"), failed(ADDQ, EXISTS)),
            (store(ADDQ, b"l", b"1"),),
            (store(REPLACEQ, b"m", b"1"), failed(REPLACEQ, MISSING)),
            (store(REPLACEQ, b"l", b"2"),),
            (store(SETQ, b"k", b"3", cas=99), failed(SETQ, EXISTS)),
            (ask(DELETEQ, b"k"),),
            (ask(DELETEQ, b"k"), failed(DELETEQ, MISSING)),
            (ask(GET, b"l"), hit(GET, b"2", 3)),
        )

    def test_a_run_of_quiet_ones_is_answered_in_one_write(self) -> None:
        client = self.client()
        client.ask(store(SETQ, b"a", b"1") + store(SETQ, b"c", b"3"))
        writes: list[bytes] = []
        client.transport.write = writes.append
        client.ask(b"".join(ask(GETKQ, key) for key in (b"a", b"b", b"c")) + ask(NOOP))
        self.assertEqual(len(writes), 1)
        self.assertEqual([answer.key for answer in answers_in(writes[0])], [b"a", b"c", b""])

    def test_delete(self) -> None:
        self.check(
            (ask(DELETE, b"k"), failed(DELETE, MISSING)),
            (store(SET, b"k", b"1"), Answer(SET, cas=1)),
            (ask(DELETE, b"k", cas=7), failed(DELETE, EXISTS)),
            (ask(DELETE, b"k", cas=1), Answer(DELETE)),
            (ask(GET, b"k"), failed(GET, MISSING)),
        )

    def test_an_exptime_is_unsigned(self) -> None:
        now = int(START)
        self.check(
            (store(SETQ, b"never", b"1", exptime=0),),
            (store(SETQ, b"soon", b"1", exptime=2),),
            (store(SETQ, b"at", b"1", exptime=now + 2),),
            (store(SETQ, b"past", b"1", exptime=THIRTY_DAYS + 1),),
            (store(SETQ, b"2106", b"1", exptime=0xFFFFFFFF),),
            (ask(GETKQ, b"past"),),
            (ask(GETKQ, b"2106"), hit(GETKQ, b"1", 5, key=b"2106")),
            (ask(GETKQ, b"soon"), hit(GETKQ, b"1", 2, key=b"soon")),
            2,
            (ask(GETKQ, b"soon") + ask(GETKQ, b"at"),),
            (ask(GETKQ, b"never"), hit(GETKQ, b"1", 1, key=b"never")),
            (ask(GETKQ, b"2106"), hit(GETKQ, b"1", 5, key=b"2106")),
        )

    def test_touch(self) -> None:
        flags = pack(">I", FLAGS)
        self.check(
            (touch(TOUCH, b"k", 9), failed(TOUCH, MISSING)),
            (touch(GATQ, b"k", 9),),
            (touch(GATKQ, b"k", 9),),
            (touch(GAT, b"k", 9), failed(GAT, MISSING)),
            (touch(GATK, b"k", 9), Answer(GATK, MISSING, key=b"k")),
            (store(SETQ, b"k", b"v", FLAGS, 1),),
            (touch(TOUCH, b"k", 9), Answer(TOUCH, cas=1, extras=flags)),
            5,
            (touch(GAT, b"k", 9), hit(GAT, b"v", 1, FLAGS)),
            (touch(GATQ, b"k", 9), hit(GATQ, b"v", 1, FLAGS)),
            (touch(GATK, b"k", 9), hit(GATK, b"v", 1, FLAGS, b"k")),
            (touch(GATKQ, b"k", 9), hit(GATKQ, b"v", 1, FLAGS, b"k")),
            5,
            (ask(GET, b"k"), hit(GET, b"v", 1, FLAGS)),
            5,
            (ask(GET, b"k"), failed(GET, MISSING)),
        )


class CountingTests(BinaryTestCase):
    """0x05 and 0x06."""

    def test_it_makes_what_is_not_there_unless_it_is_told_not_to(self) -> None:
        self.check(
            (count(INCREMENT, b"n"), failed(INCREMENT, MISSING)),
            (count(DECREMENTQ, b"n"), failed(DECREMENTQ, MISSING)),
            (count(INCREMENT, b"n", 5, 100, 0), number(INCREMENT, 100, 1)),
            (count(INCREMENT, b"n", 5, 100, 0), number(INCREMENT, 105, 2)),
            (count(DECREMENT, b"n", 6), number(DECREMENT, 99, 3)),
            (count(INCREMENTQ, b"n", 1),),
            (ask(GET, b"n"), hit(GET, b"100", 4)),
        )

    def test_what_it_makes_expires(self) -> None:
        self.check(
            (count(INCREMENT, b"n", 1, 7, 2), number(INCREMENT, 7, 1)),
            2,
            (ask(GET, b"n"), failed(GET, MISSING)),
        )

    def test_the_ends_of_the_numbers(self) -> None:
        top = (1 << 64) - 1
        self.check(
            (store(SETQ, b"n", b"%d" % top),),
            (count(INCREMENT, b"n", 2), number(INCREMENT, 1, 2)),
            (count(DECREMENT, b"n", top), number(DECREMENT, 0, 3)),
            (ask(GET, b"n"), hit(GET, b"0".ljust(20), 3)),
            (count(INCREMENT, b"n", top), number(INCREMENT, top, 4)),
        )

    def test_what_is_no_number(self) -> None:
        for value in (b"", b"x", b"1x", b"-1"):
            self.check(
                (store(SETQ, b"n", value),),
                (count(INCREMENT, b"n"), failed(INCREMENT, NOT_NUMERIC)),
                (count(DECREMENTQ, b"n"), failed(DECREMENTQ, NOT_NUMERIC)),
                (ask(GET, b"n"), hit(GET, value, 1)),
            )

    def test_over_one_state_alone(self) -> None:
        self.check(
            (store(SETQ, b"n", b"1"),),
            (count(INCREMENT, b"n", cas=9), failed(INCREMENT, EXISTS)),
            (count(INCREMENT, b"n", cas=1), number(INCREMENT, 2, 2)),
        )


class ServerTests(BinaryTestCase):
    """What is about the server or the connection."""

    def test_noop_and_version_echo_the_opaque(self) -> None:
        client = self.client()
        noop, version = answers_in(
            client.ask(ask(NOOP, opaque=0xCAFEBABE) + ask(VERSION, opaque=0xFFFFFFFF))
        )
        self.assertEqual(noop, Answer(NOOP, opaque=0xCAFEBABE))
        self.assertEqual((version.opcode, version.opaque), (VERSION, 0xFFFFFFFF))
        self.assertTrue(version.value.startswith(b"1.6."))

    def test_quit(self) -> None:
        for opcode, answers in ((QUIT, [Answer(QUIT)]), (QUITQ, [])):
            client = self.client()
            data = client.ask(ask(opcode) + ask(NOOP))
            self.assertEqual((answers_in(data), client.closed), (answers, True))

    def test_flush(self) -> None:
        self.check(
            (store(SETQ, b"k", b"1"),),
            (ask(FLUSH), Answer(FLUSH)),
            (ask(GET, b"k"), failed(GET, MISSING)),
            (store(SETQ, b"k", b"1"),),
            (ask(FLUSHQ, extras=pack(">I", 3)),),
            (ask(GET, b"k"), hit(GET, b"1", 3)),
            3,
            (ask(GET, b"k"), failed(GET, MISSING)),
        )

    def test_flush_may_be_refused(self) -> None:
        self.check(
            (store(SETQ, b"k", b"1"),),
            (ask(FLUSH), failed(FLUSH, UNAUTHORIZED)),
            (ask(FLUSHQ), failed(FLUSHQ, UNAUTHORIZED)),
            (ask(GET, b"k"), hit(GET, b"1", 1)),
            settings=Settings(flush_enabled=False),
        )

    def test_unknown_commands_are_skipped_with_their_bodies(self) -> None:
        for opcode in (VERBOSITY, 0x1F, 0x30, 0x3C, 0xFF):
            self.check(
                (ask(opcode, b"key", b"extras", b"value" * 99), failed(opcode, UNKNOWN)),
                (ask(NOOP), Answer(NOOP)),
            )

    def test_sasl_where_there_are_no_users(self) -> None:
        self.check(
            (ask(SASL_LIST), failed(SASL_LIST, UNKNOWN)),
            (ask(SASL_AUTH, b"PLAIN", value=b"\0u\0p"), failed(SASL_AUTH, UNKNOWN)),
            (ask(SASL_STEP, b"PLAIN", value=b""), failed(SASL_STEP, UNKNOWN)),
        )

    def test_stats_end_with_an_empty_frame(self) -> None:
        client = self.client()
        client.ask(store(SET, b"k", b"v") + ask(GET, b"k") + ask(GET, b"l"))
        *rows, end = answers_in(client.ask(ask(STAT, opaque=3)))
        self.assertEqual(end, Answer(STAT, opaque=3))
        figures = {row.key: row.value for row in rows}
        for name, figure in (
            (b"cmd_get", b"2"),
            (b"get_hits", b"1"),
            (b"cmd_set", b"1"),
            (b"curr_items", b"1"),
        ):
            self.assertEqual(figures[name], figure)

    def test_stats_by_name(self) -> None:
        client = self.client()
        for name, key in ((b"settings", b"maxconns"), (b"slabs", b"active_slabs")):
            rows = answers_in(client.ask(ask(STAT, name)))
            self.assertIn(key, [row.key for row in rows])
            self.assertEqual(rows[-1], Answer(STAT))
        self.assertEqual(answers_in(client.ask(ask(STAT, b"nonsense"))), [failed(STAT, MISSING)])

    def test_stats_reset_and_detail(self) -> None:
        client = self.client()
        client.ask(ask(STAT, b"detail on"))
        client.ask(
            store(SET, b"a:1", b"v") + ask(GET, b"a:1") + ask(GETQ, b"a:2") + ask(DELETE, b"a:1")
        )
        dump, end = answers_in(client.ask(ask(STAT, b"detail dump")))
        self.assertEqual(end, Answer(STAT))
        self.assertEqual(dump.key, b"detailed")
        self.assertEqual(dump.value, b"PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n")
        self.assertEqual(answers_in(client.ask(ask(STAT, b"detail off"))), [Answer(STAT)])
        self.assertEqual(answers_in(client.ask(ask(STAT, b"detail"))), [failed(STAT, MISSING)])
        self.assertEqual(answers_in(client.ask(ask(STAT, b"reset"))), [Answer(STAT)])
        self.assertEqual(client.server.stats.get_hits, 0)


class WrongTests(BinaryTestCase):
    """Frames whose lengths are wrong, and values that are too large."""

    def test_lengths_that_a_command_may_not_have(self) -> None:
        for request, status in (
            (ask(GET), INVALID),
            (ask(GET, b"k", b"1234"), INVALID),
            (ask(GET, b"k", value=b"v"), INVALID),
            (ask(GETKQ, b"k" * 251), INVALID),
            (ask(SET, b"k", value=b"v"), INVALID),
            (ask(SET, b"", bytes(8), b"v"), INVALID),
            (ask(DELETE, b"k", value=b"v"), INVALID),
            (ask(INCREMENT, b"k", bytes(19)), INVALID),
            (ask(INCREMENT, b"k", bytes(20), b"v"), INVALID),
            (ask(APPEND, b"k", bytes(8), b"v"), INVALID),
            (ask(TOUCH, b"k"), INVALID),
            (ask(FLUSH, extras=bytes(3)), INVALID),
            (ask(FLUSH, b"k"), INVALID),
            (ask(NOOP, b"k"), INVALID),
            (ask(VERSION, value=b"v"), INVALID),
            (ask(QUIT, extras=b"1"), INVALID),
            (ask(STAT, b"k", b"1"), INVALID),
            (ask(SASL_LIST, b"k"), INVALID),
            (ask(SASL_AUTH), INVALID),
            (ask(0x1B, b"k" * 251), INVALID),
            (HEADER.pack(0x80, GET, 5, 0, 0, 0, 4, 0, 0), UNKNOWN),
            (HEADER.pack(0x80, SET, 5, 8, 0, 0, 12, 0, 0), UNKNOWN),
            (HEADER.pack(0x80, SET, 1, 8, 0, 0, (1 << 30) + 1, 0, 0), INVALID),
            (HEADER.pack(0x80, SET, 1, 8, 0, 0, 0xFFFFFFFF, 0, 0), INVALID),
        ):
            client = self.client()
            answers = answers_in(client.ask(request + ask(NOOP)))
            self.assertEqual(answers, [failed(request[1], status)], request)
            self.assertTrue(client.closed)

    def test_a_wrong_magic_is_hung_up_on(self) -> None:
        client = self.client()
        wrong = b"\x81" + ask(NOOP)[1:]
        self.assertEqual(answers_in(client.ask(ask(NOOP) + wrong + ask(NOOP))), [Answer(NOOP)])
        self.assertTrue(client.closed)

    def test_the_last_answers_come_before_the_hang_up(self) -> None:
        client = self.client(inline_reads="never")
        wrong = ask(GET)
        self.assertEqual(
            answers_in(client.ask(store(SET, b"k", b"v") + ask(GET, b"k") + wrong)),
            [Answer(SET, cas=1), hit(GET, b"v", 1), failed(GET, INVALID)],
        )
        self.assertTrue(client.closed)

    def test_a_value_that_is_too_large_is_let_go(self) -> None:
        limit = 1024
        fits = limit - size_in_memcached(b"k", 0, FLAGS)
        gone, there = failed(GET, MISSING), hit(GET, b"old", 1, FLAGS)
        for opcode, after in ((SET, gone), (SETQ, gone), (ADD, there), (REPLACE, there)):
            self.check(
                (store(SETQ, b"k", b"old", FLAGS),),
                (store(opcode, b"k", b"x" * (fits + 1), FLAGS), failed(opcode, TOO_LARGE)),
                (ask(GET, b"k"), after),
                (store(SETQ, b"k", b"x" * fits, FLAGS),),
                settings=Settings(max_item_size=limit),
            )
        self.check(
            (store(SETQ, b"k", b"old", FLAGS),),
            (ask(APPEND, b"k", value=b"x" * limit), failed(APPEND, TOO_LARGE)),
            (ask(APPEND, b"k", value=b"x" * (fits - 2)), failed(APPEND, NOT_STORED)),
            (ask(GET, b"k"), hit(GET, b"old", 1, FLAGS)),
            settings=Settings(max_item_size=limit),
        )

    def test_of_what_is_too_large_nothing_is_kept(self) -> None:
        client = self.client()
        size = 900 << 20
        header = HEADER.pack(0x80, SET, 1, 8, 0, 0, 9 + size, 0, 0)
        answers = answers_in(client.ask(header + bytes(8) + b"k" + b"x" * 1000))
        self.assertEqual(answers, [failed(SET, TOO_LARGE)])
        self.assertEqual(client.protocol.state, "conn_swallow")
        self.assertFalse(client.protocol._pending)

    def test_a_store_that_fails(self) -> None:
        for key, status in ((b"full", NO_MEMORY), (b"sick", INTERNAL), (b"strange", INTERNAL)):
            client = self.client(backend=FaultyBackend())
            answers = answers_in(
                client.ask(store(SETQ, key, b"v") + ask(GETQ, key) + ask(NOOP, opaque=7))
            )
            self.assertEqual(
                answers, [failed(SETQ, status), failed(GETQ, status), Answer(NOOP, opaque=7)]
            )
            self.flushLoggedErrors(Trouble)

    def test_many_small_pieces_of_a_value_are_no_quadratic_work(self) -> None:
        client = self.client()
        request = store(SET, b"k", b"x" * 100_000)
        for place in range(0, len(request), 7):
            client.send(request[place : place + 7])
            self.assertLess(len(client.protocol._pending), 3)
        client.server.settle()
        self.assertEqual(answers_in(client.answers()), [Answer(SET, cas=1)])


class SharedTests(BinaryTestCase):
    """One keyspace for every dialect."""

    def test_what_is_set_in_text_is_read_in_binary(self) -> None:
        server = self.server()
        text, binary = server.connect(), server.connect(dialect="binary")
        text.ask(b"set k 3735928559 0 3\r\nold\r\n")
        self.assertEqual(answers_in(binary.ask(ask(GET, b"k"))), [hit(GET, b"old", 1, FLAGS)])
        binary.ask(store(SET, b"k", b"new", 5))
        self.assertEqual(text.ask(b"get k\r\n"), b"VALUE k 5 3\r\nnew\r\nEND\r\n")

    def test_keys_that_text_cannot_say(self) -> None:
        for key in (b"a b", b"a\r\nb", b"\0", bytes(range(1, 250)), b" "):
            self.check(
                (store(SETQ, key, b"1"),),
                (ask(GETK, key), hit(GETK, b"1", 1, key=key)),
            )

    def test_what_comes_is_counted(self) -> None:
        client = self.client()
        client.ask(
            store(SET, b"k", b"1")
            + store(SET, b"k", b"1", cas=9)
            + store(SET, b"l", b"1", cas=9)
            + count(INCREMENT, b"k")
            + count(DECREMENT, b"m")
            + touch(TOUCH, b"k", 0)
            + touch(GAT, b"m", 0)
            + ask(DELETE, b"k", cas=99)
            + ask(DELETE, b"k")
            + ask(DELETE, b"k")
            + ask(FLUSH)
        )
        stats = client.server.stats
        self.assertEqual(
            (stats.set_commands, stats.cas_badval, stats.cas_misses, stats.total_items),
            (3, 1, 1, 1),
        )
        self.assertEqual((stats.incr_hits, stats.decr_misses), (1, 1))
        self.assertEqual((stats.touch_hits, stats.touch_misses), (1, 1))
        self.assertEqual((stats.delete_hits, stats.delete_misses), (1, 1))
        self.assertEqual(stats.flush_commands, 1)
