"""
`mctwist demo`: what mctwist does, shown on a server of its own.

The rule: all of it happens. What is shown as typed is run by the shell, what is shown as answered
was answered, and where that is not what was expected the demo fails.
"""

import re
import sys
import time
from typing import Union

import click
from rich.text import Text

from mctwist.client import Server
from mctwist.shell.output import console
from mctwist.shell.repl import answers
from mctwist.shell.repl.answers import Found
from mctwist.shell.repl.prompt import Prompt, converse
from mctwist.shell.repl.screen import AS_FITS, How, Screen
from mctwist.shell.repl.session import Session
from mctwist.shell.repl.table import COMMANDS
from mctwist.shell.shell import Lines
from mctwist.throwaway import NotStarted, ThrowawayServer

#: Seconds for which an item that expires after one is waited for.
PATIENCE = 60.0


class Noted(Screen):
    """
    A screen that remembers what it has shown.

    :ivar last: the last answer, as text.
    :ivar cas: the last CAS unique.
    """

    def __init__(self, terminal: bool) -> None:
        super().__init__(terminal)
        self.last = ""
        self.cas = 0

    def found(self, found: Found, how: How = AS_FITS) -> None:
        self.last = (found.value or b"").decode(errors="replace")
        self.cas = found.cas or 0
        super().found(found, how)

    def missing(self, key: bytes, named: bool = False) -> None:
        # Here it is a part of what is shown, wherever that goes.
        self.last = "(not found)"
        self._print(Text(self.last, "dim"))

    def answer(self, word: str, meaning: str = "") -> None:
        self.last = word
        super().answer(word, meaning)

    def number(self, number: int) -> None:
        self.last = str(number)
        super().number(number)

    def wrong(self, text: str, meaning: str = "") -> None:
        self.last = text
        super().wrong(text, meaning)


class Tour:
    """What is shown, of `server`."""

    def __init__(self, server: ThrowawayServer) -> None:
        self._server = server
        self._screen = Noted(sys.stdout.isatty())
        address = Server((server.host, server.port))
        self._session = Session(address, self._screen, COMMANDS, Lines([]))

    def run(self) -> None:
        """
        Show it.

        :raises ClickException: an answer is not as it should be.
        """
        server = self._server
        self._tell(
            f"A mctwist server, on {server.address}, is process {server.pid}. "
            "It and its values go when this ends."
        )
        try:
            for chapter in (self._store, self._compare, self._expire, self._kill):
                chapter()
        finally:
            self._session.close()

    def _store(self) -> None:
        self._tell("A value is stored under a key, and is on disk before the answer comes:")
        self._type("set greeting hello --ttl 1h", "STORED")
        self._type("get greeting", "hello")

    def _compare(self) -> None:
        self._tell("gets also tells a number, the CAS unique, which each change changes:")
        self._type("set visits 1", "STORED")
        self._type("gets visits", "1")
        old = self._screen.cas
        self._tell("Somebody else counts in the meantime ...")
        self._type("incr visits", "2")
        self._tell("... so a cas with the old number is refused: nobody's change is lost.")
        self._type(f"cas visits 100 {old}", "EXISTS")
        self._type("gets visits", "2")
        self._type(f"cas visits 100 {self._screen.cas}", "STORED")

    def _expire(self) -> None:
        self._tell("A value may have an end. This one has a second:")
        self._type("set brief 'gone in a second' --ttl 1", "STORED")
        self._wait()
        self._type("get brief", "(not found)")

    def _wait(self) -> None:
        """Wait until `brief` is gone."""
        deadline = time.monotonic() + PATIENCE
        while self._session.ask([b"get", b"brief"], answers.values):
            if time.monotonic() > deadline:
                raise click.ClickException("the demo failed: what should expire does not")
            time.sleep(0.05)

    def _kill(self) -> None:
        server = self._server
        self._type("gets visits", "100")
        cas = self._screen.cas
        self._tell("Now the server is killed, with no time for a last word, and started again:")
        self._show_typed(f"kill -9 {server.pid}", "$ ")
        dead = server.pid
        server.kill()
        started = time.monotonic()
        server.start()
        took = time.monotonic() - started
        self._screen.text(Text(f"process {dead} is dead; process {server.pid} serves", "dim"))
        self._session.interrupted()
        self._type("get greeting", "hello")
        self._type("gets visits", "100")
        if self._screen.cas != cas:
            raise click.ClickException("the demo failed: the CAS unique is another one")
        self._type("ttl greeting", re.compile(r"59m|1h|35\d\d|3600"))
        self._type("get brief", "(not found)")
        self._tell(
            f"All is as it was, {took:.1f} seconds later: values, CAS uniques, and the hour that "
            "was not over. What has expired stays away."
        )

    def _type(self, line: str, expected: "Union[str, re.Pattern[str]]") -> None:
        self._show_typed(line, f"{self._server.address}> ")
        self._session.run(line)
        last = self._screen.last
        right = last == expected if isinstance(expected, str) else expected.match(last)
        if not right:
            raise click.ClickException(f"the demo failed: {line} is answered {last!r}")

    def _show_typed(self, line: str, prompt: str) -> None:
        self._screen.text(Text.assemble((prompt, "dim"), (line, "bold")))

    def _tell(self, text: str) -> None:
        console().print(Text(f"\n{text}"))


@click.command()
@click.option("--no-shell", is_flag=True, help="End there, without the shell.")
def demo(no_shell: bool) -> None:
    """
    See what mctwist does: values that survive kill -9.

    A server is started for it, with a folder of its own; both are gone when this ends. At a
    terminal the shell comes last, on that server.
    """
    try:
        with ThrowawayServer(sync="always") as server:
            Tour(server).run()
            if not no_shell and sys.stdin.isatty() and sys.stdout.isatty():
                _stay(server)
    except NotStarted as fault:
        raise click.ClickException(str(fault)) from None


def _stay(server: ThrowawayServer) -> None:
    console().print(Text("\nThe server is yours now: help tells what there is, Ctrl-D ends it.\n"))
    prompt = Prompt()
    address = Server((server.host, server.port))
    session = Session(address, Screen(True), COMMANDS, prompt)
    session.see([b"greeting", b"visits"])
    converse(session, prompt)
    session.close()
