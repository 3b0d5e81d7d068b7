"""What happens next in a rollout, under which conditions, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from service.rollout.analysis.formatting import format_about, format_duration
from service.rollout.analysis.verdict import Verdict
from service.rollout.outlook.condition import Condition, step_conditions, warm_up_conditions
from service.rollout.outlook.outlook import ENDED, Outlook, evaluated_at, failing, unread
from service.rollout.outlook.possible_rollback import (
    PossibleRollback,
    possible_rollback,
    rollback_text,
)
from service.rollout.plan.rollout_plan import PlanStep, RolloutPlan
from service.rollout.state.evaluation import MAX_ERRORS
from service.rollout.state.events import Phase, Reason
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState


class Action(StrEnum):
    """What happens next.

    `BEGIN_STEPS`: the warm-up ends. `APPROVAL`: the rollout will wait for a person. `PERSON`:
    it waits for one now.
    """

    NONE = "none"
    LOAD = "load"
    BEGIN_STEPS = "begin_steps"
    NEXT_STEP = "next_step"
    APPROVAL = "approval"
    PROMOTION = "promotion"
    ROLL_BACK = "roll_back"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class NextMove:
    """What happens next. Times are in epoch seconds, weights in per cent.

    `earliest_at`: it cannot happen before. `expected_at`: when it happens at the present pace.
    Either is None where it cannot be said. `deadline_at`: when the warm-up, the step or the
    pause ends without it; `on_deadline` says how.
    """

    action: Action
    text: str
    weight_percent: float | None = None
    waiting_for: tuple[str, ...] = ()
    earliest_at: float | None = None
    expected_at: float | None = None
    deadline_at: float | None = None
    on_deadline: str | None = None
    conditions: tuple[Condition, ...] = ()
    rollback: PossibleRollback | None = None

    def to_json(self) -> dict[str, object]:
        """As in the status."""
        return {
            "action": self.action.value,
            "text": self.text,
            "weight_percent": self.weight_percent,
            "waiting_for": list(self.waiting_for),
            "earliest_at": self.earliest_at,
            "expected_at": self.expected_at,
            "deadline_at": self.deadline_at,
            "on_deadline": self.on_deadline,
            "conditions": [condition.to_json() for condition in self.conditions],
            "rollback": self.rollback.to_json() if self.rollback else None,
        }


def next_action(record: RolloutRecord, outlook: Outlook) -> NextMove:
    """What happens next to the rollout of this record."""
    rollout, plan = record.rollout, record.rollout.plan
    if rollout.phase is Phase.PROMOTING:
        return NextMove(Action.NONE, f"{rollout.canary} gets all traffic.")
    if outlook in ENDED:
        return NextMove(Action.NONE, _after_the_end(rollout, outlook))
    if rollout.phase is Phase.PENDING or plan is None:
        return _loading(rollout)
    if rollout.phase is Phase.PAUSED:
        return _paused(record, plan)
    if rollout.phase is Phase.WARMING_UP:
        ahead = _warming_up(record, plan)
    else:
        ahead = _progressing(record, plan)
    worst = failing(record)
    if worst is not None and outlook is Outlook.LEANING_TO_FAIL:
        return _rolling_back(record, ahead, worst)
    return replace(ahead, text=_unblinding(record, ahead)) if outlook is Outlook.BLIND else ahead


def step_name(rollout: RolloutState, step: int) -> str:
    """A step as "step 3 of 4 (25 %)"."""
    assert rollout.plan is not None
    return f"step {step + 1} of {len(rollout.plan.steps)} ({weight_text(rollout.plan.steps[step])})"


def weight_text(step: PlanStep) -> str:
    """What the canary gets in a step: 25 %, or copies."""
    return "copies of requests" if step.shadow else f"{step.weight:g} %"


def _after_the_end(rollout: RolloutState, outlook: Outlook) -> str:
    if outlook is Outlook.PROMOTED:
        return f"Undo makes {rollout.previous} stable again." if rollout.previous else ""
    if outlook is Outlook.IDLE:
        return "Start a rollout to try another version."
    if rollout.plan is None:
        return f"{rollout.stable} has all traffic."
    canary = rollout.canary
    match rollout.reason:
        case Reason.GUARDRAIL_FAILED:
            advice = f"Nothing is urgent: find the cause before you retry {canary}."
        case Reason.GATE_MISSED:
            advice = "Start another version, or let an approver override the gate."
        case Reason.PREPARE_FAILED:
            advice = f"Repair {canary}, then retry."
        case _:
            advice = f"Retry starts {canary} again with the same plan."
    return f"{rollout.stable} has all traffic. {advice}"


def _loading(rollout: RolloutState) -> NextMove:
    if rollout.undoing:
        text = f"{rollout.canary} becomes stable once it is loaded."
        return NextMove(Action.PROMOTION, text, 100.0, ("load",))
    text = f"{rollout.canary} warms up once it is loaded and checked."
    weight = rollout.plan.steps[0].weight if rollout.plan else None
    return NextMove(Action.LOAD, text, weight, ("load",))


def _paused(record: RolloutRecord, plan: RolloutPlan) -> NextMove:
    rollout = record.rollout
    deadline = rollout.since + plan.pause_deadline_seconds
    left = format_duration(deadline - evaluated_at(record))
    last = rollout.step + 1 == len(plan.steps)
    after = 100.0 if last else plan.steps[rollout.step + 1].weight
    name = step_name(rollout, rollout.step)
    match rollout.reason:
        case Reason.APPROVAL:
            what = f"make {rollout.canary} stable" if last else f"give it {after:g} %"
            text, waiting = f"Promote to {what}, or abort.", "approval"
            if failing(record) is not None:
                text = "Do not promote it now. Abort, or wait for the verdict."
        case Reason.NO_DATA:
            text, waiting = f"Send requests and resume {name}, or abort.", "resume"
        case Reason.EVIDENCE_ERROR:
            text, waiting = f"Repair the evidence source and resume {name}, or abort.", "resume"
        case Reason.REPLICAS_DIED:
            text = f"Read the logs of the replicas that died, then abort or resume {name}."
            waiting = "resume"
        case Reason.INCONCLUSIVE:
            text = f"Abort, or resume {name} to wait longer, or promote by force."
            waiting = "resume"
        case _:
            text, waiting = f"Resume {name}, or abort.", "resume"
    if waiting == "resume":
        after = plan.steps[rollout.step].weight
    person = Condition(
        name=waiting,
        label="a person's approval" if waiting == "approval" else "a person's answer",
        current=0,
        required=1,
        unit="person",
        met=False,
        text="a person promotes" if waiting == "approval" else "a person resumes",
    )
    return NextMove(
        Action.PERSON,
        text if failing(record) is None else f"{text} {_rolled_back_in(left)}",
        after,
        (waiting,),
        deadline_at=deadline,
        on_deadline="abort",
        conditions=(person,),
        rollback=possible_rollback(record),
    )


def _warming_up(record: RolloutRecord, plan: RolloutPlan) -> NextMove:
    conditions = warm_up_conditions(record, plan)
    return _conditional(
        record,
        plan,
        Action.BEGIN_STEPS,
        f"Judging in {step_name(record.rollout, 0)} begins by itself",
        plan.steps[0].weight,
        conditions,
        on_deadline="pause",
    )


def _progressing(record: RolloutRecord, plan: RolloutPlan) -> NextMove:
    rollout = record.rollout
    step, last = plan.steps[rollout.step], rollout.step + 1 == len(plan.steps)
    conditions = step_conditions(record, plan)
    weight = 100.0 if last else plan.steps[rollout.step + 1].weight
    if step.approval:
        action, what = Action.APPROVAL, f"{rollout.canary} asks for a person's approval"
        weight = rollout.weight_bp / 100
    elif last:
        action, what = Action.PROMOTION, f"{rollout.canary} becomes stable by itself"
    else:
        following = step_name(rollout, rollout.step + 1)
        action, what = Action.NEXT_STEP, f"{following[:1].upper()}{following[1:]} begins by itself"
    return _conditional(record, plan, action, what, weight, conditions, plan.on_deadline)


def _conditional(
    record: RolloutRecord,
    plan: RolloutPlan,
    action: Action,
    text: str,
    weight: float,
    conditions: tuple[Condition, ...],
    on_deadline: str,
) -> NextMove:
    """An action that comes by itself once all conditions are met. `text` says what happens."""
    now, open_ones = evaluated_at(record), [c for c in conditions if not c.met]
    fixed = [c.expected_at for c in open_ones if c.unit == "seconds" and c.expected_at is not None]
    paced = [c.expected_at for c in open_ones]
    known = [at for at in paced if at is not None]
    expected = max(known, default=now) if len(known) == len(paced) else None
    return NextMove(
        action,
        f"{text} {_when(open_ones, expected, now)}.",
        weight,
        tuple(condition.name for condition in open_ones),
        earliest_at=max(fixed, default=now),
        expected_at=expected,
        deadline_at=record.rollout.since + plan.deadline_seconds,
        on_deadline=on_deadline,
        conditions=conditions,
        rollback=possible_rollback(record),
    )


def _when(open_ones: list[Condition], expected: float | None, now: float) -> str:
    """When something comes by itself, and what it waits for."""
    wanted = ", ".join(condition.text for condition in open_ones)
    if not wanted:
        return "at the next evaluation"
    if expected is None:
        return f"once this is complete: {wanted}"
    return f"in about {format_about(expected - now)}; so far: {wanted}"


def _unblinding(record: RolloutRecord, ahead: NextMove) -> str:
    """What to do while the guardrails see nothing, and what happens otherwise."""
    if unread(record):
        assert record.assessment is not None
        cause = record.assessment.verdicts[0].message.removeprefix("error: ").rstrip(".")
        return (
            f"Repair the evidence source. After {MAX_ERRORS} evaluations without counts the "
            f"rollout pauses and waits for a person. The cause: {cause}."
        )
    assert ahead.deadline_at is not None
    left = format_duration(ahead.deadline_at - evaluated_at(record))
    return (
        f"Check that callers send requests. If too few come, the rollout pauses in {left} and "
        f"waits for a person."
    )


def _rolled_back_in(left: str) -> str:
    """A pause does not keep a guardrail from failing. Otherwise the headline names the deadline."""
    return (
        "It is rolled back by itself as soon as the evidence against it is complete, and without "
        f"an answer in {left}."
    )


def _rolling_back(record: RolloutRecord, ahead: NextMove, worst: Verdict) -> NextMove:
    """The rollback that is likely, with the conditions of what happens otherwise."""
    rollback = possible_rollback(record)
    assert rollback is not None
    return NextMove(
        Action.ROLL_BACK,
        rollback_text(record, worst, rollback),
        0.0,
        (f"guardrail:{worst.name}",),
        expected_at=rollback.expected_at,
        deadline_at=ahead.deadline_at,
        on_deadline=ahead.on_deadline,
        conditions=ahead.conditions,
        rollback=rollback,
    )
