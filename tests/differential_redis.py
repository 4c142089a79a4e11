"""The corpus of Redis: what its clients may send on strings and keys, right and wrong.

As in differential.py a `Script` says what is sent and never what should come back: a real
redis-server says that (test_redis_differential.py asks it, and mctwist, and compares reply by
reply, in RESP2 and in RESP3).

Each reply is compared byte for byte, but where it cannot be: `near` is a number that counts time
down, `shuffled` an array whose order means nothing, `shape` what names the implementation. Times
are dates of the next century where they can be, and `near` only where time is what it is about.

`EXCEPTIONS` is the other half: where mctwist means to differ, with its reason and what mctwist has
to answer instead. A script in it of which Redis says the same is an error of the table.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import combinations, product
from typing import Union

from attrs import frozen

from tests.redis_wire import Word, command


class How(Enum):
    """How the reply to a request is compared."""

    EXACT = "byte for byte"
    SECONDS = "as a number, 5 more or less"
    MILLISECONDS = "as a number, 5,000 more or less"
    SHUFFLED = "as a group whose order, and that of groups in it, means nothing"
    SHAPE = "by the kinds of all that is in it"
    KIND = "by its kind alone"
    CODE = "by the kind and, of an error, its first word: who may what is said in other words"


@frozen
class One:
    """A request, and how its reply is compared."""

    data: bytes
    how: How = How.EXACT


Request = Union[str, tuple[Word, ...], One]


def one(request: Request, how: How = How.EXACT) -> One:
    """A request of words with spaces between, of words as they are, or made already."""
    if isinstance(request, One):
        return request
    return One(command(*(request.split() if isinstance(request, str) else request)), how)


def near(request: Request) -> One:
    one_request = one(request)
    in_milliseconds = re.search(rb"\r\nP[A-Z]+\r\n", one_request.data) is not None
    return One(one_request.data, How.MILLISECONDS if in_milliseconds else How.SECONDS)


def shuffled(request: Request) -> One:
    return One(one(request).data, How.SHUFFLED)


def shape(request: Request) -> One:
    return One(one(request).data, How.SHAPE)


def kind(request: Request) -> One:
    return One(one(request).data, How.KIND)


@frozen
class Ask:
    """Requests written at once, by the first connection or the second, and their replies read."""

    requests: tuple[One, ...]
    second: bool = False


@frozen
class Raw:
    """
    Bytes as they are.

    :ivar replies: how many come; -1: all until the server has closed.
    :ivar patience: seconds after which a server has not answered.
    """

    data: bytes
    replies: int
    patience: float = 10.0


@frozen
class Pause:
    """Waits, for what only the passing of time can show."""

    seconds: float


Step = Union[Ask, Raw, Pause]


@frozen
class Script:
    """
    What is sent to one server, in order; each step is answered before the next leaves.

    Behind the last a marker shows that every connection is still in step, and that no reply came
    too much; not where the server has closed.

    :ivar cut_off: the first connection is half-closed in the middle of a request instead, and a new
        one asks for what there is.
    """

    name: str
    steps: tuple[Step, ...]
    cut_off: bool = False


def script(name: str, *parts: "Union[Request, Ask, Raw, Pause]") -> Script:
    """Requests beside each other are written at once."""
    steps: list[Step] = []
    together: list[One] = []
    for part in (*parts, None):
        if part is None or isinstance(part, (Ask, Raw, Pause)):
            if together:
                steps.append(Ask(tuple(together)))
                together = []
            if part is not None:
                steps.append(part)
        else:
            together.append(one(part))
    return Script(name, tuple(steps))


def second(*requests: Request) -> Ask:
    """The same by another connection."""
    return Ask(tuple(one(request) for request in requests), second=True)


#: Asked on a new connection, when one was cut off.
AFTERWARDS = "MGET k a b"

KEY_250 = b"k" * 250
KEY_251 = b"k" * 251
FUTURE = 4102444800  # 2100, in seconds
FUTURE_MS = FUTURE * 1000 + 123
MOST = 2**63 - 1
SETS_K = "SET k v"

#: Of every command: the words behind its name, as many as it may take and one more.
WORDS = {
    **dict.fromkeys(
        ("APPEND", "DECR", "DECRBY", "DEL", "EXISTS", "EXPIRE", "EXPIREAT", "EXPIRETIME", "GET",
         "GETDEL", "GETEX", "GETRANGE", "GETSET", "INCR", "INCRBY", "INCRBYFLOAT", "MGET", "MSET",
         "MSETNX", "PERSIST", "PEXPIRE", "PEXPIREAT", "PEXPIRETIME", "PSETEX", "PTTL", "RENAME",
         "SET", "SETEX", "SETNX", "SETRANGE", "STRLEN", "TOUCH", "TTL", "TYPE", "UNLINK"),
        ("k", "100", "200", "300", "400"),
    ),
    "KEYS": ("*", "*", "*"),
    "SCAN": ("0", "0", "0", "0"),
    "RANDOMKEY": ("k", "k"),
    "DBSIZE": ("k", "k"),
    "FLUSHDB": ("SYNC", "SYNC"),
    "FLUSHALL": ("SYNC", "SYNC"),
    "PING": ("one", "two"),
    "ECHO": ("one", "two"),
    "AUTH": ("a", "b", "c"),
    "SELECT": ("0", "0"),
    "RESET": ("k",),
    "MULTI": ("k",),
    "EXEC": ("k",),
    "DISCARD": ("k",),
    "UNWATCH": ("k",),
    "WATCH": ("k", "l"),
}  # fmt: skip
#: Of these the answer to no word at all names the implementation.
NAMING = {"TIME": ("k",)}
CONTAINERS = ("CLIENT", "CONFIG", "COMMAND", "client")


# ---- Words ---------------------------------------------------------------------------------------


def arity() -> Iterator[Script]:
    for name, words in {**WORDS, **NAMING}.items():
        for count in range(name in NAMING, len(words) + 1):
            line = " ".join((name, *words[:count]))
            yield script(f"arity: {line!r}", line, near("TTL k"), "GET k")
            if count < 3 or name in ("MSET", "SET"):
                yield script(f"arity: {line!r}, with k there", "SET k 10", line, near("TTL k"))
    for name in ("CLIENT", "CONFIG"):
        yield script(f"arity: {name} alone", name)
    for line in (
        "CLIENT SETNAME", "CLIENT SETNAME a b", "CLIENT GETNAME a", "CLIENT ID a", "CONFIG GET",
        "CLIENT NONSENSE", "CLIENT NONSENSE a b", "CONFIG NONSENSE", "CONFIG nonsense a b c",
        "COMMAND NONSENSE", "COMMAND COUNT a", "COMMAND NONSENSE a", "client setname",
        "Client Nonsense",
    ):  # fmt: skip
        yield script(f"subcommands: {line!r}", line)


def names() -> Iterator[Script]:
    yield script("lower case", "set k v", "get k", "strlen k", "del k", "ping", "mset a 1 b 2")
    yield script("mixed case", "sEt k v eX 100", "GeT k", near("tTl k"), "Set k w nX gEt")
    for name, words in {
        "nothing": ("NONSENSE",),
        "one word": ("NONSENSE", "a"),
        "words": ("nonsense", "a", "b", "c"),
        "an empty name": ("",),
        "an empty name and a word": ("", "a"),
        "an empty word": ("NONSENSE", ""),
        "a name of 127 letters": ("n" * 127, "a"),
        "a name of 128 letters": ("n" * 128, "a"),
        "a name of 129 letters": ("n" * 129, "a"),
        "a word of 200 letters": ("NONSENSE", "a" * 200),
        "words of 120 letters": ("NONSENSE", "a" * 120, "b" * 120, "c"),
        "fifty words": ("NONSENSE", *"abcdefghij" * 5),
        "thirty words of three letters": ("NONSENSE", *["abc"] * 30),
        "quotes": ("NON'SENSE", "it's"),
        "line ends": (b"NON\r\nSENSE", b"a\r\nb"),
        "a NUL": (b"NON\0SENSE", b"a\0b"),
        "a NUL behind a name": (b"GET\0", b"k"),
        "a space behind a name": (b"GET ", b"k"),
        "not UTF-8": (b"\xff\xfe", b"\xfd"),
        "get and a letter": ("GETS", "k"),
        "ge": ("GE", "k"),
        "memcached's verb": ("GAT", "0", "k"),
    }.items():
        yield script(f"unknown: {name}", words, "PING")
    yield script("a subcommand of 200 letters", ("CLIENT", "n" * 200), "PING")
    yield script("a subcommand with a line end", ("CLIENT", b"a\r\nb"), "PING")
    yield script("an empty subcommand", ("CLIENT", ""), "PING")


# ---- Numbers -------------------------------------------------------------------------------------

NUMBERS: dict[str, Word] = {
    "0": 0,
    "1": 1,
    "-1": -1,
    "-0": "-0",
    "+5": "+5",
    "--5": "--5",
    "05": "05",
    "1.0": "1.0",
    "1.5": "1.5",
    "1e3": "1e3",
    "0x10": "0x10",
    "1_0": "1_0",
    "abc": "abc",
    "empty": "",
    "a space": " ",
    "a space and 5": " 5",
    "5 and a NUL": b"5\0",
    "5x": "5x",
    "an Arabic 5": b"\xd9\xa5",
    "nan": "nan",
    "inf": "inf",
    "-inf": "-inf",
    "2^31 - 1": 2**31 - 1,
    "2^31": 2**31,
    "2^32": 2**32,
    "2^63 - 1": MOST,
    "2^63": 2**63,
    "-2^63": -(2**63),
    "-2^63 - 1": -(2**63) - 1,
    "2^64 - 1": 2**64 - 1,
    "2^64": 2**64,
    "20 digits of zero": "0" * 20,
    "21 digits": "1" * 21,
    "40 digits": "1" * 40,
}

Template = tuple[Word, ...]
N = "<number>"

#: Where a number stands. What is much too far in the future, or long, is refused: none is large.
PLACES: dict[str, Template] = {
    "INCRBY": ("INCRBY", "k", N),
    "DECRBY": ("DECRBY", "k", N),
    "INCRBYFLOAT": ("INCRBYFLOAT", "k", N),
    "EXPIRE": ("EXPIRE", "k", N),
    "PEXPIRE": ("PEXPIRE", "k", N),
    "EXPIREAT": ("EXPIREAT", "k", N),
    "PEXPIREAT": ("PEXPIREAT", "k", N),
    "SETEX": ("SETEX", "k", N, "w"),
    "PSETEX": ("PSETEX", "k", N, "w"),
    "SET EX": ("SET", "k", "w", "EX", N),
    "SET PX": ("SET", "k", "w", "PX", N),
    "SET EXAT": ("SET", "k", "w", "EXAT", N),
    "SET PXAT": ("SET", "k", "w", "PXAT", N),
    "GETEX EX": ("GETEX", "k", "EX", N),
    "GETEX PX": ("GETEX", "k", "PX", N),
    "GETEX EXAT": ("GETEX", "k", "EXAT", N),
    "GETEX PXAT": ("GETEX", "k", "PXAT", N),
    "start of GETRANGE": ("GETRANGE", "k", N, "-1"),
    "end of GETRANGE": ("GETRANGE", "k", "0", N),
    "SELECT": ("SELECT", N),
    "SCAN": ("SCAN", N),
    "SCAN COUNT": ("SCAN", "0", "COUNT", N),
}
#: As what cannot be a date far away is no problem of Redis's, but a value of 2 GiB would be.
OFFSETS = [
    "0", "1", "-1", "-0", "+5", "05", "1.5", "abc", "empty", "a space and 5", "2^31 - 1", "2^31",
    "2^32", "2^63 - 1", "2^63", "-2^63", "2^64",
]  # fmt: skip
#: A second or two from 1970 is long gone; what is there of a key then hangs on who looks first.
LOOKS = ("GET k", near("PTTL k"), "STRLEN k")


def fill(template: Template, number: Word) -> Template:
    return tuple(number if word == N else word for word in template)


def numbers() -> Iterator[Script]:
    for place, template in PLACES.items():
        for name, number in NUMBERS.items():
            # A second that is nearly over, or DB 1, is a script of its own.
            if (name == "1" and "EX" in place) or (place == "SELECT" and name == "1"):
                continue
            request = one(fill(template, number))
            if place == "SCAN":
                # A cursor that was never given: only that there is nothing is certain.
                yield script(f"{place}: {name}", request)
            elif place == "SCAN COUNT":
                # Where to go on is the server's to say, and with a count of 1 it may say so.
                asked = kind(request) if name == "1" else request
                yield script(f"{place}: {name}", "SET k 10", asked)
            else:
                yield script(f"{place}: {name}", "SET k 10", request, *LOOKS)
                if place != "SELECT":
                    yield script(f"{place}: {name}, with nothing there", request, *LOOKS)
    for name in OFFSETS:
        number = NUMBERS[name]
        yield script(f"SETRANGE: {name}", "SET k 10", ("SETRANGE", "k", number, "x"), "GET k")
        yield script(f"SETRANGE: {name}, of nothing", "SET k 10", ("SETRANGE", "k", number, ""))
        yield script(
            f"SETRANGE: {name}, with nothing there", ("SETRANGE", "k", number, "x"), *LOOKS
        )
    for name, number in NUMBERS.items():
        for place in ("INCR", "DECR"):
            yield script(f"{place} of {name}", ("SET", "k", number), f"{place} k", "GET k")
        yield script(f"INCRBYFLOAT of {name}", ("SET", "k", number), "INCRBYFLOAT k 1", "GET k")
        yield script(
            f"HELLO with {name}", *(() if name in ("2", "3") else (("HELLO", number),)), "PING"
        )


# ---- Arithmetic ----------------------------------------------------------------------------------

#: What is there, and what is added to it.
WHOLE = [
    (0, 1), (10, -10), (-1, 1), (99, 1), (-99, -1), (MOST, 0), (MOST, 1), (MOST, -1), (1, MOST),
    (0, MOST), (-1, MOST), (-(2**63), -1), (-(2**63), 0), (-(2**63), 1), (-(2**63), MOST),
    (-1, -(2**63)), (0, -(2**63)), (1, -(2**63)), (MOST, MOST), (MOST, -(2**63)),
]  # fmt: skip
FLOATS = [
    ("10.50", "0.1"), ("5.0e3", "2.0e2"), ("0.1", "0.2"), ("1.1", "2.2"), ("3", "1.5"), ("3", "1"),
    ("3.0", "1.0"), ("-5", "5"), ("-5.5", "5.5"), ("0", "-0.0"), ("0", "1e-7"), ("0", "1e-17"),
    ("0", "1e-18"), ("0", "1e-30"), ("1", "1e-17"), ("1e17", "1"), ("1e18", "1"), ("1e19", "1"),
    ("1e20", "1"), ("1e20", "0.5"), ("1e30", "1"), ("1e100", "0"), ("1e300", "1e300"),
    ("123456789.123456789", "0.000000001"), ("0.3", "-0.1"), ("1.005", "0.005"), ("4.35", "100"),
    ("9007199254740993", "0"), ("9223372036854775807", "1"), ("18446744073709551615", "1"),
    ("0.1", "-0.1"), ("2.675", "0"), ("1e-5", "1e-5"), ("3.14159265358979323846", "0"),
    ("2.71828182845904523536", "1e-10"), ("100", "1E2"), ("100", "1.e2"), ("100", ".5"),
    ("5.", "1"), (".5", "1"), ("+5", "1"), ("1", "+5"), ("0x10", "1"), ("1", "0x1p4"),
    ("1", "infinity"), ("1", "Inf"), ("1", "NaN"), ("1", "nan(1)"), ("inf", "1"), ("nan", "1"),
    ("inf", "-inf"), ("1 ", "1"), (" 1", "1"), ("1", "1 "), ("1", " 1"), ("", "1"), ("1", ""),
    ("1", "e"), ("1", "1e"), ("1", "1e+"), ("1", "."), ("1", "-"), ("1", "1,5"), ("abc", "1"),
    ("1", "1e400"), ("1", "1e5000"), ("1", "1e-5000"), ("1e4931", "1e4932"), ("1", "1.5f"),
    ("1", "1d"), ("1", "0" * 100 + "1"), ("1", "0." + "1" * 100), ("1" * 100, "1"),
    ("1", "1" * 300),
]  # fmt: skip


def arithmetic() -> Iterator[Script]:
    for value, delta in WHOLE:
        for verb in ("INCRBY", "DECRBY"):
            yield script(f"{value} {verb} {delta}", f"SET k {value}", f"{verb} k {delta}", "GET k")
    for number, (old, added) in enumerate(FLOATS):
        name = f"float {number}: {old[:30]!r} + {added[:30]!r}"
        yield script(name, ("SET", "k", old), ("INCRBYFLOAT", "k", added), "GET k")
        yield script(f"{name}, set by itself", ("INCRBYFLOAT", "k", old), "GET k")
    yield script("ten times a tenth", *["INCRBYFLOAT k 0.1"] * 10, "GET k")
    yield script("a hundred times a third", *["INCRBYFLOAT k 0.333333333333"] * 100, "GET k")
    yield script("both counters on one", "INCR k", "INCRBYFLOAT k 1", "INCR k", "INCRBYFLOAT k 1.5",
                 "INCR k", "GET k")  # fmt: skip
    yield script("counting what is not there", "INCR a", "DECR b", "INCRBY c 5", "DECRBY d 5",
                 "INCRBYFLOAT e 5.5", "MGET a b c d e", "TTL a", "TTL e")  # fmt: skip
    for verb in ("INCR k", "DECR k", "INCRBY k 5", "DECRBY k 5", "INCRBYFLOAT k 0.5", "APPEND k 5",
                 "SETRANGE k 1 5", "GETSET k 5", "SETNX k 5", "MSET k 5", "MSETNX k 5", "SET k 5",
                 "GETEX k", "TOUCH k", "RENAME k k", "PERSIST k", "GET k", "MGET k", "STRLEN k",
                 "GETRANGE k 0 0", "TYPE k", "EXISTS k"):  # fmt: skip
        yield script(
            f"what becomes of the expiry: {verb}",
            f"SET k 10 EXAT {FUTURE}", verb, "PEXPIRETIME k", "GET k",
        )  # fmt: skip
    for text in ("10 ", "10  ", "1 0", " 10", "10\n", "10\0", "0010", "", "-", "- 1", "1-"):
        for verb in ("INCR", "DECR"):
            yield script(f"{verb} of {text!r}", ("SET", "k", text), f"{verb} k", "GET k")


# ---- SET and its kin -----------------------------------------------------------------------------

EXPIRIES: dict[str, str] = {
    "": "",
    "EX": "EX 1000",
    "PX": "PX 1000000",
    "EXAT": f"EXAT {FUTURE}",
    "PXAT": f"PXAT {FUTURE_MS}",
    "KEEPTTL": "KEEPTTL",
}
STATES: dict[str, tuple[str, ...]] = {
    "nothing there": (),
    "k there": ("SET k old",),
    "k there for a while": (f"SET k old PXAT {FUTURE_MS + 500}",),
}
K_IS = ("GET k", near("PTTL k"), near("EXPIRETIME k"))
WRONG_SETS = (
    "foo", "NX XX", "XX NX", "NX NX", "XX XX", "GET GET", "KEEPTTL KEEPTTL", "EX", "PX", "EXAT",
    "PXAT", "EX 100 EX 100", "EX 100 PX 100", "EX 100 EXAT 4102444800", "PX 100 PXAT 4102444800000",
    "EXAT 4102444800 PXAT 4102444800000", "EX 100 KEEPTTL", "KEEPTTL EX 100", "KEEPTTL PXAT 100000",
    "EX abc", "PX abc", "EX NX", "NX EX", "NX 5", "5", "NX foo", "EX 100 foo", "PERSIST",
    "EX 100 PERSIST", "GET foo", "XX GET NX", "NX GET XX", "EX 9223372036854775 NX",
    "EX 9223372036854776 NX", "PX 9223372036854775807 NX", "EXAT 9223372036854775807 XX", "EX 0 NX",
    "NX EX 0", "XX EX 0", "GET EX 0", "GET EX abc", "NX GET EX -5", "IFEQ v", "KEEPTTL NX foo",
)  # fmt: skip


def sets() -> Iterator[Script]:
    for (state, there), expiry, condition, get in product(
        STATES.items(), EXPIRIES, ("", "NX", "XX"), ("", "GET")
    ):
        options = " ".join(filter(None, (condition, get, EXPIRIES[expiry])))
        yield script(f"SET k new {options}: {state}", *there, f"SET k new {options}", *K_IS)
    for options in (
        "EX 1000 NX GET", "GET EX 1000 XX", "nx ex 1000", "get px 1000000 nx", "keepttl xx",
        "ExAt 4102444800 Nx",
    ):  # fmt: skip
        for state, there in STATES.items():
            name = f"SET in another order, {options}: {state}"
            yield script(name, *there, f"SET k new {options}", *K_IS)
    for options in WRONG_SETS:
        for state, there in STATES.items():
            yield script(f"wrong SET, {options}: {state}", *there, f"SET k new {options}", *K_IS)
    for line in (
        "SETNX k new", "SETEX k 1000 new", "PSETEX k 1000000 new", "GETSET k new", "GETDEL k",
        "SETEX k abc new", "SETEX k 0 new", "PSETEX k 0 new", "SETEX k -1 new", "APPEND k new",
        "STRLEN k", "TYPE k", "EXISTS k", "TOUCH k", "DEL k", "UNLINK k", "PERSIST k", "GET k",
        "TTL k", "PTTL k", "EXPIRETIME k", "PEXPIRETIME k",
        "SETEX k 9223372036854775807 new", "PSETEX k 9223372036854775807 new",
        "SETEX k 9223372036854775 new", "SETEX k 9223372036854776 new",
    ):  # fmt: skip
        for state, there in STATES.items():
            asked = near(line) if "TTL" in line else one(line)
            yield script(f"{line}: {state}", *there, asked, *K_IS, "DBSIZE")


def getex() -> Iterator[Script]:
    for options in (
        "", "EX 1000", "PX 1000000", f"EXAT {FUTURE}", f"PXAT {FUTURE_MS}", "PERSIST", "persist",
        "ex 1000", "EX", "PX", "PERSIST 5", "PERSIST PERSIST", "EX 100 PERSIST", "PERSIST EX 100",
        "EX 100 PX 100", "EX 100 EX 100", "EXAT 5 PXAT 5", "foo", "EX foo", "NX", "KEEPTTL", "GET",
        "EX 100 foo", "EXAT 1000000000", "PXAT 1000000000000", "EX 0", "PX -5", "EXAT 0",
        "EX 9223372036854775807", "PX 9223372036854775807", "EX 9223372036854775",
    ):  # fmt: skip
        for state, there in STATES.items():
            yield script(f"GETEX k {options}: {state}", *there, f"GETEX k {options}", *K_IS)


def expiry() -> Iterator[Script]:
    whens = {
        "EXPIRE": ("1000", "-1", "0", "10000000000"),
        "PEXPIRE": ("1000000", "-1", "0", "10000000000000"),
        "EXPIREAT": (str(FUTURE), "1000000000", "-5", str(FUTURE + 10)),
        "PEXPIREAT": (str(FUTURE_MS), "1000000000000", "-5", str(FUTURE_MS + 10000)),
    }
    flags = ("NX", "XX", "GT", "LT")
    choices = ["", *flags, *(f"{a} {b}" for a, b in combinations(flags, 2))]
    choices += [
        "GT NX",
        "LT XX",
        "XX GT LT",
        "nx",
        "gT",
        "foo",
        "NX foo",
        "foo NX",
        "NX NX",
        "GT GT",
    ]
    for (verb, dates), (state, there) in product(whens.items(), STATES.items()):
        for date, choice in product(dates, choices):
            # All the choices with one date that is to come, and one that is past.
            if date in dates[:2] or choice in ("", "GT", "LT"):
                line = f"{verb} k {date} {choice}".strip()
                yield script(f"{line}: {state}", *there, line, *K_IS, "EXISTS k")
    yield script("EXPIRE GT of the same date", f"SET k v EXAT {FUTURE}", f"EXPIREAT k {FUTURE} GT",
                 f"EXPIREAT k {FUTURE} LT", f"EXPIREAT k {FUTURE - 1} GT",
                 f"EXPIREAT k {FUTURE + 1} LT", "PEXPIRETIME k")  # fmt: skip
    for when in (FUTURE_MS - 123, FUTURE_MS - 123 + 499, FUTURE_MS - 123 + 500, FUTURE_MS + 876):
        yield script(f"{when} in seconds", SETS_K, f"PEXPIREAT k {when}", "EXPIRETIME k",
                     "PEXPIRETIME k")  # fmt: skip
    for left in (100300, 100800, 100950):
        yield script(f"{left} ms left, in seconds", SETS_K, f"PEXPIRE k {left}", "TTL k")
    for command_ in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"):
        yield script(f"{command_} of all sorts", "SET a 1", f"SET b 1 EXAT {FUTURE}",
                     near(f"{command_} none"), near(f"{command_} a"), near(f"{command_} b"),
                     "PERSIST b", "PERSIST b", "PERSIST none", f"{command_} b")  # fmt: skip
    yield script("the expiry of the last one counts", "SET k v EX 1000", "SET k v", "TTL k",
                 "SET k v EX 1000", "EXPIRE k 2000", near("TTL k"), "PERSIST k",
                 "TTL k")  # fmt: skip
    yield script("expired", "SET k v PX 40", "MSET a 1 b 2", "PEXPIRE a 40", "SET c 5 PX 40",
                 "SET d 5 PX 40", "SET e 5 PX 40", "SET f 5 PX 40", "SET g 5 PX 40",
                 "SET h 5 PX 40", Pause(0.08), "GET k", "TTL k", "PTTL k", "EXPIRETIME k", "TYPE k",
                 "EXISTS k a b", "MGET k a b", "STRLEN k", "GETRANGE k 0 -1", "INCR c", "TTL c",
                 "APPEND d x", "TTL d", "SETRANGE e 2 x", "TTL e", "GETSET f x", "TTL f",
                 "SETNX g x", "TTL g", "SET h x XX", "SET h x NX GET", "DEL k", "PERSIST k",
                 "EXPIRE k 100", "RENAME k z", "GETDEL k", "GETEX k", "TOUCH k", "UNLINK a",
                 # What nobody has looked at may still be counted.
                 shuffled("KEYS *"), kind("DBSIZE"))  # fmt: skip
    for line in ("KEYS *", "RANDOMKEY", "SCAN 0 COUNT 100"):
        yield script(f"expired: {line}", "SET k v PX 40", Pause(0.08), line)
    yield script("expired while it is there for longer", "SET k v PX 40", "PEXPIRE k 60000",
                 Pause(0.08), "GET k", near("PTTL k"))  # fmt: skip
    yield script("expired: RENAME of it, and onto it", "SET k v PX 40", "SET a 1 PX 40", "SET b 2",
                 "SET c 3", Pause(0.08), "RENAME k c", "RENAME b a", "GET a", "TTL a",
                 "GET c")  # fmt: skip
    yield script("SETEX in the end expires", "PSETEX k 40 v", "SET a 1 EX 1", "GETEX a PX 40",
                 Pause(0.08), "MGET k a")  # fmt: skip


# ---- Many keys, ranges, keys ---------------------------------------------------------------------


def many() -> Iterator[Script]:
    yield script("MSET and MGET", "MSET a 1 b 2 c 3", "MGET a b c", "MGET c none a a",
                 f"EXPIREAT a {FUTURE}", "MSET a 9 d 4", "TTL a", "MGET a b c d e")  # fmt: skip
    for line in (
        "MSET a", "MSET a 1 b", "MSET a 1 b 2 c", "MSETNX a", "MSETNX a 1 b", "MSET", "MSETNX",
        "MSET a 1 a 2", "MSETNX a 1 a 2", "MSETNX a 1 b 2", "MSETNX k 1 b 2", "MSETNX b 2 k 1",
        "MSET k 1 k 2 k 3",
    ):  # fmt: skip
        yield script(f"{line}", SETS_K, line, "MGET k a b c", "DBSIZE")
    yield script("MSETNX, one expired", "SET a 1 PX 40", Pause(0.08), "MSETNX a 2 b 3", "MGET a b",
                 "TTL a")  # fmt: skip
    keys = [f"key-{number}" for number in range(1000)]
    pairs = [word for key in keys for word in (key, f"value of {key}")]
    yield script("1,000 keys at once", ("MSET", *pairs), ("MGET", *keys), ("EXISTS", *keys),
                 ("TOUCH", *keys, *keys), "DBSIZE", ("DEL", *keys[:500]), ("UNLINK", *keys),
                 "DBSIZE", ("MGET", *keys))  # fmt: skip
    yield script("1,000 gets in a pipeline", ("MSET", *pairs), *(f"GET {key}" for key in keys))
    for verb in ("DEL", "UNLINK", "EXISTS", "TOUCH"):
        yield script(f"{verb}, the same twice", "MSET a 1 b 2", f"{verb} a a b none",
                     f"{verb} a", "DBSIZE")  # fmt: skip
    yield script("empty values", ("SET", "k", ""), "GET k", "STRLEN k", "EXISTS k",
                 ("APPEND", "k", ""), ("APPEND", "a", ""), "EXISTS a", "GETRANGE k 0 -1",
                 ("GETSET", "k", ""), ("MSET", "b", "", "c", ""), "MGET a b c k", "INCR k",
                 "INCRBYFLOAT k 1", "TYPE k", "DBSIZE")  # fmt: skip
    binary = bytes(range(256)) + b"\r\n$-1\r\n*3\r\n"
    yield script("binary values", ("SET", "k", binary), "GET k", "STRLEN k",
                 ("APPEND", "k", binary),
                 "GET k", ("GETSET", "k", b"\0"), ("ECHO", binary), ("PING", binary),
                 ("MSET", "a", b"\r\n", "b", b"\xff"), "MGET a b", "GETRANGE k 0 0")  # fmt: skip
    for name, key in {
        "a space": b"a b", "line ends": b"a\r\nb", "a NUL": b"\0",
        "all bytes": bytes(range(1, 250)),
        "250 bytes": KEY_250, "not UTF-8": b"\xff\xfe", "a glob": b"[a]*?\\",
    }.items():  # fmt: skip
        yield script(f"a key with {name}", ("SET", key, "v"), ("GET", key), ("EXISTS", key),
                     ("INCR", b"n" + key[:200]), ("RENAME", key, "k"), ("RENAME", "k", key),
                     shuffled("KEYS *"), shuffled("SCAN 0 COUNT 100"), ("DEL", key))  # fmt: skip


LONG_REQUESTS: dict[str, Template] = {
    "SET": ("SET", KEY_251, "v"),
    "GET": ("GET", KEY_251),
    "MSET": ("MSET", "a", "1", KEY_251, "2"),
    "MGET": ("MGET", "k", KEY_251),
    "DEL": ("DEL", "k", KEY_251),
    "INCR": ("INCR", KEY_251),
    "RENAME": ("RENAME", "k", KEY_251),
    "EXPIRE": ("EXPIRE", KEY_251, "100"),
    "APPEND": ("APPEND", KEY_251, "v"),
    "WATCH": ("WATCH", KEY_251),
}


def too_long() -> Iterator[Script]:
    """What is more than mctwist takes; it is all in `EXCEPTIONS`."""
    for verb, request in LONG_REQUESTS.items():
        yield script(f"a key of 251 bytes: {verb}", SETS_K, request, "PING", "DBSIZE")
    for verb in ("SET", "GET"):
        words = (verb, "", "v")[: 3 if verb == "SET" else 2]
        yield script(f"an empty key: {verb}", words, "PING")
    large = b"x" * (1 << 20)
    yield script("a value of 1 MiB", SETS_K, ("SET", "k", large), "STRLEN k")
    yield script("MSET with a value of 1 MiB", SETS_K, ("MSET", "a", "1", "k", large), "DBSIZE")
    half = b"x" * (600 << 10)
    yield script("APPEND to more than 1 MiB", ("SET", "k", half), ("APPEND", "k", half), "STRLEN k")
    yield script("SETRANGE to more than 1 MiB", SETS_K, "SETRANGE k 1500000 x", "STRLEN k")


def ranges() -> Iterator[Script]:
    ends = (0, 1, 4, 10, 11, 100, -1, -2, -10, -11, -12, -100, MOST, -(2**63))
    for start in ends:
        asked = [f"GETRANGE k {start} {end}" for end in ends]
        yield script(f"GETRANGE from {start}", ("SET", "k", "Hello World"), *asked)
        yield script(f"GETRANGE from {start} of what is not there", *asked)
        yield script(f"GETRANGE from {start} of the empty", ("SET", "k", ""), *asked)
    yield script("GETRANGE, wrong words", SETS_K, "GETRANGE k a 1", "GETRANGE k 1 a",
                 "GETRANGE none a b", "GETRANGE k 1", "GETRANGE k 1.5 2")  # fmt: skip
    for offset in (0, 1, 3, 10, 11, 15, 100):
        for value in ("Redis", "x", ""):
            words = ("SETRANGE", "k", offset, value)
            yield script(f"SETRANGE k {offset} {value!r}", ("SET", "k", "Hello World"), words,
                         "GET k", "STRLEN k")  # fmt: skip
            yield script(f"SETRANGE k {offset} {value!r}, with nothing there", words, *LOOKS,
                         "EXISTS k")  # fmt: skip
    for offset in (536870911, 536870912, MOST - 1):
        words = ("SETRANGE", "k", offset, "xy")
        yield script(f"SETRANGE at {offset}", SETS_K, words, "GET k")
        yield script(f"SETRANGE at {offset} of nothing", ("SETRANGE", "k", offset, ""), "GET k")
    yield script("APPEND", "APPEND k a", "APPEND k b", ("APPEND", "k", ""), "GET k", "STRLEN k",
                 "SET n 1", "APPEND n 0", "INCR n")  # fmt: skip


def keys() -> Iterator[Script]:
    yield script("RENAME", SETS_K, "RENAME k a", "GET k", "GET a", "RENAME none a", "GET a",
                 "RENAME a a", "GET a", "RENAME none none", "DBSIZE")  # fmt: skip
    yield script("RENAME takes the expiry along", f"SET k v EXAT {FUTURE}", "SET a w", "RENAME k a",
                 "PEXPIRETIME a", "GET a", "SET k v", "RENAME k a", "TTL a")  # fmt: skip
    yield script("RENAME to itself keeps the expiry", f"SET k v EXAT {FUTURE}", "RENAME k k",
                 "PEXPIRETIME k", "GET k")  # fmt: skip
    yield script("TYPE", SETS_K, "TYPE k", "TYPE none", "INCR n", "TYPE n")
    yield script("RANDOMKEY", "RANDOMKEY", SETS_K, "RANDOMKEY", "DEL k", "RANDOMKEY")
    yield script("DBSIZE", "DBSIZE", SETS_K, "DBSIZE", "SET k w", "DBSIZE", "DEL k", "DBSIZE")
    for verb in ("FLUSHALL", "FLUSHDB"):
        for words in ("", "ASYNC", "SYNC", "async", "foo", "ASYNC SYNC", "0"):
            yield script(f"{verb} {words}", SETS_K, f"{verb} {words}", "GET k", "DBSIZE", "SET k w",
                         "GET k")  # fmt: skip
    names = [
        "hello", "hallo", "hxllo", "hllo", "heello", "h*llo", "h[llo", "hell\\o", "HELLO", "a", "b",
        "ab", "aab", "ba", "a]", "]", "^", "-", "[",
    ]  # fmt: skip
    filled: tuple[Word, ...] = ("MSET", *(word for name in names for word in (name, "v")))
    for pattern in (
        "*", "?", "??", "h?llo", "h*llo", "h**llo", "h[ae]llo", "h[^e]llo", "h[a-b]llo",
        "h[b-a]llo", "h\\*llo", "h\\[llo", "h[\\[]llo", "hell\\\\o", "[", "[a", "[a-", "[]", "[]]",
        "[]a]", "[^]", "[^a]", "[a]", "\\", "a\\", "\\a", "", "*a*b", "*a*a*b", "h[a-zA-Z]llo",
        "H*", "[h-]*", "[-]", "a]", "[^h]*", "[\\]]", "^", "[a-b-c]", "*[", "h[*]llo", "none",
        "hello", "hell", "helloo", "?*?", "[ab][ab]", "[\\", "[^", "[^^]", "*]", "h*[xo]", "***",
        "[z-a]",
    ):  # fmt: skip
        yield script(f"KEYS {pattern!r}", filled, shuffled(("KEYS", pattern)),
                     shuffled(("SCAN", "0", "COUNT", "1000", "MATCH", pattern)))  # fmt: skip
    bomb = "a*" * 30 + "b"
    yield script("KEYS with a pattern of many stars", ("SET", "a" * 20, "v"), ("KEYS", bomb))
    for line in (
        "SCAN 0", "SCAN 0 COUNT 1000", "SCAN 0 count 1000", "SCAN 0 COUNT 1000 TYPE string",
        "SCAN 0 COUNT 1000 TYPE STRING", "SCAN 0 COUNT 1000 TYPE list", "SCAN 0 TYPE nonsense",
        "SCAN 0 COUNT 1000 MATCH a*", "SCAN 0 MATCH a* COUNT 1000 TYPE string", "SCAN 0 MATCH",
        "SCAN 0 COUNT", "SCAN 0 TYPE", "SCAN 0 COUNT 0", "SCAN 0 COUNT -1", "SCAN 0 COUNT abc",
        "SCAN 0 foo", "SCAN 0 MATCH a MATCH b COUNT 1000", "SCAN 0 COUNT 5 COUNT 1000", "SCAN abc",
        "SCAN 0x0", "SCAN -", "SCAN 1.5", "SCAN 18446744073709551616", "SCAN 0 foo bar",
        "SCAN 0 COUNT 1000 MATCH", "SCAN abc COUNT abc", "scan 0 match * count 1000 type string",
    ):  # fmt: skip
        yield script(f"{line!r}, of three", "MSET a 1 b 2 ab 3", shuffled(line))
        yield script(f"{line!r}, of none", shuffled(line))


# ---- The connection ------------------------------------------------------------------------------


def connection() -> Iterator[Script]:
    yield script("PING and ECHO", "PING", "PING x", ("PING", ""), ("PING", "a b"), "ECHO x",
                 ("ECHO", ""), "ping", "pInG x")  # fmt: skip
    yield script("SELECT", "SELECT 0", "SELECT 16", "SELECT -1", "SELECT abc", ("SELECT", ""),
                 "SELECT 00", "SELECT 99999999999999999999", "SELECT 2147483648")  # fmt: skip
    yield script("SELECT 1", "SELECT 1", "PING")
    yield script("SELECT 15", "SELECT 15", "PING")
    yield script("AUTH with no password asked for", "AUTH secret", "AUTH a b c", "AUTH",
                 "AUTH nobody x",
                 "AUTH nobody x y", "PING")  # fmt: skip
    yield script("AUTH of the default user", "AUTH default x", "PING")
    yield script("CLIENT names", "CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME",
                 ("CLIENT", "SETNAME", ""), "CLIENT GETNAME", ("CLIENT", "SETNAME", "a b"),
                 ("CLIENT", "SETNAME", "a\nb"), ("CLIENT", "SETNAME", b"\xff"), "CLIENT GETNAME",
                 "client setname you", "client getname")  # fmt: skip
    yield script("CLIENT ID", kind("CLIENT ID"), second(kind("CLIENT ID")), kind("client id"))
    for words in (
        ("LIB-NAME", "redis-py"), ("LIB-VER", "1.2.3"), ("lib-name", "x"), ("LIB-NAME", ""),
        ("LIB-NAME", "redis-py(django_v1;x)"), ("LIB-NAME", "a b"), ("LIB-VER", "a b"),
        ("LIB-NAME", "a\nb"), ("NONSENSE", "x"), ("LIB-NAME",), (), ("LIB-NAME", "a", "b"),
    ):  # fmt: skip
        yield script(f"CLIENT SETINFO {words}", ("CLIENT", "SETINFO", *words), "PING")
    yield script("CONFIG GET", kind("CONFIG GET maxmemory"), "CONFIG GET none",
                 kind("config get MAXMEMORY"), "CONFIG GET none other", "CONFIG GET",
                 shape("CONFIG GET save"), shape("CONFIG GET appendonly"),
                 shape("CONFIG GET databases"))  # fmt: skip
    yield script("TIME", shape("TIME"), shape("time"))
    yield script("INFO", kind("INFO"), kind("info"), kind("INFO server"), kind("INFO nonsense"),
                 kind("INFO server clients"), kind("INFO all"),
                 kind("INFO everything"))  # fmt: skip
    yield script("COMMAND", kind("COMMAND COUNT"), kind("COMMAND"), "COMMAND DOCS nonsense",
                 kind("COMMAND DOCS get"), kind("command docs GET set"))  # fmt: skip
    yield script("RESET", SETS_K, "RESET", "GET k", "MULTI", "GET k", "RESET", "EXEC", "WATCH k",
                 "RESET", second("SET k w"), "MULTI", "GET k", "EXEC", "CLIENT SETNAME x", "RESET",
                 "CLIENT GETNAME")  # fmt: skip
    for name, line in {"QUIT": "QUIT", "quit": "quit", "QUIT with words": "QUIT a b"}.items():
        yield script(name, Raw(one(line).data + one("PING").data, -1))
    yield script("QUIT behind others", Raw(
        b"".join(one(line).data for line in ("SET k v", "GET k", "QUIT", "DEL k")), -1,
    ), second("GET k"))  # fmt: skip
    yield script(
        "QUIT within MULTI", "MULTI", "SET k v", Raw(one("QUIT").data, -1), second("GET k")
    )


def hello() -> Iterator[Script]:
    for line in (
        "HELLO", "HELLO 2", "HELLO 3", "hello 3", "HELLO 3 SETNAME me", "HELLO 2 setname me",
        "HELLO 3 AUTH default x", "HELLO 3 AUTH default x SETNAME me",
    ):  # fmt: skip
        # What it is called, and when it was made, is the server's.
        yield script(line, kind(line), "GET none", "CLIENT GETNAME", "MGET a b")
    yield script("HELLO there and back", kind("HELLO 3"), "GET k", kind("HELLO 2"), "GET k",
                 kind("HELLO"), "GET k")  # fmt: skip
    for line in (
        "HELLO 1", "HELLO 4", "HELLO 0", "HELLO -1", "HELLO abc", "HELLO 3 foo", "HELLO 3 AUTH",
        "HELLO 3 AUTH a", "HELLO 3 SETNAME", "HELLO 3 AUTH a b foo", "HELLO 2 SETNAME a SETNAME",
        "HELLO 9 foo", "HELLO AUTH default x", "HELLO 3 AUTH nobody x", "HELLO 2 AUTH nobody x",
        "HELLO 3 SETNAME a AUTH nobody x", "HELLO 4 AUTH default x", "HELLO 3.0", "HELLO 03",
    ):  # fmt: skip
        yield script(line, line, "GET none", "CLIENT GETNAME")
    yield script("HELLO with a name that is none", ("HELLO", "3", "SETNAME", "a b"), "GET none",
                 "CLIENT GETNAME")  # fmt: skip
    yield script("HELLO within MULTI", "MULTI", "HELLO 9", kind("EXEC"), "GET none")
    yield script("RESET speaks RESP2 again", kind("HELLO 3"), "GET none", "RESET", "GET none")


# ---- Transactions --------------------------------------------------------------------------------


def transactions() -> Iterator[Script]:
    yield script("MULTI and EXEC", "MULTI", "SET k 1", "INCR k", "GET k", "MGET k none", "EXEC",
                 "GET k")  # fmt: skip
    for name, lines in {
        "EXEC alone": ["EXEC"],
        "DISCARD alone": ["DISCARD"],
        "UNWATCH alone": ["UNWATCH"],
        "nothing queued": ["MULTI", "EXEC", "EXEC"],
        "nothing queued, discarded": ["MULTI", "DISCARD", "DISCARD"],
        "MULTI within MULTI": ["MULTI", "SET k 1", "MULTI", "SET k 2", "EXEC", "GET k"],
        "WATCH within MULTI": ["MULTI", "WATCH k", "SET k 2", "EXEC", "GET k"],
        "WATCH of nothing within MULTI": ["MULTI", "WATCH", "SET k 2", "EXEC", "GET k"],
        "UNWATCH within MULTI": ["MULTI", "UNWATCH", "SET k 2", "EXEC", "GET k"],
        "discarded": ["SET k 1", "MULTI", "SET k 2", "DISCARD", "GET k", "EXEC"],
        "unknown": ["MULTI", "SET k 1", "NONSENSE a", "SET k 2", "EXEC", "GET k", "EXEC"],
        "wrong arity": ["MULTI", "SET k 1", "GET", "SET k 2", "EXEC", "GET k", "EXEC"],
        "unknown, discarded": ["MULTI", "NONSENSE", "DISCARD", "MULTI", "SET k 2", "EXEC", "GET k"],
        "unknown subcommand": ["MULTI", "CLIENT NONSENSE", "SET k 2", "EXEC", "GET k"],
        "an error in the middle": ["SET s abc", "MULTI", "SET k 1", "INCR s", "INCR k", "EXEC",
                                   "MGET s k"],
        "syntax errors are of the time of EXEC": ["MULTI", "SET k 1 foo", "SET k 2", "MSET a",
                                                  "EXPIRE k abc", "GETEX k foo", "SELECT abc",
                                                  "MSET a 1 b", "SCAN abc", "HELLO 9", "EXEC",
                                                  "GET k"],
        "arity, EXEC with words": ["MULTI", "SET k 1", "EXEC now", "EXEC", "GET k"],
        "arity, DISCARD with words": ["MULTI", "SET k 1", "DISCARD now", "EXEC", "GET k"],
        "arity, MULTI with words": ["MULTI now", "SET k 1", "EXEC"],
        "all that is no key's": ["MULTI", "PING", "PING x", "ECHO x", "SELECT 0", "DBSIZE",
                                 "CLIENT SETNAME me", "CLIENT GETNAME", "FLUSHALL", "DBSIZE",
                                 "EXEC"],
        "every verb": ["MULTI", "SET k 1", "SETNX k 2", "SETEX a 100 1", "PSETEX b 100000 1",
                       "GETSET k 5", "GETDEL b", "GETEX a PERSIST", "MGET k a b", "MSET c 1 d 2",
                       "MSETNX c 1 e 2", "APPEND k 0", "STRLEN k", "GETRANGE k 0 0",
                       "SETRANGE k 1 9", "INCR k", "DECR k", "INCRBY k 5", "DECRBY k 5",
                       "INCRBYFLOAT k 1.5", "DEL a none", "UNLINK d", "EXISTS c c d", "TOUCH c d",
                       "TYPE c", "TYPE d", f"EXPIREAT c {FUTURE}", f"PEXPIREAT k {FUTURE_MS}",
                       "EXPIRETIME c", "PEXPIRETIME k", "PERSIST c", "TTL c", "PTTL none",
                       "RENAME c f", "RENAME none f", "RENAME f f", "EXPIRE f 0", "PEXPIRE f 5",
                       "DBSIZE", "EXEC", "MGET k a b c d e f"],
        "FLUSHALL in the middle": ["SET k 1", "MULTI", "SET a 1", "FLUSHALL", "GET k", "GET a",
                                   "SET b 2", "DBSIZE", "EXEC", "KEYS *"],
        "DBSIZE sees what is written before": ["MULTI", "SET k 1", "DBSIZE", "DEL k", "DBSIZE",
                                               "EXEC"],
        "what lists keys": ["MULTI", "SET k 1", "KEYS *", "RANDOMKEY", "SCAN 0", "EXEC",
                            "EXISTS k"],
        "two after each other": ["MULTI", "INCR k", "EXEC", "MULTI", "INCR k", "INCR k", "EXEC"],
        "quoted words": ["MULTI", "SET k v EX 100 NX GET", "SET k w XX GET", "SET k x NX", "EXEC"],
        "lower case": ["multi", "set k v", "exec", "get k"],
        "RESET in the middle": ["MULTI", "SET k 1", "RESET", "EXEC", "GET k"],
        "AUTH in the middle": ["MULTI", "AUTH a b", "EXEC"],
    }.items():  # fmt: skip
        yield script(f"transaction: {name}", *lines)
    yield script("what is queued is of the time of EXEC", SETS_K, "MULTI", "GET k",
                 second("SET k other"), "EXEC", second("MULTI", "GET k"), "SET k last",
                 second("EXEC"))  # fmt: skip
    yield script("what is queued is not done", "MULTI", "SET k 1", second("GET k", "SET k 2"),
                 "EXEC", second("GET k"))  # fmt: skip
    yield script("who leaves has done nothing", "MULTI", "SET k 1", Raw(one("QUIT").data, -1),
                 second("GET k"))  # fmt: skip
    yield script("300 in one", "MULTI", *["INCR k"] * 300, "EXEC", "GET k")
    yield script("expiry within a transaction", "MULTI", f"SET k v EXAT {FUTURE}", "PEXPIRETIME k",
                 "SET k w KEEPTTL", "PEXPIRETIME k", "SET k x", "PEXPIRETIME k",
                 "EXEC")  # fmt: skip


#: What another does to k meanwhile, where k is "10"; some of it changes nothing.
MEANWHILE = (
    "GET k", "SET k w", "SET k 10", "SETNX k w", "SET k w NX", "SET k w XX", "SET k w GET",
    "SETEX k 100 w", "PSETEX k 100000 w", "GETSET k w", "GETDEL k", "GETEX k", "GETEX k EX 100",
    "GETEX k PERSIST", "MSET k w", "MSET a 1 b 2", "MSETNX k w", "MSETNX a 1 k w", "APPEND k w",
    "STRLEN k", "GETRANGE k 0 0", "SETRANGE k 0 w", "SETRANGE k 0 10", "INCR k", "DECR k",
    "INCRBY k 0", "INCRBYFLOAT k 1", "INCRBYFLOAT k abc", "INCRBY k abc", "DEL k", "UNLINK k",
    "DEL none", "EXISTS k", "TOUCH k", "TYPE k", "EXPIRE k 100", "EXPIRE k 100 XX", "EXPIRE k 0",
    "PEXPIRE k 100000", "EXPIREAT k 4102444800", "PEXPIREAT k 4102444800000", "PERSIST k", "TTL k",
    "RENAME k a", "RENAME k k", "RENAME none k", "RENAME a k", "KEYS *", "SCAN 0", "FLUSHALL",
    "FLUSHDB", "SET other w", "DBSIZE", "SET k w foo", "MULTI",
)  # fmt: skip


def watches() -> Iterator[Script]:
    then = ("MULTI", "SET mine 1", "EXEC", "GET mine")
    there = {
        "nothing there": (),
        "k there": ("SET k 10",),
        "k there for a while": (f"SET k 10 EXAT {FUTURE}",),
    }
    for (state, before), line in product(there.items(), MEANWHILE):
        # Those who only look have an order or a cursor of their own.
        meanwhile = kind(line) if line in ("KEYS *", "SCAN 0", "TTL k") else one(line)
        yield script(f"WATCH, then another's {line}: {state}", *before, "SET a 5", "WATCH k",
                     second(meanwhile), *then)  # fmt: skip
    for name, lines in {
        "its own": ["WATCH k", "SET k w", "MULTI", "GET k", "EXEC"],
        "its own, of a key that is not there": ["WATCH a", "SET a w", "MULTI", "GET a", "EXEC"],
        "within MULTI": ["WATCH k", "MULTI", "SET k w", "GET k", "EXEC", "GET k"],
        "twice": ["WATCH k", "WATCH k", "MULTI", "GET k", "EXEC"],
        "of many": ["WATCH k a b c", "MULTI", "GET k", "EXEC"],
        "the same twice": ["WATCH k k k", "MULTI", "GET k", "EXEC"],
        "EXEC unwatches": ["WATCH k", "MULTI", "EXEC", "SET k w", "MULTI", "GET k", "EXEC"],
        "EXEC that fails unwatches": ["WATCH k", "SET k w", "MULTI", "EXEC", "MULTI", "GET k",
                                      "EXEC"],
        "DISCARD unwatches": ["WATCH k", "MULTI", "DISCARD", "SET k w", "MULTI", "GET k", "EXEC"],
        "UNWATCH unwatches": ["WATCH k", "SET k w", "UNWATCH", "MULTI", "GET k", "EXEC"],
        "UNWATCH within MULTI does not": ["WATCH k", "SET k w", "MULTI", "UNWATCH", "GET k",
                                      "EXEC"],
        "EXECABORT unwatches": ["WATCH k", "SET k w", "MULTI", "NONSENSE", "EXEC", "MULTI", "GET k",
                                "EXEC"],
        "of both reasons, the error": ["WATCH k", "SET k w", "MULTI", "NONSENSE", "EXEC"],
        "WATCH after the change": ["SET k w", "WATCH k", "MULTI", "GET k", "EXEC"],
        "WATCH again does not mend": ["WATCH k", "SET k w", "WATCH k", "MULTI", "GET k", "EXEC"],
        "set and removed again": ["WATCH a", "SET a 1", "DEL a", "MULTI", "GET k", "EXEC"],
        "removed and set again": ["WATCH k", "DEL k", "SET k v", "MULTI", "GET k", "EXEC"],
        "a failed watch": ["WATCH", "MULTI", "GET k", "EXEC"],
    }.items():  # fmt: skip
        yield script(f"WATCH: {name}", SETS_K, *lines)
    yield script("WATCH, and another's transaction", SETS_K, "WATCH k",
                 second("MULTI", "SET k w", "EXEC"), *then)  # fmt: skip
    yield script("WATCH, and another's discarded one", SETS_K, "WATCH k",
                 second("MULTI", "SET k w", "DISCARD"), *then)  # fmt: skip
    yield script("WATCH, broken behind MULTI", SETS_K, "WATCH k", "MULTI", "SET mine 1",
                 second("SET k w"), "EXEC", "GET mine")  # fmt: skip
    yield script("WATCH by two, one wins", SETS_K, "WATCH k", second("WATCH k"), "MULTI", "INCR n",
                 "SET k w", second("MULTI", "INCR n", "SET k x"), "EXEC", second("EXEC"),
                 "MGET k n")  # fmt: skip
    yield script("WATCH of what expires", "SET k v PX 40", "WATCH k", Pause(0.08), *then)
    yield script("WATCH of what expires, and is looked at", "SET k v PX 40", "WATCH k", Pause(0.08),
                 second("GET k"), *then)  # fmt: skip
    yield script("WATCH of what has expired", "SET k v PX 40", Pause(0.08), "WATCH k", *then)
    yield script("WATCH of what is to expire later", "SET k v EX 1000", "WATCH k", *then)
    yield script("WATCH of what has expired and is set anew", "SET k v PX 40", Pause(0.08),
                 "WATCH k", second("SET k w"), *then)  # fmt: skip
    yield script("WATCH, and the other is flushed", SETS_K, "WATCH none", second("FLUSHALL"), *then)
    yield script("WATCH of many, the last broken", "MSET a 1 b 2 c 3", "WATCH a b c",
                 second("INCR c"), *then)  # fmt: skip
    yield script("WATCH, one of two undone", SETS_K, "WATCH k", "UNWATCH", "WATCH a",
                 second("SET k w"), *then)  # fmt: skip


# ---- The wire ------------------------------------------------------------------------------------

#: Behind which the server closes, as the place in the stream is lost.
BROKEN = {
    "count: letters": b"*abc\r\n",
    "count: 1x": b"*1x\r\n",
    "count: +1": b"*+1\r\n$4\r\nPING\r\n",
    "count: a space and 1": b"* 1\r\n$4\r\nPING\r\n",
    "count: 01": b"*01\r\n$4\r\nPING\r\n",
    "count: 1.5": b"*1.5\r\n",
    "count: nothing": b"*\r\n",
    "count: 2^31": b"*2147483648\r\n",
    "count: 2^63": b"*9223372036854775808\r\n",
    "count: -2^63 - 1": b"*-9223372036854775809\r\n",
    "count: twenty nines": b"*" + b"9" * 20 + b"\r\n",
    "length: letters": b"*1\r\n$abc\r\n",
    "length: -1": b"*2\r\n$3\r\nGET\r\n$-1\r\n",
    "length: -5": b"*1\r\n$-5\r\n",
    "length: nothing": b"*1\r\n$\r\n",
    "length: +4": b"*1\r\n$+4\r\nPING\r\n",
    "length: 04": b"*1\r\n$04\r\nPING\r\n",
    "length: a space and 4": b"*1\r\n$ 4\r\nPING\r\n",
    "length: above 512 MB": b"*1\r\n$536870913\r\n",
    "length: 2^31 - 1": b"*2\r\n$3\r\nGET\r\n$2147483647\r\n",
    "length: 2^63": b"*1\r\n$9223372036854775808\r\n",
    "no dollar": b"*1\r\nPING\r\n",
    "no dollar but an integer": b"*1\r\n:1\r\n",
    "no dollar but an array": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "no dollar but nothing": b"*1\r\n\r\n",
    "no dollar but a line end": b"*1\r\n\n\r\n",
    "no dollar in the second word": b"*2\r\n$3\r\nGET\r\nk\r\n",
    "an endless count": b"*" + b"1" * (70 << 10),
    "an endless length": b"*1\r\n$" + b"1" * (70 << 10),
    "an endless inline command": b"GET " + b"k" * (70 << 10),
    "unbalanced double quotes": b'GET "k\r\n',
    "unbalanced single quotes": b"GET 'k\r\n",
    "letters behind a quote": b'GET "k"x\r\n',
    "letters behind a single quote": b"GET 'k'x\r\n",
    "a quote that is escaped": b'GET "k\\"\r\n',
    "POST": b"POST / HTTP/1.1\r\n",
    "post": b"post /\r\n",
    "Host:": b"Host: localhost\r\n",
    "HTTP": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nSET k no\n",
}

#: Lines that are commands, and how many replies come.
INLINE: dict[str, tuple[bytes, int]] = {
    "PING": (b"PING\r\n", 1),
    "a bare line end": (b"PING\n", 1),
    "blank lines": (b"\r\n\n\r\nPING\r\n", 1),
    "spaces only": (b"   \r\nPING\r\n", 1),
    "spaces around": (b"  SET   k    v   \r\nGET k\r\n", 2),
    "tabs": (b"SET\tk\tv\r\nGET\tk\r\n", 2),
    "double quotes": (b'SET k "a b"\r\nGET k\r\n', 2),
    "single quotes": (b"SET k 'a b'\r\nGET k\r\n", 2),
    "escapes": (b'SET k "\\x41\\n\\r\\t\\b\\a\\\\\\"\\q\\x4"\r\nGET k\r\n', 2),
    "escapes in single quotes": (b"SET k 'it\\'s \\n \\x41'\r\nGET k\r\n", 2),
    "empty quotes": (b"SET k \"\"\r\nGET k\r\nSET k ''\r\nGET k\r\n", 4),
    "quotes in the middle": (b'SET k a"b"\r\nGET k\r\n', 2),
    "a quoted name": (b'"PING"\r\n', 1),
    "binary in quotes": (b'SET k "\\x00\\xff\\x0d\\x0a"\r\nGET k\r\n', 2),
    "not UTF-8": (b"SET k \xff\xfe\r\nGET k\r\n", 2),
    "several carriage returns": (b"PING\r\r\n", 1),
    "a carriage return in the middle": (b"SET k a\rb\r\nGET k\r\n", 2),
    "lower case": (b"set k v\r\nget k\r\n", 2),
    "unknown": (b"hello world\r\n", 1),
    "too few": (b"GET\r\n", 1),
    "HTTP's GET": (b"GET / HTTP/1.1\r\n", 1),
    "mixed with arrays": (b"PING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nECHO x\r\n", 3),
    "a transaction": (b"MULTI\r\nSET k v\r\nEXEC\r\n", 3),
    "of 60,000 bytes": (b"ECHO " + b"x" * 60000 + b"\r\n", 1),
    "memcached's set": (b"set k 0 0 1\r\nPING\r\n", 2),
    "a dollar": (b"$5\r\nPING\r\n", 2),
    "a colon": (b":5\r\nPING\r\n", 2),
    "a plus": (b"+OK\r\nPING\r\n", 2),
    "a quote at the end": (b"SET k v'\r\nGET k\r\n", 0),
}
#: Odd, and well all the same.
TOLERATED: dict[str, tuple[bytes, int]] = {
    "a count of 0": (b"*0\r\n*1\r\n$4\r\nPING\r\n", 1),
    "a count of -1": (b"*-1\r\n*1\r\n$4\r\nPING\r\n", 1),
    "a count of -5": (b"*-5\r\n*1\r\n$4\r\nPING\r\n", 1),
    "a count of -10^9": (b"*-1000000000\r\n*1\r\n$4\r\nPING\r\n", 1),
    "an empty word": (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", 1),
    "an empty command": (b"*1\r\n$0\r\n\r\n", 1),
    "line ends between requests": (b"\r\n\r\n*1\r\n$4\r\nPING\r\n\r\n", 1),
    "other bytes for a word's line end": (b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", 2),
}


def wire() -> Iterator[Script]:
    for name, data in BROKEN.items():
        yield script(f"broken: {name}", SETS_K, Raw(data, -1), second("GET k"))
    for name in ("length: -5", "no dollar", "count: letters", "unbalanced double quotes"):
        before = one("SET a 1").data + one("GET a").data
        behind = one("SET k no").data
        yield script(f"behind others, broken: {name}", SETS_K,
                     Raw(before + BROKEN[name] + behind, -1),
                     second("GET k"))  # fmt: skip
        yield script(f"within MULTI, broken: {name}", SETS_K, "MULTI", "SET k no",
                     Raw(BROKEN[name] + behind, -1), second("GET k"))  # fmt: skip
    for name, (data, replies) in INLINE.items():
        yield script(f"inline: {name}", Raw(data, replies or -1))
    for name, (data, replies) in TOLERATED.items():
        yield script(f"tolerated: {name}", Raw(data, replies))
    # Redis waits for the rest.
    yield script("a count of 10^9", SETS_K,
                 Raw(b"*1000000000\r\n$3\r\nGET\r\n$1\r\nk\r\n", -1, patience=2.0))  # fmt: skip
    whole = command("SET", "k", "v" * 100)
    for end in (1, 3, 4, 8, 10, 20, 30, 100, len(whole) - 2, len(whole) - 1):
        yield Script(f"cut off at {end}", (Raw(whole[:end], 0),), cut_off=True)
    # Redis, which looks for the line end as C does, sees none behind the NUL, and waits for it.
    yield Script("no dollar but a NUL, cut off", (Raw(b"*1\r\n\0\r\n", 0),), cut_off=True)
    yield Script("inline, cut off", (Raw(b"SET k v", 0),), cut_off=True)
    yield Script("cut off within MULTI", (Raw(b"MULTI\r\nSET k v\r\n", 2),), cut_off=True)


# ---- What mctwist does not have ------------------------------------------------------------------

NOT_HERE = {
    "list": ("LPUSH", "k", "v"),
    "hash": ("HSET", "k", "f", "v"),
    "set": ("SADD", "k", "v"),
    "sorted set": ("ZADD", "k", "1", "v"),
    "stream": ("XADD", "k", "*", "f", "v"),
    "bits": ("SETBIT", "k", "7", "1"),
    "script": ("EVAL", "return 1", "0"),
    "subscription": ("SUBSCRIBE", "c"),
    "publication": ("PUBLISH", "c", "m"),
    "hyperloglog": ("PFADD", "k", "v"),
    "copy": ("COPY", "k", "l"),
    "object": ("OBJECT", "ENCODING", "k"),
    "shutdown of a server": ("SHUTDOWN", "NOW", "FORCE", "ABORT"),
}


def not_here() -> Iterator[Script]:
    for name, words in NOT_HERE.items():
        if words[0] not in ("SHUTDOWN", "SUBSCRIBE"):
            yield script(f"not here: {name}", words, "PING")
    yield script("not here: CONFIG SET", "CONFIG SET maxmemory 0", "PING")
    yield script("not here: CLIENT KILL", "CLIENT KILL ID 0", "PING")


# ---- Before and after the login ------------------------------------------------------------------

#: Of these servers the users are ann, who may all, and reader, who may read what begins with app:.
ANN, READER = "AUTH ann secret", "AUTH reader word"


def logins() -> Iterator[Script]:
    for line in (
        "GET k", "PING", "SET k v", "ECHO x", "MULTI", "EXEC", "WATCH k", "INFO", "COMMAND COUNT",
        "CLIENT ID", "CLIENT SETNAME x", "SELECT 0", "FLUSHALL", "NONSENSE a", "GET", "HELLO",
        "HELLO 2",
        "HELLO 3", "HELLO 9", "HELLO 3 SETNAME x", "HELLO 3 foo", "RESET", "AUTH", "AUTH a b c",
        "CONFIG GET x", "DBSIZE", "TIME", "CLIENT NONSENSE",
    ):  # fmt: skip
        yield script(f"before the login: {line}", line, ANN, "SET app:k v", "GET app:k")
    yield script("before the login: QUIT", Raw(one("QUIT").data, -1))
    yield script("before the login: many words", Raw(b"*11\r\n", -1))
    yield script("before the login: ten words", Raw(command("MGET", *"abcdefghi"), 1))
    yield script("before the login: a long word", Raw(b"*2\r\n$3\r\nGET\r\n$16385\r\n", -1))
    yield script("before the login: a word that may be", ("GET", "k" * 200), ("ECHO", "x" * 16384))
    yield script("before the login: inline", Raw(b"GET k\r\nPING\r\n", 2))
    for line in (
        "AUTH ann wrong", "AUTH nobody secret", "HELLO 3 AUTH ann wrong", "HELLO 2 AUTH nobody x",
        "AUTH secret",
    ):  # fmt: skip
        yield script(f"no login: {line}", line, "GET app:k", "HELLO 3")
    yield script("login", ANN, "PING", "SET app:k v", "GET app:k", "AUTH ann wrong", "GET app:k",
                 READER, "GET app:k", ANN, "DEL app:k")  # fmt: skip
    yield script("login by HELLO", kind("HELLO 3 AUTH ann secret SETNAME x"), "GET none",
                 "CLIENT GETNAME", kind("HELLO 2"), "GET none")  # fmt: skip
    yield script("login by HELLO 2", kind("HELLO 2 AUTH ann secret"), "GET none")
    yield script("RESET forgets who it was", ANN, "GET none", "RESET", "GET none")
    yield script("commands behind the login in one write", ANN, *["INCR app:n"] * 20, "DEL app:n")
    yield script("a failed login behind one that was none", "AUTH ann wrong", ANN, "PING")
    for line in (
        "GET app:k", "GET other", "SET app:k w", "SET other w", "MGET app:k app:l",
        "MGET app:k other",
        "MSET app:k 1 other 2", "DEL app:k", "DEL app:k other", "EXISTS app:k",
        "EXISTS app:k other",
        "RENAME app:k app:l", "RENAME app:k other", "INCR app:n", "EXPIRE app:k 100", "TTL app:k",
        "TTL other", "STRLEN other", "GETEX app:k EX 100", "GETDEL app:k", "FLUSHALL", "FLUSHDB",
        "WATCH other", "WATCH app:k", "TYPE other", "GETRANGE other 0 1", "APPEND app:k x",
        "MSETNX app:k 1 other 2", "UNLINK other", "TOUCH other", "PERSIST app:k", "GETSET app:k w",
        "SETRANGE app:k 0 w", "PSETEX app:k 1000 w", "PEXPIREAT app:k 1", "INCRBYFLOAT app:n 1",
    ):  # fmt: skip
        yield script(f"rights: {line}", ANN, "SET app:k v", READER, One(one(line).data, How.CODE),
                     ANN,
                     "MGET app:k app:l app:n other", "DEL app:k")  # fmt: skip
    yield script("rights within MULTI", ANN, "SET app:k v", READER, "MULTI", "GET app:k",
                 One(one("SET app:k w").data, How.CODE), One(one("EXEC").data, How.CODE),
                 ANN, "GET app:k", "DEL app:k")  # fmt: skip
    yield script("login within MULTI", "MULTI", ANN, "MULTI", ANN, "GET none", READER, "EXEC")


#: What differs in words and numbers only: in RESP3 the others show how such replies look there.
WORDS_ONLY: tuple[Script, ...] = (*arity(), *numbers())
OTHERS: tuple[Script, ...] = (
    *names(), *arithmetic(), *sets(), *getex(), *expiry(), *many(), *too_long(), *ranges(), *keys(),
    *connection(), *hello(), *transactions(), *watches(), *wire(), *not_here(),
)  # fmt: skip
SCRIPTS = WORDS_ONLY + OTHERS
LOGINS = tuple(logins())


# ---- The differences -----------------------------------------------------------------------------


class Because(Enum):
    """Why mctwist answers otherwise."""

    KEY = "a key has 1 to 250 bytes, in every dialect, for memcached's clients share them all"
    SIZE = "a value has --max-item-size bytes at most, 1 MB unless it is told otherwise"
    ONE_DATABASE = "there is one database, 0, which is memcached's too"
    NOT_HERE = "of Redis's types there are strings only: the others are unknown commands"
    NEWER = "is newer than 7.0: held against the documentation of 7.2"
    ANNOUNCED = "a count that no request can have is refused, and not waited for"
    BROWSER = "a page must not make a browser run commands, by GET no more than by POST"
    LOOKED_FOR = "what has to be looked for, or asked about, cannot be part of a transaction"
    STATES = "WATCH compares the states at its time and at EXEC's, not what was between them"
    PADDED = "memcached pads what a decr has shortened with spaces, which do not count"


@frozen
class Difference:
    """
    :ivar ours: by the number of the reply in the script, from 0: what mctwist must answer, a
        pattern of the whole reply, or of how a connection ends.
    """

    reason: Because
    ours: Mapping[int, bytes]


def any_of(reason: Because, ours: Mapping[int, bytes], *names: str) -> dict[str, Difference]:
    return {name: Difference(reason, ours) for name in names}


ERROR = rb"-ERR [^\r\n]+\r\n"
SUBCOMMAND = rb"-ERR unknown subcommand '%b'\. Try %b HELP\.\r\n"
NO_DATABASE = rb"-ERR DB index is out of range\r\n"
OK = rb"\+OK\r\n"
NOT_CONTAINED = (
    rb"-ERR %b cannot contain spaces, newlines or special characters\.\r\n"  # networking.c of 7.2
)


NOT_IN_MULTI = rb"-ERR Command not allowed inside a transaction\r\n"
ABORTED = rb"-EXECABORT Transaction discarded because of previous errors\.\r\n"
TOO_LARGE = rb"-ERR string exceeds maximum allowed size \(--max-item-size\)\r\n"
FAR = ("2^31 - 1", "2^31", "2^32", "2^63 - 1")


def unknown(*words: str) -> bytes:
    shown = " ".join(f"'{word}'" for word in words[1:])
    return re.escape(
        f"-ERR unknown command '{words[0]}', with args beginning with: {shown} ".encode()
    )


EXCEPTIONS: dict[str, Difference] = {
    **any_of(Because.KEY, {1: ERROR, 3: rb":1\r\n"},
             *(f"a key of 251 bytes: {verb}" for verb in LONG_REQUESTS)),
    **any_of(Because.KEY, {0: ERROR}, "an empty key: SET", "an empty key: GET",
             "tolerated: an empty word"),
    "a value of 1 MiB": Difference(Because.SIZE, {1: ERROR, 2: rb":1\r\n"}),
    "MSET with a value of 1 MiB": Difference(Because.SIZE, {1: ERROR, 2: rb":1\r\n"}),
    "APPEND to more than 1 MiB": Difference(Because.SIZE, {1: ERROR, 2: rb":614400\r\n"}),
    "SETRANGE to more than 1 MiB": Difference(Because.SIZE, {1: ERROR, 2: rb":1\r\n"}),
    **any_of(Because.SIZE, {1: TOO_LARGE}, *(f"SETRANGE: {name}" for name in FAR),
             *(f"SETRANGE at {offset}" for offset in (536870911, 536870912, MOST - 1))),
    **any_of(Because.SIZE, {0: TOO_LARGE},
             *(f"SETRANGE: {name}, with nothing there" for name in FAR)),
    **any_of(Because.LOOKED_FOR, {1: NOT_IN_MULTI, 2: ABORTED}, "HELLO within MULTI",
             "transaction: AUTH in the middle"),
    "transaction: syntax errors are of the time of EXEC": Difference(
        Because.LOOKED_FOR, {8: NOT_IN_MULTI, 9: NOT_IN_MULTI}),
    "transaction: what lists keys": Difference(
        Because.LOOKED_FOR,
        {**dict.fromkeys((2, 3, 4), NOT_IN_MULTI), 5: ABORTED, 6: rb":0\r\n"}),
    "login within MULTI": Difference(
        Because.LOOKED_FOR, {3: NOT_IN_MULTI, 5: NOT_IN_MULTI, 6: ABORTED}),
    "WATCH: set and removed again": Difference(
        Because.STATES, {6: rb"\*1\r\n\$1\r\nv\r\n"}),
    "inline: HTTP's GET": Difference(Because.BROWSER, {0: b"closed", 1: b"closed"}),
    **any_of(Because.ONE_DATABASE, {0: NO_DATABASE}, "SELECT 1", "SELECT 15"),
    **{
        f"not here: {name}": Difference(Because.NOT_HERE, {0: unknown(*words) + rb"\r\n"})
        for name, words in NOT_HERE.items()
        if words[0] not in ("SHUTDOWN", "SUBSCRIBE")
    },
    "not here: CONFIG SET": Difference(Because.NOT_HERE, {0: SUBCOMMAND % (b"SET", b"CONFIG")}),
    "not here: CLIENT KILL": Difference(Because.NOT_HERE, {0: SUBCOMMAND % (b"KILL", b"CLIENT")}),
    "a count of 10^9": Difference(
        Because.ANNOUNCED, {1: rb"-ERR Protocol error: invalid multibulk length\r\n", 2: b"closed"}
    ),
    **any_of(Because.NEWER, {0: OK},
             "CLIENT SETINFO ('LIB-NAME', 'redis-py')", "CLIENT SETINFO ('LIB-VER', '1.2.3')",
             "CLIENT SETINFO ('lib-name', 'x')", "CLIENT SETINFO ('LIB-NAME', '')",
             "CLIENT SETINFO ('LIB-NAME', 'redis-py(django_v1;x)')"),
    **any_of(Because.NEWER, {0: NOT_CONTAINED % b"[Ll][Ii][Bb]-[Nn][Aa][Mm][Ee]"},
             "CLIENT SETINFO ('LIB-NAME', 'a b')", "CLIENT SETINFO ('LIB-NAME', 'a\\nb')"),
    "CLIENT SETINFO ('LIB-VER', 'a b')": Difference(
        Because.NEWER, {0: NOT_CONTAINED % b"[Ll][Ii][Bb]-[Vv][Ee][Rr]"}),
    "CLIENT SETINFO ('NONSENSE', 'x')": Difference(
        Because.NEWER, {0: rb"-ERR Unrecognized option 'NONSENSE'\r\n"}),
    **any_of(Because.NEWER,
             {0: rb"-ERR wrong number of arguments for 'client\|setinfo' command\r\n"},
             "CLIENT SETINFO ()", "CLIENT SETINFO ('LIB-NAME',)",
             "CLIENT SETINFO ('LIB-NAME', 'a', 'b')"),
    "float 51: '1 ' + '1'": Difference(
        Because.PADDED, {1: rb"\$1\r\n2\r\n", 2: rb"\$1\r\n2\r\n"}),
    **any_of(Because.PADDED, {1: rb":11\r\n", 2: rb"\$2\r\n11\r\n"}, "INCR of '10 '",
             "INCR of '10  '"),
    **any_of(Because.PADDED, {1: rb":9\r\n", 2: rb"\$1\r\n9\r\n"}, "DECR of '10 '",
             "DECR of '10  '"),
}  # fmt: skip
