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
| `marks` | none | of `stale`, `won`, `fetched`, `kept`, `binary` |
| `kind` | 0 | 1: a typed value, in its wire form |
| `accessed` | not known | seconds since the epoch of the last access |

The mark `binary` is told of a key that came in base64 although text can spell it.

The rule: a line is the whole item, and the same bytes come back. A dump without its last line was
cut short. Several behind one another are one.
"""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple, Optional

#: The version of the format.
VERSION = 1

#: The names of marks, each with its bit in `Record.marks`; the bits are those of an item.
MARKS = {"stale": 1, "won": 2, "fetched": 4, "kept": 8, "binary": 16}

#: The longest value, in bytes: a line is held whole, as bytes and as text.
MOST_VALUE = 128 << 20
#: The longest line: text can double where it is quoted.
MOST_LINE = 2 * MOST_VALUE + 4096

_CAS = 1 << 64
_FLAGS = 1 << 32
_EXPIRY = 1 << 63
_ACCESSED = 1 << 32
_KINDS = 256


class BadLine(ValueError):
    """A line is no item. Its text is for people."""


class NoDump(ValueError):
    """What is read is no dump. Its text is for people."""


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
    # Put together by hand, for json.dumps of a dict takes three times as long.
    key, value, flags, expiry, cas, marks, kind, accessed = record
    text = f"{{{_spelt_key(key)}, {_spelt_value(value)}"
    if flags:
        text += f', "flags": {flags}'
    if expiry:
        text += f', "expiry": {expiry}'
    if cas:
        text += f', "cas": {cas}'
    if kind:
        text += f', "kind": {kind}'
    if accessed:
        text += f', "accessed": {accessed}'
    if marks:
        text += _SPELT_MARKS[marks & _MARKS]
    return text.encode() + b"}\n"


def decode(line: bytes) -> Record:
    """
    The record that `encode` made `line` of.

    :raises BadLine: of none.
    """
    fields = fields_of(line)
    return Record(
        _bytes_of(fields, "key", "key64"),
        _bytes_of(fields, "value", "value64"),
        _number(fields, "flags", _FLAGS) if "flags" in fields else 0,
        _number(fields, "expiry", _EXPIRY) if "expiry" in fields else 0,
        _number(fields, "cas", _CAS) if "cas" in fields else 0,
        _marks_of(fields["marks"]) if "marks" in fields else 0,
        _number(fields, "kind", _KINDS) if "kind" in fields else 0,
        _number(fields, "accessed", _ACCESSED) if "accessed" in fields else 0,
    )


def fields_of(line: bytes) -> "dict[str, Any]":
    """
    What a line says, by its names.

    :raises BadLine: it is no object of JSON.
    """
    try:
        fields = _read(line.decode())
    except (ValueError, RecursionError) as fault:
        raise BadLine(f"no JSON: {fault}") from None
    if not isinstance(fields, dict):
        raise BadLine("no object of JSON")
    return fields


def first_line(source: str, now: int) -> bytes:
    """
    What a dump begins with.

    :param source: whose items these are, for people.
    :param now: milliseconds since the epoch.
    """
    return json.dumps({"mctwist": VERSION, "from": source, "at": now}).encode() + b"\n"


def last_line(count: int) -> bytes:
    """What a dump of `count` items ends with."""
    return b'{"end": %d}\n' % count


def lines(file: BinaryIO) -> "Iterator[Optional[bytes]]":
    """The lines of a file, with their ends; None for one that is too long, which is passed over."""
    while True:
        line = file.readline(MOST_LINE)
        if not line:
            return
        if len(line) < MOST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(1 << 20)
        yield None


#: How the lines begin that tell of no item.
_NO_ITEM = (b'{"mctwist"', b'{"end"')


class Reader:
    """
    The items of a dump, of which each line is given to `record`, in turn.

    :ivar source: whose items these are.
    :ivar complete: it has not been cut short, as far as it has been read.
    """

    def __init__(self) -> None:
        self.source = ""
        self.complete = False
        self._begun = False
        self._items = 0

    def record(self, line: Optional[bytes]) -> Optional[Record]:
        """
        The item of `line`; None: it tells of none.

        :param line: None: it was too long.
        :raises BadLine: it is damaged. :raises NoDump: of the first line: this is not one.
        """
        if not self._begun:
            self._begin(line)
            return None
        try:
            if line is None:
                raise BadLine(f"longer than {MOST_LINE} bytes")
            record = decode(line)
        except BadLine:
            if line is not None and self._tells_of_none(line):
                return None
            self._count()
            raise
        self._count()
        return record

    def pass_over(self, line: Optional[bytes]) -> None:
        """As `record`, of a line whose item is not asked for."""
        if not self._begun:
            self._begin(line)
        elif line is None or not line.startswith(_NO_ITEM) or not self._tells_of_none(line):
            self._count()

    def _count(self) -> None:
        self.complete = False
        self._items += 1

    def _begin(self, line: Optional[bytes]) -> None:
        try:
            fields = fields_of(line or b"")
        except BadLine:
            fields = {}
        if "mctwist" not in fields:
            raise NoDump("this is no dump: it does not begin as one")
        if fields["mctwist"] != VERSION:
            raise NoDump(f"this is a dump of version {fields['mctwist']}, not {VERSION}")
        self._begun, self.complete = True, False
        self.source = str(fields.get("from", ""))

    def _tells_of_none(self, line: bytes) -> bool:
        """Whether `line` begins a dump, or ends one."""
        try:
            fields = fields_of(line)
        except BadLine:
            return False
        if "mctwist" in fields:
            self._begin(line)
            return True
        if "end" in fields:
            self.complete = fields["end"] == self._items
            self._items = 0
            return True
        return False


# A line, in parts


_quoted = json.JSONEncoder(ensure_ascii=False).encode
_read = json.JSONDecoder().decode


def _spelt_key(key: bytes) -> str:
    try:
        text = key.decode()
    except UnicodeDecodeError:
        pass
    else:
        # What cannot be seen is not to be lost in an editor.
        if text.isprintable():
            return f'"key": {_quoted(text)}'
    return f'"key64": "{b64encode(key).decode()}"'


def _spelt_value(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        pass
    else:
        if text.isprintable() or text.translate(_LAYOUT).isprintable():
            return f'"value": {_quoted(text)}'
    return f'"value64": "{b64encode(value).decode()}"'


_LAYOUT = dict.fromkeys(map(ord, "\t\r\n"))

_MARKS = sum(MARKS.values())
_SPELT_MARKS = [
    ', "marks": ' + json.dumps([name for name, bit in MARKS.items() if marks & bit])
    for marks in range(_MARKS + 1)
]


def _bytes_of(fields: "Mapping[str, Any]", name: str, name64: str) -> bytes:
    text, encoded = fields.get(name), fields.get(name64)
    if isinstance(text, str) and encoded is None:
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise BadLine(f"{name} is no text") from None
    if isinstance(encoded, str) and text is None:
        try:
            return b64decode(encoded, validate=True)
        except (Base64Error, ValueError):
            raise BadLine(f"{name64} is not base64") from None
    raise BadLine(f"{name} or {name64} is to be a string")


def _marks_of(names: Any) -> int:
    if not isinstance(names, list) or not set(map(str, names)) <= set(MARKS):
        raise BadLine(f"marks are of {', '.join(MARKS)}")
    return sum(MARKS[name] for name in set(names))


def _number(fields: "Mapping[str, Any]", name: str, end: int) -> int:
    number = fields[name]
    if type(number) is not int or not 0 <= number < end:
        raise BadLine(f"{name} is to be a number from 0 on, below {end}")
    return number
