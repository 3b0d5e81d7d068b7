"""Figures of many rollouts, from literal ones; the rules beside them."""

from __future__ import annotations

import math

import numpy as np
import orjson
import pytest

from service.rollout.analysis.counts import Counts
from service.rollout.analysis.counts import percentile as service_percentile
from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import many, report, rivals
from simulation.latency import Lognormal
from simulation.outcomes import Times, rival_row, row, wilson
from simulation.play import Ending, Played
from simulation.rivals import Rival
from simulation.scenario import Scenario, Traffic

SCENARIO = Scenario(Lognormal(0.05, 0.5))


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(0, 1000, (0.0, 0.00383)), (10, 100, (0.0552, 0.1744)), (5, 5, (0.5655, 1.0))],
)
def test_the_interval_is_wilsons(count, of, expected):
    assert expected == pytest.approx(wilson(count, of), abs=1e-4)


def test_what_never_happened_is_later_than_all_that_did():
    assert Times(2.0, None) == Times.of([1.0, 2.0, None, 2.0])
    assert Times(None, None) == Times.of([1.0, None, None])
    assert Times(None, None) == Times.of([])
    assert Times(5.0, 9.0) == Times.of([float(i) for i in range(1, 11)])


def test_a_row_counts_endings_and_orders_times():
    found = row(
        SCENARIO,
        [
            Played(Ending.ROLLED_BACK, 150.0, 90.0, (None,)),
            Played(Ending.PROMOTED, 900.0, 90.0, (200.0, 300.0)),
            Played(Ending.UNDECIDED, 3600.0, 90.0, (250.0, None)),
        ],
    )
    assert (1, 1, 3) == (found.rolled_back, found.promoted, found.rollouts)
    assert (None, None) == (found.delay.median, found.total.median)
    assert Times(300.0, None) == found.passing
    cells = ("nextvec", "1×", "33.3 (6.1–79.2)", "–", "–", "300/–", "1: –")
    assert cells == report.cells(found)


def test_a_report_is_finite_json():
    rows = [rival_row(Rival.WINDOWED, SCENARIO, [None, 60.0])]
    found = orjson.loads(report.as_json({"rate": 50.0}, rows))
    assert (0.5, None) == (found["rows"][0]["rate"], found["rows"][0]["delay"]["p90"])
    assert "| P95 of 1 min | 1× | 50.0 (9.5–90.5) |" in report.markdown({}, rows)


def test_a_rivals_percentile_is_the_services():
    traffic = Traffic.of(SCENARIO)
    counts = np.random.default_rng(0).poisson(traffic.stable[:5] * 10).astype(float)
    expected = [
        service_percentile(Counts(tuple(r[:-1]), r[-1]), traffic.edges, 0.95)
        for r in counts.astype(int).tolist()
    ]
    assert expected == pytest.approx(rivals.percentile(counts, traffic.edges, 0.95).tolist())
    empty = np.zeros((1, counts.shape[1]))
    assert math.isnan(rivals.percentile(empty, traffic.edges, 0.95)[0])
    empty[0, -1] = 5
    assert math.inf == rivals.percentile(empty, traffic.edges, 0.95)[0]


@pytest.mark.parametrize(
    ("rival", "ratio", "expected"),
    [
        (Rival.WINDOWED, 5.0, 60.0),
        (Rival.CUMULATIVE, 5.0, 300.0),
        (Rival.WINDOWED, 0.5, None),
        (Rival.CUMULATIVE, 0.5, None),
    ],
)
def test_rivals_say_so_after_their_window(rival, ratio, expected):
    scenario = Scenario(Lognormal(0.05, 0.5), ratio=ratio)
    rng = np.random.default_rng(0)
    assert expected == rivals.play(rival, scenario, Traffic.of(scenario), RolloutPlan(), rng)


def test_the_windowed_rule_rolls_back_most_identical_canaries_within_an_hour():
    """What the service's guardrail is there to avoid."""
    rng = np.random.default_rng(1)
    traffic = Traffic.of(SCENARIO)
    found = [rivals.play(Rival.WINDOWED, SCENARIO, traffic, RolloutPlan(), rng) for _ in range(60)]
    assert found.count(None) < 15


def test_many_are_the_same_however_they_are_spread():
    scenarios = [Scenario(Lognormal(0.05, 0.5), ratio=r, horizon=300.0) for r in (1.0, 5.0)]
    advanced = []
    one, two = (
        many.run(
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
