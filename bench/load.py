"""The load generator: one process, one loop, prebuilt requests, known answers.

Each connection has one exchange under way: its request goes out whole, its answer is compared byte
for byte, the next one follows. An answer that differs, a connection that closes and a server that
falls silent end the run with an exception: a wrong figure is worse than none.

It must be faster than what it measures. Two things made it so: `SO_RCVLOWAT` wakes it once an
answer and not once a segment (memcached answers 32 pipelined gets in about 20 segments), and `recv`
asks for no more than an answer, because malloc maps and unmaps a buffer of 256 KiB at each call,
which held the generator to 40,000 exchanges a second where it now does 140,000.

Under TLS an answer comes as one record or more: no part of it can be had before its record is
whole.
"""

import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import cycle, islice
from math import inf
from random import randrange
from ssl import CERT_NONE, SSLContext, SSLWantReadError, create_default_context
from typing import Optional

from attrs import frozen

from bench.wire import Answer, Exchange

#: A server that answers nobody for this many seconds has failed.
PATIENCE = 10.0


class WrongReply(Exception):
    """A server did not answer what was known to be the answer."""


@frozen
class Load:
    """What was done: exchanges answered in `seconds`, for `cpu` seconds of the generator's own."""

    answered: int
    seconds: float
    cpu: float


def drive(
    port: int,
    exchanges: Sequence[Exchange],
    connections: int,
    seconds: Optional[float] = None,
    tls: bool = False,
) -> Load:
    """Load the server on `port` for so many seconds, or with each exchange once.

    :param tls: the server's certificate may be anybody's.
    :raises WrongReply: also for replies that come after the time is up.
    """
    feed = iter(exchanges)
    if seconds is not None:
        feed = islice(cycle(exchanges), randrange(len(exchanges)), None)
    lengths = [len(reply) for _, reply in exchanges]
    with ExitStack() as stack:
        sockets: dict[int, socket.socket] = {}
        for _ in range(connections):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                sock = stack.enter_context(trusting().wrap_socket(sock))
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(lengths))
            sock.setblocking(False)
            sockets[sock.fileno()] = sock
        # One byte more than the longest answer, to see an answer that is too long.
        return pump(sockets, feed, max(lengths) + 1, inf if seconds is None else seconds)


@cache
def trusting() -> SSLContext:
    context = create_default_context()
    context.check_hostname = False
    context.verify_mode = CERT_NONE
    return context


def pump(
    sockets: dict[int, socket.socket], feed: Iterator[Exchange], room: int, seconds: float
) -> Load:
    recv = {fd: sock.recv for fd, sock in sockets.items()}
    send = {fd: sock.send for fd, sock in sockets.items()}
    owed: dict[int, Answer] = {}
    load: Optional[Load] = None
    answered = 0
    with select.epoll() as poller:
        began, cpu = time.perf_counter(), time.process_time()
        deadline = began + seconds
        for fd, (request, reply) in zip(sockets, feed):
            poller.register(fd, select.EPOLLIN)
            owed[fd] = reply
            send[fd](request)
        while owed:
            events = poller.poll(PATIENCE)
            if not events:
                raise silence(sockets, owed)
            for fd, _ in events:
                try:
                    data = recv[fd](room)
                except SSLWantReadError:
                    # A part of a record, or a ticket for another session.
                    continue
                if data != owed[fd]:
                    owed[fd] = rest(owed[fd], data)
                    continue
                answered += 1
                exchange = next(feed, None)
                if exchange is None:
                    del owed[fd]
                    poller.unregister(fd)
                    continue
                request, owed[fd] = exchange
                if send[fd](request) != len(request):
                    raise WrongReply("the server stopped reading")
            if load is None and time.perf_counter() >= deadline:
                load = Load(answered, time.perf_counter() - began, time.process_time() - cpu)
                feed = iter(())
        return load or Load(answered, time.perf_counter() - began, time.process_time() - cpu)


def rest(owed: Answer, data: bytes) -> Answer:
    """What is still owed after `data`, which must be the beginning of it."""
    if not data:
        raise WrongReply(f"connection closed while {owed[:60]!r} was owed")
    if owed[: len(data)] != data:
        raise WrongReply(f"{data[:200]!r} came where {owed[:200]!r} was owed")
    return owed[len(data) :]


def silence(sockets: dict[int, socket.socket], owed: dict[int, Answer]) -> WrongReply:
    """Nothing woke us: either nothing came, or an answer too short to do so (an error, likely)."""
    for fd in owed:
        try:
            rest(owed[fd], sockets[fd].recv(1000))
        except (BlockingIOError, SSLWantReadError):
            continue
        except WrongReply as wrong:
            return wrong
    return WrongReply(f"{len(owed)} connections without an answer for {PATIENCE:.0f} s")
