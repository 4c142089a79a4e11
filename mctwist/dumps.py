"""
An item as a line of JSON, whoever it is from: what `mctwist dump` writes and `mctwist load` reads.

    {"mctwist": 1, "from": "127.0.0.1:11211", "at": 1790000000000}    the first line
    {"key": "greeting", "value": "hello", "flags": 16, "cas": 7}      an item
    {"end": 1}                                                        the last: how many items

| name | absent | |
|---|---|---|
| `key`, or `key64` | | text; or base64, where the key is no text, or would not be seen as it is |
| `value`, or `value64` | | the same |
| `flags` | 0 | the client's |
| `expiry` | never | milliseconds since the epoch |
| `cas` | it gets a new one | the CAS unique |
| `marks` | none | of `stale`, `won`, `fetched`, `kept` |
| `kind` | 0 | 1: a typed value, in its wire form |
| `accessed` | not known | seconds since the epoch of the last access |

The rule: a line is the whole item, and the same bytes come back. A dump without its last line was
cut short.
"""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, NamedTuple

#: The version of the format.
VERSION = 1

#: The names of marks, each with its bit in `Record.marks`; the bits are those of an item.
MARKS = {"stale": 1, "won": 2, "fetched": 4, "kept": 8}

_CAS = 1 << 64
_FLAGS = 1 << 32
_EXPIRY = 1 << 63
_ACCESSED = 1 << 32
_KINDS = 256


class BadLine(ValueError):
    """A line is no item. Its text is for people."""


class Record(NamedTuple):
    """
    An item, as a dump knows it.

    :ivar expiry: milliseconds since the epoch; 0: never.
    :ivar cas: 0: it gets a new one.
    :ivar marks: bits of `MARKS`.
    :ivar kind: 0: bytes; 1: a typed value, in its wire form.
    :ivar accessed: seconds since the epoch; 0: it is not known.
    """

    key: bytes
    value: bytes
    flags: int = 0
    expiry: int = 0
    cas: int = 0
    marks: int = 0
    kind: int = 0
    accessed: int = 0


def encode(record: Record) -> bytes:
    """The line of `record`, with its end."""
    fields = {**_spelt("key", record.key), **_spelt("value", record.value)}
    for name in ("flags", "expiry", "cas", "kind", "accessed"):
        number = getattr(record, name)
        if number:
            fields[name] = number
    if record.marks:
        fields["marks"] = [name for name, bit in MARKS.items() if record.marks & bit]
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def decode(line: bytes) -> Record:
    """
    The record that `encode` made `line` of.

    :raises BadLine: of none.
    """
    fields = fields_of(line)
    marks = fields.get("marks", [])
    if not isinstance(marks, list) or not set(map(str, marks)) <= set(MARKS):
        raise BadLine(f"marks are of {', '.join(MARKS)}")
    return Record(
        _bytes_of(fields, "key"),
        _bytes_of(fields, "value"),
        _number(fields, "flags", _FLAGS),
        _number(fields, "expiry", _EXPIRY),
        _number(fields, "cas", _CAS),
        sum(MARKS[name] for name in set(marks)),
        _number(fields, "kind", _KINDS),
        _number(fields, "accessed", _ACCESSED),
    )


def fields_of(line: bytes) -> "dict[str, Any]":
    """
    What a line says, by its names.

    :raises BadLine: it is no object of JSON.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise BadLine(f"no JSON: {fault}") from None
    if not isinstance(fields, dict):
        raise BadLine("no object of JSON")
    return fields


def _spelt(name: str, content: bytes) -> "dict[str, Any]":
    try:
        text = content.decode()
    except UnicodeDecodeError:
        pass
    else:
        # What cannot be seen is not to be lost in an editor.
        if text.isprintable() or (name == "value" and _is_text(text)):
            return {name: text}
    return {f"{name}64": b64encode(content).decode()}


def _is_text(text: str) -> bool:
    return text.translate(_LAYOUT).isprintable()


_LAYOUT = dict.fromkeys(map(ord, "\t\r\n"))


def _bytes_of(fields: "Mapping[str, Any]", name: str) -> bytes:
    text, encoded = fields.get(name), fields.get(f"{name}64")
    if isinstance(text, str) and encoded is None:
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise BadLine(f"{name} is no text") from None
    if isinstance(encoded, str) and text is None:
        try:
            return b64decode(encoded, validate=True)
        except (Base64Error, ValueError):
            raise BadLine(f"{name}64 is not base64") from None
    raise BadLine(f"{name} or {name}64 is to be a string")


def _number(fields: "Mapping[str, Any]", name: str, end: int) -> int:
    number = fields.get(name, 0)
    if type(number) is not int or not 0 <= number < end:
        raise BadLine(f"{name} is to be a number from 0 on, below {end}")
    return number
