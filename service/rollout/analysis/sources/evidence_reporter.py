"""What this process has counted since it follows a split."""

from __future__ import annotations

from collections.abc import Callable

from service.rollout.analysis.counters import Counters
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_report import EvidenceReport
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.routing.traffic_split import TrafficSplit


class EvidenceReporter:
    """Counts from the moment at which this process knows a split.

    Requests that ended between the change of the split and that moment are in no report. So no
    report mixes the counts of two weights.
    """

    def __init__(
        self, source: EvidenceSource, take_shadow_stats: Callable[[], ShadowStats] | None = None
    ) -> None:
        """`source` counts this process alone. `take_shadow_stats` returns the statistics of
        shadow copies since its last call."""
        self._source = source
        self._take_shadow_stats = take_shadow_stats
        self._split: TrafficSplit | None = None
        self._before = Counters()
        self._shadow: ShadowStats | None = None

    @property
    def split(self) -> TrafficSplit | None:
        """The split that is counted; None before the first."""
        return self._split

    @property
    def edges(self) -> tuple[float, ...]:
        """The upper bucket edges in seconds, without +Inf."""
        return self._source.edges

    async def follow(self, split: TrafficSplit) -> None:
        """Count from now on under `split`; nothing happens if it is followed already."""
        if split == self._split:
            return
        snapshot = await self._read(split)
        self._split, self._before = split, snapshot
        self._shadow = None if self._take_shadow_stats is None else ShadowStats(self.edges)
        if self._take_shadow_stats is not None:
            self._take_shadow_stats()

    async def report(self) -> EvidenceReport:
        """The counts so far. `follow` comes first."""
        split = self._split
        assert split is not None
        counters = await self._read(split)
        stable = await self._source.read_stable(split.stable)
        if self._take_shadow_stats is not None and self._shadow is not None:
            self._shadow = self._shadow.plus(self._take_shadow_stats())
        return EvidenceReport(
            split.name, self.edges, counters.since(self._before), stable, self._shadow
        )

    async def _read(self, split: TrafficSplit) -> Counters:
        # Without a canary, its counts are those of a variant that nobody has: zero.
        return (await self._source.read(split.stable, split.canary or split.stable)).counters
