"""The servers under test: how each is started, watched and stopped.

A server is known by the process id it was started with and by nothing else. Each is alone on a free
port of the loopback address, with a directory of its own, in a session of its own so that Ctrl-C
reaches only the benchmark, which then stops what it started.
"""

import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from attrs import frozen

#: Seconds a server may take to listen, and to stop.
START, STOP = 15.0, 15.0


class NotStarted(Exception):
    """A server ended, or did not listen in time; its log is in the message."""


@frozen
class Server:
    """A running server."""

    name: str
    dialect: str
    port: int
    pid: int
    tls: bool = False

    def cpu(self) -> float:
        """CPU seconds of all its threads since it started, in the kernel's ticks of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, field: str) -> int:
        """A field of proc(5)'s status, in bytes. RssAnon leaves out mapped files; VmHWM is all."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise LookupError(field)


def memcached(port: int, directory: Path) -> list[str]:
    # Without -u it refuses to run as root; -m is far more than the run can fill.
    user = pwd.getpwuid(os.geteuid()).pw_name
    flags = ["-t", "1", "-m", "1024", "-u", user, "-l", "127.0.0.1", "-p", str(port)]
    return ["memcached", *flags]


def redis(port: int, directory: Path) -> list[str]:
    # No rewrite of the log: its child would take the second core in the middle of somebody's cell.
    flags = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    quiet = ["--auto-aof-rewrite-percentage", "0", "--bind", "127.0.0.1"]
    return ["redis-server", "--port", str(port), "--dir", str(directory), *flags, *quiet]


def mctwistd(directory: Path) -> list[str]:
    twistd = str(Path(sys.executable).parent / "twistd")
    flags = ["--storage", str(directory / "store"), "--sync", "always"]
    return [twistd, "-n", "--pidfile=", "mctwist", *flags]


def mctwist(port: int, directory: Path) -> list[str]:
    return [*mctwistd(directory), "--listen", f"auto=tcp:{port}:interface=127.0.0.1"]


def mctwist_tls(port: int, directory: Path) -> list[str]:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    new = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *new, *files], check=True, capture_output=True)
    pair = f"privateKey={key}:certKey={certificate}"
    return [*mctwistd(directory), "--listen", f"auto=ssl:{port}:{pair}:interface=127.0.0.1"]


def mctwist_resp(port: int, directory: Path) -> list[str]:
    # The same, for a first byte of RESP's makes a connection speak that.
    return mctwist(port, directory)


def mctwist_threads(port: int, directory: Path) -> list[str]:
    return [*mctwist(port, directory), "--inline-reads", "never"]


def mctwist_inline(port: int, directory: Path) -> list[str]:
    return [*mctwist(port, directory), "--inline-reads", "always"]


def mctwist_many(port: int, directory: Path) -> list[str]:
    return [*mctwist(port, directory), "--conn-limit", "12000"]


#: What is spoken to those that are not spoken to in text.
DIALECTS = {"redis": "resp", "mctwist-resp": "resp"}

#: How each is started.
COMMANDS: dict[str, Callable[[int, Path], list[str]]] = {
    "memcached": memcached,
    "redis": redis,
    "mctwist": mctwist,
    "mctwist-resp": mctwist_resp,
    "mctwist-threads": mctwist_threads,
    "mctwist-inline": mctwist_inline,
    "mctwist-many": mctwist_many,
    "mctwist-tls": mctwist_tls,
}


@contextmanager
def running(name: str, directory: Path, *flags: str) -> Iterator[Server]:
    """A server that listens, until the block is left.

    :param flags: of its command line, behind those that it is always given.
    :raises NotStarted: with the end of what the server had to say.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMANDS[name](port, directory), *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        if not listens(port, process):
            said = (directory / "log").read_text(errors="replace")[-1000:]
            raise NotStarted(f"{name} does not listen; it said:\n{said}")
        dialect = DIALECTS.get(name, "text")
        yield Server(name, dialect, port, process.pid, name == "mctwist-tls")
    finally:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int, process: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
