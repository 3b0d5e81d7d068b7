"""Simulated sessions: when they predict, how often they hit, and when that is scored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.quality.key_shares import IDLE_SECONDS
from service.types import KEY_SAMPLE

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Hits = NDArray[np.bool_]

_LONGEST = 100
"""The longest session, in mean lengths."""


class SessionLengths(StrEnum):
    """The distribution of the number of predictions in a session."""

    GEOMETRIC = "geometric"
    HEAVY = "heavy"
    """Pareto of index 1.2, at most 100 times the mean: the longest hundredth of the sessions
    has a third of all predictions."""


@dataclass(frozen=True, slots=True)
class SimulatedSessions:
    """The traffic of a simulated rollout.

    `hit` and `spread`: mean and standard deviation of the keys' Hit@5 probability on stable;
    the canary's mean is `ratio` times that. A session has `length` predictions on average,
    one every `pause` seconds; all sessions together make `rate` predictions a second. An
    analysis runs every `interval` seconds until the `horizon`.
    """

    ratio: float = 1.0
    hit: float = 0.6
    spread: float = 0.2
    length: float = 40.0
    pause: float = 2.0
    lengths: SessionLengths = SessionLengths.GEOMETRIC
    rate: float = 50.0
    interval: float = 15.0
    horizon: float = 3600.0

    def draw(self, weight: float, rng: np.random.Generator) -> SessionSample:
        """The sessions of one rollout; each is on the canary with probability `weight`."""
        return draw_sessions(self, weight, rng)


class SessionTraffic(Protocol):
    """Where a simulated rollout's sessions come from."""

    @property
    def interval(self) -> float:
        """Seconds between two analysis runs."""
        ...

    @property
    def horizon(self) -> float:
        """Seconds until the end."""
        ...

    def draw(self, weight: float, rng: np.random.Generator) -> SessionSample:
        """The sessions of one rollout; each is on the canary with probability `weight`."""
        ...


@dataclass(frozen=True, slots=True)
class SessionSample(ABC):
    """Sessions drawn for one rollout, one array element each.

    `began`: start in seconds; those below 0 are already running then. `length`: number of
    predictions.
    """

    began: Floats
    length: Floats
    pause: float
    canary: Hits

    def predictions_until(self, now: float) -> Floats:
        """Each session's number of predictions from 0 until `now`."""
        done: Floats = self.since_start(now) - self.since_start(0.0)
        return done

    def since_start(self, now: float) -> Floats:
        """Each session's number of predictions from its start until `now`."""
        made: Floats = np.clip(np.floor((now - self.began) / self.pause) + 1, 0, self.length)
        return made

    @abstractmethod
    def count_hits(self, scored: Counts, rng: np.random.Generator) -> Counts:
        """The hits among each session's first `scored` predictions from 0 on."""

    @abstractmethod
    def draw_hits(self, session: Counts, number: Counts, rng: np.random.Generator) -> Hits:
        """Whether prediction `number`, counted from 0 on, of each `session` is a hit."""


@dataclass(frozen=True, slots=True)
class RandomSample(SessionSample):
    """Sessions whose predictions hit with a probability of their own, `hit`."""

    hit: Floats

    def count_hits(self, scored: Counts, rng: np.random.Generator) -> Counts:
        """See `SessionSample.count_hits`."""
        return rng.binomial(scored, self.hit)

    def draw_hits(self, session: Counts, number: Counts, rng: np.random.Generator) -> Hits:
        """See `SessionSample.draw_hits`."""
        hits: Hits = rng.random(len(number)) < self.hit[session]
        return hits


@dataclass(frozen=True, slots=True)
class KeyScores:
    """Shares of hits, and the second `at` which each is counted."""

    at: Floats
    share: Floats
    canary: Hits


def draw_sessions(
    settings: SimulatedSessions, weight: float, rng: np.random.Generator
) -> SessionSample:
    """The sessions of one rollout; each is on the canary with probability `weight`."""
    began = draw_starts(settings.length, settings.pause, settings.rate, settings.horizon, rng)
    count = len(began)
    canary = rng.random(count) < weight
    mean = np.where(canary, settings.ratio, 1.0) * settings.hit
    # A beta distribution with that mean and spread.
    size = np.maximum(mean * (1 - mean) / settings.spread**2 - 1, 0.05)
    hit = rng.beta(mean * size, (1 - mean) * size)
    length = _draw_lengths(settings, count, rng)
    sessions = RandomSample(began, length, settings.pause, canary, hit)
    live = sessions.predictions_until(settings.horizon) > 0
    return RandomSample(began[live], length[live], settings.pause, canary[live], hit[live])


def draw_starts(
    length: float, pause: float, rate: float, horizon: float, rng: np.random.Generator
) -> Floats:
    """Starts in seconds, of sessions of `length` predictions on average; see `SessionSample`."""
    # From so long ago that as many sessions are running at 0 as later.
    past = _LONGEST * length * pause
    count = rng.poisson(rate / length * (past + horizon))
    return rng.uniform(-past, horizon, count)


def score_by_key(sessions: SessionSample, rng: np.random.Generator) -> KeyScores:
    """One score a session, as in `service.quality.key_shares`: after its first predictions, or
    once it is idle."""
    first = np.maximum(sessions.began, 0.0)
    remaining = sessions.predictions_until(math.inf)
    count = np.minimum(remaining, KEY_SAMPLE)
    # A prediction is scored when the next vector arrives, so a session's last one never is.
    scored = np.maximum(np.minimum(remaining - 1, KEY_SAMPLE), 0)
    at = first + count * sessions.pause + np.where(scored < KEY_SAMPLE, IDLE_SECONDS, 0.0)
    some = scored > 0
    hits = sessions.count_hits(scored.astype(np.int64), rng)
    return KeyScores(at[some], hits[some] / scored[some], sessions.canary[some])


def score_by_prediction(sessions: SessionSample, rng: np.random.Generator) -> KeyScores:
    """One score a prediction, as if each had a key of its own."""
    remaining = np.maximum(sessions.predictions_until(math.inf) - 1, 0).astype(np.int64)
    session = np.repeat(np.arange(len(remaining)), remaining)
    number = np.arange(len(session)) - np.repeat(np.cumsum(remaining) - remaining, remaining)
    at = np.maximum(sessions.began, 0.0)[session] + (number + 1) * sessions.pause
    hits = sessions.draw_hits(session, number, rng)
    return KeyScores(at, hits.astype(np.float64), sessions.canary[session])


def _draw_lengths(settings: SimulatedSessions, count: int, rng: np.random.Generator) -> Floats:
    if settings.lengths is SessionLengths.GEOMETRIC:
        return rng.geometric(1 / settings.length, count).astype(np.float64)
    raw = np.minimum(1 + rng.pareto(1.2, count), 6 * _LONGEST)
    lengths: Floats = np.maximum(1.0, np.round(raw * settings.length / raw.mean()))
    return lengths
