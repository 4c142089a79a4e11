"""`mctwist restore`: a backup put back."""

import click

from mctwist.offline.copies import put_back
from mctwist.offline.stores import OfflineError, named
from mctwist.shell.options import as_json
from mctwist.shell.output import print_json
from mctwist.shell.stores import DEFAULT, amount, refusing, shown_progress


@click.command()
@click.argument("src")
@click.option(
    "--storage",
    default=DEFAULT,
    show_default=True,
    metavar="[KIND:]DIR",
    help="Where the server is to find it.",
)
@click.option("--force", is_flag=True, help="Replace the store that is there; it is kept aside.")
@as_json
def restore(src: str, storage: str, force: bool, as_json: bool) -> None:
    """
    Put the backup SRC back, or any other store that no server has open. SRC stays as it is.

    It is verified first. The new store is written beside the old one and takes its place at the
    end; the old one is kept in a directory `replaced-…` in it, which may be removed. What has
    expired since the backup does not come back, and CAS uniques go on above those of both.
    """
    with refusing(), shown_progress("verifying") as progress:
        source = named(src)
        destination = named(storage, source.kind)
        if source.kind != destination.kind:
            raise OfflineError(f"{src} is a {source.kind} store, and {storage} is none")
        copied = put_back(source, destination, force, progress)
    report = copied.report
    if as_json:
        aside = None if copied.aside is None else str(copied.aside)
        print_json({**report.as_json(), "file_bytes": copied.size, "aside": aside})
    else:
        click.echo(f"{report.path}: {amount(report.items, report.size)}")
        if copied.aside is not None:
            click.echo(f"what was there before: {copied.aside}")
