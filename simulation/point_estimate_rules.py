"""Common rules that compare point estimates, judging the same traffic as the guardrails.

They judge the first step's weight from the first second to the horizon. They have no
warm-up, which would only delay their decisions.
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
"""How many failed checks roll back: Flagger's `threshold`, which is 5 in its examples."""


class PointEstimateRule(StrEnum):
    """A rule on the arms' P95s over the last minute, compared with the plan's ratio."""

    WINDOWED = "P95 of 1 min"
    """Checked at every evaluation; the first excess rolls back."""
    CUMULATIVE = "5 failures"
    """Checked once a minute; the fifth excess rolls back, whether consecutive or not."""


def rollback_delay(
    rule: PointEstimateRule,
    scenario: Scenario,
    traffic: SimulatedTraffic,
    plan: RolloutPlan,
    rng: np.random.Generator,
) -> float | None:
    """Seconds until the rule rolls back; None if it does not before the horizon."""
    share = next(step.weight_bp for step in plan.steps if not step.shadow) / 10_000
    evaluations = scenario.max_runs - 1
    width = max(1, round(WINDOW_SECONDS / scenario.interval))
    arms = [
        rng.poisson(means[:evaluations] * part * scenario.interval).astype(np.float64)
        for means, part in ((traffic.stable, 1 - share), (traffic.canary, share))
    ]
    stable, canary = (
        percentile(_windows(counts, width), traffic.edges, plan.quantile) for counts in arms
    )
    # Row i is the window that ends at evaluation i + width. Without requests, no excess.
    with np.errstate(invalid="ignore"):
        over = canary > plan.ratio * stable
    return _RULES[rule](over, scenario.interval, width)


def percentile(counts: Array, edges: tuple[float, ...], quantile: float) -> Array:
    """The percentile in seconds of each row of `counts` (columns as in `SimulatedTraffic`).

    NaN without requests, infinite in the +Inf bucket. The interpolation within a bucket is
    geometric, as in `service.rollout.analysis.counters`.
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
    """Sums of `width` consecutive rows."""
    total = np.vstack([np.zeros_like(counts[:1]), counts.cumsum(axis=0)])
    sums: Array = total[width:] - total[:-width]
    return sums


def _first_window(over: NDArray[np.bool_], interval: float, width: int) -> float | None:
    found = np.flatnonzero(over)
    return float(found[0] + width) * interval if len(found) else None


def _cumulative(over: NDArray[np.bool_], interval: float, width: int) -> float | None:
    failed = np.flatnonzero(over[::width])
    return float(failed[FAILURES - 1] + 1) * width * interval if len(failed) >= FAILURES else None


_RULES: dict[PointEstimateRule, Callable[[NDArray[np.bool_], float, int], float | None]] = {
    PointEstimateRule.WINDOWED: _first_window,
    PointEstimateRule.CUMULATIVE: _cumulative,
}
