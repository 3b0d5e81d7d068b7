"""Stable's requests before a rollout: what the guardrail interference compares with."""

from __future__ import annotations

import logging
from collections import deque

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.sources.registry_source import EvidenceSource

log = logging.getLogger(__name__)

WINDOW_SECONDS = 600.0
"""The baseline reaches back this far at least, once the service has run as long, and at
most twice as far: long enough for a percentile, short enough to be of today's load."""


class Baseline:
    """Kept in memory while no canary has traffic; a rollout takes it into its record."""

    def __init__(self, source: EvidenceSource) -> None:
        self._source = source
        self._stable: str | None = None
        self._marks: deque[tuple[float, dict[str, Counts]]] = deque()
        self._newest: dict[str, Counts] = {}

    async def look(self, stable: str, now: float) -> None:
        """Note the counters. One that cannot be read makes the baseline begin anew."""
        if stable != self._stable:
            self.forget()
            self._stable = stable
        try:
            counts = await self._source.read_stable(stable)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no baseline
            log.warning("stable's requests could not be counted before a rollout: %s", error)
            self._marks.clear()
            return
        while len(self._marks) > 1 and now - self._marks[1][0] >= WINDOW_SECONDS:
            self._marks.popleft()
        # Few marks are kept: one at the far end, and those that may follow it.
        if not self._marks or now - self._marks[-1][0] >= WINDOW_SECONDS / 10:
            self._marks.append((now, counts))
        self._newest = counts

    def forget(self) -> None:
        """A canary has traffic: what stable does now is not its past."""
        self._marks.clear()
        self._stable = None

    def counts(self, stable: str) -> dict[str, Counts]:
        """By request mode; empty where nothing is known of this version."""
        if stable != self._stable or not self._marks:
            return {}
        oldest = self._marks[0][1]
        return {
            mode: counts.since(oldest[mode]) if mode in oldest else counts
            for mode, counts in self._newest.items()
        }
