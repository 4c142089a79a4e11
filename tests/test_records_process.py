"""Whole records between real servers: one's dump is another's input."""

from base64 import b64encode
from pathlib import Path

from tests.processes import Connection, Server, complaints
from tests.test_process import BIG, MEGABYTE, STORED, bounded_memory

ITEMDUMP = b"lru_crawler itemdump all\r\n"
END = b"\r\nEN\r\n"


def records(dump: bytes) -> "list[bytes]":
    """The records of a dump, in an order that is the same for two of the same items."""
    found = []
    start = 0
    while start < len(dump):
        end = dump.index(b"\r\n", start)
        end += int(dump[start:end].split(b" ")[2]) + 4
        found.append(dump[start:end])
        start = end
    return sorted(found)


def dump_of(connection: Connection) -> bytes:
    """A dump, without what is before and behind it; none of its values is like its end."""
    assert connection.ask(ITEMDUMP) == b"OK\r\n"
    return connection.until(END)[: 2 - len(END)]


def test_what_one_server_tells_another_takes_and_keeps(tmp_path: Path) -> None:
    folders = tmp_path / "source", tmp_path / "copy"
    for folder in folders:
        folder.mkdir()
    with Server(folders[0]) as source, Server(folders[1]) as copy:
        with source.connect() as client, copy.connect() as other:
            for start in range(0, 3000, 1000):
                sets = [
                    b"ms %b 5 b T%d F%d q\r\n%05d\r\n"
                    % (b64encode(b"k \0\n%d" % number), 1000 + number, number, number)
                    for number in range(start, start + 1000)
                ]
                assert client.ask(b"".join(sets) + b"mn\r\n") == b"MN\r\n"
            for number in range(5):
                sent = b"set big%d 0 0 %d\r\n%b\r\n" % (number, len(BIG), BIG)
                assert client.ask(sent) == STORED
            assert client.ask(b"md big1 I T100\r\nmg big1\r\n", b" W\r\n") == b"HD\r\nHD X W\r\n"
            dump = dump_of(client)
            told = records(dump)
            assert len(told) == 3005
            assert other.exchange(dump) == b"HD\r\n" * 3005
        copy.kill()
        copy.start()
        with copy.connect() as other:
            assert records(dump_of(other)) == told
        for server in (source, copy):
            assert complaints(server.log()) == []


def test_a_dump_of_large_values_that_nobody_reads_costs_little_memory(tmp_path: Path) -> None:
    with Server(tmp_path, "--sync", "never", kind="directory") as server:
        with server.connect() as client, server.connect() as slow:
            for number in range(60):
                sent = b"set k%d 0 0 %d\r\n%b\r\n" % (number, len(BIG), BIG)
                assert client.ask(sent) == STORED
            with bounded_memory(server, 24 * MEGABYTE):
                slow.send(ITEMDUMP)
                assert slow.line() == b"OK\r\n"
            assert slow.until(END).count(b"mi k") == 60
        assert complaints(server.log()) == []
