"""What a client can cost the server, whatever it does: each bound, and what is measured.

``python -m bench.bounds`` (from the directory of the source, with mctwist installed) prints a
Markdown table; it takes a minute or two and needs ``ulimit -Hn`` of 12,000 for its last row, which
is left out otherwise. Each row has a fresh server. Its figure is the most memory that the server
held at any moment (the kernel keeps the peak), above what it held before, while the clients of the
row were connected and until it had answered all that it would.
"""

import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

from attrs import frozen

from bench.results import COSTS, keep
from bench.servers import Server, running

MEGABYTE = 1 << 20
PATIENCE = 60.0

#: Makes connections to a server, which are closed when it has been measured.
Connect = Callable[[], socket.socket]


@frozen
class Bound:
    """
    A row.

    :ivar most: megabytes that the server may grow by.
    :ivar connections: how many there are; for the cost of each.
    """

    name: str
    most: float
    act: Callable[[Connect], None]
    connections: int = 0


def ask(client: socket.socket, data: bytes, end: bytes) -> bytes:
    client.sendall(data)
    answer = b""
    while not answer.endswith(end):
        piece = client.recv(1 << 20)
        if not piece:
            break
        answer += piece
    return answer


def send_aside(client: socket.socket, data: bytes) -> Thread:
    """Send in a thread: who is not read from blocks."""

    def send() -> None:
        with suppress(OSError):
            client.sendall(data)

    sender = Thread(target=send, daemon=True)
    sender.start()
    return sender


def store(connect: Connect, size: int) -> None:
    answer = ask(connect(), b"set k 0 0 %d\r\n%b\r\n" % (size, b"v" * size), b"\r\n")
    assert answer == b"STORED\r\n", answer


# What the clients do


def endless_lines(connect: Connect) -> None:
    senders = [send_aside(connect(), begin + b"a" * (8 * MEGABYTE)) for begin in LINES]
    for sender in senders:
        sender.join(PATIENCE)


LINES = [b"", b"set k 0 0 1 ", b"get ", b"gets "] * 5


def long_get(connect: Connect) -> None:
    line = b"get" + b" ab" * ((MEGABYTE - 8) // 3) + b"\r\n"
    assert ask(connect(), line, b"END\r\n") == b"END\r\n"


def long_gets(connect: Connect) -> None:
    line = b"get" + b" ab" * ((MEGABYTE - 8) // 3)
    for client in [connect() for _ in range(10)]:
        client.sendall(line)


def announced(size: int) -> Callable[[Connect], None]:
    def act(connect: Connect) -> None:
        for number in range(50):
            connect().sendall(b"set k%d 0 0 %d\r\nand" % (number, size))

    return act


def half_sent(connect: Connect) -> None:
    for number in range(1000):
        connect().sendall(b"set k%d 0 0 1024\r\n%b" % (number, b"v" * 512))


def never_read(size: int, count: int) -> Callable[[Connect], None]:
    def act(connect: Connect) -> None:
        store(connect, size)
        for _ in range(5):
            send_aside(connect(), b"get k\r\n" * count).join(2)

    return act


def watch_and_never_read(connect: Connect) -> None:
    for _ in range(20):
        ask(connect(), b"watch fetchers\r\n", b"\r\n")
    client = connect()
    for _ in range(200):
        ask(client, b"get%b\r\n" % ((b" " + b"#" * 200) * 200), b"END\r\n")


def slow(connect: Connect) -> None:
    store(connect, 1_000_000)
    for _ in range(30):
        client = connect()
        client.sendall(b"get k\r\n")
        client.recv(1000)
    for number in range(200):
        connect().sendall(b"set k%d 0 0 10000\r\n%b" % (number, b"v" * 100))
    for _ in range(500):
        connect().sendall(b"get somethi")


def idle(count: int) -> Callable[[Connect], None]:
    def act(connect: Connect) -> None:
        for _ in range(count):
            assert ask(connect(), b"get none\r\n", b"\r\n") == b"END\r\n"

    return act


BOUNDS = [
    Bound("20 lines of 8 MiB that do not end", 32, endless_lines),
    Bound("a get line of 1 MiB, 349,522 keys", 48, long_get),
    Bound("10 get lines of 1 MiB that do not end", 48, long_gets),
    Bound("50 values of 1 MB announced, 3 bytes sent", 32, announced(1_000_000)),
    Bound("50 values of 2 GB announced, 3 bytes sent", 32, announced(2_000_000_000)),
    Bound("1,000 values of 1 KiB half sent", 32, half_sent, 1000),
    Bound("5 clients ask for 300 x 1 MB and never read", 64, never_read(1_000_000, 300)),
    Bound("5 clients ask for 300,000 x 100 B and never read", 64, never_read(100, 300_000)),
    Bound(
        "20 watchers of 40,000 gets, each a line of 660 bytes, that never read",
        64,
        watch_and_never_read,
    ),
    Bound("30 slow readers, 200 slow writers, 500 slow lines", 64, slow),
    Bound("1,000 idle connections", 20, idle(1000), 1000),
    Bound("10,000 idle connections", 200, idle(10_000), 10_000),
]


# How it is measured


@contextmanager
def clients(server: Server) -> "Iterator[Connect]":
    with ExitStack() as stack:

        def connect() -> socket.socket:
            client = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            stack.enter_context(client)
            return client

        yield connect


def measure(bound: Bound) -> float:
    """Megabytes that a server grows by."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mctwist-"))
        server = stack.enter_context(running("mctwist-many", Path(folder)))
        with clients(server) as connect:
            for _ in range(100):  # what it needs for anybody
                ask(connect(), b"set other 0 0 1\r\nv\r\n", b"\r\n")
        quiet(server)
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        before = server.memory("VmHWM")
        with clients(server) as connect:
            bound.act(connect)
            quiet(server)
        return (server.memory("VmHWM") - before) / MEGABYTE


def quiet(server: Server) -> None:
    """Wait until the server has nothing to do."""
    deadline = time.monotonic() + PATIENCE
    before = -1.0
    while server.cpu() > before and time.monotonic() < deadline:
        before = server.cpu()
        time.sleep(0.3)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lines = ["| what clients do | may cost, MB | costs, MB | each, KiB |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for bound in BOUNDS:
        if bound.connections + 100 > most:
            continue
        cost = measure(bound)
        each = f"{cost * 1024 / bound.connections:.1f}" if bound.connections else ""
        lines.append(f"| {bound.name} | {bound.most:g} | {cost:.1f} | {each} |")
        print(lines[-1], flush=True)
        if cost > bound.most:
            print(f"{bound.name}: {cost:.1f} MB is too much", file=sys.stderr)
    text = "\n".join(lines)
    keep(COSTS, f"`python -m bench.bounds`\n\n{text}")


if __name__ == "__main__":
    main()
