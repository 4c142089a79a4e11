"""
What is in deploy/, used as far as it goes without systemd as process 1: the units are verified, and
what they run is run; supervisord and logrotate are the real ones.
"""

import configparser
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from mctwist.options import Options
from mctwist.server import STOP_TIMEOUT
from mctwist.tap import SPARE_FILES
from tests.certificates import make_identity
from tests.processes import (
    PATIENCE,
    PROGRAMS,
    ROOT,
    TWISTD,
    Connection,
    Server,
    complaints,
    eventually,
    is_alive,
    program,
    read_ports,
    stats_of,
)

DEPLOY = ROOT / "deploy"
SERVICE = DEPLOY / "mctwist.service"
SOCKET = DEPLOY / "mctwist.socket"
DROP_INS = DEPLOY / "mctwist.service.d"

#: systemd's own units.
UNITS = Path("/lib/systemd/system")

STORED = b"STORED\r\n"
SET, GET = b"set k 5 0 5\r\nvalue\r\n", b"get k\r\n"
ANSWER = b"VALUE k 5 5\r\nvalue\r\nEND\r\n"


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd="/"
    )


# systemd


class Unit:
    """
    A unit and its drop-ins: what systemd makes of those settings that say what is run.

    :param directory: stands for the state directory, and for that of the credentials.
    """

    def __init__(self, directory: Path, *files: Path) -> None:
        self._directory = directory
        self.settings: dict[str, list[str]] = {}
        for line in "\n".join(each.read_text() for each in files).splitlines():
            if "=" in line and not line.startswith("#"):
                name, _, value = line.partition("=")
                self.settings.setdefault(name, []).append(value)

    def last(self, name: str) -> str:
        return self.settings[name][-1]

    def command(self, **environment: str) -> "list[str]":
        """What is run, with `environment` as if it came of the EnvironmentFile."""
        there = {"STATE_DIRECTORY": str(self._directory)}
        for line in self.settings["Environment"]:
            for word in shlex.split(line.replace("%d", str(self._directory))):
                name, _, there[name] = word.partition("=")
        there.update(environment)
        (line,) = self.settings["ExecStart"]
        words: list[str] = []
        for word in line.split():
            if re.fullmatch(r"\$\w+", word):
                words += there[word[1:]].split()
            else:
                words.append(re.sub(r"\$\{(\w+)\}", lambda match: there[match[1]], word))
        assert words[0] == "/opt/mctwist/bin/twistd"
        return [TWISTD, *words[1:]]


def ours(folder: Path) -> str:
    """Options of a test's own: a free port, and the ports file of `Server`."""
    return f"--port -1 --ports-file {folder}/ports"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root directory in which the units are installed, and what they run."""
    program("systemd-analyze")
    root = tmp_path / "root"
    shutil.copytree(UNITS, root / UNITS.relative_to("/"), symlinks=True)
    target = root / "etc/systemd/system"
    shutil.copytree(DEPLOY, target)
    for name in ("opt/mctwist/bin/twistd", "bin/kill"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    return root


def verify(root: Path) -> str:
    """What there is to be said of the units; it is not always a failure."""
    units = ("mctwist.service", "mctwist.socket")
    verified = run("systemd-analyze", "verify", f"--root={root}", *units)
    return verified.stdout + verified.stderr


def test_systemd_finds_nothing_wrong_with_the_units(installed: Path) -> None:
    assert verify(installed) == ""
    drop_ins = installed / "etc/systemd/system/mctwist.service.d"
    with (drop_ins / "socket.conf").open("a") as file:
        file.write("Resart=no\n")
    assert "Unknown key 'Resart' in section [Service]" in verify(installed)
    shutil.rmtree(drop_ins)
    assert verify(installed) == ""


def test_systemd_calls_the_service_well_guarded() -> None:
    program("systemd-analyze")
    security = ("systemd-analyze", "security", "--offline=true", "--no-pager")
    guarded = run(*security, "--threshold=13", str(SERVICE))
    assert guarded.returncode == 0, guarded.stdout
    # It is 1.2 of 10, of which the bound is in tenths.
    assert run(*security, "--threshold=5", str(SERVICE)).returncode == 1


def test_systemd_and_supervisord_are_patient_and_allow_enough_files() -> None:
    unit = Unit(Path(), SERVICE)
    assert int(unit.last("TimeoutStopSec")) > STOP_TIMEOUT
    assert int(unit.last("LimitNOFILE")) >= Options()["conn-limit"] + SPARE_FILES
    supervisord = configparser.RawConfigParser()
    supervisord.read(DEPLOY / "supervisord.conf")
    assert supervisord.getint("program:mctwist", "stopwaitsecs") > STOP_TIMEOUT


def allowed(filters: "list[str]") -> "set[str]":
    """The system calls that lines of SystemCallFilter leave."""
    sets: dict[str, list[str]] = {}
    for line in run("systemd-analyze", "syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            members = sets[line] = []
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())

    def calls(name: str) -> "set[str]":
        return set().union(*map(calls, sets[name])) if name in sets else {name}

    left = calls("@default")
    for line in filters:
        named = set().union(*map(calls, line.lstrip("~").split()))
        left = left - named if line.startswith("~") else left | named
    return left


def test_the_service_runs_and_needs_nothing_that_is_forbidden(tmp_path: Path) -> None:
    program("systemd-analyze")
    unit = Unit(tmp_path, SERVICE)
    traced = tmp_path / "trace"
    # -D: the process that is started is the server, and not strace.
    strace = [program("strace"), "-D", "-f", "-qq", "-o", str(traced)]
    users = tmp_path / "users"
    users.write_text("ann:secret\n")
    users.chmod(0o600)
    server = Server(tmp_path)
    options = f"{ours(tmp_path)} --auth-file {users}"
    server.command = [*strace, *unit.command(MCTWIST_OPTIONS=options)]
    with server:
        with server.connect() as connection:
            assert connection.ask(b"set user 0 0 10\r\nann secret\r\n") == STORED
            assert connection.ask(SET) == STORED
            assert connection.ask(GET, b"END\r\n") == ANSWER
        reload = unit.last("ExecReload")
        assert reload == "/bin/kill -HUP $MAINPID"
        assert run(*reload.replace("$MAINPID", str(server.pid)).split()).returncode == 0
        eventually(lambda: server.log().count("passwords in clear") == 2, "the users are read anew")
        assert server.terminate() == 0
    eventually(lambda: "exit_group(0)" in traced.read_text()[-200:], "strace has ended")
    trace = traced.read_text()
    used = set(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE))
    assert {"epoll_wait", "accept4", "fdatasync"} <= used
    assert used - allowed(unit.settings["SystemCallFilter"]) == set()
    # What MemoryDenyWriteExecute refuses.
    assert unit.last("MemoryDenyWriteExecute") == "yes"
    assert re.findall(r".*PROT_WRITE\|PROT_EXEC.*", trace) == []
    families = set(re.findall(r"\bsocket\((AF_\w+)", trace))
    assert families <= set(unit.last("RestrictAddressFamilies").split())


def test_the_socket_of_systemds_is_served_with_its_drop_in(tmp_path: Path) -> None:
    activate = program("systemd-socket-activate")
    address = Unit(tmp_path, SOCKET).last("ListenStream")
    assert address == "127.0.0.1:11211"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    unit = Unit(tmp_path, SERVICE, DROP_INS / "socket.conf")
    server = Server(tmp_path)
    server.command = [
        *(activate, "-l", f"127.0.0.1:{port}", "--fdname=mctwist.socket"),
        # It hands on little else of its environment.
        *("-E", f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}"),
        *unit.command(MCTWIST_OPTIONS=f"--ports-file {tmp_path}/ports"),
    ]
    try:
        server.launch()
        eventually(lambda: "Listening on" in server.log(), "there is the socket")
        assert not server.ports_file.exists()
        # The first who comes has it started, and is served.
        with Connection(("127.0.0.1", port)) as connection:
            assert connection.ask(SET) == STORED
            assert connection.ask(GET, b"END\r\n") == ANSWER
        assert server.addresses() == [("127.0.0.1", port)]
        assert server.terminate() == 0
    finally:
        server.close()
    assert complaints(server.log()) == []


def test_with_its_drop_in_the_service_speaks_tls(tmp_path: Path) -> None:
    identity = make_identity(tmp_path, "x")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    unit = Unit(credentials, SERVICE, DROP_INS / "tls.conf")
    for name, path in [("chain.pem", identity.certificate_file), ("key.pem", identity.key_file)]:
        assert f"{name}:/etc/mctwist/{name}" in unit.settings["LoadCredential"]
        shutil.copy(path, credentials / name)
    server = Server(tmp_path)
    server.command = unit.command(MCTWIST_OPTIONS=ours(tmp_path))
    context = ssl.create_default_context(cafile=str(identity.certificate_file))
    context.check_hostname = False
    with server, server.connect() as connection:
        connection.socket = context.wrap_socket(connection.socket)
        assert connection.ask(SET) == STORED


# Has the kernel (since 6.3) do as MemoryDenyWriteExecute does, and becomes another program.
_FORBID = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_tls_without_its_drop_in_ends_in_a_line(tmp_path: Path) -> None:
    server = Server(tmp_path, *make_identity(tmp_path).options)
    server.command = [sys.executable, "-c", _FORBID, *server.command]
    try:
        server.launch()
        eventually(lambda: not is_alive(server.pid) or server.ports_file.exists(), "it has begun")
        if server.ports_file.exists():
            pytest.skip("this libffi needs no such memory")
        if server.ended() == 77:
            pytest.skip("this kernel does not forbid it")
    finally:
        server.close()
    assert server.ended() == 1
    (fault,) = complaints(server.log())
    assert "cannot start: " in fault
    assert "MemoryDenyWriteExecute=no" in fault


# supervisord


def test_under_supervisord_it_comes_back_with_its_data(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "bin").symlink_to(PROGRAMS)
    shutil.copy(DEPLOY / "supervisord.conf", home)
    shutil.copy(ROOT / "mctwist.tac", home)
    ports = home / "ports"
    supervisor = [os.path.join(PROGRAMS, "supervisord"), "-c", str(home / "supervisord.conf")]
    with open(tmp_path / "output", "wb") as output:
        supervisord = subprocess.Popen(
            supervisor,
            cwd=tmp_path,
            env={**os.environ, "MCTWIST_PORT": "-1", "MCTWIST_PORTS_FILE": str(ports)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    children: list[int] = []
    try:
        for expected in (b"END\r\n", ANSWER):
            eventually(ports.exists, "the server is started")
            with Connection(read_ports(ports)[0]) as connection:
                assert connection.ask(GET, b"END\r\n") == expected
                assert connection.ask(SET) == STORED
                children.append(int(stats_of(connection)["pid"]))
            if len(children) == 1:
                ports.unlink()
                os.kill(children[0], signal.SIGKILL)
        assert children[0] != children[1]
        supervisord.terminate()
        assert supervisord.wait(PATIENCE) == 0
    finally:
        supervisord.kill()
        supervisord.wait(PATIENCE)
    assert not any(is_alive(child) for child in children)
    log = (home / "mctwist.log").read_text()
    assert complaints(log) == []
    assert f"closed lmdb:{home}/mctwist-data" in log


# logrotate


def test_logrotate_has_a_daemon_write_on_to_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin", prepend=os.pathsep)
    program("logrotate")
    text = (DEPLOY / "logrotate.conf").read_text()
    daemon = next(line for line in text.splitlines() if "twistd" in line).strip("# ")
    # Its paths are not those of a test.
    for path, ours_is in (("/var/log/mctwist", tmp_path), ("/var/lib/mctwist", tmp_path / "store")):
        assert path in daemon
        text, daemon = (each.replace(path, str(ours_is)) for each in (text, daemon))
    configuration = tmp_path / "logrotate.conf"
    configuration.write_text(text)
    configuration.chmod(0o644)
    log, old = tmp_path / "mctwist.log", tmp_path / "mctwist.log.1"
    rotate = ("logrotate", "--force", "--state", str(tmp_path / "state"), str(configuration))

    # There is nothing yet, and nobody.
    assert run(*rotate).stderr == ""
    server = Server(tmp_path)
    words = daemon.removesuffix("...").split()
    assert words[0] == "twistd"
    assert run(TWISTD, *words[1:], *ours(tmp_path).split()).returncode == 0
    eventually(server.ports_file.exists, "the daemon is started")
    pid = int((tmp_path / "store" / "lock").read_text())
    try:
        rotated = run(*rotate)
        assert (rotated.returncode, rotated.stderr) == (0, "")
        assert "listening for auto" in old.read_text()
        # Whoever is served now is served after the signal.
        with server.connect() as connection:
            assert connection.ask(SET) == STORED
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not is_alive(pid), "the daemon has ended")
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    assert "Received SIGTERM" in log.read_text()
    assert "Received SIGTERM" not in old.read_text()
    assert complaints(log.read_text() + old.read_text()) == []
    # Nobody has the store open: whoever has got that process id since is left alone.
    rotated = run(*rotate)
    assert (rotated.returncode, rotated.stderr) == (0, "")
