"""The plot: how often and how soon a canary is rolled back, by its latency ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation.point_estimate_rules import PointEstimateRule
from simulation.simulation_row import NEXTVEC, SimulationRow, TimePercentiles

_COLOURS = {
    NEXTVEC: "#1f77b4",
    PointEstimateRule.WINDOWED.value: "#d62728",
    PointEstimateRule.CUMULATIVE.value: "#ff7f0e",
}
_GREY = "#7f7f7f"


def draw(rows: Sequence[SimulationRow], plan: RolloutPlan, title: str, path: Path) -> None:
    """Write both charts into one PNG."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=10)
    left, right = figure.subplots(1, 2)
    _rates(left, rows, plan)
    _delays(right, rows)
    ratios = sorted({row.ratio for row in rows})
    left_end, right_end = ratios[0] / 1.05, max(ratios[-1], plan.ratio) * 1.05
    for axes in (left, right):
        axes.axvspan(left_end, max(left_end, plan.ratio), color="#2ca02c", alpha=0.08, linewidth=0)
        axes.set_xlabel("canary's latencies over stable's (shaded: complies)")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(ratios))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(left_end, right_end)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _rates(axes: Axes, rows: Sequence[SimulationRow], plan: RolloutPlan) -> None:
    for rule, found in _by_rule(rows).items():
        rate = [100 * row.rate for row in found]
        # The interval around 0 and 1 is on one side only.
        low = [max(0.0, 100 * (row.rate - row.low)) for row in found]
        high = [max(0.0, 100 * (row.high - row.rate)) for row in found]
        ratios = [row.ratio for row in found]
        axes.errorbar(
            ratios, rate, (low, high), marker="o", capsize=3, label=rule, color=_COLOURS[rule]
        )
    axes.axhline(100 * plan.alpha, color=_GREY, linestyle=":", label=f"α = {plan.alpha:g}")
    axes.set(ylabel="rolled back, % of rollouts", ylim=(-3, 103))
    axes.set_title("How often", fontsize=10)
    axes.legend(fontsize=8, loc="center right")


def _delays(axes: Axes, rows: Sequence[SimulationRow]) -> None:
    for rule, found in _by_rule(rows).items():
        medians, slow = (
            [(row.ratio, s) for row in found if (s := pick(row.delay)) is not None]
            for pick in (_median, _p90)
        )
        colour = _COLOURS[rule]
        axes.plot(*_columns(medians), "o-", color=colour, label=f"{rule}, median")
        axes.plot(*_columns(slow), ".:", color=colour, label=f"{rule}, 90 %")
    axes.set_yscale("log")
    ticks = (15, 30, 60, 120, 300, 600, 1800, 3600)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(ylabel="seconds to the rollback", ylim=(12, 4500))
    axes.set_title("How soon, where at least so many are rolled back", fontsize=10)
    axes.legend(fontsize=8, loc="upper right")


def _by_rule(rows: Sequence[SimulationRow]) -> dict[str, list[SimulationRow]]:
    rules: dict[str, list[SimulationRow]] = {}
    for row in sorted(rows, key=lambda row: row.ratio):
        rules.setdefault(row.rule, []).append(row)
    return rules


def _median(times: TimePercentiles) -> float | None:
    return times.median


def _p90(times: TimePercentiles) -> float | None:
    return times.p90


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
