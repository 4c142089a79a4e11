"""The corpus of the binary protocol; test_differential_binary.py plays it, as differential.py's is.

A script says what is sent and nothing else: the real memcached says what comes. Frames number
themselves, so that an answer tells by its opaque which frame it is for, and every field of a header
can be told to lie. `{cas}` of the text scripts is `Known(key)` here.

As in differential.py, the answer may depend on nothing but the bytes. What memcached does by
accident of pipelining, and so is not here:
- when it closes without an answer (a wrong magic, or the end in the middle of a value), it drops
  the answers it has not yet sent (proto_bin.c:76-84), so such a frame comes in a send of its own;
- it waits for extras and key before it looks whether they fit into the body (proto_bin.c:88-92),
  so behind each lie there are bytes enough;
- a decr behind an unsent get of the same key shortens the value instead of padding it.

The chapters `lost` and `announced` are those in which mctwist is not Debian's 1.6.18; `exceptions`
has what it answers instead. In `announced` it follows 1.6.45. In `lost` it follows nobody: of some
frames memcached does not swallow what they announce, or swallows it twice, so that what a client
has written as a value is run as commands. mctwist stays in step where it can, and closes where the
frame is wrong anyway.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random
from struct import pack
from typing import Optional, Union

from attrs import evolve, frozen

from tests.differential import KEY_250, KEY_251, Difference, Pause

# ---- Frames --------------------------------------------------------------------------------------

OPCODES = (
    "GET", "SET", "ADD", "REPLACE", "DELETE", "INCR", "DECR", "QUIT", "FLUSH", "GETQ", "NOOP",
    "VERSION", "GETK", "GETKQ", "APPEND", "PREPEND", "STAT", "SETQ", "ADDQ", "REPLACEQ", "DELETEQ",
    "INCRQ", "DECRQ", "QUITQ", "FLUSHQ", "APPENDQ", "PREPENDQ", "VERBOSITY", "TOUCH", "GAT", "GATQ",
    "0x1f", "SASL_LIST", "SASL_AUTH", "SASL_STEP", "GATK", "GATKQ",
)  # fmt: skip
(
    GET, SET, ADD, REPLACE, DELETE, INCR, DECR, QUIT, FLUSH, GETQ, NOOP, VERSION, GETK, GETKQ,
    APPEND, PREPEND, STAT, SETQ, ADDQ, REPLACEQ, DELETEQ, INCRQ, DECRQ, QUITQ, FLUSHQ, APPENDQ,
    PREPENDQ, VERBOSITY, TOUCH, GAT, GATQ, NO_OPCODE, SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ,
) = range(len(OPCODES))  # fmt: skip

#: In no document, or in none that anybody follows: verbosity, vbuckets, ranges, and beyond.
UNKNOWN = (VERBOSITY, NO_OPCODE, 0x25, *range(0x30, 0x3D), 0x3D, 0x3E, 0x47, 0x7F, 0x80, 0xFF)


def name_of(opcode: int) -> str:
    return OPCODES[opcode] if opcode < len(OPCODES) else f"0x{opcode:02x}"


@frozen
class Known:
    """The CAS unique that the server last gave for this key, and one or more added to it."""

    key: bytes
    more: int = 0


@frozen
class Frame:
    """A request. Lengths that are not given are the right ones, and so is the opaque."""

    opcode: int
    key: bytes = b""
    value: bytes = b""
    extras: bytes = b""
    cas: Union[int, Known] = 0
    opaque: Optional[int] = None
    magic: int = 0x80
    extlen: Optional[int] = None
    keylen: Optional[int] = None
    bodylen: Optional[int] = None
    datatype: int = 0
    reserved: int = 0

    def encode(self, opaque: int, cas: int) -> bytes:
        """The bytes, with that opaque and CAS."""
        body = self.extras + self.key + self.value
        header = pack(
            ">BBHBBHIIQ",
            self.magic,
            self.opcode,
            len(self.key) if self.keylen is None else self.keylen,
            len(self.extras) if self.extlen is None else self.extlen,
            self.datatype,
            self.reserved,
            len(body) if self.bodylen is None else self.bodylen,
            opaque,
            cas,
        )
        return header + body


def store(
    opcode: int,
    key: bytes,
    value: bytes,
    flags: int = 0,
    exptime: int = 0,
    cas: Union[int, Known] = 0,
) -> Frame:
    return Frame(opcode, key, value, pack(">II", flags, exptime), cas)


def extend(opcode: int, key: bytes, value: bytes, cas: Union[int, Known] = 0) -> Frame:
    return Frame(opcode, key, value, cas=cas)


def count(
    opcode: int,
    key: bytes,
    delta: int,
    initial: int = 0,
    exptime: int = 0xFFFFFFFF,
    cas: Union[int, Known] = 0,
) -> Frame:
    """An incr or decr; with this exptime it does not create."""
    return Frame(opcode, key, b"", pack(">QQI", delta, initial, exptime), cas)


def touch(opcode: int, key: bytes, exptime: int) -> Frame:
    return Frame(opcode, key, b"", pack(">I", exptime))


def get(*keys: bytes) -> tuple[Frame, ...]:
    return tuple(Frame(GETK, key) for key in keys)


# ---- Scripts -------------------------------------------------------------------------------------

#: What is sent at once: frames, and bytes that are none.
Frames = Sequence[Union[Frame, bytes]]


@frozen
class Second:
    """Frames for a second connection."""

    frames: Frames


@frozen
class Fresh:
    """Frames for a connection of their own, which the client half-closes behind them."""

    frames: Frames


@frozen
class Text:
    """Text for a connection that speaks it."""

    data: bytes


Send = Union[Frames, Second, Fresh, Text, Pause]


@frozen
class Script:
    """What is sent to one server, in order.

    Behind every send comes a NOOP, whose answer is waited for, or the end. Behind the last send the
    client half-closes, and without a NOOP when the script is `cut`. At the end a new connection
    asks for `AFTERWARDS`. `whole` scripts mean something else when they are sent byte by byte.
    """

    name: str
    sends: tuple[Send, ...]
    cut: bool = False
    whole: bool = False


def pipeline(name: str, *frames: Union[Frame, bytes]) -> Script:
    return Script(name, (frames,))


def dialogue(name: str, *sends: Send) -> Script:
    return Script(name, sends)


def alone(name: str, *frames: Frame) -> Script:
    """Each frame waits for the answer to the one before."""
    return Script(name, tuple((frame,) for frame in frames))


AFTERWARDS = get(b"k", b"n", b"a", b"b")

#: k is a word, n is a number.
READY = (store(SETQ, b"k", b"value", 0xDEADBEEF), store(SETQ, b"n", b"10", 7, 1000))
LOOK = get(b"k", b"n", b"none")
A_AND_B = (store(SETQ, b"a", b"1", 1), store(SETQ, b"b", b"22", 2))

RETRIEVALS = (GET, GETQ, GETK, GETKQ)
TOUCHES = (TOUCH, GAT, GATQ, GATK, GATKQ)
STORES = (SET, SETQ, ADD, ADDQ, REPLACE, REPLACEQ)
EXTENDS = (APPEND, APPENDQ, PREPEND, PREPENDQ)
COUNTS = (INCR, INCRQ, DECR, DECRQ)
DELETES = (DELETE, DELETEQ)
FLUSHES = (FLUSH, FLUSHQ)

MONTH = 60 * 60 * 24 * 30
LARGE = b"0123456789abcdef" * 65_536
#: The limit counts an item's header, its CAS, the key and its NUL, CRLF, and flags other than 0.
FITS = (1 << 20) - 48 - 8 - 2 - 2


def right(opcode: int, key: bytes = b"k") -> Frame:
    """A frame of that opcode as it should be."""
    if opcode in STORES:
        return store(opcode, key, b"new")
    if opcode in EXTENDS:
        return extend(opcode, key, b"new")
    if opcode in COUNTS:
        return count(opcode, key, 1, 5, 0)
    if opcode in TOUCHES:
        return touch(opcode, key, 0)
    if opcode in (*RETRIEVALS, *DELETES):
        return Frame(opcode, key)
    return Frame(opcode)


# ---- Shapes: what a body is made of, and what a header says of it --------------------------------


def loses(frame: Frame) -> bool:
    """Whether memcached forgets a part of the body, or swallows one twice."""
    if frame.opcode in UNKNOWN:
        return bool(frame.extras or frame.key)
    if frame.opcode in TOUCHES:
        return len(frame.extras) == 4 and bool(frame.key and frame.value)
    return frame.opcode == STAT and not frame.extras and bool(frame.value)


def shapes() -> Iterator[Script]:
    extras = (b"", b"\0", b"\0" * 4, b"\0" * 8, b"\0" * 20, b"\0" * 21, b"\0" * 255)
    for opcode in sorted({*range(len(OPCODES)), *UNKNOWN}):
        frames = [
            Frame(opcode, key, value, extra)
            for extra, key, value in product(extras, (b"", b"k", b"none"), (b"", b"v"))
        ]
        yield dialogue(
            name_of(opcode),
            READY,
            *(Fresh((*READY, frame, *LOOK)) for frame in frames if not loses(frame)),
        )


def lengths() -> Iterator[Script]:
    """Headers that lie. memcached closes, so each has its own connection."""
    for opcode in (*range(len(OPCODES)), 0x25, 0x30, 0xFF):
        frame = right(opcode)
        enough = b"\0" * 1024
        lies = [
            evolve(frame, keylen=len(frame.extras + frame.key + frame.value) + 1),
            evolve(frame, keylen=1000),
            evolve(frame, extlen=255),
            evolve(frame, bodylen=len(frame.extras + frame.key) - 1)
            if frame.extras + frame.key
            else evolve(frame, keylen=1),
            evolve(frame, key=b"k", bodylen=0),
            evolve(frame, key=KEY_251),
            evolve(frame, key=b"k" * 1000),
        ]
        yield dialogue(name_of(opcode), READY, *(Fresh((lie, enough)) for lie in lies))
        yield dialogue(
            f"{name_of(opcode)}, behind others",
            READY,
            *(Fresh((*get(b"k"), *LOOK[:1], lie, enough)) for lie in lies),
        )
    yield dialogue("a key of 250", *(
        (right(opcode, KEY_250),)
        for opcode in (SET, *RETRIEVALS, *TOUCHES, REPLACE, APPEND, PREPEND, INCR, DELETE, INCR,
                       DECR, ADD, GETK)
    ))  # fmt: skip


def announced() -> Iterator[Script]:
    """More than a GiB, and it does not come."""
    for opcode in (*range(len(OPCODES)), 0x25, 0x30, 0xFF):
        frame = evolve(right(opcode, b"a"), key=b"a")
        lies = (
            evolve(frame, bodylen=(1 << 30) + 1),
            evolve(frame, bodylen=0x7FFFFFFF),
            evolve(frame, bodylen=0x80000000),
            evolve(frame, bodylen=0xFFFFFFFF),
            evolve(frame, key=b"", bodylen=0xFFFFFFFF),
            evolve(frame, key=KEY_251, bodylen=0xFFFFFFFF),
        )
        yield dialogue(name_of(opcode), READY, *(Fresh((lie, b"\0" * 64)) for lie in lies))


def headers() -> Iterator[Script]:
    for opcode in (GET, GETK, SET, ADD, INCR, TOUCH, DELETE, NOOP, VERSION, APPEND):
        frame = right(opcode)
        fields = [
            evolve(frame, datatype=1),
            evolve(frame, datatype=255),
            evolve(frame, reserved=1),
            evolve(frame, reserved=65535),
            evolve(frame, opaque=0),
            evolve(frame, opaque=0xFFFFFFFF),
            evolve(frame, opaque=0x80000000),
            evolve(frame, opaque=0x0D0A0D0A),
        ]
        yield dialogue(f"{name_of(opcode)}, fields that mean nothing", READY, *(
            (*READY, field) for field in fields
        ))  # fmt: skip
    for magic in (0x00, 0x0A, 0x0D, 0x20, 0x67, 0x7F, 0x81, 0x82, 0xFF):
        wrong = Frame(GET, b"k", magic=magic)
        yield dialogue(f"magic 0x{magic:02x}", READY, (wrong,), get(b"k"))
        yield dialogue(f"magic 0x{magic:02x}, behind a store", READY, (*A_AND_B, wrong), get(b"k"))
    for magic in (0x00, 0x20, 0x67, 0x7F, 0x81, 0x82, 0xFF):
        # The first byte says that it is text, and of that the line never ends.
        yield Script(
            f"magic 0x{magic:02x} first",
            (Second(READY), (Frame(GET, b"k", magic=magic),)),
            cut=True,
        )
    yield dialogue("text in between", READY, (b"get k\r\n" + b"\r\n" * 20,), get(b"k"))
    yield Script("a header alone", (READY, (right(SET).encode(1, 0)[:24],)), cut=True)
    for opcode in (SET, SETQ, APPEND, INCR, GETK, TOUCH, NOOP, DELETE, SASL_AUTH):
        encoded = right(opcode).encode(1, 0)
        cuts = sorted({1, 12, 23, 24, 25, 28, 32, len(encoded) - 1} & set(range(len(encoded))))
        for cut in cuts:
            yield Script(
                f"{name_of(opcode)} cut at {cut}", (READY, get(b"k"), (encoded[:cut],)), cut=True
            )
    yield Script("nothing", (READY, ()), cut=True)


# ---- What commands do ----------------------------------------------------------------------------

#: Values that mean something, as bytes.
ODD_KEYS = (
    b" ", b"a b", b"\r\n", b"k\r\nget n\r\n", b"\0", b"a\0b", b"\x80", b"\xff" * 250, b"\x7f",
    bytes(range(250)), "schlüssel-☂".encode(), b"%20", b"get", b"\x01" * 250,
)  # fmt: skip
VALUES = (
    b"", b"\0", b"\r\n", b"END\r\n", b"\x80\x0a" + b"\0" * 22, bytes(range(256)), b"x" * 16_384,
    LARGE[:300_000],
)  # fmt: skip
FLAGS = (0, 1, 0xDEADBEEF, 0xFFFFFFFF, 0x80000000, 1 << 16)


def retrieval() -> Iterator[Script]:
    for opcode in RETRIEVALS:
        yield pipeline(name_of(opcode), *READY, Frame(opcode, b"k"), Frame(opcode, b"none"),
                       Frame(opcode, b"n"), Frame(opcode, b"none", cas=5),
                       Frame(opcode, b"k", cas=5))  # fmt: skip
        many = tuple(Frame(opcode, b"key-%d" % number) for number in range(300))
        some = tuple(store(SETQ, b"key-%d" % number, b"%d" % number) for number in range(0, 300, 7))
        yield pipeline(f"{name_of(opcode)}, a run with misses", *some, *many, Frame(NOOP))
        yield pipeline(f"{name_of(opcode)}, a run of misses", *many, Frame(NOOP), Frame(VERSION))
        for key in ODD_KEYS:
            yield pipeline(f"{name_of(opcode)}, key {key[:12]!r} of {len(key)}",
                           Frame(opcode, key), store(SET, key, b"v"), Frame(opcode, key),
                           Frame(DELETE, key), Frame(opcode, key))  # fmt: skip
    for opcode in (GATQ, GATKQ):
        many = tuple(touch(opcode, b"key-%d" % number, 1000) for number in range(100))
        yield pipeline(f"{name_of(opcode)}, a run with misses",
                       store(SET, b"key-7", b"v"), *many, Frame(NOOP))  # fmt: skip
    yield pipeline("answers of a megabyte", store(SETQ, b"k", LARGE[:FITS]), *get(b"k") * 5,
                   Frame(VERSION))  # fmt: skip
    yield dialogue("another connection", READY, Second(LOOK), Second((right(SET),)), LOOK)


def storage() -> Iterator[Script]:
    for opcode in STORES:
        loud = name_of(opcode)
        yield alone(f"{loud}, there and not", *READY, store(opcode, b"k", b"new", 5),
                    store(opcode, b"none", b"new", 6), *LOOK)  # fmt: skip
        for value in VALUES:
            yield pipeline(f"{loud}, {len(value)} bytes {value[:8]!r}", *READY,
                           store(opcode, b"k", value), store(opcode, b"a", value),
                           *get(b"k", b"a"))  # fmt: skip
        for flags in FLAGS:
            yield pipeline(f"{loud}, flags {flags:#x}", *READY, store(opcode, b"k", b"v", flags),
                           store(opcode, b"a", b"v", flags), *get(b"k", b"a"))  # fmt: skip
        for cas in (1, 1 << 63, (1 << 64) - 1, Known(b"k"), Known(b"n"), Known(b"k", 1)):
            yield alone(f"{loud}, {cas}", *READY, *LOOK, store(opcode, b"k", b"new", 5, 0, cas),
                        *LOOK, store(opcode, b"none", b"new", 6, 0, cas), *LOOK)  # fmt: skip
        yield alone(f"{loud}, a CAS twice", *READY, *LOOK,
                    store(opcode, b"k", b"one", cas=Known(b"k")),
                    store(opcode, b"k", b"two", cas=Known(b"k")), *LOOK,
                    store(opcode, b"k", b"three", cas=Known(b"k")), *LOOK)  # fmt: skip
    for opcode in EXTENDS:
        loud = name_of(opcode)
        yield alone(f"{loud}, there and not", *READY, *LOOK, extend(opcode, b"k", b"<>"),
                    extend(opcode, b"none", b"<>"), *LOOK)  # fmt: skip
        for value in VALUES:
            yield pipeline(f"{loud}, {len(value)} bytes {value[:8]!r}", *READY,
                           extend(opcode, b"k", value), extend(opcode, b"a", value),
                           *get(b"k", b"a"))  # fmt: skip
        for cas in (1, (1 << 64) - 1, Known(b"k"), Known(b"n")):
            yield alone(f"{loud}, {cas}", *READY, *LOOK, extend(opcode, b"k", b"<>", cas), *LOOK,
                        extend(opcode, b"none", b"<>", cas), *LOOK)  # fmt: skip
    yield pipeline("quiet ones, and one that is not", *READY, *(right(each) for each in (
        SETQ, ADDQ, REPLACEQ, APPENDQ, PREPENDQ, INCRQ, DECRQ, DELETEQ, ADDQ, APPENDQ)),
        right(DELETE), right(DELETEQ), right(APPENDQ), right(REPLACEQ), Frame(NOOP))  # fmt: skip


def too_large() -> Iterator[Script]:
    for opcode in (*STORES, *EXTENDS):
        for size, what in ((FITS, "fits"), (FITS + 1, "one too many"), (len(LARGE) * 2, "2 MiB")):
            value = (LARGE * 2)[:size]
            key = b"a" if opcode in (ADD, ADDQ) else b"k"
            frame = right(opcode, key)
            yield pipeline(f"{name_of(opcode)}, {what}", *READY, evolve(frame, value=value),
                           *get(b"k", b"a"))  # fmt: skip
        yield pipeline(f"{name_of(opcode)}, of what is there", *READY,
                       evolve(right(opcode), value=LARGE), *LOOK)  # fmt: skip
        yield pipeline(f"{name_of(opcode)}, with a CAS", *READY,
                       evolve(right(opcode), value=LARGE, cas=1), *LOOK)  # fmt: skip
    yield pipeline("flags count", store(SET, b"k", LARGE[: FITS - 4], 1), *get(b"k"),
                   store(SET, b"k", LARGE[: FITS - 3], 1), *get(b"k"))  # fmt: skip
    yield pipeline("an append that makes it too large", store(SET, b"k", LARGE[:FITS]),
                   extend(APPEND, b"k", b"x"), extend(PREPENDQ, b"k", b"x"),
                   extend(APPEND, b"k", b""), *get(b"k"))  # fmt: skip
    # A value that is announced and does not come is test_binary's: memcached tells of it when all
    # of it has been swallowed, mctwist at once.


def delete() -> Iterator[Script]:
    for opcode in DELETES:
        loud = name_of(opcode)
        yield alone(loud, *READY, *LOOK, Frame(opcode, b"k"), Frame(opcode, b"k"),
                    Frame(opcode, b"none"), *LOOK)  # fmt: skip
        for cas in (1, (1 << 64) - 1, Known(b"k"), Known(b"n")):
            yield alone(f"{loud}, {cas}", *READY, *LOOK, Frame(opcode, b"k", cas=cas),
                        Frame(opcode, b"none", cas=cas), *LOOK)  # fmt: skip


def arithmetic() -> Iterator[Script]:
    top = (1 << 64) - 1
    for opcode in COUNTS:
        loud = name_of(opcode)
        for delta in (0, 1, 9, 10, 11, 1 << 32, 1 << 63, top):
            yield alone(f"{loud} by {delta}", *READY, count(opcode, b"n", delta), *LOOK,
                        store(SET, b"n", b"10"), count(opcode, b"n", delta), *LOOK)  # fmt: skip
        # None from 2^63 to 2^64: 1.6.18 refuses these sometimes, as it does in text.
        for value in (b"", b"x", b"-1", b"+1", b" 1", b"1 ", b"1 x", b"0", b"007", b"1.5", b"0x10",
                      b"%d" % (top + 1), b"9" * 18, b"9" * 20, b"9" * 30, b"1\0", b"9", b"99",
                      b"1e3", b"1_0"):  # fmt: skip
            yield alone(f"{loud} of {value!r}", store(SET, b"n", value, 3), count(opcode, b"n", 1),
                        *get(b"n"))  # fmt: skip
        for initial in (0, 7, 1 << 63, top):
            for exptime in (0, 1, 1000, MONTH + 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF):
                yield alone(f"{loud} from {initial}, exptime {exptime:#x}",
                            count(opcode, b"a", 3, initial, exptime), *get(b"a"))  # fmt: skip
        for cas in (1, top, Known(b"n"), Known(b"k")):
            yield alone(f"{loud}, {cas}", *READY, *LOOK, count(opcode, b"n", 1, 0, 0, cas), *LOOK,
                        count(opcode, b"none", 1, 5, 0, cas), *LOOK,
                        count(opcode, b"k", 1, 5, 0, cas))  # fmt: skip
        yield alone(f"{loud}, made and counted", *(count(opcode, b"a", 3, 10, 0),) * 3,
                    *get(b"a"))  # fmt: skip
        yield pipeline(f"{loud}, fifty at once", *READY, *(count(opcode, b"n", 1),) * 50, *LOOK)
    yield alone("wraps", *READY, count(INCR, b"n", top), *LOOK, count(DECR, b"n", 20), *LOOK)
    yield alone("up to the top and over it",
                store(SET, b"n", b"%d" % ((1 << 63) - 1)), count(INCR, b"n", 1 << 63), *LOOK,
                store(SET, b"n", b"1"), count(INCR, b"n", top), *LOOK)  # fmt: skip
    yield alone("fewer digits", *READY, count(DECR, b"n", 1), *LOOK, count(DECR, b"n", 9), *LOOK,
                count(INCR, b"n", 5), *LOOK, extend(APPEND, b"n", b"1"), *LOOK)  # fmt: skip


def expiry() -> Iterator[Script]:
    times = {
        "0": 0, "relative": 1000, "30 days": MONTH, "in 1970": MONTH + 1, "in 2001": 1_000_000_000,
        "in 2038": 0x7FFFFFFF, "behind 2038": 0x80000000, "the largest": 0xFFFFFFFF,
    }  # fmt: skip
    for name, exptime in times.items():
        for opcode in STORES:
            yield alone(f"{name_of(opcode)}, {name}", *READY, store(opcode, b"k", b"v", 1, exptime),
                        store(opcode, b"a", b"v", 1, exptime), *LOOK, *get(b"a"))  # fmt: skip
        for opcode in TOUCHES:
            yield alone(f"{name_of(opcode)}, {name}", *READY, *LOOK, touch(opcode, b"k", exptime),
                        touch(opcode, b"none", exptime), *LOOK)  # fmt: skip
    yield dialogue(
        "a second",
        (store(SET, b"a", b"v", 1, 1), store(SET, b"b", b"v", 1, 1000), store(SET, b"k", b"v"),
         count(INCR, b"n", 1, 5, 1), store(SET, b"c", b"v"), store(SET, b"d", b"v", 0, 1)),
        (touch(TOUCH, b"k", 1), touch(GATQ, b"c", 1), touch(GATK, b"d", 1000)),
        Pause(2.5),
        get(b"a", b"b", b"k", b"n", b"c", b"d"),
        (right(REPLACE, b"a"), right(APPEND, b"a"), touch(GAT, b"a", 0), right(DELETE, b"a"),
         count(INCR, b"a", 1), store(ADD, b"a", b"new"), *get(b"a")),
    )  # fmt: skip
    yield dialogue(
        "a second, and 1 by a date",
        (store(SET, b"a", b"v"), touch(TOUCH, b"a", 1), store(SET, b"b", b"v", 0, 2)),
        Pause(3.5),
        get(b"a", b"b"),
    )


def flush() -> Iterator[Script]:
    def later(opcode: int, exptime: int) -> Frame:
        return Frame(opcode, extras=pack(">I", exptime))

    for opcode in FLUSHES:
        loud = name_of(opcode)
        yield dialogue(loud, READY, (Frame(opcode), *LOOK), (*READY, *LOOK))
        yield dialogue(f"{loud}, of nothing", (Frame(opcode), Frame(opcode), *LOOK))
        for exptime in (0, 1000, MONTH):
            yield dialogue(f"{loud}, {exptime}", READY, (later(opcode, exptime), *LOOK),
                           (*READY, *LOOK))  # fmt: skip
        yield dialogue(f"{loud}, later and now", READY, (later(opcode, 1000), Frame(opcode), *LOOK))
        yield dialogue(f"{loud}, in two seconds", READY, (later(opcode, 2), *LOOK), Pause(3.5),
                       LOOK, (*READY, *LOOK))  # fmt: skip
    yield dialogue("for every connection", READY, Second((*LOOK, Frame(FLUSH))), LOOK)
    yield dialogue("text's", READY, Text(b"flush_all\r\n"), LOOK)
    yield dialogue("of text's", Text(b"set k 0 0 1\r\nv\r\n"), (Frame(FLUSH),), Text(b"get k\r\n"))


def others() -> Iterator[Script]:
    yield pipeline("NOOP", *(Frame(NOOP),) * 20)
    yield pipeline("NOOP with a CAS", Frame(NOOP, cas=5), Frame(VERSION, cas=5),
                   Frame(FLUSH, cas=5))  # fmt: skip
    yield pipeline("VERSION", Frame(VERSION), Frame(VERSION))
    yield pipeline("VERBOSITY", Frame(VERBOSITY), *READY, *LOOK)
    for opcode in (QUIT, QUITQ):
        yield dialogue(name_of(opcode), READY, (Frame(opcode),))
        yield dialogue(f"{name_of(opcode)}, and more behind", READY,
                       (Frame(opcode), right(SET), Frame(DELETE, b"n"), *LOOK))  # fmt: skip
        yield dialogue(f"{name_of(opcode)}, behind others", (*READY, *LOOK, Frame(opcode)))
        yield dialogue(f"{name_of(opcode)}, behind quiet ones",
                       (*READY, Frame(GETQ, b"none"), Frame(opcode)), Second(LOOK))  # fmt: skip
    for opcode in (SASL_LIST, SASL_AUTH, SASL_STEP):
        for mechanism, value in ((b"", b""), (b"PLAIN", b"\0user\0password"), (b"PLAIN", b""),
                                 (b"PLAIN", b"x" * 100_000), (b"X" * 40, b""),
                                 (b"CRAM-MD5", b""), (b"PLAIN", LARGE * 2)):  # fmt: skip
            yield dialogue(f"{name_of(opcode)} {mechanism.decode()[:9]} {len(value)}", READY,
                           Fresh((Frame(opcode, mechanism, value), *LOOK)))  # fmt: skip
    for opcode in UNKNOWN:
        yield pipeline(f"{name_of(opcode)}, and a value", *READY, Frame(opcode),
                       Frame(opcode, value=b"v" * 100), Frame(opcode, value=LARGE),
                       *LOOK)  # fmt: skip
    # The names, and that it ends with an empty one; the figures are for test_statistics.py.
    for key in (b"", b"settings", b"items", b"slabs", b"sizes", b"reset", b"conns", b"detail on",
                b"detail off", b"detail dump", b"detail", b"detail x", b"bogus", b"RESET", b" ",
                b"\0", b"cachedump", b"settingsx", b"resetting", b"detail dumps"):  # fmt: skip
        yield alone(f"STAT {key!r}", *READY, Frame(STAT, key), *LOOK)
    yield alone("STAT in a pipeline", *READY, Frame(STAT), Frame(STAT, b"bogus"),
                Frame(STAT, b"reset"), *LOOK)  # fmt: skip


def text() -> Iterator[Script]:
    """One store, whichever way it is asked."""
    yield dialogue("text, then binary", Text(b"set k 3735928559 0 5\r\nvalue\r\n"), get(b"k"),
                   Text(b"gets k\r\n"), (right(APPEND),), Text(b"gets k\r\n"))  # fmt: skip
    yield dialogue("binary, then text", READY, LOOK, Text(b"gets k n\r\n"),
                   Text(b"append k 1 1 1\r\n!\r\n"), LOOK, Text(b"gets k\r\n"))  # fmt: skip
    yield dialogue("a value that decr has padded", Text(b"set n 7 0 2\r\n10\r\ndecr n 1\r\n"),
                   get(b"n"), (count(INCR, b"n", 1),), (count(DECR, b"n", 5),),
                   Text(b"get n\r\n"), get(b"n"))  # fmt: skip
    yield dialogue("what binary makes", (count(INCR, b"n", 1, 41, 0),), Text(b"incr n 1\r\n"),
                   Text(b"get n\r\n"), get(b"n"))  # fmt: skip
    yield dialogue("a CAS of text's", Text(b"set k 0 0 1\r\nv\r\n"), get(b"k"),
                   (store(SET, b"k", b"new", cas=Known(b"k")),), Text(b"gets k\r\n"))  # fmt: skip
    yield dialogue("meta's marks", Text(b"ms k 5 T1000\r\nvalue\r\nmd k I T500\r\n"), get(b"k"),
                   Text(b"mg k v t\r\nmg k v\r\n"), (touch(GAT, b"k", 1000),), get(b"k"),
                   (right(SET),), Text(b"mg k v\r\n"))  # fmt: skip
    yield dialogue("an empty value that meta made", Text(b"mg k N100 v\r\n"), get(b"k"),
                   (right(ADD),), (right(APPEND),), (count(INCR, b"k", 1),),
                   Text(b"get k\r\n"))  # fmt: skip
    yield dialogue("negative exptime", Text(b"set k 0 -1 1\r\nv\r\n"), get(b"k"))


# ---- Generated -----------------------------------------------------------------------------------

GENERATED = 150


def generated() -> Iterator[Script]:
    """Right commands and nearly right ones, in any order; seeded, so everywhere the same."""
    random = Random(211)
    keys = (b"k", b"n", b"a", b"b", b"none", b"x y", KEY_250)
    numbers = (0, 1, 5, 10, 1 << 32)
    times = (0, 0, 0, 1000, MONTH + 1, 0x7FFFFFFF, 0xFFFFFFFF)
    opcodes = (*RETRIEVALS, *TOUCHES, *STORES, *EXTENDS, *COUNTS, *DELETES, NOOP, FLUSH)

    def draw() -> Frame:
        opcode, key = random.choice(opcodes), random.choice(keys)
        value = random.choice((b"", b"7", b"10", b"word", b"x" * 2000))
        cas = random.choice((0, 0, 0, 1, Known(key), Known(key), Known(b"k")))
        if opcode in STORES:
            return store(opcode, key, value, random.choice(FLAGS), random.choice(times), cas)
        if opcode in EXTENDS:
            return extend(opcode, key, value, cas)
        if opcode in COUNTS:
            initial, delta = random.choice(numbers), random.choice(numbers)
            return count(opcode, key, delta, initial, random.choice(times), cas)
        if opcode in TOUCHES:
            return touch(opcode, key, random.choice(times))
        return evolve(right(opcode, key), cas=cas)

    for number in range(GENERATED):
        frames = [draw() for _ in range(random.randrange(5, 40))]
        yield alone(f"{number}", *READY, *frames, *get(*keys))
    for number in range(GENERATED):
        # All at once: without arithmetic, of which the answers hang on what has left.
        frames = [frame for frame in (draw() for _ in range(60)) if frame.opcode not in COUNTS]
        known = (evolve(f, cas=1 if isinstance(f.cas, Known) else f.cas) for f in frames)
        yield pipeline(f"{number}, at once", *READY, *known, *get(*keys))


# ---- Where mctwist is not 1.6.18 -----------------------------------------------------------------


def lost() -> Iterator[Script]:
    """What memcached does not swallow, or twice."""
    for opcode in UNKNOWN:
        for key, extras in ((b"k", b""), (b"", b"\0" * 4), (b"k", b"\0" * 8), (KEY_250, b"")):
            frame = Frame(opcode, key, b"v", extras)
            yield dialogue(f"{name_of(opcode)}, {len(key)} and {len(extras)}", READY,
                           (frame, Frame(GET, b"k")))  # fmt: skip
    for opcode in TOUCHES:
        frame = evolve(touch(opcode, b"k", 1000), value=b"v")
        yield dialogue(name_of(opcode), READY, (frame, Frame(GET, b"k")))
    for key in (b"", b"settings", b"reset", b"bogus"):
        yield dialogue(f"STAT {key!r}", READY, (Frame(STAT, key, b"v"), Frame(GET, b"k")))


CHAPTERS = {
    "shapes": shapes,
    "lengths": lengths,
    "announced": announced,
    "headers": headers,
    "retrieval": retrieval,
    "storage": storage,
    "too large": too_large,
    "delete": delete,
    "arithmetic": arithmetic,
    "expiry": expiry,
    "flush": flush,
    "others": others,
    "text": text,
    "generated": generated,
    "lost": lost,
}

SCRIPTS = tuple(
    evolve(script, name=f"{chapter}: {script.name}")
    for chapter, scripts in CHAPTERS.items()
    for script in scripts()
)


def exceptions() -> dict[str, Difference]:
    """By the name of the script: why, and what mctwist answers."""
    found = {}
    for script in SCRIPTS:
        chapter, _, rest = script.name.partition(": ")
        name = rest.partition(",")[0].encode()
        if chapter == "announced":
            # Behind the two of READY the frames number themselves from 3.
            answers = b"".join(REFUSED % (name, number) for number in range(3, 9))
            found[script.name] = Difference(
                NOT_SO_MUCH, QUIET_READY + answers + UNCHANGED % (9, 10, 11, 12), steady=False
            )
        elif chapter == "lost" and rest.startswith(("TOUCH", "GAT", "STAT")):
            answer = REFUSED % (name.split(b" ")[0], 3)
            found[script.name] = Difference(
                FORGOTTEN, QUIET_READY + answer + UNCHANGED % (5, 6, 7, 8)
            )
        elif chapter == "lost":
            found[script.name] = Difference(
                TWICE, QUIET_READY + SKIPPED % name + UNCHANGED % (5, 6, 7, 8)
            )
    return found


NOT_SO_MUCH = "proto_bin.c:911-917: 1.6.18 knows no upper limit of a body, and takes it as signed"
TWICE = "proto_bin.c:117,1090-1092: extras and key have been stepped over, and are swallowed again"
FORGOTTEN = "proto_bin.c:1047-1053,1079-1089: what comes behind the key is taken for the next frame"

QUIET_READY = b"<in step>\n"
REFUSED = b"%b %d: 0004 cas-0 extras= key= value=Invalid arguments\n<closed>\n"
SKIPPED = (
    b"%b 3: 0081 cas-0 extras= key= value=Unknown command\n"
    b"GET 4: 0000 cas-1 extras=deadbeef key= value=value\n<in step>\n"
)
UNCHANGED = (
    b"GETK %d: 0000 cas-1 extras=deadbeef key=k value=value\n"
    b"GETK %d: 0000 cas-2 extras=00000007 key=n value=10\n"
    b"GETK %d: 0001 cas-0 extras= key=a value=\n"
    b"GETK %d: 0001 cas-0 extras= key=b value=\n<in step>\n"
)
