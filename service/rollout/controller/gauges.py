"""The rollout in the service's metrics."""

from __future__ import annotations

from collections.abc import Iterable

from service.metrics import Metrics
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from service.rollout.analysis.shadow_stats import NAME as SHADOW
from service.rollout.analysis.verdict import Assessment, Verdict
from service.rollout.outlook.next_action import next_action
from service.rollout.outlook.outlook import judge_outlook
from service.rollout.routing.traffic_split import BASIS_POINTS
from service.rollout.state.events import TRANSITIONS, Reason, Transition
from service.rollout.state.record import RolloutRecord
from service.types import Variant


def create(metrics: Metrics) -> None:
    """Create every label set at 0, so that an alert sees the first rollback as a rise."""
    for source, target, reason in TRANSITIONS:
        metrics.rollout.transitions.labels(source, target, reason)
    for name in (*GUARDRAIL_NAMES, SHADOW):
        metrics.rollout.guardrail_rollbacks.labels(name)
    for name in GUARDRAIL_NAMES:
        for side in ("fail", "pass"):
            metrics.rollout.guardrail_log_evidence.labels(name, side)
            metrics.rollout.guardrail_log_bound.labels(name, side)


def count(
    metrics: Metrics, transitions: Iterable[Transition], assessment: Assessment | None
) -> None:
    """Count each transition, and the guardrail of `assessment` that led to a rollback."""
    for moved in transitions:
        metrics.rollout.transitions.labels(moved.source, moved.target, moved.reason).inc()
        failed = moved.reason is Reason.GUARDRAIL_FAILED
        if failed and assessment is not None and assessment.guardrail is not None:
            metrics.rollout.guardrail_rollbacks.labels(assessment.guardrail).inc()


def publish(metrics: Metrics, record: RolloutRecord) -> None:
    """Set phase, outlook, weight and evidence.

    What is unknown is absent rather than a number: a ratio without an estimate, the end of an
    interval without a bound, the time of a decision that nothing bounds. The evidence of a
    guardrail that is off stays at 0.
    """
    rollout, assessment = record.rollout, record.assessment
    metrics.rollout.info.clear()
    metrics.rollout.info.labels(rollout.phase, rollout.stable, rollout.canary or "").set(1)
    metrics.rollout.reason.clear()
    if rollout.reason is not None:
        metrics.rollout.reason.labels(rollout.reason).set(1)
    _publish_outlook(metrics, record)
    weight = rollout.weight_bp / BASIS_POINTS
    metrics.rollout.weight.labels(Variant.CANARY).set(weight)
    metrics.rollout.weight.labels(Variant.STABLE).set(1 - weight)
    verdicts = {verdict.name: verdict for verdict in assessment.verdicts} if assessment else {}
    metrics.rollout.guardrail_ratio.clear()
    metrics.rollout.guardrail_ratio_limit.clear()
    metrics.rollout.guardrail_interval.clear()
    metrics.rollout.shadow_agreement.clear()
    if rollout.canary is not None and SHADOW in verdicts:
        agreement = verdicts[SHADOW].details["agreement"]
        if isinstance(agreement, float):
            metrics.rollout.shadow_agreement.labels(rollout.canary).set(agreement)
    for name in GUARDRAIL_NAMES:
        verdict = verdicts.get(name)
        evidence, bound = (
            metrics.rollout.guardrail_log_evidence,
            metrics.rollout.guardrail_log_bound,
        )
        evidence.labels(name, "fail").set(verdict.log_fail if verdict else 0)
        evidence.labels(name, "pass").set(verdict.log_pass if verdict else 0)
        bound.labels(name, "fail").set(verdict.fail_bound if verdict else 0)
        bound.labels(name, "pass").set(verdict.pass_bound if verdict else 0)
        if verdict is not None:
            metrics.rollout.guardrail_ratio_limit.labels(name).set(verdict.threshold)
        if verdict is not None and verdict.ratio is not None:
            metrics.rollout.guardrail_ratio.labels(name).set(verdict.ratio)
        _publish_interval(metrics, name, verdict)


def _publish_outlook(metrics: Metrics, record: RolloutRecord) -> None:
    outlook = judge_outlook(record)
    metrics.rollout.outlook.clear()
    metrics.rollout.outlook.labels(outlook).set(1)
    ahead = next_action(record, outlook)
    times = {
        "expected": ahead.expected_at,
        "earliest": ahead.earliest_at,
        "deadline": ahead.deadline_at,
    }
    metrics.rollout.decision_timestamp.clear()
    for bound, at in times.items():
        if at is not None:
            metrics.rollout.decision_timestamp.labels(bound).set(at)


def _publish_interval(metrics: Metrics, name: str, verdict: Verdict | None) -> None:
    comparison = verdict.comparison if verdict else None
    interval = comparison.interval if comparison else None
    if interval is None:
        return
    for end, ratio in (("low", interval.low), ("high", interval.high)):
        if ratio is not None:
            metrics.rollout.guardrail_interval.labels(name, end).set(ratio)
