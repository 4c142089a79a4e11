"""``python -m bench``: the options, and the only place that wires the parts.

Whatever ends the run, an exception or Ctrl-C or SIGTERM, unwinds one stack: servers stopped, then
their directory removed.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Optional

from bench.cells import ALL, CELLS, RESP, Results, play, preload
from bench.cold import Cold, measure
from bench.load import WrongReply
from bench.memory import Memory, weigh
from bench.report import filesystem, machine, render
from bench.results import keep_main
from bench.servers import NotStarted, Server, running
from bench.witness import NoTestimony, Suite, suite, testify, tool

#: Commands for each second of a cell, by redis-benchmark: it runs for a number, not for a time.
SUITE_RATE = 10_000

HERE = Path(__file__).parent
TOOLS = ["memcached", "redis-server", "memcaslap", "redis-benchmark", "openssl"]
#: Other ways to run mctwist, of which some cells are.
VARIANTS = ["mctwist-threads", "mctwist-resp", "mctwist-tls"]
EXTRAS = ["witness", "redis-benchmark", "memory", "cold"]


def options(arguments: list[str]) -> argparse.Namespace:
    def among(known: list[str], text: str) -> list[str]:
        wrong = set(text.split(",")) - set(known)
        if wrong:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(wrong))}: not in {known}")
        return [name for name in known if name in text.split(",")]

    parts = [cell.name for cell in CELLS] + EXTRAS
    parser = argparse.ArgumentParser("python -m bench")
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2.0, help="of each cell")
    add("--only", metavar="CELL,...", type=lambda text: among(parts, text), default=parts)
    add("--servers", metavar="NAME,...", type=lambda text: among([*ALL], text), default=[*ALL])
    add("--dir", type=Path, default=HERE / "work", help="for the stores; not on a tmpfs")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> Optional[str]:
    """Run; the string returned is the one line that says why it failed."""
    chosen = options(arguments)
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        return (
            f"bench: {', '.join(missing)} missing:"
            " apt install memcached redis-server redis-tools libmemcached-tools openssl"
        )
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        report = run(chosen)
    except (NotStarted, WrongReply, NoTestimony, ConnectionError) as error:
        return f"bench: {error}"
    except KeyboardInterrupt:
        return "bench: interrupted"
    print("\n" + report)
    if whole(chosen):
        keep_main(report)
    else:
        print("A part of the benchmark only: bench/results.md is left as it was.")
    return None


def whole(chosen: argparse.Namespace) -> bool:
    return len(chosen.only) == len(CELLS) + len(EXTRAS) and len(chosen.servers) == len(ALL)


def run(chosen: argparse.Namespace) -> str:
    cells = [cell for cell in CELLS if cell.name in chosen.only]
    with ExitStack() as stack:
        directory = stack.enter_context(workspace(chosen.dir))
        needed = {name for cell in cells for name in cell.servers}
        if "redis-benchmark" in chosen.only:
            needed.update(RESP)
        servers: dict[str, Server] = {}
        for name in chosen.servers + (VARIANTS if "mctwist" in chosen.servers else []):
            if name in needed:
                servers[name] = stack.enter_context(running(name, directory / name))
                preload(servers[name])
        results = play(cells, servers, chosen.rounds, chosen.seconds)
        said: dict[tuple[str, str], tuple[str, float]] = {}
        if "witness" in chosen.only:
            said = ask_others(results, servers, chosen.seconds, directory)
        suites: dict[str, Suite] = {}
        if "redis-benchmark" in chosen.only:
            count = max(1000, int(SUITE_RATE * chosen.seconds))
            suites = {name: suite(servers[name], count) for name in RESP if name in servers}
        memory: Optional[Memory] = None
        if "memory" in chosen.only and "mctwist" in chosen.servers:
            memory = weigh(stack.enter_context(running("mctwist", directory / "memory")))
        gone: Optional[Cold] = None
        if "cold" in chosen.only and "mctwist" in chosen.servers:
            gone = measure(directory / "cold", chosen.seconds)
        command = f"python -m bench --rounds {chosen.rounds} --seconds {chosen.seconds:g}"
        if not whole(chosen):
            command += f" --only {','.join(chosen.only)} --servers {','.join(chosen.servers)}"
        return render(machine(directory), command, cells, results, said, suites, memory, gone)


def ask_others(
    results: Results, servers: dict[str, Server], seconds: float, directory: Path
) -> dict[tuple[str, str], tuple[str, float]]:
    """Each cell that another generator can make, made by it once: its name and its figure."""
    said = {}
    for cell in CELLS:
        for server in servers.values():
            figures = results.get((cell.name, server.name))
            if figures and tool(cell, server):
                ours = median(figure.rate for figure in figures)
                theirs = testify(cell, server, seconds, ours, directory)
                said[cell.name, server.name] = (tool(cell, server), theirs)
    return said


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A directory of its own under `parent` for the time of a block."""
    ours = not parent.exists()
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=parent))
    if filesystem(directory) in ("tmpfs", "ramfs"):
        print("warning: the stores are on a memory filesystem; syncing costs nothing there")
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
        if ours:
            parent.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
