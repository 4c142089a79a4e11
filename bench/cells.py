"""The cells of the table, and how one is measured.

A cell is one kind of load; it is measured on each server in turn before the next cell begins, round
by round, so that a machine that slows down slows all of them. The server that goes first changes
with the round.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Union

from attrs import frozen

from bench.load import drive
from bench.servers import Server
from bench.wire import exchanges

ALL = ("memcached", "redis", "mctwist")
NO_REDIS = ("memcached", "mctwist")
RESP = ("redis", "mctwist-resp")


@frozen
class Target:
    """The ratio mctwist should reach to a rival; to one in the cell of that name, if any is."""

    rival: str
    ratio: float
    cell: str = ""


@frozen
class AsNear:
    """To be as near to Redis as text is to memcached in the cell of that name, round by round."""

    cell: str


@frozen
class Cell:
    """One kind of load; `servers` ends with the mctwist that fills mctwist's column.

    :ivar dialect: in which it is spelled, if not in the server's own.
    """

    name: str
    title: str
    kind: str
    depth: int
    connections: int
    target: Union[Target, AsNear, None] = None
    servers: tuple[str, ...] = ALL
    dialect: str = ""


def binary(kind: str, depth: int) -> Cell:
    """Held against the same in text."""
    text = kind if depth == 1 else f"{kind}{depth}"
    title = f"binary {kind}" if depth == 1 else f"binary {kind}, {depth} pipelined"
    target = Target("mctwist", 0.9, text)
    return Cell(f"b{text}", title, kind, depth, 50, target, NO_REDIS, "binary")


# Each meta and binary cell stands behind the classic one that it is held against; RESP's
# stand together.
CELLS = [
    Cell("get", "get", "get", 1, 50, Target("memcached", 0.75)),
    Cell("mg", "mg KEY v", "mg", 1, 50, Target("mctwist", 0.9, "get"), NO_REDIS),
    binary("get", 1),
    Cell("set", "set", "set", 1, 50, Target("redis", 0.6)),
    Cell("ms", "ms", "ms", 1, 50, Target("mctwist", 0.9, "set"), NO_REDIS),
    binary("set", 1),
    Cell("mix", "9 get : 1 set", "mix", 1, 50),
    Cell("get32", "get, 32 pipelined", "get", 32, 50, Target("memcached", 2.0)),
    Cell("mg32", "mg KEY v, 32 pipelined", "mg", 32, 50, Target("mctwist", 0.9, "get32"), NO_REDIS),
    binary("get", 32),
    Cell("set32", "set, 32 pipelined", "set", 32, 50, Target("redis", 0.45)),
    Cell("ms32", "ms, 32 pipelined", "ms", 32, 50, Target("mctwist", 0.9, "set32"), NO_REDIS),
    binary("set", 32),
    Cell("mix32", "9 get : 1 set, 32 pipelined", "mix", 32, 50),
    Cell("resp-get", "GET over RESP", "get", 1, 50, AsNear("get"), RESP),
    Cell("resp-set", "SET over RESP", "set", 1, 50, AsNear("set"), RESP),
    Cell("resp-get32", "GET over RESP, 32 pipelined", "get", 32, 50, AsNear("get32"), RESP),
    Cell("resp-set32", "SET over RESP, 32 pipelined", "set", 32, 50, AsNear("set32"), RESP),
    Cell("set1", "set, 1 connection", "set", 1, 1),
    Cell("get-threads", "get, read in threads", "get", 1, 50, None, ("mctwist-threads",)),
    Cell("get-tls", "get, over TLS", "get", 1, 50, None, ("mctwist-tls",)),
    Cell("set-tls", "set, over TLS", "set", 1, 50, None, ("mctwist-tls",)),
]


@frozen
class Figure:
    """One measurement: operations a second, and the CPU seconds a second it took on both sides."""

    rate: float
    server_cpu: float
    generator_cpu: float


#: The figures of each cell and server, one a round.
Results = defaultdict[tuple[str, str], list[Figure]]


def preload(server: Server) -> None:
    """Store all keys, then see that all are there."""
    for kind in "set", "get":
        drive(server.port, exchanges(server.dialect, kind, 32), 50, tls=server.tls)


def measure(cell: Cell, server: Server, seconds: float) -> Figure:
    batches = exchanges(cell.dialect or server.dialect, cell.kind, cell.depth)
    cpu = server.cpu()
    load = drive(server.port, batches, cell.connections, seconds, server.tls)
    # The drain after the time is up (one exchange a connection) is in the server's share.
    return Figure(
        load.answered * cell.depth / load.seconds,
        (server.cpu() - cpu) / load.seconds,
        load.cpu / load.seconds,
    )


def play(cells: Sequence[Cell], servers: dict[str, Server], rounds: int, seconds: float) -> Results:
    results: Results = defaultdict(list)
    for number in range(rounds):
        first = number % max(1, len(servers))
        order = [*servers.values()][first:] + [*servers.values()][:first]
        for cell in cells:
            for server in order:
                if server.name in cell.servers:
                    figure = measure(cell, server, seconds)
                    results[cell.name, server.name].append(figure)
                    print(
                        f"round {number + 1}/{rounds}  {cell.name:12}{server.name:16}"
                        f"{figure.rate:>12,.0f}/s  CPU {figure.server_cpu:.2f}"
                        f"  generator {figure.generator_cpu:.2f}",
                        flush=True,
                    )
    return results
