"""`mctwist load` without a server: how servers are told, and how far a load has come."""

import json
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

from mctwist.client import LOST
from mctwist.dumps import Record
from mctwist.item import FETCHED, KEPT, STALE, WON
from mctwist.shell.transfer import windows
from mctwist.shell.transfer.loading import Tally
from mctwist.shell.transfer.position import Position, Refused
from mctwist.shell.transfer.sinks import (
    BAD_KEY,
    TYPED,
    Impossible,
    classic,
    meta,
    seconds_of,
    whole,
)
from mctwist.shell.transfer.windows import Window, Windows

EVERYTHING = Record(b"k", b"v\r\n", 7, 1790000000123, 5, STALE | WON | FETCHED | KEPT, 1, 9)


class SpellingTests(SynchronousTestCase):
    """An item, as a server is told of it."""

    def test_a_mctwist_is_told_everything(self) -> None:
        self.assertEqual(
            whole(EVERYTHING, b""),
            b"mi k 3 X W H K F7 e1790000000123 E5 a9 Y1\r\nv\r\n\r\n",
        )
        self.assertEqual(whole(Record(b"k", b""), b" ME"), b"mi k 0 ME\r\n\r\n")
        self.assertEqual(whole(Record(b"a b", b"v"), b""), b"mi YSBi 1 b\r\nv\r\n")
        self.assertEqual(whole(Record(b"ab", b"v", marks=16), b""), b"mi YWI= 1 b\r\nv\r\n")

    def test_memcached_is_told_what_it_knows(self) -> None:
        record = EVERYTHING._replace(kind=0)
        self.assertEqual(meta(record, b"", True), b"ms k 3 F7 T1790000001 E5\r\nv\r\n\r\n")
        self.assertEqual(meta(record, b" ME", False), b"ms k 3 ME F7 T1790000001\r\nv\r\n\r\n")
        self.assertEqual(meta(Record(b"a b", b"v"), b"", True), b"ms YSBi 1 b\r\nv\r\n")
        self.assertEqual(classic(record, b"set"), b"set k 7 1790000001 3\r\nv\r\n\r\n")
        self.assertEqual(classic(Record(b"k", b""), b"add"), b"add k 0 0 0\r\n\r\n")

    def test_an_expiry_is_a_time_of_day_whatever_is_left(self) -> None:
        # Up to 30 days it would be from now on.
        for expiry, seconds in [
            (0, 0),
            (1790000000000, 1790000000),
            (1790000000001, 1790000001),
            (2147483647000, 2147483647),
            (2147483647001, 2147483647),
            (4102444800000, 2147483647),
        ]:
            self.assertEqual(seconds_of(expiry), seconds)

    def test_what_would_be_taken_for_commands_is_not_sent(self) -> None:
        longest, too_long, empty = b"k" * 250, b"k" * 251, b""
        for spell in (
            lambda record: whole(record, b""),
            lambda record: meta(record, b"", True),
            lambda record: classic(record, b"set"),
        ):
            self.assertIn(longest, spell(Record(longest, b"v")))
            for key in (too_long, empty):
                with self.assertRaises(Impossible) as caught:
                    spell(Record(key, b"v"))
                self.assertEqual(str(caught.exception), BAD_KEY)
        # 250 is the length of the base64 to memcached, and of the key to mctwist.
        binary = b" " * 250
        self.assertIn(b" b", whole(Record(binary, b"v"), b""))
        self.assertIn(b" b", meta(Record(binary[:186], b"v"), b"", True))
        with self.assertRaises(Impossible):
            meta(Record(binary[:189], b"v"), b"", True)
        with self.assertRaises(Impossible):
            classic(Record(b"a b", b"v"), b"set")
        typed = Record(b"k", b"$1\r\n1\r\n", kind=1)
        for without_types in (lambda: meta(typed, b"", True), lambda: classic(typed, b"set")):
            with self.assertRaises(Impossible) as caught:
                without_types()
            self.assertEqual(str(caught.exception), TYPED)


class TallyTests(SynchronousTestCase):
    """What has become of the lines."""

    def test_the_first_of_each_reason_are_named(self) -> None:
        tally = Tally({})
        for line in range(2, 7):
            tally.skip("expired", b"k\xff%d" % line, line)
        tally.skip("damaged", "no JSON", 9)
        tally.skip("too large", b"k")
        again = Tally(json.loads(json.dumps(tally.state())))
        again.skip("expired", b"k", 10)
        self.assertEqual(
            again.skipped,
            {
                "expired": [6, ["line 2: k\\xff2", "line 3: k\\xff3", "line 4: k\\xff4"]],
                "damaged": [1, ["line 9: no JSON"]],
                "too large": [1, ["k"]],
            },
        )


class PositionTests(SynchronousTestCase):
    """FILE.loaded."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.file = self.directory / "dump"
        self.file.write_bytes(b"content")
        self.loaded = self.directory / "dump.loaded"

    def position(self, target: str = "here:1") -> Position:
        return Position(str(self.file), target)

    def test_it_goes_on_where_it_was(self) -> None:
        position = self.position()
        self.assertEqual(position.read(), {})
        self.assertFalse(position.recorded)
        state = {"lines": 5, "loaded": 4, "unmarked": 0, "skipped": {}}
        position.write(state)
        self.assertTrue(position.recorded)
        self.assertEqual(self.position().read(), state)
        self.assertEqual(sorted(self.directory.iterdir()), [self.file, self.loaded])
        self.position().remove()
        self.assertEqual(list(self.directory.iterdir()), [self.file])

    def test_it_is_of_one_dump_and_one_server(self) -> None:
        self.position().write({"lines": 5})
        with self.assertRaises(Refused) as caught:
            self.position("there:1").read()
        self.assertIn("to here:1, not there:1", str(caught.exception))
        self.file.write_bytes(b"another content")
        with self.assertRaises(Refused) as caught:
            self.position().read()
        self.assertIn("bytes 7, not 15", str(caught.exception))

    def test_one_that_is_damaged_is_refused(self) -> None:
        for content in (b"", b"[]", b"{}", b'{"lines": 1}', b"\xff"):
            self.loaded.write_bytes(content)
            with self.assertRaises(Refused) as caught:
                self.position().read()
            self.assertIn("cannot be read", str(caught.exception))

    def test_the_input_has_none(self) -> None:
        position = Position(None, "here:1")
        position.write({"lines": 5})
        self.assertFalse(position.due or position.recorded)
        self.assertEqual(position.read(), {})


class Ours:
    """A server that hands out one end of a pair of sockets, and then nobody answers."""

    timeout = 0.05

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.connected = 0

    def connect(self) -> "Ours":
        self.connected += 1
        if self.connected > 1:
            raise ConnectionRefusedError
        return self

    def close(self) -> None:
        self.sock.close()


class WindowsTests(SynchronousTestCase):
    """Windows and their answers."""

    def setUp(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.seen: list[tuple[str, Optional[list[bytes]]]] = []
        self.server = Ours(ours)
        self.windows = Windows(
            self.server,  # type: ignore[arg-type]  # it is one as far as it is used here
            b"HD",
            lambda window, answers: self.seen.append((window.about, answers)),
        )
        self.addCleanup(self.windows.close)

    def put(self, about: str, count: int) -> None:
        self.windows.put(Window(b"r\r\n" * count, count, about))

    def answer(self, content: bytes) -> None:
        """The server says that; byte by byte, and in one."""
        for place in range(len(content)):
            self.theirs.send(content[place : place + 1])
            self.windows._turn()

    def test_a_window_is_acknowledged_when_all_answers_are_there(self) -> None:
        self.put("one", 2)
        self.put("none", 0)
        self.put("two", 1)
        self.answer(b"HD\r\nHD\r")
        self.assertEqual(self.seen, [])
        self.answer(b"\n")
        self.assertEqual(self.seen, [("one", None), ("none", None)])
        self.answer(b"HD\r\n")
        self.assertEqual(self.seen[2:], [("two", None)])
        self.assertEqual(self.theirs.recv(100), b"r\r\n" * 3)
        self.windows.drain()

    def test_answers_that_differ_are_told_in_their_order(self) -> None:
        self.put("one", 3)
        self.put("two", 1)
        self.theirs.sendall(b"HD\r\nNS\r\nHD\r\nSERVER_ERROR out of memory storing object\r\n")
        self.windows.drain()
        self.assertEqual(
            self.seen,
            [
                ("one", [b"HD", b"NS", b"HD"]),
                ("two", [b"SERVER_ERROR out of memory storing object"]),
            ],
        )

    def test_a_server_that_stays_away_is_lost_for_good(self) -> None:
        self.patch(windows, "PATIENCE", 0.0)
        self.put("one", 1)
        self.theirs.close()
        with self.assertRaises(LOST):
            self.windows.drain()
        self.assertEqual(self.seen, [])

    def test_it_waits_until_then_and_reads_meanwhile(self) -> None:
        self.put("one", 1)
        self.theirs.sendall(b"HD\r\n")
        until = time.monotonic() + 0.02
        self.windows.wait(until)
        self.assertGreaterEqual(time.monotonic(), until)
        self.assertEqual(self.seen, [("one", None)])
