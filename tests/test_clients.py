"""
Real clients: pymemcache's three, and Twisted's own, each against a server that is a service of this
process's reactor and against one that is a process of its own.

pymemcache blocks, so it is called in a thread while the reactor serves it.
"""

import ssl
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import pytest_twisted  # type: ignore[import-untyped]  # has no types, nor has pymemcache
from pymemcache import serde  # type: ignore[import-untyped]
from pymemcache.client.base import Client, PooledClient  # type: ignore[import-untyped]
from pymemcache.client.hash import HashClient  # type: ignore[import-untyped]
from pymemcache.exceptions import (  # type: ignore[import-untyped]
    MemcacheClientError,
    MemcacheServerError,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.threads import deferToThread
from twisted.protocols.memcache import MemCacheProtocol
from twisted.python.failure import Failure

from mctwist.tap import Options, makeService
from tests.certificates import make_identity
from tests.processes import PATIENCE, Address, Server, eventually, read_ports

#: pytest-twisted's decorator, which is not typed, with a type.
in_reactor: Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., Any]] = (
    pytest_twisted.ensureDeferred
)

CLIENTS = [Client, PooledClient, HashClient]
BINARY = bytes(range(256)) + b"\r\nEND\r\nset k 0 0 1\r\n"


@pytest.fixture(params=["service", "process"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[Address]":
    """Of a server in this process, and of one in another."""
    if request.param == "process":
        with Server(tmp_path) as server:
            yield server.addresses()[0]
        return
    ports = tmp_path / "ports"
    options = Options()
    options.parseOptions(
        ["--port", "-1", "--ports-file", str(ports), "--storage", str(tmp_path / "store")]
    )
    service = makeService(options)
    service.privilegedStartService()
    service.startService()
    yield read_ports(ports)[0]
    pytest_twisted.blockon(service.stopService())


def make(kind: Any, address: Address, **options: Any) -> Any:
    """A client of that class."""
    options.update(connect_timeout=PATIENCE, timeout=PATIENCE)
    return kind([address] if kind is HashClient else address, **options)


# pymemcache


@pytest.mark.parametrize("noreply", [False, True])
@pytest.mark.parametrize("kind", CLIENTS)
@in_reactor
async def test_pymemcache_stores_and_fetches(address: Address, kind: Any, noreply: bool) -> None:
    client = make(kind, address, default_noreply=noreply)
    await deferToThread(store_and_fetch, client, noreply)
    client.close()


def store_and_fetch(client: Any, noreply: bool) -> None:
    # With noreply every answer is True.
    assert client.set("k", b"value") is True
    assert client.get("k") == b"value"
    assert client.get("none") is None
    assert client.get("none", "default") == "default"
    assert client.set("k", b"flagged", flags=2**32 - 1) is True
    assert client.set("k", BINARY) is True
    assert client.get("k") == BINARY
    assert client.set("k", b"") is True
    assert client.get("k") == b""
    assert client.add("k", b"x") is noreply
    assert client.add("new", b"x") is True
    assert client.replace("new", b"y") is True
    assert client.replace("none", b"y") is noreply
    assert client.append("new", b">") is True
    assert client.prepend("new", b"<") is True
    assert client.get("new") == b"<y>"
    assert client.append("none", b"y") is noreply

    values = {f"k{number}": b"%d" % number * number for number in range(200)}
    assert client.set_many(values) == []
    assert client.get_many([*values, "none"]) == values
    assert {key: pair[0] for key, pair in client.gets_many(list(values)).items()} == values
    assert client.delete_many(["k1", "k2"]) is True
    assert sorted(client.get_many(["k1", "k2", "k3"])) == ["k3"]

    value, unique = client.gets("new")
    assert value == b"<y>"
    assert client.cas("new", b"swapped", unique, noreply=False) is True
    assert client.cas("new", b"late", unique, noreply=False) is False
    assert client.cas("none", b"x", unique, noreply=False) is None
    _, unique = client.gets("new")
    assert client.cas("new", b"again", unique) is (noreply or True)
    assert client.get("new") == b"again"

    assert client.set("n", b"10") is True
    assert client.incr("n", 5, noreply=noreply) == (None if noreply else 15)
    assert client.decr("n", 20, noreply=noreply) == (None if noreply else 0)
    assert client.incr("n", 2**64 - 1, noreply=False) == 2**64 - 1
    assert client.incr("n", 1, noreply=False) == 0
    assert client.incr("none", 1) is None
    with pytest.raises(MemcacheClientError) as refused:
        client.incr("new", 1)
    assert b"non-numeric" in refused.value.args[0]

    assert client.touch("n", 1000) is True
    assert client.touch("none", 1000) is noreply
    assert client.delete("n") is True
    assert client.delete("n") is noreply
    with pytest.raises(MemcacheServerError) as refused:
        client.set("k", b"x" * 2_000_000, noreply=False)
    assert b"too large" in refused.value.args[0]
    assert client.get("k") is None
    client.flush_all()
    assert client.get("new") is None


@pytest.mark.parametrize("kind", CLIENTS)
@in_reactor
async def test_pymemcache_keeps_types_in_the_flags(address: Address, kind: Any) -> None:
    def check(client: Any) -> None:
        for value in (b"bytes", "grün ☂", 7, -(2**70), None, {"a": [1.5, "b"]}, "long" * 50_000):
            assert client.set("k", value, noreply=False) is True
            assert client.get("k") == value
            assert client.get_many(["k"]) == {"k": value}
            assert client.gets("k")[0] == value

    for how in (serde.pickle_serde, serde.compressed_serde):
        client = make(kind, address, serde=how)
        await deferToThread(check, client)
        client.close()


@pytest.mark.parametrize("kind", CLIENTS)
@in_reactor
async def test_pymemcache_takes_unicode_keys(address: Address, kind: Any) -> None:
    def check(client: Any) -> None:
        key = "schlüssel-☂"
        value = "wert ☂".encode()
        assert client.set(key, value, noreply=False) is True
        assert client.get(key) == value
        assert client.get_many([key, "none"]) == {key: value}
        assert client.delete(key, noreply=False) is True

    client = make(kind, address, allow_unicode_keys=True)
    await deferToThread(check, client)
    client.close()


@in_reactor
async def test_pymemcache_sees_values_expire(address: Address) -> None:
    def check(client: Any) -> None:
        client.set_many({"a": b"a", "b": b"b"}, expire=1, noreply=False)
        client.set("touched", b"t", expire=1000, noreply=False)
        client.set("kept", b"k", expire=1, noreply=False)
        assert client.touch("touched", 1, noreply=False) is True
        assert client.touch("kept", 1000, noreply=False) is True
        assert client.set("past", b"x", expire=-1, noreply=False) is True
        assert client.get("past") is None
        keys = ["a", "b", "touched", "kept"]
        assert "kept" in client.get_many(keys)
        eventually(lambda: client.get_many(keys) == {"kept": b"k"}, "the others have expired")

    client = make(Client, address)
    await deferToThread(check, client)
    client.close()


@pytest.mark.parametrize("kind", [Client, PooledClient])
@in_reactor
async def test_pymemcache_asks_for_what_is_not_a_value(address: Address, kind: Any) -> None:
    def check(client: Any) -> None:
        assert client.version().startswith(b"1.6.")
        client.set("k", b"value", noreply=False)
        answer = client.raw_command("gat 100 k none", end_tokens=b"END\r\n")
        assert answer == b"VALUE k 0 5\r\nvalue\r\n"
        stats = client.stats()
        assert stats[b"curr_items"] == 1
        assert stats[b"cmd_set"] == 1
        assert stats[b"touch_hits"] == 1
        assert stats[b"version"] == client.version()
        client.quit()
        # It connects again by itself.
        assert client.get("k") == b"value"

    client = make(kind, address)
    await deferToThread(check, client)
    client.close()


@in_reactor
async def test_many_threads_share_a_pool_of_connections(address: Address) -> None:
    client = make(PooledClient, address, max_pool_size=4)

    def count(number: int) -> None:
        client.add("n", b"0", noreply=False)
        for _ in range(100):
            assert client.incr("n", 1) > 0
            client.set(f"k{number}", b"%d" % number, noreply=False)
            assert client.get(f"k{number}") == b"%d" % number

    counts = [deferToThread(count, number) for number in range(4)]
    for done in counts:
        await done
    assert await deferToThread(client.get, "n") == b"400"
    client.close()


def test_what_pymemcache_stored_survives_kill_9(tmp_path: Path) -> None:
    options: dict[str, Any] = {"serde": serde.pickle_serde, "default_noreply": False}
    with Server(tmp_path) as server:
        client = make(Client, server.addresses()[0], **options)
        values = {"text": "grün", "number": 7, "object": {"a": [1, 2]}, "bytes": BINARY}
        client.set_many(values)
        client.set("brief", b"b", expire=3)
        client.set("long", b"l", expire=1000)
        client.incr("number", 35)
        client.append("bytes", b"!")
        client.delete("text")
        uniques = {key: unique for key, (_, unique) in client.gets_many(["object", "long"]).items()}
        client.close()
        server.kill()
        server.start()
        client = make(Client, server.addresses()[0], **options)
        assert client.get_many([*values, "long"]) == {
            "number": 42,
            "object": {"a": [1, 2]},
            "bytes": BINARY + b"!",
            "long": b"l",
        }
        assert client.cas("object", 1, uniques["object"]) is True
        assert client.cas("object", 2, uniques["object"]) is False
        assert client.cas("long", 1, uniques["long"]) is True
        assert client.add("fresh", 1) is True
        assert int(client.gets("fresh")[1]) > max(map(int, uniques.values()))
        eventually(lambda: client.get("brief") is None, "it has expired")
        client.close()


# Twisted's


class TwistedClient(MemCacheProtocol):
    """As it is, but can be closed."""

    def __init__(self) -> None:
        super().__init__(timeOut=int(PATIENCE))
        self._gone: Deferred[None] = Deferred()

    def close(self) -> "Deferred[None]":
        assert self.transport is not None
        self.transport.loseConnection()
        return self._gone

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._gone.callback(None)


async def connect(address: Address) -> TwistedClient:
    assert isinstance(address, tuple)
    endpoint = TCP4ClientEndpoint(reactor, *address)
    client: TwistedClient = await connectProtocol(endpoint, TwistedClient())
    return client


@pytest.mark.parametrize("kind", CLIENTS)
def test_pymemcache_over_tls(tmp_path: Path, kind: Any) -> None:
    authority = make_identity(tmp_path, "authority")
    identity = make_identity(tmp_path, "server", authority)
    friend = make_identity(tmp_path, "friend", authority)
    context = ssl.create_default_context(cafile=str(authority.certificate_file))
    context.load_cert_chain(friend.certificate_file, friend.key_file)
    asked = ("--ssl-verify-mode", "2", "--ssl-ca-cert", str(authority.certificate_file))
    with Server(tmp_path, *identity.options, *asked) as server:
        client = make(kind, server.addresses()[0], tls_context=context, default_noreply=False)
        store_and_fetch(client, False)
        client.close()


@pytest.mark.parametrize("kind", CLIENTS)
def test_pymemcache_over_a_unix_socket(tmp_path: Path, kind: Any) -> None:
    with Server(tmp_path, "-s", str(tmp_path / "socket")) as server:
        client = make(kind, server.addresses()[0], default_noreply=False)
        store_and_fetch(client, False)
        client.close()


@in_reactor
async def test_twisteds_client_stores_and_fetches(address: Address) -> None:
    client = await connect(address)
    assert await client.set(b"k", BINARY, flags=7, expireTime=1000) is True
    assert await client.get(b"k") == (7, BINARY)
    assert await client.get(b"none") == (0, None)
    assert await client.add(b"k", b"x") is False
    assert await client.add(b"new", b"x") is True
    assert await client.replace(b"none", b"x") is False
    assert await client.append(b"new", b">") is True
    assert await client.prepend(b"new", b"<") is True
    flags, unique, value = await client.get(b"new", withIdentifier=True)
    assert (flags, value) == (0, b"<x>")
    assert await client.checkAndSet(b"new", b"y", unique) is True
    assert await client.checkAndSet(b"new", b"z", unique) is False
    assert await client.getMultiple([b"new", b"k", b"none"]) == {
        b"new": (0, b"y"),
        b"k": (7, BINARY),
        b"none": (0, None),
    }
    assert await client.set(b"n", b"10") is True
    assert await client.increment(b"n", 5) == 15
    assert await client.decrement(b"n", 20) == 0
    assert await client.increment(b"none") is False
    assert await client.delete(b"n") is True
    assert await client.delete(b"n") is False
    assert (await client.version()).startswith(b"1.6.")
    stats = await client.stats()
    assert stats[b"curr_items"] == b"2"
    assert await client.flushAll() is True
    assert await client.get(b"k") == (0, None)
    await client.close()


@in_reactor
async def test_twisteds_client_pipelines(address: Address) -> None:
    client = await connect(address)
    asked: list[tuple[Any, Any]] = []
    for number in range(500):
        asked.append((client.set(b"k", b"%d" % number), True))
        asked.append((client.get(b"k"), (0, b"%d" % number)))
    for answer, expected in asked:
        assert await answer == expected
    await client.close()
