"""
What the text dialects share: words, numbers, and the errors that know their own wire form.

memcached reads numbers in two ways. Its own tokenizer is strict: digits, and a sign only where
the command has one (mcmc.c, mcmc_toktou64 and mcmc_tokto32). The flags and the exptime of a
storage command still go through strtol, which also takes a plus and leading zeros, and cuts what
does not fit (util.c, safe_strtol). Python's int() takes more than either, so nothing reaches it
that has not matched here.
"""

import re

#: A line with no end in sight is cut off here (proto_text.c:363-391) ...
MOST_LINE = 2048
#: ... but for a get of many keys, which memcached lets grow for ever.
MOST_GET_LINE = 1 << 20

# Longer tokens are refused unread, zeros in front or not (mcmc.c, MCMC_TOKTO32_MAX).
_LONGEST = {32: 11, 64: 22}
_LAX = re.compile(rb"[\t\v\f\r]*([+-]?[0-9]{1,40})(?:[\t\v\f\r\0].*)?\Z", re.DOTALL).match


class ClientError(Exception):
    """
    What a client sent is wrong, and the stream is still in step.

    :ivar wire: the line that answers it, with its end.
    """

    def __init__(self, text: bytes) -> None:
        self.wire = b"CLIENT_ERROR " + text + b"\r\n"


class PlainError(ClientError):
    """memcached calls it an ERROR, without saying whose."""

    def __init__(self, text: bytes = b"") -> None:
        self.wire = b"ERROR %b\r\n" % text if text else b"ERROR\r\n"


BAD_FORMAT = ClientError(b"bad command line format")
NOT_PERMITTED = ClientError(b"permission denied")
INVALID_EXPTIME = ClientError(b"invalid exptime argument")
INVALID_DELTA = ClientError(b"invalid numeric delta argument")


def unsigned(word: bytes, bits: int, error: ClientError) -> int:
    """The number that `word` is: digits alone, fitting `bits`. Raises `error` where it is not."""
    if word.isdigit() and len(word) <= _LONGEST[bits]:
        number = int(word)
        if number >> bits == 0:
            return number
    raise error


def signed32(word: bytes, error: ClientError) -> int:
    """The number that `word` is: digits, perhaps behind a minus, of 32 bits in all."""
    if word.isdigit() and len(word) < 10:
        return int(word)
    digits = word[1:] if word[:1] == b"-" else word
    if len(word) <= _LONGEST[32] and (digits.isdigit() or not digits):
        # memcached takes a lone minus for 0: it has no digit that is wrong.
        number = int(word) if digits else 0
        if -(1 << 31) <= number < 1 << 31:
            return number
    raise error


def lax_flags(word: bytes) -> int:
    """The client flags of a storage command, as strtoul reads them; cut to 32 bits."""
    if word.isdigit() and len(word) < 20:
        return int(word) & 0xFFFFFFFF
    match = _LAX(word)
    if match is None:
        raise BAD_FORMAT
    number = int(match[1])
    if abs(number) >> 64 or (number < 0 and number % (1 << 64) >> 63):
        raise BAD_FORMAT
    return number & 0xFFFFFFFF


def lax_exptime(word: bytes) -> int:
    """The exptime of a storage command, as strtol reads it; cut to 32 bits."""
    if word.isdigit() and len(word) < 10:
        return int(word)
    match = _LAX(word)
    if match is None:
        raise BAD_FORMAT
    number = int(match[1])
    if not -(1 << 63) <= number < 1 << 63:
        raise BAD_FORMAT
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
