"""Listings: their lines, their order among other answers, and clients that do not read them."""

from typing import Any, Optional

from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import MOST_STEPS, StorageError
from mctwist.item import BINARY_KEY, BYTES, KEY_LENGTH, Entry, Item
from mctwist.protocols.listing import (
    MOST_CACHEDUMP,
    STALLED,
    cachedump_line,
    metadump_line,
    mgdump_line,
)
from mctwist.protocols.pipeline import CLOSE_TIMEOUT
from mctwist.protocols.services import Settings
from mctwist.testing import NOW, START, put
from tests.test_pipeline import BUFFER, Socket
from tests.wire import Client, Server

OK, END, ERROR = b"OK\r\n", b"END\r\n", b"ERROR\r\n"
BAD_FORMAT = b"CLIENT_ERROR bad command line format\r\n"
BUSY = b"BUSY currently processing crawler request\r\n"
METADUMP = b"lru_crawler metadump all\r\n"
MGDUMP = b"lru_crawler mgdump all\r\n"


def entry(
    key: bytes, flags: int = 0, expiry: int = 0, marks: int = 0, fetched: bool = False
) -> Entry:
    return Entry(key, Item(BYTES, marks, flags, expiry, 7, 7, 1, 0, b""), 5, START, fetched)


class LineTests(SynchronousTestCase):
    """What is told of an item (crawler.c; items.c, item_cachedump)."""

    def test_metadump(self) -> None:
        self.assertEqual(
            metadump_line(entry(b"k")),
            b"key=k exp=-1 la=%d cas=7 fetch=no cls=1 size=65 flags=0 \n" % START,
        )
        self.assertEqual(
            metadump_line(entry(b"a/b%c~\xff\x01 -._", 9, NOW + 1, BINARY_KEY, True)),
            b"key=a%%2Fb%%25c~%%FF%%01%%20-._ exp=%d la=%d cas=7 fetch=yes cls=1 size=80 flags=9 \n"
            % (START + 1, START),
        )

    def test_mgdump(self) -> None:
        self.assertEqual(mgdump_line(entry(b"a/b%c~\xff\x01")), b"mg a/b%c~\xff\x01\r\n")
        self.assertEqual(mgdump_line(entry(b"a b\n", marks=BINARY_KEY)), b"mg YSBiCg== b\r\n")

    def test_cachedump(self) -> None:
        self.assertEqual(cachedump_line(entry(b"k")), b"ITEM k [5 b; 0 s]\r\n")
        self.assertEqual(
            cachedump_line(entry(b"k\xff\x01\0x", expiry=NOW + 999)),
            b"ITEM k\xff\x01 [5 b; %d s]\r\n" % (START + 1),
        )
        self.assertEqual(cachedump_line(entry(b"k", marks=BINARY_KEY)), b"")


class Reader(Socket):
    """A transport whose peer reads when it is told to; what was written is kept."""

    def write(self, data: bytes) -> None:
        StringTransport.write(self, data)
        super().write(data)


class Faulty(MemoryBackend):
    """A store that cannot be walked to the end."""

    def walk(self, prefix: bytes, now: int, whole: bool = False) -> Any:
        yield next(super().walk(prefix, now, whole))
        raise StorageError("the disk is gone")


class ListingCase(SynchronousTestCase):
    """A server, and one who asks it for lists."""

    def setUp(self) -> None:
        self.start()

    def start(self, backend: Optional[MemoryBackend] = None, **settings: Any) -> None:
        self.server = Server(backend=backend, settings=Settings(**settings))
        self.addCleanup(self.server.stop)
        self.client = self.server.connect()

    def fill(self, count: int, key: bytes = b"k%0100d") -> None:
        for start in range(0, count, MOST_STEPS):
            numbers = range(start, min(start + MOST_STEPS, count))
            self.server.backend.perform([[put(key % number, b"v") for number in numbers]], NOW)

    def ask(self, line: bytes, client: Optional[Client] = None) -> bytes:
        return (client or self.client).ask(line + b"\r\n")


class DumpTests(ListingCase):
    """lru_crawler metadump and mgdump."""

    def test_everything_once(self) -> None:
        self.fill(1700, key=b"k%d")
        dump = self.ask(b"lru_crawler metadump all")
        self.assertTrue(dump.startswith(OK + b"key="), dump[:50])
        self.assertTrue(dump.endswith(b" \n" + END), dump[-50:])
        names = [line.split(b" ")[0] for line in dump[len(OK) : -len(END)].splitlines()]
        self.assertEqual(sorted(names), sorted(b"key=k%d" % number for number in range(1700)))
        dump = self.ask(b"lru_crawler mgdump hash")
        keys = sorted(b"mg k%d\r\n" % number for number in range(1700))
        self.assertEqual(
            (dump[:4], sorted(dump[4:-4].splitlines(keepends=True)), dump[-4:]),
            (OK, keys, b"EN\r\n"),
        )

    def test_what_is_told_is_true(self) -> None:
        self.ask(b"set k 3 100 5\r\nvalue\r\nget k")
        self.server.reactor.advance(100.5)
        self.ask(b"set n 0 0 1\r\n1")
        self.server.reactor.advance(60)
        self.ask(b"gets n")
        self.assertEqual(
            self.ask(b"lru_crawler metadump all"),
            b"OK\r\nkey=n exp=-1 la=%d cas=2 fetch=yes cls=1 size=61 flags=0 \nEND\r\n"
            % (START + 160),
        )

    def test_where_there_is_nothing(self) -> None:
        self.assertEqual(self.ask(b"lru_crawler metadump all"), OK + END)
        self.assertEqual(self.ask(b"lru_crawler mgdump all"), OK + b"EN\r\n")

    def test_classes(self) -> None:
        self.fill(1, key=b"k%d")
        line = b"mg k0\r\n"
        for words, listed in (
            (b"mgdump 1", line), (b"mgdump 1,2", line), (b"mgdump 63,,1", line),
            (b"mgdump 2", b""), (b"mgdump 2,63", b""), (b"m hash", None), (b"mg all", line),
            (b"metad 5", None),
        ):  # fmt: skip
            answer = self.ask(b"lru_crawler " + words)
            if listed is None:
                self.assertTrue(answer.startswith(OK) and answer.endswith(END), (words, answer))
            else:
                self.assertEqual(answer, OK + listed + b"EN\r\n", words)

    def test_what_is_wrong(self) -> None:
        bad_class = b"BADCLASS invalid class id\r\n"
        for line, answer in (
            (b"mgdump", ERROR), (b"metadump 0", bad_class), (b"metadump 64", bad_class),
            (b"metadump x", bad_class), (b"metadump 1,64", bad_class),
            (b"metadump ,", b"NOTSTARTED no items to crawl\r\n"), (b"metadump 1 k", ERROR),
            (b"metadump all k k", ERROR), (b"metadumps all", ERROR), (b"metadump noreply", b""),
            (b"metadump all noreply", b""),
        ):  # fmt: skip
            self.assertEqual(self.ask(b"lru_crawler " + line), answer, line)
        self.ask(b"lru_crawler disable")
        disabled = b"CLIENT_ERROR lru crawler disabled\r\n"
        self.assertEqual(self.ask(b"lru_crawler metadump all"), disabled)

    def test_by_prefix(self) -> None:
        for key in (b"a", b"a:", b"a:b", b"b"):
            self.ask(b"set %b 0 0 1\r\nv" % key)
        dump = self.ask(b"lru_crawler mgdump all a:")
        self.assertEqual(sorted(dump.splitlines()), [b"EN", b"OK", b"mg a:", b"mg a:b"])
        self.assertEqual(self.ask(b"lru_crawler metadump hash c"), OK + END)

    def test_it_may_be_refused(self) -> None:
        self.start(dump_enabled=False)
        for words, answer in (
            (b"metadump all", b"ERROR metadump not allowed\r\n"),
            (b"mgdump x", b"ERROR key dump not allowed\r\n"),
            (b"crawl all", OK),
        ):
            self.assertEqual(self.ask(b"lru_crawler " + words), answer)

    def test_what_stands_behind_it_waits_and_nothing_stands_before(self) -> None:
        self.fill(1000, key=b"k%d")
        answer = self.ask(b"lru_crawler mgdump all\r\nget x\r\nset x 0 0 1\r\nv\r\nget x")
        self.assertEqual(answer.count(b"mg k"), 1000)
        self.assertTrue(answer.endswith(b"\r\nEN\r\nEND\r\nSTORED\r\nVALUE x 0 1\r\nv\r\nEND\r\n"))
        self.assertEqual(
            self.ask(b"get y\r\nlru_crawler metadump all"),
            END + b"ERROR cannot pipeline other commands before metadump\r\n",
        )

    def test_it_is_told_whole_to_one_who_has_no_more_to_ask(self) -> None:
        self.fill(1000, key=b"k%d")
        self.client.send(MGDUMP)
        self.client.protocol.readConnectionLost()
        self.server.settle()
        answer = self.client.answers()
        self.assertEqual((answer.count(b"mg k"), answer[-4:]), (1000, b"EN\r\n"))
        self.assertTrue(self.client.closed)

    def test_a_store_that_fails_in_the_midst(self) -> None:
        self.start(backend=Faulty())
        self.fill(1000, key=b"k%d")
        answer = self.ask(b"lru_crawler mgdump all\r\nget x")
        self.assertTrue(answer.endswith(b"\r\nSERVER_ERROR internal error\r\n" + END), answer[-60:])
        self.assertFalse(self.server.settings.crawler.at_work)

    def test_a_store_that_is_closed_meanwhile(self) -> None:
        self.fill(1000, key=b"k%d")
        self.client.send(MGDUMP)
        self.server.reactor.turn()
        self.server.storage.stopService()
        self.server.settle()
        self.assertTrue(self.client.answers().endswith(b"\r\nSERVER_ERROR internal error\r\n"))


class SlowTests(ListingCase):
    """Clients that do not read."""

    def setUp(self) -> None:
        super().setUp()
        self.fill(5000)
        self.transport = Reader()
        self.slow = self.server.connect(self.transport)
        self.slow.send(METADUMP)
        self.server.settle()

    def test_no_more_is_made_than_is_read(self) -> None:
        self.assertTrue(BUFFER < self.transport.most < 3 * BUFFER, self.transport.most)
        self.assertEqual(self.slow.protocol.state, "conn_watch")
        for _ in range(100):
            self.transport.drain()
            self.server.settle()
        self.assertTrue(self.transport.most < 3 * BUFFER, self.transport.most)
        dump = self.slow.answers()
        self.assertEqual(dump.count(b"key="), 5000)
        self.assertTrue(dump.endswith(END))
        self.assertEqual(self.slow.ask(b"get x\r\n"), END)

    def test_it_holds_up_nobody_else(self) -> None:
        self.assertEqual(self.client.ask(b"set k 0 0 1\r\nv\r\nget k\r\n")[-8:], b"v\r\nEND\r\n")

    def test_there_is_one_dump_at_a_time(self) -> None:
        for _ in range(2):
            self.assertEqual(self.ask(b"lru_crawler metadump all"), BUSY)
            self.server.reactor.advance(STALLED * 0.4)
        self.assertTrue(self.ask(b"stats cachedump 1 1").startswith(b"ITEM "))
        while b"END" not in self.transport.value():
            self.transport.drain()
            self.server.settle()
        self.assertTrue(self.ask(b"lru_crawler metadump all").endswith(END))

    def test_one_that_has_stalled_makes_room(self) -> None:
        self.server.reactor.advance(STALLED)
        self.assertEqual(self.ask(b"lru_crawler metadump all").count(b"key="), 5000)
        # It goes on all the same, and takes nobody's turn.
        other = self.server.connect(Reader())
        other.send(METADUMP)
        self.server.settle()
        for _ in range(100):
            self.transport.drain()
            self.server.settle()
        self.assertEqual(self.slow.answers().count(b"key="), 5000)
        self.assertEqual(self.ask(b"lru_crawler metadump all"), BUSY)

    def test_one_that_is_gone_makes_room(self) -> None:
        self.slow.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(self.ask(b"lru_crawler metadump all").endswith(END))

    def test_one_that_goes_while_a_piece_is_fetched(self) -> None:
        self.transport.drain()
        self.slow.protocol.connectionLost(Failure(ConnectionLost()))
        self.slow.answers()
        self.server.settle()
        self.assertEqual(self.slow.answers(), b"")

    def test_one_that_is_closed_may_read_on_but_not_stall(self) -> None:
        aborted: list[bool] = []
        self.transport.abortConnection = lambda: aborted.append(True)  # type: ignore[method-assign]
        self.slow.protocol.finish("shutdown")
        for _ in range(3):
            self.server.reactor.advance(CLOSE_TIMEOUT * 0.7)
            self.transport.drain()
            self.server.settle()
        self.assertEqual(aborted, [])
        self.assertFalse(self.slow.closed)
        self.server.reactor.advance(CLOSE_TIMEOUT)
        self.server.reactor.advance(CLOSE_TIMEOUT)
        self.assertEqual(aborted, [True])


class CachedumpTests(ListingCase):
    """stats cachedump."""

    def test_lines(self) -> None:
        self.ask(b"set k 0 100 5\r\nvalue")
        self.ask(b"set n 0 0 1\r\n1")
        lines = [b"END", b"ITEM k [5 b; %d s]" % (START + 100), b"ITEM n [1 b; 0 s]"]
        for words in (b"1 0", b"1 2", b"1 100", b"1 0 x"):
            self.assertEqual(sorted(self.ask(b"stats cachedump " + words).splitlines()), lines)
        self.assertEqual(len(self.ask(b"stats cachedump 1 1").splitlines()), 2)
        for words in (b"0 0", b"2 0", b"63 5"):
            self.assertEqual(self.ask(b"stats cachedump " + words), END)

    def test_what_is_wrong(self) -> None:
        for words, answer in (
            (b"", b"CLIENT_ERROR bad command line\r\n"),
            (b" 1", b"CLIENT_ERROR bad command line\r\n"),
            (b" x 0", BAD_FORMAT),
            (b" 1 -1", BAD_FORMAT),
            (b" 64 0", b"CLIENT_ERROR Illegal slab id\r\n"),
        ):
            self.assertEqual(self.ask(b"stats cachedump" + words), answer, words)
        self.start(dump_enabled=False)
        refused = b"CLIENT_ERROR stats cachedump not allowed\r\n"
        self.assertEqual(self.ask(b"stats cachedump 1 0"), refused)

    def test_two_megabytes_at_most(self) -> None:
        self.fill(9000, key=b"k%0" + b"%d" % (KEY_LENGTH - 1) + b"d")
        dump = self.ask(b"stats cachedump 1 0")
        line = len(b"ITEM  [1 b; 0 s]\r\n") + KEY_LENGTH
        self.assertTrue(MOST_CACHEDUMP - line < len(dump) + 1 <= MOST_CACHEDUMP, len(dump))
        self.assertTrue(dump.endswith(b"\r\nEND\r\n"))

    def test_among_other_answers(self) -> None:
        sent = b"set k 0 0 1\r\nv\r\nget k\r\nstats cachedump 1 0\r\nget k"
        value = b"VALUE k 0 1\r\nv\r\nEND\r\n"
        self.assertEqual(
            self.ask(sent), b"STORED\r\n" + value + b"ITEM k [1 b; 0 s]\r\nEND\r\n" + value
        )
