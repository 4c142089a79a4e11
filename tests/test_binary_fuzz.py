"""
Whatever is sent in the binary protocol: what its document allows comes back, in order, or a close.

What may be answered is written down here once more, from proto_bin.c and the document alone:
`Shape` is what a body is made of, and which statuses there are. `check` reads the requests and the
answers side by side. What commands do, and what memcached answers, is for the differential test.
"""

import tracemalloc
from collections.abc import Iterator, Sequence
from struct import unpack_from
from typing import Optional, Union

from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests import DRAWN_IS_COMPARED
from tests.differential import KEY_250, KEY_251
from tests.differential_binary import (
    ADD,
    APPEND,
    COUNTS,
    DECRQ,
    DELETE,
    DELETES,
    EXTENDS,
    FLUSH,
    FLUSHES,
    GAT,
    GATK,
    GATKQ,
    GATQ,
    GET,
    GETK,
    GETKQ,
    GETQ,
    INCR,
    NOOP,
    OPCODES,
    QUIT,
    QUITQ,
    RETRIEVALS,
    SASL_AUTH,
    SASL_LIST,
    SASL_STEP,
    SET,
    SETQ,
    STAT,
    STORES,
    TOUCH,
    TOUCHES,
    UNKNOWN,
    VERSION,
    Frame,
    count,
    right,
    store,
    touch,
)
from tests.wire import Client, Server

suppress = DRAWN_IS_COMPARED

HEADER = 24
#: Of a body, in bytes (memcached.h, ITEM_SIZE_MAX_UPPER_LIMIT).
MOST_BODY = 1 << 30
MOST_KEY = 250

#: The statuses, each with the words that memcached has for it (proto_bin.c:198-231).
OK, MISSING, EXISTS, TOO_LARGE, INVALID, NOT_STORED, NOT_NUMERIC = range(7)
NO_SUCH_COMMAND = 0x81
WORDS = {
    MISSING: b"Not found",
    EXISTS: b"Data exists for key.",
    TOO_LARGE: b"Too large.",
    INVALID: b"Invalid arguments",
    NOT_STORED: b"Not stored.",
    NOT_NUMERIC: b"Non-numeric server-side value for incr or decr",
    NO_SUCH_COMMAND: b"Unknown command",
}


# ---- What is right -------------------------------------------------------------------------------


@frozen
class Shape:
    """
    What a command may look like, and its answer.

    :ivar extras: the lengths that there are.
    :ivar key: whether there is one; None, when there may be.
    :ivar value: whether there may be one.
    :ivar statuses: that it may have.
    :ivar answer: of the answer to what went well, the length of the extras, whether the key comes
        back, and the length of the value or None, when there may be any.
    """

    extras: tuple[int, ...]
    key: Optional[bool]
    value: bool
    statuses: tuple[int, ...]
    answer: tuple[int, bool, Optional[int]] = (0, False, 0)


NOTHING = Shape((0,), False, False, (OK,))
SHAPES = {
    NOOP: NOTHING,
    QUIT: NOTHING,
    QUITQ: NOTHING,
    VERSION: Shape((0,), False, False, (OK,), (0, False, None)),
    STAT: Shape((0,), None, False, (OK, MISSING)),
    SASL_LIST: Shape((0,), False, False, (NO_SUCH_COMMAND,)),
    SASL_AUTH: Shape((0,), True, True, (NO_SUCH_COMMAND,)),
    SASL_STEP: Shape((0,), True, True, (NO_SUCH_COMMAND,)),
    TOUCH: Shape((4,), True, False, (OK, MISSING), (4, False, 0)),
    **dict.fromkeys((GET, GETQ), Shape((0,), True, False, (OK, MISSING), (4, False, None))),
    **dict.fromkeys((GETK, GETKQ), Shape((0,), True, False, (OK, MISSING), (4, True, None))),
    **dict.fromkeys((GAT, GATQ), Shape((4,), True, False, (OK, MISSING), (4, False, None))),
    **dict.fromkeys((GATK, GATKQ), Shape((4,), True, False, (OK, MISSING), (4, True, None))),
    **dict.fromkeys(STORES, Shape((8,), True, True, (OK, MISSING, EXISTS, TOO_LARGE))),
    **dict.fromkeys(EXTENDS, Shape((0,), True, True, (OK, EXISTS, TOO_LARGE, NOT_STORED))),
    **dict.fromkeys(DELETES, Shape((0,), True, False, (OK, MISSING, EXISTS))),
    **dict.fromkeys(
        COUNTS, Shape((20,), True, False, (OK, MISSING, EXISTS, NOT_NUMERIC), (0, False, 8))
    ),
    **dict.fromkeys(FLUSHES, Shape((0, 4), False, False, (OK,))),
}
QUIET = frozenset(opcode for opcode, name in enumerate(OPCODES) if name.endswith("Q"))
#: Of these the miss is what is not told, of all others of `QUIET` what went well.
QUIET_MISSES = frozenset((GETQ, GETKQ, GATQ, GATKQ))
#: Misses of these tell the key.
KEYED = frozenset((GETK, GETKQ, GATK, GATKQ))
#: What may be told before the body is there.
EARLY = (TOO_LARGE, NO_SUCH_COMMAND)


@frozen
class Header:
    """The header of a request or of an answer, and as much of the body as there is."""

    magic: int
    opcode: int
    keylen: int
    extlen: int
    datatype: int
    status: int
    bodylen: int
    opaque: int
    cas: int
    body: bytes

    @property
    def whole(self) -> bool:
        return len(self.body) == self.bodylen

    @property
    def key(self) -> bytes:
        return self.body[self.extlen : self.extlen + self.keylen]

    @property
    def value(self) -> bytes:
        return self.body[self.extlen + self.keylen :]


def read(data: bytes) -> Iterator[Header]:
    """The frames in `data`; the last may lack some of its body. Of half a header, nothing."""
    while len(data) >= HEADER:
        magic, opcode, keylen, extlen, datatype, status, bodylen, opaque, cas = unpack_from(
            ">BBHBBHIIQ", data
        )
        body = data[HEADER : HEADER + bodylen]
        yield Header(*(magic, opcode, keylen, extlen, datatype, status, bodylen, opaque, cas), body)
        data = data[HEADER + bodylen :]


def refusal(request: Header) -> Optional[int]:
    """The status with which a connection ends, or None."""
    if request.keylen + request.extlen > request.bodylen:
        return NO_SUCH_COMMAND
    if request.bodylen > MOST_BODY or request.keylen > MOST_KEY:
        return INVALID
    shape = SHAPES.get(request.opcode)
    if shape is None:
        return None
    right = (
        request.extlen in shape.extras
        and shape.key in (None, request.keylen > 0)
        and (shape.value or request.bodylen == request.extlen + request.keylen)
    )
    return None if right else INVALID


class Checker:
    """Reads the answers to requests that are told to it in order."""

    def __init__(self, case: SynchronousTestCase, answers: bytes) -> None:
        self._case = case
        self._answers = list(read(answers))
        sizes = (HEADER + len(answer.body) for answer in self._answers)
        case.assertEqual(sum(sizes), len(answers))
        for answer in self._answers:
            case.assertTrue(answer.whole)
            case.assertEqual((answer.magic, answer.datatype), (0x81, 0))

    def check(self, data: bytes, closed: bool) -> None:
        """That these are the answers to `data`, and that it was closed if it had to be."""
        expected = self._walk(data)
        self._case.assertEqual(self._answers, [])
        if expected is not None:
            self._case.assertEqual(closed, expected)

    def _walk(self, data: bytes) -> Optional[bool]:
        """Whether it has to be closed; None if it may."""
        for request in read(data):
            if request.magic != 0x80:
                return True
            refused = refusal(request)
            if refused is not None:
                # Extras and key may be waited for, though it is known that all is wrong.
                needed = HEADER + request.extlen + request.keylen
                if not self._answers and len(data) < needed:
                    return None
                self._expect_error(request, refused)
                return True
            if not request.whole:
                if self._answers:
                    self._case.assertIn(self._answers[0].status, EARLY)
                    self._expect_error(request, self._answers[0].status)
                return False
            self._expect(request)
            if request.opcode in (QUIT, QUITQ):
                return True
            data = data[HEADER + request.bodylen :]
        return False if data[:1] in (b"", b"\x80") else None

    def _expect(self, request: Header) -> None:
        shape = SHAPES.get(request.opcode)
        if shape is None:
            self._expect_error(request, NO_SUCH_COMMAND)
            return
        quiet = request.opcode in QUIET
        if quiet and not (self._answers and self._answers[0].opaque == request.opaque):
            return
        answer = self._next(request)
        self._case.assertIn(answer.status, shape.statuses)
        if quiet:
            self._case.assertEqual(answer.status == OK, request.opcode in QUIET_MISSES)
        if answer.status != OK:
            self._check_error(request, answer)
        elif request.opcode == STAT:
            while answer.key:
                answer = self._next(request)
            self._case.assertEqual(answer.body, b"")
        else:
            extlen, keyed, size = shape.answer
            self._case.assertEqual(answer.extlen, extlen)
            self._case.assertEqual(answer.key, request.key if keyed else b"")
            if size is not None:
                self._case.assertEqual(len(answer.value), size)

    def _expect_error(self, request: Header, status: int) -> None:
        answer = self._next(request)
        self._case.assertEqual(answer.status, status)
        self._check_error(request, answer)

    def _check_error(self, request: Header, answer: Header) -> None:
        keyed = answer.status == MISSING and request.opcode in KEYED
        self._case.assertEqual(answer.key, request.key if keyed else b"")
        self._case.assertEqual(answer.value, b"" if keyed else WORDS[answer.status])
        self._case.assertEqual((answer.extlen, answer.cas), (0, 0))

    def _next(self, request: Header) -> Header:
        self._case.assertNotEqual(self._answers, [], request)
        answer = self._answers.pop(0)
        self._case.assertEqual(
            (answer.opcode, answer.opaque), (request.opcode, request.opaque), answer
        )
        return answer


# ---- What is sent --------------------------------------------------------------------------------

KEYS = st.sampled_from([b"k", b"k", b"n", b"n", b"a", b" \0\r\n", b"", KEY_250, KEY_251])
NUMBERS = st.sampled_from([0, 1, 5, 1 << 31, 0xFFFFFFFF])
LENGTHS = st.sampled_from([None] * 12 + [0, 1, 4, 8, 20, 255])
# Hypothesis compares what it draws, so bytes and numbers are not drawn for one example.
few_bytes = st.lists(st.integers(0, 255), max_size=30).map(bytes)
values = st.one_of(st.sampled_from([b"", b"10", b"value"]), few_bytes)
opcodes = st.sampled_from([*range(len(OPCODES)), *range(len(OPCODES)), *UNKNOWN])
cases = st.sampled_from([0, 0, 0, 1, 2, 3, (1 << 64) - 1])

right_frames = st.one_of(
    st.builds(right, opcodes, KEYS.filter(bool)),
    st.builds(store, st.sampled_from(STORES), KEYS, values, NUMBERS, NUMBERS, cases),
    st.builds(count, st.sampled_from(COUNTS), KEYS, NUMBERS, NUMBERS, NUMBERS, cases),
    st.builds(touch, st.sampled_from(TOUCHES), KEYS, NUMBERS),
    st.builds(Frame, st.sampled_from([*RETRIEVALS, *DELETES, *EXTENDS]), KEYS),
    st.builds(Frame, st.just(STAT), st.sampled_from([b"", b"settings", b"reset", b"x", b"items"])),
)
odd_frames = st.builds(
    lambda frame, extlen, keylen, bodylen, value: evolve(
        frame, extlen=extlen, keylen=keylen, bodylen=bodylen, value=frame.value + value
    ),
    *(right_frames, LENGTHS, LENGTHS),
    st.one_of(LENGTHS, st.sampled_from([MOST_BODY, MOST_BODY + 1, 1 << 31, (1 << 32) - 1])),
    st.one_of(st.just(b""), few_bytes),
)
any_frames = st.builds(Frame, opcodes, KEYS, values, few_bytes)


@frozen
class Mutant:
    """A frame in which one byte is another."""

    frame: Frame
    place: int
    byte: int

    def encode(self, opaque: int) -> bytes:
        data = bytearray(encoded(self.frame, opaque))
        data[self.place % len(data)] = self.byte
        return bytes(data)


def encoded(frame: Frame, opaque: int) -> bytes:
    assert isinstance(frame.cas, int)
    return frame.encode(opaque, frame.cas)


mutants = st.builds(Mutant, right_frames, st.integers(0, 60), st.integers(0, 255))
# Most of a conversation is right, or it would be over at once.
pieces = st.lists(
    st.one_of(right_frames, right_frames, right_frames, right_frames, odd_frames, any_frames,
              mutants, few_bytes.map(lambda data: b"\x80" + data)),
    max_size=20,
)  # fmt: skip

Pieces = Sequence[Union[Frame, Mutant, bytes]]


def encode(sent: Pieces, first: int = 1) -> bytes:
    """With opaques that differ in more than the one byte that a mutant may change."""
    data = []
    for number, piece in enumerate(sent, first):
        opaque = number * 0x01010101
        if isinstance(piece, Frame):
            data.append(encoded(piece, opaque))
        else:
            data.append(piece.encode(opaque) if isinstance(piece, Mutant) else piece)
    return b"".join(data)


READY = encode([store(SET, b"k", b"value", 0xDEADBEEF), store(SET, b"n", b"10")], 100)
TRAIL = encode([right(VERSION), right(GETK), right(SETQ), right(DECRQ), right(NOOP)], 200)


# ---- The tests -----------------------------------------------------------------------------------


def connect(server: Server) -> Client:
    return server.connect(dialect="binary")


def converse(sends: Sequence[bytes], settles: bool = False) -> "tuple[bytes, bool]":
    """
    What a new server answers to `sends`, behind those to `READY`, and whether it has closed.

    :param settles: let it do all it can after each.
    """
    server = Server()
    client = connect(server)
    ready = client.ask(READY)
    assert len(ready) == 2 * HEADER, ready
    answers = []
    for data in sends:
        if client.closed:
            break
        client.send(data)
        if settles:
            server.settle()
            answers.append(client.answers())
    server.settle()
    answers.append(client.answers())
    closed = client.closed
    server.stop()
    return b"".join(answers), closed


def comparable(answers: bytes) -> "list[Header]":
    """The answers, without the figures of statistics."""
    return [
        evolve(answer, bodylen=0, body=answer.key) if answer.opcode == STAT else answer
        for answer in read(answers)
    ]


class FuzzTests(SynchronousTestCase):
    """Bytes, right and wrong."""

    def check(self, data: bytes) -> None:
        """What comes is allowed, however the bytes arrive, and nothing of it is in the log."""
        with capturedLogs() as events:
            answers, closed = converse([data])
            Checker(self, answers).check(data, closed)
            single = [data[at : at + 1] for at in range(len(data))]
            halves = [data[: len(data) // 2], data[len(data) // 2 :]]
            for sends, settles in ((single, False), (halves, True)):
                again, closed_again = converse(sends, settles)
                self.assertEqual(comparable(again), comparable(answers))
                self.assertEqual(closed_again, closed)
            longer, closed_then = converse([data + TRAIL])
            Checker(self, longer).check(data + TRAIL, closed_then)
            first = comparable(longer)[: len(comparable(answers))]
            self.assertEqual(first, comparable(answers))
            if closed:
                self.assertEqual(len(comparable(longer)), len(first))
        wrong = [event for event in events if event["log_level"] >= LogLevel.error]
        self.assertEqual(wrong, [])

    @settings(max_examples=500, deadline=None, database=None)
    @given(pieces)
    def test_frames_in_a_row(self, sent: Pieces) -> None:
        self.check(encode(sent))

    @settings(max_examples=300, deadline=None, database=None)
    @given(st.one_of(right_frames, odd_frames, any_frames))
    def test_one_frame_and_one_that_asks_what_there_is(self, frame: Frame) -> None:
        self.check(encode([frame, right(GETK, b"k"), right(GETK, b"n"), right(NOOP)]))

    @settings(max_examples=300, deadline=None, database=None)
    @given(mutants)
    def test_one_byte_is_another(self, mutant: Mutant) -> None:
        self.check(encode([mutant, right(GETK), right(NOOP)]))

    @settings(max_examples=300, deadline=None, database=None)
    @given(st.lists(st.integers(0, 255), max_size=100).map(bytes))
    def test_no_frame_at_all(self, data: bytes) -> None:
        self.check(data)
        self.check(b"\x80" + data)


class AnnouncedTests(SynchronousTestCase):
    """Bodies that are announced, and do not come."""

    def memory(self, client: Client, frames: Sequence[bytes]) -> int:
        """The most bytes that are taken while it is sent these."""
        tracemalloc.start()
        try:
            for data in frames:
                client.send(data)
                client.server.settle()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_four_gigabytes_are_refused_before_they_come(self) -> None:
        for opcode in range(len(OPCODES)):
            frame = evolve(right(opcode), bodylen=0xFFFFFFFF)
            server = Server()
            client = connect(server)
            data = frame.encode(7, 0)
            self.assertLess(self.memory(client, [data]), 1 << 20)
            self.assertTrue(client.closed)
            (answer,) = read(client.answers())
            self.assertEqual((answer.opcode, answer.status), (opcode, INVALID))
            server.stop()

    def test_a_value_above_the_limit_is_let_go_as_it_comes(self) -> None:
        for opcode in (SET, ADD, APPEND):
            size = 64 << 20
            server = Server()
            client = connect(server)
            frame = right(opcode)
            head = evolve(frame, value=b"", bodylen=size).encode(7, 0)
            rest = size - len(head) + HEADER
            chunk = b"v" * 65536
            chunks = [chunk] * (rest // len(chunk)) + [chunk[: rest % len(chunk)]]
            self.assertLess(self.memory(client, [head, *chunks]), 2 << 20)
            (answer,) = read(client.answers())
            self.assertEqual((answer.opcode, answer.status), (opcode, TOO_LARGE))
            (answer,) = read(client.ask(right(NOOP).encode(8, 0)))
            self.assertEqual((answer.opcode, answer.opaque), (NOOP, 8))
            server.stop()

    def test_what_is_announced_takes_no_room_before_it_comes(self) -> None:
        for opcode in (SET, APPEND):
            server = Server()
            client = connect(server)
            head = evolve(right(opcode), bodylen=1_000_000).encode(7, 0)
            self.assertLess(self.memory(client, [head, b"v" * 1000]), 200_000)
            self.assertEqual(client.answers(), b"")
            self.assertFalse(client.closed)
            server.stop()

    def test_a_header_that_does_not_end(self) -> None:
        for opcode in (GET, INCR, DELETE, FLUSH):
            server = Server()
            client = connect(server)
            client.send(right(opcode).encode(7, 0)[: HEADER - 1])
            server.settle()
            self.assertEqual(client.answers(), b"")
            self.assertFalse(client.closed)
            server.stop()
