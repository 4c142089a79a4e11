"""
How a command speaks, and how it ends.

What was asked for goes to stdout: tables for people, plain text where that is no terminal, JSON
where it is asked for. Whatever else there is to say goes to stderr.

The rule: a command ends with one line that says what is wrong, never with a traceback, and with
the status that a shell expects of it: 1 for a fault, 2 for how it was called, 128 and its number
for a signal.
"""

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Optional

import click
from pymemcache.exceptions import (  # type: ignore[import-untyped]  # it has no types
    MemcacheUnexpectedCloseError,
)
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mctwist.client import LOST, REFUSED, escaped


class Terminated(BaseException):
    """Somebody has asked this process to end, with SIGTERM; what is to be undone is undone."""


class Closed(BaseException):
    """Whoever reads the output has seen enough of it: `| head`."""


@contextmanager
def ended() -> "Iterator[None]":
    """Run a command; end the process as the rule says, whatever the command ends in."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.UsageError as fault:
        fault.show()
        sys.exit(fault.exit_code)
    except click.ClickException as fault:
        # Not by its `show`: it may tell of what a server or a file has said.
        tell(f"Error: {fault.format_message()}")
        sys.exit(fault.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end_by(signal.SIGINT)
    except Terminated:
        _end_by(signal.SIGTERM)
    except (Closed, BrokenPipeError):
        _end_by(signal.SIGPIPE)
    except LOST as fault:
        sys.exit(f"mctwist: {said(fault)}")
    except REFUSED as fault:
        sys.exit(f"mctwist: the server answers {seen(str(fault))}")


@contextmanager
def written() -> "Iterator[None]":
    """
    What is written here fails as output, and is not taken for a connection that does.

    :raises Closed: nobody reads it. :raises click.ClickException: it cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise Closed from None
    except OSError as fault:
        raise click.ClickException(f"the output cannot be written: {said(fault)}") from None


def _terminate(number: int, frame: Optional[FrameType]) -> NoReturn:
    raise Terminated


def _end_by(number: "signal.Signals") -> NoReturn:
    """End with the status of who is ended by this signal, without a word."""
    # What is left in the buffer has nobody to go to, and the interpreter must not complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + number)


def said(fault: BaseException) -> str:
    """What is to be said of a connection that has failed, in half a line."""
    if isinstance(fault, MemcacheUnexpectedCloseError):
        return "the server has closed the connection"
    if isinstance(fault, TimeoutError):
        return "the server does not answer in time"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return str(fault) or type(fault).__name__


def console(stderr: bool = False) -> Console:
    """Where people are told something. Made anew for each use, for tests replace the streams."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def tell(text: str) -> None:
    """Say something that is not what was asked for, in letters that do a terminal no harm."""
    click.echo(seen(text), err=True)


def seen(text: str) -> str:
    """`text`, of which what is not to be seen is spelt, but for the ends of lines and tabs."""
    return escaped(text, but="\n\t")


def print_json(value: Any) -> None:
    """`value` as JSON, on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_rows(
    heads: "Sequence[str]", rows: "Iterable[Sequence[Any]]", numbers: "Sequence[str]" = ()
) -> None:
    """
    A table.

    For people its columns are aligned; elsewhere there is a line for each row, its cells separated
    by tabs, without heads.

    :param numbers: the heads of those columns that hold numbers.
    """
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(str, row)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, justify="right" if head in numbers else "left")
    for row in rows:
        # Not as a string: in that `[red]` would be a colour.
        table.add_row(*(Text(seen(str(cell))) for cell in row))
    console().print(table)
