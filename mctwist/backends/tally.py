"""
What a store counts of its own work: evictions, what was swept, batches and their syncs.

Plain attributes, raised in the storage thread (sweeping in the maintenance thread), read for
`stats`. The names of `figures` are memcached's where it has the same thing ("items" statistics in
protocol.txt), and those under `storage` are our own.
"""

from collections.abc import Mapping
from typing import Any

from mctwist.backends.state import State
from mctwist.interfaces import Results
from mctwist.item import Entry

#: Syncs whose times are kept for the percentiles.
KEPT_SYNCS = 4096

# What is told of them.
_PARTS = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}


class Tally:
    """
    :ivar sync_seconds: how long the last syncs have taken.
    """

    def __init__(self) -> None:
        self.sync_seconds: list[float] = []
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.evictions = 0
        self.evicted_unfetched = 0
        self.evicted_nonzero = 0
        self.evicted_time = 0
        self.expired_unfetched = 0
        self.reclaimed = 0
        self.examined = 0
        self.passes = 0
        self.batches = 0
        self.operations = 0
        self.syncs = 0
        self.checkpoints = 0
        self.last_checkpoint_seconds = 0.0
        self.sync_seconds.clear()

    def count_batch(self, answers: "list[Results]", victims: "list[Entry]", now: int) -> None:
        """A batch has happened: what it answered, what it evicted, and when, in milliseconds."""
        self.batches += 1
        self.operations += sum(map(len, answers))
        for entry in victims:
            self.evictions += 1
            self.evicted_time = max(now // 1000 - entry.accessed, 0)
            if not entry.fetched:
                self.evicted_unfetched += 1
            if entry.item.expiry:
                self.evicted_nonzero += 1

    def count_swept(self, fetched: bool) -> None:
        self.reclaimed += 1
        if not fetched:
            self.expired_unfetched += 1

    def count_sync(self, seconds: float) -> None:
        if len(self.sync_seconds) < KEPT_SYNCS:
            self.sync_seconds.append(seconds)
        else:
            self.sync_seconds[self.syncs % KEPT_SYNCS] = seconds
        self.syncs += 1

    def figures(
        self, name: str, state: State, limit: int, taken: int, more: "Mapping[str, Any]"
    ) -> "dict[str, Any]":
        """
        What `IBackend.figures` tells: memcached's own figures, and under `storage` ours.

        :param name: of the backend; :param limit: bytes that it may hold.
        :param taken: bytes that it takes up on the disk.
        :param more: what only this backend has to say.
        """
        return {
            "limit_maxbytes": limit,
            "mem_requested": state.stored,
            "pages_bytes": taken,
            "evictions": self.evictions,
            "evicted_unfetched": self.evicted_unfetched,
            "evicted_nonzero": self.evicted_nonzero,
            "evicted_time": self.evicted_time,
            "expired_unfetched": self.expired_unfetched,
            "crawler_reclaimed": self.reclaimed,
            "crawler_items_checked": self.examined,
            "lru_crawler_starts": self.passes,
            "storage": {
                "backend": name,
                **self._own_figures(),
                "items_live": state.items,
                "bytes_live": state.size,
                "bytes_kept": state.kept,
                "items_dead": state.dead,
                "bytes_dead": state.dead_size,
                "prefixes_flushed": len(state.prefixes),
                **more,
            },
        }

    def _own_figures(self) -> "dict[str, Any]":
        """Times are microseconds."""
        syncs = sorted(self.sync_seconds)
        figures: dict[str, Any] = {
            "batches": self.batches,
            "operations": self.operations,
            "operations_per_batch": f"{self.operations / max(self.batches, 1):.1f}",
            "syncs": self.syncs,
        }
        for name, part in _PARTS.items():
            place = min(int(part * len(syncs)), len(syncs) - 1)
            figures[f"sync_us_{name}"] = int(syncs[place] * 1e6) if syncs else 0
        return {
            **figures,
            "checkpoints": self.checkpoints,
            "last_checkpoint_us": int(self.last_checkpoint_seconds * 1e6),
            "swept": self.reclaimed,
            "sweep_examined": self.examined,
            "sweep_passes": self.passes,
            "evicted": self.evictions,
        }
