"""The record, the audit log and the stored responses of a fleet, in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from service.rollout.state.audit import AuditRow
from service.rollout.state.change_request import ChangeRequest, IdempotentResponse
from service.rollout.state.record import RolloutRecord
from service.rollout.storage.errors import RecordConflict, StoreError, StoreUnreadable
from service.rollout.storage.postgres.database import PostgresDatabase
from service.rollout.storage.record_json import dump_record, dump_row, load_record
from service.rollout.storage.rollout_store import RESPONSES_KEPT
from service.validation_errors import first_error

_UPDATE = """UPDATE nextvec.state SET revision = $3, record = $4, saved = clock_timestamp()
WHERE fleet = $1 AND revision = $2"""

# The lease is checked on the server's clock, like the compare-and-set in the same statement.
_UPDATE_AS_LEADER = f"""{_UPDATE} AND EXISTS (SELECT FROM nextvec.lease WHERE fleet = $1
AND holder = $5 AND epoch = $6 AND expires > clock_timestamp())"""

_INSERT = """INSERT INTO nextvec.state (fleet, revision, record) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING"""

_APPEND = """INSERT INTO nextvec.audit (fleet, id, row)
SELECT $1, coalesce((SELECT max(id) FROM nextvec.audit WHERE fleet = $1), 0) + number, text
FROM unnest($2::text[]) WITH ORDINALITY AS new (text, number)"""

_KEEP = """INSERT INTO nextvec.calls (fleet, actor, key, fingerprint, answer)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (fleet, actor, key) DO UPDATE SET fingerprint = $4, answer = $5"""

_TRIM = """DELETE FROM nextvec.calls WHERE fleet = $1 AND number <= (
SELECT number FROM nextvec.calls WHERE fleet = $1 ORDER BY number DESC OFFSET $2 LIMIT 1)"""


class PostgresRolloutStore:
    """A `SharedRolloutStore`. Every change is one compare-and-set on the record's revision."""

    def __init__(self, database: PostgresDatabase, boot: str) -> None:
        """`boot` is this process, which may hold the lease."""
        self._database = database
        self._fleet = database.fleet
        self._boot = boot
        self._highest = 0
        self.revision = 0

    def note_revision(self, revision: int) -> None:
        """Some replica has seen `revision`: the next one saved is above it."""
        self._highest = max(self._highest, revision)

    async def load(self) -> RolloutRecord | None:
        found = await self._database.changes.run(
            lambda connection: connection.fetchrow(
                "SELECT revision, record FROM nextvec.state WHERE fleet = $1", self._fleet
            )
        )
        if found is None:
            self.revision = 0
            return None
        try:
            record = load_record(found["record"])
        except ValidationError as error:
            raise StoreUnreadable(
                f"{self._database.address}: the record of the fleet {self._fleet}: "
                f"{first_error(error)}; was it written by a newer nextvec?"
            ) from error
        self.revision = found["revision"]
        self.note_revision(self.revision)
        return record

    async def save(
        self,
        record: RolloutRecord,
        audit: Sequence[AuditRow] = (),
        responses: Sequence[IdempotentResponse] = (),
        *,
        epoch: int | None = None,
    ) -> None:
        text = dump_record(record)
        rows = [dump_row(row) for row in audit]
        calls = [
            (
                self._fleet,
                kept.request.actor,
                kept.request.key,
                kept.request.fingerprint,
                dump_row(kept.response),
            )
            for kept in responses
        ]
        base, new = self.revision, max(self.revision, self._highest) + 1

        async def change(connection: Any) -> None:
            async with connection.transaction():
                if not await self._replace(connection, base, new, text, epoch):
                    raise RecordConflict(
                        "another replica has changed the rollout; read the status again"
                    )
                if rows:
                    # The row of `state` is locked, so the numbers have no gap.
                    await connection.execute(_APPEND, self._fleet, rows)
                if calls:
                    await connection.executemany(_KEEP, calls)
                    await connection.execute(_TRIM, self._fleet, RESPONSES_KEPT)
                await connection.execute(
                    "SELECT pg_notify($1, $2)", self._database.channel, str(new)
                )

        await self._database.changes.run(change)
        self.revision = new
        self.note_revision(new)

    async def _replace(
        self, connection: Any, base: int, new: int, text: str, epoch: int | None
    ) -> bool:
        if base == 0:
            done = await connection.execute(_INSERT, self._fleet, new, text)
        elif epoch is None:
            done = await connection.execute(_UPDATE, self._fleet, base, new, text)
        else:
            done = await connection.execute(
                _UPDATE_AS_LEADER, self._fleet, base, new, text, self._boot, epoch
            )
        return bool(done.endswith(" 1"))

    async def revoke_canary(self) -> None:
        """Raises `StoreError`: a replica has no storage of its own. While the database is away,
        every replica withholds the canary, and this one records the abort when it is back."""
        raise StoreError(f"{self._database.address} cannot be written")

    async def canary_revoked(self) -> bool:
        return False

    async def response(self, actor: str, key: str) -> IdempotentResponse | None:
        found = await self._database.changes.run(
            lambda connection: connection.fetchrow(
                "SELECT fingerprint, answer FROM nextvec.calls "
                "WHERE fleet = $1 AND actor = $2 AND key = $3",
                self._fleet,
                actor,
                key,
            )
        )
        if found is None:
            return None
        return IdempotentResponse(
            ChangeRequest(actor, key, found["fingerprint"]), json.loads(found["answer"])
        )

    async def history(self, limit: int) -> list[AuditRow]:
        found = await self._database.changes.run(
            lambda connection: connection.fetch(
                "SELECT id, row FROM nextvec.audit WHERE fleet = $1 ORDER BY id DESC LIMIT $2",
                self._fleet,
                limit,
            )
        )
        return [{"id": each["id"], **json.loads(each["row"])} for each in found]

    async def set_aside(self) -> str:
        """Raises `StoreError`: the record belongs to all replicas, and a person must decide."""
        raise StoreError(
            f"{self._database.address}: the record of the fleet {self._fleet} is not readable; "
            "restore it, or delete its row in nextvec.state to start without a rollout"
        )

    async def close(self) -> None:
        await self._database.close()
