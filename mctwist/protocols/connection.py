"""
What a connection is, whatever it speaks.

A dialect is a Twisted protocol that also is a `Connection`: it makes steps of what it reads and
leaves them in `_steps`, and `_submit` has its pipeline run all that one read has brought as one
list. From here it has what the listening side asks of a connection, its goodbye, and the reports
that are no steps of the store's.
"""

from collections.abc import Iterable
from typing import Any, Callable, Optional

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mctwist import operations
from mctwist.interfaces import Render, Rights, Step
from mctwist.protocols.details import detailed
from mctwist.protocols.pipeline import Pipeline
from mctwist.protocols.rights import within
from mctwist.protocols.services import READ_OF_STRANGERS, Services
from mctwist.watch import Peer


@implementer(IHalfCloseableProtocol)
class Connection:
    """
    One connection, to be mixed into a Protocol.

    :param lost: called with the connection when it is gone.
    """

    transport: Any

    def __init__(self, services: Services, lost: Callable[[Any], None]) -> None:
        self._lost = lost
        self._services = services
        self._storage = services.storage
        self._stats = services.stats
        self._settings = services.settings
        self._watchers = services.watchers
        self._pipeline: Optional[Pipeline] = None
        self._steps: list[Step] = []
        self._reads_only = True
        self._received = 0
        self._closed = False
        self._heard = False  # since that was last asked for
        self._reason: Optional[str] = None  # for which it was closed, in memcached's words
        # Of who has logged in; None: nobody has, and somebody must.
        self._rights: Optional[Rights] = _ALL_RIGHTS if services.users is None else None
        self._restricted = False  # these are not all there are
        self._failures = 0  # of attempts to log in
        self._asking = False  # whether somebody is who he says
        self._behind: list[bytes] = []  # what has come meanwhile

    # What a dialect adds

    def _parse(self, data: bytes) -> None:
        """Take what a read has brought, and `_submit`."""
        raise NotImplementedError

    def _spell(self, step: Step, fault: Exception) -> Optional[bytes]:
        """As `pipeline.Spell`."""
        raise NotImplementedError

    def _detailed(self, steps: Iterable[Step]) -> Iterable[Step]:
        """`steps`, counted for `stats detail` when they are answered."""
        return detailed(steps)

    # What Twisted calls

    def connectionMade(self) -> None:
        services = self._services
        self._pipeline = Pipeline(
            *(self.transport, self._storage, self._stats, self._spell),
            *(self._watchers, services.reactor),
        )
        if self._rights is None:
            self._pipeline.read_at_once(READ_OF_STRANGERS)
        if self._watchers.active:
            self._watchers.arrived(self._peer())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed = True
        if self._watchers.active and self._pipeline is not None:
            done = reason.check(ConnectionDone)
            self._watchers.left(self._peer(), self._reason or ("normal" if done else "error"))
        if self._pipeline is not None:
            self._pipeline.lost()
        # The pipeline and this refer to each other, and the collector seldom comes.
        self._pipeline = None
        self._steps, self._behind = [], []
        self._lost(self)

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        if self._closed:
            return
        self._received += len(data)
        if self._asking:
            self._behind.append(data)
        else:
            self._parse(data)

    def readConnectionLost(self) -> None:
        """The peer has sent all it will; it is still owed its answers."""
        self.finish()

    def writeConnectionLost(self) -> None:
        """Nothing: the loss of the connection follows."""

    def take_over(self, other: "Connection") -> None:
        """Go on with the connection of `other`, of which nothing has been parsed."""
        self.transport = other.transport
        self._pipeline, other._pipeline = other._pipeline, None
        if self._pipeline is not None:
            self._pipeline.spell = self._spell

    # What the listening side asks of a connection

    @property
    def state(self) -> str:
        """What the connection is at, in memcached's words (memcached.c, state_text)."""
        if self._closed or self._pipeline is None:
            return "conn_closing"
        return self._pipeline.state

    def finish(self, reason: str = "normal", lingering: bool = False) -> None:
        """
        Take no more commands, answer those that were taken, and close. A password that is being
        checked is no command any more: it gets no answer.

        :param reason: `error`, `normal`, `idle_timeout` or `shutdown`, for those who watch.
        :param lingering: as of `Pipeline.close`.
        """
        self._submit()
        self._closed = True
        self._reason = self._reason or reason
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
        # Whoever is closed while it is found out who he is gets no answer to that.
        asks = self._asking and not self._closed
        return asks or (self._pipeline is not None and self._pipeline.owes())

    # What the dialects share

    def _submit(self) -> int:
        """Run what has been parsed; return the bytes of input that no step of it stands for."""
        received, self._received = self._received, 0
        self._stats.bytes_read += received
        if self._steps and self._pipeline is not None:
            steps, self._steps = self._steps, []
            if self._restricted or self._stats.prefixes.watched:
                steps = list(self._screened(steps))
            reads_only, self._reads_only = self._reads_only, True
            self._pipeline.run(steps, reads_only, received)
            return 0
        return received

    def _screened(self, steps: Iterable[Step]) -> Iterable[Step]:
        """`steps` as they are to be run: within the rights of who sends them, and counted."""
        if self._stats.prefixes.watched:
            steps = self._detailed(steps)
        if self._restricted and self._rights is not None:
            steps = within(self._rights, steps)
        return steps

    def _log_in(self, name: bytes, password: bytes, answer: Callable[[bool], None]) -> None:
        """
        Find out whether somebody is who he says, and go on with what he has sent behind it.

        :param answer: called with whether he is, when it is known; adds the answer to the steps.
        """
        users, pipeline = self._services.users, self._pipeline
        if users is None or pipeline is None:
            return
        self._asking = True
        self._submit()
        pipeline.bar()
        host = getattr(self.transport.getPeer(), "host", None)
        known = users.check(name, password, host, self._failures)
        # In a round of its own: what is known at once, a thousand times over, is no recursion.
        known.addCallback(
            lambda rights: self._services.reactor.callLater(0, self._decide, rights, answer)
        )

    def _decide(self, rights: Optional[Rights], answer: Callable[[bool], None]) -> None:
        self._asking = False
        if self._closed or self._pipeline is None:
            return
        answer(self._count_login(rights))
        behind, self._behind = self._behind, []
        self._parse(b"".join(behind))
        if not self._asking and self._pipeline is not None:
            self._pipeline.unbar()

    def _log_out(self) -> None:
        """Whoever has logged in here has to do so again, where anybody has to."""
        self._submit()
        if self._services.users is not None:
            self._rights = None

    def _count_login(self, rights: Optional[Rights]) -> bool:
        """Note that somebody has logged in, or, None, has tried to. Returns whether he has."""
        self._stats.auth_commands += 1
        if rights is None:
            self._stats.auth_errors += 1
            self._failures += 1
            return False
        self._rights = rights
        self._restricted = rights != _ALL_RIGHTS
        if self._pipeline is not None:
            self._pipeline.read_at_once(None)
        return True

    def _report(self, render: Render) -> None:
        """Answer with a report of `statistics`."""
        # By itself: a thousand in one instalment would be a hundred megabytes, with a thousand
        # connections to report on.
        size = self._submit()
        if self._pipeline is not None:
            self._pipeline.run_alone((operations.counts, b"", (), render), size)

    def _peer(self) -> Peer:
        """The peer, as events name it."""
        assert self._pipeline is not None
        address = self.transport.getPeer()
        number = self._pipeline.number
        if isinstance(address, (IPv4Address, IPv6Address)):
            return Peer(address.host, address.port, "tcp", number)
        return Peer("unix", 0, "local", number)


_ALL_RIGHTS = Rights()

#: What lines of a browser begin with: a page may make one send commands to any port, in its body.
BROWSERS = frozenset({b"POST", b"HOST:"})
