"""
How other tables come in the place of a store's, and its journals with them.

    links to the old files, in a directory of their own    what there was is kept
    rename the new file over the old one                   from here on the store is the new one
    remove the old journals

The new tables say that the old journals do not count, so a store that is met between the last two
steps is whole; its next opening removes them. LMDB's lock goes too: it knows of the old file.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Optional

from mctwist.backends.folder import sync_directory
from mctwist.backends.journal import journals, number_of
from mctwist.backends.tables import Tables
from mctwist.offline.stores import give_to_owner, sync_tree

_DATA = "data.mdb"
_IDENTITY = "mctwist"


def keep_aside(path: Path, names: "Iterable[str]", aside: Path) -> None:
    """Have files of the store in the directory `path` in `aside` as well."""
    for name in names:
        try:
            os.link(path / name, aside / name)
        except OSError:
            # Not every file system has links.
            shutil.copy2(path / name, aside / name)


def replace_tables(path: Path, new: Path, aside: Optional[Path]) -> None:
    """
    Have the tables in the directory `new` in place of the store's in `path`, durably.

    :param new: on the same file system; nobody has it open. It is gone afterwards.
    :param aside: a new directory, which gets what was there before; None: there was nothing.
    """
    old = journals(path)
    if old:
        with closing(Tables(new, _room(new), True)) as tables:
            tables.begin_journals(number_of(old[-1]) + 1)
    if aside is not None:
        there = [_IDENTITY, _DATA, *(journal.name for journal in old)]
        keep_aside(path, [name for name in there if (path / name).exists()], aside)
        give_to_owner(aside, path)
        sync_tree(aside)
        sync_directory(aside.parent)
    give_to_owner(new, path)
    sync_tree(new)
    os.replace(new / _DATA, path / _DATA)
    (path / "lock.mdb").unlink(missing_ok=True)
    sync_directory(path)
    for journal in old:
        journal.unlink()
    (path / "unsynced").unlink(missing_ok=True)
    sync_directory(path)
    shutil.rmtree(new)


def _room(path: Path) -> int:
    return 2 * (path / _DATA).stat().st_size + (64 << 20)


def raise_numbers(path: Path, sequence: int) -> None:
    """Have the store in `path`, which is closed, go on above `sequence`."""
    with closing(Tables(path, _room(path), True)) as tables:
        state = tables.state()
        state.sequence = max(state.sequence, sequence)
        tables.commit({}, set(), state.encode(), {})
