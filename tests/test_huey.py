"""huey on a real server: its own tests of a storage, and consumers that lose nothing."""

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import TestCase

import pytest
from huey.api import Huey  # type: ignore[import-untyped]  # it has no types
from huey.constants import EmptyData  # type: ignore[import-untyped]
from huey.exceptions import TaskLockedException  # type: ignore[import-untyped]

from mctwist.contrib.huey import MctwistStorage
from tests.processes import Server, complaints, eventually

# huey looks at it when its tests are imported; those that are slow take a second.
os.environ["HUEY_SLOW_TESTS"] = "1"
from huey.tests import base, test_storage  # type: ignore[import-untyped]  # noqa: E402

#: What the suite has the consumers do; HUEY_TASKS asks for more.
TASKS = int(os.environ.get("HUEY_TASKS", "1000"))
WORKERS = 4

KIND = os.environ.get("HUEY_KIND", "lmdb")


def make(server: Server, name: str = "huey", **options: Any) -> Any:
    host, port = server.addresses()[0]
    return Huey(name, storage_class=MctwistStorage, host=host, port=port, utc=False, **options)


class StorageCase(test_storage.StorageTests, base.BaseTestCase):  # type: ignore[misc]
    """huey's own tests of a storage, as they are."""

    options: "dict[str, Any]" = {}  # noqa: RUF012  # never changed

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.server = Server(Path(cls.folder.name), kind=KIND)
        cls.server.start()
        cls.addClassCleanup(cls.server.close)

    def get_huey(self) -> Any:
        huey = make(self.server, **self.options)
        self.addCleanup(huey.storage.close)
        return huey


class BlockingTests(StorageCase):
    """dequeue waits."""

    options = {"read_timeout": 0.1}  # noqa: RUF012


class PollingTests(StorageCase):
    """dequeue does not wait."""

    options = {"blocking": False}  # noqa: RUF012
