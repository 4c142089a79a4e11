"""The storage service: batches, where reads are done, what is logged, and the ordered stop."""

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Optional, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mctwist import operations
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import (
    MOST_STEPS,
    IBackend,
    IStorage,
    ITransaction,
    NeedsWrite,
    Results,
    StartError,
    Step,
    Steps,
    StorageError,
    StoreFull,
    Unsupported,
)
from mctwist.item import BYTES, Entry, Item
from mctwist.range_operations import behind
from mctwist.storage import MOST_BATCH_STEPS, StorageService
from mctwist.testing import (
    START,
    ManualPool,
    ManualReactor,
    Trouble,
    counts,
    fail,
    get,
    put,
    put_and_fail,
    step,
)
from mctwist.waiters import MOST_WAITERS, Awaited, Waiters
from tests import DRAWN_IS_COMPARED

suppress = DRAWN_IS_COMPARED

#: Behind every key of a test.
LAST = b"\xff\xff"

FEW = st.sampled_from([b"", b"a", b"a\0", b"ab", b"b"])

#: As the interpreter is before any service has been started.
SWITCH_INTERVAL, GC_THRESHOLD = sys.getswitchinterval(), gc.get_threshold()


@implementer(IBackend)
class ScriptedBackend:
    """
    A memory backend that notes what it is asked, and does otherwise when it is told to.

    :ivar calls: the names of its methods, as they were called.
    :ivar lists: the batches, each as the numbers of steps in its lists.
    :ivar times: the `now` of every read and batch.
    :ivar due_again: more maintenance has become due by the time this one ends.
    :ivar size: the live bytes that it reports; None: its own.
    :ivar faults: raised by the next call of the method that each is named for.
    """

    def __init__(self, inline: bool = True) -> None:
        self.name = "scripted:"
        self.inline = inline
        self.ordered = True
        self.notice: Optional[str] = None
        self.due = False
        self.due_again = False
        self.damaged = 0
        self.changed = 0
        self.pending = False
        self.evicted: Optional[Callable[[list[Entry]], None]] = None
        self.size: Optional[int] = None
        self.calls: list[str] = []
        self.lists: list[list[int]] = []
        self.times: list[int] = []
        self.faults: dict[str, Exception] = {}
        self._memory = MemoryBackend()

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name in self.faults:
            raise self.faults.pop(name)

    def open(self) -> None:
        self._note("open")
        self._memory.open()

    def close(self) -> None:
        self._note("close")

    def perform(self, lists: Sequence[Steps], now: int) -> "list[Results]":
        self.lists.append([len(steps) for steps in lists])
        self.times.append(now)
        self._note("perform")
        return self._memory.perform(lists, now)

    def read(self, steps: Steps, now: int, patient: bool = False) -> Results:
        self.times.append(now)
        self._note("read")
        return self._memory.read(steps, now)

    def maintain(self) -> None:
        self._note("maintain")
        self.due, self.due_again = self.due_again, False

    def walk(self, prefix: bytes, now: int, whole: bool = False) -> "Iterator[list[Entry]]":
        return self._memory.walk(prefix, now, whole)

    def scan(self, cursor: int, most: int, now: int) -> "tuple[list[Entry], int]":
        self._note("scan")
        return self._memory.scan(cursor, most, now)

    def written(self) -> "Iterable[bytes]":
        return self._memory.written()

    def resize(self, limit: int) -> bool:
        return self._memory.resize(limit)

    def figures(self) -> "dict[str, Any]":
        return self._memory.figures()

    def live(self) -> "tuple[int, int]":
        items, size = self._memory.live()
        return items, size if self.size is None else self.size


class StorageCase(SynchronousTestCase):
    """A service with pools that run when told."""

    def setUp(self) -> None:
        self.reactor: ManualReactor = ManualReactor()
        self.pool = ManualPool()
        self.read_pool = ManualPool()
        self.maintenance_pool = ManualPool()
        self.backend = ScriptedBackend()

    def service(self, inline_reads: str = "auto", memory: int = 1 << 30) -> StorageService:
        service = StorageService(
            self.backend,
            self.reactor,
            inline_reads,
            cast(Any, self.pool),
            cast(Any, self.read_pool),
            cast(Any, self.maintenance_pool),
            memory,
        )
        self.addCleanup(self.stop, service)
        return service

    def started(self, inline_reads: str = "auto", memory: int = 1 << 30) -> StorageService:
        service = self.service(inline_reads, memory)
        service.startService()
        return service

    def stop(self, service: StorageService) -> None:
        service.stopService()
        self.run_pools()

    def run_pools(self) -> None:
        while any(p.run_all() for p in (self.pool, self.read_pool, self.maintenance_pool)):
            pass

    def now(self, service: StorageService, *steps: Step) -> Results:
        """The results of `steps`, submitted and run."""
        answer = service.submit(list(steps))
        self.run_pools()
        return self.results(answer)

    def results(self, answer: "Deferred[Results]") -> Results:
        results: Results = self.successResultOf(answer)
        return results


class BatchTests(StorageCase):
    """Group commit."""

    def test_provides_the_interface(self) -> None:
        verifyObject(IStorage, self.service())

    def test_what_arrives_while_a_batch_is_under_way_is_the_next(self) -> None:
        service = self.started()
        answers = [service.submit([put(b"%d" % number), get(b"0")]) for number in range(5)]
        for answer in answers:
            self.assertNoResult(answer)
        self.assertEqual(len(self.pool.waiting), 1)
        self.pool.run()
        self.successResultOf(answers[0])
        for answer in answers[1:]:
            self.assertNoResult(answer)
        self.assertEqual(len(self.pool.waiting), 1)
        self.pool.run()
        for answer in answers[1:]:
            self.assertEqual(len(self.results(answer)), 2)
        self.assertEqual(self.backend.lists, [[2], [2, 2, 2, 2]])
        self.assertEqual(self.pool.waiting, [])

    def test_the_next_batch_is_on_its_way_before_the_answers_of_this_one(self) -> None:
        service = self.started()
        waiting: list[int] = []
        service.submit([put(b"a")]).addCallback(lambda _: waiting.append(len(self.pool.waiting)))
        service.submit([put(b"b")])
        self.pool.run()
        self.assertEqual(waiting, [1])

    def test_results_come_in_the_order_in_which_they_were_asked_for(self) -> None:
        service = self.started()
        order: list[int] = []
        for number in range(4):
            answer = service.submit([put(b"key", b"%d" % number)])
            answer.addCallback(lambda _, number: order.append(number), number)
        self.run_pools()
        self.assertEqual(order, [0, 1, 2, 3])
        self.assertEqual(self.now(service, get(b"key"))[0].value, b"3")

    def test_a_batch_is_closed_when_it_has_so_many_steps(self) -> None:
        service = self.started()
        size = MOST_BATCH_STEPS // 4
        service.submit([get(b"key")])
        for _ in range(10):
            service.submit([get(b"key")] * size)
        self.run_pools()
        self.assertEqual(self.backend.lists[0], [1])
        for lists in self.backend.lists[1:]:
            self.assertTrue(sum(lists[:-1]) <= MOST_BATCH_STEPS, lists)
        self.assertEqual(sum(map(len, self.backend.lists)), 11)

    def test_a_list_that_a_batch_had_no_room_for_is_first_in_the_next(self) -> None:
        service = self.started()
        large = [put(b"large", b"v" * (1 << 20)), get(b"large")]
        service.submit([put(b"first")])
        answers = [service.submit(list(large)) for _ in range(40)]
        order: list[int] = []

        def note(results: Results, number: int) -> Results:
            order.append(number)
            return results

        for number, answer in enumerate(answers):
            answer.addCallback(note, number)
        self.pool.run()
        self.pool.run()
        answered = len(order)
        self.assertTrue(0 < answered < 40, answered)
        late = service.submit([get(b"first")])
        late.addCallback(note, 99)
        self.run_pools()
        self.assertEqual(order, [*range(40), 99])
        for answer in answers:
            self.assertTrue(self.results(answer))

    def test_an_instalment_is_an_answer(self) -> None:
        service = self.started()
        results = self.now(service, *[get(b"key")] * (MOST_STEPS + 5))
        self.assertEqual(len(results), MOST_STEPS)

    def test_an_empty_list_is_answered_with_an_empty_one(self) -> None:
        service = self.started()
        self.assertEqual(self.now(service), [])

    def test_live_is_the_backends(self) -> None:
        service = self.started()
        self.now(service, put(b"key"))
        self.assertEqual(service.live(), self.backend.live())
        self.assertEqual(service.live()[0], 1)


class AwayReactor(ManualReactor):
    """
    A reactor whose thread is not the test's own.

    :ivar called: what it is to do there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.called: list[Callable[[], Any]] = []

    def callFromThread(self, f: Callable[..., Any], *args: Any, **kw: Any) -> None:
        self.called.append(lambda: f(*args, **kw))


class EvictionTests(StorageCase):
    """Who is told of what is evicted."""

    def test_somebody_is_told_in_the_reactor_as_long_as_he_wants_to_be(self) -> None:
        reactor = self.reactor = AwayReactor()
        service = self.service()
        told: list[list[Entry]] = []
        self.assertIsNone(self.backend.evicted)
        service.on_eviction(told.append)
        assert self.backend.evicted is not None
        victims = [Entry(b"k", Item(BYTES, 0, 0, 0, 1, 1, 1, 1, b""), 1, 1, False)]
        self.backend.evicted(victims)
        self.assertEqual(told, [])
        for call in reactor.called:
            call()
        self.assertEqual(told, [victims])
        service.on_eviction(None)
        self.assertIsNone(self.backend.evicted)


class ScanTests(StorageCase):
    """Scans, which read threads do."""

    def test_it_is_done_in_a_read_thread(self) -> None:
        service = self.started()
        self.now(service, put(b"a"), put(b"b"), put(b"c"))
        found = service.scan(0, 2)
        self.assertNoResult(found)
        self.assertEqual(len(self.read_pool.waiting), 1)
        self.run_pools()
        entries, cursor = self.successResultOf(found)
        self.assertEqual([entry.key for entry in entries], [b"a", b"b"])
        found = service.scan(cursor, 2)
        self.run_pools()
        entries, cursor = self.successResultOf(found)
        self.assertEqual(([entry.key for entry in entries], cursor), ([b"c"], 0))

    def test_a_stop_waits_for_it_and_then_there_is_none(self) -> None:
        service = self.started()
        found = service.scan(0, 2)
        stopped = service.stopService()
        self.assertNoResult(stopped)
        self.run_pools()
        self.assertEqual(self.successResultOf(found), ([], 0))
        self.successResultOf(stopped)
        self.failureResultOf(service.scan(0, 2), StorageError)

    def test_a_fault_is_told(self) -> None:
        service = self.started()
        self.backend.faults["scan"] = StorageError("no")
        found = service.scan(0, 2)
        self.run_pools()
        self.failureResultOf(found, StorageError)


class WaitTests(StorageCase):
    """Who waits for something to be stored."""

    def setUp(self) -> None:
        super().setUp()
        self.storage = self.started()
        self.told: list[str] = []

    def wait(
        self,
        name: str,
        prefix: bytes,
        deadline: Optional[int] = None,
        consumes: bool = True,
        end: bytes = b"",
    ) -> "Deferred[None]":
        """:param end: of the range; b"": it is all that begins with `prefix`."""
        end = end or behind(prefix) or LAST
        waiting = self.storage.await_change(prefix, end, deadline, consumes)
        waiting.addCallback(lambda _: self.told.append(name))
        return waiting

    def test_he_is_told_after_the_commit_of_what_he_waits_for(self) -> None:
        self.now(self.storage, put(b"q:1"), put(b"other"))
        self.wait("one", b"q:")
        self.now(self.storage, put(b"other"), put(b"q"), get(b"q:1"))
        self.now(self.storage, step(operations.delete, b"q:1"))
        self.now(self.storage, step(put_and_fail, b"q:2"))
        self.assertEqual(len(self.flushLoggedErrors(Trouble)), 1)
        self.assertEqual(self.told, [])
        answer = self.storage.submit([put(b"q:3")])
        answer.addCallback(lambda _: self.told.append("answer"))
        self.assertEqual(self.told, [])
        self.run_pools()
        self.assertEqual(self.told, ["answer", "one"])
        self.now(self.storage, put(b"q:4"))
        self.assertEqual(self.told, ["answer", "one"])

    def test_who_came_first_is_told_first_and_each_key_tells_one(self) -> None:
        for name, prefix in (("a", b"q:"), ("b", b"q:x"), ("c", b""), ("d", b"q:"), ("e", b"r")):
            self.wait(name, prefix)
        self.now(self.storage, put(b"q:x1"))
        self.assertEqual(self.told, ["a"])
        self.now(self.storage, put(b"q:x2"), put(b"q:y"))
        self.assertEqual(sorted(self.told), ["a", "b", "c"])
        self.now(self.storage, put(b"q:x2"), put(b"q:y"), put(b"s"))
        self.assertEqual(sorted(self.told), ["a", "b", "c", "d"])

    def test_all_who_only_look_are_told_and_take_nothing_from_others(self) -> None:
        for name, consumes in (("a", False), ("b", True), ("c", False), ("d", True)):
            self.wait(name, b"q:", consumes=consumes)
        self.wait("e", b"r:", consumes=False)
        self.now(self.storage, put(b"q:1"))
        self.assertEqual(self.told, ["a", "c", "b"])
        self.now(self.storage, put(b"r:1"))
        self.assertEqual(self.told, ["a", "c", "b", "e"])

    def test_a_range_ends_where_it_ends(self) -> None:
        self.wait("one", b"q:1", end=b"q:3")
        self.wait("none", b"q:3", end=b"q:1")
        self.wait("two", b"q:3", end=b"q:5")
        self.now(self.storage, put(b"q:0"), put(b"q:5"))
        self.assertEqual(self.told, [])
        self.now(self.storage, put(b"q:3"))
        self.assertEqual(self.told, ["two"])
        self.now(self.storage, put(b"q:2\xff"))
        self.assertEqual(self.told, ["two", "one"])

    def test_a_key_that_comes_twice_tells_one(self) -> None:
        waiters = Waiters(None)
        one, other = [waiters.wait(Awaited(b"q:", b"q;", True), None) for _ in range(2)]
        waiters.tell([b"q:1", b"q:1"])
        self.successResultOf(one)
        self.assertNoResult(other)

    @given(st.lists(st.tuples(FEW, FEW, st.booleans())), st.lists(FEW))
    def test_any_ranges_and_any_keys(
        self, ranges: "list[tuple[bytes, bytes, bool]]", keys: "list[bytes]"
    ) -> None:
        told: list[int] = []

        def note(_: None, number: int) -> None:
            told.append(number)

        waiters = Waiters(None)
        for number, (start, end, consumes) in enumerate(ranges):
            waiters.wait(Awaited(start, end, consumes), None).addCallback(note, number)
        waiters.tell(keys)
        expected, left = [], sorted(set(keys))
        for number, (start, end, consumes) in enumerate(ranges):
            within = [key for key in (left if consumes else keys) if start <= key < end]
            if within:
                expected.append(number)
            if within and consumes:
                left.remove(within[0])
        self.assertEqual(sorted(told), expected)
        self.assertEqual(len(waiters), len(ranges) - len(told))

    def test_what_the_batch_of_his_own_answer_has_stored_is_not_missed(self) -> None:
        """Another list of the batch stores after his has looked."""
        self.storage.submit([get(b"other")])
        # The first batch is under way; these two lists are the second.
        looked = self.storage.submit([get(b"q:1")])
        looked.addCallback(lambda _: self.wait("one", b"q:"))
        self.storage.submit([put(b"q:1")])
        self.run_pools()
        self.assertEqual(self.backend.lists[:2], [[1], [1, 1]])
        self.assertEqual(self.told, ["one"])

    def test_what_is_stored_before_he_is_answered_is_not_missed(self) -> None:
        looked = self.storage.submit([get(b"q:1")])
        looked.addCallback(lambda _: self.wait("one", b"q:"))
        self.storage.submit([put(b"q:1")])
        self.pool.run()
        self.assertEqual(self.told, [])
        self.pool.run()
        self.assertEqual(self.told, ["one"])

    def test_he_is_told_at_his_deadline(self) -> None:
        now = self.storage.now()
        self.wait("late", b"q:", now + 2500)
        self.wait("past", b"q:", now)
        self.wait("for ever", b"q:")
        self.assertEqual(self.told, ["past"])
        self.reactor.advance(2.4)
        self.run_pools()
        self.assertEqual(self.told, ["past"])
        self.reactor.advance(0.2)
        self.assertEqual(self.told, ["past", "late"])
        self.run_pools()
        self.now(self.storage, put(b"q:1"), put(b"q:2"))
        self.assertEqual(self.told, ["past", "late", "for ever"])

    def test_who_has_gone_is_not_told_and_leaves_nothing_behind(self) -> None:
        calls = len(self.reactor.getDelayedCalls())
        gone = self.wait("gone", b"q:", self.storage.now() + 1000)
        self.wait("stays", b"q:", self.storage.now() + 1000)
        gone.addErrback(lambda failure: failure.trap(CancelledError) and None)
        gone.cancel()
        self.now(self.storage, put(b"q:1"))
        self.assertEqual(self.told, ["stays"])
        self.assertEqual(len(self.reactor.getDelayedCalls()), calls)
        self.assertEqual(len(self.storage._waiters), 0)

    def test_a_stop_tells_everybody(self) -> None:
        self.wait("one", b"q:")
        self.wait("two", b"", self.storage.now() + 1000)
        stopped = self.storage.stopService()
        self.assertEqual(sorted(self.told), ["one", "two"])
        self.run_pools()
        self.successResultOf(stopped)
        self.wait("after", b"q:")
        self.assertEqual(self.told[-1], "after")

    def test_who_comes_when_too_many_wait_does_not_wait(self) -> None:
        for number in range(MOST_WAITERS):
            self.storage.await_change(b"%d:" % (number % 100), b"%d;" % (number % 100))
        self.wait("too many", b"q:")
        self.assertEqual(self.told, ["too many"])
        self.now(self.storage, put(b"7:"))
        self.wait("has room", b"q:")
        self.assertEqual(self.told, ["too many"])

    def test_who_waits_anew_when_he_is_told_is_told_again(self) -> None:
        def again(_: None) -> None:
            self.told.append("again")
            waiting = self.storage.await_change(b"r:", b"r;")
            waiting.addCallback(lambda _: self.told.append("and again"))

        self.storage.await_change(b"q:", b"q;").addCallback(again)
        self.now(self.storage, put(b"q:1"))
        self.assertEqual(self.told, ["again"])
        self.now(self.storage, put(b"r:1"))
        self.assertEqual(self.told, ["again", "and again"])

    def test_what_a_backend_does_not_support_is_not_logged(self) -> None:
        def unsupported(transaction: ITransaction, key: bytes) -> None:
            raise Unsupported

        with capturedLogs() as events:
            (result,) = self.now(self.storage, step(unsupported, b"key"))
        self.assertIsInstance(result, Unsupported)
        self.assertEqual(events, [])


class ReadTests(StorageCase):
    """Where reads are done: in the reactor, in read threads, in a batch."""

    def test_the_reactor_reads_where_it_may(self) -> None:
        half = 1 << 19
        for inline, option, size, reads in (
            (True, "auto", 0, True),
            (True, "auto", half - 1, True),
            (True, "auto", half, False),
            (True, "always", half * 4, True),
            (True, "never", 0, False),
            (False, "auto", 0, False),
            (False, "always", 0, False),
            (False, "never", 0, False),
        ):
            self.backend = ScriptedBackend(inline)
            self.backend.size = size
            service = self.started(option, memory=2 * half)
            case = (inline, option, size)
            self.assertEqual(service.read([get(b"key")]), [None] if reads else None, case)
            answer = service.submit([get(b"key")], reads_only=True)
            # What only reads needs the storage thread only where the reactor could have read.
            self.assertEqual(bool(self.pool.waiting), reads, case)
            self.assertEqual(bool(self.read_pool.waiting), not reads, case)
            self.run_pools()
            self.assertEqual(self.results(answer), [None])
            self.stop(service)

    def test_the_choice_follows_the_store(self) -> None:
        service = self.started(memory=1 << 20)
        self.backend.size = 1 << 20
        self.assertIsNotNone(service.read([get(b"key")]))
        self.now(service, put(b"key"))
        self.assertIsNone(service.read([get(b"key")]))
        self.backend.size = 0
        self.now(service, put(b"key"))
        self.assertIsNotNone(service.read([get(b"key")]))

    def test_what_wants_to_write_is_for_a_batch(self) -> None:
        service = self.started()
        steps = [put(b"key")]
        self.assertIsNone(service.read(steps))
        self.assertEqual(self.now(service, *steps)[0][0], operations.STORED)

    def test_what_fails_is_for_a_batch(self) -> None:
        service = self.started()
        self.backend.faults["read"] = StorageError("no")
        self.assertIsNone(service.read([get(b"key")]))
        self.assertIsNone(service.read([get(b"key"), step(fail, b"key")]))
        results = self.now(service, get(b"key"), step(fail, b"key"))
        self.assertIsNone(results[0])
        self.assertIsInstance(results[1], Trouble)
        self.flushLoggedErrors(Trouble)

    def test_a_read_thread_that_meets_a_write_hands_it_to_a_batch(self) -> None:
        self.backend = ScriptedBackend(inline=False)
        service = self.started()
        answer = service.submit([get(b"key"), put(b"key")], reads_only=True)
        self.assertEqual((len(self.read_pool.waiting), len(self.pool.waiting)), (1, 0))
        self.read_pool.run()
        self.assertNoResult(answer)
        self.assertEqual(len(self.pool.waiting), 1)
        self.pool.run()
        self.assertEqual(self.results(answer)[1][0], operations.STORED)

    def test_so_does_one_that_meets_a_fault(self) -> None:
        self.backend = ScriptedBackend(inline=False)
        service = self.started()
        for fault in (StorageError("no"), Trouble("never thought of"), NeedsWrite()):
            self.backend.faults["read"] = fault
            answer = service.submit([get(b"key")], reads_only=True)
            self.run_pools()
            self.assertEqual(self.results(answer), [None])

    def test_read_threads_do_not_wait_for_a_batch(self) -> None:
        self.backend = ScriptedBackend(inline=False)
        service = self.started()
        written = service.submit([put(b"key")])
        read = service.submit([get(b"key")], reads_only=True)
        self.read_pool.run()
        self.assertEqual(self.results(read), [None])
        self.assertNoResult(written)


class TimeTests(StorageCase):
    """The clock."""

    def test_it_never_goes_back(self) -> None:
        service = self.started()
        for seconds in (START + 10.5, START + 5, START - 3600, START + 11):
            self.reactor.rightNow = seconds
            service.read([get(b"key")])
            self.now(service, put(b"key"))
        self.assertEqual(
            self.backend.times, [(START + 10) * 1000 + 500] * 6 + [(START + 11) * 1000] * 2
        )

    def test_an_expired_item_does_not_come_back_with_an_earlier_hour(self) -> None:
        service = self.started()
        self.now(service, put(b"key", expiry=(START + 60) * 1000))
        self.reactor.advance(60)
        self.assertEqual(service.read([get(b"key")]), [None])
        self.reactor.rightNow = START - 3600.0
        self.assertEqual(service.read([get(b"key")]), [None])


class MaintenanceTests(StorageCase):
    """What the backend does beside the batches."""

    def make_due(self, service: StorageService) -> None:
        self.backend.due = True
        answer = service.submit([put(b"key")])
        self.pool.run()
        self.successResultOf(answer)

    def test_it_is_done_when_due_and_holds_up_no_batch(self) -> None:
        service = self.started()
        self.now(service, put(b"key"))
        self.assertEqual(self.maintenance_pool.waiting, [])
        self.make_due(service)
        self.assertEqual(len(self.maintenance_pool.waiting), 1)
        self.make_due(service)
        self.assertEqual(len(self.maintenance_pool.waiting), 1, "twice at a time")
        self.maintenance_pool.run()
        self.assertEqual(self.backend.calls.count("maintain"), 1)

    def test_what_becomes_due_meanwhile_is_done_without_another_batch(self) -> None:
        service = self.started()
        self.make_due(service)
        self.backend.due_again = True
        self.run_pools()
        self.assertEqual(self.backend.calls.count("maintain"), 2)
        self.assertFalse(self.backend.due)

    def test_after_a_failure_it_is_tried_again_but_not_at_once(self) -> None:
        service = self.started()
        self.backend.faults["maintain"] = StoreFull("no room")
        with capturedLogs() as events:
            self.make_due(service)
            self.maintenance_pool.run()
        self.assertIn("no room", "".join(map(formatEvent, events)))
        self.make_due(service)
        self.assertEqual(self.maintenance_pool.waiting, [])
        self.reactor.advance(1)
        self.pool.run()
        self.assertEqual(len(self.maintenance_pool.waiting), 1)
        self.maintenance_pool.run()
        self.assertFalse(self.backend.due)

    def test_stopping_waits_for_it(self) -> None:
        service = self.started()
        self.make_due(service)
        stopped = service.stopService()
        self.assertNoResult(stopped)
        self.maintenance_pool.run()
        self.successResultOf(stopped)
        self.assertEqual(self.backend.calls[-2:], ["maintain", "close"])


class LogTests(StorageCase):
    """What the log says."""

    def logged(self, *steps: Step, service: StorageService) -> "list[str]":
        """What is logged when `steps` are run."""
        with capturedLogs() as events:
            self.now(service, *steps)
        return [formatEvent(event) for event in events]

    def full(self) -> Step:
        return step(_raise, b"key", StoreFull("there is no room"))

    def sick(self) -> Step:
        return step(_raise, b"key", StorageError("the disk is on fire"))

    def test_a_fault_of_the_store_once_a_minute(self) -> None:
        service = self.started()
        (line,) = self.logged(self.full(), self.full(), service=service)
        self.assertIn("there is no room", line)
        self.assertEqual(self.logged(self.full(), service=service), [])
        self.reactor.advance(59)
        self.assertEqual(self.logged(self.full(), service=service), [])
        self.reactor.advance(1)
        self.assertEqual(len(self.logged(self.full(), service=service)), 1)

    def test_each_kind_of_it(self) -> None:
        service = self.started()
        first, second = self.logged(self.full(), self.sick(), self.full(), service=service)
        self.assertIn("there is no room", first)
        self.assertIn("the disk is on fire", second)

    def test_a_fault_of_ours_with_its_traceback(self) -> None:
        service = self.started()
        self.now(service, step(fail, b"key"))
        (failure,) = self.flushLoggedErrors(Trouble)
        self.assertIn("Trouble", failure.getTraceback())

    def test_a_batch_that_fails_is_the_result_of_each_of_its_steps(self) -> None:
        service = self.started()
        self.backend.faults["perform"] = StoreFull("there is no room")
        with capturedLogs() as events:
            results = self.now(service, put(b"a"), get(b"b"))
        self.assertEqual([type(result) for result in results], [StoreFull, StoreFull])
        self.assertEqual(len(events), 1)
        self.assertEqual(self.now(service, get(b"a")), [None])

    def test_a_batch_that_fails_by_a_fault_of_ours_too_and_with_its_traceback(self) -> None:
        service = self.started()
        self.backend.faults["perform"] = Trouble("never thought of")
        results = self.now(service, put(b"a"), get(b"b"))
        self.assertEqual([isinstance(result, Exception) for result in results], [True, True])
        (failure,) = self.flushLoggedErrors(Trouble)
        self.assertIn("never thought of", failure.getTraceback())
        self.assertEqual(self.now(service, get(b"a")), [None])

    def test_damage_wherever_it_was_met_once_a_minute(self) -> None:
        for inline in (True, False):
            self.backend = ScriptedBackend(inline)
            service = self.started()
            for reads_only in (True, False):
                self.reactor.advance(60)
                with capturedLogs() as events:
                    for _ in range(2):
                        self.backend.damaged += 1
                        if not (reads_only and service.read([get(b"key")])):
                            service.submit([get(b"key")], reads_only)
                        self.run_pools()
                self.assertEqual(len(events), 1, (inline, events))
                self.assertIn("damaged", formatEvent(events[0]))
            self.stop(service)

    def test_what_was_opened_and_what_people_must_be_told(self) -> None:
        self.backend.notice = "the files have been moved"
        with capturedLogs() as events:
            self.started()
        notice, opened = events
        self.assertEqual(notice["log_level"].name, "error")
        self.assertIn("the files have been moved", formatEvent(notice))
        self.assertIn("scripted:", formatEvent(opened))

    def test_no_value_is_ever_in_it(self) -> None:
        service = self.started()
        with capturedLogs() as events:
            strange = step(_raise, b"key", KeyError())
            self.now(service, put(b"key", b"secret"), self.full(), strange)
        self.flushLoggedErrors(KeyError)
        self.assertNotIn("secret", "".join(map(formatEvent, events)))


class StartAndStopTests(StorageCase):
    """Nothing before the start; all of it undone by the stop."""

    def test_nothing_happens_before_the_start(self) -> None:
        service = self.service()
        self.assertEqual(self.backend.calls, [])
        self.assertFalse(self.pool.running or self.read_pool.running)
        results = self.results(service.submit([get(b"key")]))
        self.assertIsInstance(results[0], StorageError)
        self.successResultOf(service.stopService())

    def test_a_store_that_cannot_be_opened_starts_nothing(self) -> None:
        self.backend.faults["open"] = StartError("in use")
        service = self.service()
        self.assertRaises(StartError, service.startService)
        self.assertFalse(self.pool.running or self.read_pool.running or service.running)
        self.assertEqual(sys.getswitchinterval(), SWITCH_INTERVAL)
        self.assertEqual(gc.get_threshold(), GC_THRESHOLD)

    def test_stopping_finishes_what_is_queued_and_then_closes(self) -> None:
        service = self.started()
        answers = [service.submit([put(b"%d" % number)]) for number in range(3)]
        stopped = service.stopService()
        self.assertNoResult(stopped)
        self.pool.run()
        self.assertNoResult(stopped)
        self.assertNotIn("close", self.backend.calls)
        self.pool.run()
        self.successResultOf(stopped)
        for answer in answers:
            self.assertEqual(self.results(answer)[0][0], operations.STORED)
        self.assertEqual(self.backend.calls, ["open", "perform", "perform", "close"])
        self.assertFalse(
            self.pool.running or self.read_pool.running or self.maintenance_pool.running
        )

    def test_stopping_waits_for_read_threads_and_what_they_hand_on(self) -> None:
        self.backend = ScriptedBackend(inline=False)
        service = self.started()
        answer = service.submit([put(b"key")], reads_only=True)
        stopped = service.stopService()
        self.assertNoResult(stopped)
        self.read_pool.run()
        self.assertNoResult(stopped)
        self.pool.run()
        self.successResultOf(stopped)
        self.assertEqual(self.results(answer)[0][0], operations.STORED)

    def test_what_is_submitted_after_that_is_answered_with_errors(self) -> None:
        service = self.started()
        self.stop(service)
        for reads_only in (False, True):
            results = self.results(service.submit([get(b"a"), put(b"b")], reads_only))
            self.assertEqual([type(result) for result in results], [StorageError] * 2)
        self.assertIsNone(service.read([get(b"a")]))
        self.assertEqual(self.backend.calls.count("perform"), 0)

    def test_what_is_submitted_while_it_stops_is_answered_with_errors(self) -> None:
        service = self.started()
        service.submit([put(b"key")])
        service.stopService()
        results = self.results(service.submit([get(b"a")]))
        self.assertIsInstance(results[0], StorageError)

    def test_it_can_be_started_again(self) -> None:
        service = self.started()
        self.now(service, put(b"key"))
        self.stop(service)
        service.startService()
        self.assertEqual(self.now(service, counts()), [(0, 0)])

    def test_the_interpreter_is_given_back_as_it_was(self) -> None:
        service = self.started()
        self.assertNotEqual(sys.getswitchinterval(), SWITCH_INTERVAL)
        self.stop(service)
        self.assertEqual(sys.getswitchinterval(), SWITCH_INTERVAL)
        self.assertEqual(gc.get_threshold(), GC_THRESHOLD)


class ClockTests(StorageCase):
    """Time, from one run to the next."""

    def test_a_clock_set_back_between_two_runs_brings_nothing_back(self) -> None:
        self.backend.changed = START * 1000 + 3_600_000
        service = self.started()
        self.assertEqual(service.now(), START * 1000 + 3_600_000)
        self.reactor.advance(5)
        self.assertEqual(service.now(), START * 1000 + 3_605_000)

    def test_a_clock_that_was_days_ahead_is_not_believed(self) -> None:
        self.backend.changed = START * 1000 + 3 * 86_400_000
        self.assertEqual(self.started().now(), START * 1000)


def _raise(transaction: object, key: bytes, fault: Exception) -> None:
    raise fault
