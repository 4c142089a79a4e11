"""
A storage for huey: its queue, schedule, results, locks and counters in mctwist.

    huey = Huey("shop", storage_class=MctwistStorage, host="127.0.0.1", port=11211)

Each entry is an item of its own, under keys that begin with `huey.NAME.` and a letter:

    q  the queue: the priority, highest first, and the number of the push
    s  the schedule: the moment, and the number of the push
    r  results, locks, and what else huey keeps under a key
    c  counters
    a  slips, by which a push or a pop is done once however often it is sent

All but results are kept: mctwist never evicts them.

The rule: who does not know whether something was done does not do it again. Pushes and pops go by
slips (docs/extensions.md, Ranges), so that a server may be killed at any moment, and what it has
acknowledged is handed out once. A pop that has failed for good leaves its slip to the next, which
is answered what the first one was not. Only `incr` has nothing of the kind; it fails.
"""

import math
import re
import struct
import time
import uuid
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from random import getrandbits
from typing import Any, BinaryIO, NamedTuple, Optional, Union
from urllib.parse import quote

from huey.constants import EmptyData  # type: ignore[import-untyped]  # it has no types
from huey.storage import BaseStorage  # type: ignore[import-untyped]
from pymemcache.exceptions import MemcacheServerError  # type: ignore[import-untyped]

from mctwist.client import LOST, block, line
from mctwist.contrib.connections import Connections

#: The longest key, with all that is before it.
KEY_LENGTH = 250

Key = Union[bytes, str]

# What one command returns or removes, and what it counts.
_PAGE = 1000
_COUNTED = 10_000
# Keys that are peeked at in one go.
_KEYS = 100

# exptimes above 30 days are moments.
_RELATIVE = 30 * 24 * 60 * 60

_WRAP = 1 << 64
_PLAIN = re.compile(rb"[!-~]+\Z").match
_FIRST_MOMENT = datetime.min
_MICROSECOND = timedelta(microseconds=1)


class Found(NamedTuple):
    """
    What a range command has answered.

    :ivar items: keys and values; :ivar more: there may be more. :ivar number: how many there are.
    """

    items: list[tuple[bytes, bytes]]
    more: bool
    number: int
    last: bytes


class Slip:
    """
    What makes a request one that is done once.

    :ivar number: of the request.
    """

    __slots__ = ("key", "number")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.number = 1


class MctwistStorage(BaseStorage):  # type: ignore[misc]  # it has no types
    """
    :param name: of the queue. Others of the server's have names of their own.
    :param path: of a UNIX socket, instead of `host` and `port`.
    :param user: :param password: who logs in, where the server asks for somebody.
    :param blocking: `dequeue` waits for something to be there, ...
    :param read_timeout: ... for so many seconds.
    :param patience: seconds for which a server is waited for that is being restarted.
    :param timeout: seconds for an answer.
    :param options: as of pymemcache's Client: `tls_context`, `socket_keepalive` and so on.
    """

    priority = True

    def __init__(
        self,
        name: str = "huey",
        host: str = "127.0.0.1",
        port: int = 11211,
        path: Optional[str] = None,
        user: Optional[str] = None,
        password: str = "",
        blocking: bool = True,
        read_timeout: float = 1.0,
        patience: float = 10.0,
        timeout: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(name)
        self.blocking = blocking
        self._read_timeout = read_timeout
        # A dot would be the end of it.
        prefix = b"huey.%b." % quote(name, safe="").replace(".", "%2E").encode()
        if len(prefix) > KEY_LENGTH // 2:
            raise ValueError("the name of the queue is too long")
        self._queue = prefix + b"q."
        self._schedule = prefix + b"s."
        self._results = prefix + b"r."
        self._counters = prefix + b"c."
        self._slips = prefix + b"a."
        login = None if user is None else (user, password)
        options = {"timeout": timeout, "connect_timeout": timeout, "no_delay": True, **options}
        self._connections = Connections(path or (host, port), patience, login, **options)
        self._begin()

    def _begin(self) -> None:
        # A slip is with who asks by it, and lies here meanwhile.
        self._for_queue: deque[Slip] = deque()
        self._for_schedule: deque[Slip] = deque()
        self._for_others: deque[Slip] = deque()

    def close(self) -> None:
        self._connections.close()

    # The queue

    def enqueue(self, data: bytes, priority: Optional[float] = None) -> None:
        self._push(self._queue + _descending(priority or 0), data)

    def dequeue(self) -> Optional[bytes]:
        wait = self._read_timeout if self.blocking else 0.0
        popped = self._pop(self._for_queue, *_under(self._queue), 1, wait)
        return popped.items[0][1] if popped.items else None

    def queue_size(self) -> int:
        return self._count(self._queue)

    def enqueued_items(self, limit: Optional[int] = None) -> list[bytes]:
        return [value for _, value in self._walk(self._queue, limit)]

    def flush_queue(self) -> None:
        self._remove(self._queue)

    # The schedule

    def add_to_schedule(self, data: bytes, ts: datetime) -> None:
        self._push(self._schedule + _moment(ts), data)

    def read_schedule(self, ts: datetime) -> list[bytes]:
        end = self._schedule + _moment(ts, 1)
        due: list[bytes] = []
        more = True
        while more:
            try:
                popped = self._pop(self._for_schedule, self._schedule, end, _PAGE)
            except (*LOST, MemcacheServerError):
                if not due:
                    raise
                # What has been taken out must not be lost; the rest is for the next time.
                break
            due += [value for _, value in popped.items]
            more = popped.more
        return due

    def schedule_size(self) -> int:
        return self._count(self._schedule)

    def scheduled_items(self, limit: Optional[int] = None) -> list[bytes]:
        return [value for _, value in self._walk(self._schedule, limit)]

    def flush_schedule(self) -> None:
        self._remove(self._schedule)

    # Results, and what else there is under a key

    def put_data(self, key: Key, value: bytes, is_result: bool = False) -> None:
        self._store(self._results, key, value, b"" if is_result else b" K")

    def peek_data(self, key: Key) -> Any:
        word, flags = _spelled(self._results, key)
        return self._ask(b"mg %b v%b\r\n" % (word, flags), _value)

    def peek_many(self, keys: Iterable[Key]) -> "dict[Key, bytes]":
        keys = list(keys)
        found: dict[Key, bytes] = {}
        for start in range(0, len(keys), _KEYS):
            some = keys[start : start + _KEYS]
            spelled = [_spelled(self._results, key) for key in some]
            request = b"".join([b"mg %b v%b\r\n" % pair for pair in spelled])
            values = self._ask(request, lambda answers, some=some: [_value(answers) for _ in some])
            pairs = zip(some, values)
            found.update((key, value) for key, value in pairs if value is not EmptyData)
        return found

    def pop_data(self, key: Key) -> Any:
        start = _key(self._results, key)
        popped = self._pop(None, start, start + b"\0", 1)
        return popped.items[0][1] if popped.items else EmptyData

    def delete_data(self, key: Key) -> bool:
        word, flags = _spelled(self._results, key)
        return bool(self._ask(b"md %b%b\r\n" % (word, flags), line) == b"HD")

    def has_data_for_key(self, key: Key) -> bool:
        word, flags = _spelled(self._results, key)
        return bool(self._ask(b"mg %b%b\r\n" % (word, flags), line).startswith(b"HD"))

    def put_if_empty(self, key: Key, value: bytes, ttl: Optional[float] = None) -> bool:
        flags = b" ME K"
        if ttl is not None:
            seconds = max(math.ceil(ttl), 1)
            flags += b" T%d" % (seconds if seconds <= _RELATIVE else int(time.time()) + seconds)
        # By its CAS unique we know our own again, if we have had to ask a second time.
        number = getrandbits(63) + 1
        if self._store(self._results, key, value, b"%b E%d" % (flags, number)):
            return True
        word, flags = _spelled(self._results, key)
        answer = self._ask(b"mg %b c%b\r\n" % (word, flags), line)
        return bool(answer.split(b" ")[1:] == [b"c%d" % number])

    def wait_result(
        self,
        key: Key,
        timeout: Optional[float] = None,
        backoff: float = 1.15,
        max_delay: float = 1.0,
    ) -> bool:
        start = _key(self._results, key)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            wait = max(min(deadline - time.monotonic(), _LONGEST_WAIT), 0.0)
            request = _range(b"mr", start, start + b"\0", 1, b"n" + _waiting(wait))
            if self._ask(request, _found, wait=wait).number:
                return True
            if time.monotonic() >= deadline:
                return False

    def result_store_size(self) -> int:
        return self._count(self._results)

    def result_items(self) -> "dict[str, bytes]":
        length = len(self._results)
        return {
            key[length:].decode("utf-8", "surrogateescape"): value
            for key, value in self._walk(self._results)
        }

    def flush_results(self) -> None:
        self._remove(self._results)

    # Counters

    def incr(self, key: Key, amount: int = 1) -> int:
        word, flags = _spelled(self._counters, key)
        # They wrap at 2^64, so half of that is below zero.
        amount %= _WRAP
        request = b"ma %b N0 J%d D%d v K%b\r\n" % (word, amount, amount, flags)
        number = int(self._ask(request, _value, again=False))
        return number - _WRAP if number >= _WRAP // 2 else number

    def delete_counter(self, key: Key) -> None:
        word, flags = _spelled(self._counters, key)
        self._ask(b"md %b%b\r\n" % (word, flags), line)

    def flush_counters(self) -> None:
        self._remove(self._counters)

    # Commands

    def _ask(self, request: bytes, read: Any, again: bool = True, wait: float = 0.0) -> Any:
        if self._connections.forked():
            self._begin()
        return self._connections.ask(request, read, again, wait)

    def _store(self, prefix: bytes, key: Key, value: bytes, flags: bytes) -> bool:
        word, binary = _spelled(prefix, key)
        request = b"ms %b %d%b%b\r\n%b\r\n" % (word, len(value), flags, binary, value)
        return bool(self._ask(request, line).startswith(b"HD"))

    def _push(self, prefix: bytes, data: bytes) -> None:
        with self._slip(None) as slip:
            words = (prefix, len(data), slip.key, slip.number, data)
            self._ask(b"ms %b %d MU K A%b G%d\r\n%b\r\n" % words, line)

    def _pop(
        self,
        slips: "Optional[deque[Slip]]",
        start: bytes,
        end: bytes,
        most: int,
        wait: float = 0.0,
    ) -> Found:
        with self._slip(slips) as slip:
            flags = b"v A%b G%d" % (b64encode(slip.key), slip.number)
            request = _range(b"mp", start, end, most, flags + _waiting(wait))
            try:
                found: Found = self._ask(request, _found, wait=wait)
            except MemcacheServerError as fault:
                if "out of memory" not in str(fault):
                    raise
                # There is no room for the slip. What is taken without one makes some.
                request = _range(b"mp", start, end, most, b"v")
                found = self._ask(request, _found, again=False)
            return found

    @contextmanager
    def _slip(self, slips: "Optional[deque[Slip]]") -> Iterator[Slip]:
        """
        A slip for one request.

        :param slips: of requests any of which may have the answer of one that has failed; None:
            none may.
        """
        lasting = slips is not None
        slips = self._for_others if slips is None else slips
        try:
            slip = slips.popleft()
        except IndexError:
            slip = Slip(self._slips + uuid.uuid4().hex.encode())
        try:
            yield slip
        except BaseException:
            # Whoever has asked is told so. What the server may have done is for the next to get,
            # or for nobody.
            slip.number += not lasting
            slips.appendleft(slip)
            raise
        slip.number += 1
        slips.append(slip)

    def _walk(self, prefix: bytes, limit: Optional[int] = None) -> "Iterator[tuple[bytes, bytes]]":
        start, end = _under(prefix)
        left = limit or math.inf
        more = True
        while more and left > 0:
            page = int(min(left, _PAGE))
            found: Found = self._ask(_range(b"mr", start, end, page, b"k v"), _found)
            yield from found.items
            left -= len(found.items)
            more, start = found.more, found.last + b"\0"

    def _count(self, prefix: bytes) -> int:
        start, end = _under(prefix)
        number = 0
        more = True
        while more:
            found: Found = self._ask(_range(b"mr", start, end, _COUNTED, b"n k"), _found)
            number += found.number
            more, start = found.more, found.last + b"\0"
        return number

    def _remove(self, prefix: bytes) -> None:
        start, end = _under(prefix)
        while self._ask(_range(b"mp", start, end, _PAGE, b"n"), _found).more:
            pass


#: Seconds that one command waits, of a wait that is longer.
_LONGEST_WAIT = 10.0


# Keys


def _key(prefix: bytes, key: Key) -> bytes:
    whole = prefix + (key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key)
    if len(whole) > KEY_LENGTH:
        raise ValueError(f"a key is longer than {KEY_LENGTH - len(prefix)} bytes")
    return whole


def _spelled(prefix: bytes, key: Key) -> "tuple[bytes, bytes]":
    """The key in a command, and the flag that this needs."""
    whole = _key(prefix, key)
    return (whole, b"") if _PLAIN(whole) else (b64encode(whole), b" b")


def _under(prefix: bytes) -> "tuple[bytes, bytes]":
    """The range of what begins with `prefix`."""
    return prefix, prefix[:-1] + bytes([prefix[-1] + 1])


def _descending(priority: float) -> bytes:
    """What sorts higher priorities first: the bits of a double sort as it does, but for signs."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", 0.0 - priority))
    bits ^= _WRAP - 1 if bits >> 63 else 1 << 63
    return b"%016x." % bits


def _moment(ts: datetime, later: int = 0) -> bytes:
    """What sorts as moments do: microseconds, of which there may be some more."""
    if ts.tzinfo is not None:
        ts = ts.astimezone(timezone.utc).replace(tzinfo=None)
    return b"%018d." % ((ts - _FIRST_MOMENT) // _MICROSECOND + later)


# Requests and answers


def _range(verb: bytes, start: bytes, end: bytes, most: int, flags: bytes) -> bytes:
    return b"%b %b %b %d b %b\r\n" % (verb, b64encode(start), b64encode(end), most, flags)


def _waiting(wait: float) -> bytes:
    return b" B%d" % math.ceil(wait * 1000) if wait > 0 else b""


def _value(answers: BinaryIO) -> Any:
    """The value that mg or ma answers; `EmptyData`: there is none."""
    words = line(answers).split(b" ")
    return block(answers, int(words[1])) if words[0] == b"VA" else EmptyData


def _found(answers: BinaryIO) -> Found:
    """What mr or mp answers."""
    items: list[tuple[bytes, bytes]] = []
    key = b""
    while True:
        words = line(answers).split(b" ")
        shown = [word[1:] for word in words if word[:1] == b"k"]
        if shown:
            key = b64decode(shown[0]) if b"b" in words else shown[0]
        if words[0] == b"VA":
            items.append((key, block(answers, int(words[1]))))
        elif words[0] in (b"EN", b"MR"):
            numbers = [int(word[1:]) for word in words if word[:1] == b"n"]
            return Found(items, words[0] == b"MR", sum(numbers), key)
