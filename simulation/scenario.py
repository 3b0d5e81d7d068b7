"""The scenario of a simulated rollout: traffic, latencies and how the canary differs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from service.metrics import duration_buckets
from service.settings import LimitSettings
from simulation.latency_distribution import Array, LatencyDistribution

DRIFT_SECONDS = 3600.0
"""The period of the latency drift."""

BEFORE_SECONDS = 600.0
"""How much of stable's past is known at the canary's first request."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One canary under one load. Times in seconds, rates in requests per second.

    `ratio`: the canary's latencies as a multiple of stable's. `error_rate`: the share of the
    canary's requests that end in a fault. Both arms' latencies are multiplied by `drift` to
    the power of a sine with a period of an hour. The rate grows evenly to `ramp` times by the
    `horizon`. `slowdown` multiplies both arms' latencies while the canary has traffic, as on
    a shared device. For `stall` seconds within the first minute of judging, the worst moment,
    the canary answers nothing. An analysis runs every `interval`.
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
    def max_runs(self) -> int:
        """The largest number of analysis runs until the horizon."""
        return math.floor(self.horizon / self.interval) + 1


@dataclass(frozen=True, slots=True)
class SimulatedTraffic:
    """Expected requests per second before each analysis run.

    `stable` and `canary` have the shape [runs, buckets + 1]. Each row is as if all requests
    went to that arm: the durations by bucket, with +Inf empty, then the faults. `before`, of
    shape [buckets + 1], is stable's in the `BEFORE_SECONDS` before the canary's first
    request. `stalled` sums to 1: the outcome of requests that arrive during a stall.
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
        middles: Array = (np.arange(scenario.max_runs, dtype=np.float64) + 0.5) * scenario.interval
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
        # A request that arrives during a stall waits for its end: uniformly from 0 to all of it.
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
    """The factor on latencies at these times in seconds after the canary's first request."""
    found: Array = scenario.drift ** np.sin(2 * math.pi * seconds / DRIFT_SECONDS)
    return found


def _shares(
    latency: LatencyDistribution, edges: tuple[float, ...], level: float, errors: float
) -> Array:
    """The share of requests by bucket, for latencies `level` times the distribution's."""
    within = latency.within(np.array(edges) / level)
    timed = np.diff(within, prepend=0.0) * (1 - errors)
    # Beyond the top edge a request has passed the service's deadline: a timeout, so a fault.
    return np.array([*timed, 0.0, max(0.0, 1 - timed.sum())])
