"""
Clients of the binary protocol against a real server: python-binary-memcached
with and without users, pylibmc, and libmemcached's memccapable, which tests servers itself.

The clients in C and those that are not for every Python are left out where they cannot be
installed; pyproject.toml says where that is.
"""

import importlib
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE, Connection, Server, complaints, eventually, missing, program

BINARY = bytes(range(256)) + b"\r\n\x80\x0a" + bytes(22)
USER, PASSWORD = "user", "a pass:word ☂"

#: bmemcached compares bytes with texts.
pytestmark = pytest.mark.filterwarnings("ignore::BytesWarning")


@pytest.fixture
def server(tmp_path: Path) -> "Iterator[Server]":
    with Server(tmp_path) as server:
        yield server
        assert complaints(server.log()) == []


@pytest.fixture
def guarded(tmp_path: Path) -> "Iterator[Server]":
    """A server that wants a user."""
    users = tmp_path / "users"
    users.write_text(f"other:none\n{USER}:{PASSWORD}\n", encoding="utf-8")
    users.chmod(0o600)
    with Server(tmp_path, "--auth-file", str(users)) as server:
        yield server


def host_and_port(server: Server) -> str:
    address = server.addresses()[0]
    assert not isinstance(address, str)
    return "{}:{}".format(*address)


def module(name: str, installable: bool) -> Any:
    """A client package; the test is skipped where it cannot be installed."""
    if not installable:
        pytest.skip(f"{name} cannot be installed for this Python")
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"{name} is not installed")


# python-binary-memcached


@contextmanager
def bmemcached(server: Server, *user: str) -> "Iterator[Any]":
    package = module("bmemcached", sys.version_info >= (3, 10))
    client = package.Client((host_and_port(server),), *user, socket_timeout=PATIENCE)
    # Otherwise it takes every fault for a server that is down, and answers for it.
    client.enable_retry_delay(False)
    try:
        yield client
    finally:
        client.disconnect_all()


def use_bmemcached(client: Any) -> None:
    """What it can do, right and wrong."""
    for value in ("grün ☂", BINARY, 7, 2**70, {"a": [1.5, None]}, "long" * 100_000, ""):
        assert client.set("k", value) is True
        assert client.get("k") == value
    assert client.get("none") is None
    assert client.add("k", "x") is False
    assert client.add("new", "x") is True
    assert client.replace("none", "x") is False
    assert client.replace("new", "y") is True

    value, cas = client.gets("new")
    assert value == "y"
    assert client.cas("new", "late", cas + 1) is False
    assert client.cas("new", "swapped", cas) is True
    assert client.cas("new", "again", cas) is False
    assert client.cas("none", "x", cas) is False
    assert client.get("new") == "swapped"
    assert client.delete("new", cas) is False
    assert client.delete("new") is True
    assert client.delete("new") is True  # it calls that a success, too
    assert client.get("new") is None

    values = {f"k{number}": "v" * number for number in range(200)}
    assert client.set_multi(values) == []
    assert client.get_multi([*values, "none"]) == values
    assert {key: pair[0] for key, pair in client.get_multi(list(values), True).items()} == values
    assert client.delete_multi(["k1", "k2"]) is True
    assert sorted(client.get_multi(["k1", "k2", "k3"])) == ["k3"]

    assert client.incr("n", 5, default=10, time=1000) == 10
    assert client.incr("n", 5) == 15
    assert client.decr("n", 6) == 9
    assert client.decr("n", 20) == 0
    assert client.incr("n", 2**64 - 1) == 2**64 - 1
    assert client.incr("n", 1) == 0

    (stats,) = client.stats().values()
    assert int(stats["curr_items"]) == 200
    (settings,) = client.stats("settings").values()
    assert "maxconns" in settings
    assert client.flush_all() is True
    assert client.get("k") is None


def test_bmemcached(server: Server) -> None:
    with bmemcached(server) as client:
        use_bmemcached(client)


def test_bmemcached_sees_values_expire(server: Server) -> None:
    with bmemcached(server) as client:
        assert client.set("a", "a", time=1) is True
        assert client.set("b", "b", time=1000) is True
        eventually(lambda: client.get_multi(["a", "b"]) == {"b": "b"}, "it has expired")


def test_bmemcached_with_a_user_that_nobody_asks_for(server: Server) -> None:
    with bmemcached(server, USER, PASSWORD) as client:
        assert client.set("k", "v") is True
        assert client.get("k") == "v"


def test_bmemcached_logs_in(guarded: Server) -> None:
    with bmemcached(guarded, USER, PASSWORD) as client:
        use_bmemcached(client)
    assert PASSWORD not in guarded.log()


@pytest.mark.parametrize("password", ["wrong", PASSWORD + "x", PASSWORD[:-1]])
def test_bmemcached_is_refused(guarded: Server, password: str) -> None:
    with bmemcached(guarded, USER, password) as client:
        exceptions = module("bmemcached.exceptions", True)
        with pytest.raises(exceptions.MemcachedException) as refused:
            client.set("k", "v")
        # The package's own word for it is the status 0x08, which no memcached has ever sent.
        assert refused.value.code == 0x20
    # And without a word of a user.
    with bmemcached(guarded) as client, pytest.raises(exceptions.MemcachedException) as refused:
        client.set("k", "v")
    assert refused.value.code == 0x20
    with bmemcached(guarded, USER, PASSWORD) as client:
        assert client.get("k") is None


def test_what_bmemcached_stored_survives_kill_9(server: Server) -> None:
    values = {"text": "grün", "number": 7, "object": {"a": [1, 2]}, "bytes": BINARY}
    with bmemcached(server) as client:
        assert client.set_multi(values) == []
        assert client.incr("count", 1, default=41, time=0) == 41
        cas = client.gets("object")[1]
    server.kill()
    server.start()
    with bmemcached(server) as client:
        assert client.get_multi(list(values)) == values
        assert client.incr("count", 1) == 42
        assert client.cas("object", 1, cas) is True


# pylibmc

#: Its wheels bring libmemcached with them; from source it would have to be compiled.
HAS_WHEELS = (
    sys.version_info < (3, 12)
    and platform.machine() == "x86_64"
    and sys.platform == "linux"
    and sys.implementation.name == "cpython"
)  # fmt: skip


def pylibmc(server: Server, **behaviors: Any) -> Any:
    package = module("pylibmc", HAS_WHEELS)
    return package.Client([host_and_port(server)], behaviors, True)


def use_pylibmc(client: Any) -> None:
    """What it can do, right and wrong."""
    package = module("pylibmc", HAS_WHEELS)
    for value in ("grün ☂", BINARY, 7, 2**70, True, {"a": [1.5, None]}, b"long" * 100_000, b""):
        assert client.set("k", value) is True
        assert client.get("k") == value
    assert client.set("k", b"x" * 100_000, min_compress_len=100) is True
    assert client.get("k") == b"x" * 100_000
    assert client.get("none") is None
    assert client.add("k", b"x") is False
    assert client.add("new", b"x") is True
    with pytest.raises(package.NotFound):
        client.replace("none", b"x")
    assert client.replace("new", b"y") is True
    assert client.append("new", b">") is True
    assert client.prepend("new", b"<") is True
    assert client.get("new") == b"<y>"
    assert client.append("none", b"x") is False
    assert client.touch("new", 1000) is True
    assert client.touch("none", 1000) is False

    value, cas = client.gets("new")
    assert value == b"<y>"
    assert client.cas("new", b"swapped", cas) is True
    assert client.cas("new", b"again", cas) is False
    assert client.get("new") == b"swapped"
    assert client.delete("new") is True
    assert client.delete("new") is False

    values = {f"k{number}": b"v" * number for number in range(200)}
    assert client.set_multi(values) == []
    assert client.get_multi([*values, "none"]) == values
    assert client.delete_multi(["k1", "k2"]) is True
    assert sorted(client.get_multi(["k1", "k2", "k3"])) == ["k3"]

    assert client.set("n", 10) is True
    assert client.incr("n", 5) == 15
    assert client.decr("n", 6) == 9
    assert client.decr("n", 20) == 0
    with pytest.raises(package.NotFound):
        client.incr("none", 1)
    ((_, stats),) = client.get_stats()
    assert stats["curr_items"] in ("200", b"200")
    assert client.flush_all() is True
    assert client.get("k") is None


@pytest.mark.parametrize("behaviors", [{}, {"tcp_nodelay": True, "buffer_requests": False}])
def test_pylibmc(server: Server, behaviors: "dict[str, Any]") -> None:
    client = pylibmc(server, cas=True, **behaviors)
    use_pylibmc(client)
    client.disconnect_all()


def test_pylibmc_that_waits_for_no_answer(server: Server) -> None:
    # It sends quiet commands, and is told of nothing.
    client = pylibmc(server, _noreply=True, tcp_nodelay=True)
    values = {f"k{number}": b"%d" % number for number in range(500)}
    for key, value in values.items():
        assert client.set(key, value) is True
    assert client.get_multi(list(values)) == values
    assert client.delete("k1") is True
    assert client.add("k2", b"late") is True
    client.disconnect_all()
    client = pylibmc(server)
    # Nobody has been told that these are done.
    eventually(lambda: client.get_multi(["k1", "k2"]) == {"k2": b"2"}, "k1 is deleted")
    client.disconnect_all()


# Its wheels have a SASL library of their own that finds no mechanism, so that it cannot log in.
def test_pylibmc_is_refused_without_a_user(guarded: Server) -> None:
    package = module("pylibmc", HAS_WHEELS)
    client = pylibmc(guarded)
    with pytest.raises(package.Error):
        client.set("k", b"v")
    client.disconnect_all()


def test_two_clients_share_what_is_no_bytes_of_their_own(server: Server) -> None:
    other = pylibmc(server)
    with bmemcached(server) as one, server.connect() as text:
        assert one.set("text", BINARY) is True
        assert other.set("bytes", BINARY) is True
        for key in (b"text", b"bytes"):
            answer = text.ask(b"get %b\r\n" % key, b"END\r\n")
            assert answer.partition(b"\r\n")[2] == BINARY + b"\r\nEND\r\n"
        assert one.incr("n", 1, default=41, time=0) == 41
        assert other.incr("n", 1) == 42
    other.disconnect_all()


# memccapable


@pytest.mark.parametrize("option", ["-b", "-a"])
def test_memccapable(server: Server, option: str) -> None:
    host, port = host_and_port(server).split(":")
    command = [program("memccapable"), "-h", host, "-p", port, option, "-v", "-t", "30"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=5 * PATIENCE
    )
    said = done.stdout.decode()
    # Two streams in one pipe: a result may stand on the line of a later test, but in its order.
    names = re.findall(r"(?:ascii|binary) [a-z ]*[a-z](?=  +)", said)
    results = re.findall(r"\[(pass|FAIL)\]", said)
    assert len(names) == len(results) == 27, said
    assert {name for name, result in zip(names, results) if result == "FAIL"} == set(), said


# Bytes by hand


def test_a_client_that_reads_nothing_is_told_all_in_the_end(server: Server) -> None:
    """A run of quiet gets and a NOOP, more than buffers hold."""
    with server.connect() as text:
        assert text.ask(b"set k 0 0 100000\r\n" + b"v" * 100_000 + b"\r\n") == b"STORED\r\n"
    getq = b"\x80\x09\0\x01" + bytes(7) + b"\x01" + bytes(12) + b"k"
    noop = b"\x80\x0a" + bytes(22)
    answer = b"\x81\x09\0\0\x04\0\0\0\0\x01\x86\xa4"
    with closing(Connection(server.addresses()[0])) as client:
        sender = client.send_aside(getq * 200 + noop)
        for _ in range(200):
            found = client.exactly(24 + 4 + 100_000)
            assert found.startswith(answer)
            assert found.endswith(b"v" * 100_000)
        assert client.exactly(24) == b"\x81\x0a" + bytes(22)
        sender.join(PATIENCE)
