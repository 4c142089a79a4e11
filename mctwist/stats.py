"""
What the server counts.

Counts are plain attributes, raised by one where an answer is rendered, always in the reactor's
thread. What can be derived (`cmd_get` is hits and misses) is derived when asked for. The names
are memcached's where it has the count (protocol.txt, "General-purpose statistics").

What only others know (the store's figures, the live connections) is asked of them by callables
that the composition root sets. The texts made of all this are in `protocols.statistics`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Callable, Optional

from mctwist import __version__
from mctwist.latency import Latency

#: The memcached whose protocol we follow. Clients compare it to learn what they may use.
PROTOCOL_VERSION = "1.6.45"
VERSION = f"{PROTOCOL_VERSION}-mctwist-{__version__}"

#: `stats detail` holds so many prefixes and so many bytes of them; a new one is then left out.
MOST_PREFIXES = 10_000
MOST_PREFIX_BYTES = 256 * 1024

#: The store's figures that `stats reset` sets to 0, as it does with memcached's (items.c,
#: item_stats_reset). The others say how things are.
_STORE_COUNTERS = (
    "evictions",
    "evicted_unfetched",
    "evicted_active",
    "evicted_nonzero",
    "expired_unfetched",
    "reclaimed",
    "direct_reclaims",
    "crawler_reclaimed",
    "crawler_items_checked",
    "lru_crawler_starts",
    "get_expired",
    "get_flushed",
)


class Prefixes:
    """
    What `stats detail` counts: commands by the part of their keys before a delimiter.

    :param delimiter: one byte; a key without it is not counted.
    :ivar counting: commands are counted.
    :ivar watched: commands have to be looked at. True from when `stats detail on` is read, which
        is before its turn to be answered: what is behind it on the wire is to be counted.
    :ivar left_out: commands not counted because there was no room for their prefix.
    """

    def __init__(self, delimiter: bytes = b":", counting: bool = False) -> None:
        self.delimiter = delimiter
        self.counting = self.watched = counting
        self.clear()

    def switch(self, on: bool) -> None:
        self.counting = self.watched = on

    def clear(self) -> None:
        self.left_out = 0
        self._size = 0
        self._rows: dict[bytes, list[int]] = {}

    def count_get(self, key: bytes, hit: bool) -> None:
        row = self._row(key)
        row[0] += 1
        row[1] += hit

    def count_set(self, key: bytes) -> None:
        self._row(key)[2] += 1

    def count_delete(self, key: bytes) -> None:
        self._row(key)[3] += 1

    def rows(self) -> Iterable[tuple[bytes, list[int]]]:
        """The prefixes, each with its gets, hits, sets and deletes."""
        return self._rows.items()

    def _row(self, key: bytes) -> list[int]:
        prefix, delimiter, _ = key.partition(self.delimiter)
        row = self._rows.get(prefix)
        if row is None or not delimiter:
            row = [0, 0, 0, 0]
            # memcached takes a NUL for the end of the key (stats_prefix.c, stats_prefix_find).
            if not delimiter or b"\0" in prefix:
                return row
            if len(self._rows) >= MOST_PREFIXES or self._size + len(prefix) > MOST_PREFIX_BYTES:
                self.left_out += 1
                return row
            self._size += len(prefix)
            self._rows[prefix] = row
        return row


class Stats:
    """
    The counters of one server.

    :param seconds: the clock, in seconds since the epoch.
    :ivar of_store: the store's own figures by name; what is not there is 0. Under `storage` it
        has a mapping of those that only `stats storage` shows.
    :ivar connections: the live ones, each with its `transport` and its `state` (memcached's
        word), and when it last sent something, in seconds since the epoch.
    :ivar listeners: the IListeningPorts.
    :ivar latency: how long lists of commands take: those that write, and, at True, those of
        nothing but reads.
    :ivar certificates_loaded: when the certificates of TLS were read last, in seconds since the
        epoch; None: there is no TLS.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.started = seconds()
        self.of_store: Callable[[], Mapping[str, Any]] = dict
        self.connections: Callable[[], Iterable[tuple[Any, float]]] = tuple
        self.listeners: Callable[[], Iterable[Any]] = tuple
        self.prefixes = Prefixes()
        self.latency = Latency(seconds), Latency(seconds)
        self.max_connections = 0
        self.curr_connections = 0
        self.log_watchers = 0
        self.certificates_loaded: Optional[float] = None
        self._at_reset: Mapping[str, Any] = {}
        self._clear()

    def _clear(self) -> None:
        self.total_connections = 0
        self.rejected_connections = 0
        self.idle_kicks = 0
        self.conn_yields = 0
        self.get_hits = 0
        self.get_misses = 0
        self.set_commands = 0
        self.meta_commands = 0
        self.total_items = 0
        self.flush_commands = 0
        self.touch_hits = 0
        self.touch_misses = 0
        self.delete_hits = 0
        self.delete_misses = 0
        self.incr_hits = 0
        self.incr_misses = 0
        self.decr_hits = 0
        self.decr_misses = 0
        self.cas_hits = 0
        self.cas_misses = 0
        self.cas_badval = 0
        self.auth_commands = 0
        self.auth_errors = 0
        self.resp_commands = 0
        self.simpledb_commands = 0
        self.simpledb_errors = 0
        self.store_too_large = 0
        self.store_no_memory = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.log_worker_dropped = 0
        self.log_worker_written = 0
        self.log_watcher_skipped = 0
        self.log_watcher_sent = 0
        self.ssl_handshake_errors = 0
        self.ssl_proto_errors = 0

    def reset(self) -> None:
        """Count from 0 again; what says how things are stays (memcached.c, stats_reset)."""
        self._clear()
        self.prefixes.clear()
        for latency in self.latency:
            latency.clear()
        figures = self.of_store()
        self._at_reset = {name: figures.get(name, 0) for name in _STORE_COUNTERS}

    def figures(self) -> dict[str, Any]:
        """The store's own, its counters as of the last reset."""
        figures = dict(self.of_store())
        for name, before in self._at_reset.items():
            figures[name] = figures.get(name, 0) - before
        return figures
