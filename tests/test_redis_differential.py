"""mctwist and the real Redis get the same requests, and must give the same replies.

The scripts and the known differences are in differential_redis.py; here are the two servers, one
run of a script (`play`), and the comparison. The two are told apart by nothing but their address.

Every script is played once. What RESP3 makes of them, what comes byte by byte, and the logins are a
quarter of all, always the same; with DIFFERENTIAL=all, as `make differential` has it, they are all.

With REQUIRE_SERVERS=1 a missing redis-server is a failure and not a skip.
REDIS_DIFFERENTIAL_SUBJECT may name a redis-server to be judged in mctwist's place: it proves that
the replies hang on nothing but the scripts, and fails for `EXCEPTIONS` alone.
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
from contextlib import ExitStack, contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Optional, Union

import pytest

from mctwist.passwords import User, hash_password, spell
from tests.differential_redis import (
    AFTERWARDS,
    EXCEPTIONS,
    LOGINS,
    OTHERS,
    SCRIPTS,
    WORDS,
    Ask,
    How,
    One,
    Pause,
    Raw,
    Script,
    one,
)
from tests.processes import is_of_quarter, missing, program
from tests.redis_wire import Malformed, Reader, Reply, command

REFERENCE_VERSION = "7.0"
PATIENCE = 10.0  # seconds for any one exchange; a right server needs milliseconds
AT_ONCE = 65536  # bytes for one send
BYTEWISE_LIMIT = 300  # of a script: a send a byte takes its time

MARKER = one("ECHO in-step")
CLOSED = "closed"

Address = tuple[str, int]
#: A reply, or what came in place of one.
Answer = Union[Reply, str]
#: What was asked, how the answer is to be compared, and the answer.
Played = list[tuple[bytes, How, Answer]]


# ---- One connection, one script ------------------------------------------------------------------


class Connection:
    """A socket on which nothing waits for ever, connected when first used."""

    def __init__(
        self, address: Address, version: int, piece: int = AT_ONCE, source: Optional[str] = None
    ) -> None:
        self._address = address
        self._source = source
        self._version = version
        self._piece = piece
        self._opened: Optional[socket.socket] = None
        # A HELLO may change the version at any time.
        self._reader = Reader()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._opened:
            self._opened.close()

    def used(self) -> bool:
        return self._opened is not None

    def exchange(self, data: bytes, count: int, patience: float = PATIENCE) -> "list[Answer]":
        """
        Send, and read so many replies; -1: all, and that the server has closed.

        Sends while it reads, as a server may stop reading until its answers are read.
        """
        if self._opened is None:
            self._open()
        answers: list[Answer] = []
        deadline = time.monotonic() + patience
        rest = memoryview(data)
        while rest or len(answers) != count:
            reply = self._next()
            if reply is not None:
                answers.append(reply)
                if isinstance(reply, str):
                    return answers
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return [*answers, f"left open, with {self._reader.rest[:100]!r}"]
            rest, ended = self._turn(rest, left)
            if ended:
                return [*answers, *self._last()]
        return answers

    def end(self) -> "list[Answer]":
        """Half-close; all that still comes, which is the server's end if all is well."""
        assert self._opened is not None
        with suppress(OSError):  # closed by the peer
            self._opened.shutdown(socket.SHUT_WR)
        return self.exchange(b"", -1)

    def _open(self) -> None:
        # A port that is asked for, even as any, must be free of all that is over but for a minute.
        source = None if self._source is None else (self._source, 0)
        self._opened = socket.create_connection(
            self._address, timeout=PATIENCE, source_address=source
        )
        self._opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._version == 3:
            (answer,) = self.exchange(command("HELLO", 3), 1)
            assert isinstance(answer, Reply), answer
            assert answer.kind == b"%", answer

    def _next(self) -> Optional[Answer]:
        try:
            return self._reader.next()
        except Malformed as error:
            return f"malformed: {error}"

    def _turn(self, rest: memoryview, left: float) -> "tuple[memoryview, bool]":
        """What is still to be sent, and whether nothing more can come."""
        sock = self._opened
        assert sock is not None
        readable, writable, _ = select.select([sock], [sock] if rest else [], [], left)
        if readable:
            try:
                chunk = sock.recv(65536)
            except ConnectionError:  # a reset is a close: the peer had not read all of our bytes
                chunk = b""
            if not chunk:
                return rest, True
            self._reader.feed(chunk)
        if writable:
            try:
                rest = rest[sock.send(rest[: self._piece]) :]
            except ConnectionError:  # closed by the peer; what it still said is read
                rest = rest[len(rest) :]
        return rest, False

    def _last(self) -> "Iterator[Answer]":
        while True:
            reply = self._next()
            if reply is None:
                break
            yield reply
            if isinstance(reply, str):
                return
        yield CLOSED if not self._reader.rest else f"closed, behind {self._reader.rest[:100]!r}"


def play(
    script: Script,
    address: Address,
    version: int,
    piece: int = AT_ONCE,
    source: Optional[str] = None,
) -> Played:
    """What the server at `address` answers to who comes from `source`."""
    played: Played = []

    def ask(connection: Connection, *requests: One) -> None:
        data = b"".join(request.data for request in requests)
        answers = connection.exchange(data, len(requests))
        for request, answer in zip(requests, answers):
            played.append((request.data, request.how, answer))

    with ExitStack() as stack:
        first, other, third = (
            stack.enter_context(Connection(address, version, piece, source)) for _ in range(3)
        )
        gone = script.cut_off
        for step in script.steps:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
            elif isinstance(step, Raw):
                answers = first.exchange(step.data, step.replies, step.patience)
                played += [(step.data, How.EXACT, answer) for answer in answers]
                gone = gone or step.replies == -1
            else:
                ask(other if step.second else first, *step.requests)
        if script.cut_off:
            first.end()
            ask(third, one(AFTERWARDS))
        for connection in (first, other):
            if connection.used() and not (connection is first and gone):
                ask(connection, MARKER)
                played += [(b"", How.EXACT, answer) for answer in connection.end()]
    return played


# ---- The servers ---------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], folder: Path, port: int) -> "Iterator[Address]":
    """A server that listens on the port, until the block is left."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command} does not listen:\n{log.read_text(errors='replace')}")
            time.sleep(0.02)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def redis_server(folder: Path, *options: str, executable: str = "") -> "Iterator[Address]":
    """A Redis that keeps nothing."""
    executable = executable or program("redis-server")
    said = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True)
    if f"v={REFERENCE_VERSION}." not in said.stdout:
        missing(f"the replies are those of Redis {REFERENCE_VERSION}, not of {said.stdout}")
    port = free_port()
    flags = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", str(port)]
    with running([executable, *flags, *options], folder, port) as address:
        yield address


@contextmanager
def mctwist_server(folder: Path, *options: str) -> "Iterator[Address]":
    """mctwist's `resp` dialect, and no other, over the memory backend."""
    port = free_port()
    twistd = str(Path(sys.executable).with_name("twistd"))
    flags = ["--listen", f"resp=tcp:{port}:interface=127.0.0.1", "--storage", "memory:"]
    with running(
        [twistd, "-n", "--pidfile=", "mctwist", *flags, *options], folder, port
    ) as address:
        yield address


@contextmanager
def subject_server(folder: Path) -> "Iterator[Address]":
    substitute = os.environ.get("REDIS_DIFFERENTIAL_SUBJECT")
    if substitute:
        with redis_server(folder, executable=shutil.which(substitute) or substitute) as address:
            yield address
    else:
        with mctwist_server(folder) as address:
            yield address


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Address]":
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory, reference: Address) -> "Iterator[Address]":
    with subject_server(tmp_path_factory.mktemp("subject")) as address:
        yield address


def empty(address: Address) -> None:
    """Flushes the server, and sees a key go."""
    with Connection(address, 2) as connection:
        lines = ("SET canary x", "FLUSHALL", "EXISTS canary", "DBSIZE")
        data = b"".join(one(line).data for line in lines)
        answers = connection.exchange(data, len(lines))
    ok, none = Reply(b"+", b"OK"), Reply(b":", b"0")
    assert answers == [ok, ok, none, none], "FLUSHALL does not empty the server"


# ---- The comparison ------------------------------------------------------------------------------


def shape_of(answer: Answer) -> object:
    if isinstance(answer, Reply) and isinstance(answer.content, tuple):
        return answer.kind, [shape_of(reply) for reply in answer.content]
    return answer.kind if isinstance(answer, Reply) else answer


def unordered(reply: Reply) -> object:
    """The same of any two replies that differ in the order of what is in them."""
    if not isinstance(reply.content, tuple):
        return reply.kind, reply.content
    return reply.kind, sorted((unordered(inner) for inner in reply.content), key=repr)


def alike(how: How, theirs: Answer, ours: Answer) -> bool:
    if theirs == ours or isinstance(theirs, str) or isinstance(ours, str):
        return theirs == ours
    if how is How.KIND:
        return theirs.kind == ours.kind
    if how is How.CODE:
        return wire(theirs).split()[:1] == wire(ours).split()[:1]
    if how is How.SHAPE:
        return shape_of(theirs) == shape_of(ours)
    if how is How.SHUFFLED:
        return unordered(theirs) == unordered(ours)
    if how is How.EXACT or not theirs.kind == ours.kind == b":":
        return False
    return near(how, theirs, ours)


def near(how: How, theirs: Reply, ours: Reply) -> bool:
    """Whether two times are about the same; what is below zero is no time."""
    assert isinstance(theirs.content, bytes)
    assert isinstance(ours.content, bytes)
    one_time, other = int(theirs.content), int(ours.content)
    most = 5 if how is How.SECONDS else 5000
    return min(one_time, other) >= 0 and abs(one_time - other) <= most


def wire(answer: Answer) -> bytes:
    """A reply as it came, as a pattern sees it."""
    if isinstance(answer, str):
        return answer.encode()
    if isinstance(answer.content, bytes):
        length = b"%d\r\n" % len(answer.content) if answer.kind == b"$" else b""
        return b"%b%b%b\r\n" % (answer.kind, length, answer.content)
    if answer.content is None:
        return answer.kind + b"-1\r\n"
    head = b"%b%d\r\n" % (answer.kind, len(answer.content))
    return head + b"".join(wire(reply) for reply in answer.content)


def compare(
    script: Script, reference: Address, subject: Address, version: int, piece: int = AT_ONCE
) -> None:
    empty(reference)
    empty(subject)
    theirs = play(script, reference, version)
    judge(script, theirs, play(script, subject, version, piece), f"RESP{version}")


def judge(script: Script, theirs: Played, ours: Played, where: str) -> None:
    exception = EXCEPTIONS.get(script.name)
    wrong = []
    differences = 0
    # Where they part for good, what comes behind has no partner.
    for number, (their, our) in enumerate(zip_longest(theirs, ours)):
        request, how, their_answer = their or (b"", How.EXACT, "nothing")
        our_answer = our[2] if our else "nothing"
        same = alike(how, their_answer, our_answer)
        if exception and number in exception.ours:
            pattern = exception.ours[number]
            differences += not same
            if not re.fullmatch(pattern, wire(our_answer), re.DOTALL):
                wrong.append(f"not {pattern!r}, {exception.reason.value}: {our_answer}")
        elif not same and not (exception and their_answer == "nothing"):
            asked = repr(request if len(request) < 300 else request[:300] + b"..")[1:]
            wrong.append(
                f"{number}: {asked}\n    redis:   {their_answer}\n    mctwist: {our_answer}"
            )
    if exception and not differences:
        wrong.append(f"Redis says the same: it is no exception ({exception.reason.value})")
    # Not an assert: pytest would spend minutes on the difference of two megabytes.
    if wrong:
        more = [f".. and {len(wrong) - 10} more"] if len(wrong) > 10 else []
        pytest.fail("\n".join([f"{where}, {script.name}:", *wrong[:10], *more]), False)


def names(scripts: Sequence[Script]) -> list[str]:
    return [script.name for script in scripts]


def some(scripts: Sequence[Script]) -> list[Script]:
    return [each for each in scripts if is_of_quarter(each.name)]


@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_same_replies(script: Script, reference: Address, subject: Address) -> None:
    compare(script, reference, subject, 2)


IN_RESP3 = some(OTHERS)


@pytest.mark.parametrize("script", IN_RESP3, ids=names(IN_RESP3))
def test_same_replies_in_resp3(script: Script, reference: Address, subject: Address) -> None:
    compare(script, reference, subject, 3)


def size(script: Script) -> int:
    sizes = [len(step.data) for step in script.steps if isinstance(step, Raw)]
    asked = [step for step in script.steps if isinstance(step, Ask)]
    return sum(sizes) + sum(len(request.data) for step in asked for request in step.requests)


# Of the many that differ in a word only, a tenth.
BYTEWISE = some(
    [
        each
        for number, each in enumerate(SCRIPTS)
        if size(each) <= BYTEWISE_LIMIT
        and (number % 10 == 0 or any(isinstance(step, Raw) for step in each.steps))
    ]
)


@pytest.mark.parametrize("script", BYTEWISE, ids=names(BYTEWISE))
def test_same_replies_byte_by_byte(script: Script, reference: Address, subject: Address) -> None:
    compare(script, reference, subject, 2, piece=1)


# ---- Who comes in --------------------------------------------------------------------------------

#: The same people on either side: name, password, whether they only read, and their keys' prefix.
PEOPLE = [("ann", "secret", False, ""), ("reader", "word", True, "app:")]


@contextmanager
def guarded_redis(folder: Path, executable: str = "") -> "Iterator[Address]":
    flags: list[str] = ["--user", "default", "off"]
    for name, password, read_only, prefix in PEOPLE:
        may = ["+@read", "+@connection", "+@transaction"] if read_only else ["+@all"]
        flags += ["--user", name, "on", f">{password}", f"~{prefix}*", *may]
    with redis_server(folder, *flags, executable=executable) as address:
        yield address


@contextmanager
def guarded_subject(folder: Path) -> "Iterator[Address]":
    substitute = os.environ.get("REDIS_DIFFERENTIAL_SUBJECT")
    if substitute:
        with guarded_redis(folder, shutil.which(substitute) or substitute) as address:
            yield address
        return
    users = folder / "users"
    users.touch(0o600)
    lines = [
        spell(User(name.encode(), hash_password(word.encode(), ln=4), read_only, prefix.encode()))
        for name, word, read_only, prefix in PEOPLE
    ]
    users.write_bytes(b"".join(line + b"\n" for line in lines))
    with mctwist_server(folder, "--auth-file", str(users)) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Address, Address]]":
    """Redis and mctwist, which ask who comes in."""
    folders = [tmp_path_factory.mktemp(name) for name in ("guarded-redis", "guarded-subject")]
    with guarded_redis(folders[0]) as reference, guarded_subject(folders[1]) as subject:
        yield reference, subject


#: Each comes from an address of its own: who guesses from there has to wait, longer each time.
FROM = {script.name: f"127.1.0.{number}" for number, script in enumerate(LOGINS, 1)}
LOGGING_IN = some(LOGINS)


@pytest.mark.parametrize("script", LOGGING_IN, ids=names(LOGGING_IN))
def test_same_to_who_comes_in(script: Script, guarded: "tuple[Address, Address]") -> None:
    theirs, ours = (play(script, address, 2, source=FROM[script.name]) for address in guarded)
    judge(script, theirs, ours, "with users")


# ---- What names the implementation ---------------------------------------------------------------


def asked(address: Address, version: int, line: str) -> Reply:
    with Connection(address, version) as connection:
        (answer,) = connection.exchange(one(line).data, 1)
    assert isinstance(answer, Reply), answer
    return answer


def fields(reply: Reply) -> "dict[bytes, Reply]":
    """A map, or what RESP2 has for it."""
    assert isinstance(reply.content, tuple)
    names, values = reply.content[::2], reply.content[1::2]
    assert {name.kind for name in names} <= {b"$"}
    return {name.content: value for name, value in zip(names, values)}  # type: ignore[misc]


@pytest.mark.parametrize("version", [2, 3])
def test_hello_has_the_fields_of_rediss(reference: Address, subject: Address, version: int) -> None:
    theirs, ours = (asked(address, version, "HELLO") for address in (reference, subject))
    assert ours.kind == theirs.kind
    assert list(fields(ours)) == list(fields(theirs))
    for name in (b"proto", b"mode", b"role", b"modules", b"server"):
        assert fields(ours)[name] == fields(theirs)[name]
    for name in (b"version", b"id"):
        assert fields(ours)[name].kind == fields(theirs)[name].kind


def sections(reply: Reply) -> "dict[str, dict[str, str]]":
    """INFO's text, read as clients do."""
    assert isinstance(reply.content, bytes)
    text = reply.content.decode()
    if reply.kind == b"=":
        assert text.startswith("txt:")
        text = text[len("txt:") :]
    found: dict[str, dict[str, str]] = {}
    for line in text.split("\r\n"):
        if line.startswith("# "):
            current = found[line[2:]] = {}
        elif line:
            name, value = line.split(":", 1)
            current[name] = value
    return found


#: What redis-py, exporters and dashboards look for.
LOOKED_FOR = {
    "Server": ["redis_version", "redis_mode", "process_id", "uptime_in_seconds"],
    "Clients": ["connected_clients"],
    "Memory": ["used_memory", "maxmemory"],
    "Stats": ["total_commands_processed", "keyspace_hits", "keyspace_misses", "evicted_keys"],
    "Replication": ["role"],
}


@pytest.mark.parametrize("version", [2, 3])
def test_info_has_the_sections_of_rediss(
    reference: Address, subject: Address, version: int
) -> None:
    empty(reference)
    empty(subject)
    for address in (reference, subject):
        found = sections(asked(address, version, "INFO"))
        for section, names in LOOKED_FOR.items():
            assert set(names) <= set(found[section]), section
        assert found["Keyspace"] == {}
        assert re.fullmatch(r"7\.0\.\d+", found["Server"]["redis_version"])
        assert list(sections(asked(address, version, "INFO server"))) == ["Server"]
        assert sections(asked(address, version, "INFO nonsense")) == {}
        asked(address, version, "SET k v")
        (database,) = sections(asked(address, version, "INFO keyspace"))["Keyspace"].items()
        assert database[0] == "db0"
        assert database[1].startswith("keys=1,expires=0")


@pytest.mark.parametrize("version", [2, 3])
def test_command_tells_the_arity_and_the_keys(
    reference: Address, subject: Address, version: int
) -> None:
    """What clients that route by key read: of ours, the same as of Redis's."""
    theirs, ours = (described(address, version) for address in (reference, subject))
    wanted = {*WORDS, "TIME", "QUIT", "INFO", "COMMAND", "CLIENT", "CONFIG", "HELLO"}
    assert {name.decode().upper() for name in ours} >= wanted
    for name, told in ours.items():
        # Name, arity, flags, first key, last key, step between.
        assert len(told) == len(theirs[name])
        for place in (0, 1, 3, 4, 5):
            assert told[place] == theirs[name][place], (name, place)
        assert shape_of(told[2])[0] == theirs[name][2].kind  # type: ignore[index]
    count = asked(subject, version, "COMMAND COUNT")
    assert count == Reply(b":", b"%d" % len(ours))


def described(address: Address, version: int) -> "dict[bytes, tuple[Reply, ...]]":
    reply = asked(address, version, "COMMAND")
    assert isinstance(reply.content, tuple)
    found = {}
    for told in reply.content:
        assert isinstance(told.content, tuple)
        assert isinstance(told.content[0].content, bytes)
        found[told.content[0].content] = told.content
    return found


def test_a_scan_meets_every_key_once_that_stays(subject: Address) -> None:
    """Also while others come and go."""
    empty(subject)
    keys = {b"key-%d" % number for number in range(500)}
    with Connection(subject, 2) as connection:
        connection.exchange(b"".join(command("SET", key, "v") for key in keys), len(keys))
        met: set[bytes] = set()
        cursor = b"0"
        for turn in range(1000):
            (answer,) = connection.exchange(command("SCAN", cursor, "COUNT", 7), 1)
            assert isinstance(answer, Reply)
            assert isinstance(answer.content, tuple)
            place, found = answer.content
            assert isinstance(place.content, bytes)
            assert isinstance(found.content, tuple)
            cursor = place.content
            met |= {bytes(reply.content) for reply in found.content}  # type: ignore[arg-type]
            if cursor == b"0":
                break
            gone = command("DEL", b"other-%d" % (turn - 1))
            connection.exchange(command("SET", b"other-%d" % turn, "v") + gone, 2)
        assert cursor == b"0"
        assert met >= keys
        assert all(key.startswith(b"other-") for key in met - keys)


# ---- The corpus ----------------------------------------------------------------------------------


def test_script_names_are_unique() -> None:
    seen = names(SCRIPTS + LOGINS)
    assert sorted({name for name in seen if seen.count(name) > 1}) == []


def test_exceptions_are_of_scripts() -> None:
    assert sorted(set(EXCEPTIONS) - set(names(SCRIPTS + LOGINS))) == []
