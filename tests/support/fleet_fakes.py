"""A fleet in one process: replicas that can be cut off or killed."""

from __future__ import annotations

import asyncio
import contextlib

from prometheus_client import CollectorRegistry

from service.fleet.identity import FleetIdentity
from service.metrics import Metrics
from service.rollout.analysis.sources.evidence_reporter import EvidenceReporter
from service.rollout.analysis.sources.fleet_source import FleetSource
from service.rollout.controller.controller import Controller
from service.rollout.controller.fleet_member import FleetParts
from service.rollout.controller.store_clock import StoreClock
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.rollout.storage.errors import StoreError
from service.rollout_metrics import FleetMetrics
from tests.support.fleet_stores import (
    ConnectionFake,
    MemoryDatabase,
    MemoryFleetStore,
    MemoryRolloutStore,
)
from tests.support.rollout_fakes import QUICK, FakeEvidence, FakeShadow, FakeVersions, SteppingClock

INTERVAL = 5.0


class ReplicaFake:
    """One process of the fleet, with a machine's clock of its own that may be wrong."""

    def __init__(
        self,
        database: MemoryDatabase,
        name: str,
        boot: str,
        plan: RolloutPlan = QUICK,
        wrong: float = 0.0,
    ) -> None:
        self.name = name
        self.alive = True
        self.records_heard = 0  # how often the outbox was woken
        self.connection = ConnectionFake(database)
        self.machine = SharedTime(database.clock, wrong)
        self.versions = FakeVersions()
        self.counted = FakeEvidence()
        self.shadow = FakeShadow()
        self.traffic = TrafficRouter(TrafficSplit("phase-2"))
        self.metrics = Metrics(CollectorRegistry(), 10.0)
        identity = FleetIdentity("fleet", name, boot)
        self.identity = identity
        store = MemoryFleetStore(self.connection)
        reporter = EvidenceReporter(self.counted, self.shadow.take)
        shared = MemoryRolloutStore(self.connection, boot)
        source = FleetSource(
            reporter, lambda report: store.put_evidence(boot, report), store.evidence
        )
        self.source = source
        clock = StoreClock(self.machine)
        self.controller = Controller(
            traffic=self.traffic,
            versions=self.versions,
            evidence=source,
            store=shared,
            metrics=self.metrics,
            clock=clock,
            stable="phase-2",
            plan=plan,
            interval_seconds=INTERVAL,
            on_record=self._hear,
            fleet=FleetParts(
                identity, store, shared, clock, reporter, FleetMetrics(self.metrics.registry)
            ),
        )
        source.living = self.controller.living
        self.member = self.controller._member
        self.executor = self.controller._executor

    def _hear(self) -> None:
        self.records_heard += 1

    @property
    def weight_bp(self) -> int:
        return self.traffic.current.weight_bp

    @property
    def phase(self) -> str:
        return str(self.controller.status()["phase"])

    async def pulse(self) -> bool:
        """Returns whether the store answered."""
        self.member.guard.check()
        try:
            await self.member.pulse()
        except StoreError as error:
            self.member.note_loss(error)
            return False
        finally:
            await settle()
        return True

    async def tick(self) -> None:
        with contextlib.suppress(StoreError):
            await self.controller.tick()
        await settle()

    def kill(self) -> None:
        """Nothing of this process is left; requests that it served are gone as well."""
        self.alive = False
        self.connection.cut = True
        task = self.controller._loader._task
        if task is not None:
            task.cancel()


class SharedTime:
    """A machine's clock: the time of the simulation, and an error of its own."""

    def __init__(self, clock: SteppingClock, wrong: float) -> None:
        self._clock, self.wrong = clock, wrong
        self.jump = 0.0
        """Seconds by which the database's clock was set back."""

    def time(self) -> float:
        return self._clock.now + self.wrong + self.jump

    def monotonic(self) -> float:
        return self._clock.now + self.jump - 1_600_000_000 + self.wrong / 7


async def settle() -> None:
    """Let tasks in the background go as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


class FleetWorld:
    """A database and its replicas; their machines' clocks are an hour apart."""

    def __init__(self, size: int = 3, plan: RolloutPlan = QUICK) -> None:
        self.database = MemoryDatabase()
        self.clock = self.database.clock
        self.plan = plan
        self._boots = 0
        self.replicas: list[ReplicaFake] = []
        for _ in range(size):
            self._add(chr(ord("a") + len(self.replicas)))

    def _add(self, name: str) -> ReplicaFake:
        self._boots += 1
        wrong = 3600.0 * (self._boots % 3 - 1)
        made = ReplicaFake(self.database, name, f"boot-{self._boots}", self.plan, wrong)
        self.replicas.append(made)
        return made

    async def start(self) -> None:
        for replica in self.replicas:
            await replica.controller.start()

    async def join(self, name: str) -> ReplicaFake:
        made = self._add(name)
        await made.controller.start()
        await settle()
        return made

    @property
    def living(self) -> list[ReplicaFake]:
        return [replica for replica in self.replicas if replica.alive]

    @property
    def leader(self) -> ReplicaFake | None:
        return next((r for r in self.living if r.member.leads), None)

    async def pulse(self) -> None:
        for replica in self.living:
            await replica.pulse()

    async def wait(self, seconds: float, *, ticks: bool = True) -> None:
        """Time goes by: a pulse each second, an evaluation each interval."""
        for _ in range(int(seconds)):
            self.clock.now += 1.0
            await self.pulse()
            if ticks and int(self.clock.now) % int(INTERVAL) == 0:
                for replica in self.living:
                    await replica.tick()
                await self.pulse()

    async def serve(self, canary: float = 0.1, count: int = 200) -> None:
        """Requests at every living replica; the canary's only where it has traffic."""
        for replica in self.living:
            there = [canary] * count if replica.weight_bp else []
            if replica.traffic.current.withheld:
                continue  # unassigned: in no count
            replica.counted.serve([0.1] * 190 + [0.2] * 10, there)

    async def begin(self) -> None:
        """Advance to the first step, after warm-up and settling."""
        await self.start()
        await self.wait(2)
        await self.living[0].controller.changes.start("phase-3", None, "operator", "try it")
        await settle()
        await self.wait(3)
        for _ in range(4):
            await self.serve()
            await self.wait(5)
        assert {r.phase for r in self.living} == {"Progressing"}, self.status()

    def status(self) -> list:
        return [(r.name, r.phase, r.weight_bp, r.member.guard.reason()) for r in self.living]
