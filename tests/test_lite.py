"""The lite dialect on the wire, whole, byte by byte, with more behind it; then on a real server."""

import random
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist.item import KEY_LENGTH
from mctwist.protocols.lite import MOST_LENGTH, MOST_LINE
from mctwist.protocols.services import Settings
from tests.processes import PATIENCE, complaints
from tests.processes import Server as Process
from tests.wire import Client, FaultyBackend, Server

STORED, UNSTORED, MISSING, ERROR = b"STORED\r\n", b"NOT_STORED\r\n", b"NOT-FOUND\r\n", b"ERROR\r\n"
INVALID = b"INVALID COMMAND\r\n"


def store(key: bytes, value: bytes) -> bytes:
    return b"set %b %d\r\n%b\r\n" % (key, len(value), value)


def hit(key: bytes, value: bytes) -> bytes:
    return b"VALUE %b %d\r\n%b\r\nEND\r\n" % (key, len(value), value)


class LiteTests(SynchronousTestCase):
    def client(self, **more: Any) -> Client:
        server = Server(**more)
        self.addCleanup(server.stop)
        return server.connect(dialect="lite")

    def check(self, *rows: "tuple[bytes, bytes]", closes: bool = False, **more: Any) -> None:
        """
        Hold a conversation whole, byte by byte, and in one piece with what is behind it.

        :param closes: the server hangs up at its end, or else it does not.
        """
        for size in (1 << 20, 1):
            client = self.client(**more)
            for request, answer in rows:
                for at in range(0, len(request), size):
                    client.send(request[at : at + size])
                client.server.settle()
                self.assertEqual(client.answers(), answer, repr(request[:100]))
            self.assertEqual(client.closed, closes)
        client = self.client(**more)
        expected = b"".join(answer for _, answer in rows) + (b"" if closes else MISSING)
        answers = client.ask(b"".join(request for request, _ in rows) + b"get behind\r\n")
        self.assertEqual(answers, expected)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_set_and_get(self) -> None:
        value = b"\r\nEND\r\n\0\xff set k 1"
        self.check(
            *(
                (b"get k\r\n", MISSING),
                (store(b"k", value), STORED),
                (b"get k\r\n", hit(b"k", value)),
            ),
            *((store(b"k", b""), STORED), (b"get k\r\n", hit(b"k", b""))),
            *((b"set k 003\r\nabc\r\n", STORED), (b"get k\n", hit(b"k", b"abc"))),
        )

    def test_in_capitals(self) -> None:
        self.check(
            *((b"GET k\r\n", b"NOT FOUND\r\n"), (b"SET k 1\r\nv\r\n", STORED)),
            *((b"GET k\r\n", hit(b"k", b"v")), (b"GET\r\n", INVALID), (b"DELETE k\r\n", INVALID)),
            *((b"SET k\r\n", INVALID), (b"SET k 1\r\nabc\r\n", INVALID), (b"END\r\n", INVALID)),
        )
        self.check(
            (b"SET k 2000\r\n%b\r\n" % (b"v" * 2000), b"NOT STORED\r\n"),
            (b"GET k\r\n", b"NOT FOUND\r\n"),
            settings=Settings(max_item_size=1024),
        )

    def test_end_closes(self) -> None:
        self.check((store(b"k", b"v"), STORED), (b"end\r\n", b""), closes=True)

    def test_words(self) -> None:
        for line in (
            *(
                b"",
                b" ",
                b"get",
                b"get ",
                b"get a b",
                b"get  a",
                b" get a",
                b"set",
                b"set k",
                b"set k ",
            ),
            *(b"set k 1 2", b"add k 1", b"end now", b"gets k", b"Get k", b"\0", b"\xff"),
        ):
            self.check((line + b"\r\n", ERROR), (line + b"\n", ERROR))

    def test_keys(self) -> None:
        longest = b"k" * KEY_LENGTH
        self.check(
            *((store(longest, b"v"), STORED), (b"get %b\r\n" % longest, hit(longest, b"v"))),
            *((b"get %bk\r\n" % longest, ERROR), (store(longest + b"k", b"get k"), ERROR)),
            *((store(b"", b"get k"), ERROR), (store(longest + b"k", b""), ERROR)),
        )

    def test_sizes(self) -> None:
        for size in (
            *(b"-1", b"+1", b"x", b"1e3", b"0x2", b"1_0", b"1.0", b"\xd9\xa1", b"1" * 21, b"\t1"),
        ):
            self.check((b"set k %b\r\n" % size, ERROR), (b"get k\r\n", MISSING))
        for size in (b"2147483646", b"4294967299", b"9" * 20):
            self.assertGreater(int(size), MOST_LENGTH)
            self.check((b"set k %b\r\nget k\r\n" % size, ERROR), closes=True)

    def test_a_value_that_does_not_end_where_it_should(self) -> None:
        self.check(
            (b"set k 3\r\nabcdef get k\r\n", ERROR),
            (b"get k\r\n", MISSING),
            (b"set k 5\r\nabc\r\nget k\r\n", ERROR),
            (b"get k\r\n", MISSING),
            (b"set k 3\r\nabc\rget k\r\n", ERROR),
            (b"set k 3\r\nabc\n\n", ERROR + ERROR),
            (b"set k 3\r\nabcd" + b"x" * 3 * MOST_LINE + b"\r\n", ERROR),
        )

    def test_a_value_that_is_too_large_is_let_go(self) -> None:
        client = self.client(settings=Settings(max_item_size=1024))
        client.send(b"set k 10000000\r\n")
        for _ in range(1000):
            client.send(b"get k\r\n123" * 1000)
            self.assertEqual(client.protocol.state, "conn_swallow")
            self.assertLess(len(client.protocol._data), 20_000)
        self.assertEqual(client.ask(b"\r\n"), UNSTORED)
        self.assertEqual(client.ask(b"get k\r\n"), MISSING)
        self.assertEqual(client.server.stats.store_too_large, 1)

    def test_lines_without_end(self) -> None:
        for begin in (b"", b"get ", b"set ", b"end", b" "):
            client = self.client()
            self.assertEqual(client.ask(begin + b"k" * (MOST_LINE - 1 - len(begin))), b"")
            self.assertFalse(client.closed)
            self.assertEqual(client.ask(b"k"), ERROR)
            self.assertTrue(client.closed)

    def test_what_comes_from_a_browser(self) -> None:
        self.check((b"POST / HTTP/1.1\r\n\r\nset k 1\r\nv\r\n", b""), closes=True)
        self.check((b"GET / HTTP/1.1\r\nHost: x\r\n", INVALID), closes=True)

    def test_faults_of_the_store(self) -> None:
        client = self.client(backend=FaultyBackend())
        self.assertEqual(client.ask(store(b"full", b"v")), UNSTORED)
        self.assertEqual(client.ask(store(b"sick", b"v") + b"SET sick 1\r\nv\r\n"),
                         UNSTORED + b"NOT STORED\r\n")  # fmt: skip
        self.assertEqual(client.ask(b"get strange\r\nGET strange\r\n"), ERROR + INVALID)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_stats(self) -> None:
        client = self.client()
        text = client.server.connect()
        text.ask(b"stats detail on\r\n")
        client.ask(store(b"a:1", b"v") + b"get a:1\r\nget a:2\r\n")
        report = text.ask(b"stats detail dump\r\n")
        self.assertEqual(report, b"PREFIX a get 2 hit 1 set 1 del 0\r\nEND\r\n")
        stats = client.server.stats
        self.assertEqual((stats.get_hits, stats.get_misses, stats.set_commands), (1, 1, 1))

    def test_stats_detail_and_a_store_that_is_full(self) -> None:
        client = self.client(backend=FaultyBackend())
        client.server.connect().ask(b"stats detail on\r\n")
        self.assertEqual(client.ask(store(b"full", b"v")), UNSTORED)

    def test_its_state(self) -> None:
        client = self.client()
        self.assertEqual(client.protocol.state, "conn_read")
        client.send(b"set k 10\r\n")
        self.assertEqual(client.protocol.state, "conn_nread")

    def test_any_pieces_of_anything(self) -> None:
        chance = random.Random(6)
        words = (
            *(
                b"set k 3\r\n",
                b"abc\r\n",
                b"get k\r\n",
                b"set",
                b" ",
                b"\n",
                b"\r",
                b"k",
                b"7",
                b"\0",
            ),
            *(b"set k 9999999\r\n", b"GET k\n", b"SET k 2\nab\r\n", b"x" * 300),
        )
        for _ in range(500):
            conversation = b"".join(chance.choices(words, k=chance.randrange(1, 15)))
            whole, bytewise = self.client(), self.client()
            answers = whole.ask(conversation)
            for at in range(len(conversation)):
                bytewise.send(conversation[at : at + 1])
            bytewise.server.settle()
            self.assertEqual(bytewise.answers(), answers, repr(conversation))
            self.assertEqual(bytewise.closed, whole.closed)
        self.assertEqual(self.flushLoggedErrors(), [])


PLACES = ("--listen", "lite=tcp:0:interface=127.0.0.1", "--listen", "tcp:0:interface=127.0.0.1")


def converse(running: Process, number: int, rounds: int, faults: "list[str]") -> None:
    """A client that sets and gets keys of its own, and one that all have in common."""
    with running.connect() as client:
        for each in range(rounds):
            key, value = b"k%d-%d" % (number, each), b"%d\r\n" % each * number
            for request, answer in (
                (store(key, value), STORED),
                (b"get %b\r\n" % key, hit(key, value)),
                (b"get missing%d\r\n" % number, MISSING),
                (store(b"common", b"%d" % number), STORED),
            ):
                client.send(request)
                if client.exactly(len(answer)) != answer:
                    faults.append(f"{request!r} was not answered {answer!r}")
        client.send(b"get common\r\n")
        if not client.until(b"END\r\n").startswith(b"VALUE common "):
            faults.append("what all have set was not there")
        client.send(b"end\r\n")
        if client.until_closed():
            faults.append("there was an answer to end")


def test_one_client(tmp_path: Path) -> None:
    with Process(tmp_path, *PLACES) as running:
        faults: list[str] = []
        converse(running, 1, 100, faults)
        assert faults == []
        with running.connect(1) as text:
            assert text.ask(b"get k1-7\r\n", b"END\r\n") == b"VALUE k1-7 0 3\r\n7\r\n\r\nEND\r\n"
        running.kill()
        running.start()
        with running.connect() as client:
            assert client.ask(b"get k1-7\r\n", b"END\r\n") == hit(b"k1-7", b"7\r\n")
        assert complaints(running.log()) == []


def test_many_clients(tmp_path: Path) -> None:
    with Process(tmp_path, *PLACES) as running:
        faults: list[str] = []
        clients = [
            Thread(target=converse, args=(running, number, 20, faults)) for number in range(50)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(PATIENCE)
            assert not client.is_alive()
        assert faults == []
        with running.connect() as last:
            answer = last.ask(b"get common\r\n", b"END\r\n")
        assert answer in [hit(b"common", b"%d" % number) for number in range(50)]
        assert complaints(running.log()) == []
