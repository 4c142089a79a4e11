"""
`mctwist dump` and `mctwist load`, with real servers and as processes of their own: out of one, into
another, and the same again; and what is left of them when somebody is killed in between.
"""

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

import pytest
import zstandard

from mctwist.dumps import Record, decode, encode, first_line, last_line
from mctwist.item import KEPT, STALE, TYPED, WON
from mctwist.passwords import User, hash_password, spell
from tests.certificates import make_identity
from tests.processes import PATIENCE, ROOT, Connection, Server, eventually, program
from tests.test_differential import serve_memcached

COMMAND = [sys.executable, "-b", "-W", "error", "-m", "mctwist.shell"]

Address = Union[tuple[str, int], str]


def where(address: Any) -> str:
    return f"unix:{address}" if isinstance(address, str) else "{}:{}".format(*address)


def start(*words: object, **options: Any) -> "subprocess.Popen[bytes]":
    """`mctwist` with these words."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *map(str, words)], cwd=ROOT, **{"stdout": pipe, "stderr": pipe, **options}
    )


def run(
    *words: object, status: int = 0, given: bytes = b"", **environment: str
) -> "tuple[str, str]":
    """What it says on its output, and beside it; it ends with `status`."""
    process = start(*words, stdin=subprocess.PIPE, env={**os.environ, **environment})
    output, said = process.communicate(given, PATIENCE)
    assert process.returncode == status, said.decode()
    assert b"Traceback" not in said
    return output.decode(), said.decode()


def records_in(path: Path) -> "dict[bytes, Record]":
    """The items of a dump, by their keys."""
    content = path.read_bytes()
    if path.suffix == ".zst":
        content = zstandard.ZstdDecompressor().stream_reader(content).read()
    first, *lines, last = content.splitlines()
    assert b'"mctwist": 1' in first
    assert json.loads(last) == {"end": len(lines)}
    records = {record.key: record for record in map(decode, lines)}
    assert len(records) == len(lines)
    return records


def dumped(address: Any, path: Path, *words: str) -> "dict[bytes, Record]":
    run("dump", path, "-s", where(address), *words)
    return records_in(path)


def write_dump(path: Path, *records: Record) -> Path:
    lines = map(encode, records)
    path.write_bytes(first_line("here", 1) + b"".join(lines) + last_line(len(records)))
    return path


def many(count: int) -> "list[Record]":
    return [Record(b"key-%d" % number, b"value-%d" % number) for number in range(count)]


@contextmanager
def memcached(folder: Path) -> "Iterator[Address]":
    folder.mkdir()
    yield from serve_memcached(program("memcached"), folder)


def fill(connection: Connection) -> int:
    """Store 20,000 items of all sorts in any memcached with meta commands; how many there are."""
    sent = []
    for number in range(20_000):
        flags, left = number % 5, (0, 3000, 86_400 * 20)[number % 3]
        value = b"%d\r\n" % number * (number % 20)
        words = (number, len(value), flags, left, value)
        sent.append(b"ms key-%d %d F%d T%d q\r\n%b\r\n" % words)
    for number in range(300):
        key = b64encode(bytes([number % 256, number // 256, 32, 10]))
        sent.append(b"ms %b 3 b F9 T%d q\r\nb\0\xff\r\n" % (key, number % 2 * 5000))
    assert connection.ask(b"".join(sent) + b"mn\r\n") == b"MN\r\n"
    return 20_300


def ask_of_each(address: Any, keys: "list[bytes]") -> "dict[bytes, tuple[bytes, bytes, int]]":
    """What a server has of each key: value, flags, and the seconds that are left."""
    held = {}
    with closing(Connection(address)) as connection:
        for begin in range(0, len(keys), 500):
            part = keys[begin : begin + 500]
            request = b"".join(b"mg %b b v f t\r\n" % b64encode(key) for key in part)
            connection.send(request)
            for key in part:
                words = connection.until(b"\r\n").split()
                assert words[0] == b"VA", (key, words)
                value = connection.exactly(int(words[1]) + 2)
                held[key] = (value, words[2], int(words[3][1:]))
    return held


def test_from_memcached_into_mctwist(tmp_path: Path) -> None:
    path = tmp_path / "dump.zst"
    with memcached(tmp_path / "memcached") as stock, Server(tmp_path) as server:
        with closing(Connection(stock)) as connection:
            count = fill(connection)
        records = dumped(stock, path)
        assert len(records) == count
        ours = server.addresses()[0]
        output, _ = run("load", path, "-s", where(ours), "--json")
        told = json.loads(output)
        assert (told["loaded"], told["skipped"], told["fault"]) == (count, {}, None)
        before, after = (ask_of_each(address, list(records)) for address in (stock, ours))
        for key, (value, flags, left) in before.items():
            assert after[key][:2] == (value, flags), key
            # Asked at another second each, and of another clock.
            assert (after[key][2] == left) if left < 0 else abs(after[key][2] - left) <= 60, key
        assert {key: record.cas for key, record in records.items()} == {
            key: record.cas for key, record in dumped(ours, tmp_path / "again").items()
        }


def test_from_mctwist_to_mctwist_nothing_differs(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with Server(tmp_path / "one") as one, Server(tmp_path / "two") as two:
        with one.connect() as connection:
            fill(connection)
            connection.ask(b"ms stale 1 T1000\r\nv\r\nmd stale I\r\nmn\r\n", b"MN\r\n")
            connection.ask(b"ms won 1 T1000\r\nv\r\nmd won I\r\nmg won\r\nmn\r\n", b"MN\r\n")
            connection.ask(b"ms kept 1 K\r\nv\r\nmn\r\n", b"MN\r\n")
            connection.ask(b"ms %b 1 b\r\nv\r\nmn\r\n" % b64encode(b"plain"), b"MN\r\n")
            connection.ask(b"mi typed 4 Y1\r\n:1\r\n\r\n")
        first = dumped(one.addresses()[0], tmp_path / "first.jsonl")
        assert first[b"stale"].marks & (STALE | WON) == STALE
        assert first[b"won"].marks & (STALE | WON) == STALE | WON
        assert first[b"kept"].marks == KEPT
        assert first[b"plain"].marks == 16
        assert first[b"typed"].kind == TYPED
        source = start("dump", "-s", where(one.addresses()[0]))
        target = start("load", "-s", where(two.addresses()[0]), stdin=source.stdout)
        assert source.stdout is not None
        source.stdout.close()
        assert b"loaded" in target.communicate(timeout=PATIENCE)[1]
        assert (target.returncode, source.wait(PATIENCE)) == (0, 0)
        assert source.stderr is not None
        source.stderr.close()
        assert dumped(two.addresses()[0], tmp_path / "second.jsonl") == first
        some = dumped(two.addresses()[0], tmp_path / "some", "--prefix", "key-1999")
        assert some == {key: first[key] for key in first if key.startswith(b"key-1999")}


def test_into_memcached_as_much_as_it_can_have(tmp_path: Path) -> None:
    later = 1_000 * 2_100_000_000
    path = write_dump(
        tmp_path / "dump",
        Record(b"plain", b"v\r\n", 7, later + 1),
        Record(b"a b\xff", b"binary", 3),
        Record(b"marked", b"v", marks=STALE),
        Record(b"typed", b":1\r\n", kind=TYPED),
        Record(b"large", b"x" * (2 << 20)),
        Record(b"late", b"v", expiry=4_102_444_800_000),
        Record(b"expired", b"v", expiry=1),
        Record(b"k" * 251, b"v"),
    )
    with memcached(tmp_path / "memcached") as stock:
        output, said = run("load", path, "-s", where(stock), status=1)
        assert output == ""
        assert said.splitlines()[0].startswith(f"4 items loaded into {where(stock)}")
        assert set(said.splitlines()[1:]) == {
            "1 of them without their marks (stale, won, kept)",
            "1 skipped: a typed value, which only mctwist has (line 5: typed)",
            "1 skipped: too large for the server (line 6: large)",
            "1 skipped: expired (line 8: expired)",
            f"1 skipped: a key that this server cannot have (line 9: {'k' * 251})",
        }
        found = dumped(stock, tmp_path / "again")
        assert {key: record[1:4] for key, record in found.items()} == {
            b"plain": (b"v\r\n", 7, later + 1000),
            b"a b\xff": (b"binary", 3, 0),
            b"marked": (b"v", 0, 0),
            b"late": (b"v", 0, 2_147_483_647_000),
        }


@pytest.mark.parametrize("kind", ["mctwist", "memcached"])
def test_with_keep_what_is_there_stays(tmp_path: Path, kind: str) -> None:
    path = write_dump(tmp_path / "dump", Record(b"there", b"new"), Record(b"missing", b"new"))
    with served(kind, tmp_path) as address:
        with closing(Connection(address)) as connection:
            connection.ask(b"set there 0 0 3\r\nold\r\n")
        output, _ = run("load", path, "-s", where(address), "--keep", "--json")
        told = json.loads(output)
        assert told["loaded"] == 1
        assert told["skipped"] == {"there already": {"count": 1, "first": ["line 2: there"]}}
        values = {key: record.value for key, record in dumped(address, tmp_path / "out").items()}
        assert values == {b"there": b"old", b"missing": b"new"}


@contextmanager
def served(kind: str, folder: Path) -> "Iterator[Any]":
    if kind == "mctwist":
        with Server(folder) as server:
            yield server.addresses()[0]
    else:
        with memcached(folder / "memcached") as address:
            yield address


def test_a_dump_that_was_cut_short_is_loaded_and_told_of(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "dump", *many(10))
    whole = path.read_bytes().splitlines(keepends=True)
    whole[4] = whole[4].replace(b'"value"', b'"?"')
    path.write_bytes(b"".join(whole[:-2]))
    with Server(tmp_path) as server:
        _, said = run("load", path, "-s", where(server.addresses()[0]), status=1)
        assert said.splitlines()[0].startswith("8 items loaded")
        assert "1 skipped: damaged line (line 5: value or value64 is to be a string)" in said
        assert "cut short" in said.splitlines()[-1]
        assert len(dumped(server.addresses()[0], tmp_path / "out")) == 8
        _, said = run("load", tmp_path / "ports", "-s", where(server.addresses()[0]), status=1)
        assert "no dump" in said


def has_changed(path: Path, before: bytes) -> bool:
    return content_of(path) != before


def content_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def test_a_load_that_was_killed_goes_on(tmp_path: Path) -> None:
    records = many(3000)
    path = write_dump(tmp_path / "dump", *records)
    loaded = tmp_path / "dump.loaded"
    with Server(tmp_path) as server:
        address = where(server.addresses()[0])
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            before = content_of(loaded)
            process = start("load", path, "-s", address, "--rate", 500, "--resume")
            eventually(partial(has_changed, loaded, before), "it is on its way")
            process.send_signal(number)
            _, said = process.communicate(timeout=PATIENCE)
            expected = -number if number == signal.SIGKILL else 128 + number
            assert process.returncode == expected, said
            if number != signal.SIGKILL:
                lines = json.loads(loaded.read_bytes())["lines"]
                told = f"stopped behind line {lines}; to go on: mctwist load --resume {path}"
                assert told in said.decode()
        assert 0 < lines < 3000
        # What was loaded before is not loaded again.
        with server.connect() as connection:
            connection.ask(b"delete key-0\r\n")
        output, _ = run("load", path, "-s", address, "--resume", "--json")
        assert json.loads(output)["loaded"] == 3000
        assert not loaded.exists()
        found = dumped(server.addresses()[0], tmp_path / "out")
        assert sorted(found) == sorted(record.key for record in records[1:])


def test_a_server_that_is_killed_meanwhile_gets_all_of_it(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "dump", *many(4000))
    with Server(tmp_path, "-s", str(tmp_path / "socket")) as server:
        address = f"unix:{tmp_path / 'socket'}"
        process = start("load", path, "-s", address, "--rate", 2000, "--json")
        eventually((tmp_path / "dump.loaded").exists, "it is on its way")
        server.kill()
        server.start()
        output, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        assert b"trying to connect again" in said
        assert json.loads(output)["loaded"] == 4000
        run("dump", tmp_path / "out", "-s", address)
        assert len(records_in(tmp_path / "out")) == 4000


def test_whoever_has_seen_enough_of_a_dump(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with server.connect() as connection:
            fill(connection)
        process = start("dump", "-s", where(server.addresses()[0]))
        assert process.stdout is not None
        assert b'"mctwist": 1' in process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_dump_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    out.mkdir()
    asked = threading.Event()
    with old_memcached(endless=asked) as address:
        process = start("dump", out / "dump.zst", "-s", where(address))
        assert asked.wait(PATIENCE)
        assert len(list(out.iterdir())) == 1
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said.strip()) == (128 + number, b"")
        assert list(out.iterdir()) == []


@pytest.mark.parametrize("kind", ["lmdb", "directory"])
def test_a_store_that_no_server_has_open(tmp_path: Path, kind: str) -> None:
    store = f"{kind}:{tmp_path / 'store'}"
    records = [
        *many(3),
        Record(b"a b\n", b"\0", 7, 1_000 * 4_102_444_800, 99, STALE | WON | KEPT),
        Record(b"plain", b":1\r\n", cas=5, marks=16, kind=TYPED, accessed=1_700_000_000),
        Record(b"expired", b"v", expiry=1),
    ]
    _, said = run("load", write_dump(tmp_path / "dump", *records), "--storage", store)
    assert "5 items loaded" in said
    assert "1 skipped: expired (expired)" in said
    run("dump", tmp_path / "offline", "--storage", store)
    found = records_in(tmp_path / "offline")
    assert found[b"plain"] == records[4]
    with Server(tmp_path, kind=kind) as server:
        live = dumped(server.addresses()[0], tmp_path / "live")
        _, said = run("dump", tmp_path / "offline", "--storage", store, status=1)
        assert said.count("\n") == 1
    assert {key: record._replace(accessed=0) for key, record in found.items()} == {
        key: record._replace(accessed=0) for key, record in live.items()
    }
    _, said = run("load", tmp_path / "dump", "--storage", store, "--keep")
    assert "0 items loaded" in said
    assert "5 skipped: there already (key-0, key-1, key-2, ...)" in said
    run("dump", tmp_path / "some", "--storage", store, "--prefix", "key-")
    assert len(records_in(tmp_path / "some")) == 3


def test_through_tls(tmp_path: Path) -> None:
    identity = make_identity(tmp_path)
    # Of a megabyte and more: what TLS reads ahead, and what it cannot take at once.
    records = [*many(5000), Record(b"large", b"x" * 900_000), Record(b"last", b"y" * 900_000)]
    path = write_dump(tmp_path / "dump", *records)
    options = ("-o", f"ssl_chain_cert={identity.certificate_file},ssl_key={identity.key_file}")
    with Server(tmp_path, "-Z", *options) as server:
        words = ("-s", where(server.addresses()[0]), "--tls-ca", identity.certificate_file)
        output, _ = run("load", path, *words, "--json")
        assert json.loads(output)["loaded"] == len(records)
        run("dump", tmp_path / "again.zst", *words)
        found = records_in(tmp_path / "again.zst")
        assert {key: record.value for key, record in found.items()} == {
            record.key: record.value for record in records
        }


def test_who_may_not_list_is_told_so(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.touch(0o600)
    users.write_bytes(spell(User(b"ann", hash_password(b"a", ln=4), False, b"ann:")) + b"\n")
    path = write_dump(tmp_path / "dump", Record(b"ann:k", b"v"), Record(b"k", b"v"))
    with Server(tmp_path, "--auth-file", str(users)) as server:
        words = ("-s", where(server.addresses()[0]), "--user", "ann")
        _, said = run("dump", *words, status=1, MCTWIST_PASSWORD="a")
        assert said == (
            "Error: permission denied: a user who is read-only or has a prefix may not list, and"
            " so not dump\n"
        )
        _, said = run("load", path, *words, status=1, MCTWIST_PASSWORD="a")
        assert said.startswith("1 items loaded")
        assert "1 skipped: refused: CLIENT_ERROR permission denied (line 3: k)" in said


def test_who_has_not_said_who_he_is_is_told_so_at_once(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.touch(0o600)
    users.write_bytes(spell(User(b"ann", hash_password(b"a", ln=4), False, b"")) + b"\n")
    path = write_dump(tmp_path / "dump", Record(b"k", b"v"))
    with Server(tmp_path, "--auth-file", str(users)) as server:
        for words in (("load", path), ("dump", tmp_path / "out")):
            _, said = run(*words, "-s", where(server.addresses()[0]), status=1)
            assert said == "Error: the server asks for a user: --user\n"
        assert not (tmp_path / "out").exists()


def test_what_a_dump_or_a_server_says_does_the_terminal_no_harm(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "dump", Record(b"\x1b]0;title\x07", b"x" * (2 << 20)))
    with Server(tmp_path) as server:
        _, said = run("load", path, "-s", where(server.addresses()[0]), status=1)
        assert r"1 skipped: too large for the server (line 2: \x1b]0;title\x07)" in said
        path.write_bytes(b'{"mctwist": "\\u001b[31m"}\n')
        _, said = run("load", path, "-s", where(server.addresses()[0]), status=1)
        assert said == f"Error: {path}: this is a dump of version \\x1b[31m, not 1\n"


def test_what_is_no_number_is_no_rate_and_no_timeout(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "dump", Record(b"k", b"v"))
    for option in ("--rate", "--timeout"):
        for number in ("nan", "inf", "0", "1e300"):
            _, said = run("load", path, option, number, status=2)
            assert said.splitlines()[-1].startswith(f"Error: Invalid value for '{option}'")


def test_a_server_that_allows_no_dumps_says_why(tmp_path: Path) -> None:
    with memcached(tmp_path / "memcached") as address:
        with closing(Connection(address)) as connection:
            connection.ask(b"lru_crawler disable\r\n")
        _, said = run("dump", tmp_path / "dump", "-s", where(address), status=1)
        assert said == (
            "Error: the server's LRU crawler is off: `lru_crawler enable` turns it on\n"
        )
        assert not (tmp_path / "dump").exists()


# memcached as it was before 1.5.4


class OldMemcached(socketserver.StreamRequestHandler):
    """Knows the classic commands, and a metadump without an end."""

    def handle(self) -> None:
        store: dict[bytes, tuple[bytes, bytes]] = self.server.store  # type: ignore[attr-defined]
        for line in self.rfile:
            verb, *words = line.split() or [b""]
            if verb == b"version":
                self.wfile.write(b"VERSION 1.4.33\r\n")
            elif verb == b"lru_crawler" and words[0] == b"metadump":
                for key in store:
                    name = key.replace(b"\x01", b"%01")
                    self.wfile.write(b"key=%b exp=-1 la=7 cas=0 fetch=no\n" % name)
            elif verb == b"gets":
                for key in words:
                    flags, value = store.get(key) or (b"", b"")
                    if flags:
                        head = (key, flags, len(value), value)
                        self.wfile.write(b"VALUE %b %b %d 0\r\n%b\r\n" % head)
                endless: Optional[threading.Event] = self.server.endless  # type: ignore[attr-defined]
                if endless is not None:
                    endless.set()
                    self.rfile.read()
                self.wfile.write(b"END\r\n")
            elif verb in (b"set", b"add"):
                value = self.rfile.read(int(words[3]) + 2)[:-2]
                there = verb == b"add" and words[0] in store
                if not there:
                    store[words[0]] = (words[1], value)
                self.wfile.write(b"NOT_STORED\r\n" if there else b"STORED\r\n")
            else:
                self.wfile.write(b"ERROR\r\n")


@contextmanager
def old_memcached(endless: Optional[threading.Event] = None) -> "Iterator[Address]":
    """:param endless: no values are told; it is set when somebody waits for them."""

    class Threads(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Threads(("127.0.0.1", 0), OldMemcached) as server:
        server.store = {  # type: ignore[attr-defined]
            b"one": (b"5", b"END\r\n"),
            b"two": (b"0", b""),
            b"bi\x01nary": (b"0", b"v"),
        }
        server.endless = endless  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            host, port = server.server_address[:2]
            yield str(host), int(port)
        finally:
            server.shutdown()
            thread.join()


def test_a_memcached_of_long_ago(tmp_path: Path) -> None:
    with old_memcached() as address:
        _, said = run("dump", tmp_path / "dump", "-s", where(address), status=1)
        assert "1 left out: a key that text cannot spell" in said
        found = records_in(tmp_path / "dump")
        assert {key: record[1:] for key, record in found.items()} == {
            b"one": (b"END\r\n", 5, 0, 0, 0, 0, 7),
            b"two": (b"", 0, 0, 0, 0, 0, 7),
        }
        path = write_dump(
            tmp_path / "load", Record(b"three", b"STORED\r\n", 6), Record(b"a b", b"")
        )
        _, said = run("load", path, "-s", where(address), status=1)
        assert "1 items loaded" in said
        assert "1 skipped: a key that this server cannot have (line 3: a b)" in said
        run("dump", tmp_path / "dump", "-s", where(address), status=1)
        assert records_in(tmp_path / "dump")[b"three"][1:3] == (b"STORED\r\n", 6)
