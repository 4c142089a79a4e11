"""
`mctwist check`: whether a store is whole, and what is done when it is not.

What is said of the store goes to stdout, and the status says the same: 0, it is whole; 1, it is
damaged, or could not be looked at.
"""

from typing import Any, Optional

import click

from mctwist.offline.check import check as look
from mctwist.offline.repair import Repaired
from mctwist.offline.repair import repair as make_whole
from mctwist.offline.report import DAMAGE, Report
from mctwist.offline.stores import held, named
from mctwist.shell.options import as_json
from mctwist.shell.output import print_json, print_rows
from mctwist.shell.stores import amount, refusing, shown_progress


@click.command()
@click.argument("storage", metavar="DIR")
@click.option("--repair", is_flag=True, help="Make a damaged store whole.")
@as_json
@click.pass_context
def check(context: click.Context, storage: str, repair: bool, as_json: bool) -> None:
    """
    Read all that is in the store DIR, which no server may have open, and say what is damaged.

    Nothing is changed without --repair. That makes the store anew of everything that verifies,
    with new indexes and counts; what does not verify, and the old files, are kept in a directory
    `damaged-…` in DIR, which may be removed. It needs room for a second store beside the first.
    """
    repaired = None
    with refusing():
        store = named(storage)
        with held(store):
            with shown_progress("checking") as progress:
                report = look(store, progress)
            if repair and not report.whole:
                with shown_progress("repairing") as progress:
                    repaired = make_whole(store, progress)
    if as_json:
        print_json({**report.as_json(), **_as_json(repaired)})
    else:
        _print(report)
        if repaired is not None:
            _print_repaired(repaired)
    context.exit(0 if (repaired.report if repaired else report).whole else 1)


def _as_json(repaired: Optional[Repaired]) -> "dict[str, Any]":
    if repaired is None:
        return {}
    return {
        "repaired": {
            **repaired.report.as_json(),
            "aside": str(repaired.aside),
            "removed": repaired.removed,
            "lost": repaired.lost,
        }
    }


def _print(report: Report) -> None:
    click.echo(f"{report.path}: {_content(report)}")
    rows = [
        (DAMAGE[kind], count, ", ".join(first) + (", …" if count > len(first) else ""))
        for kind, (count, first) in report.damage.items()
    ]
    if rows:
        print_rows(("damage", "times", "first"), rows, ("times",))
    click.echo("damaged" if rows else "whole")


def _content(report: Report) -> str:
    parts = [f"{report.kind} store, {amount(report.items, report.size)}"]
    if report.dead:
        parts.append(f"{report.dead:,} flushed and not yet swept")
    if report.batches:
        parts.append(f"{report.batches:,} batches in journals")
    if report.torn:
        parts.append("the last one cut short by a crash")
    return ", ".join(parts)


def _print_repaired(repaired: Repaired) -> None:
    click.echo(f"repaired: {_content(repaired.report)}")
    click.echo(f"{repaired.removed:,} damaged records and the old files: {repaired.aside}")
    for what in repaired.lost:
        click.echo(f"lost: {what}")
    if not repaired.report.whole:
        click.echo("damaged still")
