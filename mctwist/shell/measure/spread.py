"""
A histogram of times, drawn: in a terminal, and as an SVG.

Both go by the logarithm, for of what takes long there is little and it is far off. The SVG is a
whole document that asks for nothing else, and follows the light or the dark of whoever looks at it.
"""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log2
from typing import NamedTuple

from mctwist.histogram import Histogram

#: What is told of a histogram: names of percentiles, and what they are.
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
#: The same to people.
CALLED = {"p50": "50 %", "p90": "90 %", "p99": "99 %", "p999": "99.9 %"}

#: Lines of the drawing in a terminal, at the most.
MOST_LINES = 20

# Of the SVG, in its own units.
_WIDTH, _HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 24, 116, 52
# From one percentile's name to that of the next, below it.
_STEP = 14

_STYLE = """
svg { color-scheme: light dark; background: #ffffff }
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.bar { fill: #3b7dd8 }
.axis { stroke: #6e7781; fill: none }
.grid { stroke: #d0d7de; stroke-dasharray: 2 3; fill: none }
.mark { stroke: #c2410c; fill: none }
.named { fill: #c2410c }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117 }
  text { fill: #e6edf3 }
  .bar { fill: #58a6ff }
  .axis { stroke: #8b949e }
  .grid { stroke: #30363d }
  .mark { stroke: #ffa657 }
  .named { fill: #ffa657 }
}
"""


class Row(NamedTuple):
    """From `start` up to below `end`, in nanoseconds, so many times."""

    start: float
    end: float
    times: int


def duration(nanoseconds: float) -> str:
    """A time, as people write it."""
    for unit, size in (("µs", 1e3), ("ms", 1e6), ("s", 1e9)):
        value = nanoseconds / size
        if value < 999.5 or unit == "s":
            return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.2g} {unit}"
    raise AssertionError


def rows(histogram: Histogram, parts: int) -> "list[Row]":
    """`histogram` in rows without a gap, so many to a power of two; of nothing, none."""
    counts: dict[int, int] = {}
    for start, end, count in histogram.rows():
        place = floor(log2(max((start + end) / 2, 1)) * parts)
        counts[place] = counts.get(place, 0) + count
    if not counts:
        return []
    return [
        Row(2 ** (place / parts), 2 ** ((place + 1) / parts), counts.get(place, 0))
        for place in range(min(counts), max(counts) + 1)
    ]


def drawn(histogram: Histogram, width: int, plain: bool = False) -> "list[str]":
    """
    Lines with a bar each.

    :param width: of the longest bar.
    :param plain: of letters and signs that every terminal has.
    """
    found = next((f for f in (rows(histogram, n) for n in (4, 2)) if len(f) <= MOST_LINES), None)
    found = found or rows(histogram, 1)
    most = max((row.times for row in found), default=1)
    lines = []
    for row in found:
        part = row.times / histogram.total
        bar = _bar(row.times / most * width, plain)
        lines.append(
            f"{duration(row.start):>7} - {duration(row.end):>7} {100 * part:6.2f} %  {bar}"
        )
    return lines


def _bar(length: float, plain: bool) -> str:
    if plain:
        return "#" * ceil(length)
    eighths = ceil(length * 8)
    return "█" * (eighths // 8) + "▏▎▍▌▋▊▉"[eighths % 8 - 1 : eighths % 8]


def svg(histogram: Histogram, title: str, subtitle: str) -> str:
    """
    A document that shows how the times are spread, and the percentiles.

    :param subtitle: how it was measured.
    """
    found = rows(histogram, 8)
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    first, last = (found[0].start, found[-1].end) if found else (1e3, 1e6)
    most = max((row.times for row in found), default=1)
    total = max(histogram.total, 1)

    def across(nanoseconds: float) -> float:
        return _LEFT + (log2(max(nanoseconds, first)) - log2(first)) / (
            log2(last) - log2(first)
        ) * (right - _LEFT)

    def up(count: float) -> float:
        return bottom - count / most * (bottom - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' width="{_WIDTH}" height="{_HEIGHT}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        _text(_LEFT, 24, title, "title"),
        _text(_LEFT, 42, subtitle),
    ]
    for quarter in range(1, 5):
        count = most * quarter / 4
        parts.append(_line(_LEFT, up(count), right, up(count), "grid"))
        parts.append(_text(_LEFT - 6, up(count) + 4, f"{100 * count / total:.2g} %", anchor="end"))
    for row in found:
        if row.times:
            x, y = across(row.start), up(row.times)
            wide = max(across(row.end) - x - 1, 1)
            parts.append(
                f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}"'
                f' height="{bottom - y:.1f}"><title>{duration(row.start)} - {duration(row.end)}:'
                f" {row.times:,}</title></rect>"
            )
    for tick in _ticks(first, last):
        parts.append(_line(across(tick), bottom, across(tick), bottom + 5, "axis"))
        parts.append(_text(across(tick), bottom + 18, duration(tick), anchor="middle"))
    parts.append(_line(_LEFT, bottom, right, bottom, "axis"))
    parts.append(_line(_LEFT, _TOP, _LEFT, bottom, "axis"))
    parts.append(
        _text((_LEFT + right) / 2, _HEIGHT - 12, "time to the answer, log scale", anchor="middle")
    )
    parts.append(
        f'<text transform="translate(14 {(_TOP + bottom) / 2:.0f}) rotate(-90)"'
        f' text-anchor="middle">part of the operations</text>'
    )
    for place, (name, percent) in enumerate(PERCENTILES.items() if found else ()):
        value = histogram.percentile(percent)
        # Each lower than the one to its left, whose name no line so crosses.
        x, y = across(value), _TOP - 8 - _STEP * (len(PERCENTILES) - 1 - place)
        parts.append(_line(x, y, x, bottom, "mark"))
        # Near the right edge there is room on the left only.
        beyond = x > right - 95
        text = f"{CALLED[name]} {duration(value)}"
        anchor = "end" if beyond else "start"
        parts.append(_text(x + (-4 if beyond else 4), y + 4, text, "named", anchor))
    return "\n".join([*parts, "</svg>", ""])


def _ticks(first: float, last: float) -> Sequence[float]:
    """1, 2 and 5 of each power of ten between; of those with most room, the ones alone."""
    steps = (1, 2, 5) if last / first < 2000 else (1,)
    every = [step * 10.0**power for power in range(3, 13) for step in steps]
    return [tick for tick in every if first <= tick <= last]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    which = f' class="{kind}"' if kind else ""
    return f'<text{which} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
