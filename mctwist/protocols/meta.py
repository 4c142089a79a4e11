"""
The grammar of the meta commands (memcached's doc/protocol.txt, "Meta Commands"): words in, steps
out.

    mg KEY FLAG*  ms KEY LENGTH FLAG*  md KEY FLAG*  ma KEY FLAG*  me KEY [b]  mn

A flag is a letter, some with an argument behind it. They are read by one table for all commands,
for that is how memcached does it: a flag that means nothing to a command is checked all the same.
What they come to, a *plan*, depends on nothing but their bytes, and a client sends the same ones
again and again; so plans are kept, and most commands cost one look-up.

In two things this goes beyond memcached. A key in base64 may be longer than 250 bytes, as long as
what it stands for is not; and a command that is answered with an error has done nothing. And it has
the flags that `ranges` are built with: K (kept), and the mode U of ms (push) with A and G (a slip).
"""

import re
from binascii import a2b_base64
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, Callable, NamedTuple, Optional, TypeVar

from mctwist import meta_operations, operations, range_operations
from mctwist.interfaces import Operation, Render, Step
from mctwist.item import BINARY_KEY, KEPT, KEY_LENGTH, size_in_memcached
from mctwist.meta_operations import RENEW, TELL, TOUCH, VIVIFY, Term
from mctwist.protocols import meta_replies, replies
from mctwist.protocols.classic import MOST_LENGTH, Now, TooLarge, Upload
from mctwist.protocols.grammar import BAD_FORMAT, ClientError, signed32, unsigned
from mctwist.range_operations import Slip

#: The most words of a line, its verb and its key among them (proto_parser.h).
MOST_WORDS = 20
#: The longest opaque, its letter included (proto_parser.h).
MOST_OPAQUE = 32

# Plans that are kept of each command, and the longest flags of which they are.
_MOST_PLANS = 1024
_LONG = 64

# memcached looks at the beginnings of so many words, and takes those for flags that begin with a
# letter, a digit or what is between them in ASCII (vendor/mcmc/mcmc.c:59-146).
_MOST_LOOKED_AT = 23
_FIRST = frozenset(b"0123456789") | frozenset(range(ord("A"), ord("z") + 1))

TOO_MANY = ClientError(b"options flags are too long")
DUPLICATE = ClientError(b"duplicate flag")
INVALID = ClientError(b"invalid flag")
BAD_KEY = ClientError(b"error decoding key")
BAD_TOKEN = ClientError(b"bad token in command line format")
_BAD_INITIAL = ClientError(b"invalid numeric initial value")
_BAD_DELTA = ClientError(b"invalid numeric delta value")
_BAD_STORE_MODE = ClientError(b"invalid mode for ms M token")
_BAD_COUNT_MODE = ClientError(b"invalid mode for ma M token")
LONG_OPAQUE = ClientError(b"opaque token too long")
_BAD_COUNT = ClientError(b"invalid or duplicate flag")

#: Flags by their letters, in the order in which they came; with their arguments.
Flags = dict[bytes, Any]


# Flags


def alone(word: bytes) -> bytes:
    return word


def _seconds(word: bytes) -> int:
    if len(word) == 1:
        raise BAD_TOKEN
    return signed32(word[1:], BAD_TOKEN)


def number(error: ClientError, bits: int = 64) -> Callable[[bytes], int]:
    return lambda word: unsigned(word[1:], bits, error)


_FLAGS: dict[bytes, Callable[[bytes], Any]] = {
    **dict.fromkeys((b"b", b"k", b"s", b"t", b"c", b"f", b"v", b"h", b"l", b"u", b"q"), alone),
    **dict.fromkeys((b"x", b"I", b"O", b"P", b"L"), alone),
    **dict.fromkeys((b"N", b"T", b"R"), _seconds),
    **dict.fromkeys((b"C", b"E"), number(BAD_TOKEN)),
    b"F": number(BAD_FORMAT, 32),
    b"J": number(_BAD_INITIAL),
    b"D": number(_BAD_DELTA),
    b"M": lambda word: word[1:2],
    b"K": alone,
    b"A": lambda word: word[1:],
    b"G": number(BAD_TOKEN),
}

#: The flags that are about an item's expiry, whose order matters.
_TERMS: dict[bytes, Term] = {b"T": TOUCH, b"N": VIVIFY, b"R": RENEW, b"t": TELL}

_SAYS_BINARY = re.compile(rb"(?: |\A)b").search


def flags_of(
    words: list[bytes],
    first: int,
    fault: Optional[ClientError] = None,
    letters: "Mapping[bytes, Callable[[bytes], Any]]" = _FLAGS,
) -> Flags:
    """
    The flags that `words` of a line are, the first of which is its number `first`.

    :param fault: what is wrong with the key.
    :param letters: those that there are, and what reads the word of each.
    """
    if fault is BAD_FORMAT:
        raise fault
    if first + len(words) > MOST_WORDS:
        raise TOO_MANY
    flags: Flags = {}
    wrong: Optional[ClientError] = None
    for word in words:
        letter = word[:1]
        if letter in flags:
            raise DUPLICATE
        read = letters.get(letter)
        if read is None:
            raise INVALID
        try:
            flags[letter] = read(word)
        except ClientError as error:
            # Those behind it are read all the same, and the last that is wrong is told of, but for
            # a bad F, which memcached has no words for (proto_parser.c:486-610).
            error.__traceback__ = None
            flags[letter] = None
            wrong = error if wrong is None or error is not BAD_FORMAT else wrong
        if letter == b"b" and fault is not None:
            wrong = fault
    if wrong is not None:
        raise wrong
    return flags


def checked(words: list[bytes], first: int) -> list[bytes]:
    """`words`, all of which could be flags."""
    for word in words[: _MOST_LOOKED_AT - first]:
        if word[0] not in _FIRST:
            raise BAD_FORMAT
    return words


def _words(rest: bytes) -> list[bytes]:
    return [word for word in rest.split(b" ") if word]


def decoded(word: bytes) -> bytes:
    """
    The key that `word` is in base64; b"": none.

    Read as memcached does it: what is not base64 is left out, and all behind the first group that
    is padded (base64.c).
    """
    letters = word.translate(None, _NOT_BASE64)
    if not letters or len(letters) % 4:
        return b""
    end = letters.find(b"=")
    if end < 0:
        return a2b_base64(letters)
    letters = letters[: end - end % 4 + 4]
    padding = letters.count(b"=")
    return a2b_base64(letters.replace(b"=", b"A"))[:-padding] if padding < 3 else b""


_NOT_BASE64 = bytes(
    set(range(256))
    - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
)  # fmt: skip


def _check_opaque(flags: Flags) -> None:
    if len(flags.get(b"O", b"")) > MOST_OPAQUE:
        raise LONG_OPAQUE


def _terms(flags: Flags) -> "tuple[tuple[Term, int], ...]":
    return tuple(
        (_TERMS[letter], argument if letter != b"t" else 0)
        for letter, argument in flags.items()
        if letter in _TERMS
    )


def marks_of(flags: Flags) -> int:
    """The marks of what a command makes."""
    return (BINARY_KEY if b"b" in flags else 0) | (KEPT if b"K" in flags else 0)


def slip_of(flags: Flags) -> Optional[Slip]:
    """What A and G name; None: nothing."""
    if (b"A" in flags) != (b"G" in flags):
        raise BAD_TOKEN
    if b"A" not in flags:
        return None
    key = decoded(flags[b"A"]) if b"b" in flags else flags[b"A"]
    if not 0 < len(key) <= KEY_LENGTH or not flags[b"G"]:
        raise BAD_TOKEN
    return Slip(key, flags[b"G"])


# Plans

P = TypeVar("P")


class _Plan(NamedTuple):
    """
    What the flags of a mg, a md or a ma come to.

    :ivar arguments: of the operation, behind the key. :ivar binary: the key is in base64.
    """

    operation: Operation
    arguments: tuple[Any, ...]
    render: Render
    binary: bool


class _StorePlan(NamedTuple):
    """
    What the flags of a ms come to.

    :ivar operation: what stores. :ivar flags: the client's.
    :ivar others: its arguments behind flags and expiry, or of an append behind the limit.
    :ivar extends: it is an append. :ivar made: the marks of what it makes; None: it makes none.
    :ivar render: of its answer. :ivar sized: what makes one of the length of the value, where the
        answer hangs on that.
    :ivar late: an error that comes behind that of a
        value that is too large.
    """

    operation: Operation
    flags: int
    exptime: int
    others: tuple[Any, ...]
    extends: bool
    made: Optional[int]
    render: Render
    sized: Optional[Callable[[int], Render]]
    late: Optional[ClientError]


#: What makes a plan of flags and of what is wrong with the key.
_Planner = Callable[[bytes, Optional[ClientError]], P]


def _planned(words: list[bytes], first: int, planner: "_Planner[P]") -> "tuple[bytes, P]":
    """The key and the plan of a line whose flags begin with the word number `first`."""
    if len(words) < first:
        raise BAD_FORMAT
    key = words[1]
    if len(words) == first and len(key) <= KEY_LENGTH:
        return key, planner(b"", None)
    rest = b" ".join(words[first:])
    fault = None
    if b"b" in rest and _SAYS_BINARY(rest):
        key = decoded(key)
        fault = BAD_KEY if not key else None
    if len(key) > KEY_LENGTH:
        fault = BAD_FORMAT
    if len(rest) > _LONG:
        planner = planner.__wrapped__  # type: ignore[attr-defined]  # of lru_cache
    return key, planner(rest, fault)


@lru_cache(_MOST_PLANS)
def _get_plan(rest: bytes, fault: Optional[ClientError] = None) -> _Plan:
    flags = flags_of(checked(_words(rest), 2), 2, fault)
    _check_opaque(flags)
    render = meta_replies.fetched(flags)
    binary = b"b" in flags
    # An R does nothing to an item that never expires, but that is for the operation to see.
    if flags.keys().isdisjoint(_ALL_OF_IT):
        return _Plan(meta_operations.look, (), render, binary)
    marks = BINARY_KEY if binary else 0
    past = b"h" in flags or b"l" in flags
    arguments = (_terms(flags), flags.get(b"E"), marks, b"N" in flags, b"u" in flags, past)
    return _Plan(meta_operations.fetch, arguments, render, binary)


#: The flags for which a mg is more than a look.
_ALL_OF_IT = frozenset((*_TERMS, b"h", b"l", b"u", b"E"))


@lru_cache(_MOST_PLANS)
def _delete_plan(rest: bytes, fault: Optional[ClientError] = None) -> _Plan:
    flags = flags_of(checked(_words(rest), 2), 2, fault)
    _check_opaque(flags)
    cas, new = flags.get(b"C"), flags.get(b"E")
    stale, blank = b"I" in flags, b"x" in flags
    operation: Operation = operations.delete
    arguments: tuple[Any, ...] = (cas,)
    if blank:
        operation = meta_operations.blank
        arguments = (cas, flags.get(b"F", 0), flags.get(b"T", 0), new, stale)
    elif stale:
        operation = meta_operations.invalidate
        arguments = (cas, flags.get(b"T"), new)
    return _Plan(operation, arguments, meta_replies.deleted(flags), b"b" in flags)


@lru_cache(_MOST_PLANS)
def _count_plan(rest: bytes, fault: Optional[ClientError] = None) -> _Plan:
    words = checked(_words(rest), 2)
    try:
        flags = flags_of(words, 2, fault)
    except ClientError as error:
        error.__traceback__ = None
        raise _BAD_COUNT from None
    up = _COUNT_MODES.get(flags.get(b"M", b"I"))
    if up is None:
        raise _BAD_COUNT_MODE
    _check_opaque(flags)
    marks = marks_of(flags)
    initial = flags.get(b"J", 0) if b"N" in flags else None
    cas, delta = flags.get(b"C", 0), flags.get(b"D", 1)
    arguments = (up, delta, cas, _terms(flags), flags.get(b"E"), marks, initial)
    return _Plan(meta_operations.count, arguments, meta_replies.counted(flags, up), b"b" in flags)


# memcached takes a NUL for no mode at all.
_COUNT_MODES = {b"I": True, b"+": True, b"D": False, b"-": False, b"\0": True}


@lru_cache(_MOST_PLANS)
def _store_plan(rest: bytes, fault: Optional[ClientError] = None) -> _StorePlan:
    flags = flags_of(_words(rest), 3, fault)
    operation = _STORE_MODES.get(flags.get(b"M", b"S"))
    if operation is None:
        raise _BAD_STORE_MODE
    exptime, marks = flags.get(b"T", 0), marks_of(flags)
    cas, new = flags.get(b"C"), flags.get(b"E") or None  # 0 is none here (proto_text.c:192)
    swaps = cas is not None and operation in (operations.store, operations.replace)
    extends = operation in (operations.append, operations.prepend)
    made = None
    others: tuple[Any, ...]
    if extends:
        others = (cas or 0, new)
        if b"N" in flags:
            exptime, made = flags[b"N"], marks
    elif swaps:
        operation, others = operations.compare_and_swap, (cas, marks, new, b"I" in flags)
    elif operation is range_operations.push:
        others = (marks, new, slip_of(flags))
    else:
        others = (marks, new) if marks or new else ()
    late = LONG_OPAQUE if len(flags.get(b"O", b"")) > MOST_OPAQUE else None
    render = meta_replies.storing(flags, swaps)
    sized = partial(meta_replies.storing, flags, swaps) if b"s" in flags else None
    return _StorePlan(
        operation, flags.get(b"F", 0), exptime, others, extends, made, render, sized, late
    )  # fmt: skip


_STORE_MODES: dict[bytes, Operation] = {
    b"S": operations.store,
    b"E": operations.add,
    b"R": operations.replace,
    b"A": operations.append,
    b"P": operations.prepend,
    b"U": range_operations.push,
    b"\0": operations.store,
}


# Commands


def plain_get(line: bytes) -> Optional[Step]:
    """The step of a mg that is right and has nothing unusual about it; None: look closer."""
    words = line.split(b" ", 2)
    if len(words) < 3 or not 0 < len(words[1]) <= KEY_LENGTH or len(words[2]) > _LONG:
        return None
    try:
        operation, arguments, render, binary = _get_plan(words[2], None)
    except ClientError as error:
        error.__traceback__ = None
        return None
    return None if binary else (operation, words[1], arguments, render)


def get(words: list[bytes]) -> Step:
    """mg."""
    key, (operation, arguments, render, _) = _planned(words, 2, _get_plan)
    return operation, key, arguments, render


def delete(words: list[bytes]) -> Step:
    """md."""
    key, (operation, arguments, render, _) = _planned(words, 2, _delete_plan)
    return operation, key, arguments, render


def count(words: list[bytes]) -> Step:
    """ma."""
    key, (operation, arguments, render, _) = _planned(words, 2, _count_plan)
    return operation, key, arguments, render


def inspect(words: list[bytes]) -> Step:
    """
    me.

    A key in base64 is taken as protocol.txt has it; memcached itself decodes it only where one
    more word follows (proto_text.c:631).
    """
    if len(words) < 2:
        raise BAD_FORMAT
    checked(words[2:], 2)
    key = decoded(words[1]) if words[2:3] == [b"b"] else words[1]
    if not 0 < len(key) <= KEY_LENGTH:
        raise BAD_FORMAT
    return meta_operations.inspect, key, (), meta_replies.inspected


def length_of(words: list[bytes]) -> int:
    """As `classic.length_of`, of `ms KEY LENGTH FLAG*`."""
    if len(words) < 3:
        raise BAD_FORMAT
    if len(words) > 3:
        checked(words[3:], 3)
    length = signed32(words[2], BAD_FORMAT)
    if not 0 <= length <= MOST_LENGTH:
        raise BAD_FORMAT
    return length


def upload(words: list[bytes], length: int, quiet: bool, now: Now, limit: int) -> Upload:
    """
    As `classic.upload`, of ms.

    Of what is too large the old value goes too, whatever the mode (proto_parser.c:1362-1394).
    """
    key, plan = _planned(words, 3, _store_plan)
    operation, flags, exptime, others, extends, made, render, sized, late = plan
    pushes = operation is range_operations.push
    longest = range_operations.pushed(key, 0) if pushes else key
    if len(longest) > KEY_LENGTH:
        raise BAD_FORMAT
    if size_in_memcached(longest, length, flags) > limit:
        # Of what is pushed there is no old value.
        raise TooLarge((operations.refuse, key, ("set", not pushes), replies.refused))
    if late is not None:
        raise late
    expiry = operations.expiry_of(exptime, now()) if exptime else 0
    arguments: tuple[Any, ...]
    if extends:
        otherwise = None if made is None else (flags, expiry, made)
        arguments = (limit, *others, otherwise)
    else:
        arguments = (flags, expiry, *others)
    if sized:
        render = sized(length)
    return Upload(operation, key, arguments, meta_replies.pushed(render) if pushes else render)
