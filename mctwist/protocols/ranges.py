"""
The range commands, which memcached has not: their grammar and their answers.

    mr START END LIMIT FLAG*     the items whose keys are from START on and below END, in order
    mp START END LIMIT FLAG*     the same, and they are gone

They are made in the manner of the meta commands. An item is answered by a `VA` line and its value,
or by a `HD` line where no value is asked for; flags are answered in the order in which they came.
The answer ends with `EN`, or with `MR` (more) where the limit, or that of one answer, was reached
before the end of the range was: what is missing is asked for by the same command from behind the
last key on. With `n` there are no items, and the end says how many there were, and with `k` which
was the last. What else the commands mean is in `range_operations`.
"""

from typing import Any, Callable, NamedTuple, Optional

from mctwist import range_operations
from mctwist.interfaces import MOST_BYTES, Operation, Ranged, Render, Step
from mctwist.item import BINARY_KEY, KEY_LENGTH, Item
from mctwist.meta_operations import left
from mctwist.protocols.grammar import BAD_FORMAT, unsigned
from mctwist.protocols.meta import (
    BAD_KEY,
    BAD_TOKEN,
    DUPLICATE,
    INVALID,
    LONG_OPAQUE,
    MOST_OPAQUE,
    MOST_WORDS,
    TOO_MANY,
    Flags,
    decoded,
    slip_of,
)
from mctwist.protocols.meta_replies import base64
from mctwist.range_operations import Slip
from mctwist.stats import Stats

#: The longest START or END: a key, and a byte that makes it the one behind it.
MOST_BOUND = KEY_LENGTH + 1
#: Milliseconds that a command may wait.
MOST_WAIT = 60 * 60 * 1000

# Words before the flags: verb, start, end, limit.
_FIRST = 4


class Asked(NamedTuple):
    """
    A range command.

    :ivar wait: milliseconds that it is to wait for something to be there; 0: it is not.
    :ivar consumes: it takes away what it finds.
    """

    step: Step
    wait: int
    consumes: bool


def read(words: list[bytes]) -> Asked:
    """mr."""
    return _asked(words, _READ_FLAGS, range_operations.read, _count_read)


def pop(words: list[bytes]) -> Asked:
    """mp."""
    return _asked(words, _POP_FLAGS, range_operations.pop, _count_popped)


def fruitless(result: Any) -> bool:
    """Whether a command that may wait has found nothing, and nothing else has happened to it."""
    return result.__class__ is Ranged and not result.number


# Grammar


def _alone(word: bytes) -> bytes:
    if len(word) > 1:
        raise BAD_TOKEN
    return word


def _opaque(word: bytes) -> bytes:
    if len(word) > MOST_OPAQUE:
        raise LONG_OPAQUE
    return word


def _wait(word: bytes) -> int:
    wait = unsigned(word[1:], 32, BAD_TOKEN)
    if wait > MOST_WAIT:
        raise BAD_TOKEN
    return wait


_READ_FLAGS: dict[bytes, Callable[[bytes], Any]] = {
    **dict.fromkeys((b"b", b"k", b"v", b"c", b"f", b"s", b"t", b"n", b"r"), _alone),
    b"O": _opaque,
    b"B": _wait,
}

_POP_FLAGS: dict[bytes, Callable[[bytes], Any]] = {
    **_READ_FLAGS,
    b"A": lambda word: word[1:],
    b"G": lambda word: unsigned(word[1:], 64, BAD_TOKEN),
}


def _asked(
    words: list[bytes],
    letters: "dict[bytes, Callable[[bytes], Any]]",
    operation: Operation,
    count: "Callable[[Stats, int], None]",
) -> Asked:
    if len(words) < _FIRST:
        raise BAD_FORMAT
    if len(words) > MOST_WORDS:
        raise TOO_MANY
    flags = _flags_of(words[_FIRST:], letters)
    start, end = words[1:3]
    if b"b" in flags:
        start, end = decoded(start), decoded(end)
        if not (start and end):
            raise BAD_KEY
    most = unsigned(words[3], 32, BAD_FORMAT)
    if not most or len(start) > MOST_BOUND or len(end) > MOST_BOUND:
        raise BAD_FORMAT
    arguments: tuple[Any, ...] = (end, most, b"r" in flags, b"n" in flags)
    slip: Optional[Slip] = slip_of(flags)
    if slip is not None:
        arguments = (*arguments, slip)
    wait: int = flags.get(b"B", 0)
    consumes = operation is range_operations.pop
    return Asked((operation, start, arguments, _found(flags, count)), wait, consumes)


def _flags_of(words: list[bytes], letters: "dict[bytes, Callable[[bytes], Any]]") -> Flags:
    flags: Flags = {}
    for word in words:
        letter = word[:1]
        if letter in flags:
            raise DUPLICATE
        take = letters.get(letter)
        if take is None:
            raise INVALID
        flags[letter] = take(word)
    return flags


# Answers


def _shown_key(key: bytes, item: Item, now: int) -> bytes:
    return b" k%b b" % base64(key) if item.marks & BINARY_KEY else b" k" + key


_SHOWS: dict[bytes, Callable[[bytes, Item, int], bytes]] = {
    b"k": _shown_key,
    b"s": lambda key, item, now: b" s%d" % len(item.value),
    b"c": lambda key, item, now: b" c%d" % item.cas,
    b"f": lambda key, item, now: b" f%d" % item.flags,
    b"t": lambda key, item, now: b" t%d" % left(item.expiry, now),
}


def _found(flags: Flags, count: "Callable[[Stats, int], None]") -> Render:
    """What makes the answer of a command that has `flags`."""
    shows = [_SHOWS[letter] for letter in flags if letter in _SHOWS]
    valued, keyed, counts = b"v" in flags, b"k" in flags, b"n" in flags
    echo = b" " + flags[b"O"] if b"O" in flags else b""

    def render(stats: Stats, key: bytes, found: Ranged) -> bytes:
        count(stats, found.number)
        now = int(stats.seconds() * 1000)
        parts: list[bytes] = []
        tail = b""
        if counts:
            tail = b" n%d" % found.number
            for name, item in found.items if keyed else ():
                tail += _shown_key(name, item, now)
        for name, item in () if counts else found.items:
            words = b"".join([show(name, item, now) for show in shows])
            if valued:
                parts += (b"VA %d%b\r\n" % (len(item.value), words), item.value, b"\r\n")
            else:
                parts.append(b"HD%b\r\n" % words)
        parts.append(b"%b%b%b\r\n" % (b"MR" if found.more else b"EN", tail, echo))
        return b"".join(parts)

    return render


def _count_read(stats: Stats, number: int) -> None:
    if number:
        stats.get_hits += number
    else:
        stats.get_misses += 1


def _count_popped(stats: Stats, number: int) -> None:
    if number:
        stats.delete_hits += number
    else:
        stats.delete_misses += 1


#: What bounds one command: shown by `stats settings`.
BOUNDS: dict[str, object] = {
    "range_items": range_operations.MOST_ITEMS,
    "range_bytes": MOST_BYTES,
    "range_wait": MOST_WAIT,
}
