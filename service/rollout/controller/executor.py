"""The rollout's record in memory and on the disk, and the one way it moves.

Order of effects. A weight is lowered in memory first and recorded then; it is
recorded first and raised then. So after a crash there is never more weight than
the record says, and a record that cannot be written never keeps a bad canary in
traffic.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from service.clock import Clock
from service.metrics import Metrics
from service.rollout.analysis.run import last_assessment
from service.rollout.analysis.verdict import Assessment
from service.rollout.controller import gauges
from service.rollout.controller.status import guardrails, status
from service.rollout.notifications.event_feed import EventFeed
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.rollout.state.audit import AuditRow, audit_row
from service.rollout.state.change_request import IdempotentResponse
from service.rollout.state.events import (
    Event,
    Phase,
    StartCommand,
    TrafficSwitch,
    Transition,
    UndoCommand,
)
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.state.transitions import advance
from service.rollout.storage.database import StoreError
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)


class RolloutExecutor:
    """The state machine with its effects. Whoever moves it holds `lock`.

    `on_record` is called when the audit log has grown, `on_pending` when a canary is to
    be loaded. `aborts` counts those that wait for their turn: meanwhile the canary has
    no traffic, whatever the record says.
    """

    def __init__(
        self,
        *,
        traffic: TrafficRouter,
        store: RolloutStore,
        metrics: Metrics,
        clock: Clock,
        stable: str,
        on_record: Callable[[], None],
    ) -> None:
        self.record = RolloutRecord(RolloutState(stable))
        self.verdict: Assessment | None = None
        self.recorded = True
        self.lock = asyncio.Lock()
        self.aborts = 0
        self.feed = EventFeed()
        self.on_pending: Callable[[], None] = lambda: None
        self._on_record = on_record
        self._traffic = traffic
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._unsaved: list[AuditRow] = []
        self._unsaid: list[IdempotentResponse] = []
        gauges.create(metrics)

    @property
    def rollout(self) -> RolloutState:
        """Where it stands."""
        return self.record.rollout

    def status(self) -> dict[str, object]:
        """See `service.rollout.controller.status`."""
        return status(self.record, self.verdict, recorded=self.recorded)

    def stand_at(self, record: RolloutRecord) -> None:
        """Take up a record, with the judgement it has come to."""
        self.record, self.verdict = record, last_assessment(record)

    async def apply(
        self, event: Event, answers: Sequence[IdempotentResponse] = (), *, now: float | None = None
    ) -> None:
        """Move, record it, and act on it. `answers` are kept in the same transaction.

        `now` is the look's own time: a step that begins with it has its first whole
        interval from there on.
        """
        at = self._clock.time() if now is None else now
        rollout, transition = advance(self.rollout, event, at)
        if transition is None:
            self.record = replace(self.record, rollout=rollout)
            await self.keep([])
            return
        fresh = isinstance(event, StartCommand | UndoCommand)
        rows = [
            audit_row(transition, [], rollout.missed)
            if fresh
            else audit_row(transition, guardrails(self.verdict))
        ]
        if rollout.phase is Phase.ABORTING:
            await self.enter(rollout, [transition], rows, answers)
            return
        record = carried(self.record, event, rollout)
        await self._save(record, rows, answers)
        self.stand_at(record)
        self._announce([transition], rows)
        if rollout.phase is Phase.PENDING:
            self.on_pending()
        if rollout.phase is Phase.PROMOTING and not self.aborts:
            await self.enter(rollout, [], [])
        self.direct()

    async def enter(
        self,
        rollout: RolloutState,
        moves: list[Transition],
        rows: list[AuditRow],
        answers: Sequence[IdempotentResponse] = (),
    ) -> None:
        """Finish `Aborting` or `Promoting`: traffic first, then the record."""
        final, applied = advance(rollout, TrafficSwitch(), self._clock.time())
        assert applied is not None
        self.record = replace(self.record, rollout=final)
        self.direct()
        rows = [*rows, audit_row(applied, [])]
        await self.keep(rows, answers)
        self._announce([*moves, applied], rows)

    def direct(self) -> None:
        """Traffic as the record says; none to the canary while an abort waits."""
        rollout = self.rollout
        self._traffic.set(TrafficSplit(rollout.stable) if self.aborts else rollout.assignment())

    async def _save(
        self,
        record: RolloutRecord,
        rows: Sequence[AuditRow],
        answers: Sequence[IdempotentResponse] = (),
    ) -> None:
        rows, answers = [*self._unsaved, *rows], [*self._unsaid, *answers]
        await asyncio.to_thread(self._store.save, record, rows, answers)
        self._unsaved, self._unsaid, self.recorded = [], [], True
        if rows:
            self._on_record()

    async def keep(
        self, rows: Sequence[AuditRow], answers: Sequence[IdempotentResponse] = ()
    ) -> None:
        """RolloutRecord what has taken effect already. If that fails the service goes on
        from memory, says so, and tries again at the next look."""
        try:
            await self._save(self.record, rows, answers)
        except StoreError:
            self._unsaved, self._unsaid = [*self._unsaved, *rows], [*self._unsaid, *answers]
            self.recorded = False
            log.exception("the rollout could not be recorded; it goes on from memory")

    def _announce(self, moves: Sequence[Transition], rows: Sequence[AuditRow]) -> None:
        for move in moves:
            log.warning(
                "rollout: %s -> %s (%s): %s", move.source, move.target, move.reason, move.message
            )
        gauges.count(self._metrics, moves)
        self.publish()
        for row in rows:
            self.feed.send("transition", row)

    def publish(self) -> None:
        """Where it stands, in the metrics."""
        gauges.publish(self._metrics, self.rollout, self.verdict)


def carried(record: RolloutRecord, event: Event, rollout: RolloutState) -> RolloutRecord:
    """The record after `event` has led to `rollout`: what of the evidence goes on."""
    if isinstance(event, StartCommand | UndoCommand):
        return RolloutRecord(rollout)
    raised = rollout.phase is Phase.PROGRESSING and rollout.step != record.rollout.step
    if raised and record.evidence is not None:
        return replace(record, rollout=rollout, evidence=record.evidence.next_step())
    return replace(record, rollout=rollout)
