"""mctwist and the real memcached get the same bytes, must give the same answers, and count alike.

The scripts and the known differences are in differential.py; here are the two servers, one run of a
script (`play`), and the comparison. The two are told apart by nothing but their address.

What may differ is taken out before comparing: a CAS unique becomes the rank of its first appearance
in the script, the text behind VERSION and the lines of `stats` become a star. Of the counts, those
named in `NOT_COMPARED` and `not_compared`, each with its reason.

With REQUIRE_SERVERS=1 a missing memcached is a failure and not a skip. DIFFERENTIAL_SUBJECT may
name a memcached to be judged in mctwist's place: one built from the source of 1.6.45 proves the
table of exceptions, and fails only where differential.py says that 1.6.18 is right instead.
"""

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Optional

import pytest

from tests import differential, differential_meta
from tests.differential import (
    AFTERWARDS,
    IN_STEP,
    KEY_250,
    Ending,
    Pause,
    Script,
    Second,
    put,
)

SCRIPTS = (*differential.SCRIPTS, *differential_meta.SCRIPTS)
EXCEPTIONS = {**differential.EXCEPTIONS, **differential_meta.exceptions()}

REFERENCE_VERSION = "1.6.18"
PATIENCE = 10.0  # seconds for any one exchange; a right server needs milliseconds
AT_ONCE = 65536  # bytes for one send
BYTEWISE_LIMIT = 600  # of a script: a send a byte takes its time

# Both halves answer whatever came before, flush_all included, and nothing else answers so.
MARKER = b"set in-step 0 0 6\r\nmarker\r\nget in-step\r\n"
MARKED = b"STORED\r\nVALUE in-step 0 6\r\nmarker\r\nEND\r\n"
CLOSED = b"<closed>"
LEFT_OPEN = b"<left open>"

Address = tuple[str, int]


# ---- One connection, one script ------------------------------------------------------------------


class Connection:
    """A socket on which nothing waits for ever, connected when first used."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._opened: Optional[socket.socket] = None

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._opened:
            self._opened.close()

    @property
    def _socket(self) -> socket.socket:
        if self._opened is None:
            self._opened = socket.create_connection(self._address, timeout=PATIENCE)
            self._opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._opened

    def exchange(
        self,
        data: bytes,
        until: Optional[bytes],
        half_close: bool,
        piece: int,
    ) -> tuple[bytes, bool]:
        """Sends while it reads, as a server may stop reading until its answers are read.

        Reads up to `until`, or to the end. The second result is whether the server has closed.
        """
        deadline = time.monotonic() + PATIENCE
        received = bytearray()
        rest = memoryview(data)
        if half_close and not rest:
            self._end()
        while rest or until is None or not received.endswith(until):
            left = deadline - time.monotonic()
            if left <= 0:
                return bytes(received), False
            readable, writable, _ = select.select(
                [self._socket], [self._socket] if rest else [], [], left
            )
            if readable:
                chunk = self._receive()
                if not chunk:
                    return bytes(received), True
                received += chunk
            if writable:
                rest = rest[self._send(rest[:piece]) :]
                if half_close and not rest:
                    self._end()
        return bytes(received), False

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionError:  # a reset is a close: the peer had not read all of our bytes
            return b""

    def _send(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except ConnectionError:  # closed by the peer; what it still said is read
            return len(data)

    def _end(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # closed by the peer
            return


VALUE_LINE = re.compile(rb"VALUE ([^ \n]+) (\d+) (\d+)(?: (\d+))?\r\n")
PLACEHOLDER = re.compile(rb"\{cas:([^}]*)\}")


class Uniques:
    """The CAS uniques of one server in one script, by order and by key."""

    def __init__(self) -> None:
        self._ranks: dict[bytes, int] = {}
        self._latest: dict[bytes, bytes] = {}

    def fill_in(self, data: bytes) -> bytes:
        return PLACEHOLDER.sub(lambda match: self._latest.get(match[1], b"none-seen"), data)

    def normalise(self, answer: bytes) -> bytes:
        """The answer without what may differ. Walks it line by line, stepping over values."""
        pieces: list[bytes] = []
        position = 0
        while position < len(answer):
            value = VALUE_LINE.match(answer, position)
            meta = META_LINE.match(answer, position)
            if value:
                end = value.end() + int(value[3]) + 2
                pieces.append(self._value_line(value) + answer[value.end() : end])
            elif meta:
                end = meta.end() + (int(meta[1]) + 2 if meta[1] else 0)
                pieces.append(self._meta_line(meta[0]) + answer[meta.end() : end])
            else:
                end = answer.find(b"\n", position) + 1 or len(answer)
                line = plain(answer[position:end])
                if line != STATISTIC or pieces[-1:] != [STATISTIC]:
                    pieces.append(line)
            position = end
        return b"".join(pieces)

    def _value_line(self, match: "re.Match[bytes]") -> bytes:
        key, flags, length, unique = match.groups()
        if unique is None:
            return match[0]
        self._latest[key] = unique
        rank = self._ranks.setdefault(unique, len(self._ranks) + 1)
        return b"VALUE %b %b %b cas-%d\r\n" % (key, flags, length, rank)

    def _meta_line(self, line: bytes) -> bytes:
        def fixed(match: "re.Match[bytes]") -> bytes:
            name, number = match[1], int(match[2])
            if name in META_UNIQUES and number:
                rank = self._ranks.setdefault(match[2], len(self._ranks) + 1)
                return b" %bcas-%d" % (name, rank)
            if name in META_SECONDS:
                # Of seconds, one may have gone by in between, or two.
                return b" %b%d" % (name, -(-number // 10) * 10 if number > 2 else min(number, 0))
            return match[0] if name != b"cls=" else b" cls=*"

        return META_FLAG.sub(fixed, line)


META_LINE = re.compile(rb"(?:VA (\d+)|HD|EX|NS|NF|ME [^ ]+)(?: [^\n]*)?\r\n")
META_FLAG = re.compile(rb" ([ctl]|exp=|la=|cas=|cls=)(-?\d+)(?= |\r)")
META_UNIQUES = (b"c", b"cas=")
META_SECONDS = (b"t", b"l", b"exp=", b"la=")
STATISTIC = b"STAT *\r\n"


def plain(line: bytes) -> bytes:
    if line.startswith(b"VERSION "):
        return b"VERSION *\r\n"
    return STATISTIC if line.startswith(b"STAT ") else line


def play(script: Script, address: Address, piece: int = AT_ONCE) -> bytes:
    """What the server at `address` answers: its bytes, and what became of each connection.

    `<in step>` stands for the answer to the marker, `<closed>` for the server's own close, and
    `<left open>` for neither within PATIENCE.
    """
    uniques = Uniques()

    def exchange(connection: Connection, data: bytes, half_close: bool) -> bytes:
        answer, closed = connection.exchange(uniques.fill_in(data), None, half_close, piece)
        return uniques.normalise(answer) + (CLOSED if closed else LEFT_OPEN)

    def marked(connection: Connection, data: bytes, half_close: bool) -> bytes:
        answer, closed = connection.exchange(
            uniques.fill_in(data) + MARKER, None if half_close else MARKED, half_close, piece
        )
        if answer.endswith(MARKED) and closed == half_close:
            return uniques.normalise(answer[: -len(MARKED)]) + IN_STEP
        return uniques.normalise(answer) + (CLOSED if closed else LEFT_OPEN)

    answers = []
    with Connection(address) as first, Connection(address) as second, Connection(address) as third:
        for send in script.sends[:-1]:
            if isinstance(send, Pause):
                time.sleep(send.seconds)
            elif isinstance(send, Second):
                answers.append(marked(second, send.data, half_close=False))
            else:
                answers.append(marked(first, send, half_close=False))
        last = script.sends[-1]
        if isinstance(last, Second):
            answers.append(marked(second, last.data, half_close=True))
        elif isinstance(last, bytes) and script.ending is Ending.IN_STEP:
            answers.append(marked(first, last, half_close=True))
        elif isinstance(last, bytes):
            answers.append(exchange(first, last, script.ending is Ending.HALF_CLOSE))
        if script.ending is not Ending.IN_STEP:
            answers.append(marked(third, AFTERWARDS, half_close=True))
    return b"".join(answers)


# ---- The servers ---------------------------------------------------------------------------------


def wait_for_port(process: "subprocess.Popen[bytes]", ports_file: Path, pattern: str) -> int:
    """The port that the server writes to its file of ports once it listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        text = ports_file.read_text() if ports_file.exists() else ""
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            return int(found[1])
        try:
            status = process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        log = ports_file.with_name("log").read_text(errors="replace")
        pytest.fail(f"{process.args!r} ended with status {status} before it listened:\n{log}")
    pytest.fail(f"{process.args!r} did not say where it listens in {PATIENCE} seconds")


def serve(
    command: Sequence[str], folder: Path, ports_file: Path, pattern: str
) -> Iterator[Address]:
    """Runs a server for as long as a fixture lives."""
    environment = {**os.environ, "MEMCACHED_PORT_FILENAME": str(ports_file)}
    with ports_file.with_name("log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield "127.0.0.1", wait_for_port(process, ports_file, pattern)
    finally:
        process.terminate()
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve_memcached(executable: str, folder: Path) -> Iterator[Address]:
    # Port -1 is any free one, which memcached writes to the file named in its environment.
    options = ["-u", "root", "-p", "-1", "-U", "0", "-l", "127.0.0.1", "-t", "1"]
    return serve([executable, *options], folder, folder / "ports", r"^TCP INET: (\d+)\n")


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def serve_reference(folder: Path) -> Iterator[Address]:
    """The memcached that is installed; without it, or with another, the tests are skipped."""
    executable = shutil.which("memcached")
    if executable is None:
        unavailable("memcached is not installed")
    version = subprocess.run([executable, "-V"], capture_output=True, text=True, check=True).stdout
    if version.split()[-1] != REFERENCE_VERSION:
        unavailable(f"the exceptions are those of memcached {REFERENCE_VERSION}, not of {version}")
    yield from serve_memcached(executable, folder)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    yield from serve_reference(tmp_path_factory.mktemp("memcached"))


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    yield from serve_subject(tmp_path_factory.mktemp("subject"))


def serve_subject(folder: Path) -> Iterator[Address]:
    substitute = os.environ.get("DIFFERENTIAL_SUBJECT")
    if substitute:
        return serve_memcached(substitute, folder)
    ports_file = folder / "ports"
    twistd = Path(sys.executable).with_name("twistd")
    options = ["--port", "-1", "--interface", "127.0.0.1", "--storage", "memory:"]
    command = [str(twistd), "-n", "--pidfile=", "mctwist", *options]
    return serve(
        [*command, "--ports-file", str(ports_file)],
        folder,
        ports_file,
        r"^auto tcp 127\.0\.0\.1 (\d+)\n",
    )


def empty(address: Address) -> None:
    """Flushes the server, sees a key go, and has it count anew."""
    canary = b"set canary 0 0 1\r\nx\r\nverbosity 0\r\nflush_all\r\nget canary\r\n"
    answer = ask(address, canary)
    assert answer == b"STORED\r\nOK\r\nOK\r\nEND\r\n", "flush_all does not empty the server"
    # On a connection of its own: what is answered before it on the same one may be sent behind it.
    assert ask(address, b"stats reset\r\n") == b"RESET\r\n"


def ask(address: Address, data: bytes) -> bytes:
    """All that is answered to `data` on a connection of its own."""
    with Connection(address) as connection:
        return connection.exchange(data, None, True, AT_ONCE)[0]


# ---- The comparison ------------------------------------------------------------------------------


def shown(answer: bytes) -> str:
    """An answer as a person reads it: a line each, long ones cut."""
    text = [
        repr(line)[1:] if len(line) <= 200 else f"{repr(line[:80])[1:]} .. {len(line)} bytes"
        for line in answer.replace(IN_STEP, IN_STEP + b"\n").splitlines(keepends=True)
    ]
    if len(text) > 40:
        text[20:-20] = [f".. {len(text) - 40} lines .."]
    return "\n    ".join(text or ["nothing"])


def report(**answers: bytes) -> str:
    return "".join(f"\n{who}:\n    {shown(answer)}" for who, answer in answers.items())


def sent(script: Script) -> bytes:
    """A script's bytes, for a report and for its size."""
    pieces = [
        send.data if isinstance(send, Second) else send
        for send in script.sends
        if not isinstance(send, Pause)
    ]
    return b"".join(pieces)


def judge(script: Script, theirs: bytes, ours: bytes) -> Optional[str]:
    """What is wrong with mctwist's answer, or with the table of exceptions."""
    exception = EXCEPTIONS.get(script.name)
    if exception is None:
        return None if ours == theirs else "mctwist does not answer as memcached does"
    if ours != exception.expected:
        return f"mctwist does not answer as 1.6.45 does ({exception.reason})"
    if theirs == ours and exception.steady:
        return f"memcached {REFERENCE_VERSION} agrees: it is no exception ({exception.reason})"
    return None


def compare(script: Script, reference: Address, subject: Address, piece: int) -> None:
    empty(reference)
    empty(subject)
    theirs = play(script, reference)
    ours = play(script, subject, piece)
    wrong = judge(script, theirs, ours)
    # Not an assert: pytest would spend minutes on the difference of two megabytes.
    if wrong:
        pytest.fail(wrong + report(sent=sent(script), memcached=theirs, mctwist=ours), False)
    if script.name not in EXCEPTIONS:
        compare_counts(script, reference, subject)


#: What `stats` does not have to say as memcached does, and why.
NOT_COMPARED = {
    **dict.fromkeys(
        ("pid", "uptime", "time", "version", "libevent", "rusage_user", "rusage_system"),
        "is of the process",
    ),
    **dict.fromkeys(
        ("read_buf_count", "read_buf_bytes", "read_buf_bytes_free", "response_obj_count",
         "response_obj_bytes", "connection_structures", "reserved_fds", "limit_maxbytes"),
        "is of memcached's memory",
    ),
    **dict.fromkeys(
        ("hash_power_level", "hash_bytes", "moves_to_cold", "moves_to_warm", "moves_within_lru",
         "lrutail_reflocked", "lru_maintainer_juggles", "lru_crawler_starts", "direct_reclaims",
         "slabs_moved", "slab_global_page_pool", "slab_reassign_running", "slab_reassign_rescues",
         "slab_reassign_chunk_rescues", "slab_reassign_evictions_nomem",
         "slab_reassign_inline_reclaim", "slab_reassign_busy_items",
         "slab_reassign_busy_deletes"),
        "is of structures that mctwist does not have",
    ),
    **dict.fromkeys(
        ("curr_items", "bytes", "get_expired", "get_flushed", "reclaimed", "expired_unfetched",
         "crawler_reclaimed", "crawler_items_checked"),
        "hangs on who meets a dead item first: a command, or whoever cleans up meanwhile",
    ),
    "conn_yields": "turns are of different lengths",
}  # fmt: skip


def not_compared(script: Script) -> dict[str, str]:
    """The same, of one script."""
    names = {}
    data = sent(script)
    if re.search(rb"incr|^ma ", data, re.MULTILINE):
        names["total_items"] = "memcached stores anew what an incr lengthens, and else in place"
    if re.search(rb"gets|gats|version|stats|\{cas:|^me |^m.* [ctl]\b", data, re.MULTILINE):
        names["bytes_written"] = names["bytes_read"] = "CAS uniques and versions differ in length"
    if script.ending is Ending.HANG_UP:
        names["bytes_read"] = "how much is read of a line that does not end"
    return names


def compare_counts(script: Script, reference: Address, subject: Address) -> None:
    theirs, ours = statistics(reference), statistics(subject)
    names = theirs.keys() & ours.keys() - NOT_COMPARED.keys() - not_compared(script).keys()
    different = {name: (theirs[name], ours[name]) for name in names if theirs[name] != ours[name]}
    if different:
        pytest.fail(f"memcached and mctwist have counted {different}{report(sent=sent(script))}")


def statistics(address: Address) -> dict[str, str]:
    lines = ask(address, b"stats\r\n").decode().splitlines()
    return dict(line.split(" ")[1:] for line in lines[:-1])


def names(scripts: Sequence[Script]) -> list[str]:
    return [script.name for script in scripts]


@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_same_answer(script: Script, reference: Address, subject: Address) -> None:
    compare(script, reference, subject, piece=AT_ONCE)


BYTEWISE = [
    script for script in SCRIPTS if not script.whole and len(sent(script)) <= BYTEWISE_LIMIT
]


@pytest.mark.parametrize("script", BYTEWISE, ids=names(BYTEWISE))
def test_same_answer_byte_by_byte(script: Script, reference: Address, subject: Address) -> None:
    compare(script, reference, subject, piece=1)


@pytest.mark.usefixtures("reference")  # it looks for memcached
def test_same_items_and_bytes(tmp_path: Path) -> None:
    """In servers of their own: what others have left behind is cleaned up at any time."""
    executable = shutil.which("memcached")
    assert executable is not None
    script = (
        put(b"a", b"x" * 100) + put(b"b", b"") + put(KEY_250, b"x") + put(b"gone", b"x")
        + b"set flags 7 0 1\r\nx\r\n" + put(b"a", b"x" * 50) + put(b"b", b"more", b"append")
        + put(b"n", b"9") + b"incr n 1\r\ndecr n 5\r\ntouch b 100\r\ndelete gone\r\n"
        + put(b"large", b"x" * 500_000) + put(b"a", b"x" * 2_000_000)
    )  # fmt: skip
    found = []
    for folder, start in (
        (tmp_path / "memcached", lambda folder: serve_memcached(executable, folder)),
        (tmp_path / "mctwist", serve_subject),
    ):
        folder.mkdir()
        with contextmanager(start)(folder) as address:
            ask(address, script)
            found.append(statistics(address))
    theirs, ours = found
    for name in ("curr_items", "bytes"):
        assert ours[name] == theirs[name], name


# ---- Those who watch ----------------------------------------------------------------------------

LARGE = b"%b k 0 0 1048576\r\n" + b"v" * 1048576 + b"\r\n"

# Deletions are told of since 1.6.19 only, so not these.
WATCHED = [
    b"set k 7 100 5\r\nvalue\r\n",
    b"get k none k\r\n",
    b"gets none k\r\n",
    b"gat 0 k none\r\n",
    b"touch k 100\r\ntouch none 100\r\n",
    b"incr k 1\r\nincr none 1\r\ndecr none 1\r\n",
    b"set n 0 0 2\r\n10\r\nincr n 1\r\ndecr n 9\r\n",
    b"add k 0 0 3\r\nnew\r\nadd new 0 0 0 noreply\r\n\r\n",
    b"replace none 0 0 1\r\nv\r\nreplace new 0 100 1\r\nv\r\n",
    b"append k 0 0 2\r\n!!\r\nprepend k 0 0 2\r\n!!\r\nappend none 0 0 2\r\n!!\r\n",
    b"cas none 0 0 1 1\r\nv\r\ncas k 0 0 1 99999999\r\nv\r\n",
    LARGE % b"set",
    LARGE % b"add",
    b"set k 0 0 1\r\nv\r\ndelete n\r\ndelete n\r\ndelete k\r\nbogus\r\nset k 0 0 x\r\n",
    b"get a/b%c~\xff\x01\r\nget " + b"#" * 250 + b"\r\n",
]


def watched(address: Address) -> list[str]:
    """What who watches is told of `WATCHED`, without when, by whom and in which slab class."""
    empty(address)
    with Connection(address) as watcher:
        kinds = b"watch connevents fetchers mutations\r\n"
        answer, _ = watcher.exchange(kinds, b"\r\n", False, AT_ONCE)
        assert answer == b"OK\r\n"
        with Connection(address) as client:
            port = client._socket.getsockname()[1]
            for commands in WATCHED:
                client.exchange(commands + MARKER, MARKED, False, AT_ONCE)
            client.exchange(b"quit\r\n", None, False, AT_ONCE)
        told = b""
        while not re.search(rb"type=conn_close rip=\S+ rport=%d .*\n" % port, told):
            told += watcher._receive()
    lines = []
    for line in told.decode().splitlines():
        match = re.fullmatch(r"ts=\d+\.\d+ gid=\d+ (type=.*)", line)
        assert match, line
        # Of connections that have nothing to do with it, as those of the test before.
        if "type=conn_" not in line or f" rport={port} " in line:
            fixed = match[1].replace(f" rport={port} ", " rport=* ")
            fixed = re.sub(r"\b(clsid|cfd)=-?\d+", r"\1=*", fixed)
            lines.append(re.sub(r"\bttl=(99|100)\b", "ttl=100", fixed))
    return lines


def without_lookups(lines: list[str]) -> list[str]:
    """What memcached says, but for the items that it looks up in order to store."""

    def key_of(line: str) -> str:
        return line.split(" ")[1]

    kept = []
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""]):
        stores = after.startswith("type=item_store") and key_of(after) == key_of(line)
        refused = "status=too_large cmd=set" in before and key_of(before) == key_of(line)
        if not (line.startswith("type=item_get") and (stores or refused)):
            kept.append(line)
    return kept


def test_who_watches_is_told_the_same(reference: Address, subject: Address) -> None:
    theirs, ours = watched(reference), watched(subject)
    assert len(ours) > 60
    assert without_lookups(ours) == without_lookups(theirs)


# ---- Listings -----------------------------------------------------------------------------------

LISTED = (
    b"lru mode flat\r\nset a 3 100 5\r\nvalue\r\nset b 0 0 0\r\n\r\nset gone 0 0 1\r\nx\r\n"
    b"set a/b%c~\xff\x01 0 0 1\r\nv\r\nset n 4294967295 0 2\r\n10\r\nset late 0 -1 1\r\nx\r\n"
    b"get a gone\r\nincr n 5\r\ngat 100 b\r\ndelete gone\r\nget n\r\nset n 7 0 1\r\n1\r\n"
)


def listed(address: Address) -> tuple[dict[str, dict[str, str]], list[bytes]]:
    """
    What metadump and cachedump tell of `LISTED`.

    Without the CAS and the class, and without flags, which 1.6.18 does not tell; times in tens of
    seconds from now.
    """
    empty(address)
    ask(address, LISTED)
    now = time.time()
    with Connection(address) as client:
        dump, _ = client.exchange(b"lru_crawler metadump all\r\n", b"END\r\n", False, AT_ONCE)
    items = {}
    for line in dump.removeprefix(b"OK\r\n").removesuffix(b"END\r\n").decode().split("\n"):
        fields = dict(word.split("=") for word in line.split())
        if fields:
            for name in ("cas", "cls", "flags"):
                fields.pop(name, None)
            for name in ("exp", "la"):
                if fields[name] != "-1":
                    fields[name] = f"{round((int(fields[name]) - now) / 10)}"
            items[fields.pop("key")] = fields
    lines = ask(address, b"stats cachedump 1 0\r\nlru mode segmented\r\n").splitlines()
    # memcached's cachedump has what has expired, until somebody cleans up.
    lines = [line for line in lines if not line.startswith(b"ITEM late ")]
    return items, sorted(re.sub(rb"; [1-9]\d+ s", b"; * s", line) for line in lines)


def test_the_same_is_listed(reference: Address, subject: Address) -> None:
    theirs, ours = listed(reference), listed(subject)
    assert sorted(ours[0]) == ["a", "a%2Fb%25c~%FF%01", "b", "n"]
    assert len(ours[1]) == 4 + len(["END", "OK"])
    assert ours == theirs


def test_script_names_are_unique() -> None:
    assert len({script.name for script in SCRIPTS}) == len(SCRIPTS)


def test_exceptions_are_of_scripts() -> None:
    assert set(EXCEPTIONS) <= {script.name for script in SCRIPTS}
