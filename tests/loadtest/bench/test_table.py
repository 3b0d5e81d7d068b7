"""The table of a benchmark: goals, JSON and Markdown."""

from __future__ import annotations

import json
import math

import pytest

from loadtest.bench import table
from loadtest.bench.table import BenchmarkGoal, BenchmarkRow, BenchmarkTable
from loadtest.timings import Timings

TABLE = BenchmarkTable(
    {"B_ms": 3.0, "threads": 1},
    (
        BenchmarkRow(
            "step", "P50 ÷ B", 0.6, BenchmarkGoal(0.7), Timings(10, 0.002, 0.003, 500.0), 0.0033
        ),
        BenchmarkRow(
            "steps",
            "rate × B",
            4.0,
            BenchmarkGoal(4.5, at_least=True),
            Timings(9, 0.01, 0.02, math.nan),
        ),
        BenchmarkRow("bare", "ms", 3.0),
    ),
    ("a note",),
)


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (BenchmarkGoal(0.7), 0.7, True),
        (BenchmarkGoal(0.7), 0.71, False),
        (BenchmarkGoal(7, at_least=True), 7.0, True),
        (BenchmarkGoal(7, at_least=True), 6.9, False),
    ],
)
def test_a_goal_is_met_on_its_bound(goal, value, met):
    assert met == goal.met(value)


def test_the_table_is_written_as_json_and_markdown(tmp_path):
    """A missing figure is null or empty, never NaN."""
    table.write(TABLE, tmp_path)
    content = json.loads((tmp_path / "bench.json").read_text())
    assert [True, False, None] == [row["met"] for row in content["rows"]]
    assert content["rows"][1]["times"]["rate"] is None
    text = (tmp_path / "bench.md").read_text()
    assert "| step | 2 | 3 | 500 | 3.3 | P50 ÷ B | 0.6 | ≤ 0.7 | met |" in text
    assert "| steps | 10 | 20 |  |  | rate × B | 4 | ≥ 4.5 | missed |" in text
    assert "- a note" in text
