"""
Work in a process of its own: what reads a file that LMDB may not survive.

A task is a function that yields messages. Its process is a Python of its own, not a fork, and
says them by a pipe; the last says that it has come to its end. One that ends without has died of
what it has read: the rule is that this is a `Died` for whoever asked, and nothing worse.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import suppress
from traceback import format_exc
from typing import Any

from mctwist.offline.stores import OfflineError

_MESSAGE, _FAULT, _ERROR, _END = range(4)


class Died(Exception):
    """The process has ended before its work was done."""


def run(task: str, *arguments: Any) -> "Generator[Any, None, None]":
    """
    The messages of a task, as they come. Who wants no more of them closes this.

    :param task: of the table in `mctwist.offline.__main__`.
    :raises Died: it ended without being done. :raises OfflineError: as the task has.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mctwist.offline", task],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        try:
            pickle.dump(arguments, process.stdin)
            process.stdin.close()
            while True:
                kind, content = pickle.load(process.stdout)
                if kind == _END:
                    return
                if kind == _FAULT:
                    raise OfflineError(content)
                if kind == _ERROR:
                    raise RuntimeError(content)
                yield content
        except (EOFError, pickle.UnpicklingError, BrokenPipeError):
            raise Died(_said(process.wait())) from None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _said(status: int) -> str:
    if status < 0:
        return f"the process that read it was ended by {signal.Signals(-status).name}"
    return f"the process that read it ended with status {status}"


def serve(tasks: "dict[str, Any]", name: str) -> None:
    """Be the process: do the task of that name, with the arguments that are on stdin."""
    # Who has started it ends it. What the terminal sends goes to both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arguments = pickle.load(sys.stdin.buffer)
    try:
        messages: Iterable[Any] = tasks[name](*arguments)
        for message in messages:
            _say(_MESSAGE, message)
    except OfflineError as fault:
        _say(_FAULT, str(fault))
    except Exception:
        # Whatever it is, whoever has asked is the one to raise it: here nobody hears.
        _say(_ERROR, format_exc())
    else:
        _say(_END, None)


def _say(kind: int, content: Any) -> None:
    # At once: what is said before it dies is heard.
    pickle.dump((kind, content), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()
