"""
Whole records: what is told of an item, what is taken, and that the one is the other.

Most is on the wire: a server is dumped, and what it has told is sent to another, which must then
tell the same.
"""

import os
import shutil
import tempfile
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import CHECKPOINT, LMDBBackend
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import MOST_BYTES, IBackend
from mctwist.item import BINARY_KEY, BYTES, KEPT, KEY_LENGTH, STALE, TYPED, WON, Entry, Item
from mctwist.protocols.records import record
from mctwist.protocols.simpledb_grammar import is_wire
from mctwist.testing import NOW, START, put
from tests import DRAWN_IS_COMPARED
from tests.test_listing import BUSY, ListingCase, Reader
from tests.test_login import DENIED, LoginCase
from tests.test_meta import BAD_LINE, HD, NS, TOO_LARGE, va, wrong
from tests.test_pipeline import BUFFER
from tests.test_statistics import ReportCase
from tests.test_text import BAD_CHUNK, END, ERROR, OK, TextCase, hit, stored
from tests.test_watch import WatchCase
from tests.wire import Client, Server

suppress = DRAWN_IS_COMPARED

Exchange = tuple[bytes, bytes]

ITEMDUMP = b"lru_crawler itemdump all\r\n"
EN = b"EN\r\n"
#: Every key that is a mistake for who takes bytes for text.
BINARY_KEYS = [
    *(bytes([byte]) for byte in range(256)),
    *(bytes([byte]) * KEY_LENGTH for byte in (0, 10, 13, 32, 127, 255)),
    bytes(range(250)),
    bytes(range(6, 256)),
]
TYPED_VALUES = [
    b":1\r\n",
    b":-2.50e3\r\n",
    b"$-1\r\n",
    b"^4\r\nm\xc3\xa4h\r\n",
    b'@8\r\n{"a":[]}\r\n',
    b"*0\r\n",
    b"*3\r\n$3\r\na\r\n\r\n%1\r\n+k\r\n:2\r\n&2\r\n:1\r\n$-1\r\n",
    b"*1\r\n" * 50 + b":1\r\n",
]


def mi(key: bytes, value: bytes, flags: bytes = b"", answer: bytes = HD) -> Exchange:
    return b"mi %b %d %b\r\n%b\r\n" % (key, len(value), flags, value), answer


def dump_of(client: Client, words: bytes = b"all") -> bytes:
    """The lines of a dump, without what is before and behind them."""
    answer = client.ask(b"lru_crawler itemdump %b\r\n" % words)
    assert answer.startswith(OK), answer[:80]
    assert answer.endswith(EN), answer[-80:]
    return answer[len(OK) : -len(EN)]


class RecordTests(SynchronousTestCase):
    """What is told of an item."""

    def told(self, key: bytes = b"k", fetched: bool = False, **fields: Any) -> bytes:
        item = Item(BYTES, 0, 0, 0, 9, 7, 3, 0, b"value")._replace(**fields)
        return record(Entry(key, item, len(item.value), START, fetched))

    def test_what_an_item_has_in_any_case(self) -> None:
        self.assertEqual(self.told(), b"mi k 5 E9 a%d\r\nvalue\r\n" % START)
        self.assertEqual(self.told(value=b"", cas=0), b"mi k 0 E0 a%d\r\n\r\n" % START)

    def test_all_that_it_may_have(self) -> None:
        self.assertEqual(
            self.told(
                b"a b", True, kind=TYPED, marks=STALE | WON | KEPT | BINARY_KEY,
                flags=(1 << 32) - 1, expiry=NOW + 1, cas=(1 << 64) - 1, value=b":1\r\n",
            ),
            b"mi YSBi 4 b F4294967295 e%d E18446744073709551615 a%d Y1 X W H K\r\n:1\r\n\r\n"
            % (NOW + 1, START),
        )  # fmt: skip

    def test_a_key_goes_in_base64_if_it_came_so_or_must(self) -> None:
        for key, marks, told in (
            (b"k", BINARY_KEY, b"aw== 5 b"),
            (b"a b", 0, b"YSBi 5 b"),
            (b"a\nb", 0, b"YQpi 5 b"),
            (b"a\rb\x01\0\xff", 0, b"a\rb\x01\0\xff 5"),
        ):
            self.assertEqual(
                self.told(key, marks=marks), b"mi %b E9 a%d\r\nvalue\r\n" % (told, START)
            )


class TakingTests(TextCase):
    """mi, on the wire."""

    def test_an_item_as_it_was(self) -> None:
        self.check(
            mi(b"k", b"value", b"F7 e%d E99 a%d" % (NOW + 1500, START - 50)),
            (b"mg k v f t c h l\r\n", va(b"value", b"f7 t2 c99 h0 l50")),
            hit(b"k", b"value", 7),
            mi(b"n", b""),
            (b"mg n v f t h l\r\n", va(b"", b"f0 t-1 h0 l0")),
            mi(b"n", b"1", b"H a%d" % (START - 5)),
            (b"mg n h l v\r\n", va(b"1", b"h1 l5")),
        )

    def test_what_it_gets_when_nothing_is_said_is_new(self) -> None:
        self.check(
            stored(b"a", b"1"),
            mi(b"k", b"1"),
            (b"mg k c\r\n", b"HD c2\r\n"),
            mi(b"k", b"1", b"E0"),
            (b"mg k c\r\n", b"HD c0\r\n"),
        )

    def test_nothing_has_been_fetched_later_than_now(self) -> None:
        client = self.server().connect()
        client.ask(mi(b"k", b"1", b"a%d H" % (START + 100))[0])
        self.assertEqual(dump_of(client), b"mi k 1 E1 a%d H\r\n1\r\n" % START)

    def test_it_expires_to_the_millisecond(self) -> None:
        self.check(
            mi(b"a", b"1", b"e%d" % (NOW + 1)),
            mi(b"b", b"1", b"e%d" % (NOW + 999)),
            mi(b"c", b"1", b"e%d" % (NOW + 1001)),
            mi(b"never", b"1", b"e0"),
            mi(b"late", b"1", b"e%d" % ((1 << 63) - 1)),
            *(hit(key, b"1") for key in (b"a", b"b", b"c")),
            1,
            (b"get a b c\r\n", b"VALUE c 0 1\r\n1\r\nEND\r\n"),
            1,
            (b"get c late never\r\n", b"VALUE late 0 1\r\n1\r\nVALUE never 0 1\r\n1\r\nEND\r\n"),
        )  # fmt: skip

    def test_what_has_expired_is_not_stored_and_takes_nothing_away(self) -> None:
        self.check(
            stored(b"k", b"old"),
            mi(b"k", b"new", b"e%d" % NOW, NS),
            mi(b"k", b"new", b"e1 q", NS),
            mi(b"x", b"new", b"e%d ME k Oab" % NOW, b"NS kx Oab\r\n"),
            hit(b"k", b"old"),
            (b"get x\r\n", END),
            mi(b"k", b"new", b"e%d" % (NOW + 1)),
            hit(b"k", b"new"),
        )

    def test_marks(self) -> None:
        self.check(
            mi(b"x", b"1", b"X E5"),
            (b"mg x v c\r\n", va(b"1", b"c5 X W")),
            mi(b"xw", b"1", b"X W"),
            (b"mg xw v\r\n", va(b"1", b"Z X")),
            mi(b"w", b"1", b"W"),
            (b"mg w v\r\n", va(b"1", b"Z")),
            mi(b"w", b"2"),
            (b"mg w v h\r\n", va(b"2", b"h0")),
            mi(b"h", b"1", b"H"),
            (b"mg h u h\r\n", b"HD h1\r\n"),
            # It is of this state.
            (b"ms h 1\r\n2\r\nmg h u h\r\n", HD + b"HD h0\r\n"),
            mi(b"h", b"1"),
            (b"mg h u h\r\n", b"HD h0\r\n"),
        )

    def test_modes(self) -> None:
        self.check(
            mi(b"k", b"1", b"ME"),
            mi(b"k", b"2", b"ME", NS),
            hit(b"k", b"1"),
            mi(b"k", b"2", b"MS"),
            hit(b"k", b"2"),
            *(
                mi(b"k", b"3", mode, wrong(b"invalid mode for mi M token"))
                for mode in (b"M", b"MA", b"MR", b"MU", b"Me", b"M0")
            ),
            hit(b"k", b"2"),
        )

    def test_answers_are_those_of_ms(self) -> None:
        self.check(
            mi(b"k", b"1", b"k Oab E7", b"HD kk Oab\r\n"),
            mi(b"k", b"1", b"Oab k", b"HD Oab kk\r\n"),
            mi(b"YSBi", b"1", b"k b", b"HD kYSBi b\r\n"),
            (b"mg YSBi b k v\r\n", va(b"1", b"kYSBi b")),
            mi(b"k", b"2", b"q k Oab", b""),
            mi(b"k", b"3", b"q ME k", b"NS kk\r\n"),
            hit(b"k", b"2"),
        )

    def test_what_is_wrong_with_a_line_is_told_as_of_ms_and_the_value_let_go(self) -> None:
        bad_token = wrong(b"bad token in command line format")
        for flags, answer in (
            *((letter, wrong(b"invalid flag")) for letter in b"c s t T C N I x v P L z 0".split()),
            (b"E1 E2", wrong(b"duplicate flag")),
            (b"X X", wrong(b"duplicate flag")),
            (b"z E1 E2", wrong(b"invalid flag")),
            (b"F4294967296", BAD_LINE),
            (b"F", BAD_LINE),
            *((word, bad_token) for word in b"e e-1 ex E E-1 a a-1 Y Y2 Y-1 Yx".split()),
            (b"e%d" % (1 << 63), bad_token),
            (b"E%d" % (1 << 64), bad_token),
            (b"a%d" % (1 << 32), bad_token),
            (b"O" + b"o" * 32, wrong(b"opaque token too long")),
            (b"q z", wrong(b"invalid flag")),
            (b" ".join(b"%c" % letter for letter in b"bFeEaYXWHKMqkOABCD"),
             wrong(b"options flags are too long")),
        ):  # fmt: skip
            sent = b"mi k 7 %b\r\nget k\r\n\r\nmi k 1 %b\r\n1\r\n" % (flags, flags)
            self.check((sent, 2 * answer), (b"get k\r\n", END), bytewise=False)

    def test_what_is_wrong_with_the_key_or_the_value(self) -> None:
        bad_key = wrong(b"error decoding key")
        self.check(
            (b"mi\r\n", BAD_LINE),
            (b"mi k\r\n", BAD_LINE),
            (b"mi k x\r\n", BAD_LINE),
            (b"mi k -1\r\n", BAD_LINE),
            (b"mi k 1 -\r\n", BAD_LINE),
            mi(b"k" * 251, b"get k", b"", BAD_LINE),
            mi(b64encode(b"k" * 251), b"get k", b"b", BAD_LINE),
            mi(b"!", b"get k", b"b", bad_key),
            mi(b"k" * 250, b"1"),
            mi(b64encode(b"k" * 250), b"2", b"b"),
            hit(b"k" * 250, b"2"),
        )
        self.check((b"mi k 3\r\nlongest\r\n", BAD_CHUNK + ERROR), bytewise=False)

    def test_what_is_too_large_takes_the_old_value_with_it(self) -> None:
        large = b"v" * (1 << 20)
        self.check(
            stored(b"k", b"old"),
            mi(b"k", large, b"ME", TOO_LARGE),
            (b"get k\r\n", END),
            mi(b"k", large, b"q", TOO_LARGE),
            mi(b"k", large, b"z", wrong(b"invalid flag")),
            bytewise=False,
        )

    def test_typed_values(self) -> None:
        for value in TYPED_VALUES:
            server = self.server()
            text, typed = server.connect(), server.connect(dialect="simpledb")
            sent, answer = mi(b"k", value, b"Y1")
            self.assertEqual(text.ask(sent), answer)
            self.assertEqual(typed.ask(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), value)
            self.assertEqual(text.ask(b"get k\r\n"), hit(b"k", value)[1])
            text.ask(mi(b"k", value, b"Y0")[0])
            bulk = b"$%d\r\n%b\r\n" % (len(value), value)
            self.assertEqual(typed.ask(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), bulk)

    def test_what_is_said_to_be_typed_and_is_not(self) -> None:
        for value in (
            *(whole[:end] for whole in TYPED_VALUES for end in range(len(whole))),
            *(whole + b"\r\n" for whole in TYPED_VALUES),
            *(b"$1\r\na\r\n", b"+a\r\n", b"-ERR\r\n", b":x\r\n", b"^1\r\n\xff\r\n", b"@1\r\n{\r\n"),
            *(b"^2\r\na\r\n", b"*9999999999\r\n", b"*-1\r\n", b"%1\r\n:1\r\n", b"^1\r\na\r\r"),
            *(b":1\n", b"*1\r\n-a\r\n", b"*1\r\n+a\nb\r\n", b"_\r\n", b"$-1\r\n$-1\r\n"),
        ):  # fmt: skip
            self.assertFalse(is_wire(value), value)
        self.check(
            stored(b"k", b"old"),
            mi(b"k", b":x\r\n", b"Y1", BAD_CHUNK),
            mi(b"k", b":1\r\n", b"Y1 q", b""),
            mi(b"k", b"", b"Y1 q", BAD_CHUNK),
            hit(b"k", b":1\r\n"),
        )

    @given(st.binary(max_size=200), st.integers(0, 200))
    @settings(max_examples=200, deadline=None)
    def test_any_bytes_may_be_said_to_be_typed(self, noise: bytes, at: int) -> None:
        value = b"".join(TYPED_VALUES)
        is_wire(value[:at] + noise + value[at:])

    def test_numbers_go_on_behind_those_of_what_was_taken(self) -> None:
        # A queue that has come from elsewhere is gone on with at its end.
        self.check(
            mi(b"q.%020d" % 1000, b"old", b"E1000 K"),
            (b"ms q. 3 MU k\r\nnew\r\n", b"HD kq.%020d\r\n" % 1001),
            (b"mp q. q/ 5 v\r\n", va(b"old") + va(b"new") + EN),
        )

    def test_what_is_kept_has_only_so_much_room(self) -> None:
        server = Server(backend=MemoryBackend(limit=10_000))
        self.addCleanup(server.stop)
        client = server.connect()
        value = b"v" * 1000
        answers = [client.ask(mi(b"kept%d" % number, value, b"K")[0]) for number in range(20)]
        self.assertEqual(answers.count(HD), 9)
        self.assertEqual(set(answers[9:]), {b"SERVER_ERROR out of memory storing object\r\n"})
        client.ask(b"".join(mi(b"other%d" % number, b"v" * 200)[0] for number in range(20)))
        kept = [line for line in dump_of(client).split(b"\r\n") if line[-2:] == b" K"]
        self.assertEqual(len(kept), 9)


class CopyTests(SynchronousTestCase):
    """From one server to another, and what is told there."""

    def backend(self, kind: str) -> IBackend:
        if kind == "memory":
            return MemoryBackend()
        path = os.path.join(tempfile.mkdtemp(prefix="mctwist-"), "store")
        self.addCleanup(shutil.rmtree, os.path.dirname(path))
        if kind == "directory":
            return DirectoryBackend(path, "never")
        return LMDBBackend(path, "never", checkpoint=0 if kind == "checkpointed" else CHECKPOINT)

    def server(self, kind: str = "memory") -> Server:
        server = Server(backend=self.backend(kind))
        self.addCleanup(server.stop)
        return server

    def fill(self, server: Server) -> None:
        """All that an item can be."""
        client = server.connect()
        for number, key in enumerate(BINARY_KEYS):
            client.ask(b"ms %b 1 b T%d\r\nv\r\n" % (b64encode(key), number))
        for commands in (
            b"ms fetched 1 F4294967295\r\n1\r\nget fetched\r\n",
            b"ms cas 1 E18446744073709551615\r\n1\r\n",
            b"ms kept 0 K\r\n\r\nms kept.2 1 K E0\r\n2\r\nget kept.2\r\n",
            b"ms stale 5 T100\r\nvalue\r\nmd stale I\r\n",
            b"ms won 5\r\nv\r\nwo\r\nmd won I T30\r\nmg won v\r\n",
            b"mg vivified N30\r\n",
            b"set m\xc3\xa4h\0\x01\x7f 1 0 2\r\n\r\n\r\n",
            b"set gone 0 -1 1\r\nx\r\n",
        ):
            server.reactor.advance(1.001)
            client.ask(commands)
        typed = server.connect(dialect="simpledb")
        for value in TYPED_VALUES:
            typed.ask(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n%b" % (len(value), value, value))
        redis = server.connect(dialect="resp")
        redis.ask(b"*5\r\n$3\r\nSET\r\n$1\r\nr\r\n$1\r\nv\r\n$2\r\nPX\r\n$4\r\n2345\r\n")

    def set_clock(self, server: Server, by: Server) -> None:
        server.reactor.advance(by.reactor.seconds() - server.reactor.seconds())

    def records(self, dump: bytes) -> "list[bytes]":
        """The records of a dump, in an order that is the same for two of the same items."""
        found = []
        while dump:
            line = dump[: dump.index(b"\r\n")]
            end = len(line) + 2 + int(line.split(b" ")[2]) + 2
            found.append(dump[:end])
            dump = dump[end:]
        return sorted(found)

    def test_the_copy_tells_the_same(self) -> None:
        for kinds in (
            ("memory", "lmdb"), ("lmdb", "directory"), ("checkpointed", "memory"),
            ("directory", "checkpointed"),
        ):  # fmt: skip
            source, copy = (self.server(kind) for kind in kinds)
            self.fill(source)
            dump = dump_of(source.connect())
            self.set_clock(copy, source)
            client = copy.connect()
            # What was there before is of no account.
            client.ask(b"set stale 1 0 1\r\nx\r\nget stale\r\nset x 0 0 1\r\nx\r\ndelete x\r\n")
            told = self.records(dump)
            for mark in (b" X", b" X W", b" W", b" H", b" K", b" H K", b" Y1", b" b ", b" e"):
                self.assertIn(mark, dump, kinds)
            self.assertNotIn(b"mi gone", dump)
            self.assertEqual(client.ask(dump), HD * len(told), kinds)
            self.assertEqual(self.records(dump_of(client)), told, kinds)
            # And so it stays.
            copy.reactor.advance(0.5)
            copy.settle()
            copy.reactor.advance(60)
            copy.settle()
            later = self.records(dump_of(client))
            self.assertTrue(200 < len(later) < len(told))
            self.assertTrue(set(later) < set(told), kinds)

    def test_a_dump_that_is_sent_in_any_pieces(self) -> None:
        source, copy = self.server(), self.server()
        self.fill(source)
        self.set_clock(copy, source)
        dump = dump_of(source.connect())
        client = copy.connect()
        for at in range(0, len(dump), 7):
            client.send(dump[at : at + 7])
        self.assertEqual(set(client.ask(b"").splitlines()), {b"HD"})
        self.assertEqual(self.records(dump_of(client)), self.records(dump))


class DumpTests(ListingCase):
    """lru_crawler itemdump, as a dump like the others."""

    def test_everything_once(self) -> None:
        self.fill(1700, key=b"k%d")
        lines = dump_of(self.client).splitlines(keepends=True)
        told = sorted(b"".join(pair) for pair in zip(lines[::2], lines[1::2]))
        expected = [b"mi k%d 1 E%d a%d\r\nv\r\n" % (n, n + 1, START) for n in range(1700)]
        self.assertEqual(told, sorted(expected))

    def test_where_there_is_nothing(self) -> None:
        self.assertEqual(self.ask(b"lru_crawler itemdump all"), OK + EN)

    def test_words(self) -> None:
        for key in (b"a", b"a:", b"a:b", b"b"):
            self.ask(b"mi %b 1 E1 a1\r\nv" % key)
        told = {key: b"mi %b 1 E1 a1\r\nv\r\n" % key for key in (b"a:", b"a:b")}
        for words in (b"itemdump all a:", b"itemdump hash a:b", b"itemd all a:b", b"itemdump 2"):
            answer = self.ask(b"lru_crawler " + words)
            keys = [] if words[-1:] == b"2" else [b"a:b"] if words[-1:] == b"b" else [b"a:", b"a:b"]
            self.assertEqual(answer, OK + b"".join(told[key] for key in keys) + EN, words)
        self.assertEqual(self.ask(b"lru_crawler itemdump 64"), b"BADCLASS invalid class id\r\n")
        for words in (b"itemdump", b"itemdumps all", b"itemdump 1 a"):
            self.assertEqual(self.ask(b"lru_crawler " + words), ERROR, words)
        # What begins with an m is memcached's.
        self.assertIn(b"key=a ", self.ask(b"lru_crawler m all"))
        self.assertIn(b"mg a\r\n", self.ask(b"lru_crawler mg all"))
        self.ask(b"lru_crawler disable")
        disabled = b"CLIENT_ERROR lru crawler disabled\r\n"
        self.assertEqual(self.ask(b"lru_crawler itemdump all"), disabled)

    def test_what_stands_behind_it_waits_and_nothing_stands_before(self) -> None:
        self.fill(1000, key=b"k%d")
        answer = self.ask(ITEMDUMP + b"get x\r\nset x 0 0 1\r\nv\r\nget x")
        self.assertEqual(answer.count(b"mi k"), 1000)
        self.assertTrue(answer.endswith(b"\r\nEN\r\nEND\r\nSTORED\r\nVALUE x 0 1\r\nv\r\nEND\r\n"))
        self.assertEqual(
            self.ask(b"get y\r\nlru_crawler itemdump all"),
            END + b"ERROR cannot pipeline other commands before itemdump\r\n",
        )

    def test_it_may_be_refused(self) -> None:
        self.start(dump_enabled=False)
        refused = b"ERROR itemdump not allowed\r\n"
        self.assertEqual(self.ask(b"lru_crawler itemdump all"), refused)
        self.assertEqual(self.ask(b"mi k 1\r\nv"), HD)

    def test_what_expires_while_it_is_read_is_not_told(self) -> None:
        steps = [put(b"k%d" % number, b"v" * 100_000, expiry=NOW + 1000) for number in range(100)]
        self.server.backend.perform([steps], NOW)
        transport = Reader()
        slow = self.server.connect(transport)
        slow.send(ITEMDUMP)
        self.server.settle()
        self.server.reactor.advance(1)
        while not transport.value().endswith(EN):
            transport.drain()
            self.server.settle()
        self.assertTrue(0 < slow.answers().count(b"mi k") < 50)

    def test_others_write_meanwhile(self) -> None:
        self.fill(5000)
        transport = Reader()
        reader = self.server.connect(transport)
        reader.send(ITEMDUMP)
        turn = 0
        while not transport.value().endswith(EN):
            self.ask(b"set k%0100d 0 0 1\r\nw\r\nset new%d 0 0 1\r\nx" % (turn * 997, turn))
            transport.drain()
            turn += 1
        lines = reader.answers().split(b"\r\n")
        told = [line.split(b" ")[1] for line in lines if line.startswith(b"mi k")]
        self.assertEqual(sorted(told), [b"k%0100d" % number for number in range(5000)])
        self.assertTrue(3 < turn < 20, turn)


class SlowTests(ListingCase):
    """Who asks for it all and does not read it."""

    def setUp(self) -> None:
        super().setUp()
        value = b"v" * 400_000
        steps = [put(b"k%d" % number, value) for number in range(500)]
        while steps:
            (results,) = self.server.backend.perform([steps], NOW)
            del steps[: len(results)]
        self.transport = Reader()
        self.slow = self.server.connect(self.transport)
        self.slow.send(ITEMDUMP)
        self.server.settle()

    def test_no_more_is_made_than_is_read(self) -> None:
        most = BUFFER + MOST_BYTES + 500_000
        self.assertTrue(MOST_BYTES < self.transport.most < most, self.transport.most)
        count = 0
        for _ in range(200):
            self.transport.drain()
            self.server.settle()
            answer = self.slow.answers()
            count += answer.count(b"mi k")
        self.assertTrue(self.transport.most < most, self.transport.most)
        self.assertEqual(count, 500)
        self.assertTrue(answer == b"" and self.slow.ask(b"get x\r\n") == END)

    def test_others_are_told_to_wait_for_any_dump(self) -> None:
        for name in (b"itemdump", b"metadump", b"mgdump"):
            self.assertEqual(self.ask(b"lru_crawler %b all" % name), BUSY)


class RightsTests(LoginCase):
    """Who may dump, and who may load."""

    def test_who_may_only_read_may_neither(self) -> None:
        for words in (b"reader r", b"both b"):
            client = self.text(words)
            self.assertEqual(client.ask(ITEMDUMP), DENIED)
            self.assertEqual(client.ask(b"mi app:k 1 q\r\nv\r\nget app:k\r\n"), DENIED + END)

    def test_who_has_a_prefix_may_load_within_it(self) -> None:
        client = self.text(b"app a")
        large = b"v" * (1 << 20)
        for request, answer in (
            (ITEMDUMP, DENIED),
            mi(b"app:k", b"v", b"E7 K"),
            (b"mg app:k v c\r\n", va(b"v", b"c7")),
            mi(b"k", b"v", b"", DENIED),
            mi(b64encode(b"k"), b"v", b"b ME", DENIED),
            mi(b64encode(b"app:k"), b"w", b"b"),
            (b"get app:k\r\n", b"VALUE app:k 0 1\r\nw\r\nEND\r\n"),
            mi(b"other", large, b"", DENIED),
        ):
            self.assertEqual(client.ask(request), answer, request[:40])


class CountingTests(ReportCase):
    """What a mi counts as."""

    def test_it_is_a_set(self) -> None:
        before = self.report()
        self.ask(b"mi k 1\r\nv\r\nmi k 1 ME\r\nv\r\nmi k 1 e1 q\r\nv\r\nmi k 1 q\r\nv\r\n")
        self.ask(b"mi k 3 q\r\nlongest\r\nmi k %d\r\n%b" % (1 << 20, b"v" * (1 << 20)))
        after = self.report()
        counted = {
            name: int(after[name]) - int(before[name])
            for name in ("cmd_set", "total_items", "cmd_get", "cas_misses", "store_too_large")
        }
        self.assertEqual(
            counted,
            {"cmd_set": 5, "total_items": 2, "cmd_get": 0, "cas_misses": 0, "store_too_large": 1},
        )

    def test_by_prefix(self) -> None:
        self.ask(b"stats detail on")
        self.ask(b"mi a:k 1\r\nv\r\nmi a:k 1 q ME\r\nv\r\nmi b:k 1 k\r\nv")
        self.assertEqual(
            self.ask(b"stats detail dump"),
            b"PREFIX a get 0 hit 0 set 2 del 0\r\nPREFIX b get 0 hit 0 set 1 del 0\r\nEND\r\n",
        )


class WatchTests(WatchCase):
    """What who watches is told of a mi."""

    def test_it_is_a_set(self) -> None:
        seen = self.seen(
            b"mutations fetchers",
            b"mi k 5 e%d\r\nvalue\r\n" % (NOW + 9500),
            b"mi k 3 ME\r\nnew\r\n",
            b"mi YSBi 0 b q\r\n\r\n",
            b"mi big %d\r\n%b\r\n" % (1 << 20, b"v" * (1 << 20)),
        )
        self.assertEqual(
            seen,
            [
                f"item_store key={line}"
                for line in (
                    "k status=stored cmd=set ttl=10 clsid=1 cfd=0 size=5",
                    "k status=not_stored cmd=set ttl=0 clsid=1 cfd=0 size=3",
                    "a%20b status=stored cmd=set ttl=0 clsid=1 cfd=0 size=0",
                    "big status=too_large cmd=set ttl=0 clsid=0 cfd=0 size=0",
                )
            ],
        )
