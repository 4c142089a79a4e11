"""
The classic text protocol (memcached's doc/protocol.txt), as a LineReceiver.

A line is a command; a storage command is followed by the bytes of its value. Everything complete
in what was read is parsed in one pass into steps, which go to the pipeline as one list. Only a
value that has not arrived whole switches the receiver to raw mode, in which its bytes are
collected, or let go when the command was refused, without being looked at.

LineReceiver's own loop is replaced, because it copies the rest of the buffer for every line,
which is quadratic under pipelining; its modes and its hooks are kept. Lines end at `\\n`; a `\\r`
before it is not part of the line (proto_parser.c:174-184).
"""

import re
from typing import Any, Callable, Optional

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from mctwist import operations
from mctwist.interfaces import IStorage, Operation, Render, Step
from mctwist.item import KEY_LENGTH, size_in_memcached
from mctwist.protocols import replies
from mctwist.protocols.grammar import (
    BAD_FORMAT,
    INVALID_DELTA,
    INVALID_EXPTIME,
    ClientError,
    lax_exptime,
    lax_flags,
    signed32,
    unsigned,
)
from mctwist.protocols.pipeline import Pipeline
from mctwist.stats import VERSION, Stats

#: A line with no end in sight is cut off here (proto_text.c:363-391) ...
MOST_LINE = 2048
#: ... but for a get of many keys, which memcached lets grow for ever.
MOST_GET_LINE = 1 << 20

#: The largest length a line may announce (proto_parser.c: INT_MAX - 2).
_MOST_LENGTH = (1 << 31) - 3

_CR = 13
_ONE_KEY = re.compile(rb"[^ ]{1,%d}\Z" % KEY_LENGTH).match

#: A storage command without its value.
_Pending = tuple[Operation, bytes, tuple[Any, ...], Render]


@frozen
class TextSettings:
    """
    What of the server's options the text protocol goes by.

    :ivar max_item_size: bytes, as memcached counts an item.
    :ivar flush_enabled: flush_all is allowed.
    :ivar shutdown: called by the command of that name; None: it is not allowed.
    :ivar set_verbosity: called with 0, 1 or 2.
    """

    max_item_size: int = 1 << 20
    flush_enabled: bool = True
    shutdown: Optional[Callable[[], None]] = None
    set_verbosity: Callable[[int], None] = lambda level: None


@implementer(IHalfCloseableProtocol)
class TextProtocol(LineReceiver):
    """
    One connection that speaks memcached's text protocol.

    :param reactor: IReactorTime.
    :param lost: called with the connection when it is gone.
    """

    delimiter = b"\n"
    MAX_LENGTH = MOST_GET_LINE

    def __init__(
        self,
        storage: IStorage,
        stats: Stats,
        settings: TextSettings,
        reactor: Any,
        lost: Callable[[Any], None],
    ) -> None:
        self._lost = lost
        self._storage = storage
        self._stats = stats
        self._settings = settings
        self._reactor = reactor
        self._pipeline: Optional[Pipeline] = None
        self._steps: list[Step] = []
        self._reads_only = True
        self._received = 0
        self._partial: list[bytes] = []  # a line whose end has not come
        self._partial_size = 0
        self._chunks: list[bytes] = []  # a value that has not come whole
        self._missing = 0  # bytes of it, or of what is let go
        self._pending: Optional[_Pending] = None  # what it is for; None: it is let go
        self._closed = False

    def connectionMade(self) -> None:
        self._pipeline = Pipeline(
            self.transport, self._storage, self._stats, self._spell, self._reactor
        )

    def connectionLost(self, reason: Optional[Failure] = None) -> None:
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.lost()
        self._lost(self)

    def readConnectionLost(self) -> None:
        """The peer has sent all it will; it is still owed its answers."""
        self.finish()

    def writeConnectionLost(self) -> None:
        """Nothing: the loss of the connection follows."""

    def finish(self) -> None:
        """Take no more commands, answer those that were taken, and close."""
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.close()

    def dataReceived(self, data: bytes) -> None:
        if self._closed:
            return
        self._received += len(data)
        if not self.line_mode:
            self.rawDataReceived(data)
        else:
            self._linesReceived(data)

    def _linesReceived(self, data: bytes) -> None:
        if self._partial:
            self._partial.append(data)
            self._partial_size += len(data)
            if b"\n" not in data:
                self._check_partial()
                return
            data = b"".join(self._partial)
            self._partial = []
        start = 0
        size = len(data)
        find = data.find
        steps = self._steps
        while True:
            end = find(b"\n", start)
            if end < 0:
                break
            line = data[start : end - 1] if data[end - 1] == _CR and end else data[start:end]
            short = end - start < 3
            start = end + 1
            # The most frequent command of all, a get of one key, is taken here: through the
            # tables it costs 0.7 us more, a fifth of the whole.
            if line[:4] == b"get " and _ONE_KEY(line, 4):
                steps.append((operations.fetch, line[4:], (), replies.last_value))
                continue
            start = self._command(line, short, data, start)
            if start < 0:
                # Raw mode has the rest, or the connection is being closed.
                self._submit()
                return
        if start < size:
            self._partial = [data[start:]]
            self._partial_size = size - start
            self._check_partial()
        self._submit()

    def lineReceived(self, line: bytes) -> None:
        """One command without a value, as LineReceiver would hand it over."""
        self._command(line, len(line) < 2, b"", 0)
        self._submit()

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes of the value that is missing some, and perhaps more behind them."""
        missing = self._missing
        if len(data) < missing:
            self._missing -= len(data)
            if self._pending is not None:
                self._chunks.append(data)
            return
        rest = data[missing:]
        self._missing = 0
        pending, self._pending = self._pending, None
        if pending is not None:
            self._chunks.append(data[:missing])
            value = b"".join(self._chunks)
            self._chunks = []
            self._complete(pending, value[:-2], value[-2:])
        self.line_mode = 1
        self._linesReceived(rest)

    def _submit(self) -> None:
        steps, self._steps = self._steps, []
        received, self._received = self._received, 0
        self._stats.bytes_read += received
        if steps and self._pipeline is not None:
            reads_only, self._reads_only = self._reads_only, True
            self._pipeline.run(steps, reads_only, received)

    def _check_partial(self) -> None:
        """Close a connection whose line does not end (proto_text.c:363-391)."""
        if self._partial_size <= MOST_LINE:
            return
        if len(self._partial) > 1 and len(self._partial[0]) < 128:
            self._partial = [b"".join(self._partial)]
        begin = self._partial[0][:128].lstrip(b" ")
        if begin.startswith((b"get ", b"gets ")) and self._partial_size <= MOST_GET_LINE:
            return
        self._partial = []
        self._submit()
        self.finish()

    def _command(self, line: bytes, short: bool, data: bytes, start: int) -> int:
        """
        Take one line.

        :param short: with its end it has under four bytes, the fewest of a command.
        :param data: where a value would begin, at `start`.
        :return: where the next line begins in `data`; -1: nowhere.
        """
        try:
            words = line.split(b" ")
            storage = _STORAGE.get(words[0])
            if storage is not None:
                return self._store(words, storage, data, start)
            command = _COMMANDS.get(words[0])
            if command is None:
                return start if self._uncommon(line, short) else -1
            if short:
                raise BAD_FORMAT
            if b"" in words:
                words = [word for word in words if word]
            command(self, words)
        except ClientError as error:
            self._say(error.wire)
        return -1 if self._closed else start

    def _uncommon(self, line: bytes, short: bool) -> bool:
        """
        A command that is rare, or that is none; the admin commands may stand behind spaces.

        :return: whether the connection goes on.
        """
        if short:
            raise BAD_FORMAT
        words = [word for word in line.split(b" ") if word]
        quiet = words[-1:] == [b"noreply"]
        admin = _ADMIN.get(words[0]) if words else None
        try:
            if admin is not None:
                admin(self, words, quiet)
            elif len(words) > 1 and words[-1].startswith(b"HTTP/"):
                self._submit()
                self.finish()
            else:
                self._say(replies.ERROR, quiet)
        except ClientError as error:
            self._say(error.wire, quiet)
        return not self._closed

    def _say(self, answer: bytes, quiet: bool = False) -> None:
        """An answer that needs no store, in its turn."""
        if not quiet:
            self._steps.append((operations.constant, b"", (answer,), replies.line))

    def _get(self, words: list[bytes], render: Render, last: Render) -> None:
        if len(words) == 2 and len(words[1]) <= KEY_LENGTH:
            self._steps.append((operations.fetch, words[1], (), last))
            return
        self._each(words[1:], operations.fetch, (), render, last)

    def _gat(self, words: list[bytes], render: Render, last: Render) -> None:
        if len(words) < 3:
            raise BAD_FORMAT
        expiry = self._expiry(signed32(words[1], INVALID_EXPTIME))
        self._each(words[2:], operations.fetch_and_touch, (expiry,), render, last)
        self._reads_only = False

    def _each(
        self,
        keys: list[bytes],
        operation: Operation,
        arguments: tuple[Any, ...],
        render: Render,
        last: Render,
    ) -> None:
        # One key that is too long replaces the whole answer (proto_text.c:411-427).
        if not keys or max(map(len, keys)) > KEY_LENGTH:
            raise BAD_FORMAT
        final = keys.pop()
        self._steps += [(operation, key, arguments, render) for key in keys]
        self._steps.append((operation, final, arguments, last))

    def _store(
        self, words: list[bytes], storage: tuple[Operation, str], data: bytes, start: int
    ) -> int:
        """A storage command, and its value where it has come; as `_command`."""
        if b"" in words:
            words = [word for word in words if word]
        count = len(words)
        if count < 5:
            raise BAD_FORMAT
        length = signed32(words[4], BAD_FORMAT)
        if not 0 <= length <= _MOST_LENGTH:
            # The length means nothing, so nothing is swallowed (proto_parser.c:130-137).
            raise BAD_FORMAT
        quiet = count > 5 and words[-1] == b"noreply"
        try:
            pending = self._storage_step(words, storage, length, quiet)
        except ClientError as error:
            self._say(error.wire, quiet)
            pending = None
        end = start + length
        if end + 2 > len(data):
            self._missing = end + 2 - len(data)
            self._pending = pending
            if pending is not None and start < len(data):
                self._chunks = [data[start:]]
            self.setRawMode()
            return -1
        # The value is here whole: no need to go through raw mode.
        if pending is not None:
            self._complete(pending, data[start:end], data[end : end + 2])
        return end + 2

    def _storage_step(
        self, words: list[bytes], storage: tuple[Operation, str], length: int, quiet: bool
    ) -> Optional[_Pending]:
        """What to do with the value when it is whole; None: it is refused."""
        operation, kind = storage
        key = words[1]
        if len(key) > KEY_LENGTH:
            raise BAD_FORMAT
        flags = lax_flags(words[2])
        exptime = lax_exptime(words[3])
        expiry = self._expiry(exptime) if exptime else 0
        render: Render = replies.stored
        arguments: tuple[Any, ...]
        if kind == "set":
            arguments = (flags, expiry)
        elif kind == "append":
            arguments = (self._settings.max_item_size,)
        else:
            render = replies.swapped
            if len(words) < 6:
                raise BAD_FORMAT
            arguments = (flags, expiry, unsigned(words[5], 64, BAD_FORMAT))
        if size_in_memcached(key, length, flags) > self._settings.max_item_size:
            self._refuse(operation, key, quiet)
            return None
        return operation, key, arguments, replies.SILENT[render] if quiet else render

    def _complete(self, pending: _Pending, value: bytes, end: bytes) -> None:
        """The value of a storage command has come, with the two bytes behind it."""
        operation, key, arguments, render = pending
        if end == b"\r\n":
            self._reads_only = False
            self._steps.append((operation, key, (value, *arguments), render))
        else:
            self._stats.set_commands += 1
            self._say(b"CLIENT_ERROR bad data chunk\r\n", replies.is_silent(render))

    def _refuse(self, operation: Operation, key: bytes, quiet: bool) -> None:
        """A value that is too large; of a set, the old one goes too (proto_parser.c:804-811)."""
        if operation is operations.store:
            render = replies.SILENT[replies.dropped] if quiet else replies.dropped
            self._reads_only = False
            self._steps.append((operations.delete, key, (), render))
        else:
            self._stats.store_too_large += 1
            self._say(replies.TOO_LARGE, quiet)

    def _delete(self, words: list[bytes]) -> None:
        self._change(words, 2, operations.delete, (), replies.deleted)

    def _touch(self, words: list[bytes]) -> None:
        quiet = self._checked(words, 3)
        try:
            expiry = self._expiry(signed32(words[2], INVALID_EXPTIME))
        except ClientError as error:
            self._say(error.wire, quiet)
        else:
            self._change(words, 3, operations.touch, (expiry,), replies.touched)

    def _increment(self, words: list[bytes], operation: Operation, render: Render) -> None:
        quiet = self._checked(words, 3)
        try:
            delta = unsigned(words[2], 64, INVALID_DELTA)
        except ClientError as error:
            self._say(error.wire, quiet)
        else:
            self._change(words, 3, operation, (delta,), render)

    def _checked(self, words: list[bytes], fewest: int) -> bool:
        """Whether a command that changes one key asks for no reply."""
        if len(words) < fewest:
            raise BAD_FORMAT
        return words[-1] == b"noreply"

    def _change(
        self,
        words: list[bytes],
        fewest: int,
        operation: Operation,
        arguments: tuple[Any, ...],
        render: Render,
    ) -> None:
        quiet = self._checked(words, fewest)
        key = words[1]
        if len(key) > KEY_LENGTH:
            self._say(BAD_FORMAT.wire, quiet)
            return
        self._reads_only = False
        self._steps.append((operation, key, arguments, replies.SILENT[render] if quiet else render))

    def _stats_command(self, words: list[bytes]) -> None:
        if len(words) == 1:
            self._steps.append((operations.counts, b"", (), replies.general_stats))
        else:
            self._say(replies.ERROR)

    def _version(self, words: list[bytes]) -> None:
        self._say(b"VERSION %b\r\n" % VERSION.encode())

    def _quit(self, words: list[bytes]) -> None:
        self._submit()
        self.finish()

    def _flush_all(self, words: list[bytes], quiet: bool) -> None:
        if not self._settings.flush_enabled:
            self._stats.flush_commands += 1
            raise ClientError(b"flush_all not allowed")
        delay = 0
        if len(words) != (2 if quiet else 1):
            delay = signed32(words[1], INVALID_EXPTIME)
        deadline = self._expiry(delay) if delay > 0 else 0
        self._reads_only = False
        render = replies.SILENT[replies.flushed] if quiet else replies.flushed
        self._steps.append((operations.flush, b"", (deadline,), render))

    def _verbosity(self, words: list[bytes], quiet: bool) -> None:
        if len(words) < 2:
            raise BAD_FORMAT
        self._settings.set_verbosity(min(unsigned(words[1], 32, BAD_FORMAT), 2))
        self._say(replies.OK, quiet)

    def _shutdown(self, words: list[bytes], quiet: bool) -> None:
        shutdown = self._settings.shutdown
        if shutdown is None:
            self._say(b"SERVER_ERROR: shutdown not enabled\r\n", quiet)
        elif len(words) == 1 or words[1:] == [b"graceful"]:
            self._submit()
            self.finish()
            shutdown()
        else:
            raise ClientError(b"invalid shutdown mode")

    def _expiry(self, exptime: int) -> int:
        return operations.expiry_of(exptime, int(self._reactor.seconds() * 1000))

    def _spell(self, step: Step, fault: Exception) -> bytes:
        answer = replies.fault(self._stats, fault)
        return b"" if replies.is_silent(step[3]) else answer


_last_with_cas = replies.closing(replies.value_and_cas)
_last_touched = replies.closing(replies.touched_value)
_last_touched_with_cas = replies.closing(replies.touched_value_and_cas)

#: Commands that are followed by a value, and what else they are given.
_STORAGE: dict[bytes, tuple[Operation, str]] = {
    b"set": (operations.store, "set"),
    b"add": (operations.add, "set"),
    b"replace": (operations.replace, "set"),
    b"append": (operations.append, "append"),
    b"prepend": (operations.prepend, "append"),
    b"cas": (operations.compare_and_swap, "cas"),
}

#: Commands that must begin the line.
_COMMANDS: dict[bytes, Callable[[TextProtocol, list[bytes]], None]] = {
    b"get": lambda self, words: self._get(words, replies.value, replies.last_value),
    b"gets": lambda self, words: self._get(words, replies.value_and_cas, _last_with_cas),
    b"gat": lambda self, words: self._gat(words, replies.touched_value, _last_touched),
    b"gats": lambda self, words: self._gat(
        words, replies.touched_value_and_cas, _last_touched_with_cas
    ),
    b"incr": lambda self, words: self._increment(words, operations.increment, replies.incremented),
    b"decr": lambda self, words: self._increment(words, operations.decrement, replies.decremented),
    b"delete": TextProtocol._delete,
    b"touch": TextProtocol._touch,
    b"stats": TextProtocol._stats_command,
    b"version": TextProtocol._version,
    b"quit": TextProtocol._quit,
}

#: Commands that memcached looks for only when the line is none of the above.
_ADMIN: dict[bytes, Callable[[TextProtocol, list[bytes], bool], None]] = {
    b"flush_all": TextProtocol._flush_all,
    b"verbosity": TextProtocol._verbosity,
    b"shutdown": TextProtocol._shutdown,
}
