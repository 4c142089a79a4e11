"""`mctwist top`, on a mctwist and on a memcached: as lines, as JSON, and as people see it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mctwist.client import written
from mctwist.passwords import User, hash_password, replace
from mctwist.shell.measure.gauges import Key
from mctwist.shell.top import Reading, View
from tests.memcached import memcached
from tests.processes import PATIENCE, ROOT, Connection, Server
from tests.terminal import Terminal

SETS = b"".join(b"set k%d 0 0 1\r\nx\r\n" % number for number in range(9))
#: A figure with styles around it, that is not 0.
SOME = r"(?:\x1b\[[0-9;]*m|\s)+[1-9]"


def address_of(server: Server) -> str:
    return written(server.addresses()[0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Server]":
    with Server(tmp_path_factory.mktemp("mctwist")) as server:
        yield server


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[str]":
    with memcached(tmp_path_factory.mktemp("memcached")) as address:
        yield address


def top(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mctwist.shell", "top", *arguments],
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": PATIENCE, **options},
    )


def said(done: "subprocess.CompletedProcess[str]") -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def lines(text: str) -> "dict[str, str]":
    return dict(line.split("\t") for line in text.splitlines())


# Lines


def test_once_is_lines_of_name_and_value(server: Server) -> None:
    with server.connect() as connection:
        connection.ask(SETS + b"mn\r\n", b"MN\r\n")
    told = lines(said(top("--server", address_of(server), "--once", "-i", "0.1")))
    assert "mctwist" in told["version"]
    assert float(told["interval"]) >= 0.1
    assert (told["items"], told["connections_limit"]) == ("9", "1024")
    assert float(told["sync_us_max"]) >= float(told["sync_us_p50"]) > 0
    assert float(told["write_us_max"]) >= float(told["write_us_p50"]) > 0
    assert float(told["bytes_out"]) > 0
    # Nobody but us was there.
    assert (told["ops"], told["connections"]) == ("0.0", "1")


def test_of_memcached_it_tells_what_that_tells(other: str) -> None:
    with Connection(("127.0.0.1", int(other.rpartition(":")[2]))) as connection:
        connection.ask(SETS + b"mn\r\n", b"MN\r\n")
    told = lines(said(top("--server", other, "--once", "-i", "0.1")))
    assert (told["items"], told["ops"]) == ("9", "0.0")
    for name in ("read_us_p50", "sync_us_p50", "batches", "journal_bytes"):
        assert name not in told


@pytest.mark.parametrize("keys", ["--keys", "--no-keys"])
def test_json_is_an_object_for_each_reading(server: Server, other: str, keys: str) -> None:
    for address in (address_of(server), other):
        text = said(top("-s", address, "--json", "--count", "2", "-i", "0.05", keys))
        readings = [json.loads(line) for line in text.splitlines()]
        assert len(readings) == 2
        for reading in readings:
            assert isinstance(reading["ops"], float)
            assert isinstance(reading["keys"], list)
            assert "key" not in reading


def test_the_address_may_come_from_the_environment(server: Server) -> None:
    with_it = {"MCTWIST_SERVER": address_of(server), "PYTHONPATH": str(ROOT)}
    assert "version\t" in said(top("--once", "-i", "0.05", env=with_it))


def test_several_readings_have_an_empty_line_between_them(server: Server) -> None:
    text = said(top("-s", address_of(server), "-n", "3", "-i", "0.05"))
    assert [len(lines(part)) > 20 for part in text.split("\n\n")] == [True] * 3


def test_the_busiest_key_is_told(server: Server) -> None:
    with server.connect() as connection:
        # It is looked for from the first question on.
        connection.ask(b"stats hot\r\n", b"END\r\n")
        connection.ask(b"get hot\r\n" * 2000 + b"get cold\r\nmn\r\n", b"MN\r\n")
    text = said(top("-s", address_of(server), "--json", "--once", "-i", "0.05"))
    (busiest,) = json.loads(text)["keys"]
    assert busiest["key"] == "hot"
    assert busiest["share"] > 0.5


def test_without_a_count_it_goes_on_until_nobody_reads(server: Server) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mctwist.shell", "top", "-s", address_of(server), "-i", "0.05"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"version\t")
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""


def test_it_ends_by_sigterm(server: Server) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mctwist.shell", "top", "-s", address_of(server), "-i", "0.05"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_where_there_is_no_server_it_says_so_in_a_line(tmp_path: Path) -> None:
    done = top("-s", f"unix:{tmp_path}/none", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "mctwist: No such file or directory\n"


def test_who_has_to_log_in_is_told(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_bytes(replace(b"", b"ann", User(b"ann", hash_password(b"secret"))))
    with Server(tmp_path, "--auth-file", str(users)) as server:
        done = top("-s", address_of(server), "--once", "-i", "0.05")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "mctwist: the server answers CLIENT_ERROR unauthenticated\n"
        with Terminal("top", "-s", address_of(server), "-i", "0.05") as terminal:
            terminal.expect("lost: the server answers CLIENT_ERROR unauthenticated")
            terminal.press("q")
            assert terminal.ended() == 0


@pytest.mark.parametrize("option", ["--interval", "--timeout"])
@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "-1"])
def test_nobody_can_wait_for_that_long(option: str, seconds: str) -> None:
    done = top("--once", option, seconds)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("Error: Invalid value for ")


# The live view


@pytest.mark.parametrize("columns", [100, 40])
def test_the_live_view(server: Server, columns: int) -> None:
    with Terminal("top", "-s", address_of(server), "-i", "0.1", columns=columns) as terminal:
        terminal.expect(r"operations/s")
        with server.connect() as connection:
            while terminal.process.poll() is None:
                connection.ask(b"get k1\r\n" * 50 + b"mn\r\n", b"MN\r\n")
                if terminal.shown.expect([f"get{SOME}", r"\x1b\[H"]) == 0:
                    break
        assert not terminal.echoes()
        terminal.press("q")
        assert terminal.ended() == 0
        # The other screen is left.
        terminal.expect(r"\x1b\[\?1049l")
        assert terminal.echoes()


def test_the_view_of_memcached_has_dashes_for_what_that_does_not_tell(other: str) -> None:
    with Terminal("top", "-s", other, "-i", "0.1", "--no-keys") as terminal:
        terminal.expect("1,024")
        shown = terminal.expect(r"q ends")
        assert "\N{EN DASH}" in shown
        terminal.press("q")
        assert terminal.ended() == 0


def test_another_size_is_seen_at_once(server: Server) -> None:
    with Terminal("top", "-s", address_of(server), "-i", "1000", rows=50) as terminal:
        terminal.expect("last took")
        # Between two readings only that makes it draw.
        terminal.resize(8, 40)
        terminal.expect("operations/s")
        terminal.resize(50, 100)
        terminal.expect("last took")
        terminal.press("q")
        assert terminal.ended() == 0


def test_ctrl_c_ends_it_and_leaves_the_terminal_as_it_was(server: Server) -> None:
    with Terminal("top", "-s", address_of(server), "-i", "1000") as terminal:
        terminal.expect("last took")
        terminal.press("\x03")
        assert terminal.ended() == 130
        terminal.expect(r"\x1b\[\?1049l")
        assert terminal.echoes()


def test_an_arrow_does_not_end_it(server: Server) -> None:
    with Terminal("top", "-s", address_of(server), "-i", "0.05") as terminal:
        terminal.expect("last took")
        terminal.press("\x1b[A")
        for _ in range(3):
            terminal.expect("last took")
        terminal.press("\x1b")
        assert terminal.ended() == 0


def test_ctrl_z_leaves_the_terminal_and_takes_it_again(server: Server) -> None:
    with Terminal("top", "-s", address_of(server), "-i", "0.05") as terminal:
        terminal.expect("last took")
        terminal.press("\x1a")
        terminal.expect(r"\x1b\[\?1049l")
        # No shell is there to have it go on, and so it does at once.
        terminal.expect(r"\x1b\[\?1049h")
        terminal.expect("last took")
        terminal.press("q")
        assert terminal.ended() == 0
        assert terminal.echoes()


def test_a_server_that_is_lost_is_told_and_found_again(tmp_path: Path) -> None:
    path = f"{tmp_path}/socket"
    looking = "top", "-s", f"unix:{path}", "-i", "0.1"
    with Server(tmp_path, "-s", path) as server, Terminal(*looking) as terminal:
        terminal.expect(f"batches/s{SOME}")
        server.kill()
        terminal.expect("lost: ")
        server.start()
        # The curve is there again instead of the fault.
        terminal.expect("[▁▂▃▄▅▆▇█]+")
        shown = terminal.expect("last took")
        assert "lost" not in shown
        terminal.press("q")
        assert terminal.ended() == 0


def test_a_server_that_does_not_answer_can_be_left(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        looking = "top", "-s", address_of(server), "-i", "0.1"
        with Terminal(*looking) as terminal:
            terminal.expect(f"batches/s{SOME}")
            server.pause()
            try:
                terminal.press("q")
                assert terminal.ended() == 0
            finally:
                server.resume()


def test_lines_end_when_the_server_does(tmp_path: Path) -> None:
    with (
        Server(tmp_path) as server,
        subprocess.Popen(
            [sys.executable, "-m", "mctwist.shell", "top", "-s", address_of(server), "-i", "0.05"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        server.kill()
        _, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert complaint.startswith("mctwist: ")
    assert complaint.count("\n") == 1


# The view itself


def drawn(view: View, width: int, height: int = 60) -> "list[str]":
    console = Console(width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(view.drawn())
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_view_fits_any_width() -> None:
    view = View("127.0.0.1:11211", 1.0)
    key = Key(b"k" * 250, 1234.5, 0.4)
    values: Any = {"version": "1.6", "ops": 1_234_567.8, "bytes_limit": 10 << 30, "uptime": 90_061}
    view.take(Reading(values, [key, Key(b"a\nb\xff", 1, 0.01)]))
    for width in (200, 100, 60, 30, 10):
        for line in drawn(view, width):
            assert len(line) <= width, (width, line)
    text = "\n".join(drawn(view, 100))
    for part in ("1,234,568", "10.7 GB", "1 day, 1:01:01", f"{'k' * 37}...", "1,234/s", "40.0 %"):
        assert part in text
    assert r"a\nb\xff" in text


def test_a_view_without_anything_is_all_dashes() -> None:
    text = "\n".join(drawn(View("somewhere", 1.0, plain=True), 100))
    assert text.isascii()
    assert text.count(" -") > 30
