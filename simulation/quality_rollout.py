"""One simulated rollout of a canary that predicts worse, judged by the quality guardrail.

Predictions of one session resemble each other: each key draws its own probability of a hit, or
a recorded session, and all its predictions go to one variant. The first step's weight is held
throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.rollout.analysis.counters import Counters, KeyCounts, KeyCountsByArm
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.quality import QualityGuardrail
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.plan.rollout_plan import RolloutPlan
from service.types import SHARES
from simulation.sessions import (
    SessionTraffic,
    score_by_key,
    score_by_prediction,
)

_SHARES = np.array(SHARES)


@dataclass(frozen=True, slots=True)
class SimulatedQualityRollout:
    """One rollout.

    `predictions` and `keys` are the canary's until the rollback, or until the horizon
    without one; `seconds` is how long that took. `passed`: seconds to the first pass, None
    without a pass.
    """

    rolled_back: bool
    predictions: int
    keys: int
    seconds: float
    passed: float | None


def simulate_quality(
    settings: SessionTraffic, plan: RolloutPlan, rng: np.random.Generator, *, by_key: bool = True
) -> SimulatedQualityRollout:
    """Run one rollout. With `by_key` False every prediction counts as a key of its own, to
    show what that would do."""
    guardrail = quality_guardrail(plan)
    sessions = settings.draw(first_weight(plan) / 100, rng)
    scores = score_by_key(sessions, rng) if by_key else score_by_prediction(sessions, rng)
    state, passed = guardrail.initial_state({}), None
    for run in range(1, math.floor(settings.horizon / settings.interval) + 1):
        now = run * settings.interval
        new = (scores.at > now - settings.interval) & (scores.at <= now)
        keys = KeyCountsByArm(
            stable=_key_counts(scores.share[new & ~scores.canary]),
            canary=_key_counts(scores.share[new & scores.canary]),
        )
        state = guardrail.update(state, Measurement(Counters(keys=keys)))
        outcome = guardrail.assess(state).outcome
        if outcome is VerdictOutcome.PASS and passed is None:
            passed = now
        if outcome is VerdictOutcome.FAIL:
            break
    predictions = sessions.predictions_until(now)[sessions.canary]
    return SimulatedQualityRollout(
        rolled_back=outcome is VerdictOutcome.FAIL,
        predictions=int(predictions.sum()),
        keys=state.keys.canary.total,
        seconds=now,
        passed=passed,
    )


def simulate_quality_rollouts(
    settings: SessionTraffic,
    plan: RolloutPlan,
    count: int,
    seed: Sequence[int],
    *,
    by_key: bool = True,
) -> list[SimulatedQualityRollout]:
    """`count` rollouts; the same seed gives the same rollouts."""
    rng = np.random.default_rng(seed)
    return [simulate_quality(settings, plan, rng, by_key=by_key) for _ in range(count)]


def first_weight(plan: RolloutPlan) -> float:
    """The first weight at which the canary serves callers, in per cent."""
    return next(step.weight for step in plan.steps if not step.shadow)


def quality_guardrail(plan: RolloutPlan) -> QualityGuardrail:
    """The plan's quality guardrail with its share of alpha. Raises `ValueError` if it is off."""
    for guardrail in guardrail_suite(plan, edges=(1.0,), attempt=1).guardrails:
        if isinstance(guardrail, QualityGuardrail):
            return guardrail
    raise ValueError("the plan turns the guardrail quality off")


def _key_counts(shares: NDArray[np.float64]) -> KeyCounts:
    places = np.searchsorted(_SHARES, shares)
    return KeyCounts(tuple(np.bincount(places, minlength=len(SHARES)).tolist()))
