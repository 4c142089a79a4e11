"""The shell's own grammar, what it shows of values, and what it offers, without a terminal."""

import json
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from twisted.trial.unittest import SynchronousTestCase

from mctwist.client import Server
from mctwist.shell.repl import prompt
from mctwist.shell.repl.commands import MOST_RELATIVE, Wrong, exptime, parse
from mctwist.shell.repl.completion import WordCompleter
from mctwist.shell.repl.meanings import meaning
from mctwist.shell.repl.own import CHAPTERS
from mctwist.shell.repl.screen import Screen
from mctwist.shell.repl.session import MOST_KEYS, Session
from mctwist.shell.repl.table import COMMANDS
from mctwist.shell.repl.values import ASKED, MOST_HEX, MOST_TEXT, kind_of, shown, size_of
from mctwist.shell.repl.words import BadWords, Unfinished, Word, spelt, split
from mctwist.shell.shell import Lines

#: Nobody is there, and nobody is asked.
NOWHERE = Server(("127.0.0.1", 1))


def words(line: str) -> "list[bytes]":
    return [word.typed for word in split(line)]


class WordTests(SynchronousTestCase):
    """What is typed, as words."""

    def test_words(self) -> None:
        for line, expected in [
            ("", []),
            ("  get \t k ", [b"get", b"k"]),
            ('set k "two words"', [b"set", b"k", b"two words"]),
            ("set k 'two \\n words'", [b"set", b"k", b"two \\n words"]),
            (r'"\n\r\t\0\"\\\x00\xfF"', [b'\n\r\t\0"\\\x00\xff']),
            (r"two\ words \x41", [b"two words", b"A"]),
            ('{"a":1} it\'s', [b'{"a":1}', b"it's"]),
            ('""', [b""]),
            ("'over\nlines'", [b"over\nlines"]),
            ("é", ["é".encode()]),
            ("\udcff", [b"\xff"]),
        ]:
            self.assertEqual(words(line), expected, line)

    def test_what_is_not_understood_is_refused(self) -> None:
        for line in (r"\q", r"\xg0", r"\x4", r'"\y"', "'a'b", '"a"b'):
            self.assertRaises(BadWords, split, line)

    def test_an_open_quote_goes_on(self) -> None:
        for line in ("'a", '"a', '"a\\"', "a\\"):
            self.assertRaises(Unfinished, split, line)
        self.assertEqual(list(Lines(["set k 'a", "b'", "get k"])), ["set k 'a\nb'", "get k"])
        self.assertEqual(list(Lines(["get 'a", "b\\"])), ["get 'a\nb\\"])
        self.assertEqual(
            list(Lines(["get a\\", "b", "raw 'x", "c"])), ["get a\\\nb", "raw 'x", "c"]
        )

    def test_only_a_bare_star_at_the_end_is_a_star(self) -> None:
        for line, data, starred in [
            ("user:*", b"user:", True),
            ("*", b"", True),
            (r"user:\*", b"user:*", False),
            ('"user:*"', b"user:*", False),
            ("a*b", b"a*b", False),
        ]:
            (word,) = split(line)
            self.assertEqual((word.data, word.starred), (data, starred), line)

    @given(st.binary())
    @settings(max_examples=200, deadline=None)
    def test_what_is_spelt_is_the_same_when_it_is_typed(self, data: bytes) -> None:
        (word,) = split(spelt(data))
        self.assertEqual((word.data, word.starred), (data, False))
        self.assertTrue(spelt(data).isprintable())
        self.assertFalse(word.bare and word.text.startswith((">", "--")))


class GrammarTests(SynchronousTestCase):
    """Words, as commands."""

    def call(self, line: str) -> Any:
        name, *rest = split(line)
        return parse(COMMANDS[name.text], rest)

    def refusal(self, line: str) -> str:
        return str(self.assertRaises(Wrong, self.call, line))

    def test_options_stand_anywhere(self) -> None:
        for line in ("set k v --ttl 5 --flags=7", "set --ttl=5 k --flags 7 v"):
            call = self.call(line)
            self.assertEqual((call.data, call.options), ([b"k", b"v"], {"ttl": 5, "flags": 7}))

    def test_what_is_quoted_is_no_option(self) -> None:
        self.assertEqual(self.call('set k "--edit"').data, [b"k", b"--edit"])
        self.assertEqual(self.call(r"set k \--edit").data, [b"k", b"--edit"])

    def test_into_a_file(self) -> None:
        for line in ("get k > a/b", "get k >a/b", "get k --output a/b", "get k --output=a/b"):
            self.assertEqual(self.call(line).options, {"output": "a/b"})
        self.assertEqual(self.call("set k >").data, [b"k", b">"])

    def test_a_star_is_a_letter_but_for_del(self) -> None:
        self.assertEqual(self.call("get x*").data, [b"x*"])

    def test_a_file_stands_for_the_value(self) -> None:
        self.assertEqual(self.call("set k --file f").data, [b"k"])
        self.assertIn("what is v for?", self.refusal("set k v --file f"))

    def test_what_is_wrong_is_told_with_the_usage(self) -> None:
        for line, said in [
            ("set k", "VALUE is missing: set KEY VALUE [--flags N]"),
            ("get", "KEY is missing: get KEY…"),
            ("set k two words", "what is words for?"),
            ("set k v --tll 5", "set has no --tll"),
            ("set k v --ttl", "--ttl takes TTL"),
            ("set k v --ttl soon", "is no TTL"),
            ("set k v --flags 4294967296", "no number of 32 bits"),
            ("set k v --flags -1", "no number of 32 bits"),
            ("set k --edit=yes", "--edit takes nothing"),
            ("get k --as xml", "text, json, hex"),
            ("version now", "what is now for?"),
        ]:
            self.assertIn(said, self.refusal(line))

    def test_how_long(self) -> None:
        def of(text: str) -> int:
            return exptime(Word(text.encode(), 0))

        for text, seconds in [
            *[("0", 0), ("-1", -1), ("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200)],
            *[("30d", MOST_RELATIVE), ("1790000000", 1790000000)],
        ]:
            self.assertEqual(of(text), seconds)
        # Over thirty days the protocol wants a date.
        before = int(time.time())
        self.assertTrue(before + 31 * 86400 <= of("31d") <= int(time.time()) + 31 * 86400)
        self.assertTrue(before + MOST_RELATIVE + 1 <= of(str(MOST_RELATIVE + 1)))
        for text in ("", "1w", "5 m", "+5", "٣", "9999999999", "90000d"):
            self.assertRaises(Wrong, of, text)

    def test_each_command_has_help(self) -> None:
        self.assertEqual(
            sorted(name for names in CHAPTERS.values() for name in names), sorted(COMMANDS)
        )
        for name, command in COMMANDS.items():
            self.assertEqual(name, command.name)
            self.assertTrue(command.summary, name)
            for place in command.places[:-1]:
                self.assertFalse(place.many, name)

    def test_what_errors_mean(self) -> None:
        self.assertIn("full", meaning(b"SERVER_ERROR out of memory storing object"))
        self.assertEqual(meaning(b"SERVER_ERROR something new"), "")


class ValueTests(SynchronousTestCase):
    """Values, as they are shown."""

    def show(self, value: bytes, kind: Optional[str] = None, **how: Any) -> str:
        return shown(value, kind, **how).text.plain

    def test_what_fits(self) -> None:
        for value, kind in [
            (b"42", "integer"),
            (b"-7", "integer"),
            (b"9 ", "integer"),
            (b"hello", "text"),
            (b"two\nlines\n", "text"),
            ("größer".encode(), "text"),
            (b"1.5", "text"),
            (b"{not json}", "text"),
            (b'{"a": 1}', "json"),
            (b" [1]", "json"),
            (b"[" * 100_000, "text"),
            (b"\xff\xfe", "hex"),
            (b"a\0b", "hex"),
            (bytes(range(32)), "hex"),
        ]:
            self.assertEqual(kind_of(value), kind, value[:20])
        self.assertEqual(self.show(b""), "(empty)")

    def test_json_is_indented_and_keeps_its_digits(self) -> None:
        value = b'{"a":1.50,"a":[1e5,{}, [],"x,{}"],"b":{"c":null}}'
        self.assertEqual(
            self.show(value),
            '{\n  "a": 1.50,\n  "a": [\n    1e5,\n    {},\n    [],\n    "x,{}"\n  ],\n'
            '  "b": {\n    "c": null\n  }\n}',
        )

    @given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=9))
    @settings(max_examples=50, deadline=None)
    def test_indented_json_is_the_same(self, value: Any) -> None:
        text = json.dumps([value, {"k": value}])
        self.assertEqual(json.loads(self.show(text.encode())), [value, {"k": value}])

    def test_a_hex_dump(self) -> None:
        self.assertEqual(
            self.show(bytes(range(0x41, 0x53)) + b"\0"),
            "00000000  41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 50  ABCDEFGHIJKLMNOP\n"
            "00000010  51 52 00                                         QR.",
        )
        for line in self.show(bytes(100), width=50).splitlines():
            self.assertTrue(len(line) <= 50, line)

    def test_what_is_long_is_cut_and_said_so(self) -> None:
        for kind, most in [("hex", MOST_HEX), ("text", MOST_TEXT), ("raw", MOST_TEXT)]:
            value = shown(b"a" * 100_000, kind)
            self.assertEqual(value.more, 100_000 - most)
            self.assertEqual(shown(b"a" * 100_000, kind, whole=True).more, 0)
        long = json.dumps(list(range(10_000))).encode()
        self.assertTrue(0 < shown(long).more < len(long))
        self.assertEqual(shown(long, whole=True).more, 0)
        # A letter is not cut in two.
        self.assertEqual(shown("é".encode() * 9999).text.plain, "é" * (MOST_TEXT // 2))

    @given(st.binary(max_size=300), st.sampled_from([None, *ASKED]))
    @settings(max_examples=300, deadline=None)
    def test_nothing_that_is_not_to_be_seen_is_shown(
        self, value: bytes, kind: Optional[str]
    ) -> None:
        for each in (value, b"[" + json.dumps(value.decode("latin-1")).encode() + b"]"):
            text = self.show(each, kind)
            self.assertTrue(text.translate({10: "", 9: ""}).isprintable(), text)

    def test_escape_sequences_are_spelt(self) -> None:
        self.assertEqual(self.show(b"a red \x1b[31mword", "text"), "a red \\x1b[31mword")
        self.assertEqual(self.show("a \u202etxet".encode()), "a \\u202etxet")
        self.assertEqual(self.show('["\u009b31m"]'.encode()), '[\n  "\\x9b31m"\n]')

    def test_sizes(self) -> None:
        for number, text in [
            (1, "1 byte"),
            (999, "999 bytes"),
            (1200, "1.2 kB"),
            (1_234_567, "1.2 MB"),
            (5_000_000_000, "5.0 GB"),
        ]:
            self.assertEqual(size_of(number), text)


class CompletionTests(SynchronousTestCase):
    """What Tab offers."""

    def setUp(self) -> None:
        self.session = Session(NOWHERE, Screen(False), COMMANDS, Lines([]))
        self.session.see([b"user:1", b"user:2", b"two words", b"other"])

    def offered(self, text: str) -> "dict[str, str]":
        completer = WordCompleter(self.session)
        return {
            completion.text: completion.display_meta_text
            for completion in completer.get_completions(Document(text), CompleteEvent())
        }

    def test_commands(self) -> None:
        self.assertEqual(list(self.offered("")), sorted(COMMANDS))
        self.assertEqual(self.offered("ge")["gets"], "fetch values with their CAS uniques")
        self.assertEqual(self.offered("nothing "), {})

    def test_keys_the_last_first(self) -> None:
        self.assertEqual(list(self.offered("get user:")), ["user:2", "user:1"])
        self.assertEqual(list(self.offered("get ")), ["other", '"two words"', "user:2", "user:1"])
        self.assertEqual(list(self.offered("get a b us")), ["user:2", "user:1"])
        self.assertEqual(list(self.offered("gat us")), [])
        self.assertEqual(list(self.offered("gat 5 us")), ["user:2", "user:1"])
        self.assertEqual(list(self.offered("set user:1 us")), [])

    def test_options(self) -> None:
        self.assertEqual(list(self.offered("set k v --")), ["--flags", "--ttl", "--file", "--edit"])
        self.assertEqual(list(self.offered("get k --as ")), list(ASKED))
        self.assertEqual(list(self.offered("get --as hex us")), ["user:2", "user:1"])

    def test_flags_with_their_meaning(self) -> None:
        offered = self.offered("mg k v ")
        self.assertEqual(offered["t"], "answer the seconds left; -1: it is kept for ever")
        self.assertNotIn("v", offered)
        self.assertIn("T", self.offered("ms k value "))
        self.assertEqual(self.offered("mr a b "), {})
        self.assertIn("k", self.offered("mr a b 10 "))

    def test_words(self) -> None:
        self.assertEqual(list(self.offered("stats set")), ["settings"])
        self.assertIn("mutations", self.offered("watch fetchers "))
        self.assertEqual(list(self.offered("raw ")), ["on", "off"])
        self.assertEqual(list(self.offered("help quo")), ["quoting"])

    def test_files(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, directory)
        (directory / "value.txt").touch()
        for line in ("set k --file ", "get k > ", "get k --output "):
            self.assertEqual(list(self.offered(f"{line}{directory}/val")), ["ue.txt"])

    def test_within_quotes_nothing(self) -> None:
        for text in ('get "us', "get 'us", '"', r"get \q"):
            self.assertEqual(self.offered(text), {})

    def test_so_many_keys_are_remembered(self) -> None:
        self.session.see(b"%d" % number for number in range(MOST_KEYS + 5))
        self.assertEqual(len(self.session.keys), MOST_KEYS)
        self.assertNotIn(b"other", self.session.keys)
        self.assertEqual(len(self.offered("get ")), 100)


class HistoryTests(SynchronousTestCase):
    """The history, in its file."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.patch(os, "environ", {"HOME": str(self.home)})
        self.path = self.home / ".mctwist_history"

    def strings(self) -> "list[str]":
        history = prompt.kept_history()
        return list(history.load_history_strings())

    def test_it_is_kept_for_its_owner_alone(self) -> None:
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        prompt.kept_history().append_string("get k")
        self.assertEqual(self.strings(), ["get k"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.path.chmod(0o644)
        prompt.kept_history()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_it_is_where_state_is(self) -> None:
        os.environ["XDG_STATE_HOME"] = str(self.home / "state")
        prompt.kept_history().append_string("get k")
        self.assertTrue((self.home / "state" / "mctwist" / "history").exists())
        self.assertFalse(self.path.exists())

    def test_some_lines_are_not_kept(self) -> None:
        history = prompt.kept_history()
        for line in (" set secret x", "set k " + "x" * 5000, "get k"):
            history.append_string(line)
        self.assertEqual(self.strings(), ["get k"])

    def test_it_does_not_grow_for_ever(self) -> None:
        history = prompt.kept_history()
        for number in range(300):
            history.append_string(f"set k{number} {'x' * 4000}")
        self.assertTrue(self.path.stat().st_size > prompt.MOST_HISTORY)
        strings = self.strings()
        self.assertTrue(strings[0].startswith("set k299 "))
        self.assertTrue(all(line.startswith("set k") for line in strings))
        self.assertTrue(self.path.stat().st_size < prompt.MOST_HISTORY)

    def test_where_there_can_be_none_there_is_one_for_now(self) -> None:
        (self.home / "file").touch()
        os.environ["XDG_STATE_HOME"] = str(self.home / "file")
        history = prompt.kept_history()
        history.append_string("get k")
        self.assertEqual(history.get_strings(), ["get k"])
