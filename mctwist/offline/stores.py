"""
What a directory holds, as a command line names it, and its lock.

The rule: nobody but the holder of the lock changes anything in a store, and whoever reads one
without it is prepared for a server at work.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import strftime
from typing import NamedTuple

import lmdb

from mctwist.backends import directory
from mctwist.backends import folder as folders
from mctwist.backends.folder import Folder, kind_of, sync_directory
from mctwist.backends.lmdb import FORMAT
from mctwist.backends.tables import finds_no_room
from mctwist.interfaces import StartError

LMDB, DIRECTORY = "lmdb", "directory"

#: The kinds of store that are in a directory, with the version of their format.
FORMATS = {LMDB: FORMAT, DIRECTORY: directory.FORMAT}

#: What a store holds that is of the moment: who has it open.
PASSING = {"lock", "lock.mdb", "unsynced", "stopped"}


class OfflineError(Exception):
    """It cannot be done. Its text is one line for people."""


class InUse(OfflineError):
    """Somebody else has the store open."""


class Store(NamedTuple):
    """A store of a kind, which need not be there yet."""

    kind: str
    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def folder(self) -> Folder:
        return Folder(str(self.path), self.kind, FORMATS[self.kind])


def named(text: str, kind: str = LMDB) -> Store:
    """
    The store that `text` names: KIND:PATH, as the server takes it, or a path.

    :param kind: of one that is not there yet, if `text` does not say.
    :raises OfflineError: there are no files in such a store.
    """
    head, _, rest = text.partition(":")
    if head in FORMATS and rest:
        return Store(head, Path(rest).absolute())
    if head == "memory":
        raise OfflineError("a memory store has no files")
    path = Path(text).absolute()
    try:
        found = kind_of(path)
    except OSError as fault:
        raise OfflineError(f"{path}: {fault.strerror}") from None
    if found is not None and found not in FORMATS:
        raise OfflineError(f"{path} is a store of a kind that this mctwist does not know")
    return Store(found or kind, path)


@contextmanager
def told(path: Path) -> "Iterator[None]":
    """Say what the system has refused, to whoever writes into the directory `path`."""
    try:
        yield
    except shutil.Error as fault:
        # Of a tree: of all the files that could not be copied the first.
        raise OfflineError(fault.args[0][0][2]) from None
    except OSError as fault:
        # Where there is no room the system names what was to be copied there.
        where = path if finds_no_room(fault) else fault.filename or path
        raise OfflineError(f"{where}: {fault.strerror or fault}") from None
    except lmdb.Error as fault:
        raise OfflineError(f"{path}: {fault}") from None


@contextmanager
def held(store: Store, empty: bool = False) -> "Iterator[None]":
    """
    Hold the lock of a store that is there.

    :param empty: it is still to be made.
    :raises OfflineError: there is none; `InUse`: somebody else has it open.
    """
    folder = store.folder()
    try:
        read_only = store.path.is_dir() and os.statvfs(store.path).f_flag & os.ST_RDONLY
        if not read_only:
            folder.hold(empty)
    except folders.InUse as fault:
        raise InUse(str(fault)) from None
    except StartError as fault:
        raise OfflineError(str(fault)) from None
    except OSError as fault:
        raise OfflineError(f"{store}: {fault.strerror}") from None
    if read_only:
        with _shared(store):
            yield
        return
    try:
        give_to_owner(store.path / "lock", store.path)
        yield
    finally:
        folder.release()


@contextmanager
def _shared(store: Store) -> "Iterator[None]":
    """
    Keep servers out of a store that cannot be written to here. It may be elsewhere: the same
    directory is mounted there in another way. What is read of LMDB's tables then is not safe from
    their server, which can be told only by a lock that is written to.
    """
    try:
        lock = os.open(store.path / "lock", os.O_RDONLY)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise OfflineError(
            f"the store {store} is in use, and cannot be written to here: "
            "stop its server, or do this where it can be"
        ) from None
    try:
        yield
    finally:
        os.close(lock)


def refuse_untrusted(store: Store) -> None:
    """Raises OfflineError for a store whose machine went down while nothing of it was synced."""
    with told(store.path):
        went_down = store.folder().went_down
    if went_down:
        raise OfflineError(
            f"the machine went down while {store} was open with --sync never: "
            "mctwist check --repair takes what is left of it for a store"
        )


def dated(path: Path) -> Path:
    """`path` with the time added to its name, and a number if something has that."""
    name = f"{path.name}-{strftime('%Y%m%d-%H%M%S')}"
    found, number = path.with_name(name), 1
    while found.exists():
        number += 1
        found = path.with_name(f"{name}-{number}")
    return found


def give_to_owner(path: Path, of: Path) -> None:
    """What root makes in a store is the server's, who may be somebody else."""
    if os.geteuid() == 0:
        status = of.stat()
        for each in (path, *(path.rglob("*") if path.is_dir() else ())):
            os.chown(each, status.st_uid, status.st_gid, follow_symlinks=False)


def sync_tree(path: Path) -> None:
    """Make durable all that is in the directory `path`, and itself."""
    for folder, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(folder))
