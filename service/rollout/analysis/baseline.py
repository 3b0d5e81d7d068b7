"""Stable's requests before a rollout, which the guardrail `interference` compares with."""

from __future__ import annotations

import logging
from collections import deque

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.sources.evidence_source import EvidenceSource

log = logging.getLogger(__name__)

WINDOW_SECONDS = 600.0
"""The baseline covers at least this long, once the service has run for as long, and at most
twice as long: enough for a percentile, and recent enough to reflect the current load."""


class Baseline:
    """Stable's counters over the window, kept in memory while no canary has traffic."""

    def __init__(self, source: EvidenceSource) -> None:
        self._source = source
        self._stable: str | None = None
        self._marks: deque[tuple[float, dict[str, Counts]]] = deque()
        self._newest: dict[str, Counts] = {}

    async def observe(self, stable: str, now: float) -> None:
        """Read the counters. If they cannot be read, the baseline starts again.

        `now` is in seconds of a monotonic clock.
        """
        if stable != self._stable:
            self.forget()
            self._stable = stable
        try:
            counts = await self._source.read_stable(stable)
        except Exception as error:  # noqa: BLE001 - without counts there is no baseline
            log.warning("cannot read stable's counters before a rollout: %s", error)
            self._marks.clear()
            return
        while len(self._marks) > 1 and now - self._marks[1][0] >= WINDOW_SECONDS:
            self._marks.popleft()
        # Few marks are enough: one at the far end, and those that may replace it.
        if not self._marks or now - self._marks[-1][0] >= WINDOW_SECONDS / 10:
            self._marks.append((now, counts))
        self._newest = counts

    def forget(self) -> None:
        """Start again: a canary has traffic, so stable's requests are no longer its past."""
        self._marks.clear()
        self._stable = None

    def counts(self, stable: str) -> dict[str, Counts]:
        """The counts by request mode; empty if nothing is known about this version."""
        if stable != self._stable or not self._marks:
            return {}
        oldest = self._marks[0][1]
        return {
            mode: counts.since(oldest[mode]) if mode in oldest else counts
            for mode, counts in self._newest.items()
        }
