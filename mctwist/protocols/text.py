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
from collections.abc import Iterable
from functools import partial
from typing import Any, Callable, Optional

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from mctwist import meta_operations, operations
from mctwist.interfaces import Render, Step
from mctwist.item import KEY_LENGTH
from mctwist.protocols import (
    classic,
    listing,
    meta,
    meta_replies,
    ranges,
    records,
    replies,
    statistics,
    tuning,
)
from mctwist.protocols.classic import TooLarge, Upload
from mctwist.protocols.connection import Connection
from mctwist.protocols.grammar import (
    BAD_FORMAT,
    MOST_GET_LINE,
    MOST_LINE,
    NOT_PERMITTED,
    ClientError,
    PlainError,
)
from mctwist.protocols.introduction import Credentials, HangUp, introduction
from mctwist.protocols.listing import Listing
from mctwist.protocols.pending import keep
from mctwist.protocols.pipeline import Wait
from mctwist.protocols.services import Services
from mctwist.stats import VERSION
from mctwist.watch import Watcher, kinds_of

#: A get longer than this is not taken apart at once.
LONG_GET = 1 << 16

_CR = 13
# memcached looks past so many spaces, and no more (proto_text.c:372-378).
_LONG_GET = re.compile(rb" {0,100}gets? ").match
_ONE_KEY = re.compile(rb"[^ ]{1,%d}\Z" % KEY_LENGTH).match
_ONE_KEY_AND_V = re.compile(rb"[^ ]{1,%d} v\Z" % KEY_LENGTH).match


class TextProtocol(Connection, LineReceiver):
    """One connection that speaks memcached's text protocol."""

    delimiter = b"\n"
    MAX_LENGTH = MOST_GET_LINE

    def __init__(self, services: Services, lost: Callable[[Any], None]) -> None:
        super().__init__(services, lost)
        self._partial: list[Any] = []  # a line whose end has not come
        self._partial_size = 0
        self._chunks: list[Any] = []  # a value that has not come whole
        self._missing = 0  # bytes of it, or of what is let go
        self._upload: Optional[Upload] = None  # what it is for; None: it is let go
        self._watcher: Optional[Watcher] = None

    # What Twisted calls

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._watch_no_more()
        self._chunks, self._partial = [], []
        super().connectionLost(reason)

    def _parse(self, data: bytes) -> None:
        if self._rights is None:
            self._introduce(data)
        elif self.line_mode:
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
                keep(self._chunks, data)
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
        if self._watcher is not None:
            return "conn_watch"
        if not self.line_mode and not self._closed:
            return "conn_swallow" if self._upload is None else "conn_nread"
        return super().state

    def finish(self, reason: str = "normal", lingering: bool = False) -> None:
        self._watch_no_more()
        super().finish(reason, lingering)

    def owes(self) -> bool:
        return self._watcher is not None or super().owes()

    # Lines

    def _lines_received(self, data: bytes) -> None:
        if self._partial:
            keep(self._partial, data)
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
            keep(self._partial, data[start:])
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

    # Logging in

    def _introduce(self, data: bytes) -> None:
        """Who somebody is, who has not said so yet."""
        if self._partial:
            keep(self._partial, data)
            data, self._partial = b"".join(self._partial), []
        try:
            while True:
                said = introduction(data)
                if said is None:
                    break
                answer, start = said
                data = data[start:]
                if isinstance(answer, Credentials):
                    self._behind.append(data)
                    self._log_in(answer.name, answer.password, self._welcome)
                    return
                self._say(answer.wire)
        except HangUp:
            self.finish("error")
            return
        if data:
            keep(self._partial, data)
        self._submit()

    def _welcome(self, known: bool) -> None:
        self._say(b"STORED\r\n" if known else _AUTHENTICATION_FAILURE)

    def _check_rights(self) -> None:
        """For what reaches beyond the keys of a user, or changes the server."""
        if self._restricted:
            raise NOT_PERMITTED

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
                keep(self._chunks, data[start:])
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
            self._steps.append((operations.constant, upload.key, (replies.BAD_CHUNK,), render))

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
        except ClientError as error:
            error.__traceback__ = None
            self._say(error.wire)
            return
        self._submit()
        if self._pipeline is not None:
            self._pipeline.run(self._screened(steps), True, len(line))

    def _get_and_touch(self, words: list[bytes], render: Render, last: Render) -> None:
        self._steps += classic.get_and_touch(words, self._storage.now, render, last)
        self._reads_only = False

    def _read_range(self, words: list[bytes]) -> None:
        asked = ranges.read(words)
        if asked.wait:
            self._wait(asked)
        else:
            self._steps.append(asked.step)

    def _pop_range(self, words: list[bytes]) -> None:
        asked = ranges.pop(words)
        if asked.wait:
            self._wait(asked)
        else:
            self._write(asked.step, False)

    def _wait(self, asked: ranges.Asked) -> None:
        """A command that waits for what it asks for, and what is behind it for that."""
        size = self._submit()
        if self._pipeline is not None:
            (step,) = self._screened([asked.step])
            _, start, (end, *_), _ = asked.step
            wait = Wait(step, start, end, asked.consumes, asked.wait, ranges.fruitless)
            self._pipeline.run_waiting(wait, size)

    def _show_stats(self, words: list[bytes]) -> None:
        if len(words) == 1:
            self._report(_GENERAL)
            return
        # memcached compares as many letters of these as were sent (proto_text.c:528-588).
        for name, show in _STATS.items():
            if name.startswith(words[1]):
                show(self, words)
                return
        report = statistics.REPORTS.get(words[1])
        if words[1] == b"hot":
            self._show_hot_keys()
        elif report is None:
            self._say(replies.ERROR)
        else:
            self._report(statistics.rendered(report))

    def _reset_stats(self, words: list[bytes]) -> None:
        self._check_rights()
        self._steps.append((operations.constant, b"", (b"RESET\r\n",), statistics.reset))

    def _show_settings(self, words: list[bytes]) -> None:
        told = self._settings.shown()
        self._report(statistics.rendered(lambda stats, *_: statistics.settings(stats, told)))

    def _show_items(self, words: list[bytes]) -> None:
        self._check_rights()
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
        self._check_rights()
        self._report(statistics.rendered(lambda stats, *_: statistics.conns(stats, self.transport)))

    def _show_hot_keys(self) -> None:
        self._check_rights()
        if not self._settings.dump_enabled:
            raise _NO_HOT
        hottest = self._watchers.hottest
        self._report(lambda *_: statistics.lines(statistics.hot(hottest())))

    def _detail_stats(self, words: list[bytes]) -> None:
        self._check_rights()
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
        self._check_rights()
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
        self._check_rights()
        self._say(tuning.VERBS[words[0]](self._settings, words), quiet)

    def _crawl(self, words: list[bytes], quiet: bool) -> None:
        self._check_rights()
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
            prefix = words[3] if len(words) > 3 else b""
            walk = partial(self._storage.walk, prefix, dump.whole)
        seconds, crawler = self._stats.seconds, settings.crawler
        self._list(Listing(walk, dump.spell, seconds, replies.OK, dump.last, crawler))

    def _shutdown(self, words: list[bytes], quiet: bool) -> None:
        self._check_rights()
        shutdown = self._settings.shutdown
        if shutdown is None:
            self._say(b"SERVER_ERROR: shutdown not enabled\r\n", quiet)
        elif len(words) == 1 or words[1:] == [b"graceful"]:
            self.finish("shutdown")
            shutdown()
        else:
            raise ClientError(b"invalid shutdown mode")

    def _refresh_certs(self, words: list[bytes], quiet: bool) -> None:
        self._check_rights()
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

    def _detailed(self, steps: Iterable[Step]) -> Iterable[Step]:
        return replies.detailed(steps)

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        if step[3] in replies.UNFINISHED:
            return None
        answer = replies.fault(self._stats, fault)
        return b"" if replies.is_silent(step[3]) else answer


_AUTHENTICATION_FAILURE = b"CLIENT_ERROR authentication failure\r\n"
_NO_HOT = ClientError(b"stats hot not allowed")
_NO_DETAIL = ClientError(b"stats detail not allowed")
_DETAIL_USAGE = ClientError(b"usage: stats detail on|off|dump")
_GENERAL = statistics.rendered(statistics.general)

_GETS = {
    b"get": (replies.value, replies.last_value),
    b"gets": (replies.value_and_cas, replies.last_value_and_cas),
}

#: The commands that a value follows: how its length is found, and what is to be done with it.
_UPLOADS: dict[bytes, tuple[Callable[[list[bytes]], int], Callable[..., Upload]]] = {
    **dict.fromkeys(classic.STORAGE, (classic.length_of, classic.upload)),
    b"ms": (meta.length_of, meta.upload),
    b"mi": (meta.length_of, records.upload),
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
    b"mr": TextProtocol._read_range,
    b"mp": TextProtocol._pop_range,
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
