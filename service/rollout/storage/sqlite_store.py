"""The rollout in a SQLite file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from service.rollout.state.audit import AuditRow
from service.rollout.state.change_request import ChangeRequest, IdempotentResponse
from service.rollout.state.events import FINAL
from service.rollout.state.record import RolloutRecord
from service.rollout.storage.canary_permit import CanaryPermit
from service.rollout.storage.database import Database
from service.rollout.storage.errors import StoreError, StoreUnreadable
from service.rollout.storage.record_json import dump_record, dump_row, load_record
from service.rollout.storage.rollout_store import RESPONSES_KEPT
from service.validation_errors import first_error


class SqliteRolloutStore:
    """The rollout in one file, for one process. `ThreadedRolloutStore` makes it a `RolloutStore`.

    The record and the audit log change together or not at all. Calls block: use a thread.
    Every method raises `StoreError` when the file cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._permit = CanaryPermit(database.path)
        self._permit_name: str | None = None
        self._revoked = False

    def load(self) -> RolloutRecord | None:
        """The last record saved; None in a new file.

        Raises `StoreUnreadable` when the contents are damaged or have another schema, and
        `StoreError` when the file cannot be opened or is in use.
        """
        with self._database.reading() as connection:
            found = connection.execute("SELECT record, permit FROM state WHERE id = 1").fetchone()
        if found is None:
            return None
        self._permit_name = found[1]
        self._revoked = found[1] is not None and not self._permit.granted(found[1])
        try:
            return load_record(found[0])
        except ValidationError as error:
            raise StoreUnreadable(
                f"{self._database.path}: the record's {first_error(error)}"
            ) from error

    def save(
        self,
        record: RolloutRecord,
        audit: Sequence[AuditRow] = (),
        responses: Sequence[IdempotentResponse] = (),
    ) -> None:
        """Replace the record, append audit rows and keep responses, in one durable transaction.

        Raises `StoreError`; then nothing has changed.
        """
        text = dump_record(record)
        permit = None if record.rollout.phase in FINAL else self._permit_name or self._grant()
        rows = [(dump_row(row),) for row in audit]
        calls = [
            (
                kept.request.actor,
                kept.request.key,
                kept.request.fingerprint,
                dump_row(kept.response),
            )
            for kept in responses
        ]
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO state (id, record, permit) VALUES (1, ?, ?)", (text, permit)
            )
            connection.executemany("INSERT INTO audit (row) VALUES (?)", rows)
            connection.executemany(
                "INSERT OR REPLACE INTO calls (actor, key, fingerprint, answer) "
                "VALUES (?, ?, ?, ?)",
                calls,
            )
            connection.execute(
                "DELETE FROM calls WHERE id <= (SELECT max(id) FROM calls) - ?", (RESPONSES_KEPT,)
            )
        self._permit_name = permit
        if permit is None:
            with suppress(StoreError):  # nothing depends on a file that is left over
                self._permit.revoke()

    def revoke_canary(self) -> None:
        """Make sure that the recorded canary gets no traffic after a restart.

        Takes no disk space. Raises `StoreError`.
        """
        self._permit.revoke()
        self._permit_name = None

    def canary_revoked(self) -> bool:
        """Whether the record that was loaded has been revoked since it was saved."""
        return self._revoked

    def _grant(self) -> str:
        name = secrets.token_hex(8)
        self._permit.grant(name)
        return name

    def response(self, actor: str, key: str) -> IdempotentResponse | None:
        """The response stored under an idempotency key, None if there is none."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT fingerprint, answer FROM calls WHERE actor = ? AND key = ?", (actor, key)
            ).fetchone()
        if found is None:
            return None
        return IdempotentResponse(ChangeRequest(actor, key, found[0]), json.loads(found[1]))

    def history(self, limit: int) -> list[AuditRow]:
        """The last `limit` rows of the audit log, newest first."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT id, row FROM audit ORDER BY id DESC LIMIT ?", (limit,)
            )
            return [{"id": number, **json.loads(row)} for number, row in found]

    def set_aside(self) -> Path:
        """Rename an unreadable file, so that a new one can be created; returns its new path."""
        return self._database.set_aside()

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._database.close()
