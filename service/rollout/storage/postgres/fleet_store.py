"""Pulse, lease, evidence and news of a fleet, in PostgreSQL."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.fleet.identity import FleetIdentity
from service.rollout.analysis.sources.evidence_report import EvidenceReport
from service.rollout.state.audit import AuditRow
from service.rollout.storage.errors import StoreError
from service.rollout.storage.fleet_store import (
    LEASE_SECONDS,
    LIVING_SECONDS,
    FleetView,
    ReplicaEntry,
    ReplicaReport,
)
from service.rollout.storage.postgres.database import PostgresDatabase

log = logging.getLogger(__name__)

_EVIDENCE = TypeAdapter(EvidenceReport)

_PULSE = """INSERT INTO nextvec.replica
(fleet, boot, id, model, began, seen, departed, revision, versions, failure)
VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp(), false, $5, $6, $7)
ON CONFLICT (fleet, boot) DO UPDATE
SET seen = clock_timestamp(), departed = false, revision = $5, versions = $6, failure = $7"""

_LEAD = """INSERT INTO nextvec.lease (fleet, holder, epoch, expires)
VALUES ($1, $2, 1, clock_timestamp() + $3::interval)
ON CONFLICT (fleet) DO UPDATE
SET holder = $2, epoch = lease.epoch + (lease.holder <> $2)::int,
expires = clock_timestamp() + $3::interval
WHERE lease.holder = $2 OR lease.expires < clock_timestamp()"""

_VIEW = """SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
(SELECT revision FROM nextvec.state WHERE fleet = $1) AS revision,
lease.holder, lease.epoch, lease.expires > clock_timestamp() AS held
FROM (SELECT) AS one LEFT JOIN nextvec.lease ON lease.fleet = $1"""

_REPLICAS = """SELECT boot, id, revision, versions, failure, departed,
extract(epoch FROM began)::float8 AS began, extract(epoch FROM seen)::float8 AS seen,
EXISTS (SELECT FROM nextvec.replica AS newer WHERE newer.fleet = $1 AND newer.id = replica.id
AND newer.boot <> replica.boot AND newer.began > replica.seen) AS superseded
FROM nextvec.replica WHERE fleet = $1 AND seen > clock_timestamp() - interval '1 hour'
ORDER BY id, began"""

_OTHERS = """SELECT id, model FROM nextvec.replica
WHERE fleet = $1 AND boot <> $2 AND model <> $3 AND NOT departed
AND seen > clock_timestamp() - $4::interval
LIMIT 1"""

_PUT = """INSERT INTO nextvec.evidence (fleet, boot, split, counts, at)
VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT (fleet, split, boot) DO UPDATE SET counts = $4, at = clock_timestamp()"""

_FORGET = (
    """DELETE FROM nextvec.evidence WHERE fleet = $1 AND split <> $2
    AND at < clock_timestamp() - interval '1 hour'""",
    """DELETE FROM nextvec.replica WHERE fleet = $1 AND boot <> $2
    AND seen < clock_timestamp() - interval '1 day'""",
)

MAX_ROWS = 1000


class PostgresFleetStore:
    """A `FleetStore`. All times are those of the server's clock."""

    def __init__(self, database: PostgresDatabase, identity: FleetIdentity, model: str) -> None:
        """`model` describes what every replica of the fleet must have in common."""
        self._database = database
        self._connection = database.following
        self._identity = identity
        self._fleet = identity.name
        self._model = model

    async def open(self) -> None:
        """Also raises `StoreError` if the fleet of this name serves another model."""
        await self._database.open()
        other = await self._connection.run(
            lambda connection: connection.fetchrow(
                _OTHERS,
                self._fleet,
                self._identity.boot,
                self._model,
                timedelta(seconds=LIVING_SECONDS),
            )
        )
        if other is not None:
            raise StoreError(
                f"another fleet called {self._fleet} is in this database: its replica "
                f"{other['id']} serves {other['model']}, and this one {self._model}; "
                "set fleet.name to another name, or give all replicas the same settings"
            )

    async def time(self) -> float:
        now: float = await self._connection.run(
            lambda connection: connection.fetchval(
                "SELECT extract(epoch FROM clock_timestamp())::float8"
            )
        )
        return now

    async def place(self) -> str | None:
        try:
            place: str = await self._connection.run(
                lambda connection: connection.fetchval(
                    "SELECT system_identifier || '/' || current_database() FROM pg_control_system()"
                )
            )
        except StoreError as error:  # the server's administrator may have revoked the function
            log.warning("the database does not tell which one it is: %s", error)
            return None
        return place

    def on_change(self, wake: Callable[[], None]) -> None:
        self._database.wake = wake

    async def pulse(self, report: ReplicaReport, *, lead: bool) -> FleetView:
        async def work(connection: Any) -> FleetView:
            await connection.execute(
                _PULSE,
                self._fleet,
                report.boot,
                report.replica,
                self._model,
                report.revision,
                json.dumps(dict(report.versions)),
                report.failure,
            )
            if lead:
                lease = timedelta(seconds=LEASE_SECONDS)
                await connection.execute(_LEAD, self._fleet, report.boot, lease)
            replicas = await connection.fetch(_REPLICAS, self._fleet)
            # Last, so that its clock is the newest.
            found = await connection.fetchrow(_VIEW, self._fleet)
            leader = found["holder"] if found["held"] else None
            return FleetView(
                found["now"],
                found["revision"] or 0,
                found["epoch"] if leader == report.boot else None,
                leader,
                tuple(map(_entry, replicas)),
            )

        return await self._connection.run(work)

    async def depart(self, boot: str) -> None:
        async def work(connection: Any) -> None:
            await connection.execute(
                "UPDATE nextvec.replica SET departed = true WHERE fleet = $1 AND boot = $2",
                self._fleet,
                boot,
            )
            await connection.execute(
                "UPDATE nextvec.lease SET expires = clock_timestamp() "
                "WHERE fleet = $1 AND holder = $2",
                self._fleet,
                boot,
            )

        await self._connection.run(work)

    async def put_evidence(self, boot: str, report: EvidenceReport) -> None:
        text = _EVIDENCE.dump_json(report, by_alias=True).decode()

        async def work(connection: Any) -> None:
            await connection.execute(_PUT, self._fleet, boot, report.split, text)
            for statement, kept in zip(_FORGET, (report.split, boot), strict=True):
                await connection.execute(statement, self._fleet, kept)

        await self._connection.run(work)

    async def evidence(self, split: str) -> Mapping[str, EvidenceReport]:
        found = await self._connection.run(
            lambda connection: connection.fetch(
                "SELECT boot, counts FROM nextvec.evidence WHERE fleet = $1 AND split = $2",
                self._fleet,
                split,
            )
        )
        try:
            return {each["boot"]: _EVIDENCE.validate_json(each["counts"]) for each in found}
        except ValidationError as error:
            raise StoreError(
                "a replica's evidence cannot be read; do all replicas run the same nextvec?"
            ) from error

    async def rows_after(self, number: int) -> Sequence[AuditRow]:
        found = await self._connection.run(
            lambda connection: connection.fetch(
                "SELECT id, row FROM nextvec.audit WHERE fleet = $1 AND id > $2 "
                "ORDER BY id LIMIT $3",
                self._fleet,
                number,
                MAX_ROWS,
            )
        )
        return [{"id": each["id"], **json.loads(each["row"])} for each in found]

    async def last_row(self) -> int:
        found = await self._connection.run(
            lambda connection: connection.fetchval(
                "SELECT max(id) FROM nextvec.audit WHERE fleet = $1", self._fleet
            )
        )
        return found or 0


def _entry(row: Any) -> ReplicaEntry:
    report = ReplicaReport(
        row["boot"], row["id"], row["revision"], json.loads(row["versions"]), row["failure"]
    )
    return ReplicaEntry(report, row["began"], row["seen"], row["departed"], row["superseded"])
