"""`mctwist shell` at a terminal, as people use it. Each wait is for what is to be seen."""

import os
import re
import signal
import socket
import stat
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pexpect  # type: ignore[import-untyped]  # it has no types
import pytest

from mctwist import client
from mctwist.throwaway import ThrowawayServer
from tests.processes import PATIENCE, ROOT, Connection

#: What a prompt begins with, and what comes when it has been answered.
BEGUN, ANSWERED = "\x1b[?2004h", "\x1b[?2004l"
UP, ENTER, CTRL_C, CTRL_D = "\x1b[A", "\r", "\x03", "\x04"

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal in which the shell runs."""

    def __init__(
        self, home: Path, *arguments: str, columns: int = 100, ask: bool = True, **more: str
    ) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
            "HOME": str(home),
            "TERM": "xterm-256color",
            # There is no terminal that could tell where its cursor is.
            "PROMPT_TOOLKIT_NO_CPR": "1",
            **more,
        }
        # What says how large some other terminal is, or how it is to look.
        for name in {"COLUMNS", "LINES", "NO_COLOR"} - set(more):
            environment.pop(name, None)
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "mctwist.shell", *arguments],
            cwd=ROOT,
            env=environment,
            dimensions=(30, columns),
            timeout=PATIENCE,
            encoding="utf-8",
        )
        self.child.delaybeforesend = None
        self.greeting = self.seen(BEGUN) if ask else ""

    def seen(self, text: str) -> str:
        """Wait for `text`; what has come before it."""
        self.child.expect_exact(text)
        before: str = self.child.before
        return before

    def send(self, text: str) -> None:
        self.child.send(text)

    def raw(self, line: str) -> str:
        """Type a line; what is shown for it."""
        self.send(line + ENTER)
        self.seen(ANSWERED)
        return self.seen(BEGUN)

    def type(self, line: str) -> str:
        """Type a line; the text that is shown for it."""
        return text_of(self.raw(line))

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        status: Optional[int] = self.child.exitstatus
        assert status is not None, self.child.signalstatus
        return status

    def close(self) -> None:
        self.child.close(force=True)


def text_of(shown: str) -> str:
    return _ESCAPE.sub("", shown).replace("\r", "").strip()


@pytest.fixture(scope="module")
def server() -> "Iterator[ThrowawayServer]":
    with ThrowawayServer() as server:
        yield server


@pytest.fixture
def other(server: ThrowawayServer) -> "Iterator[Connection]":
    """Another client, of an empty server."""
    with Connection(client.address_of(server.address)) as connection:
        connection.ask(b"flush_all\r\n")
        yield connection


@pytest.fixture
def start(
    server: ThrowawayServer, other: Connection, tmp_path: Path
) -> "Iterator[Callable[..., Terminal]]":
    started: list[Terminal] = []

    def shell(*arguments: str, **more: Any) -> Terminal:
        where = () if "-s" in arguments else ("-s", server.address)
        started.append(Terminal(tmp_path, "shell", *where, *arguments, **more))
        return started[-1]

    yield shell
    for each in started:
        each.close()


@pytest.fixture
def terminal(start: "Callable[..., Terminal]") -> Terminal:
    return start()


def test_a_session(terminal: Terminal, server: ThrowawayServer) -> None:
    assert f"{server.address} · 1.6." in text_of(terminal.greeting)
    assert terminal.type("set k hello --flags 7") == "STORED"
    assert terminal.type("get k") == "hello\nflags 7"
    assert terminal.type("get k none") == "k: hello\nflags 7\nnone: (not found)"
    assert terminal.type("set j '{\"a\":[1]}'") == "STORED"
    assert terminal.type("get j") == '{\n  "a": [\n    1\n  ]\n}'
    assert "00000000  00 ff" in terminal.type('ms b "\\x00\\xff"') + terminal.type("get b")
    assert terminal.type("") == ""
    terminal.send(CTRL_D)
    assert terminal.ended() == 0


@pytest.mark.parametrize("word", ["exit", "quit"])
def test_leaving(terminal: Terminal, word: str) -> None:
    terminal.send(word + ENTER)
    assert terminal.ended() == 0


def test_tab(terminal: Terminal) -> None:
    terminal.type("set greeting hello")
    terminal.send("get gre\t")
    # Of a word, what is there already may be left as it is.
    terminal.seen("eting")
    terminal.send(ENTER)
    assert text_of(terminal.seen(BEGUN)).endswith("hello")
    terminal.send("mg greeting \t")
    terminal.seen("answer the client flags")
    terminal.send(CTRL_C)
    terminal.seen(BEGUN)
    terminal.send("flush_p\t")
    terminal.seen("refix")


def test_a_value_over_several_lines(terminal: Terminal) -> None:
    terminal.send("set k 'one" + ENTER)
    terminal.seen("...")
    terminal.send("two'" + ENTER)
    terminal.seen("STORED")
    terminal.seen(BEGUN)
    assert terminal.type("get k") == "one\ntwo"


def test_what_is_pasted_is_a_command_a_line(terminal: Terminal) -> None:
    pasted = "set a 1\rset k 0 0 5\rhello\rset b 'two\rlines'\rget k\rget b\r"
    told = terminal.type(f"\x1b[200~{pasted}\x1b[201~")
    assert told == "STORED\nSTORED\nSTORED\nhello\ntwo\nlines"


def test_the_protocols_own_form(terminal: Terminal) -> None:
    terminal.send("set k 0 0 5" + ENTER)
    terminal.seen("value>")
    terminal.send("hello" + ENTER)
    terminal.seen("STORED")
    terminal.seen(BEGUN)
    assert terminal.type("get k") == "hello"
    terminal.send("set k 0 0 5" + ENTER)
    terminal.seen("value>")
    terminal.send(CTRL_C)
    terminal.seen(BEGUN)
    assert terminal.type("get k") == "hello"


def test_the_history_is_kept(start: "Callable[..., Terminal]", tmp_path: Path) -> None:
    first = start()
    first.type("set k hello")
    first.send("set k 0 0 6" + ENTER)
    first.seen("value>")
    first.send("secret" + ENTER)
    first.seen("STORED")
    first.seen(BEGUN)
    first.type(" set k unseen")
    first.send(CTRL_D)
    assert first.ended() == 0
    path = tmp_path / ".mctwist_history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in path.read_text()
    assert "unseen" not in path.read_text()
    second = start()
    second.send(UP + UP)
    second.seen("hello")
    second.send(ENTER)
    second.seen("STORED")


def test_no_history(start: "Callable[..., Terminal]", tmp_path: Path) -> None:
    terminal = start("--no-history")
    terminal.type("set k hello")
    terminal.send(CTRL_D)
    assert terminal.ended() == 0
    assert not (tmp_path / ".mctwist_history").exists()


def test_ctrl_c_clears_the_line(terminal: Terminal) -> None:
    terminal.send("flush_all --yes" + CTRL_C)
    terminal.seen(BEGUN)
    assert terminal.type("version").startswith("1.6.")


def test_ctrl_c_stops_a_watch(terminal: Terminal, other: Connection) -> None:
    terminal.type("set k hello")
    terminal.send("watch fetchers" + ENTER)
    terminal.seen("Ctrl-C ends it")
    other.ask(b"get k\r\n", b"END\r\n")
    terminal.seen("type=item_get key=k status=found")
    terminal.send(CTRL_C)
    terminal.seen(BEGUN)
    assert terminal.type("get k") == "hello"


def test_ctrl_c_stops_a_slow_answer_which_is_not_taken_for_the_next(
    terminal: Terminal, other: Connection
) -> None:
    terminal.type("raw on")
    terminal.send("mp q r 1 v B60000" + ENTER)
    terminal.seen("mp q r 1 v B60000\\r\\n")
    terminal.send(CTRL_C)
    terminal.seen("stopped")
    terminal.seen(BEGUN)
    terminal.type("raw off")
    other.ask(b"set q1 0 0 4\r\nlate\r\n")
    assert terminal.type("get q1") == "late"


def test_bytes_both_ways(start: "Callable[..., Terminal]") -> None:
    terminal = start("--raw")
    assert terminal.type("set k hello") == ("> set k 0 0 5\\r\\n\n> hello\\r\\n\n< STORED\\r\\n")
    assert terminal.type("get k") == (
        "> get k\\r\\n\n< VALUE k 0 5\\r\\n\n< hello\\r\\n\n< END\\r\\n"
    )
    # What is no command is sent as it is, and all that comes is read.
    assert terminal.type("nonsense 1 2") == (
        "> nonsense 1 2\\r\\n\n> mn\\r\\n\n< ERROR\\r\\n\n< MN\\r\\n\nERROR\n"
        "the server does not know this command, or not in this form"
    )
    terminal.send("ms k 2 T0" + ENTER)
    terminal.seen("value>")
    terminal.send("no" + ENTER)
    terminal.seen("ms k 2 T0\\r\\n")
    terminal.seen(BEGUN)
    terminal.send("set k 0 0 2" + ENTER)
    terminal.seen("value>")
    terminal.send("too long" + ENTER)
    terminal.seen("CLIENT_ERROR bad data chunk\\r\\n")
    terminal.seen(BEGUN)
    assert "< ERROR" in terminal.type("\u00a0")
    terminal.type("raw off")
    assert terminal.type("get k") == "no"


def test_many_are_counted_first(terminal: Terminal) -> None:
    for line in ("set user:1 a", "set user:2 b", 'set "user:*" c', "set use d"):
        terminal.type(line)
    assert terminal.type('del "user:*"') == "deleted 1 key"
    for answer, told in [("", "nothing is deleted"), ("y", "deleted 2 keys")]:
        terminal.send("del user:*" + ENTER)
        terminal.seen("delete 2 keys? [y/N]")
        terminal.send(answer + ENTER)
        terminal.seen(told)
        terminal.seen(BEGUN)
    assert terminal.type("keys").splitlines()[1:] == ["use  never      1"]
    terminal.send("flush_all" + ENTER)
    terminal.seen("delete everything")
    terminal.send("n" + ENTER)
    terminal.seen(BEGUN)
    assert terminal.type("get use") == "d"


HOSTILE = b"\x1b]0;owned\x07\x1b[2J\x9b31mred\r\nEND\r\n\xe2\x80\xae"


def test_nothing_hostile_reaches_the_terminal(terminal: Terminal, other: Connection) -> None:
    for key, data in [("text", HOSTILE), ("long", b"plain text " * 9 + HOSTILE), ("j", b"")]:
        if key == "j":
            data = b'["\x1b[2J\xc2\x9b"]'
        other.ask(b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), len(data), data))
    other.ask(b"set \x1b[31mkey 0 0 1\r\nx\r\n")
    lines = [
        *(f"{verb} {key}{how}" for verb in ("get", "gets") for key in ("text", "long", "j")
          for how in ("", " --as text", " --as raw", " --as hex", " --as json")),
        *("keys", "lru_crawler metadump all", "mr a zz 9 k v", "raw get text", "raw get long"),
        "get \x1b[31mkey nothing",
    ]  # fmt: skip
    for line in lines:
        shown = terminal.raw(line)
        # What is left when colours are taken away is to be seen.
        left = re.sub(r"\x1b\[[0-9;]*m|\x1b\[\?[0-9]+[hl]|[\r\n\t]", "", shown)
        assert left.isprintable(), (line, left)
        assert "\x1b[31mkey" not in shown
        assert "\x1b[2J" not in shown


# An editor


@pytest.fixture
def editor(tmp_path: Path) -> "Callable[[str], str]":
    def of(script: str) -> str:
        path = tmp_path / "editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return str(path)

    return of


def test_a_value_in_an_editor(
    start: "Callable[..., Terminal]", editor: "Callable[[str], str]"
) -> None:
    terminal = start(EDITOR=editor('sed -i s/hello/goodbye/ "$1"; echo >> "$1"'))
    terminal.type("set k hello --ttl 1h --flags 3")
    assert terminal.type("set k --edit") == "STORED"
    assert terminal.type("get k") == "goodbye\nflags 3"
    assert terminal.type("ttl k").startswith(("1h", "59m"))
    assert terminal.type("set new --edit") == "STORED"
    assert terminal.type("get new") == "(empty)"


def test_what_is_not_changed_is_not_sent(
    start: "Callable[..., Terminal]", editor: "Callable[[str], str]"
) -> None:
    terminal = start(VISUAL=editor("true"), EDITOR="false")
    terminal.type("set k hello")
    before = terminal.type("gets k")
    assert terminal.type("set k --edit") == "nothing is changed, and nothing is sent"
    assert terminal.type("gets k") == before


def test_an_editor_that_fails(
    start: "Callable[..., Terminal]", editor: "Callable[[str], str]"
) -> None:
    terminal = start(EDITOR=editor('echo changed > "$1"; exit 3'))
    terminal.type("set k hello")
    assert "ends with status 3: nothing is sent" in terminal.type("set k --edit")
    assert terminal.type("get k") == "hello"
    assert "No such file" in start(EDITOR="/nowhere/ed").type("set k --edit")


def test_ctrl_c_is_the_editors(
    start: "Callable[..., Terminal]", editor: "Callable[[str], str]"
) -> None:
    script = "trap 'echo edited > \"$1\"; exit 0' INT; echo editing; while :; do sleep 0.01; done"
    terminal = start(EDITOR=editor(script))
    terminal.type("set k hello")
    terminal.send("set k --edit" + ENTER)
    terminal.seen("editing")
    terminal.send(CTRL_C)
    terminal.seen("STORED")
    terminal.seen(BEGUN)
    assert terminal.type("get k") == "edited"


def test_a_change_meanwhile_is_told_and_what_was_written_is_kept(
    start: "Callable[..., Terminal]",
    editor: "Callable[[str], str]",
    server: ThrowawayServer,
) -> None:
    other = f"{sys.executable} -m mctwist.shell shell -s {server.address}"
    script = f'{other} -c "set k theirs" > /dev/null; printf mine > "$1"'
    terminal = start(EDITOR=editor(script))
    terminal.type("set k hello")
    told = terminal.type("set k --edit")
    assert told.startswith("EXISTS: somebody has changed it meanwhile; what you wrote is in /")
    path = Path(told.rpartition(" ")[2].replace("\n", ""))
    assert path.read_text() == "mine"
    path.unlink()
    path.parent.rmdir()
    assert terminal.type("get k") == "theirs"


# A server that goes


def test_a_lost_server(tmp_path: Path) -> None:
    with ThrowawayServer() as server:
        terminal = Terminal(tmp_path, "shell", "-s", server.address)
        try:
            terminal.type("set k hello")
            server.kill()
            told = terminal.type("get k")
            assert told == f"cannot reach {server.address}: Connection refused"
            server.restart()
            assert terminal.type("get k") == f"connected to {server.address} again\nhello"
            server.kill()
            server.restart()
            assert terminal.type("incr k") == (
                f"the connection was lost: connected to {server.address} again\n"
                "CLIENT_ERROR cannot increment or decrement non-numeric value\n"
                "only a value that is a number, written in digits, can be counted up and down"
            )
            os.kill(server.pid, signal.SIGSTOP)
            terminal.send("raw set n 0 0 1" + ENTER)
            terminal.seen("value>")
            terminal.send("1" + ENTER)
            terminal.seen("1\\r\\n")
            server.kill()
            terminal.seen("it is not sent again")
            terminal.seen(BEGUN)
            # By now it is dead to the last of its sockets.
            assert "cannot reach" in terminal.type("get n")
            terminal.seen("(not connected)")
        finally:
            terminal.close()


def test_a_server_that_is_not_there(
    start: "Callable[..., Terminal]", server: ThrowawayServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"127.0.0.1:{listener.getsockname()[1]}"
    terminal = start("-s", nowhere)
    assert f"cannot reach {nowhere}: Connection refused" in text_of(terminal.greeting)
    terminal.seen("(not connected)")
    assert "cannot reach" in terminal.type("get k")
    assert terminal.type(f"connect {server.address}").startswith(f"{server.address}: 1.6.")
    assert "cannot reach" in terminal.type(f"connect {nowhere}")
    assert terminal.type("set k hello") == "STORED"


def test_ctrl_c_while_the_first_answer_is_waited_for(
    start: "Callable[..., Terminal]", server: ThrowawayServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        terminal = start("-s", f"127.0.0.1:{listener.getsockname()[1]}", ask=False)
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(1000) == b"version\r\n"
            terminal.send(CTRL_C)
            terminal.seen("stopped")
            terminal.seen(BEGUN)
    assert terminal.type(f"connect {server.address}").startswith(server.address)


def test_sigterm_leaves_the_terminal_as_it_was(
    start: "Callable[..., Terminal]",
) -> None:
    terminal = start(ask=False)
    before = termios.tcgetattr(terminal.child.child_fd)
    terminal.seen(BEGUN)
    terminal.child.kill(signal.SIGTERM)
    terminal.seen(ANSWERED)
    terminal.child.expect(pexpect.EOF)
    assert "Traceback" not in terminal.child.before
    assert termios.tcgetattr(terminal.child.child_fd)[:4] == before[:4]
    terminal.child.close()
    assert terminal.child.exitstatus == 128 + signal.SIGTERM


# The terminal itself


def test_no_colours(start: "Callable[..., Terminal]") -> None:
    coloured = r"\x1b\[[0-9;]*3[0-9]"
    assert re.search(coloured, start().raw("set k 7"))
    assert not re.search(coloured, start(NO_COLOR="1").raw("set k 7"))


def test_a_narrow_terminal(start: "Callable[..., Terminal]") -> None:
    terminal = start(columns=32)
    terminal.type('set k "\\x00' + "a" * 30 + '"')
    for line in terminal.type("get k").splitlines():
        assert len(line) <= 32, line
    assert "store a value" in terminal.type("help").replace("\n", "")


def test_the_usage_is_shown_below(
    start: "Callable[..., Terminal]",
) -> None:
    terminal = start(ask=False, PROMPT_TOOLKIT_NO_CPR="")
    terminal.seen("\x1b[6n")
    terminal.send("\x1b[1;1R")
    terminal.seen("Ctrl-D leaves")
    terminal.send("touch ")
    terminal.seen("touch KEY TTL")
