"""
What somebody presses while something else is going on: keys one at a time, without Enter.

Whoever shows a live view waits here, for a key, for the terminal to change its size, for a socket,
or for the time to pass, whichever comes first. The terminal is as it was when it is left.
"""

import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import ExitStack
from typing import Any, Optional

#: What has come, that is no key: the terminal is of another size, or the socket can be read.
RESIZED = "resized"
READY = "ready"

#: Ctrl-Z, which is a key here: a view has to leave the terminal before it is stopped.
SUSPEND = "\x1a"

# Characters that a key sends behind its first: more than there are.
_MOST_OF_A_KEY = 64


def _take_ctrl_z(terminal: int) -> None:
    modes = termios.tcgetattr(terminal)
    modes[6][termios.VSUSP] = bytes([os.fpathconf(terminal, "PC_VDISABLE")])
    termios.tcsetattr(terminal, termios.TCSADRAIN, modes)


class Keyboard:
    """The keyboard, as a context manager. One at a time, in the main thread."""

    def __enter__(self) -> "Keyboard":
        with ExitStack() as undo:
            self._keys: Optional[int] = None
            if sys.stdin.isatty():
                self._keys = sys.stdin.fileno()
                before = termios.tcgetattr(self._keys)
                undo.callback(termios.tcsetattr, self._keys, termios.TCSADRAIN, before)
                tty.setcbreak(self._keys)
                _take_ctrl_z(self._keys)
            # A signal's handler alone would not end the wait.
            self._woken, wake = os.pipe()
            undo.callback(os.close, self._woken)
            undo.callback(os.close, wake)
            os.set_blocking(wake, False)
            undo.callback(
                signal.set_wakeup_fd, signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
            )
            undo.callback(signal.signal, signal.SIGWINCH, signal.getsignal(signal.SIGWINCH))
            signal.signal(signal.SIGWINCH, lambda *_: None)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def wait(self, until: float, sock: Any = None) -> Optional[str]:
        """
        The next key, `RESIZED`, or `READY`; None: nothing of it has come. A key that is no letter
        may be several characters, of which the first is Escape.

        :param until: for which moment of `time.monotonic` it is waited.
        :param sock: a socket that is waited for too.
        """
        asked = [self._woken]
        if self._keys is not None:
            asked.append(self._keys)
        if sock is not None:
            asked.append(sock)
        ready, _, _ = select.select(asked, [], [], max(until - time.monotonic(), 0))
        if self._woken in ready:
            os.read(self._woken, 4096)
            return RESIZED
        if self._keys in ready:
            return self._key()
        return READY if sock in ready else None

    def _key(self) -> str:
        assert self._keys is not None
        pressed = os.read(self._keys, 1)
        if not pressed:
            # Nobody is there any more.
            self._keys = None
        elif pressed == b"\x1b" and select.select([self._keys], [], [], 0)[0]:
            # What an arrow sends comes at once, Escape by itself comes alone.
            pressed += os.read(self._keys, _MOST_OF_A_KEY)
        return pressed.decode(errors="replace")
