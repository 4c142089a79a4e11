"""Who watches: the lines that are told, to whom, and what becomes of those who do not read."""

import re
from typing import Any, Optional

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import Results, StoreFull
from mctwist.item import BYTES, Entry, Item
from mctwist.protocols.services import Settings
from mctwist.testing import NOW, START
from mctwist.watch import MOST_WATCHERS
from tests.test_pipeline import Socket
from tests.wire import Client, Server

OK, ERROR = b"OK\r\n", b"ERROR\r\n"
FOUND = "status=found clsid=1 cfd=0 size="
NOT_FOUND = "status=not_found clsid=0 cfd=0 size=0"


def evicted(key: bytes, fetched: bool, expiry: int, accessed: float, length: int) -> Entry:
    """What had to make room."""
    return Entry(
        key, Item(BYTES, 0, 0, expiry, 1, 1, 1, int(accessed), b""), length, int(accessed), fetched
    )


class WatchCase(SynchronousTestCase):
    """A server, some who watch it, and one who gives something to see."""

    def setUp(self) -> None:
        self.server = self.make_server()

    def make_server(self, **options: Any) -> Server:
        server = Server(**options)
        self.addCleanup(server.stop)
        return server

    def watcher(self, words: bytes, transport: Optional[StringTransport] = None) -> Client:
        client = self.server.connect(transport)
        self.assertEqual(client.ask(b"watch %b\r\n" % words), OK)
        return client

    def told(self, watcher: Client) -> "list[str]":
        """What a watcher has been told since, from `type=` on."""
        told = []
        for line in watcher.answers().decode().splitlines(keepends=True):
            match = re.fullmatch(r"ts=\d+\.\d{6} gid=\d+ type=(.*)\n", line)
            assert match is not None, line
            told.append(match[1])
        return told

    def seen(self, words: bytes, *commands: bytes) -> "list[str]":
        """What who watches `words` is told of `commands`."""
        watcher = self.watcher(words)
        client = self.server.connect()
        for command in commands:
            client.ask(command)
        return self.told(watcher)


class EventTests(WatchCase):
    """What happened, in memcached's words (logger.c)."""

    def test_fetches(self) -> None:
        seen = self.seen(
            b"fetchers",
            b"set k 0 0 2\r\n10\r\n",
            b"get k none\r\n",
            b"gets k\r\n",
            b"gat 0 none k\r\n",
            b"touch k 0\r\ntouch none 0\r\n",
            b"incr k 5\r\ndecr k 5\r\nincr none 1\r\n",
            b"delete k noreply\r\ndelete k\r\n",
        )
        hit, miss = f"item_get key=k {FOUND}2", f"item_get key=none {NOT_FOUND}"
        last = f"item_get key=k {NOT_FOUND}"
        self.assertEqual(
            seen, [hit, miss, hit, miss, hit, hit, miss, hit, hit, miss, hit, last]
        )  # fmt: skip

    def test_stores(self) -> None:
        seen = self.seen(
            b"mutations",
            b"set k 7 100 5\r\nvalue\r\n",
            b"add k 0 0 3\r\nnew\r\n",
            b"add n 0 0 3 noreply\r\nnew\r\n",
            b"replace none 0 200 1\r\nv\r\n",
            b"replace n 0 0 0\r\n\r\n",
            b"append k 0 0 2\r\n!!\r\nprepend k 0 0 2\r\n!!\r\nappend none 0 0 2\r\n!!\r\n",
            b"cas none 0 0 1 1\r\nv\r\ncas k 0 0 1 999\r\nv\r\n",
            b"incr k 1\r\ndelete k\r\ntouch n 0\r\nflush_all\r\n",
        )
        self.assertEqual(
            seen,
            [
                f"item_store key={line}"
                for line in (
                    "k status=stored cmd=set ttl=100 clsid=1 cfd=0 size=5",
                    "k status=not_stored cmd=add ttl=0 clsid=1 cfd=0 size=3",
                    "n status=stored cmd=add ttl=0 clsid=1 cfd=0 size=3",
                    "none status=not_stored cmd=replace ttl=200 clsid=1 cfd=0 size=1",
                    "n status=stored cmd=replace ttl=0 clsid=1 cfd=0 size=0",
                    "k status=stored cmd=append ttl=100 clsid=1 cfd=0 size=7",
                    "k status=stored cmd=prepend ttl=100 clsid=1 cfd=0 size=9",
                    "none status=not_stored cmd=append ttl=0 clsid=1 cfd=0 size=2",
                    "none status=not_found cmd=cas ttl=0 clsid=1 cfd=0 size=1",
                    "k status=exists cmd=cas ttl=0 clsid=1 cfd=0 size=1",
                )
            ],
        )

    def test_what_is_too_large_is_told_as_what_it_was_to_be(self) -> None:
        big = b"v" * (1 << 20)
        seen = self.seen(
            b"mutations deletions",
            b"set k 0 0 1\r\nv\r\n",
            *(
                b"%b k 0 9 %d%b\r\n%b\r\n" % (verb, len(big), more, big)
                for verb, more in ((b"set", b""), (b"add", b""), (b"cas", b" 1 noreply"))
            ),
        )
        refused = "item_store key=k status=too_large cmd={} ttl=0 clsid=0 cfd=0 size=0"
        self.assertEqual(seen[1:], [refused.format(verb) for verb in ("set", "add", "cas")])

    def test_what_finds_no_room(self) -> None:
        class Full(MemoryBackend):
            def perform(self, lists: "Any", now: int) -> "list[Results]":
                return [[StoreFull("no room")] * len(steps) for steps in lists]

        self.server = self.make_server(backend=Full())
        (line,) = self.seen(b"fetchers mutations", b"set k 0 9 1\r\nv\r\n", b"delete k\r\n")
        self.assertEqual(
            line, "item_store key=k status=no_memory cmd=set ttl=0 clsid=0 cfd=0 size=0"
        )

    def test_deletions(self) -> None:
        seen = self.seen(
            b"deletions", b"set k 0 0 4\r\nvbar\r\n", b"delete k\r\ndelete k\r\ndelete none\r\n"
        )
        self.assertEqual(seen, ["deleted key=k cmd=delete clsid=1 size=4"])

    def test_evictions(self) -> None:
        watcher = self.watcher(b"evictions")
        self.server.watchers.evicted(
            [
                evicted(b"a b", True, NOW + 9500, START - 60, 100),
                evicted(b"never", False, 0, START, 0),
            ]
        )
        self.assertEqual(
            self.told(watcher),
            [
                "eviction key=a%20b fetch=yes ttl=10 la=60 clsid=1 size=100",
                "eviction key=never fetch=no ttl=-1 la=0 clsid=1 size=0",
            ],
        )

    def test_the_store_tells_of_evictions_while_somebody_watches_them(self) -> None:
        backend = MemoryBackend(limit=10_000, evicts=True)
        self.server = self.make_server(backend=backend)
        client = self.server.connect()

        def fill(name: bytes) -> None:
            value = b" 0 0 1000 noreply\r\n" + b"v" * 1000 + b"\r\n"
            client.ask(b"".join(b"set %b%d" % (name, number) + value for number in range(50)))

        fill(b"a")
        first, other = self.watcher(b"evictions"), self.watcher(b"evictions fetchers")
        fill(b"b")
        told = self.told(first)
        self.assertTrue(told)
        for line in told:
            self.assertRegex(line, r"^eviction key=a\d+ fetch=no ttl=-1 la=0 clsid=1 size=1000$")
        self.assertEqual(self.told(other), told)
        for watcher in (first, other):
            self.assertIsNotNone(backend.evicted)
            watcher.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(backend.evicted)
        fill(b"c")

    def test_connections(self) -> None:
        watcher = self.watcher(b"connevents")
        for end, reason in (
            (b"quit\r\n", "normal"),
            (b"GET / HTTP/1.1\r\n", "error"),
            (b"x" * 3000, "error"),
            (ConnectionDone(), "normal"),
            (ConnectionLost(), "error"),
            ("idle_timeout", "idle_timeout"),
        ):
            client = self.server.connect()
            if isinstance(end, bytes):
                client.send(end)
            elif isinstance(end, str):
                client.protocol.finish(end)
            fault = end if isinstance(end, Exception) else ConnectionDone()
            client.protocol.connectionLost(Failure(fault))
            peer = "rip=192.168.1.1 rport=54321 transport=tcp"
            self.assertEqual(
                self.told(watcher),
                [f"conn_new {peer} cfd=0", f"conn_close {peer} reason={reason} cfd=0"],
            )

    def test_a_connection_by_a_unix_socket(self) -> None:
        watcher = self.watcher(b"connevents")
        self.server.connect(StringTransport(peerAddress=UNIXAddress(None)))
        peer = "rip=unix rport=0 transport=local cfd=0"
        self.assertEqual(self.told(watcher), [f"conn_new {peer}"])

    def test_keys_are_encoded(self) -> None:
        watcher = self.watcher(b"fetchers")
        client = self.server.connect()
        for key, encoded in (
            (b"aZ09-._~", "aZ09-._~"),
            (b"a/b%c", "a%2Fb%25c"),
            (bytes(range(0x80, 0x90)), "".join(f"%{byte:02X}" for byte in range(0x80, 0x90))),
            (b"#" * 250, "%23" * 250),
        ):
            client.ask(b"get %b\r\n" % key)
            self.assertEqual(self.told(watcher), [f"item_get key={encoded} {NOT_FOUND}"])

    def test_the_time_and_the_number_of_a_line(self) -> None:
        self.server.reactor.advance(5.000053)
        first, second = self.watcher(b"fetchers"), self.watcher(b"mutations fetchers")
        self.server.connect().ask(b"get k\r\nset k 0 0 1\r\nv\r\nget k\r\n")
        heads = [line.split(b" type=")[0] for line in second.answers().splitlines()]
        times, numbers = zip(*(head.split(b" gid=") for head in heads))
        for time in times:
            self.assertEqual(time[:-2], b"ts=%d.0000" % (START + 5))
            self.assertIn(int(time[-2:]), (52, 53))  # as far as the clock's float goes
        self.assertEqual([int(number) for number in numbers], [1, 2, 3])
        self.assertEqual(re.findall(rb"gid=(\d+)", first.answers()), [b"1", b"3"])


class CommandTests(WatchCase):
    """`watch`."""

    def test_what_can_be_watched(self) -> None:
        for words in (b"", b" fetchers", b" mutations evictions  connevents", b" deletions d m",
                      b" rawcmds sysevents proxyreqs proxyevents proxyuser", b" f"):  # fmt: skip
            client = self.make_server().connect()
            self.assertEqual(client.ask(b"watch%b\r\n" % words), OK)
        for words in (b" bogus", b" fetchers bogus", b" fetchersx", b" noreply", b" F"):
            client = self.server.connect()
            self.assertEqual(client.ask(b"watch%b\r\n" % words), ERROR)
            self.assertTrue(client.ask(b"version\r\n").startswith(b"VERSION"))
        self.assertFalse(self.server.watchers.active)

    def test_nothing_else_is_a_fetch(self) -> None:
        watcher = self.watcher(b"")
        self.server.connect().ask(b"set k 0 0 1\r\nv\r\nget k\r\ndelete k\r\nstats\r\n")
        self.assertEqual(len(self.told(watcher)), 2)

    def test_what_it_sends_from_then_on_is_let_go(self) -> None:
        client = self.server.connect()
        self.assertEqual(client.ask(b"watch\r\nversion\r\n"), OK)
        self.assertEqual(client.ask(b"version\r\nset k 0 0 100\r\n" + b"x" * 10_000), b"")
        self.assertFalse(client.closed)

    def test_other_commands_may_not_be_pipelined_before_it(self) -> None:
        client = self.server.connect()
        answer = b"ERROR cannot pipeline other commands before watch\r\n"
        self.assertEqual(
            client.ask(b"get k\r\nwatch\r\nget k\r\n"), b"END\r\n" + answer + b"END\r\n"
        )
        self.assertFalse(self.server.watchers.active)

    def test_it_waits_for_its_turn(self) -> None:
        client = self.server.connect()
        client.send(b"set k 0 0 1\r\nv\r\n")
        client.send(b"watch mutations\r\n")
        self.assertEqual(client.answers(), b"")
        self.server.settle()
        self.assertEqual(client.answers(), b"STORED\r\nOK\r\n")

    def test_one_that_has_gone_before_its_turn_does_not_watch(self) -> None:
        client = self.server.connect()
        client.send(b"set k 0 0 1\r\nv\r\n")
        client.send(b"watch\r\n")
        client.protocol.connectionLost(Failure(ConnectionDone()))
        self.server.settle()
        self.assertFalse(self.server.watchers.active)

    def test_it_can_be_forbidden(self) -> None:
        server = self.make_server(settings=Settings(watch_enabled=False))
        client = server.connect()
        for words in (b"", b" fetchers", b" bogus"):
            answer = client.ask(b"watch%b\r\nget k\r\n" % words)
            self.assertEqual(answer, b"CLIENT_ERROR watch commands not allowed\r\nEND\r\n")

    def test_so_many_may_watch_and_who_leaves_makes_room(self) -> None:
        watchers = [self.watcher(b"") for _ in range(MOST_WATCHERS)]
        late = self.server.connect()
        full = b"WATCHER_TOO_MANY log watcher limit reached\r\n"
        self.assertEqual(late.ask(b"watch\r\n"), full)
        watchers[3].protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(late.ask(b"watch\r\n"), OK)

    def test_one_that_half_closes_is_closed(self) -> None:
        watcher = self.watcher(b"")
        watcher.protocol.readConnectionLost()
        self.assertTrue(watcher.closed)
        self.assertFalse(self.server.watchers.active)

    def test_one_that_watches_is_owed_something_until_all_stops(self) -> None:
        watcher = self.watcher(b"")
        self.assertTrue(watcher.protocol.owes())
        watcher.protocol.finish("shutdown", lingering=True)
        self.assertFalse(watcher.protocol.owes())


class SlowTests(WatchCase):
    """Nobody waits for a watcher."""

    def figures(self) -> "tuple[int, ...]":
        stats = self.server.stats
        return (
            stats.log_watchers,
            stats.log_worker_written,
            stats.log_watcher_sent,
            stats.log_watcher_skipped,
            stats.log_worker_dropped,
        )

    def test_lines_are_dropped_and_counted_while_one_does_not_read(self) -> None:
        socket = Recorder()
        slow = self.watcher(b"fetchers", socket)
        quick = self.watcher(b"fetchers")
        client = self.server.connect()
        key = b"#" * 250
        asked = 0
        while socket.reading:
            self.assertTrue(asked < 10_000)
            client.ask(b"get %b\r\n" % key * 500)
            asked += 500
        self.assertTrue(socket.most <= 200_000, socket.most)
        sent = socket.received.count(b"\n") - 1
        self.assertTrue(0 < sent < asked)
        for _ in range(20):
            client.ask(b"get %b\r\n" % key * 500)
            asked += 500
        self.assertEqual(socket.received.count(b"\n") - 1, sent)
        self.assertEqual(len(self.told(quick)), asked)
        self.assertEqual(self.figures(), (2, asked, sent + asked, asked - sent, 0))
        socket.received = b""
        socket.drain()
        client.ask(b"get k\r\n")
        client.ask(b"get k\r\n")
        skipped, *lines = socket.received.splitlines()
        self.assertEqual(skipped, b"skipped=%d" % (asked - sent))
        self.assertEqual(len(lines), 2)
        self.assertFalse(slow.closed)

    def test_a_watcher_costs_nothing_when_it_has_gone(self) -> None:
        watcher = self.watcher(b"fetchers mutations")
        self.assertEqual(self.figures()[0], 1)
        watcher.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(self.server.watchers.active)
        self.server.connect().ask(b"get k\r\n")
        self.assertEqual(self.figures(), (0, 0, 0, 0, 0))

    def test_the_server_is_asked_once_for_all_that_came_together(self) -> None:
        asked: list[int] = []

        class Counting:
            @property
            def active(self) -> bool:
                asked.append(1)
                return False

        client = self.server.connect()
        assert client.protocol._pipeline is not None
        counting: Any = Counting()
        client.protocol._pipeline._watchers = counting
        client.ask(b"get k\r\n" * 500 + b"set k 0 0 1\r\nv\r\n" * 500)
        self.assertEqual(len(asked), 1)

    def test_stats_tell(self) -> None:
        self.watcher(b"")
        client = self.server.connect()
        client.ask(b"get k\r\n")
        stats = client.ask(b"stats\r\n")
        for name, figure in ((b"watchers", 1), (b"worker_written", 1), (b"watcher_sent", 1),
                             (b"watcher_skipped", 0), (b"worker_dropped", 0)):  # fmt: skip
            self.assertIn(b"STAT log_%b %d\r\n" % (name, figure), stats)


class Recorder(Socket):
    """A `Socket` that remembers what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""

    def value(self) -> bytes:
        return self.received

    def clear(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.received += data
        super().write(data)
