"""A client's connection: the addresses that people write, and what is taken for lost."""

import os
import select
import socket
import ssl
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from pymemcache.exceptions import MemcacheServerError  # type: ignore[import-untyped]

from mctwist import client
from mctwist.client import MOST_LINE, address_of, line, raw_line, written
from tests.certificates import make_identity
from tests.processes import PATIENCE, Server


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost", ("localhost", 11211)),
        ("127.0.0.1:11212", ("127.0.0.1", 11212)),
        ("[::1]:11212", ("::1", 11212)),
        ("[::1]", ("::1", 11211)),
        ("unix:/run/mctwist.sock", "/run/mctwist.sock"),
    ],
)
def test_addresses_are_read_and_written(text: str, address: client.Address) -> None:
    assert address_of(text) == address
    assert address_of(written(address)) == address


@pytest.mark.parametrize(
    "text", ["", ":11211", "host:", "host:0", "host:65536", "host:1e3", "::1", "unix:", "h:1:2"]
)
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST:PORT, \[HOST\]:PORT or unix:PATH"):
        address_of(text)


def test_what_tls_sends_of_itself_is_not_taken_for_an_end(tmp_path: Path) -> None:
    identity = make_identity(tmp_path)
    context = ssl.create_default_context(cafile=str(identity.certificate_file))
    with Server(tmp_path, *identity.options) as server:
        (address,) = server.addresses()
        with closing(client.Server(address, tls=context).connect()) as connection:
            # Tickets for a later session, which nobody has asked for.
            assert select.select([connection.sock], [], [], PATIENCE)[0]
            connection.open()
            told = connection.ask(b"stats\r\n", client.stats)
            assert told["total_connections"] == "1"


def test_a_connection_that_the_server_has_closed_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path, "--port", "-1") as server:
        (address,) = server.addresses()
        with closing(client.Server(address).connect()) as connection:
            connection.send(b"quit\r\n")
            assert connection.answers.read() == b""
            connection.open()
            assert connection.ask(b"version\r\n", line).startswith(b"VERSION ")


def test_a_password_is_not_stored_where_nobody_asks_for_it(tmp_path: Path) -> None:
    with Server(tmp_path, "--port", "-1") as server:
        login = ("alice", "open sesame")
        with closing(client.Server(server.addresses()[0], login).connect()) as connection:
            assert connection.ask(b"get login\r\n", line) == b"END"


def test_all_addresses_of_a_name_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(tmp_path, "--port", "-1") as server:
        (address,) = server.addresses()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nobody = listener.getsockname()
        # As with a `localhost` that is ::1 first.
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", each)
            for each in (nobody, address)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with closing(client.Server(("localhost", 1)).connect()) as connection:
            assert connection.ask(b"version\r\n", line).startswith(b"VERSION ")


def test_the_path_of_a_socket_may_be_relative(tmp_path: Path) -> None:
    with Server(tmp_path, "-s", str(tmp_path / "socket")):
        address = address_of(f"unix:{os.path.relpath(tmp_path)}/socket")
        with closing(client.Server(address).connect()) as connection:
            assert connection.ask(b"version\r\n", line).startswith(b"VERSION ")


@pytest.mark.parametrize("text", ["a" * 70, "..:1", "a\0b", "unix:" + "a" * 200])
def test_what_can_be_no_name_cannot_be_reached(text: str) -> None:
    with pytest.raises(OSError, match=r"no such name|too long|not known"):
        client.Server(address_of(text)).connect()


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"-ERR unknown command\r\n", b"STAT\r\nEND\r\n"]
)
def test_what_is_no_report_ends_it(answer: bytes) -> None:
    with pytest.raises(MemcacheServerError, match=answer.splitlines()[0].decode()):
        client.stats(BytesIO(answer))


def test_nothing_that_a_server_says_does_anything_to_a_terminal() -> None:
    told = client.stats(BytesIO(b"STAT version 1\x1b]0;name\x07\xff\xc2\x9b\r\nEND\r\n"))
    assert told == {"version": r"1\x1b]0;name\x07\xff\x9b"}
    with pytest.raises(MemcacheServerError, match=r"\\x1b\[31mred\Z"):
        line(BytesIO(b"SERVER_ERROR \x1b[31mred\r\n"))


def test_a_line_that_never_ends_is_not_read_for_ever() -> None:
    with pytest.raises(MemcacheServerError, match="a line without an end"):
        raw_line(BytesIO(b"x" * (2 * MOST_LINE)))
