"""The rollback that is likely while a guardrail leans to a fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from service.rollout.analysis.formatting import format_about, format_duration, uncapitalised
from service.rollout.analysis.shadow_stats import MAX_FAULTS
from service.rollout.analysis.shadow_stats import NAME as SHADOW
from service.rollout.analysis.verdict import Verdict
from service.rollout.outlook.outlook import (
    evaluated_at,
    failing,
    is_blind,
    silent_seconds,
    unread,
)
from service.rollout.state.record import RolloutRecord

_NOTHING_TO_DO = "You need not do anything; an abort stops it at once."


@dataclass(frozen=True, slots=True)
class PossibleRollback:
    """The guardrail that is nearest to a fail, and how far it is."""

    guardrail: str
    fraction: float
    expected_at: float | None
    text: str

    def to_json(self) -> dict[str, object]:
        return {
            "guardrail": self.guardrail,
            "fraction": self.fraction,
            "expected_at": self.expected_at,
            "text": self.text,
        }


def possible_rollback(record: RolloutRecord) -> PossibleRollback | None:
    """The guardrail nearest to a fail, if one leans to it."""
    worst = failing(record)
    if worst is None:
        return None
    return PossibleRollback(
        worst.name,
        worst.fail_progress,
        _fails_at(record, worst),
        f"{uncapitalised(worst.label)}: {100 * worst.fail_progress:.0f} % of the way to a fail",
    )


def _fails_at(record: RolloutRecord, worst: Verdict) -> float | None:
    """When the guardrail fails if its evidence grows as between the last two evaluations."""
    earlier = record.earlier
    if earlier is None or not worst.fail_bound or record.analysed_at is None:
        return None
    before = next((v for v in earlier.assessment.verdicts if v.name == worst.name), None)
    gained = 0.0 if before is None else worst.log_fail - before.log_fail
    elapsed = record.analysed_at - earlier.at
    if gained <= 0 or elapsed <= 0:
        return None
    left = max(0.0, worst.fail_bound - worst.log_fail)
    return record.analysed_at + elapsed * left / gained


def rollback_text(record: RolloutRecord, worst: Verdict, rollback: PossibleRollback) -> str:
    """When the canary is rolled back, and what a person can do."""
    weight = record.rollout.weight_bp / 100
    text = f"{record.rollout.canary} is rolled back by itself when the evidence is complete"
    if worst.name == SHADOW:
        text = f"{record.rollout.canary} is rolled back by itself at {MAX_FAULTS} failed copies"
    stalled = is_blind(record)
    if rollback.expected_at is not None and not stalled:
        left = format_about(rollback.expected_at - evaluated_at(record))
        text += f", at this pace in about {left}"
    affected = f" Until then it has {weight:g} % of new requests." if weight else ""
    return f"{text}.{affected} {_stall(record) if stalled else _NOTHING_TO_DO}"


def _stall(record: RolloutRecord) -> str:
    """Why the evidence against the canary does not grow, and what to do."""
    if unread(record):
        return "But its requests cannot be counted now: abort it, or repair the evidence source."
    silent = format_duration(silent_seconds(record))
    return f"But no request has reached it for {silent}: abort it, or send requests."
