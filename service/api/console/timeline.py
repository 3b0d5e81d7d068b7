"""The past minutes of the rollout, for the console's charts: bounded, in memory.

A point has each variant's percentiles and request rate over the last `WINDOW_SECONDS`, as this
process counted them. Nothing here is evidence: guardrails have their own counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from functools import reduce

from service.clock import Clock
from service.rollout.analysis.counters import Counts, percentile
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.routing.traffic_split import BASIS_POINTS, TrafficRouter, TrafficSplit

logger = logging.getLogger(__name__)

MAX_POINTS = 720
"""An hour, if points are 5 s apart."""

WINDOW_SECONDS = 30.0
"""Time over which a point's figures are computed."""

_QUANTILES = {"p50_seconds": 0.5, "p95_seconds": 0.95, "p99_seconds": 0.99}

TimelinePoint = dict[str, object]
"""One point as JSON; times in epoch seconds."""


@dataclass(frozen=True, slots=True)
class _CountTotals:
    """Cumulative counts of all modes together, at `at` monotonic seconds."""

    at: float
    versions: tuple[str, str | None]
    stable: Counts
    canary: Counts | None


class Timeline:
    """Reads the counts every `interval_seconds` and keeps the last `MAX_POINTS` points."""

    def __init__(
        self,
        source: EvidenceSource,
        traffic: TrafficRouter,
        clock: Clock,
        interval_seconds: float,
    ) -> None:
        self._source = source
        self._traffic = traffic
        self._clock = clock
        self._interval = interval_seconds
        self._readings: deque[_CountTotals] = deque()
        self._points: deque[TimelinePoint] = deque(maxlen=MAX_POINTS)

    async def run(self) -> None:
        """Add a point in every interval until cancelled. A failure is logged; points continue."""
        while True:
            try:
                await self.observe()
            except Exception:
                logger.exception("the timeline could not be continued; the next point follows")
            await asyncio.sleep(self._interval)

    async def observe(self) -> None:
        """Read the counts and add a point."""
        split = self._traffic.current
        now = self._clock.monotonic()
        reading = await self._read(split, now)
        if self._readings and self._readings[-1].versions != reading.versions:
            self._readings.clear()
        self._readings.append(reading)
        while len(self._readings) > 2 and self._readings[1].at <= now - WINDOW_SECONDS:
            self._readings.popleft()
        self._points.append(self._point(split, self._readings[0], reading))

    def to_json(self, since: float = 0.0) -> dict[str, object]:
        """The points after `since` (epoch seconds), oldest first."""
        return {
            "interval_seconds": self._interval,
            "window_seconds": WINDOW_SECONDS,
            "points": [point for point in self._points if _at(point) > since],
        }

    async def _read(self, split: TrafficSplit, now: float) -> _CountTotals:
        if split.canary is None:
            stable = await self._source.read_stable(split.stable)
            return _CountTotals(now, (split.stable, None), _total(list(stable.values())), None)
        snapshot = await self._source.read(split.stable, split.canary)
        arms = list(snapshot.counters.requests.values())
        return _CountTotals(
            now,
            (split.stable, split.canary),
            _total([each.stable for each in arms]),
            _total([each.canary for each in arms]),
        )

    def _point(self, split: TrafficSplit, first: _CountTotals, last: _CountTotals) -> TimelinePoint:
        seconds = last.at - first.at
        canary = None
        if last.canary is not None and first.canary is not None:
            canary = self._figures(last.canary.since(first.canary), seconds)
        return {
            "at": self._clock.time(),
            "weight_percent": 100 * split.weight_bp / BASIS_POINTS,
            "stable": self._figures(last.stable.since(first.stable), seconds),
            "canary": canary,
        }

    def _figures(self, gained: Counts, seconds: float) -> dict[str, float | None]:
        rate = gained.total / seconds if seconds > 0 else None
        quantiles = {
            name: percentile(gained, self._source.edges, quantile)
            for name, quantile in _QUANTILES.items()
        }
        return {"requests_per_second": rate, **quantiles}


def _total(counts: list[Counts]) -> Counts:
    return reduce(Counts.plus, counts)


def _at(point: TimelinePoint) -> float:
    at = point["at"]
    assert isinstance(at, float)
    return at
