"""Where a service takes up after a restart."""

from __future__ import annotations

import logging
from dataclasses import replace

from service.rollout.state.audit import AuditRow
from service.rollout.state.events import CONTROLLER, FINAL
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import StoreUnreadable
from service.rollout.storage.rollout_store import RolloutStore

log = logging.getLogger(__name__)


def recover(store: RolloutStore, configured: str, now: float) -> RolloutRecord:
    """The last record; a new one where there is none, or none that can be read.

    An unreadable file is kept aside, and all traffic is stable's. The recorded
    stable wins over the `configured` one once a promotion is on record or while
    a rollout is on; until then the configured one is taken. Blocks. Raises
    `StoreError` when the file cannot be opened at all.
    """
    try:
        record = store.load()
    except StoreUnreadable as error:
        return _begin_anew(store, configured, now, error)
    if record is None:
        return RolloutRecord(RolloutState(configured))
    rollout = record.rollout
    if rollout.stable == configured:
        return record
    if rollout.phase in FINAL and rollout.previous is None:
        return RolloutRecord(replace(rollout, stable=configured, canary=None))
    log.warning("stable is %s as recorded, not %s as configured", rollout.stable, configured)
    return record


def _begin_anew(
    store: RolloutStore, configured: str, now: float, error: StoreUnreadable
) -> RolloutRecord:
    kept = store.set_aside()
    message = f"the record was unreadable and is kept as {kept.name}; all traffic is stable's"
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
