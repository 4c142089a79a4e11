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

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable, Optional

from attrs import field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from mctwist import meta_operations, operations
from mctwist.interfaces import MOST_BYTES, MOST_STEPS, IStorage, Render, Step
from mctwist.item import KEY_LENGTH
from mctwist.protocols import (
    classic,
    listing,
    meta,
    meta_replies,
    replies,
    statistics,
    tuning,
)
from mctwist.protocols.classic import TooLarge, Upload
from mctwist.protocols.grammar import BAD_FORMAT, ClientError, PlainError
from mctwist.protocols.listing import MOST_CACHEDUMP, Crawler, Listing
from mctwist.protocols.pipeline import CLOSE_TIMEOUT, MOST_WAITING, Pipeline
from mctwist.stats import MOST_PREFIX_BYTES, MOST_PREFIXES, VERSION, Stats
from mctwist.watch import Peer, Watcher, Watchers, kinds_of

#: A line with no end in sight is cut off here (proto_text.c:363-391) ...
MOST_LINE = 2048
#: ... but for a get of many keys, which memcached lets grow for ever.
MOST_GET_LINE = 1 << 20
#: A get longer than this is not taken apart at once.
LONG_GET = 1 << 16

# What arrives in smaller pieces is put together as it comes: a piece costs 40 bytes of its own.
_SMALL = 4096

_CR = 13
# memcached looks past so many spaces, and no more (proto_text.c:372-378).
_LONG_GET = re.compile(rb" {0,100}gets? ").match
_ONE_KEY = re.compile(rb"[^ ]{1,%d}\Z" % KEY_LENGTH).match
_ONE_KEY_AND_V = re.compile(rb"[^ ]{1,%d} v\Z" % KEY_LENGTH).match


@frozen
class TextSettings:
    """
    What of the server's options the text protocol goes by.

    :ivar max_item_size: bytes, as memcached counts an item.
    :ivar flush_enabled: flush_all and flush_prefix are allowed; :ivar watch_enabled: watch is.
    :ivar shutdown: called by the command of that name; None: it is not allowed.
    :ivar dump_enabled: what lists keys, or parts of them, is allowed.
    :ivar refresh_certs: reads the certificates of TLS anew; returns what is wrong with them, if
        something is. None: there is no TLS.
    :ivar set_verbosity: called with 0, 1 or 2.
    :ivar set_limit: called with the bytes that the store may hold from now on; returns whether
        that can be.
    :ivar told: what else the server was told, by the name that `stats settings` has for it.
    :ivar tuned: the same, set by clients while it runs; see `tuning`.
    :ivar crawler: whose turn it is to dump.
    """

    max_item_size: int = 1 << 20
    flush_enabled: bool = True
    watch_enabled: bool = True
    shutdown: Optional[Callable[[], None]] = None
    dump_enabled: bool = True
    refresh_certs: Optional[Callable[[], Optional[str]]] = None
    set_verbosity: Callable[[int], None] = lambda level: None
    set_limit: Callable[[int], bool] = lambda size: True
    told: Mapping[str, object] = {}
    tuned: dict[str, object] = field(factory=dict)
    crawler: Crawler = field(factory=Crawler)


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
        watchers: Watchers,
        reactor: Any,
        lost: Callable[[Any], None],
    ) -> None:
        self._lost = lost
        self._storage = storage
        self._stats = stats
        self._settings = settings
        self._watchers = watchers
        self._reactor = reactor
        self._pipeline: Optional[Pipeline] = None
        self._steps: list[Step] = []
        self._reads_only = True
        self._received = 0
        self._partial: list[Any] = []  # a line whose end has not come
        self._partial_size = 0
        self._chunks: list[Any] = []  # a value that has not come whole
        self._missing = 0  # bytes of it, or of what is let go
        self._upload: Optional[Upload] = None  # what it is for; None: it is let go
        self._closed = False
        self._heard = False  # since that was last asked for
        self._watcher: Optional[Watcher] = None
        self._reason: Optional[str] = None  # for which it was closed, in memcached's words

    # What Twisted calls

    def connectionMade(self) -> None:
        self._pipeline = Pipeline(
            self.transport, self._storage, self._stats, self._spell, self._watchers, self._reactor
        )
        if self._watchers.active:
            self._watchers.arrived(self._peer())

    def connectionLost(self, reason: Optional[Failure] = None) -> None:
        self._closed = True
        self._watch_no_more()
        if self._watchers.active and self._pipeline is not None:
            done = reason is not None and reason.check(ConnectionDone)
            self._watchers.left(self._peer(), self._reason or ("normal" if done else "error"))
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
        self._heard = True
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
                _keep(self._chunks, data)
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

    # What the listening side asks of a connection

    @property
    def state(self) -> str:
        """What the connection is at, in memcached's words (memcached.c, state_text)."""
        if self._watcher is not None:
            return "conn_watch"
        if self._closed or self._pipeline is None:
            return "conn_closing"
        if not self.line_mode:
            return "conn_swallow" if self._upload is None else "conn_nread"
        return self._pipeline.state

    def finish(self, reason: str = "normal", lingering: bool = False) -> None:
        """
        Take no more commands, answer those that were taken, and close.

        :param reason: `error`, `normal`, `idle_timeout` or `shutdown`, for those who watch.
        :param lingering: as of `Pipeline.close`.
        """
        self._submit()
        self._closed = True
        self._reason = self._reason or reason
        self._watch_no_more()
        if self._pipeline is not None:
            self._pipeline.close(lingering)

    def leave(self) -> None:
        """Close what has been left open for the peer's goodbye."""
        if self._pipeline is not None:
            self._pipeline.leave()

    def heard(self) -> bool:
        """Whether anything has come from the peer since this was last asked."""
        heard, self._heard = self._heard, False
        return heard

    def owes(self) -> bool:
        """Whether the peer waits for something: an answer, or events."""
        pipeline = self._pipeline
        return self._watcher is not None or (pipeline is not None and pipeline.owes())

    # Lines

    def _lines_received(self, data: bytes) -> None:
        if self._partial:
            _keep(self._partial, data)
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
            # The most frequent commands of all, a get of one key and its meta form, are taken
            # here: through the tables they cost 0.7 us more, a fifth of the whole.
            if line[:4] == b"get " and _ONE_KEY(line, 4):
                steps.append((operations.fetch, line[4:], (), replies.last_value))
                continue
            if line[:3] == b"mg ":
                if line[-2:] == b" v" and _ONE_KEY_AND_V(line, 3):
                    steps.append((meta_operations.look, line[3:-2], (), meta_replies.value))
                    continue
                step = meta.plain_get(line)
                if step is not None:
                    steps.append(step)
                    continue
            start = self._command(line, short, data, start)
            if start < 0:
                # Raw mode has the rest, or the connection is being closed.
                self._submit()
                return
            # What runs by itself has had those before it run.
            steps = self._steps
        if start < size:
            _keep(self._partial, data[start:])
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
        self.finish("error")

    def _submit(self) -> int:
        """Run what has been parsed; return the bytes of input that no step of it stands for."""
        received, self._received = self._received, 0
        self._stats.bytes_read += received
        if self._steps and self._pipeline is not None:
            steps, self._steps = self._steps, []
            if self._stats.prefixes.watched:
                steps = list(replies.detailed(steps))
            reads_only, self._reads_only = self._reads_only, True
            self._pipeline.run(steps, reads_only, received)
            return 0
        return received

    # Commands

    def _command(self, line: bytes, short: bool, data: bytes, start: int) -> int:
        """
        Take one line.

        :param short: with its end it has under four bytes, the fewest of a command.
        :param data: where a value would begin, at `start`.
        :return: where the next line begins in `data`; -1: nowhere.
        """
        if len(line) > LONG_GET:
            verb, _, _ = line.partition(b" ")
            if verb in _GETS:
                self._long_get(line, verb)
                return start
            if not verb:
                self._say(replies.ERROR)
                return start
        words = line.split(b" ")
        verb = words[0]
        if b"" in words:
            words = [word for word in words if word]
        quiet = False
        try:
            if verb in _UPLOADS:
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
        length_of, parse = _UPLOADS[words[0]]
        length = length_of(words)
        quiet = words[-1] == b"noreply" and parse is classic.upload
        upload = None
        try:
            limit = self._settings.max_item_size
            upload = parse(words, length, quiet, self._storage.now, limit)
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
                _keep(self._chunks, data[start:])
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

    def _long_get(self, line: bytes, verb: bytes) -> None:
        """A get of so many keys that they are taken from the line only when their turn comes."""
        try:
            steps = classic.long_get(line, len(verb), *_GETS[verb])
            if self._stats.prefixes.watched:
                steps = replies.detailed(steps)
        except ClientError as error:
            error.__traceback__ = None
            self._say(error.wire)
            return
        self._submit()
        if self._pipeline is not None:
            self._pipeline.run(steps, True, len(line))

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
        # By itself: a thousand in one instalment would be a hundred megabytes, with a thousand
        # connections to report on.
        size = self._submit()
        if self._pipeline is not None:
            self._pipeline.run_alone((operations.counts, b"", (), render), size)

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

    def _show_items(self, words: list[bytes]) -> None:
        self._list(
            listing.cachedump(
                words, self._settings.dump_enabled, self._storage.walk, self._stats.seconds
            )
        )

    def _list(self, answer: Listing) -> None:
        size = self._submit()
        if self._pipeline is not None:
            self._pipeline.run_pieces(answer, size)

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

    def _watch(self, words: list[bytes]) -> None:
        if not self._settings.watch_enabled:
            raise ClientError(b"watch commands not allowed")
        kinds = kinds_of(words[1:])
        if self._steps:
            self._say(b"ERROR cannot pipeline other commands before watch\r\n")
        elif kinds is None:
            self._say(replies.ERROR)
        elif self._watchers.full:
            self._say(b"WATCHER_TOO_MANY log watcher limit reached\r\n")
        elif self._pipeline is not None:
            # Nothing that it sends from here on is a command.
            self._closed = True
            watcher = self._watcher = Watcher(kinds, self._pipeline.announce)

            def begin(stats: Any, key: bytes, answer: bytes) -> bytes:
                # Its turn has come: what is answered before it is not told to it.
                if self._watcher is watcher:
                    self._watchers.add(watcher)
                return answer

            self._steps.append((operations.constant, b"", (replies.OK,), begin))

    def _flush(self, words: list[bytes], quiet: bool) -> None:
        try:
            if not self._settings.flush_enabled:
                raise ClientError(b"%b not allowed" % words[0])
            if words[0] == b"flush_all":
                step = classic.flush_all(words, quiet, self._storage.now)
            else:
                step = classic.flush_prefix(words, quiet)
            self._write(step, quiet)
        except ClientError as error:
            error.__traceback__ = None
            render = replies.SILENT[replies.not_flushed] if quiet else replies.not_flushed
            self._steps.append((operations.constant, b"", (error.wire,), render))

    def _tune(self, words: list[bytes], quiet: bool) -> None:
        self._say(tuning.VERBS[words[0]](self._settings, words), quiet)

    def _crawl(self, words: list[bytes], quiet: bool) -> None:
        dump = listing.dump_of(words)
        if dump is None:
            self._tune(words, quiet)
            return
        settings = self._settings
        tuning.check_crawler(settings)
        if not settings.dump_enabled:
            raise dump.refusal
        if self._steps:
            raise PlainError(b"cannot pipeline other commands before " + dump.name)
        walk = None
        if tuning.means_all(words[2]):
            walk = partial(self._storage.walk, *words[3:])
        seconds, crawler = self._stats.seconds, settings.crawler
        self._list(Listing(walk, dump.spell, seconds, replies.OK, dump.last, crawler))

    def _shutdown(self, words: list[bytes], quiet: bool) -> None:
        shutdown = self._settings.shutdown
        if shutdown is None:
            self._say(b"SERVER_ERROR: shutdown not enabled\r\n", quiet)
        elif len(words) == 1 or words[1:] == [b"graceful"]:
            self.finish("shutdown")
            shutdown()
        else:
            raise ClientError(b"invalid shutdown mode")

    def _refresh_certs(self, words: list[bytes], quiet: bool) -> None:
        refresh = self._settings.refresh_certs
        if refresh is None:
            self._unknown(words, quiet)
            return
        fault = refresh()
        if fault is None:
            self._say(replies.OK, quiet)
        else:
            # In the bare, and in spite of noreply, as memcached says it (write_and_free).
            self._say(os.fsencode(fault) + b"\r\n")

    def _unknown(self, words: list[bytes], quiet: bool) -> None:
        if len(words) > 1 and words[-1].startswith(b"HTTP/"):
            # A browser, or somebody who makes one send this: nothing of it is run.
            self.finish("error")
        else:
            self._say(replies.ERROR, quiet)

    def _watch_no_more(self) -> None:
        if self._watcher is not None:
            self._watchers.remove(self._watcher)
            self._watcher = None

    def _peer(self) -> Peer:
        """The peer, as events name it."""
        assert self._pipeline is not None
        assert self.transport is not None
        address = self.transport.getPeer()
        number = self._pipeline.number
        if isinstance(address, (IPv4Address, IPv6Address)):
            return Peer(address.host, address.port, "tcp", number)
        return Peer("unix", 0, "local", number)

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        if step[3] in replies.UNFINISHED:
            return None
        answer = replies.fault(self._stats, fault)
        return b"" if replies.is_silent(step[3]) else answer


_BAD_CHUNK = b"CLIENT_ERROR bad data chunk\r\n"
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
    "most_cachedump": MOST_CACHEDUMP,
    "most_prefixes": MOST_PREFIXES,
    "most_prefix_bytes": MOST_PREFIX_BYTES,
}

_GETS = {
    b"get": (replies.value, replies.last_value),
    b"gets": (replies.value_and_cas, replies.last_value_and_cas),
}

#: The commands that a value follows: how its length is found, and what is to be done with it.
_UPLOADS: dict[bytes, tuple[Callable[[list[bytes]], int], Callable[..., Upload]]] = {
    **dict.fromkeys(classic.STORAGE, (classic.length_of, classic.upload)),
    b"ms": (meta.length_of, meta.upload),
}

_COMMANDS: dict[bytes, Callable[[TextProtocol, list[bytes]], None]] = {
    b"get": lambda self, words: self._get(words, *_GETS[b"get"]),
    b"gets": lambda self, words: self._get(words, *_GETS[b"gets"]),
    b"gat": lambda self, words: self._get_and_touch(
        words, replies.touched_value, replies.last_touched_value
    ),
    b"gats": lambda self, words: self._get_and_touch(
        words, replies.touched_value_and_cas, replies.last_touched_value_and_cas
    ),
    b"mg": lambda self, words: self._steps.append(meta.get(words)),
    b"md": lambda self, words: self._write(meta.delete(words), False),
    b"ma": lambda self, words: self._write(meta.count(words), False),
    b"me": lambda self, words: self._steps.append(meta.inspect(words)),
    b"mn": lambda self, words: self._say(meta_replies.NO_OPERATION),
    b"stats": TextProtocol._show_stats,
    b"version": TextProtocol._show_version,
    b"quit": TextProtocol._quit,
    b"watch": TextProtocol._watch,
}

_ADMIN: dict[bytes, Callable[[TextProtocol, list[bytes], bool], None]] = {
    b"flush_all": TextProtocol._flush,
    b"flush_prefix": TextProtocol._flush,
    b"shutdown": TextProtocol._shutdown,
    b"refresh_certs": TextProtocol._refresh_certs,
    **dict.fromkeys(tuning.VERBS, TextProtocol._tune),
    b"lru_crawler": TextProtocol._crawl,
}

#: What may stand behind `stats`, in the order in which memcached looks.
_STATS: dict[bytes, Callable[[TextProtocol, list[bytes]], None]] = {
    b"reset": TextProtocol._reset_stats,
    b"detail": TextProtocol._detail_stats,
    b"settings": TextProtocol._show_settings,
    b"cachedump": TextProtocol._show_items,
    b"conns": TextProtocol._show_connections,
    b"extstore": lambda self, words: self._report(statistics.rendered(statistics.extstore)),
}


def _keep(pieces: list[Any], piece: bytes) -> None:
    """Add `piece` to what has not come whole."""
    if len(piece) >= _SMALL:
        pieces.append(piece)
    elif pieces and type(pieces[-1]) is bytearray:
        pieces[-1] += piece
    else:
        pieces.append(bytearray(piece))
