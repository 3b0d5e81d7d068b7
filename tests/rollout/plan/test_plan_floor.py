"""The floor finds every field of a plan that demands less."""

from __future__ import annotations

import pytest

from service.errors import Invalid
from service.rollout.plan.plan_floor import PlanFloor, find_shortfalls, require_floor
from service.rollout.plan.rollout_plan import RolloutPlan

LOOSE = RolloutPlan.model_validate(
    {
        "steps": [
            {"weight": 90, "min_samples": 1, "min_dwell_seconds": 0, "must_pass": ["errors"]}
        ],
        "ratio": 1.44,
        "alpha": 0.001,
        "guardrails": {"errors": {"margin": 0.5}},
    }
)


def test_without_a_floor_every_plan_is_allowed():
    assert () == find_shortfalls(LOOSE, PlanFloor())
    require_floor(LOOSE, PlanFloor())


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ({"min_dwell_seconds": 60}, "plan.steps.0.min_dwell_seconds is 0, at least 60"),
        ({"min_samples": 500}, "plan.steps.0.min_samples is 1, at least 500"),
        ({"required_guardrails": ["latency"]}, "plan.steps.0 does not require .* latency"),
        ({"max_ratio": 1.2}, "plan.ratio is 1.44, at most 1.2 allowed .rollout.floor.max_ratio"),
        ({"max_error_margin": 0.1}, "plan.guardrails.errors.margin is 0.5, at most 0.1"),
        ({"min_alpha": 0.01}, "plan.alpha is 0.001, at least 0.01"),
        ({"approval": True}, "plan.steps.0.approval is false"),
    ],
)
def test_a_looser_field_is_named(floor, message):
    with pytest.raises(Invalid, match=message) as caught:
        require_floor(LOOSE, PlanFloor.model_validate(floor))
    assert caught.value.code == "below_floor"


def test_the_default_plan_meets_a_strict_floor():
    """Shadow steps have no weight, and no guardrail can pass at 100 %."""
    floor = PlanFloor(
        min_dwell_seconds=120,
        min_samples=500,
        required_guardrails=frozenset({"latency", "errors"}),
        max_ratio=1.2,
        max_error_margin=0.05,
        min_alpha=0.01,
        approval=True,
    )
    assert () == find_shortfalls(RolloutPlan(), floor)
