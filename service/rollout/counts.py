"""Requests counted by duration: what the guardrail judges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one arm in one stratum.

    `durations[i]` ended within bucket i, not cumulative, the last one being +Inf;
    `faults` ended in an error or a timeout and are in no bucket.
    """

    durations: tuple[int, ...]
    faults: int = 0

    @classmethod
    def none(cls, edges: Sequence[float]) -> Counts:
        """No requests yet."""
        return cls((0,) * (len(edges) + 1))

    @property
    def total(self) -> int:
        return sum(self.durations) + self.faults

    def over(self, edge: int) -> int:
        """How many took longer than edge number `edge`, or failed."""
        return sum(self.durations[edge + 1 :]) + self.faults

    def plus(self, other: Counts) -> Counts:
        added = tuple(a + b for a, b in zip(self.durations, other.durations, strict=True))
        return Counts(added, self.faults + other.faults)


@dataclass(frozen=True, slots=True)
class Arms:
    """Both arms' counts in one stratum, over the same time."""

    stable: Counts
    canary: Counts


def percentile_bucket(counts: Sequence[float], quantile: float) -> int:
    """The bucket that holds the percentile; `counts` must not be empty."""
    need = quantile * sum(counts)
    reached = 0.0
    for i, count in enumerate(counts):
        reached += count
        if reached >= need:
            return i
    return len(counts) - 1


def percentile(counts: Counts, edges: Sequence[float], quantile: float) -> float | None:
    """Seconds, for people and never for a verdict; None without data or in +Inf.

    Geometric interpolation within the bucket, whose edges are geometric too.
    """
    weights = [*counts.durations[:-1], counts.durations[-1] + counts.faults]
    if not sum(weights):
        return None
    i = percentile_bucket(weights, quantile)
    if i >= len(edges):
        return None
    if i == 0:
        return edges[0]
    inside = (quantile * sum(weights) - sum(weights[:i])) / weights[i]
    growth: float = (edges[i] / edges[i - 1]) ** inside
    return edges[i - 1] * growth
