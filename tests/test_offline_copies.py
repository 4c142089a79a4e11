"""Backup and restore: copies of one moment, whatever the server does meanwhile."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import LMDBBackend
from mctwist.item import Item
from mctwist.offline.stores import DIRECTORY, LMDB
from mctwist.shell.__main__ import group
from mctwist.testing import NOW
from tests.processes import PATIENCE, ROOT, Server, eventually, stats_of

BACKENDS: "dict[str, Any]" = {LMDB: LMDBBackend, DIRECTORY: DirectoryBackend}


def command(*arguments: str) -> Result:
    """What becomes of a command."""
    return CliRunner().invoke(group, arguments)


def started(*arguments: str) -> "subprocess.Popen[bytes]":
    """A command as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "mctwist.shell", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def items_in(kind: str, path: Path, now: int = NOW) -> "dict[bytes, Item]":
    """What a server would find alive in the store; it is opened for that."""
    backend = BACKENDS[kind](str(path), "never")
    backend.open()
    try:
        return {entry.key: entry.item for piece in backend.walk(b"", now, True) for entry in piece}
    finally:
        backend.close()


class Load:
    """
    Somebody who sets `first`, one of many, and `last`, all to the same number, and then all to the
    next: in every state that there has been, what is there follows from `last`.
    """

    #: How many there are, and how many rounds are on their way at a time.
    MANY, AHEAD = 200, 50

    def __init__(self, server: Server) -> None:
        self.acknowledged = 0
        self._connection = server.connect()
        self._ending = Event()
        self._thread = Thread(target=self._write)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._connection.close()

    def _write(self) -> None:
        number = 0
        while not self._ending.is_set():
            requests = []
            for _ in range(self.AHEAD):
                number += 1
                value = b"%-1000d" % number
                for key in (b"first", b"%d" % (number % self.MANY), b"last"):
                    requests.append(b"set %b 0 0 1000\r\n%b\r\n" % (key, value))
            answer = b"STORED\r\n" * 3 * self.AHEAD
            self._connection.send(b"".join(requests))
            assert self._connection.exactly(len(answer)) == answer
            self.acknowledged = number

    def verify(self, items: "dict[bytes, Item]", acknowledged: int) -> None:
        """That this is a state that has been, after `acknowledged` was."""
        numbers = {key: int(item.value) for key, item in items.items()}
        first, last = numbers.pop(b"first"), numbers.pop(b"last")
        assert acknowledged <= last <= first <= last + 1, (acknowledged, last, first)
        newest = first if numbers[b"%d" % (first % self.MANY)] == first else last
        expected = {b"%d" % (number % self.MANY): number
                    for number in range(max(newest - self.MANY + 1, 1), newest + 1)}  # fmt: skip
        assert numbers == expected, set(numbers.items()) ^ set(expected.items())


class HotTests(SynchronousTestCase):
    """A server that writes as fast as it can, and has a checkpoint every few milliseconds."""

    def test_every_copy_is_of_one_moment_and_has_all_that_was_acknowledged(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, folder)
        with Server(folder, "--storage-limit", "4m") as server:
            attempts = 0
            with server.connect() as connection, closing(Load(server)) as load:
                eventually(lambda: load.acknowledged > load.MANY, "there is something")
                before = int(stats_of(connection, "storage")["checkpoints"])
                for number in range(int(os.environ.get("HOT_BACKUPS", "4"))):
                    copy = folder / f"copy-{number}"
                    acknowledged = load.acknowledged
                    process = started("backup", str(copy), "--storage", str(server.store), "--json")
                    said, wrong = process.communicate(timeout=PATIENCE)
                    self.assertEqual((process.returncode, wrong), (0, b""))
                    attempts += json.loads(said)["attempts"]
                    load.verify(items_in(LMDB, copy), acknowledged)
                    shutil.rmtree(copy)
                after = int(stats_of(connection, "storage")["checkpoints"])
            self.assertTrue(after - before > 3, (before, after))
            if number > 10:
                print(f"{attempts} attempts for {number + 1} copies, {after - before} checkpoints")
