"""The throw-away server: what it keeps, and that nothing is left, however its owner ends."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Optional

import pytest

from mctwist.throwaway import NotStarted, ThrowawayServer
from tests.processes import PATIENCE, Connection, eventually, is_alive

SET = b"set k 0 0 1\r\nv\r\n"
ANSWER = b"VALUE k 0 1\r\nv\r\nEND\r\n"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, in this process and in those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def ask(server: ThrowawayServer, request: bytes, end: bytes = b"\r\n") -> bytes:
    with Connection((server.host, server.port)) as connection:
        return connection.ask(request, end)


def test_port_and_values_are_kept_until_it_is_stopped(folders: Path) -> None:
    with ThrowawayServer() as server:
        assert server.address == f"127.0.0.1:{server.port}"
        first = server.pid, server.port
        assert ask(server, SET) == b"STORED\r\n"
        server.kill()
        assert not is_alive(first[0])
        with pytest.raises(ConnectionRefusedError):
            ask(server, SET)
        server.start()
        assert ask(server, b"get k\r\n", b"END\r\n") == ANSWER
        with pytest.raises(RuntimeError, match="is running"):
            server.start()
        server.restart()
        assert ask(server, b"get k\r\n", b"END\r\n") == ANSWER
        assert server.port == first[1]
        # Once killed, once ended in order.
        assert server.log().count("starting up") == 3
        assert server.log().count("Server Shut Down") == 1
        assert len(list(folders.iterdir())) == 1
    assert not is_alive(server.pid)
    assert list(folders.iterdir()) == []
    assert server.log() == ""
    server.stop()


def test_one_that_cannot_start_says_why_and_leaves_nothing(folders: Path) -> None:
    for server, why in [
        (ThrowawayServer("--sinc", "never"), "option --sinc not recognized"),
        (ThrowawayServer(storage="paper:x"), "the kinds are"),
        (ThrowawayServer("--interface", "203.0.113.1"), "cannot listen on 203.0.113.1"),
    ]:
        with pytest.raises(NotStarted, match=f"ended instead of starting:\n(?s:.*){why}"):
            server.start()
        assert not is_alive(server.pid)
    assert list(folders.iterdir()) == []


def test_a_port_that_is_taken_meanwhile_costs_no_values(folders: Path) -> None:
    with ThrowawayServer() as server:
        assert ask(server, SET) == b"STORED\r\n"
        server.kill()
        with socket.create_server((server.host, server.port)):
            with pytest.raises(NotStarted, match=f"cannot listen on 127.0.0.1 port {server.port}"):
                server.start()
            assert not is_alive(server.pid)
        server.start()
        assert ask(server, b"get k\r\n", b"END\r\n") == ANSWER


def test_a_store_of_ones_own_stays_where_one_said(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for request, answer in [(SET, b"STORED\r\n"), (b"get k\r\n", ANSWER)]:
        server = ThrowawayServer("-s", "socket", "--port", "0", storage="store", sync="always")
        monkeypatch.chdir(folders)
        with server:
            assert (server.address, server.port) == (f"unix:{tmp_path}/socket", 0)
            with Connection(server.host) as connection:
                assert connection.ask(request, answer[-5:]) == answer
        monkeypatch.chdir(tmp_path)
        # It has been ended in order, and the socket is gone.
        assert {each.name for each in tmp_path.iterdir()} == {"temporary", "store"}
    assert list(folders.iterdir()) == []


def test_it_finds_what_its_owner_finds_and_not_what_lies_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a program may have in its folder, and its tests not in their path.
    (tmp_path / "secrets.py").write_text("raise ImportError('this is not the library')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with ThrowawayServer() as server:
        assert ask(server, SET) == b"STORED\r\n"


OWNER = """
import os, sys, time
from mctwist.throwaway import ThrowawayServer

server = ThrowawayServer()
server.start()
print(server.pid, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_its_owner_ends(
    folders: Path, monkeypatch: pytest.MonkeyPatch, end: Optional[signal.Signals]
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        pid = int(owner.stdout.readline())
        assert is_alive(pid)
        assert len(list(folders.iterdir())) == 1
        if end is not None:
            owner.send_signal(end)
        owner.stdin.close()
        assert owner.wait(PATIENCE) == (-end if end is not None else 0)
    eventually(lambda: not is_alive(pid), "the server has ended")
    assert list(folders.iterdir()) == []
