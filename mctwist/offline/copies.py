"""
Backup and restore: a copy of a store, made beside a server at work, and put back.

A store is its tables and the journals before them, and a server changes both while they are read:
batches are appended to the last journal; a checkpoint writes what the older ones hold to the
tables, in several transactions, and then removes them; on a full disk it empties a journal in its
place. What makes a copy of it a state that the store has been in:

1. A snapshot of the tables is taken: as of transaction N.
2. All journals that are there now are read, the oldest first.
3. The journals are looked at again: each is still there, and begins as it did; and no transaction
   but N has been written meanwhile. If not, all is done again.
4. The tables are copied, from the snapshot, with the journals beside.

Every batch that was acknowledged before 1 is in the copy: it was in a journal then, or in the
tables by a checkpoint whose last transaction was N or earlier, for a journal goes only after the
transaction that makes it needless. The copy is of one moment: what is read of a journal is all of
it up to some batch, for batches are appended, and one that is half there ends it; of the journals
only the last is appended to; and the tables hold nothing that is later than what was read, for all
that N knew was in a journal before it was in them. A part of a checkpoint in the tables does no
harm: the journals, which hold whole records, are replayed over it from their beginning. That is
why one must not be missed, or have been emptied after a part of it had been read: its first
batches alone, over tables that know them all, would undo the others; so 3 looks for both. An
emptied journal never begins as it did: a state holds its sequence number and its counts, and one
of them is another after every batch.

A batch that was being written may be in the copy although its sync has failed, and whoever asked
for it was told so; as after a crash.

The copy is then opened, which replays the journals and removes them, closed, verified, synced, and
renamed. While tables are being copied the server cannot use again the pages of the snapshot. It
knows of the snapshot by LMDB's lock; so when that is another file after the copy, because the
tables have been replaced and opened meanwhile, all is done again as well.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple, Optional

import lmdb

from mctwist.backends import directory
from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.folder import RESTORING, sync_directory
from mctwist.backends.journal import journals, number_of
from mctwist.backends.lmdb import DEFAULT_LIMIT, LMDBBackend
from mctwist.backends.reading import Reading
from mctwist.backends.state import State
from mctwist.backends.tables import finds_no_room
from mctwist.interfaces import StartError
from mctwist.item import DamagedRecord
from mctwist.offline.check import Progress, check, nobody
from mctwist.offline.directories import Files
from mctwist.offline.journalled import Journalled
from mctwist.offline.process import Died, run
from mctwist.offline.replace import keep_aside, raise_numbers, replace_tables
from mctwist.offline.report import Report
from mctwist.offline.stores import (
    DIRECTORY,
    LMDB,
    PASSING,
    InUse,
    OfflineError,
    Store,
    dated,
    give_to_owner,
    held,
    refuse_untrusted,
    sync_tree,
    told,
)

#: Seconds for which a snapshot is tried, and between two attempts.
PATIENCE, PAUSE = 60.0, 0.02

#: Where a store is put together before it is restored.
WORKSHOP = RESTORING

# What a journal begins with: the length and the checksum of its first frame, and a state.
_BEGINNING = 12 + State.SIZE
_IDENTITY = "mctwist"
_PARTIAL = ".partial-"


class Copied(NamedTuple):
    """
    :ivar report: of the copy.
    :ivar size: bytes of its files.
    :ivar attempts: how often a snapshot was tried.
    :ivar aside: what a restored store has replaced; None: nothing.
    """

    report: Report
    size: int
    attempts: int
    aside: Optional[Path] = None


# Backup


def back_up(
    store: Store, destination: Path, even_damaged: bool = False, progress: Progress = nobody
) -> Copied:
    """
    Make `destination`, a store of its own, of what `store` holds now.

    :param even_damaged: make it also when there is damage in it.
    :raises OfflineError: there is no copy.
    """
    destination = destination.absolute()
    if os.path.lexists(destination):
        raise OfflineError(f"{destination} is there already")
    with ExitStack() as stack:
        shared = False
        try:
            stack.enter_context(held(store))
        except InUse:
            if store.kind == DIRECTORY:
                raise
            shared = True
        if not shared:
            refuse_untrusted(store)
        partial = destination.with_name(f"{destination.name}{_PARTIAL}{os.getpid()}")
        _clear_away(destination)
        with _put_together(partial):
            attempts, breaks = _copy(store, partial, shared)
            # A server may have it again.
            stack.close()
            report = check(Store(store.kind, partial), progress)
            for place in breaks:
                report.found("journal", place)
            if not (report.whole or even_damaged):
                raise OfflineError(
                    f"{store} is damaged ({', '.join(report.damage)}), and so would be its copy: "
                    "see mctwist check; --even-damaged makes it all the same"
                )
            report.path = str(destination)
            _tidy(partial)
            give_to_owner(partial, store.path)
            sync_tree(partial)
            partial.rename(destination)
            sync_directory(destination.parent)
    return Copied(report, _size_of(destination), attempts)


@contextmanager
def _put_together(path: Path) -> "Iterator[None]":
    """A directory that is being filled, and gone if that comes to nothing."""
    with told(path):
        path.mkdir(parents=True)
        try:
            with _open(path) as descriptor:
                with suppress(OSError):  # not everywhere can directories be locked
                    _lock(descriptor)
                yield
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _clear_away(destination: Path) -> None:
    """Remove what backups to `destination` have left that were killed: nobody has it locked."""
    for path in destination.parent.glob(f"{escape(destination.name)}{_PARTIAL}*"):
        with suppress(OSError), _open(path) as descriptor:
            _lock(descriptor)
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _open(path: Path) -> "Iterator[int]":
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises OSError: somebody else has it locked."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _copy(store: Store, new: Path, shared: bool) -> "tuple[int, list[str]]":
    """Fill the directory `new`; how often it was tried, and where journals are broken."""
    shutil.copyfile(store.path / _IDENTITY, new / _IDENTITY)
    if store.kind == DIRECTORY:
        _copy_files(store.path, new)
        return 1, []
    try:
        with closing(run("snapshot", str(store.path), str(new), shared)) as messages:
            *_, (attempts, breaks) = messages
    except Died as fault:
        raise OfflineError(f"{store} cannot be copied: {fault}; see mctwist check") from None
    return attempts, breaks


def _copy_files(path: Path, new: Path) -> None:
    for name in ("items", "incoming"):
        shutil.copytree(path / name, new / name)
    for name in ("journal", "state"):
        with suppress(FileNotFoundError):
            shutil.copyfile(path / name, new / name)
    _settle(DirectoryBackend(str(new), "never"))


def _settle(backend: Any) -> None:
    """Have a store finish what is in its journals."""
    try:
        backend.open()
    except StartError as fault:
        raise OfflineError(str(fault)) from None
    backend.close()


def take_snapshot(path: str, new: str, shared: bool) -> "Iterator[tuple[int, list[str]]]":
    """
    The task of another process: as the theory says, of an LMDB store.

    :return: the number of each attempt, and of the last where journals are broken.
    """
    source, copy = Path(path), Path(new)
    end = time.monotonic() + PATIENCE
    attempt = 0
    try:
        while True:
            attempt += 1
            yield attempt, []
            if _take(source, copy, shared):
                break
            if time.monotonic() > end:
                raise OfflineError(
                    f"{source} changes faster than it can be read: "
                    f"{attempt} attempts in {PATIENCE:g} s"
                )
            time.sleep(PAUSE)
        breaks = Journalled(copy, 0).breaks
        if shared and breaks:
            # In a journal that is being appended to, batches come before what was not there yet.
            last = journals(copy)[-1].name
            breaks = [place for place in breaks if not place.startswith(last)]
        yield attempt, breaks
        limit = max(DEFAULT_LIMIT, 2 * _size_of(copy))
        _settle(LMDBBackend(new, "never", limit))
    except lmdb.Error as fault:
        if finds_no_room(fault):
            raise OfflineError(f"{new}: {fault}") from None
        raise OfflineError(f"{source} cannot be copied: {fault}; see mctwist check") from None
    except OSError as fault:
        raise OfflineError(f"{fault.filename or new}: {fault.strerror}") from None


def _take(source: Path, copy: Path, shared: bool) -> bool:
    """One attempt; whether it has been one of a single moment."""
    # What an attempt before has left is of another moment.
    for path in (*journals(copy), *copy.glob("*.mdb")):
        path.unlink()
    before = _tables_in(source)
    if shared and None in before:
        # The server is about to make them, as its own.
        return False
    with Reading(source, shared) as reading:
        read = _read_journals(source, copy, reading.first_journal())
        same = all(_is_as_it_was(path, inode, began) for path, inode, began in read or ())
        if read is None or not same or not reading.is_newest() or _tables_in(source) != before:
            return False
        reading.copy(copy)
        return _tables_in(source) == before


def _tables_in(source: Path) -> "tuple[Optional[int], Optional[int]]":
    """The inodes of the tables and of LMDB's lock; None: there is none."""
    data, lock = (source / name for name in ("data.mdb", "lock.mdb"))
    return _inode(data), _inode(lock)


def _inode(path: Path) -> Optional[int]:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


_Read = tuple[Path, int, bytes]


def _read_journals(source: Path, copy: Path, first: int) -> "Optional[list[_Read]]":
    """Copy the journals from that number on; None: one has gone meanwhile."""
    read: list[_Read] = []
    for path in journals(source):
        if number_of(path) < first:
            continue
        try:
            with open(path, "rb") as file, open(copy / path.name, "wb") as target:
                began = file.read(_BEGINNING)
                target.write(began)
                shutil.copyfileobj(file, target, 1 << 20)
                read.append((path, os.fstat(file.fileno()).st_ino, began))
        except FileNotFoundError:
            return None
    return read


def _is_as_it_was(path: Path, inode: int, began: bytes) -> bool:
    """Whether the journal is still there, and not emptied; if it was empty, that is the same."""
    try:
        with open(path, "rb") as file:
            same = os.fstat(file.fileno()).st_ino == inode
            return same and (not any(began) or file.read(_BEGINNING) == began)
    except FileNotFoundError:
        return False


def _tidy(path: Path) -> None:
    """Nobody has a copy open."""
    for name in PASSING:
        (path / name).unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


# Restore


def put_back(
    source: Store, destination: Store, force: bool = False, progress: Progress = nobody
) -> Copied:
    """
    Have `destination` hold what `source` does, which stays as it is.

    :param force: there may be a store, which is kept in a directory of its own.
    :raises OfflineError: nothing has changed; or all is there to do it again.
    """
    path = destination.path
    with ExitStack() as stack:
        if source.path.resolve() == path.resolve():
            raise OfflineError(f"{source} is where it is to be restored")
        stack.enter_context(held(source))
        report = check(source, progress)
        if not report.whole:
            raise OfflineError(
                f"{source} is damaged ({', '.join(report.damage)}): "
                "mctwist check --repair makes it whole"
            )
        old = _look_at(destination, force)
        with told(path):
            path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(held(destination, empty=not old))
        if _look_at(destination, force) != old:
            raise OfflineError(f"somebody else has just made or removed {destination}: try again")
        with _workshop(source, path) as workshop:
            new = workshop / "new"
            attempts, _ = _copy(source, new, shared=False)
            report = check(Store(source.kind, new), progress)
            if not report.whole:
                raise OfflineError(
                    f"the copy of {source} is damaged ({', '.join(report.damage)}): "
                    "nothing is changed"
                )
            report.path = str(path)
            _tidy(new)
            (new / _IDENTITY).unlink()
            size = _size_of(new)
            kept = dated(path / "replaced") if old else None
            _replace(destination, workshop, kept)
    return Copied(report, size, attempts, kept)


def _replace(destination: Store, workshop: Path, kept: Optional[Path]) -> None:
    """Have what is in `workshop` in its place; what is there now, if anything, is then `kept`."""
    path, new, aside = destination.path, workshop / "new", workshop / "aside"
    if destination.kind == LMDB:
        if kept is not None:
            raise_numbers(new, _last_number(destination))
        replace_tables(path, new, aside, kept)
    else:
        _replace_files(path, new, aside, kept)
    give_to_owner(path, path)
    (workshop / _IDENTITY).replace(path / _IDENTITY)
    sync_directory(path)


@contextmanager
def _workshop(source: Store, path: Path) -> "Iterator[Path]":
    """
    Where a store is put together for `path`, with room for what was there before, and the file
    that says what store it is, which comes last. Gone at the end, but for when half of the store
    is in its place: who finds it knows by it that a restore is to be done again.
    """
    workshop = path / WORKSHOP
    with told(path):
        try:
            workshop.mkdir(exist_ok=True)
            for name in ("new", "aside"):
                shutil.rmtree(workshop / name, ignore_errors=True)
                (workshop / name).mkdir()
            shutil.copyfile(source.path / _IDENTITY, workshop / _IDENTITY)
            sync_tree(workshop)
            yield workshop
        finally:
            if (path / _IDENTITY).exists() or _names_in(path) == {WORKSHOP}:
                shutil.rmtree(workshop, ignore_errors=True)


def _names_in(path: Path) -> "set[str]":
    """What is there that means anything."""
    return set(os.listdir(path)) - PASSING - {"lost+found"}


def _look_at(destination: Store, force: bool) -> bool:
    """Whether there is a store to be replaced. Raises OfflineError where nothing may be."""
    with told(destination.path):
        try:
            names = _names_in(destination.path)
        except FileNotFoundError:
            return False
    half = _IDENTITY not in names and (destination.path / WORKSHOP / _IDENTITY).exists()
    if half or names <= {WORKSHOP}:
        # A restore was cut short; what was there before is aside already, if there was anything.
        return False
    if _IDENTITY not in names:
        raise OfflineError(f"{destination} is not empty and is not a mctwist store")
    if not force:
        raise OfflineError(f"{destination} holds a store: --force replaces it, and keeps it aside")
    return True


def _last_number(store: Store) -> int:
    """The last sequence number that a store has given out, as far as it can be told."""
    try:
        with closing(run("number", str(store.path))) as messages:
            return max(messages, default=0)
    except (Died, OfflineError):
        return 0


def last_number(path: str) -> "Iterator[int]":
    """The task of another process: the numbers of an LMDB store that may be damaged."""
    try:
        with Reading(Path(path)) as reading:
            journalled = Journalled(Path(path), reading.first_journal()).state
            if journalled is not None:
                yield journalled.sequence
            yield State(reading.state()).sequence
    except (lmdb.Error, OSError, DamagedRecord) as fault:
        raise OfflineError(str(fault)) from None


def _replace_files(path: Path, new: Path, aside: Path, kept: Optional[Path]) -> None:
    """
    As `replace_tables`, of a directory store. While its files are replaced `path` says of itself
    to be no store, so that nobody serves a half of it.
    """
    names = ("items", "incoming", "state", "journal")
    # Also of what was replaced by a restore that was cut short.
    states = (Files(each).state for each in (path, *path.glob("replaced-*")))
    restored = directory.state_in(new)
    restored.sequence = max(state.sequence for state in (restored, *states) if state is not None)
    directory.write_state(new, restored)
    sync_tree(new)
    if kept is not None:
        keep_aside(path, (_IDENTITY, *names), aside, kept)
        (path / _IDENTITY).unlink()
        sync_directory(path)
    for name in names:
        if (path / name).is_dir():
            shutil.rmtree(path / name)
        else:
            (path / name).unlink(missing_ok=True)
        if (new / name).exists():
            (new / name).rename(path / name)
    (path / "unsynced").unlink(missing_ok=True)
    sync_directory(path)
