"""
The commands of simpledb's dialect: the arguments of a request in, steps out.

They mean what they mean in the original (coleifer/simpledb, get_commands), but for what is wrong
there: APPEND stores what it answers, floats stay exact, and what is deleted, popped or has expired
leaves no expiry to what comes after it. What has more than one value to answer is a step for each
of them, behind the head of the array, and so never held as a whole.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Callable, NamedTuple, Optional, Union

from mctwist import meta_operations, operations, simpledb_operations
from mctwist.interfaces import Fetched, NotPermitted, Render, Step, StoreFull
from mctwist.item import KEY_LENGTH, Item, size_in_memcached
from mctwist.operations import DELETED, STORED, Outcome
from mctwist.protocols.counting import count_delete, count_get, count_store, count_touched
from mctwist.protocols.simpledb_grammar import elements
from mctwist.protocols.simpledb_values import (
    DICTIONARY,
    NULL_WIRE,
    NUMBER,
    SET,
    STRING,
    TEXT,
    CommandError,
    Number,
    Value,
    dictionary,
    digits_of,
    extended,
    number_of,
    raised,
    shown,
    stored,
    value_of,
)
from mctwist.simpledb_operations import TOO_LARGE, Change, Data, Refusal
from mctwist.stats import Stats

_LATEST = (1 << 63) - 1


class Terms(NamedTuple):
    """
    What a command goes by.

    :ivar now: milliseconds since the epoch; :ivar limit: bytes of an item.
    """

    now: int
    limit: int


Arguments = Sequence[Value]
#: What makes the steps of a command's arguments. Raises `CommandError`.
Make = Callable[[Arguments, Terms], "list[Step]"]


class Command(NamedTuple):
    """
    :ivar fewest: arguments; :ivar most: arguments; None: any number.
    :ivar reads: it does nothing but read.
    """

    make: Make
    fewest: int
    most: Optional[int]
    reads: bool = False


# What arguments mean


def _key(value: Value) -> bytes:
    sort, content = value
    if sort not in (STRING, TEXT) and not (sort == NUMBER and content.isdigit()):
        raise CommandError("A key must be a string.")
    if not 0 < len(content) <= KEY_LENGTH:
        raise CommandError(f"A key must have 1 to {KEY_LENGTH} bytes.")
    return content


def _data(key: bytes, value: Value, terms: Terms) -> Data:
    """What is to be stored under `key`."""
    data = stored(value)
    if size_in_memcached(key, len(data[0]), 0) > terms.limit:
        raise CommandError(TOO_LARGE.why)
    return data


def _number(value: Value) -> Value:
    """A number, or its text: in a line of words there is nothing else."""
    try:
        return Value(NUMBER, digits_of(number_of(value)))
    except CommandError:
        raise CommandError("Value is not a number.") from None


def _expiry(value: Value, terms: Terms) -> int:
    """When it is, so many seconds from now, and fractions of one; milliseconds since the epoch."""
    seconds = number_of(_number(value))
    try:
        # 0 would be never.
        return min(max(terms.now + int(seconds * 1000), 1), _LATEST)
    except OverflowError:
        raise CommandError("Value is not a number.") from None


def _pairs(arguments: Arguments, terms: Terms) -> "dict[bytes, Data]":
    """Keys and their values: a dictionary; or, as Redis has it, one behind the other."""
    if len(arguments) == 1:
        if arguments[0].sort != DICTIONARY:
            raise CommandError("Keys and values must be a dictionary.")
        arguments = elements(arguments[0].content)
    if len(arguments) % 2:
        raise CommandError("A key is without a value.")
    keys = [_key(key) for key in arguments[::2]]
    return {key: _data(key, value, terms) for key, value in zip(keys, arguments[1::2])}


# What results look like


def _value(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    count_get(stats, item)
    return NULL_WIRE if item is None else shown(item)


def _stored(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    count_store(stats, outcome[0])
    return b":%d\r\n" % (outcome[0] is STORED)


def _swapped(stats: Stats, key: bytes, item: Optional[Item]) -> bytes:
    count_store(stats, STORED)
    return _value(stats, key, item)


def _updated(show: Callable[[Item], bytes]) -> Render:
    def render(stats: Stats, key: bytes, result: Union[Item, Refusal]) -> bytes:
        if isinstance(result, Refusal):
            stats.simpledb_errors += 1
            return CommandError(result.why).wire
        count_store(stats, STORED)
        return show(result)

    return render


_extended = _updated(shown)
# A number, whatever it is stored as.
_counted = _updated(lambda item: b":%b\r\n" % value_of(item.kind, item.value).content)


def _deleted(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    count_delete(stats, outcome[0])
    return b":%d\r\n" % (outcome[0] is DELETED)


def _exists(stats: Stats, key: bytes, found: Optional[Fetched]) -> bytes:
    return b":%d\r\n" % (found is not None)


def _expires(stats: Stats, key: bytes, outcome: Outcome) -> bytes:
    count_touched(stats, outcome[0])
    return NULL_WIRE


def _stored_many(answer: bytes, stats: Stats, key: bytes, count: int) -> bytes:
    stats.set_commands += count
    stats.total_items += count
    return answer


def _deleted_many(stats: Stats, key: bytes, count: int) -> bytes:
    stats.delete_hits += count
    return b":%d\r\n" % count


def _flushed(stats: Stats, key: bytes, count: int) -> bytes:
    stats.flush_commands += 1
    return b":%d\r\n" % count


def _length(stats: Stats, key: bytes, counts: "tuple[int, int]") -> bytes:
    return b":%d\r\n" % counts[0]


def _info(stats: Stats, key: bytes, counts: "tuple[int, int]") -> bytes:
    return dictionary(
        {
            "active_connections": stats.curr_connections,
            "commands_processed": stats.simpledb_commands - 1,  # but for this one
            "command_errors": stats.simpledb_errors,
            "connections": stats.total_connections,
            "keys": counts[0],
            "timestamp": stats.seconds(),
        }
    )


def _said(stats: Stats, key: bytes, answer: bytes) -> bytes:
    return answer


def say(answer: bytes) -> Step:
    """An answer that needs no store, in its turn."""
    return operations.constant, b"", (answer,), _said


def fault(stats: Stats, exception: Exception) -> bytes:
    """What a step answers that ended in `exception`: nothing of our insides."""
    stats.simpledb_errors += 1
    if isinstance(exception, StoreFull):
        stats.store_no_memory += 1
        return CommandError("Out of memory storing the value.").wire
    if isinstance(exception, NotPermitted):
        return CommandError("Permission denied.").wire
    return CommandError("Unhandled server error").wire


# What commands do


def _one(operation: Any, render: Render) -> Make:
    """A command of a key."""

    def make(arguments: Arguments, terms: Terms) -> "list[Step]":
        return [(operation, _key(arguments[0]), (), render)]

    return make


def _each(operation: Any, render: Render) -> Make:
    """A command of many keys, with an answer for each."""

    def make(arguments: Arguments, terms: Terms) -> "list[Step]":
        keys = [_key(argument) for argument in arguments]
        return [say(b"*%d\r\n" % len(keys)), *((operation, key, (), render) for key in keys)]

    return make


def _store(operation: Any) -> Make:
    """A command of a key, a value, and perhaps the seconds that it is to last."""

    def make(arguments: Arguments, terms: Terms) -> "list[Step]":
        key = _key(arguments[0])
        data, kind = _data(key, arguments[1], terms)
        expiry = _expiry(arguments[2], terms) if len(arguments) == 3 else 0
        return [(operation, key, (data, 0, expiry, kind), _stored)]

    return make


def _swap(arguments: Arguments, terms: Terms) -> "list[Step]":
    key = _key(arguments[0])
    return [(simpledb_operations.swap, key, _data(key, arguments[1], terms), _swapped)]


def _store_many(arguments: Arguments, terms: Terms) -> "list[Step]":
    pairs = _pairs(arguments, terms)
    render = partial(_stored_many, b":%d\r\n" % len(pairs))
    return [(simpledb_operations.store_many, b"", (pairs, 0), render)]


def _store_many_for(arguments: Arguments, terms: Terms) -> "list[Step]":
    pairs = _pairs(arguments[:1], terms)
    many = (pairs, _expiry(arguments[1], terms))
    # The original answers nothing.
    return [(simpledb_operations.store_many, b"", many, partial(_stored_many, NULL_WIRE))]


def _delete_many(arguments: Arguments, terms: Terms) -> "list[Step]":
    keys = [_key(argument) for argument in arguments]
    return [(simpledb_operations.delete_many, b"", (keys,), _deleted_many)]


def _count(sign: int) -> Make:
    """
    A command that adds a number, 1 unless it is given, to that of a key.

    Where there is none it is made: a number of this dialect's, as SET of one makes it.
    """

    def make(arguments: Arguments, terms: Terms) -> "list[Step]":
        key = _key(arguments[0])
        by: Number = number_of(_number(arguments[1])) if len(arguments) == 2 else 1
        by *= sign
        begun = Value(NUMBER, digits_of(by))
        change = _changed(raised(by), begun)
        return [(simpledb_operations.update, key, (change, terms.limit), _counted)]

    return make


def _append(arguments: Arguments, terms: Terms) -> "list[Step]":
    key, value = _key(arguments[0]), arguments[1]
    if value.sort in (DICTIONARY, SET):
        # It is not too deep by itself, nor may it be as an element of the array that it goes to.
        elements(b"*1\r\n*1\r\n" + value.content)
    change = _changed(extended(value), value)
    return [(simpledb_operations.update, key, (change, terms.limit), _extended)]


def _changed(change: Callable[[Value], Value], begun: Value) -> Change:
    """
    As an operation is given it.

    :param begun: what there is to be where there was nothing.
    """

    def change_data(data: Optional[Data]) -> Union[Data, Refusal]:
        if data is None:
            return stored(begun)
        value, kind = data
        try:
            return stored(change(value_of(kind, value)))
        except CommandError as error:
            return Refusal(error.words)

    return change_data


def _expire(arguments: Arguments, terms: Terms) -> "list[Step]":
    key = _key(arguments[0])
    return [(operations.touch, key, (_expiry(arguments[1], terms),), _expires)]


def _flush(arguments: Arguments, terms: Terms) -> "list[Step]":
    return [(simpledb_operations.flush, b"", (), _flushed)]


def _counts(render: Render) -> Make:
    def make(arguments: Arguments, terms: Terms) -> "list[Step]":
        return [(operations.counts, b"", (), render)]

    return make


def _quit(arguments: Arguments, terms: Terms) -> "list[Step]":
    return [say(b":1\r\n")]


#: The command after which the connection is closed, and the one that may be forbidden.
QUIT, FLUSH = b"QUIT", b"FLUSH"

COMMANDS: dict[bytes, Command] = {
    b"GET": Command(_one(operations.fetch, _value), 1, 1, True),
    b"EXISTS": Command(_one(meta_operations.inspect, _exists), 1, 1, True),
    b"MGET": Command(_each(operations.fetch, _value), 0, None, True),
    b"LEN": Command(_counts(_length), 0, 0, True),
    b"INFO": Command(_counts(_info), 0, 0, True),
    b"SET": Command(_store(simpledb_operations.store), 2, 2),
    b"SETEX": Command(_store(simpledb_operations.store), 3, 3),
    b"SETNX": Command(_store(simpledb_operations.add), 2, 2),
    b"GETSET": Command(_swap, 2, 2),
    b"MSET": Command(_store_many, 1, None),
    b"MSETEX": Command(_store_many_for, 2, 2),
    b"APPEND": Command(_append, 2, 2),
    b"INCR": Command(_count(1), 1, 1),
    b"INCRBY": Command(_count(1), 2, 2),
    b"DECR": Command(_count(-1), 1, 1),
    b"DECRBY": Command(_count(-1), 2, 2),
    b"EXPIRE": Command(_expire, 2, 2),
    b"DELETE": Command(_one(operations.delete, _deleted), 1, 1),
    b"MDELETE": Command(_delete_many, 0, None),
    b"POP": Command(_one(simpledb_operations.pop, _value), 1, 1),
    b"MPOP": Command(_each(simpledb_operations.pop, _value), 0, None),
    FLUSH: Command(_flush, 0, 0),
    QUIT: Command(_quit, 0, 0, True),
}


def command_of(request: Arguments) -> "tuple[bytes, Command]":
    """
    The command that `request` asks for, and its name.

    :raises CommandError: it asks for none, or not with as many arguments as it takes.
    """
    if not request or request[0].sort not in (STRING, TEXT):
        raise CommandError("First parameter must be command name.")
    name = request[0].content.upper()
    command = COMMANDS.get(name)
    if command is None:
        shown_name = name[:64].decode("ascii", "backslashreplace")
        printable = "".join(each if each.isprintable() else "?" for each in shown_name)
        raise CommandError(f"Unrecognized command: {printable}")
    count = len(request) - 1
    if count < command.fewest or (command.most is not None and count > command.most):
        raise CommandError(f"Wrong number of arguments for {name.decode()}.")
    return name, command
