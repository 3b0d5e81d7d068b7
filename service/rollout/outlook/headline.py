"""The headline: one sentence that says how a rollout stands. Pure.

The status, the audit log, webhooks, the log and the command line all show this sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.rollout.analysis.formatting import (
    format_about,
    format_duration,
    join_words,
    uncapitalised,
)
from service.rollout.analysis.verdict import Stance, Verdict
from service.rollout.outlook.condition import warm_up_conditions
from service.rollout.outlook.next_action import (
    Action,
    NextMove,
    next_action,
    step_name,
    weight_text,
)
from service.rollout.outlook.outlook import (
    Outlook,
    evaluated_at,
    failing,
    judge_outlook,
    required_verdicts,
    silent_seconds,
    unread,
)
from service.rollout.state.audit import AuditRow
from service.rollout.state.events import Phase, Reason
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState


def headline(record: RolloutRecord) -> str:
    """The sentence for the record, as of its last evaluation or transition."""
    outlook = judge_outlook(record)
    return _HEADLINES[outlook](record, next_action(record, outlook))


def with_headline(rows: Sequence[AuditRow], record: RolloutRecord) -> tuple[AuditRow, ...]:
    """The rows of a change with the headline of the record after it."""
    text = headline(record) if rows else ""
    return tuple({**row, "headline": text} for row in rows)


def _idle(record: RolloutRecord, _: NextMove) -> str:
    return f"No rollout: {record.rollout.stable} has all traffic."


def _preparing(record: RolloutRecord, _: NextMove) -> str:
    rollout = record.rollout
    if rollout.undoing:
        return f"{rollout.canary} is being loaded; until then {rollout.stable} has all traffic."
    again = f", attempt {rollout.attempt}" if rollout.attempt > 1 else ""
    return f"{rollout.canary} is being loaded{again}; it has no traffic yet."


def _warming_up(record: RolloutRecord, _: NextMove) -> str:
    rollout, plan = record.rollout, record.rollout.plan
    assert plan is not None
    gets = weight_text(plan.steps[rollout.step])
    share = gets if gets.startswith("copies") else f"{gets} of new requests"
    missing = [c.text for c in warm_up_conditions(record, plan) if not c.met]
    if not missing:
        return f"{rollout.canary} is warm and has {share}; judging begins now."
    return f"{rollout.canary} warms up on {share}: {join_words(missing)}."


def _too_early(record: RolloutRecord, ahead: NextMove) -> str:
    step = record.rollout.current_step
    assert step is not None
    where = "on copies of requests" if step.shadow else f"at {weight_text(step)}"
    return (
        f"It is too early to judge {record.rollout.canary} {where}{_open_question(record)}; "
        f"{_step_end(record, ahead)}."
    )


def _looks_good(record: RolloutRecord, ahead: NextMove) -> str:
    rollout, step = record.rollout, record.rollout.current_step
    assert step is not None
    main = _main_verdict(record)
    figure = "" if main is None or main.comparison is None else main.comparison.short_clause
    canary, end = rollout.canary, _step_end(record, ahead)
    if step.shadow:
        return f"{canary} works on copies of requests: {figure or 'none has failed'}; {end}."
    if main is None or main.comparison is None:
        past = f"it has passed {step_name(rollout, rollout.step - 1)}, and " if rollout.step else ""
        return f"{canary} looks good: {past}nothing speaks against it so far; {end}."
    if not main.comparison.is_within_limit:
        return f"{canary} has looked good so far, but {figure}; {end}."
    return f"{canary} looks good: {figure}; {end}."


def _leaning_to_fail(record: RolloutRecord, _: NextMove) -> str:
    worst = failing(record)
    assert worst is not None
    return f"{record.rollout.canary} {_suspicion(worst)}."


def _needs_you(record: RolloutRecord, ahead: NextMove) -> str:
    rollout = record.rollout
    name, canary = step_name(rollout, rollout.step), rollout.canary
    match rollout.reason:
        case Reason.APPROVAL:
            what = f"{canary} has passed {name} and waits for your approval"
        case Reason.NO_DATA:
            what = f"The rollout needs you: too few requests reached {canary} in {name}"
        case Reason.REPLICAS_DIED:
            what = f"The rollout needs you: replicas died after {canary} got requests in {name}"
        case Reason.EVIDENCE_ERROR:
            what = f"The rollout needs you: the requests of {canary} cannot be counted"
        case _:
            what = f"The rollout needs you: no verdict on {canary} by the deadline of {name}"
    return f"{what}{_pause_end(record, ahead)}."


def _paused(record: RolloutRecord, ahead: NextMove) -> str:
    rollout = record.rollout
    by = f" by {rollout.actor}" if rollout.actor else ""
    return (
        f"{rollout.canary} is paused{by} in {step_name(rollout, rollout.step)}"
        f"{_because(rollout)}{_pause_end(record, ahead)}."
    )


def _blind(record: RolloutRecord, _: NextMove) -> str:
    canary = record.rollout.canary
    if unread(record):
        return f"{canary} is not being judged: its requests cannot be counted."
    step = record.rollout.current_step
    noun = "copy of a request" if step is not None and step.shadow else "request"
    silent = format_duration(silent_seconds(record))
    return f"{canary} is not being judged: no {noun} has reached it for {silent}."


def _rolled_back(record: RolloutRecord, _: NextMove) -> str:
    rollout, worst = record.rollout, failing(record)
    at = "" if rollout.plan is None else f" in {step_name(rollout, rollout.step)}"
    match rollout.reason:
        case Reason.GUARDRAIL_FAILED if worst is not None and worst.comparison is not None:
            fault, clause = worst.comparison.fault, worst.comparison.clause
            if worst.contradicts_its_figure:
                clause = f"this counts earlier requests too; in this step {clause}"
            return f"{rollout.canary} was rolled back{at} because {fault}: {clause}."
        case Reason.GATE_MISSED | Reason.PREPARE_FAILED:
            return f"{rollout.canary} was not started: {_cause(rollout)}."
        case Reason.PAUSE_DEADLINE:
            return f"{rollout.canary} was rolled back{at} because nobody ended its pause in time."
        case Reason.INCONCLUSIVE:
            return f"{rollout.canary} was rolled back{at}: no verdict by the deadline."
    return f"{rollout.canary} was rolled back{at}: {_cause(rollout)}."


def _stopped(record: RolloutRecord, _: NextMove) -> str:
    rollout = record.rollout
    by = f" by {rollout.actor}" if rollout.actor else ""
    at = "" if rollout.plan is None else f" in {step_name(rollout, rollout.step)}"
    return (
        f"{rollout.canary} was stopped{by}{at}{_because(rollout)}; "
        f"{rollout.stable} has all traffic."
    )


def _promoted(record: RolloutRecord, _: NextMove) -> str:
    rollout = record.rollout
    if rollout.phase is Phase.PROMOTING:
        return f"{rollout.canary} becomes stable now."
    match rollout.reason:
        case Reason.UNDO:
            return f"{rollout.stable} is stable again and has all traffic."
        case Reason.FORCED:
            by = f" by {rollout.actor}" if rollout.actor else ""
            return (
                f"{rollout.stable} is stable and has all traffic; it was promoted by force{by}"
                f"{_because(rollout)}."
            )
    return f"{rollout.stable} is stable and has all traffic."


_HEADLINES = {
    Outlook.IDLE: _idle,
    Outlook.PREPARING: _preparing,
    Outlook.WARMING_UP: _warming_up,
    Outlook.TOO_EARLY: _too_early,
    Outlook.LOOKS_GOOD: _looks_good,
    Outlook.LEANING_TO_FAIL: _leaning_to_fail,
    Outlook.NEEDS_YOU: _needs_you,
    Outlook.PAUSED: _paused,
    Outlook.BLIND: _blind,
    Outlook.ROLLED_BACK: _rolled_back,
    Outlook.STOPPED: _stopped,
    Outlook.PROMOTED: _promoted,
}


def _main_verdict(record: RolloutRecord) -> Verdict | None:
    """The first verdict with a difference that the step waits for, else any with one of both
    variants."""
    verdicts = record.assessment.verdicts if record.assessment else ()
    for among in (required_verdicts(record), verdicts):
        for verdict in among:
            comparison = verdict.comparison
            if (
                comparison is not None
                and comparison.difference is not None
                and comparison.possessive
            ):
                return verdict
    return None


def _suspicion(verdict: Verdict) -> str:
    """What speaks against the canary, as a predicate with its figure."""
    comparison = verdict.comparison
    if comparison is None:
        return f"looks bad: {verdict.message}"
    if verdict.contradicts_its_figure:
        return (
            f"{comparison.suspicion} because of earlier requests; in this step {comparison.clause}"
        )
    return f"{comparison.suspicion}: {comparison.clause}"


def _open_question(record: RolloutRecord) -> str:
    """What a required guardrail lacks that has the least evidence."""
    undecided = [v for v in required_verdicts(record) if v.standing is not Stance.PASSED]
    least = min(undecided, key=lambda verdict: verdict.pass_progress, default=None)
    if least is None:
        return ""
    if least.held:
        return f": {least.held}"
    if least.comparison is None or least.comparison.difference is None:
        return f": {least.comparison.short_clause if least.comparison else least.message}"
    evidence = f"{100 * least.pass_progress:.0f} % of the evidence for a pass"
    return f": {uncapitalised(least.label)} has {evidence}"


def _step_end(record: RolloutRecord, ahead: NextMove) -> str:
    """When the current step ends."""
    name = step_name(record.rollout, record.rollout.step)
    if not ahead.waiting_for:
        return f"{name} ends at the next evaluation"
    if ahead.expected_at is None:
        open_ones = [c.label for c in ahead.conditions if not c.met and c.expected_at is None]
        return f"{name} waits for {join_words(open_ones)}"
    left = ahead.expected_at - evaluated_at(record)
    asks = ", then it asks for approval" if ahead.action is Action.APPROVAL else ""
    return f"{name} ends in about {format_about(left)}{asks}"


def _pause_end(record: RolloutRecord, ahead: NextMove) -> str:
    """What speaks against the canary, else the deadline of the pause."""
    worst = failing(record)
    if worst is not None:
        return f", but {record.rollout.canary} {_suspicion(worst)}"
    if ahead.deadline_at is None:
        return ""
    left = format_duration(ahead.deadline_at - evaluated_at(record))
    return f"; without an answer it is rolled back in {left}"


def _because(rollout: RolloutState) -> str:
    """The reason that the person gave."""
    return f", saying “{rollout.note}”" if rollout.note else ""


def _cause(rollout: RolloutState) -> str:
    """The message of the end, without what the headline says already."""
    return rollout.message.removeprefix(f"{rollout.stable} has all traffic: ").rstrip(".")
