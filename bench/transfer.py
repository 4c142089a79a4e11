"""``python -m bench.transfer``: a million items out of one server and into another, and back.

A dump is made, loaded into a mctwist, dumped from it plain and compressed, and that loaded into
another, whose own dump is compared with the first, line by line; then the same through a pipe, and
with a memcached. Each command is a process of its own, as people run it, and its time is that of
the process, from its start to its end. Every server is as it is by default: --sync always.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from random import Random

from attrs import frozen

from bench.__main__ import workspace
from bench.servers import Server, running
from mctwist.dumps import Record, encode, first_line, last_line

#: In 2036; half of the items have one, though none is to expire.
EXPIRY = 2_100_000_000_000

MCTWIST = [sys.executable, "-m", "mctwist.shell"]


@frozen
class Run:
    """What a command took: seconds, and bytes at most."""

    name: str
    items: int
    seconds: float
    memory: int
    size: int = 0

    def row(self) -> str:
        size = f"{self.size / 1e6:,.1f} MB" if self.size else ""
        rate = f"{self.items / self.seconds:,.0f}"
        return (
            f"| {self.name} | {self.seconds:.1f} | {rate} | {size} | {self.memory / 1e6:,.0f} MB |"
        )


def make(path: Path, count: int, size: int) -> None:
    """A dump of `count` items with values of `size` bytes."""
    with path.open("wb") as file:
        file.write(first_line("bench", int(time.time() * 1000)))
        random = Random(1)
        for number in range(count):
            # Text that compresses to about half, as people's does.
            value = b"%0*x" % (size, random.getrandbits(4 * size))
            expiry = EXPIRY + number if number % 2 else 0
            key = b"key:%08d" % number
            file.write(encode(Record(key, value, number % 4, expiry, number + 1)))
        file.write(last_line(count))


def command(name: str, items: int, *words: "str | Path", size_of: "Path | None" = None) -> Run:
    """Run `mctwist` with `words`."""
    began = time.monotonic()
    process = subprocess.Popen([*MCTWIST, *map(str, words)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name}: status {process.returncode}")
    seconds = time.monotonic() - began
    size = size_of.stat().st_size if size_of is not None else 0
    return Run(name, items, seconds, usage.ru_maxrss * 1024, size)


def piped(name: str, items: int, source: str, target: str) -> Run:
    """`mctwist dump | mctwist load`; the memory is of both."""
    began = time.monotonic()
    dump = subprocess.Popen([*MCTWIST, "dump", "-s", source], stdout=subprocess.PIPE)
    load = subprocess.Popen([*MCTWIST, "load", "-s", target], stdin=dump.stdout)
    assert dump.stdout is not None
    dump.stdout.close()
    memory = 0
    for process in (load, dump):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        memory += usage.ru_maxrss * 1024
    if load.returncode or dump.returncode:
        sys.exit(f"{name}: status {dump.returncode}, {load.returncode}")
    return Run(name, items, time.monotonic() - began, memory)


def digest(path: Path) -> "tuple[int, int]":
    """How many items a dump has, and a sum over its lines that does not know their order."""
    count = total = 0
    with path.open("rb") as file:
        for line in file:
            if line.startswith((b'{"mctwist"', b'{"end"')):
                continue
            count += 1
            total += int.from_bytes(blake2b(line, digest_size=16).digest(), "little")
    return count, total


def address(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


def run(directory: Path, count: int, size: int) -> "list[Run]":
    made, plain, packed, back = (
        directory / name for name in ("made.jsonl", "plain.jsonl", "packed.zst", "back.jsonl")
    )
    make(made, count, size)
    runs = []
    with ExitStack() as stack:
        servers = [stack.enter_context(running("mctwist", directory / name)) for name in "abc"]
        one, two, three = map(address, servers)
        runs.append(command("load, plain", count, "load", made, "-s", one))
        runs.append(command("dump, plain", count, "dump", plain, "-s", one, size_of=plain))
        runs.append(command("dump, .zst", count, "dump", packed, "-s", one, size_of=packed))
        runs.append(command("load, .zst", count, "load", packed, "-s", two))
        command("dump", count, "dump", back, "-s", two)
        equal(plain, back, "what comes back")
        runs.append(piped("dump \\| load", count, one, three))
        command("dump", count, "dump", back, "-s", three)
        equal(plain, back, "what went through the pipe")
        if shutil.which("memcached"):
            stock = address(stack.enter_context(running("memcached", directory / "stock")))
            runs.append(command("load, memcached", count, "load", made, "-s", stock))
            runs.append(command("dump, memcached", count, "dump", back, "-s", stock))
    return runs


def equal(one: Path, other: Path, what: str) -> None:
    if digest(one) != digest(other):
        sys.exit(f"{what} differs")
    print(f"{what} is equal", flush=True)


def main(arguments: "list[str]") -> None:
    parser = argparse.ArgumentParser("python -m bench.transfer")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100, help="of a value, in bytes")
    parser.add_argument("--dir", type=Path, default=Path(__file__).parent / "work")
    chosen = parser.parse_args(arguments)
    with workspace(chosen.dir) as directory:
        runs = run(directory, chosen.items, chosen.size)
    print(f"\n{chosen.items:,} items, values of {chosen.size} bytes\n")
    print("| | seconds | items/s | file | memory |\n|---|---|---|---|---|")
    for each in runs:
        print(each.row())


if __name__ == "__main__":
    main(sys.argv[1:])
