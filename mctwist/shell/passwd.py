"""
`mctwist passwd`: the users of an auth file, one at a time.

The rule: whoever reads the file meanwhile finds the old one or the new one, whole, and so does
whoever starts the machine again after a power cut: it is written beside the old one, synced, and
renamed. What is not this user's line is kept byte for byte.
"""

import fcntl
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

import click

from mctwist import passwords
from mctwist.passwords import MOST_PASSWORD, PasswordsError, User


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.argument("user")
@click.option("--read-only", is_flag=True, help="The user may not write.")
@click.option("--prefix", metavar="P", help="The user may only reach keys that begin with P.")
@click.option("--delete", is_flag=True, help="Remove the user.")
def passwd(file: str, user: str, read_only: bool, prefix: Optional[str], delete: bool) -> None:
    """
    Add USER to the auth file FILE, or give USER another password.

    The password is asked for twice, or is one line of the input where that is no terminal. What
    USER may do stays as it was but for the options given; to have it back, remove USER and add
    it again. A running server takes the file anew on SIGHUP.
    """
    if delete and (read_only or prefix is not None):
        raise click.UsageError("--delete stands alone")
    name = os.fsencode(user)
    path = Path(os.path.realpath(file))
    with _told("USER"):
        passwords.check_name(name)
    with _told("--prefix"):
        if prefix is not None:
            passwords.check_prefix(os.fsencode(prefix))
    with _told(file):
        # What is wrong with the file is said before a password is asked for.
        known = name in passwords.parse(_read(path))
    secret = b"" if delete else _ask()

    def changed(old: Optional[User]) -> Optional[User]:
        if delete:
            if old is None:
                raise PasswordsError(f"there is no user {user}")
            return None
        old = old or User(name, b"")
        kept = old.prefix if prefix is None else os.fsencode(prefix)
        return User(name, passwords.hash_password(secret), read_only or old.read_only, kept)

    with _told(file):
        _edit(path, name, changed)
    done = "removed" if delete else "changed" if known else "added"
    click.echo(f"{user}: {done}", err=True)


def _ask() -> bytes:
    if sys.stdin.isatty():
        password = os.fsencode(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        line = sys.stdin.buffer.readline(MOST_PASSWORD + len(b"?\r\n"))
        password = line.removesuffix(b"\n").removesuffix(b"\r")
    with _told("the password"):
        passwords.check_password(password)
    return password


@contextmanager
def _told(what: str) -> "Iterator[None]":
    """Tell in one line what is wrong with `what`, and end."""
    try:
        yield
    except PasswordsError as fault:
        raise click.ClickException(f"{what}: {fault}") from None
    except OSError as fault:
        raise click.ClickException(f"{what}: {fault.strerror or fault}") from None


def _read(path: Path) -> bytes:
    try:
        return passwords.read(str(path))
    except FileNotFoundError:
        return b""


def _edit(path: Path, name: bytes, change: "Callable[[Optional[User]], Optional[User]]") -> None:
    """
    Have the line of `name` be what `change` makes of the user of that name; None: no line.

    :raises PasswordsError: the file is wrong, or would be.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Two who change the file at the same time would take back each other's change.
        fcntl.flock(directory, fcntl.LOCK_EX)
        old = _read(path)
        new = passwords.replace(old, name, change(passwords.parse(old).get(name)))
        passwords.parse(new)
        _write(path, new)
        os.fsync(directory)
    finally:
        os.close(directory)


def _write(path: Path, text: bytes) -> None:
    if len(text) > passwords.MOST_BYTES:
        raise PasswordsError("the file would be too long: remove some users")
    before = _status(path)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            if before is not None:
                _be_like(descriptor, before)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _status(path: Path) -> Optional[os.stat_result]:
    return path.stat() if path.exists() else None


def _be_like(descriptor: int, before: os.stat_result) -> None:
    """Give a new file the owner and the mode of the old one; mkstemp's mode is 600."""
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except PermissionError:
            raise PasswordsError("it is somebody else's: run this as its owner") from None
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
