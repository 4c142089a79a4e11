"""Redis's own clients and memcached's, unmodified, on one server at once."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Union

import pymemcache  # type: ignore[import-untyped]
import pytest
import redis
from pymemcache import serde
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import PATIENCE, Server, complaints, program
from tests.test_users import line, users

LISTEN = ("--listen", "resp=tcp:0:interface=127.0.0.1")


@pytest.fixture
def server(tmp_path: Path) -> "Iterator[Server]":
    with Server(tmp_path, "--listen", "auto=tcp:0:interface=127.0.0.1", *LISTEN) as running:
        yield running
        assert complaints(running.log()) == []


def address(server: Server, number: int) -> "tuple[str, int]":
    found = server.addresses()[number]
    assert isinstance(found, tuple)
    return found


def connect(server: Server, number: int = 1, **options: Any) -> Any:
    host, port = address(server, number)
    return closing(redis.Redis(host, port, socket_timeout=PATIENCE, **options))


def name(answer: "Union[str, bytes]") -> str:
    """An answer that is text in the one version of the protocol and bytes in the other."""
    return answer.decode() if isinstance(answer, bytes) else answer


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("number", [0, 1], ids=["by its first byte", "on its own port"])
def test_redis_py(server: Server, protocol: int, number: int) -> None:
    with connect(server, number, protocol=protocol, client_name="me") as client:
        assert client.ping()
        assert name(client.client_getname()) == "me"
        assert client.set("k", b"v\r\n\0", px=60_000)
        assert client.get("k") == b"v\r\n\0"
        assert 59_000 < client.pttl("k") <= 60_000
        assert client.set("k", "w", nx=True) is None
        assert client.getex("k", persist=True) == b"v\r\n\0"
        assert client.ttl("k") == -1
        assert client.mset({"a": 1, "b": 2})
        assert client.mget("a", "nothing", "b") == [b"1", None, b"2"]
        assert client.incrby("a", 41) == 42
        assert client.incrbyfloat("a", "0.5") == 42.5
        assert client.append("b", "x") == 2
        assert name(client.type("b")) == "string"
        assert sorted(client.keys("[ab]")) == [b"a", b"b"]
        assert client.delete("a", "b", "nothing") == 2
        assert client.dbsize() == 1
        assert client.info()["redis_version"] == "7.0.15"
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.command_count() > 50
        assert client.time()[0] > 1_700_000_000
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.lpush("l", "x")
        assert client.flushall()
        assert client.get("k") is None


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_pipeline_is_a_transaction(server: Server, protocol: int) -> None:
    with connect(server, protocol=protocol) as client, client.pipeline() as pipeline:
        pipeline.set("n", 1).incr("n").get("n").get("nothing")
        assert pipeline.execute() == [True, 2, b"2", None]
        pipeline.set("n", "x").incr("n").get("n")
        results = pipeline.execute(raise_on_error=False)
        assert isinstance(results[1], redis.ResponseError)
        assert results[2] == b"x"


def test_eight_clients_count_with_watch(server: Server) -> None:
    faults: list[Exception] = []

    def count() -> None:
        def add(pipeline: Any) -> None:
            number = int(pipeline.get("n") or 0)
            pipeline.multi()
            pipeline.set("n", number + 1)

        try:
            with connect(server) as client:
                for _ in range(20):
                    client.transaction(add, "n")
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert faults == []
    with connect(server) as client:
        assert client.get("n") == b"160"


def test_pymemcache_beside_it(server: Server) -> None:
    memcached = pymemcache.Client(
        address(server, 0), serde=serde.pickle_serde, default_noreply=False
    )
    with connect(server) as client, closing(memcached):
        memcached.set("n", 10)
        assert client.incr("n") == 11
        # Its own flag for an integer is still there.
        assert memcached.get("n") == 11
        memcached.decr("n", 2)
        assert client.get("n") == b"9 "
        assert client.incr("n") == 10
        client.set("s", "from redis", ex=100)
        assert memcached.get("s") == b"from redis"
        memcached.set("t", b"from memcached", expire=100)
        assert client.get("t") == b"from memcached"
        assert 98 <= client.ttl("t") <= 100
        client.set("m", 5)
        assert memcached.incr("m", 1) == 6


def test_what_is_acknowledged_survives(tmp_path: Path) -> None:
    with Server(tmp_path, *LISTEN) as running:
        with connect(running, 0) as client:
            assert client.mset({f"k{number}": number for number in range(100)})
            assert client.set("e", "v", pxat=9_999_999_999_123)
        running.kill()
        running.start()
        with connect(running, 0) as client:
            assert client.mget(*(f"k{number}" for number in range(100))) == [
                b"%d" % number for number in range(100)
            ]
            assert client.execute_command("PEXPIRETIME", "e") == 9_999_999_999_123


@pytest.mark.parametrize("protocol", [2, 3])
def test_users(tmp_path: Path, protocol: int) -> None:
    path = users(tmp_path, line(b"ann", b"a"), line(b"reader", b"r", True))
    with Server(tmp_path, *LISTEN, "--auth-file", str(path)) as running:
        for options in ({}, {"username": "ann", "password": "b"}):
            # Left to itself it would try again, and have to wait as whoever guesses.
            once = Retry(NoBackoff(), 0)
            client = connect(running, 0, protocol=protocol, retry=once, **options)
            with client as stranger, pytest.raises(redis.AuthenticationError):
                stranger.get("k")
        with connect(running, 0, protocol=protocol, username="ann", password="a") as client:
            assert client.set("k", 1)
        with connect(running, 0, protocol=protocol, username="reader", password="r") as client:
            assert client.get("k") == b"1"
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.set("k", 2)


def test_redis_cli(server: Server) -> None:
    host, port = address(server, 1)
    command = [program("redis-cli"), "-h", host, "-p", str(port)]

    def run(*words: str, typed: str = "") -> str:
        done = subprocess.run(
            [*command, *words], input=typed, text=True, capture_output=True, timeout=PATIENCE
        )
        assert done.stderr == ""
        return done.stdout

    assert run("SET", "k", "some words") == "OK\n"
    assert run("-3", "GET", "k") == "some words\n"
    assert run("FOO", "x").strip() == "ERR unknown command 'FOO', with args beginning with: 'x'"
    assert run(typed="MULTI\nINCR n\nINCR n\nEXEC\n") == "OK\nQUEUED\nQUEUED\n1\n2\n"
    # Mass insertion ends with an ECHO of what no value can be, and waits for it.
    mass = "".join(f"SET key{number} {number}\r\n" for number in range(1000))
    assert "errors: 0, replies: 1000" in run("--pipe", typed=mass)
    assert run("DBSIZE") == "1002\n"
