"""A fleet in one process: its store in memory, and replicas that can be cut off or killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from service.fleet.identity import FleetIdentity
from service.metrics import Metrics
from service.rollout.analysis.sources.evidence_report import EvidenceReport
from service.rollout.analysis.sources.evidence_reporter import EvidenceReporter
from service.rollout.analysis.sources.fleet_source import FleetSource
from service.rollout.controller.controller import Controller
from service.rollout.controller.fleet_member import FleetParts
from service.rollout.controller.store_clock import StoreClock
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.rollout.storage.errors import RecordConflict, StoreError
from service.rollout.storage.fleet_store import (
    LEASE_SECONDS,
    FleetView,
    ReplicaEntry,
    ReplicaReport,
)
from service.rollout.storage.record_json import dump_record, load_record
from service.rollout_metrics import FleetMetrics
from tests.support.rollout_fakes import QUICK, FakeEvidence, FakeShadow, FakeVersions, SteppingClock

INTERVAL = 5.0


@dataclass
class PulseRow:
    report: ReplicaReport
    began: float
    seen: float
    departed: bool = False


@dataclass
class MemoryDatabase:
    """What PostgreSQL would hold, and its clock. `down` refuses every call."""

    clock: SteppingClock = field(default_factory=SteppingClock)
    down: bool = False
    revision: int = 0
    record: str = ""
    audit: list[dict] = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    holder: str = ""
    epoch: int = 0
    expires: float = 0.0
    rows: dict[str, PulseRow] = field(default_factory=dict)
    evidence: dict[str, dict[str, EvidenceReport]] = field(default_factory=dict)
    writes: list[tuple[int, str, int | None]] = field(default_factory=list)

    def backup(self) -> tuple:
        return self.revision, self.record, list(self.audit)

    def restore(self, kept: tuple) -> None:
        self.revision, self.record, self.audit = kept[0], kept[1], list(kept[2])

    def weight_bp(self) -> int:
        return load_record(self.record).rollout.weight_bp if self.record else 0


class ConnectionFake:
    """One replica's way to the database.

    `cut` breaks it, and `full` refuses to save; `on_call` sees every call before it takes effect,
    and `after_write` every save after it has. A save waits until `thawed`.
    """

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self.cut = False
        self.full = False
        self.on_call: Callable[[str], None] = lambda _name: None
        self.after_write: Callable[[], None] = lambda: None
        self.thawed = asyncio.Event()
        self.thawed.set()

    def check(self, name: str) -> None:
        self.on_call(name)
        if self.cut or self.database.down:
            raise StoreError("the database does not answer")


class MemoryRolloutStore:
    """A `SharedRolloutStore` with the same compare-and-set as PostgreSQL's."""

    def __init__(self, connection: ConnectionFake, boot: str) -> None:
        self._connection = connection
        self._database = connection.database
        self._boot = boot
        self._highest = 0
        self.revision = 0

    def note_revision(self, revision):
        self._highest = max(self._highest, revision)

    async def load(self):
        self._connection.check("load")
        self.revision = self._database.revision
        self.note_revision(self.revision)
        return load_record(self._database.record) if self._database.record else None

    async def save(self, record, audit=(), responses=(), *, epoch=None):
        self._connection.check("save")
        if self._connection.full:
            raise StoreError("the disk is full")
        # A process can be frozen here for any time: its decision is made, and not stored.
        await self._connection.thawed.wait()
        there = self._database
        leads = (there.holder, there.epoch) == (self._boot, epoch) and (
            there.expires > there.clock.now
        )
        if self.revision != there.revision or (epoch is not None and not leads):
            raise RecordConflict("another replica has changed the rollout")
        there.revision = self.revision = max(self.revision, self._highest) + 1
        self.note_revision(self.revision)
        there.record = dump_record(record)
        for row in audit:
            there.audit.append({"id": len(there.audit) + 1, **row})
        for kept in responses:
            there.answers[kept.request.actor, kept.request.key] = kept
        there.writes.append((there.revision, self._boot, epoch))
        self._connection.after_write()

    async def revoke_canary(self):
        raise StoreError("there is no other place")

    async def canary_revoked(self):
        return False

    async def response(self, actor, key):
        self._connection.check("response")
        return self._database.answers.get((actor, key))

    async def history(self, limit):
        self._connection.check("history")
        return self._database.audit[::-1][:limit]

    async def set_aside(self):
        raise StoreError("not here")

    async def close(self):
        pass


class MemoryFleetStore:
    """A `FleetStore`."""

    def __init__(self, connection: ConnectionFake) -> None:
        self._connection = connection
        self._database = connection.database

    async def open(self):
        self._connection.check("open")

    async def time(self):
        return self._database.clock.now

    async def place(self):
        return "memory"

    def on_change(self, wake):
        pass

    async def pulse(self, report, *, lead):
        self._connection.check("pulse")
        there, now = self._database, self._database.clock.now
        row = there.rows.setdefault(report.boot, PulseRow(report, now, now))
        row.report, row.seen, row.departed = report, now, False
        if lead and (there.holder == report.boot or there.expires < now):
            there.epoch += there.holder != report.boot
            there.holder, there.expires = report.boot, now + LEASE_SECONDS
        leader = there.holder if there.expires > now else None
        return FleetView(
            now,
            there.revision,
            there.epoch if leader == report.boot else None,
            leader,
            tuple(self._entry(row) for row in there.rows.values()),
        )

    def _entry(self, row):
        newer = (
            other.report.replica == row.report.replica and other.began > row.seen
            for other in self._database.rows.values()
        )
        return ReplicaEntry(row.report, row.began, row.seen, row.departed, any(newer))

    async def depart(self, boot):
        self._connection.check("depart")
        self._database.rows[boot].departed = True
        if self._database.holder == boot:
            self._database.expires = self._database.clock.now

    async def put_evidence(self, boot, report):
        self._connection.check("put_evidence")
        self._database.evidence.setdefault(report.split, {})[boot] = report

    async def evidence(self, split):
        self._connection.check("evidence")
        return dict(self._database.evidence.get(split, {}))

    async def rows_after(self, number):
        self._connection.check("rows_after")
        return self._database.audit[number:]

    async def last_row(self):
        return len(self._database.audit)


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
