"""
`mctwist dump`: every item, as lines of JSON.

What a dump is, `mctwist.dumps` says; where the items come from, `sources` and `metadump`.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Optional

import click

from mctwist.client import Server
from mctwist.dumps import Record, encode, first_line, last_line
from mctwist.offline import contents
from mctwist.offline.stores import named
from mctwist.shell.options import as_json, of_server
from mctwist.shell.output import print_json, tell
from mctwist.shell.progress import bar
from mctwist.shell.stores import refusing
from mctwist.shell.transfer.files import STANDARD, Target
from mctwist.shell.transfer.metadump import GONE, metadump
from mctwist.shell.transfer.sources import Source, itemdump

#: The most items that are written at once, and bytes, but for one item that has more: enough that
#: what is done for each write does not count.
_ITEMS, _BYTES = 256, 1 << 20

#: Why an item of a store is not taken.
DAMAGED = "records that do not verify: see `mctwist check`"


@click.command()
@click.argument("file", default=STANDARD, type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--storage", metavar="[KIND:]DIR", help="Of this store, which no server has open.")
@click.option("--prefix", default="", metavar="P", help="Only the keys that begin with P.")
@as_json
@of_server
def dump(file: str, storage: Optional[str], server: Server, prefix: str, as_json: bool) -> None:
    """
    Write every item of a server to FILE, as lines of JSON; without FILE, to the output.

    It is compressed when the name of FILE ends in .zst. `mctwist load` takes it back. The server
    may be any memcached, from 1.4.31 on. FILE is there when it is whole, and not before.

    The status is 1 when something could not be taken that is not simply gone meanwhile.
    """
    if as_json and file == STANDARD:
        raise click.UsageError("--json tells of a FILE")
    began = time.monotonic()
    wanted = prefix.encode(errors="surrogateescape")
    if storage is not None:
        opened: AbstractContextManager[Source] = _of_store(storage, wanted)
    else:
        opened = nullcontext(itemdump(server, wanted) or metadump(server, wanted))
    with opened as source:
        count, size = _write(source, file)
    seconds = time.monotonic() - began
    left_out = +source.left_out
    _report(source.name, file, count, size, seconds, left_out, as_json)
    if set(left_out) - {GONE}:
        raise click.exceptions.Exit(1)


@contextmanager
def _of_store(storage: str, prefix: bytes) -> "Iterator[Source]":
    with refusing(), contents.records(named(storage)) as items:
        left_out: Counter[str] = Counter()

        def records() -> "Iterator[Record]":
            for record in items:
                if record.key.startswith(prefix):
                    yield record
            left_out[DAMAGED] += items.damaged

        yield Source(storage, records(), items.expected, left_out)


def _write(source: Source, file: str) -> "tuple[int, Optional[int]]":
    """How many items there were, and the size of the file."""
    count = 0
    with Target(file) as target, bar("Dumping", source.total, shown=not target.on_terminal) as show:
        target.write(first_line(source.name, int(time.time() * 1000)))
        for lines in pieces(source.records):
            count += len(lines)
            target.write(b"".join(lines))
            show(count)
        target.write(last_line(count))
    return count, target.size


def pieces(records: "Iterable[Record]") -> "Iterator[list[bytes]]":
    """The lines of `records`, so many at a time as are written at once."""
    lines, size = [], 0
    for record in records:
        line = encode(record)
        lines.append(line)
        size += len(line)
        if size >= _BYTES or len(lines) >= _ITEMS:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _report(
    source: str,
    file: str,
    count: int,
    size: Optional[int],
    seconds: float,
    left_out: "Counter[str]",
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "file": file,
                "from": source,
                "items": count,
                "bytes": size,
                "seconds": round(seconds, 3),
                "left_out": dict(left_out),
            }
        )
        return
    taken = "" if size is None else f", {size:,} bytes"
    tell(f"{count:,} items of {source} dumped in {seconds:.1f} s ({count / seconds:,.0f}/s){taken}")
    for reason, number in left_out.most_common():
        tell(f"{number:,} left out: {reason}")
