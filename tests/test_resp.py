"""
Redis's protocol on the wire: conversations, whole, byte by byte, and with more behind.

Requests are written as words, answers as they go over the wire. What Redis itself answers is
compared elsewhere, with a redis-server.
"""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any, Optional

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mctwist.interfaces import StorageError
from mctwist.item import TYPED, Entry, Item
from mctwist.protocols.glob import literal_prefix, matcher
from mctwist.protocols.inline import split
from mctwist.protocols.redis_listing import MOST_ROUNDS
from mctwist.protocols.services import Settings
from mctwist.testing import NOW, START, step
from tests import DRAWN_IS_COMPARED
from tests.test_login import LoginCase
from tests.wire import Client, FaultyBackend, Server

suppress = DRAWN_IS_COMPARED

OK, NULL, QUEUED, PONG = b"+OK\r\n", b"$-1\r\n", b"+QUEUED\r\n", b"+PONG\r\n"
ZERO, ONE = b":0\r\n", b":1\r\n"
PING = b"*1\r\n$4\r\nPING\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
NO_PERMISSION = b"-NOPERM this user has no permissions to run this command on these keys\r\n"
WRONG_PASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
NO_AUTH = b"-NOAUTH Authentication required.\r\n"
TOO_LARGE = b"-ERR string exceeds maximum allowed size (--max-item-size)\r\n"
TOO_LONG = b"-ERR the answer would be longer than --max-reply\r\n"
BAD_EXEC = (
    b"-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n"
)
BAD_NAME = b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
WRONG_NUMBER = b"-ERR wrong number of arguments for 'get' command\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"


def ask(*words: bytes) -> bytes:
    """A request."""
    return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))


def say(text: bytes) -> bytes:
    """A request, of words without blanks."""
    return ask(*text.split())


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def array(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(parts)


class RespTestCase(SynchronousTestCase):
    def server(self, **more: Any) -> Server:
        server = Server(**more)
        self.addCleanup(server.stop)
        return server

    def client(self, **more: Any) -> Client:
        return self.server(**more).connect(dialect="resp")

    def check(self, *rows: Any, closed: bool = False, **more: Any) -> None:
        """
        Hold a conversation, as a whole, byte by byte, and in one piece with what is behind it.

        :param rows: a request, in words where it is not on the wire already, and its answer; a
            number: so many seconds pass.
        """
        rows = tuple(
            (row[0] if row[0][-1:] == b"\n" else say(row[0]), row[1]) if type(row) is tuple else row
            for row in rows
        )
        for way in (self._whole, self._bytewise):
            client = self.client(**more)
            for row in rows:
                if not isinstance(row, tuple):
                    client.server.reactor.advance(row)
                    continue
                request, expected = row
                way(client, request)
                client.server.settle()
                self.assertEqual(client.answers(), expected, request)
            self.assertEqual(client.closed, closed)
        if all(isinstance(row, tuple) for row in rows):
            self._check_at_once(rows, closed, more)

    def _whole(self, client: Client, request: bytes) -> None:
        client.send(request)

    def _bytewise(self, client: Client, request: bytes) -> None:
        for place in range(len(request)):
            client.send(request[place : place + 1])

    def _check_at_once(self, rows: Sequence[Any], closed: bool, more: "dict[str, Any]") -> None:
        client = self.client(**more)
        answers = client.ask(b"".join(request for request, _ in rows) + PING)
        expected = b"".join(answer for _, answer in rows)
        self.assertEqual(answers, expected if closed else expected + PONG)


class StringTests(RespTestCase):
    """Values."""

    def test_set_and_get(self) -> None:
        self.check(
            (b"GET k", NULL),
            (b"SET k value", OK),
            (b"GET k", bulk(b"value")),
            (b"get k", bulk(b"value")),
            (ask(b"SET", b"k", b""), OK),
            (b"GET k", bulk(b"")),
            (ask(b"SET", b"k", b"a\r\n$3\r\nb\0"), OK),
            (b"GET k", bulk(b"a\r\n$3\r\nb\0")),
        )

    def test_keys_that_text_cannot_spell(self) -> None:
        for key in (b"a b", b"\r\n", b"\0", b"\xff", b"k" * 250):
            self.check((ask(b"SET", key, b"1"), OK), (ask(b"GET", key), bulk(b"1")))

    def test_keys_that_nothing_can_be_under(self) -> None:
        bad = b"-ERR a key must have from 1 to 250 bytes\r\n"
        for key in (b"", b"k" * 251):
            self.check(
                (ask(b"SET", key, b"1"), bad),
                (ask(b"GET", key), bad),
                (ask(b"MSET", b"k", b"1", key, b"1"), bad),
                (ask(b"DEL", b"k", key), bad),
            )
        self.check((ask(b"RENAME", b"k", b""), bad))

    def test_the_options_of_set(self) -> None:
        self.check(
            (b"SET k 1 XX", NULL),
            (b"SET k 1 NX", OK),
            (b"SET k 2 NX", NULL),
            (b"SET k 2 XX GET", bulk(b"1")),
            (b"SET l 1 GET", NULL),
            (b"SET k 3 nx get", bulk(b"2")),
            (b"GET k", bulk(b"2")),
            (b"SET k 1 EX 0", b"-ERR invalid expire time in 'set' command\r\n"),
            (b"SET k 1 PX 9223372036854775807", b"-ERR invalid expire time in 'set' command\r\n"),
            (b"SET k 1 EX 1_0", b"-ERR value is not an integer or out of range\r\n"),
            (b"SET k 1 EX", b"-ERR syntax error\r\n"),
            (b"SET k 1 NX XX", b"-ERR syntax error\r\n"),
            (b"SET k 1 EX 1 KEEPTTL", b"-ERR syntax error\r\n"),
            (b"GET k", bulk(b"2")),
        )

    def test_an_expiry_is_exact_to_the_millisecond(self) -> None:
        self.check(
            (b"SET k 1 PX 1500", OK),
            (b"PTTL k", b":1500\r\n"),
            (b"PEXPIRETIME k", b":%d\r\n" % (NOW + 1500)),
            1.499,
            (b"PTTL k", b":1\r\n"),
            (b"GET k", bulk(b"1")),
            0.002,
            (b"GET k", NULL),
            (b"TTL k", b":-2\r\n"),
        )

    def test_what_sets_an_expiry(self) -> None:
        self.check(
            (b"SETEX k 100 1", OK),
            (b"TTL k", b":100\r\n"),
            (b"SET k 2 KEEPTTL", OK),
            (b"TTL k", b":100\r\n"),
            (b"GETSET k 3", bulk(b"2")),
            (b"TTL k", b":-1\r\n"),
            (b"SET k 3 EXAT %d" % (START + 7), OK),
            (b"TTL k", b":7\r\n"),
            (b"GETEX k PERSIST", bulk(b"3")),
            (b"TTL k", b":-1\r\n"),
            (b"GETEX k PXAT %d" % (NOW + 5), bulk(b"3")),
            (b"PTTL k", b":5\r\n"),
            (b"EXPIRE k 50 NX", ZERO),
            (b"EXPIRE k 50 GT", ONE),
            (b"EXPIRE k 40 GT", ZERO),
            (b"EXPIRE k 40 LT", ONE),
            (b"EXPIRETIME k", b":%d\r\n" % (START + 40)),
            (b"PERSIST k", ONE),
            (b"PERSIST k", ZERO),
            (b"EXPIRE k -1", ONE),
            (b"GET k", NULL),
            (b"SET k 4 PXAT 1", OK),
            (b"EXISTS k", ZERO),
        )

    def test_numbers(self) -> None:
        overflow = b"-ERR increment or decrement would overflow\r\n"
        self.check(
            (b"INCR n", ONE),
            (b"INCRBY n 10", b":11\r\n"),
            (b"DECR n", b":10\r\n"),
            (b"DECRBY n 20", b":-10\r\n"),
            (b"INCRBY n 9223372036854775807", b":9223372036854775797\r\n"),
            (b"INCRBY n 11", overflow),
            (b"DECRBY n -9223372036854775808", b"-ERR decrement would overflow\r\n"),
            (b"SET n 010", OK),
            (b"INCR n", b"-ERR value is not an integer or out of range\r\n"),
            (b"SET n 3.0", OK),
            (b"INCRBYFLOAT n 1.1", bulk(b"4.1")),
            (b"INCRBYFLOAT n 1e400000000", b"-ERR value is not a valid float\r\n"),
        )

    def test_parts(self) -> None:
        self.check(
            (b"APPEND k Hello", b":5\r\n"),
            (b"SETRANGE k 7 World", b":12\r\n"),
            (b"GET k", bulk(b"Hello\0\0World")),
            (b"GETRANGE k -5 -1", bulk(b"World")),
            (b"GETRANGE nothing 0 -1", bulk(b"")),
            (b"STRLEN k", b":12\r\n"),
            (b"SETRANGE k 536870912 x", TOO_LARGE),
            (b"STRLEN k", b":12\r\n"),
        )

    def test_several_keys(self) -> None:
        self.check(
            (b"MSET a 1 b 2 a 3", OK),
            (b"MGET a x b", array(bulk(b"3"), NULL, bulk(b"2"))),
            (b"MSETNX b 4 c 5", ZERO),
            (b"MSETNX c 5 d 6", ONE),
            (b"EXISTS a a c x", b":3\r\n"),
            (b"TOUCH a x", ONE),
            (b"DEL a a b x", b":2\r\n"),
            (b"UNLINK c", ONE),
            (b"DEL c", ZERO),
            (b"RENAME d e", OK),
            (b"RENAME d e", b"-ERR no such key\r\n"),
            (b"MGET d e", array(NULL, bulk(b"6"))),
            (b"TYPE e", b"+string\r\n"),
            (b"TYPE d", b"+none\r\n"),
            (b"DBSIZE", ONE),
            (b"FLUSHALL ASYNC", OK),
            (b"DBSIZE", ZERO),
        )

    def test_a_value_beyond_the_largest_is_refused_and_nothing_happens(self) -> None:
        large = b"x" * 2000
        small = Settings(max_item_size=1024)
        self.check(
            (b"SET k 1", OK),
            (ask(b"SET", b"k", large), TOO_LARGE),
            (ask(b"SET", large, b"k"), TOO_LARGE),
            (ask(b"SET", b"k", b"x" * 1000), TOO_LARGE),
            (ask(b"MSET", b"a", b"1", b"b", b"x" * 1000), TOO_LARGE),
            (ask(b"APPEND", b"k", b"x" * 1000), TOO_LARGE),
            (b"MGET k a", array(bulk(b"1"), NULL)),
            (b"GET k", bulk(b"1")),
            settings=small,
        )

    def test_an_answer_beyond_the_longest_is_refused(self) -> None:
        self.check(
            (ask(b"SET", b"k", b"x" * 60), OK),
            (b"MGET k k", TOO_LONG),
            (b"MGET k", array(bulk(b"x" * 60))),
            (b"MULTI", OK),
            (b"SET l 1", QUEUED),
            (b"GET k", QUEUED),
            (b"GET k", QUEUED),
            (b"EXEC", TOO_LONG),
            (b"EXISTS l", ZERO),
            settings=Settings(max_reply=100),
        )

    def test_memcached_s_clients_see_the_same(self) -> None:
        server = self.server()
        text, redis = server.connect(), server.connect(dialect="resp")
        text.ask(b"set n 2 0 2\r\n10\r\n")
        self.assertEqual(redis.ask(say(b"INCR n")), b":11\r\n")
        self.assertEqual(text.ask(b"get n\r\n"), b"VALUE n 2 2\r\n11\r\nEND\r\n")
        # memcached pads with blanks what becomes shorter.
        self.assertEqual(text.ask(b"decr n 2\r\n"), b"9\r\n")
        self.assertEqual(redis.ask(say(b"DECR n")), b":8\r\n")
        redis.ask(say(b"APPEND n 5"))
        self.assertEqual(text.ask(b"incr n 1\r\n"), b"86\r\n")
        redis.ask(say(b"SET n 7"))
        self.assertEqual(text.ask(b"get n\r\n"), b"VALUE n 0 1\r\n7\r\nEND\r\n")
        text.ask(b"set n 0 0 20\r\n18446744073709551615\r\n")
        self.assertEqual(
            redis.ask(say(b"INCR n")), b"-ERR value is not an integer or out of range\r\n"
        )

    def test_a_value_of_another_kind(self) -> None:
        server = self.server()
        client = server.connect(dialect="resp")

        def put_typed(transaction: Any, key: bytes) -> Item:
            item: Item = transaction.put(key, b":1\r\n", 0, 0, kind=TYPED)
            return item

        server.storage.submit([step(put_typed, b"t")])
        server.settle()
        for request in (
            *(b"GET t", b"GETRANGE t 0 1", b"STRLEN t", b"APPEND t x", b"INCR t", b"GETDEL t"),
            *(b"INCRBYFLOAT t 1", b"SETRANGE t 0 x", b"GETEX t PERSIST", b"GETSET t x"),
            *(b"SET t x GET", b"GETEX t"),
        ):
            self.assertEqual(client.ask(say(request)), WRONG_TYPE, request)
        self.assertEqual(client.ask(say(b"MGET t")), array(NULL))
        for request in (b"TYPE t", b"EXPIRE t 100", b"RENAME t u", b"TYPE u"):
            answer = client.ask(say(request))
            self.assertIn(answer, (b"+simpledb\r\n", ONE, OK), request)
        self.assertEqual(client.ask(say(b"TTL u")), b":100\r\n")
        self.assertEqual(client.ask(say(b"SET u x")), OK)
        self.assertEqual(client.ask(say(b"TYPE u")), b"+string\r\n")

    def test_a_store_that_fails(self) -> None:
        full = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        self.check(
            (b"SET full 1", full),
            (b"GET sick", b"-ERR internal error\r\n"),
            (b"SET k 1", OK),
            (b"MULTI", OK),
            (b"SET k 2", QUEUED),
            (b"EXEC", array(OK)),
            backend=FaultyBackend(),
        )


class TransactionTests(RespTestCase):
    """MULTI and WATCH."""

    def test_a_transaction(self) -> None:
        self.check(
            (b"MULTI", OK),
            (b"SET k a", QUEUED),
            (b"INCR k", QUEUED),
            (b"SET k", b"-ERR wrong number of arguments for 'set' command\r\n"),
            (b"EXEC", ABORTED),
            (b"GET k", NULL),
            (b"MULTI", OK),
            (b"SET k a", QUEUED),
            (b"INCR k", QUEUED),
            (b"SET k b EX 0", QUEUED),
            (b"APPEND k b", QUEUED),
            (b"MGET k l", QUEUED),
            (b"DBSIZE", QUEUED),
            (b"PING", QUEUED),
            (
                b"EXEC",
                array(
                    *(OK, b"-ERR value is not an integer or out of range\r\n"),
                    *(b"-ERR invalid expire time in 'set' command\r\n", b":2\r\n"),
                    *(array(bulk(b"ab"), NULL), ONE, PONG),
                ),
            ),
            (b"EXEC", b"-ERR EXEC without MULTI\r\n"),
            (b"DISCARD", b"-ERR DISCARD without MULTI\r\n"),
            (b"MULTI", OK),
            (b"MULTI", b"-ERR MULTI calls can not be nested\r\n"),
            (b"WATCH k", b"-ERR WATCH inside MULTI is not allowed\r\n"),
            (b"EXEC", b"*0\r\n"),
            (b"MULTI", OK),
            (b"SCAN 0", b"-ERR Command not allowed inside a transaction\r\n"),
            (b"EXEC", ABORTED),
            (b"MULTI", OK),
            (b"CONFIG FOO", b"-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n"),
            (b"EXEC", ABORTED),
            (b"MULTI", OK),
            (b"DEL k", QUEUED),
            (b"DISCARD", OK),
            (b"GET k", bulk(b"ab")),
        )

    def test_a_watched_key_is_as_long_as_a_key_may_be(self) -> None:
        fault = b"-ERR a key must have from 1 to 250 bytes\r\n"
        self.check(
            (b"WATCH k " + b"k" * 251, fault),
            (b"SET k 1", OK),
            *((b"MULTI", OK), (b"PING", QUEUED), (b"EXEC", array(PONG))),
        )

    def test_watched(self) -> None:
        transaction = ((b"MULTI", OK), (b"GET k", QUEUED))
        self.check(
            (b"SET k 1", OK),
            (b"WATCH k x", OK),
            *transaction,
            (b"EXEC", array(bulk(b"1"))),
            (b"WATCH k x", OK),
            (b"SET x 1", OK),
            *transaction,
            (b"EXEC", b"*-1\r\n"),
            *transaction,
            (b"EXEC", array(bulk(b"1"))),
            (b"WATCH k", OK),
            (b"EXPIRE k 100", ONE),
            *transaction,
            (b"EXEC", b"*-1\r\n"),
            (b"WATCH k", OK),
            (b"SET k 1", OK),
            (b"UNWATCH", OK),
            *transaction,
            (b"EXEC", array(bulk(b"1"))),
            (b"WATCH k", OK),
            (b"SET k 2", OK),
            # The first look counts.
            (b"WATCH k", OK),
            *transaction,
            (b"EXEC", b"*-1\r\n"),
        )

    def test_what_another_client_does_meanwhile_counts(self) -> None:
        server = self.server()
        one, other = server.connect(dialect="resp"), server.connect()
        one.ask(say(b"WATCH k") + say(b"MULTI") + say(b"SET k mine"))
        other.ask(b"set k 0 0 6\r\ntheirs\r\n")
        self.assertEqual(one.ask(say(b"EXEC")), b"*-1\r\n")
        self.assertEqual(one.ask(say(b"GET k")), bulk(b"theirs"))

    def test_what_is_watched_expires(self) -> None:
        self.check(
            (b"SET k 1 EX 1", OK),
            (b"WATCH k", OK),
            1.5,
            (b"MULTI", OK),
            (b"SET l 1", QUEUED),
            (b"EXEC", b"*-1\r\n"),
        )

    def test_a_transaction_is_bounded(self) -> None:
        client = self.client(settings=Settings(max_item_size=2 << 20))
        client.ask(say(b"MULTI"))
        request = ask(b"SET", b"k", b"x" * (1 << 20))
        answers = [client.ask(request) for _ in range(64)]
        self.assertEqual(answers[62:], [QUEUED, b"-ERR the transaction is too long\r\n"])
        self.assertEqual(client.ask(say(b"EXEC")), ABORTED)


class ConnectionTests(RespTestCase):
    """HELLO and its like."""

    def test_resp3(self) -> None:
        client = self.client()
        hello = client.ask(say(b"HELLO 3 SETNAME me"))
        self.assertEqual(
            hello,
            b"%7\r\n" + bulk(b"server") + bulk(b"redis") + bulk(b"version") + bulk(b"7.0.15")
            + bulk(b"proto") + b":3\r\n" + bulk(b"id") + ONE + bulk(b"mode")
            + bulk(b"standalone") + bulk(b"role") + bulk(b"master") + bulk(b"modules") + b"*0\r\n",
        )  # fmt: skip
        for request, answer in (
            (b"CLIENT GETNAME", bulk(b"me")),
            (b"GET k", b"_\r\n"),
            (b"MGET k", array(b"_\r\n")),
            (b"CONFIG GET databases", b"%1\r\n" + bulk(b"databases") + bulk(b"1")),
            (b"HELLO", hello),
            (b"RESET", b"+RESET\r\n"),
            (b"GET k", NULL),
            (b"CLIENT GETNAME", NULL),
        ):
            self.assertEqual(client.ask(say(request)), answer, request)

    def test_the_version_changes_in_mid_stream(self) -> None:
        client = self.client()
        answers = client.ask(say(b"GET k") + say(b"HELLO 3") + say(b"GET k") + say(b"HELLO 2"))
        self.assertEqual((answers[:5], answers.count(b"_\r\n")), (NULL, 1))

    def test_what_is_wrong_with_a_hello(self) -> None:
        self.check(
            (b"HELLO 4", b"-NOPROTO unsupported protocol version\r\n"),
            (b"HELLO x", b"-ERR Protocol version is not an integer or out of range\r\n"),
            (b"HELLO 2 FOO", b"-ERR Syntax error in HELLO option 'FOO'\r\n"),
            (b"HELLO 2 AUTH ann a", WRONG_PASS),
            (b"HELLO 3 AUTH ann a foo", WRONG_PASS),
            (b"HELLO 3 AUTH default a foo", b"-ERR Syntax error in HELLO option 'foo'\r\n"),
            (b"HELLO 3 AUTH a", b"-ERR Syntax error in HELLO option 'AUTH'\r\n"),
            (b"CLIENT GETNAME", NULL),
            (b"HELLO 3 SETNAME me AUTH ann a", WRONG_PASS),
            (b"CLIENT GETNAME", bulk(b"me")),
            (ask(b"HELLO", b"3", b"SETNAME", b"a b"), BAD_NAME),
            (ask(b"HELLO", b"3", b"SETNAME", b"a" * 257), BAD_NAME),
            (b"GET k", NULL),
        )  # fmt: skip

    def test_a_hello_of_a_thousand_logins(self) -> None:
        client = self.client()
        answer = client.ask(say(b"HELLO 3" + b" AUTH default x" * 10_000))
        self.assertTrue(answer.startswith(b"%7\r\n"))

    def test_what_is_only_an_answer(self) -> None:
        client = self.client()
        for request, answer in (
            (b"PING", PONG),
            (b"PING x", bulk(b"x")),
            (b"ECHO x", bulk(b"x")),
            (b"SELECT 0", OK),
            (b"SELECT 1", b"-ERR DB index is out of range\r\n"),
            (b"EXEC k", BAD_EXEC),
            (b"TIME", array(bulk(b"%d" % START), bulk(b"0"))),
            (b"CLIENT ID", ONE),
            (b"CLIENT SETINFO LIB-NAME redis-py", OK),
            (b"CLIENT FOO", b"-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n"),
            (b"FOO a b", b"-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n"),
            (b"GET", b"-ERR wrong number of arguments for 'get' command\r\n"),
            (b"FLUSHALL NOW", b"-ERR syntax error\r\n"),
        ):
            self.assertEqual(client.ask(say(request)), answer, request)

    def test_connections_have_numbers(self) -> None:
        server = self.server()
        clients = [server.connect(dialect="resp") for _ in range(3)]
        numbers = {client.ask(say(b"CLIENT ID")) for client in clients}
        self.assertEqual(len(numbers), 3)

    def test_commands_are_told_of(self) -> None:
        client = self.client()
        count = int(client.ask(say(b"COMMAND COUNT"))[1:-2])
        everything = client.ask(say(b"COMMAND"))
        self.assertTrue(everything.startswith(b"*%d\r\n*10\r\n$3\r\nget\r\n:2\r\n" % count))
        self.assertEqual(client.ask(say(b"COMMAND INFO foo")), array(NULL))
        self.assertIn(b"$7\r\nsummary\r\n", client.ask(say(b"COMMAND DOCS get")))
        self.assertEqual(client.ask(say(b"COMMAND DOCS foo")), b"*0\r\n")

    def test_info(self) -> None:
        client = self.client()
        client.ask(say(b"SET k 1") + say(b"GET k") + say(b"GET l"))
        info = client.ask(say(b"INFO"))
        for line in (b"redis_version:7.0.15", b"keyspace_hits:1", b"keyspace_misses:1"):
            self.assertIn(line + b"\r\n", info)
        self.assertIn(b"total_commands_processed:4\r\n", info)
        self.assertEqual(
            client.ask(say(b"INFO keyspace")),
            bulk(b"# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n"),
        )

    def test_what_counts_in_memcached_s_words(self) -> None:
        server = self.server()
        client = server.connect(dialect="resp")
        for request in (
            *(b"SET k 1", b"GET k", b"get k", b"GET x", b"MGET k x", b"SET k 2 NX", b"INCR k"),
            *(b"DEL k x", b"DEL x", b"TOUCH x", b"FLUSHALL"),
        ):
            client.ask(say(request))
        stats = server.stats
        self.assertEqual((stats.get_hits, stats.get_misses), (3, 2))
        self.assertEqual((stats.set_commands, stats.incr_hits), (2, 1))
        self.assertEqual((stats.delete_hits, stats.delete_misses), (1, 2))
        self.assertEqual((stats.touch_misses, stats.flush_commands), (1, 1))

    def test_prefixes_are_counted(self) -> None:
        server = self.server()
        text, client = server.connect(), server.connect(dialect="resp")
        text.ask(b"stats detail on\r\n")
        client.ask(say(b"SET a:1 1") + say(b"MGET a:1 a:2 b:1") + say(b"DEL a:1 a:2"))
        client.ask(say(b"MULTI") + say(b"GET a:1") + say(b"EXEC"))
        self.assertEqual(
            text.ask(b"stats detail dump\r\n"),
            b"PREFIX a get 3 hit 1 set 1 del 2\r\nPREFIX b get 1 hit 0 set 0 del 0\r\nEND\r\n",
        )

    def test_who_watches_sees_it(self) -> None:
        server = self.server()
        watcher, client = server.connect(), server.connect(dialect="resp")
        watcher.ask(b"watch fetchers mutations\r\n")
        for request in (b"MSET k 1 l 2", b"MGET k x", b"SET k 3 EX 9", b"APPEND k 4", b"GETDEL k"):
            client.ask(say(request))
        client.ask(say(b"MULTI") + say(b"SET z 1") + say(b"EXEC"))
        told = re.findall(rb"type=(\w+) key=(\w+) status=(\w+)", watcher.answers())
        self.assertEqual(
            told,
            [
                *((b"item_store", b"k", b"stored"), (b"item_store", b"l", b"stored")),
                *((b"item_get", b"k", b"found"), (b"item_get", b"x", b"not_found")),
                *((b"item_store", b"k", b"stored"), (b"item_store", b"k", b"stored")),
                *((b"item_get", b"k", b"found"), (b"item_store", b"z", b"stored")),
            ],
        )

    def test_quit(self) -> None:
        self.check((b"SET k 1", OK), (b"QUIT", OK), closed=True)

    def test_not_where_flushing_is_off(self) -> None:
        self.check(
            (b"SET k 1", OK),
            (b"FLUSHDB", b"-ERR not allowed on this server\r\n"),
            (b"GET k", bulk(b"1")),
            settings=Settings(flush_enabled=False),
        )

    def test_a_star_is_redis_on_a_port_for_all(self) -> None:
        server = self.server()
        client = server.connect(dialect="auto")
        self.assertEqual(client.ask(say(b"SET k 1")), OK)
        self.assertEqual(client.ask(b"PING\r\n"), PONG)
        text = server.connect(dialect="auto")
        self.assertEqual(text.ask(b"get k\r\n"), b"VALUE k 0 1\r\n1\r\nEND\r\n")


class BadInputTests(RespTestCase):
    """What no client sends, or only one that means harm."""

    def test_what_cannot_be_followed_closes(self) -> None:
        for request, fault in (
            (b"*x\r\n", b"invalid multibulk length"),
            (b"*1000000000\r\n", b"invalid multibulk length"),
            (b"*1048577\r\n", b"invalid multibulk length"),
            (b"*+1\r\n", b"invalid multibulk length"),
            (b"*-9223372036854775809\r\n", b"invalid multibulk length"),
            (b"*1_0\r\n", b"invalid multibulk length"),
            (b"*1\r\n:1\r\n", b"expected '$', got ':'"),
            (b"*1\r\n\r\n", b"expected '$', got ' '"),
            (b"*1\r\n$-5\r\n", b"invalid bulk length"),
            (b"*1\r\n$536870913\r\n", b"invalid bulk length"),
            (b"*1\r\n$99999999999999999999\r\n", b"invalid bulk length"),
            (b'SET "a\r\n', b"unbalanced quotes in request"),
            (b'SET "a"b\r\n', b"unbalanced quotes in request"),
        ):
            self.check(
                (b"SET k 1", OK),
                (request, b"-ERR Protocol error: %b\r\n" % fault),
                closed=True,
            )

    def test_lines_without_end(self) -> None:
        for begin, fault in (
            (b"a", b"too big inline request"),
            (b"*1", b"too big mbulk count string"),
            (b"*1\r\n$1", b"too big bulk count string"),
        ):
            client = self.client()
            client.send(begin)
            for _ in range(64):
                client.send(b"1" * 1024)
            client.server.settle()
            self.assertEqual(client.answers(), b"-ERR Protocol error: %b\r\n" % fault)
            self.assertTrue(client.closed)

    def test_a_request_may_come_in_any_two_pieces(self) -> None:
        request = ask(b"SET", b"key-of-14-byte", b"x" * 120) + ask(b"APPEND", b"k", b"y" * 12)
        for place in range(len(request)):
            client = self.client()
            client.send(request[:place])
            self.assertEqual(client.ask(request[place:] + PING), OK + b":12\r\n" + PONG, place)

    def test_lengths_that_lie(self) -> None:
        # Two bytes behind a word are passed over, whatever they are, as Redis does it.
        self.check(
            (b"SET k1 v", OK),
            (b"*2\r\n$3\r\nGET\r\n$2\r\nk1x\r\n", bulk(b"v")),
            (b"*2\r\n$3\r\nGET\r\n$2\r\nk1x\n", bulk(b"v")),
            (b"*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$1\r\nwx\r\n", OK),
            (b"GET k1", bulk(b"w")),
        )
        for request, fault in (
            (b"*3\r\n$3\r\nSET\r\n$2\r\nk1x\r\n$1\r\nv\r\n", b"expected '$', got ' '"),
            (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$01\r\nv\r\n", b"invalid bulk length"),
            (b"*2\r\n$3\r\nGET\r\n$01\r\nk\r\n", b"invalid bulk length"),
        ):
            self.check((request, b"-ERR Protocol error: %b\r\n" % fault), closed=True)

    def test_large_answers_leave_one_by_one(self) -> None:
        client = self.client()
        writes: list[bytes] = []
        client.transport.write = writes.append
        client.ask(say(b"COMMAND DOCS") * 50 + PING)
        self.assertEqual(len(writes), 51)
        self.assertEqual(writes[-1], PONG)

    def test_arrays_of_nothing(self) -> None:
        self.check((b"*0\r\n*-1\r\n\r\n\r\n  \r\n", b""), (b"PING", PONG))

    def test_what_is_announced_is_not_believed(self) -> None:
        client = self.client()
        client.ask(b"*1048576\r\n$536870912\r\n")
        self.assertFalse(client.closed)
        self.assertEqual(client.protocol._left, (1 << 20) - 1)
        self.assertLess(len(client.protocol._words), 2)

    def test_a_word_too_large_goes_by(self) -> None:
        client = self.client(settings=Settings(max_item_size=1024))
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$50000000\r\n")
        for _ in range(500):
            client.send(b"x" * 100_000)
            self.assertFalse(client.protocol._pending)
        client.send(b"\r\n")
        self.assertEqual(client.ask(PING), TOO_LARGE + PONG)

    def test_a_request_is_bounded(self) -> None:
        client = self.client(settings=Settings(max_item_size=8 << 20))
        client.send(b"*1000\r\n")
        for _ in range(10):
            client.send(bulk(b"x" * (8 << 20)))
        client.server.settle()
        self.assertEqual(client.answers(), b"-ERR Protocol error: too big request\r\n")
        self.assertTrue(client.closed)

    def test_browsers(self) -> None:
        for request in (
            b"POST / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\n",
            b"Host: example.com\r\n",
            b"post x\r\n",
        ):
            client = self.client()
            self.assertEqual(client.ask(request + b"FLUSHALL\r\n" + say(b"SET k 1")), b"")
            self.assertTrue(client.closed)

    def test_inline_commands(self) -> None:
        self.check(
            (b"SET k 1\r\n", OK),
            (b"  set  k  2 \n", OK),
            (b"GET k\n", bulk(b"2")),
            (b'SET "a b" "\\x41\\n\\"c"\r\n', OK),
            (b"GET 'a b'\r\n", bulk(b'A\n"c')),
        )

    def test_the_words_of_a_line(self) -> None:
        for line, words in (
            (b"", []),
            (b" a  b ", [b"a", b"b"]),
            (b'a"b c"', [b"ab c"]),
            (b"'a\\'b' \"\\x4a\\t\\q\"", [b"a'b", b"J\tq"]),
            (b"\"\" ''", [b"", b""]),
            (b"'a\\'", None),
            (b'"a\\"', None),
            (b"'a'b", None),
            (b"a\0 b", [b"a"]),
        ):
            self.assertEqual(split(line), words, line)

    def test_a_long_array_by_single_bytes_takes_its_time_once(self) -> None:
        client = self.client()
        request = ask(b"DEL", *[b"k"] * 20_000)
        for place in range(0, len(request), 7):
            client.send(request[place : place + 7])
        client.server.settle()
        self.assertEqual(client.answers(), ZERO)


class FuzzTests(RespTestCase):
    """Anything at all: answered or closed, and others are served."""

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=20),
                st.sampled_from(
                    [
                        *(
                            b"*3\r\n",
                            b"*1\r\n",
                            b"$3\r\n",
                            b"$1\r\n",
                            b"SET\r\n",
                            b"k\r\n",
                            b"\r\n",
                        ),
                        *(b"GET k\r\n", b"MULTI\r\n", b"EXEC\r\n", b"WATCH k\r\n", b"*-1\r\n"),
                        *(b"HELLO 3\r\n", b"RESET\r\n", b'"', b"INCR k\r\n", b"EXPIRE k 5\r\n"),
                        *(b"COMMAND DOCS\r\n", b"INFO\r\n", b"MGET k k\r\n", b"$2000000\r\n"),
                    ]
                ),
            ),
            max_size=30,
        ),
        st.integers(1, 40),
    )
    def test_anything(self, pieces: "list[bytes]", width: int) -> None:
        server = Server()
        try:
            client, other = server.connect(dialect="resp"), server.connect(dialect="resp")
            data = b"".join(pieces)
            for place in range(0, len(data), width):
                client.send(data[place : place + width])
            server.settle()
            whole = server.connect(dialect="resp")
            whole.ask(data)
            self.assertEqual(client.closed, whole.closed)
            self.assertEqual(other.ask(PING), PONG)
        finally:
            server.stop()
        self.assertEqual(self.flushLoggedErrors(), [])


class FakeScan:
    """A storage's `scan` over so many entries at places that are not dense."""

    def __init__(self, keys: "Sequence[bytes]", gap: int = 3) -> None:
        self.places = [
            (gap * (place + 1), Entry(key, Item(0, 0, 0, 0, 1, 1, 1, 0, b""), 1, 0, False))
            for place, key in enumerate(keys)
        ]

    def __call__(self, cursor: int, most: int) -> "Deferred[tuple[list[Entry], int]]":
        behind = [(place, entry) for place, entry in self.places if place > cursor]
        following = behind[most - 1][0] if len(behind) > most else 0
        return succeed(([entry for _, entry in behind[:most]], following))


class ListingTests(RespTestCase):
    """SCAN, KEYS, RANDOMKEY."""

    def connect(self, scan: Any) -> Client:
        client = self.client()
        client.server.storage.scan = scan  # type: ignore[method-assign]
        return client

    def test_scan(self) -> None:
        client = self.connect(FakeScan([b"a%d" % number for number in range(25)]))
        cursor, found = b"0", []
        while True:
            answer = client.ask(ask(b"SCAN", cursor, b"COUNT", b"10"))
            cursor, *keys = re.findall(rb"\$\d+\r\n(\w+)\r\n", answer)
            found += keys
            if cursor == b"0":
                break
        self.assertEqual(found, [b"a%d" % number for number in range(25)])

    def test_what_scan_is_asked_for(self) -> None:
        client = self.connect(FakeScan([b"ab", b"ac", b"bc"]))
        for request, keys in (
            (b"SCAN 0 MATCH a*", [b"ab", b"ac"]),
            (b"SCAN 0 MATCH [^a]* COUNT 100", [b"bc"]),
            (b"SCAN 0 TYPE string", [b"ab", b"ac", b"bc"]),
            (b"SCAN 0 TYPE hash", []),
        ):
            expected = array(bulk(b"0"), array(*map(bulk, keys)))
            self.assertEqual(client.ask(say(request)), expected, request)

    def test_what_is_wrong_with_a_scan(self) -> None:
        for request, fault in (
            *((b"SCAN x", b"invalid cursor"), (b"SCAN -", b"invalid cursor")),
            *((b"SCAN 5x", b"invalid cursor"), (b"SCAN 0x0", b"invalid cursor")),
            (b"SCAN 18446744073709551616", b"invalid cursor"),
            (ask(b"SCAN", b" 5"), b"invalid cursor"),
            (b"SCAN 0 COUNT 0", b"syntax error"),
            (b"SCAN 0 COUNT", b"syntax error"),
            (b"SCAN 0 COUNT x", b"value is not an integer or out of range"),
            (b"SCAN 0 FOO x", b"syntax error"),
        ):
            self.check((request, b"-ERR %b\r\n" % fault))

    def test_cursors_are_what_c_reads(self) -> None:
        client = self.connect(FakeScan([b"a", b"b"], gap=10))
        for cursor, keys in (
            *((b"", [b"a", b"b"]), (b"-0", [b"a", b"b"]), (b"0" * 30, [b"a", b"b"])),
            *((b"+5", [b"a", b"b"]), (b"010", [b"b"]), (b"10\0x", [b"b"]), (b"\0", [b"a", b"b"])),
            *((b"-1", []), (b"18446744073709551615", []), (b"-18446744073709551601", [b"b"])),
        ):
            expected = array(bulk(b"0"), array(*map(bulk, keys)))
            self.assertEqual(client.ask(ask(b"SCAN", cursor)), expected, cursor)

    def test_a_scan_of_a_store_of_which_most_has_gone(self) -> None:
        # As a store does that looks at ten places a call, and of 200 only the last is live.
        entry = FakeScan([b"k"]).places[0][1]
        asked = []

        def scan(cursor: int, most: int) -> "Deferred[tuple[list[Entry], int]]":
            asked.append(most)
            end = cursor + 10
            return succeed(([entry], 0) if end >= 200 else ([], end))

        client = self.connect(scan)
        found = array(bulk(b"0"), array(bulk(b"k")))
        self.assertEqual(client.ask(say(b"SCAN 0 COUNT 7")), found)
        self.assertEqual(asked, [7] * 20)

    def test_a_scan_does_not_look_for_ever(self) -> None:
        client = self.connect(lambda cursor, most: succeed(([], cursor + 1)))
        for count, rounds in ((1, MOST_ROUNDS), (10, 100), (100, 10), (1000, 1), (10_000, 1)):
            found = array(bulk(b"%d" % rounds), b"*0\r\n")
            self.assertEqual(client.ask(say(b"SCAN 0 COUNT %d" % count)), found)

    def test_a_scan_finds_no_more_than_it_is_asked_for(self) -> None:
        places = FakeScan([b"a", b"b", b"c"], gap=1)
        client = self.connect(lambda cursor, most: places(cursor, 1))
        found = array(bulk(b"2"), array(bulk(b"a"), bulk(b"b")))
        self.assertEqual(client.ask(say(b"SCAN 0 COUNT 2")), found)

    def test_a_scan_that_fails(self) -> None:
        client = self.connect(lambda cursor, most: fail(StorageError("no")))
        self.assertEqual(client.ask(say(b"SCAN 0") + PING), b"-ERR internal error\r\n" + PONG)

    def test_what_a_connection_is_at_that_scans(self) -> None:
        searching: Deferred[Any] = Deferred()
        client = self.connect(lambda cursor, most: searching)
        self.assertEqual(client.ask(say(b"SCAN 0")), b"")
        self.assertEqual(client.protocol.state, "conn_io_queue")
        searching.callback(([], 0))
        client.server.settle()
        self.assertEqual(client.protocol.state, "conn_read")

    def test_random_key(self) -> None:
        keys = [b"a", b"b", b"c"]
        client = self.connect(FakeScan(keys, gap=100))
        found = {client.ask(say(b"RANDOMKEY")) for _ in range(100)}
        self.assertEqual(found, {bulk(key) for key in keys})
        self.assertEqual(self.connect(FakeScan([])).ask(say(b"RANDOMKEY")), NULL)

    def test_a_random_key_behind_many_that_are_gone(self) -> None:
        client = self.client()
        storage = client.server.storage
        scan, calls = storage.scan, 0

        def counted(cursor: int, most: int) -> Any:
            nonlocal calls
            calls += 1
            return scan(cursor, most)

        storage.scan = counted  # type: ignore[method-assign]
        # As long as there is no listing, no order is kept: so it is before they are gone.
        gone = [b"%d" % number for number in range(9000)]
        for place in range(0, len(gone), 1000):
            client.ask(ask(b"MSET", *[word for key in gone[place:][:1000] for word in (key, b"")]))
        client.ask(say(b"RANDOMKEY"))
        self.assertEqual(client.ask(say(b"FLUSHALL")), OK)
        self.assertEqual(client.ask(say(b"RANDOMKEY")), NULL)
        client.ask(say(b"MSET a 1 b 2 c 3"))
        calls = 0
        found = {client.ask(say(b"RANDOMKEY")) for _ in range(50)}
        self.assertEqual(found, {bulk(b"a"), bulk(b"b"), bulk(b"c")})
        # Some to feel for the end, and some twice as long each.
        self.assertLess(calls, 50 * 30)

    def test_keys(self) -> None:
        client = self.client()
        client.ask(say(b"MSET ab 1 ac 2 bc 3"))
        found = client.ask(say(b"KEYS a*"))
        self.assertEqual(set(re.findall(rb"\r\n(\w+)\r\n", found)), {b"ab", b"ac"})
        self.assertEqual(client.ask(say(b"KEYS x*") + PING), b"*0\r\n" + PONG)

    def test_keys_are_no_more_than_an_answer_may_hold(self) -> None:
        client = self.client(settings=Settings(max_reply=20))
        client.ask(say(b"MSET ab 1 ac 2 bc 3"))
        self.assertEqual(client.ask(say(b"KEYS *")), TOO_LONG)
        self.assertEqual(client.ask(say(b"KEYS a?")), array(bulk(b"ab"), bulk(b"ac")))

    def test_not_where_listing_is_off(self) -> None:
        refusal = b"-ERR not allowed on this server\r\n"
        self.check(
            *((request, refusal) for request in (b"SCAN 0", b"KEYS *", b"RANDOMKEY")),
            settings=Settings(dump_enabled=False),
        )

    def test_patterns(self) -> None:
        for pattern, yes, no in (
            (b"a*", [b"a", b"ab"], [b"ba"]),
            (b"*a", [b"a", b"ba"], [b"ab"]),
            (b"a*a", [b"aa", b"aba"], [b"a"]),
            (b"a?c", [b"abc", b"a\nc"], [b"ac", b"abbc"]),
            (b"a[b-d]e", [b"ace"], [b"aee"]),
            (b"a[d-b]e", [b"ace"], [b"aee"]),
            (b"a[^b]", [b"ac"], [b"ab"]),
            (b"a[]", [], [b"a", b"a]"]),
            (b"a[^]", [b"ab"], [b"a"]),
            (b"a[bc", [b"ab", b"ac"], [b"a", b"a[bc"]),
            (b"a\\*", [b"a*"], [b"ab"]),
            (b"a\\", [b"a\\"], [b"a"]),
            (b"[\\]]", [b"]"], [b"\\"]),
            (b"[a\\-z]", [b"-", b"z"], [b"b"]),
            (b"a.c", [b"a.c"], [b"abc"]),
            (b"**a**b**", [b"ab", b"xaxbx"], [b"ba"]),
            (b"", [b""], [b"a"]),
        ):
            matches = matcher(pattern)
            for name in yes:
                self.assertTrue(matches(name), (pattern, name))
            for name in no:
                self.assertFalse(matches(name), (pattern, name))

    def test_a_pattern_that_takes_others_for_ever(self) -> None:
        self.assertFalse(matcher(b"*a" * 100 + b"*b")(b"a" * 250))

    @given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
    def test_patterns_of_stars(self, pattern: str, name: str) -> None:
        expression = pattern.replace("*", ".*").replace("?", ".")
        expected = re.fullmatch(expression, name) is not None
        self.assertEqual(matcher(pattern.encode())(name.encode()), expected)

    def test_long_patterns_are_read_at_once(self) -> None:
        """Twelve of them held everybody up for six seconds."""
        begin = time.process_time()
        for number in range(12):
            pattern = b"%d" % (number % 10) + b"[^a]" * 1000
            self.assertFalse(matcher(pattern)(b"0" * 250))
        self.assertLess(time.process_time() - begin, 1)

    def test_a_pattern_as_long_as_a_key(self) -> None:
        for piece in (b"[^b]", b"a", b"?"):
            self.assertTrue(matcher(piece * 250)(b"a" * 250))
            self.assertFalse(matcher(piece * 250)(b"a" * 249))
            self.assertFalse(matcher(piece * 251)(b"a" * 250))
        self.assertTrue(matcher(b"*a" * 250 + b"*")(b"a" * 250))

    def test_what_every_match_begins_with(self) -> None:
        for pattern, prefix in ((b"ab*", b"ab"), (b"a\\*", b"a"), (b"[a]", b""), (b"ab", b"ab")):
            self.assertEqual(literal_prefix(pattern), prefix)


class LoginTests(LoginCase):
    """AUTH, and how far a user may go."""

    def redis(self, login: Optional[bytes] = None) -> Client:
        client = self.connect("resp")
        if login is not None:
            self.assertEqual(self.ask(client, say(b"AUTH " + login)), OK)
        return client

    def each(self, client: Client, rows: "Iterable[tuple[bytes, bytes]]") -> None:
        for request, answer in rows:
            self.assertEqual(self.ask(client, say(request)), answer, request)

    def test_nothing_before(self) -> None:
        self.each(
            self.redis(),
            [
                *((b"GET k", NO_AUTH), (b"PING", NO_AUTH), (b"MULTI", NO_AUTH)),
                (b"FOO", b"-ERR unknown command 'FOO', with args beginning with: \r\n"),
                (b"RESET", b"+RESET\r\n"),
            ],
        )

    def test_who_is_no_user_learns_what_there_is_not(self) -> None:
        self.each(
            self.redis(),
            [
                (b"CLIENT FOO", b"-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n"),
                (b"CLIENT ID x", b"-ERR wrong number of arguments for 'client|id' command\r\n"),
                *((b"CLIENT ID", NO_AUTH), (b"GET", WRONG_NUMBER)),
                (b"EXEC", b"-EXECABORT Transaction discarded because of: " + NO_AUTH[1:]),
            ],
        )

    def test_hello_does_what_it_says_in_order(self) -> None:
        client = self.redis()
        words = (b"HELLO", b"3", b"AUTH", b"ann", b"secret word")
        fault = b"-ERR Syntax error in HELLO option 'foo'\r\n"
        self.assertEqual(self.ask(client, ask(*words, b"foo")), fault)
        self.each(client, [(b"GET k", NULL)])
        wrong = ask(*words, b"SETNAME", b"me", b"AUTH", b"ann", b"wrong")
        # Who he says he is is asked twice, and each of these takes a turn.
        answer = self.ask(client, wrong + say(b"CLIENT GETNAME")) + self.ask(client, b"")
        self.assertEqual(answer, WRONG_PASS + bulk(b"me"))
        twice = self.ask(client, ask(*words, *words[2:]) + say(b"GET k")) + self.ask(client, b"")
        self.assertTrue(twice.startswith(b"%7\r\n"))
        self.assertTrue(twice.endswith(b"_\r\n"))

    def test_by_auth_and_by_hello(self) -> None:
        client = self.redis()
        self.each(client, [(b"AUTH ann wrong", WRONG_PASS), (b"GET k", NO_AUTH)])
        self.assertEqual(self.ask(client, ask(b"AUTH", b"ann", b"secret word")), OK)
        self.each(client, [(b"SET k 1", OK), (b"RESET", b"+RESET\r\n"), (b"GET k", NO_AUTH)])
        hello = self.ask(client, ask(b"HELLO", b"3", b"AUTH", b"ann", b"secret word"))
        self.assertTrue(hello.startswith(b"%7\r\n"))
        self.each(client, [(b"GET x", b"_\r\n")])
        self.assertEqual(self.ask(self.redis(), say(b"HELLO 3"))[:7], b"-NOAUTH")

    def test_what_is_behind_waits(self) -> None:
        client = self.redis()
        answer = self.ask(client, say(b"GET k") + say(b"AUTH reader r") + say(b"GET k") + PING)
        self.assertEqual(answer, NO_AUTH + OK + NULL + PONG)

    def test_nothing_large_before(self) -> None:
        for request, fault in (
            (b"*11\r\n", b"unauthenticated multibulk length"),
            (b"*2\r\n$16385\r\n", b"unauthenticated bulk length"),
        ):
            client = self.redis()
            expected = b"-ERR Protocol error: %b\r\n" % fault
            self.assertEqual(self.ask(client, request), expected)
            self.assertTrue(client.closed)

    def test_who_may_only_read(self) -> None:
        self.each(self.all_rights(), [(b"SET k 1", OK)])
        self.each(
            self.redis(b"reader r"),
            [
                *((b"GET k", bulk(b"1")), (b"MGET k", array(bulk(b"1"))), (b"TTL k", b":-1\r\n")),
                *((b"STRLEN k", ONE), (b"EXISTS k", ONE), (b"TYPE k", b"+string\r\n")),
                *((request, NO_PERMISSION) for request in _WRITES),
                *((b"WATCH k", OK), (b"MULTI", OK), (b"GET k", QUEUED)),
                (b"EXEC", array(bulk(b"1"))),
                *((b"MULTI", OK), (b"SET k 2", NO_PERMISSION), (b"EXEC", ABORTED)),
                (b"GET k", bulk(b"1")),
            ],
        )  # fmt: skip

    def all_rights(self) -> Client:
        client = self.redis()
        self.assertEqual(self.ask(client, ask(b"AUTH", b"ann", b"secret word")), OK)
        return client

    def test_who_may_reach_some_keys(self) -> None:
        self.each(self.all_rights(), [(b"MSET k 1 app:k 2", OK)])
        self.each(
            self.redis(b"app a"),
            [
                *((b"GET app:k", bulk(b"2")), (b"MSET app:k 3 app:l 4", OK)),
                (b"MGET app:k app:l", array(bulk(b"3"), bulk(b"4"))),
                (b"DEL app:l x", NO_PERMISSION),
                *((b"GET k", NO_PERMISSION), (b"MGET app:k k", NO_PERMISSION)),
                *((b"MSET app:k 5 k 5", NO_PERMISSION), (b"RENAME app:k k", NO_PERMISSION)),
                *((b"RENAME k app:k", NO_PERMISSION), (b"EXISTS app:k k", NO_PERMISSION)),
                *((b"TOUCH app:k k", NO_PERMISSION), (b"WATCH app:k k", NO_PERMISSION)),
                *((b"FLUSHALL", NO_PERMISSION), (b"SCAN 0", NO_PERMISSION)),
                (b"KEYS *", NO_PERMISSION),
                *((b"RANDOMKEY", NO_PERMISSION), (b"RENAME app:k app:m", OK)),
                (b"GET app:m", bulk(b"3")),
            ],
        )  # fmt: skip


_WRITES = (
    *(b"SET k 2", b"SET k 2 XX", b"GETSET k 2", b"GETDEL k", b"GETEX k PERSIST", b"MSET k 2"),
    *(b"MSETNX l 2", b"APPEND k 2", b"SETRANGE k 0 2", b"INCR k", b"INCRBYFLOAT k 2", b"DEL k"),
    *(b"DEL k l", b"EXPIRE k 2", b"PERSIST k", b"RENAME k l", b"FLUSHDB", b"SETNX l 2"),
)
