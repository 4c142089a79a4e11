"""
A server without sockets, and clients of it: what the tests of the wire are written with.

All is real but the edges: the protocols on a StringTransport, the storage service with pools
that run when told, the memory backend unless another is given.
"""

from collections.abc import Sequence
from typing import Any, Optional

from twisted.internet.testing import StringTransport

from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import IBackend, IUsers, Results, Steps, StorageError, StoreFull
from mctwist.protocols.services import Services, Settings
from mctwist.stats import Stats
from mctwist.storage import StorageService
from mctwist.tap import DIALECTS
from mctwist.testing import ManualPool, ManualReactor, Trouble
from mctwist.watch import Watchers


class Server:
    """
    A storage service and what speaks to it, text unless it is told otherwise.

    :param inline_reads: as the option of that name.
    :param users: who may come in; None: everybody.
    """

    def __init__(
        self,
        backend: Optional[IBackend] = None,
        settings: Optional[Settings] = None,
        inline_reads: str = "always",
        users: Optional[IUsers] = None,
    ) -> None:
        self.reactor = ManualReactor()
        self.pool = ManualPool()
        self.read_pool = ManualPool()
        self.maintenance_pool = ManualPool()
        pools: dict[str, Any] = {
            "pool": self.pool,
            "read_pool": self.read_pool,
            "maintenance_pool": self.maintenance_pool,
        }
        self.backend = backend or MemoryBackend()
        self.storage = StorageService(self.backend, self.reactor, inline_reads, **pools)
        self.stats = Stats(self.reactor.seconds)
        self.settings = settings or Settings()
        self.watchers = Watchers(self.stats, self.reactor.seconds, self.storage.on_eviction)
        self.services = Services(
            self.storage, self.stats, self.settings, self.watchers, self.reactor, users
        )
        self.lost: list[Any] = []
        self.storage.startService()

    def connect(self, transport: Optional[Any] = None, dialect: str = "text") -> "Client":
        protocol = DIALECTS[dialect](self.services)(self.lost.append)
        return Client(self, protocol, transport or StringTransport())

    def settle(self) -> None:
        """Have everything done that can be done before time passes."""
        pools = (self.pool, self.read_pool, self.maintenance_pool)
        while sum(pool.run_all() for pool in pools) or self.reactor.turn():
            pass

    def stop(self) -> None:
        self.storage.stopService()
        self.settle()


class Client:
    """One connection, seen from the peer."""

    def __init__(self, server: Server, protocol: Any, transport: Any) -> None:
        self.server = server
        self.protocol = protocol
        self.transport = transport
        protocol.makeConnection(transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def answers(self) -> bytes:
        """What has been answered since it was last asked for."""
        answers: bytes = self.transport.value()
        self.transport.clear()
        return answers

    def ask(self, data: bytes) -> bytes:
        """What is answered to `data`, when all is done."""
        self.send(data)
        self.server.settle()
        return self.answers()

    @property
    def closed(self) -> bool:
        """Whether the server has hung up."""
        closed: bool = self.transport.disconnecting
        return closed


class FaultyBackend(MemoryBackend):
    """A store in which b"full", b"sick" and b"strange" are keys that nothing can be done with."""

    faults: "dict[bytes, Exception]" = {  # noqa: RUF012  # never changed
        b"full": StoreFull("there is no room"),
        b"sick": StorageError("the disk is on fire"),
        b"strange": Trouble("nobody thought of this"),
    }

    def perform(self, lists: Sequence[Steps], now: int) -> "list[Results]":
        return super().perform([self._marked(steps) for steps in lists], now)

    def read(self, steps: Steps, now: int, patient: bool = False) -> Results:
        return super().read(self._marked(steps), now)

    def _marked(self, steps: Steps) -> Steps:
        return [
            (_raise, key, (self.faults[key],), render) if key in self.faults else
            (operation, key, arguments, render)
            for operation, key, arguments, render in steps
        ]  # fmt: skip


def _raise(transaction: object, key: bytes, fault: Exception) -> None:
    raise fault
