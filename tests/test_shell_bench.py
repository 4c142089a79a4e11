"""`mctwist bench`, on a mctwist and on a memcached. How fast either is, is nothing to be tested."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from mctwist.client import written
from mctwist.passwords import User, hash_password, replace
from mctwist.shell.__main__ import group
from tests.certificates import make_identity
from tests.memcached import memcached
from tests.processes import PATIENCE, ROOT, Connection, Server, eventually, is_alive, stats_of
from tests.terminal import Terminal

SHORT = ("--seconds", "0.2", "--keys", "100")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[str]":
    """The address of a mctwist."""
    with Server(tmp_path_factory.mktemp("mctwist"), "--sync", "never") as server:
        yield address_of(server)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[str]":
    """The address of a memcached."""
    with memcached(tmp_path_factory.mktemp("memcached")) as address:
        yield address


@pytest.fixture(params=["ours", "theirs"])
def address(request: pytest.FixtureRequest) -> str:
    """Of each of them."""
    found: str = request.getfixturevalue(request.param)
    return found


def address_of(server: Server) -> str:
    return written(server.addresses()[0])


def connected(address: str) -> Connection:
    host, port = address.split(":")
    return Connection((host, int(port)))


def items(address: str) -> int:
    """How many the server holds."""
    with connected(address) as connection:
        return int(stats_of(connection)["curr_items"])


def bench(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mctwist.shell", "bench", *arguments],
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": PATIENCE, **options},
    )


def measured(*arguments: str) -> "dict[str, Any]":
    done = bench(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ((), "both"),
        (("--pipeline", "7", "--processes", "2", "--connections", "5"), "both"),
        (("--get",), "gets"),
        (("--set", "--size", "0"), "sets"),
        # More than is read or sent at once.
        (("--size", "300000", "--keys", "10", "--ratio", "1:1", "--pipeline", "3"), "both"),
    ],
)
def test_what_is_told_is_consistent(address: str, options: "tuple[str, ...]", kinds: str) -> None:
    told = measured("--server", address, *SHORT, *options)
    assert told["operations"] == told["gets"] + told["sets"] > 0
    assert sum(count for _, _, count in told["histogram_us"]) == told["operations"]
    assert (told["gets"] > 0, told["sets"] > 0) == (kinds != "sets", kinds != "gets")
    assert (told["misses"], told["errors"], told["lost_connections"]) == (0, 0, 0)
    assert told["seconds"] >= 0.2
    # The time is rounded.
    assert told["ops"] == pytest.approx(told["operations"] / told["seconds"], rel=0.01)
    times = told["latency_us"]
    ordered = [times[name] for name in ("min", "p50", "p90", "p99", "p999", "max")]
    assert ordered == sorted(ordered)
    assert times["min"] <= times["mean"] <= times["max"]
    assert items(address) == 0


def test_as_lines(ours: str) -> None:
    done = bench("--server", ours, *SHORT)
    told = dict(line.split("\t") for line in done.stdout.splitlines())
    assert float(told["ops"]) > 0
    assert float(told["p999_us"]) >= float(told["p50_us"]) > 0
    # It has said what it would write.
    assert "writes up to 100 items of 100 bytes" in done.stderr
    assert "mctwist-bench:" in done.stderr


def test_what_is_kept_does_not_expire(ours: str) -> None:
    try:
        measured("--server", ours, *SHORT, "--keep", "--prefix", "mine:")
        assert items(ours) == 100
        with connected(ours) as connection:
            listed = connection.ask(b"lru_crawler metadump all\r\n", b"END\r\n")
        assert listed.count(b"key=mine%3A") == 100
        assert listed.count(b"exp=-1 ") == 100
    finally:
        with connected(ours) as connection:
            connection.ask(b"flush_all\r\n")


def test_what_others_have_stays(address: str) -> None:
    with connected(address) as connection:
        connection.ask(b"set mctwist-bench:mine 0 0 1\r\nx\r\n")
        measured("--server", address, *SHORT)
        assert connection.ask(b"delete mctwist-bench:mine\r\n") == b"DELETED\r\n"
    assert items(address) == 0


def test_the_plot_is_a_drawing(ours: str, tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    told = measured("--server", ours, *SHORT, "--plot", str(path))
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert f"{told['gets']:,} gets" in (root.findtext("{http://www.w3.org/2000/svg}title") or "")


def test_a_plot_that_cannot_be_is_known_before(ours: str, tmp_path: Path) -> None:
    done = bench("--server", ours, *SHORT, "--plot", str(tmp_path / "none" / "plot.svg"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No such file or directory" in done.stderr


@contextmanager
def running(*arguments: str, **options: Any) -> "Iterator[subprocess.Popen[str]]":
    """One that goes on for long."""
    command = [sys.executable, "-m", "mctwist.shell", "bench", "--seconds", "3000", *arguments]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **{**pipes, **options}) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def children(process: "subprocess.Popen[str]") -> "list[int]":
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not path.exists():
        pytest.skip("there is no /proc to see the processes in")
    return [int(word) for word in path.read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_finds_no_keys_left(address: str, number: "signal.Signals") -> None:
    with running("--server", address, "--keys", "500", "--processes", "2") as process:
        eventually(lambda: items(address) == 500, "the keys are there")
        asking = eventually(lambda: len(children(process)) == 2 and children(process), "it asks")
        assert asking
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert items(address) == 0
    assert not any(is_alive(pid) for pid in asking)


def test_ctrl_c_at_a_terminal(ours: str) -> None:
    # All processes of a terminal get that signal.
    with Terminal("bench", "-y", "-s", ours, "--seconds", "3000", "--keys", "300") as terminal:
        terminal.expect(r"[1-9][0-9,]* ops/s")
        terminal.press("\x03")
        assert terminal.ended() == 130
    assert items(ours) == 0


def test_at_a_terminal_it_draws(ours: str) -> None:
    with Terminal("bench", "-s", ours, *SHORT) as terminal:
        shown = terminal.expect("operations/s: ")
        assert terminal.ended() == 0
    assert "█" in shown
    assert "99.9 %" in shown


def test_it_asks_before_it_writes_to_where_others_have_something(ours: str) -> None:
    with connected(ours) as connection:
        connection.ask(b"set theirs 0 0 1\r\nx\r\n")
        try:
            with Terminal("bench", "-s", ours, *SHORT) as terminal:
                terminal.expect(r"It holds 1 items; go on\? \[y/N\]")
                terminal.press("n\n")
                assert terminal.ended() == 130
            assert items(ours) == 1
        finally:
            connection.ask(b"delete theirs\r\n")


def test_nobody_reads_what_it_says(ours: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = bench("-s", ours, *SHORT, capture_output=False, stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 128 + signal.SIGPIPE
    assert items(ours) == 0


# Faults


def test_a_server_that_is_lost_ends_it_in_a_line(tmp_path: Path) -> None:
    with Server(tmp_path, "--sync", "never") as server:
        address = address_of(server)
        with running("--server", address, "--keys", "50") as process:
            eventually(lambda: items(address) == 50 and children(process), "it asks")
            with server.connect() as connection:

                def asked() -> bool:
                    return int(stats_of(connection)["get_hits"]) > 0

                eventually(asked, "it has asked something")
            server.kill()
            _, complaint = process.communicate(timeout=PATIENCE)
            assert process.returncode == 1
        lines = complaint.splitlines()[1:]
        assert "could not be deleted" in lines[0]
        assert lines[1].startswith("Error: after ")
        assert len(lines) == 2


def test_a_server_that_stands_still_ends_it_in_a_line(tmp_path: Path) -> None:
    with Server(tmp_path, "--sync", "never") as server:
        address = address_of(server)
        with running("--server", address, "--keys", "50", "--timeout", "0.5") as process:
            eventually(lambda: items(address) == 50 and children(process), "it asks")
            server.pause()
            try:
                # What waits longer than it is told to, waits longer than this test does.
                _, complaint = process.communicate(timeout=PATIENCE)
            finally:
                server.resume()
        assert process.returncode == 1
        assert "could not be deleted" in complaint
        assert complaint.endswith("the server does not answer in time\n")


def test_no_server(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    done = bench("-s", f"unix:{tmp_path}/none", *SHORT, "--plot", str(path))
    assert not path.exists()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "mctwist: No such file or directory\n"


def test_what_the_server_does_not_take_is_said_in_a_line(address: str) -> None:
    done = bench("-s", address, *SHORT, "--size", "2000000", "--keys", "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [
        "mctwist: the server answers object too large for cache"
    ]
    assert items(address) == 0


def test_errors_are_counted_and_told(address: str) -> None:
    # Nothing is stored before it begins to ask.
    done = bench("-s", address, *SHORT, "--size", "2000000", "--set", "--json")
    told = json.loads(done.stdout)
    assert told["errors"] == told["operations"] > 0
    assert "the server answers SERVER_ERROR object too large" in done.stderr


@pytest.mark.parametrize("prefix", ["a b", "ключ:", "k" * 240, "a\nflush_all\n", "\x7f"])
def test_no_key_can_begin_with_anything(prefix: str) -> None:
    done = CliRunner().invoke(group, ["bench", "--prefix", prefix])
    assert done.exit_code == 2
    assert "--prefix" in done.output


def test_it_does_not_last_for_ever() -> None:
    done = CliRunner().invoke(group, ["bench", "--seconds", "nan"])
    assert done.exit_code == 2
    assert "'nan' is no time" in done.output


@pytest.mark.parametrize("ratio", ["1", "a:b", "0:0", "-1:2", "1:", "9000:1"])
def test_a_ratio_is_two_numbers(ratio: str) -> None:
    done = CliRunner().invoke(group, ["bench", "--ratio", ratio])
    assert done.exit_code == 2
    assert "GETS:SETS" in done.output


# Other ways to a server


def test_over_a_unix_socket(tmp_path: Path) -> None:
    with Server(tmp_path, "-s", f"{tmp_path}/socket", "--sync", "never"):
        assert measured("-s", f"unix:{tmp_path}/socket", *SHORT)["misses"] == 0


def test_over_tls_and_as_a_user(tmp_path: Path) -> None:
    identity = make_identity(tmp_path)
    users = tmp_path / "users"
    users.write_bytes(replace(b"", b"ann", User(b"ann", hash_password(b"secret"))))
    options = (*identity.options, "--auth-file", str(users), "--sync", "never")
    with Server(tmp_path, *options) as server:
        # An answer takes more than one record.
        how = ("--tls-ca", str(identity.certificate_file), "--user", "ann", "--size", "40000")
        environment = {**os.environ, "MCTWIST_PASSWORD": "secret"}
        done = bench("-s", address_of(server), *SHORT, *how, "--json", env=environment)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["operations"] > told["misses"] == 0
