"""mctwist and the real memcached get the same frames, must give the same answers, and count alike.

The scripts and the known differences are in differential_binary.py; the servers, and how the two
are told apart, are those of test_differential.py. Here is one run of a script (`play`): what an
answer says, written out field by field, a line for each frame.

What may differ is taken out before comparing: a CAS unique becomes the rank of its first appearance
in the script, so that zero, the same, and changed remain; VERSION's value, and the statistics
between the first and the one with an empty name, become a star.

Byte by byte a quarter is played, always the same; with DIFFERENTIAL=all, all that is not long.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from struct import unpack_from
from typing import Optional, Union

import pytest

from tests.differential import IN_STEP, Pause
from tests.differential_binary import (
    AFTERWARDS,
    GETK,
    NOOP,
    SCRIPTS,
    STAT,
    VERSION,
    Frame,
    Frames,
    Fresh,
    Known,
    Script,
    Second,
    Text,
    exceptions,
    name_of,
)
from tests.processes import is_of_quarter
from tests.test_differential import (
    AT_ONCE,
    CLOSED,
    LEFT_OPEN,
    MARKED,
    MARKER,
    NOT_COMPARED,
    REFERENCE_VERSION,
    Address,
    Connection,
    ask,
    empty,
    serve_reference,
    serve_subject,
    shown,
    statistics,
)

EXCEPTIONS = exceptions()

#: Of a script: a send a byte takes its time.
BYTEWISE_LIMIT = 1500

HEADER = 24
MARK = Frame(NOOP).encode(0xFEDCBA98, 0)
#: No error has no body, and all that is not zero is the opaque.
MARK_ANSWERED = b"\x81\x0a" + bytes(10) + b"\xfe\xdc\xba\x98" + bytes(8)

#: Answers whose value is the server's own.
STAR = b"*"


# ---- One script ----------------------------------------------------------------------------------


class Wire:
    """Writes the frames of one script, and reads what one server answers to them."""

    def __init__(self) -> None:
        self._sent: list[Frame] = []
        self._ranks: dict[int, int] = {}
        self._known: dict[bytes, int] = {}

    def encode(self, frames: Frames) -> bytes:
        return b"".join(
            self._number(frame) if isinstance(frame, Frame) else frame for frame in frames
        )

    def _number(self, frame: Frame) -> bytes:
        self._sent.append(frame)
        cas = frame.cas
        if isinstance(cas, Known):
            cas = self._known.get(cas.key, 0) + cas.more
        return frame.encode(len(self._sent) if frame.opaque is None else frame.opaque, cas)

    def decode(self, answers: bytes) -> bytes:
        """A line for each frame, and what is no frame as it is."""
        lines: list[bytes] = []
        position = 0
        while position < len(answers):
            whole = answers[position] == 0x81 and len(answers) - position >= HEADER
            end = position + HEADER
            if whole:
                end += int(unpack_from(">I", answers, position + 8)[0])
            if not whole or end > len(answers):
                lines.append(b"no frame: " + answers[position:])
                break
            line = self._line(answers[position:end])
            if [line] != lines[-1:] or b" key=* " not in line:
                lines.append(line)
            position = end
        return b"".join(line + b"\n" for line in lines)

    def _line(self, answer: bytes) -> bytes:
        _, opcode, keylen, extlen, datatype, status, _, opaque, cas = unpack_from(
            ">BBHBBHIIQ", answer
        )
        extras = answer[HEADER : HEADER + extlen]
        key = answer[HEADER + extlen : HEADER + extlen + keylen]
        value = answer[HEADER + extlen + keylen :]
        if opcode == VERSION and not status:
            value = STAR
        if opcode == STAT and key:
            key = value = STAR
        frame = self._sent[opaque - 1] if 0 < opaque <= len(self._sent) else None
        if cas and frame is not None:
            self._known[frame.key] = cas
        return b"%b %d: %04x cas-%d%b extras=%b key=%b value=%b" % (
            *(name_of(opcode).encode(), opaque, status, self._rank(cas)),
            b" datatype=%d" % datatype if datatype else b"",
            *(extras.hex().encode(), key, value),
        )

    def decode_text(self, answers: bytes) -> bytes:
        return UNIQUE.sub(lambda match: b"%bcas-%d\r" % (match[1], self._rank(int(match[2]))),
                          answers)  # fmt: skip

    def _rank(self, cas: int) -> int:
        return self._ranks.setdefault(cas, len(self._ranks) + 1) if cas else 0


#: What ends a VALUE line of gets.
UNIQUE = re.compile(rb"(^VALUE [^ \r]+ \d+ \d+ )(\d+)\r", re.MULTILINE)


def play(script: Script, address: Address, piece: int = AT_ONCE) -> bytes:
    """
    What the server at `address` answers: its frames, and what became of each connection.

    `<in step>` stands for the answer to the NOOP, `<closed>` for a close without it, and
    `<left open>` for neither within PATIENCE.
    """
    wire = Wire()

    def exchange(
        connection: Connection, data: bytes, last: bool, marker: tuple[bytes, bytes]
    ) -> tuple[bytes, bytes]:
        sent, expected = marker
        until = None if last or not sent else expected
        answer, closed = connection.exchange(data + sent, until, last, piece)
        if sent and answer.endswith(expected) and closed == last:
            return answer[: -len(expected)], IN_STEP
        return answer, CLOSED if closed else LEFT_OPEN

    def speak(connection: Connection, frames: Frames, last: bool, cut: bool = False) -> bytes:
        marker = (b"", b"") if cut else (MARK, MARK_ANSWERED)
        answer, end = exchange(connection, wire.encode(frames), last, marker)
        return wire.decode(answer) + end

    answers = []
    with ExitStack() as stack:
        first, second, text = (stack.enter_context(Connection(address)) for _ in range(3))
        for number, send in enumerate(script.sends, 1):
            last = number == len(script.sends)
            if isinstance(send, Pause):
                time.sleep(send.seconds)
            elif isinstance(send, Text):
                answer, end = exchange(text, send.data, last, (MARKER, MARKED))
                answers.append(wire.decode_text(answer) + end)
            elif isinstance(send, Second):
                answers.append(speak(second, send.frames, last))
            elif isinstance(send, Fresh):
                with Connection(address) as fresh:
                    answers.append(speak(fresh, send.frames, True))
            else:
                answers.append(speak(first, send, last, last and script.cut))
        with Connection(address) as third:
            answers.append(speak(third, AFTERWARDS, True))
    return b"".join(answer + b"\n" for answer in answers)


# ---- The servers, and the comparison -------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    for address in serve_reference(tmp_path_factory.mktemp("memcached")):
        yield steady(address)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    for address in serve_subject(tmp_path_factory.mktemp("subject")):
        yield steady(address)


def steady(address: Address) -> Address:
    """
    Have memcached answer the same every time.

    While its other thread is about to move what was read twice (items.c, lru_bump_async), a decr of
    that makes the value shorter instead of padding it.
    """
    assert ask(address, b"lru mode flat\r\n") == b"OK\r\n"
    return address


def sent(script: Script) -> "list[Union[Frame, bytes]]":
    """All that a script sends, for a report and for its size."""
    pieces: list[Union[Frame, bytes]] = []
    for send in script.sends:
        if isinstance(send, Text):
            pieces.append(send.data)
        elif not isinstance(send, Pause):
            pieces += send.frames if isinstance(send, (Second, Fresh)) else send
    return pieces


def size_of(script: Script) -> int:
    return sum(
        len(piece.encode(0, 0) if isinstance(piece, Frame) else piece) for piece in sent(script)
    )


def judge(script: Script, theirs: bytes, ours: bytes) -> Optional[str]:
    """What is wrong with mctwist's answer, or with the table of exceptions."""
    exception = EXCEPTIONS.get(script.name)
    if exception is None:
        return None if ours == theirs else "mctwist does not answer as memcached does"
    if ours != exception.expected:
        return f"mctwist does not answer as it should ({exception.reason})"
    if theirs == ours and exception.steady:
        return f"memcached {REFERENCE_VERSION} agrees: it is no exception ({exception.reason})"
    return None


def report(script: Script, theirs: bytes, ours: bytes) -> str:
    frames = [repr(piece)[:300] for piece in sent(script)]
    if len(frames) > 40:
        frames[20:-20] = [f".. {len(frames) - 40} frames .."]
    said = (f"\n{who}:\n    {shown(what)}" for who, what in
            (("memcached", theirs), ("mctwist", ours)))  # fmt: skip
    return "\nsent:\n    " + "\n    ".join(frames) + "".join(said)


def compare(script: Script, reference: Address, subject: Address, piece: int) -> None:
    empty(reference)
    empty(subject)
    theirs = play(script, reference)
    ours = play(script, subject, piece)
    wrong = judge(script, theirs, ours)
    # Not an assert: pytest would spend minutes on the difference of two megabytes.
    if wrong:
        pytest.fail(wrong + report(script, theirs, ours), False)
    if script.name not in EXCEPTIONS:
        compare_counts(script, reference, subject)


#: What else `stats` does not have to say as memcached does, and why.
NOT_COMPARED_EITHER = {
    "bytes_read": "how much is read of what stands behind a close",
    "bytes_written": "versions and statistics differ in length",
    "store_too_large": "memcached counts those of its other dialects only",
    "total_items": "memcached stores anew what an incr lengthens, and else in place",
}


def compare_counts(script: Script, reference: Address, subject: Address) -> None:
    theirs, ours = statistics(reference), statistics(subject)
    names = theirs.keys() & ours.keys() - NOT_COMPARED.keys() - NOT_COMPARED_EITHER.keys()
    different = {name: (theirs[name], ours[name]) for name in names if theirs[name] != ours[name]}
    if different:
        pytest.fail(
            f"memcached and mctwist have counted {different}{report(script, b'', b'')}", False
        )


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
def test_same_answer(script: Script, reference: Address, subject: Address) -> None:
    compare(script, reference, subject, piece=AT_ONCE)


BYTEWISE = [
    script
    for script in SCRIPTS
    if not script.whole and size_of(script) <= BYTEWISE_LIMIT and is_of_quarter(script.name)
]


@pytest.mark.parametrize("script", BYTEWISE, ids=[script.name for script in BYTEWISE])
def test_same_answer_byte_by_byte(script: Script, reference: Address, subject: Address) -> None:
    compare(script, reference, subject, piece=1)


# ---- Statistics ----------------------------------------------------------------------------------


def told(answers: bytes) -> "list[tuple[bytes, bytes]]":
    """The keys and values of frames."""
    found = []
    while answers:
        keylen, extlen, bodylen = unpack_from(">2xHB3xI", answers)
        body = answers[HEADER + extlen : HEADER + bodylen]
        found.append((body[:keylen], body[keylen:]))
        answers = answers[HEADER + bodylen :]
    return found


@pytest.mark.parametrize("what", [b"", b"settings", b"items", b"slabs", b"sizes"])
@pytest.mark.parametrize("server", ["reference", "subject"])
def test_binary_tells_the_statistics_that_text_tells(
    request: pytest.FixtureRequest, server: str, what: bytes
) -> None:
    address = request.getfixturevalue(server)
    empty(address)
    with Connection(address) as text, Connection(address) as binary:
        lines, _ = text.exchange(b"set k 0 0 1\r\nv\r\nstats " + what + b"\r\n", b"END\r\n", False,
                                 AT_ONCE)  # fmt: skip
        frames, _ = binary.exchange(
            Frame(STAT, what).encode(1, 0) + MARK, MARK_ANSWERED, False, AT_ONCE
        )
    named = [line.split(b" ")[1] for line in lines.split(b"\r\n") if line.startswith(b"STAT ")]
    *pairs, end, mark = told(frames)
    assert end == mark == (b"", b"")
    assert [name for name, _ in pairs] == named
    assert all(value for _, value in pairs)


def test_script_names_are_unique() -> None:
    assert len({script.name for script in SCRIPTS}) == len(SCRIPTS)


def test_exceptions_are_of_scripts() -> None:
    assert set(EXCEPTIONS) <= {script.name for script in SCRIPTS}


def test_a_marker_is_a_frame() -> None:
    assert Wire().decode(MARK_ANSWERED) == b"NOOP 4275878552: 0000 cas-0 extras= key= value=\n"
    assert GETK == 0x0C
