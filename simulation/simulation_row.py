"""What many rollouts of one scenario showed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulation.play import RolloutEnding, SimulatedRollout
from simulation.point_estimate_rules import PointEstimateRule
from simulation.scenario import Scenario

NEXTVEC = "nextvec"
_Z975 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class TimePercentiles:
    """Median and 90th percentile in seconds, over all cases: one in which it never
    happened counts as endless, and None is a percentile among those."""

    median: float | None
    p90: float | None

    @classmethod
    def of(cls, seconds: Sequence[float | None]) -> TimePercentiles:
        ordered = sorted(math.inf if s is None else s for s in seconds)
        return cls(_rank(ordered, 0.5), _rank(ordered, 0.9))


@dataclass(frozen=True, slots=True)
class SimulationRow:
    """One rule in one scenario.

    `low` and `high` bound the rate of rollbacks, a 95 % interval. `delay` counts from
    when the fault could first be judged (a rival's from its first second), `total`
    from the canary's first requests or copies, as does `promotion`. `passing` is of
    steps with a weight below 100 %; both are None for a rival, which is only asked for rollbacks.
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

    @property
    def rate(self) -> float:
        """The share of rollouts that were rolled back, 0..1."""
        return self.rolled_back / self.rollouts


def row(scenario: Scenario, played: Sequence[SimulatedRollout]) -> SimulationRow:
    """The service's own figures; `played` must not be empty."""
    back = [p.at if p.ending is RolloutEnding.ROLLED_BACK else None for p in played]
    promoted = [p.at if p.ending is RolloutEnding.PROMOTED else None for p in played]
    return _row(
        NEXTVEC,
        scenario,
        back,
        [p.delay for p in played],
        promoted=len(played) - promoted.count(None),
        passing=TimePercentiles.of([seconds for p in played for seconds in p.passes]),
        promotion=TimePercentiles.of(promoted),
    )


def point_estimate_row(
    rival: PointEstimateRule, scenario: Scenario, delays: Sequence[float | None]
) -> SimulationRow:
    """A rival's figures; `delays` must not be empty."""
    return _row(rival.value, scenario, delays, delays, promoted=0, passing=None, promotion=None)


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
    low, high = wilson(found, len(totals))
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
    )


def wilson(count: int, of: int) -> tuple[float, float]:
    """A 95 % interval for a share, 0..1 (Wilson 1927); `of` over 0."""
    z2 = _Z975**2
    share, scale = count / of, 1 + z2 / of
    middle = (share + z2 / (2 * of)) / scale
    half = _Z975 / scale * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _rank(ordered: Sequence[float], quantile: float) -> float | None:
    """The nearest rank: no value between one that is there and one that never came."""
    if not ordered:
        return None
    found = ordered[math.ceil(quantile * len(ordered)) - 1]
    return found if found < math.inf else None
