"""Other people's generators against the same servers: they bear witness that ours is no bottleneck.

They cannot make the table. memcaslap does not pipeline, and never overwrites: each of its sets is a
new key, as are the 102,400 it stores before a run of gets (and counts in its "TPS", which is why
only its own counters are used here). redis-benchmark speaks RESP only and has no mix.
Neither knows meta commands.

memcaslap says little of what goes wrong, and of a miss in binary nothing, so the server is asked
what it has counted.
"""

import re
import socket
import subprocess
from pathlib import Path

from bench.cells import Cell
from bench.servers import Server
from bench.wire import KEYS, VALUE_SIZE


class NoTestimony(Exception):
    """The tool failed, or said what we cannot read."""


CONNECTIONS = 50
#: Each connection has a window of its own: 2 x 1,024 keys, the next above 100,000 in all.
MEMCASLAP = "key\n16 16 1\nvalue\n{size} {size} 1\ncmd\n0 {sets}\n1 {gets}\n"


def tool(cell: Cell, server: Server) -> str:
    """The tool that can make this cell on this server, or an empty string."""
    if cell.kind not in ("get", "set") or server.name not in cell.servers or server.tls:
        return ""
    if server.dialect == "resp":
        return "redis-benchmark"
    return "memcaslap" if cell.depth == 1 and cell.connections == CONNECTIONS else ""


def testify(cell: Cell, server: Server, seconds: float, rate: float, directory: Path) -> float:
    """Operations a second by `tool`; `rate`, our own figure, sizes the run of redis-benchmark."""
    if tool(cell, server) == "memcaslap":
        return memcaslap(server, cell.kind, cell.dialect, seconds, directory)
    return redis_benchmark(cell, server, seconds, rate)


def memcaslap(server: Server, kind: str, dialect: str, seconds: float, directory: Path) -> float:
    config = directory / "memcaslap.cnf"
    gets = int(kind == "get")
    config.write_text(MEMCASLAP.format(size=VALUE_SIZE, gets=gets, sets=1 - gets))
    time = f"{max(1, round(seconds))}s"
    flags = ["-T", "1", "-c", str(CONNECTIONS), "-w", "2k", "-t", time, "-F", str(config)]
    if dialect == "binary":
        flags.append("-B")
    before = counters(server)
    said = run(["memcaslap", "-s", f"127.0.0.1:{server.port}", *flags], 60 + 2 * seconds)
    after = counters(server)
    for counted, told in ("get_hits", "cmd_get"), ("cmd_set", "cmd_set"):
        # What is under way when the time is up is not waited for.
        lacking = number(rf"{told}: (\d+)", said) - (after[counted] - before[counted])
        if not 0 <= lacking <= CONNECTIONS:
            raise NoTestimony(f"memcaslap tells of {lacking:.0f} more {told} than {server.name}")
    return number(rf"cmd_{kind}: (\d+)", said) / number(r"Run time: ([\d.]+)s", said)


def counters(server: Server) -> dict[str, int]:
    """The whole numbers of `stats`."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(b"stats\r\nquit\r\n")
        reply = b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()
    return {name: int(figure) for name, figure in re.findall(r"STAT (\w+) (\d+)\r\n", reply)}


def redis_benchmark(cell: Cell, server: Server, seconds: float, rate: float) -> float:
    count = max(1000, int(rate * seconds))
    flags = ["-c", str(cell.connections), "-P", str(cell.depth), "-n", str(count)]
    data = ["-d", str(VALUE_SIZE), "-r", str(KEYS), "-t", cell.kind, "--csv"]
    said = run(["redis-benchmark", "-p", str(server.port), *flags, *data], 60 + 10 * seconds)
    return number(rf'"{cell.kind.upper()}","([\d.]+)"', said)


#: What redis-benchmark is asked for besides, where all speak RESP, and its names for that.
SUITE = {"SET": "set", "GET": "get", "INCR": "incr", "MSET (10 keys)": "mset"}
DEPTHS = (1, 32)

#: Operations a second, by the name of the test and how many are pipelined.
Suite = dict[tuple[str, int], float]


def suite(server: Server, count: int) -> Suite:
    """redis-benchmark's own tests, `count` commands each, ten times as many where pipelined."""
    rates = {}
    for depth in DEPTHS:
        flags = ["-P", str(depth), "-n", str(count * (10 if depth > 1 else 1)), "-r", str(KEYS)]
        tests = ["-t", ",".join(SUITE.values()), "-d", str(VALUE_SIZE), "--csv"]
        said = run(["redis-benchmark", "-p", str(server.port), *flags, *tests], 600)
        for name in SUITE:
            rates[name, depth] = number(rf'"{re.escape(name)}","([\d.]+)"', said)
    return rates


def run(command: list[str], seconds: float) -> str:
    """What the tool said; it is killed when it takes longer."""
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise NoTestimony(f"{command[0]} ran for more than {seconds:.0f} s") from None
    if ended.returncode:
        raise NoTestimony(f"{command[0]} failed: {ended.stdout[-500:]}{ended.stderr[-500:]}")
    return ended.stdout


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise NoTestimony(f"no {pattern!r} in {text[-500:]!r}")
    return float(found[1])
