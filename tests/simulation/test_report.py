"""The report on simulated rollouts."""

from __future__ import annotations

import orjson

from simulation import report
from simulation.latency_distribution import LognormalLatency
from simulation.point_estimate_rules import PointEstimateRule
from simulation.scenario import Scenario
from simulation.simulation_row import point_estimate_row

SCENARIO = Scenario(LognormalLatency(0.05, 0.5))


def test_a_report_is_finite_json():
    rows = [point_estimate_row(PointEstimateRule.WINDOWED, SCENARIO, [None, 60.0])]
    found = orjson.loads(report.as_json({"rate": 50.0}, rows))
    assert (0.5, None) == (found["rows"][0]["rate"], found["rows"][0]["delay"]["p90"])
    assert "| P95 of 1 min | 1× | 50.0 (9.5–90.5) |" in report.markdown({}, rows)
