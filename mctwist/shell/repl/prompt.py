"""
A session at a terminal: lines with completion and history, one after the other.

The rule: Ctrl-C never ends it. At the prompt it clears the line; while a command runs it stops
that, and the connection with it, so that the rest of the answer is read by nobody.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.styles import Style

from mctwist.client import REFUSED
from mctwist.shell.output import Terminated
from mctwist.shell.repl.completion import WordCompleter
from mctwist.shell.repl.session import Left, Session
from mctwist.shell.repl.wire import Trouble
from mctwist.shell.repl.words import open_quote, whole

#: A longer line is not kept in the history, which is cut to its second half at this size: bytes.
MOST_LINE, MOST_HISTORY = 4096, 1 << 20

_STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse ansibrightblack",
        "prompt": "bold",
        "lost": "ansired",
        "raw": "ansicyan",
        "auto-suggestion": "ansibrightblack",
    }
)


class KeptHistory(FileHistory):
    """The history in a file, but for long lines and those that begin with a space."""

    def store_string(self, string: str) -> None:
        if len(string) <= MOST_LINE and not string.startswith(" "):
            # A disk that is full is no reason to stop.
            with suppress(OSError, UnicodeEncodeError):
                super().store_string(string)


def history_file() -> Path:
    """Where the history is."""
    state = os.environ.get("XDG_STATE_HOME")
    if state:
        return Path(state) / "mctwist" / "history"
    return Path.home() / ".mctwist_history"


def kept_history() -> History:
    """The history, for its owner alone; where there can be none, one for now."""
    try:
        path = history_file()
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        path.chmod(0o600)
        if path.stat().st_size > MOST_HISTORY:
            text = path.read_bytes()
            # An entry begins with its date, behind an empty line.
            path.write_bytes(text[text.find(b"\n#", len(text) // 2) :])
        return KeptHistory(str(path))
    except (OSError, RuntimeError):
        return InMemoryHistory()


class Prompt:
    """
    Asks people, at a terminal. A `Keyboard`.

    :param history: None: one for now.
    """

    def __init__(self, history: Optional[History] = None) -> None:
        self._history = history or InMemoryHistory()
        self._lines: Optional[PromptSession[str]] = None
        self._plain: PromptSession[str] = PromptSession(style=_STYLE)
        self.drop()

    def drop(self) -> None:
        """Forget what has been pasted and is not done yet."""
        self._pasted: Iterator[str] = iter(())
        self._commands = whole(self._pasted)

    def line(self, session: Session) -> str:
        """
        The next command. Of several that are pasted at once, each is one.

        :raises EOFError: there is none. :raises KeyboardInterrupt: it was cleared.
        """
        command = next(self._commands, None)
        if command is not None:
            return command
        if self._lines is None:
            self._lines = self._made(session)
        self._pasted = iter(_asked(self._lines, lambda: _prompt(session)).split("\n"))
        self._commands = whole(self._pasted)
        return next(self._commands)

    def _made(self, session: Session) -> "PromptSession[str]":
        lines: PromptSession[str] = PromptSession(
            history=self._history,
            completer=WordCompleter(session),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            multiline=Condition(lambda: bool(open_quote(lines.default_buffer.text))),
            prompt_continuation="... ",
            bottom_toolbar=lambda: _usage(session, lines.default_buffer.text),
            style=_STYLE,
        )
        return lines

    def more(self, prompt: str) -> Optional[str]:
        line = next(self._pasted, None)
        try:
            # Such a line ends as it does in the protocol.
            return (_asked(self._plain, prompt) if line is None else line) + "\r"
        except EOFError:
            return None

    def agrees(self, question: str) -> Optional[bool]:
        try:
            answer = _asked(self._plain, f"{question} [y/N] ")
        except EOFError:
            return False
        return answer.strip().lower() in ("y", "yes")


def _asked(lines: "PromptSession[str]", prompt: Any) -> str:
    """
    What is typed at `prompt`.

    A SIGTERM ends it from within, for from without the terminal would not be put right again.
    """
    before = signal.getsignal(signal.SIGTERM)

    def listen() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)

    def terminate() -> None:
        if lines.app.is_running and not lines.app.is_done:
            lines.app.exit(exception=Terminated())

    try:
        return lines.prompt(prompt, pre_run=listen)
    finally:
        signal.signal(signal.SIGTERM, before)


def _prompt(session: Session) -> FormattedText:
    parts: list[Any] = [("class:prompt", str(session.wire.server))]
    if session.wire.unreachable:
        parts.append(("class:lost", " (not connected)"))
    if session.raw:
        parts.append(("class:raw", " raw"))
    return FormattedText([*parts, ("class:prompt", "> ")])


def _usage(session: Session, text: str) -> str:
    """The usage of the command that is being typed."""
    name, space, _ = text.lstrip().partition(" ")
    command = session.commands.get(name)
    if command is None or not space:
        return "Tab completes · help tells what there is · Ctrl-D leaves"
    return command.synopsis


def converse(session: Session, prompt: Prompt) -> None:
    """Run what is typed, until somebody leaves."""
    while True:
        try:
            line = prompt.line(session)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            session.run(line)
        except KeyboardInterrupt:
            prompt.drop()
            _stop(session)
        except Left:
            return


def _stop(session: Session) -> None:
    session.interrupted()
    session.screen.note("stopped")


def greet(session: Session) -> None:
    """Say which server it is; one that cannot be reached is no reason not to begin."""
    try:
        version = session.greet()
    except Trouble as fault:
        session.screen.wrong(str(fault), "each command tries again; connect ADDRESS for another")
    except REFUSED as fault:
        session.screen.wrong(f"{session.wire.server} does not let you in: {fault}")
    except KeyboardInterrupt:
        _stop(session)
    else:
        session.screen.note(f"{session.wire.server} · {version} · help tells what there is")
