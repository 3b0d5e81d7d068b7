"""The only writer of the rollout's record: it carries out what `apply` decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from service.clock import Clock
from service.metrics import Metrics
from service.rollout.controller import gauges
from service.rollout.controller.outlook_log import OutlookLog
from service.rollout.controller.record_saver import RecordSaver
from service.rollout.controller.rollout_traffic import RolloutTraffic
from service.rollout.controller.status import status
from service.rollout.notifications.event_feed import EventFeed
from service.rollout.outlook.headline import with_headline
from service.rollout.routing.traffic_split import TrafficRouter
from service.rollout.state.assessment import assess_record
from service.rollout.state.audit import AuditRow
from service.rollout.state.change import Change, Effect, apply
from service.rollout.state.change_request import IdempotentResponse
from service.rollout.state.events import AbortCommand, Event, TrafficSwitch, Verb
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState, legal_verbs
from service.rollout.storage.errors import RecordConflict, StoreError, StoreUnreadable
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)

CLOCK_STEP_SECONDS = 1.0
"""A smaller difference between the clocks is noise; larger ones are never left to add up."""


class ChangeExecutor:
    """Holds the current record and applies events to it, one at a time.

    Whoever calls a method that waits holds `lock`. `on_record` is called when the audit log
    has grown, `load_canary` when a canary must be loaded.

    Replicas may share the store. A change is then made to the record that this replica has
    loaded last, and refused with `RecordConflict` if that is no longer the stored one.
    `told_generation` is that of the last transition that was published.
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
        self.load_canary: Callable[[], None] = lambda: None
        self.traffic = RolloutTraffic(traffic)
        self.told_generation = 0
        self._record = RolloutRecord(RolloutState(stable))
        self._feed = feed
        self._on_record = on_record
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._saver = RecordSaver(store)
        self._unsaved_abort: AbortCommand | None = None
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

    @property
    def recorded(self) -> bool:
        """Whether the current record is stored."""
        return self._saver.recorded

    @property
    def survives_restart(self) -> bool:
        """See `RecordSaver`."""
        return self._saver.survives_restart

    def status(self) -> dict[str, object]:
        """See `service.rollout.controller.status`."""
        return status(self._record, recorded=self.recorded)

    def resume_from(self, record: RolloutRecord) -> None:
        """Make a stored record the current one. The traffic stays as it is, see `route`."""
        self._record = record
        self._clock_offset = self._offset()
        self.told_generation = record.rollout.generation
        self._outlooks.resume_from(record)

    async def apply(
        self,
        event: Event,
        responses: Sequence[IdempotentResponse] = (),
        *,
        now: float | None = None,
        epoch: int | None = None,
    ) -> None:
        """Apply `event` and carry out its effects.

        `responses` are stored in the same transaction. `now` is when the event happened, in
        epoch seconds; the default is the present. With an `epoch`, the change is stored only
        while this replica holds the lease of that epoch. Raises `Conflict` for a command that
        is not legal, and `StoreError` when a change that must be stored first cannot be; then
        nothing has changed. Raises `RecordConflict` if another replica was faster: its record
        is then the current one, and nothing of this change is stored.
        """
        self.follow_clock()
        at = self._clock.time() if now is None else now
        change = apply(self._record, event, at)
        change = replace(change, audit=with_headline(change.audit, change.record))
        for effect in change.effects:
            await self._carry_out(effect, change, responses, epoch)
        _report(lambda: self._outlooks.note(self._record))
        if isinstance(event, AbortCommand) and not self.recorded:
            self._unsaved_abort = event

    async def abort(
        self, command: AbortCommand, responses: Sequence[IdempotentResponse] = ()
    ) -> None:
        """Apply an abort to the record as it is now, however often another replica changes it.

        The canary's traffic is withheld meanwhile. Nothing happens if there is nothing left to
        abort. Raises `StoreError`.
        """
        self.withhold_canary()
        try:
            while Verb.ABORT in legal_verbs(self.rollout):
                with suppress(RecordConflict):
                    await self.apply(command, responses)
        finally:
            self.restore_canary()

    def skip_gap(self, longest: float) -> None:
        """Count no time since the last event if that is more than `longest` seconds ago: nobody
        has evaluated the rollout, so the canary had no traffic. The caller holds the lock."""
        seen = self._record.seen_at
        gap = 0.0 if seen is None else self._clock.time() - seen
        if gap > longest:
            self._record = self._record.shifted(gap)
            log.warning("the rollout was not evaluated for %.0f s, which count for nothing", gap)

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
        self,
        effect: Effect,
        change: Change,
        responses: Sequence[IdempotentResponse],
        epoch: int | None,
    ) -> None:
        match effect:
            case Effect.SAVE:
                await self._save(change, responses, epoch)
            case Effect.SET_TRAFFIC:
                self._record = change.record
                self.route()
            case Effect.SAVE_OR_RETRY:
                await self._save_or_keep(change.audit, responses, epoch)
            case Effect.PUBLISH:
                self._publish(change)
            case Effect.LOAD_CANARY:
                self.load_canary()
            case Effect.FINISH_PROMOTION:
                if not self.traffic.waiting_aborts:
                    await self.apply(TrafficSwitch(), epoch=epoch)

    # --- traffic ---

    def route(self) -> None:
        """Route requests by the current record."""
        self.traffic.route(self.rollout)

    def withhold_canary(self) -> None:
        """Take the canary's traffic at once, for an abort that has to wait for the lock."""
        self.traffic.waiting_aborts += 1
        self.route()

    def restore_canary(self) -> None:
        """Route by the record again once that abort has had its turn."""
        self.traffic.waiting_aborts -= 1
        self.route()

    # --- storage ---

    async def reload(self) -> None:
        """Load the stored record, which another replica may have changed, and route by it.

        Raises `StoreError`; then nothing has changed.
        """
        record = await self._store.load()
        if record is None:
            raise StoreUnreadable("the record of the rollout is gone")
        if self.recorded and record == self._record.stored():
            return  # the same: an analysis run that is under way goes on
        self.adopt(record)

    def adopt(self, record: RolloutRecord) -> None:
        """Make a record that was just loaded the current one, and route by it."""
        self._record = replace(
            record, assessment=assess_record(record), earlier=self._record.earlier_than(record)
        )
        _report(lambda: self._outlooks.note(self._record))
        self._clock_offset = self._offset()
        self._saver.forget()
        self.route()
        self.publish_gauges()

    async def retry_save(self) -> None:
        """Store the current record, and the rows and responses that could not be stored before.

        If another replica was faster, its record counts; an abort is then made again, unless
        the rollout that it was for is over.
        """
        abort, aborted = self._unsaved_abort, self.rollout
        try:
            await self._save_or_keep([], [], None)
        except RecordConflict:
            self._unsaved_abort = None
            if abort is not None and self.rollout.salt == aborted.salt:
                await self.abort(abort)

    async def _save(
        self, change: Change, responses: Sequence[IdempotentResponse], epoch: int | None
    ) -> None:
        try:
            grown = await self._saver.save(change.record, change.audit, responses, epoch)
        except RecordConflict:
            await self.reload()
            raise
        except StoreError:
            self._record = change.unsaved
            raise
        if grown:
            _report(self._on_record)

    async def _save_or_keep(
        self,
        rows: Sequence[AuditRow],
        responses: Sequence[IdempotentResponse],
        epoch: int | None,
    ) -> None:
        """Raises `RecordConflict` once the record of the faster replica is the current one."""
        try:
            grown = await self._saver.save_or_keep(self._record, rows, responses, epoch)
        except RecordConflict:
            try:
                await self.reload()
            except StoreError as error:
                await self._saver.keep(self._record, rows, responses, error)
                return
            raise
        if grown:
            _report(self._on_record)
        if self.recorded:
            self._unsaved_abort = None

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
        self.told_generation = max(self.told_generation, self.rollout.generation)
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
