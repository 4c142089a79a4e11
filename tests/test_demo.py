"""`mctwist demo`, run for real."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import click
import pytest

from mctwist.shell.demo import Tour
from mctwist.throwaway import ThrowawayServer
from tests.processes import PATIENCE, ROOT, eventually, is_alive
from tests.test_shell_terminal import BEGUN, CTRL_C, CTRL_D, Terminal

SERVER = re.compile(r"A mctwist server, on (\S+), is process (\d+)")


@pytest.fixture
def home(tmp_path: Path) -> "Iterator[Path]":
    """Where the demo has its folder; at the end nothing is left of it."""
    yield tmp_path
    eventually(lambda: not list(tmp_path.glob("mctwist-*")), "the folder of the demo is gone")


def start(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "mctwist.shell", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def server_in(line: Optional[str]) -> int:
    """The process id of the server that is told of."""
    match = SERVER.search(line or "")
    assert match, line
    return int(match[2])


def test_the_demo(home: Path) -> None:
    with start(home) as process:
        told, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    pid = server_in(told)
    assert not is_alive(pid)
    reborn = re.search(rf"process {pid} is dead; process (\d+) serves", told)
    assert reborn
    assert not is_alive(int(reborn[1]))
    # The same before and after.
    assert len(re.findall(r"> gets visits\n100\ncas (\d+)\n", told)) == 2
    assert told.count("> get brief\n(not found)\n") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_server(home: Path, number: signal.Signals) -> None:
    with start(home) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        pid = server_in(process.stdout.readline())
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors.strip()) == (128 + number, "")
    eventually(lambda: not is_alive(pid), "the server is gone")


def test_it_ends_with_its_reader(home: Path) -> None:
    with start(home) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "\n"
        pid = server_in(process.stdout.readline())
        process.stdout.close()
        assert process.wait(PATIENCE) != 0
        assert process.stderr.read() == ""
    eventually(lambda: not is_alive(pid), "the server is gone")


def test_at_a_terminal_it_ends_in_the_shell(home: Path) -> None:
    terminal = Terminal(home, "demo", TMPDIR=str(home))
    try:
        pid = server_in(terminal.greeting)
        assert terminal.type("get greeting") == "hello"
        terminal.send("gets vis\t")
        terminal.seen("its")
        terminal.send(CTRL_C)
        terminal.seen(BEGUN)
        terminal.send(CTRL_D)
        assert terminal.ended() == 0
    finally:
        terminal.close()
    assert not is_alive(pid)
    assert not (home / ".mctwist_history").exists()


def test_without_the_shell(home: Path) -> None:
    terminal = Terminal(home, "demo", "--no-shell", ask=False, TMPDIR=str(home))
    try:
        assert terminal.ended() == 0
        assert "What has expired stays away." in terminal.child.before
    finally:
        terminal.close()


def test_an_answer_that_is_another_ends_it() -> None:
    # This one has lost what it had when it is started again.
    with ThrowawayServer("--storage", "memory:") as server:
        tour = Tour(server)
        with pytest.raises(click.ClickException, match="get greeting is answered"):
            tour.run()
