"""
A session: the connection, what has been seen over it, and the commands that are typed.

The rule: a line that is typed is run, and whatever becomes of it is told; nothing that a server
answers ends the session.
"""

import difflib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Callable, Optional, Protocol

from mctwist.client import REFUSED, Server
from mctwist.shell.output import seen
from mctwist.shell.repl import answers
from mctwist.shell.repl.answers import Meta, Refused
from mctwist.shell.repl.commands import Command, Wrong, parse
from mctwist.shell.repl.meanings import META, meaning
from mctwist.shell.repl.screen import Hushed, Screen
from mctwist.shell.repl.wire import NO_ANSWER, Trouble, Wire
from mctwist.shell.repl.words import BLANK, BadWords, Word, split

#: Keys that are remembered for completion.
MOST_KEYS = 10_000

#: The storage commands: how many words their lines have in the protocol, and which one of them is
#: the length of the value.
_STORAGE = {
    **dict.fromkeys(("set", "add", "replace", "append", "prepend"), (5, 4)),
    "cas": (6, 4),
}


class Left(Exception):
    """The session is to end."""


class Keyboard(Protocol):
    """Where what is typed comes from."""

    def more(self, prompt: str) -> Optional[str]:
        """Another line, without its LF; None: there is none."""

    def agrees(self, question: str) -> Optional[bool]:
        """Whether somebody says yes; None: there is nobody to ask."""


class Session:
    """
    A session.

    :param commands: by their names.
    :ivar keys: those seen, the last one last.
    :ivar raw: bytes are shown as they go over the wire.
    """

    def __init__(
        self,
        server: Server,
        screen: Screen,
        commands: "Mapping[str, Command]",
        keyboard: Keyboard,
    ) -> None:
        self.commands = commands
        self.keyboard = keyboard
        self.keys: OrderedDict[bytes, None] = OrderedDict()
        self.raw = False
        self._own_screen = screen
        self._hushed = Hushed(screen.terminal)
        self.screen = screen
        self.wire = self._wire(server)

    def _wire(self, server: Server) -> Wire:
        wire = Wire(server, self._own_screen.note, self._own_screen.wire)
        wire.traced = self.raw
        return wire

    def run(self, line: str) -> bool:
        """
        Do what is typed.

        :return: whether it could be done; what is wrong has been told.
        :raises Left: the session is over.
        """
        try:
            self._run(line)
        except (Wrong, BadWords, Trouble) as fault:
            self._own_screen.wrong(str(fault))
        except ValueError:
            # What was read whole made no sense after all.
            self.interrupted()
            self._own_screen.wrong(NO_ANSWER)
        except Refused as fault:
            self._own_screen.wrong(
                fault.line.decode(errors="replace"), self._meaning(line, fault.line)
            )
        except REFUSED as fault:
            self._own_screen.wrong(
                f"{self.wire.server} does not let you in: {fault}", meaning(str(fault).encode())
            )
        else:
            return True
        return False

    def _run(self, line: str) -> None:
        line = line.strip(BLANK)
        name = _first_word(line)
        verbatim = line[len("raw") :].strip()
        if name == "raw" and verbatim and verbatim not in ("on", "off"):
            self._verbatim(verbatim, True)
            return
        words = split(line)
        if not words:
            return
        command = self.commands.get(name)
        if command is None:
            if not self.raw:
                raise Wrong(self._unknown(words[0].text))
            self._verbatim(line, True)
        elif _is_protocol(words, self.raw):
            self._verbatim(line, self.raw)
        else:
            self.screen = self._own_screen if command.own or not self.raw else self._hushed
            command.perform(self, parse(command, words[1:]))

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.commands, 1)
        hint = f"did you mean {near[0]}?" if near else "help tells what there is"
        return f"{seen(name)} is no command: {hint}"

    def _meaning(self, line: str, error: bytes) -> str:
        command = self.commands.get(_first_word(line))
        if error == b"ERROR":
            if command is not None and command.extension:
                return f"only mctwist knows {command.name}, and this is another server"
            return "the server does not know this command, or not in this form"
        return meaning(error)

    # For the commands

    def ask(
        self,
        words: "Iterable[bytes]",
        read: "Callable[[BinaryIO], Any]",
        value: Optional[bytes] = None,
        again: bool = False,
        wait: float = 0.0,
    ) -> Any:
        """
        The answer to a line of `words`, and the value behind it if it has one.

        Raises as `Wire.ask`.
        """
        request = b" ".join(words) + b"\r\n"
        if value is not None:
            request += value + b"\r\n"
        return self.wire.ask(request, read, wait, again)

    def see(self, keys: "Iterable[bytes]") -> None:
        """Remember `keys`."""
        for key in keys:
            self.keys[key] = None
            self.keys.move_to_end(key)
        while len(self.keys) > MOST_KEYS:
            self.keys.popitem(last=False)

    def set_raw(self, raw: bool) -> None:
        self.raw = self.wire.traced = raw

    def connect(self, server: Server) -> None:
        """Speak with another server; with the old one, where that cannot be reached."""
        wire = self._wire(server)
        wire.open()
        self.wire.close()
        self.wire = wire
        self.keys.clear()

    def greet(self) -> str:
        """
        What the server says that it is.

        Raises as `Wire.ask`, or what a server does that does not let us in.
        """
        said: bytes = self.wire.ask(b"version\r\n", answers.line, again=True)
        return seen(said.decode(errors="replace").partition(" ")[2])

    def interrupted(self) -> None:
        """Somebody has stopped a command: what it is still answered is not read."""
        if self.wire.connected:
            self.wire.leave()

    def close(self) -> None:
        self.wire.close()

    # As it is typed

    def _verbatim(self, line: str, traced: bool) -> None:
        """Send what is typed as it is, with the lines of the value that it announces."""
        request = line.encode(errors="surrogateescape")
        words = request.split() or [b""]
        size = _announced(words)
        right = True
        request += b"\r\n"
        if size is not None:
            value = self._typed_value(size)
            right = len(value) == size
            request += value + b"\r\n"
        read = _FRAMES.get(words[0])
        if words[0] == b"lru_crawler":
            read = _dump_frame(words)
        if words[0] == b"watch":
            self._watch(request, traced)
            return
        if read is None or not right or _may_be_silent(words):
            # What comes is not known: it is all that comes before the answer to this.
            request += b"mn\r\n"
            read = answers.before_noop
        self.wire.traced = traced
        try:
            answer = self.wire.ask(request, read)
        finally:
            self.wire.traced = self.raw
        if not traced and isinstance(answer, Meta):
            word = answer.word.decode(errors="replace")
            self._own_screen.answer(word, META.get(word, ""))

    def _typed_value(self, size: int) -> bytes:
        """The value of `size` bytes, typed as in a telnet."""
        pieces: list[bytes] = []
        length = 0
        while True:
            line = self.keyboard.more("value> ")
            if line is None:
                raise Wrong("there is no value: nothing is sent")
            piece = line.encode(errors="surrogateescape")
            # The end of the last line is not of the value.
            last = piece.removesuffix(b"\r")
            if length + len(last) >= size:
                return b"".join([*pieces, last])
            pieces.append(piece + b"\n")
            length += len(piece) + 1

    def _watch(self, request: bytes, traced: bool) -> None:
        self.wire.traced = traced
        try:
            with self.wire.streamed(request, None) as heard:
                while True:
                    answers.line(heard)
        finally:
            self.wire.traced = self.raw


def _first_word(line: str) -> str:
    return (line.split(None, 1) or [""])[0]


def _is_protocol(words: "list[Word]", raw: bool) -> bool:
    """Whether it is a storage command as the protocol has it, with a length for its value."""
    name, *rest = (word.text for word in words)
    if rest[-1:] == ["noreply"]:
        rest.pop()
    if name in _STORAGE:
        count, _ = _STORAGE[name]
        return len(rest) == count - 1 and all(_is_number(text) for text in rest[1:])
    # In the friendly form a number may as well be the value.
    return raw and name == "ms" and len(rest) > 1 and words[2].bare and _is_number(rest[1])


def _is_number(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()


def _announced(words: "list[bytes]") -> Optional[int]:
    """The length of the value that is to follow a line; None: there is none."""
    _, place = _STORAGE.get(words[0].decode(errors="replace"), (0, 2 if words[0] == b"ms" else 0))
    if not place or len(words) <= place or not words[place].isdigit() or len(words[place]) > 9:
        return None
    return int(words[place])


def _may_be_silent(words: "list[bytes]") -> bool:
    return words[-1] == b"noreply" or (words[0] in _QUIET and b"q" in words[2:])


def _dump_frame(words: "list[bytes]") -> "Optional[Callable[[BinaryIO], Any]]":
    if words[1:2] == [b"metadump"]:
        return lambda heard: list(answers.listed(heard, (b"END",)))
    if words[1:2] == [b"mgdump"]:
        return lambda heard: list(answers.listed(heard, (b"EN",)))
    return answers.meta


_QUIET = (b"mg", b"ms", b"md", b"ma")

#: How the answer to a line is read whose verb this is.
_FRAMES: "dict[bytes, Callable[[BinaryIO], Any]]" = {
    **dict.fromkeys((b"get", b"gets", b"gat", b"gats"), answers.values),
    **dict.fromkeys((b"mr", b"mp"), answers.ranged),
    **dict.fromkeys((b"set", b"add", b"replace", b"append", b"prepend", b"cas"), answers.meta),
    **dict.fromkeys((*_QUIET, b"me", b"mn", b"version", b"delete", b"touch"), answers.meta),
    **dict.fromkeys((b"incr", b"decr", b"flush_all", b"flush_prefix", b"verbosity"), answers.meta),
    b"stats": answers.rows,
    b"quit": lambda heard: heard.readline(),
}
