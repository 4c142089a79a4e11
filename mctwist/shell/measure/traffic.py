"""
A load on a server: connections that ask, wait for the answer, and ask again.

Each connection has one exchange under way, of one command or of some pipelined ones, so a server
that is slow is asked less: the latencies are those of clients that wait, and not of the requests
that others would have sent meanwhile. The answers are known, for the values follow from the keys;
so they are compared and not parsed, but for those that differ (a miss, an error).

A process asks with one processor, and Python is slower than what it asks: there may be several,
forked, which tell by pipes what they have done. Each finishes what it has begun before it ends, so
that nothing is stored behind the back of whoever cleans up after them.
"""

import os
import pickle
import re
import select
import signal
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import count, cycle
from math import gcd, inf
from random import randrange
from typing import Any, BinaryIO, Callable, NamedTuple, Optional

from mctwist.client import LOST, REFUSED, Server, readable
from mctwist.histogram import Histogram

#: Seconds from one report of a process to the next.
_REPORT = 0.1
#: Seconds that a process may take to finish what it has begun.
_PATIENCE = 15.0
_VALUE = re.compile(rb"VALUE [^ ]+ \d+ (\d+)\Z").match
# More than this is not read at once: malloc maps and unmaps a larger buffer each time.
_MOST_READ = 1 << 17


class Work(NamedTuple):
    """
    What is asked.

    :ivar prefix: of the keys; :ivar keys: how many; :ivar size: of a value, in bytes.
    :ivar gets: of so many; :ivar sets: there are so many of these.
    :ivar depth: commands that are sent at once.
    :ivar exptime: of what is stored, in seconds.
    """

    prefix: bytes
    keys: int
    size: int
    gets: int
    sets: int
    depth: int
    exptime: int

    def key(self, number: int) -> bytes:
        return b"%b%08d" % (self.prefix, number)

    def get(self, number: int) -> "tuple[bytes, bytes]":
        """A request, and its answer."""
        key = self.key(number)
        return b"get %b\r\n" % key, b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (
            *(key, self.size),
            self.value(number),
        )

    def set(self, number: int) -> "tuple[bytes, bytes]":
        """A request, and its answer."""
        words = self.key(number), self.exptime, self.size, self.value(number)
        return b"set %b 0 %d %d\r\n%b\r\n" % words, b"STORED\r\n"

    def value(self, number: int) -> bytes:
        return (b"%08d" % number * (self.size // 8 + 1))[: self.size]

    def exchanges(self) -> "Iterator[Exchange]":
        """What is asked, without end; every key in its turn."""
        # Far apart from one to the next, by the golden ratio. (To shuffle ten millions would take a
        # quarter of a minute, in which nothing is asked.)
        step = next(n for n in count(self.keys * 618 // 1000 + 1) if gcd(n, self.keys) == 1)
        numbers = (place * step % self.keys for place in count(randrange(self.keys)))
        # Spread, and not all the sets behind all the gets.
        whole = self.gets + self.sets
        kinds = cycle(
            [place * self.sets % whole + self.sets >= whole for place in range(1, whole + 1)]
        )
        while True:
            stores = [next(kinds) for _ in range(self.depth)]
            pairs = [
                self.set(number) if stores_ else self.get(number)
                for stores_, number in zip(stores, numbers)
            ]
            request = b"".join(request for request, _ in pairs)
            yield Exchange(request, b"".join(answer for _, answer in pairs), stores)


class Exchange(NamedTuple):
    """
    :ivar answer: what the server should say.
    :ivar stores: of each command, whether it is a set; if not it is a get.
    """

    request: bytes
    answer: bytes
    stores: "list[bool]"


class Tally:
    """
    What has been done.

    :ivar latency: nanoseconds up to its answer, for each operation.
    :ivar errors: operations that were answered by an error; :ivar lost: connections.
    :ivar fault: what was wrong first, for people.
    :ivar began: and :ivar ended: moments of `time.perf_counter`, which processes share; of
        several, the first and the last.
    :ivar cpu: of the time between, the part that the processor has asked for; the most of several.
    """

    def __init__(self) -> None:
        self.latency = Histogram()
        self.gets = 0
        self.sets = 0
        self.misses = 0
        self.errors = 0
        self.lost = 0
        self.fault: Optional[str] = None
        self.began = inf
        self.ended = -inf
        self.cpu = 0.0

    @property
    def seconds(self) -> float:
        """That it took."""
        return self.ended - self.began

    @property
    def ops(self) -> float:
        """Operations in a second."""
        return self.latency.total / self.seconds

    def add(self, other: "Tally") -> None:
        """Another process's."""
        self.latency.add(other.latency)
        self.gets += other.gets
        self.sets += other.sets
        self.misses += other.misses
        self.errors += other.errors
        self.lost += other.lost
        self.fault = self.fault or other.fault
        self.began = min(self.began, other.began)
        self.ended = max(self.ended, other.ended)
        self.cpu = max(self.cpu, other.cpu)

    def complain(self, fault: str) -> None:
        self.fault = self.fault or fault


class Judged(NamedTuple):
    """What an answer says that is not the one expected. :ivar fault: its first error."""

    misses: int
    errors: int
    fault: Optional[str]


def judge(answer: bytes, stores: Sequence[bool]) -> Optional[Judged]:
    """What `answer` says; None: it is not whole."""
    misses = errors = start = 0
    fault = None
    for is_set in stores:
        end = answer.find(b"\r\n", start)
        if end < 0:
            return None
        words = answer[start:end]
        value = None if is_set else _VALUE(words)
        if value is not None:
            # Behind it and its end of line is END.
            end = answer.find(b"\r\n", end + 2 + int(value[1]) + 2)
            if end < 0:
                return None
        elif not is_set and words == b"END":
            misses += 1
        elif words != b"STORED":
            errors += 1
            fault = fault or readable(words)
        start = end + 2
    return Judged(misses, errors, fault)


class _Asking:
    """
    One connection.

    :ivar matched: bytes of the expected answer that have come.
    :ivar other: all that has come of an answer that is another one.
    """

    __slots__ = ("began", "exchange", "matched", "other", "sock", "unsent")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.began = 0
        self.exchange = Exchange(b"", b"", [])
        self.matched = 0
        self.other = b""
        self.unsent = b""


class Load:
    """
    One process's part of a load.

    :param report: called with the operations so far, now and then.
    :ivar over: no more is to be asked.
    """

    def __init__(self, work: Work, report: Callable[[int], None]) -> None:
        self.over = False
        self._feed = work.exchanges()
        self._report = report
        self._tally = Tally()
        self._poll = select.poll()
        self._asking: dict[int, _Asking] = {}

    def run(self, server: Server, connections: int, seconds: float) -> Tally:
        """
        Ask for so many seconds.

        Raises as `Server.connect` does; a connection that is lost later is counted.
        """
        tally = self._tally
        with ExitStack() as stack:
            opened = []
            for _ in range(connections):
                connection = server.connect()
                stack.callback(connection.close)
                opened.append(connection)
            tally.began, cpu = time.perf_counter(), time.process_time()
            for connection in opened:
                connection.sock.setblocking(False)
                asking = _Asking(connection.sock)
                self._asking[connection.sock.fileno()] = asking
                self._poll.register(connection.sock, select.POLLIN)
                self._ask(asking)
            self._pump(tally.began + seconds, server.timeout)
            tally.ended = time.perf_counter()
            tally.cpu = (time.process_time() - cpu) / tally.seconds
        return tally

    def _pump(self, deadline: float, patience: float) -> None:
        reported = 0.0
        heard = time.perf_counter()
        while self._asking:
            events = self._poll.poll(_REPORT * 1000)
            now = time.perf_counter()
            if now >= deadline:
                self.over = True
            if events:
                heard = now
            elif now - heard > patience:
                self._tally.complain("the server does not answer in time")
                self._tally.lost += len(self._asking)
                self._asking.clear()
            for number, what in events:
                asking = self._asking[number]
                try:
                    if what & select.POLLOUT:
                        self._send(asking)
                    if what & ~select.POLLOUT:
                        self._receive(asking)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                    continue
                except OSError as fault:
                    self._lose(asking, fault.strerror or str(fault))
            if now - reported >= _REPORT:
                reported = now
                self._report(self._tally.latency.total)

    def _lose(self, asking: _Asking, fault: str) -> None:
        self._tally.lost += 1
        self._tally.complain(fault)
        self._leave(asking)

    def _leave(self, asking: _Asking) -> None:
        del self._asking[asking.sock.fileno()]
        self._poll.unregister(asking.sock)

    def _ask(self, asking: _Asking) -> None:
        asking.exchange = next(self._feed)
        asking.unsent = asking.exchange.request
        asking.matched, asking.other = 0, b""
        asking.began = time.perf_counter_ns()
        self._send(asking)

    def _send(self, asking: _Asking) -> None:
        waited = asking.unsent is not asking.exchange.request
        # What does not fit is sent again, of TLS the same bytes.
        with suppress(ssl.SSLWantWriteError, BlockingIOError):
            asking.unsent = asking.unsent[asking.sock.send(asking.unsent) :]
        if asking.unsent:
            self._poll.modify(asking.sock, select.POLLIN | select.POLLOUT)
        elif waited:
            self._poll.modify(asking.sock, select.POLLIN)

    def _receive(self, asking: _Asking) -> None:
        while True:
            data = asking.sock.recv(_MOST_READ)
            if not data:
                self._lose(asking, "the server has closed the connection")
                return
            if self._is_whole(asking, data):
                self._answered(asking)
                return
            # Of TLS more may be here already, of which no socket tells.
            if not (isinstance(asking.sock, ssl.SSLSocket) and asking.sock.pending()):
                return

    def _is_whole(self, asking: _Asking, data: bytes) -> bool:
        """Take a part of an answer; whether it is the last."""
        expected = asking.exchange.answer
        if not asking.other and expected.startswith(data, asking.matched):
            asking.matched += len(data)
            return asking.matched == len(expected)
        asking.other = (asking.other or expected[: asking.matched]) + data
        judged = judge(asking.other, asking.exchange.stores)
        if judged is None:
            return False
        self._tally.misses += judged.misses
        self._tally.errors += judged.errors
        if judged.fault is not None:
            self._tally.complain(f"the server answers {judged.fault}")
        return True

    def _answered(self, asking: _Asking) -> None:
        tally, stores = self._tally, asking.exchange.stores
        tally.latency.count(time.perf_counter_ns() - asking.began, len(stores))
        sets = sum(stores)
        tally.sets += sets
        tally.gets += len(stores) - sets
        if self.over:
            self._leave(asking)
        else:
            self._ask(asking)


class _Process(NamedTuple):
    """A process that asks. :ivar said: what it tells."""

    number: int
    said: BinaryIO


class Processes:
    """
    A load by several processes, as a context manager: it is over when that is left.

    :param connections: of all of them together; no process is without one.
    """

    def __init__(
        self, server: Server, work: Work, connections: int, seconds: float, processes: int
    ) -> None:
        self._asked = server, work, seconds
        self._shares = [
            connections // processes + (place < connections % processes)
            for place in range(processes)
        ]
        self._processes: list[_Process] = []
        self._operations: dict[int, int] = {}
        self.tally = Tally()

    def __enter__(self) -> "Processes":
        # Whoever ends this meanwhile ends it when each process is known, and can be ended too.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            try:
                for connections in self._shares:
                    self._processes.append(_fork(*self._asked, connections, before))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    @property
    def operations(self) -> int:
        """Up to now."""
        return sum(self._operations.values())

    def wait(self, seconds: float) -> bool:
        """Listen for so many seconds at the most to what they tell; False: all have ended."""
        listening = {process.said.fileno(): process for process in self._processes}
        if not listening:
            return False
        ready, _, _ = select.select(list(listening), [], [], seconds)
        for number in ready:
            self._listen(listening[number])
        return True

    def _listen(self, process: _Process) -> None:
        try:
            said = pickle.load(process.said)
        except (EOFError, pickle.UnpicklingError):
            said = "a process of this command has ended too early"
        if isinstance(said, int):
            self._operations[process.number] = said
            return
        if isinstance(said, Tally):
            self.tally.add(said)
            self._operations[process.number] = said.latency.total
        else:
            self.tally.complain(said)
        self._processes.remove(process)
        process.said.close()
        os.waitpid(process.number, 0)

    def _end(self) -> None:
        """Have those that still ask finish. What they tell is of no interest any more."""
        for process in self._processes:
            os.kill(process.number, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        for number, said in self._processes:
            while select.select([said], [], [], max(deadline - time.monotonic(), 0))[0]:
                if not said.read(_MOST_READ):
                    break
            else:
                os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            said.close()
        self._processes.clear()


def _fork(server: Server, work: Work, seconds: float, connections: int, mask: Any) -> _Process:
    """:param mask: of the signals that are to reach it when it is ready for them."""
    said, say = os.pipe()
    number = os.fork()
    if not number:
        os.close(said)
        _ask_and_exit(server, work, seconds, connections, say, mask)
    os.close(say)
    return _Process(number, os.fdopen(said, "rb", buffering=0))


def _ask_and_exit(
    server: Server, work: Work, seconds: float, connections: int, pipe: int, mask: Any
) -> None:
    """All that a forked process does. Nothing of its parent's is undone when it ends."""
    status = 1
    try:
        with os.fdopen(pipe, "wb") as said:

            def say(what: Any) -> None:
                pickle.dump(what, said)
                said.flush()

            load = Load(work, say)

            def stop(*_: Any) -> None:
                load.over = True

            # Ctrl-C reaches every process of a terminal; these end when their parent says so.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, stop)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            say(_tally_or_fault(load, server, connections, seconds))
        status = 0
    finally:
        os._exit(status)


def _tally_or_fault(load: Load, server: Server, connections: int, seconds: float) -> Any:
    try:
        return load.run(server, connections, seconds)
    except LOST as fault:
        return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    except REFUSED as fault:
        return f"the server answers {fault}"
