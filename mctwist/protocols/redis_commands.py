"""
The grammar of Redis's commands: words in, steps out (redis.io/commands, and what Redis 7.0 makes
of it).

One table says of each command how many words it has, which of them are keys, and what it is good
for; `COMMAND` answers from it, too. Behind the table there is a function for each command that is
a step of the store's, of its words and of what the server allows; those without one are about
the connection or the server, and `resp` has them.

A step made here carries a reply of `resp_replies` whose version is still to be bound.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Callable, NamedTuple, Optional

from mctwist import operations, redis_operations
from mctwist.interfaces import Operation
from mctwist.item import KEY_LENGTH, marks_of, size_in_memcached
from mctwist.protocols import resp_replies as replies
from mctwist.protocols.resp_replies import Reply
from mctwist.redis_operations import Condition, Fault, When, float_in, integer_in

Words = list[bytes]
#: A step whose reply is still to be bound to a version.
Unbound = tuple[Operation, bytes, tuple[Any, ...], Reply]

_MOST = (1 << 63) - 1
_LEAST = -(1 << 63)


class Limits(NamedTuple):
    """
    What the server allows.

    :ivar item: bytes of the largest item, as memcached counts them.
    :ivar reply: bytes of the longest answer that is made at once.
    """

    item: int
    reply: int


class CommandError(Exception):
    """
    A command is wrong, and the stream is still in step.

    :ivar wire: the line that answers it, with its end.
    """

    def __init__(self, text: bytes, reply: Reply = replies.said) -> None:
        self.wire = replies.error(text)
        self.reply = reply


SYNTAX = CommandError(b"ERR syntax error")
NOT_AN_INTEGER = CommandError(b"ERR value is not an integer or out of range")
BAD_KEY = CommandError(b"ERR a key must have from 1 to %d bytes" % KEY_LENGTH)
TOO_LARGE = CommandError(
    b"ERR string exceeds maximum allowed size (--max-item-size)", replies.refused
)

Make = Callable[[Words, Limits], Unbound]


class Command(NamedTuple):
    """
    A command, as `COMMAND` tells of it.

    :ivar arity: how many words it has; if negative, at least so many.
    :ivar keys: the first word that is a key, the last (-1: that of the command), and the step
        from one to the next; 0: there is none.
    :ivar make: makes the step; None: `resp` knows.
    """

    name: bytes
    arity: int
    flags: "tuple[bytes, ...]"
    keys: "tuple[int, int, int]"
    group: bytes
    since: bytes
    summary: bytes
    make: Optional[Make] = None

    @property
    def writes(self) -> bool:
        return b"write" in self.flags

    def keys_in(self, words: Words) -> Words:
        first, last, step = self.keys
        return (
            words[first : len(words) + last + 1 if last < 0 else last + 1 : step] if first else []
        )


def step_of(command: Command, make: Make, words: Words, limits: Limits) -> Unbound:
    """What `words` ask for; where they are wrong, a step that says so."""
    try:
        check_keys(command.keys_in(words))
        return make(words, limits)
    except CommandError as error:
        # The errors are made once and raised often; a traceback would keep what was read.
        error.__traceback__ = None
        return operations.constant, b"", (error.wire,), error.reply


def check_keys(keys: Words) -> None:
    """Raises `BAD_KEY`."""
    for key in keys:
        if not 0 < len(key) <= KEY_LENGTH:
            raise BAD_KEY


def say(answer: bytes) -> Unbound:
    """An answer that needs no store, in its turn."""
    return operations.constant, b"", (answer,), replies.said


def wrong_number(name: bytes) -> CommandError:
    """A command has too few words, or too many."""
    return CommandError(b"ERR wrong number of arguments for '%b' command" % name)


def unknown(words: Words) -> bytes:
    """The answer to a command that there is not (server.c, commandCheckExistence)."""
    shown = b""
    for word in words[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % word.partition(b"\0")[0][: 128 - len(shown)]
    name = words[0].partition(b"\0")[0][:128]
    return replies.error(b"ERR unknown command '%b', with args beginning with: %b" % (name, shown))


def unknown_part(command: bytes, part: bytes) -> bytes:
    """As `unknown`, of what stands behind a command that has commands of its own."""
    part = part.partition(b"\0")[0][:128]
    return replies.error(b"ERR unknown subcommand '%b'. Try %b HELP." % (part, command))


def refusal(command: Command, words: Words) -> Optional[bytes]:
    """
    The answer to a command of which it is known at once that it cannot be run: it has the wrong
    number of words, or its second should name a command and does not. None: it may be run.
    """
    if not _fits(command.arity, words):
        return wrong_number(command.name).wire
    if command.name not in PARTS or len(words) < 2:
        return None
    part = words[1].lower()
    arity = PARTS[command.name].get(part)
    if arity is None:
        return unknown_part(command.name.upper(), words[1])
    if not _fits(arity, words):
        return wrong_number(b"%b|%b" % (command.name, part)).wire
    return None


def _fits(arity: int, words: Words) -> bool:
    """Whether there are as many words as there have to be."""
    return len(words) == arity if arity >= 0 else len(words) >= -arity


def integer(word: bytes) -> int:
    """The signed 64 bits that `word` is. Raises `NOT_AN_INTEGER`."""
    number = integer_in(word)
    if number is None:
        raise NOT_AN_INTEGER
    return number


def _check_size(key: bytes, value: bytes, limits: Limits) -> None:
    if size_in_memcached(key, len(value), 0) > limits.item:
        raise TOO_LARGE


# Expiries

_UNITS = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}


def _bad_expiry(command: bytes) -> CommandError:
    return CommandError(b"ERR invalid expire time in '%b' command" % command)


def _expiry(word: bytes, unit: int, relative: bool, command: bytes) -> When:
    """When a value is to expire that is stored (t_string.c, getExpireMillisecondsOrReply)."""
    number = integer(word)
    # The moment itself must fit as well, whenever it is counted from.
    if not 0 < number * unit <= _MOST - (_FAR if relative else 0):
        raise _bad_expiry(command)
    return When(relative, number * unit)


# More than any clock shows for a long while: what is added to it still fits.
_FAR = 1 << 43


# Strings


def _get(words: Words, limits: Limits) -> Unbound:
    return operations.fetch, words[1], (), replies.fetched


def _set(words: Words, limits: Limits) -> Unbound:
    _, key, value, *options = words
    if not options:
        _check_size(key, value, limits)
        return operations.store, key, (value, 0, 0, marks_of(key)), _plainly_stored
    when: Optional[tuple[bytes, bytes]] = None
    exists: Optional[bool] = None
    keeps = tells = False
    rest = iter(options)
    for option in map(bytes.upper, rest):
        if option in (b"NX", b"XX") and exists in (None, option == b"XX"):
            exists = option == b"XX"
        elif option == b"GET":
            tells = True
        elif option == b"KEEPTTL" and when is None:
            keeps = True
        elif option in _UNITS and not keeps and (when is None or when[0] == option):
            when = option, _behind(rest)
        else:
            raise SYNTAX
    moment = None
    if when is not None:
        moment = _expiry(when[1], *_UNITS[when[0]], b"set")
    _check_size(key, value, limits)
    arguments = (value, moment, exists, keeps, tells)
    return redis_operations.store, key, arguments, replies.fetched if tells else replies.set_


def _plainly_stored(version: int, stats: Any, key: bytes, outcome: Any) -> bytes:
    return replies.stored(stats, key, outcome)


def _behind(words: "Iterator[bytes]") -> bytes:
    """The word behind an option that has one."""
    word = next(words, None)
    if word is None:
        raise SYNTAX
    return word


def _setnx(words: Words, limits: Limits) -> Unbound:
    _, key, value = words
    _check_size(key, value, limits)
    return redis_operations.store, key, (value, None, False), replies.added


def _setex(unit: int, words: Words, limits: Limits) -> Unbound:
    verb, key, seconds, value = words
    moment = _expiry(seconds, unit, True, verb.lower())
    _check_size(key, value, limits)
    return redis_operations.store, key, (value, moment), replies.set_


def _getset(words: Words, limits: Limits) -> Unbound:
    _, key, value = words
    _check_size(key, value, limits)
    return redis_operations.store, key, (value, None, None, False, True), replies.fetched


def _getdel(words: Words, limits: Limits) -> Unbound:
    return redis_operations.fetch_and_delete, words[1], (), replies.fetched


def _getex(words: Words, limits: Limits) -> Unbound:
    _, key, *options = words
    if not options:
        return operations.fetch, key, (), replies.fetched
    persists = False
    when: Optional[tuple[bytes, bytes]] = None
    rest = iter(options)
    for option in map(bytes.upper, rest):
        if option == b"PERSIST" and when is None:
            persists = True
        elif option in _UNITS and not persists and (when is None or when[0] == option):
            when = option, _behind(rest)
        else:
            raise SYNTAX
    moment, fault = None, None
    if when is not None:
        try:
            moment = _expiry(when[1], *_UNITS[when[0]], b"getex")
        except CommandError as error:
            # Redis looks at it only where there is something to expire.
            fault = Fault.NOT_AN_INTEGER if error is NOT_AN_INTEGER else Fault.BAD_EXPIRY
    arguments = (moment, fault)
    return redis_operations.fetch_and_expire, key, arguments, replies.fetched_and_expired


def _mget(words: Words, limits: Limits) -> Unbound:
    keys = words[1:]
    return redis_operations.fetch_many, keys[0], (keys, limits.reply), replies.fetched_many


def _mset(new: bool, words: Words, limits: Limits) -> Unbound:
    pairs = list(zip(words[1::2], words[2::2]))
    if len(words) % 2 == 0:
        raise wrong_number(words[0].lower())
    for key, value in pairs:
        _check_size(key, value, limits)
    return redis_operations.store_many, words[1], (pairs, new), replies.stored_many


def _append(words: Words, limits: Limits) -> Unbound:
    _, key, value = words
    return redis_operations.append, key, (value, limits.item), replies.lengthened


def _strlen(words: Words, limits: Limits) -> Unbound:
    return redis_operations.measure, words[1], (), replies.result


def _getrange(words: Words, limits: Limits) -> Unbound:
    _, key, start, end = words
    return redis_operations.fetch_range, key, (integer(start), integer(end)), replies.part


def _setrange(words: Words, limits: Limits) -> Unbound:
    _, key, offset, value = words
    start = integer(offset)
    if start < 0:
        raise CommandError(b"ERR offset is out of range")
    return redis_operations.overwrite, key, (start, value, limits.item), replies.lengthened


def _incr(delta: int, words: Words, limits: Limits) -> Unbound:
    reply = replies.counted_up if delta > 0 else replies.counted_down
    return redis_operations.count, words[1], (delta,), reply


def _incrby(words: Words, limits: Limits) -> Unbound:
    return redis_operations.count, words[1], (integer(words[2]),), replies.counted_up


def _decrby(words: Words, limits: Limits) -> Unbound:
    delta = integer(words[2])
    if delta == _LEAST:
        raise CommandError(b"ERR decrement would overflow")
    return redis_operations.count, words[1], (-delta,), replies.counted_down


def _incrbyfloat(words: Words, limits: Limits) -> Unbound:
    return redis_operations.count_float, words[1], (float_in(words[2]),), replies.counted_up


# Keys


def _del(words: Words, limits: Limits) -> Unbound:
    keys = words[1:]
    if len(keys) == 1:
        return operations.delete, keys[0], (), replies.deleted
    return redis_operations.delete_many, keys[0], (keys,), replies.deleted_many


def _exists(words: Words, limits: Limits) -> Unbound:
    return redis_operations.exist, words[1], (words[1:],), replies.result


def _touch(words: Words, limits: Limits) -> Unbound:
    return redis_operations.visit, words[1], (words[1:],), replies.visited


def _type(words: Words, limits: Limits) -> Unbound:
    return redis_operations.kind_of, words[1], (), replies.kind


_CONDITIONS = {condition.name.encode(): condition for condition in Condition}
_BAD_CONDITIONS = CommandError(
    b"ERR NX and XX, GT or LT options at the same time are not compatible"
)
_BAD_GT_AND_LT = CommandError(b"ERR GT and LT options at the same time are not compatible")


def _expire(unit: int, relative: bool, words: Words, limits: Limits) -> Unbound:
    verb, key, word, *options = words
    conditions = set()
    for option in options:
        condition = _CONDITIONS.get(option.upper())
        if condition is None:
            raise CommandError(b"ERR Unsupported option " + option[:128])
        conditions.add(condition)
    if Condition.NX in conditions and len(conditions) > 1:
        raise _BAD_CONDITIONS
    if {Condition.GT, Condition.LT} <= conditions:
        raise _BAD_GT_AND_LT
    number = integer(word) * unit
    if not _LEAST <= number <= _MOST - (_FAR if relative else 0):
        raise _bad_expiry(verb.lower())
    arguments = (When(relative, number), frozenset(conditions))
    return redis_operations.expire, key, arguments, replies.expired


def _ttl(unit: int, absolute: bool, words: Words, limits: Limits) -> Unbound:
    return redis_operations.time_left, words[1], (unit, absolute), replies.result


def _persist(words: Words, limits: Limits) -> Unbound:
    return redis_operations.persist, words[1], (), replies.expired


def _rename(words: Words, limits: Limits) -> Unbound:
    _, key, new = words
    return redis_operations.rename, key, (new, limits.item), replies.result


# The server and the connection, as far as they are no more than an answer


def _dbsize(words: Words, limits: Limits) -> Unbound:
    return operations.counts, b"", (), replies.size


def _ping(words: Words, limits: Limits) -> Unbound:
    if len(words) > 2:
        raise wrong_number(b"ping")
    return say(replies.bulk(words[1]) if len(words) == 2 else replies.PONG)


def _echo(words: Words, limits: Limits) -> Unbound:
    return say(replies.bulk(words[1]))


_BAD_INT = CommandError(b"ERR value is out of range, value must between -2147483648 and 2147483647")


def _select(words: Words, limits: Limits) -> Unbound:
    number = integer(words[1])
    if not -(1 << 31) <= number < 1 << 31:
        raise _BAD_INT
    if number != 0:
        raise CommandError(b"ERR DB index is out of range")
    return say(replies.OK)


_NONE, _ONE, _ALL, _PAIRS, _TWO = (0, 0, 0), (1, 1, 1), (1, -1, 1), (1, -1, 2), (1, 2, 1)
_READ = (b"readonly", b"fast")
_WRITE = (b"write", b"denyoom", b"fast")
_SHORTEN = (b"write", b"fast")
_ASK = (b"loading", b"stale", b"fast")
_ENTER = (b"noscript", b"loading", b"stale", b"fast", b"no_auth", b"allow_busy")
_MULTI = (b"noscript", b"loading", b"stale", b"fast", b"allow_busy")

_STRING, _GENERIC = b"string", b"generic"
_SERVER, _CONNECTION, _TRANSACTIONS = b"server", b"connection", b"transactions"

_ROWS: "Iterable[tuple[Any, ...]]" = (
    (b"get", 2, _READ, _ONE, _STRING, b"1.0.0", b"Get the value of a key", _get),
    (b"set", -3, _WRITE, _ONE, _STRING, b"1.0.0", b"Set the value of a key", _set),
    (b"setnx", 3, _WRITE, _ONE, _STRING, b"1.0.0", b"Set a key that is not there", _setnx),
    (b"setex", 4, _WRITE, _ONE, _STRING, b"2.0.0", b"Set a key, to expire in seconds",
     partial(_setex, 1000)),
    (b"psetex", 4, _WRITE, _ONE, _STRING, b"2.6.0", b"Set a key, to expire in milliseconds",
     partial(_setex, 1)),
    (b"getset", 3, _WRITE, _ONE, _STRING, b"1.0.0", b"Set a key and get what it held", _getset),
    (b"getdel", 2, _SHORTEN, _ONE, _STRING, b"6.2.0", b"Get a key and delete it", _getdel),
    (b"getex", -2, _SHORTEN, _ONE, _STRING, b"6.2.0", b"Get a key and set its expiry", _getex),
    (b"mget", -2, _READ, _ALL, _STRING, b"1.0.0", b"Get several keys, of one moment", _mget),
    (b"mset", -3, _WRITE, _PAIRS, _STRING, b"1.0.1", b"Set several keys at one moment",
     partial(_mset, False)),
    (b"msetnx", -3, _WRITE, _PAIRS, _STRING, b"1.0.1", b"Set several keys, if none is there",
     partial(_mset, True)),
    (b"append", 3, _WRITE, _ONE, _STRING, b"2.0.0", b"Append to the value of a key", _append),
    (b"strlen", 2, _READ, _ONE, _STRING, b"2.2.0", b"Get the length of a value", _strlen),
    (b"getrange", 4, _READ, _ONE, _STRING, b"2.4.0", b"Get a part of a value", _getrange),
    (b"setrange", 4, _WRITE, _ONE, _STRING, b"2.2.0", b"Overwrite a part of a value", _setrange),
    (b"incr", 2, _WRITE, _ONE, _STRING, b"1.0.0", b"Add one", partial(_incr, 1)),
    (b"decr", 2, _WRITE, _ONE, _STRING, b"1.0.0", b"Take one away", partial(_incr, -1)),
    (b"incrby", 3, _WRITE, _ONE, _STRING, b"1.0.0", b"Add an integer", _incrby),
    (b"decrby", 3, _WRITE, _ONE, _STRING, b"1.0.0", b"Take an integer away", _decrby),
    (b"incrbyfloat", 3, _WRITE, _ONE, _STRING, b"2.6.0", b"Add a number", _incrbyfloat),
    (b"del", -2, (b"write",), _ALL, _GENERIC, b"1.0.0", b"Delete keys", _del),
    (b"unlink", -2, _SHORTEN, _ALL, _GENERIC, b"4.0.0", b"Delete keys", _del),
    (b"exists", -2, _READ, _ALL, _GENERIC, b"1.0.0", b"Count the keys that are there", _exists),
    (b"touch", -2, _READ, _ALL, _GENERIC, b"3.2.1", b"Count as asked for", _touch),
    (b"type", 2, _READ, _ONE, _GENERIC, b"1.0.0", b"Tell the kind of a value", _type),
    (b"expire", -3, _SHORTEN, _ONE, _GENERIC, b"1.0.0", b"Have it expire in seconds",
     partial(_expire, 1000, True)),
    (b"pexpire", -3, _SHORTEN, _ONE, _GENERIC, b"2.6.0", b"Have it expire in milliseconds",
     partial(_expire, 1, True)),
    (b"expireat", -3, _SHORTEN, _ONE, _GENERIC, b"1.2.0", b"Have it expire at a second",
     partial(_expire, 1000, False)),
    (b"pexpireat", -3, _SHORTEN, _ONE, _GENERIC, b"2.6.0", b"Have it expire at a millisecond",
     partial(_expire, 1, False)),
    (b"ttl", 2, _READ, _ONE, _GENERIC, b"1.0.0", b"Seconds until it expires",
     partial(_ttl, 1000, False)),
    (b"pttl", 2, _READ, _ONE, _GENERIC, b"2.6.0", b"Milliseconds until it expires",
     partial(_ttl, 1, False)),
    (b"expiretime", 2, _READ, _ONE, _GENERIC, b"7.0.0", b"The second at which it expires",
     partial(_ttl, 1000, True)),
    (b"pexpiretime", 2, _READ, _ONE, _GENERIC, b"7.0.0", b"The millisecond at which it expires",
     partial(_ttl, 1, True)),
    (b"persist", 2, _SHORTEN, _ONE, _GENERIC, b"2.2.0", b"Have it never expire", _persist),
    (b"rename", 3, (b"write",), _TWO, _GENERIC, b"1.0.0", b"Rename a key", _rename),
    (b"keys", 2, (b"readonly",), _NONE, _GENERIC, b"1.0.0", b"List keys by a pattern"),
    (b"scan", -2, (b"readonly",), _NONE, _GENERIC, b"2.8.0", b"List keys in pieces"),
    (b"randomkey", 1, (b"readonly",), _NONE, _GENERIC, b"1.0.0", b"Name some key"),
    (b"dbsize", 1, _READ, _NONE, _SERVER, b"1.0.0", b"Count the keys", _dbsize),
    (b"flushdb", -1, (b"write",), _NONE, _SERVER, b"1.0.0", b"Delete all keys"),
    (b"flushall", -1, (b"write",), _NONE, _SERVER, b"1.0.0", b"Delete all keys"),
    (b"info", -1, (b"loading", b"stale"), _NONE, _SERVER, b"1.0.0", b"Tell of the server"),
    (b"time", 1, _ASK, _NONE, _SERVER, b"2.6.0", b"Tell the time"),
    (b"command", -1, (b"loading", b"stale"), _NONE, _SERVER, b"2.8.13", b"Tell of the commands"),
    (b"config", -2, (), _NONE, _SERVER, b"2.0.0", b"Tell of the configuration"),
    (b"ping", -1, (b"fast",), _NONE, _CONNECTION, b"1.0.0", b"Be answered", _ping),
    (b"echo", 2, _ASK, _NONE, _CONNECTION, b"1.0.0", b"Be answered with a word", _echo),
    (b"select", 2, _ASK, _NONE, _CONNECTION, b"1.0.0", b"Choose the only database", _select),
    (b"auth", -2, _ENTER, _NONE, _CONNECTION, b"1.0.0", b"Log in"),
    (b"hello", -1, _ENTER, _NONE, _CONNECTION, b"6.0.0", b"Choose the protocol, log in"),
    (b"quit", -1, _ENTER, _NONE, _CONNECTION, b"1.0.0", b"Close the connection"),
    (b"reset", 1, _ENTER, _NONE, _CONNECTION, b"6.2.0", b"Begin the connection anew"),
    (b"client", -2, (), _NONE, _CONNECTION, b"2.4.0", b"Name the connection"),
    (b"multi", 1, _MULTI, _NONE, _TRANSACTIONS, b"1.2.0", b"Begin a transaction"),
    (b"exec", 1, _MULTI, _NONE, _TRANSACTIONS, b"1.2.0", b"Run the transaction"),
    (b"discard", 1, _MULTI, _NONE, _TRANSACTIONS, b"2.0.0", b"Forget the transaction"),
    (b"watch", -2, _MULTI, _ALL, _TRANSACTIONS, b"2.2.0", b"Run it only if these do not change"),
    (b"unwatch", 1, _MULTI, _NONE, _TRANSACTIONS, b"2.2.0", b"Run it in any case"),
)  # fmt: skip

#: All there are, by their names in capitals.
COMMANDS: "dict[bytes, Command]" = {row[0].upper(): Command(*row) for row in _ROWS}


#: What may stand behind a command that has commands of its own, and how many words it has then.
PARTS: "dict[bytes, dict[bytes, int]]" = {
    b"client": {b"setname": 3, b"getname": 2, b"setinfo": 4, b"id": 2},
    b"config": {b"get": -3},
    b"command": {b"count": 2, b"list": 2, b"docs": -2, b"info": -2},
}


# What COMMAND tells


def _simple(version: int, words: Sequence[bytes]) -> bytes:
    head = b"*%d\r\n" if version == 2 else b"~%d\r\n"
    return head % len(words) + b"".join(b"+%b\r\n" % word for word in words)


_GROUPS = {_GENERIC: b"@keyspace", _SERVER: b"@admin"}


def _info(version: int, command: Command) -> bytes:
    """A row of COMMAND; categories, tips and details of the keys are left to the few who ask."""
    if command.writes:
        categories = [b"@write"]
    else:
        categories = [b"@read"] if b"readonly" in command.flags else []
    categories.append(_GROUPS.get(command.group, b"@" + command.group.rstrip(b"s")))
    categories.append(b"@fast" if b"fast" in command.flags else b"@slow")
    return replies.array(
        [
            replies.bulk(command.name),
            replies.number(command.arity),
            _simple(version, command.flags),
            *map(replies.number, command.keys),
            _simple(version, categories),
            *[b"*0\r\n"] * 3,
        ]
    )


def _doc(version: int, command: Command) -> bytes:
    words = (b"summary", command.summary, b"since", command.since, b"group", command.group)
    return replies.mapping(version, [replies.bulk(word) for word in words])


def docs(version: int, names: Sequence[bytes]) -> bytes:
    """COMMAND DOCS, of all where none are named; of what there is not, nothing."""
    if not names:
        return _ALL_DOCS[version]
    return _docs(version, names)


def _docs(version: int, names: Iterable[bytes]) -> bytes:
    parts = []
    for name in names:
        command = COMMANDS.get(name.upper())
        if command is not None:
            parts += [replies.bulk(command.name), _doc(version, command)]
    return replies.mapping(version, parts)


def infos(version: int, names: Sequence[bytes]) -> bytes:
    """COMMAND INFO, of all where none are named; of what there is not, null."""
    if not names:
        return _ALL_INFOS[version]
    return replies.array(
        [_INFOS[version].get(name.upper(), replies.NULL[version]) for name in names]
    )


# Made once, for all who ask hold the same.
_INFOS = {
    version: {name: _info(version, command) for name, command in COMMANDS.items()}
    for version in (2, 3)
}
_ALL_INFOS = {version: replies.array(list(rows.values())) for version, rows in _INFOS.items()}
_ALL_DOCS = {version: _docs(version, COMMANDS) for version in (2, 3)}
