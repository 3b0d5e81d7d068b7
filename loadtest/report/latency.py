"""Percentiles of latencies: of a whole run, and over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.generator.request_log import RequestLog
from loadtest.timings import percentile

_LEAST = 5
"""A window needs this many requests: the P95 of two is their maximum."""


def by_variant(request: RequestLog) -> str:
    """Group by the role that answered: stable or canary."""
    return request.variant


def by_version(request: RequestLog) -> str:
    """Group by the version that answered, whatever its role."""
    return request.version


def window_p95(
    requests: Iterable[RequestLog],
    at: float,
    width: float,
    least: int = _LEAST,
    by: Callable[[RequestLog], str] = by_variant,
) -> dict[str, float]:
    """P95 latency by group, of successful requests that completed in `(at - width, at]`.

    Groups with fewer than `least` requests are left out.
    """
    latencies: dict[str, list[float]] = {}
    for request in requests:
        if request.ok and at - width < request.end <= at:
            latencies.setdefault(by(request), []).append(request.latency)
    return {
        group: percentile(values, 95) for group, values in latencies.items() if len(values) >= least
    }


@dataclass(frozen=True)
class LatencyPoint:
    """P95 by group in the window that ends at `at`, in seconds."""

    at: float
    p95: dict[str, float]

    @property
    def ratio(self) -> float:
        """Canary P95 over stable P95; NaN if either is missing."""
        return self.p95.get("canary", math.nan) / self.p95.get("stable", math.nan)


def p95_over_time(
    requests: Sequence[RequestLog],
    width: float = 10.0,
    every: float = 1.0,
    by: Callable[[RequestLog], str] = by_variant,
) -> list[LatencyPoint]:
    """A point every `every` seconds, over sliding windows of `width` seconds."""
    if not requests:
        return []
    ordered = sorted(requests, key=lambda request: request.end)
    ends = np.array([request.end for request in ordered])
    points = []
    for at in np.arange(every, ends[-1] + every, every):
        first, last = np.searchsorted(ends, [at - width, at], side="right")
        p95 = window_p95(ordered[first:last], float(at), width, by=by)
        points.append(LatencyPoint(float(at), p95))
    return points
