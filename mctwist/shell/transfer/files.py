"""
The files that dumps are in.

The rule: under its name a dump is whole. It is written beside, and renamed when all of it is on
disk; what ends in the middle leaves nothing. What is no plain file, a pipe or a device, is written
as it is.
"""

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Optional

import click
import zstandard

#: Stands for the input, or the output.
STANDARD = "-"

#: With which whatever zstd has compressed begins (RFC 8878, 3.1.1).
_ZSTD = b"\x28\xb5\x2f\xfd"

_READ = 1 << 18


class Target:
    """
    A dump that is being written, as a context manager: left by an exception, it is not there.

    :param name: of the file, which is compressed when it ends in `.zst`; or `STANDARD`.
    :ivar size: bytes that it has taken, when it is whole; None: of the output.
    """

    def __init__(self, name: str) -> None:
        self.size: Optional[int] = None
        self._name = name
        self._path = Path(os.path.realpath(name))
        self._partial: Optional[Path] = None
        self._file: BinaryIO = sys.stdout.buffer
        self._out: Any = self._file

    def __enter__(self) -> "Target":
        try:
            if self._name != STANDARD:
                self._open()
        except BaseException:
            self._leave()
            raise
        return self

    def _open(self) -> None:
        place = Path(self._name)
        # Asked by its name: what /dev/stdout is a link to has none when it is a pipe.
        if not place.exists() or place.is_file():
            partial = f".{self._path.name}.{os.getpid()}.partial"
            place = self._partial = self._path.with_name(partial)
        try:
            self._file = self._out = open(place, "wb")  # noqa: SIM115  # `_leave` closes it
        except OSError as fault:
            raise self._fault(fault) from None
        if self._name.endswith(".zst"):
            compressor = zstandard.ZstdCompressor(write_checksum=True)
            self._out = compressor.stream_writer(self._file, closefd=False)

    def __exit__(self, kind: Optional[type], *rest: object) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as fault:
            raise self._fault(fault) from None
        finally:
            self._leave()

    def _leave(self) -> None:
        # What cannot be written any more has been told of, or is somebody's interruption.
        with suppress(OSError):
            if self._file is not sys.stdout.buffer:
                self._file.close()
        if self._partial is not None:
            with suppress(OSError):
                self._partial.unlink()

    @property
    def on_terminal(self) -> bool:
        return self._name == STANDARD and sys.stdout.isatty()

    def write(self, data: bytes) -> None:
        try:
            self._out.write(data)
        except OSError as fault:
            raise self._fault(fault) from None

    def _finish(self) -> None:
        if self._out is not self._file:
            self._out.close()
        self._file.flush()
        if self._partial is None:
            return
        os.fsync(self._file.fileno())
        self.size = os.fstat(self._file.fileno()).st_size
        os.replace(self._partial, self._path)
        self._partial = None
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _fault(self, fault: OSError) -> Exception:
        if self._name == STANDARD:
            return fault
        return click.ClickException(f"{self._name}: {fault.strerror or fault}")


class Origin:
    """
    A dump that is read, as a context manager. Compressed or not, it shows itself.

    :param name: of the file, or `STANDARD`.
    :ivar content: what is in it.
    :ivar size: its bytes, as it lies; None: it is not known.
    """

    #: What reading `content` may raise.
    FAULTS = (OSError, zstandard.ZstdError)

    def __init__(self, name: str) -> None:
        self.size: Optional[int] = None
        self._name = name
        self.content: BinaryIO
        self._file: Any

    def __enter__(self) -> "Origin":
        try:
            if self._name == STANDARD:
                self._file = sys.stdin.buffer
            else:
                self._file = open(self._name, "rb", _READ)
                if Path(self._name).is_file():
                    self.size = os.fstat(self._file.fileno()).st_size
            compressed = self._file.peek(len(_ZSTD)).startswith(_ZSTD)
        except OSError as fault:
            raise click.ClickException(f"{self._name}: {fault.strerror or fault}") from None
        self.content = self._file
        if compressed:
            plain = zstandard.ZstdDecompressor().stream_reader(
                self._file, _READ, read_across_frames=True, closefd=False
            )
            self.content = io.BufferedReader(plain, _READ)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def position(self) -> int:
        """How many bytes of `size` have been read."""
        return int(self._file.tell()) if self.size is not None else 0
