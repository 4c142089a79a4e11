"""
memcached's binary protocol on a connection.

What a read has brought is cut into frames by the lengths in their headers. Where a length is
wrong the place of the next frame is not known, so the answer is followed by a hang-up. A value
that is too large is let go as it comes, and nothing of it kept.

Who logs in is found out elsewhere and takes its time; what is behind waits unread until then.
"""

from functools import partial
from typing import Any, Callable, Optional

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mctwist import operations
from mctwist.interfaces import Step
from mctwist.item import KEY_LENGTH
from mctwist.protocols import binary_replies as replies
from mctwist.protocols import frames, statistics
from mctwist.protocols.binary_replies import (
    GO_ON,
    INVALID,
    MISSING,
    NO_MEMORY,
    UNAUTHORIZED,
    UNKNOWN_COMMAND,
    Error,
)
from mctwist.protocols.connection import Connection
from mctwist.protocols.frames import HEADER, MAGIC, Head
from mctwist.protocols.pending import Pending
from mctwist.protocols.services import Services

#: The largest value of a SASL command, and the longest name of a mechanism (proto_bin.c).
MOST_CREDENTIALS = 16 * 1024
MOST_MECHANISM = 32

_HEADER_SIZE = HEADER.size
_unpack = HEADER.unpack_from

_PLAIN = b"PLAIN"
#: What is answered to somebody who has not logged in (proto_bin.c, authenticated).
_OPEN = frozenset({frames.SASL_LIST, frames.SASL_AUTH, frames.SASL_STEP, frames.VERSION})


class BinaryProtocol(Connection, Protocol):
    """One connection that speaks memcached's binary protocol."""

    def __init__(self, services: Services, lost: Callable[[Any], None]) -> None:
        super().__init__(services, lost)
        self._pending = Pending()
        self._mechanism = False  # one has been chosen, and its data are awaited

    # What a dialect adds

    @property
    def state(self) -> str:
        pending = self._pending
        if not self._closed and pending.skipped:
            return "conn_swallow"
        if not self._closed and pending and pending.needed > _HEADER_SIZE:
            return "conn_nread"
        return super().state

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._pending.clear()
        super().connectionLost(reason)

    def _parse(self, data: bytes) -> None:
        whole = self._pending.join(data)
        if whole is not None:
            self._frames_received(whole)
            self._submit()

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        opcode, opaque = step[3].args[:2]  # type: ignore[attr-defined]  # of a partial
        return replies.failure(opcode, opaque, replies.fault(self._stats, fault))

    # Frames

    def _frames_received(self, data: bytes) -> None:
        start, size = 0, len(data)
        gets = frames.GETS if self._rights is not None else {}
        steps = self._steps
        pending = self._pending
        pending.needed = _HEADER_SIZE
        while size - start >= _HEADER_SIZE:
            magic, opcode, key_size, extras_size, _, _, body, opaque, cas = _unpack(data, start)
            if magic != MAGIC:
                self.finish("error")
                return
            # The most frequent commands of all are taken here, and not through the tables.
            render = gets.get(opcode)
            if render is not None and extras_size == 0 and 0 < key_size == body <= KEY_LENGTH:
                end = start + _HEADER_SIZE + body
                if end > size:
                    pending.needed = _HEADER_SIZE + body
                    break
                key = data[start + _HEADER_SIZE : end]
                steps.append((operations.fetch, key, (), partial(render, opcode, opaque)))
                start = end
                continue
            error = self._error_of(opcode, extras_size, key_size, body)
            if error is not None:
                self._fail(opcode, opaque, error)
                self.finish("error")
                return
            extras_start = start + _HEADER_SIZE
            shape = frames.SHAPES.get(opcode)
            if shape is None:
                # memcached skips the body twice, and loses its place (proto_bin.c:1074).
                self._fail(opcode, opaque, UNKNOWN_COMMAND)
                start = pending.let_go(extras_start + body, size)
                continue
            key_start = extras_start + extras_size
            value_start = key_start + key_size
            if value_start > size:
                pending.needed = value_start - start
                break
            length = body - extras_size - key_size
            extras, key = data[extras_start:key_start], data[key_start:value_start]
            head = Head(opcode, opaque, cas, extras, key, length)
            end = value_start + length
            if shape.valued and self._let_go(head):
                start = pending.let_go(end, size)
                continue
            if end > size:
                pending.needed = end - start
                break
            self._take(head, data[value_start:end])
            start = end
            if self._asking:
                self._behind.append(data[start:])
                return
            if self._closed:
                return
            # What runs by itself has had those before it run; and who was known may be no more.
            steps = self._steps
            gets = frames.GETS if self._rights is not None else {}
        if start < size:
            pending.keep(data[start:])

    def _error_of(self, opcode: int, extras: int, key: int, body: int) -> Optional[Error]:
        """What is so wrong with a frame, by its header, that none can be behind it."""
        if extras + key > body:
            return UNKNOWN_COMMAND
        if body > frames.MOST_BODY:
            return INVALID
        if self._rights is None and opcode not in _OPEN:
            return UNAUTHORIZED
        shape = frames.SHAPES.get(opcode)
        if key > KEY_LENGTH or (shape and not shape.fits(extras, key, body - extras - key)):
            return INVALID
        return None

    def _let_go(self, head: Head) -> bool:
        """Answer a value that is not to be taken, for it is too large or means nothing here."""
        if head.opcode in _SASL:
            if self._services.users is None:
                error = UNKNOWN_COMMAND
            elif len(head.key) > MOST_MECHANISM:
                error = INVALID
            elif head.length > MOST_CREDENTIALS:
                error = NO_MEMORY
            else:
                return False
            self._fail(head.opcode, head.opaque, error)
            return True
        step = frames.refusal(head, self._settings.max_item_size)
        if step is None:
            return False
        self._steps.append(step)
        self._reads_only = False
        return True

    def _take(self, head: Head, value: bytes) -> None:
        command = frames.COMMANDS.get(head.opcode)
        if command is None:
            _OTHERS[head.opcode](self, head, value)
            return
        make = command[1]
        self._steps.append(make(head, value, self._storage.now, self._settings.max_item_size))
        if head.opcode not in frames.READS:
            self._reads_only = False

    def _say(self, answer: bytes) -> None:
        self._steps.append(frames.say(answer))

    def _fail(self, opcode: int, opaque: int, error: Error) -> None:
        self._say(replies.failure(opcode, opaque, error))

    # What is no step of the store's, or not always

    def _quit(self, head: Head, value: bytes) -> None:
        if head.opcode == frames.QUIT:
            self._say(replies.frame(head.opcode, head.opaque))
        self.finish()

    def _flush(self, head: Head, value: bytes) -> None:
        opcode, opaque = head.opcode, head.opaque
        if not self._settings.flush_enabled:
            self._fail(opcode, opaque, UNAUTHORIZED)
            return
        render = partial(replies.flushed(opcode == frames.FLUSHQ), opcode, opaque)
        deadline = frames.deadline_of(head.extras, self._storage.now)
        self._steps.append((operations.flush, b"", (deadline,), render))
        self._reads_only = False

    def _stat(self, head: Head, value: bytes) -> None:
        key = head.key
        if not key:
            self._show(head, statistics.general)
        elif key in statistics.REPORTS:
            self._show(head, statistics.REPORTS[key])
        elif key.startswith(b"settings"):
            told = self._settings.shown()
            self._show(head, lambda stats, *_: statistics.settings(stats, told))
        elif self._restricted and key.startswith((b"reset", b"detail")):
            self._fail(head.opcode, head.opaque, UNAUTHORIZED)
        elif key.startswith(b"reset"):
            self._switch(head, statistics.reset)
        elif key.startswith(b"detail") and self._settings.dump_enabled:
            self._detail(head, key[len(b"detail") :])
        else:
            self._fail(head.opcode, head.opaque, MISSING)

    def _detail(self, head: Head, what: bytes) -> None:
        if what.startswith(b" dump"):
            self._report(partial(replies.detail_dump, head.opcode, head.opaque))
        elif what.startswith(b" on"):
            self._stats.prefixes.watched = True
            self._switch(head, statistics.detail_on)
        elif what.startswith(b" off"):
            self._switch(head, statistics.detail_off)
        else:
            self._fail(head.opcode, head.opaque, MISSING)

    def _show(self, head: Head, report: statistics.Report) -> None:
        self._report(partial(replies.reported, head.opcode, head.opaque, report))

    def _switch(self, head: Head, switch: Callable[[Any, bytes, bytes], bytes]) -> None:
        done = replies.frame(head.opcode, head.opaque)
        self._steps.append((operations.constant, b"", (done,), switch))

    # Logging in

    def _list_mechanisms(self, head: Head, value: bytes) -> None:
        if self._services.users is None:
            self._fail(head.opcode, head.opaque, UNKNOWN_COMMAND)
        else:
            self._log_out()
            self._say(replies.frame(head.opcode, head.opaque, _PLAIN))

    def _authenticate(self, head: Head, value: bytes) -> None:
        """SASL's PLAIN (RFC 4616): `[who to be] NUL name NUL password`, at once or in a step."""
        opcode, opaque, _, _, mechanism, _ = head
        begun, self._mechanism = self._mechanism, False
        # Who begins anew is nobody until it is known who he is (proto_bin.c:691).
        self._log_out()
        words = value.split(b"\0")
        if self._services.users is None:
            self._fail(opcode, opaque, UNKNOWN_COMMAND)
        elif mechanism != _PLAIN or (opcode == frames.SASL_STEP and not begun):
            self._known(opcode, opaque, self._count_login(None))
        elif not value and opcode == frames.SASL_AUTH:
            self._mechanism = True
            self._fail(opcode, opaque, GO_ON)
        elif len(words) != 3:
            self._known(opcode, opaque, self._count_login(None))
        else:
            self._log_in(words[1], words[2], partial(self._known, opcode, opaque))

    def _known(self, opcode: int, opaque: int, known: bool) -> None:
        if known:
            self._say(replies.frame(opcode, opaque, b"Authenticated"))
        else:
            self._fail(opcode, opaque, UNAUTHORIZED)


_SASL = frozenset({frames.SASL_AUTH, frames.SASL_STEP})

#: The commands that are not in `frames.COMMANDS`.
_OTHERS: dict[int, Callable[[BinaryProtocol, Head, bytes], None]] = {
    **dict.fromkeys((frames.QUIT, frames.QUITQ), BinaryProtocol._quit),
    **dict.fromkeys((frames.FLUSH, frames.FLUSHQ), BinaryProtocol._flush),
    frames.STAT: BinaryProtocol._stat,
    frames.SASL_LIST: BinaryProtocol._list_mechanisms,
    **dict.fromkeys(_SASL, BinaryProtocol._authenticate),
}
