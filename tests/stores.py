"""Stores on the disk, for the tests of what is done to them without a server."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

import lmdb
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations
from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import LMDBBackend
from mctwist.interfaces import Step
from mctwist.item import KEPT, Item
from mctwist.offline.stores import DIRECTORY, LMDB, Store
from mctwist.shell.__main__ import group
from mctwist.testing import NOW, put, step
from tests.processes import PATIENCE, ROOT, eventually

BACKENDS: "dict[str, Any]" = {LMDB: LMDBBackend, DIRECTORY: DirectoryBackend}

#: Far behind any time at which a test may run.
NEVER = NOW * 100


class StoreCase(SynchronousTestCase):
    """Tests of one store, in a directory of their own."""

    kind = LMDB

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "store"
        self.store = Store(self.kind, self.path)


def command(*arguments: str) -> Result:
    """What becomes of a command."""
    return CliRunner().invoke(group, arguments)


def started(*arguments: str) -> "subprocess.Popen[bytes]":
    """A command as a process, as at a prompt: to a job in the background Ctrl-C is nothing."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "mctwist.shell", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kill_when(process: "subprocess.Popen[bytes]", path: Path, pattern: str) -> None:
    """kill -9 a process as soon as there is such a file below `path`, or it has ended."""
    eventually(lambda: any(path.glob(pattern)) or process.poll() is not None, pattern)
    process.kill()
    process.communicate(timeout=PATIENCE)


def stop(process: "subprocess.Popen[bytes]", number: "signal.Signals") -> None:
    """Have a command end by a signal, as a shell expects it: without a word."""
    process.send_signal(number)
    said = b"".join(process.communicate(timeout=PATIENCE))
    assert (said.strip(), process.returncode) == (b"", 128 + number), (said, process.returncode)


def killed_at(change: int, work: "Callable[[], object]") -> bool:
    """
    Do `work` in a process that is killed before it changes the names in a directory for that
    time; whether it came to that.
    """
    child = os.fork()
    if not child:
        left = change

        def before(event: str, arguments: "tuple[object, ...]") -> None:
            nonlocal left
            if event in ("os.link", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(before)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def various(number: int) -> "list[Step]":
    """Items of all sorts: flags, expiry, marks, long values; so many of each."""
    return [
        made
        for each in range(number)
        for made in (
            put(b"plain:%04d" % each, b"value %d" % each),
            step(operations.store, b"flags:%04d" % each, b"f" * 50, each + 1, 0, 0),
            step(operations.store, b"expires:%04d" % each, b"e", 0, NEVER + each, 0),
            step(operations.store, b"kept \xff%04d" % each, b"k", 7, 0, KEPT),
            put(b"long:%04d" % each, b"%d" % each * 1500),
        )
    ]


def fill(store: Store, steps: "list[Step]", closes: bool = True, **options: Any) -> None:
    """Have a store perform steps; and leave it as a kill does, if it is not closed."""
    backend = BACKENDS[store.kind](str(store.path), "never", **options)
    backend.open()
    for start in range(0, len(steps), 100):
        backend.perform([steps[start : start + 100]], NOW)
    if closes:
        backend.close()
    elif store.kind == LMDB:
        backend._close_tables()
        backend._folder.release()
    else:
        backend._folder.release()


def items_in(store: Store, now: int = NOW) -> "dict[bytes, Item]":
    """What a server would find alive; the store is opened for that."""
    backend = BACKENDS[store.kind](str(store.path), "never")
    backend.open()
    try:
        return {entry.key: entry.item for piece in backend.walk(b"", now, True) for entry in piece}
    finally:
        backend.close()


@contextmanager
def edited(path: Path) -> "Iterator[dict[bytes, Table]]":
    """The tables of a store, by name, to be written to by those who do not care for it."""
    with lmdb.open(str(path), map_size=1 << 28, max_dbs=8, lib_version=0) as environment:
        tables = {
            name: environment.open_db(name) for name in (b"items", b"order", b"expiring", b"about")
        }
        with environment.begin(write=True) as transaction:
            yield {name: Table(transaction, table) for name, table in tables.items()}


class Table:
    """A table, as far as tests have to do with it."""

    def __init__(self, transaction: Any, table: Any) -> None:
        self._transaction = transaction
        self._table = table

    def __getitem__(self, key: bytes) -> bytes:
        value = self._transaction.get(key, db=self._table)
        assert isinstance(value, bytes), key
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._transaction.put(key, value, db=self._table)

    def __delitem__(self, key: bytes) -> None:
        assert self._transaction.delete(key, db=self._table), key

    def flip(self, key: bytes, place: int = -1) -> None:
        """Another bit, in what is under `key`."""
        self[key] = flipped(self[key], place)


def flipped(content: bytes, place: int) -> bytes:
    """`content` with another bit at `place`."""
    wrong = bytearray(content)
    wrong[place] ^= 4
    return bytes(wrong)


def tree_of(path: Path) -> "dict[str, bytes]":
    """What is in a directory, but for its lock."""
    return {
        str(each.relative_to(path)): each.read_bytes()
        for each in path.rglob("*")
        if each.is_file() and each.name != "lock"
    }
