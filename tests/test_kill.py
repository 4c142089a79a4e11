"""
kill -9 at random moments, and what must be there afterwards: everything that was acknowledged,
once, whole.

Each writer has a connection and keys of its own, so it knows every answer and every state before
it comes. The commands of one connection take effect in their order. So what is found after a kill
must be exactly the state after some first part of what the writer sent: all that was answered,
and perhaps some more of what was under way. That one comparison finds what is lost, doubled,
reordered or torn, in values, flags, expiry and CAS.

Three keys are everybody's. Of the counter each writer owns eight bits, and of the diary, which is
appended to, its own chunks, so these belong to the same comparison; the number is raised by
gets and cas, by whoever comes first.

MCTWIST_KILL_CYCLES asks for that many cycles of each kind instead of the few of CI, and
MCTWIST_KILL_SEED repeats a run's choices.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import NamedTuple, Optional, Union
from zlib import crc32

import pytest

from tests.processes import PATIENCE, Connection, Server, complaints, eventually

SEED = int(os.environ.get("MCTWIST_KILL_SEED") or Random().getrandbits(32))

WRITERS = 8
FOREVER = float("inf")

#: Bytes of the values: small ones, and some that soon fill a journal.
LIGHT = (10, 100, 1000, 4000)
HEAVY = (100, 4000, 100_000, 400_000)
MOST_VALUE = 1_000_000

COUNTER, DIARY, NUMBER = b"everybody's-counter", b"everybody's-diary", b"everybody's-number"
#: So often may a writer count in one cycle: its eight bits of the counter are then full.
MOST_COUNTED = 255

CHUNK = re.compile(rb"<(\S+) (\d+) (\d+) (\d+):", re.DOTALL)


class State(NamedTuple):
    """
    What is known of a key.

    :ivar unique: its CAS unique, where it has been asked for.
    :ivar until: it is there before this time, :ivar gone: and not from this time on.
    :ivar lifetime: seconds, which the server counts from when it takes the command.
    """

    value: bytes
    flags: int = 0
    unique: Optional[int] = None
    until: float = FOREVER
    gone: float = FOREVER
    lifetime: int = 0


#: None: the key is not there. Of a key that is everybody's: how often this writer has changed it.
Known = Union[State, int, None]
States = dict[bytes, Known]


class Command(NamedTuple):
    """
    One command of a writer.

    :ivar state: of `key`, afterwards.
    :ivar answers: what may come back; None: noreply.
    """

    data: bytes
    key: bytes
    state: Known
    answers: "Optional[tuple[bytes, ...]]"


#: In `Command.answers`: any number, any value.
A_NUMBER, A_VALUE = (b"0123456789",), (b"VALUE",)


def chunk(name: bytes, serial: int, payload: bytes) -> bytes:
    """Bytes that show by themselves whether they are whole."""
    return b"<%b %d %d %d:%b>" % (name, serial, len(payload), crc32(payload), payload)


def chunks(value: bytes) -> "Iterator[tuple[bytes, int]]":
    """The name and the serial of each chunk in `value`; fails where one is not whole."""
    position = 0
    while position < len(value):
        match = CHUNK.match(value, position)
        assert match is not None, f"torn at {position}: {value[position : position + 60]!r}"
        end = match.end() + int(match[3])
        whole = crc32(value[match.end() : end]) == int(match[4]) and value[end : end + 1] == b">"
        assert whole, f"torn: {match[0]!r}"
        yield match[1], int(match[2])
        position = end + 1


class Writer:
    """
    What one client writes, and what it knows of that.

    :ivar certain: the states after the last command that was answered.
    :ivar unanswered: the commands sent since, oldest first.
    :ivar answered: the commands that were answered.
    :ivar swaps: of NUMBER, that were answered STORED; :ivar swaps_under_way: not answered.
    :ivar highest: the highest CAS unique seen.
    """

    def __init__(self, number: int) -> None:
        self.name = b"w%d" % number
        self.unanswered: list[Command] = []
        self.answered = self.swaps = self.swaps_under_way = self.highest = 0
        self.fault: Optional[BaseException] = None
        self._bit = 8 * number
        self._rng = Random()
        self._sizes: tuple[int, ...] = LIGHT
        self._serial = 0
        self._seen = b""  # NUMBER and its unique, as last seen
        self._steady = [b"%b-%d" % (self.name, n) for n in range(6)]
        self._counters = [b"%b-n%d" % (self.name, n) for n in range(2)]
        self._mortal = [b"%b-t%d" % (self.name, n) for n in range(4)]
        self.keys = [*self._steady, *self._counters, *self._mortal]
        self.certain: States = dict.fromkeys(self.keys)
        self._expected = dict(self.certain)  # after all that has been sent

    def begin(self, server: Server, cycle: int, sizes: "tuple[int, ...]") -> Thread:
        """Write until the server is gone, in the thread that is returned."""
        self._rng.seed(f"{SEED} {cycle} {self.name!r}")
        self._sizes = sizes
        self.answered = self.swaps = self.swaps_under_way = 0
        self._seen = b""
        for states in (self.certain, self._expected):
            states[COUNTER] = states[DIARY] = 0
        thread = Thread(target=self._run, args=(server.connect(),), daemon=True)
        thread.start()
        return thread

    def _run(self, connection: Connection) -> None:
        try:
            with connection:
                while self._exchange(connection):
                    pass
        except BaseException as fault:
            self.fault = fault

    def _exchange(self, connection: Connection) -> bool:
        """Send some commands in one piece and take the answers; False: the server is gone."""
        batch = [self._command() for _ in range(self._rng.choice((1, 1, 3, 10, 40)))]
        if self._seen:
            batch.append(self._swap())
            self.swaps_under_way += 1
        batch.append(Command(b"gets %b\r\n" % NUMBER, NUMBER, None, A_VALUE))
        self.unanswered += batch
        sender = connection.send_aside(b"".join(command.data for command in batch))
        taken = all(self._take(connection, command) for command in batch if command.answers)
        sender.join(PATIENCE)
        return taken

    def _take(self, connection: Connection, command: Command) -> bool:
        """Read the answer to `command` and learn from it; False: none comes."""
        answer, unique = self._read(connection)
        if not answer:
            return False
        assert command.answers is not None
        if command.answers is A_NUMBER:
            mine = int(answer) >> self._bit & MOST_COUNTED
            assert mine == command.state, f"{command.data!r}: {answer!r}"
        elif command.answers is A_VALUE:
            self._seen = b"%b %d" % (answer.split(b"\r\n")[1], unique)
        else:
            assert answer in command.answers, f"{command.data[:80]!r}: {answer[:80]!r}"
        if command.key == NUMBER and command.answers is not A_VALUE:
            self.swaps_under_way -= 1
            self.swaps += answer == b"STORED\r\n"
        # Answers come in order, so what was sent before and has none has happened as well.
        done = self.unanswered.index(command) + 1
        for earlier in self.unanswered[:done]:
            self.certain[earlier.key] = _settled(earlier.state)
        del self.unanswered[:done]
        self.answered += done
        if unique and command.key != NUMBER:
            self._identify(command, unique)
        self.highest = max(self.highest, unique)
        return True

    def _read(self, connection: Connection) -> "tuple[bytes, int]":
        """An answer without its CAS unique, and that; empty: none comes."""
        line = connection.line()
        if not line.startswith(b"VALUE"):
            return (line if line.endswith(b"\n") else b""), 0
        head, _, unique = line.rpartition(b" ")
        size = int(head.split()[3]) + len(b"\r\nEND\r\n")
        rest = connection.exactly(size)
        return (head + b"\r\n" + rest if len(rest) == size else b""), int(unique or b"0")

    def _identify(self, command: Command, unique: int) -> None:
        """Note the CAS unique that a gets has shown."""
        state = self.certain[command.key]
        assert isinstance(state, State)
        assert state.unique in (None, unique), f"{command.key!r} has changed its CAS by itself"
        self.certain[command.key] = state._replace(unique=unique)
        if self._expected[command.key] is command.state:
            self._expected[command.key] = self.certain[command.key]

    # What is written

    def _command(self) -> Command:
        kinds = (self._write, self._write, self._write, self._count, self._expire, self._share)
        command = self._rng.choice(kinds)()
        self._expected[command.key] = command.state
        return command

    def _write(self) -> Command:
        """A command on a key that does not expire."""
        key = self._rng.choice(self._steady)
        old = self._expected.get(key)
        assert not isinstance(old, int)
        verb = self._rng.choice(
            b"set add replace append prepend cas gets delete touch".split(),
        )
        if verb == b"gets":
            answer = b"END\r\n"
            if old is not None:
                answer = b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (
                    *(key, old.flags, len(old.value)),
                    old.value,
                )
            return Command(b"gets %b\r\n" % key, key, old, (answer,))
        if verb == b"delete":
            return self._asked(b"delete %b" % key, None, old and b"DELETED", key, None)
        if verb == b"touch":
            return self._asked(b"touch %b 100000" % key, None, old and b"TOUCHED", key, old)
        return self._store(verb, key, old)

    def _store(self, verb: bytes, key: bytes, old: Optional[State]) -> Command:
        value, flags = self._chunk(), self._rng.getrandbits(32)
        line = b"%b %b %d 0 %d" % (verb, key, flags, len(value))
        new = State(value, flags)
        if verb == b"cas":
            unique = old.unique if old is not None else None
            # 1 is NUMBER's, which is written first.
            line += b" %d" % (unique or 1)
            if unique is None:
                return self._asked(line, value, old and b"EXISTS", key, old)
        elif (verb == b"add") if old is not None else (verb not in (b"add", b"set")):
            return self._asked(line, value, b"NOT_STORED", key, old)
        elif old is not None and verb in (b"append", b"prepend"):
            if len(old.value) + len(value) > MOST_VALUE:
                return self._store(b"set", key, old)
            parts = (old.value, value) if verb == b"append" else (value, old.value)
            new = State(b"".join(parts), old.flags)
        return self._asked(line, value, b"STORED", key, new)

    def _count(self) -> Command:
        key = self._rng.choice(self._counters)
        old = self._expected.get(key)
        if not isinstance(old, State):
            zero = State(b"0" * 20, 7)
            return self._asked(b"set %b 7 0 20" % key, zero.value, b"STORED", key, zero)
        delta = self._rng.randrange(1, 10**6)
        number = int(old.value) + delta
        # A number that is shorter than the value is padded to its length.
        new = State((b"%d" % number).ljust(20), old.flags)
        return self._asked(b"incr %b %d" % (key, delta), None, b"%d" % number, key, new)

    def _expire(self) -> Command:
        """A command on a key that expires: soon, or unless it is touched."""
        key = self._rng.choice(self._mortal)
        old = self._expected.get(key)
        now = time.time()
        seconds = self._rng.choice((2, 3, 1000))
        if self._rng.random() < 0.5:
            exptime = seconds
            end = State(b"", until=now + seconds - 0.1, lifetime=seconds)
        else:
            exptime = int(now) + seconds
            end = State(b"", until=exptime, gone=exptime)
        # Only while it has a long life is it certain what the answer will be.
        if isinstance(old, State) and old.until > now + PATIENCE and self._rng.random() < 0.5:
            new = end._replace(value=old.value, flags=old.flags, unique=old.unique)
            return self._asked(b"touch %b %d" % (key, exptime), None, b"TOUCHED", key, new)
        new = end._replace(value=self._chunk(), flags=self._rng.getrandbits(16))
        line = b"set %b %d %d %d" % (key, new.flags, exptime, len(new.value))
        return self._asked(line, new.value, b"STORED", key, new)

    def _share(self) -> Command:
        """A command on a key that is everybody's."""
        key = self._rng.choice((COUNTER, DIARY))
        count = self._expected[key]
        assert isinstance(count, int)
        if count == MOST_COUNTED:
            return self._write()
        if key == DIARY:
            value = chunk(self.name, count + 1, self._rng.randbytes(50))
            line = b"append %b 0 0 %d" % (DIARY, len(value))
            return self._asked(line, value, b"STORED", key, count + 1)
        command = self._asked(b"incr %b %d" % (COUNTER, 1 << self._bit), None, b"", key, count + 1)
        return command._replace(answers=command.answers and A_NUMBER)

    def _swap(self) -> Command:
        number, unique = self._seen.split(b" ")
        value = b"%d" % (int(number) + 1)
        data = b"cas %b 0 0 %d %b\r\n%b\r\n" % (NUMBER, len(value), unique, value)
        # The others try the same.
        return Command(data, NUMBER, None, (b"STORED\r\n", b"EXISTS\r\n"))

    def _chunk(self) -> bytes:
        self._serial += 1
        return chunk(self.name, self._serial, self._rng.randbytes(self._rng.choice(self._sizes)))

    def _asked(
        self, line: bytes, value: Optional[bytes], answer: Optional[bytes], key: bytes, state: Known
    ) -> Command:
        """The command, one in four with noreply. No answer: the key is not found."""
        quiet = self._rng.random() < 0.25
        data = line + (b" noreply\r\n" if quiet else b"\r\n")
        if value is not None:
            data += value + b"\r\n"
        answers = ((b"NOT_FOUND" if answer is None else answer) + b"\r\n",)
        return Command(data, key, state, None if quiet else answers)

    # What is found

    def verify(self, found: States, since: float, all_answered: bool) -> None:
        """
        Compare with what has been found, and take that for the state from now on.

        :param since: when reading it began.
        :param all_answered: whatever has happened must also have been answered.
        """
        now = time.time()
        states = dict(self.certain)
        told = differences(states, found, since, now)
        happened: list[Command] = []
        for command in self.unanswered:
            if not differences(states, found, since, now):
                break
            happened.append(command)
            states[command.key] = _settled(command.state)
        assert not differences(states, found, since, now), (
            f"{self.name!r} finds neither what was answered nor what the {len(self.unanswered)} "
            f"commands under way come to: {told}"
        )
        if all_answered:
            forgotten = [command.data[:60] for command in happened if command.answers]
            assert not forgotten, f"{self.name!r}: these have happened and were not answered"
        self.unanswered = []
        for key, state in states.items():
            if isinstance(state, State):
                seen = found[key]
                unique = seen.unique if isinstance(seen, State) else None
                states[key] = state._replace(unique=unique) if seen is not None else None
        self.certain, self._expected = states, dict(states)


def differences(states: States, found: States, since: float, now: float) -> "dict[bytes, str]":
    """What has been found, from `since` to `now`, otherwise than `states` say."""
    return {
        key: f"{_short(found[key])} instead of {_short(state)}"
        for key, state in states.items()
        if key != NUMBER and not _agrees(state, found[key], since, now)
    }


def _agrees(state: Known, seen: Known, since: float, now: float) -> bool:
    if not isinstance(state, State):
        return state == seen
    if not isinstance(seen, State):
        return now >= state.until
    same = seen[:2] == state[:2] and state.unique in (None, seen.unique)
    return same and since < state.gone


def _short(state: Known) -> str:
    if not isinstance(state, State):
        return repr(state)
    return f"{state._replace(value=state.value[:40])} of {len(state.value)} bytes"


def _settled(state: Known) -> Known:
    """`state`, of a command that the server has taken by now."""
    if isinstance(state, State) and state.lifetime:
        return state._replace(gone=min(state.gone, time.time() + state.lifetime))
    return state


def read_states(connection: Connection, keys: "list[bytes]") -> "dict[bytes, State]":
    """What a gets of the keys shows."""
    connection.send(b"gets %b\r\n" % b" ".join(keys))
    states: dict[bytes, State] = {}
    while (line := connection.line()) != b"END\r\n":
        _, key, flags, length, unique = line.split()
        value = connection.exactly(int(length) + 2)[:-2]
        states[key] = State(value, int(flags), int(unique))
    return states


class Writers:
    """
    Writers over one store, through as many ends of its server as it takes.

    :param rng: chooses the moments.
    """

    def __init__(self, server: Server, rng: Random) -> None:
        self.server = server
        self._rng = rng
        self._writers = [Writer(number) for number in range(WRITERS)]
        self._threads: list[Thread] = []
        self._cycle = 0
        self._number = 0
        with server.connect() as connection:
            assert connection.ask(b"add %b 0 0 1\r\n0\r\n" % NUMBER) == b"STORED\r\n"

    def write(self, sizes: "tuple[int, ...]", most: int) -> None:
        """Begin to write, and return in the midst of it, when up to `most` have been answered."""
        self._cycle += 1
        with self.server.connect() as connection:
            zero = b"set %b 0 0 1\r\n0\r\nset %b 0 0 0\r\n\r\n" % (COUNTER, DIARY)
            assert connection.ask(zero, b"STORED\r\nSTORED\r\n")
        writers = self._writers
        self._threads = [writer.begin(self.server, self._cycle, sizes) for writer in writers]
        enough = self._rng.randrange(WRITERS, most)
        eventually(
            lambda: (
                sum(writer.answered for writer in writers) >= enough
                or any(writer.fault for writer in writers)
            ),
            f"{enough} answers",
        )
        # Not a wait for something, but the choice of a moment.
        Event().wait(self._rng.uniform(0, 0.02))

    def join(self) -> None:
        """The server has ended: have the writers see it."""
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a writer still waits for a server that is gone"
        for writer in self._writers:
            if writer.fault is not None:
                raise writer.fault

    def verify(self, all_answered: bool = False) -> None:
        """Compare what the server, started again, has with what it acknowledged."""
        writers = self._writers
        with self.server.connect() as connection:
            shared = read_states(connection, [COUNTER, DIARY, NUMBER])
            counter = int(shared[COUNTER].value)
            diary = list(chunks(shared[DIARY].value))
            for number, writer in enumerate(writers):
                since = time.time()
                states = read_states(connection, writer.keys)
                found: States = {key: states.get(key) for key in writer.keys}
                for state in states.values():
                    if not state.value.rstrip().isdigit():
                        assert {name for name, _ in chunks(state.value)} == {writer.name}
                mine = [serial for name, serial in diary if name == writer.name]
                assert mine == list(range(1, len(mine) + 1)), f"{writer.name!r}: {mine}"
                found[COUNTER] = counter >> 8 * number & MOST_COUNTED
                found[DIARY] = len(mine)
                writer.verify(found, since, all_answered)
            assert connection.ask(b"set new 0 0 3\r\nnew\r\n") == b"STORED\r\n"
            unique = read_states(connection, [b"new"])[b"new"].unique or 0
        assert unique > max(writer.highest for writer in writers), "a CAS unique given out twice"
        raised = int(shared[NUMBER].value) - self._number
        swaps = sum(writer.swaps for writer in writers)
        assert 0 <= raised - swaps <= sum(writer.swaps_under_way for writer in writers)
        self._number += raised

    def wait_for_expiry(self) -> None:
        """What was to expire soon has done so when its time has come, and not later."""
        soon = time.time() + 10
        ends = {
            key: state.gone
            for writer in self._writers
            for key, state in writer.certain.items()
            if isinstance(state, State) and state.gone < soon
        }
        last = max(ends.values(), default=0.0)
        eventually(lambda: time.time() >= last, "it is time")
        with self.server.connect() as connection:
            assert read_states(connection, [*ends, COUNTER]).keys() == {COUNTER}


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Random:
    """Chooses the moments; what is printed is seen when the test fails."""
    print(f"MCTWIST_KILL_SEED={SEED}")
    return Random(f"{SEED} {request.node.name}")


def cycles(few: int) -> int:
    """How often a test kills."""
    return int(os.environ.get("MCTWIST_KILL_CYCLES") or few)


@pytest.mark.parametrize(
    ("kind", "sync", "few", "most"),
    [
        ("lmdb", "always", 20, 6000),
        ("lmdb", "relaxed", 3, 6000),
        ("lmdb", "never", 3, 6000),
        ("directory", "always", 3, 600),
        ("directory", "never", 3, 600),
    ],
)
def test_what_was_acknowledged_survives_a_kill(
    tmp_path: Path, rng: Random, kind: str, sync: str, few: int, most: int
) -> None:
    with Server(tmp_path, "--sync", sync, kind=kind) as server:
        writers = Writers(server, rng)
        for cycle in range(cycles(few)):
            writers.write(*((HEAVY, most // 4) if cycle % 3 == 2 else (LIGHT, most)))
            server.kill()
            writers.join()
            server.start()
            writers.verify()
        writers.wait_for_expiry()


def test_what_was_acknowledged_survives_kills_during_the_start(tmp_path: Path, rng: Random) -> None:
    with Server(tmp_path) as server:
        writers = Writers(server, rng)
        for cycle in range(cycles(4)):
            writers.write(HEAVY if cycle % 2 else LIGHT, 500)
            server.kill()
            writers.join()
            for _ in range(3):
                kill_during_start(server, rng)
            server.start()
            writers.verify()


@pytest.mark.parametrize("kind", ["lmdb", "directory"])
def test_a_store_that_was_killed_while_it_was_made_is_used(
    tmp_path: Path, rng: Random, kind: str
) -> None:
    for cycle in range(cycles(4)):
        folder = tmp_path / str(cycle)
        folder.mkdir()
        with closing(Server(folder, "--sync", "never", kind=kind)) as server:
            kill_during_start(server, rng)
            server.start()
            with server.connect() as connection:
                assert connection.ask(b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"


def kill_during_start(server: Server, rng: Random) -> None:
    """Start the server and kill it when it has begun to open its store."""
    server.launch()
    lock = server.store / "lock"
    pid = str(server.pid)
    eventually(lambda: lock.exists() and lock.read_text().strip() == pid, "the store is locked")
    Event().wait(rng.uniform(0, 0.03))
    server.kill()


@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("name", ["lock", "mctwist.new", "unsynced.new"])
def test_a_kill_while_a_small_file_is_written_costs_nothing(
    tmp_path: Path, name: str, sync: str
) -> None:
    # Between the opening of a file, which empties it, and the writing: too brief to be hit.
    with Server(tmp_path, "--sync", sync) as server:
        with server.connect() as connection:
            assert connection.ask(b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"
        server.kill()
        (server.store / name).write_bytes(b"")
        server.start()
        with server.connect() as connection:
            answer = connection.ask(b"get k\r\n", b"END\r\n")
    assert answer == b"VALUE k 0 1\r\nv\r\nEND\r\n"


@pytest.mark.parametrize("kind", ["lmdb", "directory"])
def test_sigterm_under_load_answers_what_it_has_done_and_exits_with_0(
    tmp_path: Path, rng: Random, kind: str
) -> None:
    with Server(tmp_path, kind=kind) as server:
        writers = Writers(server, rng)
        for cycle in range(cycles(4)):
            writers.write(HEAVY if cycle % 2 else LIGHT, 300)
            status = server.terminate()
            writers.join()
            server.start()
            writers.verify(all_answered=True)
            assert status == 0
    assert not complaints(server.log())
