"""The corpus: what a client may send in the classic text protocol, right and wrong.

A `Script` says only what is sent, never what should come back: the real memcached says that
(test_differential.py asks it, and mctwist, and compares). So a script needs no proof of its own,
and a new one costs one line.

The one rule: the answer to a script depends on nothing but its bytes. Hence no clock (dates are far
in the past or the future; one script waits), and none of memcached's own accidents of pipelining,
in which the answer hangs on whether an earlier one has already left:
- inside an unfinished or swallowed data block it sends no answers (memcached.c:3143-3271), so no
  script stops there with answers owed;
- an over-long key in a retrieval, and a hang-up, drop the answers still owed (proto_text.c:411-427,
  363-391, 1653-1661), so these come in a dialogue;
- a decr behind an unsent get of the same key shortens the value instead of padding it, as the
  answer still holds the old item (memcached.c:2295-2318), so a get comes behind, never before.

`EXCEPTIONS` is the other half. mctwist follows the source of memcached 1.6.45; the reference is
Debian's 1.6.18. Where the two differ, the line of 1.6.45 that settles it is named, with the answer
mctwist must give, taken from a 1.6.45 built from that source. In one thing 1.6.18 is right instead:
behind the error of an over-long key in a retrieval, 1.6.45 sends an empty line, because the text
that it rescues ends in a line end already (proto_text.c:417-426). No client could stay in step.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Union

from attrs import evolve, frozen


@frozen
class Second:
    """Bytes for a second connection to the same server."""

    data: bytes


@frozen
class Pause:
    """Waits, for what only the passing of time can show."""

    seconds: float


Send = Union[bytes, Second, Pause]


class Ending(Enum):
    """What follows the last send, and so what the end of an answer proves."""

    IN_STEP = "a marker command, then the client's half-close: commands are still understood"
    HALF_CLOSE = "the client's half-close alone: for what stops in the middle of a command"
    HANG_UP = "nothing: the server has to close by itself"


@frozen
class Script:
    """What is sent to one server, in order.

    Every send but the last is followed by a marker command, and its answers are read up to the
    marker's before the next leaves. `{cas:key}` in a send stands for the CAS unique that the server
    last gave for that key. Where the last connection ends without a marker, a new one asks for
    `AFTERWARDS`. `whole` scripts are about what comes in one write: sent byte by byte they mean
    something else.
    """

    name: str
    sends: tuple[Send, ...]
    ending: Ending = Ending.IN_STEP
    whole: bool = False


def pipeline(name: str, *lines: bytes) -> Script:
    """All at once, on one connection."""
    return Script(name, (b"".join(lines),))


def dialogue(name: str, *sends: Send) -> Script:
    """Each send waits for the answers to the one before."""
    return Script(name, sends)


def half_close(name: str, *sends: Send) -> Script:
    """The client stops in the middle."""
    return Script(name, sends, Ending.HALF_CLOSE)


def hang_up(name: str, *sends: Send) -> Script:
    """The server has to close the connection by itself."""
    return Script(name, sends, Ending.HANG_UP)


# Asked on a new connection: the server still serves, and what was cut off has changed nothing.
AFTERWARDS = b"get k a b\r\n"


def put(key: bytes, value: bytes, verb: bytes = b"set", tail: bytes = b"") -> bytes:
    """A right storage command, for values too long to be counted by eye."""
    return b"%b %b 0 0 %d%b\r\n%b\r\n" % (verb, key, len(value), tail, value)


KEY_250 = b"k" * 250
KEY_251 = b"k" * 251
# `exptime` above 30 days is a date (memcached.c:174-193); these three never come near to now.
PAST = b"1000000000"  # 2001
FUTURE = b"2147483647"  # 2038, and the largest that fits
MONTH = b"2592000"  # the largest that is still a delay
STORAGE = (b"set", b"add", b"replace", b"append", b"prepend")
# All six, with what follows the length: a cas has one number more.
STORAGE_AND_CAS = (*((verb, b"") for verb in STORAGE), (b"cas", b" 1"))
VERBS = (
    b"get", b"gets", b"gat", b"gats", b"set", b"add", b"replace", b"append", b"prepend", b"cas",
    b"delete", b"incr", b"decr", b"touch", b"flush_all", b"verbosity", b"version", b"quit",
    b"shutdown",
)  # fmt: skip


# ---- Lines: how they end, what separates their words, what is no command -------------------------

# A right line of every verb, for what is done to the line as such. k holds 10.
RIGHT = {
    b"get": b"get k",
    b"gets": b"gets k",
    b"gat": b"gat 0 k",
    b"gats": b"gats 0 k",
    b"delete": b"delete k",
    b"incr": b"incr k 5",
    b"decr": b"decr k 5",
    b"touch": b"touch k 0",
    b"flush_all": b"flush_all",
    b"verbosity": b"verbosity 0",
    b"version": b"version",
}
# The same for the storage verbs: the line, without its data block.
RIGHT_STORAGE = {
    verb: b"%b k 0 0 3%b" % (verb, tail) for verb, tail in STORAGE_AND_CAS
}  # fmt: skip
K_IS_10 = b"set k 0 0 2\r\n10\r\n"


def lines() -> Iterator[Script]:
    for verb, line in RIGHT.items():
        name = verb.decode()
        yield pipeline(f"{name}, bare newline", K_IS_10, line + b"\n")
        yield pipeline(f"{name}, leading space", K_IS_10, b" " + line + b"\r\n", b"get k\r\n")
        yield pipeline(f"{name}, trailing spaces", K_IS_10, line + b"   \r\n")
        yield pipeline(f"{name}, two carriage returns", K_IS_10, line + b"\r\r\n")
        yield pipeline(
            f"{name}, several spaces", K_IS_10, line.replace(b" ", b"    ") + b"\r\n", b"get k\r\n"
        )
        yield pipeline(
            f"{name}, tabs for spaces", K_IS_10, line.replace(b" ", b"\t") + b"\r\n", b"get k\r\n"
        )
        yield pipeline(f"{name}, upper case", K_IS_10, verb.upper() + line[len(verb) :] + b"\r\n")
        yield pipeline(f"{name}, capitalised", K_IS_10, line.capitalize() + b"\r\n")
        yield pipeline(f"{name}, one letter more", K_IS_10, verb + b"x k 0\r\n", b"get k\r\n")
        yield pipeline(f"{name}, one letter less", K_IS_10, verb[:-1] + b" k 0\r\n", b"get k\r\n")
    for verb, line in RIGHT_STORAGE.items():
        name = verb.decode()
        yield pipeline(f"{name}, bare newline", line + b"\nabc\r\n", b"get k\r\n")
        yield pipeline(f"{name}, leading space", b" " + line + b"\r\nabc\r\n", b"get k\r\n")
        yield pipeline(f"{name}, trailing spaces", line + b"   \r\nabc\r\n", b"get k\r\n")
        yield pipeline(
            f"{name}, several spaces", line.replace(b" ", b"   ") + b"\r\nabc\r\n", b"get k\r\n"
        )
        yield pipeline(
            f"{name}, tabs for spaces", line.replace(b" ", b"\t") + b"\r\nabc\r\n", b"get k\r\n"
        )
        yield pipeline(
            f"{name}, upper case", verb.upper() + line[len(verb) :] + b"\r\nabc\r\n", b"get k\r\n"
        )
    for name, line in {
        "blank": b"\r\n",
        "blank, bare newline": b"\n",
        "three blank": b"\r\n\r\n\r\n",
        "carriage returns only": b"\r\r\r\r\n",
        "one letter": b"x\r\n",
        "one letter, bare newline": b"x\n",
        "two letters": b"xy\r\n",
        "two letters, bare newline": b"xy\n",
        "three letters": b"xyz\r\n",
        "one space": b" \r\n",
        "two spaces": b"  \r\n",
        "ten spaces": b" " * 10 + b"\r\n",
        "one NUL": b"\0\r\n",
        "four NULs": b"\0\0\0\0\r\n",
        "control bytes": b"\x01\x02\x03\x1b[A\r\n",
        "not UTF-8": b"\xff\xfe\xfd\xfc\r\n",
        "a word": b"hello\r\n",
        "several words": b"hello world how are you\r\n",
        "forty words": b" ".join([b"word"] * 40) + b"\r\n",
        "a number": b"12345\r\n",
        "a quoted command": b'"get k"\r\n',
        "a storage line of an unknown verb": b"store k 0 0 5\r\nhello\r\n",
        "a line of 2,000 letters": b"x" * 2000 + b"\r\n",
        "bget, long forgotten": b"set k 0 0 1\r\nx\r\nbget k\r\n",
        "flush_all_": b"set k 0 0 1\r\nx\r\nflush_all_\r\nget k\r\n",
        "flushall": b"set k 0 0 1\r\nx\r\nflushall\r\nget k\r\n",
        "a colon behind the verb": b"set k 0 0 1\r\nx\r\nget: k\r\n",
        "NUL behind the verb": b"set k 0 0 1\r\nx\r\nget\0 k\r\n",
        "NUL behind a whole line": b"set k 0 0 1\r\nx\r\nget k\0\r\n",
        "NUL between lines": b"set k 0 0 1\r\nx\r\n\0get k\r\n",
        "carriage return before the verb": b"set k 0 0 1\r\nx\r\n\rget k\r\n",
        "thirty mixed line ends": b"get a\r\nget b\n" * 15,
    }.items():
        yield pipeline(name, line)


def arguments() -> Iterator[Script]:
    """Too few and too many."""
    for verb in VERBS:
        if verb not in (b"flush_all", b"version", b"quit", b"shutdown"):
            yield pipeline(f"{verb.decode()} alone", verb + b"\r\n")
    for line in (b"get ", b"gat 0", b"gats 0", b"incr k", b"decr k", b"touch k", b"touch k "):
        yield pipeline(f"too few: {line.decode()!r}", K_IS_10, line + b"\r\n", b"get k\r\n")
    for verb, tail in STORAGE_AND_CAS:
        for words in (b" k", b" k 0", b" k 0 0") + ((b" k 0 0 5",) if verb == b"cas" else ()):
            line = verb + words
            yield pipeline(f"too few: {line.decode()!r}", line + b"\r\nhello\r\n", b"get k\r\n")
        line = b"%b k 0 0 5%b" % (verb, tail)
        yield pipeline(f"too many: {line.decode()!r} + 1", line + b" 9\r\nhello\r\n", b"get k\r\n")
        yield pipeline(
            f"too many: {line.decode()!r} + 3", line + b" x y z\r\nhello\r\n", b"get k\r\n"
        )
    for line in (
        b"delete k 0", b"delete k 1", b"delete k x", b"delete k 0 0", b"delete k 0 noreply",
        b"delete k 1 noreply", b"delete k a b c d", b"incr k 5 6", b"decr k 5 6", b"incr k 5 6 7",
        b"touch k 0 5", b"touch k 0 5 6", b"flush_all 0 0", b"flush_all 0 0 0", b"verbosity 0 1",
        b"verbosity 0 1 2", b"version 1", b"version a b c", b"shutdown now", b"shutdown a b",
    ):  # fmt: skip
        yield pipeline(f"too many: {line.decode()!r}", K_IS_10, line + b"\r\n", b"get k\r\n")


# ---- Numbers: every odd spelling in every place for one ------------------------------------------

NUMBERS = {
    "0": b"0",
    "-0": b"-0",
    "+5": b"+5",
    "-5": b"-5",
    "--5": b"--5",
    "1_0": b"1_0",
    "1,000": b"1,000",
    "0x2": b"0x2",
    "1e3": b"1e3",
    "1.5": b"1.5",
    "5.": b"5.",
    "007": b"007",
    "5 in 11 digits": b"00000000005",
    "5 in 12 digits": b"000000000005",
    "5 in 22 digits": b"0000000000000000000005",
    "5 in 23 digits": b"00000000000000000000005",
    "abc": b"abc",
    "5x": b"5x",
    "x5": b"x5",
    "5 and a tab": b"5\t",
    "a tab and 5": b"\t5",
    "5 and NUL": b"5\0",
    "nan": b"nan",
    "inf": b"inf",
    "an Arabic 5": b"\xd9\xa5",
    "a superscript 5": b"\xe2\x81\xb5",
    "2^15": b"32768",
    "2^16": b"65536",
    "2^31 - 1": b"2147483647",
    "2^31": b"2147483648",
    "2^32 - 1": b"4294967295",
    "2^32": b"4294967296",
    "2^32 + 3": b"4294967299",
    "2^63 - 1": b"9223372036854775807",
    "2^63": b"9223372036854775808",
    "2^64 - 1": b"18446744073709551615",
    "2^64": b"18446744073709551616",
    "2^64 + 5": b"18446744073709551621",
    "10^30": b"1" + b"0" * 30,
    "-2^31": b"-2147483648",
    "-2^31 - 1": b"-2147483649",
    "-2^32": b"-4294967296",
    "-2^63": b"-9223372036854775808",
    "-2^64": b"-18446744073709551616",
}
# The block that follows a length is "abcde" whatever the number says.
PLACES = {
    "flags of a set": b"set k %b 0 5\r\nabcde\r\nget k\r\n",
    "exptime of a set": b"set k 0 %b 5\r\nabcde\r\nget k\r\n",
    "length of a set": b"set k 0 0 %b\r\nabcde\r\nget k\r\n",
    "unique of a cas": b"cas k 0 0 5 %b\r\nabcde\r\nget k\r\n",
    "delta of an incr": b"set k 0 0 2\r\n10\r\nincr k %b\r\nget k\r\n",
    "delta of a decr": b"set k 0 0 2\r\n10\r\ndecr k %b\r\nget k\r\n",
    "exptime of a touch": b"set k 0 0 5\r\nabcde\r\ntouch k %b\r\nget k\r\n",
    "exptime of a gat": b"set k 0 0 5\r\nabcde\r\ngat %b k\r\nget k\r\n",
    "delay of a flush_all": b"set k 0 0 5\r\nabcde\r\nflush_all %b\r\nget k\r\n",
    "level of a verbosity": b"verbosity %b\r\n",
}


def numbers() -> Iterator[Script]:
    for place, template in PLACES.items():
        for name, number in NUMBERS.items():
            # A block of 65,538 bytes that stays unfinished would end inside it: see the one rule.
            if place == "length of a set" and name in ("2^15", "2^16"):
                continue
            yield pipeline(f"{place}: {name}", template % number)


# ---- Retrieval -----------------------------------------------------------------------------------

A_AND_B = b"set a 1 0 1\r\n1\r\nset b 2 0 2\r\n22\r\n"
THOUSAND = tuple(b"key-%04d" % number for number in range(1000))
# 100 KB of line: three hits far apart, the rest misses.
FAR_APART = b" ".join(b"%b-%090d" % (b"k", number) for number in range(1100))


def retrieval() -> Iterator[Script]:
    for verb in ("get", "gets", "gat 0", "gats 0", "gat -1", "gat 100", f"gat {PAST.decode()}"):
        ask = verb.encode()
        yield pipeline(f"{verb}: miss", ask + b" k\r\n")
        yield pipeline(f"{verb}: hit", A_AND_B, ask + b" a\r\n")
        yield pipeline(f"{verb}: hit twice", A_AND_B, ask + b" a\r\n", ask + b" a\r\n")
        yield pipeline(f"{verb}: two", A_AND_B, ask + b" a b\r\n")
        yield pipeline(f"{verb}: two, the other way round", A_AND_B, ask + b" b a\r\n")
        yield pipeline(f"{verb}: hits among misses", A_AND_B, ask + b" x a y b z\r\n")
        yield pipeline(f"{verb}: the same three times", A_AND_B, ask + b" a a a\r\n")
        yield pipeline(f"{verb}: nothing but misses", A_AND_B, ask + b" x y z\r\n")
        yield pipeline(f"{verb}: spaces all over", A_AND_B, ask + b"   a    b   \r\n")
        yield pipeline(f"{verb}: 60 keys", A_AND_B, ask + b" a x b" * 20 + b"\r\n")
        yield pipeline(f"{verb}: a number as the key", put(b"0", b"x"), ask + b" 0\r\n")
        yield pipeline(f"{verb}: noreply as the key", put(b"noreply", b"x"), ask + b" noreply\r\n")
    yield pipeline("get of a key named get", put(b"get", b"x"), b"get get get\r\n")
    yield pipeline("get and gets of the same", A_AND_B, b"get a\r\ngets a\r\nget a\r\ngets a b\r\n")
    yield pipeline("gats gives the unique of gets", A_AND_B, b"gets a\r\ngats 0 a\r\n")
    yield pipeline("gat with no exptime but a key", A_AND_B, b"gat a b\r\nget a b\r\n")
    yield pipeline("gats with no exptime but a key", A_AND_B, b"gats a b\r\nget a b\r\n")
    yield pipeline("gat of many with a bad exptime", A_AND_B, b"gat x a b\r\nget a b\r\n")
    yield pipeline("30 gets in a row", A_AND_B, b"get a\r\n" * 30)
    yield pipeline("300 gets in a row", A_AND_B, b"get a\r\nget x\r\ngets b\r\n" * 100)
    yield pipeline(
        "1,000 keys, all hits",
        b"".join(put(key, key + b"!") for key in THOUSAND),
        b"get " + b" ".join(THOUSAND) + b"\r\n",
    )
    yield pipeline(
        "1,000 keys, every seventh a hit, with uniques",
        b"".join(put(key, key) for key in THOUSAND[::7]),
        b"gets " + b" ".join(THOUSAND) + b"\r\n",
    )
    yield pipeline("1,000 keys, all misses", b"get " + b" ".join(THOUSAND) + b"\r\n")
    yield pipeline("1,000 sets, 1,000 gets, one write each way", *(
        put(key, key) + b"get " + key + b"\r\n" for key in THOUSAND
    ))  # fmt: skip
    for name, ask in {"get": b"get ", "gets": b"gets "}.items():
        yield Script(
            f"{name}: a line of 100 KB",
            (
                put(b"k-%090d" % 0, b"first")
                + put(b"k-%090d" % 600, b"middle")
                + put(b"k-%090d" % 1099, b"last")
                + ask
                + FAR_APART
                + b"\r\n",
            ),
        )


# ---- Keys ----------------------------------------------------------------------------------------

ODD_BYTES = (
    0x00, 0x01, 0x07, 0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x1B, 0x1F, 0x22, 0x25, 0x27, 0x5C, 0x7B, 0x7F,
    0x80, 0xA0, 0xC0, 0xED, 0xFE, 0xFF,
)  # fmt: skip
ODD_KEYS = {
    "UTF-8": "ключ-鍵-🔑".encode(),
    "Latin-1": b"cl\xe9",
    "half a UTF-8 character": b"k\xe2\x82",
    "a surrogate": b"k\xed\xa0\x80",
    "an overlong NUL": b"k\xc0\x80",
    "a line of HTTP": b"GET/HTTP/1.1",
    "a path": b"../../../../etc/passwd",
    "a per cent escape": b"%0d%0aflush_all",
    "a verb": b"set",
    "END": b"END",
    "VALUE": b"VALUE",
    "ERROR": b"ERROR",
    "a format": b"%s%n{}{0}",
    "a dash": b"-",
    "a dot": b".",
    "two dots": b"..",
    "a slash": b"/",
    "a carriage return inside": b"k\rk",
    "250 bytes": KEY_250,
    "250 bytes that are not ASCII": b"\xff" * 250,
}


def keys() -> Iterator[Script]:
    for byte in ODD_BYTES:
        for place, key in {
            "first": b"%cab" % byte,
            "inside": b"a%cb" % byte,
            "last": b"ab%c" % byte,
            "alone": b"%c" % byte,
        }.items():
            yield pipeline(
                f"byte {byte:#04x} {place}",
                put(key, b"value"),
                b"get " + key + b"\r\n",
                b"get ab\r\n",
                b"delete " + key + b"\r\n",
                b"get " + key + b"\r\n",
            )
    for name, key in ODD_KEYS.items():
        yield pipeline(
            f"{name}: as a key",
            put(key, b"10"),
            b"gets " + key + b"\r\n",
            b"gat 0 " + key + b"\r\n",
            b"touch " + key + b" 0\r\n",
            put(key, b"0", b"append"),
            b"incr " + key + b" 5\r\n",
            b"delete " + key + b"\r\n",
            b"get " + key + b"\r\n",
        )
    yield pipeline("keys that differ in case only", put(b"K", b"big"), put(b"k", b"small"),
                   b"get K k\r\n")  # fmt: skip
    yield pipeline("keys that begin alike", put(b"k", b"1"), put(b"kk", b"2"), b"get k kk kkk\r\n")
    yield pipeline("spaces are no part of a key", put(b"k", b"1"), b"get  k \r\n")
    for line in (
        b"get %b", b"gets %b", b"gat 0 %b", b"gats 0 %b", b"get a %b b", b"get %b a b",
        b"get a b %b", b"gets a %b b", b"gat 0 a %b b", b"gats 0 a b %b", b"get a %b noreply",
        b"get x %b", b"gat x %b", b"gat -1 a %b b", b"delete %b", b"incr %b 1", b"decr %b 1",
        b"touch %b 0", b"delete %b noreply", b"incr %b 1 noreply", b"touch %b 0 noreply",
        b"incr %b x", b"touch %b x",
    ):  # fmt: skip
        name = line.decode().replace("%b", "<251>")
        yield dialogue(name, A_AND_B, line % KEY_251 + b"\r\n" + b"get a b\r\n")
    yield pipeline("get of 1,000 bytes", b"get " + b"k" * 1000 + b"\r\n")
    yield pipeline("get of 100,000 bytes", b"get " + b"k" * 100_000 + b"\r\n")
    yield pipeline("delete of 2,000 bytes", b"delete " + b"k" * 2000 + b"\r\n")
    yield dialogue(
        "one of 1,000 keys is too long",
        b"".join(put(key, key) for key in THOUSAND[:500]),
        b"get " + b" ".join((*THOUSAND[:999], KEY_251)) + b"\r\nget key-0001\r\n",
    )
    for verb, tail in STORAGE_AND_CAS:
        for suffix, noreply in {"": b"", " noreply": b" noreply"}.items():
            line = b"%b %b 0 0 9%b\r\n" % (verb, KEY_251, tail + noreply)
            yield pipeline(
                f"{verb.decode()} <251>{suffix}",
                A_AND_B,
                line + b"delete a\r\n\r\n",
                b"get a b\r\n",
            )


# ---- Storage -------------------------------------------------------------------------------------


def storage() -> Iterator[Script]:
    old = b"set k 7 0 3\r\nold\r\n"
    for verb in STORAGE:
        name = verb.decode()
        new = verb + b" k 9 0 3\r\nnew\r\n"
        quiet = verb + b" k 9 0 3 noreply\r\nnew\r\n"
        yield pipeline(f"{name}: miss", new, b"get k\r\n")
        yield pipeline(f"{name}: hit", old, new, b"get k\r\n")
        yield pipeline(f"{name}: miss, noreply", quiet, b"get k\r\n")
        yield pipeline(f"{name}: hit, noreply", old, quiet, b"get k\r\n")
        yield pipeline(f"{name}: twice", old, new, new, b"get k\r\n")
        yield pipeline(f"{name}: gives a new unique", old, b"gets k\r\n", new, b"gets k\r\n")
        yield pipeline(f"{name}: nothing onto something", old, put(b"k", b"", verb), b"get k\r\n")
        yield pipeline(
            f"{name}: something onto nothing", put(b"k", b""), put(b"k", b"new", verb), b"get k\r\n"
        )
        yield pipeline(f"{name}: after a delete", old, b"delete k\r\n", new, b"get k\r\n")
        yield pipeline(f"{name}: after a flush", old, b"flush_all\r\n", new, b"get k\r\n")
        yield pipeline(
            f"{name}: 200 in one write", old, *(put(b"k", b"%d," % n, verb) for n in range(200)),
            b"get k\r\n",
        )  # fmt: skip
        yield pipeline(
            f"{name}: 200 in one write, noreply",
            old,
            *(put(b"k", b"%d," % n, verb, b" noreply") for n in range(200)),
            b"get k\r\n",
        )
    yield pipeline("append keeps flags and exptime", put(b"k", b"a"),
                   b"append k 5 -1 1\r\nb\r\nget k\r\n")  # fmt: skip
    yield pipeline("prepend keeps flags and exptime", put(b"k", b"a"),
                   b"prepend k 5 -1 1\r\nb\r\nget k\r\n")  # fmt: skip
    yield pipeline("append and prepend, bad flags all the same", put(b"k", b"a"),
                   b"append k x 0 3\r\nxyz\r\nprepend k 0 x 3\r\nxyz\r\nget k\r\n")  # fmt: skip
    yield pipeline(
        "a set takes flags and exptime anew",
        b"set k 5 -1 1\r\na\r\nset k 6 0 1\r\nb\r\nget k\r\n",
    )
    yield pipeline(
        "two connections' worth of keys in one write",
        *(put(b"k%d" % n, b"v%d" % n) for n in range(50)),
        *(b"get k%d\r\n" % n for n in range(50)),
    )
    yield dialogue(
        "one connection sees what the other stored",
        b"set k 3 0 5\r\nfirst\r\n",
        Second(b"get k\r\nset k 4 0 6\r\nsecond\r\n"),
        b"get k\r\ndelete k\r\n",
        Second(b"get k\r\nadd k 0 0 5\r\nthird\r\n"),
        b"gets k\r\n",
    )


# ---- Data blocks: what is inside stays inside, what is behind is a command -----------------------

PAYLOADS = {
    "line ends only": b"\r\n\r\n\r\n",
    "a command": b"flush_all\r\n",
    "commands": b"\r\ndelete k\r\nset other 0 0 1\r\nx\r\nget other\r\n",
    "quit": b"quit\r\n",
    "an answer": b"STORED\r\nEND\r\nVALUE k 0 1\r\nx\r\n",
    "a carriage return": b"\r",
    "a newline": b"\n",
    "ends in a carriage return": b"abc\r",
    "ends in a newline": b"abc\n",
    "begins with a newline": b"\nabc",
    "NULs": b"\0\0\0\0\0",
    "every byte": bytes(range(256)),
    "every byte, backwards": bytes(range(255, -1, -1)),
    "not UTF-8": b"\xff\xfe\xc0\x80\xed\xa0\x80",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "spaces": b"     ",
    "a gzip header": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a binary request": b"\x80\x07" + b"\0" * 22,
    "2,047 bytes and no newline": b"x" * 2047,
    "3,000 bytes and no newline": b"x" * 3000,
    "16,384 bytes": b"0123456789abcdef" * 1024,
    "65,536 bytes": b"0123456789abcdef" * 4096,
    "65,537 newlines": b"\n" * 65_537,
    "300,000 bytes": b"0123456789abcde\n" * 18_750,
}


def data_blocks() -> Iterator[Script]:
    for name, value in PAYLOADS.items():
        yield pipeline(f"value: {name}", put(b"k", b"v"), put(b"k", value), b"get k\r\n")
    for name in ("a command", "commands", "quit", "HTTP", "65,536 bytes", "65,537 newlines"):
        yield pipeline(
            f"swallowed: {name}", put(b"k", b"v"), put(KEY_251, PAYLOADS[name]), b"get k\r\n"
        )
    yield pipeline("zero length", b"set k 0 0 0\r\n\r\nget k\r\n")
    yield pipeline("zero length, twice the line end", b"set k 0 0 0\r\n\r\n\r\nget k\r\n")
    for verb, tail in STORAGE_AND_CAS:
        name = verb.decode()
        for noreply in (b"", b" noreply"):
            head = b"%b k 0 0 5%b\r\n" % (verb, tail + noreply)
            title = f"{name}{noreply.decode()}"
            after = b"get k\r\n"
            yield pipeline(f"{title}: block too long", put(b"k", b"old"), head,
                           b"hello, world\r\n", after)  # fmt: skip
            yield pipeline(f"{title}: block too short", put(b"k", b"old"), head,
                           b"hel\r\nget k\r\n", after)  # fmt: skip
    for name, tail in {
        "too long by one": b"hello!\r\n",
        "too long by two": b"hello!!\r\n",
        "too long by four": b"hello!!!!\r\n",
        "too long by a command": b"hello!!delete k\r\n",
        "too long by a line end and a command": b"hello!!\r\ndelete k\r\n",
        "too long by a get": b"hello!!get k\r\n",
        "too long by a set": b"hello!!set k 0 0 3\r\nnew\r\n",
        "too short by one": b"hell\r\ndelete k\r\n",
        "too short by two": b"hel\r\ndelete k\r\n",
        "too short by all": b"\r\ndelete k\r\n",
        "no line end": b"hellodelete k\r\n",
        "a bare newline": b"hello\ndelete k\r\n",
        "a bare newline twice": b"hello\n\ndelete k\r\n",
        "newline, carriage return": b"hello\n\rdelete k\r\n",
        "two carriage returns": b"hello\r\rdelete k\r\n",
        "carriage return, space": b"hello\r delete k\r\n",
        "two NULs": b"hello\0\0delete k\r\n",
    }.items():
        yield pipeline(
            f"bad block: {name}", put(b"k", b"old"), b"set k 0 0 5\r\n", tail, b"get k\r\n"
        )
    yield pipeline(
        "ten bad blocks in a row", put(b"k", b"old"), b"set k 0 0 5\r\nhello!!" * 10, b"get k\r\n"
    )
    yield pipeline(
        "a bad block of 600,000 bytes",
        put(b"k", b"old"),
        b"set k 0 0 600000\r\n" + b"x" * 600_000 + b"!!",
        b"get k\r\n",
    )
    yield pipeline(
        "a length that is no number, and commands behind it",
        put(b"k", b"old"),
        b"set k 0 0 five\r\ndelete k\r\n",
        b"get k\r\n",
    )
    yield pipeline(
        "a negative length, and commands behind it",
        put(b"k", b"old"),
        b"set k 0 0 -1\r\ndelete k\r\n",
        b"get k\r\n",
    )


# ---- Too large -----------------------------------------------------------------------------------

LARGE = b"0123456789abcdef" * 65_536  # 1 MiB
# The limit counts header and key too (items.c:367-380), so the edge is stepped round.
FITS = LARGE[:-512]
TOO_LARGE = LARGE * 2


def too_large() -> Iterator[Script]:
    yield pipeline("set of 1 MiB less 512", put(b"k", FITS), b"get k\r\n")
    yield pipeline("set of 1 MiB less 512, a key of 250", put(KEY_250, FITS),
                   b"gets %b\r\n" % KEY_250)  # fmt: skip
    yield pipeline("two of 1 MiB less 512 in one get", put(b"a", FITS), put(b"b", FITS),
                   b"get a b\r\n")  # fmt: skip
    yield pipeline("eight gets of 1 MiB less 512", put(b"k", FITS), b"get k\r\n" * 8)
    yield pipeline("set of 512 KiB, append of 500 KiB", put(b"k", LARGE[: 512 << 10]),
                   put(b"k", LARGE[: 500 << 10], b"append"), b"get k\r\n")  # fmt: skip
    yield pipeline("set of 512 KiB, prepend of 500 KiB", put(b"k", LARGE[: 512 << 10]),
                   put(b"k", LARGE[: 500 << 10], b"prepend"), b"get k\r\n")  # fmt: skip
    for verb, tail in STORAGE_AND_CAS:
        name = verb.decode()
        large = put(b"k", TOO_LARGE, verb, tail)
        yield pipeline(f"{name} of 2 MiB: miss", large, b"get k\r\n")
        yield pipeline(f"{name} of 2 MiB: hit", put(b"k", b"old"), large, b"get k\r\n")
        yield pipeline(
            f"{name} of 2 MiB: noreply",
            put(b"k", b"old"),
            put(b"k", TOO_LARGE, verb, tail + b" noreply"),
            b"get k\r\n",
        )
    yield pipeline(
        "2 MiB of commands are swallowed",
        put(b"k", b"old"),
        put(b"big", b"delete k\r\n" * 210_000),
        b"get k big\r\n",
    )
    yield pipeline(
        "a set of 2 MiB with bad flags deletes nothing",
        put(b"k", b"old"),
        b"set k 0 -x 2097152\r\n" + TOO_LARGE + b"\r\n",
        b"get k\r\n",
    )
    yield pipeline(
        "2 MiB and no line end behind them",
        put(b"k", b"old"),
        b"add k 0 0 2097152\r\n" + TOO_LARGE + b"!!",
        b"get k\r\n",
    )
    for verb in (b"append", b"prepend"):
        name = verb.decode()
        yield pipeline(
            f"{name} beyond 1 MiB leaves the value",
            put(b"k", FITS),
            put(b"k", LARGE[:2000], verb),
            b"get k\r\n",
        )
        yield pipeline(
            f"{name} beyond 1 MiB, noreply",
            put(b"k", FITS),
            put(b"k", LARGE[:2000], verb, b" noreply"),
            b"get k\r\n",
        )
    yield pipeline("incr of a large value", put(b"k", b"1" * 600_000), b"incr k 1\r\n")
    yield pipeline("a large value in answer to gat", put(b"k", FITS), b"gat 0 k\r\ngats -1 k\r\n",
                   b"get k\r\n")  # fmt: skip


# ---- noreply -------------------------------------------------------------------------------------


def noreply() -> Iterator[Script]:
    for line in (
        b"delete k noreply", b"delete x noreply", b"incr k 5 noreply", b"decr k 5 noreply",
        b"incr x 5 noreply", b"decr x 5 noreply", b"incr word 5 noreply", b"decr word 5 noreply",
        b"incr k abc noreply", b"decr k -1 noreply", b"incr k noreply", b"decr k noreply",
        b"touch k 0 noreply", b"touch k -1 noreply", b"touch x 0 noreply", b"touch k abc noreply",
        b"touch k noreply", b"touch noreply", b"incr noreply", b"incr noreply 5",
        b"delete noreply", b"delete noreply noreply", b"flush_all noreply", b"flush_all 0 noreply",
        b"flush_all -1 noreply", b"flush_all abc noreply", b"flush_all noreply 0",
        b"flush_all noreply noreply", b"flush_all 2147483647 noreply", b"verbosity 0 noreply",
        b"verbosity 9 noreply", b"verbosity noreply", b"verbosity abc noreply",
        b"verbosity noreply 0", b"version noreply", b"gat noreply", b"gat 0 noreply",
        b"gats noreply k", b"gat noreply noreply", b"shutdown noreply", b"noreply",
        b"noreply noreply", b"hello noreply", b"hello world noreply", b"HELLO NOREPLY",
        b"delete k NOREPLY", b"incr k 5 NOREPLY", b"touch k 0 NOREPLY", b"flush_all NOREPLY",
        b"verbosity 0 NOREPLY", b"delete k noreplyx", b"delete k noreply x", b"delete k  noreply  ",
        b"delete k norepl", b"incr k 5 noreply x", b"incr noreply k 5", b"touch k noreply 0",
        b"incr k 5 x noreply", b"touch k 0 x noreply", b"delete k x noreply",
        b"get k noreply", b"gets k noreply", b"gat 0 k noreply",
    ):  # fmt: skip
        yield pipeline(
            line.decode(), K_IS_10, put(b"word", b"word"), line + b"\r\n", b"get k word\r\n"
        )
    for verb, tail in STORAGE_AND_CAS:
        for title, line in {
            "hit": b"%b k 0 0 3%b noreply",
            "miss": b"%b x 0 0 3%b noreply",
            "upper case": b"%b k 0 0 3%b NOREPLY",
            "as the key": b"%b noreply 0 0 3%b",
            "as the key, and meant": b"%b noreply 0 0 3%b noreply",
            "spaces round it": b"%b k 0 0 3%b   noreply   ",
        }.items():
            yield pipeline(
                f"{verb.decode()}: {title}",
                K_IS_10,
                line % (verb, tail) + b"\r\nnew\r\n",
                b"get k x noreply\r\n",
            )
    for title, words in {
        "bad flags": b"k abc 0 3 noreply",
        "bad exptime": b"k 0 abc 3 noreply",
        "bad length": b"k 0 0 abc noreply",
        "negative length": b"k 0 0 -1 noreply",
        "followed by a word": b"k 0 0 3 noreply 5",
        "twice": b"k 0 0 3 noreply noreply",
        "for the length": b"k 0 0 noreply",
    }.items():
        yield pipeline(f"set: {title}", K_IS_10, b"set " + words + b"\r\nnew\r\n", b"get k x\r\n")
    yield pipeline("cas: noreply for the unique", K_IS_10, b"cas k 0 0 3 noreply\r\nnew\r\n",
                   b"get k\r\n")  # fmt: skip
    yield pipeline("cas: bad unique", K_IS_10, b"cas k 0 0 3 abc noreply\r\nnew\r\n", b"get k\r\n")
    yield pipeline(
        "the next command answers again",
        b"set k 0 0 1 noreply\r\nx\r\nset k 0 0 1\r\ny\r\n",
        b"delete k noreply\r\ndelete k\r\nincr k 1 noreply\r\nincr k 1\r\n",
    )
    yield pipeline(
        "an error answers again behind a quiet command",
        b"delete k noreply\r\nhello\r\nset k 0 0 1 noreply\r\nx\r\nset k\r\nget k\r\n",
    )
    yield pipeline(
        "300 quiet commands and one that answers",
        *(b"set k 0 0 3 noreply\r\n%03d\r\nincr k 1 noreply\r\n" % n for n in range(150)),
        b"get k\r\n",
    )


# ---- cas -----------------------------------------------------------------------------------------


def cas() -> Iterator[Script]:
    first = b"set k 5 0 3\r\nold\r\ngets k\r\n"
    swap = b"cas k 6 0 3 {cas:k}\r\nnew\r\n"
    yield dialogue("hit", first, swap + b"gets k\r\n")
    yield dialogue("hit, noreply", first, b"cas k 6 0 3 {cas:k} noreply\r\nnew\r\ngets k\r\n")
    yield dialogue("the same unique again", first, swap + swap + b"gets k\r\n")
    yield dialogue("the same unique again, noreply", first, swap,
                   b"cas k 6 0 3 {cas:k} noreply\r\nout\r\nget k\r\n")  # fmt: skip
    yield pipeline("miss", b"cas k 0 0 3 1\r\nnew\r\nget k\r\n")
    yield pipeline("miss, noreply", b"cas k 0 0 3 1 noreply\r\nnew\r\nget k\r\n")
    yield pipeline("miss with a unique of 0", b"cas k 0 0 3 0\r\nnew\r\nget k\r\n")
    yield pipeline("a unique of 0 never matches", first, b"cas k 0 0 3 0\r\nnew\r\nget k\r\n")
    yield pipeline("another unique", first, b"cas k 0 0 3 999999999\r\nnew\r\ngets k\r\n")
    yield pipeline("another unique, noreply", first,
                   b"cas k 0 0 3 999999999 noreply\r\nnew\r\ngets k\r\n")  # fmt: skip
    yield dialogue("unique with leading zeros", first, b"cas k 0 0 3 00{cas:k}\r\nnew\r\nget k\r\n")
    yield dialogue("unique with a sign", first, b"cas k 0 0 3 +{cas:k}\r\nnew\r\nget k\r\n")
    yield dialogue("unique and a word", first, b"cas k 0 0 3 {cas:k} 7\r\nnew\r\nget k\r\n")
    yield dialogue("bad block", first, b"cas k 0 0 3 {cas:k}\r\nnewest!\r\n", b"gets k\r\n" + swap)
    yield dialogue("too large", first, b"cas k 0 0 2097152 {cas:k}\r\n" + TOO_LARGE + b"\r\n",
                   b"gets k\r\n" + swap)  # fmt: skip
    yield dialogue("after a delete", first, b"delete k\r\n" + swap + b"get k\r\n")
    yield dialogue("after a flush", first, b"flush_all\r\n" + swap + b"get k\r\n")
    yield dialogue("after a negative touch", first, b"touch k -1\r\n" + swap + b"get k\r\n")
    yield dialogue("a negative exptime", first, b"cas k 6 -1 3 {cas:k}\r\nnew\r\nget k\r\n")
    for name, between in {
        "set": b"set k 5 0 3\r\nold\r\n",
        "replace": b"replace k 5 0 3\r\nold\r\n",
        "append": b"append k 5 0 1\r\n!\r\n",
        "prepend": b"prepend k 5 0 0\r\n\r\n",
        "add that fails": b"add k 5 0 3\r\nxyz\r\n",
        "delete and set": b"delete k\r\nset k 5 0 3\r\nold\r\n",
        "touch": b"touch k 100\r\n",
        "gat": b"gat 100 k\r\n",
        "get": b"get k\r\n",
        "cas that fails": b"cas k 0 0 3 999999999\r\nbad\r\n",
        "incr that fails": b"incr k 5\r\n",
        "bad block": b"set k 0 0 3\r\nwrongly\r\n",
    }.items():
        yield dialogue(f"{name} in between", first, between, swap + b"gets k\r\n")
    number = b"set k 5 0 2\r\n10\r\ngets k\r\n"
    for name, between in {
        "incr": b"incr k 5\r\n",
        "incr of 0": b"incr k 0\r\n",
        "decr": b"decr k 5\r\n",
        "decr that shortens": b"decr k 1\r\n",
        "incr that lengthens": b"incr k 90\r\n",
    }.items():
        yield dialogue(f"{name} in between", number, between, b"gets k\r\n")
        yield dialogue(f"{name} in between, then the old unique", number, between, swap)
    yield dialogue(
        "two connections race",
        first,
        Second(b"gets k\r\n" + b"cas k 1 0 6 {cas:k}\r\nsecond\r\n"),
        swap + b"gets k\r\n",
        Second(b"gets k\r\n"),
    )
    yield dialogue(
        "uniques of two keys",
        b"set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\ngets a b\r\n",
        b"cas a 0 0 1 {cas:b}\r\nx\r\ncas b 0 0 1 {cas:a}\r\nx\r\n",
        b"cas a 0 0 1 {cas:a}\r\n3\r\ncas b 0 0 1 {cas:b}\r\n4\r\ngets b a\r\n",
    )
    yield dialogue(
        "ten swaps in a dialogue", *((first,) + (swap + b"gets k\r\n",) * 10)
    )  # fmt: skip


# ---- delete --------------------------------------------------------------------------------------


def delete() -> Iterator[Script]:
    yield pipeline("hit", K_IS_10, b"delete k\r\nget k\r\n")
    yield pipeline("miss", b"delete k\r\n")
    yield pipeline("twice", K_IS_10, b"delete k\r\ndelete k\r\n")
    yield pipeline("an expired item", b"set k 0 -1 1\r\nx\r\ndelete k\r\n")
    yield pipeline("a flushed item", K_IS_10, b"flush_all\r\ndelete k\r\n")
    yield pipeline("and add", K_IS_10, b"delete k\r\nadd k 0 0 3\r\nnew\r\nget k\r\n")
    yield pipeline("takes only its first key", A_AND_B, b"delete a b\r\nget a b\r\n")
    yield pipeline(
        "200, every other a miss",
        *(put(b"k%d" % n, b"x") for n in range(0, 200, 2)),
        *(b"delete k%d\r\n" % n for n in range(200)),
    )


# ---- incr and decr -------------------------------------------------------------------------------

# (value, command): the answer, and what is stored afterwards, spaces and all.
ARITHMETIC = (
    (b"0", b"incr k 0"), (b"0", b"incr k 1"), (b"0", b"decr k 1"), (b"1", b"decr k 1"),
    (b"5", b"decr k 6"), (b"9", b"incr k 1"), (b"10", b"decr k 1"), (b"99", b"incr k 1"),
    (b"100", b"decr k 1"), (b"1000", b"decr k 999"), (b"1000", b"decr k 1000"),
    (b"1000", b"decr k 1001"), (b"10", b"decr k 18446744073709551615"),
    (b"10", b"incr k 9223372036854775807"), (b"1", b"incr k 18446744073709551615"),
    (b"0", b"incr k 18446744073709551615"), (b"10", b"incr k 18446744073709551615"),
    (b"007", b"incr k 1"), (b"000", b"incr k 1"), (b"00000000000000000000005", b"incr k 1"),
    (b"0" * 40 + b"5", b"incr k 1"), (b"009", b"decr k 1"), (b"0005", b"decr k 9"),
    (b"5 ", b"incr k 1"), (b"5     ", b"incr k 1"), (b"5     ", b"decr k 1"),
    (b"5     ", b"incr k 100000"), (b"5     ", b"incr k 9999999"), (b" 5", b"incr k 1"),
    (b"     5", b"incr k 1"), (b"+5", b"incr k 1"), (b"-5", b"incr k 1"), (b"-0", b"incr k 1"),
    (b"5 abc", b"incr k 1"), (b"5 6 7", b"incr k 1"), (b"5\tabc", b"incr k 1"),
    (b"\t5", b"incr k 1"), (b"5\r\n6", b"incr k 1"), (b"5\n", b"incr k 1"), (b"\n5", b"incr k 1"),
    (b"5\0abc", b"incr k 1"), (b"5\x0b", b"incr k 1"), (b"5\xa0", b"incr k 1"),
    (b"", b"incr k 1"), (b" ", b"incr k 1"), (b"\r\n", b"incr k 1"), (b"\0", b"incr k 1"),
    (b"abc", b"incr k 1"), (b"5abc", b"incr k 1"), (b"abc5", b"incr k 1"), (b"abc", b"decr k 1"),
    (b"1.5", b"incr k 1"), (b"1e3", b"incr k 1"), (b"0x2", b"incr k 1"), (b"1_0", b"incr k 1"),
    (b"1,000", b"incr k 1"), (b"\xd9\xa5", b"incr k 1"), (b"--5", b"incr k 1"), (b"+", b"incr k 1"),
    (b"18446744073709551616", b"incr k 1"), (b"18446744073709551621", b"decr k 1"),
    (b"99999999999999999999", b"incr k 1"), (b"1" + b"0" * 30, b"incr k 1"),
    (b"9" * 300, b"incr k 1"), (b"9223372036854775806", b"incr k 1"),
    (b"9223372036854775807", b"incr k 1"), (b"9223372036854775807", b"decr k 1"),
    (b"9223372036854775808", b"incr k 1"), (b"9223372036854775808", b"decr k 1"),
    (b"9223372036854775809", b"incr k 1"), (b"18446744073709551614", b"incr k 1"),
    (b"18446744073709551615", b"incr k 0"), (b"18446744073709551615", b"incr k 1"),
    (b"18446744073709551615", b"incr k 2"), (b"18446744073709551615", b"decr k 1"),
    (b"18446744073709551615", b"incr k 18446744073709551615"),
    (b"18446744073709551615", b"decr k 18446744073709551615"),
    (b"9223372036854775808", b"incr k 9223372036854775808"),
    (b"18446744073709551610", b"decr k 18446744073709551000"),
)  # fmt: skip


def shown(value: bytes) -> str:
    """A value as a part of a test's name: printable, and short."""
    text = repr(value)[2:-1]
    return text if len(text) <= 24 else f"{text[:10]}..({len(value)})"


def arithmetic() -> Iterator[Script]:
    for value, line in ARITHMETIC:
        name = f"{shown(value)!r}, {line.decode()}"
        yield pipeline(name, put(b"k", value), line + b"\r\n", b"get k\r\n")
    yield pipeline("miss", b"incr k 1\r\ndecr k 1\r\nget k\r\n")
    yield pipeline("miss with a bad delta", b"incr k abc\r\ndecr k abc\r\n")
    yield pipeline("a bad delta before a bad value", put(b"k", b"x"), b"incr k abc\r\nincr k 1\r\n")
    yield pipeline("keeps flags", b"set k 77 0 2\r\n99\r\nincr k 1\r\nincr k 1\r\nget k\r\n")
    yield pipeline("keeps flags when shorter", b"set k 77 0 2\r\n10\r\ndecr k 1\r\nget k\r\n")
    yield pipeline("keeps a date in the future",
                   b"set k 0 %b 2\r\n99\r\nincr k 1\r\nget k\r\n" % FUTURE)  # fmt: skip
    yield pipeline("an expired item", b"set k 0 -1 2\r\n99\r\nincr k 1\r\ndecr k 1\r\nget k\r\n")
    yield pipeline("a flushed item", K_IS_10, b"flush_all\r\nincr k 1\r\n")
    yield pipeline("down and up again", K_IS_10, b"decr k 1\r\n" * 11 + b"incr k 12\r\nget k\r\n")
    yield pipeline(
        "the padding is a part of the value",
        K_IS_10,
        b"decr k 1\r\nappend k 0 0 1\r\n7\r\nincr k 1\r\nget k\r\n",
    )
    yield pipeline(
        "across the lengths",
        put(b"k", b"0"),
        b"incr k 9\r\nincr k 90\r\nincr k 900\r\ndecr k 990\r\nget k\r\nincr k 99999\r\n",
    )
    yield pipeline("append a digit", put(b"k", b"1"), put(b"k", b"5", b"append"),
                   b"incr k 1\r\nget k\r\n")  # fmt: skip
    yield pipeline("500 increments", put(b"k", b"0"), b"incr k 7\r\n" * 500)
    yield dialogue(
        "a get between two steps", K_IS_10, b"get k\r\n", b"decr k 1\r\n", b"get k\r\n",
        b"incr k 1\r\n", b"get k\r\n",
    )  # fmt: skip


# ---- Expiry --------------------------------------------------------------------------------------

# What is still there, asked in every way that must say no when it is gone.
IS_IT_THERE = b"get k\r\nincr k 1\r\ntouch k 0\r\ngat 0 k\r\nreplace k 0 0 1\r\n9\r\ndelete k\r\n"


def expiry() -> Iterator[Script]:
    times = {
        "0": b"0",
        "-1": b"-1",
        "-100": b"-100",
        "-2592001": b"-2592001",
        "1,000 seconds": b"1000",
        "30 days": MONTH,
        "30 days and a second": b"2592001",
        "a date in 2001": PAST,
        "a date in 2038": FUTURE,
    }
    for name, time in times.items():
        yield pipeline(f"set: {name}", b"set k 0 %b 1\r\n5\r\n" % time, IS_IT_THERE)
        yield pipeline(f"add: {name}", b"add k 0 %b 1\r\n5\r\n" % time, IS_IT_THERE)
        yield pipeline(f"replace: {name}", K_IS_10, b"replace k 0 %b 1\r\n5\r\n" % time,
                       IS_IT_THERE)  # fmt: skip
        yield dialogue(f"cas: {name}", K_IS_10 + b"gets k\r\n",
                       b"cas k 0 %b 1 {cas:k}\r\n5\r\n" % time + IS_IT_THERE)  # fmt: skip
        yield pipeline(f"append ignores {name}", K_IS_10, b"append k 0 %b 1\r\n5\r\n" % time,
                       IS_IT_THERE)  # fmt: skip
        yield pipeline(f"touch: {name}", K_IS_10, b"touch k %b\r\n" % time, IS_IT_THERE)
        yield pipeline(f"gat: {name}", K_IS_10, b"gat %b k\r\n" % time, IS_IT_THERE)
        yield pipeline(f"gats: {name}", K_IS_10, b"gats %b k x\r\n" % time, IS_IT_THERE)
        yield pipeline(f"set, noreply: {name}", b"set k 0 %b 1 noreply\r\n5\r\n" % time,
                       IS_IT_THERE)  # fmt: skip
        yield pipeline(f"touch, noreply: {name}", K_IS_10, b"touch k %b noreply\r\n" % time,
                       IS_IT_THERE)  # fmt: skip
    gone = b"set k 0 -1 1\r\n5\r\n"
    for name, line in {
        "add": b"add k 0 0 3\r\nnew\r\n",
        "replace": b"replace k 0 0 3\r\nnew\r\n",
        "append": b"append k 0 0 3\r\nnew\r\n",
        "prepend": b"prepend k 0 0 3\r\nnew\r\n",
        "cas": b"cas k 0 0 3 1\r\nnew\r\n",
        "delete": b"delete k\r\n",
        "touch": b"touch k 100\r\n",
        "gat": b"gat 100 k\r\n",
        "incr": b"incr k 1\r\n",
        "gets": b"gets k k\r\n",
    }.items():
        yield pipeline(f"expired: {name}", gone, line, b"get k\r\n")
    yield pipeline("touch: miss", b"touch k 0\r\n")
    yield pipeline("touch: hit", K_IS_10, b"touch k 0\r\n")
    yield pipeline("touch keeps the unique", K_IS_10, b"gets k\r\ntouch k 100\r\ngets k\r\n")
    yield pipeline("gat keeps the unique", K_IS_10, b"gets k\r\ngat 100 k\r\ngats 0 k\r\n")
    yield pipeline("touch keeps flags", b"set k 8 0 1\r\nx\r\ntouch k 100\r\nget k\r\n")
    yield pipeline("gat of several sets them all", A_AND_B, b"gat -1 a b\r\nget a b\r\n")
    yield dialogue(
        "two seconds",
        # Not one: memcached counts its own ticks, and the next may be due at once.
        b"set short 0 2 1\r\ns\r\n"
        b"set long 0 100 1\r\nl\r\n"
        b"set never 0 0 1\r\nn\r\n"
        b"set touched 0 0 1\r\nt\r\ntouch touched 2\r\n"
        b"set saved 0 2 1\r\nv\r\ntouch saved 100\r\n"
        b"set gat 0 0 1\r\ng\r\ngat 2 gat\r\n"
        b"set gatted 0 2 1\r\nh\r\ngat 0 gatted\r\n"
        b"set counter 0 2 1\r\n5\r\nincr counter 1\r\n"
        b"set grown 0 2 1\r\n5\r\nappend grown 0 0 1\r\n6\r\n"
        b"set renewed 0 2 1\r\n5\r\nset renewed 0 0 1\r\n6\r\n"
        b"get short long never saved gatted counter grown renewed\r\n",
        Pause(2.5),
        b"get short long never touched saved gat gatted counter grown renewed\r\n"
        b"add short 0 0 3\r\nnew\r\ndelete touched\r\nincr counter 1\r\n"
        b"append grown 0 0 1\r\n7\r\n",
    )


# ---- flush_all -----------------------------------------------------------------------------------


def flush_all() -> Iterator[Script]:
    for name, line in {
        "now": b"flush_all",
        "0": b"flush_all 0",
        "-1": b"flush_all -1",
        "-100000": b"flush_all -100000",
        "in 1,000 seconds": b"flush_all 1000",
        "in 30 days": b"flush_all " + MONTH,
        "in 2038": b"flush_all " + FUTURE,
        "a word": b"flush_all abc",
        "a number and a letter": b"flush_all 0x",
        "empty quotes": b'flush_all ""',
    }.items():
        for suffix in (b"", b" noreply"):
            after = b"get a b\r\nset a 0 0 3\r\nnew\r\nget a b\r\n"
            yield pipeline(f"{name}{suffix.decode()}", A_AND_B, line + suffix + b"\r\n", after)
    yield pipeline("of nothing", b"flush_all\r\nflush_all\r\n")
    yield pipeline("twice", A_AND_B, b"flush_all\r\n", A_AND_B, b"flush_all\r\nget a b\r\n")
    yield pipeline("a set right behind it stays", b"flush_all\r\n", A_AND_B, b"get a b\r\n")
    yield pipeline("later, and then now", A_AND_B, b"flush_all 1000\r\nflush_all\r\nget a b\r\n")
    yield pipeline("now, and then later", A_AND_B, b"flush_all\r\nflush_all 1000\r\nget a b\r\n",
                   A_AND_B, b"get a b\r\n")  # fmt: skip
    yield pipeline("50 times set and flush", (A_AND_B + b"flush_all\r\nget a b\r\n") * 50)
    yield dialogue(
        "for every connection",
        A_AND_B,
        Second(b"get a b\r\nflush_all\r\nget a b\r\n"),
        b"get a b\r\n" + A_AND_B,
        Second(b"get a b\r\n"),
    )
    yield pipeline("the large go too", put(b"k", FITS), b"flush_all\r\nget k\r\n")
    yield pipeline(
        "a thousand go",
        *(put(key, key, tail=b" noreply") for key in THOUSAND),
        b"flush_all\r\nget " + b" ".join(THOUSAND) + b"\r\n",
    )


# ---- The rest of the commands --------------------------------------------------------------------


def administration() -> Iterator[Script]:
    for line in (
        b"version", b"version ", b"verbosity 0", b"verbosity 1", b"verbosity 2", b"verbosity 3",
        b"verbosity 100", b"verbosity a", b"shutdown", b"shutdown graceful", b"shutdown ",
        b"SHUTDOWN", b"shutdowns", b"stats", b"stats ", b"stats nonsense", b"stats NONSENSE",
        b"stats nonsense and more", b"STATS", b"statsx", b"stat",
    ):  # fmt: skip
        yield pipeline(f"{line.decode()!r}", line + b"\r\n")
    yield pipeline("stats between gets", A_AND_B, b"get a\r\nstats\r\nget b\r\nstats\r\n")
    yield pipeline("stats, bare newline", b"stats\n")
    yield pipeline("version 100 times", b"version\r\n" * 100)
    yield pipeline("verbosity back to 0", b"verbosity 2\r\nget a\r\nverbosity 0\r\n")
    for what in ("settings", "slabs", "slabs x", "sizes", "sizes x", "conns", "reset", "reset x",
                 "cachedump", "cachedump 1", "cachedump x 0", "cachedump 1 x", "cachedump 1 -1",
                 "cachedump 64 0", "cachedump 63 0", "cachedump 0 0", "cachedump 2 0 0",
                 "cachedumps 1 0", "item", "slab", "resetx", "extstore", "reset noreply",
                 "noreply"):  # fmt: skip
        yield pipeline(f"stats {what}", f"stats {what}\r\n".encode())
    yield pipeline("stats items, of one", put(b"k", b"x"), b"stats items\r\n")


TUNING = (
    "slabs", "slabs x", "slabs reassign", "slabs reassign 1", "slabs reassign 1 2 3",
    "slabs reassign 1 1", "slabs reassign 1 -1", "slabs reassign 99 1", "slabs reassign 1 99",
    "slabs reassign x 1", "slabs reassign 1 x", "slabs reassign 99 99", "slabs automove",
    "slabs automove 0", "slabs automove 2", "slabs automove 3", "slabs automove -1",
    "slabs automove x", "slabs automove 1 noreply", "slabs automove 0 0", "slabs automove 1",
    "slabs automove ratio", "slabs automove ratio 0.5", "slabs automove ratio x",
    "slabs automove ratio 1e3", "slabs automove ratio -0.5", "slabs automove ratio 5x",
    "slabs automove ratio .5", "slabs automove ratio nan", "slabs automove ratio 0.8",
    "slabs automove window", "slabs automove window x", "slabs automove noreply",
    "lru", "lru x", "lru noreply", "lru tune", "lru tune 10 20 0.1 1.5 noreply",
    "lru tune 10 20 0.1", "lru tune 50 40 0.1 1.5", "lru tune 10 20 0 1.5", "lru tune 10 20 0.1 0",
    "lru tune 10 20 -1 1", "lru tune x 20 0.1 1.5", "lru tune 10 x 0.1 1.5",
    "lru tune 10 20 x 1.5", "lru tune 10 20 0.1 x", "lru tune 80 0 0.1 1.5",
    "lru tune 81 0 0.1 1.5", "lru tune 20 40 0.2 2", "lru mode", "lru mode flat", "lru mode x",
    "lru mode flat x", "lru mode flat noreply", "lru mode segmented", "lru temp_ttl",
    "lru temp_ttl 60", "lru temp_ttl x", "lru temp_ttl 60 noreply", "lru temp_ttl noreply",
    "lru temp_ttl 60 60", "lru temp_ttl -1", "lru_crawler", "lru_crawler x", "lru_crawler sleep",
    "lru_crawler sleep 1000000", "lru_crawler sleep 1000001", "lru_crawler sleep -1",
    "lru_crawler sleep x", "lru_crawler sleep 100", "lru_crawler tocrawl",
    "lru_crawler tocrawl 10", "lru_crawler tocrawl x", "lru_crawler tocrawl 10 20",
    "lru_crawler tocrawl 0", "lru_crawler crawl", "lru_crawler crawl 0", "lru_crawler crawl 64",
    "lru_crawler crawl 1,64", "lru_crawler crawl -1", "lru_crawler crawl x",
    "lru_crawler crawl 1 x", "lru_crawler metadump", "lru_crawler metadump 0",
    "lru_crawler metadump 64", "lru_crawler metadump 1,64", "lru_crawler metadump -1",
    "lru_crawler metadump x", "lru_crawler metadump 1 2", "lru_crawler metadumps all",
    "lru_crawler metadump all x y", "cache_memlimit", "cache_memlimit 7", "cache_memlimit 0",
    "cache_memlimit -1", "cache_memlimit x", "cache_memlimit 1000000001",
    "cache_memlimit 64 noreply", "cache_memlimit 7 noreply", "cache_memlimit x noreply",
    "cache_memlimit 64", "extstore", "extstore x", "extstore item_age", "extstore item_age 100",
    "extstore item_age x", "extstore item_age 100 100", "extstore item_age 100 noreply",
    "extstore free_memchunks", "extstore free_memchunks 1", "extstore free_memchunks 1 2",
    "extstore free_memchunks 64 2", "extstore max_frag 0.5", "extstore max_frag x",
    "extstore drop_unread 1", "extstore drop_unread x", "extstore 1 2", " lru mode segmented",
    " slabs automove 1", " cache_memlimit 64", " lru_crawler tocrawl 0",
)  # fmt: skip


def tuning() -> Iterator[Script]:
    for line in TUNING:
        yield pipeline(repr(line), line.encode() + b"\r\n")


def detail() -> Iterator[Script]:
    """What `stats detail` counts. Of one prefix: memcached has several in the order of its hash."""
    for name, lines in {
        "nothing": b"",
        "a set": put(b"a:b", b"x"),
        "a set noreply": put(b"a:b", b"x", tail=b" noreply"),
        "an add that fails": put(b"a:b", b"x") + put(b"a:b", b"x", b"add"),
        "append": put(b"a:b", b"x") + put(b"a:b", b"x", b"append"),
        "cas": put(b"a:b", b"x", b"cas", b" 1"),
        "too large": b"set a:b 0 0 2000000\r\n" + b"x" * 2_000_000 + b"\r\n",
        "a bad block": b"set a:b 0 0 1\r\nxyz and more\r\n",
        "get": put(b"a:b", b"x") + b"get a:b\r\nget a:c\r\nget a:c a:b a:d\r\n",
        "gets": put(b"a:b", b"x") + b"gets a:c a:b\r\n",
        "gat": put(b"a:b", b"x") + b"gat 0 a:b\r\ngats 0 a:c\r\n",
        "delete": put(b"a:b", b"x") + b"delete a:b\r\ndelete a:b noreply\r\n",
        "the rest": put(b"a:b", b"1") + b"incr a:b 1\r\ndecr a:c 1\r\ntouch a:b 0\r\nflush_all\r\n",
        "no delimiter": put(b"a", b"x") + b"get a\r\n",
        "two delimiters": put(b"a:b:c", b"x"),
        "an empty prefix": put(b":b", b"x"),
        "off": b"stats detail off\r\n" + put(b"a:b", b"x") + b"stats detail on\r\n",
        "reset": put(b"a:b", b"x") + b"stats reset\r\n",
    }.items():
        on, off = b"stats detail on\r\n", b"stats detail dump\r\nstats detail off\r\n"
        yield pipeline(name, on, lines, off)
    yield pipeline("before it is on", put(b"a:b", b"x"), b"stats detail on\r\nstats detail dump\r\n"
                   b"stats detail off\r\n")  # fmt: skip
    for line in (b"stats detail", b"stats detail x", b"stats detail on x", b"stats detail dumpx",
                 b"stats detail off x", b"stats detail noreply"):  # fmt: skip
        yield pipeline(repr(line.decode()), line + b"\r\n")


# ---- Endings: who closes, and when ---------------------------------------------------------------


def endings() -> Iterator[Script]:
    for name, line in {
        "quit": b"quit\r\n",
        "quit, bare newline": b"quit\n",
        "quit, trailing spaces": b"quit   \r\n",
        "quit and words": b"quit now please\r\n",
        "quit noreply": b"quit noreply\r\n",
        "quit, commands behind it": b"quit\r\nset k 0 0 1\r\nx\r\nget k\r\n",
        "commands, quit, commands": b"set k 0 0 1\r\nx\r\nget k\r\nquit\r\nget k\r\n",
        "a bad block, then quit": b"set k 0 0 1\r\nxyzquit\r\nget k\r\n",
        "quiet commands, then quit": b"set k 0 0 1 noreply\r\nx\r\nquit\r\n",
    }.items():
        yield hang_up(name, line)
    yield pipeline("quits", K_IS_10, b"quits\r\nget k\r\n")
    yield pipeline("QUIT", K_IS_10, b"QUIT\r\nget k\r\n")
    yield hang_up("what was stored before quit is there after it", b"set k 0 0 1\r\nx\r\n",
                  Second(b"get k\r\n"), b"quit\r\n")  # fmt: skip
    # memcached drops the answers it still owes when it hangs up on these: nothing stands before.
    for name, request in {
        "GET": b"GET / HTTP/1.1\r\nHost: localhost:11211\r\n\r\n",
        "GET, 1.0": b"GET / HTTP/1.0\r\n\r\n",
        "GET, bare newline": b"GET / HTTP/1.1\n\n",
        "GET, version 2": b"GET / HTTP/2\r\n\r\n",
        "GET of a command": b"GET /%0d%0adelete%20k HTTP/1.1\r\n\r\n",
        "PUT": b"PUT /k HTTP/1.1\r\nContent-Length: 10\r\n\r\ndelete k\r\n",
        "HEAD": b"HEAD / HTTP/1.1\r\n\r\n",
        "OPTIONS": b"OPTIONS * HTTP/1.1\r\n\r\n",
        "CONNECT": b"CONNECT localhost:11211 HTTP/1.1\r\n\r\n",
        "POST with commands in the body": b"POST / HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 10\r\n\r\ndelete k\r\n",
        "an unknown verb and HTTP/": b"hello HTTP/\r\ndelete k\r\n",
        "many words and HTTP/": b"hello to all the world HTTP/9\r\ndelete k\r\n",
    }.items():
        yield hang_up(f"HTTP: {name}", K_IS_10, Second(b"get k\r\n"), request)
    for name, line in {
        "HTTP in the middle": b"hello HTTP/1.1 world\r\n",
        "http in lower case": b"hello http/1.1\r\n",
        "HTTP without a slash": b"hello HTTP\r\n",
        "HTTP as a key": b"get / HTTP/1.1\r\n",
        "HTTP as an exptime": b"touch / HTTP/1.1\r\n",
        "HTTP as a delay": b"flush_all HTTP/1.1\r\n",
        "HTTP behind a delete": b"delete / HTTP/1.1\r\n",
        "HTTP behind a version": b"version HTTP/1.1\r\n",
        "HTTP behind a set": b"set / HTTP/1.1\r\n",
        "an answer of HTTP": b"HTTP/1.1 200 OK\r\n",
    }.items():
        yield pipeline(name, K_IS_10, line, b"get k\r\n")
    yield dialogue("an answer of HTTP, and no more words", K_IS_10, b"HTTP/1.1\r\nget k\r\n")
    # No newline within 2,048 bytes (proto_text.c:363-391).
    for name, line in {
        "2,049 bytes": b"x" * 2049,
        "3,000 bytes": b"x" * 3000,
        "60,000 bytes": b"x" * 60_000,
        "3,000 spaces": b" " * 3000,
        "3,000 NULs": b"\0" * 3000,
        "3,000 carriage returns": b"\r" * 3000,
        "a set": b"set " + b"k" * 3000,
        "a delete": b"delete " + b"k" * 3000,
        "a gat": b"gat 0 " + b"key " * 750,
        "a GET": b"GET " + b"key " * 750,
        "get and no space": b"get" + b"k" * 3000,
        "a get behind 101 spaces": b" " * 101 + b"get " + b"key " * 750,
        "a get behind a carriage return": b"\rget " + b"key " * 750,
        "an unknown verb": b"hello " + b"world " * 500,
    }.items():
        yield hang_up(f"no newline: {name}", line)
    yield hang_up("no newline: behind a right command", b"set k 0 0 1\r\nx\r\n", b"x" * 3000)
    yield dialogue("2,047 bytes, then a newline", b"x" * 2047 + b"\r\n")
    # With its newline in the same write the line is whole, however long: that is a matter of how
    # TCP cuts, so these may not come byte by byte.
    for name, line in {
        "3,000 bytes": b"x" * 3000,
        "a delete of 3,000 bytes": b"delete " + b"k" * 3000,
        "a gat of 3,000 bytes": b"gat 0 " + b"key " * 750,
    }.items():
        yield Script(f"newline in the same write: {name}", (K_IS_10 + line + b"\r\n",), whole=True)
    yield pipeline("a get of 3,000 bytes", K_IS_10, b"get " + b"key " * 749 + b"k\r\n")
    yield pipeline("a gets of 3,000 bytes", K_IS_10, b"gets " + b"key " * 749 + b"k\r\n")
    yield half_close("half-close at once", b"")
    yield half_close("half-close behind a pipeline", A_AND_B * 50 + b"get a b\r\n" * 50)
    yield half_close("half-close behind large answers", put(b"k", FITS), b"get k\r\n" * 8)
    yield half_close("half-close inside a word", A_AND_B, b"get a\r\nge")
    yield half_close("half-close behind a line without its newline", A_AND_B, b"get a\r\nget b")
    yield half_close("half-close behind a carriage return", A_AND_B, b"get a\r\nget b\r")
    yield half_close("half-close behind a storage line", A_AND_B, b"set a 0 0 3\r\n")
    yield half_close("half-close inside a block", A_AND_B, b"set a 0 0 3\r\nne")
    yield half_close("half-close before the end of a block", A_AND_B, b"set a 0 0 3\r\nnew\r")
    yield half_close("half-close inside swallowed data", A_AND_B,
                     b"set a 0 0 9999999 noreply\r\nabc")  # fmt: skip


CHAPTERS = {
    "lines": lines,
    "arguments": arguments,
    "numbers": numbers,
    "retrieval": retrieval,
    "keys": keys,
    "storage": storage,
    "data blocks": data_blocks,
    "too large": too_large,
    "noreply": noreply,
    "cas": cas,
    "delete": delete,
    "arithmetic": arithmetic,
    "expiry": expiry,
    "flush_all": flush_all,
    "administration": administration,
    "tuning": tuning,
    "detail": detail,
    "endings": endings,
}

SCRIPTS = tuple(
    evolve(script, name=f"{chapter}: {script.name}")
    for chapter, scripts in CHAPTERS.items()
    for script in scripts()
)


# ---- Exceptions: where 1.6.18 is not 1.6.45 ------------------------------------------------------

IN_STEP = b"<in step>"  # what the marker's answer becomes in an answer
BAD_LINE = b"CLIENT_ERROR bad command line format\r\n"
BAD_EXPTIME = b"CLIENT_ERROR invalid exptime argument\r\n"
BAD_DELTA = b"CLIENT_ERROR invalid numeric delta argument\r\n"
NO_SHUTDOWN = b"SERVER_ERROR: shutdown not enabled\r\n"
ERROR = b"ERROR\r\n"
STORED = b"STORED\r\n"
END = b"END\r\n"
K_HIT = b"VALUE k 0 2\r\n10\r\n" + END
K_AND_WORD_HIT = b"VALUE k 0 2\r\n10\r\nVALUE word 0 4\r\nword\r\n" + END
ABCDE_HIT = b"VALUE k 0 5\r\nabcde\r\n" + END
A_AND_B_HIT = b"VALUE a 1 1\r\n1\r\nVALUE b 2 2\r\n22\r\n" + END

SHORT_LINE = "proto_parser.c:169-172: a line below four bytes is a bad one, not an unknown verb"
LEADING_SPACE = "proto_parser.c:186-204: the verb ends at the first space, so here it is empty"
TOO_FEW = "proto_parser.c:94-99,122-126,146-150: too few words are a bad line, not an unknown verb"
TOO_MANY = "proto_parser.c:121-155: words too many are ignored"
LAST_WORD = "proto_parser.c:110-117: noreply is whatever word comes last, in an unknown command too"
LENGTH_FIRST = "proto_parser.c:130-142: a bad length is found before noreply is looked for"
STRICT_NUMBER = "vendor/mcmc/mcmc.c:482-612: digits only, 11 or 22 of them, and no overflow"
SWALLOW = "proto_text.c:764-770: behind a bad key, flags, exptime or unique the block is swallowed"
BYTES = "proto_parser.c:174-191: a line ends at its newline, and NUL is a byte like others"
FLUSHED = "items.c:587-630: a flush removes the items, so a later flush does not bring them back"
HTTP = "proto_text.c:1653-1661: HTTP/ hangs up only behind another word"
SHUTDOWN = "proto_text.c:1225-1228: the wording"
BGET = "proto_parser.c:261-285: bget is gone"
SIGN_HUNT = (
    "util.c:67-92: looks for a minus sign in the number only; 1.6.18 looks beyond its end too"
)


@frozen
class Difference:
    """Why mctwist must not answer as 1.6.18 does, and what it must answer.

    Not `steady`: 1.6.18 errs only sometimes, so that it may as well agree.
    """

    reason: str
    expected: bytes
    steady: bool = True


def differ(
    chapter: str, reason: str, expected: bytes, *scripts: str, steady: bool = True
) -> dict[str, Difference]:
    """A row of the table: scripts of one chapter with one answer for one reason."""
    difference = Difference(reason, expected + IN_STEP, steady)
    return {f"{chapter}: {script}": difference for script in scripts}


def spelt(place: str, *numbers: str) -> tuple[str, ...]:
    return tuple(f"{place}: {number}" for number in numbers)


NOT_A_NUMBER = (
    "--5", "1_0", "1,000", "0x2", "1e3", "1.5", "5.", "abc", "5x", "x5", "nan", "inf",
    "an Arabic 5", "a superscript 5",
)  # fmt: skip
# What strtol took and mcmc does not, in places that are of 32 bits and in those of 64.
LOOSE_32 = (
    "+5", "5 in 12 digits", "5 in 22 digits", "5 in 23 digits", "5 and a tab", "a tab and 5",
    "5 and NUL",
)  # fmt: skip
LOOSE_64 = ("-0", "+5", "5 in 23 digits", "5 and a tab", "a tab and 5", "5 and NUL")
# What a cast to int32 made of 64 bits.
WRAPPED = (
    "2^31", "2^32 - 1", "2^32", "2^32 + 3", "2^63 - 1", "-2^31 - 1", "-2^32", "-2^63",
)  # fmt: skip

EXCEPTIONS: dict[str, Difference] = {
    # -- lines
    **differ("lines", SHORT_LINE, BAD_LINE, "blank", "blank, bare newline", "one letter",
             "one letter, bare newline", "two letters, bare newline", "one space", "one NUL"),
    **differ("lines", SHORT_LINE, BAD_LINE * 3, "three blank"),
    **differ("lines", LEADING_SPACE, STORED + ERROR + K_HIT,
             *(f"{verb}, leading space" for verb in ("get", "gets", "gat", "gats", "delete",
                                                     "incr", "decr", "touch", "version"))),
    **differ("lines", LEADING_SPACE, ERROR + ERROR + END,
             *(f"{verb}, leading space" for verb in ("set", "add", "replace", "append", "prepend",
                                                     "cas"))),
    **differ("lines", STRICT_NUMBER, STORED + BAD_DELTA, "incr, two carriage returns",
             "decr, two carriage returns"),
    **differ("lines", STRICT_NUMBER, STORED + BAD_EXPTIME, "touch, two carriage returns"),
    **differ("lines", STRICT_NUMBER, STORED + BAD_LINE, "verbosity, two carriage returns"),
    **differ("lines", BYTES, STORED + END, "NUL behind a whole line"),
    **differ("lines", BGET, STORED + ERROR, "bget, long forgotten"),
    # -- arguments
    **differ("arguments", TOO_FEW, BAD_LINE,
             *(f"{verb} alone" for verb in ("get", "gets", "gat", "gats", "set", "add", "replace",
                                            "append", "prepend", "cas", "delete", "incr", "decr",
                                            "touch"))),
    **differ("arguments", "proto_text.c:790-793: no level is a bad line", BAD_LINE,
             "verbosity alone"),
    **differ("arguments", TOO_FEW, STORED + BAD_LINE + K_HIT,
             *(f"too few: {line!r}" for line in ("get ", "gat 0", "gats 0", "incr k", "decr k",
                                                 "touch k", "touch k "))),
    **differ("arguments", TOO_FEW, BAD_LINE + ERROR + END,
             *(f"too few: '{verb}{words}'"
               for verb in ("set", "add", "replace", "append", "prepend", "cas")
               for words in (" k", " k 0", " k 0 0"))),
    **differ("arguments", SWALLOW, BAD_LINE + END, "too few: 'cas k 0 0 5'"),
    **differ("arguments", TOO_MANY, STORED + b"VALUE k 0 5\r\nhello\r\n" + END,
             "too many: 'set k 0 0 5' + 3", "too many: 'add k 0 0 5' + 3"),
    **differ("arguments", TOO_MANY, b"NOT_STORED\r\n" + END, "too many: 'replace k 0 0 5' + 3",
             "too many: 'append k 0 0 5' + 3", "too many: 'prepend k 0 0 5' + 3"),
    **differ("arguments", TOO_MANY, b"NOT_FOUND\r\n" + END, "too many: 'cas k 0 0 5 1' + 3"),
    **differ("arguments", TOO_MANY, STORED + b"DELETED\r\n" + END,
             *(f"too many: {line!r}" for line in ("delete k 1", "delete k x", "delete k 0 0"))),
    **differ("arguments", TOO_MANY, STORED + END, "too many: 'delete k 1 noreply'"),
    **differ("arguments", TOO_MANY, STORED + b"15\r\nVALUE k 0 2\r\n15\r\n" + END,
             "too many: 'incr k 5 6 7'"),
    **differ("arguments", TOO_MANY, STORED + b"TOUCHED\r\n" + K_HIT, "too many: 'touch k 0 5 6'"),
    **differ("arguments", TOO_MANY, STORED + b"OK\r\n" + END, "too many: 'flush_all 0 0 0'"),
    **differ("arguments", TOO_MANY, STORED + b"OK\r\n" + K_HIT, "too many: 'verbosity 0 1 2'"),
    **differ("arguments", SHUTDOWN, STORED + NO_SHUTDOWN + K_HIT, "too many: 'shutdown now'",
             "too many: 'shutdown a b'"),
    # -- numbers
    **differ("numbers", SWALLOW, BAD_LINE + END,
             *spelt("flags of a set", *NOT_A_NUMBER, "-5", "2^64", "2^64 + 5", "10^30", "-2^31",
                    "-2^31 - 1", "-2^32", "-2^63", "-2^64"),
             *spelt("exptime of a set", *NOT_A_NUMBER, "2^63", "2^64 - 1", "2^64", "2^64 + 5",
                    "10^30", "-2^64"),
             *spelt("unique of a cas", *NOT_A_NUMBER, "-5", "2^64", "2^64 + 5", "10^30", "-2^31",
                    "-2^31 - 1", "-2^32", "-2^63", "-2^64")),
    **differ("numbers", BYTES, STORED + b"VALUE k 5 5\r\nabcde\r\n" + END,
             *spelt("flags of a set", "5 and NUL")),
    **differ("numbers", BYTES, STORED + ABCDE_HIT, *spelt("exptime of a set", "5 and NUL")),
    **differ("numbers", STRICT_NUMBER, BAD_LINE + ERROR + END,
             *spelt("length of a set", *LOOSE_32, "2^32", "2^32 + 3", "-2^32", "-2^63")),
    **differ("numbers", STRICT_NUMBER, BAD_LINE + END, *spelt("unique of a cas", *LOOSE_64)),
    **differ("numbers", STRICT_NUMBER, STORED + BAD_DELTA + K_HIT,
             *spelt("delta of an incr", *LOOSE_64), *spelt("delta of a decr", *LOOSE_64)),
    **differ("numbers", STRICT_NUMBER, STORED + BAD_EXPTIME + ABCDE_HIT,
             *spelt("exptime of a touch", *LOOSE_32, *WRAPPED),
             *spelt("exptime of a gat", *LOOSE_32, *WRAPPED),
             *spelt("delay of a flush_all", *LOOSE_32, *WRAPPED)),
    **differ("numbers", STRICT_NUMBER, BAD_LINE,
             *spelt("level of a verbosity", *LOOSE_32, "-0", "2^32", "2^32 + 3", "2^63 - 1", "2^63",
                    "2^64 - 1")),
    # -- keys
    **differ("keys", BYTES, STORED + b"VALUE \0ab 0 5\r\nvalue\r\n" + END + END
             + b"DELETED\r\n" + END, "byte 0x00 first"),
    **differ("keys", BYTES, STORED + b"VALUE a\0b 0 5\r\nvalue\r\n" + END + END
             + b"DELETED\r\n" + END, "byte 0x00 inside"),
    **differ("keys", BYTES, STORED + b"VALUE ab\0 0 5\r\nvalue\r\n" + END + END
             + b"DELETED\r\n" + END, "byte 0x00 last"),
    **differ("keys", BYTES, STORED + b"VALUE \0 0 5\r\nvalue\r\n" + END + END
             + b"DELETED\r\n" + END, "byte 0x00 alone"),
    # Of the eleven bytes, the nine are the block without its line end; "\r\n" is left.
    **differ("keys", SWALLOW, STORED + STORED + BAD_LINE + BAD_LINE + A_AND_B_HIT,
             "set <251>", "add <251>", "replace <251>", "append <251>", "prepend <251>",
             "cas <251>"),
    **differ("keys", SWALLOW, STORED + STORED + BAD_LINE + A_AND_B_HIT,
             "set <251> noreply", "add <251> noreply", "replace <251> noreply",
             "append <251> noreply", "prepend <251> noreply", "cas <251> noreply"),
    # -- storage, data blocks, too large
    **differ("storage", SWALLOW, STORED + BAD_LINE + BAD_LINE + b"VALUE k 0 1\r\na\r\n" + END,
             "append and prepend, bad flags all the same"),
    **differ("data blocks", SWALLOW, STORED + BAD_LINE + b"VALUE k 0 1\r\nv\r\n" + END,
             *(f"swallowed: {payload}" for payload in ("a command", "commands", "quit", "HTTP",
                                                       "65,536 bytes", "65,537 newlines"))),
    **differ("data blocks", SHORT_LINE, STORED + BAD_LINE + b"VALUE k 0 0\r\n\r\n" + END,
             "zero length, twice the line end"),
    **differ("data blocks", SHORT_LINE, STORED + b"CLIENT_ERROR bad data chunk\r\n" + BAD_LINE
             + b"VALUE k 0 3\r\nold\r\n" + END,
             "bad block: too long by one", "bad block: too long by two"),
    **differ("data blocks", SHORT_LINE, STORED + b"CLIENT_ERROR bad data chunk\r\n" + BAD_LINE
             + b"DELETED\r\n" + END, "bad block: too long by a line end and a command"),
    **differ("too large", SWALLOW, STORED + BAD_LINE + b"VALUE k 0 3\r\nold\r\n" + END,
             "a set of 2 MiB with bad flags deletes nothing"),
    # -- noreply
    **differ("noreply", TOO_FEW, STORED + STORED + BAD_LINE + K_AND_WORD_HIT, "touch noreply",
             "incr noreply", "gat noreply"),
    **differ("noreply", TOO_FEW, ERROR + BAD_LINE + b"VALUE k 0 1\r\nx\r\n" + END,
             "an error answers again behind a quiet command"),
    **differ("noreply", LAST_WORD, STORED + STORED + K_AND_WORD_HIT, "delete noreply", "noreply",
             "noreply noreply", "hello noreply", "hello world noreply", "shutdown noreply",
             "touch k 0 x noreply"),
    **differ("noreply", TOO_MANY, STORED + STORED + b"DELETED\r\nVALUE word 0 4\r\nword\r\n" + END,
             "delete k NOREPLY", "delete k noreplyx", "delete k noreply x", "delete k norepl"),
    **differ("noreply", TOO_MANY, STORED + STORED + b"VALUE word 0 4\r\nword\r\n" + END,
             "delete k x noreply"),
    **differ("noreply", TOO_MANY, STORED + STORED + b"15\r\nVALUE k 0 2\r\n15\r\n"
             + b"VALUE word 0 4\r\nword\r\n" + END, "incr k 5 noreply x"),
    **differ("noreply", TOO_MANY, STORED + STORED + b"VALUE k 0 2\r\n15\r\n"
             + b"VALUE word 0 4\r\nword\r\n" + END, "incr k 5 x noreply"),
    **differ("noreply", SWALLOW, STORED + K_HIT, "set: bad flags", "set: bad exptime",
             "cas: bad unique", "cas: noreply for the unique"),
    **differ("noreply", LENGTH_FIRST, STORED + BAD_LINE + ERROR + K_HIT, "set: bad length",
             "set: negative length", "set: for the length"),
    **differ("noreply", TOO_MANY, STORED + STORED + b"VALUE k 0 3\r\nnew\r\n" + END,
             "set: followed by a word"),
    **differ("noreply", TOO_MANY, STORED + b"VALUE k 0 3\r\nnew\r\n" + END, "set: twice"),
    # -- cas, delete, flush_all
    **differ("cas", STRICT_NUMBER, STORED + b"VALUE k 5 3 cas-1\r\nold\r\n" + END + IN_STEP
             + BAD_LINE + b"VALUE k 5 3\r\nold\r\n" + END, "unique with a sign"),
    **differ("delete", TOO_MANY, STORED + STORED + b"DELETED\r\nVALUE b 2 2\r\n22\r\n" + END,
             "takes only its first key"),
    **differ("flush_all", FLUSHED, STORED + STORED + b"OK\r\nOK\r\n" + END + STORED + STORED
             + A_AND_B_HIT, "now, and then later"),
    # -- arithmetic; 1.6.18's own mistake, which shows only in memory that was used before
    **differ("arithmetic", SIGN_HUNT, STORED + b"9223372036854775809\r\n"
             b"VALUE k 0 19\r\n9223372036854775809\r\n" + END,
             "'9223372036854775808', incr k 1", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"9223372036854775807\r\n"
             b"VALUE k 0 19\r\n9223372036854775807\r\n" + END,
             "'9223372036854775808', decr k 1", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"9223372036854775810\r\n"
             b"VALUE k 0 19\r\n9223372036854775810\r\n" + END,
             "'9223372036854775809', incr k 1", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"18446744073709551615\r\n"
             b"VALUE k 0 20\r\n18446744073709551615\r\n" + END,
             "'18446744073709551614', incr k 1", "'18446744073709551615', incr k 0", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"0\r\n"
             b"VALUE k 0 20\r\n0                   \r\n" + END,
             "'18446744073709551615', incr k 1",
             "'18446744073709551615', decr k 18446744073709551615", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"1\r\n"
             b"VALUE k 0 20\r\n1                   \r\n" + END,
             "'18446744073709551615', incr k 2", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"18446744073709551614\r\n"
             b"VALUE k 0 20\r\n18446744073709551614\r\n" + END,
             "'18446744073709551615', decr k 1",
             "'18446744073709551615', incr k 18446744073709551615", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"0\r\n"
             b"VALUE k 0 19\r\n0                  \r\n" + END,
             "'9223372036854775808', incr k 9223372036854775808", steady=False),
    **differ("arithmetic", SIGN_HUNT, STORED + b"610\r\n"
             b"VALUE k 0 20\r\n610                 \r\n" + END,
             "'18446744073709551610', decr k 18446744073709551000", steady=False),
    # -- administration, endings
    **differ("administration", SHUTDOWN, NO_SHUTDOWN, "'shutdown'", "'shutdown graceful'",
             "'shutdown '"),
    **differ("endings", TOO_MANY, STORED + b"NOT_FOUND\r\n" + K_HIT, "HTTP behind a delete"),
    **differ("endings", TOO_FEW, STORED + BAD_LINE + K_HIT, "HTTP behind a set"),
    **differ("endings", HTTP, STORED + IN_STEP + ERROR + K_HIT,
             "an answer of HTTP, and no more words"),
}  # fmt: skip
