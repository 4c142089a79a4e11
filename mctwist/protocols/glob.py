"""
Redis's patterns of keys: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before what is meant as it is
(util.c, stringmatchlen).

A pattern is cut at its stars. What is between two stars has a fixed length, so the first place
where it fits is as good as any later one, and nothing is ever tried twice: a name is looked
through once, however many stars there are. (As one regular expression it would be tried again
and again: `*a*a*a*a*b` takes Redis itself, and Python, minutes.)
"""

import re
from typing import Callable

_ANY = b"[\\x00-\\xff]"
_NONE = b"(?!)"


def matcher(pattern: bytes) -> "Callable[[bytes], bool]":
    """What says whether a name matches `pattern`."""
    pieces = [re.compile(b"".join(piece)) for piece in _pieces(pattern)]
    if len(pieces) == 1:
        whole = pieces[0].fullmatch
        return lambda name: whole(name) is not None
    first, *middle, last = pieces
    last_length = len(_pieces(pattern)[-1])

    def matches(name: bytes) -> bool:
        found = first.match(name)
        if found is None:
            return False
        end = len(name) - last_length
        place = found.end()
        for piece in middle:
            found = piece.search(name, place, max(end, 0))
            if found is None:
                return False
            place = found.end()
        return place <= end and last.match(name, end) is not None

    return matches


def literal_prefix(pattern: bytes) -> bytes:
    """What every name begins with that matches `pattern`."""
    match = re.match(rb"[^*?\[\\]*", pattern)
    return match[0] if match else b""


def _pieces(pattern: bytes) -> "list[list[bytes]]":
    """Between the stars: for each byte of a name, what it has to match."""
    pieces: list[list[bytes]] = [[]]
    place, size = 0, len(pattern)
    while place < size:
        char = pattern[place : place + 1]
        if char == b"*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append([])
        elif char == b"?":
            pieces[-1].append(_ANY)
        elif char == b"[":
            known, place = _class(pattern, place + 1)
            pieces[-1].append(known)
        else:
            if char == b"\\" and place + 1 < size:
                place += 1
            pieces[-1].append(_one_of({pattern[place]}))
        place += 1
    return pieces


def _class(pattern: bytes, place: int) -> "tuple[bytes, int]":
    """What the class from `place` on matches, and where its end is."""
    size = len(pattern)
    inverse = pattern[place : place + 1] == b"^"
    if inverse:
        place += 1
    known: set[int] = set()
    while place < size and pattern[place] != 0x5D:
        if pattern[place] == 0x5C and place + 1 < size:
            place += 1
            known.add(pattern[place])
        elif pattern[place + 1 : place + 2] == b"-" and place + 2 < size:
            first, last = sorted((pattern[place], pattern[place + 2]))
            known.update(range(first, last + 1))
            place += 2
        else:
            known.add(pattern[place])
        place += 1
    return _one_of(set(range(256)) - known if inverse else known), place


def _one_of(chars: "set[int]") -> bytes:
    if not chars:
        return _NONE
    return b"[%b]" % b"".join(b"\\x%02x" % char for char in sorted(chars))
