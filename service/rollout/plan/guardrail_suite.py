"""The guardrails that a plan enables, ready to judge. Pure."""

from __future__ import annotations

from service.rollout.analysis.guardrails.guardrail import AnalysisParameters
from service.rollout.analysis.guardrails.suite import GuardrailSuite, StepRequirement
from service.rollout.plan.rollout_plan import RolloutPlan


def guardrail_suite(plan: RolloutPlan, edges: tuple[float, ...], attempt: int) -> GuardrailSuite:
    """The guardrails of `plan`, for histograms with these upper `edges` in seconds, without +Inf.

    `attempt`: how many times this canary has been started, including this time.
    """
    return GuardrailSuite.of(
        plan.guardrails,
        AnalysisParameters(plan.ratio, plan.quantile, plan.baseline_samples, edges),
        tuple(
            # Where a step names none, those bind too that have enough evidence.
            StepRequirement(plan.must_pass(number), with_evidence=step.must_pass is None)
            for number, step in enumerate(plan.steps)
        ),
        alpha=plan.alpha,
        attempt=attempt,
    )
