"""
`mctwist bench`: a short load on a server, and how long its answers take.

The rule: what is stored is under keys that nobody else has, and is gone at the end, however that
comes about. Where even that is prevented, it expires.
"""

import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Callable, Optional

import click
from rich.progress import BarColumn, Progress, TextColumn

from mctwist import client
from mctwist.client import LOST, REFUSED, Connection, Server
from mctwist.shell.measure import spread
from mctwist.shell.measure.traffic import Processes, Tally, Work
from mctwist.shell.options import Seconds, as_json, of_server
from mctwist.shell.output import console, print_json, print_rows, tell

PREFIX = "mctwist-bench:"

# What any server takes, and any terminal shows.
_KEY = re.compile(rb"[!-~]{1,250}\Z").match

#: Seconds after which what could not be deleted is gone all the same.
EXPTIME = 3600

#: Commands, and bytes, that are sent at once while keys are stored or deleted.
_AT_ONCE = 200
_MOST_AT_ONCE = 1 << 20

#: The part of a processor above which the client is what was measured.
_BUSY = 0.9


def _ratio(ctx: click.Context, option: click.Parameter, text: str) -> "tuple[int, int]":
    """What `GETS:SETS` says."""
    gets, colon, sets = text.partition(":")
    if not (colon and gets.isdecimal() and sets.isdecimal() and 0 < int(gets) + int(sets) <= 1000):
        raise click.BadParameter(f"{text!r} is not GETS:SETS")
    return int(gets), int(sets)


@click.command()
@of_server
@click.option(
    "--seconds",
    type=Seconds(0, 3600, min_open=True),
    default=5.0,
    show_default=True,
    help="How long it lasts.",
)
@click.option(
    "-c",
    "--connections",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="Connections that ask.",
)
@click.option(
    "--pipeline",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Commands that each sends at once.",
)
@click.option(
    "--size",
    type=click.IntRange(0, 1 << 30),
    default=100,
    show_default=True,
    metavar="BYTES",
    help="Of a value.",
)
@click.option(
    "--keys",
    type=click.IntRange(1, 99_999_999),
    default=10_000,
    show_default=True,
    metavar="N",
    help="How many keys there are.",
)
@click.option(
    "--ratio",
    callback=_ratio,
    default="9:1",
    show_default=True,
    metavar="GETS:SETS",
    help="What is asked.",
)
@click.option("--get", "only", flag_value="get", help="Nothing but gets; as --ratio 1:0.")
@click.option("--set", "only", flag_value="set", help="Nothing but sets; as --ratio 0:1.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that ask.",
)
@click.option("--prefix", default=PREFIX, show_default=True, help="What the keys begin with.")
@click.option("--keep", is_flag=True, help="Leave the keys there; they do not expire.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask whether it may be.")
@click.option(
    "--plot", type=click.Path(dir_okay=False), metavar="FILE.svg", help="Draw the latencies there."
)
@as_json
def bench(
    server: Server,
    seconds: float,
    connections: int,
    pipeline: int,
    size: int,
    keys: int,
    ratio: "tuple[int, int]",
    only: Optional[str],
    processes: int,
    prefix: str,
    keep: bool,
    yes: bool,
    plot: Optional[str],
    as_json: bool,
) -> None:
    """
    Load a server for some seconds, and show how fast it answers.

    It writes: keys that begin with mctwist-bench: and a word of their own, which are deleted at
    the end. What the server holds for others stays, unless it is so full that it evicts.

    A connection asks, waits for the answer, and asks again; with --pipeline the time is that of
    all the commands that were sent together. The client needs a processor too, and more of it
    than a server written in C: on one machine they share it, and one client process comes to some
    ten thousands of answers a second. Where it has been busy all the time, this says so; then
    --processes or --pipeline show more. Figures of one machine are worth comparing with each
    other, not with those of another.
    """
    gets, sets = {"get": (1, 0), "set": (0, 1), None: ratio}[only]
    mark = os.fsencode(prefix) + b"%b:" % secrets.token_hex(4).encode()
    work = Work(mark, keys, size, gets, sets, pipeline, 0 if keep else EXPTIME)
    processes = min(processes, connections)
    if plot is not None:
        _check_plot(plot)
    if not _KEY(work.key(0)):
        raise click.BadParameter("no key can begin with that", param_hint="--prefix")
    with _connected(server) as connection:
        version = _warn(connection, server, work, yes)
        with _cleaned(server, work, keep):
            if gets:
                _fill(connection, work)
            # It would be idle for as long as that lasts, and might be closed for it.
            connection.close()
            tally = _load(server, work, connections, seconds, processes)
    if not tally.latency.total or tally.lost == connections:
        raise click.ClickException(_failure(tally))
    told = _told(tally, work, server, version, connections, processes)
    if plot is not None:
        _plot(plot, tally, told)
    if as_json:
        print_json(told)
    else:
        _show(told, tally)
    _comment(tally, processes)


@contextmanager
def _connected(server: Server) -> Iterator[Connection]:
    connection = server.connect()
    try:
        yield connection
    finally:
        connection.close()


def _check_plot(path: str) -> None:
    """What cannot be written is better known before than behind. It is left as it is."""
    is_new = not os.path.lexists(path)
    try:
        with open(path, "ab"):
            pass
        if is_new:
            os.unlink(path)
    except OSError as fault:
        raise click.ClickException(f"{path}: {fault.strerror}") from None


def _warn(connection: Connection, server: Server, work: Work, yes: bool) -> str:
    """Say what is to be done, and where there is something of others, ask; the version."""
    told = connection.ask(b"stats\r\n", client.stats)
    held = told.get("curr_items", "0")
    size = work.keys * work.size
    tell(
        f"{server}, {told.get('version', 'of no version')}: writes up to {work.keys:,} items of"
        f" {work.size:,} bytes ({size / 1e6:,.1f} MB) under {work.prefix.decode()}*"
    )
    if held != "0" and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"It holds {held} items; go on?", abort=True, err=True)
    return told.get("version", "")


@contextmanager
def _cleaned(server: Server, work: Work, keep: bool) -> "Iterator[None]":
    """Leave nothing behind, unless it is to be kept."""
    try:
        yield
    finally:
        if not keep:
            _clean(server, work)


def _clean(server: Server, work: Work) -> None:
    try:
        with _connected(server) as connection:
            for start in range(0, work.keys, _AT_ONCE):
                numbers = range(start, min(start + _AT_ONCE, work.keys))
                deletes = (b"delete %b noreply\r\n" % work.key(number) for number in numbers)
                # When the last is answered, all before it has been done; and a server that does
                # nothing any more is not waited for until all would be.
                connection.ask(b"".join(deletes) + b"version\r\n", client.line)
    except (*LOST, *REFUSED):
        tell(
            f"{work.prefix.decode()}*: what is left of these keys could not be deleted;"
            f" it expires within {EXPTIME // 60} minutes"
        )


def _fill(connection: Connection, work: Work) -> None:
    """
    Store every key once.

    :raises MemcacheServerError: there is no room, or a value is too large.
    """
    at_once = max(min(_AT_ONCE, _MOST_AT_ONCE // (work.size + 1)), 1)
    with _shown("storing", work.keys) as show:
        for start in range(0, work.keys, at_once):
            numbers = range(start, min(start + at_once, work.keys))
            request = b"".join(work.set(number)[0] for number in numbers)

            def stored(answers: BinaryIO, count: int = len(numbers)) -> None:
                for _ in range(count):
                    client.line(answers)

            connection.ask(request, stored)
            show(start, "")


def _load(server: Server, work: Work, connections: int, seconds: float, processes: int) -> Tally:
    began = time.monotonic()
    with (
        _shown("asking", seconds) as show,
        Processes(server, work, connections, seconds, processes) as load,
    ):
        while load.wait(0.1):
            passed = time.monotonic() - began
            show(min(passed, seconds), f"{load.operations / max(passed, 0.001):,.0f} ops/s")
        return load.tally


@contextmanager
def _shown(what: str, total: float) -> "Iterator[Callable[[float, str], None]]":
    """How far it has come, where somebody may look; called with that, and what to say of it."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda done, text: None
        return
    # It draws when it is told, for which it needs no thread.
    columns = TextColumn("{task.description:>8}"), BarColumn(), TextColumn("{task.fields[text]}")
    with Progress(*columns, console=screen, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(what, total=total, text="")

        def show(done: float, text: str) -> None:
            progress.update(task, completed=done, text=text, refresh=True)

        yield show


def _failure(tally: Tally) -> str:
    fault = tally.fault or "nothing was answered"
    if not tally.latency.total:
        return fault
    return f"after {tally.latency.total:,} operations: {fault}"


def _told(
    tally: Tally, work: Work, server: Server, version: str, connections: int, processes: int
) -> "dict[str, Any]":
    """The result. Times are microseconds."""
    latency = tally.latency
    spans = {name: latency.percentile(percent) for name, percent in spread.PERCENTILES.items()}
    times = {"min": latency.least, "mean": latency.sum / latency.total, **spans}
    return {
        "server": str(server),
        "version": version,
        "connections": connections,
        "processes": processes,
        "pipeline": work.depth,
        "keys": work.keys,
        "size": work.size,
        "seconds": round(tally.seconds, 3),
        "operations": latency.total,
        "ops": round(tally.ops, 1),
        "gets": tally.gets,
        "sets": tally.sets,
        "misses": tally.misses,
        "errors": tally.errors,
        "lost_connections": tally.lost,
        "client_cpu": round(tally.cpu, 2),
        "latency_us": {
            name: round(value / 1000, 1) for name, value in {**times, "max": latency.most}.items()
        },
        "histogram_us": [
            [start / 1000, (end + 1) / 1000, count] for start, end, count in latency.rows()
        ],
    }


def _show(told: "dict[str, Any]", tally: Tally) -> None:
    screen = console()
    if not screen.is_terminal:
        flat = {name: value for name, value in told.items() if not isinstance(value, (dict, list))}
        times = {f"{name}_us": value for name, value in told["latency_us"].items()}
        print_rows((), {**flat, **times}.items())
        return
    plain = screen.options.ascii_only
    width = max(screen.width - 36, 10)
    for text in spread.drawn(tally.latency, min(width, 60), plain):
        screen.print(text, markup=False)
    screen.print()
    times = told["latency_us"]
    named = {"least": times["min"], "mean": times["mean"]}
    named.update((spread.CALLED[name], times[name]) for name in spread.PERCENTILES)
    named["most"] = times["max"]
    print_rows(
        list(named), [[spread.duration(value * 1000) for value in named.values()]], list(named)
    )
    screen.print()
    screen.print(
        f"[bold]{told['ops']:,.0f}[/bold] operations/s: {told['gets']:,} gets, {told['misses']:,}"
        f" of them missed, {told['sets']:,} sets in {told['seconds']:.1f} s"
    )


def _plot(path: str, tally: Tally, told: "dict[str, Any]") -> None:
    title = f"{told['ops']:,.0f} operations/s, {told['gets']:,} gets and {told['sets']:,} sets"
    how = (
        f"{told['version']} at {told['server']}: {told['connections']} connections,"
        f" {told['pipeline']} at once, {told['keys']:,} keys of {told['size']:,} bytes"
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write(spread.svg(tally.latency, title, how))


def _comment(tally: Tally, processes: int) -> None:
    if tally.errors or tally.lost:
        tell(
            f"{tally.errors:,} errors, {tally.lost} connections lost; the first:"
            f" {tally.fault or 'of no known reason'}"
        )
    if tally.cpu > _BUSY:
        tell(
            f"the client was busy for {100 * min(tally.cpu, 1):.0f} % of the time: the server may"
            f" be faster than this; try --processes {2 * processes}"
        )
