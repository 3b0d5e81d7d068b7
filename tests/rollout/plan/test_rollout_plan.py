"""A plan that makes no sense is refused, and the field is named."""

from __future__ import annotations

import math
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from service.metrics import BUCKET_RATIO
from service.rollout.analysis.bucket_edges import EDGE_GROWTH, edge_distance
from service.rollout.plan.rollout_plan import STORED, RolloutPlan
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


def number_fields(model, path=()):
    """The path and the annotation of every number in a plan."""
    for name, field in model.model_fields.items():
        annotations = [field.annotation]
        while annotations:
            annotation = annotations.pop()
            if annotation in {int, float}:
                yield (*path, name), annotation
            elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from number_fields(annotation, (*path, name))
            elif get_origin(annotation) is tuple:
                inner = get_args(annotation)[0]
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    yield from number_fields(inner, (*path, name, 0))
            elif get_origin(annotation) is dict:
                yield from number_fields(get_args(annotation)[1], (*path, name, "step"))
            else:
                annotations += get_args(annotation)


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
        ({"warm_up_seconds": 99_999}, ("warm_up_seconds",)),
        ({"settle_seconds": 600}, ("settle_seconds",)),
        (
            {"steps": [step(10), step(100, approval=True, must_pass=["latency"])]},
            ("steps", 1, "must_pass"),
        ),
        (
            {
                "guardrails": {
                    "errors": {"enabled": False, "required": True},
                },
            },
            ("guardrails", "errors", "required"),
        ),
        ({"steps": [step(0.05)]}, ("steps", 0, "weight")),
        ({"steps": [{"weight": True}]}, ("steps", 0, "weight")),
        ({"steps": [step("010")]}, ("steps", 0, "weight")),
        ({"steps": [step("lots%")]}, ("steps", 0, "weight")),
        ({"steps": [step("101%")]}, ("steps", 0, "weight")),
        ({"steps": [step(10, min_samples=True)]}, ("steps", 0, "min_samples")),
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


@pytest.mark.parametrize("path", [path for path, _ in number_fields(RolloutPlan)])
def test_every_number_is_bounded(path):
    """A number that no response or date can hold is refused, wherever it stands."""
    for value in (2**63, 2**64, 10**30, -(2**64), 1e300):
        fields = value
        for part in reversed(path):
            fields = {part: fields} if isinstance(part, str) else [fields]
        with pytest.raises(ValidationError) as caught:
            RolloutPlan.model_validate(fields)
        assert path in [error["loc"] for error in caught.value.errors()]


def test_fields_that_contradict_each_other_are_both_named():
    with pytest.raises(ValidationError, match=r"warm_up_seconds\n.*deadline_seconds, 3600"):
        RolloutPlan(warm_up_seconds=99_999)


def test_an_ambiguous_weight_is_explained():
    with pytest.raises(ValidationError, match=r'may mean 0.05 % or 5 %: write "0.05%" or 5'):
        plan(steps=[step(0.05)])


@pytest.mark.parametrize(
    ("weight", "basis_points"), [("0.05%", 5), ("5%", 500), ("5 %", 500), (5, 500), (1, 100)]
)
def test_a_weight_may_say_its_unit(weight, basis_points):
    made = plan(steps=[step(weight)])
    assert basis_points == made.steps[0].weight_bp
    assert made == RolloutPlan.model_validate_json(made.model_dump_json())
    assert made == RolloutPlan.model_validate(made.model_dump(mode="json"))


def test_a_stored_plan_of_an_earlier_version_is_still_read():
    """Rules that came later must not make a running rollout unreadable."""
    old = {"steps": [step(0.05)], "warm_up_seconds": 99_999}
    assert 5 == RolloutPlan.model_validate(old, context=STORED).steps[0].weight_bp


@pytest.mark.parametrize(("ratio", "apart"), [(1.0954, 1), (1.2, 2), (1.44, 4), (2.0736, 8)])
def test_ratios_on_the_edges_are_taken(ratio, apart):
    assert apart == edge_distance(plan(ratio=ratio).ratio)


def test_a_plan_survives_json():
    assert RolloutPlan() == RolloutPlan.model_validate_json(RolloutPlan().model_dump_json())
