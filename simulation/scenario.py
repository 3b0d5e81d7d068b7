"""What a simulated rollout meets: traffic, latencies and how the canary differs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from service.metrics import duration_buckets
from service.settings import LimitSettings
from simulation.latency_distribution import Array, LatencyDistribution

DRIFT_SECONDS = 3600.0
"""The period of a drifting load."""

BEFORE_SECONDS = 600.0
"""Of stable's past that is known at the canary's first request."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One canary under one load. Times in seconds, rates in requests a second.

    `ratio`: the canary's latencies over stable's; `error_rate`: the share of the
    canary's requests that end in a fault. The latencies of both arms are multiplied
    by `drift` to the power of a sine of an hour's period; the rate grows evenly
    to `ramp` times by the `horizon`. `slowdown` multiplies the latencies of both as long as
    the canary has traffic: a device they share. For `stall` seconds within the first
    minute of judging, the worst moment, the canary answers nothing.
    """

    latency: LatencyDistribution
    ratio: float = 1.0
    error_rate: float = 0.0
    rate: float = 50.0
    drift: float = 1.0
    ramp: float = 1.0
    slowdown: float = 1.0
    stall: float = 0.0
    interval: float = 15.0
    horizon: float = 3600.0

    @property
    def looks(self) -> int:
        """Looks until the horizon, at most."""
        return math.floor(self.horizon / self.interval) + 1


@dataclass(frozen=True, slots=True)
class SimulatedTraffic:
    """Expected requests a second between two looks, by look.

    `stable` and `canary` have the shape [looks, buckets + 1], each row as if all
    requests went to that arm: the durations, +Inf being empty, then the faults.
    `before` is stable's, of shape [buckets + 1], in the `BEFORE_SECONDS` before the
    canary's first; `stalled`, summing to 1, is what becomes of those who arrive in a stall.
    """

    edges: tuple[float, ...]
    stable: Array
    canary: Array
    before: Array
    stalled: Array

    @classmethod
    def of(cls, scenario: Scenario) -> SimulatedTraffic:
        timeout = LimitSettings().timeout_seconds
        edges = duration_buckets(timeout)
        middles: Array = (np.arange(scenario.looks, dtype=np.float64) + 0.5) * scenario.interval
        levels = scenario.slowdown * _level(scenario, middles)
        rates = scenario.rate * (1 + (scenario.ramp - 1) * middles / scenario.horizon)
        stable = [_shares(scenario.latency, edges, level, 0.0) for level in levels]
        times: Array = -(np.arange(10, dtype=np.float64) + 0.5) / 10 * BEFORE_SECONDS
        past = _level(scenario, times)
        before = np.mean([_shares(scenario.latency, edges, level, 0.0) for level in past], axis=0)
        canary = [
            _shares(scenario.latency, edges, level * scenario.ratio, scenario.error_rate)
            for level in levels
        ]
        # Whoever arrives in a stall waits for its end: evenly from nothing to all of it.
        waits = np.clip(np.array(edges) / max(scenario.stall, edges[0]), 0.0, 1.0)
        stalled = np.array([*np.diff(waits, prepend=0.0), 0.0, 1 - waits[-1]])
        return cls(
            edges,
            rates[:, None] * stable,
            rates[:, None] * canary,
            scenario.rate * before,
            stalled,
        )


def _level(scenario: Scenario, seconds: Array) -> Array:
    """What the load makes of latencies at these times after the canary's first request."""
    found: Array = scenario.drift ** np.sin(2 * math.pi * seconds / DRIFT_SECONDS)
    return found


def _shares(
    latency: LatencyDistribution, edges: tuple[float, ...], level: float, errors: float
) -> Array:
    """By bucket, for latencies of `level` times the distribution's; they sum to 1."""
    within = latency.within(np.array(edges) / level)
    timed = np.diff(within, prepend=0.0) * (1 - errors)
    # What the top edge does not hold has passed the service's deadline: a timeout, so a fault.
    return np.array([*timed, 0.0, max(0.0, 1 - timed.sum())])
