"""The rollout in the service's metrics."""

from __future__ import annotations

from collections.abc import Iterable

from service.metrics import Metrics
from service.rollout.events import TRANSITIONS, Transition
from service.rollout.guardrail import NAME
from service.rollout.rollout import Rollout
from service.rollout.traffic import BASIS_POINTS
from service.rollout.verdict import Verdict
from service.types import Variant


def create(metrics: Metrics) -> None:
    """Every label set at 0: an alert on the first rollback must see it rise."""
    for source, target, reason in TRANSITIONS:
        metrics.rollout_transitions.labels(source, target, reason)
    for side in ("fail", "pass"):
        metrics.guardrail_log_evidence.labels(NAME, side)


def count(metrics: Metrics, moves: Iterable[Transition]) -> None:
    """One more of each of these transitions."""
    for move in moves:
        metrics.rollout_transitions.labels(move.source, move.target, move.reason).inc()


def publish(metrics: Metrics, rollout: Rollout, verdict: Verdict | None) -> None:
    """Phase, weight and evidence as they are now.

    A ratio that has no estimate is absent: it is a condition, not a number.
    """
    metrics.rollout_info.clear()
    metrics.rollout_info.labels(rollout.phase, rollout.stable, rollout.canary or "").set(1)
    weight = rollout.weight_bp / BASIS_POINTS
    metrics.rollout_weight.labels(Variant.CANARY).set(weight)
    metrics.rollout_weight.labels(Variant.STABLE).set(1 - weight)
    metrics.guardrail_log_evidence.labels(NAME, "fail").set(verdict.log_fail if verdict else 0)
    metrics.guardrail_log_evidence.labels(NAME, "pass").set(verdict.log_pass if verdict else 0)
    if verdict is None or verdict.ratio is None:
        metrics.guardrail_ratio.clear()
    else:
        metrics.guardrail_ratio.labels(NAME).set(verdict.ratio)
