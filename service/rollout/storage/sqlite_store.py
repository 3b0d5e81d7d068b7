"""The rollout's record and audit log: both change, or neither does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from service.rollout.state.audit import AuditRow
from service.rollout.state.change_request import ChangeRequest, IdempotentResponse
from service.rollout.state.record import RolloutRecord
from service.rollout.storage.database import Database, StoreUnreadable

CALLS_KEPT = 1000
"""Answers kept under idempotency keys; the oldest go."""


_RECORD = TypeAdapter(RolloutRecord)


class SqliteRolloutStore:
    """The record, the audit log and the answers kept. Calls block: use a thread.

    All raise `StoreError` where the file cannot be used as things are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> RolloutRecord | None:
        """The last record saved; None in a new file.

        Raises `StoreUnreadable` for contents that are damaged or of another
        schema, `StoreError` where the file cannot be opened or is in use.
        """
        with self._database.reading() as connection:
            found = connection.execute("SELECT record FROM state WHERE id = 1").fetchone()
        if found is None:
            return None
        try:
            return _RECORD.validate_json(found[0], strict=True)
        except ValidationError as error:
            what = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in what["loc"])
            path = self._database.path
            raise StoreUnreadable(f"{path}: the record's {field}: {what['msg']}") from error

    def save(
        self,
        record: RolloutRecord,
        audit: Sequence[AuditRow] = (),
        answers: Sequence[IdempotentResponse] = (),
    ) -> None:
        """Replace the record, append to the log and keep answers, in one transaction on the disk.

        Raises `StoreError`; then nothing has changed.
        """
        text = _RECORD.dump_json(record, by_alias=True).decode()
        rows = [(_json(row),) for row in audit]
        calls = [(a.call.actor, a.call.key, a.call.fingerprint, _json(a.answer)) for a in answers]
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (text,))
            connection.executemany("INSERT INTO audit (row) VALUES (?)", rows)
            connection.executemany(
                "INSERT OR REPLACE INTO calls (actor, key, fingerprint, answer) "
                "VALUES (?, ?, ?, ?)",
                calls,
            )
            connection.execute(
                "DELETE FROM calls WHERE id <= (SELECT max(id) FROM calls) - ?", (CALLS_KEPT,)
            )

    def response(self, actor: str, key: str) -> IdempotentResponse | None:
        """What was answered under this key, if it is still kept."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT fingerprint, answer FROM calls WHERE actor = ? AND key = ?", (actor, key)
            ).fetchone()
        return found and IdempotentResponse(
            ChangeRequest(actor, key, found[0]), json.loads(found[1])
        )

    def history(self, limit: int) -> list[AuditRow]:
        """The last `limit` lines of the audit log, newest first."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT id, row FROM audit ORDER BY id DESC LIMIT ?", (limit,)
            )
            return [{"id": number, **json.loads(row)} for number, row in found]

    def set_aside(self) -> Path:
        """Move an unreadable file out of the way, keeping it; answers where to."""
        return self._database.set_aside()

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        self._database.close()


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
