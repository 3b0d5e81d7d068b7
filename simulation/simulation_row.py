"""The results of many rollouts of one scenario, under one rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulation.point_estimate_rules import PointEstimateRule
from simulation.rollout_simulation import RolloutEnding, SimulatedRollout
from simulation.scenario import Scenario

NEXTVEC = "nextvec"
_Z975 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class TimePercentiles:
    """Median and 90th percentile in seconds, over all cases.

    A case in which the event never happened counts as infinite. None: the percentile is
    infinite.
    """

    median: float | None
    p90: float | None

    @classmethod
    def of(cls, seconds: Sequence[float | None]) -> TimePercentiles:
        ordered = sorted(math.inf if s is None else s for s in seconds)
        return cls(_rank(ordered, 0.5), _rank(ordered, 0.9))


@dataclass(frozen=True, slots=True)
class SimulationRow:
    """One rule in one scenario.

    `low` and `high` are the 95 % interval of the rollback rate. `delay` starts when the
    fault could first be judged (for a point-estimate rule, in its first second). `total` and
    `promotion` start with the canary's first requests or copies. `passing` is the time that
    steps below 100 % took to pass. `passing` and `promotion` are None for a point-estimate
    rule, which only decides on rollbacks. `rolled_back_by_minute`: the share of rollouts, 0..1,
    rolled back within 0, 1, 2, … minutes of those first requests, up to the horizon.
    """

    rule: str
    ratio: float
    error_rate: float
    rollouts: int
    rolled_back: int
    promoted: int
    low: float
    high: float
    delay: TimePercentiles
    total: TimePercentiles
    passing: TimePercentiles | None
    promotion: TimePercentiles | None
    rolled_back_by_minute: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The share of rollouts that were rolled back, 0..1."""
        return self.rolled_back / self.rollouts


def nextvec_row(scenario: Scenario, rollouts: Sequence[SimulatedRollout]) -> SimulationRow:
    """The row of the service's own rollouts; there must be at least one."""
    back = [p.at if p.ending is RolloutEnding.ROLLED_BACK else None for p in rollouts]
    promoted = [p.at if p.ending is RolloutEnding.PROMOTED else None for p in rollouts]
    return _row(
        NEXTVEC,
        scenario,
        back,
        [p.delay for p in rollouts],
        promoted=len(rollouts) - promoted.count(None),
        passing=TimePercentiles.of([seconds for p in rollouts for seconds in p.passes]),
        promotion=TimePercentiles.of(promoted),
    )


def point_estimate_row(
    rule: PointEstimateRule, scenario: Scenario, delays: Sequence[float | None]
) -> SimulationRow:
    """The row of a point-estimate rule; there must be at least one delay."""
    return _row(rule.value, scenario, delays, delays, promoted=0, passing=None, promotion=None)


def _row(
    rule: str,
    scenario: Scenario,
    totals: Sequence[float | None],
    delays: Sequence[float | None],
    *,
    promoted: int,
    passing: TimePercentiles | None,
    promotion: TimePercentiles | None,
) -> SimulationRow:
    found = len(totals) - list(totals).count(None)
    low, high = wilson_interval(found, len(totals))
    return SimulationRow(
        rule=rule,
        ratio=scenario.ratio,
        error_rate=scenario.error_rate,
        rollouts=len(totals),
        rolled_back=found,
        promoted=promoted,
        low=low,
        high=high,
        delay=TimePercentiles.of(delays),
        total=TimePercentiles.of(totals),
        passing=passing,
        promotion=promotion,
        rolled_back_by_minute=_by_minute(totals, scenario.horizon),
    )


def _by_minute(totals: Sequence[float | None], horizon: float) -> tuple[float, ...]:
    seconds = [total for total in totals if total is not None]
    return tuple(
        sum(found <= 60 * minute for found in seconds) / len(totals)
        for minute in range(math.floor(horizon / 60) + 1)
    )


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share, 0..1 (Wilson 1927). `total` must be positive."""
    z2 = _Z975**2
    share, scale = count / total, 1 + z2 / total
    middle = (share + z2 / (2 * total)) / scale
    half = _Z975 / scale * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _rank(ordered: Sequence[float], quantile: float) -> float | None:
    """The nearest rank, because there is no value between a finite and an infinite one."""
    if not ordered:
        return None
    found = ordered[math.ceil(quantile * len(ordered)) - 1]
    return found if found < math.inf else None
