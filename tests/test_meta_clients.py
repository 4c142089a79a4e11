"""
Clients of the meta commands against a real server: fifty that ask for one key at once, and the
meta-memcache package.

What a herd does is the same over every store, and with a server that dies in the middle: who is to
renew an item is part of the item.
"""

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.processes import PATIENCE, Connection, Server, complaints

HERD = 50
KINDS = ["lmdb", "directory", "memory"]

#: What of an answer says who wins, who is late, and that it is stale.
Marks = tuple[bytes, ...]


def ask_at_once(server: Server, request: bytes, valued: bool = True) -> "list[bytes]":
    """What fifty clients are answered that all have sent before the first reads."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(HERD)]
        for client in clients:
            client.send(request)
        # The line, and the value's.
        return [client.line() + (client.line() if valued else b"") for client in clients]


def marks_of(answer: bytes) -> bytes:
    """Z, X and W, as an answer has them."""
    return b"".join(re.findall(rb" ([ZXW])(?= |\Z)", answer.partition(b"\r\n")[0]))


def cas_of(answer: bytes) -> bytes:
    match = re.search(rb" c(\d+)", answer)
    assert match is not None
    return match[1]


def winner_of(answers: "list[bytes]", won: bytes, lost: bytes, value: bytes) -> bytes:
    """The CAS unique of the one that has won; all others are late, and all have the value."""
    marks = [marks_of(answer) for answer in answers]
    assert sorted(marks) == sorted([won] + [lost] * (HERD - 1))
    assert {answer.split(b"\r\n")[1] for answer in answers} == {value}
    return cas_of(answers[marks.index(won)])


def make_stale(connection: Connection) -> bytes:
    assert connection.ask(b"ms k 3 T1000\r\nold\r\n") == b"HD\r\n"
    assert connection.ask(b"md k I T500\r\n") == b"HD\r\n"
    return b"mg k v c\r\n"


def make_expire_soon(connection: Connection) -> bytes:
    assert connection.ask(b"ms k 3 T500\r\nold\r\n") == b"HD\r\n"
    return b"mg k v c R1000\r\n"


def make_nothing(connection: Connection) -> bytes:
    return b"mg k v c N1000\r\n"


#: How it comes to a herd, and the marks of who wins, of who is late, and the value meanwhile.
HERDS: "list[tuple[Callable[[Connection], bytes], bytes, bytes, bytes]]" = [
    (make_stale, b"XW", b"ZX", b"old"),
    (make_expire_soon, b"W", b"Z", b"old"),
    (make_nothing, b"W", b"Z", b""),
]


@pytest.mark.parametrize(("make", "won", "lost", "value"), HERDS)
@pytest.mark.parametrize("kind", KINDS)
def test_of_fifty_one_wins_and_the_others_are_served_what_there_is(
    tmp_path: Path, kind: str, make: Callable[[Connection], bytes], won: bytes, lost: bytes,
    value: bytes,
) -> None:  # fmt: skip
    with Server(tmp_path, kind=kind) as server, server.connect() as owner:
        request = make(owner)
        cas = winner_of(ask_at_once(server, request), won, lost, value)
        assert {marks_of(answer) for answer in ask_at_once(server, request)} == {lost}
        assert owner.ask(b"ms k 4 T2000 C99999\r\nnope\r\n") == b"EX\r\n"
        assert owner.ask(b"ms k 3 T2000 C%b\r\nnew\r\n" % cas) == b"HD\r\n"
        answers = ask_at_once(server, request)
        assert {marks_of(answer) for answer in answers} == {b""}
        assert {answer.split(b"\r\n")[1] for answer in answers} == {b"new"}
        assert complaints(server.log()) == []


@pytest.mark.parametrize(("make", "won", "lost", "value"), HERDS)
@pytest.mark.parametrize("kind", ["lmdb", "directory"])
def test_who_has_won_still_has_when_the_server_was_killed_meanwhile(
    tmp_path: Path, kind: str, make: Callable[[Connection], bytes], won: bytes, lost: bytes,
    value: bytes,
) -> None:  # fmt: skip
    with Server(tmp_path, kind=kind) as server:
        with server.connect() as owner:
            request = make(owner)
        if value:
            # What is to be won is there after a restart ...
            server.kill()
            server.start()
        cas = winner_of(ask_at_once(server, request), won, lost, value)
        # ... and what was won is won.
        server.kill()
        server.start()
        answers = ask_at_once(server, request)
        assert {marks_of(answer) for answer in answers} == {lost}
        assert {cas_of(answer) for answer in answers} == {cas}
        with server.connect() as winner:
            assert winner.ask(b"ms k 3 T2000 C%b\r\nnew\r\n" % cas) == b"HD\r\n"
        assert {marks_of(answer) for answer in ask_at_once(server, request)} == {b""}


def test_what_an_item_carries_is_there_after_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with server.connect() as client:
            assert client.ask(b"ms AAE= 1 b F7 E77 T1000\r\nv\r\n") == b"HD\r\n"
            assert client.ask(b"mg AAE= b v\r\n", b"v\r\n") == b"VA 1\r\nv\r\n"
            assert client.ask(b"md AAE= b I E78\r\n") == b"HD\r\n"
        server.kill()
        server.start()
        with server.connect() as client:
            answer = client.ask(b"mg AAE= b k c f v\r\n", b"v\r\n")
            assert answer == b"VA 1 kAAE= b c78 f7 X W\r\nv\r\n"


# meta-memcache


# The package compares bytes with texts.
CLIENT_WARNS = pytest.mark.filterwarnings("ignore::BytesWarning")


@pytest.fixture
def server(tmp_path: Path) -> "Iterator[Server]":
    with Server(tmp_path) as server:
        yield server


class Caches:
    """
    Clients of the package.

    :ivar failed: the keys of writes that they were told have failed.
    """

    def __init__(self) -> None:
        if sys.version_info < (3, 10):
            pytest.skip("meta-memcache needs Python 3.10")
        self.failed: list[str] = []
        self._sockets: list[socket.socket] = []

    def client(self, server: Server) -> Any:
        from meta_memcache.cache_client import CacheClient
        from meta_memcache.configuration import ServerAddress
        from meta_memcache.connection.pool import ConnectionPool

        address = server.addresses()[0]
        assert not isinstance(address, str)
        host, port = address

        def connect() -> socket.socket:
            self._sockets.append(socket.create_connection((host, port), PATIENCE))
            return self._sockets[-1]

        def pool(address: Any) -> Any:
            return ConnectionPool(str(address), connect, initial_pool_size=1, max_pool_size=1)

        client = CacheClient.cache_client_from_servers([ServerAddress(host, port)], pool)
        client.on_write_failure += lambda key: self.failed.append(key.key)
        return client

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()


@pytest.fixture
def caches() -> "Iterator[Caches]":
    caches = Caches()
    yield caches
    caches.close()


@CLIENT_WARNS
def test_meta_memcache_stores_fetches_and_deletes(server: Server, caches: Caches) -> None:
    client = caches.client(server)
    assert client.get("k") is None
    for value in ("text", b"bytes", 17, {"a": [1, 2]}, b"\r\nEN\r\n" * 1000, b""):
        assert client.set("k", value, ttl=1000) is True
        assert client.get("k") == value
    assert client.set("unicode \N{SNOWMAN} and spaces", "v", ttl=1000) is True
    assert client.get("unicode \N{SNOWMAN} and spaces") == "v"
    assert client.set("l" * 400, "long", ttl=1000) is True
    assert client.get("l" * 400) == "long"
    assert client.refill("k", "refilled", ttl=1000) is False
    assert client.refill("new", "refilled", ttl=1000) is True
    keys = [f"k{number}" for number in range(500)]
    for key in keys:
        client.set(key, key, ttl=1000, no_reply=True)
    found = {key.key: value for key, value in client.multi_get([*keys, "none"]).items()}
    assert found == {**{key: key for key in keys}, "none": None}
    assert client.touch("k", ttl=2000) is True
    assert client.touch("none", ttl=2000) is False
    assert client.delete("k") is True
    assert client.delete("k") is False
    assert client.invalidate("k") is True
    assert client.get("k") is None
    assert complaints(server.log()) == []


@CLIENT_WARNS
def test_meta_memcache_compares_and_swaps(server: Server, caches: Caches) -> None:
    client = caches.client(server)
    assert client.set("k", "one", ttl=1000) is True
    value, token = client.get_cas("k")
    assert value == "one"
    assert client.set("k", "two", ttl=1000, cas_token=token + 1) is False
    assert client.set("k", "two", ttl=1000, cas_token=token) is True
    assert client.set("k", "three", ttl=1000, cas_token=token) is False
    assert client.get("k") == "two"
    assert client.delete("k", cas_token=token) is False
    newer = client.set_cas("k", "four", ttl=1000)
    assert client.delete("k", cas_token=newer) is True


@CLIENT_WARNS
def test_meta_memcache_counts(server: Server, caches: Caches) -> None:
    client = caches.client(server)
    assert client.delta("n", delta=1) is False
    assert client.delta_initialize("n", delta=1, initial_value=10, initial_ttl=1000) is True
    assert client.delta("n", delta=5) is True
    assert client.delta_and_get("n", delta=-3) == 12
    assert client.delta_and_get("n", delta=-100) == 0
    initial = {"initial_value": 7, "initial_ttl": 1000}
    assert client.delta_initialize_and_get("other", delta=1, **initial) == 7
    assert client.delta_initialize_and_get("other", delta=1, **initial) == 8


@CLIENT_WARNS
def test_meta_memcache_serves_the_stale_while_one_renews(server: Server, caches: Caches) -> None:
    from meta_memcache import configuration

    winner, late = caches.client(server), caches.client(server)
    policy = configuration.StalePolicy(
        mark_stale_on_deletion_ttl=500, mark_stale_on_cas_mismatch=True
    )
    assert winner.set("k", "old", ttl=1000) is True
    assert winner.delete("k", stale_policy=policy) is True
    # The one that is to renew it is told of a miss, the others of what there is.
    value, token = winner.get_cas("k")
    assert value is None
    assert late.get("k") == "old"
    # It is invalidated once more before it is renewed: what comes is stored, and is stale.
    assert late.delete("k", stale_policy=policy) is True
    assert winner.set("k", "renewed", ttl=1000, cas_token=token, stale_policy=policy) is True
    value, token = late.get_cas("k")
    assert value is None
    assert winner.get("k") == "renewed"
    assert late.set("k", "again", ttl=1000, cas_token=token, stale_policy=policy) is True
    assert winner.get("k") == late.get("k") == "again"


@CLIENT_WARNS
def test_meta_memcache_leases_what_is_not_there_and_renews_what_expires(
    server: Server, caches: Caches
) -> None:
    from meta_memcache import configuration

    winner, late = caches.client(server), caches.client(server)
    lease = configuration.LeasePolicy(miss_retries=2, miss_retry_wait=0.0)
    assert winner.get_or_lease("k", lease_policy=lease) is None
    waits: list[float] = []

    def store_meanwhile(seconds: float) -> None:
        waits.append(seconds)
        winner.set("k", "leased", ttl=20)

    found = late.get_or_lease("k", lease_policy=lease, lease_wait_fn=store_meanwhile)
    assert (found, len(waits)) == ("leased", 1)
    recache = configuration.RecachePolicy(ttl=30)
    assert winner.get("k", recache_policy=recache) is None
    assert late.get("k", recache_policy=recache) == "leased"
    assert winner.set("k", "renewed", ttl=1000) is True
    assert late.get("k", recache_policy=recache) == "renewed"


@CLIENT_WARNS
def test_meta_memcache_is_told_of_writes_that_fail_and_goes_on_after_a_restart(
    server: Server, caches: Caches
) -> None:
    from meta_memcache.errors import MemcacheError

    client = caches.client(server)
    assert client.set("k", "kept", ttl=1000) is True
    with pytest.raises(MemcacheError):
        client.set("large", os.urandom(2 << 20), ttl=1000)
    assert caches.failed == ["large"]
    assert client.get("k") == "kept"
    server.kill()
    with pytest.raises(MemcacheError):
        client.delete("k")
    assert caches.failed == ["large", "k"]
    server.start()
    again = caches.client(server)
    assert again.get("k") == "kept"
    assert again.invalidate("k") is True
    assert again.get("k") is None
