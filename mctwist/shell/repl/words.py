r"""
What is typed, taken apart into words.

Words are separated by blanks. One that begins with a quote goes on to the next such quote, over
the ends of lines too; everywhere else a quote is a letter like any other, so that JSON without
blanks and `it's` need none. Outside of single quotes a backslash begins an escape: `\n`, `\r`,
`\t`, `\0`, `\\`, `\"`, `\'`, `\*`, `\>`, a backslash and a space, and `\xHH`, which is any byte.

The rule: what is not understood is refused. Nobody's backslash is swallowed.
"""

from collections.abc import Iterator
from typing import NamedTuple

_ESCAPES = {
    **{letter: letter.encode() for letter in "\\\"'*> -"},
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "0": b"\0",
}
_UNESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\\": "\\\\", '"': '\\"'}
#: What stands between words.
BLANK = " \t\r\n"


class BadWords(ValueError):
    """What is typed cannot be taken apart. Its text is for people."""


class Unfinished(BadWords):
    """A quote is open: the next line belongs to it. :ivar quote: which; or a backslash."""

    def __init__(self, text: str, quote: str) -> None:
        super().__init__(text)
        self.quote = quote


class Word(NamedTuple):
    """
    A word.

    :ivar data: its bytes. :ivar start: where it begins in what was typed.
    :ivar bare: nothing of it is quoted or escaped, so it may be an option.
    :ivar starred: it ends with a star that is neither; which is not in `data`.
    """

    data: bytes
    start: int
    bare: bool = True
    starred: bool = False

    @property
    def text(self) -> str:
        return self.data.decode(errors="surrogateescape")

    @property
    def typed(self) -> bytes:
        """Its bytes, for those to whom a star is a star."""
        return self.data + b"*" if self.starred else self.data


def split(line: str) -> "list[Word]":
    """
    The words of `line`.

    :raises Unfinished: it ends within quotes; :raises BadWords: it means nothing.
    """
    words: list[Word] = []
    place = 0
    while True:
        while place < len(line) and line[place] in BLANK:
            place += 1
        if place == len(line):
            return words
        take = _quoted_word if line[place] in "\"'" else _bare_word
        word, place = take(line, place)
        words.append(word)


def open_quote(text: str) -> str:
    """The quote, or the backslash, that the end of `text` finds open; nothing: there is none."""
    if text.split(None, 1)[:1] == ["raw"]:
        return ""
    try:
        split(text)
    except Unfinished as fault:
        return fault.quote
    except BadWords:
        pass
    return ""


def whole(lines: "Iterator[str]") -> "Iterator[str]":
    """Each command that `lines` are, whose quotes are closed where they can be."""
    for line in lines:
        pieces = [line]
        quote = open_quote(line)
        while quote:
            rest = next(lines, None)
            if rest is None:
                break
            pieces.append(rest)
            if quote in rest or quote == "\\":
                quote = open_quote("\n".join(pieces))
        yield "\n".join(pieces)


def _bare_word(line: str, start: int) -> "tuple[Word, int]":
    data: list[bytes] = []
    place, bare, starred = start, True, False
    while place < len(line) and line[place] not in BLANK:
        starred = line[place] == "*"
        if line[place] == "\\":
            bare = False
            piece, place = _escape(line, place)
        else:
            piece, place = _bytes(line[place]), place + 1
        data.append(piece)
    if starred:
        data.pop()
    return Word(b"".join(data), start, bare, starred), place


def _quoted_word(line: str, start: int) -> "tuple[Word, int]":
    quote = line[start]
    data: list[bytes] = []
    place = start + 1
    while place < len(line) and line[place] != quote:
        if line[place] == "\\" and quote == '"':
            piece, place = _escape(line, place)
        else:
            piece, place = _bytes(line[place]), place + 1
        data.append(piece)
    if place == len(line):
        raise Unfinished(f"the quote {quote} is not closed", quote)
    place += 1
    if place < len(line) and line[place] not in BLANK:
        raise BadWords(f"a space must follow the quote that closes {line[start:place]}")
    return Word(b"".join(data), start, bare=False), place


def _escape(line: str, place: int) -> "tuple[bytes, int]":
    letter = line[place + 1 : place + 2]
    if letter in _ESCAPES:
        return _ESCAPES[letter], place + 2
    digits = line[place + 2 : place + 4]
    if letter == "x" and len(digits) == 2 and digits.isalnum() and digits.isascii():
        try:
            return bytes([int(digits, 16)]), place + 4
        except ValueError:
            pass
    if not letter:
        raise Unfinished("there is nothing behind the backslash", "\\")
    raise BadWords(f"\\{letter} is no escape: \\n \\r \\t \\0 \\xHH, and \\\\ for a backslash")


def _bytes(letter: str) -> bytes:
    return letter.encode(errors="surrogateescape")


def spelt(data: bytes) -> str:
    """`data` as a word that `split` makes it of again; nothing in it is but to be seen."""
    text = data.decode(errors="surrogateescape")
    if text and text.isprintable() and not (set(text) & set(" \\*") or text[0] in "\"'->"):
        return text
    return f'"{"".join(map(_spelt, text))}"'


def _spelt(letter: str) -> str:
    if letter in _UNESCAPES:
        return _UNESCAPES[letter]
    if letter.isprintable():
        return letter
    return "".join(f"\\x{byte:02x}" for byte in _bytes(letter))
