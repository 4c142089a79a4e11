"""
What a throw-away server runs: `twistd mctwist`, which ends when whoever started it ends.

Its standard input is a pipe of which its owner holds the other end. However that one ends, by
kill -9 too, the system closes the pipe; then the server stops, in order, and removes its folder.
So nothing is left that nobody knows of any more.

It is twistd itself, with all that it does, but for the search: `twistd` looks through the plugins
of every package there is, and imports them all where it may not write down what it has found.
"""

import os
import shutil
from contextlib import suppress
from typing import Any, ClassVar, Optional

from twisted.application.app import run
from twisted.application.service import ServiceMaker
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ReactorNotRunning
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]  # no __all__

from mctwist.tap import Options

#: The only one there is here; the plugin file says the same.
MCTWIST = ServiceMaker("mctwist", "mctwist.tap", "A memcached server.", "mctwist")


class TwistdOptions(ServerOptions):
    """Those of `twistd`, which knows one subcommand."""

    subCommands: ClassVar[Any] = [("mctwist", None, Options, MCTWIST.description)]
    loadedPlugins: ClassVar[Any] = {  # type: ignore[misc]  # there it is an instance's
        "mctwist": MCTWIST
    }


class Tether(FileDescriptor):
    """Standard input, of which only the end matters: there the reactor is stopped."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.parted = False
        self._stop = reactor.stop

    def fileno(self) -> int:
        return 0

    def doRead(self) -> Optional[Exception]:
        return None if os.read(0, 1 << 10) else CONNECTION_DONE

    def readConnectionLost(self, reason: Failure) -> None:
        super().readConnectionLost(reason)
        self.parted = True
        # Where it is stopping anyway.
        with suppress(ReactorNotRunning):
            self._stop()


def main(folder: str) -> None:
    """
    Run `twistd` with the arguments of this process.

    :param folder: is removed when the server has stopped because its owner is no more.
    """
    from twisted.internet import reactor

    tether = Tether(reactor)
    reactor.callWhenRunning(tether.startReading)
    try:
        run(runApp, TwistdOptions)
    finally:
        if tether.parted:
            shutil.rmtree(folder, ignore_errors=True)
