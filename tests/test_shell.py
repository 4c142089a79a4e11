"""`mctwist shell` as a program, against mctwist and against memcached."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any, Callable, NamedTuple, Optional, Union

import pytest

from mctwist import client
from mctwist.client import Server
from mctwist.shell.repl import own
from mctwist.shell.repl.screen import Screen
from mctwist.shell.repl.session import Left, Session
from mctwist.shell.repl.table import COMMANDS
from mctwist.shell.shell import Lines
from mctwist.throwaway import ThrowawayServer
from tests.certificates import make_identity
from tests.processes import PATIENCE, ROOT, Connection, eventually, program
from tests.processes import Server as Process
from tests.terminal import Terminal

#: A session as it is typed, and what it prints.
TOLD = [
    ("set k hello --flags 5", "STORED\n"),
    ("get k", "hello\n"),
    ("add k other", "NOT_STORED\n"),
    ("append k ' you'", "STORED\n"),
    ("get k nothing", "k: hello you\n"),
    ("set n 41", "STORED\n"),
    ("incr n", "42\n"),
    ("decr n 2", "40\n"),
    ("incr nothing", "NOT_FOUND\n"),
    ("touch k 1h", "TOUCHED\n"),
    ("ttl n", "-1\n"),
    ('set "x*" star', "STORED\n"),
    ("ms 'a key' 'with spaces' F7 T100", "HD\n"),
    ("mg 'a key' v f", "with spaces\nflags 7\n"),
    ("mg nothing v q", ""),
    ("ma n D2 v", "42\n"),
    ("md nothing", "NF\n"),
    ("get x*", "star\n"),
    ('del "x*" nothing', "deleted 1 key\n"),
    ("del k n --yes", "deleted 2 keys\n"),
    ("del a* --yes", "deleted 1 key\n"),
    ("keys", ""),
]


@pytest.fixture(scope="module")
def mctwist() -> "Iterator[str]":
    with ThrowawayServer() as server:
        yield server.address


@pytest.fixture(scope="module")
def memcached(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[str]":
    folder = tmp_path_factory.mktemp("memcached")
    ports = folder / "ports"
    process = subprocess.Popen(
        [program("memcached"), "-u", "root", "-p", "-1", "-U", "0", "-l", "127.0.0.1", "-t", "1"],
        env={**os.environ, "MEMCACHED_PORT_FILENAME": str(ports)},
        stderr=subprocess.DEVNULL,
    )
    try:
        found = eventually(
            lambda: ports.exists() and re.match(r"TCP INET: (\d+)\n", ports.read_text()),
            "memcached listens",
        )
        assert found
        yield f"127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(params=["mctwist", "memcached"])
def address(request: pytest.FixtureRequest) -> str:
    """Of each kind of server, empty."""
    where: str = request.getfixturevalue(request.param)
    with Connection(client.address_of(where)) as connection:
        assert connection.ask(b"flush_all\r\n") == b"OK\r\n"
    return where


class Done(NamedTuple):
    status: int
    out: str
    err: str


def shell(address: str, *arguments: str, given: "Union[str, bytes]" = "") -> Done:
    """The shell, run on `given`."""
    done = subprocess.run(
        [sys.executable, "-m", "mctwist.shell", "shell", "-s", address, *arguments],
        cwd=ROOT,
        input=given if isinstance(given, bytes) else given.encode(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Done(done.returncode, *(text.decode("latin-1") for text in (done.stdout, done.stderr)))


# In this process


class Typed:
    """A session, and what it prints."""

    def __init__(self, address: str, capture: Any, lines: "tuple[str, ...]" = ()) -> None:
        self.session = Session(
            Server(client.address_of(address), timeout=PATIENCE),
            Screen(False),
            COMMANDS,
            Lines(lines),
        )
        self._capture = capture

    def __call__(self, line: str) -> "tuple[bool, str]":
        """Whether it could be done, and what was printed."""
        done = self.session.run(line)
        told = self._capture.readouterr()
        return done, told.out

    def errors(self, line: str) -> str:
        """What is wrong with it."""
        assert not self.session.run(line)
        told: str = self._capture.readouterr().err
        return told


@pytest.fixture
def make(capsys: Any) -> "Iterator[Callable[[str], Typed]]":
    made: list[Typed] = []

    def of(address: str) -> Typed:
        made.append(Typed(address, capsys))
        return made[-1]

    yield of
    for each in made:
        each.session.close()


def test_a_session(address: str, make: "Callable[[str], Typed]") -> None:
    typed = make(address)
    for line, told in TOLD:
        assert typed(line) == (True, told), line


@pytest.fixture
def busy(mctwist: str, memcached: str) -> "Iterator[None]":
    """While it lasts somebody fetches something from both servers."""
    over = Event()

    def fetch() -> None:
        with (
            Connection(client.address_of(mctwist)) as one,
            Connection(client.address_of(memcached)) as other,
        ):
            while not over.wait(0.01):
                one.ask(b"get k\r\n")
                other.ask(b"get k\r\n")

    thread = Thread(target=fetch)
    thread.start()
    yield
    over.set()
    thread.join(PATIENCE)


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].examples])
def test_what_help_gives_as_an_example_is_so(
    name: str, address: str, mctwist: str, busy: None, make: "Callable[[str], Typed]"
) -> None:
    if COMMANDS[name].extension and address != mctwist:
        return
    typed = make(address)
    for example in COMMANDS[name].examples:
        done, told = typed(example)
        assert done, example
        assert "ERROR" not in told, example


def test_what_only_mctwist_has_says_so(memcached: str, make: "Callable[[str], Typed]") -> None:
    typed = make(memcached)
    for line in ("mr a b 1", "mp a b 1", "flush_prefix a"):
        assert "only mctwist knows m" in typed.errors(line).replace("flush_prefix", "m")
    assert "does not know this command" in typed.errors("lru nothing at all")


def test_errors_are_explained(mctwist: str, make: "Callable[[str], Typed]") -> None:
    typed = make(mctwist)
    typed("set k hello")
    for line, said, meant in [
        ("incr k", "CLIENT_ERROR cannot increment", "written in digits"),
        ("get " + "k" * 251, "CLIENT_ERROR bad command line format", "250 bytes"),
        ("mg k y", "CLIENT_ERROR invalid flag", "help COMMAND"),
        ("shutdown --yes", "SERVER_ERROR: shutdown not enabled", "-A"),
        ("raw nonsense", "ERROR", "does not know"),
    ]:
        told = typed.errors(line)
        assert said in told
        assert meant in told
    for line, said in [
        ("gte k", "did you mean get?"),
        ("get 'a key'", "the meta commands take such keys"),
        ("get ''", "may not be empty"),
        ("mg k 'v\r\nflush_all'", "may not hold spaces"),
        (r"get k\r\nflush_all", "may not hold spaces"),
        ("del a*b", "a star may only be the last"),
        ("del k*", "that would delete 1 key: say --yes"),
        ("get k > /nowhere/at/all", "/nowhere/at/all: No such file"),
        ("set k --file /nowhere", "/nowhere: No such file"),
        ("set k --file ~nobodyatall/f", "home"),
        ('set k --file "\\x00"', "null byte"),
        ("get nothing > /nowhere", "not found: /nowhere is not written"),
        ("get nothing k > /nowhere", "a file takes one value"),
        ("mg k t > /nowhere", "say v"),
        ("help nothing", "no help on nothing"),
        ("connect a:b", "is not HOST:PORT"),
        ("set k 0 0 5", "nothing is sent"),
    ]:
        assert said in typed.errors(line), line
    assert typed("get k") == (True, "hello\n")


def test_keys_in_order_and_page_by_page(mctwist: str, make: "Callable[[str], Typed]") -> None:
    typed = make(mctwist)
    typed("flush_all")
    for number in range(7):
        typed(f"set page:{number} {'x' * (number + 1)} --ttl {number and 1000}")
    typed("set pagf other")
    _, told = typed("keys page: --limit 3")
    assert [line.split("\t")[0] for line in told.splitlines()] == ["page:0", "page:1", "page:2"]
    assert re.match(r"page:0\t-1\t1\npage:1\t(1000|9\d\d)\t2\n", told)
    _, told = typed("keys page: --limit 9 --after page:2")
    assert [line.split("\t")[0][-1] for line in told.splitlines()] == list("3456")
    assert [key for key in typed.session.keys if key.startswith(b"page:")]


def test_many_keys_go_at_once(address: str, make: "Callable[[str], Typed]") -> None:
    with Connection(client.address_of(address)) as connection:
        lines = [b"set many:%d 0 0 1 noreply\r\nx\r\n" % number for number in range(3000)]
        connection.send(b"".join(lines))
        connection.ask(b"ms AAEC 1 b\r\nx\r\n")
        connection.ask(b"set other 0 0 1\r\nx\r\n")
    typed = make(address)
    assert "3,000 keys" in typed.errors("del many:*")
    assert typed("del many:* --yes") == (True, "deleted 3,000 keys\n")
    assert typed("del * --yes") == (True, "deleted 2 keys\n")


def test_more_keys_than_are_deleted_at_once(
    address: str, make: "Callable[[str], Typed]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "MOST_DELETED", 2)
    typed = make(address)
    for number in range(3):
        typed(f"set some:{number} x")
    told = typed.errors("del some:*")
    assert "there are more than 2: say it again for the others" in told
    assert "that would delete 2 keys of more: say --yes" in told
    assert typed("del some:* --yes")[1].startswith("deleted 2 keys\n")
    assert typed("del some:* --yes") == (True, "deleted 1 key\n")


def test_bytes_both_ways(mctwist: str, make: "Callable[[str], Typed]") -> None:
    typed = make(mctwist)
    assert typed("raw on") == (True, "raw is on\n")
    assert typed("set k hello") == (
        True,
        "> set k 0 0 5\\r\\n\n> hello\\r\\n\n< STORED\\r\\n\n",
    )
    assert typed("mg k v q") == (
        True,
        "> mg k v q\\r\\n\n> mn\\r\\n\n< VA 5\\r\\n\n< hello\\r\\n\n< MN\\r\\n\n",
    )
    typed("raw off")
    assert typed("raw get k") == (
        True,
        "> get k\\r\\n\n< VALUE k 0 5\\r\\n\n< hello\\r\\n\n< END\\r\\n\n",
    )
    assert typed("get k") == (True, "hello\n")


# As a program


def test_lines_of_the_input(address: str) -> None:
    done = shell(address, given="set k hello\nget k\nget nothing\n\nset k 'a\nb'\nget k\n")
    assert done == (0, "STORED\nhello\nSTORED\na\nb\n", "nothing: not found\n")


def test_the_protocol_itself_is_taken(address: str) -> None:
    given = (
        "set k 0 0 5\r\nhello\r\ncas k 0 0 1 1\r\nx\r\nset k 5 0 4 noreply\r\na\r\nb\r\ngets k\r\n"
    )
    done = shell(address, given=given)
    assert re.fullmatch(
        r"STORED\nEXISTS\na\r\nb\nflags 5 · cas \d+\n", done.out.encode("latin-1").decode()
    )
    assert done[::2] == (0, "")


def test_a_value_is_given_byte_by_byte(address: str, tmp_path: Path) -> None:
    value = bytes(range(256)) * 20
    path = tmp_path / "value"
    path.write_bytes(value)
    other = tmp_path / "other"
    done = shell(address, "-c", f"set k --file {path}", "-c", "get k", "-c", f"get k > {other}")
    assert done.out.encode("latin-1") == b"STORED\n" + value + b"\n"
    assert done[::2] == (0, f"5.1 kB in {other}\n")
    assert other.read_bytes() == value


def test_elsewhere_a_value_is_shown_where_it_is_asked_for(mctwist: str) -> None:
    lines = ("set k '{\"a\":1}'", "get k --as hex", "get k --as json", "get k")
    done = shell(mctwist, *(word for line in lines for word in ("-c", line)))
    first, *rest = done.out.splitlines()[1:]
    assert first.startswith("00000000  7b 22 61 22 3a 31 7d  ")
    assert rest == ["{", '  "a": 1', "}", '{"a":1}']


def test_elsewhere_nothing_is_left_out_of_a_value(mctwist: str, tmp_path: Path) -> None:
    path = tmp_path / "value"
    value = [*range(5000)]
    path.write_text(json.dumps(value))
    told = shell(mctwist, "-c", f"set k --file {path}", "-c", "get k --as json").out
    assert json.loads(told.removeprefix("STORED\n")) == value
    told = shell(mctwist, "-c", "get k --as hex").out
    assert len(told.splitlines()) == -(-path.stat().st_size // 16)


def test_what_fails_is_told_and_the_rest_is_done(address: str) -> None:
    done = shell(address, "-c", "set k hello", "-c", "incr k", "-c", "get k")
    assert done.status == 1
    assert done.out == "STORED\nhello\n"
    assert done.err.startswith("CLIENT_ERROR cannot increment or decrement non-numeric value\n")


def test_nobody_there_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = shell(f"127.0.0.1:{port}", given="get a\nget b\n")
    assert done == (1, "", f"cannot reach 127.0.0.1:{port}: Connection refused\n")


def test_answers_as_json(mctwist: str) -> None:
    lines = ["set k hello --flags 3", "gets k", "get k nothing", 'set b "\\xff"', "get b", "incr n"]
    lines += ['ms "a key" v T0', 'keys "a "']
    done = shell(mctwist, "--json", *(word for line in lines for word in ("-c", line)))
    told = [json.loads(line) for line in done.out.splitlines()]
    cas = told[1].pop("cas")
    assert cas > 0
    assert told == [
        {"answer": "STORED"},
        {"key": "k", "value": "hello", "flags": 3},
        {"key": "k", "value": "hello", "flags": 3},
        {"key": "nothing", "value": None},
        {"answer": "STORED"},
        {"key": "b", "value64": "/w==", "flags": 0},
        {"answer": "NOT_FOUND"},
        {"answer": "HD", "meaning": "done"},
        {"key": "a key", "ttl": -1, "bytes": 1},
    ]


def test_it_ends_with_its_reader(mctwist: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mctwist.shell", "shell", "-s", mctwist],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdin.write(b"version\n")
        process.stdin.flush()
        assert b"mctwist" in process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b"version\n" * 10)
        process.stdin.flush()
        assert process.wait(PATIENCE) != 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_a_signal(mctwist: str, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mctwist.shell", "shell", "-s", mctwist, "-c", "watch"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.readline() == b"OK\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number
        assert process.stderr.read().strip() == b""


def test_output_that_fails_is_no_lost_connection(mctwist: str) -> None:
    words = [sys.executable, "-m", "mctwist.shell", "shell", "-s", mctwist, "--raw"]
    words += ["-c", "stats"] * 20
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "w") as full, os.fdopen(writing, "w") as unread:
        for stdout, status, said in [(full, 1, "No space left on device"), (unread, 141, "")]:
            done = subprocess.run(
                words, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
            )
            assert done.returncode == status, done.stderr
            assert said in done.stderr
            assert "connection" not in done.stderr
            assert done.stderr.count("\n") == bool(said)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_streams_that_are_closed(mctwist: str, closed: str) -> None:
    command = f'exec "$0" -m mctwist.shell shell -s "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, mctwist],
        cwd=ROOT, input="version\n", capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_wrong_options_are_told(mctwist: str) -> None:
    for words, said in [
        *[(("--timeout", text), "is not in the range") for text in ("inf", "0", "1e300")],
        (("--timeout", "nan"), "is not a number"),
        (("--tls", "-s", "unix:/tmp/socket"), "a UNIX socket is not spoken to in TLS"),
    ]:
        done = shell(mctwist, *words, "-c", "version")
        assert (done.status, done.out) == (2, "")
        assert said in done.err


def test_a_command_is_not_taken_for_the_password(mctwist: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mctwist.shell", "shell", "-s", mctwist, "--user", "alice"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "MCTWIST_PASSWORD"},
        input="get k\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        # Without a terminal.
        start_new_session=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("the password of alice: set MCTWIST_PASSWORD\n")


# A server that fails


class Fake:
    """A server that does as it is told: for each connection, what it answers before it closes."""

    def __init__(self, *answers: Optional[bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.heard: list[bytes] = []
        self._answers = answers
        self._held: list[socket.socket] = []
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        for answer in self._answers:
            peer, _ = self._listener.accept()
            self.heard.append(peer.recv(1000))
            if answer is None:
                self._held.append(peer)
                continue
            peer.sendall(answer)
            peer.close()
        self._listener.close()

    def close(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        for each in self._held:
            each.close()


@pytest.mark.parametrize(
    ("line", "answers", "heard", "said"),
    [
        ("set k v", [b"", b""], [b"set k 0 0 1\r\nv\r\n"], "it is not sent again"),
        ("incr k", [b"", b""], [b"incr k 1\r\n"], "it is not sent again"),
        ("mg k v T5", [b"", b""], [b"mg k v T5\r\n"], "it is not sent again"),
        ("get k", [b"VALUE k 0 5\r\nhe", b"END\r\n"], [b"get k\r\n"] * 2, "k: not found"),
        ("get k", [b"SSH-2.0-OpenSSH\r\n"], [b"get k\r\n"], "is it a memcached?"),
        ("get k", [b"x" * (1 << 20)], [b"get k\r\n"], "is it a memcached?"),
        ("get k", [b"VALUE k 0 %d\r\n" % 10**30], [b"get k\r\n"], "is it a memcached?"),
        ("get k", [b"VALUE k 0 -3\r\n"], [b"get k\r\n"], "is it a memcached?"),
        ("mg k v", [b"VA\r\n"], [b"mg k v\r\n"], "is it a memcached?"),
        ("ttl k", [b"ME k exp=soon\r\n"], [b"me k\r\n"], "is it a memcached?"),
    ],
)
def test_what_may_have_been_done_is_not_sent_twice(
    line: str, answers: "list[bytes]", heard: "list[bytes]", said: str, capsys: Any
) -> None:
    server = Fake(*answers)
    typed = Typed(server.address, capsys)
    typed.session.run(line)
    typed.session.close()
    server.close()
    told = capsys.readouterr()
    assert [each for each in server.heard if each] == heard
    assert said in told.err


@pytest.mark.parametrize("command", [["bench"], ["dump"]])
def test_a_server_of_another_kind_is_told_without_harm(
    command: "list[str]", tmp_path: Path
) -> None:
    server = Fake(b"SSH-2.0-\x1b[2J\r\n")
    with Terminal(*command, "-s", server.address) as terminal:
        shown = terminal.expect(r"the server answers SSH-2\.0-[^\r\n]*\r\n")
        assert terminal.ended() == 1
    server.close()
    assert "SSH-2.0-\\x1b[2J" in shown
    assert "Traceback" not in shown


def test_an_answer_that_does_not_come(capsys: Any) -> None:
    server = Fake(None, b"END\r\n")
    typed = Typed(server.address, capsys)
    typed.session.wire.server = typed.session.wire.server._replace(timeout=0.1)
    assert "whether it will be done is not known" in typed.errors("set k v")
    # The next one is asked on another connection.
    typed.session.wire.server = typed.session.wire.server._replace(timeout=PATIENCE)
    assert typed.session.run("get k")
    typed.session.close()
    server.close()


def test_what_is_said_unasked_is_not_the_next_answer(capsys: Any) -> None:
    server = Fake(b"STORED\r\nEND\r\n", b"END\r\n")
    typed = Typed(server.address, capsys)
    assert typed.session.run("set k v")
    assert typed.session.run("get k")
    typed.session.close()
    server.close()
    assert "more than was asked for" in capsys.readouterr().err


def test_a_session_is_left(mctwist: str, make: "Callable[[str], Typed]") -> None:
    for line in ("exit", "quit"):
        with pytest.raises(Left):
            make(mctwist).session.run(line)
    assert shell(mctwist, given="version\nexit\nnonsense\n").status == 0


def test_over_tls_as_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = make_identity(tmp_path)
    users = tmp_path / "users"
    users.write_text("alice:open sesame\n")
    users.chmod(0o600)
    with Process(tmp_path, "--auth-file", str(users), *identity.options) as server:
        address = client.written(server.addresses()[0])
        asked = ("--tls-ca", str(identity.certificate_file), "--user", "alice")
        given = "set k hello\nget k\n"
        monkeypatch.setenv("MCTWIST_PASSWORD", "open sesame")
        assert shell(address, *asked, given=given) == (0, "STORED\nhello\n", "")
        monkeypatch.setenv("MCTWIST_PASSWORD", "guessed")
        done = shell(address, *asked, given="get k\n")
        assert (done.status, done.out) == (1, "")
        assert "does not let you in: CLIENT_ERROR authentication failure" in done.err


def test_over_a_unix_socket(tmp_path: Path) -> None:
    with Process(tmp_path, "-s", str(tmp_path / "socket")):
        done = shell(f"unix:{tmp_path}/socket", given="set k hello\nget k\n")
    assert done == (0, "STORED\nhello\n", "")
