"""The record that a service starts from."""

from __future__ import annotations

import logging
from dataclasses import replace

from service.rollout.state.assessment import assess_record
from service.rollout.state.audit import AuditRow
from service.rollout.state.events import CONTROLLER, FINAL
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import StoreUnreadable
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)


def recover(store: RolloutStore, configured: str, now: float) -> RolloutRecord:
    """The last record; a new one if there is none, or none that can be read.

    Unreadable contents are set aside, and stable gets all traffic. The recorded stable
    version wins over the `configured` one during a rollout and after a promotion; until then
    the configured one counts. Blocks. Raises `StoreError` when the store cannot be opened.
    """
    try:
        record = store.load()
    except StoreUnreadable as error:
        return _replace_unreadable(store, configured, now, error)
    if record is None:
        return RolloutRecord(RolloutState(configured))
    rollout = record.rollout
    if rollout.stable != configured:
        if rollout.phase in FINAL and rollout.previous is None:
            return RolloutRecord(replace(rollout, stable=configured, canary=None))
        log.warning(
            "the recorded stable version %s is used, not the configured %s",
            rollout.stable,
            configured,
        )
    return replace(record, assessment=assess_record(record))


def _replace_unreadable(
    store: RolloutStore, configured: str, now: float, error: StoreUnreadable
) -> RolloutRecord:
    kept = store.set_aside()
    message = f"the record was unreadable and is kept as {kept.name}; stable has all traffic"
    log.critical("%s (%s)", message, error)
    record = RolloutRecord(RolloutState(configured, generation=1, since=now, message=message))
    row: AuditRow = {
        "at": now,
        "generation": 1,
        "actor": CONTROLLER,
        "reason": "store_unreadable",
        "note": "",
        "from": None,
        "to": record.rollout.phase.value,
        "step": 0,
        "weight_percent": 0.0,
        "stable": configured,
        "canary": None,
        "message": f"{message} ({error})",
        "evidence": None,
        "gate_missed": None,
    }
    store.save(record, [row])
    return record
