"""LMDB's tables: whatever is done to a store, and wherever it is killed, they agree."""

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.tables import Tables
from mctwist.interfaces import Step
from mctwist.item import KEPT, decode, size_in_memcached
from mctwist.testing import NOW, SECOND, delete, flush, get, put, step


def disagreements(backend: LMDBBackend) -> "list[str]":
    """What is wrong with the tables of a store that has just been opened."""
    tables = backend._tables
    assert tables is not None
    wrong = []
    items = {}
    for key, record in tables.from_key(b"", b"", 10**6, 10**9):
        items[key] = decode(key, record)
    order = dict(tables.in_order(0))
    for key, item in items.items():
        if order.pop(item.place, None) != key:
            wrong.append(f"{key!r} does not stand at its place {item.place}")
    wrong += [f"{key!r} stands at {place} and is not there" for place, key in order.items()]
    expiring, _ = tables.expired(b"", 1 << 62, 10**6)
    if sorted(expiring) != sorted(key for key, item in items.items() if item.expiry):
        wrong.append("what expires is not what the index says")
    state = backend._state
    sizes = {
        live: [
            size_in_memcached(key, len(item.value), item.flags)
            for key, item in items.items()
            if (item.sequence > state.flushed) == live
        ]
        for live in (True, False)
    }
    kept = sum(
        size_in_memcached(key, len(item.value), item.flags)
        for key, item in items.items()
        if item.marks & KEPT and item.sequence > state.flushed
    )
    counted = (len(sizes[True]), sum(sizes[True]), len(sizes[False]), sum(sizes[False]), kept)
    if counted != (state.items, state.size, state.dead, state.dead_size, state.kept):
        wrong.append(f"the counts are not {counted}")
    return wrong


class AgreementTests(SynchronousTestCase):
    """Everything at once, with copies of the directory in between, as kills would leave it."""

    def test_they_agree_whatever_happens(self) -> None:
        for seed in range(4):
            self.live(random.Random(seed), limit=1 << 20, checkpoint=(0, 20_000)[seed % 2])

    def live(self, dice: random.Random, **options: Any) -> None:
        directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, directory)
        backend = LMDBBackend(str(directory / "store"), "never", **options)
        backend.open()
        now = NOW
        for turn in range(250):
            now += dice.choice((1, 50, SECOND, 20 * SECOND))
            backend.perform([[self.any_step(dice, now) for _ in range(dice.randrange(60))]], now)
            keys = [b"%d" % dice.randrange(400) for _ in range(20)]
            backend.read([get(key) for key in keys], now)
            while backend.due and dice.random() < 0.7:
                backend.maintain()
            if turn % 50 == 49:
                copy = directory / f"killed-{turn}"
                shutil.copytree(directory / "store", copy)
                killed = LMDBBackend(str(copy), "never", **options)
                killed.open()
                self.assertEqual(disagreements(killed), [], turn)
                for key in (b"%d" % number for number in range(400)):
                    here, there = (one.read([get(key)], now)[0] for one in (backend, killed))
                    self.assertEqual(here, there, (turn, key))
                killed.close()
        self.assertTrue(backend.figures()["evictions"] > 0)
        self.assertTrue(backend.figures()["crawler_reclaimed"] > 0)
        backend.close()

    def any_step(self, dice: random.Random, now: int) -> Step:
        key = b"%d" % dice.randrange(400)
        kind = dice.random()
        if kind < 0.6:
            expiry = dice.choice((0, 0, now + dice.randrange(60 * SECOND)))
            value = b"v" * dice.choice((10, 500, 3000, 9000))
            marks = KEPT if dice.random() < 0.1 else 0
            return step(operations.store, key, value, dice.randrange(3), expiry, marks)
        if kind < 0.75:
            return delete(key)
        if kind < 0.85:
            return step(operations.touch, key, dice.choice((0, now + SECOND, now + 10**6)))
        if kind < 0.98:
            return get(key)
        if kind < 0.993:
            return step(operations.flush_prefix, b"", key[:1])
        return flush(dice.choice((0, now + SECOND)))


class RepackTests(SynchronousTestCase):
    """Pages are written anew, and nothing changes but how many there are."""

    def test_what_is_written_anew_is_the_same_on_fewer_pages(self) -> None:
        path = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, path)
        backend = LMDBBackend(str(path / "store"), "never", checkpoint=0)
        backend.open()
        keys = [b"%d" % number for number in range(5000)]
        random.Random(1).shuffle(keys)
        for start in range(0, 5000, 100):
            backend.perform([[put(key, b"v" * 300) for key in keys[start : start + 100]]], NOW)
            backend.maintain()
        tables = backend._tables
        assert isinstance(tables, Tables)
        before, pages = tables.from_key(b"", b"", 10**6, 10**9), tables.taken
        place, turns = b"", 0
        while turns < 100:
            place = tables.repack(place, 64 << 10)
            turns += 1
        self.assertEqual(tables.from_key(b"", b"", 10**6, 10**9), before)
        self.assertEqual(disagreements(backend), [])
        self.assertTrue(tables.taken < 0.8 * pages, tables.taken / pages)
        backend.close()
