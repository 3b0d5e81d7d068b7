"""The timings of one measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.report.latency import percentile


@dataclass(frozen=True)
class Timings:
    """`p50` and `p95` in seconds over `count` samples, and `rate` in vectors per second."""

    count: int
    p50: float
    p95: float
    rate: float

    @classmethod
    def of(cls, seconds: Sequence[float], rate: float = float("nan")) -> Timings:
        """Summarise the duration of each sample in seconds."""
        return cls(len(seconds), percentile(seconds, 50), percentile(seconds, 95), rate)
