"""The growth of a measurement over a run, with a confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_BLOCKS = 12
_T_975 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
_T_975_REST = 2.228
"""Quantiles of Student's t at 0.975 by degrees of freedom; with 12 blocks there are ten."""


class Trend(NamedTuple):
    """What a straight line gains from the first measurement to the last: estimate and 95 %
    interval."""

    growth: float
    low: float
    high: float

    def exceeds(self, bound: float) -> bool:
        """Whether the whole interval lies above `bound`."""
        return self.low > bound


def fit_trend(at: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a line to the means of twelve blocks of `values`, measured at times `at` (seconds).

    Neighbouring measurements depend on each other; means of blocks do so far less, so the
    interval is not too narrow. With fewer than six values there is no interval: it is infinite.
    """
    finite = np.isfinite(values)
    times, data = np.asarray(at, float)[finite], np.asarray(values, float)[finite]
    if len(data) < 6:
        return Trend(math.nan, -math.inf, math.inf)
    count = min(_BLOCKS, len(data) // 2)
    x = np.array([block.mean() for block in np.array_split(times, count)])
    y = np.array([block.mean() for block in np.array_split(data, count)])
    spread = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread
    residuals = y - y.mean() - slope * (x - x.mean())
    error = math.sqrt((residuals**2).sum() / (count - 2) / spread)
    length = float(times[-1] - times[0])
    half = _T_975.get(count - 2, _T_975_REST) * error
    growth = float(slope) * length
    return Trend(growth, growth - half * length, growth + half * length)
