"""A client's connection: the addresses that people write, and what is taken for lost."""

import select
import ssl
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from pymemcache.exceptions import MemcacheServerError  # type: ignore[import-untyped]

from mctwist import client
from mctwist.client import address_of, line, written
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
