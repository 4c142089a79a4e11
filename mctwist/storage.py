"""
The storage service: the one owner of the threads in which the blocking store is called.

    submit -> queue -> batch -> [storage thread: backend.perform] -> results, in order

While a batch is in the thread, what arrives from all connections collects, and becomes the next
batch: one `deferToThread`, one transaction, one sync for all of it. Lists of nothing but reads
need no batch: where the backend does not block they are answered at once by `read`, in the
reactor; elsewhere they go to read threads of their own. There is one Deferred for each list.

Once a second there is a batch in any case, in which the store does what time brings: what has
expired is swept, what is recent is written down. While there is more to sweep or to evict, empty
batches follow each other, with the reactor's turns between them.

Who waits for something to be stored (`waiters`) is told when the batch that has stored it has been
answered. What those have missed who begin to wait while it is being answered is in it as well: one
step of it may have looked before another has stored.

A fault of the store is logged here, once a minute at most for each kind, and travels on as the
result of the steps that met it.
"""

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Callable, Optional

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mctwist.interfaces import (
    IBackend,
    IStorage,
    NeedsWrite,
    NotPermitted,
    Results,
    Steps,
    StorageError,
    Unsupported,
)
from mctwist.item import Entry
from mctwist.waiters import Awaited, Waiters

#: A batch is closed when it holds this many steps; the rest is for the next.
MOST_BATCH_STEPS = 20_000

#: ... or when the values in it, as far as they can be seen, hold this many bytes.
MOST_BATCH_BYTES = 16 << 20

#: Seconds from one batch that there is in any case to the next, ...
TICK = 1.0
#: ... and from one piece of a sweep to the next: a sweep takes a third of a thread at most.
SWEEP_PAUSE = 0.003

#: How far ahead of the clock the last change of the store may have been, in milliseconds, for time
#: to go on from there: a day. Beyond that it was the last run's clock that was wrong.
BELIEVED_AHEAD = 86_400_000

#: Read threads, for backends whose reads block. They wait for the disk, not for the processor.
READERS = 4

#: Above this part of the machine's memory a store is taken not to be in memory.
INLINE_PART = 0.5

# The storage thread computes in Python between its syncs, and would hold the reactor up for
# CPython's 5 ms each time; 0.2 ms cuts the p99 of durable sets by a third, at no cost.
_SWITCH_INTERVAL = 0.0002

# A batch makes thousands of tuples, none of them in a cycle, and drops them all. At CPython's
# threshold of 700 the collector goes through them again and again: a tenth of the whole.
_GC_THRESHOLD = (50_000, 20, 100)
_CPYTHON = sys.implementation.name == "cpython"

_MINUTE = 60.0

# Seconds after which maintenance that has failed is tried again.
_MAINTENANCE_PAUSE = 1.0

Waiting = tuple[Steps, "Deferred[Results]"]


@implementer(IStorage)
class StorageService(Service):
    """
    :param inline_reads: "auto": the reactor reads while the live bytes are under half of the
        memory; "always"; "never". Only "never" has a say over a backend whose reads block.
    :param pool: one thread; :param read_pool: some; :param maintenance_pool: one. Given by
        tests, which run them when told.
    :param memory: bytes of the machine's; :param seconds: the clock, since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        backend: IBackend,
        reactor: Any,
        inline_reads: str = "auto",
        pool: Optional[ThreadPool] = None,
        read_pool: Optional[ThreadPool] = None,
        maintenance_pool: Optional[ThreadPool] = None,
        memory: Optional[int] = None,
        seconds: Optional[Callable[[], float]] = None,
    ) -> None:
        self._backend = backend
        self._reactor = reactor
        self._seconds = seconds or reactor.seconds
        self._inline_reads = inline_reads
        self._pool = pool or ThreadPool(1, 1, "mctwist storage")
        self._read_pool = read_pool or ThreadPool(0, READERS, "mctwist reads")
        self._maintenance_pool = maintenance_pool or ThreadPool(0, 1, "mctwist maintenance")
        self._memory = memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._queue: list[Waiting] = []
        self._waiters = Waiters(reactor)
        self._busy = False
        self._reading = 0
        self._maintaining = False
        self._maintained = 0.0  # when maintenance last failed
        self._tick: Optional[Any] = None
        self._inline = False
        self._now = 0
        self._ahead = 0  # milliseconds that the store is ahead of the clock
        self._damaged = 0
        self._reported: Optional[Exception] = None
        self._logged: dict[str, float] = {}
        self._idle: Optional[Deferred[None]] = None
        self._switch_interval = sys.getswitchinterval()
        self._gc_threshold = gc.get_threshold() if _CPYTHON else ()

    def startService(self) -> None:
        """
        Open the store and start the threads.

        :raises StartError: the store cannot be opened.
        """
        self._backend.open()
        self._damaged = 0
        # Who sets the clock back between two runs does not bring back what has expired.
        ahead = self._backend.changed - int(self._seconds() * 1000)
        self._ahead = ahead if 0 < ahead < BELIEVED_AHEAD else 0
        self._choose()
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        if _CPYTHON:
            gc.freeze()
            gc.set_threshold(*_GC_THRESHOLD)
        self._pool.start()
        self._read_pool.start()
        self._maintenance_pool.start()
        super().startService()
        if self._backend.notice is not None:
            self.log.error("{notice}", notice=self._backend.notice)
        items, size = self._backend.live()
        self.log.info(
            "opened {backend} with {items} items of {size} bytes",
            backend=self._backend.name,
            items=items,
            size=size,
        )
        self._tick = self._reactor.callLater(TICK, self._tend)

    def stopService(self) -> "Deferred[None]":
        """
        Finish every batch, end the threads, close the store.

        :return: fires when all is done.
        """
        if not self.running:
            return succeed(None)
        super().stopService()
        self._waiters.tell_all()
        if self._tick is not None and self._tick.active():
            self._tick.cancel()
        idle: Deferred[None] = Deferred()
        self._idle = idle
        idle.addCallback(self._close)
        self._settle()
        return idle

    def live(self) -> tuple[int, int]:
        return self._backend.live()

    def figures(self) -> "Mapping[str, Any]":
        return self._backend.figures()

    def resize(self, limit: int) -> bool:
        return self._backend.resize(limit)

    def on_eviction(self, callback: "Optional[Callable[[list[Entry]], None]]") -> None:
        if callback is None:
            self._backend.evicted = None
        else:
            # The backend calls it in the storage thread.
            self._backend.evicted = partial(self._reactor.callFromThread, callback)

    def walk(
        self, prefix: bytes = b"", whole: bool = False
    ) -> "Callable[[], Deferred[Optional[list[Entry]]]]":
        pieces = self._backend.walk(prefix, self.now(), whole)

        def next_piece() -> "Deferred[Optional[list[Entry]]]":
            if not self.running:
                return fail(StorageError("the store is closed"))
            return self._look_through(next, pieces, None).addCallback(self._unexpired)

        return next_piece

    def _unexpired(self, piece: "Optional[list[Entry]]") -> "Optional[list[Entry]]":
        """A walk may take hours, and knows only what time it was when it began."""
        if piece is None:
            return None
        now = self.now()
        return [entry for entry in piece if not 0 < entry.item.expiry <= now]

    def scan(self, cursor: int, most: int) -> "Deferred[tuple[list[Entry], int]]":
        if not self.running:
            return fail(StorageError("the store is closed"))
        return self._look_through(self._backend.scan, cursor, most, self.now())

    def _look_through(self, f: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        """A piece of a listing, from a read thread."""
        self._reading += 1
        return self._defer(self._read_pool, f, *args).addBoth(self._have_looked)

    def _have_looked(self, piece: Any) -> Any:
        self._reading -= 1
        if isinstance(piece, Failure):
            self._report_faults([piece.value])
        self._settle()
        return piece

    def await_change(
        self, start: bytes, end: bytes, deadline: Optional[int] = None, consumes: bool = True
    ) -> "Deferred[None]":
        if not self.running:
            return succeed(None)
        seconds = None if deadline is None else (deadline - self.now()) / 1000
        return self._waiters.wait(Awaited(start, end, consumes), seconds)

    def read(self, steps: Steps) -> Optional[Results]:
        if not self._inline:
            return None
        try:
            return self._backend.read(steps, self.now())
        except NeedsWrite:
            return None
        except Exception:
            # A step of it has failed: the batch will tell which, and leave its neighbours.
            return None
        finally:
            if self._backend.damaged != self._damaged:
                self._report_damage()

    def submit(self, steps: Steps, reads_only: bool = False) -> "Deferred[Results]":
        answer: Deferred[Results] = Deferred()
        if not self.running:
            answer.callback([StorageError("the store is closed")] * len(steps))
        elif reads_only and not self._inline:
            self._submit_reads(steps, answer)
        else:
            self._enqueue(steps, answer)
        return answer

    def _enqueue(self, steps: Steps, answer: "Deferred[Results]") -> None:
        self._queue.append((steps, answer))
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        self._busy = True
        count = steps_in_all = size = 0
        for steps, _ in self._queue:
            count += 1
            steps_in_all += len(steps)
            size += _bytes_in(steps)
            if steps_in_all > MOST_BATCH_STEPS or size > MOST_BATCH_BYTES:
                break
        batch, self._queue = self._queue[:count], self._queue[count:]
        lists = [steps for steps, _ in batch]
        done = self._defer(self._pool, self._backend.perform, lists, self.now())
        done.addErrback(_as_results, lists)
        done.addCallback(self._answer, batch)

    def _answer(self, answers: Sequence[Results], batch: Sequence[Waiting]) -> None:
        self._busy = False
        written = self._backend.written()
        unanswered = [
            waiting for waiting, results in zip(batch, answers) if not results and waiting[0]
        ]
        self._queue[:0] = unanswered
        # The next batch goes to the disk before the answers of this one are rendered.
        if self._queue:
            self._begin()
        self._choose()
        self._maintain()
        for (steps, answer), results in zip(batch, answers):
            if results or not steps:
                self._report_faults(results)
                answer.callback(results)
        if self._waiters:
            self._waiters.tell(written)
        if self._backend.damaged != self._damaged:
            self._report_damage()
        self._settle()

    def _tend(self) -> None:
        """Have a batch run, with nothing in it, if none is at work."""
        if not self._busy:
            self._begin()
        pause = SWEEP_PAUSE if self._backend.pending else TICK
        self._tick = self._reactor.callLater(pause, self._tend)

    def _maintain(self) -> None:
        """Have the backend do what is due, beside the batches; after a failure, not at once."""
        if self._maintaining or not (self.running and self._backend.due):
            return
        if self._reactor.seconds() - self._maintained < _MAINTENANCE_PAUSE:
            return
        self._maintaining = True
        done = self._defer(self._maintenance_pool, self._backend.maintain)
        done.addErrback(self._maintenance_failed)
        done.addCallback(self._have_maintained)

    def _maintenance_failed(self, failure: Failure) -> None:
        self._maintained = self._reactor.seconds()
        if self._may_log("maintenance"):
            self.log.error(
                "{backend} could not be maintained: {fault}",
                backend=self._backend.name,
                fault=failure.getErrorMessage(),
            )

    def _have_maintained(self, _: None) -> None:
        self._maintaining = False
        if not self._backend.pending:
            self._maintain()
        # Else the next batch has it done, a pause after this.
        self._settle()

    def _submit_reads(self, steps: Steps, answer: "Deferred[Results]") -> None:
        self._reading += 1
        done = self._defer(self._read_pool, self._backend.read, steps, self.now(), True)
        done.addBoth(self._have_read, steps, answer)

    def _have_read(self, results: Any, steps: Steps, answer: "Deferred[Results]") -> None:
        self._reading -= 1
        if self._backend.damaged != self._damaged:
            self._report_damage()
        if isinstance(results, Failure):
            # It wants to write, or a step has failed and the batch will tell which.
            self._enqueue(steps, answer)
        else:
            answer.callback(results)
        self._settle()

    def _defer(self, pool: ThreadPool, f: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        return deferToThreadPool(self._reactor, pool, f, *args)

    def now(self) -> int:
        self._now = max(self._now, int(self._seconds() * 1000) + self._ahead)
        return self._now

    def _choose(self) -> None:
        """Decide whether the reactor reads."""
        if not self._backend.inline or self._inline_reads == "never":
            self._inline = False
        elif self._inline_reads == "always":
            self._inline = True
        else:
            self._inline = self._backend.live()[1] < INLINE_PART * self._memory

    def _settle(self) -> None:
        at_work = self._busy or self._queue or self._reading or self._maintaining
        if self._idle is not None and not at_work:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _close(self, _: None) -> None:
        self._pool.stop()
        self._read_pool.stop()
        self._maintenance_pool.stop()
        self._inline = False
        self._backend.close()
        sys.setswitchinterval(self._switch_interval)
        if _CPYTHON:
            gc.set_threshold(*self._gc_threshold)
            gc.unfreeze()
        self.log.info("closed {backend}", backend=self._backend.name)

    def _report_faults(self, results: Results) -> None:
        for result in results:
            if not isinstance(result, Exception) or result is self._reported:
                continue
            if isinstance(result, (NotPermitted, Unsupported)):
                continue  # the user's fault, and he is told
            self._reported = result  # a batch that fails as a whole has it for each step
            if not isinstance(result, StorageError):
                self.log.failure("an operation failed", Failure(result))
            elif self._may_log(type(result).__name__):
                self.log.error("the store answers errors: {fault}", fault=result)

    def _report_damage(self) -> None:
        self._damaged = self._backend.damaged
        if self._may_log("damaged"):
            self.log.error(
                "{count} reads have met a damaged record in {backend}; each was a miss",
                count=self._damaged,
                backend=self._backend.name,
            )

    def _may_log(self, kind: str) -> bool:
        """Whether a minute has passed since `kind` was last logged."""
        now = self._reactor.seconds()
        if now - self._logged.get(kind, -_MINUTE) < _MINUTE:
            return False
        self._logged[kind] = now
        return True


def _as_results(failure: Failure, lists: Sequence[Steps]) -> list[Results]:
    """A batch that failed as a whole, as the results of each of its steps."""
    return [[failure.value] * len(steps) for steps in lists]


def _bytes_in(steps: Steps) -> int:
    """
    About the bytes of the values that `steps` bring. A list that fits into one read of a socket
    does not bring many, whatever it says; only a long value comes by itself.
    """
    if len(steps) > 2:
        return 0
    return sum(len(word) for _, _, words, _ in steps for word in words if word.__class__ is bytes)
