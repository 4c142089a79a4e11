"""
A server without sockets, and clients of it: what the tests of the wire are written with.

All is real but the edges: the text protocol on a StringTransport, the storage service with pools
that run when told, the memory backend unless another is given.
"""

from typing import Any, Optional

from twisted.internet.testing import StringTransport

from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import IBackend
from mctwist.protocols.connection import Services, Settings
from mctwist.protocols.text import TextProtocol
from mctwist.stats import Stats
from mctwist.storage import StorageService
from mctwist.testing import ManualPool, ManualReactor
from mctwist.watch import Watchers


class TextServer:
    """
    A storage service and what speaks text to it.

    :param inline_reads: as the option of that name.
    """

    def __init__(
        self,
        backend: Optional[IBackend] = None,
        settings: Optional[Settings] = None,
        inline_reads: str = "always",
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
        self.lost: list[TextProtocol] = []
        self.storage.startService()

    def connect(self, transport: Optional[Any] = None) -> "Client":
        services = Services(self.storage, self.stats, self.settings, self.watchers, self.reactor)
        protocol = TextProtocol(services, self.lost.append)
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

    def __init__(self, server: TextServer, protocol: TextProtocol, transport: Any) -> None:
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
