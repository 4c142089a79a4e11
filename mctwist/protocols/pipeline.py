"""
One connection's steps on their way to the store, and its answers on their way out.

    dialect.parse -> run -> waiting -> [storage: one instalment] -> render -> one write

The rule is order: at most one instalment is under way, and what is parsed meanwhile waits behind
it, so answers leave in the order of the commands however reads and writes are mixed.

The bound is on what waits. The pipeline is the producer of its own transport: while the peer
does not read its answers nothing more is run, and while too much waits nothing more is read from
the peer. So an unread connection holds an instalment or so of answers, never a gigabyte. Steps
are taken from what waits an instalment at a time, so they need not all exist at once: a get of
half a million keys is a line until its turn comes. An answer without a size, as a listing, is
made piece by piece: the next is asked for when the peer reads.

Where the transport is plain and has nothing buffered, an answer is sent at once instead of in
the reactor's next round: one recv and one send a request, as memcached does it.
"""

from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any, Callable, NamedTuple, Optional, Protocol

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from mctwist.interfaces import MOST_STEPS, IStorage, Results, Step
from mctwist.operations import constant
from mctwist.stats import Stats
from mctwist.watch import Watchers

#: Input bytes whose steps may be unanswered before no more is read.
MOST_WAITING = 32 * 1024

#: Seconds that a connection which is being closed may go without reading any of what it is owed.
CLOSE_TIMEOUT = 30.0

#: Milliseconds after which what waits looks for itself. It is told of a change, but of those
#: who would take it away only one is, and that one may be gone before it has come to look.
LOOK_AGAIN = 1000

_UNKNOWN = 1 << 62

# Only these exact types: a TLS or PROXY wrapper hands the raw socket's methods through, and what
# went out by them would be in clear.
_DIRECT = (tcp.Server, unix.Server)


class Pieces(Protocol):
    """
    An answer that is made piece by piece.

    :ivar state: what a connection is at that gives it, in memcached's words.
    """

    state: str

    def next(self) -> "Deferred[Optional[bytes]]":
        """The next piece; None behind the last. It does not fail."""

    def end(self) -> None:
        """No more of it will be asked for."""


class Wait(NamedTuple):
    """
    A command that waits.

    :ivar step: what it is; it may be tried again and again.
    :ivar start: of the keys for one of which it waits; :ivar end: of them.
    :ivar consumes: it takes away what it finds.
    :ivar milliseconds: for which it waits, at the most, from when its turn has come.
    :ivar fruitless: whether the result of the step is what is to be waited after.
    """

    step: Step
    start: bytes
    end: bytes
    consumes: bool
    milliseconds: int
    fruitless: Callable[[Any], bool]


#: What a dialect answers for a step that has failed; None: its command goes on, and what there is
#: to say is said at the end of it.
Spell = Callable[[Step, Exception], Optional[bytes]]


@implementer(IPushProducer)
class Pipeline:
    """
    :param transport: of the connection; the pipeline registers as its producer.
    :param spell: how the dialect says that a step has failed.
    :param reactor: IReactorTime.
    :ivar spell: as given; another dialect may have another.
    :ivar number: the connection's file descriptor; 0: it has none.
    """

    log = Logger()

    def __init__(
        self,
        transport: Any,
        storage: IStorage,
        stats: Stats,
        spell: Spell,
        watchers: Watchers,
        reactor: Any,
    ) -> None:
        self._transport = transport
        self._storage = storage
        self._stats = stats
        self._latency = stats.latency
        self.spell = spell
        self._watchers = watchers
        self._reactor = reactor
        self._send = transport.socket.send if type(transport) in _DIRECT else None
        # Steps, the size of their input, and, of those that are run alone, how.
        self._waiting: list[tuple[Any, int, Optional[Callable[[Pipeline, Any], None]]]] = []
        self._begun: list[Step] = []  # taken out of there, and left over by an instalment
        self._size = 0  # of the input whose steps are still to be answered
        self._taken = 0  # of the part of it whose steps have all been taken
        self._reads_only = True
        self._busy = False  # an instalment is under way, or its turn has been put off
        self._pieces: Optional[Pieces] = None  # an answer of which more is to come
        self._asked = False  # for a piece of it
        self._parked: Optional[tuple[Deferred[None], Results, Step]] = None  # what waits
        self._fault: Optional[Exception] = None  # of the command whose answer is under way
        self._choked = False  # the peer does not read
        self._held = False  # we do not read
        self._barred = False  # until we are told
        self._closing = False
        self._lingering = False
        self._ended = False  # all has been written, and the transport told so
        self._lost = False
        self._deadline: Optional[Any] = None
        self._left = 0  # bytes that were unsent at the last look
        self.number = 0
        socket = _innermost(transport)
        if isinstance(socket, FileDescriptor):
            self.number = socket.fileno()
            # A UNIX socket's transport, being TCP's, provides ITCPTransport too.
            if isinstance(socket, tcp.Server) and not isinstance(socket, unix.Server):
                # As memcached has it (memcached.c, server_socket): an answer in two parts does not
                # wait for the first to be acknowledged, and who has vanished is found out.
                socket.setTcpNoDelay(True)
                socket.setTcpKeepAlive(True)
        transport.registerProducer(self, True)

    def run(self, steps: Iterable[Step], reads_only: bool, size: int) -> None:
        """
        Run `steps` behind those that wait, and answer them.

        :param steps: a list; or what makes them as they are taken.
        :param reads_only: none of them writes.
        :param size: the bytes of input they came from.
        """
        self._size += size
        if self._busy or self._choked:
            self._waiting.append((iter(steps), size, None))
            self._reads_only = self._reads_only and reads_only
            self._hold()
        elif type(steps) is list and len(steps) <= MOST_STEPS:
            # As nearly always: nothing waits, and an instalment holds it.
            self._taken = size
            latency = self._latency[reads_only]
            left = latency.left = latency.left - 1
            if left:
                self._perform(steps, reads_only)
            else:
                self._perform_timed(steps, reads_only)
        else:
            self._waiting.append((iter(steps), size, None))
            self._reads_only = reads_only
            self._turn()

    def run_alone(self, step: Step, size: int, reads_only: bool = True) -> None:
        """As `run`, one step, in an instalment of its own and a round of its own."""
        self._run_alone(step, size, _ALONE[reads_only])

    def run_pieces(self, pieces: Pieces, size: int) -> None:
        """As `run`, an answer that is made piece by piece, as the peer reads it."""
        self._run_alone(pieces, size, Pipeline._begin_pieces)

    def run_waiting(self, wait: Wait, size: int) -> None:
        """As `run`, a command that waits; nothing behind it is run before it is answered."""
        self._run_alone(wait, size, Pipeline._begin_wait)

    def _run_alone(self, what: Any, size: int, how: "Callable[[Pipeline, Any], None]") -> None:
        self._size += size
        self._waiting.append((what, size, how))
        if self._busy or self._choked:
            self._hold()
        else:
            self._put_off()

    @property
    def state(self) -> str:
        """What it is at, in memcached's words."""
        if self._pieces is not None:
            return self._pieces.state
        if self._choked:
            return "conn_mwrite"
        return "conn_io_queue" if self._busy else "conn_read"

    def announce(self, data: bytes) -> bool:
        """Write `data`, for which nobody has asked; False: not, for the peer does not read."""
        if self._choked or self._closing or self._lost:
            return False
        self._write(data)
        return True

    def owes(self) -> bool:
        """Whether steps wait for their answers, or answers for the peer to read."""
        return bool(self._busy or self._begun or self._waiting or _unsent(self._transport))

    def close(self, lingering: bool = False) -> None:
        """
        Close the connection when every answer it is owed has been written.

        :param lingering: only our side of it. A socket that is closed while the peer still sends
            answers with a reset, and that takes from the peer what it has not read yet. What
            comes is to be let go until the peer closes, or `leave`. (TLS has a goodbye of its
            own.)
        """
        if not self._closing:
            self._closing = True
            self._lingering = lingering and self._send is not None
            self._left = _unsent(self._transport)
            self._deadline = self._reactor.callLater(CLOSE_TIMEOUT, self._look)
            self._give_up()
            self._finish()
        elif not lingering and self._lingering:
            self._lingering = False
            self._finish()

    def leave(self) -> None:
        """Wait no longer for the peer's goodbye. What the socket has taken still reaches it."""
        _innermost(self._transport).loseConnection()

    def lost(self) -> None:
        """The connection is gone: nothing more will be run or written."""
        self._lost = True
        self._give_up()
        self.stopProducing()
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
            self._left = _UNKNOWN
            self._deadline.reset(CLOSE_TIMEOUT)
        if self._pieces is not None:
            if not self._asked:
                self._next_piece()
        elif (self._begun or self._waiting) and not self._busy:
            self._turn()
        self._release()

    def stopProducing(self) -> None:
        self._begun, self._waiting = [], []
        self._end_pieces()

    def read_at_once(self, size: Optional[int]) -> None:
        """Have at most so many bytes read at once; None: as many as are usual."""
        socket = _innermost(self._transport)
        if isinstance(socket, FileDescriptor):
            socket.bufferSize = FileDescriptor.bufferSize if size is None else size

    def bar(self) -> None:
        """Read nothing more until `unbar`."""
        self._barred = True
        if not self._held:
            self._held = True
            self._transport.pauseProducing()

    def unbar(self) -> None:
        """Read on."""
        self._barred = False
        self._release()

    def _turn(self) -> None:
        """Run an instalment of what waits."""
        self._busy = False
        steps, self._begun = self._begun, []
        exhausted = 0
        perform_alone = None
        for waiting, size, alone in self._waiting:
            if alone is not None and steps:
                break
            if alone is None:
                steps += islice(waiting, MOST_STEPS - len(steps))
                if len(steps) == MOST_STEPS:
                    break
            exhausted += 1
            self._taken += size
            if alone is not None:
                perform_alone = partial(alone, self, waiting)
                break
        del self._waiting[:exhausted]
        reads_only = self._reads_only
        if not self._waiting:
            self._reads_only = True
        if perform_alone is not None:
            perform_alone()
        else:
            self._perform(steps, reads_only)

    def _perform_alone(self, step: Step) -> None:
        self._perform([step], True)

    def _write_alone(self, step: Step) -> None:
        self._perform([step], False)

    def _begin_wait(self, wait: Wait) -> None:
        self._busy = True
        self._try(wait, self._storage.now() + wait.milliseconds)

    def _try(self, wait: Wait, deadline: int) -> None:
        # While there is nothing, to look is no more than to read.
        results = self._storage.read([wait.step])
        if results is None:
            self._storage.submit([wait.step]).addCallback(self._tried, wait, deadline)
        else:
            self._tried(results, wait, deadline)

    def _tried(self, results: Results, wait: Wait, deadline: int) -> None:
        now = self._storage.now()
        over = self._closing or self._lost or now >= deadline
        if not over and wait.fruitless(results[0]):
            # Nothing has come between: what is committed from here on is told from here on.
            until = min(deadline, now + LOOK_AGAIN)
            changed = self._storage.await_change(wait.start, wait.end, until, wait.consumes)
            if not changed.called:
                self._parked = changed, results, wait.step
                changed.addCallbacks(self._changed, _expect_cancel, (wait, deadline))
                return
            # There is no room for more who wait.
        self._answer(results, [wait.step], True)

    def _changed(self, _: None, wait: Wait, deadline: int) -> None:
        if self._parked is not None:
            self._parked = None
            self._try(wait, deadline)

    def _give_up(self) -> None:
        """Answer what waits, if anything, as it is."""
        if self._parked is not None:
            (changed, results, step), self._parked = self._parked, None
            changed.cancel()
            self._answer(results, [step], True)

    def _begin_pieces(self, pieces: Pieces) -> None:
        self._busy = True
        self._pieces = pieces
        self._next_piece()

    def _next_piece(self) -> None:
        if self._pieces is not None:
            self._asked = True
            self._pieces.next().addCallback(self._have_piece)

    def _have_piece(self, piece: Optional[bytes]) -> None:
        self._asked = False
        if self._lost:
            return
        if piece is None:
            self._end_pieces()
            # What waits behind it is next.
            self._answer([], [], True)
            return
        self._write(piece)
        if not self._choked:
            self._next_piece()

    def _end_pieces(self) -> None:
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            pieces.end()

    def _perform(self, steps: list[Step], reads_only: bool) -> "Optional[Deferred[None]]":
        """Run an instalment; None: it has been answered at once."""
        if reads_only:
            results = self._storage.read(steps)
            if results is not None:
                self._answer(results, steps, True)
                return None
        self._busy = True
        done = self._storage.submit(steps, reads_only)
        answered: Deferred[None] = done.addCallback(self._answer, steps, reads_only)
        return answered

    def _perform_timed(self, steps: list[Step], reads_only: bool) -> None:
        end = self._latency[reads_only].begin()
        done = self._perform(steps, reads_only)
        if done is None:
            end()
        else:
            done.addCallback(lambda _: end())

    def _answer(self, results: Results, steps: list[Step], reads_only: bool) -> None:
        self._busy = False
        if self._lost:
            return
        if self._watchers.active:
            self._watchers.answered(self.number, steps, results)
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
        if len(results) < len(steps):
            self._begun = steps[len(results) :]
            self._reads_only = self._reads_only and reads_only
        else:
            self._size -= self._taken
            self._taken = 0
        if self._begun or self._waiting:
            self._hold()
            if not self._choked:
                # The next instalment in the next round: others have their turn between.
                self._stats.conn_yields += 1
                self._put_off()
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
        answer = self.spell(step, self._fault)
        if answer is None:
            return b""
        self._fault = None
        return answer

    def _put_off(self) -> None:
        self._busy = True
        self._reactor.callLater(0, self._turn_unless_choked)

    def _turn_unless_choked(self) -> None:
        self._busy = False
        if not (self._choked or self._lost):
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
        if self._choked or self._closing or self._lost or self._barred:
            return
        if self._held and self._size <= MOST_WAITING:
            self._held = False
            self._transport.resumeProducing()

    def _finish(self) -> None:
        if self._busy or self._begun or self._waiting or self._lost:
            return
        transport = self._transport
        if not self._ended:
            self._ended = True
            if self._held:
                # The peer's goodbye, which TLS waits for, has to be read.
                self._held = False
                transport.resumeProducing()
            # A paused producer would keep the connection open for ever.
            transport.unregisterProducer()
            self._left = _unsent(transport)
            if self._deadline is not None:
                self._deadline.reset(CLOSE_TIMEOUT)
        if self._lingering:
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def _look(self) -> None:
        """Drop a peer that has read nothing since the last look."""
        left = _unsent(self._transport)
        at_work = self._busy and (self._pieces is None or self._asked)
        if at_work or left < self._left:
            self._left = left
            self._deadline = self._reactor.callLater(CLOSE_TIMEOUT, self._look)
        else:
            self._transport.abortConnection()


_ALONE = {True: Pipeline._perform_alone, False: Pipeline._write_alone}


def _expect_cancel(failure: Failure) -> None:
    failure.trap(CancelledError)


def _innermost(transport: Any) -> Any:
    """The socket's own transport, behind what wraps it as TLS does."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def _unsent(transport: Any) -> int:
    """Bytes that wait for room in the socket; 0 where the transport does not say."""
    transport = _innermost(transport)
    if isinstance(transport, FileDescriptor):
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return 0
