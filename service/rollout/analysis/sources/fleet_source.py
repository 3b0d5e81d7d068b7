"""Counters of all replicas, from the reports that they share.

Every process reports its cumulative counts since it follows the current split. So the sum over
all processes starts at zero with every split, and only grows while the split stays: a process
that dies leaves its last report behind, and a new one starts at zero. Whoever leads reads the
same sum, so a change of leader loses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import reduce

from service.errors import NextvecError
from service.rollout.analysis.counters import Counters, Counts
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_report import EvidenceReport
from service.rollout.analysis.sources.evidence_reporter import EvidenceReporter
from service.rollout.analysis.sources.evidence_source import Snapshot


class FleetEvidenceError(NextvecError):
    """The replicas' reports are no evidence. The text says why."""

    code = "evidence"


class FleetSource:
    """An `EvidenceSource` over all replicas' reports."""

    def __init__(
        self,
        reporter: EvidenceReporter,
        send: Callable[[EvidenceReport], Awaitable[None]],
        reports: Callable[[str], Awaitable[Mapping[str, EvidenceReport]]],
    ) -> None:
        """`reporter` is this process, `send` shares its report, and `reports` returns those of
        all processes under a split, by process. `living` is set later: the processes that
        are there."""
        self._reporter = reporter
        self._send = send
        self._reports = reports
        self.living: Callable[[], Collection[str]] | None = None
        self._stable: str | None = None
        self._last: dict[str, dict[str, Counts]] = {}
        self._total: dict[str, Counts] = {}

    @property
    def edges(self) -> tuple[float, ...]:
        return self._reporter.edges

    async def read(self, stable: str, canary: str) -> Snapshot:
        """Raises `FleetEvidenceError`, and `StoreError` if the reports cannot be read."""
        reports = await self._current(stable)
        shadows = [report.shadow for report in reports.values() if report.shadow is not None]
        return Snapshot(
            next(iter(reports.values())).split,
            stable,
            canary,
            reduce(Counters.plus, (report.counters for report in reports.values())),
            reduce(ShadowStats.plus, shadows) if shadows else None,
            tuple(sorted(reports if self.living is None else set(reports) & {*self.living()})),
        )

    async def read_stable(self, stable: str) -> dict[str, Counts]:
        """Stable's requests since this process first asked for this version. Raises as `read`."""
        reports = await self._current(stable)
        if stable != self._stable:
            self._stable, self._last, self._total = stable, {}, {}
        for process, report in reports.items():
            last = self._last.get(process, report.stable)
            for mode, counts in report.stable.items():
                new = counts.since(last[mode]) if mode in last else counts
                self._total[mode] = self._total[mode].plus(new) if mode in self._total else new
            self._last[process] = report.stable
        return dict(self._total)

    async def _current(self, stable: str) -> Mapping[str, EvidenceReport]:
        split = self._reporter.split
        if split is None or split.stable != stable:
            raise FleetEvidenceError("this replica has not counted under the current split yet")
        await self._send(await self._reporter.report())
        reports = await self._reports(split.name)
        for process, report in reports.items():
            if report.edges != self.edges:
                raise FleetEvidenceError(
                    f"the process {process} counts in other buckets; do all replicas run the same "
                    "version with the same limits.timeout_seconds?"
                )
        return reports
