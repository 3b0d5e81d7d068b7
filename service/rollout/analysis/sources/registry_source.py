"""Measuring, apart from judging: request counts of both arms since the last look."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from service.metrics import Metrics
from service.rollout.analysis.counters import (
    Counters,
    Counts,
    CountsByArm,
    KeyCounts,
    KeyCountsByArm,
)
from service.types import SHARES, Mode, RequestOutcome, Variant

FAULTS = (RequestOutcome.ERROR, RequestOutcome.TIMEOUT)
"""The version's fault: counted whatever they took."""

TIMED = (RequestOutcome.OK, RequestOutcome.CANCELLED)
"""Counted by their duration. A caller who left after a while had waited at least
that long: leaving those out would hide a canary so slow that nobody stays.
`INVALID` and `REJECTED` say nothing about a version and are left out."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Cumulative counts of the present pair of versions.

    `origin` names the counters' lifetime: another one has begun at zero.
    """

    origin: str
    stable: str
    canary: str
    counted: Counters


class EvidenceSource(Protocol):
    """Where counts come from: the process's own registry, or a server that keeps many."""

    @property
    def edges(self) -> tuple[float, ...]:
        """Upper bucket edges in seconds, without +Inf."""
        ...

    async def read(self, stable: str, canary: str) -> Snapshot:
        """Cumulative counts now. May raise anything: the look is then an `error`."""
        ...

    async def read_stable(self, stable: str) -> dict[str, Counts]:
        """Stable's cumulative requests alone, by mode, while there is no canary. May raise."""
        ...


class RegistrySource:
    """The in-process registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._origin = uuid.uuid4().hex

    @property
    def edges(self) -> tuple[float, ...]:
        return self._metrics.edges

    async def read(self, stable: str, canary: str) -> Snapshot:
        # Some 1500 counters: off the event loop, where requests are waiting.
        return await asyncio.to_thread(self._read, stable, canary)

    async def read_stable(self, stable: str) -> dict[str, Counts]:
        return await asyncio.to_thread(
            lambda: {m.value: self._requests(Variant.STABLE, stable, m) for m in Mode}
        )

    def _read(self, stable: str, canary: str) -> Snapshot:
        def by_mode(counts: Callable[[Variant, str, Mode], Counts]) -> dict[str, CountsByArm]:
            return {
                mode.value: CountsByArm(
                    counts(Variant.STABLE, stable, mode), counts(Variant.CANARY, canary, mode)
                )
                for mode in Mode
            }

        counted = Counters(
            requests=by_mode(self._requests),
            inference=by_mode(self._inference),
            keys=KeyCountsByArm(
                self._keys(Variant.STABLE, stable), self._keys(Variant.CANARY, canary)
            ),
        )
        return Snapshot(self._origin, stable, canary, counted)

    def _requests(self, variant: Variant, version: str, mode: Mode) -> Counts:
        def buckets(outcome: RequestOutcome) -> tuple[int, ...]:
            return _buckets(self._metrics.request_duration.labels(variant, version, mode, outcome))

        timed = [buckets(outcome) for outcome in TIMED]
        faults = [buckets(outcome) for outcome in FAULTS]
        return Counts(
            tuple(sum(column) for column in zip(*timed, strict=True)), sum(map(sum, faults))
        )

    def _inference(self, variant: Variant, version: str, mode: Mode) -> Counts:
        return Counts(_buckets(self._metrics.inference_duration.labels(variant, version, mode)))

    def _keys(self, variant: Variant, version: str) -> KeyCounts:
        by_share = _buckets(self._metrics.online_key_share.labels(variant, version))
        return KeyCounts(by_share[: len(SHARES)])  # none lies over the last one, 1


def _buckets(series: Any) -> tuple[int, ...]:
    """One histogram's counts, not cumulative over buckets."""
    cumulative = [
        int(sample.value)
        for metric in series.collect()
        for sample in metric.samples
        if sample.name.endswith("_bucket")
    ]
    return tuple(b - a for a, b in zip([0, *cumulative], cumulative, strict=False))


def since(before: Snapshot | None, now: Snapshot) -> Counters:
    """What is new in `now`. Raw differences, with reset detection.

    A counter that went down, or that has another origin, began again at zero:
    all it holds is new. Without a `before` of the same versions nothing is: the
    snapshot is then only where counting starts.
    """
    if before is None or (before.stable, before.canary) != (now.stable, now.canary):
        return Counters()
    if before.origin != now.origin:
        return now.counted
    return now.counted.since(before.counted)
