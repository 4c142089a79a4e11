"""
`mctwist top`: what a server does, second by second.

The live view is drawn anew for each reading, in the terminal's other screen. A server that is lost
is looked for again at each turn, and what was last known of it stays, dimmed. Without a terminal,
and for scripts, the readings are lines.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import count as numbers
from typing import Any, Callable, NamedTuple, Optional

import click
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mctwist import client
from mctwist.client import LOST, REFUSED, Connection, Server
from mctwist.shell.measure import gauges
from mctwist.shell.measure.gauges import Interval, Key, Sample, Value, Values
from mctwist.shell.measure.keyboard import READY, RESIZED, SUSPEND, Keyboard
from mctwist.shell.options import LONGEST, Seconds, as_json, of_server
from mctwist.shell.output import print_json, said

#: Keys that are shown, at the most, ...
MOST_KEYS = 10
#: ... and the part of all operations that each must have for it.
_SHARE = 0.001

#: So many readings are drawn behind one another.
_HISTORY = 48
_BARS = "▁▂▃▄▅▆▇█"

#: Figures, and what they are called to people.
_Rows = dict[str, str]


@click.command()
@of_server
@click.option(
    "-i",
    "--interval",
    type=Seconds(0.05, LONGEST),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="From one look to the next.",
)
@click.option("--once", is_flag=True, help="One reading; as --count 1.")
@click.option(
    "-n", "--count", type=click.IntRange(1), metavar="N", help="So many readings, as lines."
)
@click.option(
    "--keys/--no-keys", default=True, help="Whether the busiest keys are asked for (mctwist only)."
)
@as_json
def top(
    server: Server, interval: float, once: bool, count: Optional[int], keys: bool, as_json: bool
) -> None:
    """
    Watch a server: operations, hit ratio, latencies, connections, memory, the busiest keys.

    At a terminal it is a live view, which q ends. With --once, --count or --json, and where the
    output is no terminal, a reading is lines of NAME<TAB>VALUE, or an object of JSON. A rate is
    about the interval, in a second; a name that ends in _total is since the start.

    What a server does not tell is left out, or shown as a dash. Latencies and busiest keys only
    mctwist tells, and the keys only to who may list them; it counts them while they are asked
    for. (memcached could tell them by `watch fetchers`, at a price for those it serves, so it is
    not asked to.)
    """
    screen = Console(highlight=False)
    lines = once or as_json or count is not None or not screen.is_terminal
    if lines or screen.is_dumb_terminal:
        most = 1 if once else count
        for number, reading in enumerate(_readings(server, interval, keys, most)):
            _print(reading, as_json, number)
    else:
        _watch(server, interval, keys, screen)


class Reading(NamedTuple):
    """What a turn has brought."""

    values: Values
    keys: "list[Key]"


def _reading(before: Sample, after: Sample) -> Reading:
    keys = [key for key in after.keys[:MOST_KEYS] if key.share >= _SHARE]
    return Reading(gauges.read(Interval(before, after)), keys)


def _readings(
    server: Server, interval: float, keys: bool, most: Optional[int]
) -> Iterator[Reading]:
    """:param most: how many; None: without end."""
    connection = server.connect()
    try:
        before = _sample(connection, keys)
        due = time.monotonic()
        turns: Iterable[int] = numbers() if most is None else range(most)
        for _ in turns:
            due += interval
            time.sleep(max(due - time.monotonic(), 0))
            after = _sample(connection, keys)
            yield _reading(before, after)
            before = after
    finally:
        connection.close()


def _sample(connection: Connection, keys: bool) -> Sample:
    gauges.ask(connection, keys)
    return gauges.fetch(connection, keys)


def _print(reading: Reading, json: bool, number: int) -> None:
    """:param number: of the reading; the first is 0."""
    if json:
        busiest = [
            {"key": key.name.decode(errors="backslashreplace"), "ops": key.rate, "share": key.share}
            for key in reading.keys
        ]
        print_json({**reading.values, "keys": busiest})
        return
    if number:
        click.echo()
    for name, value in reading.values.items():
        click.echo(f"{name}\t{value}")
    for key in reading.keys:
        click.echo(f"key {client.readable(key.name)}\t{key.rate:.1f}")


# The live view


def _watch(server: Server, interval: float, keys: bool, screen: Console) -> None:
    # A server that is not there to begin with is a fault, and no view.
    looking = _Looking(server, keys)
    looking.connect()
    shown = View(str(server), interval, screen.options.ascii_only)
    live = Live(
        console=screen,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )

    def follow() -> Optional[str]:
        """Until a key is pressed that ends it, which is returned."""
        with Keyboard() as keyboard, live:
            due = time.monotonic()
            while True:
                key = looking.look(keyboard, due + server.timeout, shown, live)
                if _is_over(key):
                    return key
                due = max(due + interval, time.monotonic())
                key = _rest(keyboard, due, shown, live)
                if _is_over(key):
                    return key

    try:
        while follow() == SUSPEND:
            # Whose terminal it is by now, the shell has to see; it has us go on.
            os.kill(0, signal.SIGTSTP)
    finally:
        looking.close()


def _is_over(key: Optional[str]) -> bool:
    return key is not None and key in f"qQ\x1b{SUSPEND}"


def _rest(keyboard: Keyboard, until: float, shown: "View", live: Live) -> Optional[str]:
    """Wait; the key that ends it, or None when the time has come."""
    live.update(shown.drawn(), refresh=True)
    while True:
        event = keyboard.wait(until)
        if event is None or _is_over(event):
            return event
        live.update(shown.drawn(), refresh=True)


class _Looking:
    """A server that is looked at again and again, and may be gone between."""

    def __init__(self, server: Server, keys: bool) -> None:
        self._server = server
        self._keys = keys
        self._connection: Optional[Connection] = None
        self._before: Optional[Sample] = None

    def connect(self) -> Connection:
        self._connection = self._server.connect()
        self._before = None
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def look(self, keyboard: Keyboard, until: float, shown: "View", live: Live) -> Optional[str]:
        """
        Have what there is to see shown; the key that ends it, if one is pressed meanwhile.

        :param until: when the server must have answered.
        """
        try:
            connection = self._connection or self.connect()
            gauges.ask(connection, self._keys)
            event = keyboard.wait(until, connection.sock)
            while event != READY:
                if event is None:
                    raise TimeoutError
                if _is_over(event):
                    # What it answers later is for nobody.
                    self.close()
                    return event
                if event == RESIZED:
                    live.update(shown.drawn(), refresh=True)
                event = keyboard.wait(until, connection.sock)
            after = gauges.fetch(connection, self._keys)
        except LOST as fault:
            self.close()
            shown.lose(said(fault))
        except REFUSED as fault:
            self.close()
            shown.lose(f"the server answers {fault}")
        else:
            if self._before is not None:
                shown.take(_reading(self._before, after))
            self._before = after
        return None


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _part(value: float) -> str:
    return f"{100 * value:.1f} %"


def duration(microseconds: float) -> str:
    """A time, as people write it."""
    if microseconds < 1000:
        return f"{microseconds:.0f} µs" if microseconds >= 10 else f"{microseconds:.1f} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds / 1e6:.1f} s"


#: How figures are written that are not plain counts.
_SPELLED: "dict[str, Callable[[float], str]]" = {
    **dict.fromkeys(("bytes_in", "bytes_out", "bytes", "bytes_limit", "journal_bytes"), _bytes),
    **dict.fromkeys(("hit_ratio", "hit_ratio_total"), _part),
    "checkpoint_us": duration,
}

_OPERATIONS: _Rows = {
    "ops": "all",
    **{f"ops_{kind}": kind for kind in gauges.OPERATIONS},
    "ops_cas": "cas (of set)",
    "ops_meta": "meta (of all)",
}
_OPERATIONS["ops_incr"] = "incr, decr"
_HITS: _Rows = {"hit_ratio": "now", "hit_ratio_total": "since the start"}
_CONNECTIONS: _Rows = {
    "connections": "open",
    "connections_limit": "limit",
    "connections_opened": "new/s",
    "connections_rejected_total": "rejected",
    "bytes_in": "in/s",
    "bytes_out": "out/s",
}
_ITEMS: _Rows = {
    "items": "items",
    "bytes": "bytes",
    "bytes_limit": "limit",
    "evictions": "evicted/s",
    "evictions_total": "evicted",
    "expired": "expired/s",
}
_STORE: _Rows = {
    "batches": "batches/s",
    "batch_operations": "steps in each",
    "syncs": "syncs/s",
    "journal_bytes": "journal",
    "checkpoints_total": "checkpoints",
    "checkpoint_us": "last took",
}
_TIMES = {"read": "reads", "write": "writes", "sync": "fsync"}
_PARTS = {"p50": "50 %", "p90": "90 %", "p99": "99 %", "p999": "99.9 %", "max": "most"}


class View:
    """
    The live view.

    :param server: its address; :param interval: from one reading to the next, in seconds.
    :param plain: the terminal has only letters and digits.
    """

    def __init__(self, server: str, interval: float, plain: bool = False) -> None:
        self._server = server
        self._interval = interval
        self._dash = "-" if plain else "\N{EN DASH}"
        self._bars = ".:-=+*#@" if plain else _BARS
        self._reading = Reading({}, [])
        self._fault: Optional[str] = None
        self._history: deque[float] = deque(maxlen=_HISTORY)

    def take(self, reading: Reading) -> None:
        """A reading has been made."""
        self._reading = reading
        self._fault = None
        self._history.append(float(reading.values.get("ops", 0)))

    def lose(self, fault: str) -> None:
        """There is none, for this reason."""
        self._fault = fault
        self._history.append(0.0)

    def drawn(self) -> RenderableType:
        """All of it."""
        parts = [
            self._group("operations/s", _OPERATIONS),
            self._group("gets that hit", _HITS),
            self._latency(),
            self._group("connections", _CONNECTIONS),
            self._group("items", _ITEMS),
            self._group("store", _STORE),
        ]
        if self._reading.keys:
            parts.append(self._keys())
        return Group(self._head(), Columns(parts, padding=(1, 3)))

    def _head(self) -> Text:
        values = self._reading.values
        head = Text(overflow="ellipsis", no_wrap=True)
        head.append("mctwist top ", "bold")
        head.append(self._server)
        if "version" in values:
            head.append(f"  {values['version']}")
        if "uptime" in values:
            head.append(f"  up {timedelta(seconds=int(float(values['uptime'])))}")
        head.append(f"  every {self._interval:g} s, q ends\n", "dim")
        if self._fault is not None:
            head.append(f"lost: {self._fault}; trying again", "bold red")
        else:
            head.append(self._curve(), "cyan")
        return head

    def _curve(self) -> str:
        most = max(self._history, default=0)
        steps = len(self._bars) - 1
        return "".join(
            self._bars[round(ops / most * steps) if most else 0] for ops in self._history
        )

    def _group(self, title: str, rows: _Rows) -> Table:
        table = self._table(title, 2)
        for name, label in rows.items():
            table.add_row(label, self._spelled(name))
        return table

    def _latency(self) -> Table:
        table = self._table("latency", 1 + len(_TIMES))
        table.add_row("", *_TIMES.values(), style="dim")
        for part, label in _PARTS.items():
            cells = (self._spelled(f"{kind}_us_{part}", duration) for kind in _TIMES)
            table.add_row(label, *cells)
        return table

    def _keys(self) -> Table:
        table = self._table("busiest keys, about", 3)
        for key in self._reading.keys:
            name = client.readable(key.name)
            shown = name if len(name) <= 40 else f"{name[:37]}..."
            table.add_row(shown, f"{_count(key.rate)}/s", _part(key.share))
        return table

    def _table(self, title: str, columns: int) -> Table:
        style = "dim" if self._fault is not None else ""
        table = Table(title=title, title_style="bold", title_justify="left", box=None, style=style)
        table.show_header = False
        table.pad_edge = False
        for column in range(columns):
            side: Any = "right" if column else "left"
            table.add_column(justify=side, no_wrap=True, style=style)
        return table

    def _spelled(self, name: str, spell: "Optional[Callable[[float], str]]" = None) -> str:
        value: Optional[Value] = self._reading.values.get(name)
        if value is None:
            return self._dash
        return (spell or _SPELLED.get(name, _count))(float(value))
