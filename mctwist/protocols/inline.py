"""
An inline command of Redis's: the words of a line, some of them perhaps in quotes (sds.c,
sdssplitargs).

Each piece of a word is found by an expression that has one way to match, so a line is looked
through once, whatever is in it.
"""

import re
from typing import Any, Callable, Optional

Words = list[bytes]

_bare = re.compile(rb"[^ \t\r\n\"']+").match
_double = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL).match
_single = re.compile(rb"'((?:[^'\\]|\\'|\\(?!'))*)'").match
_blanks = re.compile(rb"[ \t-\r]*").match
_escape = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split(line: bytes) -> "Optional[Words]":
    """
    The words of `line`; None: a quote in it has no end.

    In double quotes `\\xHH` is a byte, and `\\n`, `\\r`, `\\t`, `\\b`, `\\a` are what they
    are in C; in single quotes only `\\'` is not what it looks like. Behind a quote comes a blank.
    """
    line, _, _ = line.partition(b"\0")
    if b'"' not in line and b"'" not in line:
        return line.split()
    words: Words = []
    place, size = _after(_blanks(line)), len(line)
    while place < size:
        word = b""
        while place < size and not line[place : place + 1].isspace():
            piece, meant = _PIECES.get(line[place : place + 1], _BARE)
            match = piece(line, place)
            if match is None:
                return None
            word += meant(match)
            place = match.end()
            if piece is not _bare and not line[place : place + 1].isspace() and place < size:
                return None
        words.append(word)
        place = _after(_blanks(line, place))
    return words


def _after(match: "Optional[re.Match[bytes]]") -> int:
    assert match is not None
    return match.end()


def _unescaped(match: "re.Match[bytes]") -> bytes:
    digits, char = match.groups()
    return bytes.fromhex(digits.decode()) if digits else _ESCAPES.get(char, char)


_Piece = tuple[Any, Callable[["re.Match[bytes]"], bytes]]
_BARE: _Piece = (_bare, lambda match: match[0])
#: How a piece of a word is found by its first byte, and what it means.
_PIECES: "dict[bytes, _Piece]" = {
    b'"': (_double, lambda match: _escape.sub(_unescaped, match[1])),
    b"'": (_single, lambda match: match[1].replace(b"\\'", b"'")),
}
