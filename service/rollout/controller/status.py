"""The rollout's status: where it is, and why."""

from __future__ import annotations

from service.rollout.analysis.verdict import Assessment
from service.rollout.outlook.headline import headline
from service.rollout.outlook.next_action import next_action
from service.rollout.outlook.outlook import judge_outlook
from service.rollout.routing.traffic_split import BASIS_POINTS
from service.rollout.state.events import FINAL
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState, legal_verbs


def status(record: RolloutRecord, *, recorded: bool) -> dict[str, object]:
    """The status as JSON. Weights are in per cent, times in epoch seconds.

    `actual_percent` is the canary's share of the requests judged in this step. `recorded` says
    whether the record is stored.
    """
    rollout, assessment = record.rollout, record.assessment
    over = rollout.phase in FINAL
    outlook = judge_outlook(record)
    return {
        "outlook": outlook.value,
        "headline": headline(record),
        "next": next_action(record, outlook).to_json(),
        "phase": rollout.phase.value,
        "reason": rollout.reason.value if rollout.reason else None,
        "message": rollout.message,
        "actor": rollout.actor,
        "note": rollout.note,
        "generation": rollout.generation,
        "stable": rollout.stable,
        "canary": rollout.canary,
        "previous": rollout.previous,
        "attempt": None if rollout.canary is None else rollout.attempt,
        "step": None if over or rollout.plan is None else rollout.step,
        "steps": len(rollout.plan.steps) if rollout.plan else 0,
        "weight": {
            "set_percent": rollout.weight_bp * 100 / BASIS_POINTS,
            "actual_percent": None if over else _actual_percent(rollout, assessment),
        },
        "since": rollout.since,
        "step_since": None if over else rollout.step_since,
        "looked_at": record.analysed_at,
        "legal": [verb.value for verb in legal_verbs(rollout)],
        "plan": rollout.plan.model_dump(mode="json") if rollout.plan else None,
        "gate": _gate(rollout),
        "recorded": recorded,
        "guardrails": assessment.to_json() if assessment else [],
        "shadow": None if record.shadow is None else record.shadow.to_json(),
    }


def _gate(rollout: RolloutState) -> dict[str, object] | None:
    """None for a plan without a gate. `missed` is empty unless an approver overrode the gate."""
    if rollout.plan is None or rollout.plan.gate is None:
        return None
    missed = [miss.to_json() for miss in rollout.missed]
    return {"overridden": bool(missed), "missed": missed}


def _actual_percent(rollout: RolloutState, assessment: Assessment | None) -> float | None:
    """The canary's share of the judged requests; none of them is the canary's in a shadow step."""
    if rollout.current_step is not None and rollout.current_step.shadow:
        return 0.0
    if assessment is None:
        return None
    total = assessment.canary + assessment.stable
    return 100 * assessment.canary / total if total else None
