"""What the commands that work on a directory have in common."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Callable, Optional

import click

from mctwist.offline.stores import OfflineError
from mctwist.shell.progress import bar

#: Where a server keeps its values unless it is told.
DEFAULT = "mctwist-data"

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@contextmanager
def refusing() -> "Iterator[None]":
    """End the command with one line when it cannot be done."""
    try:
        yield
    except OfflineError as fault:
        raise click.ClickException(str(fault)) from None


@contextmanager
def shown_progress(what: str) -> "Iterator[Callable[[int, int], None]]":
    """Call what is given with how much is done, and of how much as soon as that is known."""
    with ExitStack() as stack:
        show: Optional[Callable[[int], None]] = None

        def progress(done: int, total: int) -> None:
            nonlocal show
            if show is None:
                if not done:
                    return
                show = stack.enter_context(bar(what, total or None))
            show(done)

        yield progress


def amount(items: int, size: int) -> str:
    """How much that is, for people."""
    return f"{items:,} item{'' if items == 1 else 's'} of {of_bytes(size)}"


def of_bytes(size: float) -> str:
    """A number of bytes, for people."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
