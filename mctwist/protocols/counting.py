"""
What a result counts as, in memcached's words, whatever the dialect.

A few renders that most answers come from count by themselves, for their speed.
"""

from typing import Optional

from mctwist.item import Item
from mctwist.operations import DELETED, DONE, EXISTS, NOT_FOUND, STORED, TOUCHED, Status
from mctwist.stats import Stats


def count_get(stats: Stats, item: Optional[Item]) -> None:
    """What has been fetched, or not."""
    if item is None:
        stats.get_misses += 1
    else:
        stats.get_hits += 1


def count_touch(stats: Stats, item: Optional[Item]) -> None:
    """What has been fetched and touched: a touch, and not a get (proto_parser.c:701-735)."""
    if item is None:
        stats.touch_misses += 1
    else:
        stats.touch_hits += 1


def count_touched(stats: Stats, status: Status) -> None:
    if status is TOUCHED:
        stats.touch_hits += 1
    else:
        stats.touch_misses += 1


def count_store(stats: Stats, status: Status) -> None:
    stats.set_commands += 1
    if status is STORED:
        stats.total_items += 1


def count_swap(stats: Stats, status: Status) -> None:
    """What else a store counts as that was to be over one state alone."""
    if status is STORED:
        stats.cas_hits += 1
    elif status is EXISTS:
        stats.cas_badval += 1
    else:
        stats.cas_misses += 1


def count_delete(stats: Stats, status: Status) -> None:
    if status is DELETED:
        stats.delete_hits += 1
    else:
        stats.delete_misses += 1


def count_count(stats: Stats, status: Status, up: bool) -> None:
    """
    incr, decr and ma.

    :param status: `DONE`: the item has been made.
    """
    if status is DONE:
        stats.total_items += 1
    elif status is STORED:
        if up:
            stats.incr_hits += 1
        else:
            stats.decr_hits += 1
    elif status is NOT_FOUND:
        if up:
            stats.incr_misses += 1
        else:
            stats.decr_misses += 1
