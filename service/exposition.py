"""Prometheus text of some ten thousand series, rendered without delaying requests.

The library makes an object and a string for every sample at every scrape: with two
versions loaded, that takes 0.15 s or more of Python every few seconds, beside requests
that take milliseconds. Here, the lines of a histogram are built once, and a scrape
renders only the label sets that have changed since the last one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import cast

from prometheus_client import CollectorRegistry, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Exposition:
    """The text of a registry, histograms last.

    It relies on private names of the library's registry and histograms: `pyproject.toml`
    bounds its version, and `tests/service/test_exposition.py` compares the two texts.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._histograms: dict[Histogram, _HistogramText] = {}
        # Concurrent scrapes must not take several cores from the engines.
        self._rendering = threading.Lock()

    def render(self) -> bytes:
        """Return the text of the library's `generate_latest`, in a different order of metrics."""
        with self._rendering:
            collectors = list(self._registry._collector_to_names)  # noqa: SLF001  see the class
            rest = _OtherMetrics([each for each in collectors if not isinstance(each, Histogram)])
            texts = [generate_latest(rest)]
            for histogram in collectors:
                if isinstance(histogram, Histogram):
                    if histogram not in self._histograms:
                        self._histograms[histogram] = _HistogramText(histogram)
                    texts += self._histograms[histogram].render()
        return b"".join(texts)


class _OtherMetrics(Collector):
    """The metrics that are not histograms, which the library renders."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        for collector in self._collectors:
            yield from collector.collect()


class _HistogramText:
    """The lines of a histogram with all its label sets."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        (metric,) = histogram.collect()
        documentation = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
        self._head = f"# HELP {metric.name} {documentation}\n# TYPE {metric.name} histogram\n"
        self._name = metric.name
        self._series: dict[tuple[str, ...], _SeriesText] = {}

    def render(self) -> list[bytes]:
        """Return head and samples of the label sets that exist now."""
        histogram = self._histogram
        children: dict[tuple[str, ...], Histogram] = {(): histogram}
        names = tuple(histogram._labelnames)  # noqa: SLF001  see `Exposition`
        if names:
            with histogram._lock:  # noqa: SLF001  as above
                found = dict(histogram._metrics)  # noqa: SLF001  as above
            children = cast("dict[tuple[str, ...], Histogram]", found)
        # A label set that was removed and added again starts at zero: drop its old lines.
        self._series = {
            values: kept
            if (kept := self._series.get(values)) is not None and kept.child is child
            else _SeriesText(self._name, dict(zip(names, values, strict=True)), child)
            for values, child in children.items()
        }
        return [self._head.encode(), *(series.render() for series in self._series.values())]


class _SeriesText:
    """The samples of a histogram under one label set."""

    def __init__(self, name: str, labels: dict[str, str], child: Histogram) -> None:
        self.child = child
        bounds = [_number(bound) for bound in child._upper_bounds]  # noqa: SLF001  see `Exposition`
        self._buckets = [_line(f"{name}_bucket", {**labels, "le": bound}) for bound in bounds]
        self._count, self._sum = _line(f"{name}_count", labels), _line(f"{name}_sum", labels)
        self._counted: list[float] = []
        self._text = b""

    def render(self) -> bytes:
        counted = [bucket.get() for bucket in self.child._buckets]  # noqa: SLF001  see `Exposition`
        if counted != self._counted:
            # The library updates the sum before the bucket: render both when the bucket changes.
            self._counted, self._text = counted, self._render_counts(counted)
        return self._text

    def _render_counts(self, counted: Sequence[float]) -> bytes:
        lines, total, number = [], 0.0, "0.0"
        for line, count in zip(self._buckets, counted, strict=True):
            if count:
                total += count
                number = _number(total)
            lines.append(f"{line}{number}\n")
        took = _number(self.child._sum.get())  # noqa: SLF001  see `Exposition`
        return "".join([*lines, f"{self._count}{number}\n", f"{self._sum}{took}\n"]).encode()


def _line(name: str, labels: dict[str, str]) -> str:
    """Return a sample's line up to its value."""
    if not labels:
        return f"{name} "
    shown = ",".join(f'{key}="{_escape(value)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{shown}}} "


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]  # the library's own gap


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
