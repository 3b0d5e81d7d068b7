"""The port through which the controller stores the rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.rollout.state.audit import AuditRow
from service.rollout.state.change_request import IdempotentResponse
from service.rollout.state.record import RolloutRecord

RESPONSES_KEPT = 1000
"""Responses kept under idempotency keys; the oldest are dropped."""


class RolloutStore(Protocol):
    """The record, the audit log and the stored responses.

    Every method raises `StoreError` when the storage cannot be used. Replicas may share the
    storage. The store remembers which record it has loaded or saved last: whoever calls `load`
    and `save` does so one call at a time.
    """

    async def load(self) -> RolloutRecord | None:
        """The last record saved; None in a new store.

        Raises `StoreUnreadable` when the contents are damaged or have another schema.
        """
        ...

    async def save(
        self,
        record: RolloutRecord,
        audit: Sequence[AuditRow] = (),
        responses: Sequence[IdempotentResponse] = (),
        *,
        epoch: int | None = None,
    ) -> None:
        """Replace the record, append audit rows and keep responses, in one durable transaction.

        With an `epoch`, only while the replica holds the lease of that epoch. Raises
        `RecordConflict` if another replica has saved since `load`, or holds the lease, and
        `StoreError`; then nothing has changed. After a `StoreError` for a lost connection it
        is not known whether the change is stored: the next `load` shows it.
        """
        ...

    async def revoke_canary(self) -> None:
        """Make sure that the recorded canary gets no traffic after a restart.

        It is called when an abort or a rollback cannot be saved, so it should work when `save`
        does not. Raises `StoreError`.
        """
        ...

    async def canary_revoked(self) -> bool:
        """Whether the record that was loaded has been revoked since it was saved."""
        ...

    async def response(self, actor: str, key: str) -> IdempotentResponse | None:
        """The response stored under an idempotency key, None if there is none."""
        ...

    async def history(self, limit: int) -> list[AuditRow]:
        """The last `limit` rows of the audit log, newest first."""
        ...

    async def set_aside(self) -> str:
        """Move unreadable contents out of the way without deleting them; returns their name."""
        ...

    async def close(self) -> None:
        """Release the storage; a later call opens it again."""
        ...
