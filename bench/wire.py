"""What is sent, and the exact bytes that must come back.

Every value follows from its key and sets never change it, so the whole answer to any batch is known
before the run. The generator then needs no parser: it compares bytes, which is both the strictest
check there is and the cheapest. All dialects ask for the same keys in the same order.

The one thing not known beforehand is the CAS that every binary answer has: there anything will do.
"""

from collections.abc import Sequence
from functools import cache
from itertools import cycle
from random import Random
from struct import Struct
from typing import Callable, Union
from zlib import crc32

from attrs import frozen

KEYS = 100_000
VALUE_SIZE = 100


@frozen(eq=False)
class Masked:
    """
    An answer of which some bytes are not known. It is equal to any bytes that have the others.

    :ivar known: the bytes as one number, which costs one operation to compare; zeros where they
        are not known.
    :ivar mask: ones where they are.
    """

    size: int
    known: int
    mask: int

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, bytes)
            and len(other) == self.size
            and int.from_bytes(other, "big") & self.mask == self.known
        )

    __hash__ = None  # type: ignore[assignment]  # equal to too much

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> "Masked":
        start, stop, _ = part.indices(self.size)
        behind, ones = 8 * (self.size - stop), (1 << 8 * (stop - start)) - 1
        return Masked(stop - start, self.known >> behind & ones, self.mask >> behind & ones)

    def __repr__(self) -> str:
        return repr(self.known.to_bytes(self.size, "big"))


Answer = Union[bytes, Masked]

#: A request and its answer; of one command or of many pipelined ones.
Exchange = tuple[bytes, Answer]

#: Both as they are spelled, with 0 for a CAS that is not known.
Spelled = tuple[bytes, bytes]


def key(number: int) -> bytes:
    return b"key:%08d" % number


def value(number: int) -> bytes:
    return (b"%08d" % number * VALUE_SIZE)[:VALUE_SIZE]


def text_get(key: bytes, value: bytes) -> Spelled:
    return b"get %b\r\n" % key, b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value)


def text_set(key: bytes, value: bytes) -> Spelled:
    return b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value), b"STORED\r\n"


def text_mg(key: bytes, value: bytes) -> Spelled:
    return b"mg %b v\r\n" % key, b"VA %d\r\n%b\r\n" % (len(value), value)


def text_ms(key: bytes, value: bytes) -> Spelled:
    return b"ms %b %d\r\n%b\r\n" % (key, len(value), value), b"HD\r\n"


def bulk(word: bytes) -> bytes:
    """RESP's bulk string."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


def resp_get(key: bytes, value: bytes) -> Spelled:
    return b"*2\r\n" + bulk(b"GET") + bulk(key), bulk(value)


def resp_set(key: bytes, value: bytes) -> Spelled:
    return b"*3\r\n" + bulk(b"SET") + bulk(key) + bulk(value), b"+OK\r\n"


#: Magic, opcode, lengths of key and extras, data type, status, length of the body, opaque, CAS.
BINARY_HEADER = Struct(">BBHBBHIIQ")


def binary(opcode: int, key: bytes, extras: bytes, value: bytes, answer: bytes) -> Spelled:
    """An answer has flags, all zero, before a value. The opaque tells one key's from another's."""
    pack, opaque = BINARY_HEADER.pack, crc32(key)
    body = extras + key + value
    flags = bytes(4) if answer else b""
    request = pack(0x80, opcode, len(key), len(extras), 0, 0, len(body), opaque, 0)
    reply = pack(0x81, opcode, 0, len(flags), 0, 0, len(flags + answer), opaque, 0)
    return request + body, reply + flags + answer


def binary_get(key: bytes, value: bytes) -> Spelled:
    return binary(0x00, key, b"", b"", value)


def binary_set(key: bytes, value: bytes) -> Spelled:
    return binary(0x01, key, bytes(8), value, b"")


def any_cas(reply: bytes) -> Masked:
    """The frames of `reply`, whatever the CAS of each."""
    bodies, start = [], 0
    while start < len(reply):
        bodies.append(BINARY_HEADER.unpack_from(reply, start)[6])
        start += BINARY_HEADER.size + bodies[-1]
    return Masked(len(reply), int.from_bytes(reply, "big"), cas_mask(tuple(bodies)))


@cache
def cas_mask(bodies: tuple[int, ...]) -> int:
    """Of frames with bodies of these lengths; one number for many answers spares the caches."""
    spelled = b"".join(b"\xff" * 16 + bytes(8) + b"\xff" * size for size in bodies)
    return int.from_bytes(spelled, "big")


DIALECTS: dict[str, dict[str, Callable[[bytes, bytes], Spelled]]] = {
    "text": {"get": text_get, "set": text_set, "mg": text_mg, "ms": text_ms},
    "binary": {"get": binary_get, "set": binary_set},
    "resp": {"get": resp_get, "set": resp_set},
}

#: The commands of each kind of load, repeated for ever.
KINDS = {
    **{word: [word] for word in ("get", "set", "mg", "ms")},
    "mix": ["get"] * 9 + ["set"],
}


@cache
def exchanges(dialect: str, kind: str, depth: int) -> Sequence[Exchange]:
    """Every key once, in an order without pattern, `depth` commands to an exchange."""
    commands = DIALECTS[dialect]
    numbers = list(range(KEYS))
    Random(0).shuffle(numbers)
    singles = [
        commands[word](key(number), value(number))
        for word, number in zip(cycle(KINDS[kind]), numbers)
    ]
    batches = [join(singles[start : start + depth]) for start in range(0, KEYS, depth)]
    if dialect == "binary":
        return [(request, any_cas(reply)) for request, reply in batches]
    return batches


def join(exchanges: list[Spelled]) -> Spelled:
    return b"".join(request for request, _ in exchanges), b"".join(reply for _, reply in exchanges)
