"""Counters from this process's own Prometheus registry."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from service.metrics import Metrics
from service.rollout.analysis.counters import (
    Counters,
    Counts,
    CountsByArm,
    KeyCounts,
    KeyCountsByArm,
)
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.types import FAULTS, SHARES, Mode, Variant


class RegistrySource:
    """An `EvidenceSource` that reads the in-process registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._origin = uuid.uuid4().hex

    @property
    def edges(self) -> tuple[float, ...]:
        return self._metrics.edges

    async def read(self, stable: str, canary: str) -> Snapshot:
        # Some 1500 values: off the event loop, where requests are waiting.
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

        counters = Counters(
            requests=by_mode(self._requests),
            inference=by_mode(self._inference),
            keys=KeyCountsByArm(
                self._keys(Variant.STABLE, stable), self._keys(Variant.CANARY, canary)
            ),
        )
        return Snapshot(self._origin, stable, canary, counters)

    def _requests(self, variant: Variant, version: str, mode: Mode) -> Counts:
        durations = self._metrics.request_duration.labels(variant, version, mode)
        faults = (self._metrics.requests.labels(variant, version, mode, each) for each in FAULTS)
        return Counts(tuple(durations.counts), sum(map(_count, faults)))

    def _inference(self, variant: Variant, version: str, mode: Mode) -> Counts:
        return Counts(tuple(self._metrics.inference_duration.labels(variant, version, mode).counts))

    def _keys(self, variant: Variant, version: str) -> KeyCounts:
        by_share = self._metrics.quality.key_share.labels(variant, version).counts
        return KeyCounts(
            tuple(by_share[: len(SHARES)])
        )  # the last share is 1, so none lies above it


def _count(series: Any) -> int:
    """One counter's value."""
    return sum(
        int(sample.value)
        for metric in series.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )
