"""Every backend held to what `SpaceContract` says of the room that it takes."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import IBackend
from mctwist.testing import SpaceContract


class MemoryTests(SpaceContract, SynchronousTestCase):
    """The memory backend."""

    durable = False

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return MemoryBackend(**limits)


class LMDBTests(SpaceContract, SynchronousTestCase):
    """LMDB: a checkpoint a minute, or when there is much."""

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return LMDBBackend(path, "never", **limits)


class LMDBCheckpointTests(SpaceContract, SynchronousTestCase):
    """LMDB with a checkpoint after every batch."""

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return LMDBBackend(path, "never", checkpoint=0, **limits)


class DirectoryTests(SpaceContract, SynchronousTestCase):
    """A file a key."""

    remembers_visits = False

    def make_backend(self, path: str, **limits: Any) -> IBackend:
        return DirectoryBackend(path, "never", **limits)
