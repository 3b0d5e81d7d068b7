"""Requests counted by duration: what the guardrail judges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add, sub


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
        added = tuple(map(add, self.durations, other.durations))
        return Counts(added, self.faults + other.faults)

    def since(self, before: Counts) -> Counts:
        """What was added to a cumulative count; all of it if it began again at zero."""
        durations = tuple(map(sub, self.durations, before.durations))
        faults = self.faults - before.faults
        return self if faults < 0 or min(durations) < 0 else Counts(durations, faults)


@dataclass(frozen=True, slots=True)
class Arms:
    """Both arms' counts in one stratum, over the same time."""

    stable: Counts
    canary: Counts

    def plus(self, other: Arms) -> Arms:
        return Arms(self.stable.plus(other.stable), self.canary.plus(other.canary))

    def since(self, before: Arms) -> Arms:
        return Arms(self.stable.since(before.stable), self.canary.since(before.canary))

    def blank(self) -> Arms:
        """As many buckets, no requests."""
        empty = Counts((0,) * len(self.stable.durations))
        return Arms(empty, empty)


@dataclass(frozen=True, slots=True)
class Counted:
    """All that guardrails judge by: cumulative, or what is new since a look.

    `requests`: whole requests, by mode; `inference`: their predictions by the time in
    the engine, without faults. Another kind of evidence is another field, whatever a
    guardrail needs of it, as long as it can be subtracted.
    """

    requests: dict[str, Arms] = field(default_factory=dict)
    inference: dict[str, Arms] = field(default_factory=dict)

    def since(self, before: Counted) -> Counted:
        """What was added. A mode that was not there before is new."""
        return Counted(
            requests=_since(before.requests, self.requests),
            inference=_since(before.inference, self.inference),
        )


def _since(before: dict[str, Arms], now: dict[str, Arms]) -> dict[str, Arms]:
    return {
        mode: arms.since(before[mode]) if mode in before else arms for mode, arms in now.items()
    }


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
