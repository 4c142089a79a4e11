"""
Redis's own clients: redis-py, txredisapi, Django's cache, redis-cli and redis-benchmark.

Each is run against the real redis-server too, which proves the test: what a client makes of Redis
is what it has to make of mctwist. One keyspace with memcached's clients is mctwist's alone.
"""

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
import pytest_twisted  # type: ignore[import-untyped]  # has no types, nor has pymemcache
import redis
import redis.asyncio
from pymemcache import serde  # type: ignore[import-untyped]
from pymemcache.client.base import Client  # type: ignore[import-untyped]
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import PATIENCE, ROOT, Server, complaints, eventually, program
from tests.redis_wire import command
from tests.test_redis_differential import Address, redis_server

in_reactor: Callable[..., Callable[..., Any]] = pytest_twisted.ensureDeferred

#: Who is not answered fails, and does not ask ten times more.
ONCE = Retry(NoBackoff(), 0)
BINARY = bytes(range(256)) + b"\r\n$-1\r\n*3\r\n"


@pytest.fixture(scope="module", params=["redis", "mctwist"])
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Address]":
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "redis":
        with redis_server(folder) as address:
            yield address
        return
    with Server(folder) as server:
        yield tcp(server)
        assert complaints(server.log()) == []


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    if "address" in request.fixturenames:
        with closing(make(request.getfixturevalue("address"))) as client:
            client.flushall()


def tcp(server: Server) -> Address:
    address = server.addresses()[0]
    assert isinstance(address, tuple)
    return address


def make(address: Address, protocol: int = 2, **options: Any) -> Any:
    host, port = address
    return redis.Redis(
        host, port, protocol=protocol, socket_timeout=PATIENCE, retry=ONCE, **options
    )


# ---- redis-py ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_stores_and_fetches(address: Address, protocol: int) -> None:
    with closing(make(address, protocol)) as client:
        assert client.ping() is True
        assert client.set("k", BINARY) is True
        assert client.get("k") == BINARY
        assert client.get("none") is None
        assert client.set("k", "x", nx=True) is None
        assert client.set("k", "x", xx=True, get=True) == BINARY
        assert client.set("k", "y", px=100_000, keepttl=False) is True
        assert 99_000 < client.pttl("k") <= 100_000
        assert client.set("k", "z", keepttl=True) is True
        assert client.ttl("k") in (99, 100)
        assert client.persist("k") is True
        assert client.ttl("k") == -1
        assert client.setnx("k", "x") is False
        assert client.getset("k", "w") == b"z"
        assert client.getex("k", ex=50) == b"w"
        assert client.expire("k", 60, gt=True) is True
        assert client.getdel("k") == b"w"
        assert client.ttl("k") == -2
        assert client.mset({f"k{number}": number for number in range(200)}) is True
        keys = [f"k{number}" for number in range(200)]
        assert client.mget([*keys, "none"]) == [b"%d" % number for number in range(200)] + [None]
        assert client.msetnx({"k1": 1, "other": 2}) is False
        assert client.exists("k1", "k2", "other", "k1") == 3
        assert client.delete("k1", "k2", "other") == 2
        assert client.dbsize() == 198
        assert sorted(client.scan_iter(match="k19?", count=10)) == sorted(
            b"k19%d" % number for number in range(10)
        )
        assert sorted(client.keys("k10*")) == sorted(
            [b"k10", *(b"k10%d" % number for number in range(10))]
        )
        assert client.randomkey().startswith(b"k")
        assert client.rename("k3", "renamed") is True
        with pytest.raises(redis.ResponseError, match="no such key"):
            client.rename("k3", "k4")
        assert client.type("renamed") == b"string"
        assert client.append("renamed", "!") == 2
        assert client.setrange("renamed", 4, "?") == 5
        assert client.getrange("renamed", 0, -1) == b"3!\0\0?"
        assert client.strlen("renamed") == 5
        assert client.flushdb() is True
        assert client.dbsize() == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_counts(address: Address, protocol: int) -> None:
    with closing(make(address, protocol)) as client:
        assert client.incr("n") == 1
        assert client.incrby("n", 41) == 42
        assert client.decr("n", 50) == -8
        assert client.incrbyfloat("n", 0.5) == -7.5
        with pytest.raises(redis.ResponseError, match="not an integer"):
            client.incr("n")
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command("NONSENSE", "a")
        assert client.ping() is True


# It looks for fields both as bytes and as text, which `python -b` warns of.
@pytest.mark.filterwarnings("ignore::BytesWarning")
@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_asks_for_what_is_not_a_value(address: Address, protocol: int) -> None:
    with closing(make(address, protocol, client_name="me", decode_responses=True)) as client:
        assert client.client_getname() == "me"
        assert client.client_id() > 0
        info = client.info()
        assert info["redis_version"].startswith("7.0.")
        assert info["role"] == "master"
        seconds, microseconds = client.time()
        assert seconds > 1_600_000_000
        assert 0 <= microseconds < 1_000_000
        assert client.config_get("maxmemory").keys() == {"maxmemory"}
        assert client.command_count() > 50
        assert client.execute_command("COMMAND DOCS", "get")
        assert client.echo("grün") == "grün"


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_pipelines(address: Address, protocol: int) -> None:
    with closing(make(address, protocol)) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(1000):
            pipeline.set(f"k{number}", number).get(f"k{number}")
        answers = pipeline.execute()
        assert answers[::2] == [True] * 1000
        assert answers[1::2] == [b"%d" % number for number in range(1000)]
        pipeline.set("s", "abc").incr("s").get("s")
        told = pipeline.execute(raise_on_error=False)
        assert told[0] is True
        assert isinstance(told[1], redis.ResponseError)
        assert told[2] == b"abc"


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_transactions(address: Address, protocol: int) -> None:
    with closing(make(address, protocol)) as client, closing(make(address, protocol)) as other:
        with client.pipeline() as transaction:
            assert transaction.set("k", 1).incr("k").get("none").execute() == [True, 2, None]
            transaction.watch("k")
            before = int(transaction.get("k"))
            transaction.multi()
            transaction.set("k", before + 1)
            other.set("k", 100)
            with pytest.raises(redis.WatchError):
                transaction.execute()
            assert client.get("k") == b"100"

        def double(pipe: Any) -> None:
            value = int(pipe.get("k"))
            pipe.multi()
            pipe.set("k", 2 * value)

        assert client.transaction(double, "k") == [True]
        assert client.get("k") == b"200"
        with pytest.raises(redis.ResponseError, match="not an integer"), client.pipeline() as pipe:
            pipe.set("s", "abc").incr("s").execute()


def test_redis_py_times_are_of_milliseconds(address: Address) -> None:
    with closing(make(address)) as client:
        client.set("k", "v", px=80)
        client.set("kept", "v", px=80)
        assert client.pexpire("kept", 100_000) is True
        assert 0 < client.pttl("k") <= 80
        eventually(lambda: client.get("k") is None, "it has expired")
        assert client.mget("k", "kept") == [None, b"v"]
        client.set("k", "v", pxat=4_102_444_800_123)
        assert client.pexpiretime("k") == 4_102_444_800_123
        assert client.expiretime("k") == 4_102_444_800


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_in_asyncio(address: Address, protocol: int) -> None:
    async def check() -> None:
        host, port = address
        client: Any = redis.asyncio.Redis(host=host, port=port, protocol=protocol)
        try:
            assert await client.set("k", BINARY) is True
            assert await client.get("k") == BINARY
            counts = await asyncio.gather(*(client.incr("n") for _ in range(100)))
            assert sorted(counts) == list(range(1, 101))
            async with client.pipeline(transaction=True) as pipe:
                assert await pipe.set("k", 1).incr("k").execute() == [True, 2]
                await pipe.watch("k")
                await client.set("k", 5)
                pipe.multi()
                pipe.set("k", 6)
                with pytest.raises(redis.WatchError):
                    await pipe.execute()
            assert [key async for key in client.scan_iter("k*")] == [b"k"]
        finally:
            await client.aclose()

    asyncio.run(check())


@pytest.mark.parametrize("protocol", [2, 3])
def test_many_threads_share_redis_pys_pool(address: Address, protocol: int) -> None:
    def count(client: Any) -> None:
        for _ in range(100):
            client.transaction(lambda pipe: pipe.incr("n"))

    with closing(make(address, protocol, max_connections=8)) as client:
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(count, client) for _ in range(4)]:
                done.result(PATIENCE)
        assert client.get("n") == b"400"


# ---- txredisapi ----------------------------------------------------------------------------------


# It makes a set of both, which `python -b` warns of.
@pytest.mark.filterwarnings("ignore::BytesWarning")
@in_reactor
async def test_txredisapi(address: Address) -> None:
    txredisapi = importlib.import_module("txredisapi")
    host, port = address
    # It has to be told of a charset to begin a transaction; of latin-1 all bytes are letters.
    # Two connections, for a transaction has one to itself.
    client = await txredisapi.ConnectionPool(
        host, port, poolsize=2, reconnect=False, charset="latin-1", convertNumbers=False
    )
    binary = BINARY.decode("latin-1")
    try:
        assert await client.set("k", binary) == "OK"
        assert await client.get("k") == binary
        assert await client.get("none") is None
        assert await client.setnx("k", "x") == 0
        assert await client.mset({"a": "1", "b": "2"}) == "OK"
        assert await client.mget(["a", "b", "none"]) == ["1", "2", None]
        assert await client.incr("a", 41) == 42
        assert await client.expire("a", 100) == 1
        assert await client.ttl("a") in (99, 100)
        assert sorted(await client.keys("*")) == ["a", "b", "k"]
        transaction = await client.multi()
        await transaction.set("t", "1")
        await transaction.incr("t")
        assert await transaction.commit() == ["OK", 2]
        transaction = await client.multi("k")
        await transaction.set("t", "9")
        await client.set("k", binary)
        with pytest.raises(txredisapi.WatchError):
            await transaction.commit()
        transaction = await client.multi("k")
        await transaction.set("t", "9")
        await transaction.discard()
        assert await client.get("t") == "2"
        assert await client.delete(["a", "b"]) == 2
        answers = [client.get("k") for _ in range(300)]
        for answer in answers:
            assert await answer == binary
        with pytest.raises(txredisapi.ResponseError):
            await client.incr("k")
    finally:
        await client.disconnect()


# ---- Django --------------------------------------------------------------------------------------


def test_djangos_cache(address: Address) -> None:
    """In a process of its own, as Django's settings are."""
    host, port = address
    done = subprocess.run(
        [sys.executable, "-b", "-W", "error", "-c", DJANGO, f"redis://{host}:{port}"],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


DJANGO = """
import sys
from django.conf import settings

BACKEND = "django.core.cache.backends.redis.RedisCache"
settings.configure(CACHES={"default": {"BACKEND": BACKEND, "LOCATION": sys.argv[1]}})

from django.core.cache import cache

cache.set("k", {"a": [1.5, "grün"]}, 100)
assert cache.get("k") == {"a": [1.5, "grün"]}
assert cache.get("none", "default") == "default"
assert cache.add("k", 1) is False
assert cache.add("new", 1) is True
assert "new" in cache
assert cache.incr("new", 5) == 6
assert cache.decr("new") == 5
try:
    cache.incr("none")
except ValueError:
    pass
else:
    raise AssertionError
assert cache.touch("new", 50) is True
assert cache.touch("none") is False
assert cache.set_many({"a": 1, "b": "two", "c": None}, 100) == []
assert cache.get_many(["a", "b", "c", "none"]) == {"a": 1, "b": "two", "c": None}
cache.delete_many(["a", "b"])
assert cache.get_many(["a", "b", "c"]) == {"c": None}
assert cache.delete("c") is True
assert cache.delete("c") is False
assert cache.get_or_set("made", lambda: 7) == 7
cache.set("gone", 1, 0)
assert cache.get("gone") is None
cache.set("stays", 1, None)
assert cache.get("stays") == 1
cache.set("k", 1, version=2)
assert cache.get("k", version=2) == 1
assert cache.incr_version("k", version=2) == 3
cache.clear()
assert cache.get("k") is None
cache.close()
print("done")
"""


# ---- redis-cli and redis-benchmark ---------------------------------------------------------------


def run(address: Address, name: str, *arguments: str, input: bytes = b"") -> bytes:
    """All that a program of Redis's own says."""
    host, port = address
    done = subprocess.run(
        [program(name), "-h", host, "-p", str(port), *arguments],
        input=input, capture_output=True, timeout=PATIENCE, check=False,
        # It reads ~/.redisclirc, and of a terminal.
        env={**os.environ, "HOME": "/nonexistent", "TERM": "dumb"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("version", [[], ["-3"]])
def test_redis_cli(address: Address, version: "list[str]") -> None:
    def cli(*words: str) -> bytes:
        return run(address, "redis-cli", "--no-raw", *version, *words)

    null = b"(nil)\n"
    assert cli("SET", "k", "a b") == b"OK\n"
    assert cli("GET", "k") == b'"a b"\n'
    assert cli("GET", "none") == null
    assert cli("INCRBY", "n", "42") == b"(integer) 42\n"
    assert cli("MGET", "k", "none") == b'1) "a b"\n2) (nil)\n'
    assert cli("INCR", "k").strip() == b"(error) ERR value is not an integer or out of range"
    assert cli("NONSENSE").startswith(b"(error) ERR unknown command 'NONSENSE'")
    assert cli("PING") == b"PONG\n"
    assert cli("DBSIZE") == b"(integer) 2\n"
    told = run(
        address, "redis-cli", "--no-raw", *version,
        input=b"MULTI\nSET k v\nGET k\nEXEC\nCONFIG GET nonsense\nQUIT\n",
    )  # fmt: skip
    assert told.splitlines()[:3] == [b"OK", b"QUEUED", b"QUEUED"]
    assert b'1) OK\n2) "v"\n' in told
    assert run(address, "redis-cli", *version, "--scan").split() in ([b"k", b"n"], [b"n", b"k"])
    assert b"redis_version:7.0" in run(address, "redis-cli", *version, "INFO", "server")


def test_redis_clis_pipe(address: Address) -> None:
    requests = b"".join(command("SET", f"k{number}", number) for number in range(5000))
    told = run(address, "redis-cli", "--pipe", input=requests)
    assert b"errors: 0, replies: 5000" in told
    with closing(make(address)) as client:
        assert client.dbsize() == 5000
        assert client.get("k4321") == b"4321"


@pytest.mark.parametrize("more", [[], ["-P", "32"], ["-3"], ["-r", "100", "-d", "1000"]])
def test_redis_benchmark_runs_to_its_end(address: Address, more: "list[str]") -> None:
    flags = ["-t", "set,get,incr,mset", "-n", "1000", "-c", "10", "--csv", *more]
    lines = run(address, "redis-benchmark", *flags).decode().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [
        '"SET"', '"GET"', '"INCR"', '"MSET (10 keys)"',
    ]  # fmt: skip


# ---- One keyspace --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Server]":
    with Server(tmp_path_factory.mktemp("shared")) as server:
        yield server
        assert complaints(server.log()) == []


@pytest.fixture
def clients(server: Server) -> "Iterator[tuple[Any, Any]]":
    """redis-py and pymemcache, on the same port."""
    memcached = Client(tcp(server), timeout=PATIENCE, default_noreply=False)
    with closing(make(tcp(server))) as client, closing(memcached):
        client.flushall()
        yield client, memcached


def test_what_one_sets_the_other_reads(clients: "tuple[Any, Any]") -> None:
    client, memcached = clients
    client.set("k", BINARY)
    assert memcached.get("k") == BINARY
    memcached.set("k", b"other", expire=100)
    assert client.get("k") == b"other"
    assert client.ttl("k") in (99, 100)
    assert client.delete("k") == 1
    assert memcached.get("k") is None
    assert memcached.add("k", b"new") is True
    assert client.setnx("k", b"x") is False
    assert client.append("k", b"er") == 5
    assert memcached.append("k", b"!") is True
    assert client.get("k") == b"newer!"
    client.pexpire("k", 100_000)
    assert memcached.touch("k", 0) is True
    assert client.ttl("k") == -1
    client.mset({f"k{number}": number for number in range(50)})
    assert memcached.get_many([f"k{number}" for number in range(50)]) == {
        f"k{number}": b"%d" % number for number in range(50)
    }
    memcached.flush_all()
    assert client.dbsize() == 0


def test_a_cas_unique_is_of_any_change(clients: "tuple[Any, Any]") -> None:
    client, memcached = clients
    memcached.set("k", b"v")
    _, unique = memcached.gets("k")
    client.set("k", "w")
    assert memcached.cas("k", b"x", unique) is False
    with client.pipeline() as transaction:
        transaction.watch("k")
        transaction.multi()
        transaction.set("k", "y")
        memcached.set("k", b"z")
        with pytest.raises(redis.WatchError):
            transaction.execute()
    assert client.get("k") == b"z"


def test_both_count_on_one_counter(clients: "tuple[Any, Any]") -> None:
    client, memcached = clients
    client.set("n", 10)
    assert memcached.incr("n", 5) == 15
    assert client.incr("n") == 16
    # memcached shortens what it holds by padding it.
    client.set("n", 100)
    assert memcached.decr("n", 1) == 99
    assert client.incr("n") == 100
    assert memcached.decr("n", 95) == 5
    assert client.decrby("n", 7) == -2
    assert client.incrbyfloat("n", 2.5) == 0.5
    memcached.set("n", b"18446744073709551615")
    with pytest.raises(redis.ResponseError, match="not an integer or out of range"):
        client.incr("n")
    assert memcached.get("n") == b"18446744073709551615"
    client.set("n", 2**63 - 1)
    assert memcached.incr("n", 1) == 2**63


def test_the_flag_of_pymemcaches_integers_is_kept(server: Server) -> None:
    memcached = Client(tcp(server), serde=serde.pickle_serde, default_noreply=False)
    with closing(make(tcp(server))) as client, closing(memcached):
        memcached.set("n", 7)
        assert client.incr("n") == 8
        assert memcached.get("n") == 8
        assert client.incrby("n", -10) == -2
        assert memcached.get("n") == -2
        memcached.set("text", "grün")
        client.append("text", "!")
        assert memcached.get("text") == "grün!"
        client.setrange("text", 0, "G")
        assert memcached.get("text") == "Grün!"
        # Who sets a value knows nothing of what was there.
        client.set("n", 9)
        assert memcached.get("n") == b"9"


def test_what_redis_py_stored_survives_kill_9(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with closing(make(tcp(server))) as client:
            client.mset({"a": 1, "b": BINARY})
            client.set("c", "x", pxat=4_102_444_800_123)
            client.transaction(lambda pipe: pipe.incr("a").append("b", "!"))
            client.rename("c", "d")
        server.kill()
        server.start()
        with closing(make(tcp(server))) as client:
            assert client.mget("a", "b", "c", "d") == [b"2", BINARY + b"!", None, b"x"]
            assert client.pexpiretime("d") == 4_102_444_800_123
