"""Plots a sweep: models in colour, baselines in grey, an interval at every point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from service.evaluation_report import Estimate
from training.sweeps.sweep import Sweep, SweepPoint

_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
_GREYS = ("#555555", "#777777", "#999999", "#b5b5b5")
_MARKS = ("s", "D", "^", "v")


_SMALLEST = 1e-6
"""Smaller changes are drawn here: float32 does not resolve them."""


def draw(sweep: Sweep, path: Path) -> None:
    """Plot Hit@5, and beside it the change from the reference's prediction if there is one."""
    has_change = any(point.cosine for series in sweep.series for point in series.points)
    figure = Figure(figsize=(16 if has_change else 10, 6.5), layout="constrained")
    panels = figure.subplots(1, 2 if has_change else 1, squeeze=False)[0]
    _panel(panels[0], sweep, [[point.hit_at_5 for point in one.points] for one in sweep.series])
    panels[0].set_ylabel("Hit@5 with 95 % intervals")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    if has_change:
        _panel(panels[1], sweep, [[_change(point) for point in one.points] for one in sweep.series])
        panels[1].set_ylabel(f"1 − cosine with the prediction from {sweep.gap_from}")
        panels[1].set_yscale("log")
    figure.suptitle(sweep.title)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=100)


def _panel(axes: Axes, sweep: Sweep, figures: Sequence[Sequence[Estimate]]) -> None:
    styles = _styles(sweep)
    for number, (series, found) in enumerate(zip(sweep.series, figures, strict=True)):
        shift = number - len(sweep.series) / 2
        colour, mark, line = styles[number]
        axes.errorbar(
            [_shifted_x(point, shift, log=sweep.log) for point in series.points],
            [figure.value for figure in found],
            yerr=(
                [max(0.0, figure.value - figure.low) for figure in found],
                [max(0.0, figure.high - figure.value) for figure in found],
            ),
            label=series.name,
            capsize=2,
            color=colour,
            marker=mark,
            markersize=5,
            linestyle=line,
            linewidth=1 if series.kind == "rule" else 2,
            elinewidth=0.7 if series.kind == "rule" else 1.5,
        )
    ticks = {point.x: point.label for series in sweep.series for point in series.points}
    if sweep.log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel(sweep.x_label)
    axes.grid(alpha=0.3)


def _change(point: SweepPoint) -> Estimate:
    assert point.cosine is not None
    same = point.cosine
    parts = [max(_SMALLEST, 1 - part) for part in (same.value, same.high, same.low)]
    return Estimate(*parts)


def _shifted_x(point: SweepPoint, shift: float, *, log: bool) -> float:
    """Shift a series sideways, so that the intervals of several series do not overlap."""
    return point.x * 1.03**shift if log else point.x + 0.05 * shift


def _styles(sweep: Sweep) -> list[tuple[str, str, str]]:
    """Colour, marker and line of each series: models solid, baselines grey and dashed."""
    found, models, rules = [], 0, 0
    for series in sweep.series:
        if series.kind == "model":
            found.append((_COLOURS[models % len(_COLOURS)], "o", "-"))
            models += 1
        else:
            found.append((_GREYS[rules % len(_GREYS)], _MARKS[rules % len(_MARKS)], "--"))
            rules += 1
    return found
