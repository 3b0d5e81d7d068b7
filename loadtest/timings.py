"""The timings of one measurement, and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def percentile(values: Sequence[float], q: float) -> float:
    """The `q`-th percentile (0..100) by linear interpolation; NaN of an empty sequence."""
    return float(np.percentile(values, q)) if len(values) else math.nan


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
