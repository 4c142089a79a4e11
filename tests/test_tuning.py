"""The tuning verbs: what they answer, what of it `stats settings` shows, and the two that do it."""

from twisted.trial.unittest import SynchronousTestCase

from mctwist.protocols.services import Settings
from tests.wire import Server

OK, ERROR = b"OK\r\n", b"ERROR\r\n"
BAD_FORMAT = b"CLIENT_ERROR bad command line format\r\n"


class TuningTests(SynchronousTestCase):
    """A client that tunes; test_differential.py holds most answers against memcached's."""

    def setUp(self) -> None:
        self.limits: list[int] = []
        self.levels: list[int] = []
        settings = Settings(set_limit=self.set_limit, set_verbosity=self.levels.append)
        self.server = Server(settings=settings)
        self.addCleanup(self.server.stop)
        self.client = self.server.connect()

    def set_limit(self, size: int) -> bool:
        if size > 1 << 40:
            return False
        self.limits.append(size)
        return True

    def ask(self, line: str) -> bytes:
        return self.client.ask(line.encode() + b"\r\n")

    def shown(self) -> "dict[str, str]":
        lines = self.server.connect().ask(b"stats settings\r\n").decode().splitlines()
        return dict(line.split(" ")[1:] for line in lines[:-1])

    def test_where_memcached_answers_by_the_state_of_its_memory_all_is_well(self) -> None:
        for line in (
            "slabs reassign 1 2", "slabs reassign -1 5", "slabs reassign 0 63",
            "lru_crawler crawl all", "lru_crawler crawl 1,2,3", "lru_crawler crawl ,1,",
            "lru_crawler crawl 63",
        ):  # fmt: skip
            self.assertEqual(self.ask(line), OK, line)

    def test_words_of_which_the_beginning_was_sent(self) -> None:
        # Of memcached 1.6.45; 1.6.18 still wants them whole.
        for line in (
            "slabs r 1 2", "slabs a 1", "slabs automove r 0.5", "slabs automove f 0.5",
            "lru t 10 20 0.1 1.5", "lru t 60", "lru m fla", "lru_crawler s 100", "lru_crawler t 1",
            "lru_crawler c all", "extstore i 10",
        ):  # fmt: skip
            self.assertEqual(self.ask(line), OK, line)

    def test_what_is_wrong(self) -> None:
        for line, answer in (
            ("slabs reassign 1 64", b"BADCLASS invalid src or dst class id\r\n"),
            ("slabs reassign -2 1", b"BADCLASS invalid src or dst class id\r\n"),
            ("slabs automove window 2", b"CLIENT_ERROR automove window too low or too high\r\n"),
            ("slabs automove window 1801", b"CLIENT_ERROR automove window too low or too high\r\n"),
            ("slabs automove freeratio", ERROR),
            ("slabs automove ratio 1_0", ERROR),
            ("slabs automove ratio " + "1" * 32, ERROR),
            ("lru mode flatter", ERROR),
            ("lru tune 10 20 nan", ERROR),
            ("lru_crawler tocrawl 4294967296", BAD_FORMAT),
            ("lru_crawler crawl ,", b"NOTSTARTED no items to crawl\r\n"),
            ("lru_crawler crawl allx", b"BADCLASS invalid class id\r\n"),
            ("lru_crawler crawl " + "9" * 20, b"BADCLASS invalid class id\r\n"),
            ("lru_crawler crawl hash", b"ERROR an unknown error happened\r\n"),
            ("lru_crawler crawl 64 noreply", b""),
            ("cache_memlimit 4294967296", ERROR),
            ("cache_memlimits 64", ERROR),
        ):
            self.assertEqual(self.ask(line), answer, line)
        self.assertEqual(self.limits, [])

    def test_the_crawler_is_on_or_off(self) -> None:
        for line, answer in (
            ("lru_crawler enable", b"ERROR failed to start lru crawler thread\r\n"),
            ("lru_crawler disable", OK),
            ("lru_crawler disable", OK),
            ("lru_crawler crawl all", b"CLIENT_ERROR lru crawler disabled\r\n"),
            ("lru_crawler sleep 5", OK),
        ):
            self.assertEqual(self.ask(line), answer, line)
        self.assertEqual(self.shown()["lru_crawler"], "no")
        self.assertEqual(self.ask("lru_crawler enable"), OK)
        self.assertEqual(self.ask("lru_crawler crawl all"), OK)
        self.assertEqual(self.shown()["lru_crawler"], "yes")

    def test_what_was_set_is_shown_to_all(self) -> None:
        for line, name, figure in (
            ("slabs automove 2", "slab_automove", "2"),
            ("slabs automove ratio .75", "slab_automove_ratio", "0.75"),
            ("slabs automove freeratio 0.0125", "slab_automove_freeratio", "0.013"),
            ("slabs automove window 30", "slab_automove_window", "30"),
            ("lru tune 10 25 0.1 2.0", "hot_lru_pct", "10"),
            ("lru tune 10 25 0.1 2.0", "warm_lru_pct", "25"),
            ("lru tune 10 25 0.1 2.0", "hot_max_factor", "0.10"),
            ("lru tune 10 25 0.1 2.0", "warm_max_factor", "2.00"),
            ("lru mode segmented", "lru_segmented", "yes"),
            ("lru mode flat", "lru_segmented", "no"),
            ("lru temp_ttl 90", "temporary_ttl", "90"),
            ("lru temp_ttl 90", "temp_lru", "yes"),
            ("lru temp_ttl -1", "temp_lru", "no"),
            ("lru temp_ttl -1", "temporary_ttl", "90"),
            ("lru_crawler sleep 200", "lru_crawler_sleep", "200"),
            ("lru_crawler tocrawl 300", "lru_crawler_tocrawl", "300"),
            ("extstore recache_rate 7", "ext_recache_rate", "7"),
            ("extstore max_frag 0.5", "ext_max_frag", "0.50"),
            ("extstore drop_unread 1", "ext_drop_unread", "yes"),
            ("verbosity 9", "verbosity", "2"),
        ):
            self.assertEqual(self.ask(line), OK, line)
            self.assertEqual(self.shown()[name], figure, line)

    def test_what_was_refused_is_not_shown(self) -> None:
        before = self.shown()
        for line in ("lru tune 50 50 1 1", "lru_crawler sleep 1000001", "slabs automove 3",
                     "lru temp_ttl x", "verbosity x"):  # fmt: skip
            self.assertNotEqual(self.ask(line), OK, line)
        self.assertEqual(self.shown(), before)

    def test_the_limit(self) -> None:
        self.assertEqual(self.ask("cache_memlimit 64"), OK)
        self.assertEqual(self.ask("cache_memlimit 100 noreply"), b"")
        self.assertTrue(self.ask("cache_memlimit 7").startswith(b"MEMLIMIT_TOO_SMALL "))
        self.assertTrue(
            self.ask("cache_memlimit 1000000001").startswith(b"MEMLIMIT_ADJUST_FAILED ")
        )
        self.assertEqual(
            self.ask("cache_memlimit 1048577"),
            b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n",
        )
        self.assertEqual(self.limits, [64 << 20, 100 << 20])

    def test_servers_are_tuned_apart(self) -> None:
        self.ask("lru_crawler sleep 200")
        other = Server()
        self.addCleanup(other.stop)
        answer = other.connect().ask(b"stats settings\r\n")
        self.assertIn(b"STAT lru_crawler_sleep 0\r\n", answer)
