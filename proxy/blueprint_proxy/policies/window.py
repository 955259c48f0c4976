"""Counts of what happened in the last seconds, in ten buckets."""

from __future__ import annotations

_BUCKETS = 10


class Window:
    """Sums over the last `span` seconds, one a column, in constant memory.

    Time moves in tenths of the span: the sums cover between nine and ten tenths of it. A `now` from before the newest
    bucket counts in the newest one.
    """

    __slots__ = ("_buckets", "_buckets_a_second", "_epoch", "_newest", "_no_counts", "span", "sums")

    def __init__(self, span: float, columns: int) -> None:
        self.span = span
        self.sums = [0] * columns
        self._no_counts = (0,) * columns
        self._buckets_a_second = _BUCKETS / span
        self._buckets = [[0] * columns for _ in range(_BUCKETS)]
        self._epoch = 0
        self._newest = self._buckets[0]

    def add(self, now: float, column: int) -> None:
        """Count one in `column`."""
        epoch = int(now * self._buckets_a_second)
        if epoch > self._epoch:
            self._roll(epoch)
        self._newest[column] += 1
        self.sums[column] += 1

    def forget_old(self, now: float) -> None:
        """Bring `sums` up to `now`."""
        epoch = int(now * self._buckets_a_second)
        if epoch > self._epoch:
            self._roll(epoch)

    def clear(self) -> None:
        """Forget everything."""
        self.sums[:] = self._no_counts
        for bucket in self._buckets:
            bucket[:] = self._no_counts

    def _roll(self, epoch: int) -> None:
        for passed in range(max(self._epoch, epoch - _BUCKETS) + 1, epoch + 1):
            bucket = self._buckets[passed % _BUCKETS]
            for column, count in enumerate(bucket):
                self.sums[column] -= count
            bucket[:] = self._no_counts
        self._epoch = epoch
        self._newest = self._buckets[epoch % _BUCKETS]
