"""
What the reports of a server tell of the time between two looks at it.

A server counts from its start; what one wants to know is how fast. So two samples make a reading:
rates for what is counted, the later value for what is as it is. What a server does not tell is not
there in a reading either: memcached has no latencies.

The rule: a counter that has fallen has begun anew (`stats reset`, a restart), and all that it now
shows has come since. So no rate is ever negative.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from time import monotonic
from typing import Callable, NamedTuple, Optional, Union
from urllib.parse import unquote_to_bytes

from mctwist import client
from mctwist.client import LOST, REFUSED, Connection

Value = Union[int, float, str]
#: What a reading says, by name; what is not known is left out.
Values = dict[str, Value]

#: The reports that are asked for. Only mctwist knows those behind the first.
_REPORTS = ("", "storage", "latency")
_HOT = "hot"


class Key(NamedTuple):
    """
    A key that is used much.

    :ivar rate: about the operations on it in a second.
    :ivar share: the part of all operations that were on it.
    """

    name: bytes
    rate: float
    share: float


class Sample(NamedTuple):
    """
    What a server has told of itself.

    :ivar moment: when, in seconds of some clock.
    :ivar told: figures by name.
    :ivar keys: the busiest of them, those first that are used most.
    """

    moment: float
    told: Mapping[str, str]
    keys: Sequence[Key] = ()

    def number(self, name: str) -> Optional[float]:
        """A figure; None: it is not known."""
        return _number(self.told.get(name, ""))


def _number(word: str) -> Optional[float]:
    """What a server has told, of which None is no number."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if isfinite(value) else None


def ask(connection: Connection, keys: bool) -> None:
    """
    Ask for a sample. It is to be fetched by `fetch`.

    :param keys: the busiest keys too.
    """
    connection.send(b"".join(b"stats %b\r\n" % name.encode() for name in _asked(keys)))


def fetch(connection: Connection, keys: bool, clock: Callable[[], float] = monotonic) -> Sample:
    """
    The sample that `ask` has asked for. What a server does not know, or not tell us, is left out.

    :raises MemcacheClientError: it tells nothing at all, as to who has not logged in.
    :raises MemcacheServerError: the same, as of what is no memcached.
    """
    told: dict[str, dict[str, str]] = {}
    for name in _asked(keys):
        try:
            told[name] = client.stats(connection.answers)
        except REFUSED as fault:
            if not name or isinstance(fault, LOST):
                raise
            told[name] = {}
    # Where several have a figure, that of `stats` is the one that everybody else sees.
    figures = {**told["latency"], **told["storage"], **told[""]}
    return Sample(clock(), figures, busiest(told.get(_HOT, {})))


def _asked(keys: bool) -> Sequence[str]:
    return (*_REPORTS, _HOT) if keys else _REPORTS


def busiest(told: Mapping[str, str]) -> list[Key]:
    """What `stats hot` says."""
    # In the first moments there is next to nothing to tell from.
    seconds = max(_number(told.get("seconds", "")) or 0, 0.1)
    operations = max(_number(told.get("operations", "")) or 0, 1)
    found: list[Key] = []
    while f"{len(found) + 1}:key" in told:
        number = len(found) + 1
        count = _number(told.get(f"{number}:operations", "")) or 0
        name = unquote_to_bytes(told[f"{number}:key"])
        found.append(Key(name, count / seconds, min(count / operations, 1.0)))
    return found


class Interval:
    """The time from one sample to the next."""

    def __init__(self, before: Sample, after: Sample) -> None:
        self._before = before
        self.after = after
        self.seconds = max(after.moment - before.moment, 1e-6)

    def grown(self, *names: str) -> Optional[float]:
        """By how much these counters have grown together; None: none of them is known."""
        growths = [growth for growth in map(self._grown, names) if growth is not None]
        return sum(growths) if growths else None

    def _grown(self, name: str) -> Optional[float]:
        before, after = self._before.number(name), self.after.number(name)
        if before is None or after is None:
            return None
        return after - before if after >= before else after

    def rate(self, *names: str) -> Optional[float]:
        """The same, in a second."""
        growth = self.grown(*names)
        return None if growth is None else growth / self.seconds

    def per(self, name: str, of: str) -> Optional[float]:
        """How many of `name` there were for one of `of`."""
        return _ratio(self.grown(name), self.grown(of))


def _ratio(part: Optional[float], whole: Optional[float]) -> Optional[float]:
    return part / whole if part is not None and whole else None


#: What is counted of each kind of operation. A meta command is counted as what it does, too, and a
#: cas as a set.
OPERATIONS = {
    "get": ("cmd_get",),
    "set": ("cmd_set",),
    "delete": ("delete_hits", "delete_misses"),
    "touch": ("cmd_touch",),
    "incr": ("incr_hits", "incr_misses", "decr_hits", "decr_misses"),
    "flush": ("cmd_flush",),
}
_ALSO = {"cas": ("cas_hits", "cas_misses", "cas_badval"), "meta": ("cmd_meta",)}
_ALL = tuple(name for names in OPERATIONS.values() for name in names)

#: What grows: by what name its rate in a second is told, and what is counted of it.
_RATES: dict[str, tuple[str, ...]] = {
    "ops": _ALL,
    **{f"ops_{kind}": names for kind, names in {**OPERATIONS, **_ALSO}.items()},
    "connections_opened": ("total_connections",),
    "connections_rejected": ("rejected_connections",),
    "bytes_in": ("bytes_read",),
    "bytes_out": ("bytes_written",),
    "evictions": ("evictions",),
    "expired": ("reclaimed", "crawler_reclaimed"),
    "batches": ("batches",),
    "syncs": ("syncs",),
}
#: What is as it is: by what name it is told, and under which the server tells it.
_LEVELS = {
    "uptime": "uptime",
    "connections": "curr_connections",
    "connections_limit": "max_connections",
    "connections_rejected_total": "rejected_connections",
    "items": "curr_items",
    "bytes": "bytes",
    "bytes_limit": "limit_maxbytes",
    "evictions_total": "evictions",
    "checkpoints_total": "checkpoints",
    "checkpoint_us": "last_checkpoint_us",
    "journal_bytes": "bytes_journal",
}

#: Times, in microseconds, by kind; and what else the server calls the parts of them.
TIMES = ("read", "write", "sync")
PARTS = ("p50", "p90", "p99", "p999", "max")
_CALLED = {"sync_us_p50": "sync_us_median"}


def _times(after: Sample) -> "dict[str, Optional[Value]]":
    return {
        name: _whole(after.number(_CALLED.get(name, name)))
        for kind in TIMES
        # Of nothing there are no percentiles.
        if after.number(f"{kind}s")
        for name in (f"{kind}_us_{part}" for part in PARTS)
    }


def read(interval: Interval) -> Values:
    """What there is to say about an interval."""
    after = interval.after
    hits, gets = after.number("get_hits"), after.number("cmd_get")
    found: dict[str, Optional[Value]] = {
        "version": after.told.get("version"),
        "interval": round(interval.seconds, 3),
        **{name: _rounded(interval.rate(*names), 1) for name, names in _RATES.items()},
        "hit_ratio": _rounded(interval.per("get_hits", "cmd_get"), 4),
        "hit_ratio_total": _rounded(_ratio(hits, gets), 4),
        "batch_operations": _rounded(interval.per("operations", "batches"), 1),
        **{name: _whole(after.number(told)) for name, told in _LEVELS.items()},
        **_times(after),
    }
    return {name: value for name, value in found.items() if value is not None}


def _rounded(value: Optional[float], digits: int) -> Optional[float]:
    return None if value is None else round(value, digits)


def _whole(value: Optional[float]) -> Optional[Value]:
    return int(value) if value is not None and value.is_integer() else value
