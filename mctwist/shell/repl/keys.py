"""
The keys of a server.

mctwist is asked for ranges: in order, a thousand at a time, from any key on. Another server, and a
store that knows no order, is asked for a dump of all of its items, of which the rest is let go.
"""

import time
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple, Optional
from urllib.parse import unquote_to_bytes

from mctwist.shell.repl import answers
from mctwist.shell.repl.answers import Refused
from mctwist.shell.repl.meta import key_in
from mctwist.shell.repl.session import Session
from mctwist.shell.repl.ttl import NEVER

#: Behind every key: none is as long (250 bytes).
_LAST = b"\xff" * 251
_FIRST = b"\0"
#: Items of one answer, which has no more than a thousand.
_MOST = 1000


class Key(NamedTuple):
    """
    A key.

    :ivar left: seconds, or `NEVER`. :ivar size: bytes, of its value; in a dump of all of the item.
    """

    name: bytes
    left: int
    size: int


class Keys(NamedTuple):
    """
    Some keys.

    :ivar ordered: they are in their order, and others may be asked for behind the last.
    :ivar more: there are more.
    """

    keys: "list[Key]"
    ordered: bool
    more: bool


def keys_of(session: Session, prefix: bytes, limit: int, after: Optional[bytes]) -> Keys:
    """
    At most `limit` keys that begin with `prefix`.

    :param after: only such as are behind that one.
    Raises what `Wire.ask` and `Wire.streamed` do.
    """
    start = after + b"\0" if after is not None and after >= prefix else prefix or _FIRST
    try:
        return _in_order(session, start, _behind(prefix), limit)
    except Refused as fault:
        if fault.line != b"ERROR" and not fault.line.startswith(b"SERVER_ERROR not supported"):
            raise
    taken: list[Key] = []
    for key in _dumped(session, prefix):
        if len(taken) == limit:
            return Keys(taken, False, True)
        taken.append(key)
    return Keys(taken, False, False)


def _in_order(session: Session, start: bytes, end: bytes, limit: int) -> Keys:
    taken: list[Key] = []
    more = True
    while more and len(taken) < limit:
        most = min(limit - len(taken), _MOST)
        words = [b"mr", b64encode(start), b64encode(end), b"%d" % most, b"k", b"s", b"t", b"b"]
        *items, last = session.ask(words, answers.ranged, again=True)
        for item in items:
            name, rest = key_in(item.more)
            told = {word[:1]: int(word[1:]) for word in rest}
            taken.append(Key(name, told[b"t"], told[b"s"]))
        more = last.word == b"MR"
        start = taken[-1].name + b"\0" if taken else end
    return Keys(taken, True, more)


def _behind(prefix: bytes) -> bytes:
    """The first that is behind all that begin with `prefix`."""
    shorter = prefix.rstrip(b"\xff")
    return shorter[:-1] + bytes([shorter[-1] + 1]) if shorter else _LAST


def _dumped(session: Session, prefix: bytes) -> "Iterator[Key]":
    request = b"lru_crawler metadump all\r\n"
    with session.wire.streamed(request, session.wire.server.timeout) as heard:
        for line in answers.listed(heard, (b"END",)):
            told = dict(word.partition(b"=")[::2] for word in line.split())
            if b"key" not in told:
                continue
            name = unquote_to_bytes(told[b"key"])
            moment = int(told.get(b"exp", b"-1"))
            left = NEVER if moment == -1 else max(moment - int(time.time()), 0)
            if name.startswith(prefix):
                yield Key(name, left, int(told.get(b"size", b"0")))
