"""Prometheus text of some ten thousand series, without a scrape being felt by requests.

The library makes an object and a string of every sample at every scrape: with two
versions loaded that is 0.15 s and more of Python, every few seconds, beside requests of
milliseconds. Here a histogram's lines are made once, and only the numbers of those label
sets that have counted since are written anew.
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

    Relies on inner names of the library's registry and histograms: `pyproject.toml` bounds
    its version, `tests/service/test_exposition.py` holds the text to the library's own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._histograms: dict[Histogram, _Lines] = {}
        # Several scrapers at once must not take several cores from the engines.
        self._rendering = threading.Lock()

    def render(self) -> bytes:
        """As the library's `generate_latest`, but for the order of metrics."""
        with self._rendering:
            collectors = list(self._registry._collector_to_names)  # noqa: SLF001  see the class
            rest = _Rest([each for each in collectors if not isinstance(each, Histogram)])
            texts = [generate_latest(rest)]
            for histogram in collectors:
                if isinstance(histogram, Histogram):
                    if histogram not in self._histograms:
                        self._histograms[histogram] = _Lines(histogram)
                    texts += self._histograms[histogram].render()
        return b"".join(texts)


class _Rest(Collector):
    """What the library writes itself: all that are no histograms."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        for collector in self._collectors:
            yield from collector.collect()


class _Lines:
    """A histogram with all its label sets."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        (metric,) = histogram.collect()
        documentation = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
        self._head = f"# HELP {metric.name} {documentation}\n# TYPE {metric.name} histogram\n"
        self._name = metric.name
        self._series: dict[tuple[str, ...], _Series] = {}

    def render(self) -> list[bytes]:
        """Head and lines. A label set that has gone is left out, one that is new is added."""
        histogram = self._histogram
        children: dict[tuple[str, ...], Histogram] = {(): histogram}
        names = tuple(histogram._labelnames)  # noqa: SLF001  see `Exposition`
        if names:
            with histogram._lock:  # noqa: SLF001  as above
                found = dict(histogram._metrics)  # noqa: SLF001  as above
            children = cast("dict[tuple[str, ...], Histogram]", found)
        # What is gone and comes back begins at zero: nothing of it may be kept.
        self._series = {
            values: kept
            if (kept := self._series.get(values)) is not None and kept.child is child
            else _Series(self._name, dict(zip(names, values, strict=True)), child)
            for values, child in children.items()
        }
        return [self._head.encode(), *(series.render() for series in self._series.values())]


class _Series:
    """A histogram's buckets under one label set."""

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
            # A sum moves before its bucket: one that has moved alone is written with the bucket.
            self._counted, self._text = counted, self._written(counted)
        return self._text

    def _written(self, counted: Sequence[float]) -> bytes:
        lines, total, number = [], 0.0, "0.0"
        for line, count in zip(self._buckets, counted, strict=True):
            if count:
                total += count
                number = _number(total)
            lines.append(f"{line}{number}\n")
        took = _number(self.child._sum.get())  # noqa: SLF001  see `Exposition`
        return "".join([*lines, f"{self._count}{number}\n", f"{self._sum}{took}\n"]).encode()


def _line(name: str, labels: dict[str, str]) -> str:
    """A sample's line up to its value."""
    if not labels:
        return f"{name} "
    shown = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{shown}}} "


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]  # the library's own gap


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
