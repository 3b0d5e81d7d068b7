"""A chart of a benchmark: each figure relative to its goal."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from loadtest.bench.table import BenchmarkTable

_MET, _MISSED = "#2ca02c", "#d62728"


def draw(table: BenchmarkTable, path: Path) -> None:
    """Draw a bar for each row with a goal: its share of the goal, on a logarithmic axis.

    Throughputs are drawn as goal ÷ value, so that shorter is always better.
    """
    rows = [row for row in reversed(table.rows) if row.goal is not None]
    figure = Figure(figsize=(10, 0.42 * len(rows) + 1.6), layout="constrained")
    axes = figure.subplots()
    longest = 1.2
    for place, row in enumerate(rows):
        assert row.goal is not None
        share = row.goal.bound / row.value if row.goal.at_least else row.value / row.goal.bound
        longest = max(longest, share)
        axes.barh(place, share, color=_MET if row.met else _MISSED, height=0.7)
        text = f" {row.figure} = {row.value:.3g} (goal {row.goal})"
        axes.text(share, place, text, va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row.what for row in rows], fontsize=8)
    axes.set_xlabel("share of the goal's limit (shorter is better; up to 1 meets the goal)")
    axes.set_xscale("log")
    axes.set_xlim(0.04, longest * 8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    name, value = next(iter(table.settings.items()))
    axes.set_title(f"nextvec bench: {name} {value}")
    axes.grid(axis="x", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
