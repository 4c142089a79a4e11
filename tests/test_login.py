"""
Who may come in, and how far: what each dialect says before somebody has logged in, and after.

Who is who is `Door`'s to say here, in its own time; that is the business of test_auth.
"""

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mctwist.interfaces import IUsers, Rights
from mctwist.protocols.connection import Connection
from mctwist.protocols.sniff import _HANDED_ON
from tests.test_binary import (
    DELETE,
    FLUSH,
    GAT,
    GET,
    GETQ,
    INVALID,
    NO_MEMORY,
    NOOP,
    SASL_AUTH,
    SASL_LIST,
    SASL_STEP,
    SET,
    SETQ,
    STAT,
    UNAUTHORIZED,
    VERSION,
    Answer,
    answers_in,
    ask,
    failed,
    hit,
    store,
    touch,
)
from tests.wire import Client, Server

UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated\r\n"
FAILURE = b"CLIENT_ERROR authentication failure\r\n"
DENIED = b"CLIENT_ERROR permission denied\r\n"
STORED, END, OK, ERROR = b"STORED\r\n", b"END\r\n", b"OK\r\n", b"ERROR\r\n"

USERS = {
    (b"ann", b"secret word"): Rights(),
    (b"reader", b"r"): Rights(read_only=True),
    (b"app", b"a"): Rights(prefix=b"app:"),
    (b"both", b"b"): Rights(True, b"app:"),
}


@implementer(IUsers)
class Door:
    """Lets in whom it knows, when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes, Optional[str], int]] = []
        self._waiting: list[Deferred[Optional[Rights]]] = []

    def check(
        self, name: bytes, password: bytes, peer: Optional[str], failures: int
    ) -> "Deferred[Optional[Rights]]":
        self.asked.append((name, password, peer, failures))
        answer: Deferred[Optional[Rights]] = Deferred()
        self._waiting.append(answer)
        return answer

    def decide(self) -> None:
        for answer, asked in zip(self._waiting, self.asked[-len(self._waiting) :]):
            answer.callback(USERS.get(asked[:2]))
        self._waiting = []


def introduce(words: bytes, key: bytes = b"anything") -> bytes:
    return b"set %b 0 0 %d\r\n%b\r\n" % (key, len(words), words)


class LoginCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = Door()
        self.server = Server(users=self.door)
        self.addCleanup(self.server.stop)

    def connect(self, dialect: str) -> Client:
        return self.server.connect(dialect=dialect)

    def ask(self, client: Client, data: bytes) -> bytes:
        """What is answered to `data`, whoever has to be let in for it."""
        client.send(data)
        self.server.settle()
        self.door.decide()
        self.server.settle()
        return client.answers()

    def text(self, words: bytes = b"") -> Client:
        client = self.connect("text")
        if words:
            self.assertEqual(self.ask(client, introduce(words)), STORED)
        return client

    def binary(self, name: bytes, password: bytes) -> Client:
        client = self.connect("binary")
        (answer,) = answers_in(self.ask(client, plain(name, password)))
        self.assertEqual(answer, Answer(SASL_AUTH, value=b"Authenticated"))
        return client


def plain(name: bytes, password: bytes, opcode: int = SASL_AUTH) -> bytes:
    return ask(opcode, b"PLAIN", value=b"\0%b\0%b" % (name, password))


class TextTests(LoginCase):
    """t/ascii-auth.t, and proto_text.c:228-355."""

    def test_before_it_nothing_is_allowed_but_itself(self) -> None:
        client = self.text()
        for line in (b"get foo\r\n", b"version\r\n", b"mg foo v\r\n", b"mn x y\r\n", b"stats \n"):
            self.assertEqual(client.ask(line), UNAUTHENTICATED, line)
        self.assertEqual(self.door.asked, [])
        self.assertFalse(client.closed)

    def test_it_is_a_set_of_name_and_password(self) -> None:
        client = self.text(b"ann secret word")
        self.assertEqual(self.door.asked, [(b"ann", b"secret word", "192.168.1.1", 0)])
        self.assertEqual(client.ask(introduce(b"value", b"k")), STORED)
        self.assertEqual(
            client.ask(b"get k\r\nget anything\r\n"), b"VALUE k 0 5\r\nvalue\r\nEND\r\nEND\r\n"
        )

    def test_whoever_is_wrong_may_try_again(self) -> None:
        client = self.text()
        for failures, words in enumerate((b"ann wrong", b"nobody x", b"ann ")):
            self.assertEqual(self.ask(client, introduce(words)), FAILURE)
            self.assertEqual(self.door.asked[-1][3], failures)
        self.assertEqual(client.ask(b"get foo\r\n"), UNAUTHENTICATED)
        self.assertEqual(self.ask(client, introduce(b"ann secret word")), STORED)
        stats = self.server.stats
        self.assertEqual((stats.auth_commands, stats.auth_errors), (4, 3))

    def test_what_is_wrong_with_it(self) -> None:
        for data, answer in (
            (b"set foo 0 0 5\r\nannxx\r\n", b"CLIENT_ERROR bad authentication token format\r\n"),
            (b"set foo 0 0 3\r\nann secret\r\n", b"CLIENT_ERROR bad command line termination\r\n"),
            (b"set foo 0 0 16385\r\n", b"CLIENT_ERROR auth token too long\r\n"),
            (b"set foo 0 0 -1\r\n", UNAUTHENTICATED),
            (b"set foo 0 0\r\n", UNAUTHENTICATED),
            (b"set foo 0 0 x\r\n", UNAUTHENTICATED),
            (b"add foo 0 0 1\r\n", UNAUTHENTICATED),
        ):
            client = self.text()
            self.assertEqual(client.ask(data)[: len(answer)], answer, data)
            self.assertEqual(self.door.asked, [])

    def test_what_is_no_command_is_hung_up_on(self) -> None:
        for data in (b"quit\r\n", b"\n", b"x" * 2049, b"get\r\n"):
            client = self.text()
            self.assertEqual((client.ask(data), client.closed), (b"", True), data)

    def test_it_may_come_in_any_pieces(self) -> None:
        client = self.text()
        data = b"get a\r\n" + introduce(b"ann secret word")
        for place in range(len(data)):
            client.send(data[place : place + 1])
        self.assertEqual(self.ask(client, b""), UNAUTHENTICATED + STORED)

    def test_what_is_behind_it_waits(self) -> None:
        client = self.text()
        client.send(introduce(b"ann secret word") + b"set k 0 0 1\r\n1\r\nget k\r\n")
        self.server.settle()
        self.assertEqual(client.answers(), b"")
        self.assertEqual(client.transport.producerState, "paused")
        self.assertTrue(client.protocol.owes())
        self.assertEqual(
            self.ask(client, b"get l\r\n"), STORED + STORED + b"VALUE k 0 1\r\n1\r\nEND\r\n" + END
        )
        self.assertEqual(client.transport.producerState, "producing")

    def test_what_is_behind_a_wrong_one_is_not_run(self) -> None:
        client = self.text()
        answers = self.ask(client, introduce(b"ann wrong") + b"set k 0 0 1\r\n1\r\nget k\r\n")
        self.assertTrue(answers.startswith(FAILURE))
        self.assertNotIn(b"VALUE", answers)
        self.assertEqual(self.server.storage.live(), (0, 0))

    def test_a_thousand_of_them_in_one_piece(self) -> None:
        client = self.text()
        client.send(introduce(b"ann wrong") * 1000)
        for _ in range(1000):
            self.server.settle()
            self.door.decide()
        self.server.settle()
        self.assertEqual(client.answers(), FAILURE * 1000)

    def test_who_is_closed_before_it_is_known_is_not_waited_for(self) -> None:
        client = self.text()
        client.send(introduce(b"ann secret word"))
        client.protocol.finish("shutdown")
        self.assertFalse(client.protocol.owes())
        self.assertEqual((self.ask(client, b""), client.closed), (b"", True))

    def test_who_goes_before_it_is_known_gets_no_answer(self) -> None:
        client = self.text()
        client.send(introduce(b"ann secret word") + b"get k\r\n")
        client.protocol.connectionLost()
        self.door.decide()
        self.server.settle()
        self.assertEqual(self.server.lost, [client.protocol])


class BinaryTests(LoginCase):
    """t/binary-sasl.t, and proto_bin.c:874-923."""

    def test_before_it_the_connection_is_closed_for_anything_else(self) -> None:
        for request in (ask(GET, b"k"), ask(GETQ, b"k"), ask(NOOP), ask(STAT), ask(0x42, b"k")):
            client = self.connect("binary")
            (answer,) = answers_in(client.ask(request + ask(VERSION)))
            self.assertEqual(answer, failed(request[1], UNAUTHORIZED))
            self.assertTrue(client.closed)

    def test_version_and_the_mechanisms_are_free(self) -> None:
        client = self.connect("binary")
        version, mechanisms = answers_in(client.ask(ask(VERSION) + ask(SASL_LIST)))
        self.assertEqual(version.opcode, VERSION)
        self.assertEqual(mechanisms, Answer(SASL_LIST, value=b"PLAIN"))

    def test_plain(self) -> None:
        client = self.binary(b"ann", b"secret word")
        self.assertEqual(
            answers_in(client.ask(store(SETQ, b"k", b"v") + ask(GET, b"k"))), [hit(GET, b"v", 1)]
        )

    def test_plain_in_two_steps(self) -> None:
        client = self.connect("binary")
        first = client.ask(ask(SASL_AUTH, b"PLAIN"))
        self.assertEqual(answers_in(first), [Answer(SASL_AUTH, 0x21)])
        second = self.ask(client, plain(b"ann", b"secret word", SASL_STEP))
        self.assertEqual(answers_in(second), [Answer(SASL_STEP, value=b"Authenticated")])

    def test_what_is_wrong_with_it(self) -> None:
        for request in (
            plain(b"ann", b"wrong"),
            plain(b"nobody", b"x"),
            ask(SASL_AUTH, b"CRAM-MD5", value=b"\0ann\0secret word"),
            ask(SASL_AUTH, b"PLAIN", value=b"ann secret word"),
            ask(SASL_AUTH, b"PLAIN", value=b"\0\0\0\0"),
            plain(b"ann", b"secret word", SASL_STEP),
        ):
            client = self.connect("binary")
            self.assertEqual(
                answers_in(self.ask(client, request)), [failed(request[1], UNAUTHORIZED)]
            )
            self.assertFalse(client.closed)
            self.assertEqual(answers_in(client.ask(ask(NOOP))), [failed(NOOP, UNAUTHORIZED)])
        self.assertEqual(self.server.stats.auth_errors, 6)

    def test_who_begins_anew_is_nobody_until_he_is_known(self) -> None:
        for again in (plain(b"ann", b"wrong"), ask(SASL_AUTH, b"CRAM-MD5"), ask(SASL_LIST)):
            client = self.binary(b"ann", b"secret word")
            self.ask(client, store(SETQ, b"k", b"v"))
            answers = answers_in(self.ask(client, ask(GET, b"k") + again + ask(GET, b"k")))
            self.assertEqual(answers[0].status, 0)
            self.assertEqual(answers[-1], failed(GET, UNAUTHORIZED))
            self.assertTrue(client.closed)

    def test_what_is_too_long_is_let_go(self) -> None:
        client = self.connect("binary")
        long_value = ask(SASL_AUTH, b"PLAIN", value=b"x" * (16 * 1024 + 1))
        long_name = ask(SASL_AUTH, b"P" * 33, value=b"x")
        answers = answers_in(client.ask(long_value + long_name + ask(SASL_LIST)))
        self.assertEqual(answers[:2], [failed(SASL_AUTH, NO_MEMORY), failed(SASL_AUTH, INVALID)])
        self.assertEqual(len(answers), 3)

    def test_what_is_behind_it_waits(self) -> None:
        client = self.connect("binary")
        client.send(plain(b"ann", b"secret word") + store(SETQ, b"k", b"v") + ask(GET, b"k")[:5])
        self.server.settle()
        self.assertEqual(client.answers(), b"")
        answers = answers_in(self.ask(client, ask(GET, b"k")[5:]))
        self.assertEqual(answers, [Answer(SASL_AUTH, value=b"Authenticated"), hit(GET, b"v", 1)])


class RightsTests(LoginCase):
    """What a user may not do is refused in the dialect's own words, and does nothing."""

    def fill(self) -> Client:
        client = self.text(b"ann secret word")
        client.ask(b"set app:k 0 0 1\r\n1\r\nset k 0 0 1\r\n1\r\n")
        return client

    def check(self, words: bytes, *rows: "tuple[bytes, bytes]") -> None:
        client = self.text(words)
        for request, answer in rows:
            self.assertEqual(client.ask(request), answer, request)

    def test_who_may_only_read(self) -> None:
        owner = self.fill()
        writes = [
            b"set k 0 0 1\r\n2\r\n",
            b"append k 0 0 1\r\n2\r\n",
            b"cas k 0 0 1 1\r\n2\r\n",
            b"set k 0 0 2000000\r\n%b\r\n" % (b"x" * 2_000_000),
            b"delete k\r\n",
            b"incr k 1\r\n",
            b"touch k 1\r\n",
            b"gat 1 k\r\n",
            b"gats 1 k app:k\r\n",
            b"flush_all\r\n",
            b"flush_all 10\r\n",
            b"flush_prefix a\r\n",
            b"ms k 1\r\n2\r\n",
            b"md k\r\n",
            b"md k I\r\n",
            b"md k x\r\n",
            b"ma k\r\n",
            b"mg k v N10\r\n",
            b"mg k v T10\r\n",
            b"mg k v R10\r\n",
            b"mg k v E10\r\n",
        ]
        for request in writes:
            self.check(b"reader r", (request, DENIED))
        self.check(
            b"reader r",
            (b"delete k noreply\r\nversion_\r\n", ERROR),
            (b"get k app:k\r\n", b"VALUE k 0 1\r\n1\r\nVALUE app:k 0 1\r\n1\r\nEND\r\n"),
            (b"mg k v t\r\n", b"VA 1 t-1\r\n1\r\n"),
            (b"mn\r\n", b"MN\r\n"),
        )
        self.assertEqual(owner.ask(b"get k\r\n"), b"VALUE k 0 1\r\n1\r\nEND\r\n")

    def test_who_may_only_read_is_not_chosen_to_renew(self) -> None:
        owner = self.fill()
        owner.ask(b"md k I\r\n")
        self.check(
            b"reader r",
            (b"mg k v\r\n", b"VA 1 X\r\n1\r\n"),
            (b"mg k t v\r\n", b"VA 1 t-1 X\r\n1\r\n"),
        )
        self.assertEqual(owner.ask(b"mg k v\r\n"), b"VA 1 X W\r\n1\r\n")
        self.check(b"reader r", (b"mg k v\r\n", b"VA 1 Z X\r\n1\r\n"))

    def test_who_has_a_prefix(self) -> None:
        owner = self.fill()
        self.check(
            b"app a",
            (b"get app:k\r\n", b"VALUE app:k 0 1\r\n1\r\nEND\r\n"),
            (b"get k\r\n", DENIED),
            (b"get app:k k\r\n", b"VALUE app:k 0 1\r\n1\r\n" + DENIED),
            (b"mg k v\r\n", DENIED),
            (b"me k\r\n", DENIED),
            (b"set k 0 0 1\r\n2\r\n", DENIED),
            (b"set app:l 0 0 1\r\n2\r\n", STORED),
            (b"incr k 1\r\n", DENIED),
            (b"delete k\r\n", DENIED),
            (b"flush_all\r\n", DENIED),
            (b"flush_prefix ap\r\n", DENIED),
            (b"flush_prefix app:l\r\n", OK),
            (b"get app:l\r\n", END),
        )
        self.assertEqual(owner.ask(b"get k\r\n"), b"VALUE k 0 1\r\n1\r\nEND\r\n")

    def test_who_has_both(self) -> None:
        self.fill()
        self.check(
            b"both b",
            (b"get app:k\r\n", b"VALUE app:k 0 1\r\n1\r\nEND\r\n"),
            (b"get k\r\n", DENIED),
            (b"delete app:k\r\n", DENIED),
            (b"flush_prefix app:\r\n", DENIED),
        )

    def test_what_reaches_beyond_keys(self) -> None:
        for words in (b"reader r", b"app a"):
            for request in (
                b"watch fetchers\r\n",
                b"lru_crawler metadump all\r\n",
                b"stats cachedump 1 0\r\n",
                b"stats detail dump\r\n",
                b"stats detail on\r\n",
                b"stats hot\r\n",
                b"stats reset\r\n",
                b"stats conns\r\n",
                b"cache_memlimit 64\r\n",
                b"verbosity 1\r\n",
                b"shutdown\r\n",
                b"lru mode flat\r\n",
            ):
                self.check(words, (request, DENIED))
            self.assertTrue(self.text(words).ask(b"stats\r\n").startswith(b"STAT pid"))

    def test_a_get_of_very_many_keys(self) -> None:
        self.fill()
        keys = b" ".join(b"app:%d" % number for number in range(20_000))
        client = self.text(b"app a")
        self.assertEqual(client.ask(b"get %b app:k\r\n" % keys), b"VALUE app:k 0 1\r\n1\r\nEND\r\n")
        self.assertEqual(client.ask(b"get %b k\r\n" % keys), DENIED)

    def test_in_binary(self) -> None:
        self.fill()
        reader, app = self.binary(b"reader", b"r"), self.binary(b"app", b"a")
        for client, requests in (
            (reader, (store(SET, b"k", b"2"), touch(GAT, b"k", 9), ask(DELETE, b"k"))),
            (app, (store(SETQ, b"k", b"2"), ask(GET, b"k"), ask(GETQ, b"k"))),
        ):
            for request in (*requests, ask(FLUSH)):
                answers = answers_in(client.ask(request))
                self.assertEqual(answers, [failed(request[1], UNAUTHORIZED)], request)
            self.assertEqual(answers_in(client.ask(ask(GET, b"app:k"))), [hit(GET, b"1", 1)])
            for name in (b"reset", b"detail dump", b"detail on"):
                self.assertEqual(
                    answers_in(client.ask(ask(STAT, name))), [failed(STAT, UNAUTHORIZED)]
                )


class SniffTests(SynchronousTestCase):
    """One port for every dialect."""

    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.stop)

    def connect(self, transport: Any = None) -> Client:
        return self.server.connect(transport, "auto")

    def test_the_first_byte_decides(self) -> None:
        text, binary = self.connect(), self.connect()
        self.assertEqual(text.ask(b"set k 5 0 1\r\n1\r\n"), STORED)
        self.assertEqual(answers_in(binary.ask(ask(GET, b"k"))), [hit(GET, b"1", 1, 5)])
        self.assertEqual(text.ask(b"get k\r\n"), b"VALUE k 5 1\r\n1\r\nEND\r\n")

    def test_byte_by_byte(self) -> None:
        for data, length in ((b"version\r\n", 10), (ask(NOOP), 24)):
            client = self.connect()
            for place in range(len(data)):
                client.send(data[place : place + 1])
            self.server.settle()
            self.assertGreaterEqual(len(client.answers()), length)

    def test_it_does_not_change_its_mind(self) -> None:
        client = self.connect()
        client.ask(b"version\r\n")
        self.assertTrue(client.ask(ask(NOOP) + b"\r\n").endswith(ERROR))

    def test_who_says_nothing(self) -> None:
        client = self.connect()
        self.assertEqual(client.protocol.state, "conn_read")
        self.assertFalse(client.protocol.owes())
        client.protocol.readConnectionLost()
        self.assertTrue(client.closed)
        client.protocol.connectionLost()
        self.assertEqual(self.server.lost, [client.protocol])

    def test_what_is_asked_of_it_is_answered_by_its_dialect(self) -> None:
        client = self.connect(StringTransport())
        client.send(b"set k 0 0 10\r\n123")
        self.assertEqual(client.protocol.state, "conn_nread")
        self.assertTrue(client.protocol.heard())
        self.assertFalse(client.protocol.heard())
        client.protocol.finish("shutdown")
        self.assertTrue(client.closed)
        client.protocol.connectionLost()
        self.assertEqual(self.server.lost, [client.protocol])
        self.assertEqual(client.protocol.state, "conn_closing")

    def test_all_that_is_called_is_handed_on(self) -> None:
        """What Twisted and the listening side call of a connection, its making apart."""
        called = {name for name in vars(Connection) if not name.startswith("_")}
        called -= {"connectionMade", "take_over", "state"}
        self.assertEqual(called, set(_HANDED_ON))

    def test_all_that_came_is_counted_once(self) -> None:
        self.connect().ask(b"version\r\n")
        self.connect().ask(ask(NOOP))
        self.assertEqual(self.server.stats.bytes_read, len(b"version\r\n") + 24)
