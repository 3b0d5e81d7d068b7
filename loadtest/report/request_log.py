"""What one request showed, and the numbers drawn from many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LATE_SECONDS = 0.010
"""A request sent this long after it was due counts as a late start. Event loops
wake up to a millisecond late; more than ten means that no caller was free."""


@dataclass(frozen=True)
class RequestLog:
    """One request. All times in seconds.

    `intended` is when it was due, from the run's beginning; `late` how much
    later it was sent; `latency` runs from when it was *due* to its whole answer,
    so that waiting behind a stalled server is counted as the server's.
    `status` is 0 when no answer came. `queue`, `inference` and `total` are the
    server's own figures, NaN where it gave none.
    """

    intended: float
    late: float
    latency: float
    status: int
    variant: str = ""
    version: str = ""
    queue: float = math.nan
    inference: float = math.nan
    total: float = math.nan
    error: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def end(self) -> float:
        """When its answer was whole, from the run's beginning."""
        return self.intended + self.latency


def server_timing(header: str) -> dict[str, float]:
    """Durations in seconds by name from `queue;dur=1.2, total;dur=3` (milliseconds).

    What does not parse is left out: a header of another's making is no reason
    to lose the record.
    """
    durations = {}
    for entry in header.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            try:
                if key.strip() == "dur":
                    durations[name] = float(value.strip(' "')) / 1000
            except ValueError:
                continue
    return durations


def percentile(values: Sequence[float], q: float) -> float:
    """The `q`-th percentile (0..100) by linear interpolation; NaN of nothing."""
    return float(np.percentile(values, q)) if len(values) else math.nan


def by_variant(record: RequestLog) -> str:
    """The role it was answered in."""
    return record.variant


def by_version(record: RequestLog) -> str:
    """The version that answered, whatever its role."""
    return record.version


def window_p95(
    records: Iterable[RequestLog],
    at: float,
    width: float,
    least: int = 5,
    by: Callable[[RequestLog], str] = by_variant,
) -> dict[str, float]:
    """P95 of the latency by group, of the answers that came in `(at - width, at]`.

    A group with fewer than `least` answers has none: a P95 of two requests is
    their maximum.
    """
    latencies: dict[str, list[float]] = {}
    for record in records:
        if record.ok and at - width < record.end <= at:
            latencies.setdefault(by(record), []).append(record.latency)
    return {
        group: percentile(values, 95) for group, values in latencies.items() if len(values) >= least
    }


@dataclass(frozen=True)
class LatencyPoint:
    """P95 by group in a window that ends at `at`; `ratio` canary over stable, or NaN."""

    at: float
    p95: dict[str, float]

    @property
    def ratio(self) -> float:
        return self.p95.get("canary", math.nan) / self.p95.get("stable", math.nan)


def p95_over_time(
    records: Sequence[RequestLog],
    width: float = 10.0,
    every: float = 1.0,
    by: Callable[[RequestLog], str] = by_variant,
) -> list[LatencyPoint]:
    """A point each `every` seconds over windows of `width` seconds."""
    if not records:
        return []
    ordered = sorted(records, key=lambda record: record.end)
    ends = np.array([record.end for record in ordered])
    points = []
    for at in np.arange(every, ends[-1] + every, every):
        first, last = np.searchsorted(ends, [at - width, at], side="right")
        points.append(
            LatencyPoint(float(at), window_p95(ordered[first:last], float(at), width, by=by))
        )
    return points
