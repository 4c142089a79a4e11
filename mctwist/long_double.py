"""
C's long double as x87 has it, which is what Redis adds floats in: 64 bits of mantissa.

A number is an exact `Fraction` here, and is rounded where x87 would have rounded it.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Optional

_is_float = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,9}))?").fullmatch
_is_hexadecimal = re.compile(
    rb"([+-]?)0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p([+-]?[0-9]{1,9}))?", re.IGNORECASE
).fullmatch
is_infinite = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE).fullmatch

# The numbers that Redis adds are x87's: 64 bits of mantissa, and exponents up to this.
_MANTISSA = 64
_MOST_EXPONENT = 16_384
_LEAST_FLOAT = Fraction(1, 1 << 16_445)
# Longer ones Redis does not look at (util.h, MAX_LONG_DOUBLE_CHARS); nor do we.
_LONGEST_FLOAT = 5120


def number_in(word: bytes) -> Optional[Fraction]:
    """The finite number that C's strtold reads in `word`; None: it reads none."""
    if len(word) > _LONGEST_FLOAT:
        return None
    exact = _decimal_in(word)
    if exact is None:
        exact = _hexadecimal_in(word)
    if exact is None:
        return None
    number = rounded(exact)
    return None if is_out_of_range(number) else number


def _decimal_in(word: bytes) -> Optional[Fraction]:
    match = _is_float(word)
    # Checked before it is made: 1e999999999 is a gigabyte of digits.
    if match is None or abs(int(match[1] or 0)) > _MOST_EXPONENT:
        return None
    # Through Decimal: Python's int() and str() stop at 4,300 digits.
    return Fraction(Decimal(word.decode()))


def _hexadecimal_in(word: bytes) -> Optional[Fraction]:
    """As C writes it: 0x1.8p4 is 24."""
    match = _is_hexadecimal(word)
    if match is None or abs(int(match[3] or 0)) > _MOST_EXPONENT:
        return None
    whole, _, rest = match[2].partition(b".")
    number = int(whole + rest, 16) * Fraction(2) ** (int(match[3] or 0) - 4 * len(rest))
    return -number if match[1] == b"-" else number


def text_of(number: Fraction) -> bytes:
    """As Redis prints a long double for people: 17 places, without zeros at the end."""
    scaled = round(abs(number) * 10**17)
    whole, rest = divmod(scaled, 10**17)
    text = f"{Decimal(whole):f}.{rest:017d}".rstrip("0").rstrip(".")
    return (f"-{text}" if number < 0 and scaled else text).encode()


def rounded(number: Fraction) -> Fraction:
    """The long double that is nearest."""
    if not number:
        return number
    exponent = abs(number.numerator).bit_length() - number.denominator.bit_length() - _MANTISSA
    for shift in (exponent, exponent + 1):
        scale = Fraction(2) ** shift
        mantissa = round(number / scale)
        if abs(mantissa).bit_length() <= _MANTISSA:
            break
    return mantissa * scale


def is_out_of_range(number: Fraction) -> bool:
    return abs(number) >= 1 << _MOST_EXPONENT or 0 < abs(number) < _LEAST_FLOAT
