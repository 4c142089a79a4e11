"""
Stores of a file a key: whether they are whole, and what is done where they are not.

A batch whose journal is whole has happened, whatever has still to be renamed; what else is in
`incoming`, and a journal that is torn, is what a crash leaves, and no damage.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

from mctwist.backends import directory
from mctwist.backends.directory import decode_file, encode_file, key_of, name_of
from mctwist.backends.folder import sync_directory
from mctwist.backends.state import State
from mctwist.item import DamagedRecord, Item
from mctwist.offline.report import COUNTS, Report, shown_name

_TURN = 1000


class Files:
    """
    The files of a store as they are once its journal is finished, which it need not be.

    :ivar state: None: its record does not verify.
    :ivar missing: the names of files of the last batch that are nowhere.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.items = root / "items"
        batch = directory.journal_in(root)
        self.torn = batch is None and (root / "journal").exists()
        moves, removals, record = batch or ((), (), None)
        self._incoming = {name for name in moves if (root / "incoming" / name).exists()}
        there = set(os.listdir(self.items)) if self.items.exists() else set()
        self.missing = sorted(set(moves) - self._incoming - there)
        self.names = sorted((there | self._incoming) - set(removals))
        try:
            self.state: Optional[State] = directory.state_in(root, record)
        except (DamagedRecord, ValueError) as fault:
            self.state = None
            self.fault = str(fault)

    def path(self, name: str) -> Path:
        """Where the file of that name is now."""
        return (self.root / "incoming" if name in self._incoming else self.items) / name

    def read(self, name: str) -> "tuple[bytes, Item]":
        """
        What is in the file of that name.

        :raises DamagedRecord: it is not of an item, or not of the one that it is named for.
        """
        path = self.path(name)
        if not path.is_file():
            raise DamagedRecord("it is no file")
        content = path.read_bytes()
        key = key_of(name, content)
        if key is None or name_of(key) != name:
            raise DamagedRecord("its name is of no key")
        return key, decode_file(key, content)


def look_through(root: Path, report: Report, progress: "Callable[[int, int], None]") -> None:
    """Have `report` say what there is."""
    files = Files(root)
    report.torn = files.torn
    for name in files.missing:
        report.found("journal", shown_name(name))
    if files.state is None:
        report.found("state", files.fault)
    places: set[int] = set()
    for done, name in enumerate(files.names):
        if not done % _TURN:
            progress(done, len(files.names))
        report.records += 1
        try:
            key, item = files.read(name)
        except (DamagedRecord, ValueError):
            report.found("record" if files.path(name).is_file() else "file", shown_name(name))
            continue
        report.count(key, item, files.state or State())
        if item.place in places:
            report.found("unplaced", key)
        places.add(item.place)
    if files.state is not None:
        report.compare(files.state)
    progress(len(files.names), len(files.names))


def repair(root: Path, aside: Path, told: "Callable[[bytes, bytes], None]") -> bool:
    """
    Make the store whole. Each step leaves one that is no worse than before.

    :param aside: a directory on the same file system, for the files that do not verify.
    :param told: the name and the content of each.
    :return: whether its state was known, and not made of nothing.
    """
    files = Files(root)
    state = files.state.copy() if files.state is not None else State()
    (root / "items").mkdir(exist_ok=True)
    (root / "incoming").mkdir(exist_ok=True)
    taken: dict[int, bytes] = {}
    again: list[tuple[bytes, Item]] = []
    report = Report("directory", str(root))
    for name in files.names:
        path = files.path(name)
        try:
            key, item = files.read(name)
        except (DamagedRecord, ValueError):
            told(os.fsencode(name), path.read_bytes() if path.is_file() else b"")
            path.rename(aside / name)
            continue
        state.sequence = max(state.sequence, item.sequence)
        state.place = max(state.place, item.place)
        if path.parent != files.items:
            path.rename(files.items / name)
        if item.place in taken or item.place <= 0:
            again.append((key, item))
        taken[item.place] = key
        report.count(key, item, state)
    for key, item in again:
        state.place += 1
        _replace(files.items, key, item._replace(place=state.place))
    for name in sorted(set(os.listdir(files.items)) - set(files.names)):
        (files.items / name).unlink()  # as the journal says
    for name in COUNTS:
        setattr(state, name, getattr(report, name))
    sync_directory(aside)
    sync_directory(files.items)
    directory.write_state(root, state)
    (root / "journal").unlink(missing_ok=True)
    sync_directory(root)
    return files.state is not None


def _replace(items: Path, key: bytes, item: Item) -> None:
    new = items.with_name("incoming") / name_of(key)
    with open(new, "wb") as file:
        file.write(encode_file(key, item))
        file.flush()
        os.fsync(file.fileno())
    new.rename(items / new.name)


def live(root: Path, now: int) -> "Iterator[tuple[bytes, Item]]":
    """
    The items that are neither flushed nor expired at `now`.

    :raises DamagedRecord: there is one that does not verify.
    """
    files = Files(root)
    if files.state is None:
        raise DamagedRecord(files.fault)
    flushed, prefixes = files.state.flushed_at(now), files.state.prefixes
    for name in files.names:
        key, item = files.read(name)
        dead = item.sequence <= flushed or prefixes.cover(key, item.sequence)
        if not dead and not 0 < item.expiry <= now:
            yield key, item
