"""The quality guardrail: canary's Hit@5 ≥ kept · stable's, valid at every evaluation.

**What is counted.** Traffic is split by routing key, so the key is what is assigned at
random, and the predictions of one key resemble each other: one stream is easier than
another. A test that took them for independent samples would roll back healthy canaries
whenever a heavy, difficult stream falls to them. Hence each key counts once in each step of
the plan, however much it sends: its share of hits among its first eight scored predictions,
a value in [0, 1].

**The test.** X: shares of stable's keys, Y: of the canary's, both new in this analysis run.
H0: E[Y] ≥ kept·E[X], the canary complies. Let θ be fixed before the run. For
0 ≤ λ < 1/(1 - θ) and ϰ = λ·n_Y/n_X < 1/θ the run's factor is

    F(λ) = ∏_Y (1 + λ(θ - Y)) · ∏_X (1 + ϰ(kept·X - θ)).

Keys are independent and 1 + u ≤ exp(u), so its mean under H0 is at most
exp(λ·n_Y·(θ - E[Y]) + ϰ·n_X·(kept·E[X] - θ)) = exp(λ·n_Y·(kept·E[X] - E[Y])) ≤ 1:
θ cancels. So the product over runs is a supermartingale, wherever both arms' shares drift
together. Each half is a bet on a bounded mean as in Waudby-Smith & Ramdas 2024
("Estimating means of bounded random variables by betting"). θ stands between two unknown
means, so that stable's many keys need not be paired with the canary's few. It decides only
how fast the evidence grows: it is kept times stable's mean in this step so far. The
evidence is the mean over a grid of λ. With the signs reversed it is the case for a pass,
H0: E[Y] ≤ kept·E[X]. Reserved stakes, clip and bounds are those of `e_process`.

**Steps.** At a new weight all keys count again, including earlier ones. The tests of two
steps are then not independent, so they are not multiplied. Each step has a test of its own,
with its part of alpha (3/4, 1/8, 1/24, ... by `alpha_share`). A restart of the process loses
which keys have counted, so it starts one more step. After a promotion by hand, the first
run also holds what was scored since the last one under the old weight.

At 100 % there is no stable arm, and nothing is judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from service.rollout.analysis.comparison import (
    Comparison,
    DifferenceKind,
    LimitDirection,
    ValueUnit,
)
from service.rollout.analysis.counters import Counts, KeyCountsByArm
from service.rollout.analysis.e_process import EProcess, EvidenceBounds, alpha_share
from service.rollout.analysis.formatting import format_share
from service.rollout.analysis.guardrails.config import Count, GuardrailConfig, Number
from service.rollout.analysis.guardrails.guardrail import Guardrail, Measurement
from service.rollout.analysis.verdict import Verdict
from service.types import SHARES

BET_SIZES = (0.2, 0.5, 0.9)
"""λ as parts of the largest value that θ allows."""

PRIOR = (2.0, 4.0)
"""θ before any data: as if four keys had had a share of one half each."""


class QualityConfig(GuardrailConfig):
    """The canary's Hit@5 by key, compared with stable's."""

    required: bool | Literal["with_evidence"] = Field(
        "with_evidence",
        description="Every step needs its pass. `with_evidence`: only once `enough_keys` have "
        "been scored.",
    )
    kept: Number = Field(
        0.8, ge=0.05, le=0.99, description="The part of stable's Hit@5 that the canary must keep."
    )
    enough_keys: Count = Field(
        200, description="Scored keys per variant and step from which on its pass is needed."
    )


@dataclass(frozen=True, slots=True)
class QualityState:
    """The evidence of this step alone, and how many steps with evidence came before it."""

    earlier_steps: Annotated[int, Field(alias="before")] = 0
    e_process: Annotated[EProcess, Field(alias="wager")] = field(
        default_factory=lambda: EProcess.initial(len(BET_SIZES), len(BET_SIZES))
    )
    keys: KeyCountsByArm = field(default_factory=KeyCountsByArm)

    def next_step(self) -> QualityState:
        """A step without a scored key has spent no alpha."""
        return self if self.keys == KeyCountsByArm() else QualityState(self.earlier_steps + 1)


class QualityGuardrail(Guardrail[QualityConfig, QualityState]):
    """The guardrail over online hits. A step gets a share of its bounds."""

    name: ClassVar[str] = "quality"
    config_type: ClassVar[type[GuardrailConfig]] = QualityConfig
    state_type: ClassVar[type[QualityState]] = QualityState
    # It takes time to be certain of a small difference.
    alpha_parts: ClassVar[int] = 2

    @property
    def label(self) -> str:
        return "Hit@5"

    @property
    def threshold(self) -> float:
        return self.config.kept

    def initial_state(self, baseline: Mapping[str, Counts]) -> QualityState:  # noqa: ARG002 - part of the interface
        return QualityState()

    def update(self, state: QualityState, measurement: Measurement) -> QualityState:
        """While one arm has no keys, the other's are remembered and nothing is bet."""
        if measurement.restarted:
            state = state.next_step()
        new = measurement.counters.keys
        keys = state.keys.plus(new)
        if not (new.stable.total and new.canary.total) or measurement.canary_only:
            return QualityState(state.earlier_steps, state.e_process, keys)
        known, kept = state.keys.stable, self.config.kept
        theta = kept * (PRIOR[0] + known.hits) / (PRIOR[1] + known.total)
        process = state.e_process.update(
            [_fail_factor(new, size, theta, kept) for size in BET_SIZES],
            [_pass_factor(new, size, theta, kept) for size in BET_SIZES],
            self._step_bounds(state),
        )
        return QualityState(state.earlier_steps, process, keys)

    def assess(self, state: QualityState) -> Verdict:
        bounds = self._step_bounds(state)
        outcome, text = bounds.assess(state.e_process)
        canary, stable = state.keys.canary, state.keys.stable
        enough = min(canary.total, stable.total) >= self.config.enough_keys
        return Verdict(
            name=self.name,
            outcome=outcome,
            message=(
                f"{outcome}: {text} after {canary.total} canary and {stable.total} stable keys; "
                f"Hit@5: canary {format_share(canary.mean)}, stable {format_share(stable.mean)}, "
                f"the canary must keep {format_share(self.config.kept)} of stable's"
            ),
            threshold=self.threshold,
            fail_bound=bounds.log_fail,
            pass_bound=bounds.log_pass,
            log_fail=state.e_process.log_fail(),
            log_pass=state.e_process.log_pass(),
            canary=canary.total,
            stable=stable.total,
            ratio=canary.mean / stable.mean if canary.mean is not None and stable.mean else None,
            unit="keys",
            binding=enough and self.config.required == "with_evidence",
            details={"hit_at_5": {"canary": canary.mean, "stable": stable.mean}},
            label=self.label,
            comparison=self._compare(state.keys),
        )

    def _compare(self, keys: KeyCountsByArm) -> Comparison:
        """Both variants' Hit@5 in words."""
        canary, stable = keys.canary.mean, keys.stable.mean
        ratio = canary / stable if canary is not None and stable else None
        if canary is None or stable is None:
            counts = f"{keys.canary.total} canary and {keys.stable.total} stable keys"
            short = text = f"Hit@5 is not known yet: {counts} have been scored"
        else:
            clause = f"Hit@5 is {format_share(canary)}, stable's {format_share(stable)}"
            kept = f"at least {format_share(self.config.kept)} of stable's is required"
            counts = f"{keys.canary.total} and {keys.stable.total} keys"
            short, text = f"{clause} ({kept})", f"{clause} ({counts}; {kept})"
        return Comparison(
            text=text,
            short=short,
            value_unit=ValueUnit.SHARE,
            kind=DifferenceKind.RATIO,
            limit=self.config.kept,
            direction=LimitDirection.AT_LEAST,
            stable=stable,
            canary=canary,
            difference=ratio,
            suspicion="looks too inaccurate",
            fault="it was too inaccurate",
        )

    def _step_bounds(self, state: QualityState) -> EvidenceBounds:
        share = alpha_share(state.earlier_steps + 1)
        return EvidenceBounds(fail=self.bounds.fail * share, passing=self.bounds.passing)


def _fail_factor(new: KeyCountsByArm, size: float, theta: float, kept: float) -> float:
    """ln F of the bet that the canary is worse."""
    odds = new.canary.total / new.stable.total
    bet = size * min(1 / (1 - theta), 1 / (odds * theta))
    return _log_factor(new, bet, odds * bet, theta, kept)


def _pass_factor(new: KeyCountsByArm, size: float, theta: float, kept: float) -> float:
    """The same with the signs reversed. It stays positive at the extreme shares: no hit of a
    canary key, and only hits of a stable key."""
    odds = new.canary.total / new.stable.total
    bet = size * min(1 / theta, 1 / (odds * (kept - theta)))
    return _log_factor(new, -bet, -odds * bet, theta, kept)


def _log_factor(
    new: KeyCountsByArm, canary_bet: float, stable_bet: float, theta: float, kept: float
) -> float:
    return math.fsum(
        canary * math.log1p(canary_bet * (theta - share))
        + stable * math.log1p(stable_bet * (kept * share - theta))
        for canary, stable, share in zip(new.canary.counts, new.stable.counts, SHARES, strict=True)
        if canary or stable
    )
