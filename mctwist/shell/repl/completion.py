"""
What Tab offers: commands, options, flags with their meaning, and keys that have been seen.

Nothing is asked of the server for it.
"""

from collections.abc import Iterable, Iterator
from typing import Optional

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from mctwist.shell.repl.commands import OPTIONS, Command
from mctwist.shell.repl.own import TOPICS
from mctwist.shell.repl.session import Session
from mctwist.shell.repl.values import ASKED
from mctwist.shell.repl.words import BadWords, Word, spelt, split

#: Keys that are offered at once.
_MOST_OFFERED = 100
_KEY_PLACES = ("KEY", "PREFIX", "START", "END")
_CHOICE_PLACES = ("WHAT", "KIND", "on|off")

_PATHS = PathCompleter(expanduser=True)


class WordCompleter(Completer):
    """Completes the word before the cursor of what is typed in `session`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> "Iterable[Completion]":
        text = document.text_before_cursor
        try:
            words = split(text)
        except BadWords:
            return
        begun = text[words.pop().start :] if words and not text[-1:].isspace() else ""
        if begun and begun[0] in "\"'":
            return
        if _asks_for_path(words):
            yield from _PATHS.get_completions(Document(begun), complete_event)
            return
        for word, meaning in self._offers(words, begun):
            if word.startswith(begun):
                yield Completion(word, -len(begun), display_meta=meaning)

    def _offers(self, words: "list[Word]", begun: str) -> "Iterator[tuple[str, str]]":
        commands = self._session.commands
        if not words:
            yield from ((name, command.summary) for name, command in sorted(commands.items()))
            return
        command = commands.get(words[0].text)
        if command is None:
            return
        if _takes_kind(words):
            yield from ((name, "") for name in ASKED)
        elif begun.startswith("--"):
            for name in command.options:
                yield f"--{name}", OPTIONS[name].help
        else:
            yield from self._of_place(command, words, begun)

    def _of_place(
        self, command: Command, words: "list[Word]", begun: str
    ) -> "Iterator[tuple[str, str]]":
        typed = _in_places(command, words[1:])
        place = _place(command, len(typed))
        if place in _KEY_PLACES:
            yield from self._keys(begun)
        elif place == "FLAG":
            used = {word.text[:1] for word in typed}
            for flag, meaning in command.flags.items():
                if flag[0] not in used:
                    yield flag.rstrip("…"), meaning
        elif place in _CHOICE_PLACES:
            yield from ((choice, "") for choice in command.choices)
        elif place == "COMMAND":
            for name, other in sorted(self._session.commands.items()):
                yield name, other.summary
            yield from ((topic, "") for topic in TOPICS)

    def _keys(self, begun: str) -> "Iterator[tuple[str, str]]":
        offered = 0
        for key in reversed(self._session.keys):
            word = spelt(key)
            if word.startswith(begun):
                yield word, ""
                offered += 1
                if offered == _MOST_OFFERED:
                    return


def _place(command: Command, number: int) -> Optional[str]:
    """What the word of that number is to be; None: there is none."""
    places = command.places
    if number < len(places):
        return places[number].name
    return places[-1].name if places and places[-1].many else None


def _in_places(command: Command, words: "list[Word]") -> "list[Word]":
    """`words` without the options."""
    taken = []
    skip = False
    for word in words:
        option = OPTIONS.get(word.text[2:]) if word.bare and word.text[:2] == "--" else None
        if not skip and option is None:
            taken.append(word)
        skip = option is not None and bool(option.takes)
    return taken


def _last_option(words: "list[Word]") -> str:
    last = words[-1] if words else None
    return last.text if last is not None and last.bare else ""


def _asks_for_path(words: "list[Word]") -> bool:
    return _last_option(words[1:]) in ("--file", "--output", ">")


def _takes_kind(words: "list[Word]") -> bool:
    return _last_option(words[1:]) == "--as"
