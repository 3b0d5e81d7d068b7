"""One request mode's evidence on latency, and the choice of its threshold τ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from service.rollout.analysis.bucket_edges import edge_distance
from service.rollout.analysis.counters import Counts, CountsByArm, percentile_bucket
from service.rollout.analysis.e_process import EProcess
from service.rollout.analysis.guardrails.guardrail import AnalysisParameters


class ThresholdGap(StrEnum):
    """Why a stratum has no threshold: too few requests of stable, or the top bucket is near."""

    BASELINE = "baseline"
    SATURATED = "saturated"


@dataclass(frozen=True, slots=True)
class SlowCounts:
    """How many requests were judged, and how many of them were marked as slow."""

    canary: int = 0
    stable: int = 0
    canary_marked: int = 0
    stable_marked: int = 0

    def plus(self, new: CountsByArm, canary_marked: int, stable_marked: int) -> SlowCounts:
        return SlowCounts(
            self.canary + new.canary.total,
            self.stable + new.stable.total,
            self.canary_marked + canary_marked,
            self.stable_marked + stable_marked,
        )

    @property
    def canary_is_conspicuous(self) -> bool:
        """Whether the canary's marks exceed its share of all marks by two standard
        deviations of a Poisson count, and by one more for small counts."""
        if not self.canary:
            return False
        marked = self.canary_marked + self.stable_marked
        share = self.canary / (self.canary + self.stable) * marked
        return self.canary_marked > share + 2 * math.sqrt(share + 1)


@dataclass(frozen=True, slots=True)
class LatencyStratum:
    """The evidence of one request mode. Aliases are the names in stored records.

    `window` holds stable's durations from earlier runs, with faults in +Inf. `rollout` and
    `step` count what was judged and marked; `judged` is what was judged in this step,
    `arrivals` how many requests came in it, judged or not. `e_process` is for this mode
    alone; None before its first judged request.
    """

    window: tuple[float, ...]
    judged: Annotated[CountsByArm, Field(alias="seen")]
    rollout: SlowCounts = SlowCounts()
    step: SlowCounts = SlowCounts()
    arrivals: Annotated[int, Field(alias="came")] = 0
    e_process: Annotated[EProcess | None, Field(alias="wager")] = None

    @classmethod
    def initial(cls, edges: Sequence[float]) -> LatencyStratum:
        """No requests yet."""
        zero = Counts.zero(edges)
        return cls((0.0,) * (len(edges) + 1), CountsByArm(zero, zero))

    def with_arrivals(self, new: CountsByArm, baseline_samples: int) -> LatencyStratum:
        """With one run's requests in the window, which is halved when it holds four baselines.

        So τ follows a load that drifts over hours and stays near stable's percentile,
        where the rule is meant to compare. A mean over the whole rollout would not.
        """
        window = [w + n for w, n in zip(self.window, new.stable.durations, strict=True)]
        window[-1] += new.stable.faults
        if sum(window) >= 4 * baseline_samples:
            window = [w / 2 for w in window]
        arrivals = self.arrivals + new.canary.total + new.stable.total
        return replace(self, window=tuple(window), arrivals=arrivals)

    def with_judged(
        self, new: CountsByArm, canary_marked: int, stable_marked: int, e_process: EProcess
    ) -> LatencyStratum:
        """With the requests that one run judged, and how many of them it marked."""
        return replace(
            self,
            judged=self.judged.plus(new),
            rollout=self.rollout.plus(new, canary_marked, stable_marked),
            step=self.step.plus(new, canary_marked, stable_marked),
            e_process=e_process,
        )

    def next_step(self) -> LatencyStratum:
        """After a change of weight."""
        return replace(
            self,
            judged=self.judged.zero(),
            step=SlowCounts(),
            arrivals=0,
            e_process=self.e_process.next_step() if self.e_process else None,
        )

    def threshold(self, parameters: AnalysisParameters) -> int | ThresholdGap:
        """The number of the bucket edge τ, stable's percentile in the window.

        There is none when τ or ratio·τ lies in +Inf: both arms would saturate there and
        compare as equal.
        """
        if sum(self.window) < parameters.baseline_samples:
            return ThresholdGap.BASELINE
        tau = percentile_bucket(self.window, parameters.quantile)
        last = tau + edge_distance(parameters.ratio)
        return tau if last < len(parameters.edges) else ThresholdGap.SATURATED
