"""
A throw-away server in a process of its own, for tests and for a look round.

It listens on a free port of the loopback address, keeps its values in a temporary folder and
syncs nothing, and serves about half a second after it is started. It may be killed and started
again: it keeps its port and its values. Two things see to it that nothing is left behind: `stop`,
and, where that is never called, the pipe that `tethered` watches, which the system closes when
this process ends, in whatever way.

Of mctwist nothing is imported here, and of Twisted neither: that is for the process it starts.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Optional, Union

#: Seconds that a start or an orderly end may take: a hundred times what it needs.
PATIENCE = 60.0

#: Seconds between two looks whether it serves.
_GLANCE = 0.005

#: Lines of the log that are told when it does not start.
_LAST_LINES = 20

#: Run by the new process, whose first argument is the folder. It finds what this one finds, and
#: not what happens to lie in the working directory.
_PROGRAM = "import sys; sys.path[:] = {path!r}; from mctwist.tethered import main; main({folder!r})"


class NotStarted(Exception):
    """The server has ended instead of starting, or is not ready in time; with the log's end."""


class ThrowawayServer:
    """
    A server that is thrown away. As a context manager it is started at once, and stopped.

        with ThrowawayServer("--max-item-size", "4m") as server:
            client = pymemcache.Client(server.address)

    :param options: of `twistd mctwist`. With a `--listen` of theirs the port is theirs as well.
    :param storage: where values are kept, as in `--storage`, and stay after `stop`; None: in a
        temporary folder, which goes with the server.
    :param sync: what a power cut may take, as in `--sync`; kill -9 takes nothing in any case.
    :ivar host: where it listens; with several listeners, the first. Of a UNIX socket, its path.
    :ivar port: the same from one start to the next; 0: it is a UNIX socket.
    """

    def __init__(
        self,
        *options: str,
        storage: "Optional[Union[str, os.PathLike[str]]]" = None,
        sync: str = "never",
    ) -> None:
        self.host = ""
        self.port = 0
        self._options = options
        self._storage = storage
        self._sync = sync
        # Relative paths mean the same at each start.
        self._directory = os.getcwd()
        self._folder: Optional[Path] = None
        self._process: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> "ThrowawayServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """`HOST:PORT`, or `unix:PATH`."""
        if not self.port:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """
        Of its process, or of its last one.

        :raises RuntimeError: there has been none.
        """
        if self._process is None:
            raise RuntimeError("the server has not been started")
        return self._process.pid

    @property
    def log_file(self) -> Path:
        """
        What all its processes have logged. It goes with the temporary folder.

        :raises RuntimeError: there is none: it has not been started, or has been stopped.
        """
        if self._folder is None:
            raise RuntimeError("the server has no log: it has not been started, or is stopped")
        return self._folder / "server.log"

    def log(self) -> str:
        """What is in `log_file`; nothing where there is none."""
        return "" if self._folder is None else self.log_file.read_text("utf-8", "replace")

    def start(self) -> None:
        """
        Start it, and return when it serves. After `stop` it is a new and empty one.

        :raises NotStarted: it does not come up, as for a wrong option; nothing is left running.
        :raises RuntimeError: it is running.
        """
        if self._runs():
            raise RuntimeError("the server is running")
        first = self._folder is None
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mctwist-"))
        ports_file = self._folder / "ports"
        ports_file.unlink(missing_ok=True)
        try:
            self._launch(self._folder, ports_file)
            self._wait_for(ports_file)
        except BaseException:
            # What an earlier start has led to is kept for a later one.
            if first:
                self.stop()
            else:
                self.kill()
            raise
        _, kind, where = ports_file.read_text().splitlines()[0].split(" ", 2)
        if kind == "unix":
            self.host = where
        else:
            self.host, port = where.rsplit(" ", 1)
            self.port = int(port)

    def restart(self) -> None:
        """End it in order, if it runs, and start it: same port, same values."""
        self._end()
        self.start()

    def kill(self) -> None:
        """kill -9. Its port and its values are kept for the next `start` or `restart`."""
        if self._process is not None and self._runs():
            self._process.kill()
        self._reap()

    def stop(self) -> None:
        """End it and remove its temporary folder. It need not be running."""
        if self._storage is None:
            # There is nothing that it would have to finish.
            self.kill()
        else:
            self._end()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _launch(self, folder: Path, ports_file: Path) -> None:
        storage = folder / "store" if self._storage is None else self._storage
        program = _PROGRAM.format(path=[str(each) for each in sys.path], folder=str(folder))
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", program, "-n", "--pidfile=", "mctwist"),
                    *("--port", str(self.port or -1), "--storage", os.fspath(storage)),
                    *("--sync", self._sync, *self._options, "--ports-file", str(ports_file)),
                ],
                cwd=self._directory,
                # The tether.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is meant for its owner alone.
                start_new_session=True,
            )

    def _wait_for(self, ports_file: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        fault = None
        while fault is None and not ports_file.exists():
            if not self._runs():
                fault = "the server has ended instead of starting"
            elif time.monotonic() > deadline:
                fault = f"the server is not ready after {PATIENCE:g} seconds"
            time.sleep(_GLANCE)
        if fault is not None:
            last = "\n".join(self.log().splitlines()[-_LAST_LINES:])
            raise NotStarted(f"{fault}:\n{last}")

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self) -> None:
        """By SIGTERM, and wait; if that takes too long, by kill -9."""
        if self._process is not None and self._runs():
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(PATIENCE)
            if self._process.stdin is not None:
                self._process.stdin.close()
