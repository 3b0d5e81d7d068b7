"""How a rollout stands, in one word. Pure."""

from __future__ import annotations

from enum import StrEnum

from service.rollout.analysis.verdict import Stance, Verdict, VerdictOutcome
from service.rollout.state.events import Phase, Reason
from service.rollout.state.record import RolloutRecord

BLIND_SECONDS = 60.0
"""Without a request of the canary for this long, the guardrails see nothing."""


class Outlook(StrEnum):
    """How the rollout stands.

    `NEEDS_YOU`: it is paused until a person decides. `PAUSED`: a person paused it. `BLIND`: it
    runs, and the guardrails see nothing. `ROLLED_BACK`: the service ended it. `STOPPED`: a
    person aborted it. `PROMOTED`: the canary is stable now.
    """

    IDLE = "idle"
    PREPARING = "preparing"
    WARMING_UP = "warming_up"
    TOO_EARLY = "too_early"
    LOOKS_GOOD = "looks_good"
    LEANING_TO_FAIL = "leaning_to_fail"
    NEEDS_YOU = "needs_you"
    PAUSED = "paused"
    BLIND = "blind"
    ROLLED_BACK = "rolled_back"
    STOPPED = "stopped"
    PROMOTED = "promoted"


ENDED = frozenset({Outlook.IDLE, Outlook.ROLLED_BACK, Outlook.STOPPED, Outlook.PROMOTED})
"""The outlooks without a rollout in progress."""


def judge_outlook(record: RolloutRecord) -> Outlook:  # noqa: PLR0911 - one line a phase
    """The outlook of the record."""
    rollout = record.rollout
    match rollout.phase:
        case Phase.HEALTHY:
            return Outlook.IDLE if rollout.reason is None else Outlook.PROMOTED
        case Phase.PENDING:
            return Outlook.PREPARING
        case Phase.PROMOTING:
            return Outlook.PROMOTED
        case Phase.ABORTING | Phase.ROLLED_BACK:
            stopped = rollout.reason is Reason.ABORTED
            return Outlook.STOPPED if stopped else Outlook.ROLLED_BACK
        case Phase.PAUSED:
            return Outlook.PAUSED if rollout.reason is Reason.BY_HAND else Outlook.NEEDS_YOU
    if failing(record) is not None:
        return Outlook.LEANING_TO_FAIL
    if is_blind(record):
        return Outlook.BLIND
    if rollout.phase is Phase.WARMING_UP:
        return Outlook.WARMING_UP
    return Outlook.LOOKS_GOOD if _looks_good(record) else Outlook.TOO_EARLY


def failing(record: RolloutRecord) -> Verdict | None:
    """The guardrail that is nearest to a fail, best one with a figure; None if none leans to it.

    A failed request counts as slow. So if many fail, `latency` fails as well, without a figure.
    """
    leaning = [
        verdict
        for verdict in (record.assessment.verdicts if record.assessment else ())
        if verdict.standing in {Stance.LEANING_TO_FAIL, Stance.FAILED}
    ]

    def nearness(verdict: Verdict) -> tuple[float, bool]:
        comparison = verdict.comparison
        return verdict.fail_progress, comparison is not None and comparison.difference is not None

    return max(leaning, key=nearness, default=None)


def required_verdicts(record: RolloutRecord) -> tuple[Verdict, ...]:
    """The verdicts that the current step waits for; none at 100 %, where none can pass."""
    step, assessment = record.rollout.current_step, record.assessment
    if assessment is None or step is None or step.takes_all:
        return ()
    return tuple(v for v in assessment.verdicts if v.name in assessment.required)


def evaluated_at(record: RolloutRecord) -> float:
    """The time of which the record speaks, in epoch seconds: the last evaluation or transition."""
    return max(record.analysed_at or 0.0, record.rollout.since, record.rollout.step_since)


def unread(record: RolloutRecord) -> bool:
    """Whether the last analysis run could not read or judge the counts."""
    assessment = record.assessment
    return assessment is not None and assessment.outcome is VerdictOutcome.ERROR


def silent_seconds(record: RolloutRecord) -> float:
    """How long the canary has had no request, or no copy of one."""
    since = max(record.heard_at or 0.0, record.rollout.step_since)
    return evaluated_at(record) - since


def is_blind(record: RolloutRecord) -> bool:
    """Whether the guardrails of a running rollout see nothing."""
    return unread(record) or silent_seconds(record) >= BLIND_SECONDS


def _looks_good(record: RolloutRecord) -> bool:
    """Whether every required guardrail has passed in the step before, or in this step has passed
    or leans to it."""
    good = {Stance.PASSED, Stance.LEANING_TO_PASS}
    step, needed = record.rollout.current_step, required_verdicts(record)
    if step is not None and step.takes_all:
        return record.assessment is not None and record.assessment.canary > 0
    return record.rollout.proven or (
        bool(needed) and all(verdict.standing in good for verdict in needed)
    )
