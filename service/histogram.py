"""A histogram whose lines on the metrics page are kept from one page to the next.

The client library's own looks for a bucket from the first one on, and makes an object and a
string of every bucket for every page. With the two thousand buckets that guardrails need, a page
took 18 ms of the interpreter's time, in which requests wait.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString


class _Contents(NamedTuple):
    """What a series has counted until one moment, by bucket and not cumulative."""

    counts: tuple[int, ...]
    sum: float
    exemplars: dict[int, Exemplar]


class HistogramSeries:
    """The values of one label set. Use it from any thread."""

    def __init__(self, name: str, labels: dict[str, str], edges: tuple[float, ...]) -> None:
        self._name = name
        self._labels = labels
        self._edges = edges
        self._lock = threading.Lock()
        self._counts = [0] * len(edges)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}
        self._lines = [_line(f"{name}_bucket", {**labels, "le": _number(le)}) for le in edges]
        self._lines += [_line(f"{name}_count", labels), _line(f"{name}_sum", labels)]
        # The last text of each format, and what it shows.
        self._texts: dict[bool, tuple[_Contents, str]] = {}

    def observe(self, value: float, exemplar: dict[str, str] | None = None) -> None:
        """Count `value`, which belongs to the trace `exemplar`."""
        bucket = bisect_left(self._edges, value)
        with self._lock:
            self._counts[bucket] += 1
            self._sum += value
            if exemplar:
                self._exemplars[bucket] = Exemplar(exemplar, value, time.time())

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of values in each bucket, not cumulative; the last one has no upper edge."""
        with self._lock:
            return tuple(self._counts)

    def samples(self) -> list[Sample]:
        """Return the samples as the library's histogram has them."""
        counted = self._read()
        total = float(sum(counted.counts))
        buckets = zip(self._edges, accumulate(counted.counts), strict=True)
        return [
            *(
                Sample(
                    f"{self._name}_bucket",
                    {**self._labels, "le": _number(le)},
                    float(count),
                    None,
                    counted.exemplars.get(i),
                )
                for i, (le, count) in enumerate(buckets)
            ),
            Sample(f"{self._name}_count", self._labels, total),
            Sample(f"{self._name}_sum", self._labels, counted.sum),
        ]

    def text(self, *, openmetrics: bool) -> str:
        """Return the samples' lines. Only OpenMetrics has exemplars."""
        counted = self._read()
        last = self._texts.get(openmetrics)
        if last is None or last[0] != counted:
            text = self._render(counted, counted.exemplars if openmetrics else {})
            last = self._texts[openmetrics] = counted, text
        return last[1]

    def _read(self) -> _Contents:
        with self._lock:
            return _Contents(tuple(self._counts), self._sum, dict(self._exemplars))

    def _render(self, counted: _Contents, exemplars: dict[int, Exemplar]) -> str:
        values = [float(count) for count in accumulate(counted.counts)]
        values += [values[-1], counted.sum]
        numbers = {value: _number(value) for value in set(values)}
        lines = [f"{line}{numbers[value]}" for line, value in zip(self._lines, values, strict=True)]
        for bucket, exemplar in exemplars.items():
            lines[bucket] += _exemplar(exemplar)
        lines.append("")  # the end of the last line
        return "\n".join(lines)


class HistogramFamily(Metric):
    """A histogram at the time of a page. The library's `samples` are made when they are read."""

    def __init__(self, name: str, documentation: str, series: Sequence[HistogramSeries]) -> None:
        self._series = series
        super().__init__(name, documentation, "histogram")

    @property
    def samples(self) -> list[Sample]:
        """The samples of all label sets."""
        return [sample for series in self._series for sample in series.samples()]

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        """Do nothing: the library's constructor sets an empty list."""

    def text(self, *, openmetrics: bool) -> str:
        """Return the lines that the library would write."""
        documentation = self.documentation.replace("\\", r"\\").replace("\n", r"\n")
        if openmetrics:
            documentation = documentation.replace('"', r"\"")
        return "".join(
            [
                f"# HELP {self.name} {documentation}\n# TYPE {self.name} histogram\n",
                *(series.text(openmetrics=openmetrics) for series in self._series),
            ]
        )


class Histogram(Collector):
    """Histogram `name` with the label names `labels`, registered with `registry`.

    `buckets` are the upper edges of the buckets, rising; the last bucket ends at infinity.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Iterable[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self.label_names = tuple(labels)
        self._edges = (*map(float, buckets), math.inf)
        self._lock = threading.Lock()
        self._series: dict[tuple[str, ...], HistogramSeries] = {}
        registry.register(self)
        if not self.label_names:
            self.labels()

    def labels(self, *values: str) -> HistogramSeries:
        """Return the series of a label set. The first call creates it at 0."""
        key = tuple(map(str, values))
        series = self._series.get(key)
        if series is None:
            labels = dict(zip(self.label_names, key, strict=True))
            with self._lock:
                series = self._series.setdefault(
                    key, HistogramSeries(self._name, labels, self._edges)
                )
        return series

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """Remove the series that have all of `labels`."""
        wanted = {self.label_names.index(name): value for name, value in labels.items()}
        with self._lock:
            self._series = {
                key: series
                for key, series in self._series.items()
                if any(key[i] != value for i, value in wanted.items())
            }

    def collect(self) -> Iterator[HistogramFamily]:
        """Yield the only family. The library calls this."""
        with self._lock:
            series = list(self._series.values())
        yield HistogramFamily(self._name, self._documentation, series)

    def describe(self) -> Iterator[HistogramFamily]:
        """Yield the family without its series. The library calls this to find equal names."""
        yield HistogramFamily(self._name, self._documentation, [])


def _line(name: str, labels: dict[str, str]) -> str:
    """Return a sample's line up to its value."""
    return f"{name}{{{_label_list(labels)}}} " if labels else f"{name} "


def _label_list(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))


def _exemplar(exemplar: Exemplar) -> str:
    labels = _label_list(exemplar.labels)
    return f" # {{{labels}}} {_number(exemplar.value)} {exemplar.timestamp}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]  # the library's own gap
