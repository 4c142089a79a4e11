"""
Redis's patterns of keys: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before what is meant as it is
(util.c, stringmatchlen).

A name is looked through once, with all ways to match it followed at the same time: bit n of a
number says that the pattern's first n characters may have matched what has been seen of the name.
(Tried one after the other, as a regular expression does it, the ways of `*a*a*a*a*b` take minutes.)
The characters are looked up as they are met, so a pattern that is long costs its sender no more
than reading it: a regular expression of a thousand classes takes half a second to be compiled.
"""

import re
from typing import Callable

from mctwist.item import KEY_LENGTH

_ANY = (1 << 256) - 1


class _Places(dict[int, int]):
    """
    For each character of a name, the places of the pattern where it may stand, as bits.

    :param classes: the characters at each place, as bits.
    """

    def __init__(self, classes: "list[int]") -> None:
        super().__init__()
        self._classes = classes

    def __missing__(self, char: int) -> int:
        places = 0
        for place, chars in enumerate(self._classes):
            places |= (chars >> char & 1) << place
        self[char] = places
        return places


def matcher(pattern: bytes) -> "Callable[[bytes], bool]":
    """What says whether a name of up to `KEY_LENGTH` bytes matches `pattern`."""
    classes, stars = _read(pattern)
    if len(classes) > KEY_LENGTH:
        return lambda name: False
    places = _Places(classes)
    last = len(classes)

    def matches(name: bytes) -> bool:
        reached = 1
        for char in name:
            reached = (reached & places[char]) << 1 | reached & stars
            if not reached:
                return False
        return bool(reached >> last)

    return matches


def literal_prefix(pattern: bytes) -> bytes:
    """What every name begins with that matches `pattern`."""
    match = re.match(rb"[^*?\[\\]*", pattern)
    return match[0] if match else b""


def _read(pattern: bytes) -> "tuple[list[int], int]":
    """
    What may stand at each place of a name, and before which places anything may, as bits.

    Of a pattern that is too long for any key, no more is read than shows it.
    """
    classes: list[int] = []
    stars = 0
    place, size = 0, len(pattern)
    while place < size and len(classes) <= KEY_LENGTH:
        char = pattern[place : place + 1]
        if char == b"*":
            stars |= 1 << len(classes)
        elif char == b"?":
            classes.append(_ANY)
        elif char == b"[":
            known, place = _class(pattern, place + 1)
            classes.append(known)
        else:
            if char == b"\\" and place + 1 < size:
                place += 1
            classes.append(1 << pattern[place])
        place += 1
    return classes, stars


def _class(pattern: bytes, place: int) -> "tuple[int, int]":
    """What the class from `place` on matches, and where its end is."""
    size = len(pattern)
    inverse = pattern[place : place + 1] == b"^"
    if inverse:
        place += 1
    known = 0
    while place < size and pattern[place] != 0x5D:
        if pattern[place] == 0x5C and place + 1 < size:
            place += 1
            known |= 1 << pattern[place]
        elif pattern[place + 1 : place + 2] == b"-" and place + 2 < size:
            first, last = sorted((pattern[place], pattern[place + 2]))
            known |= (2 << last) - (1 << first)
            place += 2
        else:
            known |= 1 << pattern[place]
        place += 1
    return (known ^ _ANY if inverse else known), place
