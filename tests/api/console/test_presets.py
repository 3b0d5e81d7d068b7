"""The plans of the start form: valid, with an approval, and with the time they take."""

from __future__ import annotations

import pytest

from service.api.console.presets import least_seconds, presets
from service.rollout.plan.rollout_plan import RolloutPlan

PRESETS = presets(RolloutPlan())


@pytest.mark.parametrize("preset", PRESETS[1:], ids=lambda preset: preset["name"])
def test_a_preset_is_a_valid_plan_that_ends_with_an_approval(preset):
    plan = RolloutPlan.model_validate(preset["plan"])
    assert plan.steps[-1].approval
    assert preset["least_seconds"] == least_seconds(plan)
    assert [step.weight for step in plan.steps] == [
        step["weight_percent"] for step in preset["steps"]
    ]


def test_the_services_own_plan_comes_first_and_is_not_sent():
    """A start without a plan uses it, whatever it is by then."""
    assert ("default", None) == (PRESETS[0]["name"], PRESETS[0]["plan"])


def test_the_least_time_is_warm_up_and_dwells():
    plan = RolloutPlan.model_validate(
        {"steps": [{"weight": 5, "min_dwell_seconds": 30}], "warm_up_seconds": 10}
    )
    assert 40 == least_seconds(plan)
