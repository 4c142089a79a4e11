"""
What a store counts of its own work: evictions, what was swept, batches and their syncs.

Plain attributes, raised in the storage thread (sweeping in the maintenance thread), read for
`stats`. The names of `figures` are memcached's where it has the same thing ("items" statistics in
protocol.txt), and those under `storage` are our own.
"""

from collections import deque
from typing import Any

from mctwist.item import Entry

#: Syncs whose times are kept for the percentiles.
KEPT_SYNCS = 4096


class Tally:
    """
    :ivar sync_seconds: how long the last syncs have taken.
    """

    def __init__(self) -> None:
        self.sync_seconds: deque[float] = deque(maxlen=KEPT_SYNCS)
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

    def count_evicted(self, entry: Entry, second: int) -> None:
        self.evictions += 1
        self.evicted_time = max(second - entry.accessed, 0)
        if not entry.fetched:
            self.evicted_unfetched += 1
        if entry.item.expiry:
            self.evicted_nonzero += 1

    def count_swept(self, fetched: bool) -> None:
        self.reclaimed += 1
        if not fetched:
            self.expired_unfetched += 1

    def count_sync(self, seconds: float) -> None:
        self.syncs += 1
        self.sync_seconds.append(seconds)

    def figures(self) -> "dict[str, Any]":
        """For memcached's own reports."""
        return {
            "evictions": self.evictions,
            "evicted_unfetched": self.evicted_unfetched,
            "evicted_nonzero": self.evicted_nonzero,
            "evicted_time": self.evicted_time,
            "expired_unfetched": self.expired_unfetched,
            "crawler_reclaimed": self.reclaimed,
            "crawler_items_checked": self.examined,
            "lru_crawler_starts": self.passes,
        }

    def storage(self) -> "dict[str, Any]":
        """For `stats storage`. Times are microseconds."""
        syncs = sorted(self.sync_seconds)
        figures: dict[str, Any] = {
            "batches": self.batches,
            "operations": self.operations,
            "operations_per_batch": f"{self.operations / max(self.batches, 1):.1f}",
            "syncs": self.syncs,
        }
        for name, part in (("min", 0.0), ("median", 0.5), ("p99", 0.99), ("max", 1.0)):
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
