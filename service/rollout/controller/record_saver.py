"""Stores the rollout's record, and remembers what could not be stored."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from service.observability import tracing
from service.rollout.state.audit import AuditRow
from service.rollout.state.change_request import IdempotentResponse
from service.rollout.state.events import Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.storage.errors import RecordConflict, StoreError
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)


class RecordSaver:
    """Every save includes the rows and responses of earlier ones that failed.

    `recorded` is False while the current record could not be stored. `survives_restart` is
    False while, in addition, a restart would give a canary the traffic that it has lost since.
    """

    def __init__(self, store: RolloutStore) -> None:
        self.recorded = True
        self.survives_restart = True
        self._store = store
        self._rows: list[AuditRow] = []
        self._responses: list[IdempotentResponse] = []

    async def save(
        self,
        record: RolloutRecord,
        rows: Sequence[AuditRow],
        responses: Sequence[IdempotentResponse],
        epoch: int | None,
    ) -> bool:
        """Store the record; returns whether the audit log has grown. Raises `StoreError`."""
        rows = [*self._rows, *rows]
        responses = [*self._responses, *responses]
        with tracing.child("rollout store", rows=len(rows)):
            await self._store.save(record, rows, responses, epoch=epoch)
        self.forget()
        return bool(rows)

    async def save_or_keep(
        self,
        record: RolloutRecord,
        rows: Sequence[AuditRow],
        responses: Sequence[IdempotentResponse],
        epoch: int | None,
    ) -> bool:
        """Store what has already taken effect, or keep it in memory for the next time.

        Returns whether the audit log has grown. Raises `RecordConflict` if another replica was
        faster.
        """
        try:
            return await self.save(record, rows, responses, epoch)
        except RecordConflict:
            raise
        except (StoreError, OSError, TypeError, ValueError) as error:
            await self.keep(record, rows, responses, error)
            return False

    async def keep(
        self,
        record: RolloutRecord,
        rows: Sequence[AuditRow],
        responses: Sequence[IdempotentResponse],
        error: Exception,
    ) -> None:
        """Remember what could not be stored because of `error`. Without a
        canary in traffic, make sure that a restart brings none back."""
        if self.recorded:
            log.error("the rollout cannot be stored; it continues from memory", exc_info=error)
        self._rows += rows
        self._responses += responses
        self.recorded = False
        if record.rollout.phase is not Phase.ROLLED_BACK:
            return
        try:
            await self._store.revoke_canary()
        except StoreError:
            if self.survives_restart:
                log.critical(
                    "the end of the rollout can be stored nowhere: until it is, a restart would "
                    "give the canary its traffic back; the storage must work first",
                    exc_info=True,
                )
            self.survives_restart = False
        else:
            self.survives_restart = True

    def forget(self) -> None:
        """The current record is the stored one."""
        self._rows, self._responses = [], []
        self.recorded = self.survives_restart = True
