"""The port through which the controller stores the rollout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

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


class RolloutStore(Protocol):
    """The record, the audit log and the stored responses. Calls block: use a thread.

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

    def load(self) -> RolloutRecord | None:
        """The last record saved; None in a new store.

        Raises `StoreUnreadable` when the contents are damaged or have another schema.
        """
        ...

    def save(
        self,
        record: RolloutRecord,
        audit: Sequence[AuditRow] = (),
        responses: Sequence[IdempotentResponse] = (),
    ) -> None:
        """Replace the record, append audit rows and keep responses, in one durable transaction.

        Raises `StoreError`; then nothing has changed.
        """
        ...

    def response(self, actor: str, key: str) -> IdempotentResponse | None:
        """The response stored under an idempotency key, None if there is none."""
        ...

    def history(self, limit: int) -> list[AuditRow]:
        """The last `limit` rows of the audit log, newest first."""
        ...

    def set_aside(self) -> Path:
        """Move unreadable contents out of the way without deleting them; returns their new path."""
        ...

    def close(self) -> None:
        """Release the storage; a later call opens it again."""
        ...
