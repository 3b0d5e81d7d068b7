"""The rollout's controller: its parts, its life, and what can be read of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from service.clock import Clock
from service.metrics import Metrics
from service.observability.tracing import TraceRecorder
from service.rollout.analysis.baseline import Baseline
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.change_handler import ChangeHandler
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.fleet_member import FleetMember, FleetParts
from service.rollout.controller.fleet_news import FleetNews
from service.rollout.controller.fleet_role import FleetRole, SoleReplica
from service.rollout.controller.request_application import RequestApplication
from service.rollout.controller.start_rules import StartRules
from service.rollout.controller.ticker import Ticker
from service.rollout.controller.versions import VersionsPort
from service.rollout.notifications.event_feed import EventFeed
from service.rollout.plan.plan_floor import NO_FLOOR, PlanFloor
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficRouter
from service.rollout.state.audit import AuditRow
from service.rollout.state.events import LIVE, LoadFailure, Phase, Reason, TrafficSwitch
from service.rollout.storage.recovery import recover
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)

_REVOKED = (
    "it was aborted or rolled back before the service stopped, which could not be stored then"
)


class Controller:
    """One per service.

    The `ChangeExecutor` writes the record. Events reach it from three sides: requests through
    `changes`, the analysis through the `Ticker`, and a loaded canary through the
    `CanaryLoader`.
    """

    def __init__(  # noqa: PLR0913 - the composition root passes every collaborator by name
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
        floor: PlanFloor = NO_FLOOR,
        on_record: Callable[[], None] = lambda: None,
        take_shadow_stats: Callable[[], ShadowStats] | None = None,
        traces: TraceRecorder | None = None,
        fleet: FleetParts | None = None,
        on_lead: Callable[[], None] = lambda: None,
    ) -> None:
        """`stable` is the configured version, used until a promotion is recorded.

        `plan` is the default plan of a start, and `floor` what every plan must demand.
        `on_record` is called when the audit log has grown. `take_shadow_stats` returns the
        statistics of shadow copies since its last call. With `fleet`, other replicas share the
        rollout; `store` is then the one that they share, and `on_lead` is called when this
        replica takes the lead.
        """
        self._versions = versions
        self._store = store
        self._clock = clock
        self._configured_stable = stable
        self.default_plan = plan
        self._feed = EventFeed()
        self._executor = ChangeExecutor(
            traffic=traffic,
            store=store,
            metrics=metrics,
            clock=clock,
            stable=stable,
            feed=self._feed,
            on_record=on_record,
        )
        self._member = (
            None
            if fleet is None
            else FleetMember(
                fleet,
                self._executor,
                versions,
                FleetNews(fleet.store, self._executor, self._feed, on_record),
                interval_seconds,
            )
        )
        role: FleetRole = self._member or SoleReplica()
        baseline = Baseline(evidence)
        self._loader = CanaryLoader(
            self._executor, versions, metrics, clock, evidence, baseline, role
        )
        self._ticker = Ticker(
            self._executor,
            self._loader,
            evidence=evidence,
            baseline=baseline,
            feed=self._feed,
            clock=clock,
            interval_seconds=interval_seconds,
            role=role,
            take_shadow_stats=take_shadow_stats,
            traces=traces,
        )
        rules = StartRules(
            self._loader,
            versions,
            default_plan=plan,
            floor=floor,
            interval_seconds=interval_seconds,
        )
        application = RequestApplication(self._executor, store, clock, shared=role.shared)
        self.changes = ChangeHandler(self._executor, application, rules, plan)
        if self._member is not None:
            self._member.on_lead = self._lead
        self._on_lead = on_lead

    # --- life ---

    async def start(self) -> None:
        """Continue from the stored record, and route requests by it.

        Raises `VersionError` or `NotFound` when stable cannot be served, and `StoreError` when
        the store cannot be opened. A store that opens and cannot be read is set aside; stable
        then gets all traffic.
        """
        self._ticker.begin()
        if self._member is not None:
            await self._join(self._member)
            return
        record = await recover(self._store, self._configured_stable, self._clock.time())
        self._executor.resume_from(record)
        if await self._store.canary_revoked():
            async with self._executor.lock:
                await self._executor.apply(LoadFailure(_REVOKED, Reason.ABORTED))
        rollout = self._executor.rollout
        await self._versions.prepare(rollout.stable)
        self._loader.expect_metrics(rollout)
        async with self._executor.lock:
            if rollout.phase is Phase.ABORTING:
                await self._executor.apply(TrafficSwitch())
            elif rollout.phase in LIVE | {Phase.PROMOTING}:
                failure = await self._loader.prepare(rollout)
                if failure is not None:
                    await self._executor.apply(failure)
                elif rollout.phase is Phase.PROMOTING:
                    await self._executor.apply(TrafficSwitch())
            self._executor.route()
            self._executor.publish_gauges()
        if rollout.phase is Phase.PENDING:
            self._loader.begin()

    async def _join(self, member: FleetMember) -> None:
        """Serve what the fleet serves. A canary that cannot be loaded here is withheld here, and
        the rollout goes on elsewhere."""
        record = await member.join(self._configured_stable, self._loader)
        self._executor.resume_from(record)
        rollout = self._executor.rollout
        await self._versions.prepare(rollout.stable)
        self._loader.expect_metrics(rollout)
        if rollout.phase in LIVE | {Phase.PROMOTING}:
            failure = await self._loader.prepare(rollout)
            if failure is not None:
                log.error("this replica withholds the canary: %s", failure.message)
        await member.pulse()

    def _lead(self) -> None:
        self._ticker.hurry()
        self._on_lead()

    async def run(self) -> None:
        """Tick in every interval until `close`."""
        if self._member is None:
            await self._ticker.run()
        else:
            await asyncio.gather(self._ticker.run(), self._member.run())

    async def tick(self) -> None:
        """See `Ticker.tick`."""
        await self._ticker.tick()

    def close_subscriptions(self) -> None:
        """End all subscriptions. The rollout continues."""
        self._feed.close()

    async def close(self) -> None:
        """End `run` and all subscriptions, and close the store."""
        self._ticker.stop()
        if self._member is not None:
            self._member.stop()
        await self._loader.close()
        if self._member is not None:
            await self._member.leave()
        async with self._executor.lock:
            self._feed.close()
            await self._store.close()

    # --- reading ---

    @property
    def generation(self) -> int:
        """Rises with every transition; the API's `ETag`."""
        return self._executor.rollout.generation

    def status(self) -> dict[str, object]:
        """See `service.rollout.controller.status`; in a fleet with `fleet` beside it."""
        status = self._executor.status()
        return status if self._member is None else {**status, "fleet": self._member.status()}

    @property
    def leads(self) -> bool:
        """Whether this replica evaluates the rollout and tells webhooks."""
        return self._member is None or self._member.leads

    def living(self) -> tuple[str, ...]:
        """The boots of the fleet's living replicas; none without a fleet."""
        return () if self._member is None else self._member.living()

    async def history(self, limit: int = 100) -> list[AuditRow]:
        """The last `limit` rows of the audit log, newest first. Raises `StoreError`."""
        return await self._store.history(limit)

    def subscribe(self, last_id: str | None = None) -> AsyncIterator[dict[str, object]]:
        """The current status, then every analysis run and transition, until `close`.

        Events that were sent after the one called `last_id` come before the status.
        """
        return self._feed.subscribe(lambda: {"event": "status", "data": self.status()}, last_id)

    async def prepared(self) -> None:
        """Wait for the canary that is being loaded."""
        await self._loader.wait()
