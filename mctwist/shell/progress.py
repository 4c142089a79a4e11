"""A bar that shows how far something is, to people who wait."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from mctwist.shell.output import console

#: Seconds between two looks of the bar.
_LOOK = 0.1


@contextmanager
def bar(
    what: str, total: Optional[int], of_bytes: bool = False, shown: bool = True
) -> "Iterator[Callable[[int], None]]":
    """
    Show a bar on stderr, where that is a terminal; call what is given with how far it is.

    It is gone at the end, for the summary says more.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda done: None
        return
    numbers = DownloadColumn() if of_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), numbers, TimeRemainingColumn())
    # Refreshed by hand, for rich would do it in a thread.
    with Progress(
        *columns, console=console(stderr=True), auto_refresh=False, transient=True
    ) as progress:
        task = progress.add_task(what, total=total)
        looked = 0.0

        def show(done: int) -> None:
            nonlocal looked
            now = time.monotonic()
            if now - looked >= _LOOK:
                looked = now
                progress.update(task, completed=done, refresh=True)

        yield show
