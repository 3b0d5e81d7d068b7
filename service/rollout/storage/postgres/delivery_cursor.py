"""How far each webhook of a fleet has been served, in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service.rollout.storage.delivery_cursor import PendingDelivery
from service.rollout.storage.postgres.database import PostgresDatabase

_FOLLOW = """INSERT INTO nextvec.outbox (fleet, webhook, told)
SELECT $1, $2, coalesce(max(id), 0) FROM nextvec.audit
WHERE fleet = $1 AND (row::json ->> 'at')::float8 < $3
ON CONFLICT DO NOTHING"""

_NEXT = """SELECT id, row, (SELECT max(id) FROM nextvec.audit WHERE fleet = $1) - id AS behind
FROM nextvec.audit
WHERE fleet = $1 AND id > (SELECT told FROM nextvec.outbox WHERE fleet = $1 AND webhook = $2)
ORDER BY id LIMIT 1"""


class PostgresDeliveryCursor:
    """A `DeliveryCursor`. The replica that leads moves it."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._connection = database.changes
        self._fleet = database.fleet

    async def follow(self, names: Sequence[str], begun: float) -> None:
        async def change(connection: Any) -> None:
            async with connection.transaction():
                await connection.execute(
                    "DELETE FROM nextvec.outbox WHERE fleet = $1 AND webhook <> ALL ($2::text[])",
                    self._fleet,
                    list(names),
                )
                await connection.executemany(
                    _FOLLOW, [(self._fleet, name, begun) for name in names]
                )

        await self._connection.run(change)

    async def next(self, name: str) -> PendingDelivery | None:
        found = await self._connection.run(
            lambda connection: connection.fetchrow(_NEXT, self._fleet, name)
        )
        if found is None:
            return None
        return PendingDelivery({"id": found["id"], **json.loads(found["row"])}, found["behind"])

    async def advance(self, name: str, number: int) -> None:
        # A replica that has lost the lead must not move it back.
        await self._connection.run(
            lambda connection: connection.execute(
                "UPDATE nextvec.outbox SET told = $3 "
                "WHERE fleet = $1 AND webhook = $2 AND told < $3",
                self._fleet,
                name,
                number,
            )
        )
