"""The latency guardrail: canary P95 ≤ ratio · stable P95, valid at every look.

Counts in, a verdict out; no clock and no I/O. The test is a conditional e-process
on slow events. At each look, with τ = the bucket edge at stable's P95 taken from
*earlier* looks, a request is *marked* when it is slower than τ (stable) or than
ratio·τ (canary). Given how many requests each arm had and how many marks there
are in all, random assignment makes the canary's marks `a` hypergeometric if both
arms are marked at the same rate, so for any r > 1 (Hoeffding 1963, §6)

    E[r^a] ≤ (1 + w·(r - 1))^(a + b),   w = canary's share of the requests,

and the product over looks of r^a / (1 + w·(r - 1))^(a+b) is a supermartingale
while the canary complies. By Ville's inequality it ever reaches 1/alpha with
probability ≤ alpha at most, whatever the ramp, drift or autocorrelation that both
arms share. The mirror image (r → 1/r) is the evidence that the canary complies.

Four things keep that valid and make it useful:

- **Strata.** A look is taken per request mode: a context and a single vector
  differ by orders of magnitude, and a different mix would look like a
  regression. Given the counts the strata are independent: factors multiply.
- **Clip.** A look's factor is cut: towards a fail at the root of 2/alpha, so that
  one look never decides and two that agree do; towards a pass, where nothing
  presses, at 3. Any cut is valid: a factor of mean at most 1 that is lowered has
  mean at most 1. It is there for a stall that hits the canary alone. If that
  falls into the first minute of judging, the most sensitive one, it rolls back
  0 of 150 canaries when it lasts 4 s, 8 when 10 s, 31 when 20 s (a look every
  15 s, alpha 0.01); uncut, 55 at 4 s already.
- **Errors count.** A request that ended in a fault or a timeout is marked
  whatever its duration, in both arms by the same rule. The argument needs a mark
  to be a 0/1 property of a request under random assignment, and nothing else, so
  the supermartingale stays one. Where latency cannot be judged (warm-up, settling
  after a change of weight, τ not yet known) faults alone are the marks: which of
  the two applies is settled before the look, by earlier looks and the clock.
- **Fresh stakes.** A product that has watched a good canary for an hour is so
  small that it would need another hour to notice it turn bad. So the bet is
  spread in advance over when the regression may begin: 3/4 at the start, 1/8 over
  the steps that follow (1/(j(j+1)) of it for the j-th), 1/8 over the looks (by the
  same series), each share staying at 1 until it is placed. A weighted mean of
  supermartingales whose weights sum to 1 is one too, so alpha still holds for the
  whole rollout. The price is ln(4/3) = 0.29 for a regression that was there all
  along; a later one is found in minutes, where it would take an hour.

At a step of 100 % there is no stable arm. There the canary's marks are held
against a fixed rate, twice what the percentile allows, with τ as last measured
(faults alone without one): E[r^a] ≤ (1 + p(r - 1))^n. That assumes that stable
would not have slowed down in the meantime, hence the factor of two; it can only
fail, never pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from service.rollout.counts import Arms, Counts, percentile_bucket
from service.rollout.plan import Plan

GRID = (1.15, 1.35, 1.6, 2.0, 2.7, 4.0, 6.0, 10.0)
"""Odds bet on against the canary; the evidence is the mean over them."""

PASS_GRID = (1.3, 1.5, 1.75, 2.0, 2.35, 2.75, 3.2, 4.0)
"""Odds bet on for it, inverted. Closer: of identical arms the canary is marked less
often by a factor known from the tail, 1.5 (lognormal, σ = 1) to 2.9 (σ = 0.4)."""

PASS_LOG_CLIP = math.log(3)
SHARE = 0.125
"""Of the stake, for regressions that begin with a later step; as much again for
those that begin at a later look."""

NAME = "latency_p95"


class Outcome(StrEnum):
    """What a guardrail says."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Condition(StrEnum):
    """Why a stratum's latency is not judged."""

    BASELINE = "baseline"
    SATURATED = "saturated"


@dataclass(frozen=True, slots=True)
class Rule:
    """The guardrail's figures. `apart` is the number of bucket edges from τ to ratio·τ."""

    alpha: float
    ratio: float
    quantile: float
    apart: int
    baseline_samples: int

    @classmethod
    def of(cls, plan: Plan) -> Rule:
        return cls(plan.alpha, plan.ratio, plan.quantile, plan.edges_apart, plan.baseline_samples)

    @property
    def bound(self) -> float:
        """ln(1/alpha): where a verdict falls."""
        return -math.log(self.alpha)

    @property
    def fail_log_clip(self) -> float:
        """The most that one look adds to ln E for a fail, ln √(2/alpha).

        Below the bound as alpha < 1/2, hence no look decides alone; twice it, less
        ln(4/3) for the stake's share, is above it by ln 1.5.
        """
        return (self.bound + math.log(2)) / 2


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests judged so far: how many, how many of them marked, and marked for a fault."""

    canary: int = 0
    stable: int = 0
    canary_marked: int = 0
    stable_marked: int = 0
    canary_faults: int = 0
    stable_faults: int = 0

    def plus(self, new: Arms, canary_marked: int, stable_marked: int) -> Tally:
        return Tally(
            self.canary + new.canary.total,
            self.stable + new.stable.total,
            self.canary_marked + canary_marked,
            self.stable_marked + stable_marked,
            self.canary_faults + new.canary.faults,
            self.stable_faults + new.stable.faults,
        )


@dataclass(frozen=True, slots=True)
class Stratum:
    """What is known of one request mode.

    `window` holds stable's durations of earlier looks, faults in +Inf; `rollout`
    and `step` tally what was judged; `seen` is what was judged in this step.
    """

    window: tuple[float, ...]
    seen: Arms
    rollout: Tally = Tally()
    step: Tally = Tally()


@dataclass(frozen=True, slots=True)
class EProcess:
    """The test's whole memory: a plain record that survives a restart through JSON.

    `failing` and `passing` are ln of the bets that have been placed, one for each
    odds of `GRID` and of `PASS_GRID`; `looks` and `steps` count the later stakes placed; `peak` is
    the highest evidence for a pass in this step.
    """

    edges: tuple[float, ...]
    failing: tuple[float, ...] = (math.log(0.75),) * len(GRID)
    passing: tuple[float, ...] = (0.0,) * len(PASS_GRID)
    looks: int = 0
    steps: int = 0
    peak: float = 0.0
    strata: dict[str, Stratum] = field(default_factory=dict)

    def log_fail(self) -> float:
        """ln E for a fail: the bets placed, and the stakes still held back."""
        held = SHARE / (self.looks + 1) + SHARE / (self.steps + 1)
        return _logaddexp(_logmeanexp(self.failing), math.log(held))

    def log_pass(self) -> float:
        """ln E for a pass in this step."""
        return _logmeanexp(self.passing)

    def next_step(self) -> EProcess:
        """The weight has changed: the pass side begins anew, the fail side goes on
        with its next stake. Counts of different weights are never pooled."""
        steps = self.steps + 1
        stake = math.log(SHARE / (steps * (steps + 1)))
        blank = Counts.none(self.edges)
        return replace(
            self,
            failing=tuple(_logaddexp(bet, stake) for bet in self.failing),
            passing=(0.0,) * len(PASS_GRID),
            steps=steps,
            peak=0.0,
            strata={
                mode: replace(stratum, seen=Arms(blank, blank), step=Tally())
                for mode, stratum in self.strata.items()
            },
        )


def look(
    test: EProcess, arms: Mapping[str, Arms], rule: Rule, *, latency: bool, alone: bool
) -> EProcess:
    """The test after one more look at the counts that are new since the last one.

    `latency` is False while only faults may be judged, `alone` True at 100 %. A
    stratum without requests of one arm holds: no data neither passes nor fails.
    """
    fail = [0.0] * len(GRID)
    good = [0.0] * len(PASS_GRID)
    strata = dict(test.strata)
    moved = False
    for mode, new in arms.items():
        old = strata.get(mode) or _stratum(test.edges)
        tau = threshold(old, test.edges, rule) if latency else None
        mark = tau if isinstance(tau, int) else None
        bet = _bet(new, mark, rule, alone=alone)
        strata[mode] = _learn(old, new, mark, rule, judged=bet is not None)
        if bet is None:
            continue
        moved = True
        fail = [x + bet.log_factor(odds) for x, odds in zip(fail, GRID, strict=True)]
        if mark is not None and not alone:
            good = [x + bet.log_factor(1 / odds) for x, odds in zip(good, PASS_GRID, strict=True)]
    if not moved:
        return replace(test, strata=strata)
    looks = test.looks + 1
    stake = math.log(SHARE / (looks * (looks + 1)))
    passing = tuple(p + min(PASS_LOG_CLIP, x) for p, x in zip(test.passing, good, strict=True))
    return replace(
        test,
        failing=tuple(
            _logaddexp(f, stake) + min(rule.fail_log_clip, x)
            for f, x in zip(test.failing, fail, strict=True)
        ),
        passing=passing,
        peak=max(test.peak, _logmeanexp(passing)),
        looks=looks,
        strata=strata,
    )


def threshold(stratum: Stratum, edges: Sequence[float], rule: Rule) -> int | Condition:
    """The number of the edge τ, stable's percentile in earlier looks; or why there is none.

    Held back when τ or ratio·τ falls into +Inf: both arms would saturate there
    and compare as equal.
    """
    total = sum(stratum.window)
    if total < rule.baseline_samples:
        return Condition.BASELINE
    at = percentile_bucket(stratum.window, rule.quantile)
    return at if at + rule.apart < len(edges) else Condition.SATURATED


@dataclass(frozen=True, slots=True)
class _Bet:
    """`marked` of the canary among `trials`, each expected to be its with chance `share`."""

    marked: int
    trials: int
    share: float

    def log_factor(self, odds: float) -> float:
        return self.marked * math.log(odds) - self.trials * math.log1p(self.share * (odds - 1))


def _marks(new: Arms, mark: int | None, apart: int) -> tuple[int, int]:
    """How many of canary and stable are marked; without τ only faults are."""
    if mark is None:
        return new.canary.faults, new.stable.faults
    return new.canary.over(mark + apart), new.stable.over(mark)


def _bet(new: Arms, mark: int | None, rule: Rule, *, alone: bool) -> _Bet | None:
    """One stratum's bet in this look; None where there is nothing to bet on."""
    canary, stable = new.canary.total, new.stable.total
    a, b = _marks(new, mark, rule.apart)
    if not canary:
        return None
    if alone:
        return _Bet(a, canary, min(1.0, 2 * (1 - rule.quantile)))
    return _Bet(a, a + b, canary / (canary + stable)) if stable else None


def _learn(old: Stratum, new: Arms, mark: int | None, rule: Rule, *, judged: bool) -> Stratum:
    """What is known of a stratum after a look. τ moves only now, for the next one."""
    window = _slide(old.window, new.stable, rule.baseline_samples)
    if not judged:
        return replace(old, window=window)
    marks = _marks(new, mark, rule.apart)
    known = replace(old, window=window, rollout=old.rollout.plus(new, *marks))
    if mark is None:
        return known
    seen = Arms(old.seen.stable.plus(new.stable), old.seen.canary.plus(new.canary))
    return replace(known, seen=seen, step=old.step.plus(new, *marks))


def _slide(window: tuple[float, ...], new: Counts, baseline_samples: int) -> tuple[float, ...]:
    """Stable's recent past: halved whenever it holds four baselines.

    τ follows a load that drifts over hours, so that it stays near stable's P95,
    where the rule is meant to compare; a mean over the whole rollout would not.
    """
    added = [w + n for w, n in zip(window, new.durations, strict=True)]
    added[-1] += new.faults
    if sum(added) >= 4 * baseline_samples:
        added = [w / 2 for w in added]
    return tuple(added)


def _stratum(edges: Sequence[float]) -> Stratum:
    blank = Counts.none(edges)
    return Stratum((0.0,) * (len(edges) + 1), Arms(blank, blank))


def _logaddexp(x: float, y: float) -> float:
    high, low = max(x, y), min(x, y)
    return high + math.log1p(math.exp(low - high))


def _logmeanexp(values: Sequence[float]) -> float:
    high = max(values)
    return high + math.log(sum(math.exp(v - high) for v in values) / len(values))
