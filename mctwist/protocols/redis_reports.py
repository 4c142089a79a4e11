"""
INFO and CONFIG GET: what Redis's clients and dashboards ask of a server, in Redis's words.

Names are Redis 7.0's (server.c, genRedisInfoString). A figure is true, or not there; what Redis
has no name for is in a section of our own. Clients compare the version to learn what they may
use, so it is that of the Redis whose commands these are.
"""

import os
import resource
from collections.abc import Iterable, Mapping
from typing import Callable

from mctwist.protocols import resp_replies as replies
from mctwist.protocols.glob import matcher
from mctwist.protocols.resp_replies import Reply
from mctwist.stats import VERSION, Stats

#: The Redis that we follow.
REDIS_VERSION = b"7.0.15"

Fields = Iterable[tuple[str, object]]


def _server(stats: Stats, live: int, size: int) -> Fields:
    uptime = int(stats.seconds() - stats.started)
    return [
        ("redis_version", REDIS_VERSION.decode()),
        ("redis_mode", "standalone"),
        ("process_id", os.getpid()),
        ("server_time_usec", int(stats.seconds() * 1_000_000)),
        ("uptime_in_seconds", uptime),
        ("uptime_in_days", uptime // 86_400),
    ]


def _clients(stats: Stats, live: int, size: int) -> Fields:
    return [
        ("connected_clients", stats.curr_connections),
        ("maxclients", stats.max_connections),
    ]


def _memory(stats: Stats, live: int, size: int) -> Fields:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [
        ("used_memory", size),
        ("used_memory_peak_rss", usage.ru_maxrss * 1024),
        ("maxmemory", stats.of_store().get("limit_maxbytes", 0)),
    ]


def _persistence(stats: Stats, live: int, size: int) -> Fields:
    return [("loading", 0), ("aof_enabled", 1), ("rdb_bgsave_in_progress", 0)]


def _stats(stats: Stats, live: int, size: int) -> Fields:
    store = stats.figures()
    return [
        ("total_connections_received", stats.total_connections),
        # Of this dialect: memcached's are counted each by its kind, and not all together.
        ("total_commands_processed", stats.resp_commands),
        ("rejected_connections", stats.rejected_connections),
        ("total_net_input_bytes", stats.bytes_read),
        ("total_net_output_bytes", stats.bytes_written),
        ("evicted_keys", store.get("evictions", 0)),
        ("keyspace_hits", stats.get_hits),
        ("keyspace_misses", stats.get_misses),
    ]


def _replication(stats: Stats, live: int, size: int) -> Fields:
    return [("role", "master"), ("connected_slaves", 0)]


def _cpu(stats: Stats, live: int, size: int) -> Fields:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [
        ("used_cpu_sys", f"{usage.ru_stime:.6f}"),
        ("used_cpu_user", f"{usage.ru_utime:.6f}"),
    ]


def _mctwist(stats: Stats, live: int, size: int) -> Fields:
    return [
        ("mctwist_version", VERSION),
        ("cmd_set", stats.set_commands),
        ("cmd_flush", stats.flush_commands),
        ("total_items", stats.total_items),
        ("auth_cmds", stats.auth_commands),
        ("auth_errors", stats.auth_errors),
        ("store_too_large", stats.store_too_large),
        ("store_no_memory", stats.store_no_memory),
    ]


def _keyspace(stats: Stats, live: int, size: int) -> Fields:
    return [("db0", f"keys={live},expires=0,avg_ttl=0")] if live else []


_SECTIONS: "dict[bytes, tuple[str, Callable[[Stats, int, int], Fields]]]" = {
    b"server": ("Server", _server),
    b"clients": ("Clients", _clients),
    b"memory": ("Memory", _memory),
    b"persistence": ("Persistence", _persistence),
    b"stats": ("Stats", _stats),
    b"replication": ("Replication", _replication),
    b"cpu": ("CPU", _cpu),
    b"mctwist": ("Mctwist", _mctwist),
    b"keyspace": ("Keyspace", _keyspace),
}
_ALL = frozenset({b"all", b"default", b"everything"})


def info(names: "Iterable[bytes]") -> Reply:
    """INFO of the sections with these names, as the answer to a step of `operations.counts`."""
    wanted = {name.lower() for name in names}
    if not wanted or wanted & _ALL:
        wanted = set(_SECTIONS)

    def reply(version: int, stats: Stats, key: bytes, counts: "tuple[int, int]") -> bytes:
        texts = []
        for name, (title, fields) in _SECTIONS.items():
            if name in wanted:
                lines = [f"{field}:{figure}\r\n" for field, figure in fields(stats, *counts)]
                texts.append(f"# {title}\r\n" + "".join(lines))
        return replies.text(version, "\r\n".join(texts).encode())

    return reply


def configuration(max_item_size: int, limit: int) -> "Mapping[bytes, bytes]":
    """What CONFIG GET tells."""
    return {
        b"appendfsync": b"always",
        b"appendonly": b"yes",
        b"databases": b"1",
        b"maxmemory": b"%d" % limit,
        b"proto-max-bulk-len": b"%d" % max_item_size,
        b"save": b"",
        b"timeout": b"0",
    }


def config_get(version: int, known: "Mapping[bytes, bytes]", patterns: "Iterable[bytes]") -> bytes:
    """CONFIG GET."""
    matchers = [matcher(pattern.lower()) for pattern in patterns]
    parts = []
    for name, value in known.items():
        if any(matches(name) for matches in matchers):
            parts += [replies.bulk(name), replies.bulk(value)]
    return replies.mapping(version, parts)
