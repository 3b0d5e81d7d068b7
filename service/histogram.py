"""A histogram that costs little to observe.

The client library's looks for the bucket one by one and takes two locks: with the edges of a
verdict, some 5 µs a value. This one searches the edges by halves and takes no lock.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class HistogramSeries:
    """The histogram of one label set.

    `counts[i]` is the number of values in bucket i, not cumulative; the last bucket is +Inf.
    Observe from one thread; any thread may read.
    """

    __slots__ = ("_edges", "counts", "exemplars", "sum")

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float, exemplar: dict[str, str] | None = None) -> None:
        """Count a value. `exemplar` has the labels of the trace that it belongs to."""
        bucket = bisect_left(self._edges, value)
        self.counts[bucket] += 1
        self.sum += value
        if exemplar is not None:
            self.exemplars[bucket] = Exemplar(exemplar, value, time.time())


class Histogram:
    """A histogram by labels, with the finite, ascending bucket `edges`, none of them below 0."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._documentation = name, documentation
        self._labels = tuple(labels)
        self._edges = tuple(buckets)
        ends = (*self._edges, float("inf"))
        self._names = [floatToGoString(end) for end in ends]  # type: ignore[no-untyped-call]  # the library's own gap
        self._series: dict[tuple[str, ...], HistogramSeries] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def labels(self, *values: str) -> HistogramSeries:
        """Return the series of a label set. It exists from now on, at 0."""
        found = self._series.get(values)
        if found is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}, not {values}")
            with self._lock:
                found = self._series.setdefault(
                    tuple(map(str, values)), HistogramSeries(self._edges)
                )
        return found

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Remove all series that have these labels."""
        wanted = [(self._labels.index(name), value) for name, value in labels.items()]
        with self._lock:
            for values in list(self._series):
                if all(values[at] == value for at, value in wanted):
                    del self._series[values]

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Return the family without values, as the registry asks for it."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return the family with all series."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        with self._lock:
            found = list(self._series.items())
        for values, series in found:
            total = 0
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for at, (name, count) in enumerate(zip(self._names, list(series.counts), strict=True)):
                total += count
                exemplar = series.exemplars.get(at)
                buckets.append((name, total) if exemplar is None else (name, total, exemplar))
            family.add_metric(values, buckets, series.sum)
        yield family
