"""The rollout's record and audit log: both change, or neither does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from service.rollout.analysis.guardrails.suite import Evidence
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.registry_source import Snapshot
from service.rollout.controller.change_request import Answered, Call
from service.rollout.plan.gate import Miss
from service.rollout.state.events import Transition
from service.rollout.state.rollout_state import Rollout
from service.rollout.storage.database import Database, StoreUnreadable

CALLS_KEPT = 1000
"""Answers kept under idempotency keys; the oldest go."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that a restart needs. `looked_at`: when `snapshot` was taken, epoch seconds.
    `shadow`: of the present shadow step, or of the last one."""

    rollout: Rollout
    evidence: Evidence | None = None
    snapshot: Snapshot | None = None
    looked_at: float | None = None
    shadow: ShadowStats | None = None


_RECORD = TypeAdapter(Record)

AuditRow = dict[str, object]


def audit_row(
    transition: Transition, evidence: Sequence[AuditRow], missed: Sequence[Miss] = ()
) -> AuditRow:
    """A transition as the audit log keeps it, with the guardrails as they stood and the
    gate's figures that were overridden."""
    return {
        "at": transition.at,
        "generation": transition.generation,
        "actor": transition.actor,
        "reason": transition.reason.value,
        "note": transition.note,
        "from": transition.source.value,
        "to": transition.target.value,
        "step": transition.step,
        "weight_percent": transition.weight_bp / 100,
        "stable": transition.stable,
        "canary": transition.canary,
        "message": transition.message,
        "evidence": list(evidence) or None,
        "gate_missed": [miss.to_json() for miss in missed] or None,
    }


class Store:
    """The record, the audit log and the answers kept. Calls block: use a thread.

    All raise `StoreError` where the file cannot be used as things are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> Record | None:
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
        self, record: Record, audit: Sequence[AuditRow] = (), answers: Sequence[Answered] = ()
    ) -> None:
        """Replace the record, append to the log and keep answers, in one transaction on the disk.

        Raises `StoreError`; then nothing has changed.
        """
        text = _RECORD.dump_json(record).decode()
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

    def answered(self, actor: str, key: str) -> Answered | None:
        """What was answered under this key, if it is still kept."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT fingerprint, answer FROM calls WHERE actor = ? AND key = ?", (actor, key)
            ).fetchone()
        return found and Answered(Call(actor, key, found[0]), json.loads(found[1]))

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
