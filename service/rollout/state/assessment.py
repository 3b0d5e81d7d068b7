"""The assessment of a record: what its evidence says about the current step. Pure."""

from __future__ import annotations

from service.rollout.analysis.shadow_stats import NAME, ShadowStats, assess_shadow
from service.rollout.analysis.verdict import Assessment, assess
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.plan.rollout_plan import PlanStep
from service.rollout.state.record import RolloutRecord


def assess_record(record: RolloutRecord) -> Assessment | None:
    """Every guardrail's verdict on the record's evidence; None without evidence."""
    rollout = record.rollout
    if record.evidence is None or rollout.plan is None:
        return None
    suite = guardrail_suite(rollout.plan, record.evidence.edges, rollout.attempt)
    assessment = suite.assess(record.evidence, rollout.step)
    return with_shadow_verdict(rollout.plan.steps[rollout.step], record.shadow, assessment)


def with_shadow_verdict(
    step: PlanStep, shadow: ShadowStats | None, assessment: Assessment
) -> Assessment:
    """In a shadow step, the assessment that its own verdict decides.

    A guardrail that fails still decides against the canary.
    """
    if not step.shadow or shadow is None:
        return assessment
    return assess(
        [assess_shadow(shadow, step.shadow_limits), *assessment.verdicts], frozenset({NAME})
    )
