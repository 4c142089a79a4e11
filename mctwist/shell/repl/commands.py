"""
What a command of the shell is, and what is made of the words that are typed for it.

A command says what it takes in the words of its usage, `KEY VALUE`, `TTL KEY…`, `[DELAY]`; from
them come the check of how many words there are, the help and the completion. Options begin with
two dashes, and may stand anywhere; a word that is quoted is none. `> PATH` is short for
`--output PATH` where a command has that.
"""

import re
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Callable, NamedTuple, Optional

from mctwist.shell.output import seen
from mctwist.shell.repl.values import ASKED
from mctwist.shell.repl.words import Word

#: The last exptime that is relative (memcached.c, REALTIME_MAXDELTA).
MOST_RELATIVE = 60 * 60 * 24 * 30
#: From here on a number of seconds is taken for a moment, as the protocol has it: 2001.
FIRST_MOMENT = 10**9
_MOST_EXPTIME = (1 << 31) - 1

_UNITS = {"": 1, "s": 1, "m": 60, "h": 60 * 60, "d": 60 * 60 * 24}
_TTL = re.compile(r"(-?[0-9]{1,10})([smhd]?)").fullmatch
_NUMBER = re.compile(r"[0-9]{1,20}").fullmatch


class Wrong(Exception):
    """What is asked for cannot be done. Its text is for people."""


class Option(NamedTuple):
    """
    An option.

    :ivar takes: what follows it; nothing: it stands alone.
    """

    takes: str
    help: str
    read: Callable[[Word], Any] = lambda word: True


class Place(NamedTuple):
    """A word that a command takes: what it is; whether it may be absent; whether it may be many."""

    name: str
    optional: bool = False
    many: bool = False


class Command(NamedTuple):
    """
    A command.

    :ivar usage: the words that it takes.
    :ivar summary: what it does, in a line. :ivar more: what else there is to know.
    :ivar examples: lines that may be typed on an empty server, one after the other.
    :ivar perform: `(session, call)`: does it.
    :ivar options: names of `OPTIONS`.
    :ivar flags: of a meta command, what each means; one that takes something ends with `…`.
    :ivar choices: what may stand in its last place.
    :ivar own: it is the shell's, and not of the protocol.
    :ivar extension: of mctwist's alone.
    """

    name: str
    usage: str
    summary: str
    perform: Callable[..., None]
    more: str = ""
    examples: "tuple[str, ...]" = ()
    options: "tuple[str, ...]" = ()
    flags: "Mapping[str, str]" = MappingProxyType({})
    choices: "tuple[str, ...]" = ()
    own: bool = False
    extension: bool = False

    @property
    def places(self) -> "list[Place]":
        return [_place(word) for word in self.usage.split()]

    @property
    def synopsis(self) -> str:
        """All that may be typed."""
        options = [
            f"[--{name}{' ' if OPTIONS[name].takes else ''}{OPTIONS[name].takes}]"
            for name in self.options
        ]
        return " ".join([self.name, *self.usage.split(), *options])


class Call(NamedTuple):
    """
    A command with what was typed for it.

    :ivar words: those that are in its places. :ivar options: by their names.
    """

    command: Command
    words: "list[Word]"
    options: "dict[str, Any]"

    @property
    def data(self) -> "list[bytes]":
        return [word.typed for word in self.words]


def parse(command: Command, words: "list[Word]") -> Call:
    """
    What `words` are for `command`, whose name is not among them.

    :raises Wrong: they are not as they should be.
    """
    rest = iter(words)
    taken: list[Word] = []
    options: dict[str, Any] = {}
    for word in rest:
        text = word.text
        if word.bare and text.startswith("--"):
            name, equals, given = text[2:].partition("=")
            if name not in command.options:
                raise Wrong(f"{command.name} has no --{seen(name)}: {command.synopsis}")
            value = Word(given.encode(errors="surrogateescape"), word.start) if equals else None
            options[name] = _read_option(name, value, rest)
        elif word.bare and text.startswith(">") and "output" in command.options:
            value = Word(word.data[1:], word.start) if len(text) > 1 else None
            options["output"] = _read_option("output", value, rest)
        else:
            taken.append(word)
    _check_count(command, taken, options)
    return Call(command, taken, options)


def _read_option(name: str, value: "Optional[Word]", rest: Any) -> Any:
    option = OPTIONS[name]
    if not option.takes:
        if value is not None:
            raise Wrong(f"--{name} takes nothing")
        return True
    if value is None:
        value = next(rest, None)
    if value is None:
        raise Wrong(f"--{name} takes {option.takes}: {option.help}")
    return option.read(value)


def _check_count(command: Command, words: "list[Word]", options: "dict[str, Any]") -> None:
    places = command.places
    fewest = [place for place in places if not place.optional]
    if options.keys() & {"file", "edit"}:
        # The value comes from there.
        fewest = places = [place for place in places if place.name != "VALUE"]
    if len(words) < len(fewest):
        raise Wrong(f"{fewest[len(words)].name} is missing: {command.synopsis}")
    if len(words) > len(places) and not (places and places[-1].many):
        hint = "; a value with spaces is quoted" if "VALUE" in command.usage else ""
        extra = seen(words[len(places)].text)
        raise Wrong(f"what is {extra} for? {command.synopsis}{hint}")


def _place(word: str) -> Place:
    optional = word.startswith("[")
    name = word.strip("[]")
    return Place(name.rstrip("…"), optional, name.endswith("…"))


# What words mean


def number(word: Word, bits: int = 64) -> int:
    """
    An unsigned number.

    :raises Wrong: it is none.
    """
    if not _NUMBER(word.text) or int(word.text) >> bits:
        raise Wrong(f"{seen(word.text)} is no number of {bits} bits")
    return int(word.text)


def exptime(word: Word) -> int:
    """
    The exptime to be sent for a TTL: `90`, `90s`, `5m`, `2h`, `40d`; 0 is never.

    The protocol takes more than thirty days for a date; so it is made one here.

    :raises Wrong: it is no such thing.
    """
    match = _TTL(word.text)
    if match is None:
        raise Wrong(f"{seen(word.text)} is no TTL: seconds, or 90s, 5m, 2h, 7d; 0 is never")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > MOST_RELATIVE and (match[2] or seconds < FIRST_MOMENT):
        seconds += int(time.time())
    if not -_MOST_EXPTIME <= seconds <= _MOST_EXPTIME:
        raise Wrong(f"{seen(word.text)} is too far away: the protocol knows dates up to 2038")
    return seconds


def plain(data: bytes, what: str = "a key") -> bytes:
    """
    `data`, which may stand in a line of the protocol.

    :raises Wrong: it would not be one word there.
    """
    if not data:
        raise Wrong(f"{what} may not be empty")
    if not is_plain(data):
        raise Wrong(
            f"{what} may not hold spaces or control characters here; "
            "the meta commands take such keys: help mg"
        )
    return data


def is_plain(key: bytes) -> bool:
    """Whether a key may stand in a line as it is."""
    return bool(key) and not any(byte <= 32 or byte == 127 for byte in key)


def spell(key: bytes, flags: "Sequence[bytes]" = ()) -> "tuple[bytes, list[bytes]]":
    """A key as a meta command sends it, and the flags it needs besides `flags`."""
    if b"b" in flags or is_plain(key):
        return plain(key), []
    return b64encode(key or plain(key)), [b"b"]


def _kind(word: Word) -> str:
    if word.text not in ASKED:
        raise Wrong(f"a value is shown as {', '.join(ASKED)}")
    return word.text


OPTIONS = {
    "flags": Option("N", "the client flags, a number of 32 bits", lambda word: number(word, 32)),
    "ttl": Option("TTL", "how long it is kept: 90, 90s, 5m, 2h, 7d; 0: for ever", exptime),
    "file": Option("PATH", "the value is what is in that file", lambda word: word.text),
    "edit": Option("", "edit the present value with $VISUAL or $EDITOR"),
    "as": Option("KIND", f"show the value as {', '.join(ASKED)}", _kind),
    "all": Option("", "show the value however long it is"),
    "output": Option(
        "PATH", "write the value into that file; > PATH for short", lambda word: word.text
    ),
    "limit": Option("N", "stop after so many", lambda word: number(word, 32)),
    "after": Option("KEY", "begin behind that key", lambda word: word.typed),
    "yes": Option("", "do not ask"),
}
