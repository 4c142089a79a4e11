"""
The grammar of the binary protocol: frames in, steps out (doc/protocol-binary.txt, and what
proto_bin.c makes of it).

    magic 0x80 | opcode | lengths: key, extras, body | opaque | CAS | extras | key | value

Pure functions of a frame, of the moment, and of what the server allows. Every length stands in
the header, and which a command may have is a row of a table, so whether a frame is right is known
before anything behind its header has come.
"""

from functools import partial
from struct import Struct
from typing import Any, Callable, NamedTuple, Optional

from mctwist import meta_operations, operations, stats
from mctwist.interfaces import Operation, Step
from mctwist.item import marks_of, size_in_memcached
from mctwist.meta_operations import VIVIFY
from mctwist.protocols import binary_replies as replies
from mctwist.protocols.binary_replies import DATA_EXISTS, MISSING, UNSTORED, Error, FrameRender
from mctwist.protocols.classic import Now

#: The first byte of a request.
MAGIC = 0x80
#: Magic, opcode, lengths of key and extras, data type, bucket, length of the body, opaque, CAS.
HEADER = Struct(">BBHBBHIIQ")

#: A body that is said to be longer cannot be right (memcached.h, ITEM_SIZE_MAX_UPPER_LIMIT).
MOST_BODY = 1 << 30

GET, SET, ADD, REPLACE, DELETE, INCREMENT, DECREMENT, QUIT = range(8)
FLUSH, GETQ, NOOP, VERSION, GETK, GETKQ, APPEND, PREPEND, STAT = range(8, 17)
SETQ, ADDQ, REPLACEQ, DELETEQ, INCREMENTQ, DECREMENTQ, QUITQ = range(0x11, 0x18)
FLUSHQ, APPENDQ, PREPENDQ = range(0x18, 0x1B)
TOUCH, GAT, GATQ = range(0x1C, 0x1F)
SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = range(0x20, 0x25)

#: An exptime of INCREMENT and DECREMENT: where there is nothing, nothing is made.
_MAKE_NOTHING = 0xFFFFFFFF

_flags_and_exptime = Struct(">II").unpack
_delta_initial_exptime = Struct(">QQI").unpack
_exptime = Struct(">I").unpack


class Head(NamedTuple):
    """
    A request without its value. The opaque is not looked at, only echoed.

    :ivar length: of the value, in bytes.
    """

    opcode: int
    opaque: int
    cas: int
    extras: bytes
    key: bytes
    length: int


class Shape(NamedTuple):
    """
    The lengths that a command may have.

    :ivar extras: those of its extras.
    :ivar keyed: it has a key; False: it has none; None: as it likes.
    :ivar valued: it has a value, perhaps an empty one.
    """

    extras: tuple[int, ...] = (0,)
    keyed: Optional[bool] = True
    valued: bool = False

    def fits(self, extras: int, key: int, value: int) -> bool:
        return (
            extras in self.extras
            and (self.keyed is None or self.keyed == bool(key))
            and (self.valued or not value)
        )


#: What makes the step of a request and its value.
Make = Callable[[Head, bytes, Now, int], Step]

_ALONE, _KEY = Shape(keyed=False), Shape()
_STORE, _EXTEND = Shape((8,), valued=True), Shape(valued=True)
_COUNT, _TOUCH = Shape((20,)), Shape((4,))


def expiry_of(exptime: int, now: Now) -> int:
    """
    The expiry that `exptime` means: of 32 bits, and never negative (proto_bin.c:1138).

    :return: milliseconds since the epoch; 0: never.
    """
    return operations.expiry_of(exptime, now()) if exptime else 0


def deadline_of(extras: bytes, now: Now) -> int:
    """When a FLUSH with these extras is to happen: milliseconds since the epoch; 0: now."""
    return expiry_of(_exptime(extras)[0], now) if extras else 0


def _fetching(render: FrameRender) -> Make:
    def make(head: Head, value: bytes, now: Now, limit: int) -> Step:
        return operations.fetch, head.key, (), partial(render, head.opcode, head.opaque)

    return make


def _touching(render: FrameRender) -> Make:
    def make(head: Head, value: bytes, now: Now, limit: int) -> Step:
        arguments = (expiry_of(_exptime(head.extras)[0], now),)
        bound = partial(render, head.opcode, head.opaque)
        return operations.fetch_and_touch, head.key, arguments, bound

    return make


def _storing(operation: Operation, unstored: Error, quiet: bool = False) -> Make:
    stored = replies.stored(unstored, False, quiet)
    swapped = replies.stored(unstored, True, quiet)

    def make(head: Head, value: bytes, now: Now, limit: int) -> Step:
        opcode, opaque, cas, extras, key, _ = head
        flags, exptime = _flags_and_exptime(extras)
        expiry = expiry_of(exptime, now)
        if cas:
            # Whatever the command, it now is to be over that state alone (proto_bin.c:1189).
            swap = (value, flags, expiry, cas, marks_of(key))
            return operations.compare_and_swap, key, swap, partial(swapped, opcode, opaque)
        arguments = (value, flags, expiry, marks_of(key))
        return operation, key, arguments, partial(stored, opcode, opaque)

    return make


def _extending(operation: Operation, quiet: bool = False) -> Make:
    render = replies.stored(UNSTORED, False, quiet)

    def make(head: Head, value: bytes, now: Now, limit: int) -> Step:
        arguments = (value, limit, head.cas)
        return operation, head.key, arguments, partial(render, head.opcode, head.opaque)

    return make


def _deleting(quiet: bool = False) -> Make:
    render = replies.deleted(quiet)

    def make(head: Head, value: bytes, now: Now, limit: int) -> Step:
        bound = partial(render, head.opcode, head.opaque)
        return operations.delete, head.key, (head.cas or None,), bound

    return make


def _counting(up: bool, quiet: bool = False) -> Make:
    render = replies.counted(up, quiet)

    def make(head: Head, value: bytes, now: Now, limit: int) -> Step:
        delta, initial, exptime = _delta_initial_exptime(head.extras)
        made = None if exptime == _MAKE_NOTHING else initial
        arguments: tuple[Any, ...] = (
            up,
            delta,
            head.cas,
            ((VIVIFY, exptime),),
            None,
            marks_of(head.key),
            made,
        )
        return meta_operations.count, head.key, arguments, partial(render, head.opcode, head.opaque)

    return make


def _saying(answer: bytes) -> Make:
    def make(head: Head, value: bytes, now: Now, limit: int) -> Step:
        return say(replies.frame(head.opcode, head.opaque, answer))

    return make


def say(answer: bytes) -> Step:
    """An answer that needs no store, in its turn."""
    return operations.constant, b"", (answer,), replies.said


#: The renders of the commands that fetch, and do nothing else.
GETS: dict[int, FrameRender] = {
    GET: replies.value,
    GETQ: replies.quiet_value,
    GETK: replies.value_and_key,
    GETKQ: replies.quiet_value_and_key,
}

#: The commands that are steps of the store's.
COMMANDS: dict[int, tuple[Shape, Make]] = {
    **{opcode: (_KEY, _fetching(render)) for opcode, render in GETS.items()},
    SET: (_STORE, _storing(operations.store, UNSTORED)),
    SETQ: (_STORE, _storing(operations.store, UNSTORED, True)),
    ADD: (_STORE, _storing(operations.add, DATA_EXISTS)),
    ADDQ: (_STORE, _storing(operations.add, DATA_EXISTS, True)),
    REPLACE: (_STORE, _storing(operations.replace, MISSING)),
    REPLACEQ: (_STORE, _storing(operations.replace, MISSING, True)),
    APPEND: (_EXTEND, _extending(operations.append)),
    APPENDQ: (_EXTEND, _extending(operations.append, True)),
    PREPEND: (_EXTEND, _extending(operations.prepend)),
    PREPENDQ: (_EXTEND, _extending(operations.prepend, True)),
    DELETE: (_KEY, _deleting()),
    DELETEQ: (_KEY, _deleting(True)),
    INCREMENT: (_COUNT, _counting(True)),
    INCREMENTQ: (_COUNT, _counting(True, True)),
    DECREMENT: (_COUNT, _counting(False)),
    DECREMENTQ: (_COUNT, _counting(False, True)),
    TOUCH: (_TOUCH, _touching(replies.touched)),
    GAT: (_TOUCH, _touching(replies.touched_value)),
    GATQ: (_TOUCH, _touching(replies.quiet_touched_value)),
    GATK: (_TOUCH, _touching(replies.touched_value_and_key)),
    GATKQ: (_TOUCH, _touching(replies.quiet_touched_value_and_key)),
    NOOP: (_ALONE, _saying(b"")),
    VERSION: (_ALONE, _saying(stats.VERSION.encode())),
}

#: Those of them that only read.
READS = frozenset({*GETS, NOOP, VERSION})

#: The others, which are about the connection or the server.
SHAPES: dict[int, Shape] = {
    QUIT: _ALONE,
    QUITQ: _ALONE,
    FLUSH: Shape((0, 4), keyed=False),
    FLUSHQ: Shape((0, 4), keyed=False),
    STAT: Shape(keyed=None),
    SASL_LIST: _ALONE,
    SASL_AUTH: Shape(valued=True),
    SASL_STEP: Shape(valued=True),
    **{opcode: shape for opcode, (shape, _) in COMMANDS.items()},
}

# The names of the commands whose values may be too large, for those who watch.
_STORES = {
    **dict.fromkeys((SET, SETQ), "set"),
    **dict.fromkeys((ADD, ADDQ), "add"),
    **dict.fromkeys((REPLACE, REPLACEQ), "replace"),
    **dict.fromkeys((APPEND, APPENDQ), "append"),
    **dict.fromkeys((PREPEND, PREPENDQ), "prepend"),
}


def refusal(head: Head, limit: int) -> Optional[Step]:
    """
    What is to be done when the item would pass `limit`; None: it does not.

    Of a set the old value goes too (proto_bin.c:1143-1166).
    """
    verb = _STORES.get(head.opcode)
    if verb is None:
        return None
    flags = _flags_and_exptime(head.extras)[0] if head.extras else 0
    if size_in_memcached(head.key, head.length, flags) <= limit:
        return None
    render = partial(replies.refused, head.opcode, head.opaque)
    return operations.refuse, head.key, (verb, verb == "set"), render
