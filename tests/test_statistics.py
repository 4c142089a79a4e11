"""
The reports of `stats`, by the rules of those that read them.

The rules of the exporters are those of prometheus/memcached_exporter (exporter.go: parseStats,
collectSlabMetrics, parseStatsSettings) and of Telegraf's memcached plugin, which can do with three
words a line and nothing else.
"""

from typing import Any, Optional

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mctwist.hot import ASKED, MOST_KEYS
from mctwist.interfaces import MOST_BYTES, MOST_STEPS
from mctwist.latency import Latency
from mctwist.protocols.services import Settings
from mctwist.server import Connections
from mctwist.stats import MOST_PREFIX_BYTES, MOST_PREFIXES, Prefixes
from tests.wire import Client, Server

REQUIRED = "cmd_set cas_hits cas_misses cas_badval"
GENERAL = (
    "pid version uptime time pointer_size cmd_flush cmd_get cmd_touch rusage_user rusage_system "
    "bytes limit_maxbytes curr_items total_items bytes_read bytes_written max_connections "
    "curr_connections total_connections rejected_connections conn_yields listen_disabled_num "
    "evictions reclaimed store_too_large store_no_memory lru_crawler_starts direct_reclaims "
    "crawler_items_checked crawler_reclaimed moves_to_cold moves_to_warm moves_within_lru "
    "total_malloced accepting_conns connection_structures threads"
)
COMMANDS = "get delete incr decr cas touch"
ITEMS = (
    "number age hits_to_hot hits_to_warm hits_to_cold hits_to_temp evicted evicted_nonzero "
    "evicted_time evicted_unfetched expired_unfetched outofmemory reclaimed tailrepairs "
    "mem_requested number_hot number_warm number_cold number_temp age_hot age_warm "
    "crawler_reclaimed moves_to_cold moves_to_warm moves_within_lru"
)
SLABS = (
    "chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end "
    "mem_requested cmd_set cas_badval get_hits delete_hits incr_hits decr_hits cas_hits touch_hits"
)
SETTINGS = "maxconns lru_crawler_sleep lru_crawler_tocrawl hot_lru_pct warm_lru_pct"
FACTORS = "hot_max_factor warm_max_factor"

#: What the store has to say, each figure another one.
FIGURES: "dict[str, Any]" = {
    "limit_maxbytes": 1 << 30,
    "evictions": 11,
    "evicted_unfetched": 12,
    "evicted_active": 13,
    "evicted_nonzero": 14,
    "evicted_time": 15,
    "expired_unfetched": 16,
    "reclaimed": 17,
    "direct_reclaims": 18,
    "crawler_reclaimed": 19,
    "crawler_items_checked": 20,
    "lru_crawler_starts": 21,
    "oldest_age": 23,
    "mem_requested": 24_000,
    "pages_bytes": 25 << 20,
    "storage": {"backend": "lmdb on a disk", "batches": 26, "sync_median": "0.002"},
}


class ReportCase(SynchronousTestCase):
    """A server, and what its reports say."""

    def setUp(self) -> None:
        self.start()

    def start(self, settings: Optional[Settings] = None) -> None:
        self.server = Server(settings=settings)
        self.addCleanup(self.server.stop)
        self.stats = self.server.stats
        self.client = self.server.connect()

    def ask(self, data: bytes) -> bytes:
        return self.client.ask(data + b"\r\n")

    def report(self, what: str = "") -> "dict[str, str]":
        """Read as Telegraf does."""
        answer = self.ask(b"stats " + what.encode()).decode()
        self.assertTrue(answer.endswith("END\r\n"), answer)
        found = {}
        for line in answer.split("\r\n")[:-2]:
            words = line.split(" ")
            self.assertEqual((len(words), words[0]), (3, "STAT"), line)
            found[words[1]] = words[2]
        return found

    def assertFigures(self, names: str, report: "dict[str, str]", before: str = "") -> None:
        for name in names.split():
            self.assertRegex(report[before + name], r"\A[0-9]+\Z", name)


class ExporterTests(ReportCase):
    """memcached_exporter finds what it needs, in the form in which it can be read."""

    def setUp(self) -> None:
        super().setUp()
        self.ask(b"set k 0 0 1\r\n1\r\nincr k 1\r\nget k\r\nget x")

    def test_general(self) -> None:
        report = self.report()
        self.assertFigures(REQUIRED, report)
        for command in COMMANDS.split():
            self.assertFigures(f"{command}_hits {command}_misses", report)
        for name in GENERAL.split():
            self.assertIn(name, report)
            if name != "version":
                float(report[name])
        for name in ("rusage_user", "rusage_system"):
            # Two integers, of which the second is taken for microseconds.
            self.assertRegex(report[name], r"\A[0-9]+\.[0-9]{6}\Z")
        # By this the exporter would expect nineteen figures of an extstore.
        self.assertNotIn("extstore_limit_maxbytes", report)
        self.assertNotIn("proxy_backend_total", report)

    def test_tls_is_told_of_where_there_is_some(self) -> None:
        names = ("ssl_handshake_errors", "ssl_proto_errors", "time_since_server_cert_refresh")
        for name in names:
            self.assertNotIn(name, self.report())
        self.stats.certificates_loaded = self.server.reactor.seconds()
        self.stats.ssl_handshake_errors, self.stats.ssl_proto_errors = 2, 3
        self.server.reactor.advance(60.5)
        report = self.report()
        self.assertEqual([report[name] for name in names], ["2", "3", "60"])
        self.ask(b"stats reset")
        report = self.report()
        self.assertEqual([report[name] for name in names], ["0", "0", "60"])

    def test_items(self) -> None:
        self.assertFigures(ITEMS, self.report("items"), "items:1:")

    def test_slabs(self) -> None:
        report = self.report("slabs")
        self.assertFigures(SLABS, report, "1:")
        self.assertFigures("active_slabs total_malloced", report)

    def test_settings(self) -> None:
        report = self.report("settings")
        self.assertFigures(SETTINGS, report)
        for name in FACTORS.split():
            float(report[name])
        self.assertEqual(report["lru_crawler"], "yes")
        for name in ("lru_maintainer_thread", "flush_enabled", "cas_enabled", "lru_segmented"):
            self.assertIn(report[name], ("yes", "no"))


class StoreTests(ReportCase):
    """What the store has to say of itself."""

    def setUp(self) -> None:
        super().setUp()
        self.ask(b"set k 0 0 1\r\n1\r\nset l 0 0 1\r\n1\r\nget k\r\nget l")
        self.figures = dict(FIGURES)
        self.stats.of_store = lambda: self.figures

    def test_general(self) -> None:
        report = self.report()
        for name in (
            "limit_maxbytes", "evictions", "evicted_unfetched", "evicted_active", "reclaimed",
            "expired_unfetched", "direct_reclaims", "crawler_reclaimed", "crawler_items_checked",
            "lru_crawler_starts",
        ):  # fmt: skip
            self.assertEqual(report[name], str(FIGURES[name]), name)
        self.assertEqual(report["total_malloced"], str(25 << 20))
        self.assertEqual(self.report("settings")["maxbytes"], str(1 << 30))

    def test_items(self) -> None:
        self.stats.store_no_memory = 5
        report = self.report("items")
        for name, figure in (
            ("number", 2), ("number_cold", 2), ("hits_to_cold", 2), ("age", 23),
            ("mem_requested", 24_000), ("evicted", 11), ("evicted_unfetched", 12),
            ("evicted_active", 13), ("evicted_nonzero", 14), ("evicted_time", 15),
            ("expired_unfetched", 16), ("reclaimed", 17), ("direct_reclaims", 18),
            ("crawler_reclaimed", 19), ("crawler_items_checked", 20), ("outofmemory", 5),
        ):  # fmt: skip
            self.assertEqual(report[f"items:1:{name}"], str(figure), name)

    def test_the_sums_that_dashboards_make_of_slabs(self) -> None:
        report = {
            name.rpartition(":")[2]: int(figure) for name, figure in self.report("slabs").items()
        }
        self.assertEqual(report["used_chunks"], 2)
        self.assertEqual(report["chunk_size"], 12_000)
        self.assertEqual(report["total_pages"], 25)
        self.assertEqual(report["total_chunks"], report["total_pages"] * report["chunks_per_page"])
        self.assertEqual(report["free_chunks"], report["total_chunks"] - report["used_chunks"])
        self.assertEqual(report["total_malloced"], 25 << 20)

    def test_storage(self) -> None:
        report = self.report("storage")
        self.assertEqual(report["pages_bytes"], str(25 << 20))
        self.assertEqual(report["batches"], "26")
        self.assertEqual(report["sync_median"], "0.002")
        self.assertEqual(report["backend"], "lmdb%20on%20a%20disk")
        self.assertNotIn("storage", report)

    def test_reset(self) -> None:
        self.assertEqual(self.ask(b"stats reset"), b"RESET\r\n")
        report = self.report()
        self.assertEqual((report["evictions"], report["crawler_reclaimed"]), ("0", "0"))
        self.assertEqual(report["limit_maxbytes"], str(1 << 30))
        self.figures["evictions"] += 5
        self.assertEqual(self.report()["evictions"], "5")
        self.assertEqual(self.report("items")["items:1:evicted"], "5")
        self.assertEqual(self.report("items")["items:1:age"], "23")


class ResetTests(ReportCase):
    """`stats reset`."""

    def test_in_its_turn(self) -> None:
        answer = self.ask(b"get x\r\nstats reset\r\nget x\r\nget x\r\nstats")
        self.assertTrue(answer.startswith(b"END\r\nRESET\r\nEND\r\nEND\r\nSTAT "), answer)
        self.assertIn(b"STAT get_misses 2\r\n", answer)

    def test_what_was_counted_and_what_is(self) -> None:
        self.stats.curr_connections = 7
        self.ask(b"set k 0 0 1\r\n1\r\nincr k 1\r\ntouch k 0\r\nget k x\r\ndelete x\r\nflush_all x")
        self.ask(b"stats reset")
        report = self.report()
        for name in ("cmd_get", "cmd_set", "cmd_touch", "cmd_flush", "get_hits", "get_misses",
                     "incr_hits", "delete_misses", "total_items", "total_connections"):  # fmt: skip
            self.assertEqual(report[name], "0", name)
        self.assertEqual((report["curr_items"], report["curr_connections"]), ("1", "7"))


class SubcommandTests(ReportCase):
    """What may stand behind `stats`."""

    def test_no_class_without_items(self) -> None:
        self.assertEqual(self.ask(b"stats items"), b"END\r\n")
        self.assertEqual(self.report("slabs"), {"active_slabs": "0", "total_malloced": "0"})
        self.ask(b"set k 0 0 1\r\n1\r\ndelete k")
        self.assertEqual(self.ask(b"stats items"), b"END\r\n")
        # A slab class that was once used stays.
        self.assertEqual(self.report("slabs")["1:used_chunks"], "0")

    def test_as_many_letters_as_were_sent(self) -> None:
        for line, answer in (
            (b"stats r", b"RESET\r\n"),
            (b"stats res x", b"RESET\r\n"),
            (b"stats resetx", b"ERROR\r\n"),
            (b"stats d", b"CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
            (b"stats detail o", b"OK\r\n"),
            (b"stats detail d", b"END\r\n"),
            (b"stats detail", b"CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
            (b"stats ex", b"END\r\n"),
            (b"stats item", b"ERROR\r\n"),
            (b"stats sizes", b"STAT sizes_status disabled\r\nEND\r\n"),
            (b"stats sizes_enable", b"ERROR\r\n"),
            (b" stats", b"ERROR\r\n"),
        ):
            self.assertEqual(self.ask(line), answer, line)
        self.assertEqual(self.report("s"), self.report("settings"))

    def test_settings_tell_every_bound(self) -> None:
        report = self.report("settings")
        for name, figure in (
            ("item_size_max", 1 << 20), ("most_key", 250), ("most_line", 2048),
            ("most_get_line", 1 << 20), ("most_waiting", 32 * 1024), ("close_timeout", 30),
            ("instalment_steps", MOST_STEPS), ("instalment_bytes", MOST_BYTES),
            ("most_prefixes", MOST_PREFIXES), ("most_prefix_bytes", MOST_PREFIX_BYTES),
        ):  # fmt: skip
            self.assertEqual(report[name], str(figure), name)

    def test_settings_as_told(self) -> None:
        self.start(
            Settings(
                max_item_size=5000,
                flush_enabled=False,
                dump_enabled=False,
                shutdown=lambda: None,
                told={"tcp_backlog": 17, "sync": "never"},
            )
        )
        self.stats.max_connections = 99
        self.stats.listeners = lambda: [
            Port(UNIXAddress("/run/a socket")),
            Port(IPv4Address("TCP", "127.0.0.1", 11311)),
            Port(IPv4Address("TCP", "127.0.0.2", 11312)),
        ]
        report = self.report("settings")
        for name, figure in (
            ("item_size_max", "5000"), ("flush_enabled", "no"), ("dump_enabled", "no"),
            ("shutdown_command", "yes"), ("tcp_backlog", "17"), ("sync", "never"),
            ("maxconns", "99"), ("tcpport", "11311"), ("inter", "127.0.0.1"),
            ("domain_socket", "/run/a%20socket"), ("detail_enabled", "no"),
        ):  # fmt: skip
            self.assertEqual(report[name], figure, name)

    def test_answers_around_a_report_are_in_order(self) -> None:
        sent = b"set k 0 0 1\r\nv\r\nget k\r\nstats items\r\nget k\r\nstats bogus\r\nget k\r\n"
        value = b"VALUE k 0 1\r\nv\r\nEND\r\n"
        report = b"STAT items:1:number 1\r\n"
        for size in (len(sent), 1):
            for place in range(0, len(sent), size):
                self.client.send(sent[place : place + size])
            self.server.settle()
            answer = self.client.answers()
            self.assertTrue(answer.startswith(b"STORED\r\n" + value + report), answer)
            self.assertTrue(answer.endswith(b"END\r\n" + value + b"ERROR\r\n" + value), answer)

    def test_a_report_ends_its_instalment(self) -> None:
        # A thousand of them in one would be a bomb where there are many connections to tell of.
        self.server.stop()
        self.start()
        transport = SlowTransport()
        client = self.server.connect(transport)
        client.send(b"stats\r\n" * 100 + b"get x\r\n")
        self.server.settle()
        self.assertEqual(transport.value().count(b"STAT pid "), 1)
        transport.resume()
        self.server.settle()
        self.assertEqual(transport.value().count(b"STAT pid "), 100)
        self.assertTrue(transport.value().endswith(b"END\r\nEND\r\n"))
        self.assertEqual(int(self.report()["conn_yields"]), 99)


class SlowTransport(StringTransport):
    """Its peer does not read until it is told to."""

    choked = True
    producer: Any

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.choked:
            self.producer.pauseProducing()

    def resume(self) -> None:
        self.choked = False
        self.producer.resumeProducing()


class Port:
    """An IListeningPort, as far as it is asked."""

    def __init__(self, address: Any, number: int = 3) -> None:
        self.getHost = lambda: address
        self.fileno = lambda: number


class Socket(StringTransport):
    """A transport with a descriptor."""

    def __init__(self, number: int, host: Any, peer: Any) -> None:
        super().__init__(hostAddress=host, peerAddress=peer)
        self.fileno = lambda: number


class ConnectionsTests(ReportCase):
    """`stats conns`."""

    def connect(self, number: int, host: Any, peer: Any) -> Client:
        client = self.server.connect(Socket(number, host, peer))
        self.connections.admit(lambda lost: client.protocol)
        return client

    def setUp(self) -> None:
        super().setUp()
        self.connections = Connections(10, self.stats, self.server.reactor)
        self.stats.connections = self.connections.live
        host = IPv4Address("TCP", "127.0.0.1", 11211)
        self.stats.listeners = lambda: [Port(host)]
        self.client = self.connect(9, host, IPv4Address("TCP", "127.0.0.1", 5001))

    def test_who_is_there(self) -> None:
        other = self.connect(10, IPv6Address("TCP", "::1", 11211), IPv6Address("TCP", "::1", 5002))
        self.connect(8, UNIXAddress(b"/run/s"), UNIXAddress(None))
        self.server.reactor.pump([1] * 4)
        other.ask(b"get x\r\n")
        self.server.reactor.pump([1] * 3)
        self.assertEqual(
            self.report("conns"),
            {
                "3:addr": "tcp:127.0.0.1:11211",
                "3:state": "conn_listening",
                "3:secs_since_last_cmd": "7",
                "8:addr": "unix:?",
                "8:listen_addr": "unix:/run/s",
                "8:state": "conn_read",
                "8:secs_since_last_cmd": "7",
                "9:addr": "tcp:127.0.0.1:5001",
                "9:listen_addr": "tcp:127.0.0.1:11211",
                "9:state": "conn_parse_cmd",
                "9:secs_since_last_cmd": "0",
                "10:addr": "tcp6:[::1]:5002",
                "10:listen_addr": "tcp6:[::1]:11211",
                "10:state": "conn_read",
                "10:secs_since_last_cmd": "2",
            },
        )

    def test_what_they_are_at(self) -> None:
        host = IPv4Address("TCP", "127.0.0.1", 11211)
        for number, sent, state in (
            (20, b"get x\r\nget", "conn_read"),
            (21, b"set k 0 0 10\r\nab", "conn_nread"),
            (22, b"set k x 0 10\r\nab", "conn_swallow"),
            (23, b"quit\r\n", "conn_closing"),
            (26, b"watch\r\n", "conn_watch"),
        ):
            other = self.connect(number, host, IPv4Address("TCP", "127.0.0.1", number))
            other.ask(sent)
            self.assertEqual(self.report("conns")[f"{number}:state"], state, sent)
        late = self.connect(24, host, IPv4Address("TCP", "127.0.0.1", 24))
        late.send(b"set k 0 0 1\r\n1\r\n")
        # It is in the storage thread; nothing has settled yet.
        self.client.send(b"stats conns\r\n")
        self.server.reactor.turn()
        self.assertIn(b"STAT 24:state conn_io_queue\r\n", self.client.answers())
        slow = self.connect(25, host, IPv4Address("TCP", "127.0.0.1", 25))
        slow.transport.producer.pauseProducing()
        self.assertEqual(self.report("conns")["25:state"], "conn_mwrite")


class LatencyTests(ReportCase):
    """`stats latency`."""

    def lists(self) -> "tuple[str, str]":
        report = self.report("latency")
        return report["reads"], report["writes"]

    def test_reads_and_writes_each_with_their_percentiles(self) -> None:
        report = self.report("latency")
        self.assertEqual(
            list(report),
            [
                name
                for kind in ("read", "write")
                for name in (
                    f"{kind}s",
                    *(f"{kind}_us_{part}" for part in ("p50", "p90", "p99", "p999", "max")),
                )
            ],
        )
        self.assertEqual(set(report.values()), {"0", "0.0"})

    def time_each(self) -> None:
        seconds = self.server.reactor.seconds
        writes, reads = (Latency(seconds, draw=lambda least, most: 1) for _ in range(2))
        self.stats.latency = writes, reads
        self.client = self.server.connect()

    def test_a_list_counts_as_what_it_is_and_once_however_long(self) -> None:
        self.time_each()
        self.ask(b"get a\r\nget b")
        self.ask(b"set a 0 0 1\r\n1\r\nget a")
        self.ask(b"mg a v")
        self.ask(b"a line that is no command")
        self.assertEqual(self.lists(), ("3", "1"))

    def test_a_batch_takes_until_it_is_answered(self) -> None:
        self.time_each()
        self.client.send(b"set a 0 0 1\r\n1\r\n")
        other = self.server.connect()
        other.send(b"stats latency\r\n")
        self.server.reactor.turn()
        self.assertIn(b"STAT writes 0\r\n", other.answers())
        self.server.settle()
        self.client.answers()
        report = self.report("latency")
        self.assertEqual(report["writes"], "1")
        times = [float(report[f"write_us_{part}"]) for part in ("p50", "p90", "p99", "max")]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], 0)

    def test_what_waits_behind_its_own_connection_is_not_timed(self) -> None:
        self.time_each()
        self.client.send(b"set a 0 0 1\r\n1\r\n")
        self.client.send(b"get a\r\n")
        self.server.settle()
        self.client.answers()
        self.assertEqual(self.lists(), ("0", "1"))

    def test_every_dialect_is_timed(self) -> None:
        self.time_each()
        self.server.connect(dialect="resp").ask(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        get = b"\x80\0\0\1" + bytes(7) + b"\1" + bytes(12) + b"a"
        self.assertEqual(len(self.server.connect(dialect="binary").ask(get)), 33)
        self.assertEqual(self.lists(), ("2", "0"))

    def test_reset(self) -> None:
        self.time_each()
        self.ask(b"get a")
        self.ask(b"stats reset")
        # It is a list itself, and is answered behind its own effect.
        self.assertEqual(self.lists(), ("1", "0"))

    def test_in_binary_too(self) -> None:
        stat = b"\x80\x10\0\7" + bytes(7) + b"\7" + bytes(12) + b"latency"
        self.assertIn(b"write_us_p999", self.server.connect(dialect="binary").ask(stat))


class HotTests(ReportCase):
    """`stats hot`."""

    def keys(self) -> "list[str]":
        report = self.report("hot")
        return [word for name, word in report.items() if name.endswith(":key")]

    def test_nobody_is_looked_at_before_somebody_asks(self) -> None:
        self.assertFalse(self.server.watchers.active)
        self.ask(b"get a\r\n" * 200)
        self.assertEqual(list(self.report("hot")), ["seconds", "operations"])
        self.assertTrue(self.server.watchers.active)

    def test_the_busiest_first_and_how_often(self) -> None:
        self.report("hot")
        self.ask(b"get a\r\nget b\r\nget a\r\n" * 1000 + b"version")
        self.server.reactor.advance(4)
        report = self.report("hot")
        self.assertEqual((report["seconds"], report["operations"]), ("4.0", "3000"))
        self.assertEqual((report["1:key"], report["2:key"]), ("a", "b"))
        self.assertGreater(int(report["1:operations"]), int(report["2:operations"]))

    def test_a_key_that_no_line_can_have_is_encoded(self) -> None:
        self.report("hot")
        resp = self.server.connect(dialect="resp")
        resp.ask(b"*2\r\n$3\r\nGET\r\n$6\r\na %\r\n\xff\r\n" * 500)
        self.assertEqual(self.keys(), ["a%20%25%0D%0A%FF"])

    def test_each_key_of_what_has_several_counts(self) -> None:
        self.report("hot")
        resp = self.server.connect(dialect="resp")
        resp.ask(b"*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n" * 500)
        resp.ask(b"*5\r\n$4\r\nMSET" + b"".join(b"\r\n$1\r\n%b" % x for x in (b"c", b"1") * 2))
        report = self.report("hot")
        self.assertEqual(report["operations"], "1000")
        self.assertEqual({report["1:key"], report["2:key"]}, {"a", "b"})

    def test_the_beginning_of_a_range_is_no_key(self) -> None:
        self.report("hot")
        self.ask(b"mr a z 10\r\n" * 500)
        self.assertEqual(self.report("hot")["operations"], "0")

    def test_it_ends_when_nobody_asks_any_more(self) -> None:
        self.report("hot")
        self.server.reactor.advance(ASKED + 1)
        self.ask(b"get a")
        self.assertFalse(self.server.watchers.active)

    def test_who_watches_goes_on_when_it_ends(self) -> None:
        watcher = self.server.connect()
        watcher.ask(b"watch fetchers\r\n")
        self.report("hot")
        self.ask(b"get a")
        self.server.reactor.advance(ASKED + 1)
        self.ask(b"get b")
        told = watcher.answers()
        self.assertEqual(told.count(b"type=item_get"), 2)

    def test_who_watches_nothing_is_not_in_the_way(self) -> None:
        self.report("hot")
        self.ask(b"get a")
        self.assertEqual(self.report()["log_worker_written"], "0")

    def test_not_where_nothing_is_to_be_listed(self) -> None:
        self.start(Settings(dump_enabled=False))
        self.assertEqual(self.ask(b"stats hot"), b"CLIENT_ERROR stats hot not allowed\r\n")
        self.assertFalse(self.server.watchers.active)

    def test_only_by_its_whole_name(self) -> None:
        for line in (b"stats ho", b"stats hotter", b"stats latenc"):
            self.assertEqual(self.ask(line), b"ERROR\r\n")

    def test_the_bounds_are_shown(self) -> None:
        report = self.report("settings")
        self.assertEqual(report["most_hot_keys"], str(MOST_KEYS))
        self.assertEqual((report["hot_seconds"], report["latency_seconds"]), ("20", "120"))


class DetailTests(ReportCase):
    """`stats detail`."""

    def dump(self) -> bytes:
        return self.ask(b"stats detail dump")

    def test_off_at_first(self) -> None:
        self.ask(b"set a:b 0 0 1\r\n1\r\nget a:b")
        self.assertEqual(self.dump(), b"END\r\n")
        self.assertEqual(self.report("settings")["detail_enabled"], "no")

    def test_by_prefix(self) -> None:
        self.assertEqual(self.ask(b"stats detail on"), b"OK\r\n")
        self.ask(b"set a:b 0 0 1\r\n1\r\nset bb:c 0 0 1\r\n1\r\nget a:b a:c bb:c\r\ndelete bb:c")
        self.assertEqual(
            self.dump(),
            b"PREFIX a get 2 hit 1 set 1 del 0\r\nPREFIX bb get 1 hit 1 set 1 del 1\r\nEND\r\n",
        )
        self.assertEqual(self.report("settings")["detail_enabled"], "yes")

    def test_what_is_behind_it_on_the_wire_is_counted(self) -> None:
        get = b"get a:b\r\n"
        answer = self.ask(
            get
            + b"stats detail on\r\n"
            + get
            + b"stats detail off\r\n"
            + get
            + b"stats detail dump"
        )
        self.assertEqual(
            answer,
            b"END\r\nOK\r\nEND\r\nOK\r\nEND\r\nPREFIX a get 1 hit 0 set 0 del 0\r\nEND\r\n",
        )

    def test_noreply_stays_noreply(self) -> None:
        self.ask(b"stats detail on")
        self.assertEqual(self.ask(b"set a:b 0 0 1 noreply\r\n1\r\ndelete a:b noreply"), b"")
        self.assertEqual(self.dump(), b"PREFIX a get 0 hit 0 set 1 del 1\r\nEND\r\n")

    def test_a_key_that_is_too_long(self) -> None:
        self.ask(b"stats detail on")
        self.ask(b"get a:b a:" + b"k" * 250)
        self.ask(b"set a:" + b"k" * 250 + b" 0 0 1\r\n1")
        self.assertEqual(self.dump(), b"PREFIX a get 1 hit 0 set 0 del 0\r\nEND\r\n")

    def test_not_where_nothing_is_to_be_listed(self) -> None:
        self.start(Settings(dump_enabled=False))
        for line in (b"stats detail dump", b"stats detail on", b"stats detail"):
            self.assertEqual(self.ask(line), b"CLIENT_ERROR stats detail not allowed\r\n")
        self.assertFalse(self.stats.prefixes.counting)

    def test_another_delimiter(self) -> None:
        self.stats.prefixes = Prefixes(b"/", counting=True)
        self.ask(b"get a/b:c\r\nget a:b")
        self.assertEqual(self.dump(), b"PREFIX a get 1 hit 0 set 0 del 0\r\nEND\r\n")
        self.assertEqual(self.report("settings")["stat_key_prefix"], "/")

    def test_so_many_prefixes_and_no_more(self) -> None:
        self.stats.prefixes = Prefixes(counting=True)
        for number in range(MOST_PREFIXES):
            self.stats.prefixes.count_set(b"%d:" % number)
        self.ask(b"get new:a\r\nget new:a\r\nget 7:a")
        self.assertEqual(len(list(self.stats.prefixes.rows())), MOST_PREFIXES)
        self.assertIn(b"PREFIX 7 get 1 hit 0 set 1 del 0\r\n", self.dump())
        self.assertEqual(self.report()["detail_left_out"], "2")
        self.ask(b"stats reset\r\nget new:a")
        self.assertEqual(self.dump(), b"PREFIX new get 1 hit 0 set 0 del 0\r\nEND\r\n")

    def test_so_many_bytes_of_them(self) -> None:
        prefixes = Prefixes()
        for number in range(MOST_PREFIXES):
            prefixes.count_set(b"%0240d:" % number)
        kept = list(prefixes.rows())
        self.assertEqual(len(kept), MOST_PREFIX_BYTES // 240)
        self.assertEqual(prefixes.left_out, MOST_PREFIXES - len(kept))
