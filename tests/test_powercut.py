"""
Power cuts: no acknowledged write is lost with `--sync always`, whatever the disk had not synced.

How the cuts are made is in powercut.py. `MCTWIST_POWER_CUTS` sets the number of moments, each tried
with every pattern of loss.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import LMDBBackend
from mctwist.interfaces import IBackend
from mctwist.testing import get
from tests.powercut import CALLS, PATTERNS, History

NOW = 1_700_000_000_000
KEYS = 20
MOMENTS = int(os.environ.get("MCTWIST_POWER_CUTS", "40"))

#: Sets keys in turn, three to a batch, and says so when a batch has been acknowledged.
WORKLOAD = """
import os, sys
from mctwist import operations
from tests.test_powercut import backend, KEYS, NOW
kind, path, sync = sys.argv[1:]
store = backend(kind, path, sync)
store.open()
for number in range(0, 180, 3):
    steps = [(operations.store, b"%d" % (n % KEYS), (b"%d:" % n + b"v" * (n % 7 * 900), 0, 0), None)
             for n in range(number, number + 3)]
    store.perform([steps], NOW)
    os.write(1, b"%d\\n" % (number + 2))
    if store.due:
        store.maintain()
"""


def backend(kind: str, path: str, sync: str) -> IBackend:
    if kind == "directory":
        return DirectoryBackend(path, sync)
    return LMDBBackend(path, sync, limit=1 << 24, checkpoint=20_000)


@pytest.fixture(scope="module")
def strace() -> str:
    path = shutil.which("strace")
    if path is None:
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail("strace is not installed, and REQUIRE_SERVERS=1")
        pytest.skip("strace is not installed")
    return path


def history(strace: str, kind: str, sync: str, directory: Path) -> History:
    trace = directory / "trace"
    subprocess.run(
        [strace, "-o", str(trace), "-xx", "-s", str(1 << 24), "-e", f"trace={CALLS}",
         sys.executable, "-c", WORKLOAD, kind, str(directory / "store"), sync],
        check=True, stdout=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    with open(trace) as lines:
        return History(directory / "store", lines)


def check(kind: str, path: Path, promised: int, context: str) -> None:
    """Open the image and see that it holds the first `promised` writes, and nothing torn."""
    store = backend(kind, str(path), "always")
    store.open()
    try:
        items = store.read([get(b"%d" % place) for place in range(KEYS)], NOW)
    finally:
        store.close()
    assert store.damaged == 0, context
    for place, item in enumerate(items):
        writes = range(place, promised + 1, KEYS)
        if not writes:
            continue
        assert item is not None, f"{context}: {place} is gone"
        number, _, rest = item.value.partition(b":")
        assert int(number) % KEYS == place, context
        assert rest == b"v" * (int(number) % 7 * 900), context
        assert int(number) >= writes[-1], f"{context}: {place} is {number!r}, not {writes[-1]}"


@pytest.mark.parametrize(
    ("kind", "sync", "batches"),
    [("lmdb", "always", 0), ("lmdb", "relaxed", 1), ("directory", "always", 0)],
)
def test_a_power_cut_takes_back_no_more_than_is_said(
    strace: str, kind: str, sync: str, batches: int, tmp_path: Path
) -> None:
    """`batches`: how many of the last may be gone."""
    past = history(strace, kind, sync, tmp_path)
    random = Random(1)
    moments = past.moments()
    for moment in sorted(random.sample(moments, min(MOMENTS, len(moments)))):
        past.cut(moment)
        acknowledged = int(past.said[-1]) if past.said else -1
        for name, pattern in PATTERNS.items():
            image = tmp_path / "image"
            image.mkdir()
            past.image(image, pattern, random)
            context = f"call {moment} of {len(past)}, lost: {name}"
            check(kind, image, acknowledged - 3 * batches, context)
            shutil.rmtree(image)
