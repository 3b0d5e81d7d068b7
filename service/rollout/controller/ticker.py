"""The only ticker: it runs the analysis in every interval and applies its result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from service.clock import Clock
from service.observability.tracing import TraceRecorder
from service.rollout.analysis.baseline import Baseline
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.controller.analysis_run import run_analysis
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.completion import run_to_completion
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.fleet_role import FleetRole
from service.rollout.controller.weight_lease import UNEVALUATED_INTERVALS
from service.rollout.notifications.event_feed import EventFeed
from service.rollout.state.events import LIVE, Phase, TrafficSwitch
from service.rollout.storage.errors import RecordConflict, StoreError
from service.rollout.storage.fleet_store import LEASE_SECONDS

log = logging.getLogger(__name__)


class Ticker:
    """Measures and applies, until `stop`.

    `take_shadow_stats` returns the statistics of shadow copies since its last call.
    """

    def __init__(  # noqa: PLR0913 - the controller passes every collaborator by name
        self,
        executor: ChangeExecutor,
        loader: CanaryLoader,
        *,
        evidence: EvidenceSource,
        baseline: Baseline,
        feed: EventFeed,
        clock: Clock,
        interval_seconds: float,
        role: FleetRole,
        take_shadow_stats: Callable[[], ShadowStats] | None = None,
        traces: TraceRecorder | None = None,
    ) -> None:
        self._role = role
        self._due = asyncio.Event()
        self._executor = executor
        self._loader = loader
        self._evidence = evidence
        self._baseline = baseline
        self._feed = feed
        self._clock = clock
        self._interval = interval_seconds
        self._take_shadow_stats = take_shadow_stats
        self._traces = traces or TraceRecorder()
        self._started = clock.monotonic()
        self._stopping = False

    def begin(self) -> None:
        """Note that the process starts now: traffic settles from now on."""
        self._started = self._clock.monotonic()

    async def run(self) -> None:
        """Tick in every interval until `stop`. A tick that raises is logged; ticks continue."""
        while not self._stopping:
            try:
                await self.tick()
            except RecordConflict:
                log.info("another replica has changed the rollout; the next run starts from there")
            except StoreError as error:
                log.error("the analysis failed; the next run follows: %s", error)  # noqa: TRY400  its text says all
            except Exception:
                log.exception("the analysis failed; the next run follows")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), self._interval)
            self._due.clear()

    def hurry(self) -> None:
        """Let the next tick of `run` come now: this replica has taken the lead."""
        self._due.set()

    def stop(self) -> None:
        """End `run`, and let no tick that is under way change anything."""
        self._stopping = True
        self._due.set()

    async def tick(self) -> None:
        """Measure, assess and apply once. Runs to its end even if the caller is cancelled."""
        await run_to_completion(self._tick())

    async def _tick(self) -> None:
        phase = self._executor.rollout.phase
        if phase is Phase.PENDING and self._loader.idle:
            self._loader.begin()
        if phase in LIVE and self._role.leads:
            await self._analyse()
        elif phase is Phase.PROMOTING and self._role.shared and self._role.leads:
            await self._finish_promotion()
        elif phase in LIVE:
            self._baseline.forget()
        else:
            await self._observe_stable()

    async def _analyse(self) -> None:
        with self._traces.root("rollout analysis"):
            await self._analyse_traced()

    async def _analyse_traced(self) -> None:
        async with self._executor.lock:
            self._executor.follow_clock()
            if self._role.shared:
                self._executor.skip_gap(max(UNEVALUATED_INTERVALS * self._interval, LEASE_SECONDS))
        now, uptime = self._clock.time(), self._clock.monotonic() - self._started
        before, epoch = self._executor.record, self._role.epoch
        self._baseline.forget()
        result = await run_analysis(
            self._evidence,
            before,
            now=now,
            started_at=now - uptime,
            take_shadow_stats=self._take_shadow_stats,
        )
        async with self._executor.lock:
            if self._executor.record is not before or self._stopping or not self._role.leads:
                return  # measured across a change: the next run counts these requests
            # At the time of the measurement, so that a step that starts with it has a whole
            # first interval.
            await self._executor.apply(result, now=now, epoch=epoch)
            self._executor.publish_gauges()
            self._feed.send("look", self._executor.status())

    async def _finish_promotion(self) -> None:
        """The replica that promoted was killed between the two records of a promotion."""
        async with self._executor.lock:
            if self._executor.rollout.phase is Phase.PROMOTING and not self._stopping:
                await self._executor.apply(TrafficSwitch(), epoch=self._role.epoch)

    async def _observe_stable(self) -> None:
        """Without a canary in traffic: note stable's counters, and retry an unsaved record."""
        await self._baseline.observe(self._executor.rollout.stable, self._clock.monotonic())
        async with self._executor.lock:
            if not self._executor.recorded and not self._stopping:
                await self._executor.retry_save()
