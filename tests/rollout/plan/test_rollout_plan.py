"""A plan that makes no sense is refused, and the field is named."""

from __future__ import annotations

import math

import pytest
from pydantic import BaseModel, ValidationError

from service.metrics import BUCKET_RATIO
from service.rollout.analysis.bucket_edges import EDGE_GROWTH, edge_distance
from service.rollout.plan.rollout_plan import RolloutPlan
from tests.support.rollout_fakes import plan


def test_the_default_plan():
    made = RolloutPlan()
    assert [0, 500, 1000, 2500, 5000, 10_000] == [step.weight_bp for step in made.steps]
    assert [True, *[False] * 5] == [step.shadow for step in made.steps]
    assert [*[False] * 5, True] == [step.approval for step in made.steps]
    assert 2 == edge_distance(made.ratio)


def test_its_edges_are_the_histograms():
    assert BUCKET_RATIO == EDGE_GROWTH


def step(weight, **more):
    return {"weight": weight, **more}


NOTHING_REQUIRED = {name: {"required": False} for name in plan().guardrails.required}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": []}, ("steps",)),
        ({"steps": [step(0)]}, ("steps", 0, "weight")),
        ({"steps": [step(101)]}, ("steps", 0, "weight")),
        ({"steps": [step(0.001)]}, ("steps", 0, "weight")),
        ({"steps": [step(math.nan)]}, ("steps", 0, "weight")),
        ({"steps": [step(10), step(5)]}, ("steps", 1, "weight")),
        ({"steps": [step(10), step(10)]}, ("steps", 1, "weight")),
        ({"steps": [{"min_samples": 5}]}, ("steps", 0, "weight")),
        ({"steps": [step(5), {"shadow": True}]}, ("steps", 1, "shadow")),
        ({"steps": [{"shadow": True}, {"shadow": True}, step(5)]}, ("steps", 1, "shadow")),
        ({"steps": [{"shadow": True}]}, ("steps",)),
        ({"steps": [step(5, shadow=True), step(10)]}, ("steps", 0, "weight")),
        ({"steps": [{"shadow": True}, step(100, approval=True)]}, ("steps", 1, "weight")),
        (
            {"steps": [{"shadow": True, "must_pass": ["latency"]}, step(5)]},
            ("steps", 0, "must_pass"),
        ),
        ({"steps": [{"shadow": True, "min_agreement": 2}, step(5)]}, ("steps", 0, "min_agreement")),
        (
            {"steps": [{"shadow": True, "max_inference_ratio": 1}, step(5)]},
            ("steps", 0, "max_inference_ratio"),
        ),
        ({"steps": [step(5, min_agreement=0.5)]}, ("steps", 0, "min_agreement")),
        ({"steps": [step(5, max_inference_ratio=2)]}, ("steps", 0, "max_inference_ratio")),
        (
            {"steps": [{"shadow": True, "min_dwell_seconds": 600}, step(5)]},
            ("steps", 0, "min_dwell_seconds"),
        ),
        ({"steps": [step(100, approval=True)]}, ("steps", 0, "weight")),
        ({"steps": [step(10), step(100)]}, ("steps", 1, "approval")),
        (
            {"steps": [step(10), step(100, approval=True, min_dwell_seconds=0)]},
            ("steps", 1, "min_dwell_seconds"),
        ),
        ({"steps": [step(10, min_dwell_seconds=600)]}, ("steps", 0, "min_dwell_seconds")),
        ({"steps": [step(10, min_samples=0)]}, ("steps", 0, "min_samples")),
        ({"steps": [step(10, dwell=3)]}, ("steps", 0, "dwell")),
        ({"alpha": 0}, ("alpha",)),
        ({"alpha": 0.2}, ("alpha",)),
        ({"alpha": math.nan}, ("alpha",)),
        ({"ratio": 1.0}, ("ratio",)),
        ({"ratio": 1.25}, ("ratio",)),
        ({"ratio": math.inf}, ("ratio",)),
        ({"quantile": 1}, ("quantile",)),
        ({"baseline_samples": 10}, ("baseline_samples",)),
        ({"deadline_seconds": 0}, ("deadline_seconds",)),
        ({"on_deadline": "promote"}, ("on_deadline",)),
        ({"gate": {"min_hit5": 69}}, ("gate", "min_hit5")),
        ({"gate": {"hit5": 0.69}}, ("gate", "hit5")),
        ({"gate": {"non_inferiority_margin": math.nan}}, ("gate", "non_inferiority_margin")),
        ({"guardrails": []}, ("guardrails",)),
        ({"guardrails": {"speed": {}}}, ("guardrails", "speed")),
        ({"guardrails": {"latency": {"alpha": 1}}}, ("guardrails", "latency", "alpha")),
        ({"guardrails": NOTHING_REQUIRED}, ("guardrails",)),
        (
            {"guardrails": {"interference": {"required": True}}},
            ("guardrails", "interference", "required"),
        ),
        ({"guardrails": {"interference": {"ratio": 2.5}}}, ("guardrails", "interference", "ratio")),
        ({"steps": [step(10, must_pass=["interference"])]}, ("steps", 0, "must_pass", 0)),
        ({"steps": [step(10, must_pass=["ceiling"])]}, ("steps", 0, "must_pass", 0)),
        ({"guardrails": {"ceiling": {"modes": {}}}}, ("guardrails", "ceiling", "modes")),
        (
            {"guardrails": {"ceiling": {"modes": {"walk": {}}}}},
            ("guardrails", "ceiling", "modes", "walk", "[key]"),
        ),
        (
            {"guardrails": {"ceiling": {"modes": {"step": {"aim_seconds": 1}}}}},
            ("guardrails", "ceiling", "modes", "step"),
        ),
        ({"guardrails": {"errors": {"margin": 0}}}, ("guardrails", "errors", "margin")),
        ({"steps": [step(10, must_pass=["speed"])]}, ("steps", 0, "must_pass", 0)),
        ({"steps": [step(10, must_pass=[])]}, ("steps", 0, "must_pass")),
    ],
)
def test_the_field_that_is_wrong_is_named(changes, field):
    with pytest.raises(ValidationError) as caught:
        plan(**changes)
    assert field in [error["loc"] for error in caught.value.errors()]


def test_the_field_is_named_within_a_request_too():
    """The path leads through whatever the plan is part of."""

    class Request(BaseModel):
        plan: RolloutPlan

    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"plan": {"steps": [step(10), step(5)]}})
    assert ("plan", "steps", 1, "weight") == caught.value.errors()[0]["loc"]


@pytest.mark.parametrize(("ratio", "apart"), [(1.0954, 1), (1.2, 2), (1.44, 4), (2.0736, 8)])
def test_ratios_on_the_edges_are_taken(ratio, apart):
    assert apart == edge_distance(plan(ratio=ratio).ratio)


def test_a_plan_survives_json():
    assert RolloutPlan() == RolloutPlan.model_validate_json(RolloutPlan().model_dump_json())
