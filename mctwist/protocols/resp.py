"""
Redis's protocol on a connection: RESP2, and RESP3 for who asks for it (`resp_requests` cuts the
requests, `redis_commands` knows what they mean, `resp_replies` how they are answered).

Here is what is about the connection itself: who it is, which version it speaks, and its
transaction. MULTI collects the steps of what follows, and EXEC is one step that runs them. What
WATCH has seen is known when it has been answered, so an EXEC behind a WATCH is run alone:
whatever else waits with it, its turn comes after that answer.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from random import randrange
from typing import Any, Callable, Optional

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from mctwist import operations, redis_operations
from mctwist.interfaces import MOST_STEPS, Step
from mctwist.protocols import redis_commands as commands
from mctwist.protocols import redis_listing as listing
from mctwist.protocols import redis_reports as reports
from mctwist.protocols import resp_replies as replies
from mctwist.protocols.inline import Words
from mctwist.protocols.redis_commands import (
    COMMANDS,
    Command,
    CommandError,
    Limits,
    Unbound,
    say,
)
from mctwist.protocols.resp_requests import (
    MOST_ELEMENTS,
    MOST_LINE,
    MOST_REQUEST,
    MOST_STRANGE_BULK,
    MOST_STRANGE_ELEMENTS,
    WORD,
    RequestConnection,
)
from mctwist.protocols.rights import within
from mctwist.protocols.services import Services

# What a step takes besides its bytes.
_STEP = 400
# An answer known beforehand that is written by itself: all of COMMAND is 200 times its request.
_LARGE = 4096
#: The most keys that one connection may watch.
MOST_WATCHED = 10_000
#: The most names that COMMAND and CONFIG GET are asked for at once, and the longest of these and
#: of a connection.
MOST_NAMED, MOST_NAME = 200, 256

#: As those of `connection`.
BOUNDS: dict[str, object] = {
    "resp_request": MOST_REQUEST,
    "resp_elements": MOST_ELEMENTS,
    "resp_line": MOST_LINE,
    "resp_strange_elements": MOST_STRANGE_ELEMENTS,
    "resp_strange_bulk": MOST_STRANGE_BULK,
    "resp_watched": MOST_WATCHED,
    "resp_names": MOST_NAMED,
    "resp_name": MOST_NAME,
    "resp_pattern": listing.MOST_PATTERN,
    "resp_scan_count": listing.MOST_COUNT,
    "resp_scan_rounds": listing.MOST_ROUNDS,
}

_NO_AUTH = b"-NOAUTH Authentication required.\r\n"
_WRONG_PASS = CommandError(b"WRONGPASS invalid username-password pair or user is disabled.")
_NO_USERS = (
    b"-ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?\r\n"
)
_HELLO_FIRST = CommandError(
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
    b"AUTH <user> <pass> option can be used to authenticate the client and select the "
    b"RESP protocol version at the same time"
)
_BAD_NAME = CommandError(b"ERR Client names cannot contain spaces, newlines or special characters.")
_ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
_NOT_IN_MULTI = b"-ERR Command not allowed inside a transaction\r\n"
_NOT_ALLOWED = b"-ERR not allowed on this server\r\n"
_DEFAULT = b"default"

#: What may stand behind HELLO's version, and how many words behind that.
_HELLO_OPTIONS = {b"AUTH": 2, b"SETNAME": 1}

_is_name = re.compile(rb"[!-~]*").fullmatch


def _name_in(word: bytes) -> bytes:
    """What a connection may be called. Raises `CommandError`."""
    if not _is_name(word) or len(word) > MOST_NAME:
        raise _BAD_NAME
    return word


class RespProtocol(RequestConnection):
    """One connection that speaks Redis's protocol."""

    def __init__(self, services: Services, lost: Callable[[Any], None]) -> None:
        super().__init__(services, lost)
        self._number = next(services.numbers)
        self._name = b""
        self._limits = Limits(self._settings.max_item_size, self._settings.max_reply)
        self._queue: Optional[list[Step]] = None  # of MULTI; None: there is none
        self._queued = 0  # bytes of it
        self._writes = False  # a step of it does
        self._dirty = False  # something in it was refused
        self._watched: dict[bytes, int] = {}  # keys, and the states that they were in

    # What a dialect adds

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._queue, self._watched = None, {}
        super().connectionLost(reason)

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        return replies.fault(self._stats, fault)

    def _submit(self) -> int:
        self._stats.resp_commands += len(self._steps)
        return super()._submit()

    @property
    def _collects(self) -> bool:
        return self._queue is not None

    # Commands

    def _run(self, words: Words, spoiled: bool) -> None:
        name = words[0].upper() if len(words[0]) < 32 else b""
        command = COMMANDS.get(name)
        if name == b"QUIT":
            self._say(replies.OK)
            self.finish()
        elif command is None:
            self._refuse(commands.unknown(words))
        else:
            refusal = commands.refusal(command, words)
            if refusal is None and self._rights is None and b"no_auth" not in command.flags:
                refusal = _NO_AUTH
            if refusal is not None and name == b"EXEC":
                self._abort(refusal)
            elif refusal is not None:
                self._refuse(refusal)
            elif spoiled:
                self._stats.store_too_large += 1
                self._refuse(commands.TOO_LARGE.wire)
            else:
                self._begin_command(name, command, words)

    def _begin_command(self, name: bytes, command: Command, words: Words) -> None:
        if name in _AT_ONCE:
            self._guard(_AT_ONCE[name], self, words)
        elif name not in _BY_ITSELF:
            make = command.make or partial(_OTHERS[name], self)
            unbound = commands.step_of(command, make, words, self._limits)
            self._take(unbound, command.writes, words)
        elif self._queue is None:
            self._guard(_BY_ITSELF[name], self, words)
        else:
            self._refuse(_NOT_IN_MULTI)

    def _guard(self, method: Callable[..., None], *args: Any) -> None:
        """Call it, and say what is wrong if something is."""
        try:
            method(*args)
        except CommandError as error:
            error.__traceback__ = None
            self._say(error.wire)

    def _take(self, unbound: Unbound, writes: bool, words: Words) -> None:
        operation, key, arguments, reply = unbound
        step = operation, key, arguments, partial(reply, self._version)
        if self._queue is None:
            if operation is operations.constant and len(arguments[0]) > _LARGE:
                self._run_alone(step)
                return
            self._steps.append(step)
            # What looks up very many keys in one step is not for the reactor either.
            if writes or len(words) > MOST_STEPS:
                self._reads_only = False
            return
        self._queued += sum(map(len, words)) + WORD * len(words) + _STEP
        if self._queued > MOST_REQUEST:
            self._queue.clear()
            self._refuse(b"-ERR the transaction is too long\r\n")
        elif self._restricted and self._rights and self._is_forbidden(step):
            self._refuse(replies.NO_PERMISSION)
        else:
            if not self._dirty:
                self._queue.append(step)
            self._writes = self._writes or writes
            self._say(replies.QUEUED)

    def _is_forbidden(self, step: Step) -> bool:
        assert self._rights is not None
        return any(each[0] is operations.forbid for each in within(self._rights, [step]))

    def _say(self, answer: bytes) -> None:
        operation, key, arguments, reply = say(answer)
        self._steps.append((operation, key, arguments, partial(reply, self._version)))

    def _refuse(self, answer: bytes) -> None:
        """Say what is so wrong that a transaction with it is not run."""
        self._dirty = True
        self._say(answer)

    # Transactions

    def _abort(self, refusal: bytes) -> None:
        """An EXEC is refused, and takes the transaction with it."""
        self._forget()
        self._say(
            b"-EXECABORT Transaction discarded because of: " + refusal[1:].removeprefix(b"ERR ")
        )

    def _multi(self, words: Words) -> None:
        if self._queue is not None:
            self._say(b"-ERR MULTI calls can not be nested\r\n")
        else:
            self._queue, self._queued = [], 0
            self._writes = self._dirty = False
            self._say(replies.OK)

    def _discard(self, words: Words) -> None:
        if self._queue is None:
            self._say(b"-ERR DISCARD without MULTI\r\n")
        else:
            self._forget()
            self._say(replies.OK)

    def _forget(self) -> None:
        self._queue, self._watched = None, {}

    def _exec(self, words: Words) -> None:
        queue, watched, dirty = self._queue, self._watched, self._dirty
        if queue is None:
            self._say(b"-ERR EXEC without MULTI\r\n")
            return
        self._forget()
        if dirty:
            self._say(_ABORTED)
            return
        steps: list[Step] = queue
        if self._stats.prefixes.watched:
            steps = list(self._detailed(queue))
        arguments = (watched, steps, self._settings.max_reply)
        render = partial(replies.executed, steps, self._version)
        step: Step = (redis_operations.execute, b"", arguments, render)
        reads_only = not self._writes and len(steps) <= MOST_STEPS
        if not watched:
            self._steps.append(step)
            self._reads_only = self._reads_only and reads_only
            return
        self._run_alone(step, reads_only)

    def _run_alone(self, step: Step, reads_only: bool = True) -> None:
        size = self._submit()
        self._stats.resp_commands += 1
        if self._pipeline is not None:
            (screened,) = self._screened([step])
            self._pipeline.run_alone(screened, size, reads_only)

    def _watch(self, words: Words) -> None:
        keys = words[1:]
        if self._queue is not None:
            self._say(b"-ERR WATCH inside MULTI is not allowed\r\n")
        elif len(self._watched) + len(keys) > MOST_WATCHED:
            self._say(b"-ERR too many keys are watched\r\n")
        else:
            commands.check_keys(keys)
            seen = self._watched
            for key in keys:
                seen.setdefault(key, replies.UNSEEN)
            reply = partial(replies.watched, seen, keys)
            self._take((redis_operations.watch, keys[0], (keys,), reply), False, words)

    def _unwatch(self, words: Words) -> None:
        if self._queue is None:
            self._watched = {}
            self._say(replies.OK)
        else:
            # It is of no use there, and Redis says no more of it.
            self._take(say(replies.OK), False, words)

    def _reset(self, words: Words) -> None:
        self._log_out()
        self._forget()
        self._version, self._name = 2, b""
        self._say(b"+RESET\r\n")

    # Logging in

    def _auth(self, words: Words) -> None:
        if len(words) > 3:
            raise commands.SYNTAX
        name = words[1] if len(words) == 3 else _DEFAULT
        if self._services.users is not None:
            self._enter(name, words[-1], lambda: self._say(replies.OK))
        elif len(words) == 2:
            self._say(_NO_USERS)
        elif name != _DEFAULT:
            # As Redis without users: there is one, who has no password.
            raise _WRONG_PASS
        else:
            self._say(replies.OK)

    def _enter(self, name: bytes, password: bytes, enter: Callable[[], None]) -> None:
        """Call `enter` if somebody is who he says, where anybody is asked."""

        def known(right: bool) -> None:
            if right:
                enter()
            else:
                self._say(_WRONG_PASS.wire)

        self._log_in(name, password, known)

    def _hello(self, words: Words) -> None:
        """`HELLO [2|3 [AUTH NAME PASSWORD] [SETNAME NAME]]`."""
        version = self._version
        if len(words) > 1:
            number = redis_operations.integer_in(words[1])
            if number is None:
                raise CommandError(b"ERR Protocol version is not an integer or out of range")
            if number not in (2, 3):
                raise CommandError(b"NOPROTO unsupported protocol version")
            version = number
        self._take_options(iter(words[2:]), version)

    def _take_options(self, rest: "Iterator[bytes]", version: int) -> None:
        """
        What stands behind HELLO's version, in its order: what has been done before something that
        is wrong stays done (networking.c, helloCommand).
        """
        for option in rest:
            count = _HELLO_OPTIONS.get(option.upper(), 0)
            values = list(islice(rest, count))
            if not count or len(values) < count:
                raise CommandError(b"ERR Syntax error in HELLO option '%b'" % option[:128])
            if count == 1:
                self._name = _name_in(values[0])
            elif self._services.users is not None:
                go_on = partial(self._guard, self._take_options, rest, version)
                self._enter(values[0], values[1], go_on)
                return
            elif values[0] != _DEFAULT:
                raise _WRONG_PASS
        if self._rights is None:
            raise _HELLO_FIRST
        self._version = version
        self._say(self._introduction())

    def _introduction(self) -> bytes:
        bulk, number = replies.bulk, replies.number
        return replies.mapping(
            self._version,
            [
                *(bulk(b"server"), bulk(b"redis")),
                *(bulk(b"version"), bulk(reports.REDIS_VERSION)),
                *(bulk(b"proto"), number(self._version)),
                *(bulk(b"id"), number(self._number)),
                *(bulk(b"mode"), bulk(b"standalone")),
                *(bulk(b"role"), bulk(b"master")),
                *(bulk(b"modules"), b"*0\r\n"),
            ],
        )

    # What lists keys

    def _scan(self, words: Words) -> None:
        self._find(listing.scan(self._storage, words))

    def _keys(self, words: Words) -> None:
        self._find(listing.keys(self._storage, words[1], self._settings.max_reply))

    def _random_key(self, words: Words) -> None:
        self._find(listing.random_key(self._storage, randrange, self._version))

    def _find(self, search: listing.Search) -> None:
        if self._restricted:
            self._say(replies.NO_PERMISSION)
        elif not self._settings.dump_enabled:
            self._say(_NOT_ALLOWED)
        else:
            size = self._submit()
            self._stats.resp_commands += 1
            if self._pipeline is not None:
                self._pipeline.run_pieces(listing.Found(search), size)

    # The server and the connection, as answers in their turn

    def _flush(self, words: Words, limits: Limits) -> Unbound:
        if len(words) > 2 or (len(words) == 2 and words[1].upper() not in (b"SYNC", b"ASYNC")):
            raise commands.SYNTAX
        if not self._settings.flush_enabled:
            return say(_NOT_ALLOWED)
        return operations.flush, b"", (0,), replies.flushed

    def _info(self, words: Words, limits: Limits) -> Unbound:
        return operations.counts, b"", (), reports.info(words[1:])

    def _time(self, words: Words, limits: Limits) -> Unbound:
        seconds, micros = divmod(int(self._stats.seconds() * 1_000_000), 1_000_000)
        return say(replies.array([replies.bulk(b"%d" % part) for part in (seconds, micros)]))

    def _show_commands(self, words: Words, limits: Limits) -> Unbound:
        part = words[1].upper() if len(words) > 1 else b"INFO"
        if part == b"COUNT":
            return say(replies.number(len(COMMANDS)))
        if part == b"LIST":
            return say(replies.array([replies.bulk(each.name) for each in COMMANDS.values()]))
        if part == b"DOCS":
            return say(commands.docs(self._version, words[2 : 2 + MOST_NAMED]))
        return say(commands.infos(self._version, words[2 : 2 + MOST_NAMED]))

    def _config(self, words: Words, limits: Limits) -> Unbound:
        patterns = [word for word in words[2 : 2 + MOST_NAMED] if len(word) <= MOST_NAME]
        limit = self._stats.of_store().get("limit_maxbytes", 0)
        known = reports.configuration(limits.item, limit)
        return say(reports.config_get(self._version, known, patterns))

    def _client(self, words: Words, limits: Limits) -> Unbound:
        return say(_CLIENT[words[1].upper()](self, words))

    def _set_name(self, words: Words) -> bytes:
        self._name = _name_in(words[2])
        return replies.OK

    def _get_name(self, words: Words) -> bytes:
        return replies.bulk(self._name) if self._name else replies.NULL[self._version]

    def _get_number(self, words: Words) -> bytes:
        return replies.number(self._number)

    def _set_info(self, words: Words) -> bytes:
        """CLIENT SETINFO, of Redis 7.2: what library it is, in which nobody here is interested."""
        option, value = words[2].upper(), words[3]
        if option not in (b"LIB-NAME", b"LIB-VER"):
            return replies.error(b"ERR Unrecognized option '%b'" % words[2][:128])
        if not _is_name(value):
            text = b"ERR %b cannot contain spaces, newlines or special characters."
            return replies.error(text % words[2].lower())
        return replies.OK


#: What is never queued by MULTI.
_AT_ONCE: "dict[bytes, Callable[[RespProtocol, Words], None]]" = {
    b"MULTI": RespProtocol._multi,
    b"EXEC": RespProtocol._exec,
    b"DISCARD": RespProtocol._discard,
    b"WATCH": RespProtocol._watch,
    b"UNWATCH": RespProtocol._unwatch,
    b"RESET": RespProtocol._reset,
}

#: What cannot be part of a transaction. In Redis it can, and it is of no use there.
_BY_ITSELF: "dict[bytes, Callable[[RespProtocol, Words], None]]" = {
    b"AUTH": RespProtocol._auth,
    b"HELLO": RespProtocol._hello,
    b"SCAN": RespProtocol._scan,
    b"KEYS": RespProtocol._keys,
    b"RANDOMKEY": RespProtocol._random_key,
}

#: The commands whose steps are made here, for they need to know the connection or the server.
_OTHERS: "dict[bytes, Callable[[RespProtocol, Words, Limits], Unbound]]" = {
    b"FLUSHDB": RespProtocol._flush,
    b"FLUSHALL": RespProtocol._flush,
    b"INFO": RespProtocol._info,
    b"TIME": RespProtocol._time,
    b"COMMAND": RespProtocol._show_commands,
    b"CONFIG": RespProtocol._config,
    b"CLIENT": RespProtocol._client,
}

#: What answers behind CLIENT.
_CLIENT: "dict[bytes, Callable[[RespProtocol, Words], bytes]]" = {
    b"SETNAME": RespProtocol._set_name,
    b"GETNAME": RespProtocol._get_name,
    b"SETINFO": RespProtocol._set_info,
    b"ID": RespProtocol._get_number,
}
