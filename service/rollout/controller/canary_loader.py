"""Prepares the canary: loads it, checks the gate, and creates its metrics."""

from __future__ import annotations

import asyncio
import logging

from service.clock import Clock
from service.errors import NextvecError
from service.metrics import Metrics
from service.rollout.analysis.baseline import Baseline
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.controller.analysis_run import start_analysis
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.fleet_role import FleetRole
from service.rollout.controller.versions import VersionsPort
from service.rollout.plan import gate
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.events import FINAL, LoadFailure, LoadSuccess, Reason
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import RecordConflict, StoreError
from service.types import Variant

log = logging.getLogger(__name__)


class CanaryLoader:
    """Loads a canary in the background and reports the result to the executor."""

    def __init__(
        self,
        executor: ChangeExecutor,
        versions: VersionsPort,
        metrics: Metrics,
        clock: Clock,
        evidence: EvidenceSource,
        baseline: Baseline,
        role: FleetRole,
    ) -> None:
        """`evidence` and `baseline` provide the counters that the analysis starts from."""
        self._role = role
        self._executor = executor
        self._versions = versions
        self._metrics = metrics
        self._clock = clock
        self._evidence = evidence
        self._baseline = baseline
        self._task: asyncio.Task[None] | None = None
        self.generation = 0
        executor.load_canary = self.begin

    @property
    def idle(self) -> bool:
        """Whether nothing is being loaded."""
        return self._task is None or self._task.done()

    async def wait(self) -> None:
        """Wait for the current load to end."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """Cancel the current load."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def begin(self) -> None:
        """Load the canary of the current rollout."""
        self.generation = self._executor.rollout.generation
        if self._task is not None:
            self._task.cancel()  # it belongs to an earlier rollout
        self._task = asyncio.create_task(self._load(self._executor.rollout))

    async def _load(self, rollout: RolloutState) -> None:
        result: LoadSuccess | LoadFailure | None = await self.prepare(rollout)
        if result is None:
            result = await self._role.wait_until_prepared(rollout)
        if result is None:
            result = LoadSuccess()
            if not rollout.undoing:
                past = self._baseline.counts(rollout.stable)
                result = LoadSuccess(
                    await start_analysis(self._evidence, rollout, past, now=self._clock.time())
                )
        async with self._executor.lock:
            if self._executor.rollout.generation != rollout.generation:
                return  # aborted while it was loading
            # A canary that one replica cannot load must not serve, whoever leads.
            epoch = self._role.epoch if isinstance(result, LoadSuccess) else None
            try:
                await self._executor.apply(result, epoch=epoch)
            except RecordConflict:
                log.info("another replica has moved the rollout on")
            except StoreError:
                log.exception("the loaded canary cannot be recorded; the next tick loads it again")

    async def prepare(self, rollout: RolloutState) -> LoadFailure | None:
        """Load the rollout's canary. Returns None, or why it must not serve."""
        assert rollout.canary is not None
        try:
            await self._versions.prepare(rollout.canary)
            # Checked again on what was loaded: the files may have changed since the start.
            if rollout.plan is not None and not rollout.missed:
                missed = await self.gate_misses(rollout.plan, rollout.canary)
                if missed:
                    return LoadFailure(gate.describe_misses(missed), Reason.GATE_MISSED)
        except NextvecError as error:
            return LoadFailure(f"{rollout.canary} cannot be served: {error}")
        except Exception as error:
            log.exception("%s cannot be loaded", rollout.canary)
            return LoadFailure(f"{rollout.canary} cannot be loaded: {error!r}")
        self.expect_metrics(rollout)
        return None

    def expect_metrics(self, rollout: RolloutState) -> None:
        """Create the label sets at 0, for both roles that a version may take."""
        pairs = [(Variant.STABLE, rollout.stable)]
        if rollout.canary is not None and rollout.phase not in FINAL:
            pairs += [(Variant.CANARY, rollout.canary), (Variant.STABLE, rollout.canary)]
        self._metrics.expect(pairs)

    async def gate_misses(self, plan: RolloutPlan, canary: str) -> tuple[gate.GateMiss, ...]:
        """The plan's gate criteria that the canary does not meet.

        Raises `VersionError` or `NotFound` for a manifest that cannot be read.
        """
        if plan.gate is None:
            return ()
        stable = await self._versions.manifest(self._executor.rollout.stable)
        return gate.find_misses(plan.gate, stable, await self._versions.manifest(canary))
