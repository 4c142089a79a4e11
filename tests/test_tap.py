"""The composition root: what it sees to in the process that it runs in."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist.options import Options
from mctwist.tap import SPARE_FILES, allow_files, assemble
from mctwist.testing import ManualReactor


class Limits:
    """The limits of a process, as the module `resource` shows them."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft: int, hard: int, privileged: bool = False) -> None:
        self.limits = (soft, hard)
        self.privileged = privileged

    def getrlimit(self, which: int) -> "tuple[int, int]":
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: "tuple[int, int]") -> None:
        assert which == self.RLIMIT_NOFILE
        soft, hard = limits
        top = self.limits[1]
        if top != self.RLIM_INFINITY and (hard > top or hard == -1) and not self.privileged:
            raise ValueError("not allowed to raise maximum limit")
        if hard not in (-1, *range(soft, 1 << 20)):
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


class FilesTests(SynchronousTestCase):
    """How many files may be open."""

    def test_the_limit_is_raised_as_far_as_it_is_needed_and_may_be(self) -> None:
        for before, privileged, after in (
            ((1024, 4096), False, (2176, 4096)),
            ((1024, -1), False, (2176, -1)),
            ((1024, 2176), False, (2176, 2176)),
            ((1024, 2000), True, (2176, 2176)),
            ((4096, 4096), False, (4096, 4096)),
            ((-1, -1), False, (-1, -1)),
        ):
            limits = Limits(*before, privileged)
            self.assertEqual(allow_files(2048 + SPARE_FILES, limits), [], before)
            self.assertEqual(limits.limits, after)

    def test_where_it_may_not_be_it_is_told_how_many_connections_fit(self) -> None:
        for soft in (256, 1000):
            limits = Limits(soft, 1000)
            (warning,) = allow_files(2048 + SPARE_FILES, limits)
            self.assertEqual(limits.limits, (1000, 1000))
            self.assertIn(f"only {1000 - SPARE_FILES} of the 2048 connections", warning)
            self.assertIn(f"ulimit -n {2048 + SPARE_FILES}", warning)
            self.assertNotIn("\n", warning)

    def test_only_a_command_changes_the_process_it_runs_in(self) -> None:
        for parent, files in ((None, None), ({"nodaemon": True}, 512 + SPARE_FILES)):
            options: Any = Options()
            options.parent = parent
            options.parseOptions(["--storage=memory:", "-c", "512"])
            service: Any = assemble(options, ManualReactor())
            self.assertEqual(service._files, files)
