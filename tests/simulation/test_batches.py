"""Rollouts in batches."""

from __future__ import annotations

import pytest

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation.batches import simulate_scenarios
from simulation.latency_distribution import LognormalLatency
from simulation.scenario import Scenario


@pytest.mark.slow
def test_rollouts_do_not_depend_on_the_number_of_processes():
    scenarios = [Scenario(LognormalLatency(0.05, 0.5), ratio=r, horizon=300.0) for r in (1.0, 5.0)]
    advanced = []
    one, two = (
        simulate_scenarios(
            scenarios,
            RolloutPlan(),
            hold=False,
            compare=True,
            rollouts=30,
            seed=3,
            processes=processes,
            advanced=advanced.append,
        )
        for processes in (1, 2)
    )
    assert one == two
    assert ["nextvec"] * 2 + ["P95 of 1 min"] * 2 + ["5 failures"] * 2 == [r.rule for r in one]
    assert 2 * 6 * 30 == sum(advanced)
    assert (0, 30) == (one[0].rolled_back, one[1].rolled_back)
