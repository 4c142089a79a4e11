"""Where log events go: lines of text or of JSON, from a level that can be changed."""

import contextlib
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mctwist import log as log_module
from mctwist.log import FORMATS, LEVELS, LazyFile, Verbosity, make_observer


class LogCase(SynchronousTestCase):
    """A log in a file of its own."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "log"
        # Left open for as long as a process lives; a test does not.
        self.patch(log_module, "LazyFile", self.lazy_file)

    def lazy_file(self, path: str) -> LazyFile:
        file = LazyFile(path)
        self.addCleanup(lambda: file._file and file._file.close())
        return file

    def logger(self, form: str = "text", level: str = "info", verbosity: int = 0) -> Logger:
        """A logger to the file, and to nothing else."""
        self.verbosity = Verbosity(level, verbosity)
        file = LazyFile(str(self.path))
        self.addCleanup(file.reopen)
        observer: Any = make_observer(file, form, self.verbosity)
        return Logger("mctwist.test", observer=observer)

    def lines(self) -> "list[str]":
        return self.path.read_text().splitlines() if self.path.exists() else []


class JSONTests(LogCase):
    """`--log-format json`."""

    def test_an_event_is_one_object_on_one_line(self) -> None:
        log = self.logger("json")
        log.info("opened {path} with {count} items", path="/a\nb", count=3)
        log.warn('"quoted" {text}', text="\u2028 \0 \x1b[31m \udcff")
        log.error("no such {field}")
        first, second, third = map(json.loads, self.lines())
        self.assertEqual(first["message"], "opened /a\nb with 3 items")
        self.assertEqual((first["level"], first["system"]), ("info", "mctwist.test"))
        self.assertRegex(first["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
        self.assertEqual(second["message"], '"quoted" \u2028 \0 \x1b[31m \udcff')
        self.assertIn("field", third["message"])

    def test_a_failure_is_in_the_same_line_with_its_traceback(self) -> None:
        try:
            raise ZeroDivisionError("of all things")
        except ZeroDivisionError:
            self.logger("json").failure("it has {what}", what="failed")
        (record,) = map(json.loads, self.lines())
        self.assertEqual((record["level"], record["message"]), ("critical", "it has failed"))
        self.assertIn("ZeroDivisionError: of all things", record["traceback"])

    def test_it_is_ascii_whatever_is_logged(self) -> None:
        self.logger("json").info("{name}", name="\u00fc\u4e2d\U0001f600")
        self.assertTrue(self.path.read_bytes().isascii())


class TextTests(LogCase):
    """`--log-format text`."""

    def test_an_event_is_a_line_for_people(self) -> None:
        log = self.logger()
        log.info("opened {path}", path="/a")
        (line,) = self.lines()
        self.assertIn("mctwist.test", line)
        self.assertTrue(line.endswith("opened /a"), line)

    def test_a_failure_has_its_traceback(self) -> None:
        self.logger().failure("failed", Failure(ZeroDivisionError("of all things")))
        self.assertIn("ZeroDivisionError: of all things", "\n".join(self.lines()))

    def test_a_name_that_is_no_unicode_does_not_stop_the_log(self) -> None:
        log = self.logger()
        log.info("opened {path}", path="/a\udcff")
        log.info("next")
        self.assertTrue(any(line.endswith("next") for line in self.lines()))


class LevelTests(LogCase):
    """`--log-level`, `-v`, and the command `verbosity`."""

    def logged(self, log: Logger) -> "list[str]":
        """The levels of which something is logged."""
        before = len(self.lines())
        for level in LogLevel.iterconstants():
            log.emit(level, "of {name}", name=level.name)
        return [line.rpartition(" ")[2] for line in self.lines()[before:]]

    def test_events_are_logged_from_a_level_on(self) -> None:
        for place, level in enumerate(LEVELS):
            self.assertEqual(self.logged(self.logger(level=level)), list(LEVELS[place:]))
        self.assertEqual(LEVELS, ("debug", "info", "warn", "error", "critical"))
        self.assertEqual(FORMATS, ("text", "json"))

    def test_verbosity_logs_more_and_none_of_it_goes_back_to_the_level(self) -> None:
        for level in ("info", "error", "debug"):
            for verbosity in (1, 2):
                log = self.logger(level=level, verbosity=verbosity)
                self.assertEqual(self.logged(log), list(LEVELS))
                self.verbosity.set(0)
                self.assertEqual(self.logged(log)[0], level)
                self.verbosity.set(verbosity)
                self.assertEqual(self.logged(log), list(LEVELS))


class FileTests(LogCase):
    """The file that is logged to."""

    def test_it_is_opened_with_the_first_event(self) -> None:
        log = self.logger()
        self.assertFalse(self.path.exists())
        log.debug("not logged")
        self.assertFalse(self.path.exists())
        log.info("logged")
        self.assertTrue(self.path.exists())

    def test_it_is_appended_to(self) -> None:
        self.path.write_text("before\n")
        self.logger().info("after")
        self.assertEqual(self.lines()[0], "before")
        self.assertEqual(len(self.lines()), 2)

    def test_flushing_one_that_was_never_opened(self) -> None:
        LazyFile(str(self.path)).flush()
        self.assertFalse(self.path.exists())

    def test_none_is_standard_output(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            observer: Any = make_observer(sys.stdout, "text", Verbosity("info"))
        Logger("mctwist.test", observer=observer).info("hello")
        self.assertTrue(out.getvalue().endswith("hello\n"))
