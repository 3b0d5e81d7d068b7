"""The store in a SQLite file, whose calls block, behind the port, whose calls do not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.rollout.state.audit import AuditRow
from service.rollout.state.change_request import IdempotentResponse
from service.rollout.state.record import RolloutRecord
from service.rollout.storage.sqlite_store import SqliteRolloutStore


class ThreadedRolloutStore:
    """A `RolloutStore` that runs every call in a thread. One process has it to itself."""

    def __init__(self, store: SqliteRolloutStore) -> None:
        self._store = store

    async def load(self) -> RolloutRecord | None:
        return await asyncio.to_thread(self._store.load)

    async def save(
        self,
        record: RolloutRecord,
        audit: Sequence[AuditRow] = (),
        responses: Sequence[IdempotentResponse] = (),
        *,
        epoch: int | None = None,  # noqa: ARG002 - nobody else can write the file
    ) -> None:
        await asyncio.to_thread(self._store.save, record, audit, responses)

    async def revoke_canary(self) -> None:
        await asyncio.to_thread(self._store.revoke_canary)

    async def canary_revoked(self) -> bool:
        return self._store.canary_revoked()

    async def response(self, actor: str, key: str) -> IdempotentResponse | None:
        return await asyncio.to_thread(self._store.response, actor, key)

    async def history(self, limit: int) -> list[AuditRow]:
        return await asyncio.to_thread(self._store.history, limit)

    async def set_aside(self) -> str:
        return (await asyncio.to_thread(self._store.set_aside)).name

    async def close(self) -> None:
        await asyncio.to_thread(self._store.close)
