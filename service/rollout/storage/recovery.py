"""The record that a service starts from."""

from __future__ import annotations

import logging
from dataclasses import replace

from service.rollout.state.assessment import assess_record
from service.rollout.state.audit import AuditRow
from service.rollout.state.events import CONTROLLER, FINAL, Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import StoreUnreadable
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)


async def recover(store: RolloutStore, configured: str, now: float) -> RolloutRecord:
    """The last record; a new one if there is none, or none that can be read.

    Unreadable contents are set aside, and stable gets all traffic. The recorded stable
    version wins over the `configured` one during a rollout and after a promotion; until then
    the configured one counts. Raises `StoreError` when the store cannot be opened.
    """
    try:
        record = await store.load()
    except StoreUnreadable as error:
        return await _replace_unreadable(store, configured, now, error)
    if record is None:
        return RolloutRecord(RolloutState(configured))
    if record.rollout.phase not in FINAL and record.seen_at is not None:
        # The time without a service is no time at a weight, and no part of a deadline. Nor is
        # a change of the system clock since the last save.
        record = record.shifted(now - record.seen_at)
    rollout = record.rollout
    if rollout.stable != configured:
        if rollout.phase in FINAL and rollout.previous is None:
            return await _replace_stable(store, configured, now, rollout)
        log.warning(
            "the recorded stable version %s is used, not the configured %s",
            rollout.stable,
            configured,
        )
    return replace(record, assessment=assess_record(record))


async def _replace_unreadable(
    store: RolloutStore, configured: str, now: float, error: StoreUnreadable
) -> RolloutRecord:
    kept = await store.set_aside()
    message = f"the record was unreadable and is kept as {kept}; stable has all traffic"
    log.critical("%s (%s)", message, error)
    record = RolloutRecord(RolloutState(configured, generation=1, since=now, message=message))
    row = _audit_row(record.rollout, "store_unreadable", f"{message} ({error})")
    await store.save(record, [row])
    return record


async def _replace_stable(
    store: RolloutStore, configured: str, now: float, last: RolloutState
) -> RolloutRecord:
    """A new record with the configured stable version, because none was promoted yet."""
    message = f"{configured} is stable by the service's settings; it was {last.stable} before"
    log.warning(message)
    record = RolloutRecord(
        RolloutState(configured, generation=last.generation + 1, since=now, message=message)
    )
    row = _audit_row(record.rollout, "configured", message, source=last.phase)
    await store.save(record, [row])
    return record


def _audit_row(
    rollout: RolloutState, reason: str, message: str, source: Phase | None = None
) -> AuditRow:
    """The row of a change that is no transition of the state machine."""
    return {
        "at": rollout.since,
        "generation": rollout.generation,
        "actor": CONTROLLER,
        "reason": reason,
        "note": "",
        "from": None if source is None else source.value,
        "to": rollout.phase.value,
        "step": 0,
        "weight_percent": 0.0,
        "stable": rollout.stable,
        "canary": None,
        "message": message,
        "evidence": None,
        "gate_missed": None,
    }
