"""Gets from a store that is not in memory: its pages are dropped from the kernel's cache first.

The store is large beside what is read of it in the time, so nearly every get waits for the disk. In
the reactor each of them holds up everybody; in read threads (--inline-reads never) it does not.
"""

import os
from pathlib import Path
from random import Random

from attrs import frozen

from bench.load import drive
from bench.servers import running
from bench.wire import Spelled, key, text_get, text_set

ITEMS = 200_000
VALUE_SIZE = 4096
CONNECTIONS = 50


@frozen
class Cold:
    """Gets a second."""

    inline: float
    threads: float


def value(number: int) -> bytes:
    return (b"%08d" % number * VALUE_SIZE)[:VALUE_SIZE]


def measure(directory: Path, seconds: float) -> Cold:
    numbers = list(range(ITEMS))
    Random(0).shuffle(numbers)
    with running("mctwist", directory) as server:
        batches = [numbers[start : start + 100] for start in range(0, ITEMS, 100)]
        drive(server.port, [together(batch) for batch in batches], CONNECTIONS)
    gets = [text_get(key(number), value(number)) for number in numbers]
    rates = []
    for name in ("mctwist-inline", "mctwist-threads"):
        evict(directory / "store")
        with running(name, directory) as server:
            load = drive(server.port, gets, CONNECTIONS, seconds)
        rates.append(load.answered / load.seconds)
    return Cold(*rates)


def together(numbers: list[int]) -> Spelled:
    sets = [text_set(key(number), value(number)) for number in numbers]
    return b"".join(request for request, _ in sets), b"".join(reply for _, reply in sets)


def evict(store: Path) -> None:
    """Have the kernel forget the pages of every file of a store that nobody has open."""
    for path in store.iterdir():
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
