"""The process of `process.run`: its tasks, by name."""

import sys

from mctwist.offline import check, contents, copies, salvage
from mctwist.offline.process import serve

TASKS = {
    "check": check.look_through,
    "snapshot": copies.take_snapshot,
    "number": copies.last_number,
    "live": contents.live,
    "piece": salvage.read,
    "keys": salvage.find,
}

if __name__ == "__main__":
    serve(TASKS, sys.argv[1])
