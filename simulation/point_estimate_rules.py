"""Rules in common use that compare point estimates, on the same traffic.

They see the first step's weight from the first second to the horizon, without
warm-up: it would only delay what they say.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation.latency_distribution import Array
from simulation.scenario import Scenario, SimulatedTraffic

WINDOW_SECONDS = 60.0
FAILURES = 5
"""Failed checks that roll back; Flagger calls it the threshold, and 5 is in its examples."""


class PointEstimateRule(StrEnum):
    """A rule. Both compare the arms' P95 over the last minute with the plan's ratio."""

    WINDOWED = "P95 of 1 min"
    """At every look; the first excess rolls back."""
    CUMULATIVE = "5 failures"
    """Once a minute; the fifth excess rolls back, in a row or not."""


def play(
    rival: PointEstimateRule,
    scenario: Scenario,
    traffic: SimulatedTraffic,
    plan: RolloutPlan,
    rng: np.random.Generator,
) -> float | None:
    """Seconds until the rule rolls back; None if it does not until the horizon."""
    share = next(step.weight_bp for step in plan.steps if not step.shadow) / 10_000
    looks = scenario.looks - 1
    width = max(1, round(WINDOW_SECONDS / scenario.interval))
    arms = [
        rng.poisson(means[:looks] * part * scenario.interval).astype(np.float64)
        for means, part in ((traffic.stable, 1 - share), (traffic.canary, share))
    ]
    stable, canary = (
        percentile(_windows(counts, width), traffic.edges, plan.quantile) for counts in arms
    )
    # Row i is the window that ends with look i + width. Without requests there is no excess.
    with np.errstate(invalid="ignore"):
        over = canary > plan.ratio * stable
    return _RULES[rival](over, scenario.interval, width)


def percentile(counts: Array, edges: tuple[float, ...], quantile: float) -> Array:
    """Seconds by row of `counts` (as in `Traffic`); NaN of nothing, infinite in +Inf.

    Interpolated geometrically within the bucket, as `service.rollout.analysis.counters` does.
    """
    reached = counts[:, : len(edges)].cumsum(axis=1)
    need = quantile * counts.sum(axis=1)
    rows = np.arange(len(counts))
    at = (reached < need[:, None]).sum(axis=1)
    inside = np.minimum(at, len(edges) - 1)
    width = np.maximum(counts[rows, inside], 1)
    part = (need - (reached[rows, inside] - counts[rows, inside])) / width
    upper = np.asarray(edges)[inside]
    lower = np.asarray(edges)[np.maximum(inside - 1, 0)]
    found: Array = lower * (upper / lower) ** part
    found[at == len(edges)] = np.inf
    found[counts.sum(axis=1) == 0] = np.nan
    return found


def _windows(counts: Array, width: int) -> Array:
    """Sums of `width` rows that follow each other."""
    total = np.vstack([np.zeros_like(counts[:1]), counts.cumsum(axis=0)])
    sums: Array = total[width:] - total[:-width]
    return sums


def _windowed(over: NDArray[np.bool_], interval: float, width: int) -> float | None:
    found = np.flatnonzero(over)
    return float(found[0] + width) * interval if len(found) else None


def _cumulative(over: NDArray[np.bool_], interval: float, width: int) -> float | None:
    failed = np.flatnonzero(over[::width])
    return float(failed[FAILURES - 1] + 1) * width * interval if len(failed) >= FAILURES else None


_RULES: dict[PointEstimateRule, Callable[[NDArray[np.bool_], float, int], float | None]] = {
    PointEstimateRule.WINDOWED: _windowed,
    PointEstimateRule.CUMULATIVE: _cumulative,
}
