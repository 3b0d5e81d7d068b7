"""How far a condition is, and when it will be met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.outlook.condition import Condition, judged_since
from service.rollout.state.rollout_state import RolloutState
from tests.support.rollout_fakes import QUICK


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.booleans())
def test_a_fraction_is_1_only_if_the_condition_is_met(current, required, met):
    found = Condition("dwell", "time", current, required, "seconds", met, "text").fraction
    assert 0 <= found <= 1
    assert (found == 1) == met


@pytest.mark.parametrize(("step", "after"), [(0, 0.0), (1, 5.0)])
def test_the_warm_up_counts_towards_the_settling_of_the_first_step(step, after):
    """It ran at that step's weight: 10 s of warm-up cover 5 s of settling."""
    rollout = RolloutState("a", plan=QUICK, step=step, step_since=100.0)
    assert 100.0 + after == judged_since(rollout, QUICK)
