"""
The public test kit: a server for the tests of what uses one (`serve`), and what tests of a backend,
of a dialect or of the storage service are made of.

But for `serve` nothing here starts a thread, opens a socket or waits: a `ManualPool` runs when it
is told, and a `ManualReactor` is a clock that is advanced. Whoever writes a backend subclasses
`BackendContract`, `SpaceContract`, `ScanContract`, `KeptContract` and, where it is ordered,
`OrderedContract`, each together with trial's SynchronousTestCase, says how to make one, and has
every promise of `IBackend` tested on it:

    class MyBackendTests(BackendContract, SynchronousTestCase):
        def make_backend(self, path: str, **limits: Any) -> IBackend:
            return MyBackend(path, **limits)
"""

from mctwist.testing.contract import (
    HARD_KEYS,
    HARD_VALUES,
    BackendCase,
    BackendContract,
    Trouble,
    fail,
    put_and_fail,
)
from mctwist.testing.doubles import (
    NOW,
    SECOND,
    START,
    ManualPool,
    ManualReactor,
    counts,
    delete,
    flush,
    get,
    put,
    step,
)
from mctwist.testing.order import KeptContract, OrderedContract, ScanContract
from mctwist.testing.serving import NotServed, Served, serve
from mctwist.testing.space import SpaceContract

__all__ = [
    "HARD_KEYS",
    "HARD_VALUES",
    "NOW",
    "SECOND",
    "START",
    "BackendCase",
    "BackendContract",
    "KeptContract",
    "ManualPool",
    "ManualReactor",
    "NotServed",
    "OrderedContract",
    "ScanContract",
    "Served",
    "SpaceContract",
    "Trouble",
    "counts",
    "delete",
    "fail",
    "flush",
    "get",
    "put",
    "put_and_fail",
    "serve",
    "step",
]
