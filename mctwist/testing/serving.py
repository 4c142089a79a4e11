"""
A server in the test's own process and reactor, as trial's tests want it.

It is the server of `twistd mctwist`, made of the same options, on a free port of the loopback
address and with its values in a temporary folder. It touches neither the log observers nor the
signals of the process, and when the Deferred of `stop` has fired it has left nothing: no port, no
connection, no delayed call, no thread, no file.
"""

import os
import shutil
import tempfile
from typing import Any, Optional, Union

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import inlineCallbacks

from mctwist.options import UsageError
from mctwist.tap import CannotStart, Options, assemble


class NotServed(Exception):
    """The server cannot be started: an option is wrong, or the store or the port is another's."""


class Served:
    """
    A server that runs.

    :ivar host: where it listens; with several listeners, the first. Of a UNIX socket, its path.
    :ivar port: its number; 0: it is a UNIX socket.
    """

    def __init__(self, service: Any, folder: str) -> None:
        self._service = service
        self._folder = folder
        address = service.listeners()[0].getHost()
        if isinstance(address, UNIXAddress):
            self.host, self.port = str(os.fsdecode(address.name or b"")), 0
        else:
            self.host, self.port = str(address.host), int(address.port)

    @inlineCallbacks
    def stop(self) -> Any:
        """
        Stop it, in order: clients have their answers, connections are closed. It may be stopped.

        :return: a Deferred that fires when nothing of it is left.
        """
        yield self._service.stopService()
        shutil.rmtree(self._folder, ignore_errors=True)


def serve(
    reactor: Any,
    *options: str,
    storage: "Optional[Union[str, os.PathLike[str]]]" = None,
    sync: str = "never",
) -> Served:
    """
    A server that runs in `reactor`.

        def setUp(self):
            self.server = serve(reactor)
            self.addCleanup(self.server.stop)

    :param options: of `twistd mctwist`.
    :param storage: where values are kept, as in `--storage`, and stay after `stop`; None: in a
        temporary folder, which goes with the server.
    :param sync: what a power cut may take, as in `--sync`.
    :raises NotServed: with the reason; nothing is left.
    """
    folder = tempfile.mkdtemp(prefix="mctwist-")
    where = os.path.join(folder, "store") if storage is None else os.fspath(storage)
    told = Options()
    try:
        told.parseOptions(["--port", "-1", "--storage", where, "--sync", sync, *options])
        service = assemble(told, reactor)
        service.startService()
    except BaseException as fault:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(fault, CannotStart):
            raise NotServed(str(fault.fault)) from fault
        if isinstance(fault, (SystemExit, UsageError)):
            raise NotServed(str(fault)) from None
        raise
    return Served(service, folder)
