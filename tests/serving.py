"""
`mctwist.testing.serve`, as other people's tests use it: under trial, which runs the reactor.

In pytest another runs it, so that `test_serving` has trial run these, in a process of its own.
"""

import logging
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.logger import globalLogPublisher
from twisted.protocols.memcache import MemCacheProtocol
from twisted.trial.unittest import TestCase

from mctwist.testing import NotServed, Served, serve

#: A test that returns a Deferred, with a type.
deferred: Callable[[Any], Callable[..., Any]] = inlineCallbacks


def connect(server: Served) -> Any:
    """A Deferred of a client; it gives up after its own timeout."""
    return connectProtocol(
        TCP4ClientEndpoint(reactor, server.host, server.port), MemCacheProtocol()
    )


class ServeTests(TestCase):
    """Trial itself fails a test that leaves a port, a connection or a delayed call."""

    timeout = 60

    def setUp(self) -> None:
        self.patch(tempfile, "tempdir", self.mktemp())
        os.mkdir(tempfile.gettempdir())

    @deferred
    def test_a_server_per_test_is_empty_and_serves(self) -> Any:
        for value in (b"1", b"2"):
            server = serve(reactor)
            client = yield connect(server)
            self.assertEqual((yield client.get(b"k")), (0, None))
            self.assertTrue((yield client.set(b"k", value)))
            self.assertEqual((yield client.get(b"k")), (0, value))
            yield client.transport.loseConnection()
            yield server.stop()

    @deferred
    def test_nothing_is_left_when_it_has_stopped(self) -> Any:
        threads = set(threading.enumerate())
        server = serve(reactor)
        client = yield connect(server)
        yield client.set(b"k", b"v")
        self.assertNotEqual(os.listdir(tempfile.gettempdir()), [])
        # With a client that is still there: the server hangs up.
        lost = client.transport
        yield server.stop()
        self.assertEqual(os.listdir(tempfile.gettempdir()), [])
        self.assertEqual(set(threading.enumerate()), threads)
        yield server.stop()
        lost.abortConnection()

    @deferred
    def test_it_leaves_the_logs_and_the_signals_of_the_process_alone(self) -> Any:
        def of_process() -> Any:
            return (
                list(globalLogPublisher._observers),
                list(logging.getLogger().handlers),
                [
                    signal.getsignal(each)
                    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
                ],
            )

        before = of_process()
        server = serve(reactor)
        self.assertEqual(of_process(), before)
        yield server.stop()
        self.assertEqual(of_process(), before)

    @deferred
    def test_options_are_those_of_the_command(self) -> Any:
        server = serve(reactor, "--max-item-size", "4m")
        client = yield connect(server)
        self.assertTrue((yield client.set(b"k", b"v" * (2 << 20))))
        yield client.transport.loseConnection()
        yield server.stop()

    @deferred
    def test_a_unix_socket_may_be_all_there_is(self) -> Any:
        # Its name has to be short.
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            path = f"{folder}/socket"
            server = serve(reactor, "--port", "0", "-s", path)
            self.assertEqual((server.host, server.port), (path, 0))
            yield server.stop()

    @deferred
    def test_a_store_of_the_tests_own_is_kept(self) -> Any:
        store = Path(self.mktemp())
        server = serve(reactor, storage=store)
        client = yield connect(server)
        yield client.set(b"k", b"v")
        yield client.transport.loseConnection()
        yield server.stop()
        server = serve(reactor, storage=store)
        client = yield connect(server)
        self.assertEqual((yield client.get(b"k")), (0, b"v"))
        yield client.transport.loseConnection()
        yield server.stop()

    @deferred
    def test_what_cannot_be_started_is_an_exception_and_leaves_nothing(self) -> Any:
        with self.assertRaisesRegex(NotServed, "--sinc not recognized"):
            serve(reactor, "--sinc")
        with self.assertRaisesRegex(NotServed, "the kinds are"):
            serve(reactor, storage="paper:store")
        server = serve(reactor)
        with self.assertRaisesRegex(NotServed, f"cannot listen on 127.0.0.1 port {server.port}"):
            serve(reactor, "--port", str(server.port))
        self.assertEqual(len(os.listdir(tempfile.gettempdir())), 1)
        yield server.stop()
