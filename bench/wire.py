"""What is sent, and the exact bytes that must come back.

Every value follows from its key and sets never change it, so the whole answer to any batch is known
before the run. The generator then needs no parser: it compares bytes, which is both the strictest
check there is and the cheapest. All dialects ask for the same keys in the same order.
"""

from functools import cache
from itertools import cycle
from random import Random
from typing import Callable

KEYS = 100_000
VALUE_SIZE = 100

#: A request and its answer; of one command or of many pipelined ones.
Exchange = tuple[bytes, bytes]


def key(number: int) -> bytes:
    return b"key:%08d" % number


def value(number: int) -> bytes:
    return (b"%08d" % number * VALUE_SIZE)[:VALUE_SIZE]


def text_get(key: bytes, value: bytes) -> Exchange:
    return b"get %b\r\n" % key, b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value)


def text_set(key: bytes, value: bytes) -> Exchange:
    return b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value), b"STORED\r\n"


def text_mg(key: bytes, value: bytes) -> Exchange:
    return b"mg %b v\r\n" % key, b"VA %d\r\n%b\r\n" % (len(value), value)


def text_ms(key: bytes, value: bytes) -> Exchange:
    return b"ms %b %d\r\n%b\r\n" % (key, len(value), value), b"HD\r\n"


def bulk(word: bytes) -> bytes:
    """RESP's bulk string."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


def resp_get(key: bytes, value: bytes) -> Exchange:
    return b"*2\r\n" + bulk(b"GET") + bulk(key), bulk(value)


def resp_set(key: bytes, value: bytes) -> Exchange:
    return b"*3\r\n" + bulk(b"SET") + bulk(key) + bulk(value), b"+OK\r\n"


DIALECTS: dict[str, dict[str, Callable[[bytes, bytes], Exchange]]] = {
    "text": {"get": text_get, "set": text_set, "mg": text_mg, "ms": text_ms},
    "resp": {"get": resp_get, "set": resp_set},
}

#: The commands of each kind of load, repeated for ever.
KINDS = {
    **{word: [word] for word in ("get", "set", "mg", "ms")},
    "mix": ["get"] * 9 + ["set"],
}


@cache
def exchanges(dialect: str, kind: str, depth: int) -> list[Exchange]:
    """Every key once, in an order without pattern, `depth` commands to an exchange."""
    commands = DIALECTS[dialect]
    numbers = list(range(KEYS))
    Random(0).shuffle(numbers)
    singles = [
        commands[word](key(number), value(number))
        for word, number in zip(cycle(KINDS[kind]), numbers)
    ]
    return [join(singles[start : start + depth]) for start in range(0, KEYS, depth)]


def join(exchanges: list[Exchange]) -> Exchange:
    return b"".join(request for request, _ in exchanges), b"".join(reply for _, reply in exchanges)
