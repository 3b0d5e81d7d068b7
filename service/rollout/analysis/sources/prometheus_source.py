"""Counters from a Prometheus server that scrapes one or many of these services.

Raw counters are read and subtracted here. `increase()` would extrapolate to whole windows,
lose the first increment of a series, and return fractions.

The server's counters are cumulative per scraped target, and targets appear, disappear and
restart. So this source keeps the last reading of each target and adds up the increments:

- the first reading of a pair of versions, and the first of a target, only mark where
  counting starts, because older counts were made at other weights;
- a target of which any of stable's buckets went down has restarted, so all it holds is new;
- if only the canary's went down, the target has loaded the canary again, so all of the
  canary's is new;
- a target that is missing for a while continues from where it was.

Both arms of a target come from one scrape, so they cover the same time. A response that is
late, empty, partial or not made of counts is an error, never a number. The analysis is then
an `error`, which neither passes nor fails.
"""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Mapping, Sequence

from service.rollout.analysis.counters import (
    Counters,
    Counts,
    CountsByArm,
    KeyCounts,
    KeyCountsByArm,
)
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.analysis.sources.prometheus_api import PrometheusApi
from service.rollout.analysis.sources.prometheus_response import (
    FAULT_METRIC,
    INFERENCE_METRIC,
    KEY_METRIC,
    REQUEST_METRIC,
    Reading,
    Series,
    counters_query,
    parse_response,
    require_both_arms,
    stable_query,
)
from service.types import FAULTS, SHARES, Mode, Variant


class PrometheusSource:
    """An `EvidenceSource` that sums a server's counters over targets.

    `matchers` are PromQL label matchers such as `job="nextvec"` that exclude the services
    of another fleet.
    """

    def __init__(
        self,
        url: str,
        edges: Sequence[float],
        *,
        matchers: str = "",
        timeout_seconds: float = 5.0,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._api = PrometheusApi(url, timeout_seconds=timeout_seconds, token=token, tls=tls)
        self._edges = tuple(edges)
        self._matchers = matchers
        self._totals = _IncrementTotals(self._edges)
        self._versions: tuple[str, str] | None = None

    @property
    def edges(self) -> tuple[float, ...]:
        return self._edges

    async def read(self, stable: str, canary: str) -> Snapshot:
        """Raises `EvidenceError`, and then keeps what was counted before."""
        body = await self._api.query(counters_query(stable, canary, self._matchers))
        # Off the event loop: a response has megabytes.
        reading = await asyncio.to_thread(parse_response, body, self._edges)
        require_both_arms(reading, stable, canary)
        if self._versions != (stable, canary):
            self._versions = (stable, canary)
            self._totals = _IncrementTotals(self._edges)
        counters = await asyncio.to_thread(self._totals.add, reading)
        return Snapshot(self._totals.origin, stable, canary, counters)

    async def read_stable(self, stable: str) -> dict[str, Counts]:
        """All that the targets have counted since they started. Raises `EvidenceError`."""
        body = await self._api.query(stable_query(stable, self._matchers))
        reading = await asyncio.to_thread(parse_response, body, self._edges)
        return await asyncio.to_thread(_IncrementTotals(self._edges).stable_requests, reading)


class _IncrementTotals:
    """The increments of all targets since a first reading."""

    def __init__(self, edges: Sequence[float]) -> None:
        # Unique, because new totals start from zero.
        self.origin = uuid.uuid4().hex
        self._zero = (0,) * (len(edges) + 1)
        self._last: Reading = {}
        self._totals: dict[Series, tuple[int, ...]] = {}

    def add(self, reading: Reading) -> Counters:
        """Add a reading's increments; returns what all readings so far have added."""
        for target, now in reading.items():
            last = self._last.get(target)
            if last is None:
                self._last[target] = now
                continue
            kept = {name: old for name, old in last.items() if name[1] not in _reset(last, now)}
            for name, counts in now.items():
                # A series that a known target did not have has since started from zero.
                old = kept.get(name, (0,) * len(counts))
                self._add(name, tuple(b - a for a, b in zip(old, counts, strict=True)))
            self._last[target] = kept | now
        return Counters(
            requests={
                mode.value: CountsByArm(
                    self._requests(Variant.STABLE, mode), self._requests(Variant.CANARY, mode)
                )
                for mode in Mode
            },
            inference={
                mode.value: CountsByArm(
                    Counts(self._total(INFERENCE_METRIC, Variant.STABLE, mode)),
                    Counts(self._total(INFERENCE_METRIC, Variant.CANARY, mode)),
                )
                for mode in Mode
            },
            keys=KeyCountsByArm(self._keys(Variant.STABLE), self._keys(Variant.CANARY)),
        )

    def stable_requests(self, reading: Reading) -> dict[str, Counts]:
        """Stable's requests in one reading, over all targets, by mode."""
        for now in reading.values():
            for name, counts in now.items():
                self._add(name, counts)
        return {mode.value: self._requests(Variant.STABLE, mode) for mode in Mode}

    def _add(self, name: Series, counts: tuple[int, ...]) -> None:
        totals = self._totals.get(name, (0,) * len(counts))
        self._totals[name] = tuple(t + n for t, n in zip(totals, counts, strict=True))

    def _requests(self, variant: Variant, mode: Mode) -> Counts:
        faults = (sum(self._total(FAULT_METRIC, variant, mode, outcome)) for outcome in FAULTS)
        return Counts(self._total(REQUEST_METRIC, variant, mode), sum(faults))

    def _keys(self, variant: Variant) -> KeyCounts:
        counts = self._totals.get((KEY_METRIC, variant.value, "", ""))
        return KeyCounts(counts[: len(SHARES)]) if counts else KeyCounts()

    def _total(
        self, metric: str, variant: Variant, mode: Mode, outcome: str = ""
    ) -> tuple[int, ...]:
        return self._totals.get((metric, variant.value, mode.value, str(outcome)), self._zero)


def _reset(
    last: Mapping[Series, tuple[int, ...]], now: Mapping[Series, tuple[int, ...]]
) -> set[str]:
    """The variants whose counts a target began again between two readings."""
    reset = {name[1] for name in last.keys() & now.keys() if _decreased(last[name], now[name])}
    # Stable is never unloaded: the process has restarted, even if the canary's counts are
    # already higher than before.
    return {*Variant} if Variant.STABLE in reset else reset


def _decreased(before: tuple[int, ...], now: tuple[int, ...]) -> bool:
    return any(b < a for a, b in zip(before, now, strict=True))
