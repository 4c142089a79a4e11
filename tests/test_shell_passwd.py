"""`mctwist passwd`, as those meet it who keep the users of a server."""

import fcntl
import os
import pty
import shutil
import stat
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Any, Optional

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mctwist import passwords
from mctwist.passwords import MOST_BYTES, MOST_PASSWORD, MOST_USERS, Hash, User, parse, verify
from mctwist.shell import passwd as module
from mctwist.shell.__main__ import group
from tests.processes import PATIENCE, ROOT


class PasswdTests(SynchronousTestCase):
    """A file, and the command on it."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "users"

    def passwd(
        self, *arguments: str, given: bytes = b"secret\n", path: Optional[Path] = None
    ) -> Result:
        runner = CliRunner()
        return runner.invoke(group, ["passwd", str(path or self.path), *arguments], input=given)

    def do(self, *arguments: str, given: bytes = b"secret\n") -> str:
        """What it says when it has done that."""
        result = self.passwd(*arguments, given=given)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertEqual(list(self.directory.iterdir()), [self.path])
        return result.output

    def refusal(self, *arguments: str, given: bytes = b"secret\n") -> str:
        """The line in which it refuses; nothing is changed."""
        before = self.path.read_bytes() if self.path.exists() else None
        result = self.passwd(*arguments, given=given)
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertEqual(result.output.count("\n"), 1, result.output)
        self.assertNotIn("secret", result.output)
        self.assertEqual(self.path.read_bytes() if self.path.exists() else None, before)
        self.assertIn(list(self.directory.iterdir()), ([self.path], []))
        return result.output

    def users(self) -> "dict[bytes, User]":
        return parse(self.path.read_bytes())

    def test_the_first_user_makes_the_file_and_nobody_else_may_read_it(self) -> None:
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        self.assertEqual(self.do("alice"), "alice: added\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        (user,) = self.users().values()
        self.assertEqual((user.name, user.read_only, user.prefix), (b"alice", False, b""))
        self.assertIsInstance(user.secret, Hash)
        self.assertTrue(verify(user, b"secret"))
        self.assertNotIn(b"secret", self.path.read_bytes())

    def test_a_password_is_one_line_of_the_input(self) -> None:
        for given, password in [
            (b"a", b"a"),
            (b"a b: \r\n", b"a b: "),
            (b"\xff\xc3\xa9\nmore\n", b"\xff\xc3\xa9"),
            (b"p" * MOST_PASSWORD + b"\r\n", b"p" * MOST_PASSWORD),
        ]:
            self.do("alice", given=given)
            self.assertTrue(verify(self.users()[b"alice"], password), given)

    def test_everything_else_stays_byte_for_byte(self) -> None:
        before, after = b"# \xff\r\n\nbobby:x y \n", b"\r\nalice:bob:\xff"
        self.path.write_bytes(before + b"bob:old\r\n" + after)
        self.assertEqual(self.do("bob"), "bob: changed\n")
        text = self.path.read_bytes()
        self.assertTrue(text.startswith(before + b"bob:$scrypt$"))
        self.assertTrue(text.endswith(b"\r\n" + after))
        self.assertEqual(text.count(b"\n"), 5)
        self.assertEqual(self.do("bob", "--delete", given=b""), "bob: removed\n")
        self.assertEqual(self.path.read_bytes(), before + after)
        self.do("carol")
        self.assertTrue(self.path.read_bytes().startswith(before + after + b"\ncarol:$scrypt$"))

    def test_what_a_user_may_do_stays_but_for_what_is_asked(self) -> None:
        for arguments, read_only, prefix in [
            (["--prefix", "a:"], False, b"a:"),
            ([], False, b"a:"),
            (["--read-only"], True, b"a:"),
            (["--prefix", "\u00e9="], True, b"\xc3\xa9="),
            ([], True, b"\xc3\xa9="),
        ]:
            self.do("alice", *arguments, given=b"%d\n" % len(arguments))
            user = self.users()[b"alice"]
            self.assertEqual((user.read_only, user.prefix), (read_only, prefix))
            self.assertTrue(verify(user, b"%d" % len(arguments)))
        self.do("alice", "--delete")
        self.do("alice")
        self.assertFalse(self.users()[b"alice"].read_only)

    def test_what_the_file_cannot_hold_is_refused(self) -> None:
        for text in (None, b"bob:b\n"):
            if text is not None:
                self.path.write_bytes(text)
            for name in ("", "a:b", "a b", "#a", "a\n", "n" * 251):
                self.assertIn("USER: a name is", self.refusal(name))
            for prefix in ("", "a b", "a\tb", "p" * 251):
                self.assertIn("--prefix: a prefix is", self.refusal("alice", "--prefix", prefix))
            for given in (b"", b"\n", b"secret\0\n", b"secret\rsecret\n", b"s" * 1025 + b"\n"):
                self.assertIn("a password is", self.refusal("alice", given=given))
            self.assertIn("no user alice", self.refusal("alice", "--delete"))

    def test_a_file_that_is_wrong_is_left_as_it_is(self) -> None:
        for text, words in [
            (b"bob:b\nsecret", "line 2"),
            (b"alice:a\nalice:secret\n", "line 2"),
            (b"#" * (MOST_BYTES + 1), "longer than"),
            (b"#" * (MOST_BYTES - 20), "too long"),
            (b"".join(b"u%d:p\n" % number for number in range(MOST_USERS)), "more than"),
        ]:
            self.path.write_bytes(text)
            said = self.refusal("alice")
            self.assertIn(words, said)
            self.assertIn(str(self.path), said)

    def test_what_cannot_be_read_or_written_is_one_line(self) -> None:
        result = self.passwd("alice", path=self.directory / "not" / "there")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("No such file or directory", result.output)
        self.assertEqual(self.passwd("alice", path=self.directory).exit_code, 2)

    def test_who_is_removed_is_given_nothing(self) -> None:
        self.do("alice")
        for arguments in (["--read-only"], ["--prefix", "a:"]):
            self.assertEqual(self.passwd("alice", "--delete", *arguments).exit_code, 2)
        self.assertIn(b"alice", self.users())

    def test_the_mode_and_the_name_stay_those_of_the_file(self) -> None:
        self.path.write_bytes(b"bob:b\n")
        link = self.directory / "link"
        for mode in (0o640, 0o444):
            self.path.chmod(mode)
            link.symlink_to(self.path.name)
            result = self.passwd("alice", path=link)
            self.assertEqual(result.exit_code, 0, result.output)
            self.assertTrue(link.is_symlink())
            link.unlink()
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), mode)
        self.assertEqual(list(self.users()), [b"bob", b"alice"])

    def test_the_owner_stays_or_nothing_is_changed(self) -> None:
        self.path.write_bytes(b"bob:b\n")
        given: list[tuple[int, int]] = []
        status = list(self.path.stat())
        status[stat.ST_UID], status[stat.ST_GID] = 12345, 54321
        other = os.stat_result(status)

        def fchown(descriptor: int, user: int, group: int) -> None:
            given.append((user, group))
            if len(given) > 1:
                raise PermissionError(1, "Operation not permitted")

        self.patch(os, "fchown", fchown)
        self.patch(module, "_status", lambda path: other)
        self.do("alice")
        self.assertIn("as its owner", self.refusal("carol"))
        self.assertEqual(given, [(12345, 54321)] * 2)

    def test_when_the_disk_fails_the_old_file_is_there_and_nothing_else(self) -> None:
        self.do("alice")

        def fail(*arguments: Any) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", fail)
        self.assertIn("No space left", self.refusal("bob"))

    def test_it_is_on_the_disk_before_it_has_the_name(self) -> None:
        self.do("alice")
        done: list[str] = []
        fsync, replace = os.fsync, os.replace

        def synced(descriptor: int) -> None:
            directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            done.append("directory" if directory else "file")
            fsync(descriptor)

        def replaced(old: Any, new: Any) -> None:
            done.append("name")
            replace(old, new)

        self.patch(os, "fsync", synced)
        self.patch(os, "replace", replaced)
        self.do("bob")
        self.assertEqual(done, ["file", "name", "directory"])

    def test_two_at_the_same_time_do_not_take_back_each_others_change(self) -> None:
        hashed = passwords.hash_password

        def meanwhile(password: bytes) -> Hash:
            # Who holds the lock, and has read the file, is now to be the only one.
            directory = os.open(self.directory, os.O_RDONLY)
            self.addCleanup(os.close, directory)
            self.assertRaises(
                BlockingIOError, fcntl.flock, directory, fcntl.LOCK_EX | fcntl.LOCK_NB
            )
            return hashed(password, ln=1)

        self.patch(passwords, "hash_password", meanwhile)
        self.do("alice")
        self.assertEqual(list(self.users()), [b"alice"])


class TerminalTests(SynchronousTestCase):
    """The command as a process."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "users"

    def start(self, terminal: int) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "mctwist.shell", "passwd", str(self.path), "alice"],
            cwd=ROOT,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)

    def until(self, terminal: int, words: bytes) -> bytes:
        seen = b""
        while words not in seen:
            seen += os.read(terminal, 1024)
        return seen

    def test_at_a_terminal_it_asks_twice_and_shows_nothing(self) -> None:
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        process = self.start(theirs)
        seen = b""
        answers = [b"open sesame", b"open sesami", b"open sesame", b"open sesame"]
        for question, answer in zip([b"Password: ", b": "] * 2, answers):
            seen += self.until(ours, question)
            self.assertFalse(termios.tcgetattr(theirs)[3] & termios.ECHO)
            os.write(ours, answer + b"\n")
        seen += self.until(ours, b"alice: added")
        self.assertEqual(process.wait(PATIENCE), 0)
        os.close(theirs)
        self.assertIn(b"do not match", seen)
        self.assertNotIn(b"sesam", seen)
        self.assertTrue(verify(parse(self.path.read_bytes())[b"alice"], b"open sesame"))

    def test_without_click_it_says_what_to_install(self) -> None:
        program = (
            "import sys, runpy; sys.modules['click'] = None; "
            "runpy.run_module('mctwist.shell', run_name='__main__')"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stderr, "mctwist: this command needs click: pip install 'mctwist[shell]'\n"
        )
