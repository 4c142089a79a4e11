"""
`mctwist shell`: speak with a server.

At a terminal it is a REPL. Anywhere else it runs the lines of its input, or those of `--command`,
and ends with status 1 if one of them could not be done; that there is no such key is an answer.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Optional

import click

from mctwist.client import Server
from mctwist.shell.options import as_json, of_server
from mctwist.shell.repl.prompt import Prompt, converse, greet, kept_history
from mctwist.shell.repl.screen import JsonScreen, Screen
from mctwist.shell.repl.session import Left, Session
from mctwist.shell.repl.table import COMMANDS
from mctwist.shell.repl.words import whole


@click.command()
@of_server
@click.option(
    "-c", "--command", "commands", multiple=True, metavar="LINE", help="Run LINE; several in turn."
)
@click.option("--raw", is_flag=True, help="Show the bytes that go over the wire.")
@click.option(
    "--no-history",
    is_flag=True,
    help="Keep no history. It has the values in it that are typed: $XDG_STATE_HOME/mctwist/history "
    "or ~/.mctwist_history, which only you may read.",
)
@as_json
def shell(
    server: Server, commands: "tuple[str, ...]", raw: bool, no_history: bool, as_json: bool
) -> None:
    """
    Speak with a server: every command of memcached's, and some for people.

    Without a terminal the lines of the input are run, and the status is 1 if one could not be
    done.
    """
    screen = JsonScreen(False) if as_json else Screen(sys.stdout.isatty())
    if commands or not (sys.stdin.isatty() and sys.stdout.isatty()):
        lines = Lines(commands or _input())
        session = Session(server, screen, COMMANDS, lines)
        session.set_raw(raw)
        done = _run_all(session, lines)
        session.close()
        if not done:
            sys.exit(1)
        return
    prompt = Prompt(None if no_history else kept_history())
    session = Session(server, screen, COMMANDS, prompt)
    session.set_raw(raw)
    greet(session)
    converse(session, prompt)
    session.close()


def _input() -> "Iterator[str]":
    """The lines of the input, of any bytes, without their LF."""
    for line in sys.stdin.buffer:
        yield line.decode(errors="surrogateescape").removesuffix("\n")


class Lines:
    """Lines, one after the other. A `Keyboard` with nobody at it."""

    def __init__(self, lines: "Iterable[str]") -> None:
        self._lines = iter(lines)

    def __iter__(self) -> "Iterator[str]":
        return whole(self._lines)

    def more(self, prompt: str) -> Optional[str]:
        return next(self._lines, None)

    def agrees(self, question: str) -> Optional[bool]:
        return None


def _run_all(session: Session, lines: Lines) -> bool:
    """Run `lines`; whether all could be done."""
    done = True
    for line in lines:
        try:
            done &= session.run(line)
        except Left:
            break
        # Whoever reads may be waiting for it.
        session.screen.flush()
        if session.wire.unreachable:
            return False
    return done
