"""Getting a canary ready: loaded, as good as its manifest says, and in the metrics."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from service.clock import Clock
from service.errors import NextvecError
from service.metrics import Metrics
from service.rollout.analysis.baseline import Baseline
from service.rollout.analysis.run import start_analysis
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.controller.executor import RolloutExecutor
from service.rollout.controller.versions import VersionsPort
from service.rollout.plan import gate
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.events import FINAL, LoadFailure, LoadSuccess, Reason
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import StoreError
from service.types import Variant

log = logging.getLogger(__name__)


class CanaryLoader:
    """Loads in the background what a start, a retry or an undo asks for."""

    def __init__(
        self,
        machine: RolloutExecutor,
        versions: VersionsPort,
        metrics: Metrics,
        clock: Clock,
        evidence: EvidenceSource,
        baseline: Baseline,
    ) -> None:
        """`evidence` and `baseline`: what the rollout's counting starts from."""
        self._machine = machine
        self._versions = versions
        self._metrics = metrics
        self._clock = clock
        self._evidence = evidence
        self._baseline = baseline
        self.task: asyncio.Task[None] | None = None
        machine.on_pending = self.begin

    @property
    def idle(self) -> bool:
        """Nothing is being loaded."""
        return self.task is None or self.task.done()

    async def wait(self) -> None:
        """Until the load that was begun has ended."""
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)

    async def close(self) -> None:
        """Give up what is being loaded."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def begin(self) -> None:
        """Load what the rollout waits for."""
        self.task = asyncio.create_task(self._load(self._machine.rollout))

    async def _load(self, rollout: RolloutState) -> None:
        failed = await self.prepare(rollout)
        record = self._machine.record
        if failed is None and not rollout.undoing:
            before = self._baseline.counts(rollout.stable)
            record = await start_analysis(self._evidence, record, before, now=self._clock.time())
        async with self._machine.lock:
            if self._machine.rollout.generation != rollout.generation:
                return  # aborted in the meantime
            try:
                self._machine.record = replace(record, rollout=self._machine.rollout)
                await self._machine.apply(failed or LoadSuccess())
            except StoreError:
                log.exception("the loaded canary could not be recorded; trying again")

    async def prepare(self, rollout: RolloutState) -> LoadFailure | None:
        """Load the rollout's canary; None where it can serve, else why it cannot."""
        assert rollout.canary is not None
        try:
            await self._versions.prepare(rollout.canary)
            # Again, of what is really loaded: files may have changed since the start.
            if rollout.plan is not None and not rollout.missed:
                missed = await self.missed(rollout.plan, rollout.canary)
                if missed:
                    return LoadFailure(gate.describe_misses(missed), Reason.GATE_MISSED)
        except NextvecError as error:
            return LoadFailure(f"{rollout.canary} cannot be served: {error}")
        except Exception as error:
            log.exception("%s cannot be loaded", rollout.canary)
            return LoadFailure(f"{rollout.canary} cannot be loaded: {error!r}")
        self.expect(rollout)
        return None

    def expect(self, rollout: RolloutState) -> None:
        """Label sets at 0 before their first event, for both roles a version may take."""
        pairs = [(Variant.STABLE, rollout.stable)]
        if rollout.canary is not None and rollout.phase not in FINAL:
            pairs += [(Variant.CANARY, rollout.canary), (Variant.STABLE, rollout.canary)]
        self._metrics.expect(pairs)

    async def missed(self, plan: RolloutPlan, canary: str) -> tuple[gate.GateMiss, ...]:
        """What of the plan's gate the canary misses beside stable. Raises `VersionError` or
        `NotFound`."""
        if plan.gate is None:
            return ()
        stable = await self._versions.manifest(self._machine.rollout.stable)
        return gate.find_misses(plan.gate, stable, await self._versions.manifest(canary))
