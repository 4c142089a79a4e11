"""The report: figures in, Markdown out. It names the machine's kind, never its paths or people.

A ratio is the median over the rounds of that round's ratio, with the least and the greatest, so
that a drift of the machine does not enter it.
"""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Optional

from bench.cells import CELLS, AsNear, Cell, Results
from bench.cold import ITEMS, Cold
from bench.cold import VALUE_SIZE as COLD_SIZE
from bench.memory import Memory
from bench.witness import DEPTHS, SUITE, Suite

#: Bytes; peak memory is to stay below.
MEMORY_TARGET = 120_000_000


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def rates(results: Results, cell: Cell, server: str) -> list[float]:
    return [figure.rate for figure in results.get((cell.name, server), [])]


def ratios(results: Results, cell: Cell, rival: str, other: str = "") -> list[float]:
    """To the rival in the same cell, or in the `other` one."""
    ours = rates(results, cell, cell.servers[-1])
    figures = results.get((other or cell.name, rival), [])
    return [mine / figure.rate for mine, figure in zip(ours, figures)]


def thousands(numbers: list[float]) -> str:
    return f"{median(numbers):,.0f}" if numbers else ""


def spread(numbers: list[float]) -> str:
    if not numbers:
        return ""
    return f"{median(numbers):.2f} ({min(numbers):.2f}-{max(numbers):.2f})"


def target(results: Results, cell: Cell) -> str:
    if cell.target is None:
        return ""
    if isinstance(cell.target, AsNear):
        return nearness(results, cell, cell.target)
    reached = ratios(results, cell, cell.target.rival, cell.target.cell)
    verdict = ""
    if reached:
        verdict = ": met" if median(reached) >= cell.target.ratio else ": missed"
    if not cell.target.cell:
        return f">= {cell.target.ratio} x {cell.target.rival}{verdict}"
    title = next(other.title for other in CELLS if other.name == cell.target.cell)
    return f"{spread(reached)} >= {cell.target.ratio} x its own {title}{verdict}"


def nearness(results: Results, cell: Cell, wanted: AsNear) -> str:
    other = next(other for other in CELLS if other.name == wanted.cell)
    texts = ratios(results, other, "memcached")
    relations = [ours / text for ours, text in zip(ratios(results, cell, "redis"), texts)]
    verdict = ""
    if relations:
        verdict = ": met" if median(relations) >= 1 else ": missed"
    return f"{spread(relations)} >= 1 x text's {other.title} to memcached{verdict}"


def throughput(results: Results, cells: Sequence[Cell]) -> str:
    head = ["cell", "memcached", "redis", "mctwist", "to memcached", "to redis", "target"]
    rows = [
        [
            cell.title,
            thousands(rates(results, cell, "memcached")),
            thousands(rates(results, cell, "redis")),
            thousands(rates(results, cell, cell.servers[-1])),
            spread(ratios(results, cell, "memcached")),
            spread(ratios(results, cell, "redis")),
            target(results, cell),
        ]
        for cell in cells
    ]
    return table(head, rows)


def processor(results: Results, cells: Sequence[Cell]) -> str:
    """CPU seconds a second: the server's / the generator's."""

    def pair(cell: Cell, server: str) -> str:
        figures = results.get((cell.name, server), [])
        if not figures:
            return ""
        mine = median(figure.generator_cpu for figure in figures)
        return f"{median(figure.server_cpu for figure in figures):.2f} / {mine:.2f}"

    rows = [
        [cell.title, *(pair(cell, server) for server in ("memcached", "redis", cell.servers[-1]))]
        for cell in cells
    ]
    return table(["cell: server / generator", "memcached", "redis", "mctwist"], rows)


def top_speed(results: Results, depth: int) -> str:
    """The most the generator did of one depth, and what both sides spent on it."""
    cells = {cell.name: cell for cell in CELLS if cell.depth == depth}
    best = max(
        (
            (figure, cells[name].title, server)
            for (name, server), figures in results.items()
            for figure in figures
            if name in cells
        ),
        key=lambda row: row[0].rate,
        default=None,
    )
    if best is None:
        return "not measured"
    figure, title, server = best
    return (
        f"{figure.rate:,.0f} operations a second ({title}, {server}), at {figure.generator_cpu:.2f}"
        f" CPU of its own and {figure.server_cpu:.2f} of the server"
    )


def witnesses(results: Results, said: dict[tuple[str, str], tuple[str, float]]) -> str:
    titles = {cell.name: cell.title for cell in CELLS}
    rows = [
        [
            titles[name],
            server,
            f"{median(figure.rate for figure in results[name, server]):,.0f}",
            f"{rate:,.0f}",
            tool,
        ]
        for (name, server), (tool, rate) in said.items()
    ]
    return table(["cell", "server", "this generator", "another", "which"], rows)


def suite_table(suites: dict[str, Suite]) -> str:
    ours, theirs = (suites.get(name, {}) for name in ("mctwist-resp", "redis"))
    rows = []
    for depth in DEPTHS:
        for name in SUITE:
            pair = [figures.get((name, depth)) for figures in (theirs, ours)]
            shown = ["" if rate is None else f"{rate:,.0f}" for rate in pair]
            ratio = f"{pair[1] / pair[0]:.2f}" if pair[0] and pair[1] else ""
            rows.append([name if depth == 1 else f"{name}, {depth} pipelined", *shown, ratio])
    return table(["redis-benchmark's", "redis", "mctwist", "to redis"], rows)


def weight(memory: Memory) -> str:
    verdict = "met" if memory.peak_anonymous < MEMORY_TARGET else "missed"
    return (
        f"Peak {memory.peak_anonymous / 1e6:.1f} MB without mapped file pages"
        f" (target < {MEMORY_TARGET / 1e6:.0f} MB: {verdict});"
        f" {memory.peak_resident / 1e6:.1f} MB with them."
    )


def chill(cold: Cold) -> str:
    size = ITEMS * COLD_SIZE / 1e6
    return (
        f"{size:,.0f} MB in values of {COLD_SIZE} bytes, its pages dropped from the kernel's cache"
        f" before each figure, 50 connections: {cold.inline:,.0f} gets a second read in the"
        f" reactor, {cold.threads:,.0f} in read threads (--inline-reads never)."
    )


def machine(directory: Path) -> str:
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    facts = {
        "CPU": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem of the stores": filesystem(directory),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "memcached": version("memcached", "-V"),
        "redis": version("redis-server", "--version"),
        **{name: package(name) for name in ("mctwist", "twisted", "lmdb")},
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def filesystem(directory: Path) -> str:
    """The kind of the filesystem that holds `directory`: the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = {str(directory), *map(str, directory.parents)}
    return max((len(point), kind) for point, kind in mounts if point in above)[1]


def version(*command: str) -> str:
    said = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    found = re.search(r"\d+\.\d+[.\d]*", said)
    return found[0] if found else "?"


def package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


PREAMBLE = """\
50 connections unless the cell says otherwise, 100,000 keys, values of 100 bytes; one server process
each, all in one run, round by round. Medians; ratios are mctwist's, with least and greatest. Redis
and mctwist have every set on disk before they answer (appendfsync always, --sync always),
memcached never. All made by this benchmark's own generator. "Read in threads" is mctwist with
--inline-reads never; compare with get. Over TLS is mctwist on a TLS port; compare with get and
set."""

WITNESSES = """\
The same servers under other generators, once, after the rounds. memcaslap's sets are all of new
keys. A generator slower than its server flatters whoever is slower still."""


def render(
    facts: str,
    command: str,
    cells: Sequence[Cell],
    results: Results,
    said: dict[tuple[str, str], tuple[str, float]],
    suites: dict[str, Suite],
    memory: Optional[Memory],
    cold: Optional[Cold],
) -> str:
    parts = ["# Benchmark: mctwist beside memcached and Redis", f"`{command}`", facts]
    if results:
        parts += ["## Operations a second", PREAMBLE, throughput(results, cells)]
        parts += ["## CPU seconds a second", processor(results, cells), "## The generator"]
        for how, depth in ("Not pipelined", 1), ("32 pipelined", 32):
            parts += [f"{how}, its top speed: {top_speed(results, depth)}."]
    if said:
        parts += [WITNESSES, witnesses(results, said)]
    if suites:
        parts += ["## redis-benchmark's own tests, once, over RESP", suite_table(suites)]
    if memory is not None:
        stored = "A fresh mctwist that stores 100,000 items of 100 bytes and reads them all."
        parts += ["## Memory", f"{stored} {weight(memory)}"]
    if cold is not None:
        parts += ["## A store that is not in memory", chill(cold)]
    return "\n\n".join(parts) + "\n"
