"""The quality guardrail: canary's Hit@5 ≥ kept · stable's, valid at every look.

**What is counted.** Traffic is split by routing key, so the key is what chance
assigns, and the predictions of one key resemble each other: one stream is easier
than another. A test that took them for independent samples would roll healthy
canaries back whenever a heavy, difficult stream falls to them. Hence each key has one
say in each step of the plan: its share of hits among its first eight scored
predictions, a value in [0, 1]. However much a key sends, it counts once.

**The test.** X: shares of stable's keys, Y: of the canary's, both new in this look.
H0: E[Y] ≥ kept·E[X], the canary complies. Let θ be fixed before the look. For
0 ≤ λ < 1/(1 - θ) and ϰ = λ·n_Y/n_X < 1/θ the look's factor is

    F(λ) = ∏_Y (1 + λ(θ - Y)) · ∏_X (1 + ϰ(kept·X - θ)).

Keys are independent and 1 + u ≤ exp(u), so its mean under H0 is at most
exp(λ·n_Y·(θ - E[Y]) + ϰ·n_X·(kept·E[X] - θ)) = exp(λ·n_Y·(kept·E[X] - E[Y])) ≤ 1:
θ cancels. So the product over looks is a supermartingale, wherever both arms' shares
drift together. Each half is a bet on a bounded mean as in Waudby-Smith & Ramdas 2024
("Estimating means of bounded random variables by betting"); θ stands between two
unknown means, so that stable's many keys need not be paired with the canary's few.
It decides only how much is learnt: kept times stable's mean in this step so far.
The evidence is the mean over a grid of λ. With the signs turned it is the case for a
pass, H0: E[Y] ≤ kept·E[X]. Stakes over the looks, clip and bounds are those of `wager`.

**Steps.** At a new weight all keys begin again, the old ones among them. The tests of
two steps are then not independent, and are not multiplied: each step is tested by
itself, at its part of alpha (3/4, 1/8, 1/24, ... by `weight_of`). A restart of the process forgets
which keys have had their say, and counts as one more step. After a promotion by hand
the first look also holds what was said since the last one under the old weight.

At 100 % there is no stable arm: nothing is judged there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from service.rollout.analysis.counters import KeyCountsByArm
from service.rollout.analysis.e_process import EProcess, EvidenceBounds, weight_of
from service.rollout.analysis.guardrails.config import QualityConfig
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.verdict import Verdict
from service.types import SHARES

BETS = (0.2, 0.5, 0.9)
"""λ as parts of the most that θ allows."""

PRIOR = (2.0, 4.0)
"""θ before anything is known: as if four keys had had a share of one half each."""


@dataclass(frozen=True, slots=True)
class QualityState:
    """The test's memory: of this step alone, but for how many there were before it."""

    before: int = 0
    wager: EProcess = field(default_factory=lambda: EProcess.over(len(BETS), len(BETS)))
    keys: KeyCountsByArm = field(default_factory=KeyCountsByArm)

    def next_step(self) -> QualityState:
        """A step in which no key had its say has spent nothing."""
        return self if self.keys == KeyCountsByArm() else QualityState(self.before + 1)


@dataclass(frozen=True, slots=True)
class QualityGuardrail:
    """The guardrail. `bounds` are the whole rollout's; a step has a share of them."""

    name: str
    bounds: EvidenceBounds
    figures: QualityConfig

    @property
    def threshold(self) -> float:
        return self.figures.kept

    def begin(self) -> QualityState:
        return QualityState()

    def look(self, test: QualityState, look: Measurement) -> QualityState:
        """While one arm has no keys the other's are remembered, and nothing is bet."""
        if look.restarted:
            test = test.next_step()
        new = look.new.keys
        keys = test.keys.plus(new)
        if not (new.stable.total and new.canary.total) or look.alone:
            return QualityState(test.before, test.wager, keys)
        known = test.keys.stable
        theta = self.figures.kept * (PRIOR[0] + known.hits) / (PRIOR[1] + known.total)
        kept = self.figures.kept
        wager = test.wager.after(
            [_against(new, part, theta, kept) for part in BETS],
            [_in_favour(new, part, theta, kept) for part in BETS],
            self._bounds(test),
        )
        return QualityState(test.before, wager, keys)

    def assess(self, test: QualityState) -> Verdict:
        bounds = self._bounds(test)
        outcome, words = bounds.verdict(test.wager)
        canary, stable = test.keys.canary, test.keys.stable
        told = (
            f"after {canary.total} canary and {stable.total} stable keys; Hit@5 is "
            f"{_percent(canary.mean)} on the canary and {_percent(stable.mean)} on stable, "
            f"of which {self.figures.kept:g} must be kept"
        )
        return Verdict(
            name=self.name,
            outcome=outcome,
            message=f"{outcome}: {words} {told}",
            threshold=self.threshold,
            fail_bound=bounds.log_fail,
            pass_bound=bounds.log_pass,
            log_fail=test.wager.log_fail(),
            log_pass=test.wager.log_pass(),
            canary=canary.total,
            stable=stable.total,
            ratio=canary.mean / stable.mean if canary.mean is not None and stable.mean else None,
            unit="keys",
            binding=min(canary.total, stable.total) >= self.figures.enough_keys
            and self.figures.required == "with_evidence",
            details={"hit_at_5": {"canary": canary.mean, "stable": stable.mean}},
        )

    def _bounds(self, test: QualityState) -> EvidenceBounds:
        """Of this step's test."""
        share = weight_of(test.before + 1)
        return EvidenceBounds(fail=self.bounds.fail * share, passing=self.bounds.passing)


def _against(new: KeyCountsByArm, part: float, theta: float, kept: float) -> float:
    """ln F: what a bet that the canary is worse is worth after this look."""
    odds = new.canary.total / new.stable.total
    bet = part * min(1 / (1 - theta), 1 / (odds * theta))
    return _worth(new, bet, odds * bet, theta, kept)


def _in_favour(new: KeyCountsByArm, part: float, theta: float, kept: float) -> float:
    """The same with the signs turned. Positive at the worst shares: no hit of a canary
    key, and a stable one's all."""
    odds = new.canary.total / new.stable.total
    bet = part * min(1 / theta, 1 / (odds * (kept - theta)))
    return _worth(new, -bet, -odds * bet, theta, kept)


def _worth(
    new: KeyCountsByArm, canary_bet: float, stable_bet: float, theta: float, kept: float
) -> float:
    return math.fsum(
        canary * math.log1p(canary_bet * (theta - share))
        + stable * math.log1p(stable_bet * (kept * share - theta))
        for canary, stable, share in zip(new.canary.counts, new.stable.counts, SHARES, strict=True)
        if canary or stable
    )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"
