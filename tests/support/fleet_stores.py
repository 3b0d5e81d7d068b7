"""The database of a fleet in memory, and each replica's way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from service.rollout.analysis.sources.evidence_report import EvidenceReport
from service.rollout.storage.errors import RecordConflict, StoreError
from service.rollout.storage.fleet_store import (
    LEASE_SECONDS,
    FleetView,
    ReplicaEntry,
    ReplicaReport,
)
from service.rollout.storage.record_json import dump_record, load_record
from tests.support.rollout_fakes import SteppingClock


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
