"""
RESP as a peer sees it: requests made, and replies taken apart, in both versions.

The reader is as strict as the specification: a length has no sign and no zero in front, a line has
nothing but its own in it, and what is no reply is `Malformed`. So two replies that are equal were
the same bytes, and a stream that is read to its end is well-formed.
"""

import re
from typing import Optional, Union

from attrs import frozen

#: What a request is made of.
Word = Union[bytes, str, int]

#: The kinds of a reply that are a line, the versions that have them, and what may stand there.
_LINES = {
    b"+": rb"[^\r\n]*",
    b"-": rb"[^\r\n]+",
    b":": rb"-?\d+",
    b",": rb"-?(\d+(\.\d+)?([eE][-+]?\d+)?|inf)|nan",
    b"(": rb"-?\d+",
    b"#": rb"[tf]",
    b"_": rb"",
}
_BLOCKS = {b"$", b"=", b"!"}
#: The elements for each that is counted.
_GROUPS = {b"*": 1, b"~": 1, b">": 1, b"%": 2}
_RESP2 = {b"+", b"-", b":", b"$", b"*"}
_LENGTH = re.compile(rb"(?:0|[1-9]\d*)\Z")


class Malformed(Exception):
    """What a server has sent is no reply."""


@frozen
class Reply:
    """
    :ivar kind: its first byte.
    :ivar content: of a line or a block what it says, of a group its replies; None: RESP2's null.
    """

    kind: bytes
    content: "Union[bytes, tuple[Reply, ...], None]"

    def __str__(self) -> str:
        if not isinstance(self.content, tuple):
            text = repr(self.content)
            return self.kind.decode() + (text if len(text) < 400 else f"{text[:80]} .. {len(text)}")
        inside = [str(reply) for reply in self.content]
        if len(inside) > 20:
            inside[10:-10] = [f".. {len(inside) - 20} .."]
        return f"{self.kind.decode()}[{', '.join(inside)}]"


def command(*words: Word) -> bytes:
    """A request, as clients send it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def commands(*lines: str) -> bytes:
    """Requests whose words have no space in them."""
    return b"".join(command(*line.split()) for line in lines)


class Reader:
    """Takes apart what comes, as far as it has come.

    :param version: of the protocol: 2 has fewer kinds of replies, 3 another null; 0: either.
    """

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data

    @property
    def rest(self) -> bytes:
        """What belongs to no reply that is whole."""
        return bytes(self._data)

    def next(self) -> Optional[Reply]:
        """
        The next reply, if it has come whole.

        :raises Malformed: when it will never be one.
        """
        try:
            reply, end = self._read(0)
        except _Unfinished:
            return None
        del self._data[:end]
        return reply

    def _line(self, start: int) -> "tuple[bytes, int]":
        end = self._data.find(b"\n", start)
        if end < 0:
            raise _Unfinished
        if self._data[end - 1 : end] != b"\r":
            raise Malformed(bytes(self._data[start : end + 1]))
        return bytes(self._data[start : end - 1]), end + 1

    def _read(self, start: int) -> "tuple[Reply, int]":
        kind = bytes(self._data[start : start + 1])
        known = kind in _LINES or kind in _BLOCKS or kind in _GROUPS
        if kind and (not known or (self.version == 2 and kind not in _RESP2)):
            raise Malformed(bytes(self._data[start : start + 100]))
        text, position = self._line(start + 1)
        if kind in _LINES:
            if not re.fullmatch(_LINES[kind], text):
                raise Malformed(kind + text)
            return Reply(kind, text), position
        if text == b"-1" and kind in b"$*" and self.version != 3:
            return Reply(kind, None), position
        if not _LENGTH.match(text):
            raise Malformed(kind + text)
        size = int(text)
        if kind in _BLOCKS:
            end = position + size
            if len(self._data) < end + 2:
                raise _Unfinished
            if self._data[end : end + 2] != b"\r\n":
                raise Malformed(bytes(self._data[end : end + 2]))
            return Reply(kind, bytes(self._data[position:end])), end + 2
        replies = []
        for _ in range(size * _GROUPS[kind]):
            reply, position = self._read(position)
            replies.append(reply)
        return Reply(kind, tuple(replies)), position


class _Unfinished(Exception):
    """More has to come."""


def replies_in(data: bytes, version: int = 2) -> "list[Reply]":
    """
    All replies of a stream that ends with one.

    :raises Malformed: when it does not.
    """
    reader = Reader(version)
    reader.feed(data)
    replies = []
    while True:
        reply = reader.next()
        if reply is None:
            break
        replies.append(reply)
    if reader.rest:
        raise Malformed(reader.rest)
    return replies
