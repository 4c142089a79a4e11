"""
The meta commands (memcached's doc/protocol.txt, "Meta Commands"), and mctwist's ranges beside them.

Flags are typed as they are sent. A key that cannot stand in a line is sent in base64, with the
flag `b`, without a word; whoever types a `b` gives the key in base64 already.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from contextlib import suppress
from types import MappingProxyType
from typing import Optional

from mctwist.shell.repl import answers
from mctwist.shell.repl.answers import Found, Meta
from mctwist.shell.repl.classic import how_of, keep, value_of
from mctwist.shell.repl.commands import Call, Command, Wrong, is_plain, number, plain, spell
from mctwist.shell.repl.meanings import META
from mctwist.shell.repl.screen import about
from mctwist.shell.repl.session import Session


def _flags(call: Call, first: int) -> "list[bytes]":
    return [plain(word, "a flag") for word in call.data[first:]]


def _ask(
    session: Session, call: Call, first: int, length: "list[bytes]", value: Optional[bytes] = None
) -> None:
    """Send a command whose flags begin with its word number `first`, and show the answer."""
    flags = _flags(call, first)
    key, more = spell(call.data[0], flags)
    name = call.command.name.encode()
    words = [name, key, *length, *flags, *more]
    again = name == b"mg" and not any(flag[:1] in b"NRTE" for flag in flags)
    if b"q" in flags:
        # It may be answered nothing; so something is asked behind it that is answered.
        request = b" ".join(words) + b"\r\n" + (b"" if value is None else value + b"\r\n")
        told = session.wire.ask(request + b"mn\r\n", answers.before_noop, again=again)
    else:
        told = [session.ask(words, answers.meta, value, again=again)]
    session.see([key if not more else call.data[0]])
    for answer in told:
        _show(session, call, answer)
    if not told:
        session.screen.note("no answer: q hides the usual one")


def _show(session: Session, call: Call, answer: Meta) -> None:
    if "output" in call.options:
        if answer.word == b"HD":
            raise Wrong("there is a value, but it is not asked for: say v")
        keep(session, call, answer.value)
    elif answer.word == b"VA":
        found = Found(call.data[0], answer.value, more=answer.more)
        session.screen.found(found, how_of(call))
    elif answer.word == b"EN" and not answer.more:
        session.screen.missing(call.data[0])
    else:
        word = answer.word.decode(errors="replace")
        said = [META.get(word, ""), *map(about, answer.more)]
        session.screen.answer(word, " · ".join(filter(None, said)))


def get(session: Session, call: Call) -> None:
    """mg."""
    _ask(session, call, 1, [])


def store(session: Session, call: Call) -> None:
    """ms."""
    value = value_of(call)
    _ask(session, call, 1 if "file" in call.options else 2, [b"%d" % len(value)], value)


def change(session: Session, call: Call) -> None:
    """md, ma."""
    _ask(session, call, 1, [])


def inspect(session: Session, call: Call) -> None:
    """me."""
    key, more = spell(call.data[0], _flags(call, 1))
    answer = session.ask([b"me", key, *call.data[1:], *more], answers.meta, again=True)
    if answer.word != b"ME":
        session.screen.missing(call.data[0])
        return
    rows = [word.decode(errors="replace").partition("=") for word in answer.more if b"=" in word]
    session.screen.rows(("name", "value"), [(name, figure) for name, _, figure in rows])


def noop(session: Session, call: Call) -> None:
    """mn."""
    answer = session.ask([b"mn"], answers.meta, again=True)
    session.screen.answer(answer.word.decode(errors="replace"))


# Ranges


def take_range(session: Session, call: Call) -> None:
    """mr, mp."""
    start, end, limit = call.data[:3]
    flags = _flags(call, 3)
    if b"b" not in flags and not (is_plain(start) and is_plain(end)):
        start, end, flags = b64encode(start), b64encode(end), [*flags, b"b"]
    number(call.words[2], 32)
    wait = next((flag[1:] for flag in flags if flag[:1] == b"B" and flag[1:].isdigit()), b"0")
    words = [call.command.name.encode(), plain(start), plain(end), limit, *flags]
    again = call.command.name == "mr"
    told = session.ask(words, answers.ranged, again=again, wait=int(wait[:9]) / 1000)
    *items, last = told
    for item in items:
        key, more = key_in(item.more)
        session.see([key] if key else [])
        # A key is not said twice.
        found = Found(key, item.value, more=more)
        session.screen.found(found, how_of(call, named=bool(key)))
    word = last.word.decode(errors="replace")
    said = "there may be more" if word == "MR" else "that is all"
    session.screen.answer(word, " · ".join([*map(about, last.more), said]))


def key_in(words: "tuple[bytes, ...]") -> "tuple[bytes, tuple[bytes, ...]]":
    """The key that a meta answer tells, and what else it tells; b"": none."""
    key, rest = b"", []
    encoded = b"b" in words
    for word in words:
        if word[:1] == b"k" and not key:
            key = word[1:]
        elif word != b"b":
            rest.append(word)
    if encoded:
        with suppress(Base64Error):
            key = b64decode(key, validate=True)
    return key, tuple(rest)


_COMMON = {
    "k": "answer the key",
    "O…": "an opaque, which comes back with the answer",
    "q": "say nothing where it goes as usual",
    "b": "KEY is in base64",
}
_CAS = {
    "c": "answer the CAS unique",
    "E…": "make this number the new CAS unique",
}

_GET_FLAGS = {
    "v": "answer the value",
    "f": "answer the client flags",
    "t": "answer the seconds left; -1: it is kept for ever",
    "s": "answer the size of the value",
    **_CAS,
    "h": "answer whether it had been fetched before",
    "l": "answer the seconds since it was last accessed",
    "u": "leave its last access as it is",
    "T…": "have it kept so many seconds from now on",
    "N…": "where there is none, make one that is kept so many seconds; the answer says W",
    "R…": "with fewer seconds left than these, say W: make it anew",
    **_COMMON,
}
_STORE_FLAGS = {
    "T…": "keep it so many seconds",
    "F…": "the client flags",
    "M…": "mode: MS set, ME add, MR replace, MA append, MP prepend; MU of mctwist: at the end "
    "of a queue",
    "C…": "only if this is its CAS unique",
    "I": "with C: if its CAS unique is older, store all the same, as stale",
    "N…": "with MA and MP: where there is none, make one that is kept so many seconds",
    "s": "answer the size of the value",
    **_CAS,
    "K": "of mctwist: never evict it",
    **_COMMON,
}
_DELETE_FLAGS = {
    "C…": "only if this is its CAS unique",
    "I": "do not delete it: mark it stale, for the next who fetches to make it anew",
    "T…": "with I: keep it so many seconds longer",
    "x": "do not delete it: take its value away",
    "E…": "make this number the new CAS unique",
    **_COMMON,
}
_COUNT_FLAGS = {
    "M…": "mode: MI or M+ up, MD or M- down",
    "D…": "by so much; without it 1",
    "N…": "where there is none, make one that is kept so many seconds",
    "J…": "with N: it begins with this number",
    "C…": "only if this is its CAS unique",
    "T…": "have it kept so many seconds from now on",
    "v": "answer the number",
    "t": "answer the seconds left",
    **_CAS,
    "K": "of mctwist: never evict what is made",
    **_COMMON,
}
_RANGE_FLAGS = {
    "v": "answer the values",
    "k": "answer the keys",
    "s": "answer the sizes",
    "c": "answer the CAS uniques",
    "f": "answer the client flags",
    "t": "answer the seconds left",
    "r": "from the other end",
    "n": "only how many there are",
    "B…": "where there is nothing, wait for something: milliseconds",
    "O…": "an opaque, which comes back with the answer",
    "b": "START and END are in base64",
}
_POP_FLAGS = {
    **_RANGE_FLAGS,
    "A…": "write what is taken on this slip, so that it may be asked for again",
    "G…": "with A: the number of this command",
}

COMMANDS = (
    Command(
        "mg",
        "KEY [FLAG…]",
        "fetch, and be told as much of it as you like",
        get,
        "Flags are letters, some with an argument right behind them.",
        ("set greeting hello --ttl 1h", "mg greeting v t f c", "mg 'a key' v", "mg nothing v q"),
        ("as", "all", "output"),
        MappingProxyType(_GET_FLAGS),
    ),
    Command(
        "ms",
        "KEY VALUE [FLAG…]",
        "store, as flags have it",
        store,
        "The length is counted for you. In raw mode a number in place of the value is its length, "
        "as in the protocol, and the value is the next line.",
        ("ms greeting hello T3600 F16 c", "ms log ,more MA N0", "ms 'a key' hello"),
        ("file",),
        MappingProxyType(_STORE_FLAGS),
    ),
    Command(
        "md",
        "KEY [FLAG…]",
        "delete, or mark as stale",
        change,
        "",
        ("ms greeting hello", "md greeting I T30", "mg greeting v c", "md greeting"),
        (),
        MappingProxyType(_DELETE_FLAGS),
    ),
    Command(
        "ma",
        "KEY [FLAG…]",
        "count up or down",
        change,
        "",
        ("ma visits N0 J1 v", "ma visits D10 v"),
        ("as",),
        MappingProxyType(_COUNT_FLAGS),
    ),
    Command(
        "me",
        "KEY [b]",
        "what there is to know of an item, without touching it",
        inspect,
        "exp is the seconds left, la those since its last access.",
        ("set greeting hello", "me greeting"),
    ),
    Command("mn", "", "do nothing, and say so", noop, "", ("mn",)),
    Command(
        "mr",
        "START END LIMIT [FLAG…]",
        "read the items whose keys are from START on and below END",
        take_range,
        "In the order of their keys. MR says that there may be more behind the last.",
        ("set user:1 ann", "set user:2 bob", "mr user: user; 10 k v"),
        ("as", "all"),
        MappingProxyType(_RANGE_FLAGS),
        extension=True,
    ),
    Command(
        "mp",
        "START END LIMIT [FLAG…]",
        "take the items whose keys are from START on and below END",
        take_range,
        "Each is handed out once, whoever asks at the same time.",
        ("ms jobs. first MU K", "mp jobs. jobs/ 1 k v"),
        ("as", "all"),
        MappingProxyType(_POP_FLAGS),
        extension=True,
    ),
)
