"""
The pipeline: order of replies, what waits, and what becomes of a peer that does not read.

A `Socket` is a transport that behaves towards its producer as Twisted's own do.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from socket import SO_KEEPALIVE, TCP_NODELAY
from typing import Any, Optional

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import MOST_BYTES, MOST_STEPS, Results, Step, Steps
from mctwist.operations import constant
from mctwist.protocols import pipeline, replies
from mctwist.protocols.pipeline import CLOSE_TIMEOUT, MOST_WAITING, Pipeline
from mctwist.stats import Stats
from mctwist.testing import NOW, ManualReactor, get, put, step
from mctwist.watch import Watchers
from tests.wire import Server

MEGABYTE = 1_000_000
#: What Twisted's transports buffer before they pause their producer.
BUFFER = 64 * 1024


class Socket(StringTransport):
    """
    A transport that takes what it is given, and pauses its producer while it holds a lot.

    :ivar held: bytes written that the peer has not read.
    :ivar most: the most that there has ever been of them.
    :ivar reading: it reads from the peer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = 0
        self.most = 0
        self.reading = True
        self.pauses = 0
        self._paused = False

    def write(self, data: bytes) -> None:
        self.held += len(data)
        self.most = max(self.most, self.held)
        self._tell()

    def drain(self, size: Optional[int] = None) -> None:
        """The peer reads `size` bytes; None: all there are."""
        self.held -= self.held if size is None else min(size, self.held)
        if self.held == 0 and self._paused:
            self._paused = False
            if self.producer is not None:
                self.producer.resumeProducing()

    def _tell(self) -> None:
        if self.held > BUFFER and self.producer is not None and not self._paused:
            self._paused = True
            self.producer.pauseProducing()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.reading = False
        self.pauses += 1

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.reading = True


class PipelineCase(SynchronousTestCase):
    """A server, and clients that pipeline."""

    def server(self, **options: Any) -> Server:
        server = Server(**options)
        self.addCleanup(server.stop)
        return server

    def filled(self, keys: int, size: int) -> Server:
        """A server that holds `keys` items of `size` bytes, or more, which share their memory."""
        backend = MemoryBackend()
        server = self.server(backend=backend)
        value = b"v" * size
        for start in range(0, keys, 1000):
            steps = [put(b"k%d" % number, value) for number in range(start, start + 1000)]
            backend.perform([steps], NOW)
        return server


class OrderTests(PipelineCase):
    """Replies leave in the order of the commands."""

    def test_a_read_does_not_overtake_a_write_that_waits(self) -> None:
        server = self.server()
        client = server.connect()
        client.send(b"set k 0 0 1\r\nv\r\n")
        client.send(b"get k\r\nversion\r\n")
        client.send(b"delete k\r\n")
        client.send(b"get k\r\n")
        server.reactor.turn()
        self.assertEqual(client.answers(), b"")
        server.settle()
        stored, value, data, end, version, deleted, last = client.answers().splitlines()
        self.assertEqual((stored, value, data, end), (b"STORED", b"VALUE k 0 1", b"v", b"END"))
        self.assertTrue(version.startswith(b"VERSION"))
        self.assertEqual((deleted, last), (b"DELETED", b"END"))

    def test_an_error_does_not_overtake_a_write_that_waits(self) -> None:
        server = self.server()
        client = server.connect()
        client.send(b"set k 0 0 1\r\nv\r\n")
        client.send(b"bogus\r\nset k 0 0 x\r\n")
        self.assertEqual(client.answers(), b"")
        server.settle()
        self.assertEqual(
            client.answers(),
            b"STORED\r\nERROR\r\nCLIENT_ERROR bad command line format\r\n",
        )

    def test_a_connection_waits_for_its_own_writes_only(self) -> None:
        server = self.server()
        writer, reader = server.connect(), server.connect()
        writer.send(b"set k 0 0 1\r\nv\r\n")
        reader.send(b"get k\r\n")
        self.assertEqual(reader.answers(), b"END\r\n")
        self.assertEqual(writer.answers(), b"")

    def test_it_sees_its_own_writes(self) -> None:
        server = self.server()
        client = server.connect()
        sent = b"".join(b"set k 0 0 2 noreply\r\n%02d\r\nget k\r\n" % n for n in range(50))
        expected = b"".join(b"VALUE k 0 2\r\n%02d\r\nEND\r\n" % n for n in range(50))
        for size in (len(sent), 1000, 7):
            for place in range(0, len(sent), size):
                client.send(sent[place : place + size])
            server.settle()
            self.assertEqual(client.answers(), expected, size)

    def test_instalments_keep_the_order(self) -> None:
        server = self.filled(20, 300 * 1024)
        client = server.connect()
        client.send(b"get " + b" ".join(b"k%d" % n for n in range(20)) + b"\r\n")
        client.send(b"set x 0 0 1\r\nv\r\n")
        client.send(b"get x k1\r\n")
        server.settle()
        heads = [line for line in client.answers().splitlines() if not line.startswith(b"vv")]
        values = [b"VALUE k%d 0 307200" % n for n in range(20)]
        self.assertEqual(
            heads, [*values, b"END", b"STORED", b"VALUE x 0 1", b"v", values[1], b"END"]
        )


class CountingBackend(MemoryBackend):
    """A memory backend that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.reads = 0

    def perform(self, lists: Sequence[Steps], now: int) -> "list[Results]":
        self.batches.append(len(lists))
        return super().perform(lists, now)

    def read(self, steps: Steps, now: int, patient: bool = False) -> Results:
        self.reads += 1
        return super().read(steps, now, patient)


class GroupTests(PipelineCase):
    """The unit of work is what one read brought."""

    def test_the_writes_of_many_connections_are_one_batch(self) -> None:
        backend = CountingBackend()
        server = self.server(backend=backend)
        clients = [server.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(b"set k%d 0 0 1\r\nv\r\nset l 0 0 1\r\nv\r\n" % number)
        server.settle()
        self.assertEqual(backend.batches, [1, 19])
        for client in clients:
            self.assertEqual(client.answers(), b"STORED\r\n" * 2)

    def test_everything_in_one_read_is_one_list(self) -> None:
        backend = CountingBackend()
        server = self.server(backend=backend)
        client = server.connect()
        client.ask(b"set a 0 0 1\r\nv\r\nget a\r\nincr n 1\r\nbogus\r\n" * 50)
        self.assertEqual(backend.batches, [1])
        client.ask(b"get a b c\r\ngets a\r\n" * 50)
        self.assertEqual((backend.batches, backend.reads), ([1], 1))

    def test_what_writes_is_not_tried_as_a_read(self) -> None:
        backend = CountingBackend()
        client = self.server(backend=backend).connect()
        for command in (b"delete k", b"incr k 1", b"touch k 0", b"gat 0 k", b"get k\r\ndelete k"):
            client.ask(command + b"\r\n")
        self.assertEqual((len(backend.batches), backend.reads), (5, 0))

    def test_an_answer_is_one_write(self) -> None:
        server = self.server()
        transport = Writes()
        client = server.connect(transport)
        client.ask(b"set a 0 0 1\r\nv\r\n" * 10 + b"get a\r\n" * 10)
        self.assertEqual(len(transport.writes), 1)


class Writes(StringTransport):
    """A transport that remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)


class FlowTests(PipelineCase):
    """A peer that does not read is not read from, and nothing is run for it."""

    def test_it_is_the_producer_of_its_transport(self) -> None:
        server = self.server()
        client = server.connect()
        verifyObject(IPushProducer, client.transport.producer)
        self.assertTrue(client.transport.streaming)

    def test_nothing_is_run_while_the_peer_does_not_read(self) -> None:
        backend = CountingBackend()
        server = self.server(backend=backend)
        socket = Socket()
        client = server.connect(socket)
        client.send(b"set k 0 0 100000\r\n" + b"v" * 100_000 + b"\r\n")
        server.settle()
        client.send(b"get k\r\n")
        self.assertFalse(socket.reading)
        reads, batches = backend.reads, len(backend.batches)
        # What was on its way already.
        client.send(b"get k\r\nset l 0 0 1\r\nv\r\n")
        server.settle()
        self.assertEqual((backend.reads, len(backend.batches)), (reads, batches))
        socket.drain()
        server.settle()
        self.assertTrue(backend.reads + len(backend.batches) > reads + batches)
        socket.drain()
        server.settle()
        self.assertTrue(socket.reading)
        self.assertEqual(server.connect().ask(b"get l\r\n"), b"VALUE l 0 1\r\nv\r\nEND\r\n")

    def test_a_get_of_ten_thousand_keys_is_held_an_instalment_at_a_time(self) -> None:
        keys = 10_000
        server = self.filled(keys, MEGABYTE)
        socket = Socket()
        client = server.connect(socket)
        client.send(b"get " + b" ".join(b"k%d" % number for number in range(keys)) + b"\r\n")
        for _ in range(40):
            server.settle()
            self.assertTrue(0 < socket.held <= MOST_BYTES + 2 * MEGABYTE, socket.held)
            self.assertFalse(socket.reading)
            socket.drain()
        self.assertTrue(socket.most <= MOST_BYTES + 2 * MEGABYTE, socket.most)
        # And once it is gone, nothing more of it is run.
        client.protocol.connectionLost(Failure(ConnectionDone()))
        hits = server.stats.get_hits
        server.settle()
        self.assertEqual(server.stats.get_hits, hits)

    def test_a_get_of_ten_thousand_keys_is_answered_to_the_end(self) -> None:
        keys = 10_000
        server = self.filled(keys, 1000)
        socket = Socket()
        client = server.connect(socket)
        client.send(b"get " + b" ".join(b"k%d" % number for number in range(keys)) + b"\r\n")
        for _ in range(keys):
            server.settle()
            if not socket.held:
                break
            socket.drain()
        self.assertEqual(server.stats.get_hits, keys)
        self.assertTrue(socket.reading)

    def test_a_turn_that_was_put_off_is_not_taken_when_the_peer_has_stopped_reading(self) -> None:
        server = self.filled(1000, MOST_BYTES)
        client = server.connect()
        client.send(b"get k1\r\n" * 9)
        hits = server.stats.get_hits
        client.transport.producer.pauseProducing()
        server.settle()
        self.assertEqual(server.stats.get_hits, hits)
        client.transport.producer.resumeProducing()
        server.settle()
        self.assertEqual(server.stats.get_hits, 9)

    def test_each_instalment_has_a_turn_of_the_reactor_of_its_own(self) -> None:
        server = self.filled(1000, MOST_BYTES)
        client, other = server.connect(), server.connect()
        client.send(b"get k1\r\n" * 9)
        for turn in range(1, 4):
            self.assertTrue(0 < server.stats.get_hits <= 2 * turn, server.stats.get_hits)
            other.send(b"bogus\r\n")
            self.assertEqual(other.answers(), b"ERROR\r\n")
            server.reactor.turn()
        server.settle()
        self.assertEqual(server.stats.get_hits, 9)

    def test_reading_stops_when_much_waits_and_goes_on_when_it_does_not(self) -> None:
        server = self.server()
        socket = Socket()
        client = server.connect(socket)
        client.send(b"delete k\r\n")  # in the storage thread
        piece = b"delete k noreply\r\n" * 1000
        sent = 0
        while socket.reading:
            self.assertTrue(sent <= MOST_WAITING, sent)
            client.send(piece)
            sent += len(piece)
        self.assertTrue(sent > MOST_WAITING)
        server.settle()
        self.assertTrue(socket.reading)
        self.assertEqual(socket.held, len(b"NOT_FOUND\r\n"))

    def test_a_large_value_that_waits_stops_it_too(self) -> None:
        server = self.server()
        socket = Socket()
        client = server.connect(socket)
        client.send(b"delete k\r\n")
        client.send(b"set k 0 0 500000\r\n")
        for _ in range(10):
            self.assertTrue(socket.reading)  # or the rest would never come
            client.send(b"v" * 50_000)
        client.send(b"\r\n")
        self.assertFalse(socket.reading)
        server.settle()
        self.assertTrue(socket.reading)

    def test_what_is_put_off_to_a_later_turn_still_counts_as_waiting(self) -> None:
        # A peer that reads all it gets, and asks for much more than it can be given at once.
        server = self.filled(1000, MOST_BYTES)
        swift = Swift()
        client = server.connect(swift)
        asked = 0
        for _ in range(30):
            if swift.producerState == "producing":
                client.send(b"get k1\r\n" * 8000)
                asked += 8000
            server.reactor.turn()
        waiting = (asked - server.stats.get_hits) * len(b"get k1\r\n")
        client.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(waiting <= 2 * MOST_WAITING, f"{waiting} bytes of commands wait")

    def test_what_waits_is_taken_an_instalment_at_a_time(self) -> None:
        server = self.server()
        client = server.connect()
        assert client.protocol._pipeline is not None
        made = 0

        def steps() -> Iterator[Step]:
            nonlocal made
            for number in range(10_000):
                made += 1
                yield step(constant, b"", b"%d\r\n" % number, render=replies.line)

        client.send(b"delete k\r\n")  # in the storage thread
        client.protocol._pipeline.run(steps(), True, 10)
        client.send(b"version\r\n")
        self.assertEqual(made, 0)
        server.pool.run()
        for turn in range(10):
            self.assertTrue(made <= turn * MOST_STEPS, made)
            server.reactor.turn()
        server.settle()
        first, *numbers, last = client.answers().split()[:-1]
        self.assertEqual((first, last), (b"NOT_FOUND", b"VERSION"))
        self.assertEqual(numbers, [b"%d" % number for number in range(10_000)])


class Swift(StringTransport):
    """A transport whose peer has read everything as soon as it is written."""

    def write(self, data: bytes) -> None:
        pass


class CloseTests(PipelineCase):
    """The end of a connection."""

    def test_what_is_owed_is_answered_first(self) -> None:
        server = self.server()
        for hang_up in (b"quit\r\n", b"GET / HTTP/1.1\r\n"):
            client = server.connect()
            client.send(b"set k 0 0 1\r\nv\r\nget k\r\n" + hang_up + b"get k\r\n")
            self.assertFalse(client.closed)
            server.settle()
            self.assertEqual(client.answers(), b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n")
            self.assertTrue(client.closed)
            self.assertIsNone(client.transport.producer)

    def test_the_producer_is_gone_before_the_connection_is(self) -> None:
        order: list[str] = []

        class Ordered(StringTransport):
            def unregisterProducer(self) -> None:
                order.append("unregister")
                super().unregisterProducer()

            def loseConnection(self) -> None:
                order.append("lose")
                super().loseConnection()

        client = self.server().connect(Ordered())
        client.send(b"quit\r\n")
        self.assertEqual(order, ["unregister", "lose"])

    def test_the_goodbye_of_a_peer_that_was_not_read_is_heard(self) -> None:
        order: list[str] = []

        class Ordered(Socket):
            def resumeProducing(self) -> None:
                order.append("resume")
                super().resumeProducing()

            def unregisterProducer(self) -> None:
                order.append("unregister")
                super().unregisterProducer()

            def loseConnection(self) -> None:
                order.append("lose")
                super().loseConnection()

        socket = Ordered()
        client = self.filled(1000, MEGABYTE).connect(socket)
        client.send(b"get k1\r\n")
        self.assertFalse(socket.reading)
        client.protocol.finish()
        self.assertEqual(order, ["resume", "unregister", "lose"])
        self.assertTrue(socket.reading)

    def test_a_half_closed_peer_gets_its_answers(self) -> None:
        server = self.server()
        client = server.connect()
        client.send(b"set k 0 0 1\r\nv\r\nget k\r\nget unfinis")
        client.protocol.readConnectionLost()
        self.assertFalse(client.closed)
        server.settle()
        self.assertEqual(client.answers(), b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n")
        self.assertTrue(client.closed)
        client.protocol.writeConnectionLost()

    def test_a_half_closed_peer_that_reads_slowly_gets_them_all(self) -> None:
        server = self.filled(1000, MEGABYTE)
        socket = Socket()
        client = server.connect(socket)
        client.send(b"get k1\r\n" * 20)
        client.protocol.readConnectionLost()
        for _ in range(40):
            self.assertFalse(socket.disconnecting and server.stats.get_hits < 20)
            socket.drain(500_000)
            server.settle()
            server.reactor.advance(CLOSE_TIMEOUT / 5)
            socket.drain()
            server.settle()
            if socket.disconnecting:
                break
        self.assertEqual(server.stats.get_hits, 20)
        self.assertTrue(socket.disconnecting)

    def test_one_that_does_not_read_is_dropped_after_a_while(self) -> None:
        server = self.filled(1000, MEGABYTE)
        socket = Socket()
        client = server.connect(socket)
        client.send(b"get k1\r\n" * 20)
        client.protocol.finish()
        server.reactor.advance(CLOSE_TIMEOUT - 1)
        self.assertFalse(socket.disconnected)
        server.reactor.advance(1)
        self.assertTrue(socket.disconnected)

    def test_so_is_one_that_does_not_read_the_last_of_it(self) -> None:
        server = self.filled(1000, MEGABYTE)
        socket = Socket()
        client = server.connect(socket)
        client.send(b"get k1\r\nquit\r\n")
        self.assertTrue(socket.disconnecting)
        self.assertFalse(socket.disconnected)
        server.reactor.advance(CLOSE_TIMEOUT)
        self.assertTrue(socket.disconnected)

    def test_but_not_one_that_reads_it_slowly(self) -> None:
        server = self.filled(1000, MEGABYTE)
        slow = Slow()
        client = server.connect(slow)
        client.send(b"get k1\r\nquit\r\n")
        self.assertIsNone(slow.producer)
        for _ in range(10):
            slow.read(20_000)
            server.reactor.advance(CLOSE_TIMEOUT)
            self.assertFalse(slow.aborted)
        server.reactor.advance(CLOSE_TIMEOUT)
        self.assertTrue(slow.aborted)

    def test_nor_one_whose_answer_is_not_ready(self) -> None:
        server = self.server()
        slow = Slow()
        client = server.connect(slow)
        client.send(b"set k 0 0 1\r\nv\r\nquit\r\n")
        server.reactor.pump([CLOSE_TIMEOUT] * 3)
        self.assertFalse(slow.aborted)
        server.settle()
        slow.read(20)
        self.assertEqual(slow.taken, b"STORED\r\n")

    def test_one_that_has_gone_is_not(self) -> None:
        server = self.server()
        before = server.reactor.getDelayedCalls()
        client = server.connect()
        client.send(b"quit\r\n")
        client.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(server.reactor.getDelayedCalls(), before)
        server.reactor.advance(CLOSE_TIMEOUT)
        self.assertFalse(client.transport.disconnected)

    def test_finishing_twice_is_finishing(self) -> None:
        client = self.server().connect()
        client.protocol.finish()
        client.protocol.finish()
        client.protocol.readConnectionLost()
        self.assertTrue(client.closed)

    def test_a_connection_lost_while_its_batch_is_under_way(self) -> None:
        server = self.server()
        client = server.connect()
        client.send(b"set k 0 0 1\r\nv\r\n")
        client.send(b"set l 0 0 1\r\nv\r\n")
        client.protocol.connectionLost(Failure(ConnectionDone()))
        server.settle()
        self.assertEqual(client.answers(), b"")
        self.assertEqual(server.lost, [client.protocol])
        # What was in the batch has happened; what had not been given to the store has not.
        other = server.connect()
        self.assertEqual(other.ask(b"get k\r\n"), b"VALUE k 0 1\r\nv\r\nEND\r\n")
        self.assertEqual(other.ask(b"get l\r\n"), b"END\r\n")

    def test_a_transport_that_stops_its_producer(self) -> None:
        server = self.server()
        client = server.connect()
        client.send(b"set k 0 0 1\r\nv\r\n")
        client.send(b"set l 0 0 1\r\nv\r\n")
        client.transport.producer.stopProducing()
        client.protocol.connectionLost(Failure(ConnectionDone()))
        server.settle()
        self.assertEqual(server.connect().ask(b"get l\r\n"), b"END\r\n")


class Slow(FileDescriptor):
    """
    Twisted's own buffers, without a socket: the peer takes what `read` says.

    :ivar taken: by the peer; :ivar aborted: the connection has been dropped.
    """

    def __init__(self) -> None:
        reactor: Any = NoReactor()
        super().__init__(reactor)
        self.connected = 1
        self.taken = b""
        self.aborted = False
        self._room = 0

    def read(self, size: int) -> None:
        self._room = size
        self.doWrite()

    def writeSomeData(self, data: bytes) -> int:
        taken = bytes(data[: self._room])
        self.taken += taken
        return len(taken)

    def abortConnection(self) -> None:
        self.aborted = True


class NoReactor:
    """A reactor that waits for no descriptor."""

    def _ignore(self, descriptor: object) -> None:
        pass

    addReader = removeReader = addWriter = removeWriter = _ignore


class StoreOfOne:
    """An IStorage that answers every step with its key, at once."""

    def read(self, steps: Steps) -> Optional[Results]:
        return [key for _, key, *_ in steps]


class DirectTests(SynchronousTestCase):
    """An answer is sent at once only by the two transports of which all is known."""

    def pipeline(self, transport: Any) -> Pipeline:
        reactor = ManualReactor()
        storage: Any = StoreOfOne()
        stats = Stats(reactor.seconds)
        watchers = Watchers(stats, reactor.seconds)
        return Pipeline(transport, storage, stats, lambda step, fault: b"fault", watchers, reactor)

    def run_one(self, transport: Any, data: bytes = b"answer") -> None:
        def spell(stats: Any, key: bytes, result: bytes) -> bytes:
            return result

        steps: list[Step] = [step(get, data, render=spell)]
        self.pipeline(transport).run(steps, True, 10)

    def plain(self, cls: Any, takes: Optional[int] = None) -> Any:
        """A transport of class `cls` that has no socket, and whose peer takes so many bytes."""

        class FakeSocket:
            sent = b""

            def __init__(self) -> None:
                self.options: dict[int, bool] = {}

            def send(self, data: bytes) -> int:
                if takes == 0:
                    raise BlockingIOError
                taken = data[:takes]
                self.sent += taken
                return len(taken)

            def setsockopt(self, level: int, name: int, enabled: bool) -> None:
                self.options[name] = enabled

        transport = cls.__new__(cls)
        transport.socket = FakeSocket()
        transport.TLS = False
        transport._tempDataLen = 0
        transport.dataBuffer = b""
        transport.written = []
        transport.write = transport.written.append
        transport.registerProducer = lambda producer, streaming: None
        transport.calls = []
        for name in ("unregisterProducer", "loseConnection", "loseWriteConnection"):
            setattr(transport, name, partial(transport.calls.append, name))
        return transport

    def test_a_plain_transport_with_nothing_buffered(self) -> None:
        for cls in (tcp.Server, unix.Server):
            transport = self.plain(cls)
            self.run_one(transport)
            self.assertEqual((transport.socket.sent, transport.written), (b"answer", []))

    def test_what_it_does_not_take_is_written(self) -> None:
        for takes in (0, 1, 5):
            transport = self.plain(tcp.Server, takes)
            self.run_one(transport)
            self.assertEqual(transport.socket.sent, b"answer"[:takes])
            self.assertEqual(transport.written, [b"answer"[takes:]])

    def test_what_is_buffered_goes_first(self) -> None:
        for name, value in (("_tempDataLen", 1), ("dataBuffer", b"before"), ("TLS", True)):
            transport = self.plain(tcp.Server)
            setattr(transport, name, value)
            self.run_one(transport)
            self.assertEqual((transport.socket.sent, transport.written), (b"", [b"answer"]), name)

    def test_any_other_transport_even_one_that_looks_like_it(self) -> None:
        class Wrapped(tcp.Server):
            """As a subclass may be: who knows what it does with what is written."""

        for cls in (Wrapped, tcp.Client, tcp.Connection):
            transport = self.plain(cls)
            self.run_one(transport)
            self.assertEqual((transport.socket.sent, transport.written), (b"", [b"answer"]))

        class Proxy(StringTransport):
            """As TLS and PROXY wrappers are: what they lack they take from what is inside."""

            def __getattr__(self, name: str) -> Any:
                raise AssertionError(f"{name} was asked of a wrapper")

        proxy = Proxy()
        self.run_one(proxy)
        self.assertEqual(proxy.value(), b"answer")

    def test_one_that_lingers_closes_only_its_own_side_until_the_peer_has_closed(self) -> None:
        for cls in (tcp.Server, unix.Server):
            transport = self.plain(cls)
            pipeline = self.pipeline(transport)
            pipeline.close(lingering=True)
            pipeline.close(lingering=True)
            self.assertEqual(transport.calls, ["unregisterProducer", "loseWriteConnection"])
            pipeline.close()
            self.assertEqual(transport.calls[2:], ["loseConnection"])
            pipeline.close()
            self.assertEqual(len(transport.calls), 3)

    def test_one_that_lingers_can_be_left(self) -> None:
        transport = self.plain(tcp.Server)
        pipeline = self.pipeline(transport)
        pipeline.close(lingering=True)
        self.assertFalse(pipeline.owes())
        pipeline.leave()
        self.assertEqual(transport.calls[2:], ["loseConnection"])

    def test_one_behind_tls_has_a_goodbye_of_its_own(self) -> None:
        transport = StringTransport()
        self.pipeline(transport).close(lingering=True)
        self.assertTrue(transport.disconnecting)

    def test_tcp_does_not_delay_and_looks_whether_the_peer_is_there(self) -> None:
        transport = self.plain(tcp.Server)
        self.pipeline(transport)
        options = {TCP_NODELAY: True, SO_KEEPALIVE: True}
        self.assertEqual(transport.socket.options, options)
        transport = self.plain(unix.Server)
        self.pipeline(transport)
        self.assertEqual(transport.socket.options, {})

    def test_those_are_the_two(self) -> None:
        self.assertEqual(pipeline._DIRECT, (tcp.Server, unix.Server))

    def test_an_answer_that_cannot_be_rendered_is_an_error_and_in_the_log(self) -> None:
        def spoil(stats: Any, key: bytes, result: bytes) -> bytes:
            raise ZeroDivisionError

        transport = StringTransport()
        self.pipeline(transport).run([step(get, b"key", render=spoil)], True, 10)
        self.assertEqual(transport.value(), b"fault")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
