"""
How a value is shown: as text, JSON, an integer or a hex dump, as fits.

The rule: what a value holds never reaches a terminal but as letters to be seen. Escape sequences
could otherwise move the cursor, lie about what is there, or type for whoever looks.
"""

import json
import re
from collections.abc import Iterator
from typing import Callable, NamedTuple, Optional

from rich.text import Text

from mctwist.shell.output import seen

#: Of a value that is longer, so much is shown: bytes, of a hex dump and of anything else.
MOST_HEX, MOST_TEXT = 256, 4096
#: A value that is longer is not looked at whether it is JSON.
MOST_JSON = 1 << 20

#: The share of letters that are not to be seen, from which on it is no text.
_UNSEEN = 0.3

_INTEGER = re.compile(rb"-?[0-9]{1,20} *").fullmatch
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,\s"]+', re.DOTALL).finditer


class Shown(NamedTuple):
    """
    A value as it is shown.

    :ivar text: what there is to see. :ivar more: bytes of it that are left out.
    :ivar lines: it is of several lines, or is to stand by itself.
    """

    text: Text
    more: int = 0
    lines: bool = False


def shown(value: bytes, kind: Optional[str] = None, whole: bool = False, width: int = 80) -> Shown:
    """
    `value` to be seen.

    :param kind: of `ASKED`; None: what fits.
    :param whole: leave nothing out, however long it is.
    :param width: columns that a hex dump may take.
    """
    if not value:
        return Shown(Text("(empty)", "dim"))
    return KINDS[kind or kind_of(value)](value, whole, width)


def kind_of(value: bytes) -> str:
    """What fits."""
    if _INTEGER(value):
        return "integer"
    if _json_lines(value) is not None:
        return "json"
    return "hex" if _unreadable(value) else "text"


def _unreadable(value: bytes) -> bool:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return True
    text = text[:MOST_TEXT]
    unseen = sum(not (letter.isprintable() or letter in "\n\t") for letter in text)
    return "\0" in text or unseen > _UNSEEN * len(text)


def _integer(value: bytes, whole: bool, width: int) -> Shown:
    return Shown(Text(value.decode("ascii"), "cyan"))


def _text(value: bytes, whole: bool, width: int) -> Shown:
    taken = value if whole else value[:MOST_TEXT]
    while len(taken) < len(value) and value[len(taken)] & 0xC0 == 0x80 and taken:
        taken = taken[:-1]
    text = readable(taken)
    return Shown(text, len(value) - len(taken), "\n" in text.plain)


def _raw(value: bytes, whole: bool, width: int) -> Shown:
    taken = value if whole else value[:MOST_TEXT]
    return Shown(Text(ascii_of(taken)), len(value) - len(taken))


def _json(value: bytes, whole: bool, width: int) -> Shown:
    lines = _json_lines(value)
    if lines is None:
        return _text(value, whole, width)
    text, taken = Text(), 0
    for number, line in enumerate(lines):
        if len(text) > MOST_TEXT and not whole:
            return Shown(text, max(len(value) - taken, 1), True)
        taken += len(line.plain.strip().encode())
        text.append("\n" if number else "").append_text(line)
    return Shown(text, lines=True)


def _hex(value: bytes, whole: bool, width: int) -> Shown:
    taken = value if whole else value[:MOST_HEX]
    size = 16 if width >= 78 else 8 if width >= 44 else 4
    text = Text()
    for start in range(0, len(taken), size):
        row = taken[start : start + size]
        pairs = " ".join(f"{byte:02x}" for byte in row)
        seen = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        text.append(f"{start:08x}", "dim")
        text.append(f"  {pairs:<{3 * size}} {seen}")
        text.append("\n")
    text.right_crop(1)
    return Shown(text, len(value) - len(taken), True)


#: How a value may be shown, by name.
KINDS: "dict[str, Callable[[bytes, bool, int], Shown]]" = {
    "text": _text,
    "json": _json,
    "hex": _hex,
    "raw": _raw,
    "integer": _integer,
}

#: Those that may be asked for.
ASKED = ("text", "json", "hex", "raw")


# JSON


def _json_lines(value: bytes) -> "Optional[Iterator[Text]]":
    """The lines of `value`, indented; None: it is no object and no array."""
    if len(value) > MOST_JSON or value.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        text = value.decode()
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _indented(text)


def _indented(text: str) -> "Iterator[Text]":
    # By its tokens, not by what they mean: numbers keep their digits, and keys that are there
    # twice are shown twice.
    tokens = [match[0] for match in _TOKEN(text)]
    line, depth, before = Text(), 0, ""
    for token, after in zip(tokens, [*tokens[1:], ""]):
        if token in ("}", "]"):
            depth -= 1
            if before not in ("{", "["):
                yield line
                line = Text("  " * depth)
        line.append(*_styled(token, after))
        if token == ":":
            line.append(" ")
        depth += token in ("{", "[")
        if token == "," or (token in ("{", "[") and after not in ("}", "]")):
            yield line
            line = Text("  " * depth)
        before = token
    yield line


def _styled(token: str, after: str) -> "tuple[str, str]":
    if token.startswith('"'):
        return seen(token), "blue" if after == ":" else "green"
    if token in ("true", "false", "null"):
        return token, "magenta"
    return token, "" if token in "{}[]:," else "cyan"


# Letters


def readable(data: bytes) -> Text:
    """`data` as text, of which what is not to be seen is spelt, and stands out."""
    text = Text()
    for letter in re.split(r"([^\n\t -~]+)", data.decode(errors="backslashreplace")):
        if letter.isprintable():
            text.append(letter)
        else:
            for each in letter:
                text.append(seen(each), "" if each.isprintable() or each in "\n\t" else "reverse")
    return text


def ascii_of(data: bytes) -> str:
    """`data`, in which all but the letters of ASCII is spelt."""
    return data.decode("latin-1").translate(_SPELT)


_SPELT = {
    **{code: f"\\x{code:02x}" for code in range(256) if not 32 <= code < 127},
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord("\\"): "\\\\",
}


def size_of(number: int) -> str:
    """So many bytes, for people."""
    if number < 1000:
        return f"{number} byte" if number == 1 else f"{number} bytes"
    for unit in ("kB", "MB"):
        number_of = number / 1000
        if number_of < 1000:
            return f"{number_of:.1f} {unit}"
        number //= 1000
    return f"{number / 1000:.1f} GB"
