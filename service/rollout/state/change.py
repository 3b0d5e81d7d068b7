"""One step of a rollout: a record and an event in, a change out. Pure.

The service and the simulator both run a rollout with `apply`. It decides; whoever calls it
carries out the effects in the order given.

The order keeps two promises. A weight is lowered in memory before it is recorded, so a record
that cannot be written never keeps a bad canary in traffic. A weight is recorded before it is
raised, so after a crash there is never more weight than the record says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from service.rollout.state.assessment import assess_record
from service.rollout.state.audit import AuditRow, audit_row
from service.rollout.state.events import (
    FINAL,
    AnalysisResult,
    Event,
    LoadSuccess,
    Phase,
    StartCommand,
    TrafficSwitch,
    Transition,
    UndoCommand,
)
from service.rollout.state.record import EarlierAssessment, RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.state.transitions import advance


class Effect(StrEnum):
    """What carries a change out."""

    SAVE = "save"
    """Store the record, the audit rows and the response. If that fails, drop the change:
    no later effect takes place, and `Change.unsaved` is the current record."""

    SET_TRAFFIC = "set_traffic"
    """Make the record the current one and route requests by it."""

    SAVE_OR_RETRY = "save_or_retry"
    """Store the same. If that fails, continue from memory and try again later."""

    PUBLISH = "publish"
    """Report the transitions: log, metrics and subscribers."""

    LOAD_CANARY = "load_canary"
    """Load the canary; the event that follows is `LoadSuccess` or `LoadFailure`."""

    FINISH_PROMOTION = "finish_promotion"
    """Apply `TrafficSwitch`, unless an abort is waiting."""


_LOWER = (Effect.SET_TRAFFIC, Effect.SAVE_OR_RETRY, Effect.PUBLISH)
_RAISE = (Effect.SAVE, Effect.SET_TRAFFIC, Effect.PUBLISH)


@dataclass(frozen=True, slots=True)
class Change:
    """What an event leads to.

    `unsaved` is the record to go on with when `Effect.SAVE` fails: the old one, with the
    measurements of the event.
    """

    record: RolloutRecord
    effects: tuple[Effect, ...]
    unsaved: RolloutRecord
    transitions: tuple[Transition, ...] = ()
    audit: tuple[AuditRow, ...] = ()


def apply(record: RolloutRecord, event: Event, now: float) -> Change:
    """The change that `event` makes to `record` at `now`, in epoch seconds.

    Raises `Conflict` for a command that is not legal now.
    """
    measured = _with_measurement(replace(record, seen_at=now), event)
    rollout, transition = advance(record.rollout, event, now)
    if transition is None:
        unmoved = replace(measured, rollout=rollout)
        return Change(unmoved, (Effect.SET_TRAFFIC, Effect.SAVE_OR_RETRY), unsaved=measured)
    row = _audit_row(measured, event, rollout, transition)
    if rollout.phase in FINAL:
        ended = replace(measured, rollout=rollout)
        return Change(ended, _LOWER, measured, (transition,), (row,))
    if rollout.phase is Phase.ABORTING:
        rollout, switch = advance(rollout, TrafficSwitch(), now)
        assert switch is not None
        aborted = replace(measured, rollout=rollout)
        rows = (row, audit_row(switch, []))
        return Change(aborted, _LOWER, measured, (transition, switch), rows)
    effects: tuple[Effect, ...] = _RAISE
    if rollout.phase is Phase.PENDING:
        effects = (*_RAISE, Effect.LOAD_CANARY)
    elif rollout.phase is Phase.PROMOTING:
        effects = (*_RAISE, Effect.FINISH_PROMOTION)
    moved = _carry_over(measured, event, rollout)
    moved = replace(moved, assessment=assess_record(moved))
    return Change(moved, effects, measured, (transition,), (row,))


def preview(record: RolloutRecord, event: Event, now: float) -> Change:
    """Where `event` leads if nothing comes between: `apply`, and the end of a promotion.

    Raises `Conflict` as `apply` does.
    """
    change = apply(record, event, now)
    if Effect.FINISH_PROMOTION not in change.effects:
        return change
    end = apply(change.record, TrafficSwitch(), now)
    return replace(
        end,
        transitions=(*change.transitions, *end.transitions),
        audit=(*change.audit, *end.audit),
    )


def _with_measurement(record: RolloutRecord, event: Event) -> RolloutRecord:
    """The record with what the event has measured; the state is unchanged."""
    match event:
        case AnalysisResult():
            return replace(
                record,
                evidence=event.evidence,
                snapshot=event.snapshot,
                analysed_at=event.analysed_at,
                shadow=event.shadow,
                assessment=event.assessment,
                heard_at=event.analysed_at if event.canary_requests else record.heard_at,
                earlier=_earlier(record),
            )
        case LoadSuccess(baseline) if baseline is not None:
            return replace(
                record,
                evidence=baseline.evidence,
                snapshot=baseline.snapshot,
                analysed_at=baseline.analysed_at,
            )
        case _:
            return record


def _earlier(record: RolloutRecord) -> EarlierAssessment | None:
    if record.assessment is None or record.analysed_at is None:
        return None
    return EarlierAssessment(record.analysed_at, record.assessment)


def _carry_over(record: RolloutRecord, event: Event, rollout: RolloutState) -> RolloutRecord:
    """The record in its new state, with the evidence that is still valid there."""
    if isinstance(event, StartCommand | UndoCommand):
        return RolloutRecord(rollout, seen_at=record.seen_at)
    if rollout.step != record.rollout.step and record.evidence is not None:
        evidence = record.evidence.next_step()
        return replace(record, rollout=rollout, evidence=evidence, earlier=None)
    return replace(record, rollout=rollout)


def _audit_row(
    record: RolloutRecord, event: Event, rollout: RolloutState, transition: Transition
) -> AuditRow:
    """With every guardrail's verdict, where the rollout has any."""
    if isinstance(event, StartCommand | UndoCommand):
        return audit_row(transition, [], rollout.missed)
    if isinstance(event, TrafficSwitch) or record.assessment is None:
        return audit_row(transition, [])
    return audit_row(transition, record.assessment.to_json())
