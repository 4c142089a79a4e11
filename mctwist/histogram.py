"""
How values are spread: counts of them in buckets whose widths grow with the values.

Each power of two is cut into the same number of buckets, so that a bucket is never wider than a
32nd of what is in it, whether that is nanoseconds or minutes (the arrangement is HdrHistogram's).
A histogram so takes the same few kilobytes whatever is counted, for ever, and two of them can be
added, which percentiles cannot.
"""

from collections.abc import Iterator

# A power of two has 2 ** 5 buckets.
_BITS = 5
_PART = 1 << _BITS

#: What is longer is counted as this; in nanoseconds 18 minutes.
MOST = (1 << 40) - 1


def _bucket(value: int) -> int:
    shift = max(value.bit_length() - _BITS - 1, 0)
    return (shift << _BITS) + (value >> shift)


def _start(bucket: int) -> int:
    """The least value in a bucket."""
    shift = max((bucket >> _BITS) - 1, 0)
    return (bucket - (shift << _BITS)) << shift


_BUCKETS = _bucket(MOST) + 1


class Histogram:
    """
    Counts of values, which are integers that are not negative.

    :ivar total: how many there are.
    :ivar sum: of them all; :ivar least: of them; :ivar most: of them. These are exact.
    """

    __slots__ = ("_counts", "least", "most", "sum", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.total = 0
        self.sum = 0
        self.least = 0
        self.most = 0

    def count(self, value: int, times: int = 1) -> None:
        """Count `value`, so many times."""
        self._counts[_bucket(min(value, MOST))] += times
        if not self.total or value < self.least:
            self.least = value
        if value > self.most:
            self.most = value
        self.total += times
        self.sum += value * times

    def add(self, other: "Histogram") -> None:
        """Count all that `other` has counted."""
        if not other.total:
            return
        self._counts = [ours + theirs for ours, theirs in zip(self._counts, other._counts)]
        self.least = min(self.least, other.least) if self.total else other.least
        self.most = max(self.most, other.most)
        self.total += other.total
        self.sum += other.sum

    def percentile(self, percent: float) -> int:
        """
        What so many percent of the values do not pass; of none, 0.

        It is the end of a bucket, so it is too high by a 32nd at most, and never above `most`.
        """
        wanted = self.total * percent / 100
        seen = 0
        for _, end, count in self.rows():
            seen += count
            if seen >= wanted:
                return min(end, self.most)
        return self.most

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """The buckets in which there is something: the least and the most of it, and how many."""
        for bucket, count in enumerate(self._counts):
            if count:
                yield _start(bucket), _start(bucket + 1) - 1, count
