"""The file of users: what may be on its lines, and whose password it is."""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mctwist import passwords
from mctwist.passwords import (
    LN,
    MOST_BYTES,
    MOST_NAME,
    MOST_PASSWORD,
    MOST_PREFIX,
    MOST_USERS,
    Hash,
    P,
    PasswordsError,
    R,
    User,
    hash_password,
    parse,
    read,
    replace,
    spell,
    verify,
)

#: RFC 7914, section 12, the second and the third vector, cut to what a line takes.
VECTORS = [
    (
        b"password",
        b"NaCl",
        10,
        8,
        16,
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
    ),
    (
        b"pleaseletmein",
        b"SodiumChloride",
        14,
        8,
        1,
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
    ),
]

SALT, DIGEST = b"c2FsdHNhbHQ", b"bm90IGEgaGFzaCBvZiBhbnk"
HASHED = b"$scrypt$ln=14,r=8,p=1$" + SALT + b"$" + DIGEST
HASH = Hash(b"saltsalt", b"not a hash of any")


def cheap(password: bytes) -> Hash:
    """A hash that costs nothing."""
    return hash_password(password, ln=1)


class ParseTests(SynchronousTestCase):
    """Lines."""

    def refusal(self, text: bytes) -> str:
        error = str(self.assertRaises(PasswordsError, parse, text))
        self.assertNotIn("\n", error)
        return error

    def test_a_line_of_memcacheds(self) -> None:
        for line, name, password in [
            (b"a:b", b"a", b"b"),
            (b"alice:open sesame ", b"alice", b"open sesame "),
            (b"alice:a:b::", b"alice", b"a:b::"),
            (b"alice:\xc3\xa9\xff", b"alice", b"\xc3\xa9\xff"),
            (b"al#ice\xc3\xa9:# read-only", b"al#ice\xc3\xa9", b"# read-only"),
            (b"alice:$2b$12$", b"alice", b"$2b$12$"),
            (
                b"n" * MOST_NAME + b":" + b"p" * MOST_PASSWORD,
                b"n" * MOST_NAME,
                b"p" * MOST_PASSWORD,
            ),
        ]:
            for end in (b"", b"\n", b"\r\n"):
                self.assertEqual(parse(line + end), {name: User(name, password)}, line + end)

    def test_a_hash_and_what_stands_behind_it(self) -> None:
        for marks, read_only, prefix in [
            (b"", False, b""),
            (b" read-only", True, b""),
            (b" prefix=a:$", False, b"a:$"),
            (b" read-only prefix=read-only", True, b"read-only"),
            (b"  prefix=\xff  read-only ", True, b"\xff"),
            (b" prefix=" + b"p" * MOST_PREFIX, False, b"p" * MOST_PREFIX),
        ]:
            expected = User(b"bob", HASH, read_only, prefix)
            for end in (b"", b"\n", b"\r\n"):
                self.assertEqual(parse(b"bob:" + HASHED + marks + end), {b"bob": expected}, marks)

    def test_the_costs_that_a_hash_may_have(self) -> None:
        for ln, r, p in [(1, 1, 1), (15, 1, 1), (20, 8, 1), (16, 8, 16), (10, 8, 1024)]:
            line = b"bob:$scrypt$ln=%d,r=%d,p=%d$%s$%s" % (ln, r, p, SALT, DIGEST)
            self.assertEqual(parse(line)[b"bob"].secret, Hash(HASH.salt, HASH.digest, ln, r, p))

    def test_what_is_no_line_is_passed_over(self) -> None:
        text = b"# a:b\n\na:b\r\n\r\n#\r\n#c:d\nc:d"
        self.assertEqual(list(parse(text)), [b"a", b"c"])
        self.assertEqual(parse(b""), {})

    def test_the_example_of_the_module_is_a_file(self) -> None:
        example = re.findall(r"^    (.*)$", passwords.__doc__ or "", re.MULTILINE)
        users = parse("\n".join(example).encode())
        self.assertEqual(
            users,
            {b"alice": User(b"alice", b"open sesame"), b"bob": User(b"bob", HASH, True, b"bob:")},
        )

    def test_what_is_wrong_is_told_by_its_number_and_not_shown(self) -> None:
        cases = [
            (b"secret", "no colon"),
            (b" ", "no colon"),
            (b":secret", "a name is"),
            (b"se cret:secret", "a name is"),
            (b"se\tcret:secret", "a name is"),
            (b"se\0cret:secret", "a name is"),
            (b"n" * (MOST_NAME + 1) + b":secret", "a name is"),
            (b"secret:", "a password is"),
            (b"alice:sec\0ret", "a password is"),
            (b"alice:sec\rret", "a password is"),
            (b"alice:" + b"s" * (MOST_PASSWORD + 1), "a password is"),
            (b"alice:$scrypt$secret", "broken"),
            (b"alice:$scrypt$ln=14,r=8$c2FsdHNhbHQ$" + DIGEST, "broken"),
            (b"alice:$scrypt$ln=+4,r=8,p=1$c2FsdHNhbHQ$" + DIGEST, "broken"),
            (b"alice:" + HASHED + b"=$", "broken"),
            (b"alice:" + HASHED + b"\tread-only", "not base64"),
            (b"alice:$scrypt$ln=14,r=8,p=1$secret!$" + DIGEST, "not base64"),
            (b"alice:$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$secre", "not base64"),
            (b"alice:$scrypt$ln=14,r=8,p=1$c2FsdA$" + DIGEST, "cut short"),
            (b"alice:$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$secret", "cut short"),
            (b"alice:$scrypt$ln=0,r=8,p=1$c2FsdHNhbHQ$" + DIGEST, "costs"),
            (b"alice:$scrypt$ln=21,r=1,p=1$c2FsdHNhbHQ$" + DIGEST, "costs"),
            (b"alice:$scrypt$ln=20,r=9,p=1$c2FsdHNhbHQ$" + DIGEST, "costs"),
            (b"alice:$scrypt$ln=20,r=8,p=2$c2FsdHNhbHQ$" + DIGEST, "costs"),
            (b"alice:$scrypt$ln=14,r=0,p=1$c2FsdHNhbHQ$" + DIGEST, "costs"),
            (b"alice:$scrypt$ln=14,r=8,p=0$c2FsdHNhbHQ$" + DIGEST, "costs"),
            (b"alice:$scrypt$ln=16,r=1,p=1$c2FsdHNhbHQ$" + DIGEST, "costs"),
            (b"alice:" + HASHED + b" secret", "read-only or prefix"),
            (b"alice:" + HASHED + b" Read-Only", "read-only or prefix"),
            (b"alice:" + HASHED + b" read-only read-only", "read-only or prefix"),
            (b"alice:" + HASHED + b" prefix=a prefix=b", "read-only or prefix"),
            (b"alice:" + HASHED + b" prefix=", "a prefix is"),
            (b"alice:" + HASHED + b" prefix=a\0", "a prefix is"),
            (b"alice:" + HASHED + b" prefix=" + b"p" * (MOST_PREFIX + 1), "a prefix is"),
            (b"first:other", "remove one of the two lines"),
            (b"first:" + HASHED, "remove one of the two lines"),
        ]
        for line, words in cases:
            error = self.refusal(b"# users\r\nfirst:one\n\n" + line + b"\nlast:one\n")
            self.assertTrue(error.startswith("line 4: "), (line, error))
            self.assertIn(words, error, line)
            self.assertNotIn("secret", error)
            self.assertNotIn("ssss", error)

    def test_there_may_be_so_many_users(self) -> None:
        lines = [b"u%d:p\n" % number for number in range(MOST_USERS)]
        self.assertEqual(len(parse(b"".join(lines))), MOST_USERS)
        self.assertIn("more than", self.refusal(b"".join([*lines, b"one:more"])))

    def test_what_is_printed_of_a_user_is_not_the_password(self) -> None:
        text = repr(parse(b"alice:secret\nbob:" + HASHED))
        self.assertIn("alice", text)
        for secret in ("secret", "not a hash", "saltsalt"):
            self.assertNotIn(secret, text)


class HashTests(SynchronousTestCase):
    """Passwords and hashes."""

    def test_the_hash_is_scrypt(self) -> None:
        for password, salt, ln, r, p, digest in VECTORS:
            user = User(b"rfc", Hash(salt, bytes.fromhex(digest), ln, r, p))
            self.assertTrue(verify(user, password))
            self.assertFalse(verify(user, password + b" "))

    def test_a_password_is_known_again(self) -> None:
        for password in (b"p", b"open sesame", b"\xff", b"x" * MOST_PASSWORD):
            for user in (User(b"u", cheap(password)), User(b"u", password)):
                self.assertTrue(verify(user, password))
                for other in (b"", password[:-1], password + b"x", password + b"\0"):
                    self.assertFalse(verify(user, other))

    def test_the_same_password_is_never_hashed_the_same(self) -> None:
        first, second = cheap(b"p"), cheap(b"p")
        self.assertEqual(len(first.salt), 16)
        self.assertNotEqual(first.salt, second.salt)
        self.assertNotEqual(first.digest, second.digest)

    def test_every_check_costs_one_scrypt_of_the_users_cost_or_of_the_usual_one(self) -> None:
        costs: list[tuple[int, int, int]] = []
        scrypt = hashlib.scrypt

        def counted(password: bytes, **given: Any) -> bytes:
            costs.append((given["n"], given["r"], given["p"]))
            return scrypt(password, **{**given, "n": 2})

        self.patch(hashlib, "scrypt", counted)
        usual = (1 << LN, R, P)
        for user, cost in [
            (User(b"plain", b"p"), usual),
            (User(b"hashed", hash_password(b"p")), usual),
            (User(b"cheap", cheap(b"p")), (2, R, P)),
        ]:
            for password in (b"p", b"q", b"", b"x" * 2000):
                costs.clear()
                self.assertEqual(verify(user, password), password == b"p")
                self.assertEqual(costs, [cost])

    def test_the_costliest_hash_fits_into_the_memory_that_openssl_is_allowed(self) -> None:
        # The figure is what matters, so all shapes of it are tried where they are cheap.
        for ln, r, p in [(1, 1, 1), (1, 1, 64), (4, 100, 3), (12, 1, 1), (15, 1, 1)]:
            hash_password(b"p", ln, r, p)


class ReplaceTests(SynchronousTestCase):
    """A file with another line."""

    USER = User(b"bob", HASH, True, b"b:")
    LINE = b"bob:" + HASHED + b" read-only prefix=b:"

    def test_a_line_is_spelled_as_it_is_read(self) -> None:
        self.assertEqual(spell(self.USER), self.LINE)
        for read_only in (False, True):
            for prefix in (b"", b"p=:"):
                for cost in ((1, 8, 1), (3, 2, 5)):
                    user = User(b"bob", hash_password(b"p", *cost), read_only, prefix)
                    self.assertEqual(parse(spell(user)), {b"bob": user})

    def test_only_the_users_line_is_another(self) -> None:
        line = self.LINE
        for old, new in [
            (b"", line + b"\n"),
            (b"a:b", b"a:b\n" + line + b"\n"),
            (b"a:b\r\n", b"a:b\r\n" + line + b"\n"),
            (b"#bob:x\n\nbobby:x\n", b"#bob:x\n\nbobby:x\n" + line + b"\n"),
            (b"bob:x", line),
            (b"bob:x\r\n\r\n# c", line + b"\r\n\r\n# c"),
            (b"a:b\nbob:x\n\n\n", b"a:b\n" + line + b"\n\n\n"),
            (b"a:bob:x\nbob:x y\nc:d", b"a:bob:x\n" + line + b"\nc:d"),
        ]:
            self.assertEqual(replace(old, b"bob", self.USER), new)

    def test_only_the_users_line_is_gone(self) -> None:
        for old, new in [
            (b"", b""),
            (b"a:b", b"a:b"),
            (b"bob:x", b""),
            (b"a:b\nbob:x", b"a:b\n"),
            (b"# c\r\nbob:x\r\n\r\nbobby:x", b"# c\r\n\r\nbobby:x"),
        ]:
            self.assertEqual(replace(old, b"bob", None), new)


class ReadTests(SynchronousTestCase):
    """The file itself."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "users"

    def test_it_may_be_so_long(self) -> None:
        self.path.write_bytes(b"#" * MOST_BYTES)
        self.assertEqual(len(read(str(self.path))), MOST_BYTES)
        self.path.write_bytes(b"#" * (MOST_BYTES + 1))
        self.assertIn("longer", str(self.assertRaises(PasswordsError, read, str(self.path))))

    def test_a_pipe_would_have_the_reader_wait(self) -> None:
        os.mkfifo(self.path)
        self.assertIn("plain file", str(self.assertRaises(PasswordsError, read, str(self.path))))

    def test_what_is_not_there_is_the_systems_error(self) -> None:
        self.assertRaises(FileNotFoundError, read, str(self.path))
        self.assertRaises(IsADirectoryError, read, str(self.directory))
