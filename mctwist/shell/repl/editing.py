"""
A value in an editor.

The rule: what was not changed is not sent, and what somebody else has changed meanwhile is not
written over: the new value goes by cas, or by add where there was none, and what was written is
kept where it could not be stored.
"""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mctwist.shell.repl import answers
from mctwist.shell.repl.answers import Refused
from mctwist.shell.repl.commands import Call, Wrong, plain
from mctwist.shell.repl.session import Session
from mctwist.shell.repl.ttl import left_of
from mctwist.shell.repl.values import kind_of
from mctwist.shell.repl.wire import Trouble


def edit(session: Session, call: Call) -> None:
    """
    `set KEY --edit`.

    :raises Wrong: there is no editor, or it has failed.
    """
    key = plain(call.data[0])
    found = session.ask([b"gets", key], answers.values, again=True)
    old = found[0].value or b"" if found else b""
    flags = call.options.get("flags", found[0].flags if found else 0)
    ttl = call.options.get("ttl")
    if ttl is None:
        ttl = max(left_of(session, key) or 0, 0) if found else 0
    path = _file_of(old)
    try:
        new = _edited(path, old)
    except BaseException:
        _remove(path)
        raise
    if new == old and found:
        _remove(path)
        session.screen.note("nothing is changed, and nothing is sent")
        return
    words = [key, b"%d" % flags, b"%d" % ttl, b"%d" % len(new)]
    words = [b"cas", *words, b"%d" % (found[0].cas or 0)] if found else [b"add", *words]
    try:
        answer = session.ask(words, answers.line, new)
    except (Trouble, Refused):
        session.screen.note(f"what you wrote is in {path}")
        raise
    if answer != b"STORED":
        raise Wrong(
            f"{answer.decode(errors='replace')}: somebody has changed it meanwhile; "
            f"what you wrote is in {path}"
        )
    _remove(path)
    session.see([key])
    session.screen.answer("STORED")


def _file_of(value: bytes) -> Path:
    ending = ".json" if value and kind_of(value) == "json" else ".txt"
    # In a folder of its own, so that an editor's copies of it go as well; both are for us alone.
    path = Path(tempfile.mkdtemp(prefix="mctwist-")) / f"value{ending}"
    path.touch(0o600)
    path.write_bytes(value)
    return path


def _remove(path: Path) -> None:
    with suppress(OSError):
        for each in path.parent.iterdir():
            each.unlink()
        path.parent.rmdir()


@contextmanager
def _deaf() -> "Iterator[None]":
    """Ctrl-C is a key of the editor's here: it neither ends it nor what it is for."""
    # Not SIG_IGN, which the editor would inherit.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _edited(path: Path, old: bytes) -> bytes:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        with _deaf():
            status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
        new = path.read_bytes()
    except (OSError, ValueError) as fault:
        raise Wrong(f"{editor}: {getattr(fault, 'strerror', None) or fault}") from None
    if status != 0:
        raise Wrong(f"{editor} ends with status {status}: nothing is sent")
    # Most editors end the last line, whether it was ended or not.
    if new.endswith(b"\n") and not old.endswith(b"\n"):
        new = new[:-1]
    return new
