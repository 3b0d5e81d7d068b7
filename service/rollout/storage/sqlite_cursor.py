"""How far each webhook has been served, in the SQLite file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from service.rollout.storage.database import Database
from service.rollout.storage.delivery_cursor import PendingDelivery


class SqliteDeliveryCursor:
    """A `DeliveryCursor` in the file of the rollout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def follow(self, names: Sequence[str], begun: float) -> None:
        await asyncio.to_thread(self._follow, names, begun)

    async def next(self, name: str) -> PendingDelivery | None:
        return await asyncio.to_thread(self._next, name)

    async def advance(self, name: str, number: int) -> None:
        await asyncio.to_thread(self._advance, name, number)

    def _follow(self, names: Sequence[str], begun: float) -> None:
        marks = ", ".join("?" * len(names))
        with self._database.writing() as connection:
            connection.execute(f"DELETE FROM webhooks WHERE name NOT IN ({marks})", names)  # noqa: S608  question marks only
            connection.executemany(
                "INSERT OR IGNORE INTO webhooks SELECT ?, coalesce(max(id), 0) FROM audit "
                "WHERE json_extract(row, '$.at') < ?",
                [(name, begun) for name in names],
            )

    def _next(self, name: str) -> PendingDelivery | None:
        with self._database.reading() as connection:
            received = "(SELECT told FROM webhooks WHERE name = ?)"
            found = connection.execute(
                f"SELECT id, row FROM audit WHERE id > {received} ORDER BY id LIMIT 1",  # noqa: S608  a constant
                (name,),
            ).fetchone()
            if found is None:
                return None
            (last,) = connection.execute("SELECT max(id) FROM audit").fetchone()
        number, row = found
        return PendingDelivery({"id": number, **json.loads(row)}, last - number)

    def _advance(self, name: str, number: int) -> None:
        with self._database.writing() as connection:
            connection.execute("UPDATE webhooks SET told = ? WHERE name = ?", (number, name))
