"""
The grammar of the classic commands (memcached's doc/protocol.txt): words in, steps out.

Pure functions of the words of a line, of the moment, and of what the server allows. What is
wrong with a line is raised as a `ClientError`; whether the client hears of it (`noreply`) is for
the caller, who knows from which word on memcached has understood that much.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Callable, NamedTuple

from mctwist import operations
from mctwist.interfaces import Operation, Render, Step
from mctwist.item import KEY_LENGTH, size_in_memcached
from mctwist.protocols import replies
from mctwist.protocols.grammar import (
    BAD_FORMAT,
    INVALID_DELTA,
    INVALID_EXPTIME,
    PlainError,
    lax_exptime,
    lax_flags,
    signed32,
    unsigned,
)

# Words of a delete: verb, key, the time of old clients, noreply, and one to spare.
_MOST_OF_DELETE = 5
_BAD_DELETE = PlainError()

# Bytes of a very long line that are taken apart at once.
_PIECE = 16 * 1024

#: Milliseconds since the epoch.
Now = Callable[[], int]

#: The largest length a line may announce (proto_parser.c: INT_MAX - 2).
MOST_LENGTH = (1 << 31) - 3

_SETS: dict[bytes, Operation] = {
    b"set": operations.store,
    b"add": operations.add,
    b"replace": operations.replace,
}
_EXTENSIONS: dict[bytes, Operation] = {
    b"append": operations.append,
    b"prepend": operations.prepend,
}
#: The commands that a value follows.
STORAGE = frozenset({*_SETS, *_EXTENSIONS, b"cas"})


class Upload(NamedTuple):
    """
    A storage command whose value is still to be taken; a tuple, like a step, for its speed.

    :ivar arguments: of the operation, behind the value.
    """

    operation: Operation
    key: bytes
    arguments: tuple[Any, ...]
    render: Render

    def step(self, value: bytes) -> Step:
        return self.operation, self.key, (value, *self.arguments), self.render


class TooLarge(Exception):
    """
    A value passes the limit of an item.

    :ivar step: what is to be done about it, and answered.
    """

    def __init__(self, step: Step) -> None:
        self.step = step


def say(answer: bytes) -> Step:
    """An answer that needs no store, in its turn."""
    return operations.constant, b"", (answer,), replies.line


def get(words: list[bytes], render: Render, last: Render) -> list[Step]:
    """get, gets: `VERB KEY*`."""
    if len(words) < 2:
        raise BAD_FORMAT
    return _each(words[1:], operations.fetch, (), render, last)


def get_and_touch(words: list[bytes], now: Now, render: Render, last: Render) -> list[Step]:
    """gat, gats: `VERB EXPTIME KEY*`."""
    if len(words) < 3:
        raise BAD_FORMAT
    arguments = (operations.expiry_of(signed32(words[1], INVALID_EXPTIME), now()),)
    return _each(words[2:], operations.fetch_and_touch, arguments, render, last)


def long_get(line: bytes, start: int, render: Render, last: Render) -> Iterator[Step]:
    """
    As `get`, of a line that is very long: each step is made when it is asked for.

    As a step a key of two bytes takes a hundred more, and half a million of them fit into a line.

    :param start: where in `line` the keys begin.
    """
    longest = max((max(map(len, words)) for words in _in_pieces(line, start)), default=0)
    if not 0 < longest <= KEY_LENGTH:
        raise BAD_FORMAT
    return _each_in_turn(line, start, render, last)


def _each_in_turn(line: bytes, start: int, render: Render, last: Render) -> Iterator[Step]:
    before = b""
    for words in _in_pieces(line, start):
        for key in words:
            if key and before:
                yield operations.fetch, before, (), render
            before = key or before
    yield operations.fetch, before, (), last


def _in_pieces(line: bytes, start: int) -> Iterator[list[bytes]]:
    """The words of `line`, and empty ones where spaces abound, some thousands at a time."""
    while 0 <= start < len(line):
        end = line.find(b" ", start + _PIECE)
        yield (line[start:] if end < 0 else line[start:end]).split(b" ")
        start = end


def _each(
    keys: list[bytes],
    operation: Operation,
    arguments: tuple[Any, ...],
    render: Render,
    last: Render,
) -> list[Step]:
    if max(map(len, keys)) > KEY_LENGTH:
        # One key that is too long replaces the whole answer (proto_text.c:411-427). Those before
        # it are fetched, touched and counted, though nothing is said of them.
        before = takewhile(lambda key: len(key) <= KEY_LENGTH, keys)
        silent = replies.SILENT[render]
        found: list[Step] = [(operation, key, arguments, silent) for key in before]
        return [*found, say(BAD_FORMAT.wire)]
    final = keys.pop()
    steps: list[Step] = [(operation, key, arguments, render) for key in keys]
    steps.append((operation, final, arguments, last))
    return steps


def delete(words: list[bytes], now: Now) -> Step:
    """
    `delete KEY`; what follows is of no account (proto_parser.c:908-912).

    Where it is more than any client has ever sent, it is refused as by memcached 1.6.18, for
    libmemcached's memccapable holds a server to that.
    """
    if len(words) > _MOST_OF_DELETE:
        raise _BAD_DELETE
    return operations.delete, _key(words), (), replies.deleted


def touch(words: list[bytes], now: Now) -> Step:
    """`touch KEY EXPTIME`."""
    key = _key(words)
    expiry = operations.expiry_of(signed32(words[2], INVALID_EXPTIME), now())
    return operations.touch, key, (expiry,), replies.touched


def increment(words: list[bytes], now: Now) -> Step:
    """`incr KEY DELTA`."""
    key = _key(words)
    return operations.increment, key, (unsigned(words[2], 64, INVALID_DELTA),), replies.incremented


def decrement(words: list[bytes], now: Now) -> Step:
    """`decr KEY DELTA`."""
    key = _key(words)
    return operations.decrement, key, (unsigned(words[2], 64, INVALID_DELTA),), replies.decremented


#: The commands that change one key: the fewest words they have, and the step they are.
CHANGES: dict[bytes, tuple[int, Callable[[list[bytes], Now], Step]]] = {
    b"delete": (2, delete),
    b"touch": (3, touch),
    b"incr": (3, increment),
    b"decr": (3, decrement),
}


def flush_all(words: list[bytes], quiet: bool, now: Now) -> Step:
    """`flush_all [DELAY]`; one that is not positive means now (proto_text.c:1187-1210)."""
    delay = 0
    if len(words) != (2 if quiet else 1):
        delay = signed32(words[1], INVALID_EXPTIME)
    deadline = operations.expiry_of(delay, now()) if delay > 0 else 0
    return operations.flush, b"", (deadline,), replies.flushed


def flush_prefix(words: list[bytes], quiet: bool) -> Step:
    """`flush_prefix PREFIX`, of arcus-memcached; a delay, which it also takes, is refused."""
    if len(words) != (3 if quiet else 2):
        raise BAD_FORMAT
    return operations.flush_prefix, b"", (_key(words),), replies.flushed_prefix


def length_of(words: list[bytes]) -> int:
    """
    The length of the value that a storage command announces, in bytes.

    Where it means nothing, nothing can be skipped (proto_parser.c:122-137).
    """
    if len(words) < 5:
        raise BAD_FORMAT
    length = signed32(words[4], BAD_FORMAT)
    if not 0 <= length <= MOST_LENGTH:
        raise BAD_FORMAT
    return length


def upload(words: list[bytes], length: int, quiet: bool, now: Now, limit: int) -> Upload:
    """
    `VERB KEY FLAGS EXPTIME LENGTH`, with a CAS unique behind it for cas.

    :param limit: the largest item, in bytes as memcached counts them.
    :raises TooLarge: the item would pass it.
    """
    key = _key(words)
    flags = lax_flags(words[2])
    exptime = lax_exptime(words[3])
    expiry = operations.expiry_of(exptime, now()) if exptime else 0
    verb = words[0]
    render: Render = replies.stored
    arguments: tuple[Any, ...]
    if verb in _SETS:
        operation, arguments = _SETS[verb], (flags, expiry)
    elif verb in _EXTENSIONS:
        operation, arguments = _EXTENSIONS[verb], (limit,)
    else:
        if len(words) < 6:
            raise BAD_FORMAT
        cas = unsigned(words[5], 64, BAD_FORMAT)
        operation, arguments = operations.compare_and_swap, (flags, expiry, cas)
        render = replies.swapped
    if size_in_memcached(key, length, flags) > limit:
        raise TooLarge(_refusal(verb, key, quiet))
    return Upload(operation, key, arguments, replies.SILENT[render] if quiet else render)


def _refusal(verb: bytes, key: bytes, quiet: bool) -> Step:
    render = replies.SILENT[replies.refused] if quiet else replies.refused
    # Of a set the old value goes too (proto_parser.c:804-811).
    return operations.refuse, key, (verb.decode(), verb == b"set"), render


def _key(words: list[bytes]) -> bytes:
    key = words[1]
    if len(key) > KEY_LENGTH:
        raise BAD_FORMAT
    return key
