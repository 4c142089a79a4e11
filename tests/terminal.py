"""
A program at a pseudo-terminal, as people have it: it reads keys, knows how large the terminal is,
and gets the signals that keys make.

pexpect reads what it shows. It does not start it: in a process with threads, as this one has them,
it may not fork.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from typing import Optional

import pexpect  # type: ignore[import-untyped]  # it has no types
import pexpect.fdpexpect  # type: ignore[import-untyped]

from tests.processes import PATIENCE, ROOT

# Makes its own input the terminal that governs it, and becomes the program.
_LOGIN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); " + (
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """
    A terminal, and `python -m mctwist.shell` at it. As a context manager it is not left running.

    :ivar shown: what reads it, of pexpect's.
    """

    def __init__(
        self,
        *arguments: str,
        rows: int = 40,
        columns: int = 100,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(rows, columns)
        program: Sequence[str] = (sys.executable, "-m", "mctwist.shell", *arguments)
        words = {"TERM": "xterm", "LANG": "C.UTF-8", "PYTHONUTF8": "1", **(environment or {})}
        kept = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *program],
            cwd=ROOT,
            env={**kept, **words},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        self._theirs = theirs
        self.shown = pexpect.fdpexpect.fdspawn(self._ours, timeout=PATIENCE, encoding="utf-8")

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._theirs)
        os.close(self._ours)

    def resize(self, rows: int, columns: int) -> None:
        """Be of another size, of which the program is told."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def expect(self, pattern: str) -> str:
        """Wait until it shows that; all it has shown up to there, without its styles."""
        self.shown.expect(pattern)
        return _STYLE.sub("", self.shown.before + self.shown.after)

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        return self.process.wait(PATIENCE)

    def echoes(self) -> bool:
        """Whether it is as it was before: keys are shown, and come a line at a time."""
        flags: int = termios.tcgetattr(self._theirs)[3]
        return bool(flags & termios.ECHO and flags & termios.ICANON)
