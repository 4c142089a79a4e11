"""
Where log events go: text for people or one JSON object a line, from a level that can be changed.

`twistd` writes the log unless the application carries an observer of its own; this makes that
observer, so that `--log-format` and `--log-level` work in every mode in which `twistd` runs.
"""

import json
from typing import IO, Any, Callable, Optional

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatEventAsClassicLogText,
    formatTime,
)

FORMATS = ("text", "json")
LEVELS = tuple(level.name for level in LogLevel.iterconstants())


class Verbosity:
    """
    The level from which events are logged, changed while the server runs.

    :param level: one of `LEVELS`, in force at verbosity 0.
    """

    def __init__(self, level: str, verbosity: int = 0) -> None:
        self._level = LogLevel.lookupByName(level)
        self.predicate = LogLevelFilterPredicate(self._level)
        self.set(verbosity)

    def set(self, verbosity: int) -> None:
        """0: the level given; more: also what is for finding faults."""
        level = min(self._level, LogLevel.debug) if verbosity else self._level
        self.predicate.setLogLevelForNamespace("", level)


class LazyFile:
    """
    A file to append to, opened at the first write: twistd forks, and gives up its privileges,
    after the observer has been made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Optional[IO[str]] = None

    def write(self, text: str) -> None:
        if self._file is None:
            self._file = open(  # noqa: SIM115 (kept open)
                self._path, "a", encoding="utf-8", errors="backslashreplace"
            )
        self._file.write(text)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def reopen(self) -> None:
        """Write on to what now has the name: logrotate has moved the file away."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def make_observer(out: Any, form: str, verbosity: Verbosity) -> ILogObserver:
    """
    :param out: the file, for text, to append to.
    :param form: one of `FORMATS`.
    """
    spell: Callable[[LogEvent], Optional[str]] = (
        _as_json if form == "json" else formatEventAsClassicLogText
    )
    return FilteringLogObserver(FileLogObserver(out, spell), [verbosity.predicate])


def _as_json(event: LogEvent) -> str:
    """`event` as one JSON object on one line."""
    failure = event.get("log_failure")
    record = {
        "time": formatTime(event.get("log_time")),
        "level": event["log_level"].name if "log_level" in event else None,
        "system": event.get("log_namespace") or event.get("log_system"),
        "message": formatEvent(event),
    }
    if failure is not None:
        record["traceback"] = failure.getTraceback()
    return json.dumps(record) + "\n"
