"""Counts of values in buckets: what percentiles come out of them."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from mctwist.histogram import MOST, Histogram


class HistogramTests(SynchronousTestCase):
    """One histogram, and two added."""

    def of(self, *values: int) -> Histogram:
        histogram = Histogram()
        for value in values:
            histogram.count(value)
        return histogram

    def test_of_nothing(self) -> None:
        histogram = self.of()
        self.assertEqual([histogram.percentile(percent) for percent in (0, 50, 100)], [0, 0, 0])
        self.assertEqual(list(histogram.rows()), [])
        histogram.add(self.of())
        self.assertEqual((histogram.total, histogram.least, histogram.most), (0, 0, 0))

    def test_small_values_are_exact(self) -> None:
        histogram = self.of(*range(64))
        self.assertEqual(list(histogram.rows()), [(value, value, 1) for value in range(64)])
        self.assertEqual(histogram.percentile(50), 31)
        self.assertEqual(histogram.percentile(100), 63)

    def test_each_value_lies_in_its_bucket_and_no_bucket_is_wide(self) -> None:
        random = Random(0)
        values = [0, 1, 63, 64, 65, 127, 128, MOST - 1, MOST]
        values += [random.randrange(1 << random.randrange(1, 41)) for _ in range(2000)]
        for value in values:
            ((least, most, count),) = self.of(value).rows()
            self.assertEqual(count, 1)
            self.assertTrue(least <= value <= most, value)
            self.assertLessEqual((most - least) * 32, max(least, 1), value)

    def test_buckets_follow_each_other(self) -> None:
        histogram = self.of(*range(5000))
        rows = list(histogram.rows())
        self.assertEqual(rows[0][0], 0)
        for (_, most, _), (least, _, _) in zip(rows, rows[1:]):
            self.assertEqual(least, most + 1)
        self.assertEqual(sum(count for _, _, count in rows), 5000)

    def test_percentiles_are_near_and_never_above_the_most(self) -> None:
        random = Random(1)
        values = sorted(random.randrange(1_000, 10_000_000) for _ in range(5000))
        histogram = self.of(*values)
        for percent in (1, 10, 50, 90, 99, 99.9):
            exact = values[int(len(values) * percent / 100) - 1]
            told = histogram.percentile(percent)
            self.assertTrue(exact <= told <= exact * 33 / 32 + 1, (percent, exact, told))
        self.assertEqual(histogram.percentile(100), values[-1])
        self.assertEqual(self.of(1_000_003).percentile(50), 1_000_003)
        self.assertEqual((histogram.least, histogram.sum), (values[0], sum(values)))

    def test_times(self) -> None:
        histogram = self.of(10)
        histogram.count(1000, 99)
        self.assertEqual((histogram.total, histogram.sum), (100, 99_010))
        self.assertEqual(histogram.percentile(1), 10)
        self.assertEqual(histogram.percentile(2), 1000)

    def test_what_is_beyond_all_buckets(self) -> None:
        histogram = self.of(MOST * 5)
        self.assertEqual((histogram.total, histogram.most), (1, MOST * 5))
        self.assertEqual(histogram.percentile(50), MOST)

    def test_two_added_are_as_one_that_has_counted_all(self) -> None:
        ours, theirs = [5, 70, 900], [3, 70, 1_000_000]
        added = self.of(*ours)
        added.add(self.of(*theirs))
        added.add(self.of())
        whole = self.of(*ours, *theirs)
        self.assertEqual(list(added.rows()), list(whole.rows()))
        self.assertEqual(
            (added.total, added.sum, added.least, added.most),
            (whole.total, whole.sum, whole.least, whole.most),
        )
        empty = self.of()
        empty.add(self.of(7))
        self.assertEqual((empty.least, empty.most), (7, 7))
