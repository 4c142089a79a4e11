"""`mctwist backup`: a copy of a store, while it serves."""

from pathlib import Path

import click

from mctwist.offline.copies import back_up
from mctwist.offline.stores import named
from mctwist.shell.options import as_json
from mctwist.shell.output import print_json, tell
from mctwist.shell.stores import DEFAULT, amount, of_bytes, refusing, shown_progress


@click.command()
@click.argument("dest")
@click.option(
    "--storage",
    default=DEFAULT,
    show_default=True,
    metavar="[KIND:]DIR",
    help="The store, as the server is told of it.",
)
@click.option("--even-damaged", is_flag=True, help="Copy also what does not verify.")
@as_json
def backup(dest: str, storage: str, even_damaged: bool, as_json: bool) -> None:
    """
    Make DEST, which must not exist, a copy of a store, while its server goes on serving.

    The copy is of one moment: it has all that was acknowledged before. It is compacted, verified
    and synced before it gets its name, and is a store itself: `mctwist restore` puts it back, and
    `twistd mctwist --storage DEST` serves it.

    While it is made, pages that the server gives up are not used again, so the store's file may
    grow by as much as is written meanwhile. A directory store is copied when no server has it
    open.
    """
    with refusing(), shown_progress("verifying") as progress:
        store = named(storage)
        copied = back_up(store, Path(dest), even_damaged, progress)
    report = copied.report
    if as_json:
        print_json({**report.as_json(), "file_bytes": copied.size, "attempts": copied.attempts})
    else:
        files = of_bytes(copied.size)
        click.echo(f"{report.path}: {amount(report.items, report.size)}, {files} on disk")
        if not report.whole:
            tell(f"it is damaged, as the store is: {', '.join(report.damage)}")
