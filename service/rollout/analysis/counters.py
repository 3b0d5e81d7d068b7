"""Requests and predictions counted by duration, and routing keys by hits: the evidence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add, sub

from service.types import SHARES


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one arm in one stratum.

    `durations[i]` is how many ended in bucket i, not cumulative; the last bucket is +Inf.
    `faults` ended in an error or a timeout and are in no bucket.
    """

    durations: tuple[int, ...]
    faults: int = 0

    @classmethod
    def zero(cls, edges: Sequence[float]) -> Counts:
        """No requests yet."""
        return cls((0,) * (len(edges) + 1))

    @property
    def total(self) -> int:
        return sum(self.durations) + self.faults

    def slower_than(self, edge: int) -> int:
        """How many took longer than edge number `edge`, or failed."""
        return sum(self.durations[edge + 1 :]) + self.faults

    def plus(self, other: Counts) -> Counts:
        added = tuple(map(add, self.durations, other.durations))
        return Counts(added, self.faults + other.faults)

    def since(self, before: Counts) -> Counts:
        """What a cumulative count has gained; all of it if it restarted from zero."""
        durations = tuple(map(sub, self.durations, before.durations))
        faults = self.faults - before.faults
        return self if faults < 0 or min(durations) < 0 else Counts(durations, faults)


@dataclass(frozen=True, slots=True)
class CountsByArm:
    """Both arms' counts in one stratum, over the same time."""

    stable: Counts
    canary: Counts

    def plus(self, other: CountsByArm) -> CountsByArm:
        return CountsByArm(self.stable.plus(other.stable), self.canary.plus(other.canary))

    def since(self, before: CountsByArm) -> CountsByArm:
        return CountsByArm(self.stable.since(before.stable), self.canary.since(before.canary))

    def zero(self) -> CountsByArm:
        """The same buckets without requests."""
        empty = Counts((0,) * len(self.stable.durations))
        return CountsByArm(empty, empty)


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """One arm's routing keys by their share of hits: `counts[i]` keys had `SHARES[i]`."""

    counts: tuple[int, ...] = (0,) * len(SHARES)

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def hits(self) -> float:
        """The sum of the keys' shares."""
        return sum(n * share for n, share in zip(self.counts, SHARES, strict=True))

    @property
    def mean(self) -> float | None:
        return self.hits / self.total if self.total else None

    def plus(self, other: KeyCounts) -> KeyCounts:
        return KeyCounts(tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)))

    def since(self, before: KeyCounts) -> KeyCounts:
        """What a cumulative count has gained; all of it if it restarted from zero."""
        new = tuple(b - a for a, b in zip(before.counts, self.counts, strict=True))
        return self if any(n < 0 for n in new) else KeyCounts(new)


@dataclass(frozen=True, slots=True)
class KeyCountsByArm:
    """Both arms' keys, over the same time."""

    stable: KeyCounts = KeyCounts()
    canary: KeyCounts = KeyCounts()

    def plus(self, other: KeyCountsByArm) -> KeyCountsByArm:
        return KeyCountsByArm(self.stable.plus(other.stable), self.canary.plus(other.canary))

    def since(self, before: KeyCountsByArm) -> KeyCountsByArm:
        return KeyCountsByArm(self.stable.since(before.stable), self.canary.since(before.canary))


@dataclass(frozen=True, slots=True)
class Counters:
    """All counts the guardrails judge by: cumulative, or gained since an analysis run.

    `requests`: whole requests by mode. `inference`: their predictions by time in the
    engine, without faults. `keys`: routing keys by the quality of their predictions. A
    new kind of evidence is one more field that can be subtracted.
    """

    requests: dict[str, CountsByArm] = field(default_factory=dict)
    inference: dict[str, CountsByArm] = field(default_factory=dict)
    keys: KeyCountsByArm = KeyCountsByArm()

    def plus(self, other: Counters) -> Counters:
        """The counters of two processes together."""
        return Counters(
            requests=_plus(self.requests, other.requests),
            inference=_plus(self.inference, other.inference),
            keys=self.keys.plus(other.keys),
        )

    def since(self, before: Counters) -> Counters:
        """What cumulative counters have gained. A mode that was not there before is new."""
        return Counters(
            requests=_since(before.requests, self.requests),
            inference=_since(before.inference, self.inference),
            keys=self.keys.since(before.keys),
        )


def percentile_bucket(counts: Sequence[float], quantile: float) -> int:
    """The number of the bucket that holds the percentile; `counts` must not be empty."""
    need = quantile * sum(counts)
    reached = 0.0
    for i, count in enumerate(counts):
        reached += count
        if reached >= need:
            return i
    return len(counts) - 1


def percentile(counts: Counts, edges: Sequence[float], quantile: float) -> float | None:
    """The percentile in seconds, for people and never for a verdict.

    None without data, or in the +Inf bucket. The interpolation within a bucket is
    geometric, like the edges.
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


def _plus(a: dict[str, CountsByArm], b: dict[str, CountsByArm]) -> dict[str, CountsByArm]:
    return {**a, **{mode: a[mode].plus(arms) if mode in a else arms for mode, arms in b.items()}}


def _since(before: dict[str, CountsByArm], now: dict[str, CountsByArm]) -> dict[str, CountsByArm]:
    return {
        mode: arms.since(before[mode]) if mode in before else arms for mode, arms in now.items()
    }
