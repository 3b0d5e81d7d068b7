"""When a replica keeps the canary out of traffic by itself. Pure.

The canary's weight is a lease: a replica gives the canary traffic only as long as it knows that
the record says so and that somebody evaluates the evidence. A replica that is cut off from the
database, or whose fleet has lost its leader, cannot learn of a rollback; so it makes one of its
own until it can.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.rollout.state.events import LIVE, Phase
from service.rollout.state.record import RolloutRecord

UNREAD_SECONDS = 9.0
"""A record that has not been confirmed for this long is no longer followed. With the time until
that is noticed, the canary's weight is 0 within 10 s."""

UNEVALUATED_INTERVALS = 3
"""Analysis intervals without an evaluation before the canary's weight is 0."""

SHORTEST_UNEVALUATED = 3.0
"""The same in seconds, for very short intervals."""


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What a replica knows.

    `unread_seconds`: since the stored record was last read or confirmed. `now`: the fleet's
    clock, in epoch seconds. `interval`: seconds between evaluations. `revision`: that of the
    record; `seen_revision`: the newest that any replica has seen.
    """

    unread_seconds: float
    now: float
    interval: float
    revision: int
    seen_revision: int


def withhold_reason(record: RolloutRecord, state: LeaseState) -> str:
    """Why the canary must not have traffic on this replica; blank if it may."""
    if state.revision < state.seen_revision:
        return (
            f"the database holds revision {state.revision} of the rollout, older than "
            f"{state.seen_revision}, which a replica has seen: was a backup restored? "
            "Abort, or confirm the state with any other change"
        )
    if state.unread_seconds > UNREAD_SECONDS:
        return f"the rollout's record could not be read for {state.unread_seconds:.0f} s"
    silent = unevaluated_seconds(record, state.now)
    if silent > max(UNEVALUATED_INTERVALS * state.interval, SHORTEST_UNEVALUATED):
        return f"no replica has evaluated the rollout for {silent:.0f} s"
    return ""


def unevaluated_seconds(record: RolloutRecord, now: float) -> float:
    """Seconds since the last evaluation, or other change, of a rollout whose canary has traffic."""
    if record.rollout.phase not in LIVE | {Phase.PROMOTING} or record.seen_at is None:
        return 0.0
    return now - record.seen_at
