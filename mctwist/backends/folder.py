"""
The directory a store lives in: whose it is, what is in it, and whether it can be trusted.

Small files beside the data:

- `lock` is held with flock for as long as the store is open, and carries the holder's process
  id. This is the guard against a second server; a pid file is not.
- `mctwist` names the kind of store and the version of its format. A directory that holds
  something else is not ours, and nothing in it is touched. While a store is being made it says
  `new` as well: found so, the making was cut short, and is begun again.
- `unsynced` exists while the store is open with `--sync never`, and carries the boot id of the
  machine. Found at open with another boot id, it says that the machine went down with writes in
  its cache: the store is set aside whole, and the server starts empty.
- `stopped` is there while the store is closed whole, and says when that was; for people.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from time import strftime, time
from typing import Optional

from mctwist.interfaces import StartError

_LOCK, _IDENTITY, _UNSYNCED, _STOPPED = "lock", "mctwist", "unsynced", "stopped"
#: What there is, and no name of a kind, while a store that is restored is half there.
RESTORING = "restoring"
#: What may lie in a directory that is still to be ours.
_NOBODYS = {_LOCK, f"{_IDENTITY}.new", "lost+found"}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class InUse(StartError):
    """Somebody else has the store open."""


class Folder:
    """
    The directory at `path`, for a store of `kind` in format `version`.

    :ivar new: the store is still to be made; whoever makes it calls `made` when it is synced.
    :ivar last_clean_stop: seconds since the epoch; 0: the store is new, or was not closed whole.
    :ivar set_aside: where an untrusted store was moved by `take`; None: nothing was.
    """

    def __init__(self, path: str, kind: str, version: int, boot_id: Path = _BOOT_ID) -> None:
        self.path = Path(path).absolute()
        self.new = False
        self.set_aside: Optional[Path] = None
        self.last_clean_stop = 0
        self._kind = kind
        self._version = version
        self._boot_id = boot_id
        self._lock: Optional[int] = None

    def take(self, unsynced: bool) -> None:
        """
        Lock the directory, making it if need be, and check that it is ours to use.

        :param unsynced: nothing will be synced: mark the store as one not to be trusted after
            the machine has gone down.
        :raises StartError: one line that says what is wrong.
        """
        self.set_aside = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign()
            self._hold()
            if self.went_down:
                self._move_aside()
            self.last_clean_stop = self._take_stop()
            self.new = self._identity() in (None, self._name(new=True))
            if self.new:
                self._write(_IDENTITY, self._name(new=True))
            if unsynced:
                self._write(_UNSYNCED, self._this_boot())
            elif (self.path / _UNSYNCED).exists():
                # Killed, and now to be trusted: what was not synced then is synced here.
                os.sync()
                (self.path / _UNSYNCED).unlink()
                self.sync()
        except OSError as fault:
            self.release()
            raise StartError(
                f"cannot use {self.path} as the store: {fault.strerror or fault}"
            ) from None
        except StartError:
            self.release()
            raise

    def hold(self, empty: bool = False) -> None:
        """
        Lock a store that is there, and change nothing else.

        :param empty: it is still to be made, by whoever holds it.
        :raises StartError: one line that says what is wrong; `InUse`: somebody else holds it.
        """
        try:
            if not empty:
                if self._identity() is None:
                    if self.path.is_dir():
                        self._refuse_half()
                    raise StartError(f"there is no mctwist store in {self.path}")
                self._refuse_foreign()
                if self._identity() == self._name(new=True):
                    raise StartError(f"{self.path} was never finished: there is nothing in it")
            self._hold()
        except OSError as fault:
            raise StartError(f"cannot use {self.path}: {fault.strerror or fault}") from None

    def made(self) -> None:
        """What makes up a new store is there, and synced."""
        self.sync()
        self._write(_IDENTITY, self._name(new=False))
        self.new = False

    def leave(self) -> None:
        """The store has been closed whole and synced: trust it next time."""
        if self._lock is not None:
            (self.path / _UNSYNCED).unlink(missing_ok=True)
            with suppress(OSError):
                (self.path / _STOPPED).write_text(f"{int(time())}\n")
            self.release()

    @property
    def notice(self) -> Optional[str]:
        """What people must be told of the last `take`, if anything."""
        if self.set_aside is None:
            return None
        return (
            f"the machine went down while {self.path} was open with --sync never: "
            f"its files have been moved to {self.set_aside}, and the store is empty"
        )

    def release(self) -> None:
        """Give up the lock, and nothing else."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def sync(self, path: Optional[Path] = None) -> None:
        """Make the names in the directory (or in `path`) durable."""
        sync_directory(path or self.path)

    def _names(self) -> "set[str]":
        return {entry.name for entry in self.path.iterdir()} - _NOBODYS

    def _refuse_foreign(self) -> None:
        names = self._names()
        if not names:
            return
        self._refuse_half()
        if _IDENTITY not in names:
            raise StartError(
                f"{self.path} is not empty and is not a mctwist store: name another directory"
            )
        kind, version, *_ = ((self._identity() or "") + " ? ?").split()
        if kind != self._kind:
            raise StartError(f"{self.path} is a {kind} store: use --storage {kind}:{self.path}")
        if version != str(self._version):
            raise StartError(
                f"{self.path} has format {version}, and this mctwist knows {self._version}: "
                "use the mctwist that wrote it"
            )

    def _refuse_half(self) -> None:
        begun = (self.path / RESTORING / _IDENTITY).exists() or self._names() == {RESTORING}
        if begun and self._identity() is None:
            raise StartError(
                f"a restore into {self.path} has not come to its end: wait for it, "
                "or run `mctwist restore` again"
            )

    def _take_stop(self) -> int:
        try:
            text = (self.path / _STOPPED).read_text()
            (self.path / _STOPPED).unlink()
        except (OSError, UnicodeDecodeError):
            return 0
        return int(text) if text.strip().isdecimal() else 0

    def _identity(self) -> Optional[str]:
        try:
            return (self.path / _IDENTITY).read_text()
        except FileNotFoundError:
            return None

    def _name(self, new: bool) -> str:
        return f"{self._kind} {self._version}{' new' if new else ''}\n"

    def _hold(self) -> None:
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            holder = os.read(lock, 32).decode("ascii", "replace").strip()
            os.close(lock)
            if fault.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise InUse(
                f"the store {self.path} is in use by process {holder or 'unknown'}: "
                "stop that server or name another store"
            ) from None
        if not os.path.samestat(os.fstat(lock), os.stat(self.path / _LOCK)):
            os.close(lock)
            raise StartError(f"the store {self.path} is being replaced: try again")
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        self._lock = lock

    @property
    def went_down(self) -> bool:
        """Whether the machine has, while the store was open with nothing synced."""
        try:
            return (self.path / _UNSYNCED).read_text() != self._this_boot()
        except FileNotFoundError:
            return False

    def _this_boot(self) -> str:
        return self._boot_id.read_text()

    def _move_aside(self) -> None:
        aside = self.path.with_name(f"{self.path.name}.untrusted-{strftime('%Y%m%d-%H%M%S')}")
        aside.mkdir()
        # The marker and the name go last: until then a start that is cut short is repeated.
        last = [_UNSYNCED, _IDENTITY]
        names = [entry.name for entry in self.path.iterdir() if entry.name not in _NOBODYS]
        for name in sorted(names, key=lambda name: last.index(name) if name in last else -1):
            (self.path / name).rename(aside / name)
        sync_directory(aside)
        self.sync()
        self.set_aside = aside

    def _write(self, name: str, text: str) -> None:
        # Whole or not at all: half of one would be taken for another's.
        partial = self.path / f"{name}.new"
        with open(partial, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)
        self.sync()


def kind_of(path: Path) -> Optional[str]:
    """The kind of the store in the directory `path`; None: there is none."""
    try:
        words = (path / _IDENTITY).read_text().split()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return None
    return words[0] if words else None


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
