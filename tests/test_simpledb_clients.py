"""simpledb's own client, as PyPI has it, against a real server: every command that they share."""

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.processes import PATIENCE, Connection, Server, complaints

with warnings.catch_warnings():
    # It is written for Python 2 as well, and spells a pattern so that newer ones complain.
    warnings.simplefilter("ignore")
    import simpledb  # type: ignore[import-untyped]  # has no types

# It closes files made of sockets, and leaves the sockets to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PLACES = ("--listen", "simpledb=tcp:0:interface=127.0.0.1", "--listen", "tcp:0:interface=127.0.0.1")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, *PLACES) as server:
        yield server
        assert complaints(server.log()) == []


def client_of(running: Server) -> Any:
    return simpledb.Client(*running.addresses()[0])


@pytest.fixture
def client(running: Server) -> Iterator[Any]:
    client = client_of(running)
    yield client
    client.quit()


THINGS: "tuple[Any, ...]" = (
    *(b"bytes \r\n\0\xff", "text \u2603", "", b"", 0, -(10**30), None, [], {}, set()),
    *([1, [b"2", ["three", None]]], {"a": {"b": [1, {"c": {1, 2}}]}, b"k": -1, 3: "x"}),
)


def test_values_come_back_equal(client: Any) -> None:
    for thing in (*THINGS, {"a", b"b", 1}):
        assert client.set("k", thing) == 1
        found = client.get("k")
        assert found == thing
        assert type(found) is type(thing)
    assert client.set("k", True) == 1
    assert client.get("k") == True  # noqa: E712  # it is sent as a 1


def test_values_outlive_kill_9(running: Server) -> None:
    client = client_of(running)
    data = {f"k{number}": thing for number, thing in enumerate(THINGS)}
    assert client.mset(data) == len(data)
    running.kill()
    running.start()
    again = client_of(running)
    assert again.mget(*data) == list(THINGS)
    again.quit()


def test_floats_stay_exact(client: Any, running: Server) -> None:
    # The client itself cuts off what is behind the point when it writes.
    with Connection(running.addresses()[0]) as other:
        for number in (0.1, 1e22, 1 / 3, -1.5e-300):
            spelled = repr(number).encode()
            spelled = spelled if b"." in spelled else spelled.replace(b"e", b".0e")
            assert other.ask(b"*3\r\n$3\r\nSET\r\n$1\r\nf\r\n:%b\r\n" % spelled) == b":1\r\n"
            assert client.get("f") == number
            assert client.incr("f") == number + 1
            assert client.get("f") == number + 1


def test_keys_and_values(client: Any) -> None:
    assert client.flush() == 0
    assert client.mset({"a": 1, "b": "two", "c": [3]}) == 3
    assert client.mget("a", "x", "c") == [1, None, [3]]
    assert client.length() == 3
    assert client.exists("a") == 1
    assert client.exists("x") == 0
    assert client.delete("a") == 1
    assert client.delete("a") == 0
    assert client.pop("b") == "two"
    assert client.pop("b") is None
    assert client.getset("c", b"new") == [3]
    assert client.getset("d", b"new") is None
    assert client.setnx("e", 1) == 1
    assert client.setnx("e", 2) == 0
    assert client.mdelete("c", "x", "d") == 2
    assert client.mpop("e", "e") == [1, None]
    assert client.length() == 0
    assert client.set("f", 1) == 1
    assert client.flush() == 1


def test_numbers_and_what_is_appended(client: Any) -> None:
    assert client.incr("n") == 1
    assert client.incrby("n", 9) == 10
    assert client.decr("n") == 9
    assert client.decrby("n", 10) == -1
    assert client.get("n") == -1
    assert client.append("t", "one") == "one"
    assert client.append("t", "two") == "onetwo"
    assert client.get("t") == "onetwo"
    assert client.append("l", [1]) == [1]
    assert client.append("l", 2) == [1, 2]
    assert client.append("l", [3, 4]) == [1, 2, 3, 4]
    for ask, words in (
        (lambda: client.append("n", "text"), "Incompatible data-types"),
        (lambda: client.incr("l"), "Operation against wrong key type."),
        (lambda: client.incr("t"), "Operation against wrong value type."),
        (lambda: client.hget("l", "field"), "Unrecognized command: HGET"),
        (lambda: client.execute(b"GET"), "Wrong number of arguments for GET."),
    ):
        with pytest.raises(simpledb.CommandError) as caught:
            ask()
        assert caught.value.message == words.encode()


def test_expiry(client: Any) -> None:
    assert client.setex("k", "v", 1) == 1
    assert client.msetex({"a": 1, "b": 2}, 1) is None
    assert client.set("e", 1) == 1
    assert client.expire("e", 1) is None
    assert client.mget("k", "a", "b", "e") == ["v", 1, 2, 1]
    deadline = time.monotonic() + PATIENCE
    while client.mget("k", "a", "b", "e") != [None] * 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # between two looks
    assert client.exists("k") == 0


def test_as_a_mapping_and_info(client: Any) -> None:
    client["k"] = {"a": [1]}
    assert client["k"] == {"a": [1]}
    assert client["k", "x"] == [{"a": [1]}, None]
    assert "k" in client
    assert len(client) == 1
    del client["k"]
    assert "k" not in client
    info = client.info()
    assert set(info) == {
        *("active_connections", "commands_processed", "command_errors", "connections"),
        *("keys", "timestamp"),
    }
    assert info["keys"] == 0
    assert info["commands_processed"] == 7
    assert abs(info["timestamp"] - time.time()) < PATIENCE


def test_a_value_too_large_leaves_the_connection_as_it_was(client: Any) -> None:
    client.set("k", b"before")
    with pytest.raises(simpledb.CommandError) as caught:
        client.set("k", b"v" * (8 << 20))
    assert caught.value.message == b"Value is too large."
    assert client.get("k") == b"before"


def test_many_at_once(running: Server) -> None:
    def count() -> None:
        client = client_of(running)
        for _ in range(100):
            client.incr("n")
        client.quit()

    threads = [Thread(target=count) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    client = client_of(running)
    assert client.get("n") == 1000
    client.quit()


def test_who_sends_nonsense_disturbs_nobody(client: Any, running: Server) -> None:
    client.set("k", 1)
    before = running.most_memory()
    nonsense = (
        *(b"*1000000000\r\n", b"*2\r\n" * 100_000, b"$2147483647\r\n", b"$-5\r\n", b"x" * 200_000),
        *(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000000\r\n" + b"v" * 1_000_000, b"%65535\r\n"),
        *(b"\x80\0\0\x01" * 100, b"*1\r\n%1\r\n" * 5000, b"\xff\xfe\r\n" * 5000, b"+" * 99_999),
    )
    strangers = [running.connect() for _ in range(3 * len(nonsense))]
    for number, stranger in enumerate(strangers):
        stranger.send_aside(nonsense[number % len(nonsense)])
        assert client.get("k") == 1
    for stranger in strangers:
        stranger.close()
    assert client.incr("k") == 2
    assert running.most_memory() - before < 64 << 20


def test_one_keyspace_with_memcached(client: Any, running: Server) -> None:
    with running.connect(1) as text:
        assert text.ask(b"set k 5 0 2\r\n41\r\n") == b"STORED\r\n"
        assert client.incr("k") == 42
        assert text.ask(b"get k\r\n", b"END\r\n") == b"VALUE k 5 2\r\n42\r\nEND\r\n"
        client.set("k", b"bytes")
        assert text.ask(b"get k\r\n", b"END\r\n") == b"VALUE k 0 5\r\nbytes\r\nEND\r\n"


def test_with_users_it_must_be_said_that_nobody_logs_in(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.touch(0o600)
    users.write_bytes(b"ann:a\n")
    for dialect in ("simpledb", "lite"):
        place = "tcp:0:interface=127.0.0.1"
        running = Server(tmp_path, "--auth-file", str(users), "--listen", f"{dialect}={place}")
        running.launch()
        assert running.ended() == 1
        assert f"--listen {dialect}=: nobody can log in there" in running.log()
        assert "Traceback" not in running.log()
        places = ("--listen", f"{dialect},anonymous={place}")
        with Server(tmp_path, "--auth-file", str(users), *places) as running:
            with running.connect() as connection:
                answer = connection.ask(b"get k\r\n")
                assert answer == (b"$-1\r\n" if dialect == "simpledb" else b"NOT-FOUND\r\n")
            (tmp_path / "server.log").unlink()
