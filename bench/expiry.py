"""
Whether a sweep is felt: the latency of gets while a million items expire at once.

    python -m bench.expiry [--items N]

A million items are stored that all expire in the same second, beside some that stay. A few clients
ask for those that stay, one get after the other and without a pause, before and while the others
are swept. The table says what their gets took, and how long it was until the room had come back.
"""

import argparse
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from bench.results import EXPIRY, keep
from bench.servers import running

ITEMS = 1_000_000
STAYING = 10_000
CLIENTS = 4
#: Sets in one write.
DEPTH = 500
#: Seconds of gets before anything expires.
IDLE = 5.0


class Client:
    """
    One get after the other.

    :ivar taken: the time each one was sent, and the seconds that it took.
    """

    def __init__(self, port: int, stop: Event) -> None:
        self.taken: list[tuple[float, float]] = []
        self._port = port
        self._stop = stop

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            number = 0
            while not self._stop.is_set():
                number = (number + 7919) % STAYING
                began = time.perf_counter()
                connection.sendall(b"get stays:%d\r\n" % number)
                reply = connection.recv(1000)
                if not reply.endswith(b"END\r\n") or not reply.startswith(b"VALUE"):
                    raise RuntimeError(f"answered {reply!r}")
                self.taken.append((began, time.perf_counter() - began))
                # The clients share this process: without a rest they would measure each other.
                time.sleep(0.0005)


def store(port: int, prefix: bytes, count: int, exptime: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for start in range(0, count, DEPTH):
            numbers = range(start, min(start + DEPTH, count))
            connection.sendall(
                b"".join(
                    b"set %b:%d 0 %d 100\r\n%b\r\n" % (prefix, number, exptime, b"v" * 100)
                    for number in numbers
                )
            )
            expected = len(b"STORED\r\n") * len(numbers)
            while expected:
                expected -= len(connection.recv(expected))


def items(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"stats\r\nquit\r\n")
        reply = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    words = [line.split() for line in reply.splitlines()]
    return next(int(word[2]) for word in words if word[1:2] == [b"curr_items"])


def percentile(taken: "list[float]", part: float) -> float:
    return sorted(taken)[int(part * len(taken))] * 1e6


def report(count: int) -> str:
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix="mctwist-bench-"))
        server = stack.enter_context(running("mctwist", Path(directory)))
        store(server.port, b"stays", STAYING, 0)
        expiry = int(time.time()) + 20 + count // 12_000
        store(server.port, b"goes", count, expiry)
        stop = Event()
        clients = [Client(server.port, stop) for _ in range(CLIENTS)]
        threads = [Thread(target=client.run) for client in clients]
        time.sleep(max(expiry - IDLE - time.time(), 0))
        for thread in threads:
            thread.start()
        time.sleep(max(expiry - time.time(), 0))
        began = time.perf_counter()
        while items(server.port) > STAYING:
            # Seldom: a `stats` takes a millisecond, and would be what is measured.
            time.sleep(2)
            if time.perf_counter() - began > 300:
                raise RuntimeError(f"{items(server.port)} items are still there")
        ended = time.perf_counter()
        stop.set()
        for thread in threads:
            thread.join()
    taken = [one for client in clients for one in client.taken]
    idle = [seconds for at, seconds in taken if at < began]
    busy = [seconds for at, seconds in taken if at >= began]
    lines = [
        f"| gets while {count:,} items expire | p50, us | p99, us | max, us |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, group in (("before", idle), (f"the {ended - began:.0f} s of the sweep", busy)):
        figures = [percentile(group, part) for part in (0.5, 0.99, 0.99999)]
        lines.append(f"| {name} | {' | '.join(f'{figure:.0f}' for figure in figures)} |")
    ratio = percentile(busy, 0.99) / percentile(idle, 0.99)
    lines.append(f"| ratio of p99 | | {ratio:.2f} | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    text = report(parser.parse_args().items)
    print(text)
    keep(EXPIRY, f"`python -m bench.expiry`\n\n{text}")


if __name__ == "__main__":
    main()
