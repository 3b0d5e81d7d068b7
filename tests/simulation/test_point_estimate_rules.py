"""The point-estimate rules that the guardrails are compared with."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.counters import percentile as service_percentile
from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import point_estimate_rules
from simulation.latency_distribution import LognormalLatency
from simulation.point_estimate_rules import PointEstimateRule, rollback_delay
from simulation.scenario import Scenario, SimulatedTraffic

SCENARIO = Scenario(LognormalLatency(0.05, 0.5))


def test_a_rules_percentile_is_the_services():
    traffic = SimulatedTraffic.of(SCENARIO)
    counts = np.random.default_rng(0).poisson(traffic.stable[:5] * 10).astype(float)
    expected = [
        service_percentile(Counts(tuple(r[:-1]), r[-1]), traffic.edges, 0.95)
        for r in counts.astype(int).tolist()
    ]
    assert expected == pytest.approx(
        point_estimate_rules.percentile(counts, traffic.edges, 0.95).tolist()
    )
    empty = np.zeros((1, counts.shape[1]))
    assert math.isnan(point_estimate_rules.percentile(empty, traffic.edges, 0.95)[0])
    empty[0, -1] = 5
    assert math.inf == point_estimate_rules.percentile(empty, traffic.edges, 0.95)[0]


@pytest.mark.parametrize(
    ("rule", "ratio", "expected"),
    [
        (PointEstimateRule.WINDOWED, 5.0, 60.0),
        (PointEstimateRule.CUMULATIVE, 5.0, 300.0),
        (PointEstimateRule.WINDOWED, 0.5, None),
        (PointEstimateRule.CUMULATIVE, 0.5, None),
    ],
)
def test_a_rule_decides_after_its_window(rule, ratio, expected):
    scenario = Scenario(LognormalLatency(0.05, 0.5), ratio=ratio)
    rng = np.random.default_rng(0)
    assert expected == rollback_delay(
        rule, scenario, SimulatedTraffic.of(scenario), RolloutPlan(), rng
    )


def test_the_windowed_rule_rolls_back_most_identical_canaries_within_an_hour():
    """This is what the guardrail avoids."""
    rng = np.random.default_rng(1)
    traffic = SimulatedTraffic.of(SCENARIO)
    found = [
        rollback_delay(PointEstimateRule.WINDOWED, SCENARIO, traffic, RolloutPlan(), rng)
        for _ in range(60)
    ]
    assert found.count(None) < 15
