"""The rollout's shell: its life, its looks, and what may be read of it.

It is the only ticker. What a person asks is in `verbs`, how a record moves in
`machine`, how a canary gets ready in `loading`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from service.clock import Clock
from service.metrics import Metrics
from service.rollout.analysis.baseline import Baseline
from service.rollout.analysis.run import run_analysis
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.change_handler import ChangeHandler, run_to_completion
from service.rollout.controller.executor import RolloutExecutor
from service.rollout.controller.versions import VersionsPort
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficRouter
from service.rollout.state.audit import AuditRow
from service.rollout.state.events import LIVE, Phase, Tick
from service.rollout.storage.recovery import recover
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)


class Controller(ChangeHandler):
    """One per service. `stable` is the configured version, used until a promotion is
    recorded; `plan` is that of a start which brings none; `on_record` is called when the
    audit log has grown; `shadows` is what `measure` takes."""

    def __init__(  # noqa: PLR0913 - the composition root hands in every part by name
        self,
        *,
        traffic: TrafficRouter,
        versions: VersionsPort,
        evidence: EvidenceSource,
        store: RolloutStore,
        metrics: Metrics,
        clock: Clock,
        stable: str,
        plan: RolloutPlan,
        interval_seconds: float,
        on_record: Callable[[], None] = lambda: None,
        shadows: Callable[[], ShadowStats] | None = None,
    ) -> None:
        baseline = Baseline(evidence)
        machine = RolloutExecutor(
            traffic=traffic,
            store=store,
            metrics=metrics,
            clock=clock,
            stable=stable,
            on_record=on_record,
        )
        super().__init__(
            machine,
            CanaryLoader(machine, versions, metrics, clock, evidence, baseline),
            traffic=traffic,
            versions=versions,
            store=store,
            clock=clock,
            plan=plan,
        )
        self._evidence = evidence
        self._baseline = baseline
        self._shadows = shadows
        self._configured = stable
        self._interval = interval_seconds
        self._started_at = clock.time()
        self._closing = asyncio.Event()

    # --- life ---

    async def start(self) -> None:
        """Take up where the record ends; sets the traffic.

        Raises `VersionError` or `NotFound` when stable cannot be served, and
        `StoreError` when the file cannot be opened at all. A file that opens and
        cannot be read is kept aside: everything then goes to stable.
        """
        self._started_at = self._clock.time()
        record = await asyncio.to_thread(recover, self._store, self._configured, self._started_at)
        self._machine.stand_at(record)
        rollout = self._machine.rollout
        await self._versions.prepare(rollout.stable)
        self._loader.expect(rollout)
        async with self._machine.lock:
            if rollout.phase is Phase.ABORTING:
                await self._machine.enter(rollout, [], [])
            elif rollout.phase in LIVE | {Phase.PROMOTING}:
                failed = await self._loader.prepare(rollout)
                if failed is not None:
                    await self._machine.apply(failed)
                elif rollout.phase is Phase.PROMOTING:
                    await self._machine.enter(rollout, [], [])
            self._machine.direct()
            self._machine.publish()
        if rollout.phase is Phase.PENDING:
            self._loader.begin()

    async def run(self) -> None:
        """A look every interval, until `close`. A look that raises is logged; the
        next one is taken all the same."""
        while not self._closing.is_set():
            try:
                await self.tick()
            except Exception:
                log.exception("a look at the evidence failed; the next follows")
            try:
                await asyncio.wait_for(self._closing.wait(), self._interval)
            except TimeoutError:
                continue

    def close_subscriptions(self) -> None:
        """End the subscriptions; rollouts go on."""
        self._machine.feed.close()

    async def close(self) -> None:
        """End `run` and the subscribers, and let go of the store's file."""
        self._closing.set()
        await self._loader.close()
        async with self._machine.lock:
            self._machine.feed.close()
            await asyncio.to_thread(self._store.close)

    # --- looking ---

    async def tick(self) -> None:
        """One look: measure, judge, move. Never half done, even if it is cancelled."""
        await run_to_completion(self._tick())

    async def _tick(self) -> None:
        before = self._machine.record
        phase = before.rollout.phase
        if phase is Phase.PENDING and self._loader.idle:
            self._loader.begin()
        now = self._clock.time()
        if phase not in LIVE:
            await self._baseline.observe(before.rollout.stable, now)
            async with self._machine.lock:
                if not self._machine.recorded and not self._closing.is_set():
                    await self._machine.keep([])
            return
        self._baseline.forget()
        measured, verdict, requests = await run_analysis(
            self._evidence,
            before,
            now=now,
            started_at=self._started_at,
            take_shadow_stats=self._shadows,
        )
        async with self._machine.lock:
            if self._machine.record is not before or self._closing.is_set():
                return  # measured across a change: the next look counts it instead
            self._machine.record, self._machine.verdict = measured, verdict
            await self._machine.apply(Tick(verdict, requests), now=now)
            self._machine.publish()
            self._machine.feed.send("look", self.status())

    # --- reading ---

    @property
    def generation(self) -> int:
        """Rises with every transition: the `ETag`."""
        return self._machine.rollout.generation

    def status(self) -> dict[str, object]:
        """See `service.rollout.controller.status`."""
        return self._machine.status()

    async def history(self, limit: int = 100) -> list[AuditRow]:
        """The audit log, newest first. Raises `StoreError`."""
        return await asyncio.to_thread(self._store.history, limit)

    def subscribe(self) -> AsyncIterator[dict[str, object]]:
        """The present status, then every look and transition, until `close`."""
        return self._machine.feed.subscribe(lambda: {"event": "status", "data": self.status()})

    async def prepared(self) -> None:
        """Wait for the load that a start or an undo began."""
        await self._loader.wait()
