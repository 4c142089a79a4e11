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
renamed. While tables are being copied the server cannot use again the pages of the snapshot.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Optional

import lmdb

from mctwist.backends import directory
from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.folder import sync_directory
from mctwist.backends.journal import journals, number_of
from mctwist.backends.lmdb import DEFAULT_LIMIT, LMDBBackend
from mctwist.backends.reading import Reading
from mctwist.backends.state import State
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
    sync_tree,
)

#: Seconds for which a snapshot is tried, and between two attempts.
PATIENCE, PAUSE = 60.0, 0.02

#: Where a store is put together before it is restored.
WORKSHOP = "restoring"

# What a journal begins with: the length and the checksum of its first frame, and a state.
_BEGINNING = 12 + State.SIZE
_IDENTITY = "mctwist"


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
        if not shared and store.folder().went_down:
            raise OfflineError(
                f"the machine went down while {store} was open with --sync never: "
                "mctwist check --repair takes what is left of it for a store"
            )
        partial = destination.with_name(f"{destination.name}.partial-{os.getpid()}")
        with _put_together(partial):
            attempts, breaks = _copy(store, partial, shared)
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
    try:
        path.mkdir(parents=True)
        yield
    except OSError as fault:
        raise OfflineError(f"{fault.filename or path}: {fault.strerror}") from None
    finally:
        shutil.rmtree(path, ignore_errors=True)


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
        raise OfflineError(f"{source} cannot be copied: {fault}; see mctwist check") from None
    except OSError as fault:
        raise OfflineError(f"{fault.filename or new}: {fault.strerror}") from None


def _take(source: Path, copy: Path, shared: bool) -> bool:
    """One attempt; whether it has been one of a single moment."""
    data = source / "data.mdb"
    before = os.stat(data).st_ino
    if shared and not (source / "lock.mdb").exists():
        # The server is about to make it, as its own.
        return False
    with Reading(source, shared) as reading:
        read = _read_journals(source, copy, reading.first_journal())
        same = all(_is_as_it_was(path, inode, began) for path, inode, began in read or ())
        if read is None or not same or not reading.is_newest():
            for path in journals(copy):
                path.unlink()
            return False
        if os.stat(data).st_ino != before:
            return False
        reading.copy(copy)
    return True


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
    :raises OfflineError: nothing has changed.
    """
    with ExitStack() as stack:
        if source.path.resolve() == destination.path.resolve():
            raise OfflineError(f"{source} is where it is to be restored")
        stack.enter_context(held(source))
        report = check(source, progress)
        if not report.whole:
            raise OfflineError(
                f"{source} is damaged ({', '.join(report.damage)}): "
                "mctwist check --repair makes it whole"
            )
        old = _look_at(destination, force)
        try:
            destination.path.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OfflineError(f"{destination}: {fault.strerror}") from None
        stack.enter_context(held(destination, empty=not old))
        workshop = destination.path / WORKSHOP
        shutil.rmtree(workshop, ignore_errors=True)
        with _put_together(workshop):
            new = workshop / "new"
            new.mkdir()
            attempts, _ = _copy(source, new, shared=False)
            (new / _IDENTITY).unlink()
            _tidy(new)
            size = _size_of(new)
            aside = None
            if old:
                aside = dated(destination.path / "replaced")
                aside.mkdir()
            if source.kind == LMDB:
                if old:
                    raise_numbers(new, _last_number(destination))
                replace_tables(destination.path, new, aside)
            else:
                _replace_files(destination.path, new, aside)
            give_to_owner(destination.path, destination.path)
            if not old:
                destination.folder().made()
        report = check(destination, progress)
    if not report.whole:
        raise OfflineError(f"{destination} is damaged after all ({', '.join(report.damage)})")
    return Copied(report, size, attempts, aside)


def _look_at(destination: Store, force: bool) -> bool:
    """Whether there is a store to be replaced. Raises OfflineError where nothing may be."""
    try:
        names = set(os.listdir(destination.path)) - PASSING - {"lost+found"}
    except FileNotFoundError:
        return False
    except OSError as fault:
        raise OfflineError(f"{destination}: {fault.strerror}") from None
    if not names or (WORKSHOP in names and _IDENTITY not in names):
        # The second is a restore that was cut short.
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


def _replace_files(path: Path, new: Path, aside: Optional[Path]) -> None:
    """
    Have the files of a directory store in place of those in `path`. While this is done `path` says
    of itself to be no store, so that nobody serves a half of it.
    """
    names = ("items", "incoming", "state", "journal")
    identity = (path / _IDENTITY).read_bytes() if aside else None
    if aside is not None:
        state = Files(path).state
        keep_aside(path, [_IDENTITY], aside)
        (path / _IDENTITY).unlink()
        sync_directory(path)
        for name in names:
            if (path / name).exists():
                (path / name).rename(aside / name)
        if state is not None:
            restored = directory.state_in(new)
            restored.sequence = max(restored.sequence, state.sequence)
            directory.write_state(new, restored)
    sync_tree(new)
    for name in names:
        if (new / name).exists():
            if (path / name).is_dir():
                shutil.rmtree(path / name)  # a half of what was restored before
            (new / name).rename(path / name)
    (path / "unsynced").unlink(missing_ok=True)
    sync_directory(path)
    if identity is not None:
        (path / f"{_IDENTITY}.new").write_bytes(identity)
        (path / f"{_IDENTITY}.new").rename(path / _IDENTITY)
        sync_directory(path)
