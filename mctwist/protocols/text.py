"""
memcached's text protocol on a connection, as a LineReceiver.

A line is a command; a storage command is followed by the bytes of its value. Everything complete
in what was read is parsed in one pass into steps, which go to the pipeline as one list. Only a
value that has not arrived whole switches the receiver to raw mode, in which its bytes are
collected, or let go when the command was refused, without being looked at.

LineReceiver's own loop is replaced, because it copies the rest of the buffer for every line,
which is quadratic under pipelining; its modes and its hooks are kept. Lines end at `\\n`; a `\\r`
before it is not part of the line (proto_parser.c:174-184).
"""

import re
from collections.abc import Mapping
from typing import Any, Callable, Optional

from attrs import field, frozen
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from mctwist import operations
from mctwist.interfaces import MOST_BYTES, MOST_STEPS, IStorage, Render, Step
from mctwist.item import KEY_LENGTH
from mctwist.protocols import classic, replies, statistics, tuning
from mctwist.protocols.classic import TooLarge, Upload
from mctwist.protocols.grammar import BAD_FORMAT, ClientError
from mctwist.protocols.pipeline import CLOSE_TIMEOUT, MOST_WAITING, Pipeline
from mctwist.stats import MOST_PREFIX_BYTES, MOST_PREFIXES, VERSION, Stats

#: A line with no end in sight is cut off here (proto_text.c:363-391) ...
MOST_LINE = 2048
#: ... but for a get of many keys, which memcached lets grow for ever.
MOST_GET_LINE = 1 << 20

_CR = 13
# memcached looks past so many spaces, and no more (proto_text.c:372-378).
_LONG_GET = re.compile(rb" {0,100}gets? ").match
_ONE_KEY = re.compile(rb"[^ ]{1,%d}\Z" % KEY_LENGTH).match


@frozen
class TextSettings:
    """
    What of the server's options the text protocol goes by.

    :ivar max_item_size: bytes, as memcached counts an item.
    :ivar flush_enabled: flush_all is allowed.
    :ivar shutdown: called by the command of that name; None: it is not allowed.
    :ivar dump_enabled: what lists keys, or parts of them, is allowed.
    :ivar set_verbosity: called with 0, 1 or 2.
    :ivar set_limit: called with the bytes that the store may hold from now on.
    :ivar told: what else the server was told, by the name that `stats settings` has for it.
    :ivar tuned: the same, set by clients while it runs; see `tuning`.
    """

    max_item_size: int = 1 << 20
    flush_enabled: bool = True
    shutdown: Optional[Callable[[], None]] = None
    dump_enabled: bool = True
    set_verbosity: Callable[[int], None] = lambda level: None
    set_limit: Callable[[int], None] = lambda size: None
    told: Mapping[str, object] = {}
    tuned: dict[str, object] = field(factory=dict)


@implementer(IHalfCloseableProtocol)
class TextProtocol(LineReceiver):
    """
    One connection that speaks memcached's text protocol.

    :param reactor: IReactorTime.
    :param lost: called with the connection when it is gone.
    :ivar last_command: seconds since the epoch.
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
        self.last_command: float = reactor.seconds()
        self._pipeline: Optional[Pipeline] = None
        self._steps: list[Step] = []
        self._reads_only = True
        self._received = 0
        self._partial: list[bytes] = []  # a line whose end has not come
        self._partial_size = 0
        self._chunks: list[bytes] = []  # a value that has not come whole
        self._missing = 0  # bytes of it, or of what is let go
        self._upload: Optional[Upload] = None  # what it is for; None: it is let go
        self._closed = False

    # What Twisted calls

    def connectionMade(self) -> None:
        self._pipeline = Pipeline(
            self.transport, self._storage, self._stats, self._spell, self._reactor
        )

    def connectionLost(self, reason: Optional[Failure] = None) -> None:
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.lost()
        # The pipeline and this refer to each other, and the collector seldom comes.
        self._pipeline = None
        self._steps, self._chunks, self._partial = [], [], []
        self._lost(self)

    def readConnectionLost(self) -> None:
        """The peer has sent all it will; it is still owed its answers."""
        self.finish()

    def writeConnectionLost(self) -> None:
        """Nothing: the loss of the connection follows."""

    def dataReceived(self, data: bytes) -> None:
        if self._closed:
            return
        self._received += len(data)
        if self.line_mode:
            self._lines_received(data)
        else:
            self.rawDataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """One command without a value, as LineReceiver would hand it over."""
        self._command(line, len(line) < 2, b"", 0)
        self._submit()

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes of the value that is missing some, and perhaps more behind them."""
        missing = self._missing
        upload = self._upload
        if len(data) < missing:
            self._missing -= len(data)
            if upload is not None:
                self._chunks.append(data)
            return
        if upload is not None:
            self._chunks.append(data[:missing])
            value = b"".join(self._chunks)
            self._chunks = []
            self._complete(upload, value[:-2], value[-2:])
        self._missing = 0
        self._upload = None
        self.line_mode = 1
        self._lines_received(data[missing:])

    @property
    def state(self) -> str:
        """What the connection is at, in memcached's words (memcached.c, state_text)."""
        if self._closed or self._pipeline is None:
            return "conn_closing"
        if not self.line_mode:
            return "conn_swallow" if self._upload is None else "conn_nread"
        return self._pipeline.state

    def finish(self) -> None:
        """Take no more commands, answer those that were taken, and close."""
        self._submit()
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.close()

    # Lines

    def _lines_received(self, data: bytes) -> None:
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

    def _check_partial(self) -> None:
        """Close a connection whose line does not end (proto_text.c:363-391)."""
        if self._partial_size <= MOST_LINE:
            return
        if len(self._partial[0]) < 128:
            self._partial = [b"".join(self._partial)]
        if self._partial_size <= MOST_GET_LINE and _LONG_GET(self._partial[0]):
            return
        self._partial = []
        self.finish()

    def _submit(self) -> None:
        self._stats.bytes_read += self._received
        self.last_command = self._reactor.seconds()
        if self._steps and self._pipeline is not None:
            steps, self._steps = self._steps, []
            if self._stats.prefixes.watched:
                steps = replies.detailed(steps)
            reads_only, self._reads_only = self._reads_only, True
            self._pipeline.run(steps, reads_only, self._received)
        self._received = 0

    # Commands

    def _command(self, line: bytes, short: bool, data: bytes, start: int) -> int:
        """
        Take one line.

        :param short: with its end it has under four bytes, the fewest of a command.
        :param data: where a value would begin, at `start`.
        :return: where the next line begins in `data`; -1: nowhere.
        """
        words = line.split(b" ")
        verb = words[0]
        if b"" in words:
            words = [word for word in words if word]
        quiet = False
        try:
            if verb in classic.STORAGE:
                return self._store(words, data, start)
            if short:
                raise BAD_FORMAT
            change = classic.CHANGES.get(verb)
            if change is not None:
                fewest, parse = change
                if len(words) < fewest:
                    raise BAD_FORMAT
                quiet = words[-1] == b"noreply"
                self._write(parse(words, self._storage.now), quiet)
            elif verb in _COMMANDS:
                _COMMANDS[verb](self, words)
            else:
                quiet = words[-1:] == [b"noreply"]
                # Only these may stand behind spaces: memcached looks for them last, by word.
                _ADMIN.get(words[0] if words else b"", TextProtocol._unknown)(self, words, quiet)
        except ClientError as error:
            # The errors are made once and raised often; a traceback would keep what was read.
            error.__traceback__ = None
            self._say(error.wire, quiet)
        return -1 if self._closed else start

    def _store(self, words: list[bytes], data: bytes, start: int) -> int:
        """A storage command, and its value where it has come; as `_command`."""
        length = classic.length_of(words)
        quiet = words[-1] == b"noreply"
        upload = None
        try:
            limit = self._settings.max_item_size
            upload = classic.upload(words, length, quiet, self._storage.now, limit)
        except ClientError as error:
            error.__traceback__ = None
            self._say(error.wire, quiet)
        except TooLarge as error:
            self._steps.append(error.step)
            self._reads_only = False
        end = start + length
        if end + 2 > len(data):
            self._missing = end + 2 - len(data)
            self._upload = upload
            if upload is not None and start < len(data):
                self._chunks = [data[start:]]
            self.setRawMode()
            return -1
        # The value is here whole: no need to go through raw mode.
        if upload is not None:
            self._complete(upload, data[start:end], data[end : end + 2])
        return end + 2

    def _complete(self, upload: Upload, value: bytes, end: bytes) -> None:
        """The value of a storage command has come, with the two bytes behind it."""
        if end == b"\r\n":
            self._reads_only = False
            self._steps.append(upload.step(value))
        else:
            quiet = replies.is_silent(upload.render)
            render = replies.SILENT[replies.spoiled] if quiet else replies.spoiled
            self._steps.append((operations.constant, upload.key, (_BAD_CHUNK,), render))

    def _write(self, step: Step, quiet: bool) -> None:
        """A step that writes."""
        operation, key, arguments, render = step
        self._reads_only = False
        self._steps.append((operation, key, arguments, replies.SILENT[render] if quiet else render))

    def _say(self, answer: bytes, quiet: bool = False) -> None:
        if not quiet:
            self._steps.append(classic.say(answer))

    def _get(self, words: list[bytes], render: Render, last: Render) -> None:
        self._steps += classic.get(words, render, last)

    def _get_and_touch(self, words: list[bytes], render: Render, last: Render) -> None:
        self._steps += classic.get_and_touch(words, self._storage.now, render, last)
        self._reads_only = False

    def _show_stats(self, words: list[bytes]) -> None:
        if len(words) == 1:
            self._report(_GENERAL)
            return
        # memcached compares as many letters of these as were sent (proto_text.c:528-588).
        for name, show in _STATS.items():
            if name.startswith(words[1]):
                show(self, words)
                return
        render = statistics.REPORTS.get(words[1])
        if render is None:
            self._say(replies.ERROR)
        else:
            self._report(render)

    def _report(self, render: Render) -> None:
        self._steps.append((operations.counts, b"", (), render))
        if self._pipeline is not None:
            self._pipeline.reports = True

    def _reset_stats(self, words: list[bytes]) -> None:
        self._steps.append((operations.constant, b"", (b"RESET\r\n",), statistics.reset))

    def _show_settings(self, words: list[bytes]) -> None:
        settings = self._settings
        told = {
            "item_size_max": settings.max_item_size,
            "flush_enabled": statistics.yes(settings.flush_enabled),
            "dump_enabled": statistics.yes(settings.dump_enabled),
            "shutdown_command": statistics.yes(settings.shutdown is not None),
            **settings.told,
            **settings.tuned,
            **_BOUNDS,
        }
        self._report(statistics.rendered(lambda stats, *_: statistics.settings(stats, told)))

    def _show_connections(self, words: list[bytes]) -> None:
        self._report(statistics.rendered(lambda stats, *_: statistics.conns(stats, self)))

    def _detail_stats(self, words: list[bytes]) -> None:
        if not self._settings.dump_enabled:
            raise _NO_DETAIL
        what = words[2] if len(words) > 2 else b"?"
        if b"on".startswith(what):
            self._stats.prefixes.watched = True
            self._steps.append((operations.constant, b"", (replies.OK,), statistics.detail_on))
        elif b"off".startswith(what):
            self._steps.append((operations.constant, b"", (replies.OK,), statistics.detail_off))
        elif b"dump".startswith(what):
            self._report(statistics.detail_dump)
        else:
            raise _DETAIL_USAGE

    def _show_version(self, words: list[bytes]) -> None:
        self._say(b"VERSION %b\r\n" % VERSION.encode())

    def _quit(self, words: list[bytes]) -> None:
        self.finish()

    def _flush_all(self, words: list[bytes], quiet: bool) -> None:
        try:
            if not self._settings.flush_enabled:
                raise _NO_FLUSH
            self._write(classic.flush_all(words, quiet, self._storage.now), quiet)
        except ClientError as error:
            error.__traceback__ = None
            render = replies.SILENT[replies.not_flushed] if quiet else replies.not_flushed
            self._steps.append((operations.constant, b"", (error.wire,), render))

    def _tune(self, words: list[bytes], quiet: bool) -> None:
        self._say(tuning.VERBS[words[0]](self._settings, words), quiet)

    def _shutdown(self, words: list[bytes], quiet: bool) -> None:
        shutdown = self._settings.shutdown
        if shutdown is None:
            self._say(b"SERVER_ERROR: shutdown not enabled\r\n", quiet)
        elif len(words) == 1 or words[1:] == [b"graceful"]:
            self.finish()
            shutdown()
        else:
            raise ClientError(b"invalid shutdown mode")

    def _unknown(self, words: list[bytes], quiet: bool) -> None:
        if len(words) > 1 and words[-1].startswith(b"HTTP/"):
            # A browser, or somebody who makes one send this: nothing of it is run.
            self.finish()
        else:
            self._say(replies.ERROR, quiet)

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        if step[3] in replies.UNFINISHED:
            return None
        answer = replies.fault(self._stats, fault)
        return b"" if replies.is_silent(step[3]) else answer


_BAD_CHUNK = b"CLIENT_ERROR bad data chunk\r\n"
_NO_FLUSH = ClientError(b"flush_all not allowed")
_NO_DETAIL = ClientError(b"stats detail not allowed")
_DETAIL_USAGE = ClientError(b"usage: stats detail on|off|dump")
_GENERAL = statistics.rendered(statistics.general)

#: What a client can make grow, and how far: shown by `stats settings`.
_BOUNDS: dict[str, object] = {
    "most_key": KEY_LENGTH,
    "most_line": MOST_LINE,
    "most_get_line": MOST_GET_LINE,
    "most_waiting": MOST_WAITING,
    "instalment_steps": MOST_STEPS,
    "instalment_bytes": MOST_BYTES,
    "close_timeout": int(CLOSE_TIMEOUT),
    "most_prefixes": MOST_PREFIXES,
    "most_prefix_bytes": MOST_PREFIX_BYTES,
}

_COMMANDS: dict[bytes, Callable[[TextProtocol, list[bytes]], None]] = {
    b"get": lambda self, words: self._get(words, replies.value, replies.last_value),
    b"gets": lambda self, words: self._get(
        words, replies.value_and_cas, replies.last_value_and_cas
    ),
    b"gat": lambda self, words: self._get_and_touch(
        words, replies.touched_value, replies.last_touched_value
    ),
    b"gats": lambda self, words: self._get_and_touch(
        words, replies.touched_value_and_cas, replies.last_touched_value_and_cas
    ),
    b"stats": TextProtocol._show_stats,
    b"version": TextProtocol._show_version,
    b"quit": TextProtocol._quit,
}

_ADMIN: dict[bytes, Callable[[TextProtocol, list[bytes], bool], None]] = {
    b"flush_all": TextProtocol._flush_all,
    b"shutdown": TextProtocol._shutdown,
    **dict.fromkeys(tuning.VERBS, TextProtocol._tune),
}

#: What may stand behind `stats`, in the order in which memcached looks.
_STATS: dict[bytes, Callable[[TextProtocol, list[bytes]], None]] = {
    b"reset": TextProtocol._reset_stats,
    b"detail": TextProtocol._detail_stats,
    b"settings": TextProtocol._show_settings,
    b"conns": TextProtocol._show_connections,
    b"extstore": lambda self, words: self._report(statistics.rendered(statistics.extstore)),
}
