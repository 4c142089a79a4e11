"""
Whatever is sent to the `resp` dialect: replies that are well-formed, or a close, and no complaint.

And however it is cut into pieces, the replies are the same. What is announced and does not come
costs nothing: what is kept is in proportion to what was sent.
"""

import gc
import os
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import DRAWN_IS_COMPARED
from tests.redis_wire import Malformed, Reader, Reply, command, replies_in
from tests.wire import Client, Server

suppress = DRAWN_IS_COMPARED

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))

#: Of every kind there is, and some that there are not. Left out are those whose reply is never the
#: same twice.
NAMES = (
    b"GET", b"SET", b"SETNX", b"SETEX", b"PSETEX", b"GETSET", b"GETDEL", b"GETEX", b"MGET", b"MSET",
    b"MSETNX", b"APPEND", b"STRLEN", b"GETRANGE", b"SETRANGE", b"INCR", b"DECR", b"INCRBY",
    b"DECRBY", b"INCRBYFLOAT", b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"TYPE", b"EXPIRE",
    b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT", b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME",
    b"PERSIST", b"RENAME", b"KEYS", b"SCAN", b"DBSIZE", b"FLUSHDB", b"FLUSHALL", b"PING", b"ECHO",
    b"AUTH", b"SELECT", b"RESET", b"CONFIG", b"CLIENT", b"MULTI", b"EXEC", b"DISCARD", b"WATCH",
    b"UNWATCH", b"NONSENSE", b"set", b"Get", b"", b"GET\0",
)  # fmt: skip
ARGUMENTS = (
    b"k", b"n", b"s", b"k", b"n", b"0", b"1", b"-1", b"10", b"100", b"4102444800", b"abc", b"1.5",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"1e400", b"nan", b"",
    b" ", b"EX", b"PX", b"EXAT", b"PXAT", b"NX", b"XX", b"GT", b"LT", b"GET", b"KEEPTTL",
    b"PERSIST", b"MATCH", b"COUNT", b"TYPE", b"string", b"*", b"[a-", b"*a*a*a*b", b"\\", b"SYNC",
    b"SETINFO", b"SETNAME", b"GETNAME", b"LIB-NAME", b"maxmemory", b"k" * 250, b"k" * 251,
    b"\r\n", b"\xff\0", b"536870912", b"x" * 300,
)  # fmt: skip
#: What is no request, or not a whole one, or no end of one.
ODD = (
    b"\r\n", b"\n", b"*", b"$", b"*1\r\n", b"*3\r\n$3\r\nSET\r\n", b"*0\r\n", b"*-1\r\n",
    b"*-5\r\n",
    b"*1000000000\r\n", b"*2147483648\r\n", b"*2147483647\r\n", b"*abc\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$-5\r\n", b"*1\r\n$536870912\r\n", b"*1\r\n$2147483647\r\n", b"*1\r\n$abc\r\n",
    b"*1\r\nPING\r\n", b"*1\r\n:1\r\n", b"*1\r\n$4\r\nPINGxx", b"PING\r\n", b"GET k\r\n",
    b"SET k 'a b'\r\n", b'GET "k\r\n', b"GET 'k'x\r\n", b'SET k "\\x4"\r\n', b"MULTI\r\n",
    b"EXEC\r\n", b"\0\0\0\0\r\n", b"get k\r\n", b"set k 0 0 1\r\n1\r\n", b"\x80\0\0\1" + b"\0" * 20,
    b"POST / HTTP/1.1\r\n", b"Host: x\r\n", b"*1\r\n*1\r\n*1\r\n", b"%1\r\n+a\r\n", b"_\r\n",
    b"+OK\r\n", b"$3\r\nabc\r\n", b"*1\r\r\n", b"*2\r\n$4\r\nPING\r\n", b"x" * 100,
)  # fmt: skip

# Hypothesis compares what it draws, so bytes are not drawn for one example.
few_bytes = st.lists(st.integers(0, 255), max_size=12).map(bytes)
request = st.builds(
    lambda name, words: command(name, *words),
    st.sampled_from(NAMES),
    st.lists(st.one_of(st.sampled_from(ARGUMENTS), few_bytes), max_size=6),
)
spoilt = st.builds(
    lambda data, place, byte: data[: place % len(data)] + byte + data[place % len(data) + 1 :],
    request,
    st.integers(0, 1000),
    st.sampled_from([b"", b"\0", b"9", b"-", b"$", b"*", b"\r", b"\n", b"\xff"]),
)
piece = st.one_of(request, request, request, spoilt, st.sampled_from(ODD), few_bytes)
stream = st.lists(piece, max_size=12).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=12)


def begin(server: Server) -> Client:
    """Of a server that holds a text and two numbers."""
    client = server.connect(dialect="resp")
    client.ask(command("MSET", "k", "text", "n", "10", "s", "1.5"))
    return client


class FuzzTests(SynchronousTestCase):
    """Also fails, as every such test case does, for what is logged as an error."""

    def replies(self, data: bytes) -> "list[Reply]":
        try:
            return replies_in(data)
        except Malformed as error:
            return self.fail(f"no replies: {data!r}: {error}")

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(stream)
    def test_what_comes_back_is_well_formed(self, data: bytes) -> None:
        server = Server()
        client = begin(server)
        self.replies(client.ask(data))
        if client.closed:
            self.assertEqual(client.ask(command("PING")), b"")
        other = server.connect(dialect="resp")
        self.assertEqual(other.ask(command("PING")), b"+PONG\r\n")
        server.stop()

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.lists(request, max_size=12))
    def test_each_request_has_one_reply(self, requests: "list[bytes]") -> None:
        server = Server()
        client = begin(server)
        self.assertEqual(len(self.replies(client.ask(b"".join(requests)))), len(requests))
        self.assertFalse(client.closed)
        server.stop()

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(stream, cuts)
    def test_the_pieces_make_no_difference(self, data: bytes, places: "list[int]") -> None:
        whole, cut = Server(), Server()
        one, other = begin(whole), begin(cut)
        expected = one.ask(data)
        begun = 0
        answered = b""
        for place in [*sorted(places), len(data)]:
            if not other.closed and place > begun:
                answered += other.ask(data[begun:place])
                begun = place
        self.assertEqual(answered, expected)
        self.assertEqual(other.closed, one.closed)
        # Each gives the interpreter back as it was found: the last first.
        for server in (cut, whole):
            server.stop()

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.lists(request, max_size=12))
    def test_resp3_is_well_formed(self, requests: "list[bytes]") -> None:
        server = Server()
        client = begin(server)
        reader = Reader(3)
        reader.feed(client.ask(command("HELLO", 3)))
        hello = reader.next()
        assert hello is not None
        self.assertEqual(hello.kind, b"%")
        for data in requests:
            # It goes back to RESP2.
            if b"RESET" not in data:
                reader.feed(client.ask(data))
                self.assertIsNotNone(reader.next(), data)
                self.assertEqual(reader.rest, b"")
        server.stop()


class GrowthTests(SynchronousTestCase):
    """Nothing is kept for what is only announced."""

    def growth(self, data: bytes, connections: int = 100) -> float:
        """The most bytes that one more connection that sends this makes the server hold."""
        server = Server()
        clients = [server.connect(dialect="resp") for _ in range(connections)]
        for client in clients[: connections // 2]:
            client.ask(data)
        gc.collect()
        tracemalloc.start()
        try:
            for client in clients[connections // 2 :]:
                client.ask(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        server.stop()
        return peak / (connections // 2)

    def test_announcements(self) -> None:
        for data in (
            b"*1000000000\r\n", b"*1000000\r\n", b"*1048576\r\n$3\r\nGET\r\n", b"$2147483647\r\n",
            b"*2\r\n$3\r\nGET\r\n$2147483647\r\n", b"*2\r\n$3\r\nGET\r\n$500000000\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n", b"*3\r\n$3\r\nSET\r\n$1000\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc", b"*-5\r\n*1000000000\r\n",
        ):  # fmt: skip
            self.assertLess(self.growth(data), 20_000, data)

    def test_lines_that_do_not_end(self) -> None:
        for data in (b"x", b"*1", b"*1\r\n$1", b'GET "', b"GET "):
            server = Server()
            client = server.connect(dialect="resp")
            for _ in range(40):
                if not client.closed:
                    client.send(data + b"1" * 2000)
            server.settle()
            self.assertTrue(client.closed, data)
            (reply,) = replies_in(client.answers())
            assert isinstance(reply.content, bytes)
            self.assertTrue(reply.content.startswith(b"ERR Protocol error: "), reply)
            server.stop()

    def test_what_is_too_large_is_let_go(self) -> None:
        server = Server()
        client = server.connect(dialect="resp")
        client.ask(command("SET", "k", "old"))
        head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n"
        chunk = b"x" * 100_000
        client.send(head)
        tracemalloc.start()
        try:
            for _ in range(1000):
                client.send(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(peak, 4_000_000)
        (refused, got) = replies_in(client.ask(b"\r\n" + command("GET", "k")))
        self.assertEqual(refused.kind, b"-")
        self.assertEqual(got, Reply(b"$", b"old"))
        server.stop()

    def test_many_commands_queued_are_bounded(self) -> None:
        """MULTI keeps what is sent: more than so much is refused, or the connection closed."""
        server = Server()
        client = server.connect(dialect="resp")
        client.ask(command("MULTI"))
        data = command("SET", "k", b"x" * 900_000)
        tracemalloc.start()
        try:
            for _ in range(200):
                if not client.closed:
                    client.ask(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(peak, 128 << 20)
        server.stop()

    def test_a_pattern_of_many_stars_is_no_exponential_work(self) -> None:
        server = Server()
        client = server.connect(dialect="resp")
        client.ask(command("SET", "a" * 240, "v"))
        # With a matcher that tries all ways it would never end.
        for pattern in (b"a*" * 100 + b"b", b"*a" * 100 + b"b", b"[a]*" * 60 + b"b"):
            answer = client.ask(command("KEYS", pattern))
            self.assertEqual(answer, b"*0\r\n")
        server.stop()
