"""The chart of a benchmark is drawn from its table."""

from __future__ import annotations

import math

from loadtest.bench import goal_chart
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


def test_the_chart_is_written_as_a_png(tmp_path):
    goal_chart.draw(TABLE, tmp_path / "new" / "bench.png")
    assert (tmp_path / "new" / "bench.png").read_bytes().startswith(b"\x89PNG")
