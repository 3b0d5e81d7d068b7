"""What every sequential test here keeps: ln of the bets placed, for a fail and for a pass.

A bet's capital E is a supermartingale that starts at 1 as long as what it bets
against is true. By Ville's inequality it then ever reaches 1/alpha with
probability alpha at most, however often it is looked at (Ville 1939; Ramdas et al.
2023, "Game-theoretic statistics and safe anytime-valid inference"). A mean of such
bets over a grid of odds is one too.

**Fresh stakes.** A product that has watched a good canary for an hour is so small
that it would need another hour to notice it turn bad. So the bet on a fail is
spread in advance over when the regression may begin: 3/4 at the start, 1/8 over the
steps that follow (1/(j(j+1)) of it for the j-th), 1/8 over the looks (by the same
series), each share staying at 1 until it is placed. A weighted mean of
supermartingales whose weights sum to 1 is one as well, so alpha holds for the whole
rollout. The price is ln(4/3) = 0.29 for a regression that was there all along; a
later one is found in minutes, where it would take an hour.

**Clip.** What one look may add is cut: towards a fail at the root of 2/alpha, so
that one look never decides and two that agree do; towards a pass, where nothing
presses, at 3. Any cut is valid: a factor of mean at most 1 that is lowered has mean
at most 1. It is there for a stall that hits the canary alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.rollout.analysis.verdict import VerdictOutcome

PASS_LOG_CLIP = math.log(3)
SHARE = 0.125
"""Of the stake, for regressions that begin with a later step; as much again for
those that begin at a later look."""


FIRST = 0.75
"""Of alpha, for the first of several tests, where not all may be wanted."""


def weight_of(number: int) -> float:
    """The part of alpha that test number 1, 2, ... may spend: 3/4, 1/8, 1/24, 1/48, ...

    The k-th after the first has 1/4 · 1/(k(k+1)), and all of them 1 together: however
    many follow, a canary's attempts or the steps of one, the chance to be wrong in any
    of them is alpha at most.
    """
    if number == 1:
        return FIRST
    return (1 - FIRST) / ((number - 1) * number)


@dataclass(frozen=True, slots=True)
class EvidenceBounds:
    """The chances of error a guardrail may spend, and where its verdicts fall.

    `fail` is its share of the rollout's alpha, `passing` the chance of a false pass.
    """

    fail: float
    passing: float

    @property
    def log_fail(self) -> float:
        return -math.log(self.fail)

    @property
    def log_pass(self) -> float:
        return -math.log(self.passing)

    def fail_log_clip(self, looks: int = 2) -> float:
        """The most that one look adds to ln E for a fail: with two looks ln √(2/alpha).

        Below the bound as alpha < 1/2, hence no look decides alone, and no fewer than
        `looks`; that many, less ln(4/3) for the stake's share, are above it by ln 1.5.
        """
        return (self.log_fail + math.log(2)) / looks

    def verdict(self, wager: EProcess, log_fail: float | None = None) -> tuple[VerdictOutcome, str]:
        """What a wager says, with the arithmetic. A pass once reached stays for its
        step: by Ville's inequality the bound holds for the maximum. `log_fail` is ln E
        for a fail where there is more of it than the wager's own."""
        fail = wager.log_fail() if log_fail is None else log_fail
        good = wager.log_pass()
        wanted_fail = f"ln(1/{self.fail:.2g}) = {self.log_fail:.2f}"
        wanted_pass = f"ln(1/{self.passing:.2g}) = {self.log_pass:.2f}"
        if fail >= self.log_fail:
            return VerdictOutcome.FAIL, f"ln E = {fail:.2f} ≥ {wanted_fail}"
        if wager.peak >= self.log_pass:
            return VerdictOutcome.PASS, f"ln E reached {wager.peak:.2f} ≥ {wanted_pass}"
        words = (
            f"ln E = {fail:.2f} for a fail, {wanted_fail} wanted, and {good:.2f} for a pass, "
            f"{wanted_pass} wanted"
        )
        return VerdictOutcome.INCONCLUSIVE, words


@dataclass(frozen=True, slots=True)
class EProcess:
    """The memory of one test: a plain record that survives a restart through JSON.

    `failing` and `passing` are ln of the bets that have been placed, one for each of
    the odds; `looks` and `steps` count the later stakes placed; `peak` is the highest
    evidence for a pass in this step.
    """

    failing: tuple[float, ...]
    passing: tuple[float, ...]
    looks: int = 0
    steps: int = 0
    peak: float = 0.0

    @classmethod
    def over(cls, failing: int, passing: int) -> EProcess:
        """Nothing seen yet, with so many odds on each side."""
        return cls((math.log(1 - 2 * SHARE),) * failing, (0.0,) * passing)

    def log_fail(self) -> float:
        """ln E for a fail: the bets placed, and the stakes still held back."""
        held = SHARE / (self.looks + 1) + SHARE / (self.steps + 1)
        return _logaddexp(log_mean_exp(self.failing), math.log(held))

    def log_pass(self) -> float:
        """ln E for a pass in this step."""
        return log_mean_exp(self.passing)

    def after(
        self,
        fail: Sequence[float],
        good: Sequence[float],
        bounds: EvidenceBounds,
        *,
        looks: int = 2,
    ) -> EProcess:
        """After one look whose factors are, in ln and by odds, `fail` and `good`; no fewer
        than `looks` decide."""
        clip = bounds.fail_log_clip(looks)
        number = self.looks + 1
        stake = math.log(SHARE / (number * (number + 1)))
        passing = tuple(p + min(PASS_LOG_CLIP, x) for p, x in zip(self.passing, good, strict=True))
        return replace(
            self,
            failing=tuple(
                _logaddexp(f, stake) + min(clip, x) for f, x in zip(self.failing, fail, strict=True)
            ),
            passing=passing,
            peak=max(self.peak, log_mean_exp(passing)),
            looks=number,
        )

    def next_step(self) -> EProcess:
        """The weight has changed: the pass side begins anew, the fail side goes on
        with its next stake. Counts of different weights are never pooled."""
        steps = self.steps + 1
        stake = math.log(SHARE / (steps * (steps + 1)))
        return replace(
            self,
            failing=tuple(_logaddexp(bet, stake) for bet in self.failing),
            passing=(0.0,) * len(self.passing),
            steps=steps,
            peak=0.0,
        )


def log_held_against(rate: float, marked: int, trials: int, odds: float) -> float:
    """ln of what a bet at `odds` is worth: that more than `rate` of the trials are marked,
    or fewer with odds below 1. At the rate itself its mean is 1: E[r^a] = (1 + p(r - 1))^n."""
    return marked * math.log(odds) - trials * math.log1p(rate * (odds - 1))


def _logaddexp(x: float, y: float) -> float:
    high, low = max(x, y), min(x, y)
    return high + math.log1p(math.exp(low - high))


def log_mean_exp(values: Sequence[float]) -> float:
    """ln of the mean of exp(values)."""
    high = max(values)
    return high + math.log(sum(math.exp(v - high) for v in values) / len(values))
