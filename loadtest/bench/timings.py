"""Durations of one measurement, and what is read from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.report.request_log import percentile


@dataclass(frozen=True)
class Timings:
    """`p50` and `p95` in seconds over `count` requests; `rate` in vectors a second."""

    count: int
    p50: float
    p95: float
    rate: float

    @classmethod
    def of(cls, seconds: Sequence[float], rate: float = float("nan")) -> Timings:
        """From each request's seconds."""
        return cls(len(seconds), percentile(seconds, 50), percentile(seconds, 95), rate)
