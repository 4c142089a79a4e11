"""The listening side: how many may come in, and the order of start and stop."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Optional

from twisted.application.service import Application, IService, Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogPublisher, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mctwist.interfaces import StartError
from mctwist.server import (
    LINGER,
    REFUSAL_TIMEOUT,
    SILENCE,
    STOP_TIMEOUT,
    ConnectionFactory,
    Connections,
    Listener,
    RootService,
)
from mctwist.stats import Stats
from mctwist.tap import CannotStart, CommandService
from mctwist.testing import ManualReactor


class Talker(Protocol):
    """A connection that finishes when the test lets it."""

    def __init__(self, lost: Callable[[Any], None]) -> None:
        self.lost = lost
        self.finished = 0
        self.reasons: list[tuple[str, bool]] = []
        self.said = False
        self.owed = False
        self.left = False

    def finish(self, reason: str, lingering: bool = False) -> None:
        self.finished += 1
        self.reasons.append((reason, lingering))

    def heard(self) -> bool:
        said, self.said = self.said, False
        return said

    def owes(self) -> bool:
        return self.owed

    def leave(self) -> None:
        """Wait no longer for the peer's goodbye."""
        self.left = True

    def go(self) -> None:
        """The connection is gone."""
        self.lost(self)


class ConnectionsTests(SynchronousTestCase):
    """The live connections of all listeners."""

    def setUp(self) -> None:
        self.reactor = ManualReactor()
        self.stats = Stats(self.reactor.seconds)
        self.connections = Connections(3, self.stats, self.reactor)
        self.factory = ConnectionFactory(self.connections, Talker)

    def arrive(self) -> Any:
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        return protocol

    def test_so_many_are_let_in_and_more_are_refused_in_words(self) -> None:
        inside = [self.arrive() for _ in range(3)]
        for protocol in inside:
            self.assertIsInstance(protocol, Talker)
            self.assertFalse(protocol.transport.disconnecting)
        refused = self.arrive()
        self.assertEqual(refused.transport.value(), b"ERROR Too many open connections\r\n")
        self.assertTrue(refused.transport.disconnecting)

    def test_who_does_not_take_the_refusal_is_not_kept(self) -> None:
        for _ in range(3):
            self.arrive()
        taken, kept = self.arrive(), self.arrive()
        self.reactor.advance(REFUSAL_TIMEOUT / 2)
        taken.connectionLost()
        self.assertFalse(kept.transport.disconnected)
        self.reactor.advance(REFUSAL_TIMEOUT / 2)
        self.assertTrue(kept.transport.disconnected)
        self.assertFalse(taken.transport.disconnected)

    def test_who_leaves_makes_room_for_one(self) -> None:
        inside = [self.arrive() for _ in range(3)]
        inside[1].go()
        self.assertIsInstance(self.arrive(), Talker)
        self.assertNotIsInstance(self.arrive(), Talker)

    def test_who_is_refused_makes_none(self) -> None:
        inside = [self.arrive() for _ in range(4)]
        inside[3].connectionLost()
        self.assertNotIsInstance(self.arrive(), Talker)

    def test_listeners_share_the_limit(self) -> None:
        other = ConnectionFactory(self.connections, Talker)
        for _ in range(3):
            self.arrive()
        self.assertNotIsInstance(other.buildProtocol(None), Talker)

    def test_they_are_counted(self) -> None:
        inside = [self.arrive() for _ in range(5)]
        inside[0].go()
        inside[0].go()
        self.arrive()
        stats = self.stats
        self.assertEqual(
            (stats.curr_connections, stats.total_connections, stats.rejected_connections,
             stats.max_connections),
            (3, 4, 2, 3),
        )  # fmt: skip

    def test_draining_waits_for_all(self) -> None:
        inside = [self.arrive() for _ in range(2)]
        drained = self.connections.drain(10)
        self.assertEqual([protocol.finished for protocol in inside], [1, 1])
        inside[0].go()
        self.assertNoResult(drained)
        inside[1].go()
        self.successResultOf(drained)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_draining_none_is_done(self) -> None:
        self.successResultOf(self.connections.drain(10))
        self.arrive().go()
        self.successResultOf(self.connections.drain(10))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_takes_too_long_is_dropped(self) -> None:
        slow, quick = self.arrive(), self.arrive()
        drained = self.connections.drain(10)
        quick.go()
        self.reactor.advance(9)
        self.assertFalse(slow.transport.disconnected)
        self.reactor.advance(1)
        self.assertTrue(slow.transport.disconnected)
        self.assertFalse(quick.transport.disconnected)
        self.assertNoResult(drained)
        slow.go()
        self.successResultOf(drained)

    def test_who_leaves_as_soon_as_he_is_told(self) -> None:
        inside = [self.arrive() for _ in range(3)]
        for protocol in inside:
            protocol.finish = lambda reason, lingering, gone=protocol.go: gone()
        self.successResultOf(self.connections.drain(10))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_when_all_stops_they_are_left_when_they_have_fallen_silent(self) -> None:
        silent, sending, reading = (self.arrive() for _ in range(3))
        sending.said = silent.said = True  # before the stop: that does not count
        drained = self.connections.drain(10)
        self.assertEqual(silent.reasons, [("shutdown", True)])
        reading.owed = True
        for _ in range(3):
            sending.said = True
            self.reactor.advance(SILENCE)
            self.assertEqual((silent.left, sending.left, reading.left), (True, False, False))
        sending.said = True
        self.reactor.advance(LINGER)
        self.assertTrue(sending.left)
        self.reactor.advance(LINGER)
        self.assertFalse(reading.left)
        reading.owed, reading.said = False, True
        self.reactor.advance(SILENCE)
        self.assertFalse(reading.left)
        self.reactor.advance(SILENCE)
        self.assertTrue(reading.left)
        for connection in (silent, sending, reading):
            connection.go()
        self.successResultOf(drained)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class IdleTests(SynchronousTestCase):
    """`--idle-timeout`."""

    def setUp(self) -> None:
        self.reactor = ManualReactor()
        self.stats = Stats(self.reactor.seconds)

    def connections(self, idle_timeout: float) -> "Callable[[], Any]":
        connections = Connections(10_000, self.stats, self.reactor, idle_timeout)
        factory = ConnectionFactory(connections, Talker)

        def arrive() -> Any:
            protocol = factory.buildProtocol(None)
            assert protocol is not None
            protocol.makeConnection(StringTransport())
            return protocol

        return arrive

    def test_who_says_nothing_and_is_owed_nothing_is_closed(self) -> None:
        arrive = self.connections(60)
        idle, talking, owed = arrive(), arrive(), arrive()
        owed.owed = True
        for _ in range(11):
            talking.said = True
            self.reactor.advance(6)
        self.assertEqual(idle.reasons, [("idle_timeout", False)])
        self.assertEqual((talking.finished, owed.finished), (0, 0))
        self.assertEqual(self.stats.idle_kicks, 1)
        # One that has been told is not told again while it closes.
        self.reactor.pump([6] * 30)
        self.assertEqual((idle.finished, owed.finished), (1, 0))
        self.assertEqual((talking.finished, self.stats.idle_kicks), (1, 2))

    def test_it_is_not_closed_before_its_time_and_soon_after(self) -> None:
        for timeout, most in ((1, 2), (3, 4), (60, 66), (3600, 3960)):
            self.reactor = ManualReactor()
            arrive = self.connections(timeout)
            arrive()
            self.reactor.advance(0.5)
            idle = arrive()
            waited = 0
            while not idle.finished:
                self.reactor.advance(1)
                waited += 1
            self.assertTrue(timeout <= waited <= most + 1, (timeout, waited))

    def test_one_timer_serves_them_all_and_none_is_left(self) -> None:
        arrive = self.connections(60)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        inside = [arrive() for _ in range(1000)]
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.advance(6)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        for connection in inside:
            connection.go()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        last = arrive()
        self.reactor.pump([6] * 11)
        self.assertEqual(last.finished, 1)

    def test_nobody_is_closed_without_it(self) -> None:
        arrive = self.connections(0)
        idle = arrive()
        self.reactor.advance(1 << 20)
        self.assertEqual(idle.finished, 0)
        idle.go()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Events:
    """What happened, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.names.append(name)


class FakeStorage(Service):
    """A storage service that notes its start and its stop."""

    def __init__(self, note: Events) -> None:
        self.note = note
        self.fault: Optional[Exception] = None
        self.stopped: Deferred[None] = Deferred()

    def startService(self) -> None:
        self.note("storage started")
        if self.fault is not None:
            raise self.fault

    def stopService(self) -> "Deferred[None]":
        self.note("storage stopping")
        return self.stopped


@implementer(IListeningPort)
class FakePort:
    """A bound port."""

    def __init__(self, name: str, address: Any, note: Events) -> None:
        self.name = name
        self.address = address
        self.note = note
        self.stopped: Any = None  # as a port may, that has nothing to wait for

    def startListening(self) -> None:
        """It listens already."""

    def stopListening(self) -> Any:
        self.note(f"{self.name} closed")
        return self.stopped

    def getHost(self) -> Any:
        return self.address


@implementer(IStreamServerEndpoint)
class FakeEndpoint:
    """An endpoint that binds at once, fails, or does neither."""

    def __init__(self, name: str, note: Events, outcome: Any) -> None:
        self.name = name
        self.note = note
        self.outcome = outcome

    def listen(self, protocolFactory: Any) -> Any:
        self.note(f"{self.name} bound")
        return self.outcome


HOST = IPv4Address("TCP", "127.0.0.1", 11211)


class RootTests(SynchronousTestCase):
    """The whole server: storage, ports, connections."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.reactor = ManualReactor()
        self.note = Events()
        self.storage = FakeStorage(self.note)
        self.connections = Connections(10, Stats(self.reactor.seconds), self.reactor)
        self.ports: list[FakePort] = []
        self.listeners: list[Listener] = []

    def listen(self, name: str, address: Any = HOST, outcome: Any = None) -> None:
        """One more listener; it binds at once unless `outcome` says otherwise."""
        if outcome is None:
            self.ports.append(FakePort(name, address, self.note))
            outcome = succeed(self.ports[-1])
        endpoint = FakeEndpoint(name, self.note, outcome)
        self.listeners.append(Listener("text", f"where {name} is", endpoint, Factory()))

    def root(self, **options: Any) -> RootService:
        return RootService(self.storage, self.connections, self.listeners, **options)

    def connect(self) -> Any:
        protocol: Any = ConnectionFactory(self.connections, Talker).buildProtocol(None)
        protocol.makeConnection(StringTransport())
        return protocol

    def test_provides_the_interface(self) -> None:
        verifyObject(IService, self.root())

    def test_nothing_happens_before_the_start(self) -> None:
        self.listen("a")
        self.root(ports_file=str(self.directory / "ports"))
        self.assertEqual(self.note.names, [])
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_the_store_is_opened_before_the_ports_are_bound(self) -> None:
        self.listen("a")
        self.listen("b")
        root = self.root()
        root.startService()
        self.assertEqual(self.note.names, ["storage started", "a bound", "b bound"])
        self.assertTrue(root.running)

    def test_it_stops_in_order_and_each_waits_for_the_one_before(self) -> None:
        self.listen("a")
        self.listen("b")
        closed: Deferred[None] = Deferred()
        self.ports[1].stopped = closed
        root = self.root()
        root.startService()
        connection = self.connect()
        del self.note.names[:]
        stopped = root.stopService()
        self.assertEqual(self.note.names, ["a closed", "b closed"])
        self.assertEqual(connection.finished, 0)
        closed.callback(None)
        self.assertEqual(connection.finished, 1)
        self.assertNotIn("storage stopping", self.note.names)
        connection.go()
        self.assertEqual(self.note.names[-1], "storage stopping")
        self.assertNoResult(stopped)
        self.storage.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertFalse(root.running)

    def test_it_does_not_wait_for_ever_for_a_connection(self) -> None:
        root = self.root()
        root.startService()
        connection = self.connect()
        root.stopService()
        self.reactor.advance(STOP_TIMEOUT)
        self.assertTrue(connection.transport.disconnected)
        connection.go()
        self.assertEqual(self.note.names[-1], "storage stopping")

    def test_how_long_it_waits_can_be_said(self) -> None:
        root = self.root(stop_timeout=3)
        root.startService()
        connection = self.connect()
        connection.owed = True
        root.stopService()
        self.reactor.advance(2)
        self.assertFalse(connection.transport.disconnected)
        self.reactor.advance(1)
        self.assertTrue(connection.transport.disconnected)

    def test_a_port_that_cannot_be_closed_does_not_keep_the_store_open(self) -> None:
        self.listen("a")
        self.ports[0].stopped = fail(OSError("no"))
        root = self.root()
        root.startService()
        stopped = root.stopService()
        stopped.addErrback(lambda failure: failure.trap(OSError))
        self.assertEqual(self.note.names[-1], "storage stopping")
        self.storage.stopped.callback(None)
        self.successResultOf(stopped)

    def test_stopping_what_has_not_been_started_is_nothing(self) -> None:
        self.successResultOf(self.root().stopService())
        self.assertEqual(self.note.names, [])

    def test_a_store_that_cannot_be_opened_binds_nothing(self) -> None:
        self.listen("a")
        self.storage.fault = StartError("it is in use")
        root = self.root()
        error = self.assertRaises(StartError, root.startService)
        self.assertEqual(str(error), "it is in use")
        self.assertEqual(self.note.names, ["storage started"])
        self.assertFalse(root.running)

    def test_a_port_that_cannot_be_bound_undoes_what_went_before(self) -> None:
        busy = CannotListenError("127.0.0.1", 11211, OSError(98, "Address already in use"))
        for outcome, words in (
            (fail(busy), ("where b is", "Address already in use")),
            (fail(ValueError("no such thing")), ("where b is", "no such thing")),
            (Deferred(), ("where b is",)),
        ):
            self.setUp()
            self.listen("a")
            self.listen("b", outcome=outcome)
            self.listen("c")
            root = self.root(ports_file=str(self.directory / "ports"))
            error = self.assertRaises(StartError, root.startService)
            for word in words:
                self.assertIn(word, str(error))
            self.assertNotIn("\n", str(error))
            self.assertEqual(
                self.note.names,
                ["storage started", "a bound", "b bound", "a closed", "storage stopping"],
            )
            self.assertFalse(root.running)
            self.assertEqual(list(self.directory.iterdir()), [])

    def test_the_ports_file_says_what_was_really_bound(self) -> None:
        self.listen("a", IPv4Address("TCP", "127.0.0.1", 40_001))
        self.listen("b", IPv6Address("TCP", "::1", 40_002))
        self.listen("c", UNIXAddress(b"/run/m.sock"))
        path = self.directory / "ports"
        path.write_text("of an earlier run, and longer than what comes now\n" * 10)
        self.root(ports_file=str(path)).startService()
        self.assertEqual(
            path.read_text(),
            "text tcp 127.0.0.1 40001\ntext tcp ::1 40002\ntext unix /run/m.sock\n",
        )
        self.assertEqual([entry.name for entry in self.directory.iterdir()], ["ports"])

    def test_a_ports_file_that_cannot_be_written_undoes_it_all(self) -> None:
        self.listen("a")
        path = self.directory / "not" / "there"
        error = self.assertRaises(StartError, self.root(ports_file=str(path)).startService)
        self.assertIn(str(path), str(error))
        self.assertEqual(self.note.names[-2:], ["a closed", "storage stopping"])

    def test_warnings_and_addresses_are_in_the_log(self) -> None:
        self.listen("a")
        with capturedLogs() as events:
            self.root(warnings=["beware {of} braces"]).startService()
        warning, listening = events
        self.assertEqual(warning["log_level"].name, "warn")
        self.assertEqual(formatEvent(warning), "beware {of} braces")
        self.assertIn("127.0.0.1 11211", formatEvent(listening))


class CommandTests(RootTests):
    """The server as twistd runs it."""

    def root(self, **options: Any) -> RootService:
        return Unended(self.storage, self.connections, self.listeners, **options)

    def test_what_keeps_it_from_starting_is_one_line_and_no_traceback(self) -> None:
        self.storage.fault = StartError("it is in use")
        command = CommandService(self.storage, self.connections, self.listeners)
        with capturedLogs() as events:
            error = self.assertRaises(CannotStart, command.startService)
        self.assertEqual(error.code, 1)
        (event,) = events
        self.assertEqual(event["log_level"].name, "critical")
        self.assertEqual(formatEvent(event), "cannot start: it is in use")
        self.assertNotIn("log_failure", event)

    def test_it_gives_the_application_its_observer(self) -> None:
        for given in (LogPublisher(), None):
            application = Application("test")
            command = CommandService(self.storage, self.connections, self.listeners, observer=given)
            command.setServiceParent(application)
            self.assertIs(application.getComponent(ILogObserver), given)


class Unended(CommandService):
    """A CommandService whose exit is the error behind it, so that it can be held to the same."""

    def startService(self) -> None:
        try:
            super().startService()
        except CannotStart as error:
            raise StartError(str(error.__context__)) from None
