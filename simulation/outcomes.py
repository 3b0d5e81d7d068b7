"""What many rollouts of one scenario showed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulation.play import Ending, Played
from simulation.rivals import Rival
from simulation.scenario import Scenario

NEXTVEC = "nextvec"
_Z975 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Times:
    """Median and 90th percentile in seconds, over all cases: one in which it never
    happened counts as endless, and None is a percentile among those."""

    median: float | None
    p90: float | None

    @classmethod
    def of(cls, seconds: Sequence[float | None]) -> Times:
        ordered = sorted(math.inf if s is None else s for s in seconds)
        return cls(_rank(ordered, 0.5), _rank(ordered, 0.9))


@dataclass(frozen=True, slots=True)
class Row:
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
    delay: Times
    total: Times
    passing: Times | None
    promotion: Times | None

    @property
    def rate(self) -> float:
        """The share of rollouts that were rolled back, 0..1."""
        return self.rolled_back / self.rollouts


def row(scenario: Scenario, played: Sequence[Played]) -> Row:
    """The service's own figures; `played` must not be empty."""
    back = [p.at if p.ending is Ending.ROLLED_BACK else None for p in played]
    promoted = [p.at if p.ending is Ending.PROMOTED else None for p in played]
    return _row(
        NEXTVEC,
        scenario,
        back,
        [p.delay for p in played],
        promoted=len(played) - promoted.count(None),
        passing=Times.of([seconds for p in played for seconds in p.passes]),
        promotion=Times.of(promoted),
    )


def rival_row(rival: Rival, scenario: Scenario, delays: Sequence[float | None]) -> Row:
    """A rival's figures; `delays` must not be empty."""
    return _row(rival.value, scenario, delays, delays, promoted=0, passing=None, promotion=None)


def _row(
    rule: str,
    scenario: Scenario,
    totals: Sequence[float | None],
    delays: Sequence[float | None],
    *,
    promoted: int,
    passing: Times | None,
    promotion: Times | None,
) -> Row:
    found = len(totals) - list(totals).count(None)
    low, high = wilson(found, len(totals))
    return Row(
        rule=rule,
        ratio=scenario.ratio,
        error_rate=scenario.error_rate,
        rollouts=len(totals),
        rolled_back=found,
        promoted=promoted,
        low=low,
        high=high,
        delay=Times.of(delays),
        total=Times.of(totals),
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
