"""The conditions under which a rollout moves on, and how far each is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.rollout.analysis.formatting import format_duration, uncapitalised
from service.rollout.analysis.verdict import Stance, Verdict
from service.rollout.outlook.outlook import evaluated_at, required_verdicts
from service.rollout.plan.rollout_plan import PlanStep, RolloutPlan
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState

_SLOW_PACE = 0.02
"""A part of the evidence below which no pace can be told."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of the next move.

    `label` names what it is about, and `text` says how far it is. `current` and `required` are
    in `unit`s. `expected_at` is when it will be met at the present
    pace, in epoch seconds: None if that cannot be said, or if it is met.
    """

    name: str
    label: str
    current: float
    required: float
    unit: str
    met: bool
    text: str
    expected_at: float | None = None

    @property
    def fraction(self) -> float:
        """How far it is, 0..1; 1 only if it is met."""
        if self.met:
            return 1.0
        return min(0.99, max(0.0, self.current / self.required)) if self.required > 0 else 0.0

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "label": self.label,
            "current": self.current,
            "required": self.required,
            "unit": self.unit,
            "met": self.met,
            "fraction": self.fraction,
            "expected_at": self.expected_at,
            "text": self.text,
        }


def warm_up_conditions(record: RolloutRecord, plan: RolloutPlan) -> tuple[Condition, ...]:
    """The conditions that end the warm-up."""
    rollout, now = record.rollout, evaluated_at(record)
    elapsed = now - rollout.step_since
    served, needed = rollout.warm_up_requests, plan.warm_up_requests
    noun = "copies" if plan.steps[rollout.step].shadow else "requests"
    return (
        _time("warm_up_seconds", rollout.step_since, elapsed, plan.warm_up_seconds, "warm-up"),
        Condition(
            name="warm_up_requests",
            label=f"warm-up {noun}",
            current=served,
            required=needed,
            unit=noun,
            met=served >= needed,
            text=f"{served} of {needed} warm-up {noun}",
            expected_at=_at_pace(served, needed, elapsed, now),
        ),
    )


def step_conditions(record: RolloutRecord, plan: RolloutPlan) -> tuple[Condition, ...]:
    """The conditions that end the current step."""
    return tuple(_step_conditions(record, plan, plan.steps[record.rollout.step]))


def judged_since(rollout: RolloutState, plan: RolloutPlan) -> float:
    """From when on latency is judged in this step, in epoch seconds, once the canary is warm.

    The warm-up of the first step already ran at that step's weight, so it counts towards
    the settling.
    """
    settle = plan.settle_seconds
    after = max(0.0, settle - plan.warm_up_seconds) if rollout.step == 0 else settle
    return rollout.step_since + after


def _step_conditions(
    record: RolloutRecord, plan: RolloutPlan, step: PlanStep
) -> Iterator[Condition]:
    rollout, assessment, now = record.rollout, record.assessment, evaluated_at(record)
    elapsed = now - rollout.step_since
    yield _time("dwell", rollout.step_since, elapsed, step.min_dwell_seconds, "in this step")
    judged = now - judged_since(rollout, plan)
    canary = assessment.canary if assessment else 0
    stable = assessment.stable if assessment else 0
    if step.shadow:
        yield _samples("canary_samples", canary, step.min_samples, "copies", judged, now)
    else:
        yield _samples("canary_samples", canary, step.min_samples, "canary requests", judged, now)
        if not step.takes_all:
            yield _samples(
                "stable_samples", stable, step.min_samples, "stable requests", judged, now
            )
    for verdict in required_verdicts(record):
        yield _verdict(verdict, judged, now)


def _time(name: str, since: float, elapsed: float, required: float, what: str) -> Condition:
    return Condition(
        name=name,
        label="time",
        current=max(0.0, elapsed),
        required=required,
        unit="seconds",
        met=elapsed >= required,
        text=f"{_elapsed(max(0.0, elapsed), required)} of {format_duration(required)} {what}",
        expected_at=None if elapsed >= required else since + required,
    )


def _samples(
    name: str, current: int, required: int, what: str, elapsed: float, now: float
) -> Condition:
    return Condition(
        name=name,
        label=what,
        current=current,
        required=required,
        unit="copies" if what == "copies" else "requests",
        met=current >= required,
        text=f"{current} of {required} {what}",
        expected_at=_at_pace(current, required, elapsed, now),
    )


def _verdict(verdict: Verdict, elapsed: float, now: float) -> Condition:
    part, passed = verdict.pass_progress, verdict.standing is Stance.PASSED
    label = uncapitalised(verdict.label)
    text = f"{label} has passed" if passed else f"{label}: {_how_far(verdict)}"
    paced = part if verdict.held is None and part >= _SLOW_PACE else 0.0
    return Condition(
        name=f"guardrail:{verdict.name}",
        label=label,
        current=max(0.0, verdict.log_pass) if verdict.pass_bound else part,
        required=verdict.pass_bound or 1.0,
        unit="evidence",
        met=passed,
        text=text,
        expected_at=None if passed else _at_pace(paced, 1.0, elapsed, now),
    )


def _how_far(verdict: Verdict) -> str:
    if verdict.standing is Stance.NO_DATA:
        return "no data yet"
    if verdict.standing is Stance.ERROR:
        return "cannot be judged"
    if verdict.standing in {Stance.LEANING_TO_FAIL, Stance.FAILED}:
        return f"{100 * verdict.fail_progress:.0f} % of the way to a fail"
    if verdict.held:
        return f"its pass is held back because {verdict.held}"
    return f"{100 * verdict.pass_progress:.0f} % of the way to a pass"


def _elapsed(elapsed: float, required: float) -> str:
    """The time that has passed, without the unit if it is the same."""
    text = format_duration(min(elapsed, required))
    return text.removesuffix(" s") if required < 60 else text


def _at_pace(current: float, required: float, elapsed: float, now: float) -> float | None:
    """When `current` reaches `required` at the mean pace so far."""
    if current >= required or current <= 0 or elapsed <= 0:
        return None
    return now + elapsed * (required - current) / current
