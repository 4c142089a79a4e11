"""
Which items survive: hit ratios at the same limit, over traces of a million requests.

    python -m bench.hits [--limit MB] [--requests N]

Behind the hit ratios: how large the files become while a store at its limit is overwritten ten
times over with values from 50 bytes to 400 KB, as many of one length as of another by their
logarithm.

A client that uses a cache as caches are used: it asks, and stores what it was not given. Keys are
asked for by Zipf's law, with exponents 0.8 and 1.0; in the third trace every tenth stretch of
1,000 requests is a scan of keys that are asked for once and never again. A key's value always has
the same length, from 50 to 2,000 bytes, most of them short.
"""

import argparse
import socket
from bisect import bisect
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from bench.results import HITS, keep
from bench.servers import Server, running

KEYS = 1_000_000
#: Requests under way at a time.
DEPTH = 50
#: Every tenth of so many requests is a scan.
STRETCH = 1000


def zipf(exponent: float, requests: int, seed: int = 1) -> Iterator[int]:
    """Numbers of keys, the most wanted scattered among the others."""
    dice = Random(seed)
    sums = list(accumulate((rank + 1) ** -exponent for rank in range(KEYS)))
    numbers = list(range(KEYS))
    Random(0).shuffle(numbers)
    for _ in range(requests):
        yield numbers[bisect(sums, dice.random() * sums[-1], 0, KEYS - 1)]


def with_scans(numbers: Iterator[int]) -> Iterator[int]:
    """`numbers`, but every tenth stretch of them is of new keys."""
    new = KEYS
    for count, number in enumerate(numbers):
        if count // STRETCH % 10 == 9:
            new += 1
            yield new
        else:
            yield number


def traces(requests: int) -> "dict[str, Iterator[int]]":
    return {
        "Zipf 0.8": zipf(0.8, requests),
        "Zipf 1.0": zipf(1.0, requests),
        "Zipf 1.0 with scans": with_scans(zipf(1.0, requests)),
    }


def length(number: int) -> int:
    """Bytes of the value of a key: 50 to 2,000, evenly by their logarithm."""
    return int(50 * 40 ** (number * 2654435761 % (1 << 32) / (1 << 32)))


def hit_ratio(server: Server, numbers: Iterator[int]) -> float:
    """The part of the requests that was answered from the cache."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    replies = connection.makefile("rb")
    hits = requests = 0
    with connection, replies:
        while True:
            batch = [number for number, _ in zip(numbers, range(DEPTH))]
            if not batch:
                return hits / requests
            requests += len(batch)
            connection.sendall(b"".join(b"get key:%d\r\n" % number for number in batch))
            missed = []
            for number in batch:
                line = replies.readline()
                if line == b"END\r\n":
                    missed.append(number)
                else:
                    replies.read(int(line.rsplit(b" ", 1)[1]) + len(b"\r\nEND\r\n"))
                    hits += 1
            sets = (
                b"set key:%d 0 0 %d\r\n%b\r\n" % (number, length(number), b"v" * length(number))
                for number in missed
            )
            connection.sendall(b"".join(sets))
            for _ in missed:
                reply = replies.readline()
                if reply != b"STORED\r\n":
                    raise RuntimeError(f"{server.name} answered {reply!r} to a set")


def report(limit: int, requests: int) -> str:
    """A table of hit ratios. :param limit: megabytes."""
    lines = [
        f"| trace, {requests:,} requests, limit {limit} MB | memcached | mctwist | file / limit |",
        "| --- | ---: | ---: | ---: |",
    ]
    for trace in traces(0):
        ratios, grown = [], 0.0
        for name, flags in (
            ("memcached", ["-m", str(limit)]),
            ("mctwist", ["--storage-limit", f"{limit}m", "--sync", "never"]),
        ):
            with TemporaryDirectory(prefix="mctwist-bench-") as directory:
                path = Path(directory)
                with running(name, path, *flags) as server:
                    ratios.append(hit_ratio(server, traces(requests)[trace]))
                    grown = size_of(path / "store") / (limit << 20)
        lines.append(f"| {trace} | {ratios[0]:.4f} | {ratios[1]:.4f} | {grown:.2f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def turnover(limit: int, times: int = 10) -> str:
    """A table of the size of the files, in limits. :param limit: megabytes."""
    dice = Random(2)
    written = largest = 0
    with ExitStack() as stack:
        path = Path(stack.enter_context(TemporaryDirectory(prefix="mctwist-bench-")))
        server = stack.enter_context(
            running("mctwist", path, "--storage-limit", f"{limit}m", "--sync", "relaxed")
        )
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        replies = stack.enter_context(connection.makefile("rb"))
        while written < times * limit << 20:
            values = [(dice.randrange(10**9), int(50 * 8000 ** dice.random())) for _ in range(20)]
            connection.sendall(
                b"".join(
                    b"set key:%d 0 0 %d\r\n%b\r\n" % (number, size, b"v" * size)
                    for number, size in values
                )
            )
            for _, size in values:
                if replies.readline() != b"STORED\r\n":
                    raise RuntimeError("a set was refused")
                written += size
            largest = max(largest, size_of(path / "store"))
    return (
        "| overwritten with 50 B to 400 KB | greatest size of the files / limit |\n"
        "| --- | ---: |\n"
        f"| {times} times {limit} MB | {largest / (limit << 20):.2f} |\n"
    )


def size_of(directory: Path) -> int:
    """Bytes that the files take up on the disk."""
    if not directory.exists():
        return 0
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=64, help="megabytes")
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args()
    tables = f"{report(options.limit, options.requests)}\n{turnover(options.limit)}"
    keep(HITS, f"`python -m bench.hits`\n\n{tables}")


if __name__ == "__main__":
    main()
