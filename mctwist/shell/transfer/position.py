"""
How far a load has come, in a file beside the dump: FILE.loaded.

It is written anew now and then, beside and renamed, and removed when the load is done. It says how
many lines are acknowledged, of which dump, into which server: to go on with another would leave a
hole in both.

The rule: it never says more than what is acknowledged. What it says too little is loaded twice,
which is harmless: the same line makes the same item. (A client that has written the key in between
has lost that to the first time as it would to the second, a moment later.)
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from mctwist.shell.output import tell

#: Seconds between two times that it is written.
_OFTEN = 1.0


class Refused(Exception):
    """A position is of something else. Its text is for people."""


class Position:
    """
    :param file: of the dump; None: it is the input, of which nothing can be recorded.
    :param target: where it is loaded to.
    """

    def __init__(self, file: Optional[str], target: str) -> None:
        self._path: Optional[Path] = None
        self._identity: dict[str, Any] = {}
        if file is not None:
            path = Path(os.path.realpath(file))
            if path.is_file():
                self._path = path.with_name(path.name + ".loaded")
                self._identity = {"of": path.name, "bytes": path.stat().st_size, "to": target}
        self._written = time.monotonic()

    @property
    def recorded(self) -> bool:
        """Whether there is something to go on with."""
        return self._path is not None and self._path.exists()

    def read(self) -> "dict[str, Any]":
        """
        What was last written of it; nothing: there is none.

        :raises Refused: that is of another dump, or another server.
        """
        if self._path is None or not self._path.exists():
            return {}
        try:
            told = json.loads(self._path.read_bytes())
            identity = {name: told.pop(name) for name in self._identity}
            lines = told["lines"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            raise Refused(f"{self._path} cannot be read") from None
        if type(lines) is not int or lines < 0:
            raise Refused(f"{self._path} cannot be read")
        for name, ours in self._identity.items():
            if identity[name] != ours:
                raise Refused(
                    f"{self._path} is of a load {name} {identity[name]}, not {ours};"
                    " without --resume it begins anew"
                )
        return dict(told)

    @property
    def due(self) -> bool:
        """Whether it is time for a `write`."""
        return self._path is not None and time.monotonic() - self._written >= _OFTEN

    def write(self, state: "dict[str, Any]") -> None:
        """Record `state`, with its `lines`."""
        self._written = time.monotonic()
        if self._path is None:
            return
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps({**self._identity, **state}))
            os.replace(partial, self._path)
        except OSError as fault:
            tell(f"{self._path}: {fault.strerror}; how far it has come is not recorded")
            self._path = None
        finally:
            with suppress(OSError):
                partial.unlink()

    def remove(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
