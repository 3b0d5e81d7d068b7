"""Figures of many rollouts, from literal ones; the rules beside them."""

from __future__ import annotations

import math

import numpy as np
import orjson
import pytest

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.counters import percentile as service_percentile
from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import parallel, point_estimate_rules, report
from simulation.latency_distribution import LognormalLatency
from simulation.play import RolloutEnding, SimulatedRollout
from simulation.point_estimate_rules import PointEstimateRule
from simulation.scenario import Scenario, SimulatedTraffic
from simulation.simulation_row import TimePercentiles, point_estimate_row, row, wilson

SCENARIO = Scenario(LognormalLatency(0.05, 0.5))


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(0, 1000, (0.0, 0.00383)), (10, 100, (0.0552, 0.1744)), (5, 5, (0.5655, 1.0))],
)
def test_the_interval_is_wilsons(count, of, expected):
    assert expected == pytest.approx(wilson(count, of), abs=1e-4)


def test_what_never_happened_is_later_than_all_that_did():
    assert TimePercentiles(2.0, None) == TimePercentiles.of([1.0, 2.0, None, 2.0])
    assert TimePercentiles(None, None) == TimePercentiles.of([1.0, None, None])
    assert TimePercentiles(None, None) == TimePercentiles.of([])
    assert TimePercentiles(5.0, 9.0) == TimePercentiles.of([float(i) for i in range(1, 11)])


def test_a_row_counts_endings_and_orders_times():
    found = row(
        SCENARIO,
        [
            SimulatedRollout(RolloutEnding.ROLLED_BACK, 150.0, 90.0, (None,)),
            SimulatedRollout(RolloutEnding.PROMOTED, 900.0, 90.0, (200.0, 300.0)),
            SimulatedRollout(RolloutEnding.UNDECIDED, 3600.0, 90.0, (250.0, None)),
        ],
    )
    assert (1, 1, 3) == (found.rolled_back, found.promoted, found.rollouts)
    assert (None, None) == (found.delay.median, found.total.median)
    assert TimePercentiles(300.0, None) == found.passing
    cells = ("nextvec", "1×", "33.3 (6.1–79.2)", "–", "–", "300/–", "1: –")
    assert cells == report.cells(found)


def test_a_report_is_finite_json():
    rows = [point_estimate_row(PointEstimateRule.WINDOWED, SCENARIO, [None, 60.0])]
    found = orjson.loads(report.as_json({"rate": 50.0}, rows))
    assert (0.5, None) == (found["rows"][0]["rate"], found["rows"][0]["delay"]["p90"])
    assert "| P95 of 1 min | 1× | 50.0 (9.5–90.5) |" in report.markdown({}, rows)


def test_a_rivals_percentile_is_the_services():
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
    ("rival", "ratio", "expected"),
    [
        (PointEstimateRule.WINDOWED, 5.0, 60.0),
        (PointEstimateRule.CUMULATIVE, 5.0, 300.0),
        (PointEstimateRule.WINDOWED, 0.5, None),
        (PointEstimateRule.CUMULATIVE, 0.5, None),
    ],
)
def test_rivals_say_so_after_their_window(rival, ratio, expected):
    scenario = Scenario(LognormalLatency(0.05, 0.5), ratio=ratio)
    rng = np.random.default_rng(0)
    assert expected == point_estimate_rules.play(
        rival, scenario, SimulatedTraffic.of(scenario), RolloutPlan(), rng
    )


def test_the_windowed_rule_rolls_back_most_identical_canaries_within_an_hour():
    """What the service's guardrail is there to avoid."""
    rng = np.random.default_rng(1)
    traffic = SimulatedTraffic.of(SCENARIO)
    found = [
        point_estimate_rules.play(PointEstimateRule.WINDOWED, SCENARIO, traffic, RolloutPlan(), rng)
        for _ in range(60)
    ]
    assert found.count(None) < 15


@pytest.mark.slow
def test_many_are_the_same_however_they_are_spread():
    scenarios = [Scenario(LognormalLatency(0.05, 0.5), ratio=r, horizon=300.0) for r in (1.0, 5.0)]
    advanced = []
    one, two = (
        parallel.run(
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
