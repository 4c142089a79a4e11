"""huey on a real server: its own tests of a storage, and consumers that lose nothing."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from huey.api import Huey  # type: ignore[import-untyped]  # it has no types
from huey.constants import EmptyData  # type: ignore[import-untyped]
from huey.exceptions import TaskLockedException  # type: ignore[import-untyped]
from pymemcache.exceptions import (  # type: ignore[import-untyped]
    MemcacheClientError,
    MemcacheServerError,
)

from mctwist.contrib.huey import MctwistStorage
from tests.processes import PATIENCE, ROOT, Server, complaints, eventually
from tests.test_users import line, users

# huey looks at it when its tests are imported; those that are slow take a second.
os.environ["HUEY_SLOW_TESTS"] = "1"
from huey.tests import base, test_storage  # type: ignore[import-untyped]

#: What the suite has the consumers do; `make huey` asks for ten thousand.
TASKS = int(os.environ.get("HUEY_TASKS", "300"))
WORKERS = 4

KIND = os.environ.get("HUEY_KIND", "lmdb")


def make(server: Server, name: str = "huey", **options: Any) -> Any:
    address = server.addresses()[0]
    assert not isinstance(address, str)
    host, port = address
    return Huey(name, storage_class=MctwistStorage, host=host, port=port, utc=False, **options)


class StorageCase(test_storage.StorageTests):  # type: ignore[misc]
    """huey's own tests of a storage, as they are."""

    options: "dict[str, Any]" = {}  # noqa: RUF012  # never changed

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.server = Server(Path(folder.name), kind=KIND)
        cls.server.start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self) -> None:
        if not hasattr(self, "server"):
            self.skipTest("trial prepares no class; pytest runs it")
        super().setUp()

    def get_huey(self) -> Any:
        huey = make(self.server, **self.options)
        self.addCleanup(huey.storage.close)
        return huey


class BlockingTests(StorageCase, base.BaseTestCase):  # type: ignore[misc]
    """dequeue waits."""

    options = {"read_timeout": 0.1}  # noqa: RUF012


class PollingTests(StorageCase, base.BaseTestCase):  # type: ignore[misc]
    """dequeue does not wait."""

    options = {"blocking": False}  # noqa: RUF012


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, kind=KIND) as running:
        yield running


@pytest.fixture
def storage(server: Server) -> Iterator[Any]:
    storage = make(server).storage
    yield storage
    storage.close()


def test_priorities_may_be_negative_and_fractions(storage: Any) -> None:
    for priority in (0.5, -3, None, 10**6, -0.0, 2, -3.5, 1.5, 0):
        storage.enqueue(repr(priority).encode(), priority)
    assert storage.enqueued_items(3) == [b"1000000", b"2", b"1.5"]
    popped = [storage.dequeue() for _ in range(9)]
    assert popped[2:] == [b"1.5", b"0.5", b"None", b"-0.0", b"0", b"-3", b"-3.5"]


def test_moments_may_be_equal_old_and_of_a_zone(storage: Any) -> None:
    moment = datetime(1969, 7, 20, 20, 17, 40, 5)
    east = timezone(timedelta(hours=2))
    for data, ts in (
        (b"2", moment),
        (b"3", moment),
        (b"4", moment.replace(hour=22, tzinfo=east) + timedelta(microseconds=1)),
        (b"1", moment - timedelta(microseconds=1)),
    ):
        storage.add_to_schedule(data, ts)
    assert storage.read_schedule(moment) == [b"1", b"2", b"3"]
    assert storage.scheduled_items() == [b"4"]


def test_a_schedule_and_a_queue_of_thousands(storage: Any) -> None:
    begin = datetime(2030, 1, 1)
    numbers = [b"%d" % number for number in range(2500)]
    for number, data in enumerate(numbers):
        storage.add_to_schedule(data, begin + timedelta(seconds=number))
        storage.enqueue(data)
    assert storage.queue_size() == storage.schedule_size() == 2500
    assert storage.scheduled_items() == storage.enqueued_items() == numbers
    assert storage.enqueued_items(1001) == numbers[:1001]
    assert storage.read_schedule(begin + timedelta(seconds=2499)) == numbers
    storage.flush_queue()
    assert storage.queue_size() == storage.schedule_size() == 0


def test_what_is_due_is_not_lost_by_what_comes_after_it_and_fails(storage: Any) -> None:
    moment = datetime(2030, 1, 1)
    numbers = [b"%d" % number for number in range(1001)]
    for data in numbers:
        storage.add_to_schedule(data, moment)
    pop, pops = storage._pop, iter(range(3))

    def fails_the_second_time(*args: Any) -> Any:
        if next(pops) == 1:
            raise MemcacheServerError("cannot write")
        return pop(*args)

    storage._pop = fails_the_second_time
    assert storage.read_schedule(moment) == numbers[:1000]
    assert storage.read_schedule(moment) == numbers[1000:]
    # Where nothing has been taken out, it is told.
    pops = iter([1])
    with pytest.raises(MemcacheServerError):
        storage.read_schedule(moment)


def test_keys_of_any_bytes_and_values_of_any(storage: Any) -> None:
    value = b"EN\r\nVA 1\r\n\0\xff\r\n"
    for key in (b"a b", b"\0\r\n", "schlüssel", b"\xff"):
        storage.put_data(key, value)
        assert storage.peek_data(key) == value
        assert storage.peek_many([key, b"none"]) == {key: value}
        assert storage.incr(key, -5) == -5
        assert storage.incr(key, 5) == 0
        assert storage.put_if_empty(key, b"") is False
    assert storage.result_store_size() == 4
    assert set(storage.result_items()) == {"a b", "\0\r\n", "schlüssel", "\udcff"}
    assert storage.pop_data("schlüssel") == value
    assert storage.pop_data("schlüssel") is EmptyData
    with pytest.raises(ValueError, match="longer than"):
        storage.put_data(b"k" * 240, b"")


def test_queues_of_one_server_are_strangers(server: Server) -> None:
    hueys = [make(server, name, blocking=False) for name in ("a", "a.q", "a q", "ä")]
    for number, huey in enumerate(hueys):
        huey.storage.enqueue(b"%d" % number)
        huey.storage.put_data("k", b"%d" % number)
    for number, huey in enumerate(hueys):
        assert huey.storage.enqueued_items() == [b"%d" % number]
        huey.storage.flush_all()
        assert huey.storage.dequeue() is None
        huey.storage.close()


def test_locks_limit_and_expire(server: Server) -> None:
    huey = make(server)
    with huey.lock_task("one"), pytest.raises(TaskLockedException), huey.lock_task("one"):
        pass
    assert huey.storage.put_if_empty("l", b"1", ttl=60 * 24 * 60 * 60)
    assert not huey.storage.put_if_empty("l", b"2", ttl=1)
    with server.connect() as connection:
        answer = connection.ask(b"mg huey.huey.r.l t\r\n")
    # Two months are more than what memcached takes for seconds from now on.
    assert 59 * 86_400 < int(answer[4:]) <= 60 * 86_400
    huey.storage.close()


def test_a_user_with_a_prefix_has_queues_within_it(tmp_path: Path) -> None:
    path = users(tmp_path, line(b"ann", b"secret word", prefix=b"huey.shop."))
    with Server(tmp_path, "--auth-file", str(path), kind=KIND) as server:
        user = {"user": "ann", "password": "secret word", "blocking": False}
        shop, other = make(server, "shop", **user).storage, make(server, "other", **user).storage
        shop.enqueue(b"1")
        shop.put_data("k", b"v")
        assert (shop.dequeue(), shop.result_items(), shop.incr("c")) == (b"1", {"k": b"v"}, 1)
        shop.flush_all()
        for attempt in (other.dequeue, other.queue_size, partial(other.enqueue, b"1")):
            with pytest.raises(MemcacheClientError, match="permission denied"):
                attempt()
        shop.close()
        other.close()


def test_what_is_queued_is_not_evicted_and_a_full_store_can_be_emptied(tmp_path: Path) -> None:
    with Server(tmp_path, "--storage-limit", "1m", kind=KIND) as server:
        storage = make(server, blocking=False).storage
        for number in range(100):
            storage.put_data(str(number), bytes(5000), is_result=True)

        def fill() -> None:
            while True:
                storage.enqueue(b"%05d" % storage.queue_size() + bytes(5000))

        with pytest.raises(MemcacheServerError, match="out of memory"):
            fill()
        queued = storage.queue_size()
        # Beside all the results there was room for less.
        assert queued * 5000 > 600_000
        for number in range(queued):
            assert storage.dequeue()[:5] == b"%05d" % number
        storage.enqueue(b"again")
        storage.close()


def test_those_who_wait_are_woken_each_by_an_entry_of_its_own(server: Server) -> None:
    huey = make(server, read_timeout=30.0, timeout=60.0)
    got: list[bytes] = []
    waiters = [
        threading.Thread(target=lambda: got.append(huey.storage.dequeue()), daemon=True)
        for _ in range(8)
    ]
    for waiter in waiters:
        waiter.start()
    with server.connect() as connection:
        eventually(lambda: parked(connection) == 8, "eight wait")
        for number in range(8):
            huey.storage.enqueue(b"%d" % number)
        for waiter in waiters:
            waiter.join(30.0)
    assert sorted(got) == [b"%d" % number for number in range(8)]
    huey.storage.close()


def parked(connection: Any) -> int:
    """How many connections wait for something."""
    report: str = connection.ask(b"stats conns\r\n", b"END\r\n").decode()
    return report.count("state conn_io_queue")


def test_a_result_is_waited_for(server: Server) -> None:
    huey = make(server)
    with server.connect() as connection:
        result: list[bool] = []
        waiter = threading.Thread(
            target=lambda: result.append(huey.storage.wait_result("k", timeout=30.0)), daemon=True
        )
        waiter.start()
        eventually(lambda: parked(connection) == 1, "one waits")
        huey.storage.put_data("k", b"", is_result=True)
        waiter.join(30.0)
    assert result == [True]
    huey.storage.close()


APPLICATION = """
import os
from huey import Huey
from mctwist.contrib.huey import MctwistStorage

huey = Huey("shop", storage_class=MctwistStorage, path={path!r}, patience=60.0, timeout=60.0)
done = os.open({done!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@huey.task()
def work(number):
    os.write(done, b"%d\\n" % number)
    return number
"""


class Shop:
    """A server, a consumer with four workers, and an application that has them work."""

    def __init__(self, folder: Path, workers: str) -> None:
        self.done = folder / "done"
        path = str(folder / "socket")
        self.server = Server(folder, "-s", path, kind=KIND)
        (folder / "shop.py").write_text(APPLICATION.format(path=path, done=str(self.done)))
        command = ["-m", "huey.bin.huey_consumer", "shop.huey", "-w", str(WORKERS), "-k", workers]
        places = os.pathsep.join((str(folder), str(ROOT)))
        self._environment = {**os.environ, "PYTHONPATH": places}
        self._log = folder / "consumer.log"
        self._command = [sys.executable, *command]
        specification = spec_from_file_location("shop", folder / "shop.py")
        assert specification is not None
        assert specification.loader is not None
        application = module_from_spec(specification)
        specification.loader.exec_module(application)
        self.huey, self.work = application.huey, application.work

    def __enter__(self) -> "Shop":
        self.server.start()
        with open(self._log, "wb") as log:
            self._consumer = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *exception: object) -> None:
        # huey's consumer lets its workers finish at SIGINT.
        self._consumer.send_signal(signal.SIGINT)
        try:
            self._consumer.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._consumer.kill()
            self._consumer.wait()
        self.huey.storage.close()
        self.server.close()

    def log(self) -> str:
        return self._log.read_text()

    def await_done(self, number: int) -> None:
        eventually(lambda: len(self.numbers()) >= number, f"{number} are done", 2 * PATIENCE)

    def numbers(self) -> "list[int]":
        """What has been done."""
        return [int(line) for line in self.done.read_text().split()] if self.done.exists() else []


@pytest.mark.parametrize("workers", ["thread", "process"])
def test_a_consumer_with_four_workers_does_each_task_once(tmp_path: Path, workers: str) -> None:
    with Shop(tmp_path, workers) as shop:
        for number in range(TASKS):
            shop.work(number)
        shop.await_done(TASKS)
        eventually(lambda: shop.huey.result_count() >= TASKS, "all is written down")
        assert shop.huey.pending_count() == 0
    assert Counter(shop.numbers()) == Counter(range(TASKS))
    assert "Traceback" not in shop.log()
    assert complaints(shop.server.log()) == []


def test_killed_in_the_middle_the_server_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with Shop(tmp_path, "thread") as shop:

        def produce() -> None:
            for number in range(TASKS):
                shop.work(number)

        producer = threading.Thread(target=produce, daemon=True)
        producer.start()
        for part in (0.2, 0.4, 0.6, 0.8):
            shop.await_done(int(part * TASKS))
            shop.server.kill()
            shop.server.start()
        producer.join(2 * PATIENCE)
        assert not producer.is_alive()
        shop.await_done(TASKS)
        eventually(lambda: shop.huey.result_count() >= TASKS, "all is written down")
        assert shop.huey.pending_count() == 0
    assert Counter(shop.numbers()) == Counter(range(TASKS))
    assert "Traceback" not in shop.log()
