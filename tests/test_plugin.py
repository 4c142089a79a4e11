"""
`twistd mctwist` as those meet it who install and run servers: its options, its faults in one line,
its log, and the ways to run it: in the foreground, as a daemon, from mctwist.tac.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import pytest

from mctwist.tap import Options
from tests.certificates import make_identity
from tests.processes import (
    PATIENCE,
    ROOT,
    TWISTD,
    Connection,
    Server,
    complaints,
    copy_of_source,
    eventually,
    is_alive,
    make_environment,
    missing,
    program,
    read_ports,
    stats_of,
)

DEBIAN = Path("/etc/memcached.conf")

STORED = b"STORED\r\n"
SET, GET = b"set k 5 0 5\r\nvalue\r\n", b"get k\r\n"
ANSWER = b"VALUE k 5 5\r\nvalue\r\nEND\r\n"


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """twistd with these arguments, until it ends."""
    return subprocess.run(
        [TWISTD, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


# Options


def test_the_help_names_every_option(tmp_path: Path) -> None:
    shown = run(tmp_path, "mctwist", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    options = Options()
    names = [row[0] for row in (*options.optParameters, *options.optFlags)]
    names += [name[4:] for name in dir(Options) if re.fullmatch("opt_[a-z]{2,}", name)]
    assert len(names) > 30
    for name in names:
        assert re.search(rf"--{name}\b", shown.stdout), name


def test_every_option_of_memcached_is_known() -> None:
    shown = subprocess.run(
        [program("memcached"), "-h"], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    letters = set(re.findall(r"^-(\w)\b", shown.stdout, re.MULTILINE))
    names = set(re.findall(r"^-\w,? +--([a-z_-]+)", shown.stdout, re.MULTILINE))
    assert len(letters) > 25
    assert len(names) > 25
    options = Options()
    assert letters <= {letter for letter in options.synonyms if len(letter) == 1}
    assert names <= set(options.synonyms)


def debian_options() -> "list[list[str]]":
    """The option lines of Debian's configuration, those behind a comment sign as well."""
    if not DEBIAN.exists():
        missing("memcached is not installed")
    lines = re.findall(r"^(?:# *)?(-\w+(?: \S+)?)$", DEBIAN.read_text(), re.MULTILINE)
    assert len(lines) > 8
    return [shlex.split(line) for line in lines]


def test_each_option_line_of_debians_configuration_is_taken() -> None:
    for line in debian_options():
        Options().parseOptions(line)


def test_all_of_debians_configuration_together_starts_a_server(tmp_path: Path) -> None:
    places = {"-p": ["-p", "-1"], "-P": ["-P", str(tmp_path / "memcached.pid")]}
    lines = [places.get(line[0], line) for line in debian_options()]
    with Server(tmp_path, *(word for line in lines for word in line)) as server:
        with server.connect() as connection:
            assert connection.ask(SET) == STORED
        log = server.log()
    warned = re.findall(r"--([a-z-]+) has no meaning here", log)
    assert sorted(warned) == sorted(set(warned))
    assert {"daemon", "user", "pidfile"} <= set(warned)
    assert "conn-limit" not in warned


# Faults


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--frobnicate", "frobnicate"),
        ("--port many", "--port takes a number from -1 to 65535, not 'many'"),
        ("--port 65536", "--port takes a number"),
        ("--port 0", "nothing to listen on"),
        ("--sync sometimes", "--sync takes one of always, relaxed, never"),
        ("--max-item-size 1x", "--max-item-size: '1x' is not a size"),
        ("--max-item-size 1", "--max-item-size takes a size from 1k to 1g"),
        ("--storage tape:/dev/st0", "the kinds are lmdb, directory, memory"),
        ("--storage lmdb:", "needs a path"),
        ("--inline-reads perhaps", "--inline-reads takes one of"),
        ("--protocol resp", "--protocol takes one of auto, ascii, binary"),
        ("--listen smtp=tcp:25", "the dialects are"),
        ("--listen tcp:port=ssh-not", "--listen"),
        ("--listen ssl:0:privateKey=/nowhere/key.pem", "--listen"),
        ("--unix-mask 999", "octal"),
        ("--udp-port 11211", "UDP is not served"),
        ("--enable-sasl", "--enable-sasl needs users"),
        ("--enable-ssl", "--enable-ssl needs --ssl-chain-cert"),
        ("--ssl-key key.pem", "--ssl-key: nothing is TLS"),
        ("--listen notls:127.0.0.1", "nothing is TLS"),
        ("stray", "'stray' is not an option"),
    ],
)
@pytest.mark.parametrize("mode", [["-n"], []], ids=["foreground", "daemon"])
def test_a_wrong_option_is_told_in_one_line(
    tmp_path: Path, mode: "list[str]", words: str, told: str
) -> None:
    ended = run(tmp_path, *mode, "--pidfile=pid", "mctwist", *words.split())
    assert ended.returncode not in (0, None)
    output = ended.stdout + ended.stderr
    lines = output.splitlines()
    assert len(lines) == 1, output
    assert told in lines[0]
    assert "--help" in lines[0]
    assert list(tmp_path.iterdir()) == []


def foreign_directory(folder: Path) -> "tuple[str, str]":
    (folder / "home").mkdir()
    (folder / "home" / "letters.txt").write_text("not ours")
    return f"--storage {folder}/home", "is not a mctwist store: name another directory"


def unwritable_path(folder: Path) -> "tuple[str, str]":
    # For root as well.
    (folder / "file").write_text("")
    return f"--storage {folder}/file/store", f"cannot use {folder}/file/store as the store"


def unwritable_ports_file(folder: Path) -> "tuple[str, str]":
    return f"--storage memory: --ports-file {folder}/none/ports", "cannot write the ports file"


def damaged_store(folder: Path) -> "tuple[str, str]":
    with Server(folder) as server:
        server.terminate()
    (server.store / "data.mdb").write_bytes(b"\xa5" * 20_000)
    return f"--storage {server.store}", f"cannot open the store {server.store}"


def missing_certificate(folder: Path) -> "tuple[str, str]":
    key = make_identity(folder).key_file
    told = "Error loading the certificate chain: /nowhere.pem : No such file or directory"
    return f"--storage memory: -Z --ssl-chain-cert /nowhere.pem --ssl-key {key}", told


def key_that_does_not_fit(folder: Path) -> "tuple[str, str]":
    (one, other) = (make_identity(folder, name) for name in ("one", "other"))
    certificate, key = one.certificate_file, other.key_file
    told = "Error validating the certificate: "
    return f"--storage memory: -Z --ssl-chain-cert {certificate} --ssl-key {key}", told


def store_of_another_kind(folder: Path) -> "tuple[str, str]":
    with Server(folder, kind="directory") as server:
        server.terminate()
    return f"--storage {server.store}", f"use --storage directory:{server.store}"


def store_of_a_newer_version(folder: Path) -> "tuple[str, str]":
    with Server(folder) as server:
        server.terminate()
    (server.store / "mctwist").write_text("lmdb 99\n")
    return f"--storage {server.store}", "has format 99"


FAULTS = [
    foreign_directory,
    unwritable_path,
    unwritable_ports_file,
    damaged_store,
    missing_certificate,
    key_that_does_not_fit,
    store_of_another_kind,
    store_of_a_newer_version,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_keeps_it_from_starting_is_told_in_one_line(
    tmp_path: Path, fault: "Callable[[Path], tuple[str, str]]"
) -> None:
    options, told = fault(tmp_path)
    check_does_not_start(tmp_path, options, told)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_keeps_a_daemon_from_starting_is_told_in_one_line(
    tmp_path: Path, fault: "Callable[[Path], tuple[str, str]]"
) -> None:
    options, told = fault(tmp_path)
    check_daemon_does_not_start(tmp_path, options, told)


def test_a_store_in_use_and_a_busy_port_are_told_in_one_line(tmp_path: Path) -> None:
    with Server(tmp_path) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        in_use = f"in use by process {server.pid}: stop that server or name another store"
        check_does_not_start(tmp_path, f"--storage {server.store}", in_use)
        port = listener.getsockname()[1]
        busy = f"cannot listen on 127.0.0.1 port {port}: Address already in use"
        check_does_not_start(tmp_path, f"--storage memory: --port {port}", busy)


def test_a_store_in_use_and_a_busy_port_are_told_by_a_daemon_in_one_line(tmp_path: Path) -> None:
    with Server(tmp_path) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        in_use = f"in use by process {server.pid}: stop that server or name another store"
        check_daemon_does_not_start(tmp_path, f"--storage {server.store}", in_use)
        port = listener.getsockname()[1]
        busy = f"cannot listen on 127.0.0.1 port {port}: Address already in use"
        check_daemon_does_not_start(tmp_path, f"--storage memory: --port {port}", busy)


def check_does_not_start(folder: Path, options: str, told: str) -> None:
    ended = run(folder, "-n", "--pidfile=", "mctwist", "--port", "-1", *options.split())
    assert ended.returncode not in (0, None)
    assert ended.stderr == ""
    check_told(ended.stdout, told)


def check_daemon_does_not_start(folder: Path, options: str, told: str) -> None:
    log, pid_file = folder / "daemon.log", folder / "daemon.pid"
    log.unlink(missing_ok=True)
    files = (f"--logfile={log}", f"--pidfile={pid_file}")
    ended = run(folder, *files, "mctwist", "--port", "-1", *options.split())
    assert ended.returncode not in (0, None)
    assert "Traceback" not in ended.stdout + ended.stderr
    check_told(log.read_text(), told)
    # The one who waited is told first.
    eventually(lambda: not pid_file.exists(), "the pid file is gone")


def check_told(log: str, told: str) -> None:
    """The log says it in one line, and says nothing else that is bad."""
    lines = [line for line in log.splitlines() if "cannot start: " in line]
    assert len(lines) == 1, log
    assert told in lines[0]
    assert complaints(log) == lines


# The log, and what has been bound


def test_the_log_and_the_ports_file_say_what_has_been_bound(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    options = ("-l", "127.0.0.1", "-l", f"text=unix:{path}", "-l", "tcp:0:interface=127.0.0.1")
    with Server(tmp_path, *options) as server:
        lines = server.ports_file.read_text().splitlines()
        assert len(lines) == 3
        assert lines[1] == f"text unix {path}"
        for number, line in enumerate(lines):
            assert re.fullmatch(r"(auto tcp 127\.0\.0\.1 [0-9]+|text unix \S+)", line)
            dialect, address = line.split(" ", 1)
            assert f"listening for {dialect} on {address}" in server.log()
            with server.connect(number) as connection:
                assert connection.ask(SET) == STORED


def test_listening_for_everybody_is_warned_of(tmp_path: Path) -> None:
    for where, told in (
        (("--interface", "0.0.0.0"), "0.0.0.0"),
        (("-l", "tcp:0"), "every address"),
        (("-l", "tcp6:0:interface=\\:\\:"), "::"),
        (("-l", "tcp:0:interface=127.0.0.1"), ""),
        (("-l", "tcp6:0:interface=\\:\\:1"), ""),
    ):
        server = Server(tmp_path, *where)
        server.log_file.unlink(missing_ok=True)
        with server:
            warned = f"whoever can reach {told} may read and write everything"
            assert server.log().count(warned) == bool(told), where
            assert server.log().count("whoever") == bool(told), where


def test_each_line_of_a_json_log_is_json(tmp_path: Path) -> None:
    with Server(tmp_path, "--log-format", "json", "-f", "2") as server:
        with server.connect() as connection:
            assert connection.ask(SET) == STORED
        server.terminate()
    check_json(server.log())


def check_json(log: str) -> None:
    records = [json.loads(line) for line in log.splitlines()]
    messages = [record["message"] for record in records]
    assert any(message.startswith("listening for auto on tcp 127.0.0.1 ") for message in messages)
    assert any("--slab-growth-factor has no meaning here" in message for message in messages)
    assert all(record["level"] in ("info", "warn") for record in records)
    assert all(record["time"] for record in records)


def test_a_daemon_logs_in_json_as_well(tmp_path: Path) -> None:
    with daemon(tmp_path, "--log-format", "json", "-f", "2") as pid:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not is_alive(pid), "the daemon has ended")
    check_json((tmp_path / "daemon.log").read_text())


def test_the_level_of_the_log_is_obeyed(tmp_path: Path) -> None:
    with Server(tmp_path, "--log-level", "error", "-m", "64") as server:
        assert server.log() == ""


def test_verbose_logs_more(tmp_path: Path) -> None:
    sizes: list[int] = []
    for options in ([], ["-v"], ["-vv"]):
        folder = tmp_path / str(len(sizes))
        folder.mkdir()
        with Server(folder, *options) as server:
            with server.connect() as connection:
                assert connection.ask(SET) == STORED
                assert connection.ask(b"verbosity 1\r\n") == b"OK\r\n"
            server.terminate()
        assert complaints(server.log()) == []
        sizes.append(len(server.log().splitlines()))
    assert sizes[0] < sizes[1] <= sizes[2]


def test_verbosity_changes_the_level_while_it_runs(tmp_path: Path) -> None:
    def arrivals(server: Server) -> int:
        with server.connect() as connection:
            assert connection.ask(GET) == b"END\r\n"
        return server.log().count("connection from ")

    with Server(tmp_path) as server, server.connect() as admin:
        assert arrivals(server) == 0
        for level, before in ((b"1", 0), (b"0", 1), (b"2", 1), (b"0", 2)):
            assert admin.ask(b"verbosity %b\r\n" % level) == b"OK\r\n"
            assert arrivals(server) == before + (level != b"0")


def test_no_key_and_no_value_is_in_the_log(tmp_path: Path) -> None:
    with Server(tmp_path, "-vv") as server:
        with server.connect() as connection:
            assert connection.ask(b"set secret-key 0 0 12\r\nsecret-value\r\n") == STORED
            assert connection.ask(b"get secret-key\r\n", b"END\r\n").endswith(b"END\r\n")
            assert connection.ask(b"incr secret-key 1\r\n").startswith(b"CLIENT_ERROR")
            assert connection.ask(b"secret-command secret-key\r\n") == b"ERROR\r\n"
        server.terminate()
        assert "closed lmdb:" in server.log()
        assert "secret" not in server.log()


def test_sigusr1_has_the_log_reopened(tmp_path: Path) -> None:
    with daemon(tmp_path) as pid:
        log = tmp_path / "daemon.log"
        log.rename(tmp_path / "daemon.log.1")
        os.kill(pid, signal.SIGUSR1)
        with Connection(read_ports(tmp_path / "ports")[0]) as connection:
            assert connection.ask(SET) == STORED
        assert is_alive(pid)
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not is_alive(pid), "the daemon has ended")
        assert "closed lmdb:" in log.read_text()


def test_sighup_does_not_end_it(tmp_path: Path) -> None:
    with Server(tmp_path) as server, server.connect() as connection:
        for _ in range(3):
            os.kill(server.pid, signal.SIGHUP)
            assert connection.ask(SET) == STORED
        assert server.terminate() == 0


# Commands that options allow


def test_shutdown_needs_an_option(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with server.connect() as connection:
            assert connection.ask(b"shutdown\r\n") == b"SERVER_ERROR: shutdown not enabled\r\n"
            assert connection.ask(SET) == STORED
        server.kill()
    with Server(tmp_path, "-A") as server:
        with server.connect() as connection:
            connection.send(GET + b"shutdown\r\n")
            assert connection.until_closed() == ANSWER
        assert server.ended() == 0


def test_flush_all_can_be_forbidden(tmp_path: Path) -> None:
    with Server(tmp_path, "-F") as server, server.connect() as connection:
        assert connection.ask(SET + b"flush_all\r\n", b"allowed\r\n") == (
            STORED + b"CLIENT_ERROR flush_all not allowed\r\n"
        )
        assert connection.ask(GET, b"END\r\n") == ANSWER


def test_what_it_was_told_is_shown(tmp_path: Path) -> None:
    options = ["-D", "/", "-c", "77", "-b", "55", "-I", "2m", "-F", "-A", "-v", "--sync", "relaxed"]
    options.append("--max-reply=3m")
    with Server(tmp_path, *options) as server, server.connect() as connection:
        told = stats_of(connection, "settings")
        for name, figure in (
            ("stat_key_prefix", "/"), ("detail_enabled", "yes"), ("maxconns", "77"),
            ("tcp_backlog", "55"), ("item_size_max", str(2 << 20)), ("flush_enabled", "no"),
            ("shutdown_command", "yes"), ("verbosity", "1"), ("sync", "relaxed"),
            ("storage", "lmdb"), ("inter", "127.0.0.1"), ("stop_timeout", "10"),
            ("tcpport", str(server.addresses()[0][1])), ("batch_steps", "20000"),
            ("max_reply", str(3 << 20)), ("resp_request", str(64 << 20)),
            ("resp_watched", "10000"), ("simpledb_depth", "32"),
        ):  # fmt: skip
            assert told[name] == figure, name
        assert connection.ask(b"get a/b a:b\r\n", b"END\r\n") == b"END\r\n"
        assert connection.ask(b"stats detail dump\r\n", b"END\r\n") == (
            b"PREFIX a get 1 hit 0 set 0 del 0\r\nEND\r\n"
        )


# Ways to run it


@contextmanager
def daemon(folder: Path, *options: str) -> "Iterator[int]":
    """The process id of a daemon, which is not left running; its files are in `folder`."""
    ports, pid_file = folder / "ports", folder / "daemon.pid"
    started = run(
        folder,
        *(f"--logfile={folder}/daemon.log", f"--pidfile={pid_file}", "mctwist", "--port", "-1"),
        *("--ports-file", str(ports), "--storage", str(folder / "store"), *options),
    )
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    pid = int(pid_file.read_text())
    try:
        eventually(ports.exists, "the daemon is started")
        yield pid
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not is_alive(pid), "the daemon is killed")


def test_a_daemon_serves_and_is_stopped_by_its_pid_file(tmp_path: Path) -> None:
    with daemon(tmp_path) as pid:
        with Connection(read_ports(tmp_path / "ports")[0]) as connection:
            assert connection.ask(SET) == STORED
            assert connection.ask(GET, b"END\r\n") == ANSWER
            assert stats_of(connection)["pid"] == str(pid)
        os.kill(int((tmp_path / "daemon.pid").read_text()), signal.SIGTERM)
        eventually(lambda: not is_alive(pid), "the daemon has ended")
    assert not (tmp_path / "daemon.pid").exists()
    log = (tmp_path / "daemon.log").read_text()
    assert complaints(log) == []
    assert f"closed lmdb:{tmp_path}/store" in log
    # The next one finds all in order, the values too.
    with daemon(tmp_path), Connection(read_ports(tmp_path / "ports")[0]) as connection:
        assert connection.ask(GET, b"END\r\n") == ANSWER


def test_the_application_file_takes_its_settings_from_the_environment(tmp_path: Path) -> None:
    settings = {
        "MCTWIST_PORT": "-1",
        "MCTWIST_STORAGE": str(tmp_path / "elsewhere"),
        "MCTWIST_PORTS_FILE": str(tmp_path / "ports"),
        "MCTWIST_LOG_FORMAT": "json",
    }
    command = [TWISTD, "-n", "--pidfile=", "-y", str(ROOT / "mctwist.tac")]
    with Server(tmp_path, command=command, environment=settings) as server:
        with server.connect() as connection:
            assert connection.ask(SET) == STORED
        assert (tmp_path / "elsewhere" / "mctwist").exists()
        server.kill()
        server.start()
        with server.connect() as connection:
            assert connection.ask(GET, b"END\r\n") == ANSWER
        server.terminate()
    for line in server.log().splitlines():
        json.loads(line)


def test_the_application_file_serves_a_unix_socket_alone_or_beside_a_port(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    settings = {
        "MCTWIST_UNIX_SOCKET": str(path),
        "MCTWIST_STORAGE": "memory:",
        "MCTWIST_PORTS_FILE": str(tmp_path / "ports"),
    }
    command = [TWISTD, "-n", "--pidfile=", "-y", str(ROOT / "mctwist.tac")]
    with Server(tmp_path, command=command, environment=settings) as server:
        assert server.addresses() == [str(path)]
    settings["MCTWIST_PORT"] = "-1"
    with Server(tmp_path, command=command, environment=settings) as server:
        for number in (0, 1):
            with server.connect(number) as connection:
                assert connection.ask(SET) == STORED
        assert server.addresses()[1:] == [str(path)]


def test_the_application_file_serves_tls(tmp_path: Path) -> None:
    identity = make_identity(tmp_path)
    settings = {
        "MCTWIST_PORT": "-1",
        "MCTWIST_STORAGE": "memory:",
        "MCTWIST_PORTS_FILE": str(tmp_path / "ports"),
        "MCTWIST_SSL_CHAIN_CERT": str(identity.certificate_file),
        "MCTWIST_SSL_KEY": str(identity.key_file),
    }
    command = [TWISTD, "-n", "--pidfile=", "-y", str(ROOT / "mctwist.tac")]
    with Server(tmp_path, command=command, environment=settings) as server:
        assert server.ports_file.read_text().startswith("auto tls 127.0.0.1 ")
        assert "listening for auto on tls 127.0.0.1 " in server.log()


def test_certificates_are_read_before_privileges_are_given_up(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("only root has privileges to give up")
    identity = make_identity(tmp_path)
    # pytest's own directory is closed to everybody else, and here the server becomes nobody.
    with tempfile.TemporaryDirectory(prefix="mctwist-") as folder:
        os.chown(folder, 65534, 65534)
        server = Server(Path(folder), *identity.options, kind="memory")
        server.command = [TWISTD, "--uid=65534", "--gid=65534", *server.command[1:]]
        with server:
            assert "listening for auto on tls 127.0.0.1 " in server.log()
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert re.search(r"^Uid:\s+65534\s+65534\s", status, re.MULTILINE)
            assert complaints(server.log()) == []


def test_a_relative_path_of_a_certificate_is_of_where_it_was_started(tmp_path: Path) -> None:
    make_identity(tmp_path, "x")
    with daemon(tmp_path, "-Z", "--ssl-chain-cert=x.pem", "--ssl-key=x.key") as pid:
        os.kill(pid, signal.SIGHUP)
        log = tmp_path / "daemon.log"
        eventually(lambda: "read the certificates of" in log.read_text(), "they are read anew")
        assert complaints(log.read_text()) == []


def test_it_runs_on_pypy(tmp_path: Path) -> None:
    pypy = program("pypy3")
    source = copy_of_source(tmp_path / "source")
    programs = make_environment(pypy, tmp_path / "venv", source)
    with Server(tmp_path, twistd=str(programs / "twistd")) as server:
        with server.connect() as connection:
            assert connection.ask(SET) == STORED
            assert connection.ask(GET, b"END\r\n") == ANSWER
        assert str(programs) in server.log()
        server.terminate()
        server.start()
        with server.connect() as connection:
            assert connection.ask(GET, b"END\r\n") == ANSWER
    throwaway = "from mctwist.throwaway import *; s = ThrowawayServer(); s.start(); print(s.log())"
    started = subprocess.run(
        [str(programs / "python"), "-c", throwaway],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert f"({programs}/python " in started.stdout, started.stderr
