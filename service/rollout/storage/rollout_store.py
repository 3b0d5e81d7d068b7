"""The port through which the controller stores the rollout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from service.rollout.state.audit import AuditRow
from service.rollout.state.change_request import IdempotentResponse
from service.rollout.state.record import RolloutRecord


class RolloutStore(Protocol):
    """The record, the audit log and the stored responses. Calls block: use a thread.

    Every method raises `StoreError` when the storage cannot be used. A store that several
    processes share also raises it from `save` if another process has saved since `load`; the
    caller then loads the record again and applies the event to it.
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

    def revoke_canary(self) -> None:
        """Make sure that the recorded canary gets no traffic after a restart.

        It is called when an abort or a rollback cannot be saved, so it should work when `save`
        does not. Raises `StoreError`.
        """
        ...

    def canary_revoked(self) -> bool:
        """Whether the record that was loaded has been revoked since it was saved."""
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
