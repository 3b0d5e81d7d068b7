"""Sessions of a canary that predicts worse, played through the quality guardrail.

Predictions of one session resemble each other: each key draws a chance to hit of its
own, and is on one variant with all it sends. The first step's weight is held.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.quality.key_shares import IDLE_SECONDS
from service.rollout.analysis.counters import Counters, KeyCounts, KeyCountsByArm
from service.rollout.analysis.guardrails.guardrail import Guardrail, Measurement
from service.rollout.analysis.guardrails.suite import GuardrailSuite
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.plan.rollout_plan import RolloutPlan
from service.types import KEY_SAMPLE, SHARES

Floats = NDArray[np.float64]

_SHARES = np.array(SHARES)
_LONGEST = 100


class SessionLengths(StrEnum):
    """How many predictions a session has."""

    GEOMETRIC = "geometric"
    HEAVY = "heavy"
    """Pareto of index 1.2, at most 100 times the mean: the longest hundredth of the
    sessions has a third of all predictions."""


@dataclass(frozen=True, slots=True)
class SimulatedSessions:
    """The traffic. `hit` and `spread`: mean and standard deviation of the keys' chances at
    Hit@5 on stable; the canary's are `ratio` times that. A session has `length` predictions
    in the mean, one every `pause` seconds; `rate` predictions a second in all."""

    ratio: float = 1.0
    hit: float = 0.6
    spread: float = 0.2
    length: float = 40.0
    pause: float = 2.0
    lengths: SessionLengths = SessionLengths.GEOMETRIC
    rate: float = 50.0
    interval: float = 15.0
    horizon: float = 3600.0


@dataclass(frozen=True, slots=True)
class SimulatedQualityRollout:
    """One rollout. `predictions` and `keys` are the canary's until it was rolled back, or
    until the horizon; `seconds` until then. `passed`: seconds to the first pass, None without."""

    rolled_back: bool
    predictions: int
    keys: int
    seconds: float
    passed: float | None


def play(
    sessions: SimulatedSessions, plan: RolloutPlan, rng: np.random.Generator, *, by_key: bool = True
) -> SimulatedQualityRollout:
    """`by_key` False takes each prediction for a key of its own, to see what that would do."""
    guardrail = _guardrail(plan)
    drawn = _draw(sessions, weight_of(plan) / 100, rng)
    said = _said_by_key(drawn, rng) if by_key else _said_one_by_one(drawn, rng)
    test, passed = guardrail.begin(), None
    at = said.at
    for look in range(1, math.floor(sessions.horizon / sessions.interval) + 1):
        now = look * sessions.interval
        new = (at > now - sessions.interval) & (at <= now)
        arms = KeyCountsByArm(
            _keys(said.share[new & ~said.canary]), _keys(said.share[new & said.canary])
        )
        test = guardrail.look(test, Measurement(Counters(keys=arms)))
        outcome = guardrail.assess(test).outcome
        if outcome is VerdictOutcome.PASS and passed is None:
            passed = now
        if outcome is VerdictOutcome.FAIL:
            break
    served = drawn.served(now)[drawn.canary]
    return SimulatedQualityRollout(
        outcome is VerdictOutcome.FAIL, int(served.sum()), test.keys.canary.total, now, passed
    )


def weight_of(plan: RolloutPlan) -> float:
    """The first at which the canary answers, in per cent."""
    return next(step.weight for step in plan.steps if not step.shadow)


def several(
    sessions: SimulatedSessions,
    plan: RolloutPlan,
    count: int,
    seed: Sequence[int],
    *,
    by_key: bool = True,
) -> list[SimulatedQualityRollout]:
    """`count` rollouts, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    return [play(sessions, plan, rng, by_key=by_key) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class _SessionSample:
    """Sessions by when they begin, in seconds; those before 0 are under way by then."""

    began: Floats
    length: Floats
    pause: float
    chance: Floats
    canary: NDArray[np.bool_]

    def served(self, now: float) -> Floats:
        """Predictions of each from 0 until `now`."""
        done: Floats = self._since_began(now) - self._since_began(0.0)
        return done

    def _since_began(self, now: float) -> Floats:
        gone: Floats = np.clip(np.floor((now - self.began) / self.pause) + 1, 0, self.length)
        return gone


@dataclass(frozen=True, slots=True)
class _KeyScores:
    """Shares of hits, and when each is counted."""

    at: Floats
    share: Floats
    canary: NDArray[np.bool_]


def _draw(sessions: SimulatedSessions, weight: float, rng: np.random.Generator) -> _SessionSample:
    # From long enough ago that as many are under way at 0 as later.
    past = _LONGEST * sessions.length * sessions.pause
    span = past + sessions.horizon
    count = rng.poisson(sessions.rate / sessions.length * span)
    began = rng.uniform(-past, sessions.horizon, count)
    canary = rng.random(count) < weight
    mean = np.where(canary, sessions.ratio, 1.0) * sessions.hit
    # A beta distribution of that mean and spread.
    size = np.maximum(mean * (1 - mean) / sessions.spread**2 - 1, 0.05)
    chance = rng.beta(mean * size, (1 - mean) * size)
    length = _lengths(sessions, count, rng)
    drawn = _SessionSample(began, length, sessions.pause, chance, canary)
    live = drawn.served(sessions.horizon) > 0
    return _SessionSample(began[live], length[live], sessions.pause, chance[live], canary[live])


def _lengths(sessions: SimulatedSessions, count: int, rng: np.random.Generator) -> Floats:
    if sessions.lengths is SessionLengths.GEOMETRIC:
        return rng.geometric(1 / sessions.length, count).astype(np.float64)
    drawn = np.minimum(1 + rng.pareto(1.2, count), 6 * _LONGEST)
    lengths: Floats = np.maximum(1.0, np.round(drawn * sessions.length / drawn.mean()))
    return lengths


def _said_by_key(drawn: _SessionSample, rng: np.random.Generator) -> _KeyScores:
    """As `service.quality.key_shares`: after its first predictions, or when it goes quiet."""
    first = np.maximum(drawn.began, 0.0)
    left = drawn.served(math.inf)
    count = np.minimum(left, KEY_SAMPLE)
    # A prediction is scored when the next vector comes: the session's last one never is.
    scored = np.maximum(np.minimum(left - 1, KEY_SAMPLE), 0)
    at = first + count * drawn.pause + np.where(scored < KEY_SAMPLE, IDLE_SECONDS, 0.0)
    some = scored > 0
    hits = rng.binomial(scored.astype(np.int64), drawn.chance)
    return _KeyScores(at[some], hits[some] / scored[some], drawn.canary[some])


def _said_one_by_one(drawn: _SessionSample, rng: np.random.Generator) -> _KeyScores:
    left = np.maximum(drawn.served(math.inf) - 1, 0).astype(np.int64)
    whose = np.repeat(np.arange(len(left)), left)
    number = np.arange(len(whose)) - np.repeat(np.cumsum(left) - left, left)
    at = np.maximum(drawn.began, 0.0)[whose] + (number + 1) * drawn.pause
    hits = rng.random(len(whose)) < drawn.chance[whose]
    return _KeyScores(at, hits.astype(np.float64), drawn.canary[whose])


def _keys(shares: Floats) -> KeyCounts:
    places = np.searchsorted(_SHARES, shares)
    return KeyCounts(tuple(np.bincount(places, minlength=len(SHARES)).tolist()))


def _guardrail(plan: RolloutPlan) -> Guardrail[Any]:
    """The plan's own, with its part of alpha. Raises `ValueError` if it is off."""
    for guardrail in GuardrailSuite.of(plan, (1.0,), attempt=1).guardrails:
        if guardrail.name == "quality":
            return guardrail
    raise ValueError("the plan turns the guardrail quality off")
