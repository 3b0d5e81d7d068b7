"""An interval for the ratio of the canary's percentile to stable's, valid at every evaluation.

**What is inverted.** The latency guardrail tests one ratio, the plan's limit. The same test with
another ratio ρ in its place is an e-process for "the canary is at most ρ times as slow", and its
mirror image one for "at least ρ times". The interval holds the ratios that neither has rejected:
it is the confidence sequence that belongs to the guardrail (Howard & Ramdas 2022, "Sequential
estimation of quantiles with applications to A/B testing and best-arm identification"; for the
duality of sequential tests and confidence sequences: Ramdas et al. 2023).

**At which ratios.** Counts only know bucket edges, and τ is one. So ρ·τ must be an edge as well,
and ρ a whole power of g, the ratio of neighbouring edges (g² = 1.2): ρ = g^j for a whole number j,
a *rung*. Between two rungs nothing can be told, so both ends of the interval are rungs.

**One error probability for all rungs.** In one evaluation let a_j be the canary's requests slower
than g^j·τ, b stable's slower than τ, and w the canary's share. The factor of a bet at odds r > 1,

    r^(a_j) / (1 + w(r - 1))^(a_j + b),

does not decrease in a_j, because 1 + w(r - 1) ≤ r. And a_j does not increase in j. Clip, reserved
stakes, sums over modes and means over odds keep this order, and all rungs start equal. So on every
path of the counts ln E for a fail does not increase from rung to rung. Let g^i be the lowest rung
that is not below the true ratio. Its null hypothesis is true, so by Ville's inequality its E ever
reaches 1/α with a probability of at most α; and if any higher rung is ever rejected, so is it.
Hence the lower end is ever above the true ratio with a probability of at most α, however many rungs
there are and however often one looks: no union bound. The same holds for the upper end with r < 1.

Where g^j·τ lies outside the edges, a_j is known only between two bounds. The bet for a fail takes
the lower one and the bet for a pass the upper one. Both only lower E, and keep the order.

**Confidence.** The lower end spends the guardrail's share of alpha, over the whole rollout. The
upper end spends alpha in each step, because each step has its own pass. So within one step, the
chance that the interval is wrong at any time is at most their sum; `confidence` is 1 minus that.
At the plan's limit, the guardrail's own evidence is used: the guardrail fails exactly
when the lower end reaches the limit, and passes exactly when the upper end does.

**What the ratio is.** That of the percentiles at the level of τ: stable's percentile, rounded up
to an edge. A ratio that differs from mode to mode, or moves during the rollout, has no single
value. Then the lower end is a ratio that was exceeded in some mode at some time, and the upper end
one that was undercut. If the two contradict each other, there is no interval. At 100 % there is no
stable arm, and no interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.rollout.analysis.bucket_edges import EDGE_GROWTH
from service.rollout.analysis.comparison import RatioInterval
from service.rollout.analysis.counters import Counts, CountsByArm
from service.rollout.analysis.e_process import (
    EProcess,
    EvidenceBounds,
    log_binomial_factor,
    log_mean_exp,
)

RUNGS = (-4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)
"""The powers of g, 0.69 to 8.9, at which the test is inverted. Any choice is valid; more rungs
make the interval finer and the stored record longer."""


@dataclass(frozen=True, slots=True)
class JudgedCounts:
    """What one analysis run judged in one mode; `tau` is the number of the bucket edge."""

    tau: int
    counts: CountsByArm


@dataclass(frozen=True, slots=True)
class RungEvidence:
    """The evidence at one ratio: on all modes together, and on each mode alone."""

    pooled: EProcess
    alone: dict[str, EProcess] = field(default_factory=dict)

    def next_step(self) -> RungEvidence:
        """After a change of weight."""
        alone = {mode: process.next_step() for mode, process in self.alone.items()}
        return RungEvidence(self.pooled.next_step(), alone)


@dataclass(frozen=True, slots=True)
class RatioLadder:
    """The evidence at every rung of `RUNGS`, in their order.

    `low` is the highest rung that has been rejected as "at most" in this rollout.
    """

    rungs: tuple[RungEvidence, ...]
    low: int | None = None

    @classmethod
    def initial(cls, fail_odds: int, pass_odds: int) -> RatioLadder:
        """No evidence yet, with so many odds on each side."""
        return cls((RungEvidence(EProcess.initial(fail_odds, pass_odds)),) * len(RUNGS))

    def next_step(self) -> RatioLadder:
        """After a change of weight: the upper end starts again, the lower end stays."""
        return replace(self, rungs=tuple(rung.next_step() for rung in self.rungs))

    def update(
        self,
        judged: Mapping[str, JudgedCounts],
        fail_odds: Sequence[float],
        pass_odds: Sequence[float],
        bounds: EvidenceBounds,
        modes: int,
    ) -> RatioLadder:
        """The ladder after one more run. `modes`: how many request modes there can be."""
        rungs = tuple(
            _update_rung(evidence, rung, judged, fail_odds, pass_odds, bounds)
            for rung, evidence in zip(RUNGS, self.rungs, strict=True)
        )
        rejected = [
            rung
            for rung, evidence in zip(RUNGS, rungs, strict=True)
            if mixed_log_fail(evidence.pooled, evidence.alone.values(), modes) >= bounds.log_fail
        ]
        if self.low is not None:
            rejected.append(self.low)
        return RatioLadder(rungs, max(rejected, default=None))

    def interval(
        self, bounds: EvidenceBounds, *, limit: int, failed: bool, passed: bool, held: bool = False
    ) -> RatioInterval | None:
        """The ratios that are not rejected; None if that are all, or none.

        `limit` is the rung of the plan's limit. `failed` and `passed`: what the guardrail's own
        evidence says there. While a pass is `held` back, the upper end stays above the limit.
        """
        low = [rung for rung in (self.low,) if rung is not None] + [limit] * failed
        high = [
            rung
            for rung, evidence in zip(RUNGS, self.rungs, strict=True)
            if rung != limit and evidence.pooled.peak >= bounds.log_pass
        ] + [limit] * passed
        if held:
            high = [rung for rung in high if rung > limit]
        if not (low or high) or (low and high and max(low) >= min(high)):
            return None
        return RatioInterval(
            EDGE_GROWTH ** max(low) if low else None,
            EDGE_GROWTH ** min(high) if high else None,
            1 - bounds.fail - bounds.passing,
        )


def mixed_log_fail(pooled: EProcess, alone: Iterable[EProcess], modes: int) -> float:
    """ln E for a fail: half the stake on all modes together, half on each of the `modes` alone.

    A mode without a bet of its own follows the pooled one, so that the first costs nothing.
    """
    whole = pooled.log_fail()
    single = [process.log_fail() for process in alone]
    single += [whole] * (modes - len(single))
    return log_mean_exp((whole, log_mean_exp(single)))


def _update_rung(
    evidence: RungEvidence,
    rung: int,
    judged: Mapping[str, JudgedCounts],
    fail_odds: Sequence[float],
    pass_odds: Sequence[float],
    bounds: EvidenceBounds,
) -> RungEvidence:
    fail_sum, pass_sum = [0.0] * len(fail_odds), [0.0] * len(pass_odds)
    alone = dict(evidence.alone)
    for mode, each in judged.items():
        canary, stable = each.counts.canary, each.counts.stable
        share = canary.total / (canary.total + stable.total)
        fewest, most = _marked(canary, each.tau + rung)
        slow = stable.slower_than(each.tau)
        fails = [log_binomial_factor(share, fewest, fewest + slow, odds) for odds in fail_odds]
        before = alone.get(mode) or evidence.pooled
        alone[mode] = before.update(fails, [0.0] * len(pass_odds), bounds)
        fail_sum = [x + y for x, y in zip(fail_sum, fails, strict=True)]
        pass_sum = [
            x + log_binomial_factor(share, most, most + slow, 1 / odds)
            for x, odds in zip(pass_sum, pass_odds, strict=True)
        ]
    return RungEvidence(evidence.pooled.update(fail_sum, pass_sum, bounds), alone)


def _marked(canary: Counts, edge: int) -> tuple[int, int]:
    """How many requests took longer than edge number `edge`, or failed: at least, at most.

    Both are the same where there is such an edge.
    """
    last = len(canary.durations) - 2
    if edge < 0:
        return canary.slower_than(0), canary.total
    if edge > last:
        return canary.faults, canary.slower_than(last)
    marked = canary.slower_than(edge)
    return marked, marked
