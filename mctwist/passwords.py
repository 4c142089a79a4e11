"""
The file of users: who may come in, by which password, and what they may do.

    # A line of memcached's form: the password is all up to the end of the line.
    alice:open sesame
    # A hash in the PHC string format, base64 without padding, as `mctwist passwd` writes it; only
    # behind one of these there may be marks.
    bob:$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$bm90IGEgaGFzaCBvZiBhbnk read-only prefix=bob:

Empty lines and lines that begin with `#` are skipped. The rule: the file is right as a whole or
it is refused, for a line that was passed over would be a user who cannot come in, or one who may
do more than was meant. What is wrong is said by the number of its line, and never by what is on
it, for that may be a password.

Only bytes, and only the standard library and attrs: the server reads the file, and so does the
`mctwist` command, which knows nothing of servers.
"""

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Optional, Union

from attrs import field, frozen

#: What a file may hold: bytes and users. A line is checked in microseconds.
MOST_BYTES, MOST_USERS = 1 << 20, 10_000
#: The longest name, password and prefix, in bytes. A key is no longer than the prefix.
MOST_NAME, MOST_PASSWORD, MOST_PREFIX = 250, 1024, 250

#: The cost of new hashes: 16 MiB and 50 ms, once for each user and process (see `auth`).
LN, R, P = 14, 8, 1
# The most that a line may ask for: 128 bytes for each, so 1 GiB, and some 4 s.
_MOST_LN, _MOST_BLOCKS = 20, 1 << 23

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_NAME = re.compile(rb"[^#:\x00-\x20\x7f][^:\x00-\x20\x7f]{0,%d}" % (MOST_NAME - 1))
_PREFIX = re.compile(rb"[^\x00-\x20\x7f]{1,%d}" % MOST_PREFIX)
_PASSWORD = re.compile(rb"[^\x00\r\n]{1,%d}" % MOST_PASSWORD)
_HASH = re.compile(
    rb"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,4}),p=([0-9]{1,4})\$([^$]{1,100})\$([^$]{1,100})"
)

_ANEW = "have `mctwist passwd` make the line anew"


class PasswordsError(Exception):
    """The file, or what is to go into it, is wrong. Its text is one line that says what to do."""


@frozen
class Hash:
    """
    What scrypt makes of a password and a salt.

    :ivar ln: the binary logarithm of the cost; :ivar r: the block size; :ivar p: the passes.
    """

    salt: bytes
    digest: bytes = field(repr=False)
    ln: int = LN
    r: int = R
    p: int = P


@frozen
class User:
    """
    One line.

    :ivar secret: the hash of the password, or the password itself.
    :ivar read_only: may not write; :ivar prefix: may only reach keys that begin with it.
    """

    name: bytes
    secret: Union[Hash, bytes] = field(repr=False)
    read_only: bool = False
    prefix: bytes = b""


def read(path: str) -> bytes:
    """
    The content of the file.

    :raises PasswordsError: there is too much of it, or it is not a plain file, which might have
        its reader wait.
    :raises OSError: it cannot be read.
    """
    with open(path, "rb", opener=_open) as file:
        if not os.path.isfile(file.fileno()):
            raise PasswordsError("it is not a plain file: name another")
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise PasswordsError(f"it is longer than {MOST_BYTES} bytes: name another")
    return text


def parse(text: bytes) -> "dict[bytes, User]":
    """
    The users of a file, by their names.

    :raises PasswordsError: with the number of the line.
    """
    users: dict[bytes, User] = {}
    for number, line in _lines(text):
        try:
            user = _user(line)
            if user.name in users:
                raise PasswordsError("the user is there already: remove one of the two lines")
            if len(users) == MOST_USERS:
                raise PasswordsError(f"more than {MOST_USERS} users: remove some")
        except PasswordsError as fault:
            raise PasswordsError(f"line {number}: {fault}") from None
        users[user.name] = user
    return users


def replace(text: bytes, name: bytes, user: Optional[User]) -> bytes:
    """
    `text`, which `parse` takes, with another line for `name`, and the rest byte for byte.

    :param user: whose line it is, at its old place or at the end; None: there is to be no line.
    """
    lines = _LINE.findall(text)
    at = next((at for at, line in enumerate(lines) if line.startswith(name + b":")), len(lines))
    if user is None:
        return b"".join(lines[:at] + lines[at + 1 :])
    if at < len(lines):
        end = lines[at][len(lines[at].rstrip(b"\r\n")) :]
        return b"".join([*lines[:at], spell(user) + end, *lines[at + 1 :]])
    lacking = b"\n" if text and not text.endswith(b"\n") else b""
    return text + lacking + spell(user) + b"\n"


def spell(user: User) -> bytes:
    """The line of a user whose password is hashed, without its end."""
    secret = user.secret
    assert isinstance(secret, Hash)
    salt, digest = (b64encode(part).rstrip(b"=") for part in (secret.salt, secret.digest))
    cost = b"ln=%d,r=%d,p=%d" % (secret.ln, secret.r, secret.p)
    words = [b"%s:$scrypt$%s$%s$%s" % (user.name, cost, salt, digest)]
    if user.read_only:
        words.append(b"read-only")
    if user.prefix:
        words.append(b"prefix=" + user.prefix)
    return b" ".join(words)


def check_name(name: bytes) -> None:
    """:raises PasswordsError: it cannot be a user's name."""
    if not _NAME.fullmatch(name):
        raise PasswordsError(
            f"a name is 1 to {MOST_NAME} bytes without colons, spaces and control characters, "
            "and does not begin with #: choose another"
        )


def check_password(password: bytes) -> None:
    """:raises PasswordsError: it cannot be a password."""
    if not _PASSWORD.fullmatch(password):
        raise PasswordsError(
            f"a password is 1 to {MOST_PASSWORD} bytes without NUL and line ends: choose another"
        )


def check_prefix(prefix: bytes) -> None:
    """:raises PasswordsError: it cannot be the prefix of a user's keys."""
    if not _PREFIX.fullmatch(prefix):
        raise PasswordsError(
            f"a prefix is 1 to {MOST_PREFIX} bytes without spaces and control characters: "
            "choose another"
        )


def hash_password(password: bytes, ln: int = LN, r: int = R, p: int = P) -> Hash:
    """A hash of `password` with a salt of its own. Takes as long as `verify`."""
    salt = os.urandom(16)
    return Hash(salt, _scrypt(password, salt, ln, r, p, 32), ln, r, p)


def verify(user: User, password: bytes) -> bool:
    """
    Whether `password` is that of `user`.

    It takes one scrypt: as long for a right password as for a wrong one, and for one in clear as
    for a hash of the usual cost. To be called where 50 ms, or the seconds of a costly hash, hold
    up nobody; the interpreter is free meanwhile.
    """
    secret = user.secret
    if isinstance(secret, Hash):
        known = secret.digest
        asked = _scrypt(password, secret.salt, secret.ln, secret.r, secret.p, len(known))
    else:
        _scrypt(password, b"in clear", LN, R, P, 32)
        # Digests, for comparing strings tells whether their lengths differ.
        known, asked = (hashlib.sha256(text).digest() for text in (secret, password))
    # HMAC, and so scrypt, does not see NULs at the end; no password has any.
    return hmac.compare_digest(known, asked) and _PASSWORD.fullmatch(password) is not None


def _open(path: str, flags: int) -> int:
    # Opening a pipe to which nobody writes would wait.
    return os.open(path, flags | os.O_NONBLOCK)


def _lines(text: bytes) -> "Iterator[tuple[int, bytes]]":
    for number, line in enumerate(text.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if line and not line.startswith(b"#"):
            yield number, line


def _user(line: bytes) -> User:
    name, colon, rest = line.partition(b":")
    if not colon:
        raise PasswordsError("there is no colon: write name:password, or # before a comment")
    check_name(name)
    if not rest.startswith(b"$scrypt$"):
        check_password(rest)
        return User(name, rest)
    spelled, *marks = rest.split(b" ")
    return User(name, _hash(spelled), *_rights(marks))


def _hash(spelled: bytes) -> Hash:
    match = _HASH.fullmatch(spelled)
    if match is None:
        raise PasswordsError(f"the hash is broken: {_ANEW}")
    ln, r, p = (int(number) for number in match.groups()[:3])
    # OpenSSL takes no cost of 2 ** (16 * r) and above (RFC 7914, section 6).
    if not (1 <= ln <= _MOST_LN and ln < 16 * r and p >= 1 and (r * p) << ln <= _MOST_BLOCKS):
        raise PasswordsError(
            f"the hash costs too much, or nothing: ln is 1 to {_MOST_LN}, and r * p * 2 ** ln at "
            f"most {_MOST_BLOCKS}; {_ANEW}"
        )
    try:
        salt, digest = (
            b64decode(part + b"=" * (-len(part) % 4), validate=True) for part in match.groups()[3:]
        )
    except ValueError:
        raise PasswordsError(f"the hash is not base64: {_ANEW}") from None
    if len(salt) < 8 or len(digest) < 16:
        raise PasswordsError(f"the hash is cut short: {_ANEW}")
    return Hash(salt, digest, ln, r, p)


def _rights(marks: "list[bytes]") -> "tuple[bool, bytes]":
    """What the words behind a hash say: read only, and which prefix."""
    read_only, prefix = False, b""
    for mark in marks:
        if mark == b"read-only" and not read_only:
            read_only = True
        elif mark.startswith(b"prefix=") and not prefix:
            prefix = mark[len(b"prefix=") :]
            check_prefix(prefix)
        elif mark:
            raise PasswordsError(
                "what stands behind a hash is read-only or prefix=..., each once: mend the line"
            )
    return read_only, prefix


def _scrypt(password: bytes, salt: bytes, ln: int, r: int, p: int, size: int) -> bytes:
    memory = 128 * r * ((1 << ln) + p + 2)  # as OpenSSL reckons it
    return hashlib.scrypt(password, salt=salt, n=1 << ln, r=r, p=p, maxmem=memory, dklen=size)
