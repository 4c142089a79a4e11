"""
Where answers are shown: for people, for other programs, and as JSON.

At a terminal a value is shown as fits it. Elsewhere it is given byte for byte, with an end of line
behind it, for whoever reads that wants the value. What is wrong, and what there is to say besides,
goes to stderr.

The rule: at a terminal nothing is written that has not been made to be seen (see `values`).
"""

import json
import sys
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mctwist.shell import output
from mctwist.shell.output import seen
from mctwist.shell.repl.answers import Found
from mctwist.shell.repl.values import MOST_TEXT, ascii_of, readable, shown, size_of
from mctwist.shell.repl.words import spelt

#: Columns of a screen that does not say how many it has.
WIDTH = 80


class How(NamedTuple):
    """
    How values are shown.

    :ivar kind: of `values.ASKED`; None: as fits. :ivar whole: however long they are.
    :ivar named: with their keys, for several were asked for. :ivar cas: with their CAS uniques.
    """

    kind: Optional[str] = None
    whole: bool = False
    named: bool = False
    cas: bool = False


AS_FITS = How()


class Screen:
    """
    Of people, where `terminal`; elsewhere of programs.

    :ivar terminal: stdout is one.
    """

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    # Answers

    def found(self, found: Found, how: How = AS_FITS) -> None:
        """An item."""
        if not self.terminal:
            self._give(found, how)
            return
        line = _named(found.key, how.named)
        if found.value is not None:
            value = shown(found.value, how.kind, how.whole, self._console().width)
            if how.named and value.lines:
                line.right_crop(1)
                line.append("\n")
            line.append_text(value.text)
            if value.more:
                line.append(f"\n… {size_of(value.more)} more: --all shows it", "dim")
        about = _about(found, how)
        if about:
            # What stands behind a value could be taken for a part of it.
            line.append(about if not line.plain else f"\n{about}", "dim")
        self._print(line)

    def _give(self, found: Found, how: How) -> None:
        # Such as are named may have any bytes in them all the same.
        data = b"" if not how.named else spelt(found.key).encode() + b": "
        if found.value is not None:
            value = found.value
            if how.kind not in (None, "raw"):
                # Nobody would see that something is left out.
                value = shown(value, how.kind, whole=True).text.plain.encode()
            data += value + b"\n"
        about = _about(found, how)
        if about and (how.cas or found.more):
            data += about.encode() + b"\n"
        with output.written():
            sys.stdout.flush()
            sys.stdout.buffer.write(data)

    def missing(self, key: bytes, named: bool = False) -> None:
        """There is no such item."""
        if not self.terminal:
            self.note(f"{spelt(key)}: not found")
            return
        line = _named(key, named)
        self._print(line.append("(not found)", "dim"))

    def answer(self, word: str, meaning: str = "") -> None:
        """A word of the server's, and what it says besides."""
        line = Text.assemble((seen(word), _STYLES.get(word, "")))
        if meaning and self.terminal:
            line.append(f"  {seen(meaning)}", "dim")
        self._print(line)

    def number(self, number: int) -> None:
        """The result of arithmetic."""
        self._print(Text(str(number), "cyan"))

    def line(self, data: bytes) -> None:
        """A line of an answer that is nothing but lines."""
        self._print(readable(data) if self.terminal else Text(data.decode(errors="replace")))

    def rows(
        self, heads: "Sequence[str]", rows: "Sequence[Sequence[Any]]", numbers: "Sequence[str]" = ()
    ) -> None:
        """A table. What is bytes in it is spelt, but for JSON, which has them as they are."""
        if not self.terminal:
            for row in rows:
                self._print(Text("\t".join(map(_cell, row))))
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for head in heads:
            table.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(seen(_cell(cell))) for cell in row))
        # Wrapped, a cell stays in its column.
        with output.written():
            self._console().print(table, soft_wrap=False)

    def text(self, text: Text) -> None:
        """Something for people to read, such as help."""
        self._print(text)

    def flush(self) -> None:
        """Have whoever reads see it now."""
        with output.written():
            sys.stdout.flush()

    # Whatever else there is to say

    def note(self, text: str) -> None:
        """Something besides."""
        self._say(Text(seen(text), "dim"))

    def wrong(self, text: str, meaning: str = "") -> None:
        """Something is wrong."""
        line = Text.assemble((seen(text), "red"))
        if meaning:
            line.append(f"\n{meaning}", "dim")
        self._say(line)

    def wire(self, sent: bool, data: bytes) -> None:
        """Bytes that go over the wire."""
        text = ascii_of(data[:MOST_TEXT])
        if len(data) > MOST_TEXT:
            text += f"… {size_of(len(data) - MOST_TEXT)} more"
        self._print(Text.assemble((f"{'>' if sent else '<'} ", "dim"), (text, _WIRE[sent])))

    def _say(self, text: Text) -> None:
        self.flush()
        with output.written():
            _write(output.console(stderr=True), text)

    def _print(self, text: Text) -> None:
        with output.written():
            if self.terminal:
                _write(self._console(), text)
            else:
                # Rich would make spaces of tabs.
                sys.stdout.write(_spellable(text.plain, sys.stdout.encoding) + "\n")

    def _console(self) -> Console:
        return output.console()


class JsonScreen(Screen):
    """Of programs, to which each answer is an object of JSON on a line of its own."""

    def found(self, found: Found, how: How = AS_FITS) -> None:
        fields = {**_spelt("key", found.key)}
        if found.value is not None:
            fields.update(_spelt("value", found.value))
        fields["flags"] = found.flags
        if found.cas is not None:
            fields["cas"] = found.cas
        if found.more:
            fields["more"] = [word.decode(errors="replace") for word in found.more]
        self._json(fields)

    def missing(self, key: bytes, named: bool = False) -> None:
        self._json({**_spelt("key", key), "value": None})

    def answer(self, word: str, meaning: str = "") -> None:
        self._json({"answer": word, **({"meaning": meaning} if meaning else {})})

    def number(self, number: int) -> None:
        self._json({"number": number})

    def line(self, data: bytes) -> None:
        self._json(_spelt("line", data))

    def rows(
        self, heads: "Sequence[str]", rows: "Sequence[Sequence[Any]]", numbers: "Sequence[str]" = ()
    ) -> None:
        for row in rows:
            fields: dict[str, Any] = {}
            for head, cell in zip(heads, row):
                fields.update(_spelt(head, cell) if isinstance(cell, bytes) else {head: cell})
            self._json(fields)

    def text(self, text: Text) -> None:
        self._json({"text": text.plain})

    def wire(self, sent: bool, data: bytes) -> None:
        self._json({"sent" if sent else "received": ascii_of(data)})

    def _json(self, value: Any) -> None:
        self._print(Text(json.dumps(value)))


class Hushed(Screen):
    """Of raw mode, in which the bytes are the answer. What is wrong is said all the same."""

    def found(self, found: Found, how: How = AS_FITS) -> None:
        pass

    def missing(self, key: bytes, named: bool = False) -> None:
        pass

    def answer(self, word: str, meaning: str = "") -> None:
        pass

    def number(self, number: int) -> None:
        pass

    def line(self, data: bytes) -> None:
        pass

    def rows(
        self, heads: "Sequence[str]", rows: "Sequence[Sequence[Any]]", numbers: "Sequence[str]" = ()
    ) -> None:
        pass


_WIRE = {True: "cyan", False: "green"}
_STYLES = {
    **dict.fromkeys(("STORED", "DELETED", "TOUCHED", "OK", "RESET", "HD", "MN"), "green"),
    **dict.fromkeys(("NOT_STORED", "NOT_FOUND", "EXISTS", "NS", "NF", "EX", "EN"), "yellow"),
}

#: What a meta command answers besides a value: its letter, and what that says of the item.
ABOUT = {
    "t": "ttl {}",
    "f": "flags {}",
    "c": "cas {}",
    "s": "size {}",
    "h": "fetched before: {}",
    "l": "last accessed {} s ago",
    "O": "opaque {}",
    "k": "key {}",
    "n": "{} items",
    "W": "W: you are to make it anew",
    "X": "X: stale",
    "Z": "Z: somebody else is to make it anew",
    "b": "b: the key is in base64",
}
_SAID = {("t", "-1"): "no ttl", ("h", "0"): "never fetched", ("h", "1"): "fetched before"}


def _cell(cell: Any) -> str:
    return spelt(cell) if isinstance(cell, bytes) else str(cell)


def _named(key: bytes, named: bool) -> Text:
    return Text.assemble((f"{spelt(key)}: ", "bold")) if named else Text()


def _about(found: Found, how: How) -> str:
    """What there is to say of an item besides its value."""
    words = []
    if found.flags:
        words.append(f"flags {found.flags}")
    if how.cas and found.cas is not None:
        words.append(f"cas {found.cas}")
    return " · ".join([*words, *map(about, found.more)])


def about(word: bytes) -> str:
    """What a flag of a meta answer says."""
    letter, rest = chr(word[0]) if word else "", word[1:].decode(errors="replace")
    said = _SAID.get((letter, rest)) or ABOUT.get(letter, f"{letter}{{}}").format(rest)
    return seen(said)


def _spelt(name: str, data: bytes) -> "dict[str, Any]":
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}64": b64encode(data).decode()}


def _write(console: Console, text: Text) -> None:
    plain = _spellable(text.plain, console.encoding)
    console.print(text if plain == text.plain else Text(plain))


def _spellable(text: str, encoding: str) -> str:
    """`text`, of which is spelt what `encoding` has not."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
