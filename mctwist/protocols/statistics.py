"""
The reports of `stats`: what was counted, and how things are, in memcached's words.

Each is made whole when its turn among the answers comes, of the counters (`Stats`), of what the
store says of itself, and, for `settings`, of what the server was told. Names and their order are
those of memcached 1.6.45 (memcached.c, items.c, slabs.c), for exporters and dashboards read them.
A figure is true, or 0 where the thing is not there: there are no slabs, no LRU queues and no hash
table, so all items are in one slab class, number 1, and in the cold one of the queues.

Whoever reads a report splits its lines into three words, so no figure has a space in it.
"""

import os
import resource
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Union
from urllib.parse import quote

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from mctwist.histogram import Histogram
from mctwist.hot import Hottest
from mctwist.interfaces import Render
from mctwist.stats import VERSION, Stats

Fields = Iterable[tuple[str, object]]
#: A report: `(stats, live items, their bytes) -> fields`.
Report = Callable[[Stats, int, int], Fields]

# What memcached's dashboards call a page.
_PAGE = 1 << 20
# All that is printed but the blank and the percent sign that stands for it.
_PRINTED = "".join(map(chr, range(33, 127))).replace("%", "")


def lines(fields: Fields) -> bytes:
    """The text of a report."""
    words = (
        (name, quote(figure, safe=_PRINTED) if isinstance(figure, (str, bytes)) else figure)
        for name, figure in fields
    )
    return "".join(f"STAT {name} {figure}\r\n" for name, figure in words).encode() + b"END\r\n"


def rendered(report: Report) -> Render:
    """`report` as the answer to a step of `operations.counts`."""

    def render(stats: Stats, key: bytes, counts: tuple[int, int]) -> bytes:
        return lines(report(stats, *counts))

    return render


def general(stats: Stats, live: int, size: int) -> Fields:
    """`stats`."""
    store = stats.figures()
    now = stats.seconds()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [
        ("pid", os.getpid()),
        ("uptime", int(now - stats.started)),
        ("time", int(now)),
        ("version", VERSION),
        ("libevent", 0),
        ("pointer_size", 8 * struct.calcsize("P")),
        ("rusage_user", f"{usage.ru_utime:.6f}"),
        ("rusage_system", f"{usage.ru_stime:.6f}"),
        ("max_connections", stats.max_connections),
        ("curr_connections", stats.curr_connections),
        ("total_connections", stats.total_connections),
        ("rejected_connections", stats.rejected_connections),
        ("connection_structures", stats.curr_connections),
        ("response_obj_oom", 0),
        ("response_obj_count", 0),
        ("response_obj_bytes", 0),
        ("read_buf_count", 0),
        ("read_buf_bytes", 0),
        ("read_buf_bytes_free", 0),
        ("read_buf_oom", 0),
        ("reserved_fds", 0),
        ("cmd_get", stats.get_hits + stats.get_misses),
        ("cmd_set", stats.set_commands),
        ("cmd_flush", stats.flush_commands),
        ("cmd_touch", stats.touch_hits + stats.touch_misses),
        ("cmd_meta", stats.meta_commands),
        ("get_hits", stats.get_hits),
        ("get_misses", stats.get_misses),
        ("get_expired", store.get("get_expired", 0)),
        ("get_flushed", store.get("get_flushed", 0)),
        ("delete_misses", stats.delete_misses),
        ("delete_hits", stats.delete_hits),
        ("incr_misses", stats.incr_misses),
        ("incr_hits", stats.incr_hits),
        ("decr_misses", stats.decr_misses),
        ("decr_hits", stats.decr_hits),
        ("cas_misses", stats.cas_misses),
        ("cas_hits", stats.cas_hits),
        ("cas_badval", stats.cas_badval),
        ("touch_hits", stats.touch_hits),
        ("touch_misses", stats.touch_misses),
        ("store_too_large", stats.store_too_large),
        ("store_no_memory", stats.store_no_memory),
        ("auth_cmds", stats.auth_commands),
        ("auth_errors", stats.auth_errors),
        ("idle_kicks", stats.idle_kicks),
        ("bytes_read", stats.bytes_read),
        ("bytes_written", stats.bytes_written),
        ("limit_maxbytes", store.get("limit_maxbytes", 0)),
        # A connection too many is told so and closed; listening never stops for it.
        ("accepting_conns", 1),
        ("listen_disabled_num", 0),
        ("time_in_listen_disabled_us", 0),
        ("threads", 1),
        ("conn_yields", stats.conn_yields),
        ("hash_power_level", 0),
        ("hash_bytes", 0),
        ("hash_is_expanding", 0),
        ("slab_reassign_rescues", 0),
        ("slab_reassign_chunk_rescues", 0),
        ("slab_reassign_inline_reclaim", 0),
        ("slab_reassign_busy_items", 0),
        ("slab_reassign_busy_deletes", 0),
        ("slab_reassign_busy_nomem", 0),
        ("slab_reassign_last_busy_status", "none"),
        ("slab_reassign_running", 0),
        ("slabs_moved", 0),
        ("lru_crawler_running", store.get("lru_crawler_running", 0)),
        ("lru_crawler_starts", store.get("lru_crawler_starts", 0)),
        ("lru_maintainer_juggles", 0),
        ("malloc_fails", 0),
        ("log_worker_dropped", stats.log_worker_dropped),
        ("log_worker_written", stats.log_worker_written),
        ("log_watcher_skipped", stats.log_watcher_skipped),
        ("log_watcher_sent", stats.log_watcher_sent),
        ("log_watchers", stats.log_watchers),
        *_of_tls(stats, now),
        ("unexpected_napi_ids", 0),
        ("round_robin_fallback", 0),
        ("bytes", size),
        ("curr_items", live),
        ("total_items", stats.total_items),
        ("slab_global_page_pool", 0),
        ("expired_unfetched", store.get("expired_unfetched", 0)),
        ("evicted_unfetched", store.get("evicted_unfetched", 0)),
        ("evicted_active", store.get("evicted_active", 0)),
        ("evictions", store.get("evictions", 0)),
        ("reclaimed", store.get("reclaimed", 0)),
        ("crawler_reclaimed", store.get("crawler_reclaimed", 0)),
        ("crawler_items_checked", store.get("crawler_items_checked", 0)),
        ("lrutail_reflocked", 0),
        ("moves_to_cold", 0),
        ("moves_to_warm", 0),
        ("moves_within_lru", 0),
        ("direct_reclaims", store.get("direct_reclaims", 0)),
        ("lru_bumps_dropped", 0),
        # Not memcached's here, but exporters look for it among these too.
        ("total_malloced", store.get("pages_bytes", 0)),
        # Ours: commands that `stats detail` had no room for.
        ("detail_left_out", stats.prefixes.left_out),
    ]


def _of_tls(stats: Stats, now: float) -> Fields:
    if stats.certificates_loaded is None:
        return ()
    return [
        ("ssl_handshake_errors", stats.ssl_handshake_errors),
        ("ssl_proto_errors", stats.ssl_proto_errors),
        ("time_since_server_cert_refresh", int(now - stats.certificates_loaded)),
    ]


def items(stats: Stats, live: int, size: int) -> Fields:
    """`stats items`: of the one class, while there are items."""
    if not live:
        return ()
    store = stats.figures()
    fields = [
        ("number", live),
        ("number_hot", 0),
        ("number_warm", 0),
        ("number_cold", live),
        ("number_temp", 0),
        ("age_hot", 0),
        ("age_warm", 0),
        ("age", store.get("oldest_age", 0)),
        ("mem_requested", store.get("mem_requested", size)),
        ("evicted", store.get("evictions", 0)),
        ("evicted_nonzero", store.get("evicted_nonzero", 0)),
        ("evicted_time", store.get("evicted_time", 0)),
        ("outofmemory", stats.store_no_memory),
        ("tailrepairs", 0),
        ("reclaimed", store.get("reclaimed", 0)),
        ("expired_unfetched", store.get("expired_unfetched", 0)),
        ("evicted_unfetched", store.get("evicted_unfetched", 0)),
        ("evicted_active", store.get("evicted_active", 0)),
        ("crawler_reclaimed", store.get("crawler_reclaimed", 0)),
        ("crawler_items_checked", store.get("crawler_items_checked", 0)),
        ("lrutail_reflocked", 0),
        ("moves_to_cold", 0),
        ("moves_to_warm", 0),
        ("moves_within_lru", 0),
        ("direct_reclaims", store.get("direct_reclaims", 0)),
        ("hits_to_hot", 0),
        ("hits_to_warm", 0),
        ("hits_to_cold", stats.get_hits),
        ("hits_to_temp", 0),
    ]
    return [(f"items:1:{name}", figure) for name, figure in fields]


def slabs(stats: Stats, live: int, size: int) -> Fields:
    """
    `stats slabs`: of the one class, once something has been stored.

    What the store holds is shown as pages of a megabyte that are cut into chunks of the mean
    item's size, so that the sums which dashboards make of these fields come out right.
    """
    store = stats.figures()
    held = store.get("pages_bytes", 0)
    active = 1 if live or stats.total_items else 0
    fields: list[tuple[str, object]] = []
    if active:
        requested = store.get("mem_requested", size)
        chunk = max(-(-requested // max(live, 1)), 1)
        chunks_per_page = max(_PAGE // chunk, 1)
        pages = max(-(-held // _PAGE), -(-live // chunks_per_page))
        chunks = pages * chunks_per_page
        fields = [
            ("chunk_size", chunk),
            ("chunks_per_page", chunks_per_page),
            ("total_pages", pages),
            ("total_chunks", chunks),
            ("used_chunks", live),
            ("free_chunks", chunks - live),
            ("free_chunks_end", 0),
            ("mem_requested", requested),
            ("get_hits", stats.get_hits),
            ("cmd_set", stats.set_commands),
            ("delete_hits", stats.delete_hits),
            ("incr_hits", stats.incr_hits),
            ("decr_hits", stats.decr_hits),
            ("cas_hits", stats.cas_hits),
            ("cas_badval", stats.cas_badval),
            ("touch_hits", stats.touch_hits),
        ]
    return [
        *((f"1:{name}", figure) for name, figure in fields),
        ("active_slabs", active),
        ("total_malloced", held),
    ]


def sizes(stats: Stats, live: int, size: int) -> Fields:
    """`stats sizes`: as of a memcached that was not told `-o track_sizes`."""
    return [("sizes_status", "disabled")]


def extstore(stats: Stats, live: int, size: int) -> Fields:
    """`stats extstore`: as of a memcached that has none."""
    return ()


def storage(stats: Stats, live: int, size: int) -> Fields:
    """`stats storage`, ours: all that the store says of itself, since it was opened."""
    figures = dict(stats.of_store())
    more: Mapping[str, object] = figures.pop("storage", {})
    return [*figures.items(), *more.items()]


# How the percentiles are called.
_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}


def latency(stats: Stats, live: int, size: int) -> Fields:
    """
    `stats latency`, ours: how long lists of commands have taken in the last minutes.

    `reads` and `writes` are about how many lists there were; a time is in microseconds.
    """
    writes, reads = stats.latency
    return [*_spread("read", reads.histogram()), *_spread("write", writes.histogram())]


def _spread(name: str, histogram: Histogram) -> Fields:
    fields: list[tuple[str, object]] = [(f"{name}s", histogram.total)]
    for word, percent in _PERCENTILES.items():
        fields.append((f"{name}_us_{word}", f"{histogram.percentile(percent) / 1000:.1f}"))
    return [*fields, (f"{name}_us_max", f"{histogram.most / 1000:.1f}")]


def hot(hottest: Hottest) -> Fields:
    """`stats hot`, ours: the busiest keys, and about how often each has been used."""
    fields: list[tuple[str, object]] = [
        ("seconds", f"{hottest.seconds:.1f}"),
        ("operations", hottest.operations),
    ]
    for number, (key, operations) in enumerate(hottest.keys, 1):
        fields += [(f"{number}:key", key), (f"{number}:operations", operations)]
    return fields


def conns(stats: Stats, asking: Any) -> Fields:
    """
    `stats conns`: the connections and the listeners, by their descriptors.

    :param asking: the transport of the connection that wants to know.
    """
    now = stats.seconds()
    rows: list[tuple[int, list[tuple[str, object]]]] = []
    for connection, heard in stats.connections():
        transport = connection.transport
        row: list[tuple[str, object]] = [
            ("addr", _address(transport.getPeer())),
            ("listen_addr", _address(transport.getHost())),
            ("state", "conn_parse_cmd" if transport is asking else connection.state),
            ("secs_since_last_cmd", int(now - heard)),
        ]
        rows.append((transport.fileno(), row))
    for port in stats.listeners():
        row = [
            ("addr", _address(port.getHost())),
            ("state", "conn_listening"),
            ("secs_since_last_cmd", int(now - stats.started)),
        ]
        rows.append((port.fileno(), row))
    return [
        (f"{number}:{name}", figure)
        for number, row in sorted(rows, key=lambda numbered: numbered[0])
        for name, figure in row
    ]


def _address(address: Union[IPv4Address, IPv6Address, UNIXAddress, Any]) -> str:
    """As memcached.c, get_conn_text."""
    if isinstance(address, IPv4Address):
        return f"tcp:{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"tcp6:[{address.host}]:{address.port}"
    if isinstance(address, UNIXAddress) and address.name:
        return f"unix:{os.fsdecode(address.name)}"
    return "unix:?"


#: What `stats settings` shows where nothing else is known, in memcached's order.
_SETTINGS: dict[str, object] = {
    "maxbytes": 0,
    "maxconns": 0,
    "tcpport": 0,
    "udpport": 0,
    "inter": "NULL",
    "verbosity": 0,
    "oldest": 0,
    "evictions": "on",
    "domain_socket": "NULL",
    "umask": 700,
    "shutdown_command": "no",
    "growth_factor": "0.00",
    "chunk_size": 0,
    "num_threads": 1,
    "num_threads_per_udp": 0,
    "stat_key_prefix": ":",
    "detail_enabled": "no",
    "reqs_per_event": 0,
    "cas_enabled": "yes",
    "tcp_backlog": 0,
    "binding_protocol": "ascii",
    "auth_enabled_sasl": "no",
    "auth_enabled_ascii": "no",
    "item_size_max": 0,
    "maxconns_fast": "yes",
    "hashpower_init": 0,
    "slab_reassign": "yes",
    "slab_automove": 0,
    "slab_automove_ratio": "0.00",
    "slab_automove_window": 0,
    "slab_chunk_max": 0,
    "lru_crawler": "yes",
    "lru_crawler_sleep": 0,
    "lru_crawler_tocrawl": 0,
    "tail_repair_time": 0,
    "flush_enabled": "yes",
    "dump_enabled": "yes",
    "hash_algorithm": "none",
    "lru_maintainer_thread": "yes",
    "lru_segmented": "no",
    "hot_lru_pct": 0,
    "warm_lru_pct": 0,
    "hot_max_factor": "0.00",
    "warm_max_factor": "0.00",
    "temp_lru": "no",
    "temporary_ttl": 0,
    "idle_timeout": 0,
    "watcher_logbuf_size": 0,
    "worker_logbuf_size": 0,
    "read_buf_mem_limit": 0,
    "track_sizes": "no",
    "inline_ascii_response": "no",
    "ext_item_size": 0,
    "ext_item_age": 0,
    "ext_low_ttl": 0,
    "ext_recache_rate": 0,
    "ext_wbuf_size": 0,
    "ext_compact_under": 0,
    "ext_drop_under": 0,
    "ext_max_sleep": 0,
    "ext_max_frag": "0.00",
    "slab_automove_freeratio": "0.000",
    "ext_drop_unread": "no",
    "num_napi_ids": 0,
    "memory_file": "(null)",
    "client_flags_size": 4,
}


def settings(stats: Stats, told: Mapping[str, object]) -> Fields:
    """
    `stats settings`.

    :param told: what the server was told, by name; what memcached has no name for comes last.
    """
    known: dict[str, object] = {
        "maxbytes": stats.of_store().get("limit_maxbytes", 0),
        "maxconns": stats.max_connections,
        "stat_key_prefix": os.fsdecode(stats.prefixes.delimiter),
        "detail_enabled": yes(stats.prefixes.counting),
    }
    for port in stats.listeners():
        address = port.getHost()
        if isinstance(address, UNIXAddress):
            known.setdefault("domain_socket", _address(address)[len("unix:") :])
        else:
            known.setdefault("tcpport", address.port)
            known.setdefault("inter", address.host)
    return {**_SETTINGS, **known, **told}.items()


def yes(true: bool) -> str:
    """A truth as memcached says it."""
    return "yes" if true else "no"


#: The reports that are asked for by their whole names (memcached.c, get_stats), and our own.
REPORTS: dict[bytes, Report] = {
    b"items": items,
    b"slabs": slabs,
    b"sizes": sizes,
    b"storage": storage,
    b"latency": latency,
}


def reset(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """`stats reset`."""
    stats.reset()
    return answer


def detail_on(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """`stats detail on`."""
    stats.prefixes.switch(True)
    return answer


def detail_off(stats: Stats, key: bytes, answer: bytes) -> bytes:
    """`stats detail off`."""
    stats.prefixes.switch(False)
    return answer


def detail_dump(stats: Stats, key: bytes, result: Any) -> bytes:
    """`stats detail dump`."""
    rows = [
        b"PREFIX %b get %d hit %d set %d del %d\r\n" % (prefix, gets, hits, sets, deletes)
        for prefix, (gets, hits, sets, deletes) in stats.prefixes.rows()
    ]
    return b"".join(rows) + b"END\r\n"
