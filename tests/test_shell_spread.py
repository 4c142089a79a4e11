"""A histogram, drawn."""

import re
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from mctwist.histogram import Histogram
from mctwist.shell.measure import spread

SVG = "{http://www.w3.org/2000/svg}"


def of(*values: int) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.count(value)
    return histogram


class RowsTests(SynchronousTestCase):
    """The rows of both drawings."""

    def test_all_is_in_them_and_there_is_no_gap(self) -> None:
        histogram = of(1_000, 1_500, 90_000, 2_000_000, 5_000_000_000)
        for parts in (1, 2, 8):
            rows = spread.rows(histogram, parts)
            self.assertEqual(sum(row.times for row in rows), 5)
            for before, after in zip(rows, rows[1:]):
                self.assertEqual(before.end, after.start)

    def test_of_nothing(self) -> None:
        self.assertEqual(spread.rows(of(), 4), [])

    def test_zero_has_a_row(self) -> None:
        self.assertEqual([row.times for row in spread.rows(of(0, 0), 4)], [2])


class LinesTests(SynchronousTestCase):
    """In a terminal."""

    def test_the_longest_bar_is_as_long_as_it_may_be(self) -> None:
        lines = spread.drawn(of(*[20_000] * 30, *[100_000] * 15, 300_000), 20)
        bars = [line.split("%  ")[1] for line in lines]
        self.assertEqual(max(map(len, bars)), 20)
        self.assertEqual(bars[0], "█" * 20)
        self.assertIn("█" * 10, bars)
        # What is there is seen, however little it is.
        self.assertTrue(bars[-1])

    def test_however_far_apart_the_values_are_the_lines_are_few(self) -> None:
        for values in ([5], [1, 1 << 39], range(1, 5000, 7), [0]):
            lines = spread.drawn(of(*values), 30)
            self.assertTrue(0 < len(lines) <= 2 * spread.MOST_LINES, len(lines))
            parts = [float(re.findall(r"([0-9.]+) %", line)[0]) for line in lines]
            self.assertAlmostEqual(sum(parts), 100, delta=0.5)

    def test_of_nothing(self) -> None:
        self.assertEqual(spread.drawn(of(), 30), [])

    def test_plain(self) -> None:
        lines = spread.drawn(of(5_000_000, 9_000_000), 30, plain=True)
        self.assertIn("#" * 30, lines[0])


class DurationTests(SynchronousTestCase):
    """Times for people."""

    def test_three_digits_at_the_most(self) -> None:
        for nanoseconds, text in (
            (0, "0 µs"),
            (950, "0.95 µs"),
            (4_400, "4.4 µs"),
            (9_960, "10 µs"),
            (999_400, "999 µs"),
            (999_600, "1 ms"),
            (2_345_000, "2.3 ms"),
            (61_000_000_000, "61 s"),
            (1_100_000_000_000, "1100 s"),
        ):
            self.assertEqual(spread.duration(nanoseconds), text, nanoseconds)


class SVGTests(SynchronousTestCase):
    """The document."""

    def parse(
        self, histogram: Histogram, title: str = "fast", subtitle: str = "so"
    ) -> "ElementTree.Element":
        return ElementTree.fromstring(spread.svg(histogram, title, subtitle))

    def test_a_bar_for_each_row_within_the_frame(self) -> None:
        values = [50_000] * 10 + [80_000] * 5 + [3_000_000]
        root = self.parse(of(*values))
        self.assertEqual(root.tag, f"{SVG}svg")
        bars = root.findall(f"{SVG}rect")
        self.assertEqual(len(bars), 3)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for bar in bars:
            x, y, wide, high = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
            self.assertTrue(0 < x < x + wide <= width, bar.attrib)
            self.assertTrue(0 < y <= y + high < height, bar.attrib)
        heights = [float(bar.attrib["height"]) for bar in bars]
        self.assertEqual(heights, sorted(heights, reverse=True))
        self.assertAlmostEqual(heights[0], 2 * heights[1], delta=1)

    def test_axes_and_percentiles_are_labelled(self) -> None:
        root = self.parse(of(*[50_000] * 10, 3_000_000))
        texts = [text.text for text in root.findall(f"{SVG}text")]
        for text in ("fast", "so", "time to the answer, log scale", "part of the operations"):
            self.assertIn(text, texts)
        for text in ("100 µs", "50 % 50 µs", "99.9 % 3 ms"):
            self.assertIn(text, texts)

    def test_what_is_special_in_xml_is_text(self) -> None:
        root = self.parse(of(1), "<&>", "\"a\" & 'b'")
        texts = [text.text for text in root.findall(f"{SVG}text")]
        self.assertEqual(texts[:2], ["<&>", "\"a\" & 'b'"])

    def test_of_nothing_and_of_one_value(self) -> None:
        self.assertEqual(self.parse(of()).findall(f"{SVG}rect"), [])
        self.assertEqual(len(self.parse(of(7_000)).findall(f"{SVG}rect")), 1)

    def test_it_is_readable_in_the_dark(self) -> None:
        style = self.parse(of(1)).findtext(f"{SVG}style")
        assert style is not None
        self.assertIn("prefers-color-scheme: dark", style)
