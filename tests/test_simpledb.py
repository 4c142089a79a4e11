"""
simpledb's dialect on the wire: conversations, whole, byte by byte, and with more behind them.

What the original client makes of it is in test_simpledb_clients; what happens to values is in
test_simpledb_values.
"""

import random
from typing import Any, Union

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist.backends.memory import MemoryBackend
from mctwist.item import KEY_LENGTH, TYPED
from mctwist.protocols.pipeline import MOST_WAITING
from mctwist.protocols.services import Settings
from mctwist.protocols.simpledb_grammar import MOST_BULK, MOST_ELEMENTS, MOST_LINE
from mctwist.protocols.simpledb_values import MOST_DEPTH, MOST_DIGITS
from mctwist.testing.doubles import step
from tests import DRAWN_IS_COMPARED
from tests.wire import Client, FaultyBackend, Server

suppress = DRAWN_IS_COMPARED

NULL = b"$-1\r\n"
ONE, NONE = b":1\r\n", b":0\r\n"
#: What is asked behind a conversation, and its answer.
NEXT, NEXT_ANSWER = b"EXISTS nothing\r\n", NONE


def value(thing: Any) -> bytes:
    """The wire form of `thing`, as the original client writes it, but for floats."""
    if thing is None:
        return NULL
    if isinstance(thing, bytes):
        return b"$%d\r\n%b\r\n" % (len(thing), thing)
    if isinstance(thing, str):
        data = thing.encode()
        return b"^%d\r\n%b\r\n" % (len(data), data)
    if isinstance(thing, (int, float)):
        return b":%b\r\n" % repr(thing).encode()
    if isinstance(thing, dict):
        fields = b"".join(value(key) + value(field) for key, field in thing.items())
        return b"%%%d\r\n%b" % (len(thing), fields)
    sort = b"&" if isinstance(thing, frozenset) else b"*"
    return b"%b%d\r\n%b" % (sort, len(thing), b"".join(map(value, thing)))


def ask(*words: Any) -> bytes:
    """A request."""
    return value(list(words))


def error(words: str) -> bytes:
    return b"-%b\r\n" % words.encode()


def malformed(words: str) -> bytes:
    return error(f"Protocol error: {words}.")


#: A request and its answer; a number: so many seconds pass.
Row = Union[tuple[bytes, bytes], int, float]


class SimpleDBTestCase(SynchronousTestCase):
    def server(self, **more: Any) -> Server:
        server = Server(**more)
        self.addCleanup(server.stop)
        return server

    def client(self, **more: Any) -> Client:
        return self.server(**more).connect(dialect="simpledb")

    def check(self, *rows: Row, closes: bool = False, **more: Any) -> None:
        """
        Hold a conversation whole, byte by byte, and in one piece with what is behind it.

        :param closes: the server hangs up at its end, or else it does not.
        """
        for bytewise in (False, True):
            client = self.client(**more)
            for row in rows:
                if isinstance(row, (int, float)):
                    client.server.reactor.advance(row)
                    client.server.settle()
                    continue
                request, answer = row
                for piece in _pieces(request) if bytewise else [request]:
                    client.send(piece)
                client.server.settle()
                self.assertEqual(client.answers(), answer, repr(request))
            self.assertEqual(client.closed, closes)
        exchanges = [row for row in rows if isinstance(row, tuple)]
        if len(exchanges) == len(rows):
            client = self.client(**more)
            answers = client.ask(b"".join(request for request, _ in exchanges) + NEXT)
            expected = b"".join(answer for _, answer in exchanges)
            self.assertEqual(answers, expected + (b"" if closes else NEXT_ANSWER))
        self.assertEqual(self.flushLoggedErrors(), [])


def _pieces(data: bytes) -> "list[bytes]":
    return [data[at : at + 1] for at in range(len(data))]


class ValueTests(SimpleDBTestCase):
    """GET and SET."""

    def test_values_come_back_as_they_were(self) -> None:
        thing: Any
        for thing in (
            *(b"", b"bytes\r\n\0\xff", "", "snow \u2603", 0, -7, 10**30, 1.5, -0.1, 1e300 / 3),
            *(None, [], [b""], {}, frozenset(), [None, [1, ["x", []]], 2.5]),
            {"a": {b"b": [1, None, frozenset([1, 2])]}, 3: {}, 1.5: "x"},
        ):
            self.check((ask(b"SET", "k", thing), ONE), (ask(b"GET", "k"), value(thing)))

    def test_json_and_simple_strings(self) -> None:
        json = b'@23\r\n{"a": [1, true, null]}\n\r\n'
        self.check(
            (b"*3\r\n+set\r\n+k\r\n" + json, ONE),
            (b"GET k\r\n", json),
            (b"*3\r\n+set\r\n+k\r\n+plain\r\n", ONE),
            (b"GET k\r\n", value(b"plain")),
        )

    def test_bytes_are_the_other_dialects_and_else_it_is_the_wire_form(self) -> None:
        server = self.server()
        simple, text = server.connect(dialect="simpledb"), server.connect()
        simple.ask(ask(b"SET", b"plain", b"1") + ask(b"SET", "typed", [1]))
        self.assertEqual(text.ask(b"get plain\r\n"), b"VALUE plain 0 1\r\n1\r\nEND\r\n")
        self.assertEqual(text.ask(b"get typed\r\n"), b"VALUE typed 0 8\r\n*1\r\n:1\r\n\r\nEND\r\n")
        text.ask(b"set other 9 0 5\r\n:1\r\n!\r\n")
        self.assertEqual(simple.ask(ask(b"GET", "other")), value(b":1\r\n!"))

    def test_a_typed_value_stays_one_when_another_dialect_touches_it(self) -> None:
        for command in (b"touch k 100\r\n", b"gat 100 k\r\n", b"mg k T100\r\n", b"md k I T30\r\n"):
            server = self.server()
            simple, text = server.connect(dialect="simpledb"), server.connect()
            simple.ask(ask(b"SET", "k", {"a": 1}))
            text.ask(command)
            self.assertEqual(simple.ask(ask(b"GET", "k")), value({"a": 1}), repr(command))

    def test_what_another_dialect_makes_of_it_is_bytes(self) -> None:
        server = self.server()
        simple, text = server.connect(dialect="simpledb"), server.connect()
        simple.ask(ask(b"SET", "k", 1))
        self.assertEqual(text.ask(b"incr k 1\r\n")[:12], b"CLIENT_ERROR")
        text.ask(b"append k 0 0 1\r\n!\r\n")
        self.assertEqual(simple.ask(ask(b"GET", "k")), value(b":1\r\n!"))

    def test_keys(self) -> None:
        longest = b"k" * KEY_LENGTH
        self.check(
            (ask(b"SET", "k", 1), ONE),
            (ask(b"GET", b"k"), value(1)),
            (ask(b"SET", 7, b"seven"), ONE),
            (ask(b"GET", "7"), value(b"seven")),
            (ask(b"SET", longest, b""), ONE),
            (ask(b"SET", b" \r\n\0", 2), ONE),
            (ask(b"GET", b" \r\n\0"), value(2)),
        )
        length = error(f"A key must have 1 to {KEY_LENGTH} bytes.")
        string = error("A key must be a string.")
        for key, answer in (
            *((b"", length), (longest + b"k", length)),
            *((1.5, string), (-1, string), (None, string), ([], string), ({}, string)),
        ):
            for request in (
                *(ask(b"GET", key), ask(b"SET", key, 1), ask(b"MSET", b"a", 1, key, 1)),
                *(ask(b"MGET", b"a", key), ask(b"MDELETE", key), ask(b"INCR", key)),
            ):
                self.check((request, answer), (ask(b"LEN"), NONE))

    def test_a_value_that_is_too_large_is_let_go(self) -> None:
        limit = Settings(max_item_size=2048)
        answer = error("Value is too large.")
        for thing in (b"v" * 2000, b"v" * 5000, "v" * 5000, [b"v" * 1000] * 3, b"v" * 20000):
            self.check(
                (ask(b"SET", "k", b"before"), ONE),
                (ask(b"SET", "k", thing), answer),
                (ask(b"MSET", {"k": thing}), answer),
                (ask(b"APPEND", "new", thing), answer),
                (ask(b"GET", "k"), value(b"before")),
                (ask(b"GET", "new"), NULL),
                settings=limit,
            )
        self.check(
            (ask(b"SET", "k", b"v" * 1500), ONE),
            (ask(b"APPEND", "k", b"v" * 1500), answer),
            (ask(b"GET", "k"), value(b"v" * 1500)),
            (ask(b"MSET", {"x": 1, "k": b"v" * 2000}), answer),
            (ask(b"EXISTS", "x"), NONE),
            settings=limit,
        )

    def test_a_request_that_is_too_large_is_let_go(self) -> None:
        client = self.client(settings=Settings(max_item_size=2048))
        request = ask(b"MSET", {f"{number}": b"v" * 1000 for number in range(1000)})
        for at in range(0, len(request), 1000):
            client.send(request[at : at + 1000])
            self.assertLess(len(client.protocol._reader._data), 10_000)
        self.assertEqual(client.ask(NEXT), error("Value is too large.") + NEXT_ANSWER)
        self.assertEqual(client.ask(ask(b"MGET", *range(9000))), error("Request is too large."))
        self.assertEqual(client.ask(ask(b"LEN")), NONE)


class CommandTests(SimpleDBTestCase):
    """Each command, its answers, and its errors."""

    def test_delete_exists_pop(self) -> None:
        self.check(
            *((ask(b"SET", "k", [1]), ONE), (ask(b"EXISTS", "k"), ONE)),
            *((ask(b"POP", "k"), value([1])), (ask(b"POP", "k"), NULL)),
            *((ask(b"EXISTS", "k"), NONE), (ask(b"DELETE", "k"), NONE)),
            *((ask(b"SET", "k", None), ONE), (ask(b"EXISTS", "k"), ONE)),
            *((ask(b"GET", "k"), NULL), (ask(b"DELETE", "k"), ONE), (ask(b"EXISTS", "k"), NONE)),
        )

    def test_many(self) -> None:
        self.check(
            (ask(b"MSET", {"a": 1, "b": b"2", "c": [3]}), b":3\r\n"),
            (ask(b"MSET", {"a": 1, 7: 2})[:-8] + b"$1\r\na\r\n:2\r\n", ONE),
            (ask(b"MGET", "a", "x", b"b", "c", "a"), value([2, None, b"2", [3], 2])),
            (b"MSET a 5 d 6\r\n", b":2\r\n"),
            (ask(b"MPOP", "a", "a", "x"), value([b"5", None, None])),
            (ask(b"MDELETE", "a", "b", "c", "c", "x"), b":2\r\n"),
            (ask(b"MGET"), value([])),
            (ask(b"MDELETE"), NONE),
            (ask(b"MSET", {}), NONE),
            (ask(b"LEN"), ONE),
        )

    def test_what_is_wrong_with_pairs(self) -> None:
        dictionary = error("Keys and values must be a dictionary.")
        self.check(
            (ask(b"MSET", "a"), dictionary),
            (ask(b"MSET", ["a", 1]), dictionary),
            (ask(b"MSETEX", ["a", 1], 1), dictionary),
            (ask(b"MSET", "a", 1, "b"), error("A key is without a value.")),
            (ask(b"LEN"), NONE),
        )

    def test_of_many_all_are_stored_or_none(self) -> None:
        client = self.client(backend=MemoryBackend(300, False))
        self.assertEqual(client.ask(ask(b"SET", "a", b"old")), ONE)
        full = error("Out of memory storing the value.")
        self.assertEqual(client.ask(ask(b"MSET", {"a": b"new", "b": b"v" * 500})), full)
        self.assertEqual(client.ask(ask(b"MGET", "a", "b")), value([b"old", None]))

    def test_flush_and_len(self) -> None:
        self.check(
            (ask(b"FLUSH"), NONE),
            (ask(b"MSET", {"a": 1, "b": 2, "c": 3}), b":3\r\n"),
            (ask(b"DELETE", "a"), ONE),
            (ask(b"LEN"), b":2\r\n"),
            (ask(b"FLUSH"), b":2\r\n"),
            (ask(b"LEN"), NONE),
            (ask(b"GET", "b"), NULL),
            (ask(b"FLUSH"), NONE),
        )
        self.check(
            (ask(b"SET", "k", 1), ONE),
            (ask(b"FLUSH"), error("FLUSH is not allowed.")),
            (ask(b"EXISTS", "k"), ONE),
            settings=Settings(flush_enabled=False),
        )

    def test_setnx_and_getset(self) -> None:
        self.check(
            *((ask(b"SETNX", "k", "one"), ONE), (ask(b"SETNX", "k", "two"), NONE)),
            (ask(b"GETSET", "k", 3), value("one")),
            (ask(b"GETSET", "new", 3), NULL),
            (ask(b"MGET", "k", "new"), value([3, 3])),
        )

    def test_counting(self) -> None:
        self.check(
            *(
                (ask(b"INCR", "k"), ONE),
                (ask(b"INCR", "k"), value(2)),
                (ask(b"GET", "k"), value(2)),
            ),
            *((ask(b"INCRBY", "k", 40), value(42)), (ask(b"DECRBY", "k", 50), value(-8))),
            *((ask(b"DECR", "k"), value(-9)), (ask(b"INCRBY", "k", 0.5), value(-8.5))),
            *((ask(b"GET", "k"), value(-8.5)), (ask(b"DECR", "new"), value(-1))),
            *((b"INCRBY inline 1.25\r\n", value(1.25)), (b"DECRBY inline 1\n", value(0.25))),
            *((ask(b"SET", "big", 10**30), ONE), (ask(b"INCR", "big"), value(10**30 + 1))),
            *((ask(b"SET", "large", 1e22), ONE), (ask(b"INCR", "large"), b":1.0e+22\r\n")),
        )

    def test_what_cannot_be_counted(self) -> None:
        key, kind = "Operation against wrong key type.", "Operation against wrong value type."
        for thing, words in (
            *(([], key), ({}, key), (frozenset(), key)),
            *((b"", kind), (b"x", kind), (b"1x", kind), (b" 1", kind), ("1_0", kind), (None, kind)),
            *((b"0x1", kind), (b"nan", kind), (b"1" * (MOST_DIGITS + 1), kind)),
        ):
            self.check(
                (ask(b"SET", "k", thing), ONE),
                (ask(b"INCR", "k"), error(words)),
                (ask(b"GET", "k"), value(thing)),
            )
        for what in (b"x", None, ["1"], b"", b"1" * (MOST_DIGITS + 1)):
            self.check((ask(b"INCRBY", "k", what), error("Value is not a number.")))
        large = error("Number is too large.")
        for start, by in (
            *((10 ** (MOST_DIGITS - 1), 10 ** (MOST_DIGITS - 1) * 9), (1e308, 1e308)),
            *((10**400, 0.5), (0.5, 10**400)),
        ):
            self.check((ask(b"SET", "k", start), ONE), (ask(b"INCRBY", "k", by), large))

    def test_memcacheds_counters_are_counted_and_stay_what_they_are(self) -> None:
        server = self.server()
        simple, text = server.connect(dialect="simpledb"), server.connect()
        text.ask(b"set k 7 100 2\r\n10\r\n")
        text.ask(b"decr k 1\r\n")
        self.assertEqual(simple.ask(ask(b"GET", "k")), value(b"9 "))
        self.assertEqual(simple.ask(ask(b"INCRBY", "k", 2)), value(11))
        self.assertEqual(text.ask(b"incr k 1\r\n"), b"12\r\n")
        self.assertEqual(text.ask(b"mg k v f t\r\n"), b"VA 2 f7 t100\r\n12\r\n")

    def test_append(self) -> None:
        self.check(
            *((ask(b"APPEND", "k", b"a"), value(b"a")), (ask(b"APPEND", "k", b"b"), value(b"ab"))),
            *((ask(b"GET", "k"), value(b"ab")), (ask(b"APPEND", "u", "\u2603"), value("\u2603"))),
            (ask(b"APPEND", "u", "!"), value("\u2603!")),
            (ask(b"APPEND", "l", [1]), value([1])),
            (ask(b"APPEND", "l", [2, [3]]), value([1, 2, [3]])),
            (ask(b"APPEND", "l", {"a": 1}), value([1, 2, [3], {"a": 1}])),
            (ask(b"APPEND", "l", None), value([1, 2, [3], {"a": 1}, None])),
            (ask(b"GET", "l"), value([1, 2, [3], {"a": 1}, None])),
            *((ask(b"APPEND", "n", 1), value(1)), (ask(b"APPEND", "n", 1.5), value(2.5))),
        )

    def test_what_cannot_be_appended(self) -> None:
        things = [b"b", "u", 1, None, {"d": 1}, frozenset([1])]
        for thing in things:
            for other in things:
                if type(thing) is type(other) and isinstance(thing, (bytes, str, int)):
                    continue
                self.check(
                    (ask(b"SET", "k", thing), ONE),
                    (ask(b"APPEND", "k", other), error("Incompatible data-types")),
                    (ask(b"GET", "k"), value(thing)),
                )

    def test_expiry(self) -> None:
        self.check(
            (ask(b"SETEX", "k", [1], 10), ONE),
            *((ask(b"SET", "e", 1), ONE), (ask(b"EXPIRE", "e", 10.5), NULL)),
            (ask(b"MSETEX", {"a": 1, "b": 2}, 10), NULL),
            (ask(b"EXPIRE", "missing", 10), NULL),
            9.9,
            (ask(b"MGET", "k", "e", "a", "b"), value([[1], 1, 1, 2])),
            0.2,
            (ask(b"MGET", "k", "e", "a", "b"), value([None, 1, None, None])),
            (ask(b"EXISTS", "k"), NONE),
            0.5,
            (ask(b"EXISTS", "e"), NONE),
            2,
            (ask(b"LEN"), NONE),
        )
        for seconds in (-1, 0, -0.5, b"-3", -(10**30)):
            self.check(
                (ask(b"SETEX", "k", 1, seconds), ONE),
                (ask(b"EXISTS", "k"), NONE),
                (ask(b"SET", "k", 2), ONE),
                (ask(b"EXPIRE", "k", seconds), NULL),
                (ask(b"EXISTS", "k"), NONE),
            )
        self.check((ask(b"SETEX", "k", 1, 10**30), ONE), 10**9, (ask(b"EXISTS", "k"), ONE))
        for what in (b"x", None, ["1"], b"1.0e999"):
            self.check((ask(b"SETEX", "k", 1, what), error("Value is not a number.")))

    def test_what_becomes_of_an_expiry(self) -> None:
        for request, stays in (
            *((ask(b"SET", "k", 2), False), (ask(b"MSET", {"k": 2}), False)),
            *((ask(b"GETSET", "k", 2), True), (ask(b"INCR", "k"), True)),
            *((ask(b"APPEND", "k", 1), True), (ask(b"SETNX", "k", 2), True)),
        ):
            client = self.client()
            client.ask(ask(b"SETEX", "k", 1, 10) + request)
            client.server.reactor.advance(11)
            self.assertEqual(client.ask(ask(b"EXISTS", "k")), NONE if stays else ONE, repr(request))

    def test_what_is_gone_leaves_no_expiry_behind(self) -> None:
        for gone in (ask(b"DELETE", "k"), ask(b"POP", "k"), ask(b"MDELETE", "k"), ask(b"FLUSH")):
            for again in (ask(b"INCR", "k"), ask(b"APPEND", "k", 1), ask(b"GETSET", "k", 1)):
                client = self.client()
                client.ask(ask(b"SETEX", "k", 1, 10) + gone + again)
                client.server.reactor.advance(11)
                self.assertEqual(client.ask(ask(b"GET", "k")), ONE)

    def test_info(self) -> None:
        client = self.client()
        client.server.stats.curr_connections, client.server.stats.total_connections = 2, 3
        client.ask(
            ask(b"SET", "k", 1) + ask(b"NOPE") + ask(b"INCRBY", "k", [])[:-4] + b"$1\r\nx\r\n"
        )
        client.server.reactor.advance(0.25)
        self.assertEqual(
            client.ask(b"info\r\n"),
            value(
                {
                    "active_connections": 2,
                    "commands_processed": 1,
                    "command_errors": 2,
                    "connections": 3,
                    "keys": 1,
                    "timestamp": client.server.reactor.seconds(),
                }
            ),
        )

    def test_quit(self) -> None:
        for request in (ask(b"QUIT"), b"quit\r\n"):
            self.check((ask(b"SET", "k", 1), ONE), (request, ONE), closes=True)

    def test_commands_in_any_letters_and_spellings(self) -> None:
        self.check(
            *((ask("sEt", "k", b"v"), ONE), (b"get k\r\n", value(b"v"))),
            *((b"  GET \t k \n", value(b"v")), (b"$5\r\nGET k\r\n", value(b"v"))),
            *((b"+GET k\r\n", value(b"v")), (b"^5\r\nGET k\r\n", value(b"v"))),
        )

    def test_what_is_no_command(self) -> None:
        first = error("First parameter must be command name.")
        kind = error("Unrecognized request type.")
        self.check(
            *(
                (ask(b"NOPE"), error("Unrecognized command: NOPE")),
                (b"\r\n", first),
                (b" \n", first),
            ),
            (ask(b"a\r\nb"), error("Unrecognized command: A??B")),
            (ask(b"x" * 999), error("Unrecognized command: " + "X" * 64)),
            (ask("\u2603"), error("Unrecognized command: \\xe2\\x98\\x83")),
            *((ask(), first), (ask(1), first), (ask([b"GET"], "k"), first), (ask(None), first)),
            *((b":5\r\n", kind), (b"%1\r\n:1\r\n:2\r\n", kind), (b"&0\r\n", kind), (NULL, kind)),
            (b'@7\r\n["LEN"]\r\n', kind),
        )

    def test_wrong_numbers_of_arguments(self) -> None:
        for request in (
            *(b"GET", b"GET a b", b"SET a", b"SET a b c", b"FLUSH a", b"LEN a", b"SETEX a b"),
            *(b"INCR a 1", b"INCRBY a", b"MSET", b"MSETEX a", b"APPEND a", b"QUIT a", b"EXPIRE a"),
        ):
            name = request.split()[0].decode()
            self.check((request + b"\r\n", error(f"Wrong number of arguments for {name}.")))

    def test_faults_of_the_store(self) -> None:
        full = error("Out of memory storing the value.")
        unhandled = error("Unhandled server error")
        client = self.client(backend=FaultyBackend())
        self.assertEqual(client.ask(ask(b"SET", "full", 1) + NEXT), full + NEXT_ANSWER)
        self.assertEqual(client.ask(ask(b"SET", "sick", 1) + NEXT), unhandled + NEXT_ANSWER)
        answer = b"*3\r\n" + NULL + unhandled + NULL
        self.assertEqual(client.ask(ask(b"MGET", "a", "strange", "b") + NEXT), answer + NEXT_ANSWER)
        self.assertEqual(client.server.stats.store_no_memory, 1)
        self.assertEqual(client.server.stats.simpledb_errors, 3)
        self.assertEqual(len(self.flushLoggedErrors()), 1)


class BadInputTests(SimpleDBTestCase):
    """What is no request: an error, and behind it the connection is closed."""

    def test_it_is_closed(self) -> None:
        for request, words in (
            (b"*1000000000\r\n", "too many elements"),
            (b"*%d\r\n" % (MOST_ELEMENTS + 1), "too many elements"),
            (b"*3\r\n:1\r\n*%d\r\n" % MOST_ELEMENTS, "too many elements"),
            (b"*2\r\n%%%d\r\n" % MOST_ELEMENTS, "too many elements"),
            (b"*1\r\n" * (MOST_DEPTH + 2), "nested too deep"),
            (b"*2\r\n$3\r\nGET\r\n" + b"%1\r\n:1\r\n" * (MOST_DEPTH + 1), "nested too deep"),
            (b"*2\r\n$%d\r\n" % (MOST_BULK + 1), "too long a bulk"),
            (b"$99999999999\r\n", "not a length"),
            *(
                (b"*%b\r\n" % length, "not a length")
                for length in (b"", b"-1", b"+1", b" 1", b"1e1")
            ),
            *(
                (b"*1\r\n$%b\r\n" % length, "not a length")
                for length in (b"", b"-2", b"0x1", b"1_0")
            ),
            *((b"%b-1\r\n" % sort, "not a length") for sort in (b"^", b"@", b"%", b"&")),
            (b"*2\r\n$3\r\nGETT\r\n", "a bulk without its end"),
            (b"*1\r\n$3\r\nGET\n\n", "a bulk without its end"),
            (b"*1\n", "a line without its end"),
            (b"*1\r\nGET k\r\n", "unknown type"),
            (b"*1\r\n-ERR\r\n", "an error is no value"),
            (b"*1\r\n_\r\n", "unknown type"),
            *(
                (b"*2\r\n:%b\r\n" % word, "not a number")
                for word in (b"", b"x", b"1 ", b"--1", b".")
            ),
            *(
                (b":%b\r\n" % word, "not a number")
                for word in (b"inf", b"nan", b"1e", b"0x1", b"1_0")
            ),
            (b":" + b"1" * (MOST_DIGITS + 1) + b"\r\n", "not a number"),
        ):
            self.check((request, malformed(words)), closes=True)

    def test_lines_without_end(self) -> None:
        for begin in (b"GET ", b"*1\r\n+", b":", b"*"):
            client = self.client()
            client.send(begin)
            for _ in range(MOST_LINE // 1024):
                self.assertEqual(client.ask(b"1" * 1023), b"")
                self.assertFalse(client.closed)
            self.assertEqual(client.ask(b"1" * 1024), malformed("too long a line"))
            self.assertTrue(client.closed)

    def test_what_is_deep_or_has_many_elements_but_not_too_much(self) -> None:
        deep: Any = []
        for _ in range(MOST_DEPTH - 1):
            deep = [deep]
        self.check((ask(b"SET", "k", deep), ONE), (ask(b"GET", "k"), value(deep)))
        too_deep = malformed("nested too deep")
        fits = {1: deep[0][0]}
        for thing, answer in (({1: deep[0]}, too_deep), (fits, value([fits]))):
            append = ask(b"APPEND", "k", thing)
            self.check((ask(b"SET", "k", []), ONE), (append, answer))
        client = self.client()
        many = [1] * (MOST_ELEMENTS - 3)
        self.assertEqual(client.ask(ask(b"SET", "k", many) + NEXT), ONE + NEXT_ANSWER)
        self.assertEqual(client.ask(ask(b"GET", "k")), value(many))
        self.assertEqual(client.ask(ask(b"SET", "k", [*many, 1])), malformed("too many elements"))

    def test_texts_that_are_none(self) -> None:
        answer = error("Value is not what it is said to be.")
        for what in (
            *(
                b"^1\r\n\xff\r\n",
                b"@0\r\n\r\n",
                b"@1\r\n{\r\n",
                b"@1\r\n\xff\r\n",
                b"@3\r\n1 2\r\n",
            ),
            *(b"@66\r\n" + b"[" * 33 + b"]" * 33 + b"\r\n", b"@50000\r\n" + b"[" * 50000 + b"\r\n"),
            b'@99999\r\n"' + b'\\"' * 49999 + b"\r\n",
        ):
            self.check((b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + what, answer), (ask(b"LEN"), NONE))

    def test_what_comes_from_a_browser(self) -> None:
        evil = b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k evil\r\n"
        self.check((evil, b""), closes=True)
        answer = error("Wrong number of arguments for GET.")
        self.check((b"GET / HTTP/1.1\r\nhost: x\r\n\r\nSET k evil\r\n", answer), closes=True)

    def test_memory_stays_bounded_whatever_is_announced(self) -> None:
        client = self.client(settings=Settings(max_item_size=10_000))
        for request in (
            b"*2\r\n$3\r\nGET\r\n$%d\r\n" % MOST_BULK,
            b"*%d\r\n" % MOST_ELEMENTS,
        ):
            client = self.client(settings=Settings(max_item_size=10_000))
            client.send(request)
            for _ in range(50):
                client.send(b"$1\r\nx\r\n" * 1000)
                self.assertLess(len(client.protocol._reader._data), 60_000)
            self.assertFalse(client.closed)


class Mutations:
    """Requests, right and wrong."""

    WORDS = (
        *(b"*1\r\n", b"*2\r\n", b"*3\r\n", b"%1\r\n", b"&2\r\n", b"$-1\r\n", b"^1\r\nx\r\n"),
        *(
            b"$3\r\nGET\r\n",
            b"$3\r\nSET\r\n",
            b"$4\r\nMSET\r\n",
            b"$4\r\nMGET\r\n",
            b"$4\r\nINCR\r\n",
        ),
        *(b"$6\r\nAPPEND\r\n", b"$1\r\nk\r\n", b":1\r\n", b":1.5\r\n", b"@2\r\n[]\r\n", b"+x\r\n"),
        *(b"*0\r\n", b"GET k\r\n", b"$5\r\nab", b"*1000000000\r\n", b"$1000000000\r\n", b"\r\n"),
        *(b"\n", b"\0", b"-E\r\n", b"*-1\r\n", b"$99999999999999\r\n", b":\r\n", b"&1\r\n" * 40),
    )


class FuzzTests(SimpleDBTestCase):
    """Anything at all: answered, bounded, and nothing in the log."""

    def hold(self, pieces: "list[bytes]") -> None:
        whole, bytewise = self.client(), self.client()
        answers = whole.ask(b"".join(pieces))
        for piece in pieces:
            for byte in _pieces(piece):
                bytewise.send(byte)
        bytewise.server.settle()
        self.assertEqual(bytewise.answers(), answers)
        self.assertEqual(bytewise.closed, whole.closed)
        for line in answers.split(b"\r\n")[:-1]:
            self.assertNotIn(b"server error", line)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertFalse(whole.protocol._reader._elements > MOST_ELEMENTS and not whole.closed)

    def test_requests_put_together_wrongly(self) -> None:
        chance = random.Random(6)
        for _ in range(400):
            self.hold(chance.choices(Mutations.WORDS, k=chance.randrange(1, 12)))

    def test_requests_with_bytes_changed(self) -> None:
        chance = random.Random(7)
        for _ in range(300):
            request = bytearray(ask(b"SET", "k", {"a": [1, 2.5, None]}) + ask(b"APPEND", "l", [1]))
            for _ in range(chance.randrange(1, 4)):
                request[chance.randrange(len(request))] = chance.choice(b"*$%&^@:+-\r\n0129x\xff")
            self.hold([bytes(request), NEXT])

    def test_what_is_right_comes_back(self) -> None:
        scalars = st.one_of(
            *(st.none(), st.integers(), st.binary(), st.text(st.characters(codec="utf-8"))),
            st.floats(allow_nan=False, allow_infinity=False),
        )
        things = st.recursive(
            scalars, lambda inner: st.lists(inner) | st.dictionaries(scalars, inner), max_leaves=20
        )

        @settings(max_examples=150, deadline=None)
        @given(things)
        def hold(thing: Any) -> None:
            client = self.client()
            self.assertEqual(client.ask(ask(b"SET", "k", thing)), ONE)
            self.assertEqual(client.ask(ask(b"GET", "k")), value(thing))

        hold()


class ServerTests(SimpleDBTestCase):
    """What the listening side and the others see."""

    def test_its_state(self) -> None:
        client = self.client(settings=Settings(max_item_size=1000))
        self.assertEqual(client.protocol.state, "conn_read")
        client.send(b"*2\r\n$3\r\nGET\r\n$10\r\n")
        self.assertEqual(client.protocol.state, "conn_nread")
        client.send(b"0123456789\r\n*1\r\n$1001\r\n")
        self.assertEqual(client.protocol.state, "conn_swallow")
        client.protocol.finish()
        client.server.settle()
        self.assertEqual(client.protocol.state, "conn_closing")

    def test_what_it_counts(self) -> None:
        client = self.client()
        client.ask(
            ask(b"SET", "k", 1) + ask(b"MGET", "k", "x") + ask(b"MSET", {"a": 1, "b": 2})
            + ask(b"DELETE", "k") + ask(b"MDELETE", "a", "x")
            + ask(b"FLUSH") + ask(b"EXPIRE", "x", 1)
        )  # fmt: skip
        stats = client.server.stats
        self.assertEqual((stats.get_hits, stats.get_misses), (1, 1))
        self.assertEqual((stats.set_commands, stats.total_items), (3, 3))
        self.assertEqual((stats.delete_hits, stats.flush_commands, stats.touch_misses), (2, 1, 1))
        self.assertGreater(stats.bytes_read, 100)

    def test_stats_detail(self) -> None:
        server = self.server()
        simple, text = server.connect(dialect="simpledb"), server.connect()
        text.ask(b"stats detail on\r\n")
        simple.ask(ask(b"SET", "a:1", 1) + ask(b"MGET", "a:1", "a:2") + ask(b"DELETE", "a:1"))
        report = text.ask(b"stats detail dump\r\n")
        self.assertEqual(report, b"PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n")

    def test_who_watches_sees_it(self) -> None:
        server = self.server()
        simple, text = server.connect(dialect="simpledb"), server.connect()
        text.ask(b"watch fetchers mutations deletions\r\n")
        for request, told in (
            (ask(b"SET", "k", 1), ["item_store key=k status=stored cmd=set ttl=0 clsid=1"]),
            (ask(b"SETNX", "k", 1), ["item_store key=k status=not_stored cmd=add ttl=0 clsid=1"]),
            (ask(b"GET", "k"), ["item_get key=k status=found"]),
            (ask(b"INCR", "k"), ["item_store key=k status=stored cmd=append"]),
            (ask(b"APPEND", "k", "no number"), []),
            (ask(b"MSET", {"a": 1, "b": 2}), ["item_store key=a", "item_store key=b"]),
            (ask(b"GETSET", "k", b"x"), ["item_get key=k", "item_store key=k status=stored"]),
            (ask(b"POP", "k"), ["item_get key=k status=found", "deleted key=k cmd=delete"]),
            (ask(b"POP", "k"), ["item_get key=k status=not_found"]),
        ):
            simple.ask(request)
            lines = text.answers().decode().splitlines()
            self.assertEqual(len(lines), len(told), lines)
            for line, words in zip(lines, told):
                self.assertIn(f"type={words}", line)

    def test_what_is_pipelined_is_answered_in_order_and_reading_waits(self) -> None:
        client = self.client()
        requests = [ask(b"INCR", "k") for _ in range(5000)]
        answers = client.ask(b"".join(requests))
        self.assertEqual(answers, b"".join(b":%d\r\n" % (each + 1) for each in range(5000)))

    def test_no_more_is_read_while_much_that_came_in_pieces_waits(self) -> None:
        client = self.client(inline_reads="never")
        request = ask(b"MGET", *["k"] * 8000)
        self.assertGreater(len(request), MOST_WAITING)
        for at in range(0, 2 * len(request), 1000):
            self.assertEqual(client.transport.producerState, "producing")
            client.send((2 * request)[at : at + 1000])
        self.assertEqual(client.transport.producerState, "paused")
        client.server.settle()
        self.assertEqual(client.transport.producerState, "producing")
        self.assertEqual(client.answers(), 2 * value([None] * 8000))

    def test_one_that_does_not_read_is_not_answered_on_and_on(self) -> None:
        client = self.client()
        client.ask(ask(b"SET", "k", b"v" * 100_000))
        transport = client.transport
        assert isinstance(transport, StringTransport)
        client.protocol._pipeline.pauseProducing()
        client.ask(ask(b"MGET", *["k"] * 1000))
        self.assertEqual(client.answers(), b"")
        client.protocol._pipeline.resumeProducing()
        self.assertLess(len(client.answers()), 3_000_000)
        client.server.settle()
        self.assertEqual(len(transport.value()) // 100_000, 1000 - 11)

    def test_a_value_of_the_store_is_typed(self) -> None:
        client = self.client()
        client.ask(ask(b"SET", "k", "text"))
        results = client.server.storage.read([step(operations.fetch, b"k")])
        assert results is not None
        self.assertEqual((results[0].kind, results[0].value), (TYPED, b"^4\r\ntext\r\n"))
