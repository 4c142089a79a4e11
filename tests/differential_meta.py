"""The corpus of the meta commands; see differential.py, whose machinery this is for.

Every flag of a command is sent alone, every two of them together in either order, and what is wrong
by itself, each to a key that is there, to one that is not, and to one that is stale; what a command
has done is looked at behind it. Times are multiples of ten seconds, for a clock may tick between.

Debian's 1.6.18 lacks what is newer. The answers that 1.6.45 gives to those scripts, and 1.6.18 does
not, are in a file of their own, which `python -m tests.differential_answers MEMCACHED` makes anew
with the program of a 1.6.45; `NEWER` says why.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from attrs import evolve

from tests.differential import (
    KEY_250,
    KEY_251,
    Difference,
    Script,
    Second,
    dialogue,
    pipeline,
)

#: What is there: a value, a number, something stale, and somebody who is to renew something.
THERE = (
    b"ms k 5 F7 T100\r\nvalue\r\n"
    b"ms n 2 T100\r\n10\r\n"
    b"ms old 3 T100\r\nold\r\nmd old I\r\n"
    b"ms won 3 T100\r\nwon\r\nmd won I\r\nmg won\r\n"
)
#: And the CAS uniques of it.
UNIQUES = b"gets k n old won\r\n"


def after(*keys: bytes) -> bytes:
    """What there is, when all is done."""
    return b"".join(b"mg %b u f s t v\r\n" % key for key in keys)


# The flags that mean something to a command, with arguments that fit it.
GET = (
    b"k", b"Oabc", b"q", b"c", b"f", b"s", b"t", b"T200", b"h", b"l", b"u", b"v", b"N50", b"R30",
    b"R150", b"C1", b"C{cas}",
)  # fmt: skip
STORE = (
    b"k", b"Oabc", b"q", b"c", b"s", b"F9", b"T200", b"I", b"C1", b"C99999999", b"C{cas}", b"N50",
    b"ME", b"MA", b"MP", b"MR", b"MS",
)  # fmt: skip
DELETE = (b"k", b"Oabc", b"q", b"C1", b"C{cas}", b"I", b"T200")
COUNT = (
    b"k", b"Oabc", b"q", b"c", b"t", b"v", b"T200", b"N50", b"J7", b"D5", b"MI", b"M+", b"MD",
    b"M-", b"C1", b"C{cas}",
)  # fmt: skip
#: The flags that mean nothing to some command, or are newer.
OTHERS = (b"x", b"E5", b"P1", b"L1", b"Pa,b", b"L", b"MX", b"D1", b"J1", b"F1", b"I", b"C1")


def letters(flags: Sequence[bytes]) -> str:
    return " ".join(flag.decode() for flag in flags) or "nothing"


def different(flags: Sequence[bytes]) -> bool:
    """Whether each letter is there once."""
    return len({flag[:1] for flag in flags}) == len(flags)


def few(flags: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """None of `flags`, each alone, and any two in either order where both are not wrong."""
    yield ()
    for flag in dict.fromkeys((*flags, *OTHERS)):
        yield (flag,)
    for one, other in combinations(flags, 2):
        if different((one, other)):
            yield one, other
            yield other, one


def on(verb: bytes, key: bytes, flags: Sequence[bytes], value: bytes = b"") -> bytes:
    """A command, with `{cas}` standing for the CAS unique of its key."""
    length = b" %d" % len(value) if verb == b"ms" else b""
    block = value + b"\r\n" if verb == b"ms" else b""
    rest = b"".join(b" " + flag.replace(b"{cas}", b"{cas:%b}" % key) for flag in flags)
    # Of what is not there nothing is known.
    rest = rest.replace(b"{cas:none}", b"1")
    return b"%b %b%b%b\r\n%b" % (verb, key, length, rest, block)


def get() -> Iterator[Script]:
    for flags in few(GET):
        yield dialogue(
            letters(flags),
            THERE,
            UNIQUES,
            b"".join(on(b"mg", key, flags) for key in (b"k", b"none", b"old", b"won")),
            after(b"k", b"none", b"old", b"won"),
        )
    everything = (b"v", b"k", b"Oo", b"c", b"f", b"s", b"t", b"h", b"l", b"q", b"u")
    yield dialogue("all that can be asked for", THERE, on(b"mg", b"k", everything))
    yield dialogue("the same, backwards", THERE, on(b"mg", b"k", everything[::-1]))
    yield pipeline("an empty value", b"ms k 0\r\n\r\nmg k v s\r\n")
    yield pipeline("a value with line ends", b"ms k 6\r\n\r\nEN\r\n\r\nmg k v s\r\n")
    yield pipeline("what a classic command has stored", b"set k 7 100 5\r\nvalue\r\nmg k v f t\r\n")
    yield pipeline("what a meta command has stored", b"ms k 5 F7\r\nvalue\r\nget k\r\n")
    yield pipeline("before and behind T", b"ms k 1 T100\r\nv\r\nmg k t T200\r\nmg k T300 t\r\n")
    yield pipeline("before and behind N", b"mg a t N50\r\nmg b N50 t\r\nmg c N50 T100 t\r\n")
    yield pipeline("a wins once", b"ms k 1 T20\r\nv\r\n" + b"mg k R30 t v\r\n" * 3 + b"mg k\r\n")
    yield pipeline("R needs an expiry", b"ms k 1\r\nv\r\n" + b"mg k R30 t v\r\n" * 2)
    yield pipeline("R of the same time", b"ms k 1 T30\r\nv\r\n" + b"mg k R30 t v\r\n" * 2)
    yield pipeline("T before and behind R", b"ms a 1 T100\r\nv\r\nms b 1 T100\r\nv\r\n",
                   b"mg a T10 R30\r\nmg b R30 T10\r\n")  # fmt: skip
    yield pipeline("R0, and negative", b"ms k 1 T20\r\nv\r\nmg k R0\r\nmg k R-1\r\nmg k R\r\n")
    yield pipeline("R as a date", b"ms k 1 T20\r\nv\r\nmg k R2000000000\r\n")
    yield pipeline("N of what is there", b"ms k 1\r\nv\r\n" + b"mg k N30 v t\r\n" * 2)
    yield pipeline("N of what is not", b"mg k N30 v t s f\r\n" * 3, b"ms k 1\r\nv\r\nmg k v\r\n")
    yield pipeline("N0", b"mg k N0 t\r\n" * 2, b"get k\r\n")
    yield pipeline("N that has passed", b"mg k N-1\r\n" * 2)
    yield pipeline("N quiet", b"mg k N30 q s\r\nmg k q\r\n")
    yield pipeline("what is vivified can be stored over", b"mg k N30\r\nadd k 0 0 1\r\nv\r\n",
                   b"ma k\r\nms k 1 ME\r\nv\r\nms k 1 MA\r\nv\r\nmg k v\r\n")  # fmt: skip
    yield pipeline("a hit, and the one before", b"ms k 1\r\nv\r\n" + b"mg k h\r\n" * 3)
    yield pipeline("a hit without a trace", b"ms k 1\r\nv\r\n" + b"mg k h u\r\n" * 2 + b"mg k h\r\n"
                   b"mg k h u\r\nset k 0 0 1\r\nv\r\nmg k h\r\n")  # fmt: skip
    yield pipeline("a hit by get", b"ms k 1\r\nv\r\nget k\r\nmg k h\r\n")
    yield pipeline("a hit by gat", b"ms k 1\r\nv\r\ngat 0 k\r\nmg k h\r\n")
    yield pipeline("h of what is vivified", b"mg k N30 h\r\nmg k h\r\n")
    yield pipeline("h behind a touch", b"ms k 1\r\nv\r\nmg k\r\nmg k T30 u h\r\nmg k h\r\n")
    yield pipeline("h behind a win", b"ms k 1\r\nv\r\nmg k\r\nmd k I\r\nmg k u h\r\nmg k u h\r\n")
    yield pipeline("T0", b"ms k 1 T20\r\nv\r\nmg k T0\r\nmg k t\r\n")
    yield pipeline("T that has passed", b"ms k 1 T20\r\nv\r\nmg k T-1 v\r\nmg k v\r\n")
    yield pipeline("stale by touch", THERE + b"gat 200 old\r\nmg old t\r\n")
    yield pipeline("quiet", b"mg none q\r\nmg none q k Oa\r\nms k 1\r\nv\r\nmg k q v\r\nmn\r\n")


def store() -> Iterator[Script]:
    for flags in few(STORE):
        yield dialogue(
            letters(flags),
            THERE,
            UNIQUES,
            b"".join(on(b"ms", key, flags, b"new!") for key in (b"k", b"none", b"old", b"won")),
            after(b"k", b"none", b"old", b"won"),
        )
    for letter in b"EAPRS":
        for more in (b"C{cas}", b"C1", b"C99999999", b"N50"):
            together = (b"M%c" % letter, more, b"T200", b"F3", b"s", b"k", b"Oo")
            yield dialogue(
                letters(together),
                THERE,
                UNIQUES,
                b"".join(on(b"ms", key, together, b"new!") for key in (b"k", b"none", b"old")),
                after(b"k", b"none", b"old"),
            )
    for mode in (b"M", b"Mx", b"Ms", b"MI", b"M+", b"Mset", b"MSet", b"MAdd", b"M0"):
        yield pipeline(f"mode {mode!r}", b"ms k 1\r\n1\r\n", on(b"ms", b"k", [mode], b"new"),
                       after(b"k"))  # fmt: skip
    for flag in (b"F4294967295", b"F0", b"T0", b"T-1", b"T2592000", b"T1000000000"):
        yield pipeline(f"with {flag!r}", on(b"ms", b"k", [flag], b"v"), b"mg k f v\r\n")
    yield pipeline("stale and newer", b"ms k 3 T100\r\nold\r\nmd k I T30\r\nmg k\r\n",
                   b"ms k 1 C1 T90\r\na\r\nmg k t v\r\nms k 1 I T90 C1\r\nb\r\nmg k t v\r\n",
                   b"ms k 1 I T90 C99999999\r\nc\r\nmg k t v\r\nms k 1 T90\r\nd\r\nmg k t v\r\n",
                   )  # fmt: skip
    yield pipeline("I without C", b"ms k 1 I\r\na\r\nmg k v\r\n")
    yield pipeline("I and C of nothing", b"ms k 1 I C5\r\na\r\nmg k v\r\n")
    yield pipeline("I and C0", b"ms k 1\r\na\r\nms k 1 I C0\r\nb\r\nmg k v\r\n")
    yield pipeline("an append takes the marks away", THERE, b"ms old 1 MA\r\n!\r\nmg old v t\r\n")
    yield pipeline("and so does a set", THERE, b"set old 0 0 1\r\n!\r\nmg old v t\r\n")
    yield pipeline("quiet", b"ms k 1 q\r\n1\r\nms k 1 ME q\r\n1\r\nms x 1 MR q\r\n1\r\n"
                   b"ms k 1 q C1\r\n2\r\nms x 1 q C1\r\n2\r\nmn\r\n")  # fmt: skip
    yield pipeline("a bad block", b"ms k 1\r\n1\r\nms k 2\r\nnew\r\nmg k v\r\n")
    yield pipeline("a bad block, quiet", b"ms k 1\r\n1\r\nms k 2 q\r\nnew\r\nmg k v\r\n")
    for length in (b"", b"x", b"-1", b"1x", b"2147483646", b"2147483647", b"99999999999", b"+1"):
        yield pipeline(f"length {length!r}", b"ms k 1\r\n1\r\nms k %b\r\n1\r\n" % length,
                       b"mg k v\r\n")  # fmt: skip
    yield pipeline("length 01", b"ms k 01\r\n1\r\nmg k v s\r\n")
    large = b"x" * 1048576
    for more_flags in (b"", b" ME", b" MA", b" MR", b" C1", b" q", b" Oo k"):
        yield Script(
            f"too large,{more_flags.decode() or ' nothing'}",
            (b"ms k 1\r\n1\r\n", b"ms k 1048576%b\r\n%b\r\n" % (more_flags, large), b"mg k v\r\n"),
        )
    yield pipeline("an append that makes it too large",
                   b"ms k 1000000\r\n%b\r\nms k 100000 MA s\r\n%b\r\nmg k s\r\n"
                   % (large[:1000000], large[:100000]))  # fmt: skip


def delete() -> Iterator[Script]:
    for flags in few(DELETE):
        yield dialogue(
            letters(flags),
            THERE,
            UNIQUES,
            b"".join(on(b"md", key, flags) for key in (b"k", b"none", b"old", b"won")),
            after(b"k", b"none", b"old", b"won"),
        )
    for flags in ((b"x", b"I"), (b"x", b"T50"), (b"x", b"I", b"T50"), (b"x", b"F3"),
                  (b"x", b"q"), (b"x", b"C1"), (b"x", b"C{cas}", b"k", b"Oa")):  # fmt: skip
        yield dialogue(
            letters(flags),
            THERE,
            UNIQUES,
            b"".join(on(b"md", key, flags) for key in (b"k", b"none", b"old", b"won")),
            after(b"k", b"none", b"old", b"won"),
        )
    yield pipeline("x, and what it has counted", b"ms k 3\r\nold\r\nmd k x\r\nmg k v\r\nma k\r\n")
    yield pipeline("the first who asks wins", b"ms k 3 T100\r\nold\r\nmd k I T30\r\n",
                   b"mg k v t\r\n" * 3, b"md k I\r\n", b"mg k v t\r\n" * 2)  # fmt: skip
    yield pipeline("I T0", b"ms k 3 T100\r\nold\r\nmd k I T0\r\nmg k v t\r\n")
    yield pipeline("I T-1", b"ms k 3 T100\r\nold\r\nmd k I T-1\r\nmg k v\r\n")
    yield pipeline("quiet", b"md k q\r\nms k 1\r\n1\r\nmd k q\r\nmd k q\r\nms k 1\r\n1\r\n"
                   b"md k q C1\r\nmd k q I\r\nmn\r\n")  # fmt: skip


def count() -> Iterator[Script]:
    for flags in few(COUNT):
        yield dialogue(
            letters(flags),
            THERE,
            UNIQUES,
            b"".join(on(b"ma", key, flags) for key in (b"n", b"none", b"k")),
            after(b"n", b"none", b"k"),
        )
    for mode in (b"M", b"Mx", b"Mi", b"Md", b"ME", b"MIncr", b"Mdecr", b"M+1", b"M0"):
        yield pipeline(f"mode {mode!r}", b"ms n 2\r\n10\r\nma n v %b\r\n" % mode, after(b"n"))
    top = b"18446744073709551615"
    yield pipeline("wraps", b"ms n 20\r\n%b\r\nma n v D2\r\n" % top, after(b"n"))
    yield pipeline("stops at nothing", b"ms n 2\r\n10\r\nma n v MD D11\r\n", after(b"n"))
    yield pipeline("the largest delta", b"ms n 2\r\n10\r\nma n v MD D%b\r\nma n v D%b\r\n"
                   % (top, top))  # fmt: skip
    yield pipeline("fewer digits", b"ms n 2\r\n10\r\nma n v MD\r\n", after(b"n"), b"ma n v\r\n")
    yield pipeline("more digits", b"ms n 1 F3 T100\r\n9\r\nma n v t\r\n", after(b"n"))
    yield pipeline("stale stays stale", b"ms n 2\r\n10\r\nmd n I\r\nma n v\r\n", after(b"n"))
    yield pipeline("stale, with more digits", b"ms n 1\r\n9\r\nmd n I\r\nma n v\r\n", after(b"n"))
    yield pipeline("vivified", b"ma n N50 J13 v t\r\n" * 2, after(b"n"))
    yield pipeline("vivified, with a delta", b"ma n N0 J13 D30 v t\r\n" * 2, after(b"n"))
    yield pipeline("vivified, to go down", b"ma n N0 J13 MD D30 v\r\n" * 2, after(b"n"))
    yield pipeline("vivified, with the largest", b"ma n N0 J%b v\r\nma n v\r\n" % top)
    yield pipeline("vivified, then touched", b"ma a N50 T200 t\r\nma b T200 N50 t\r\n")
    yield pipeline("the time before", b"ma n N50 t\r\nma m t N50\r\nma n t T100\r\nma n t\r\n")
    yield pipeline("quiet", b"ma n q\r\nma n q N0\r\nma n q v\r\nma n q C1\r\nms k 1\r\nx\r\n"
                   b"ma k q\r\nmn\r\n")  # fmt: skip
    yield pipeline("no number, and no match", b"ms k 1\r\nx\r\nma k C1\r\nms k 0\r\n\r\nma k C1\r\n"
                   b"ma k C0\r\n")  # fmt: skip


def wrong() -> Iterator[Script]:
    """Each to every command, for one table reads the flags of all."""
    ends: dict[str, bytes] = {
        "flag a": b"a", "flag S": b"S", "flag S1": b"S1", "flag z": b"z", "flag Z": b"Z",
        "flag W": b"W", "flag 1": b"1", "flag 0x": b"0x", "flag underline": b"_",
        "flag bracket": b"[", "flag plus": b"+", "flag minus": b"-", "flag brace": b"{",
        "flag 0x7f": b"\x7f", "flag 0x80": b"\x80", "flag 0xff": b"\xff", "flag NUL": b"\0",
        "flag tab": b"\t", "flag colon": b":", "a flag behind one": b"k k1", "two of one": b"k k",
        "two of one with arguments": b"Oa Ob", "two unknown": b"a a", "unknown, then two": b"a k k",
        "two, then unknown": b"k k a", "bad, then unknown": b"Tx a", "bad, then two": b"Tx k k",
        "no T": b"T", "no N": b"N", "no R": b"R", "no C": b"C", "no E": b"E", "no F": b"F",
        "no D": b"D", "no J": b"J", "T of letters": b"Tabc", "N of letters": b"N1x",
        "R of letters": b"R1.5", "C of letters": b"Cx", "E of letters": b"Ex",
        "D of letters": b"Dx", "J of letters": b"Jx", "F of letters": b"Fx", "F negative": b"F-1",
        "C negative": b"C-1", "D negative": b"D-1", "T too large": b"T2147483648",
        "T with a plus": b"T+5", "T of a minus": b"T-", "N of a minus": b"N-",
        "C too large": b"C18446744073709551616", "F too large": b"F4294967296",
        "bad T, bad D": b"Tx Dx", "bad D, bad T": b"Dx Tx", "bad F, bad D": b"Fx Dx",
        "bad D, bad F": b"Dx Fx", "bad F, bad T": b"Fx Tx", "bad J, bad D": b"Jx Dx",
        "an opaque of 31": b"O" + b"o" * 31, "an opaque of none": b"O",
        "two spaces": b" k  Oa ", "trailing spaces": b"k   ", "a tab": b"k\tOa",
        "the most flags": b"k Oa q c f s t v h l u b T100 N30 R30 x I MI",
        "one more": b"k Oa q c f s t v h l u T100 N30 R30 x I MI C1 E2",
        "two more": b"k Oa q c f s t v h l u T100 N30 R30 x I MI C1 E2 D1",
        "many unknown": b"a " * 17 + b"a", "many more unknown": b"a " * 30,
        "a bad one far behind": b"k " * 25 + b"-", "noreply": b"noreply",
        "quiet, and unknown": b"q a", "quiet, and bad": b"q Tx",
        "a bad key": b"b", "a bad key, then bad": b"b Tx", "bad, then a bad key": b"Tx b",
    }  # fmt: skip
    for name, end in ends.items():
        for verb in (b"mg", b"ms", b"md", b"ma"):
            key = b"!!!!" if "bad key" in name else b"k" if verb != b"ma" else b"none"
            length, block = (b" 5", b"hello\r\n") if verb == b"ms" else (b"", b"")
            yield pipeline(
                f"{verb.decode()}, {name}",
                THERE,
                b"%b %b%b %b\r\n%b" % (verb, key, length, end, block),
                b"mg k s t\r\n",
            )
    for name, line in {
        "mg alone": b"mg", "ms alone": b"ms", "md alone": b"md", "ma alone": b"ma",
        "me alone": b"me", "mg and spaces": b"mg    ", "ms without a length": b"ms k",
        "MG": b"MG k v", "mx": b"mx k", "m": b"m", "mgk": b"mgk", "a space first": b" mg k v",
        "a tab for a space": b"mg\tk v", "several spaces": b"mg    k    v", "mn": b"mn",
        "mn with words": b"mn a b", "mn noreply": b"mn noreply", "MN": b"MN",
    }.items():  # fmt: skip
        yield pipeline(name, b"ms k 1\r\nv\r\n", line + b"\r\n", b"mg k v\r\n")
    yield pipeline("bare newlines", b"ms k 1\n1\r\nmg k v\nma k v\nmd k\nmg k v\n")
    yield pipeline("carriage returns", b"ms k 1\r\n1\r\nmg k v\r\r\nmg k s\r\r\n")
    yield pipeline("mn and a bare newline", b"mn\n")
    yield dialogue("a key of 250", *(
        line.replace(b"KEY", KEY_250)
        for line in (b"ms KEY 1\r\nv\r\n", b"mg KEY v k\r\n", b"ma KEY N0\r\n", b"md KEY k\r\n")
    ))  # fmt: skip
    yield dialogue("a key of 251", *(
        line.replace(b"KEY", KEY_251)
        for line in (b"ms KEY 1\r\nv\r\n", b"mg KEY v k\r\n", b"ma KEY N0\r\n", b"md KEY k\r\n",
                     b"ms KEY 1 a\r\nv\r\n", b"mg KEY a\r\n", b"me KEY\r\n")
    ))  # fmt: skip
    yield dialogue("a second connection", b"ms k 1\r\n1\r\nmd k I\r\n", Second(b"mg k v\r\n"),
                   b"mg k v\r\n", Second(b"ms k 1\r\n2\r\n"), b"mg k v\r\n")  # fmt: skip


def binary() -> Iterator[Script]:
    for name, key in {
        "text": b"text", "one byte": b"\0", "two bytes": b"\r\n", "three": b" \xff ",
        "all bytes": bytes(range(100)), "as long as it may be": bytes(range(186)),
    }.items():  # fmt: skip
        word = b64encode(key)
        yield dialogue(
            name,
            b"ms %b 5 b k Oa\r\nvalue\r\n" % word,
            b"mg %b b k v\r\nmg %b v k b\r\nmg %b v\r\n" % (word, word, word),
            b"ma %b b k\r\n" % word,
            b"ms %b 1 b\r\n5\r\nma %b b k v\r\nmg %b b v\r\n" % (word, word, word),
            b"ms %b 1 b MA k\r\n5\r\n" % word,
            b"md %b b I k\r\nmg %b b\r\n" % (word, word),
            b"md %b b k Oa\r\nmd %b b k Oa\r\nmg %b b k Oa\r\n" % (word, word, word),
            b"mg %b b k q\r\nma %b b k\r\nma %b b k N0\r\n" % (word, word, word),
        )
    for word in (b"A", b"AB", b"ABC", b"AB==", b"ABC=", b"A===", b"====", b"AAAA====", b"AB==AAAA",
                 b"A!B=C=", b"AAAA!", b"!!!!", b"YWJj\xff", b"YW-_", b"Y=Jj", b"=WJj"):  # fmt: skip
        yield dialogue(
            f"key {word!r}",
            b"ms %b 1 b k\r\nv\r\n" % word,
            b"mg %b b k v\r\n" % word,
            b"md %b b k\r\n" % word,
            b"ma %b b k\r\n" % word,
        )
    yield pipeline("a text key that was stored as such", b"ms text 1\r\nv\r\nmg dGV4dA== b k v\r\n")
    yield pipeline("a text key that was stored in base64", b"ms dGV4dA== 1 b\r\nv\r\n",
                   b"mg text k v\r\nget text\r\nme text\r\n")  # fmt: skip


def debug() -> Iterator[Script]:
    yield pipeline("a miss", b"me none\r\nme none a b c\r\n")
    yield pipeline("a hit", b"ms k 5\r\nvalue\r\nme k\r\nme k a b c\r\n")
    yield pipeline("an expiry", b"ms k 5 T100 F1\r\nvalue\r\nme k\r\n")
    yield pipeline("fetched", b"ms k 5\r\nvalue\r\nmg k\r\nme k\r\nme k\r\n")
    yield pipeline("not fetched by me", b"ms k 5\r\nvalue\r\nme k\r\nme k\r\nmg k h\r\n")
    yield pipeline("a bad word", b"ms k 5\r\nvalue\r\nme k -\r\nme k b a\r\n")
    yield pipeline("stale", THERE + b"me old\r\nme won\r\n")


CHAPTERS = {
    "mg": get,
    "ms": store,
    "md": delete,
    "ma": count,
    "meta, wrong": wrong,
    "meta, binary": binary,
    "me": debug,
}
SCRIPTS = tuple(
    evolve(script, name=f"{chapter}: {script.name}", whole=True)
    for chapter, scripts in CHAPTERS.items()
    for script in scripts()
)

# ---- Where 1.6.18 is not 1.6.45 ------------------------------------------------------------------

#: Reasons, each with what the name of such a script looks like; the first that fits is taken.
NEWER = [
    (r"m[gsda]: .*\bx\b|md: x", "the flag x is newer"),
    (r"\bE5\b|meta, wrong: .*(no E|E of)", "the flag E is newer"),
    (r"ms: .*\bs\b|ms: an append that makes", "proto_text.c:91-98: a ms answers s"),
    (r"mg: .*\bC", "proto_parser.c:1036-1038: mg compares C"),
    (r"ms: .*N50", "proto_parser.c:1325-1340: a ms with N makes what it is to append to"),
    (r"ma: .*(\bq\b.*N50|N50.*\bq\b)|ma: quiet", "proto_parser.c:1745-1746: what was made, too"),
    (r"mode b", "proto_parser.c:591-595: the first letter of a mode is looked at, and no other"),
    (r"me: (an expiry|stale)", "proto_text.c:663: 1.6.18 takes the times from each other wrongly"),
    (r"me: a bad word", "vendor/mcmc/mcmc.c:92-98: flags begin with a letter or a digit"),
    (r"md, ", "proto_parser.c:1535-1539: md has an error for each that is wrong"),
    (r"meta, binary: key", "proto_parser.c:1535-1539: md has an error for each that is wrong"),
    (r"ms: length|a bad block|alone|spaces|: m$|a space first|mn and a bare|a key of 251",
     "proto_parser.c:58-90,169-174: the line is looked at first, and below four bytes is bad"),
    (r"flag |of a minus|T with|too large|most|many|more|far behind|of letters|two|no ",
     "proto_parser.c:465-624, vendor/mcmc/mcmc.c:482-612: words and numbers"),
]  # fmt: skip

ANSWERS_FILE = Path(__file__).with_name("differential_meta.json")


def exceptions() -> dict[str, Difference]:
    """Of the scripts that 1.6.18 answers otherwise, why, and what 1.6.45 answers."""
    return {
        name: Difference(reason_of(name), answer.encode("latin-1"))
        for name, answer in json.loads(ANSWERS_FILE.read_text()).items()
    }


def reason_of(name: str) -> str:
    return next(reason for pattern, reason in NEWER if re.search(pattern, name))
