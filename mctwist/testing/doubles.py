"""Pools and clocks that tests control, and steps in one word."""

from typing import TYPE_CHECKING, Any, Callable

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mctwist import operations
from mctwist.interfaces import (
    Operation,
    Render,
    Step,
)

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object

#: When a test begins: seconds since the epoch.
START = 1_700_000_000
#: The same moment in milliseconds, as steps are given it.
NOW = START * 1000
#: A second, in milliseconds.
SECOND = 1000


class ManualPool:
    """
    A ThreadPool without threads: what it is given waits until the test says `run`.

    :ivar waiting: what has been given and not run, oldest first.
    :ivar running: it has been started, and not stopped.
    """

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        """As ThreadPool's: what was given is run first."""
        self.run_all()
        self.running = False

    def callInThreadWithCallback(
        self,
        onResult: Callable[[bool, Any], object],
        func: Callable[..., Any],
        *args: Any,
        **kw: Any,
    ) -> None:
        def work() -> None:
            try:
                result = func(*args, **kw)
            except Exception:
                onResult(False, Failure())
            else:
                onResult(True, result)

        self.waiting.append(work)

    def run(self) -> None:
        """Run what was given first."""
        self.waiting.pop(0)()

    def run_all(self) -> int:
        """Run until nothing waits; return how many were run."""
        count = 0
        while self.waiting:
            self.run()
            count += 1
        return count


class ManualReactor(Clock):
    """A clock that starts at a real date, and a reactor whose thread the test's own is."""

    def __init__(self, seconds: float = START) -> None:
        super().__init__()
        self.rightNow = seconds

    def callFromThread(self, f: Callable[..., Any], *args: Any, **kw: Any) -> None:
        f(*args, **kw)

    def turn(self) -> int:
        """
        Run what is due now, and nothing that it puts off: one turn of a reactor.

        :return: how many calls that were.
        """
        now = self.seconds()
        due = [call for call in self.calls if call.getTime() <= now]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        return len(due)


def unspoken(stats: Any, key: bytes, result: Any) -> bytes:
    """A render that spells nothing, for steps whose results are looked at as they are."""
    return b""


def step(operation: Operation, key: bytes, *arguments: Any, render: Render = unspoken) -> Step:
    """A step: `operation` on `key` with `arguments`."""
    return operation, key, arguments, render


def get(key: bytes) -> Step:
    """A step that fetches."""
    return step(operations.fetch, key)


def put(key: bytes, value: bytes = b"value", flags: int = 0, expiry: int = 0) -> Step:
    """
    A step that stores.

    :param expiry: milliseconds since the epoch; 0: never.
    """
    return step(operations.store, key, value, flags, expiry)


def delete(key: bytes) -> Step:
    """A step that deletes."""
    return step(operations.delete, key)


def flush(deadline: int = 0) -> Step:
    """A step that flushes everything, at `deadline` in milliseconds since the epoch; 0: now."""
    return step(operations.flush, b"", deadline)


def counts() -> Step:
    """A step that asks for the live items and their bytes."""
    return step(operations.counts, b"")
