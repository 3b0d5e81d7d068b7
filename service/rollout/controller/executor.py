"""The only writer of the rollout's record: it carries out what `apply` decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from service.clock import Clock
from service.metrics import Metrics
from service.observability import tracing
from service.rollout.controller import gauges
from service.rollout.controller.outlook_log import OutlookLog
from service.rollout.controller.status import status
from service.rollout.notifications.event_feed import EventFeed
from service.rollout.outlook.headline import with_headline
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.rollout.state.audit import AuditRow
from service.rollout.state.change import Change, Effect, apply
from service.rollout.state.change_request import IdempotentResponse
from service.rollout.state.events import Event, Phase, TrafficSwitch
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import StoreError
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)

CLOCK_STEP_SECONDS = 1.0
"""A smaller difference between the clocks is noise; larger ones are never left to add up."""


class ChangeExecutor:
    """Holds the current record and applies events to it, one at a time.

    Whoever calls `apply` or `retry_save` holds `lock`. `on_record` is called when the audit log
    has grown, `load_canary` when a canary must be loaded. `recorded` is False while the
    current record could not be stored. `survives_restart` is False while, in addition, a
    restart would give a canary the traffic that it has lost since.
    """

    def __init__(
        self,
        *,
        traffic: TrafficRouter,
        store: RolloutStore,
        metrics: Metrics,
        clock: Clock,
        stable: str,
        feed: EventFeed,
        on_record: Callable[[], None],
    ) -> None:
        self.lock = asyncio.Lock()
        self.recorded = True
        self.survives_restart = True
        self.load_canary: Callable[[], None] = lambda: None
        self._record = RolloutRecord(RolloutState(stable))
        self._waiting_aborts = 0
        self._feed = feed
        self._on_record = on_record
        self._traffic = traffic
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._unsaved_rows: list[AuditRow] = []
        self._unsaved_responses: list[IdempotentResponse] = []
        self._clock_offset = self._offset()
        self._outlooks = OutlookLog()
        self._outlooks.resume_from(self._record)
        gauges.create(metrics)

    @property
    def record(self) -> RolloutRecord:
        """The current record."""
        return self._record

    @property
    def rollout(self) -> RolloutState:
        """The current state."""
        return self._record.rollout

    def status(self) -> dict[str, object]:
        """See `service.rollout.controller.status`."""
        return status(self._record, recorded=self.recorded)

    def resume_from(self, record: RolloutRecord) -> None:
        """Make a stored record the current one. The traffic stays as it is, see `route`."""
        self._record = record
        self._outlooks.resume_from(record)

    async def apply(
        self,
        event: Event,
        responses: Sequence[IdempotentResponse] = (),
        *,
        now: float | None = None,
    ) -> None:
        """Apply `event` and carry out its effects.

        `responses` are stored in the same transaction. `now` is when the event happened, in
        epoch seconds; the default is the present. Raises `Conflict` for a command that is not
        legal, and `StoreError` when a change that must be stored first cannot be; then nothing
        has changed.
        """
        self.follow_clock()
        at = self._clock.time() if now is None else now
        change = apply(self._record, event, at)
        change = replace(change, audit=with_headline(change.audit, change.record))
        for effect in change.effects:
            await self._carry_out(effect, change, responses)
        _report(lambda: self._outlooks.note(self._record))

    def follow_clock(self) -> None:
        """Move the record's times along when the system clock was set, so that the durations
        that have passed stay what they were. The caller holds the lock."""
        moved = self._offset() - self._clock_offset
        if abs(moved) >= CLOCK_STEP_SECONDS:
            self._clock_offset += moved
            self._record = self._record.shifted(moved)
            log.warning("the system clock moved by %+.1f s; the rollout's times follow it", moved)

    def _offset(self) -> float:
        return self._clock.time() - self._clock.monotonic()

    async def _carry_out(
        self, effect: Effect, change: Change, responses: Sequence[IdempotentResponse]
    ) -> None:
        match effect:
            case Effect.SAVE:
                try:
                    await self._save(change.record, change.audit, responses)
                except StoreError:
                    self._record = change.unsaved
                    raise
            case Effect.SET_TRAFFIC:
                self._record = change.record
                self.route()
            case Effect.SAVE_OR_RETRY:
                await self._save_or_retry(change.audit, responses)
            case Effect.PUBLISH:
                self._publish(change)
            case Effect.LOAD_CANARY:
                self.load_canary()
            case Effect.FINISH_PROMOTION:
                if not self._waiting_aborts:
                    await self.apply(TrafficSwitch())

    # --- traffic ---

    def route(self) -> None:
        """Route requests by the current record; none to the canary while an abort waits."""
        rollout = self.rollout
        waiting = self._waiting_aborts > 0
        self._traffic.set(TrafficSplit(rollout.stable) if waiting else rollout.split())

    def withhold_canary(self) -> None:
        """Take the canary's traffic at once, for an abort that has to wait for the lock."""
        self._waiting_aborts += 1
        self.route()

    def restore_canary(self) -> None:
        """Route by the record again once that abort has had its turn."""
        self._waiting_aborts -= 1
        self.route()

    # --- storage ---

    async def retry_save(self) -> None:
        """Store the current record, and the rows and responses that could not be stored before."""
        await self._save_or_retry([], [])

    async def _save_or_retry(
        self, rows: Sequence[AuditRow], responses: Sequence[IdempotentResponse]
    ) -> None:
        """Store what has already taken effect, or keep it in memory for the next time."""
        try:
            await self._save(self._record, rows, responses)
        except (StoreError, OSError, TypeError, ValueError):
            self._unsaved_rows += rows
            self._unsaved_responses += responses
            self.recorded = False
            log.exception("the rollout cannot be stored; it continues from memory")
            await self._revoke_canary()

    async def _revoke_canary(self) -> None:
        """Without a canary in traffic, make sure that a restart brings none back."""
        if self.rollout.phase is not Phase.ROLLED_BACK:
            return
        try:
            await self._store.revoke_canary()
        except StoreError:
            self.survives_restart = False
            log.critical(
                "the end of the rollout can be stored nowhere: until it is, a restart would "
                "give the canary its traffic back; free disk space first",
                exc_info=True,
            )
        else:
            self.survives_restart = True

    async def _save(
        self,
        record: RolloutRecord,
        rows: Sequence[AuditRow],
        responses: Sequence[IdempotentResponse],
    ) -> None:
        rows = [*self._unsaved_rows, *rows]
        responses = [*self._unsaved_responses, *responses]
        with tracing.child("rollout store", rows=len(rows)):
            await self._store.save(record, rows, responses)
        self._unsaved_rows, self._unsaved_responses = [], []
        self.recorded = self.survives_restart = True
        if rows:
            _report(self._on_record)

    # --- publication ---

    def _publish(self, change: Change) -> None:
        _report(lambda: self._report_transitions(change))

    def _report_transitions(self, change: Change) -> None:
        for transition in change.transitions:
            log.warning(
                "rollout: %s -> %s (%s): %s",
                transition.source,
                transition.target,
                transition.reason,
                transition.message,
            )
        gauges.count(self._metrics, change.transitions, change.record.assessment)
        self.publish_gauges()
        for row in change.audit:
            self._feed.send("transition", row)

    def publish_gauges(self) -> None:
        """Set the metrics to the current record."""
        gauges.publish(self._metrics, self._record)


def _report(report: Callable[[], None]) -> None:
    """Run `report`. The change it reports is stored: a failure here must not answer an error."""
    try:
        report()
    except Exception:
        log.exception("a change of the rollout is stored but could not be reported")
