"""
A real `twistd` process and plain sockets to it, for what shows only from outside.

Nothing here waits for ever and nothing waits for a time: each wait is for a condition, and has
failed when it lasts `PATIENCE`. What was started is stopped by its own process id.
"""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Callable, NoReturn, Optional, TypeVar, Union
from zlib import crc32

import pytest

#: Seconds. Generous, for the machines of CI stall; what is right needs a hundredth of it.
PATIENCE = 60.0

#: The directory of the source.
ROOT = Path(__file__).parent.parent

#: The directory of the interpreter's own programs.
PROGRAMS = os.path.dirname(sys.executable)

TWISTD = os.path.join(PROGRAMS, "twistd")

#: A host and a port, or the path of a UNIX socket.
Address = Union[tuple[str, int], str]

T = TypeVar("T")


def missing(what: str) -> NoReturn:
    """Skip the test, for want of `what`; under REQUIRE_SERVERS=1, fail it."""
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(f"{what}, and REQUIRE_SERVERS=1")
    pytest.skip(what)


def program(name: str) -> str:
    """The path of a program that a test needs."""
    return shutil.which(name) or missing(f"{name} is not installed")


def is_of_quarter(name: str) -> bool:
    """Whether a test of that name is always run; the others are with DIFFERENTIAL=all."""
    return os.environ.get("DIFFERENTIAL") == "all" or crc32(name.encode()) % 4 == 0


def eventually(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """The first answer of `condition` that is true; after `patience` seconds the test fails."""
    deadline = time.monotonic() + patience
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.01)  # between two looks


class Server:
    """
    A server in the foreground, over one store; it may be started again when it has ended.

    As a context manager it is started at once, and not left running.

    :param folder: gets the store, the log and the ports file, and is the working directory.
    :param options: of `twistd mctwist`, besides where it listens and keeps its values.
    :param kind: of the store.
    :param command: the program, in place of `twistd -n --pidfile= mctwist` and these options.
    :param environment: added to that of the tests.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        kind: str = "lmdb",
        twistd: str = TWISTD,
        command: Optional[Sequence[str]] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.log_file = folder / "server.log"
        self.ports_file = folder / "ports"
        # A UNIX socket by itself replaces TCP.
        port = () if "-s" in options else ("--port", "-1")
        argument = "" if kind == "memory" else str(self.store)
        self.command = command or [
            *(twistd, "-n", "--pidfile=", "mctwist", *port),
            *("--ports-file", str(self.ports_file), "--storage", f"{kind}:{argument}"),
            *options,
        ]
        #: Descriptors that it is handed.
        self.inherited: list[int] = []
        self._environment = {**os.environ, **(environment or {})}
        self._process: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.launch()
        eventually(self._serves, "the server is started")

    def launch(self) -> None:
        """Start it, and do not wait."""
        assert self._process is None or self._process.poll() is not None
        self.ports_file.unlink(missing_ok=True)
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self.inherited,
            )

    def _serves(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"the server has ended instead of starting:\n{self.log()}")
        return self.ports_file.exists()

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.ended()

    def pause(self) -> None:
        """Have it do nothing, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def addresses(self) -> "list[Address]":
        return read_ports(self.ports_file)

    def connect(self, number: int = 0) -> "Connection":
        """A new connection to its listener of that number."""
        return Connection(self.addresses()[number])

    def log(self) -> str:
        return self.log_file.read_text()

    def forget_memory(self) -> None:
        """Have `most_memory` begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def most_memory(self) -> int:
        """The most bytes that it has held at any moment."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Connection:
    """A plain socket on which nothing waits for ever. As a context manager it is closed."""

    def __init__(self, address: Address) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self._received = bytearray()
        try:
            self.socket.settimeout(PATIENCE)
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close, and have the peer told by an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def line(self) -> bytes:
        """The next line, with its end; at the end of the stream what there is."""
        while b"\n" not in self._received and self._receive():
            pass
        return self._take(self._received.find(b"\n") + 1 or len(self._received))

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes; at the end of the stream what there is."""
        while len(self._received) < size and self._receive():
            pass
        return self._take(size)

    def until(self, end: bytes) -> bytes:
        """Up to and with `end`; at the end of the stream what there is."""
        searched = 0
        while True:
            found = self._received.find(end, max(searched - len(end), 0))
            if found >= 0:
                return self._take(found + len(end))
            searched = len(self._received)
            if not self._receive():
                return self._take(searched)

    def until_closed(self) -> bytes:
        """Everything up to the end of the stream. A reset is an end too."""
        while self._receive():
            pass
        return self._take(len(self._received))

    def ask(self, data: bytes, end: bytes = b"\r\n") -> bytes:
        """Send `data`; the answer up to `end`."""
        self.send(data)
        return self.until(end)

    def exchange(self, data: bytes) -> bytes:
        """
        Send `data` and half-close, reading meanwhile; all that comes.

        A server may stop reading until its answers are read, so one before the other would hang.
        """
        sender = self.send_aside(data, half_close=True)
        answer = self.until_closed()
        sender.join(PATIENCE)
        assert not sender.is_alive(), "the server neither reads nor closes"
        return answer

    def send_aside(self, data: bytes, half_close: bool = False) -> Thread:
        """
        Send in a thread, so that what comes can be read meanwhile.

        A peer that has closed is no fault here: reading tells what it has still said.
        """

        def send() -> None:
            with suppress(OSError):
                self.send(data)
                if half_close:
                    self.half_close()

        sender = Thread(target=send, daemon=True)
        sender.start()
        return sender

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            return False
        self._received += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self._received[:size])
        del self._received[:size]
        return data


def read_ports(path: Path) -> "list[Address]":
    """The addresses in a ports file."""
    addresses: list[Address] = []
    for line in path.read_text().splitlines():
        _, kind, where = line.split(" ", 2)
        if kind == "unix":
            addresses.append(where)
        else:
            host, port = where.rsplit(" ", 1)
            addresses.append((host, int(port)))
    return addresses


def copy_of_source(folder: Path) -> Path:
    """`folder`, with a copy of the files that git knows: a build may leave others in the source."""
    listed = subprocess.run(
        [program("git"), "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    if listed.returncode != 0:
        missing("the source is not a git checkout")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    return folder


def make_environment(python: str, folder: Path, package: Path) -> Path:
    """Where the programs of a new virtual environment are, with only `package` installed in it."""
    for command in (
        [python, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", str(package)],
    ):
        subprocess.run(command, cwd=folder.parent, check=True, timeout=5 * PATIENCE)
    return folder / "bin"


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def complaints(log: str) -> "list[str]":
    """The lines of a log that tell of something that should not have happened."""
    return [
        line
        for line in log.splitlines()
        if re.search(r"Traceback|Unhandled|Error:|#(error|critical)\]|Warning", line)
    ]


def stats_of(connection: Connection, what: str = "") -> "dict[str, str]":
    """What `stats`, or what of it, says."""
    answer = connection.ask(f"stats {what}\r\n".encode(), b"END\r\n").decode()
    return dict(line.split(" ")[1:] for line in answer.splitlines()[:-1])
