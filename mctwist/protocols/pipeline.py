"""
One connection's steps on their way to the store, and its answers on their way out.

    dialect.parse -> run -> waiting -> [storage: one instalment] -> render -> one write

The rule is order: at most one instalment is under way, and what is parsed meanwhile waits behind
it, so answers leave in the order of the commands however reads and writes are mixed.

The bound is on what waits. The pipeline is the producer of its own transport: while the peer
does not read its answers nothing more is run, and while too much waits nothing more is read from
the peer. So an unread connection holds an instalment or so of answers, never a gigabyte.

Where the transport is plain and has nothing buffered, an answer is sent at once instead of in
the reactor's next round: one recv and one send a request, as memcached does it.
"""

from typing import Any, Callable, Optional

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from mctwist.interfaces import IStorage, Results, Step
from mctwist.operations import constant, counts
from mctwist.stats import Stats

#: Input bytes whose steps may be unanswered before no more is read.
MOST_WAITING = 32 * 1024

#: Seconds that a connection which is being closed may go without reading what it is owed.
CLOSE_TIMEOUT = 30.0

# Only these exact types: a TLS or PROXY wrapper hands the raw socket's methods through, and what
# went out by them would be in clear.
_DIRECT = (tcp.Server, unix.Server)

#: What a dialect answers for a step that has failed; None: its command goes on, and what there is
#: to say is said at the end of it.
Spell = Callable[[Step, Exception], Optional[bytes]]


@implementer(IPushProducer)
class Pipeline:
    """
    :param transport: of the connection; the pipeline registers as its producer.
    :param spell: how the dialect says that a step has failed.
    :param reactor: IReactorTime.
    :ivar reports: set by the dialect when it runs steps of `operations.counts`.
    """

    log = Logger()

    def __init__(
        self, transport: Any, storage: IStorage, stats: Stats, spell: Spell, reactor: Any
    ) -> None:
        self._transport = transport
        self._storage = storage
        self._stats = stats
        self._spell = spell
        self._reactor = reactor
        self._send = transport.socket.send if type(transport) in _DIRECT else None
        self._waiting: list[Step] = []
        self._size = 0  # of the input whose steps are still to be answered
        self._reads_only = True
        self._busy = False  # an instalment is under way, or its turn has been put off
        self._fault: Optional[Exception] = None  # of the command whose answer is under way
        self._choked = False  # the peer does not read
        self._held = False  # we do not read
        self._closing = False
        self._lost = False
        self._deadline: Optional[Any] = None
        self.reports = False
        transport.registerProducer(self, True)

    def run(self, steps: list[Step], reads_only: bool, size: int) -> None:
        """
        Run `steps` behind those that wait, and answer them.

        :param reads_only: none of them writes.
        :param size: the bytes of input they came from.
        """
        self._waiting += steps
        self._reads_only = self._reads_only and reads_only
        self._size += size
        if not self._busy and not self._choked:
            self._turn()
        else:
            self._hold()

    @property
    def state(self) -> str:
        """What it is at, in memcached's words."""
        if self._choked:
            return "conn_mwrite"
        return "conn_io_queue" if self._busy else "conn_read"

    def close(self) -> None:
        """Close the connection when every answer it is owed has been written."""
        if not self._closing:
            self._closing = True
            self._deadline = self._reactor.callLater(CLOSE_TIMEOUT, self._abort)
            self._finish()

    def lost(self) -> None:
        """The connection is gone: nothing more will be run or written."""
        self._lost = True
        self._waiting = []
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def pauseProducing(self) -> None:
        self._choked = True
        if not self._held:
            self._held = True
            self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._choked = False
        if self._deadline is not None and self._deadline.active():
            # The peer is slow, but it reads.
            self._deadline.reset(CLOSE_TIMEOUT)
        if self._waiting and not self._busy:
            self._turn()
        self._release()

    def stopProducing(self) -> None:
        self._waiting = []

    def _turn(self) -> None:
        """Run an instalment of what waits."""
        self._busy = False
        steps, self._waiting = self._waiting, []
        if not steps:
            return
        reads_only, self._reads_only = self._reads_only, True
        if self.reports:
            steps = self._up_to_report(steps)
            self._reads_only = reads_only or not self._waiting
        if reads_only:
            results = self._storage.read(steps)
            if results is not None:
                self._answer(results, steps, True)
                return
        self._busy = True
        done = self._storage.submit(steps, reads_only)
        done.addCallback(self._answer, steps, reads_only)

    def _up_to_report(self, steps: list[Step]) -> list[Step]:
        """
        The steps that make the next instalment where there are reports: a thousand in one would
        be a hundred megabytes with a thousand connections to report on.
        """
        for number, step in enumerate(steps, 1):
            if step[0] is counts:
                self._waiting = steps[number:]
                return steps[:number]
        self.reports = False
        return steps

    def _answer(self, results: Results, steps: list[Step], reads_only: bool) -> None:
        self._busy = False
        if self._lost:
            return
        stats, answers = self._stats, []
        for step, result in zip(steps, results):
            if self._fault is not None or isinstance(result, Exception):
                answers.append(self._explain(step, result))
                continue
            try:
                answers.append(step[3](stats, step[1], result))
            except Exception as fault:
                self.log.failure("an answer could not be rendered")
                answers.append(self._explain(step, fault))
        self._write(b"".join(answers))
        self._size -= self._size * len(results) // (len(steps) + len(self._waiting))
        if len(results) < len(steps):
            self._waiting[:0] = steps[len(results) :]
            self._reads_only = self._reads_only and reads_only
            self._hold()
        if self._waiting and not self._choked:
            # The next instalment in the next round: others have their turn between.
            self._stats.conn_yields += 1
            self._busy = True
            self._reactor.callLater(0, self._turn_unless_choked)
        elif self._held:
            self._release()
        if self._closing:
            self._finish()

    def _explain(self, step: Step, result: Any) -> bytes:
        """The answer of a step that has failed, or of one whose command has failed before it."""
        if step[0] is constant:
            return step[3](self._stats, step[1], step[2][0])
        if self._fault is None:
            self._fault = result
        answer = self._spell(step, self._fault)
        if answer is None:
            return b""
        self._fault = None
        return answer

    def _turn_unless_choked(self) -> None:
        self._busy = False
        if not self._choked:
            self._turn()
            self._release()

    def _write(self, data: bytes) -> None:
        if not data:
            return
        self._stats.bytes_written += len(data)
        transport = self._transport
        if self._send is not None and not (
            transport.TLS or transport._tempDataLen or transport.dataBuffer
        ):
            try:
                sent = self._send(data)
            except OSError:
                # Full, or lost: `write` waits in the one case and finds out in the other.
                sent = 0
            if sent == len(data):
                return
            if sent:
                data = data[sent:]
        transport.write(data)

    def _hold(self) -> None:
        """Read no more while too much waits."""
        if self._size > MOST_WAITING and not self._held:
            self._held = True
            self._transport.pauseProducing()

    def _release(self) -> None:
        if self._held and not self._choked and self._size <= MOST_WAITING:
            self._held = False
            if not (self._closing or self._lost):
                self._transport.resumeProducing()

    def _finish(self) -> None:
        if not (self._busy or self._waiting or self._lost):
            # A paused producer would keep the connection open for ever.
            self._transport.unregisterProducer()
            self._transport.loseConnection()

    def _abort(self) -> None:
        self._transport.abortConnection()
