"""What the result of an analysis run does to the rollout. Pure."""

from __future__ import annotations

from dataclasses import replace

from service.rollout.analysis.verdict import Assessment, VerdictOutcome
from service.rollout.plan.rollout_plan import PlanStep, RolloutPlan
from service.rollout.state.events import LIVE, AnalysisResult, Phase, Reason
from service.rollout.state.moves import StateChange, move, next_step
from service.rollout.state.rollout_state import RolloutState

MAX_ERRORS = 3
"""Analysis runs in a row with an error before the rollout pauses."""


def evaluate(rollout: RolloutState, result: AnalysisResult, now: float) -> StateChange:
    """The state after an analysis run. The first rule that applies decides.

    1. A failed guardrail aborts, in a pause too.
    2. A pause beyond its deadline aborts.
    3. `MAX_ERRORS` errors in a row pause.
    4. The warm-up ends, or the step passes, or their deadline is over.
    """
    plan, step, assessment = rollout.plan, rollout.current_step, result.assessment
    if rollout.phase not in LIVE or plan is None or step is None:
        return rollout, None
    if assessment.outcome is VerdictOutcome.FAIL:
        return move(rollout, Phase.ABORTING, Reason.GUARDRAIL_FAILED, assessment.message, now)
    rollout = _count(rollout, step, result)
    if rollout.phase is Phase.PAUSED:
        return _await_resume(rollout, plan, now)
    if assessment.outcome is VerdictOutcome.ERROR:
        return _count_errors(rollout, assessment, now)
    if rollout.phase is Phase.WARMING_UP:
        return _warm_up(rollout, plan, now)
    return _progress(rollout, plan, step, assessment, now)


def _count(rollout: RolloutState, step: PlanStep, result: AnalysisResult) -> RolloutState:
    """Errors in a row, warm-up requests, and whether the step has passed."""
    assessment = result.assessment
    if assessment.outcome is VerdictOutcome.ERROR:
        return replace(rollout, errors=rollout.errors + 1)
    requests = 0 if rollout.warmed else result.canary_requests
    return replace(
        rollout,
        errors=0,
        warm_up_requests=rollout.warm_up_requests + requests,
        passed=rollout.warmed
        and _has_enough_samples(step, assessment)
        and _has_passed(step, assessment),
    )


def _await_resume(rollout: RolloutState, plan: RolloutPlan, now: float) -> StateChange:
    if now - rollout.since < plan.pause_deadline_seconds:
        return rollout, None
    message = (
        f"paused ({rollout.reason}) for {plan.pause_deadline_seconds:g} s, the deadline of a pause"
    )
    return move(rollout, Phase.ABORTING, Reason.PAUSE_DEADLINE, message, now)


def _count_errors(rollout: RolloutState, assessment: Assessment, now: float) -> StateChange:
    if rollout.errors < MAX_ERRORS:
        return rollout, None
    message = f"{rollout.errors} analysis runs in a row failed; {assessment.message}"
    return move(rollout, Phase.PAUSED, Reason.EVIDENCE_ERROR, message, now)


def _warm_up(rollout: RolloutState, plan: RolloutPlan, now: float) -> StateChange:
    waited, served = now - rollout.since, rollout.warm_up_requests
    if now - rollout.step_since >= plan.warm_up_seconds and served >= plan.warm_up_requests:
        message = f"warmed up in {waited:.0f} s with {served} requests; step 1 starts"
        warmed = replace(rollout, warmed=True, step_since=now)
        return move(warmed, Phase.PROGRESSING, Reason.WARMED_UP, message, now)
    if waited < plan.deadline_seconds:
        return rollout, None
    message = f"{served} of {plan.warm_up_requests} warm-up requests in {waited:.0f} s"
    return move(rollout, Phase.PAUSED, Reason.NO_DATA, message, now)


def _progress(
    rollout: RolloutState, plan: RolloutPlan, step: PlanStep, assessment: Assessment, now: float
) -> StateChange:
    if rollout.passed and now - rollout.step_since >= step.min_dwell_seconds:
        if step.approval:
            message = f"step {rollout.step + 1} waits for approval; {assessment.message}"
            return move(rollout, Phase.PAUSED, Reason.APPROVAL, message, now)
        last = rollout.step + 1 == len(plan.steps)
        reason = Reason.PLAN_PASSED if last else Reason.STEP_PASSED
        return next_step(rollout, reason, assessment.message, now)
    waited = now - rollout.since
    if waited < plan.deadline_seconds:
        return rollout, None
    if not _has_enough_samples(step, assessment):
        message = (
            f"{assessment.canary} canary and {assessment.stable} stable requests in "
            f"{waited:.0f} s; each needs {step.min_samples}"
        )
        return move(rollout, Phase.PAUSED, Reason.NO_DATA, message, now)
    target = Phase.ABORTING if plan.on_deadline == "abort" else Phase.PAUSED
    message = f"no pass in {waited:.0f} s; {assessment.message}"
    return move(rollout, target, Reason.INCONCLUSIVE, message, now)


def _has_enough_samples(step: PlanStep, assessment: Assessment) -> bool:
    """Whether the step has its samples. At 100 % only the canary's count."""
    stable = assessment.stable >= step.min_samples or step.takes_all
    return assessment.canary >= step.min_samples and stable


def _has_passed(step: PlanStep, assessment: Assessment) -> bool:
    """Whether the guardrails pass; at 100 %, where none can pass, whether none fails.

    The plan guarantees that an earlier step compared the versions and that a person
    approves the step at 100 %.
    """
    return assessment.outcome is VerdictOutcome.PASS or step.takes_all
