"""
How a server is told to store an item: in one of three dialects, of which it is asked which it has.

    mi    a mctwist: the whole record
    ms    memcached since 1.6: flags, expiry, CAS where it takes one, keys that text cannot spell
    set   any memcached: flags and expiry

The rule: nothing goes out that a server would not read to its end. What memcached refuses before it
has read the size of the value it does not pass over: the value would be taken for commands. So a
key that is too long, or an expiry that is none, is never sent.
"""

from base64 import b64encode
from typing import Callable, NamedTuple

from mctwist.client import Connection, Server, raw_line
from mctwist.dumps import MARKS, Record
from mctwist.shell.transfer.sources import KEY_LENGTH, UNAUTHENTICATED, is_binary, refused

#: Bits of marks that change what a client sees.
LASTING = MARKS["stale"] | MARKS["won"] | MARKS["kept"]

#: Why an item is not stored. These are no failures, ...
EXPIRED = "expired"
THERE = "there already"
#: ... and these are.
BAD_KEY = "a key that this server cannot have"
TYPED = "a typed value, which only mctwist has"
TOO_LARGE = "too large for the server"
NO_ROOM = "the server has no room"

HARMLESS = {EXPIRED, THERE}

#: The last second that memcached can tell as an expiry.
_LAST_SECOND = (1 << 31) - 1


class Impossible(Exception):
    """An item cannot be told to a server. Its text is the reason."""


class Dialect(NamedTuple):
    """
    :ivar name: its command.
    :ivar spell: the request that stores an item; raises `Impossible`.
    :ivar granted: the answer when it is stored.
    :ivar reasons: what other answers mean; one that is not there speaks for itself.
    :ivar takes_marks: the marks of items, too.
    """

    name: str
    spell: Callable[[Record], bytes]
    granted: bytes
    reasons: "dict[bytes, str]"
    takes_marks: bool = False

    def reason(self, answer: bytes) -> str:
        """Why an item has not been stored."""
        return self.reasons.get(answer) or f"refused: {answer[:100].decode(errors='replace')}"


_REASONS = {
    b"SERVER_ERROR object too large for cache": TOO_LARGE,
    b"SERVER_ERROR out of memory storing object": NO_ROOM,
}


# Which it is

#: A question for each, that stores nothing: what has expired, or replaces what is not there.
_PROBE = b64encode(b"mctwist load \xff")
_MI = b"mi %b 0 b ME e1\r\n\r\n" % _PROBE
_MS_WITH_CAS = b"ms %b 0 b MR E1\r\n\r\n" % _PROBE
_MS = b"ms %b 0 b MR\r\n\r\n" % _PROBE
#: What is answered by who knows the command; the key may be none of those that a user may write.
_KNOWN = {b"NS", b"CLIENT_ERROR permission denied"}


def dialect_of(server: Server, keep: bool) -> Dialect:
    """
    The best that the server understands.

    :param keep: what is there already stays.
    :raises click.ClickException: it asks for a user.
    """
    if _answer(server, _MI) in _KNOWN:
        reasons = {**_REASONS, b"NS": THERE if keep else EXPIRED}
        mode = b" ME" if keep else b""
        return Dialect("mi", lambda record: whole(record, mode), b"HD", reasons, True)
    mode = b" ME" if keep else b""
    reasons = {**_REASONS, b"NS": THERE, b"NOT_STORED": THERE}
    if _answer(server, _MS_WITH_CAS) == b"NS":
        return Dialect("ms", lambda record: meta(record, mode, True), b"HD", reasons)
    if _answer(server, _MS) == b"NS":
        return Dialect("ms", lambda record: meta(record, mode, False), b"HD", reasons)
    verb = b"add" if keep else b"set"
    return Dialect(verb.decode(), lambda record: classic(record, verb), b"STORED", reasons)


def _answer(server: Server, request: bytes) -> bytes:
    # Each on a connection of its own: who does not know the command may answer to its value, too.
    connection: Connection = server.connect()
    try:
        answer = connection.ask(request, raw_line)
    finally:
        connection.close()
    if answer == UNAUTHENTICATED:
        refused(answer)
    return answer


# How it is told


_FLAGS_OF_MARKS = [
    b"".join(
        b" " + flag
        for name, flag in (("stale", b"X"), ("won", b"W"), ("fetched", b"H"), ("kept", b"K"))
        if marks & MARKS[name]
    )
    for marks in range(sum(MARKS.values()) + 1)
]


def whole(record: Record, mode: bytes) -> bytes:
    """The `mi` of an item."""
    key, value, flags, expiry, cas, marks, kind, accessed = record
    if not 0 < len(key) <= KEY_LENGTH:
        raise Impossible(BAD_KEY)
    words = mode
    if marks:
        words += _FLAGS_OF_MARKS[marks]
    if is_binary(key) or marks & MARKS["binary"]:
        key = b64encode(key)
        words += b" b"
    if flags:
        words += b" F%d" % flags
    if expiry:
        words += b" e%d" % expiry
    if cas:
        words += b" E%d" % cas
    if accessed:
        words += b" a%d" % accessed
    if kind:
        words += b" Y%d" % kind
    return b"mi %b %d%b\r\n%b\r\n" % (key, len(value), words, value)


def meta(record: Record, mode: bytes, with_cas: bool) -> bytes:
    """The `ms` of an item."""
    key, value, flags, expiry, cas, marks, kind, _ = record
    if kind:
        raise Impossible(TYPED)
    words = mode
    if is_binary(key) or marks & MARKS["binary"]:
        key = b64encode(key)
        words += b" b"
    if not 0 < len(key) <= KEY_LENGTH:
        raise Impossible(BAD_KEY)
    if flags:
        words += b" F%d" % flags
    if expiry:
        words += b" T%d" % seconds_of(expiry)
    if cas and with_cas:
        words += b" E%d" % cas
    return b"ms %b %d%b\r\n%b\r\n" % (key, len(value), words, value)


def classic(record: Record, verb: bytes) -> bytes:
    """The `set`, or the `add`, of an item."""
    key, value, flags, expiry, _, _, kind, _ = record
    if kind:
        raise Impossible(TYPED)
    if is_binary(key) or not 0 < len(key) <= KEY_LENGTH:
        raise Impossible(BAD_KEY)
    words = (verb, key, flags, seconds_of(expiry), len(value), value)
    return b"%b %b %d %d %d\r\n%b\r\n" % words


def seconds_of(expiry: int) -> int:
    """
    An expiry as memcached takes it, rounded up: seconds since the epoch, or 0 for never.

    These are always more than the 30 days up to which it would take them as from now on. What
    expires behind the last second that it can tell expires then.
    """
    return min(-(-expiry // 1000), _LAST_SECOND)
