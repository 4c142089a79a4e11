"""Every backend held to what is promised of the order of keys, of scans, and of what is kept."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import IBackend, Unsupported
from mctwist.testing import KeptContract, OrderedContract, ScanContract
from mctwist.testing.order import END, between, first, pop


class MemoryTests(OrderedContract, ScanContract, KeptContract, SynchronousTestCase):
    """The memory backend."""

    durable = False

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return MemoryBackend(**limits)


class LMDBTests(OrderedContract, ScanContract, KeptContract, SynchronousTestCase):
    """LMDB: a checkpoint a minute, or when there is much."""

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return LMDBBackend(path, "never", **limits)


class LMDBCheckpointTests(OrderedContract, ScanContract, KeptContract, SynchronousTestCase):
    """LMDB with a checkpoint after every batch."""

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return LMDBBackend(path, "never", checkpoint=0, **limits)


class LMDBOftenTests(OrderedContract, ScanContract, SynchronousTestCase):
    """LMDB with a checkpoint every few batches."""

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return LMDBBackend(path, "never", checkpoint=5000, **limits)


class DirectoryTests(ScanContract, KeptContract, SynchronousTestCase):
    """A file a key, in no order."""

    seeds = 1

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return DirectoryBackend(path, "never", **limits)

    def test_it_has_no_order_and_says_so(self) -> None:
        self.assertFalse(self.backend.ordered)
        for step in (first(b"", END), between(b"", END), pop(b"", END)):
            (result,) = self.do(step)
            self.assertIsInstance(result, Unsupported)
            self.assertEqual(str(result), "not supported by this backend")
            self.assertRaises(Unsupported, self.backend.read, [step], 0)
