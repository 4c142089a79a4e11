"""
A server process that is sent binary frames, or their beginnings: what nobody has a use for costs
little memory and no time of others.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from struct import pack

import pytest

from tests.differential_binary import (
    APPEND,
    GET,
    GETQ,
    NOOP,
    SASL_AUTH,
    SET,
    SETQ,
    Frame,
    right,
    store,
)
from tests.processes import Connection, Server, complaints
from tests.test_process import MEGABYTE, bounded_memory, check_served, check_unharmed

#: Clients that send one byte, where so many files may be open.
MANY = 10_000

HEADER = 24
NOOP_ANSWERED = b"\x81\x0a" + bytes(22)


def noop(connection: Connection) -> bytes:
    connection.send(Frame(NOOP).encode(0, 0))
    return connection.exactly(HEADER)


@contextmanager
def open_files() -> "Iterator[int]":
    """As many as the machine allows; how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_clients_that_send_one_byte_disturb_nobody(tmp_path: Path) -> None:
    with open_files() as most, ExitStack() as stack:
        many = min(MANY, most - 500)
        server = stack.enter_context(Server(tmp_path, "-c", str(many + 1000), kind="memory"))
        other = stack.enter_context(server.connect())
        longest = 0.0
        guests = []
        with bounded_memory(server, 16 * MEGABYTE + 20 * 1024 * many):
            for number in range(many):
                guest = stack.enter_context(server.connect())
                guest.send(b"\x80" if number % 2 else b"g")
                guests.append(guest)
                if number % 100 == 0:
                    start = time.monotonic()
                    assert noop(other) == NOOP_ANSWERED
                    check_served(server)
                    longest = max(longest, time.monotonic() - start)
        assert longest < 2
        # They are clients like others, once they say more.
        guests[-2].send(b"et none\r\n")
        assert guests[-2].line() == b"END\r\n"
        guests[-1].send(Frame(NOOP).encode(0, 0)[1:])
        assert guests[-1].exactly(HEADER) == NOOP_ANSWERED
        check_unharmed(server)


def beginning(opcode: int, bodylen: int) -> bytes:
    """A header that announces so much, and as much as a client may have of it."""
    frame = right(opcode)
    return Frame(opcode, frame.key, b"and", frame.extras, bodylen=bodylen).encode(1, 0)


@pytest.mark.parametrize("opcode", [SET, SETQ, APPEND, GET, GETQ, NOOP, SASL_AUTH, 0x1F])
def test_four_gigabytes_that_are_announced_cost_nothing(tmp_path: Path, opcode: int) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        with bounded_memory(server, 16 * MEGABYTE):
            for _ in range(50):
                connection = stack.enter_context(server.connect())
                connection.send(beginning(opcode, 0xFFFFFFFF))
                answer = connection.until_closed()
                assert answer[:8] == pack(">BBHBBH", 0x81, opcode, 0, 0, 0, 4)
        check_unharmed(server)


@pytest.mark.parametrize("bodylen", [900_000, 1 << 30])
@pytest.mark.parametrize("opcode", [SET, APPEND])
def test_values_that_are_announced_and_never_come_cost_nothing(
    tmp_path: Path, opcode: int, bodylen: int
) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        with bounded_memory(server, 32 * MEGABYTE):
            for _ in range(50):
                connection = stack.enter_context(server.connect())
                assert noop(connection) == NOOP_ANSWERED
                connection.send(beginning(opcode, bodylen))
        check_unharmed(server)


def test_a_gigabyte_is_let_go_as_it_comes(tmp_path: Path) -> None:
    size = 1 << 30
    with Server(tmp_path) as server, server.connect() as connection:
        with bounded_memory(server, 32 * MEGABYTE):
            head = beginning(SET, size)
            chunk = bytes(MEGABYTE)
            connection.send(head)
            left = size - (len(head) - HEADER)
            while left:
                connection.send(chunk[:left])
                left -= min(left, len(chunk))
            body = b"Too large."
            assert connection.exactly(HEADER + len(body)).endswith(body)
            assert noop(connection) == NOOP_ANSWERED
        check_unharmed(server)


def test_a_run_of_quiet_commands_that_is_longer_than_memory(tmp_path: Path) -> None:
    frames = store(SETQ, b"k", b"v" * 1000).encode(0, 0) * 1000
    with Server(tmp_path, kind="memory") as server, server.connect() as connection:
        with bounded_memory(server, 32 * MEGABYTE):
            for _ in range(100):
                connection.send(frames)
            assert noop(connection) == NOOP_ANSWERED
        assert complaints(server.log()) == []
