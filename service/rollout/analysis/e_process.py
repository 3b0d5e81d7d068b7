"""The e-process behind every guardrail: its capital, in logarithms, for a fail and for a pass.

A bet's capital E is a supermartingale that starts at 1 while its null hypothesis
holds. By Ville's inequality the probability that it ever reaches 1/alpha is then at
most alpha, however often it is evaluated (Ville 1939; Ramdas et al. 2023,
"Game-theoretic statistics and safe anytime-valid inference"). A mean of such bets
over a grid of odds is a supermartingale too.

**Reserved stakes.** Once the product has watched a good canary for an hour, it is so
small that it would need another hour to notice that the canary turns bad. So the stake
on a fail is divided in advance over the times at which a regression may begin: 3/4 at
the start, 1/8 over the later steps (1/(j(j+1)) of it for the j-th), 1/8 over the
evaluations (by the same series). A reserved share stays at 1 until it is placed. A
weighted mean of supermartingales whose weights sum to 1 is a supermartingale, so alpha
holds for the whole rollout. The price is ln(4/3) = 0.29 for a regression that was
present from the start; a later one is found within minutes instead of an hour.

**Clip.** The log factor of one evaluation is limited: towards a fail to ln √(2/alpha), so
that one evaluation never decides and two that agree do; towards a pass, which is not
urgent, to ln 3. Any limit is valid: lowering a factor whose mean is at most 1 keeps its
mean at most 1. The clip is there for a stall that hits only the canary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from service.rollout.analysis.verdict import VerdictOutcome

PASS_LOG_CLIP = math.log(3)

RESERVED_SHARE = 0.125
"""The part of the fail stake reserved for regressions that begin at a later step. As
much again is reserved for those that begin at a later evaluation."""

FIRST_SHARE = 0.75
"""The part of alpha for the first of several tests, which is often the only one."""


def alpha_share(number: int) -> float:
    """The part of alpha that test number 1, 2, ... may spend: 3/4, 1/8, 1/24, 1/48, ...

    The k-th test after the first gets 1/4 · 1/(k(k+1)), and all parts sum to 1. So the
    probability of a wrong verdict in any of them is at most alpha, however many
    attempts a canary has, or a rollout steps.
    """
    if number == 1:
        return FIRST_SHARE
    return (1 - FIRST_SHARE) / ((number - 1) * number)


@dataclass(frozen=True, slots=True)
class EvidenceBounds:
    """The error probabilities a guardrail may spend, and the bounds on ln E they imply.

    `fail` is the guardrail's share of the rollout's alpha, `passing` the probability of a
    false pass.
    """

    fail: float
    passing: float

    @property
    def log_fail(self) -> float:
        return -math.log(self.fail)

    @property
    def log_pass(self) -> float:
        return -math.log(self.passing)

    def fail_log_clip(self, evaluations: int = 2) -> float:
        """The most that one evaluation adds to ln E for a fail; ln √(2/alpha) for two.

        Fewer than `evaluations` do not reach the bound as long as the guardrail's alpha is
        below 2^-(evaluations - 1): 1/2 for two, 1/128 for eight. That many, less ln(4/3)
        for the stake's share, exceed it by ln 1.5.
        """
        return (self.log_fail + math.log(2)) / evaluations

    def assess(
        self, process: EProcess, log_fail: float | None = None
    ) -> tuple[VerdictOutcome, str]:
        """The outcome and its arithmetic in text.

        A pass holds for its step once it is reached: by Ville's inequality the bound
        applies to the maximum. `log_fail` replaces the e-process' own ln E for a fail.
        """
        fail = process.log_fail() if log_fail is None else log_fail
        fail_bound = f"ln(1/{self.fail:.2g}) = {self.log_fail:.2f}"
        pass_bound = f"ln(1/{self.passing:.2g}) = {self.log_pass:.2f}"
        if fail >= self.log_fail:
            return VerdictOutcome.FAIL, f"ln E = {fail:.2f} ≥ {fail_bound}"
        if process.peak >= self.log_pass:
            return VerdictOutcome.PASS, f"ln E reached {process.peak:.2f} ≥ {pass_bound}"
        return VerdictOutcome.INCONCLUSIVE, (
            f"ln E = {fail:.2f} < {fail_bound} for a fail "
            f"and {process.log_pass():.2f} < {pass_bound} for a pass"
        )


@dataclass(frozen=True, slots=True)
class EProcess:
    """The state of one sequential test.

    `failing` and `passing` are the logarithms of the capital placed, one for each of the
    odds. `evaluations` and `steps` count the reserved stakes placed so far; `peak` is the
    highest ln E for a pass in this step. Aliases are the names in stored records.
    """

    failing: tuple[float, ...]
    passing: tuple[float, ...]
    evaluations: Annotated[int, Field(alias="looks")] = 0
    steps: int = 0
    peak: float = 0.0

    @classmethod
    def initial(cls, fail_odds: int, pass_odds: int) -> EProcess:
        """No evidence yet, with so many odds on each side."""
        return cls((math.log(1 - 2 * RESERVED_SHARE),) * fail_odds, (0.0,) * pass_odds)

    def log_fail(self) -> float:
        """ln E for a fail: the capital placed and the stakes still reserved."""
        reserved = RESERVED_SHARE / (self.evaluations + 1) + RESERVED_SHARE / (self.steps + 1)
        return _logaddexp(log_mean_exp(self.failing), math.log(reserved))

    def log_pass(self) -> float:
        """ln E for a pass in this step."""
        return log_mean_exp(self.passing)

    def update(
        self,
        fail_factors: Sequence[float],
        pass_factors: Sequence[float],
        bounds: EvidenceBounds,
        *,
        min_evaluations: int = 2,
    ) -> EProcess:
        """The e-process after one more evaluation.

        The factors are logarithms, one for each of the odds. A fail takes at least
        `min_evaluations` evaluations.
        """
        clip = bounds.fail_log_clip(min_evaluations)
        number = self.evaluations + 1
        stake = math.log(RESERVED_SHARE / (number * (number + 1)))
        passing = tuple(
            capital + min(PASS_LOG_CLIP, factor)
            for capital, factor in zip(self.passing, pass_factors, strict=True)
        )
        return replace(
            self,
            failing=tuple(
                _logaddexp(capital, stake) + min(clip, factor)
                for capital, factor in zip(self.failing, fail_factors, strict=True)
            ),
            passing=passing,
            peak=max(self.peak, log_mean_exp(passing)),
            evaluations=number,
        )

    def next_step(self) -> EProcess:
        """After a change of weight: the pass side starts again, the fail side continues and
        places its next reserved stake. Counts of different weights are never pooled."""
        steps = self.steps + 1
        stake = math.log(RESERVED_SHARE / (steps * (steps + 1)))
        return replace(
            self,
            failing=tuple(_logaddexp(capital, stake) for capital in self.failing),
            passing=(0.0,) * len(self.passing),
            steps=steps,
            peak=0.0,
        )


def log_binomial_factor(rate: float, marked: int, trials: int, odds: float) -> float:
    """The log factor of a bet that more than `rate` of the trials are marked, or fewer with
    odds below 1. At that rate the factor's mean is 1, as E[r^a] = (1 + p(r - 1))^n."""
    return marked * math.log(odds) - trials * math.log1p(rate * (odds - 1))


def log_mean_exp(values: Sequence[float]) -> float:
    """ln of the mean of exp(values)."""
    high = max(values)
    return high + math.log(sum(math.exp(v - high) for v in values) / len(values))


def _logaddexp(x: float, y: float) -> float:
    high, low = max(x, y), min(x, y)
    return high + math.log1p(math.exp(low - high))
