"""
The answers of a server, read off the wire to their ends.

Nothing here is shown. A value is taken by its length, never by what it holds.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Optional

from mctwist.client import block, raw_line

#: What a server answers where it refuses. `SERVER_ERROR:` is one of memcached's own.
_REFUSALS = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"BUSY", b"BADCLASS", b"SAME")
_MORE_REFUSALS = (b"NOSPARE", b"NOTFULL", b"UNSAFE", b"NOTSTARTED", b"MEMLIMIT", b"WATCHER_")

ENDS = (b"END", b"RESET", b"OK")


class Refused(Exception):
    """The server refuses. :ivar line: what it says."""

    def __init__(self, line: bytes) -> None:
        super().__init__(line)
        self.line = line


class Found(NamedTuple):
    """
    An item, as a server answers it.

    :ivar value: None: it was not asked for.
    :ivar flags: the client's. :ivar cas: None: it was not told.
    :ivar more: what a meta command answers besides.
    """

    key: bytes
    value: Optional[bytes]
    flags: int = 0
    cas: Optional[int] = None
    more: "tuple[bytes, ...]" = ()


class Meta(NamedTuple):
    """The answer to a meta command: its word, what is behind it, and its value if it has one."""

    word: bytes
    more: "tuple[bytes, ...]"
    value: Optional[bytes] = None


def line(answers: BinaryIO) -> bytes:
    """
    A line.

    :raises Refused: it is an error.
    """
    words = raw_line(answers)
    if words.startswith(_REFUSALS + _MORE_REFUSALS):
        raise Refused(words)
    return words


def values(answers: BinaryIO) -> "list[Found]":
    """What a get answers, or one of its kin."""
    found: list[Found] = []
    while True:
        words = line(answers)
        if words == b"END":
            return found
        _, key, flags, size, *cas = words.split(b" ")
        value = block(answers, int(size))
        found.append(Found(key, value, int(flags), int(cas[0]) if cas else None))


def meta(answers: BinaryIO) -> Meta:
    """What a meta command answers."""
    word, *more = line(answers).split(b" ")
    if word != b"VA":
        return Meta(word, tuple(more))
    if not more:
        raise ValueError("a value without a length")
    return Meta(word, tuple(more[1:]), block(answers, int(more[0])))


def ranged(answers: BinaryIO) -> "list[Meta]":
    """What a range command answers; the last is its end."""
    answer: list[Meta] = []
    while not answer or answer[-1].word not in (b"EN", b"MR"):
        answer.append(meta(answers))
    return answer


def before_noop(answers: BinaryIO) -> "list[Meta]":
    """
    What comes before the answer to a `mn`: for commands that may answer nothing.

    :raises Refused: there is an error among it.
    """
    answer: list[Meta] = []
    refusal = None
    while not answer or answer[-1].word != b"MN":
        try:
            answer.append(meta(answers))
        except Refused as fault:
            refusal = refusal or fault
    if refusal is not None:
        raise refusal
    return answer[:-1]


def listed(answers: BinaryIO, ends: "tuple[bytes, ...]" = ENDS) -> "Iterator[bytes]":
    """The lines of an answer up to one of `ends`, which is the last."""
    while True:
        words = line(answers)
        yield words
        if words in ends:
            return


def rows(answers: BinaryIO) -> "list[bytes]":
    """All of `listed`, at once."""
    return list(listed(answers))
