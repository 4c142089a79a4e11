"""`mctwist dump` without a server: what servers tell, and the files that dumps are in."""

import os
import re
import shutil
import stat
import tempfile
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import click
import zstandard
from pymemcache.exceptions import (  # type: ignore[import-untyped]  # it has no types
    MemcacheUnexpectedCloseError,
)
from twisted.trial.unittest import SynchronousTestCase

from mctwist import dumps
from mctwist.client import raw_line
from mctwist.dumps import BadLine, NoDump, Reader, Record, encode, first_line, last_line, lines
from mctwist.item import BYTES, FETCHED, KEPT, STALE, TYPED, WON, Entry, Item, marks_of
from mctwist.protocols import records
from mctwist.shell.dump import pieces
from mctwist.shell.transfer import metadump, sources
from mctwist.shell.transfer.files import Origin, Target
from mctwist.shell.transfer.metadump import Key, key_of
from mctwist.shell.transfer.sources import records_of


class Trickle(RawIOBase):
    """A stream of which a byte comes at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        byte = self._content.read(1)
        buffer[: len(byte)] = byte
        return len(byte)


def streams(content: bytes) -> "Iterator[BinaryIO]":
    """`content` whole, and byte by byte."""
    yield BufferedReader(BytesIO(content))
    yield BufferedReader(Trickle(content))


class ItemdumpTests(SynchronousTestCase):
    """Whole records, as the server tells them."""

    def check(self, content: bytes, expected: "list[Record]", prefix: bytes = b"") -> None:
        for trailing in (b"", b"END\r\nmi x 1\r\ny\r\n"):
            for stream in streams(content + b"EN\r\n" + trailing):
                left_out: Counter[str] = Counter()
                self.assertEqual(list(records_of(stream, prefix, left_out)), expected)
                self.assertEqual(stream.read(), trailing)
                self.assertEqual(+left_out, Counter())

    def told(self, key: bytes, value: bytes, **fields: int) -> bytes:
        item = Item(
            fields.get("kind", BYTES),
            marks_of(key) | fields.get("marks", 0),
            fields.get("flags", 0),
            fields.get("expiry", 0),
            fields.get("cas", 1),
            *(5, 6, 0, value),
        )
        return records.record(Entry(key, item, len(value), fields.get("accessed", 9), False))

    def test_what_the_server_tells_is_what_is_dumped(self) -> None:
        cases = [
            (b"k", b"", {}),
            (b"k", b"EN\r\nmi x 1\r\ny", {"flags": 7, "expiry": 1790000000123, "cas": 1 << 63}),
            (b"a b\r\n\0", b"\0\xff", {"marks": STALE | WON | FETCHED | KEPT}),
            ("\u00e9".encode(), b"$1\r\n1\r\n", {"kind": TYPED, "accessed": 1790000000}),
        ]
        content, expected = b"", []
        for key, value, fields in cases:
            content += self.told(key, value, **fields)
            filled = {"cas": 1, "accessed": 9, **fields}
            expected.append(Record(key, value, **filled))
        self.check(content, expected)
        self.check(b"", [])
        self.check(content, [expected[0], expected[1]], b"k")

    def test_a_key_in_base64_that_text_can_spell_says_so(self) -> None:
        self.check(b"mi aw== 1 b E3\r\nv\r\n", [Record(b"k", b"v", cas=3, marks=16)])
        self.check(b"mi ayBr 1 b E3\r\nv\r\n", [Record(b"k k", b"v", cas=3)])

    def test_a_stream_that_ends_early_is_a_lost_server(self) -> None:
        content = self.told(b"k", b"value") + b"EN\r\n"
        for end in range(len(content) - 1):
            for stream in streams(content[:end]):
                with self.assertRaises(MemcacheUnexpectedCloseError, msg=content[:end]):
                    list(records_of(stream, b"", Counter()))

    def test_an_error_in_the_middle_ends_it(self) -> None:
        for line in (b"SERVER_ERROR out of memory", b"mi k", b"mi k x", b"mi ? 0 b", b"?"):
            with self.assertRaises(click.ClickException):
                list(records_of(BytesIO(b"mi k 1\r\nv\r\n" + line + b"\r\n\r\n"), b"", Counter()))

    def test_what_is_too_large_is_passed_over_and_counted(self) -> None:
        self.patch(sources, "MOST_VALUE", 3)
        left_out: Counter[str] = Counter()
        stream = BytesIO(b"mi a 4\r\nmi x\r\nmi b 3\r\nabc\r\nEN\r\n")
        self.assertEqual(list(records_of(stream, b"", left_out)), [Record(b"b", b"abc")])
        self.assertEqual(left_out, {sources.TOO_LARGE: 1})

    def test_each_refusal_has_its_line(self) -> None:
        for answer, words in [
            (b"CLIENT_ERROR permission denied", "permission denied"),
            (b"CLIENT_ERROR lru crawler disabled", "`lru_crawler enable`"),
            (b"ERROR metadump not allowed", "-X"),
            (b"ERROR", "since 1.4.31"),
            (b"BUSY currently processing crawler request", "busy"),
            (b"BADCLASS invalid class id", "BADCLASS"),
        ]:
            with self.assertRaises(click.ClickException) as caught:
                sources.refused(answer)
            self.assertIn(words, caught.exception.message)

    def test_who_is_busy_is_asked_again_for_a_while(self) -> None:
        self.patch(sources, "BUSY_PAUSE", 0.0)
        left = [sources.Busy("BUSY"), sources.Busy("BUSY")]

        def ask() -> str:
            if left:
                raise left.pop()
            return "begun"

        self.assertEqual(sources.once_free(ask), "begun")
        self.patch(sources, "BUSY_PATIENCE", -1.0)
        left.append(sources.Busy("BUSY"))
        with self.assertRaises(click.ClickException) as caught:
            sources.once_free(ask)
        self.assertIn("busy", caught.exception.message)


class MetadumpTests(SynchronousTestCase):
    """What memcached tells of its keys, and of what they hold."""

    def test_lines_of_every_version(self) -> None:
        for line, expected in [
            # 1.6.45, 1.6.18, 1.4.31
            (
                b"key=a%20%FFb exp=1795298756 la=1795298000 cas=3 fetch=yes cls=1 size=65 "
                b"flags=5 \n",
                Key(b"a \xffb", 1795298756000, 1795298000, 3, True),
            ),
            (
                b"key=a exp=-1 la=7 cas=1 fetch=no cls=1 size=65\n",
                Key(b"a", 0, 7, 1, False),
            ),
            (b"key=a exp=-1 la=7 cas=0 fetch=no\n", Key(b"a", 0, 7, 0, False)),
        ]:
            self.assertEqual(key_of(line), expected)
        self.assertRaises(click.ClickException, key_of, b"key=a b\n")

    def listed(self, content: bytes) -> "list[list[bytes]]":
        found = []
        for stream in streams(content):
            first = raw_line(stream)
            found.append(list(metadump._lines(first, stream)))
        return found

    def test_its_beginning_and_its_end(self) -> None:
        one, two = b"key=a exp=-1 la=7\n", b"key=b exp=-1 la=7\n"
        for begin in (b"", b"OK\r\n"):
            for end in (b"END\r\n", b"VERSION 1.4.33\r\n", b"NOTSTARTED no items to crawl\r\n"):
                self.assertEqual(self.listed(begin + one + two + end), [[one, two]] * 2)
                self.assertEqual(self.listed(begin + end), [[], []])

    def test_a_metadump_that_is_cut_is_a_lost_server(self) -> None:
        for content in (b"OK\r\n", b"OK\r\nkey=a exp=-1 la=7\n", b"key=a exp=-1 la=7\nkey=b"):
            self.assertRaises(MemcacheUnexpectedCloseError, self.listed, content)

    def test_a_table_that_grows_is_waited_for(self) -> None:
        locked = b"OK\r\nERROR locked try again later\r\n"
        self.assertRaises(sources.Busy, self.listed, locked)

    def held(self, content: bytes, *keys: Key) -> "tuple[list[Record], Counter[str]]":
        results = []
        for stream in streams(content):
            left_out: Counter[str] = Counter()
            batch = {key.key: key for key in keys}
            found = metadump._held(stream, batch, Unasked(), left_out)
            results.append((list(found), +left_out))
        self.assertEqual(*results)
        return results[0]

    def test_values_by_gets_and_of_binary_keys_by_mg(self) -> None:
        plain, gone = Key(b"k", 5000, 6, 7, True), Key(b"gone", 0, 0, 1, False)
        binary, lost = Key(b"a b", 9000, 8, 9, False), Key(b"a c", 0, 0, 2, False)
        batch = {key.key: key for key in (plain, gone, binary, lost)}
        self.assertEqual(
            metadump._request(batch),
            b"gets k gone\r\nmg %b b v f c t u\r\nmg %b b v f c t u\r\n"
            % (b64encode(b"a b"), b64encode(b"a c")),
        )
        found, left_out = self.held(
            b"VALUE k 3 5 7\r\nEND\r\n\r\nEND\r\nVA 2 f4 c9 t100 X Z\r\n\r\n\r\nEN\r\n",
            *(plain, gone, binary, lost),
        )
        self.assertEqual(
            found,
            [
                Record(b"k", b"END\r\n", 3, 5000, 7, FETCHED, 0, 6),
                Record(b"a b", b"\r\n", 4, 9000, 9, STALE | WON, 0, 8),
            ],
        )
        self.assertEqual(left_out, {metadump.GONE: 2})

    def test_the_win_that_the_dump_takes_is_not_dumped(self) -> None:
        binary = Key(b"a b", 0, 8, 9, False)
        found, _ = self.held(b"VA 1 f0 c9 t-1 W X\r\nv\r\n", binary)
        self.assertEqual(found[0].marks, STALE)

    def test_a_server_without_meta_commands_cannot_tell_of_binary_keys(self) -> None:
        found, left_out = self.held(
            b"VALUE k 0 1 1\r\nv\r\nEND\r\nERROR\r\n",
            *(Key(b"k", 0, 0, 1, False), Key(b"a b", 0, 0, 2, False)),
        )
        self.assertEqual([record.key for record in found], [b"k"])
        self.assertEqual(left_out, {metadump.NO_META: 1})

    def test_a_binary_key_that_is_too_long_in_base64_is_told_as_such(self) -> None:
        bad = b"CLIENT_ERROR bad command line format\r\n"
        found, left_out = self.held(
            bad + bad,
            *(Key(b" " * 186, 0, 0, 1, False), Key(b" " * 187, 0, 0, 2, False)),
        )
        self.assertEqual(found, [])
        self.assertEqual(left_out, {metadump.NO_META: 1, metadump.LONG_KEY: 1})

    def test_an_answer_that_is_none_ends_the_dump_in_a_line(self) -> None:
        plain, binary = Key(b"k", 0, 0, 1, False), Key(b"a b", 0, 0, 1, False)
        for line in (
            b"VALUE other 0 1 1",
            b"VALUE k x 1 1",
            b"VALUE k 0 -5 1",
            b"VALUE k 0 1",
            b"SERVER_ERROR out of memory writing get response",
        ):
            with self.assertRaises(click.ClickException, msg=line):
                self.held(line + b"\r\nv\r\nEND\r\n", plain)
        for line in (b"VA x f0 c1 t-1", b"VA -5 f0 c1 t-1", b"VA 1 f0", b"HD"):
            with self.assertRaises(click.ClickException, msg=line):
                self.held(line + b"\r\nv\r\n", binary)

    def test_what_is_too_large_is_passed_over_and_counted(self) -> None:
        self.patch(metadump, "MOST_VALUE", 1)
        found, left_out = self.held(
            b"VALUE a 0 2 1\r\nxy\r\nVALUE b 0 1 2\r\nx\r\nEND\r\nVA 2 f0 c1 t-1\r\nxy\r\n",
            *(Key(b"a", 0, 0, 1, False), Key(b"b", 0, 0, 2, False), Key(b"a b", 0, 0, 1, False)),
        )
        self.assertEqual([record.key for record in found], [b"b"])
        self.assertEqual(left_out, {sources.TOO_LARGE: 2})


class Unasked(metadump._Aside):
    """Nothing has changed meanwhile."""

    def __init__(self) -> None:
        pass

    def renewed(self, records: Any) -> Any:
        raise AssertionError(list(records))


def dump_of(*records: Record) -> bytes:
    return first_line("here", 1) + b"".join(map(encode, records)) + last_line(len(records))


ONE, TWO = Record(b"one", b"1"), Record(b"two", b"2")


class ReaderTests(SynchronousTestCase):
    """Dumps, read line by line."""

    def read(self, content: bytes) -> "tuple[list[Record | str], bool]":
        found: list[Record | str] = []
        reader = Reader()
        for line in lines(BytesIO(content)):
            try:
                record = reader.record(line)
            except BadLine as fault:
                found.append(str(fault))
            else:
                if record is not None:
                    found.append(record)
        passing = Reader()
        for line in lines(BytesIO(content)):
            passing.pass_over(line)
        self.assertEqual(passing.complete, reader.complete)
        return found, reader.complete

    def test_whole_dumps_one_behind_the_other(self) -> None:
        self.assertEqual(self.read(dump_of(ONE, TWO)), ([ONE, TWO], True))
        self.assertEqual(self.read(dump_of()), ([], True))
        self.assertEqual(self.read(dump_of(ONE) + dump_of(TWO)), ([ONE, TWO], True))

    def test_a_dump_that_was_cut_short(self) -> None:
        whole = dump_of(ONE, TWO)
        for end in range(len(first_line("here", 1)), len(whole) - 1):
            self.assertFalse(self.read(whole[:end])[1], whole[:end])
        self.assertFalse(self.read(dump_of(ONE, TWO).replace(encode(ONE), b""))[1])
        self.assertFalse(self.read(dump_of(ONE) + encode(TWO))[1])
        self.assertFalse(self.read(dump_of(ONE) + first_line("here", 1))[1])

    def test_a_damaged_line_is_one_of_those_that_are_counted(self) -> None:
        damaged = dump_of(ONE, TWO).replace(b'"value": "1"', b'"value": 1')
        found, complete = self.read(damaged)
        self.assertEqual(found[1:], [TWO])
        self.assertIn("value", str(found[0]))
        self.assertTrue(complete)

    def test_a_line_that_is_too_long_is_passed_over(self) -> None:
        self.patch(dumps, "MOST_LINE", 100)
        long = Record(b"long", b"x" * 3000)
        found, complete = self.read(dump_of(ONE, long, TWO))
        self.assertEqual((found[0], found[2]), (ONE, TWO))
        self.assertIn("longer than 100", str(found[1]))
        self.assertTrue(complete)

    def test_what_is_no_dump_is_refused(self) -> None:
        for content, words in [
            (b"root:x:0:0\n", "no dump"),
            (encode(ONE), "no dump"),
            (b'{"mctwist": 2}\n', "version 2"),
        ]:
            with self.assertRaises(NoDump) as caught:
                self.read(content)
            self.assertIn(words, str(caught.exception))


class PiecesTests(SynchronousTestCase):
    """What is written at once."""

    def test_large_values_are_not_gathered_in_memory(self) -> None:
        taken = []

        def records(size: int) -> "Iterator[Record]":
            for number in range(600):
                taken.append(number)
                yield Record(b"k%d" % number, b"v" * size)

        for size, expected in ((1, 256), (600_000, 2), (2 << 20, 1)):
            taken.clear()
            found = pieces(records(size))
            self.assertEqual(len(next(found)), expected)
            self.assertEqual(len(taken), expected)
        self.assertEqual([len(lines) for lines in pieces(records(1))], [256, 256, 88])
        self.assertEqual(list(pieces([])), [])


class FileTests(SynchronousTestCase):
    """Under its name a dump is whole."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        with Target(str(path)) as target:
            target.write(content)
            self.assertEqual(len(list(self.directory.iterdir())), 1)
        self.assertEqual(target.size, path.stat().st_size)
        return path

    def read(self, path: Path) -> bytes:
        with Origin(str(path)) as origin:
            self.assertEqual(origin.size, path.stat().st_size)
            content = origin.content.read()
            self.assertEqual(origin.position(), origin.size)
        return content

    def test_plain_and_compressed(self) -> None:
        content = b"a line\n" * 100_000
        plain = self.write("plain.jsonl", content)
        self.assertEqual(plain.read_bytes(), content)
        self.assertEqual(self.read(plain), content)
        plain.unlink()
        packed = self.write("packed.zst", content)
        self.assertLess(packed.stat().st_size, 1000)
        self.assertEqual(self.read(packed), content)
        # By its content, for the input has no name.
        renamed = packed.rename(self.directory / "renamed")
        self.assertEqual(self.read(renamed), content)

    def test_it_is_as_open_as_other_files(self) -> None:
        umask = os.umask(0o027)
        self.addCleanup(os.umask, umask)
        self.assertEqual(stat.S_IMODE(self.write("dump", b"").stat().st_mode), 0o640)

    def test_what_ends_in_the_middle_leaves_the_old_one(self) -> None:
        path = self.write("dump", b"old")
        for fault in (KeyboardInterrupt, click.ClickException("full")):
            faults = (KeyboardInterrupt, click.ClickException)
            with self.assertRaises(faults), Target(str(path)) as target:
                target.write(b"new" * 100_000)
                raise fault
            self.assertEqual(list(self.directory.iterdir()), [path])
            self.assertEqual(path.read_bytes(), b"old")

    def test_what_ends_while_it_begins_leaves_nothing(self) -> None:
        def interrupted(**options: Any) -> Any:
            raise KeyboardInterrupt

        self.patch(zstandard, "ZstdCompressor", interrupted)
        with self.assertRaises(KeyboardInterrupt), Target(str(self.directory / "dump.zst")):
            pass
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_a_link_stays_one(self) -> None:
        (self.directory / "there").mkdir()
        (self.directory / "link").symlink_to("there/dump")
        with Target(str(self.directory / "link")) as target:
            target.write(b"content")
        self.assertTrue((self.directory / "link").is_symlink())
        self.assertEqual((self.directory / "there/dump").read_bytes(), b"content")

    def test_a_device_stays_one_and_is_full_when_it_says_so(self) -> None:
        with Target(os.devnull) as target:
            target.write(b"content")
        self.assertTrue(Path(os.devnull).is_char_device())
        with self.assertRaises(click.ClickException) as caught, Target("/dev/full") as target:
            target.write(b"content" * 100_000)
        self.assertEqual(caught.exception.message, "/dev/full: No space left on device")

    def test_a_pipe_under_a_name_in_dev_is_written_to(self) -> None:
        # As /dev/stdout is, or what a shell makes of >(...).
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        with Target(f"/dev/fd/{writing}") as target:
            target.write(b"content")
        os.close(writing)
        self.assertEqual(os.read(reading, 100), b"content")

    def test_where_it_cannot_be_is_told(self) -> None:
        target = Target(str(self.directory / "none" / "dump"))
        with self.assertRaises(click.ClickException) as caught, target:
            pass
        self.assertTrue(re.search(r"none/dump: No such file", caught.exception.message))

    def test_a_compressed_dump_that_is_damaged_or_cut(self) -> None:
        packed = zstandard.ZstdCompressor(write_checksum=True).compress(os.urandom(1 << 16))
        path = self.directory / "dump.zst"
        path.write_bytes(packed[:-2000])
        self.assertLess(len(self.read(path)), 1 << 16)
        path.write_bytes(packed[:1000] + b"?" + packed[1001:])
        with Origin(str(path)) as origin, self.assertRaises(Origin.FAULTS):
            origin.content.read()
