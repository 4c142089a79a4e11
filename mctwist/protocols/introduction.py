"""
How a client of the text protocol says who it is: by a `set` of `NAME PASSWORD`, under any key,
before anything else (proto_text.c, try_read_command_asciiauth; protocol.txt, "Authentication").

Nothing but that is looked at, and no more is kept than the longest may have.
"""

from typing import NamedTuple, Optional, Union

from mctwist.protocols.grammar import MOST_LINE, ClientError, unsigned

#: Bytes of the value. What is longer does not come from a client.
MOST_VALUE = 16 * 1024
_SHORTEST = 6

_UNAUTHENTICATED = ClientError(b"unauthenticated")
_TOO_LONG = ClientError(b"auth token too long")
_BAD_END = ClientError(b"bad command line termination")
_NO_WORDS = ClientError(b"bad authentication token format")


class Credentials(NamedTuple):
    name: bytes
    password: bytes


class HangUp(Exception):
    """What has come is no command."""


#: Who somebody says to be; or what is wrong with how.
Said = Union[Credentials, ClientError]


def introduction(data: bytes) -> "Optional[tuple[Said, int]]":
    """
    What the first command in `data` says, and where the next begins; None: it is not whole.

    :raises HangUp: there will be none.
    """
    end = data.find(b"\n")
    if end < 0:
        if len(data) > MOST_LINE:
            raise HangUp
        return None
    if end < _SHORTEST:
        raise HangUp
    try:
        start, size = end + 1, _size(data[:end])
    except ClientError as error:
        error.__traceback__ = None
        return error, end + 1
    following = start + size + 2
    if len(data) < following:
        return None
    return _said(data[start:following]), following


def _size(line: bytes) -> int:
    words = line.rstrip(b"\r").split()
    if len(words) < 5 or not line.startswith(b"set"):
        raise _UNAUTHENTICATED
    size = unsigned(words[4], 32, _UNAUTHENTICATED)
    if size > MOST_VALUE:
        raise _TOO_LONG
    return size


def _said(block: bytes) -> Said:
    if not block.endswith(b"\r\n"):
        return _BAD_END
    name, space, password = block[:-2].partition(b" ")
    return Credentials(name, password) if space else _NO_WORDS
