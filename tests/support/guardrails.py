"""Guardrails for tests, with the default plan's figures and 1 % for each wrong verdict."""

from __future__ import annotations

from dataclasses import replace

from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.guardrail import AnalysisParameters
from service.rollout.plan.rollout_plan import RolloutPlan
from tests.support.rollout_fakes import EDGES

BOUNDS = EvidenceBounds(fail=0.01, passing=0.01)
_PLAN = RolloutPlan()
PARAMETERS = AnalysisParameters(_PLAN.ratio, _PLAN.quantile, _PLAN.baseline_samples, EDGES)


def make_guardrail(guardrail_type, *, baseline_samples=None, **config):
    """A guardrail of this type whose config has these fields."""
    parameters = PARAMETERS
    if baseline_samples is not None:
        parameters = replace(parameters, baseline_samples=baseline_samples)
    return guardrail_type(guardrail_type.config_type(**config), parameters, BOUNDS)
