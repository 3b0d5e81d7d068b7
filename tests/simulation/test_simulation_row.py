"""Rows from literal rollouts."""

from __future__ import annotations

import pytest

from simulation import report
from simulation.latency_distribution import LognormalLatency
from simulation.rollout_simulation import RolloutEnding, SimulatedRollout
from simulation.scenario import Scenario
from simulation.simulation_row import (
    TimePercentiles,
    nextvec_row,
    wilson_interval,
)

SCENARIO = Scenario(LognormalLatency(0.05, 0.5))


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(0, 1000, (0.0, 0.00383)), (10, 100, (0.0552, 0.1744)), (5, 5, (0.5655, 1.0))],
)
def test_the_interval_is_wilsons(count, of, expected):
    assert expected == pytest.approx(wilson_interval(count, of), abs=1e-4)


def test_an_event_that_never_happened_counts_as_infinite():
    assert TimePercentiles(2.0, None) == TimePercentiles.of([1.0, 2.0, None, 2.0])
    assert TimePercentiles(None, None) == TimePercentiles.of([1.0, None, None])
    assert TimePercentiles(None, None) == TimePercentiles.of([])
    assert TimePercentiles(5.0, 9.0) == TimePercentiles.of([float(i) for i in range(1, 11)])


def test_a_row_counts_endings_and_orders_times():
    found = nextvec_row(
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
    assert (0.0, 0.0, 0.0, 1 / 3) == found.rolled_back_by_minute[:4]
    assert 1 / 3 == found.rolled_back_by_minute[60] == found.rolled_back_by_minute[-1]
    cells = ("nextvec", "1×", "33.3 (6.1–79.2)", "–", "–", "300/–", "1: –")
    assert cells == report.cells(found)
