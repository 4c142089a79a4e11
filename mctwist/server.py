"""
The listening side: connections within their limits, and an ordered start and stop.

Start: the store, then the ports; whatever fails undoes what went before and raises one
`StartError`. Stop, in the opposite order: ports closed, connections given what they are owed (or
dropped, at the deadline), the last batch finished, the store closed. A MultiService would stop
all of these at the same time.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable, Optional

from attrs import frozen
from twisted.application.service import IService, Service
from twisted.internet.defer import (
    Deferred,
    DeferredList,
    inlineCallbacks,
    maybeDeferred,
    succeed,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from mctwist.interfaces import StartError
from mctwist.stats import Stats

#: Seconds from the order to stop until nothing waits for a client any more. Clients have most of
#: them to take their answers; what is left is for the store.
STOP_TIMEOUT = 10.0
_FOR_CLIENTS = 0.8

#: When the server stops, seconds that a client which still sends is let go on at most, ...
LINGER = 1.0
#: ... and those of silence after which it is taken to have finished.
SILENCE = 0.25

#: Seconds that whom there is no room for has to take the refusal: TLS has to be agreed on first.
REFUSAL_TIMEOUT = 5.0

#: How often it is noted who has sent something, and the idle are looked for, in seconds.
SWEEP = 1.0

_NEVER = float("inf")

#: A connection, given what it calls with itself when it is lost.
BuildConnection = Callable[[Callable[[Any], None]], Any]


class Refusal(Protocol):
    """
    Says that there are too many connections, and hangs up.

    :param reactor: IReactorTime.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._deadline: Optional[Any] = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(b"ERROR Too many open connections\r\n")
        transport.loseConnection()
        # Under TLS a peer that never says a word would keep its socket for ever, uncounted.
        self._deadline = self._reactor.callLater(REFUSAL_TIMEOUT, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


class Connections:
    """
    The live connections of all listeners together.

    There is one timer for all of them. Each only notes that it has heard something; when that
    was is noted here, to the second. So neither the idle timeout nor `stats conns` costs a
    connection more.

    :param limit: how many there may be.
    :param reactor: IReactorTime.
    :param idle_timeout: seconds after which one is closed that neither sends anything nor is owed
        anything, also in the midst of a command; 0: never.
    """

    def __init__(self, limit: int, stats: Stats, reactor: Any, idle_timeout: float = 0) -> None:
        self._limit = limit
        self._stats = stats
        self._reactor = reactor
        self._idle_timeout = idle_timeout
        self._live: dict[Any, float] = {}  # and when each was last found to be active
        self._timer: Optional[Any] = None
        self._empty: Optional[Deferred[None]] = None
        stats.max_connections = limit

    def admit(self, build: BuildConnection) -> Protocol:
        """A new connection, or a refusal."""
        stats = self._stats
        if len(self._live) >= self._limit:
            stats.rejected_connections += 1
            return Refusal(self._reactor)
        connection: Protocol = build(self._lost)
        self._live[connection] = self._reactor.seconds()
        if self._timer is None:
            self._look_again(SWEEP, self._sweep)
        stats.total_connections += 1
        stats.curr_connections = len(self._live)
        return connection

    def live(self) -> Iterable[tuple[Any, float]]:
        """Those that there are, and when each was last active, in seconds since the epoch."""
        now = self._reactor.seconds()
        self._note(now)
        return [(connection, min(active, now)) for connection, active in self._live.items()]

    def drain(self, timeout: float) -> "Deferred[None]":
        """
        Have every connection answer what it owes and close; drop those that have not by then.

        :param timeout: seconds.
        """
        self._stop_timer()
        if not self._live:
            return succeed(None)
        empty: Deferred[None] = Deferred()
        self._empty = empty
        deadline = self._reactor.callLater(timeout, self._drop)
        for connection in list(self._live):
            connection.heard()
            connection.finish("shutdown", lingering=True)
        if self._live:
            self._look_again(SILENCE, self._part)

        def emptied(_: None) -> None:
            self._stop_timer()
            if deadline.active():
                deadline.cancel()

        return empty.addCallback(emptied)

    def _sweep(self) -> None:
        """Note who has been active, and close the idle."""
        self._timer = None
        now = self._reactor.seconds()
        self._note(now)
        if self._idle_timeout:
            self._close_idle(now)
        if self._live:
            self._look_again(SWEEP, self._sweep)

    def _note(self, now: float) -> None:
        live = self._live
        for connection in live:
            if connection.heard():
                live[connection] = now

    def _close_idle(self, now: float) -> None:
        for connection, active in list(self._live.items()):
            if connection.owes():
                self._live[connection] = now
            elif now - active >= self._idle_timeout:
                self._live[connection] = _NEVER
                self._stats.idle_kicks += 1
                connection.finish("idle_timeout")

    def _part(self) -> None:
        """Leave those clients that have their answers and have finished sending."""
        self._timer = None
        now = self._reactor.seconds()
        for connection, owed in list(self._live.items()):
            if connection.owes():
                self._live[connection] = now
            elif not connection.heard() or now - owed >= LINGER:
                connection.leave()
        if self._live:
            self._look_again(SILENCE, self._part)

    def _look_again(self, delay: float, look: Callable[[], None]) -> None:
        self._timer = self._reactor.callLater(delay, look)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _drop(self) -> None:
        for connection in list(self._live):
            connection.transport.abortConnection()

    def _lost(self, connection: Any) -> None:
        self._live.pop(connection, None)
        self._stats.curr_connections = len(self._live)
        if not self._live:
            self._stop_timer()
        if not self._live and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)


class ConnectionFactory(Factory):
    """Connections of one dialect."""

    noisy = False
    log = Logger()

    def __init__(self, connections: Connections, build: BuildConnection) -> None:
        self._connections = connections
        self._build = build

    def buildProtocol(self, addr: Optional[IAddress]) -> Protocol:
        self.log.debug("connection from {peer}", peer=addr)
        return self._connections.admit(self._build)


@frozen
class Listener:
    """
    :ivar dialect: its name, for the log and the ports file.
    :ivar name: where it listens, as the user said it.
    :ivar tls: who connects has to speak TLS; for the log and the ports file.
    """

    dialect: str
    name: str
    endpoint: IStreamServerEndpoint
    factory: Any
    tls: bool = False


class RootService(Service):
    """
    The whole server as one service.

    :param storage: is started before the ports are bound and stopped when they are closed and
        the connections gone.
    :param ports_file: the addresses really bound are written there, one a line: the dialect;
        `tcp`, `tls` or `unix`; and the address.
    :param warnings: logged at the start.
    :param stop_timeout: seconds.
    """

    log = Logger()

    def __init__(
        self,
        storage: IService,
        connections: Connections,
        listeners: "list[Listener]",
        ports_file: Optional[str] = None,
        warnings: Iterable[str] = (),
        stop_timeout: float = STOP_TIMEOUT,
    ) -> None:
        self._storage = storage
        self._connections = connections
        self._listeners = listeners
        self._ports_file = ports_file
        self._warnings = list(warnings)
        self._stop_timeout = stop_timeout
        self._ports: list[IListeningPort] = []

    def startService(self) -> None:
        """
        Open the store, bind the ports.

        :raises StartError: one of them cannot be; nothing is left open.
        """
        for warning in self._warnings:
            self.log.warn("{text}", text=warning)
        self._storage.startService()
        try:
            bound = [self._listen(listener) for listener in self._listeners]
            if self._ports_file is not None:
                self._write_ports(self._ports_file, bound)
        except BaseException:
            for port in self._ports:
                port.stopListening()
            self._ports = []
            self._storage.stopService()
            raise
        super().startService()

    @inlineCallbacks
    def stopService(self) -> Any:
        if not self.running:
            return
        super().stopService()
        ports, self._ports = self._ports, []
        closed = [maybeDeferred(port.stopListening) for port in ports]
        for port, (success, fault) in zip(ports, (yield DeferredList(closed, consumeErrors=True))):
            if not success:
                reason = fault.getErrorMessage()
                self.log.warn("{port} could not be closed: {reason}", port=port, reason=reason)
        yield self._connections.drain(self._stop_timeout * _FOR_CLIENTS)
        yield self._storage.stopService()

    def listeners(self) -> Iterable[IListeningPort]:
        """The ports that are open."""
        return self._ports

    def _listen(self, listener: Listener) -> str:
        outcome: list[Any] = []
        listener.endpoint.listen(listener.factory).addBoth(outcome.append)
        if not outcome:
            raise StartError(f"cannot listen on {listener.name}: it does not bind at once")
        port = outcome[0]
        if isinstance(port, Failure):
            raise StartError(f"cannot listen on {listener.name}: {_reason(port.value)}")
        self._ports.append(port)
        address = _spell(port.getHost(), listener.tls)
        self.log.info(
            "listening for {dialect} on {address}", dialect=listener.dialect, address=address
        )
        return f"{listener.dialect} {address}\n"

    def _write_ports(self, path: str, lines: "list[str]") -> None:
        # Whole or not at all: who waits for the file reads it as soon as it is there.
        target = Path(path)
        partial = target.with_name(target.name + ".new")
        try:
            partial.write_text("".join(lines))
            partial.replace(target)
        except OSError as fault:
            raise StartError(f"cannot write the ports file {path}: {fault.strerror}") from None


def _reason(fault: Optional[BaseException]) -> str:
    if isinstance(fault, CannotListenError):
        error = fault.socketError
        return f"{getattr(error, 'strerror', None) or error}: stop what is there or choose another"
    return str(fault)


def _spell(address: Any, tls: bool) -> str:
    if hasattr(address, "port"):
        return f"{'tls' if tls else 'tcp'} {address.host} {address.port}"
    name = address.name
    return f"unix {name.decode() if isinstance(name, bytes) else name}"
