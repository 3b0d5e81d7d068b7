"""How far each webhook has been served from the audit log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.rollout.storage.database import Database


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """The next audit row for a webhook, and how many more wait behind it."""

    row: dict[str, Any]
    behind: int


class DeliveryCursor:
    """The last audit row that each webhook has received. Calls block and raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def follow(self, names: Sequence[str], begun: float) -> None:
        """Keep a cursor for exactly these webhooks.

        A new one starts with the rows written since `begun`, in epoch seconds.
        """
        marks = ", ".join("?" * len(names))
        with self._database.writing() as connection:
            connection.execute(f"DELETE FROM webhooks WHERE name NOT IN ({marks})", names)  # noqa: S608  question marks only
            connection.executemany(
                "INSERT OR IGNORE INTO webhooks SELECT ?, coalesce(max(id), 0) FROM audit "
                "WHERE json_extract(row, '$.at') < ?",
                [(name, begun) for name in names],
            )

    def next(self, name: str) -> PendingDelivery | None:
        """The oldest row that the webhook has not received."""
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

    def advance(self, name: str, number: int) -> None:
        """Note that the webhook needs no row up to this one any more."""
        with self._database.writing() as connection:
            connection.execute("UPDATE webhooks SET told = ? WHERE name = ?", (number, name))
