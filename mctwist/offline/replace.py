"""
How other tables come in the place of a store's, and its journals with them.

    links to the old files, in a directory of their own    what there was is kept
    give that directory its name
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
from typing import Optional, Union

from mctwist.backends.folder import sync_directory
from mctwist.backends.journal import journals, number_of
from mctwist.backends.tables import Tables
from mctwist.offline.stores import give_to_owner, sync_tree

_DATA = "data.mdb"
_IDENTITY = "mctwist"


def keep_aside(path: Path, names: "Iterable[str]", aside: Path, kept: Path) -> None:
    """
    Have files and directories of the store in the directory `path` in `aside` as well, durably,
    and then call that `kept`.
    """
    for name in names:
        if (path / name).is_dir():
            shutil.copytree(path / name, aside / name, copy_function=_link)
        elif (path / name).exists():
            _link(path / name, aside / name)
    give_to_owner(aside, path)
    sync_tree(aside)
    aside.rename(kept)
    sync_directory(kept.parent)


def _link(path: "Union[str, Path]", to: "Union[str, Path]") -> None:
    try:
        os.link(path, to)
    except OSError:
        # Not every file system has links.
        shutil.copy2(path, to)


def replace_tables(path: Path, new: Path, aside: Path, kept: Optional[Path]) -> None:
    """
    Have the tables in the directory `new` in place of the store's in `path`, durably.

    :param new: on the same file system; nobody has it open. It is gone afterwards.
    :param aside: a directory, which gets what was there before, and the name `kept`. None: there
        was nothing.
    """
    old = journals(path)
    if old:
        with closing(Tables(new, _room(new), True)) as tables:
            tables.begin_journals(number_of(old[-1]) + 1)
    if kept is not None:
        keep_aside(path, (_IDENTITY, _DATA, *(journal.name for journal in old)), aside, kept)
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
