"""
What the server counts, and the general `stats` made of it.

Counts are plain attributes, raised by one where an answer is rendered, always in the reactor's
thread. What can be derived (`cmd_get` is hits and misses) is derived when asked for. The names
are memcached's (protocol.txt, "General-purpose statistics").
"""

import os
import resource
import struct
from typing import Callable

from mctwist import __version__

#: The memcached whose protocol we follow. Clients compare it to learn what they may use.
PROTOCOL_VERSION = "1.6.45"
VERSION = f"{PROTOCOL_VERSION}-mctwist-{__version__}"


class Stats:
    """
    The counters of one server.

    :param seconds: the clock, in seconds since the epoch.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.started = seconds()
        self.max_connections = 0
        self.curr_connections = 0
        self.total_connections = 0
        self.rejected_connections = 0
        self.idle_timeout = 0.0
        self.idle_kicks = 0
        self.log_watchers = 0
        self.log_watcher_skipped = 0
        self.log_watcher_sent = 0
        self.log_worker_dropped = 0
        self.log_worker_written = 0
        self.get_hits = 0
        self.get_misses = 0
        self.get_expired = 0
        self.set_commands = 0
        self.total_items = 0
        self.flush_commands = 0
        self.touch_hits = 0
        self.touch_misses = 0
        self.gat_hits = 0
        self.delete_hits = 0
        self.delete_misses = 0
        self.incr_hits = 0
        self.incr_misses = 0
        self.decr_hits = 0
        self.decr_misses = 0
        self.cas_hits = 0
        self.cas_misses = 0
        self.cas_badval = 0
        self.store_too_large = 0
        self.store_no_memory = 0
        self.bytes_read = 0
        self.bytes_written = 0

    def general(self, items: int, size: int) -> list[tuple[str, object]]:
        """
        The fields of a plain `stats`, in memcached's order.

        :param items: the live items; :param size: their bytes.
        """
        now = self._seconds()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return [
            ("pid", os.getpid()),
            ("uptime", int(now - self.started)),
            ("time", int(now)),
            ("version", VERSION),
            ("pointer_size", 8 * struct.calcsize("P")),
            ("rusage_user", f"{usage.ru_utime:.6f}"),
            ("rusage_system", f"{usage.ru_stime:.6f}"),
            ("max_connections", self.max_connections),
            ("curr_connections", self.curr_connections),
            ("total_connections", self.total_connections),
            ("rejected_connections", self.rejected_connections),
            ("cmd_get", self.get_hits + self.get_misses),
            ("cmd_set", self.set_commands),
            ("cmd_flush", self.flush_commands),
            ("cmd_touch", self.touch_hits + self.touch_misses),
            ("cmd_meta", 0),
            ("get_hits", self.get_hits),
            ("get_misses", self.get_misses),
            ("delete_misses", self.delete_misses),
            ("delete_hits", self.delete_hits),
            ("incr_misses", self.incr_misses),
            ("incr_hits", self.incr_hits),
            ("decr_misses", self.decr_misses),
            ("decr_hits", self.decr_hits),
            ("cas_misses", self.cas_misses),
            ("cas_hits", self.cas_hits),
            ("cas_badval", self.cas_badval),
            ("touch_hits", self.touch_hits),
            ("touch_misses", self.touch_misses),
            ("store_too_large", self.store_too_large),
            ("store_no_memory", self.store_no_memory),
            ("bytes_read", self.bytes_read),
            ("bytes_written", self.bytes_written),
            ("accepting_conns", 1),
            ("listen_disabled_num", 0),
            ("threads", 1),
            *([("idle_kicks", self.idle_kicks)] if self.idle_timeout else []),
            ("log_worker_dropped", self.log_worker_dropped),
            ("log_worker_written", self.log_worker_written),
            ("log_watcher_skipped", self.log_watcher_skipped),
            ("log_watcher_sent", self.log_watcher_sent),
            ("log_watchers", self.log_watchers),
            ("bytes", size),
            ("curr_items", items),
            ("total_items", self.total_items),
        ]
