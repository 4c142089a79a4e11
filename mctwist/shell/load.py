"""
`mctwist load`: what `mctwist dump` has written, into a server or a store.

What a dump is, `mctwist.dumps` says; how a load goes, `loading`; how a server is told of an item,
`sinks`; how requests travel, `windows`; and where a load goes on that was stopped, `position`.
"""

import sys
import time
from collections.abc import Iterator
from typing import Optional

import click

from mctwist.client import Server
from mctwist.dumps import BadLine, NoDump, Record
from mctwist.offline import contents
from mctwist.offline.stores import named
from mctwist.shell.options import Finite, as_json, of_server
from mctwist.shell.output import print_json, tell
from mctwist.shell.progress import bar
from mctwist.shell.stores import refusing
from mctwist.shell.transfer.files import STANDARD, Origin
from mctwist.shell.transfer.loading import DAMAGED, Lines, Run, Tally
from mctwist.shell.transfer.position import Position, Refused
from mctwist.shell.transfer.sinks import HARMLESS, dialect_of


@click.command()
@click.argument("file", default=STANDARD, type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--storage", metavar="[KIND:]DIR", help="Into this store, which no server has open.")
@click.option("--rate", type=Finite(0.001, 1e9), metavar="N", help="N items a second at most.")
@click.option("--resume", is_flag=True, help="Go on where a load of FILE was stopped.")
@click.option("--keep", is_flag=True, help="What is there already stays as it is.")
@as_json
@of_server
def load(
    file: str,
    storage: Optional[str],
    server: Server,
    rate: Optional[float],
    resume: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """
    Store what is in FILE, which `mctwist dump` has written; without FILE, in the input.

    The server may be any memcached; one that is no mctwist gets what it can have. While it runs,
    FILE.loaded says how far it has come, and a lost connection is made again.

    The status is 1 when something is not stored that should have been. What has expired is not
    such a thing, nor is what is there already, with --keep.
    """
    if file == STANDARD and resume:
        raise click.UsageError("--resume needs a FILE")
    if storage is not None and (resume or rate is not None):
        raise click.UsageError("--resume and --rate are for servers")
    if file == STANDARD and sys.stdin.isatty():
        raise click.UsageError("a FILE, or a dump on the input")
    began = time.monotonic()
    with Origin(file) as origin:
        try:
            if storage is not None:
                target, (tally, fault) = storage, _into_store(origin, storage, keep)
            else:
                target = str(server)
                tally, fault = _into_server(origin, file, server, rate, resume, keep)
        except (NoDump, Refused) as wrong:
            raise click.ClickException(f"{file}: {wrong}") from None
    _report(tally, fault, file, target, time.monotonic() - began, as_json)
    if fault or set(tally.skipped) - HARMLESS:
        raise click.exceptions.Exit(1)


def _into_server(
    origin: Origin, file: str, server: Server, rate: Optional[float], resume: bool, keep: bool
) -> "tuple[Tally, str]":
    """What has become of the lines, and what is wrong with the dump as a whole."""
    position = Position(None if file == STANDARD else file, str(server))
    run = Run(origin, position, resume, rate)
    dialect = dialect_of(server, keep)
    try:
        run.into(server, dialect)
    except BaseException:
        run.interrupted(file)
        raise
    position.remove()
    return run.tally, run.lines.fault


def _into_store(origin: Origin, storage: str, keep: bool) -> "tuple[Tally, str]":
    tally, lines = Tally({}), Lines(origin)

    def refused(record: Record, reason: str) -> None:
        tally.skip(reason, record.key)

    with refusing(), bar("Loading", origin.size, of_bytes=True) as show:
        # It is begun before a store is made for it: this may be no dump at all.
        items = _items(lines, tally)
        first = next(items, None)
        done = contents.store(
            named(storage),
            _again(first, items),
            keep,
            refused=refused,
            done=lambda number: show(origin.position()),
        )
    tally.loaded = done.stored
    return tally, lines.fault


def _items(lines: Lines, tally: Tally) -> "Iterator[Record]":
    for number, record in lines:
        if isinstance(record, BadLine):
            tally.skip(DAMAGED, str(record), number)
        else:
            yield record


def _again(first: Optional[Record], others: "Iterator[Record]") -> "Iterator[Record]":
    if first is not None:
        yield first
    yield from others


def _report(
    tally: Tally, fault: str, file: str, target: str, seconds: float, as_json: bool
) -> None:
    if as_json:
        skipped = {
            reason: {"count": count, "first": first}
            for reason, (count, first) in tally.skipped.items()
        }
        print_json(
            {
                "file": file,
                "to": target,
                "loaded": tally.loaded,
                "without_marks": tally.unmarked,
                "skipped": skipped,
                "fault": fault or None,
                "seconds": round(seconds, 3),
            }
        )
        return
    tell(f"{tally.loaded:,} items loaded into {target} in {seconds:.1f} s")
    if tally.unmarked:
        tell(f"{tally.unmarked:,} of them without their marks (stale, won, kept)")
    for reason, (count, first) in tally.skipped.items():
        more = ", ..." if count > len(first) else ""
        tell(f"{count:,} skipped: {reason} ({', '.join(first)}{more})")
    if fault:
        tell(f"{file}: {fault}")
