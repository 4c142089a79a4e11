"""
A power cut, simulated: what a disk may hold when the machine dies at some moment.

A workload runs under strace, which writes down every change it makes to files. `History` replays
them as far as the moment of the cut and keeps two things apart: what has been synced, and what was
still in the cache. An image of the disk is the first and as much of the second as a pattern of loss
lets through. The model is the pessimist's: names are only durable once their directory has been
synced, and unsynced writes may arrive in any selection, the last of them torn.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Callable

from attrs import Factory, define

#: The system calls that change files, and the ones needed to tell which.
CALLS = (
    "openat,close,write,pwrite64,writev,pwritev,lseek,ftruncate,fsync,fdatasync,sync,"
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,rmdir"
)

_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)(?: .*)?$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_SECTOR = 512

#: So many of the pending operations get through: none, all, the first of them, some of them.
Pattern = Callable[[list[Any], Random], list[Any]]


def lose_all(pending: list[Any], random: Random) -> list[Any]:
    return []


def lose_none(pending: list[Any], random: Random) -> list[Any]:
    return pending


def lose_the_end(pending: list[Any], random: Random) -> list[Any]:
    return pending[: random.randint(0, len(pending))]


def lose_some(pending: list[Any], random: Random) -> list[Any]:
    return [operation for operation in pending if random.random() < 0.5]


PATTERNS: dict[str, Pattern] = {
    "all": lose_all,
    "none": lose_none,
    "the end": lose_the_end,
    "some": lose_some,
}


@define(eq=False)
class Inode:
    """The content of a file: what is synced, and the writes that are not, as (offset, bytes)."""

    synced: bytearray = Factory(bytearray)
    pending: list[tuple[int, bytes]] = Factory(list)
    cut: int = -1  # an unsynced truncation to this size

    def sync(self) -> None:
        self.synced = self.content(self.pending)
        self.pending, self.cut = [], -1

    def content(self, writes: list[tuple[int, bytes]]) -> bytearray:
        content = bytearray(self.synced)
        if self.cut >= 0 and writes:
            del content[self.cut :]
        for offset, data in writes:
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        return content


@define
class Naming:
    """A name that was given, taken away, or moved."""

    directory: str  # syncing it makes this durable
    give: "dict[str, Inode]"
    take: list[str]


@define
class Descriptor:
    path: str
    inode: "Inode | None"
    direct: bool  # O_DSYNC: what is written is synced
    position: int = 0


class History:
    """
    What strace saw of the files under `root`.

    :param lines: of its output.
    """

    def __init__(self, root: Path, lines: Iterator[str]) -> None:
        self._root = str(root)
        self._calls = [
            (match[1], match[2], int(match[3]))
            for match in map(_LINE.match, lines)
            if match and int(match[3]) >= 0
        ]
        self._restart()

    def _restart(self) -> None:
        self._names: dict[str, Inode] = {}  # as a running machine sees them
        self._durable: dict[str, Inode] = {}
        self._namings: list[Naming] = []
        self._open: dict[int, Descriptor] = {}
        self.said: list[bytes] = []  # what the workload wrote to standard output

    def __len__(self) -> int:
        return len(self._calls)

    def moments(self) -> list[int]:
        """The moments after which something may be lost, or has been promised."""
        interesting = ("write", "pwrite", "rename", "unlink", "ftruncate", "fsync", "fdatasync")
        return [
            place + 1
            for place, (name, _, _) in enumerate(self._calls)
            if name.startswith(interesting)
        ]

    def cut(self, moment: int) -> None:
        """Replay the first `moment` calls."""
        self._restart()
        for name, arguments, answer in self._calls[:moment]:
            handle = _HANDLERS.get(name)
            if handle is not None:
                handle(self, arguments, answer)

    def image(self, directory: Path, pattern: Pattern, random: Random) -> None:
        """Write under `directory` what the disk holds when `pattern` got through."""
        names = dict(self._durable)
        for naming in pattern(list(self._namings), random):
            _apply(naming, names)
        for path, inode in names.items():
            writes = pattern(list(inode.pending), random)
            if writes and pattern is lose_some:
                offset, data = writes[-1]
                writes[-1] = (offset, data[: random.randint(0, len(data) // _SECTOR) * _SECTOR])
            target = directory / Path(path).relative_to(self._root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(inode.content(writes))

    # One method for each system call; the arguments are as strace spells them.

    def _on_open(self, arguments: str, answer: int) -> None:
        path = _strings(arguments)[0].decode()
        if not path.startswith(self._root):
            self._open.pop(answer, None)
            return
        inode = None
        if "O_DIRECTORY" not in arguments:
            inode = self._names.get(path)
            if inode is None and "O_CREAT" in arguments:
                inode = Inode()
                self._name(Naming(str(Path(path).parent), {path: inode}, []))
            elif inode is not None and "O_TRUNC" in arguments:
                inode.cut, inode.pending = 0, []
        self._open[answer] = Descriptor(path, inode, "O_DSYNC" in arguments)

    def _on_close(self, arguments: str, answer: int) -> None:
        self._open.pop(int(arguments), None)

    def _on_lseek(self, arguments: str, answer: int) -> None:
        descriptor = self._open.get(int(arguments.split(",")[0]))
        if descriptor is not None:
            descriptor.position = answer

    def _on_write(self, arguments: str, answer: int) -> None:
        number = int(arguments.split(",")[0])
        data = b"".join(_strings(arguments))[:answer]
        if number == 1:
            self.said.append(data)
        descriptor = self._open.get(number)
        if descriptor is not None:
            self._write(descriptor, descriptor.position, data)
            descriptor.position += answer

    def _on_pwrite(self, arguments: str, answer: int) -> None:
        descriptor = self._open.get(int(arguments.split(",")[0]))
        if descriptor is not None:
            offset = int(arguments.rsplit(",", 1)[1])
            self._write(descriptor, offset, b"".join(_strings(arguments))[:answer])

    def _write(self, descriptor: Descriptor, offset: int, data: bytes) -> None:
        inode = descriptor.inode
        assert inode is not None
        inode.pending.append((offset, data))
        if descriptor.direct:
            # Only this write is synced; those before it need not be.
            inode.pending.pop()
            inode.synced = inode.content([(offset, data)])

    def _on_ftruncate(self, arguments: str, answer: int) -> None:
        number, size = map(int, arguments.split(","))
        descriptor = self._open.get(number)
        if descriptor is not None and descriptor.inode is not None:
            inode = descriptor.inode
            content = inode.content(inode.pending)[:size]
            inode.cut, inode.pending = 0, [(0, bytes(content))]

    def _on_fsync(self, arguments: str, answer: int) -> None:
        descriptor = self._open.get(int(arguments))
        if descriptor is None:
            return
        if descriptor.inode is not None:
            descriptor.inode.sync()
            return
        for naming in list(self._namings):
            if naming.directory == descriptor.path:
                _apply(naming, self._durable)
                self._namings.remove(naming)

    def _on_rename(self, arguments: str, answer: int) -> None:
        old, new = (path.decode() for path in _strings(arguments))
        if new.startswith(self._root):
            self._name(Naming(str(Path(new).parent), {new: self._names[old]}, [old]))

    def _on_unlink(self, arguments: str, answer: int) -> None:
        path = _strings(arguments)[0].decode()
        if path in self._names:
            self._name(Naming(str(Path(path).parent), {}, [path]))

    def _name(self, naming: Naming) -> None:
        _apply(naming, self._names)
        self._namings.append(naming)


_HANDLERS: dict[str, Callable[[History, str, int], None]] = {
    "openat": History._on_open,
    "close": History._on_close,
    "lseek": History._on_lseek,
    "write": History._on_write,
    "writev": History._on_write,
    "pwrite64": History._on_pwrite,
    "pwritev": History._on_pwrite,
    "ftruncate": History._on_ftruncate,
    "fsync": History._on_fsync,
    "fdatasync": History._on_fsync,
    "rename": History._on_rename,
    "renameat": History._on_rename,
    "renameat2": History._on_rename,
    "unlink": History._on_unlink,
    "unlinkat": History._on_unlink,
}


def _apply(naming: Naming, names: dict[str, Inode]) -> None:
    for path in naming.take:
        names.pop(path, None)
    names.update(naming.give)


def _strings(arguments: str) -> list[bytes]:
    return [bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(arguments)]
