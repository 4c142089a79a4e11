"""What two looks at a server tell of the time between."""

from io import BytesIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist.shell.measure import gauges
from mctwist.shell.measure.gauges import Interval, Key, Sample, Values


def between(before: "dict[str, Any]", after: "dict[str, Any]", seconds: float = 2.0) -> Interval:
    """An interval of so many seconds."""
    return Interval(
        Sample(100.0, {name: str(value) for name, value in before.items()}),
        Sample(100.0 + seconds, {name: str(value) for name, value in after.items()}),
    )


class IntervalTests(SynchronousTestCase):
    """Counters that grow, that fall, that are not there."""

    def test_a_rate_is_in_a_second(self) -> None:
        interval = between({"cmd_get": 10}, {"cmd_get": 30})
        self.assertEqual((interval.grown("cmd_get"), interval.rate("cmd_get")), (20, 10))

    def test_several_counters_together(self) -> None:
        interval = between({"a": 1, "b": 2}, {"a": 3, "b": 2, "c": 50})
        self.assertEqual(interval.grown("a", "b", "missing"), 2)
        self.assertIsNone(interval.grown("missing"))
        self.assertIsNone(interval.rate("c"))
        self.assertIsNone(interval.grown("never"))

    def test_what_has_fallen_has_begun_anew(self) -> None:
        interval = between({"a": 1000, "b": 5}, {"a": 6, "b": 9})
        self.assertEqual((interval.rate("a"), interval.rate("b")), (3, 2))

    def test_what_is_no_number_is_not_known(self) -> None:
        self.assertIsNone(between({"a": "yes"}, {"a": "no"}).grown("a"))
        self.assertIsNone(between({"a": "nan"}, {"a": "inf"}).grown("a"))

    def test_no_time_at_all(self) -> None:
        self.assertGreater(between({"a": 1}, {"a": 2}, 0).seconds, 0)


class ReadingTests(SynchronousTestCase):
    """What is told."""

    def read(self, before: "dict[str, Any]", after: "dict[str, Any]") -> Values:
        return gauges.read(between(before, after))

    def test_operations_by_kind_and_together(self) -> None:
        names = "cmd_get cmd_set delete_hits delete_misses incr_hits decr_misses cas_hits cmd_meta"
        values = self.read(dict.fromkeys(names.split(), 0), dict.fromkeys(names.split(), 2))
        self.assertEqual((values["ops_get"], values["ops_delete"], values["ops_incr"]), (1, 2, 2))
        # cas is a set, and what meta commands do is counted as that.
        self.assertEqual((values["ops_cas"], values["ops_meta"]), (1, 1))
        self.assertEqual(values["ops"], 6)
        self.assertNotIn("ops_touch", values)

    def test_the_hit_ratio_of_the_interval_and_of_all(self) -> None:
        values = self.read({"cmd_get": 100, "get_hits": 0}, {"cmd_get": 200, "get_hits": 75})
        self.assertEqual((values["hit_ratio"], values["hit_ratio_total"]), (0.75, 0.375))
        values = self.read({"cmd_get": 4, "get_hits": 1}, {"cmd_get": 4, "get_hits": 1})
        self.assertNotIn("hit_ratio", values)
        self.assertEqual(values["hit_ratio_total"], 0.25)

    def test_after_a_restart_nothing_is_negative(self) -> None:
        names = "cmd_get get_hits cmd_set bytes_read bytes_written evictions batches syncs uptime"
        values = self.read(dict.fromkeys(names.split(), 9000), dict.fromkeys(names.split(), 8))
        for name, value in values.items():
            self.assertGreaterEqual(float(value), 0, name)
        self.assertEqual((values["ops_get"], values["uptime"]), (4, 8))

    def test_of_a_server_that_tells_little(self) -> None:
        self.assertEqual(
            self.read({"version": "1"}, {"version": "2"}), {"version": "2", "interval": 2}
        )

    def test_times_only_where_something_took_some(self) -> None:
        told = {"read_us_p99": "5.5", "write_us_p99": "0.0", "sync_us_median": 7, "sync_us_max": 9}
        values = self.read({}, {**told, "reads": 4, "writes": 0, "syncs": 1})
        times = {name: value for name, value in values.items() if "_us_" in name}
        self.assertEqual(times, {"read_us_p99": 5.5, "sync_us_p50": 7, "sync_us_max": 9})

    def test_each_name_is_told_of_a_server_that_tells_all(self) -> None:
        everything = {
            "version": "x",
            **{name: 1 for names in gauges._RATES.values() for name in names},
            **dict.fromkeys(gauges._LEVELS.values(), 1),
        }
        values = self.read(everything, everything)
        for name in (*gauges._RATES, *gauges._LEVELS):
            self.assertIn(name, values)


class BusiestTests(SynchronousTestCase):
    """What `stats hot` says, read."""

    def test_rates_and_shares(self) -> None:
        told = {
            "seconds": "4.0",
            "operations": "200",
            "1:key": "a%20b%FF",
            "1:operations": "120",
            "2:key": "c",
            "2:operations": "40",
        }
        self.assertEqual(gauges.busiest(told), [Key(b"a b\xff", 30, 0.6), Key(b"c", 10, 0.2)])

    def test_of_a_server_that_does_not_tell(self) -> None:
        self.assertEqual(gauges.busiest({}), [])

    def test_what_is_no_number_does_no_harm(self) -> None:
        told = {"seconds": "x", "operations": "nan", "1:key": "a", "1:operations": "inf"}
        self.assertEqual(gauges.busiest(told), [Key(b"a", 0, 0)])

    def test_of_no_time_and_of_more_than_all(self) -> None:
        # It is a sample: of few operations it may be too many.
        told = {"seconds": "0.0", "operations": "3", "1:key": "a", "1:operations": "16"}
        self.assertEqual(gauges.busiest(told), [Key(b"a", 160, 1)])


class Answered:
    """A connection on which all answers are there. :ivar sent: what was asked."""

    def __init__(self, answers: bytes) -> None:
        self.answers = BytesIO(answers)
        self.sent = b""

    def send(self, request: bytes) -> None:
        self.sent += request


class FetchTests(SynchronousTestCase):
    """The reports of one server."""

    def fetch(self, answers: bytes, keys: bool) -> Sample:
        connection: Any = Answered(answers)
        gauges.ask(connection, keys)
        self.assertEqual(connection.sent.count(b"stats"), 3 + keys)
        sample = gauges.fetch(connection, keys, lambda: 12.5)
        self.assertEqual(connection.answers.read(), b"")
        return sample

    def test_of_mctwist(self) -> None:
        sample = self.fetch(
            b"STAT evictions 1\r\nEND\r\n"
            b"STAT evictions 2\r\nSTAT syncs 3\r\nEND\r\n"
            b"STAT reads 4\r\nEND\r\n"
            b"STAT seconds 1.0\r\nSTAT operations 8\r\n"
            b"STAT 1:key k\r\nSTAT 1:operations 8\r\nEND\r\n",
            True,
        )
        self.assertEqual(sample.moment, 12.5)
        # As everybody sees it: `stats reset` has no say over the other.
        self.assertEqual(sample.told, {"evictions": "1", "syncs": "3", "reads": "4"})
        self.assertEqual(sample.keys, [Key(b"k", 8, 1)])

    def test_of_memcached_and_of_who_may_not_list(self) -> None:
        sample = self.fetch(
            b"STAT pid 7\r\nEND\r\nERROR\r\nERROR\r\nCLIENT_ERROR permission denied\r\n", True
        )
        self.assertEqual((sample.told, sample.keys), ({"pid": "7"}, []))

    def test_without_keys(self) -> None:
        self.assertEqual(self.fetch(b"END\r\nERROR\r\nERROR\r\n", False).told, {})
