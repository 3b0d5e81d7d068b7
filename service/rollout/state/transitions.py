"""The rollout's state machine: a frozen record, and how it moves. No clock, no I/O.

What holds in every state, whatever happens:
abort beats everything; guardrails run while paused; a pause has a deadline and
is aborted at it; no data and an unreadable look neither pass nor fail; a stopped
rollout is never a success; only a pass or a person's recorded word raises the
weight.
"""

from __future__ import annotations

from dataclasses import replace

from service.errors import Conflict
from service.rollout.analysis.verdict import Assessment, VerdictOutcome
from service.rollout.plan.gate import describe_misses
from service.rollout.plan.rollout_plan import PlanStep, RolloutPlan
from service.rollout.state.events import (
    CONTROLLER,
    LIVE,
    AbortCommand,
    Event,
    LoadFailure,
    LoadSuccess,
    PauseCommand,
    Phase,
    PromoteCommand,
    Reason,
    ResumeCommand,
    StartCommand,
    Tick,
    TrafficSwitch,
    Transition,
    UndoCommand,
    Verb,
)
from service.rollout.state.rollout_state import RolloutState, legal_verbs, require_legal

MAX_ERRORS = 3
"""Looks in a row that could not be read before the rollout pauses."""

Moved = tuple[RolloutState, Transition | None]


def advance(rollout: RolloutState, event: Event, now: float) -> Moved:
    """The record after `event`, and the transition if there was one.

    Raises `Conflict`, which lists the legal verbs, for a verb that is not one of
    them. The service's own events are ignored where they come too late.
    """
    # A clock that was set back restarts a wait instead of stretching it.
    rollout = replace(
        rollout, since=min(rollout.since, now), step_since=min(rollout.step_since, now)
    )
    match event:
        case Tick():
            return _tick(rollout, event, now)
        case LoadSuccess() | LoadFailure() | TrafficSwitch():
            return _own(rollout, event, now)
        case PromoteCommand():
            return _promote(rollout, event, now)
        case _:
            return _verb(rollout, event, now)


def _verb(
    rollout: RolloutState,
    event: StartCommand | UndoCommand | PauseCommand | ResumeCommand | AbortCommand,
    now: float,
) -> Moved:
    require_legal(rollout, event.verb)
    who = {"actor": event.actor, "note": event.note}
    match event:
        case StartCommand():
            fresh = RolloutState(
                stable=rollout.stable,
                phase=rollout.phase,
                generation=rollout.generation,
                canary=event.canary,
                previous=rollout.previous,
                plan=event.plan,
                salt=event.salt,
                missed=event.missed,
                attempts=_attempts(rollout, event),
            )
            words = f"loading {event.canary}"
            if fresh.attempt > 1:
                words += f", attempt {fresh.attempt}"
            if event.missed:
                words += f", the gate overridden: {describe_misses(event.missed)}"
            reason = Reason.RETRY if event.retry else Reason.START
            return _move(fresh, Phase.PENDING, reason, words, now, **who)
        case UndoCommand():
            fresh = RolloutState(
                stable=rollout.stable,
                phase=rollout.phase,
                generation=rollout.generation,
                canary=rollout.previous,
                previous=rollout.previous,
                undoing=True,
                attempts=rollout.attempts,
            )
            words = f"loading {rollout.previous}, stable before {rollout.stable}"
            return _move(fresh, Phase.PENDING, Reason.UNDO, words, now, **who)
        case PauseCommand():
            return _move(rollout, Phase.PAUSED, Reason.BY_HAND, "paused by hand", now, **who)
        case ResumeCommand():
            target = Phase.PROGRESSING if rollout.warmed else Phase.WARMING_UP
            resumed = replace(rollout, errors=0)
            return _move(resumed, target, Reason.RESUMED, "resumed by hand", now, **who)
        case AbortCommand():
            return _move(rollout, Phase.ABORTING, Reason.ABORTED, "aborted by hand", now, **who)


def _attempts(rollout: RolloutState, event: StartCommand) -> dict[str, int]:
    """One more trial of this canary, by whatever verb; one that was rolled back before it
    had traffic has had none yet."""
    before = rollout.attempts.get(event.canary, 0)
    untried = rollout.canary == event.canary and not rollout.step_since
    return {**rollout.attempts, event.canary: before if before and untried else before + 1}


def _promote(rollout: RolloutState, event: PromoteCommand, now: float) -> Moved:
    """A person may cut the dwell short; without a pass only by force, and on record."""
    require_legal(rollout, Verb.PROMOTE)
    if not rollout.passed and not event.force:
        raise Conflict(
            "the step's guardrails have not passed; wait for them, or force it as an approver",
            "guardrails_not_passed",
            {"legal": [str(v) for v in legal_verbs(rollout)], "phase": str(rollout.phase)},
        )
    reason = Reason.PROMOTED if rollout.passed else Reason.FORCED
    how = "promoted by hand" if rollout.passed else "promoted by force, guardrails had not passed"
    return _next(rollout, reason, how, now, actor=event.actor, note=event.note)


def _own(
    rollout: RolloutState, event: LoadSuccess | LoadFailure | TrafficSwitch, now: float
) -> Moved:
    phase = rollout.phase
    match event:
        case LoadSuccess() if phase is Phase.PENDING and rollout.undoing:
            words = f"{rollout.canary} is loaded and takes over"
            moved, transition = _move(rollout, Phase.PROMOTING, Reason.PREPARED, words, now)
            return replace(moved, reason=Reason.UNDO), transition
        case LoadSuccess() if phase is Phase.PENDING:
            warm = replace(rollout, step_since=now)
            shadow = rollout.present is not None and rollout.present.shadow
            on = "copies of requests" if shadow else "real requests"
            words = f"{rollout.canary} is loaded and warms up on {on}"
            return _move(warm, Phase.WARMING_UP, Reason.PREPARED, words, now)
        case LoadFailure() if phase in LIVE | {Phase.PENDING, Phase.PROMOTING}:
            return _move(rollout, Phase.ABORTING, event.reason, event.message, now)
        case TrafficSwitch() if phase is Phase.PROMOTING:
            assert rollout.canary is not None
            words = f"{rollout.canary} is stable; {rollout.stable} can be brought back by undo"
            return _settle(
                rollout,
                Phase.HEALTHY,
                words,
                now,
                stable=rollout.canary,
                canary=None,
                previous=rollout.stable,
            )
        case TrafficSwitch() if phase is Phase.ABORTING:
            words = f"{rollout.stable} has all traffic: {rollout.message}"
            return _settle(
                rollout,
                Phase.ROLLED_BACK,
                words,
                now,
                stable=rollout.stable,
                canary=rollout.canary,
                previous=rollout.previous,
            )
        case _:
            return rollout, None


def _tick(rollout: RolloutState, event: Tick, now: float) -> Moved:  # noqa: PLR0911 - by precedence
    plan, step, verdict = rollout.plan, rollout.present, event.verdict
    if rollout.phase not in LIVE or plan is None or step is None:
        return rollout, None
    if verdict.outcome is VerdictOutcome.FAIL:
        return _move(rollout, Phase.ABORTING, Reason.GUARDRAIL_FAILED, verdict.message, now)
    broken = verdict.outcome is VerdictOutcome.ERROR
    rollout = replace(rollout, errors=rollout.errors + 1 if broken else 0)
    if not broken:
        warm = rollout.warm_up_requests + (0 if rollout.warmed else event.canary_requests)
        passed = rollout.warmed and _enough(step, verdict) and _compared(step, verdict)
        rollout = replace(rollout, warm_up_requests=warm, passed=passed)
    if rollout.phase is Phase.PAUSED:
        if now - rollout.since < plan.pause_deadline_seconds:
            return rollout, None
        words = f"paused ({rollout.reason}) for {plan.pause_deadline_seconds:g} s, the plan's limit"
        return _move(rollout, Phase.ABORTING, Reason.PAUSE_DEADLINE, words, now)
    if broken:
        if rollout.errors < MAX_ERRORS:
            return rollout, None
        words = f"{rollout.errors} looks in a row failed; {verdict.message}"
        return _move(rollout, Phase.PAUSED, Reason.EVIDENCE_ERROR, words, now)
    if rollout.phase is Phase.WARMING_UP:
        return _warm_up(rollout, plan, now)
    return _progress(rollout, plan, step, verdict, now)


def _warm_up(rollout: RolloutState, plan: RolloutPlan, now: float) -> Moved:
    waited, served = now - rollout.since, rollout.warm_up_requests
    if now - rollout.step_since >= plan.warm_up_seconds and served >= plan.warm_up_requests:
        words = f"warm after {waited:.0f} s and {served} requests; step 1 begins"
        warmed = replace(rollout, warmed=True, step_since=now)
        return _move(warmed, Phase.PROGRESSING, Reason.WARMED_UP, words, now)
    if waited < plan.deadline_seconds:
        return rollout, None
    words = f"{served} of {plan.warm_up_requests} warm-up requests came in {waited:.0f} s"
    return _move(rollout, Phase.PAUSED, Reason.NO_DATA, words, now)


def _progress(
    rollout: RolloutState, plan: RolloutPlan, step: PlanStep, verdict: Assessment, now: float
) -> Moved:
    if rollout.passed and now - rollout.step_since >= step.min_dwell_seconds:
        if step.approval:
            words = f"step {rollout.step + 1} waits for approval; {verdict.message}"
            return _move(rollout, Phase.PAUSED, Reason.APPROVAL, words, now)
        last = rollout.step + 1 == len(plan.steps)
        reason = Reason.PLAN_PASSED if last else Reason.STEP_PASSED
        return _next(rollout, reason, verdict.message, now)
    waited = now - rollout.since
    if waited < plan.deadline_seconds:
        return rollout, None
    if not _enough(step, verdict):
        words = (
            f"{verdict.canary} canary and {verdict.stable} stable requests in {waited:.0f} s, "
            f"{step.min_samples} wanted"
        )
        return _move(rollout, Phase.PAUSED, Reason.NO_DATA, words, now)
    target = Phase.ABORTING if plan.on_deadline == "abort" else Phase.PAUSED
    words = f"no pass in {waited:.0f} s; {verdict.message}"
    return _move(rollout, target, Reason.INCONCLUSIVE, words, now)


def _enough(step: PlanStep, verdict: Assessment) -> bool:
    """Whether the step has its samples; at 100 % there is only the canary to count."""
    stable = verdict.stable >= step.min_samples or step.whole
    return verdict.canary >= step.min_samples and stable


def _compared(step: PlanStep, verdict: Assessment) -> bool:
    """A pass; at 100 %, where none is possible, the absence of a fail. A plan makes
    sure that a comparison came before and that a person's approval comes after."""
    return verdict.outcome is VerdictOutcome.PASS or step.whole


def _next(
    rollout: RolloutState,
    reason: Reason,
    words: str,
    now: float,
    actor: str = CONTROLLER,
    note: str = "",
) -> Moved:
    """One step on, or promotion from the last."""
    assert rollout.plan is not None
    if rollout.step + 1 == len(rollout.plan.steps):
        return _move(rollout, Phase.PROMOTING, reason, words, now, actor=actor, note=note)
    raised = replace(
        rollout, step=rollout.step + 1, step_since=now, passed=False, warmed=True, errors=0
    )
    return _move(raised, Phase.PROGRESSING, reason, words, now, actor=actor, note=note)


def _settle(
    rollout: RolloutState,
    target: Phase,
    words: str,
    now: float,
    *,
    stable: str,
    canary: str | None,
    previous: str | None,
) -> Moved:
    """Into a final state, which keeps the reason that led to it for people to read."""
    moved, transition = _move(rollout, target, Reason.APPLIED, words, now)
    assert transition is not None
    final = replace(
        moved,
        reason=rollout.reason,
        stable=stable,
        canary=canary,
        previous=previous,
        undoing=False,
        attempts=rollout.attempts if stable == rollout.stable else {},
    )
    return final, replace(transition, stable=stable, canary=canary)


def _move(
    rollout: RolloutState,
    target: Phase,
    reason: Reason,
    message: str,
    now: float,
    *,
    actor: str = CONTROLLER,
    note: str = "",
) -> Moved:
    moved = replace(
        rollout,
        phase=target,
        generation=rollout.generation + 1,
        since=now,
        reason=reason,
        message=message,
    )
    return moved, Transition(
        at=now,
        generation=moved.generation,
        actor=actor,
        reason=reason,
        note=note,
        source=rollout.phase,
        target=target,
        step=moved.step,
        weight_bp=moved.weight_bp,
        stable=moved.stable,
        canary=moved.canary,
        message=message,
    )
