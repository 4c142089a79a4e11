"""
The values of simpledb's dialect, and their form on the wire (coleifer/simpledb, simpledb.py).

    $n bytes   ^n text (UTF-8)   @n JSON   + one line   : number   $-1 null
    *n array   %n dictionary, n keys and n values   &n set

A value in a container, or that is a container, is nothing but its wire form: it is stored as it
came, and so it is returned equal, whatever a client takes it for. Plain bytes are stored as the
other dialects store them, and all else as an item of the kind `TYPED`, which holds the wire form.

What counts and extends makes a value of a value, and is no more than a pure function.
"""

import json
import re
from math import isfinite
from typing import Any, Callable, NamedTuple, Union

from mctwist.item import BYTES, TYPED, Item

#: What a value is, by the first byte of its wire form. (`+` is read as bytes; null has no other
#: letter of its own.)
STRING, TEXT, JSON, NUMBER, NULL = b"$", b"^", b"@", b":", b"_"
ARRAY, DICTIONARY, SET = b"*", b"%", b"&"

#: Those whose bytes are counted, and those whose elements are.
BULKS = frozenset({STRING, TEXT, JSON})
CONTAINERS = frozenset({ARRAY, DICTIONARY, SET})

#: A value may hold values that hold values so many times, in JSON too.
MOST_DEPTH = 32
#: A number has no more digits than this. Python takes the square of them to read them.
MOST_DIGITS = 1000

NULL_WIRE = b"$-1\r\n"

_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_WHOLE = re.compile(rb"[+-]?[0-9]+").fullmatch
# Never failing, or it would be tried again at every quote of what is no JSON.
_QUOTED = re.compile(rb'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

Number = Union[int, float]


class Value(NamedTuple):
    """
    One value, as it came.

    :ivar sort: what it is.
    :ivar content: the bytes of a bulk, the digits of a number; of a container its wire form.
    """

    sort: bytes
    content: bytes


class CommandError(Exception):
    """
    A command cannot be carried out.

    :ivar words: that say so; :ivar wire: the line of them.
    """

    def __init__(self, words: str) -> None:
        self.words = words
        self.wire = b"-%b\r\n" % words.encode()


WRONG_KEY_TYPE = "Operation against wrong key type."
WRONG_VALUE_TYPE = "Operation against wrong value type."
INCOMPATIBLE = "Incompatible data-types"
TOO_LONG_A_NUMBER = "Number is too large."


def bulk(sort: bytes, content: bytes) -> bytes:
    return b"%b%d\r\n%b\r\n" % (sort, len(content), content)


def wire(value: Value) -> bytes:
    """The wire form of `value`."""
    sort, content = value
    if sort in BULKS:
        return bulk(sort, content)
    if sort == NUMBER:
        return b":%b\r\n" % content
    return NULL_WIRE if sort == NULL else content


def stored(value: Value) -> "tuple[bytes, int]":
    """What is stored of `value`, and as which kind."""
    return (value.content, BYTES) if value.sort == STRING else (wire(value), TYPED)


def shown(item: Item) -> bytes:
    """The wire form of what `item` holds."""
    return item.value if item.kind == TYPED else bulk(STRING, item.value)


def value_of(kind: int, data: bytes) -> Value:
    """The value of what is stored."""
    if kind != TYPED:
        return Value(STRING, data)
    sort = data[:1]
    if sort in CONTAINERS:
        return Value(sort, data)
    if sort == NUMBER:
        return Value(NUMBER, data[1:-2])
    if data == NULL_WIRE:
        return Value(NULL, b"")
    return Value(sort, data[data.index(b"\n") + 1 : -2])


def is_number(digits: bytes) -> bool:
    """Whether these are, on the wire, a number: an integer, or a float with a point or an `e`."""
    return len(digits) <= MOST_DIGITS and _NUMBER(digits) is not None


def is_json(data: bytes) -> bool:
    """Whether `data` is JSON that is not nested too deep."""
    # Deep nesting is found out without descending into it: each round takes the innermost away.
    brackets = _QUOTED.sub(b"", data).translate(None, _NO_BRACKETS)
    for _ in range(MOST_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        return False
    try:
        # The numbers are not looked at: a long one takes the square of its length.
        json.loads(data.decode(), parse_int=len, parse_float=len)
    except ValueError:
        return False
    return True


def number_of(value: Value) -> Number:
    """
    The number that `value` is, or that its text is: memcached's counters are.

    :raises CommandError: it is none.
    """
    sort, content = value
    if sort in CONTAINERS:
        raise CommandError(WRONG_KEY_TYPE)
    # decr pads with spaces.
    digits = content.rstrip(b" ") if sort == STRING else content
    if sort in (JSON, NULL) or not is_number(digits):
        raise CommandError(WRONG_VALUE_TYPE)
    return int(digits) if _WHOLE(digits) else float(digits)


def digits_of(number: Number) -> bytes:
    """
    `number` on the wire.

    :raises CommandError: it has too many digits.
    """
    if isinstance(number, int):
        # Of so many bits before they are made digits, which takes the square of them.
        digits = b"%d" % number if number.bit_length() < 4 * MOST_DIGITS else b""
        if not 0 < len(digits) <= MOST_DIGITS:
            raise CommandError(TOO_LONG_A_NUMBER)
        return digits
    if not isfinite(number):
        raise CommandError(TOO_LONG_A_NUMBER)
    digits = repr(number).encode()
    # To the original client only what has a point is a float.
    return digits if b"." in digits else digits.replace(b"e", b".0e")


def raised(by: Number) -> "Callable[[Value], Value]":
    """INCR and its like: a value with `by` added; text stays text."""

    def raise_(value: Value) -> Value:
        return Value(value.sort, digits_of(_sum(number_of(value), by)))

    return raise_


def extended(by: Value) -> "Callable[[Value], Value]":
    """APPEND: what Python's `+` makes of two values, and an array takes in anything."""

    def extend(value: Value) -> Value:
        sort, content = value
        if sort == ARRAY:
            return Value(ARRAY, _joined(content, by))
        if sort != by.sort or sort not in (STRING, TEXT, NUMBER):
            raise CommandError(INCOMPATIBLE)
        if sort == NUMBER:
            return Value(NUMBER, digits_of(_sum(number_of(value), number_of(by))))
        return Value(sort, content + by.content)

    return extend


def _joined(array: bytes, by: Value) -> bytes:
    """The wire form of `array`, with the elements of another, or a single one, behind its own."""
    count, _, elements = array[1:].partition(b"\r\n")
    added, more = b"1", wire(by)
    if by.sort == ARRAY:
        added, _, more = more[1:].partition(b"\r\n")
    return b"*%d\r\n%b%b" % (int(count) + int(added), elements, more)


def _sum(number: Number, by: Number) -> Number:
    try:
        return number + by
    except OverflowError:
        raise CommandError(TOO_LONG_A_NUMBER) from None


def dictionary(pairs: "dict[str, Any]") -> bytes:
    """The wire form of names with numbers."""
    fields = (bulk(TEXT, name.encode()) + b":%b\r\n" % digits_of(n) for name, n in pairs.items())
    return b"%%%d\r\n%b" % (len(pairs), b"".join(fields))
