"""Pictures of a training run and of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from training.bootstrap import Figure as Interval
from training.curves import LearningCurve
from training.report import Report, SetReport
from training.scores import Difference
from training.trainer import EpochMetrics


def learning_curve(history: Sequence[EpochMetrics], name: str, path: Path) -> None:
    """Loss on the left axis, held-out Hit@5 on the right, an epoch a point."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    epochs = [epoch.epoch for epoch in history]
    (loss,) = left.plot(epochs, [epoch.loss for epoch in history], "o-", color="#7f7f7f")
    (hit,) = right.plot(epochs, [epoch.hit_at_5 for epoch in history], "s-", color="#1f77b4")
    left.set(xlabel="epoch", ylabel="training loss", title=f"{name}: learning curve")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_ylabel("held-out Hit@5, 1000 random positions")
    right.yaxis.set_major_formatter(PercentFormatter(1))
    left.legend([loss, hit], ["training loss", "Hit@5"], loc="center right")
    left.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def curves_picture(curves: Sequence[LearningCurve], path: Path) -> None:
    """Held-out Hit@5 against vectors read, a line a run, a point an epoch; the best ringed."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, curve in enumerate(curves):
        hits = [epoch.hit_at_5 for epoch in curve.history]
        colour, best = f"C{number}", hits[curve.best]
        label = f"{curve.name}: best {best:.1%}"
        axes.plot(curve.vectors, hits, "o-", color=colour, label=label)
        at = (curve.vectors[curve.best], best)
        axes.plot(*at, "o", color=colour, markersize=12, fillstyle="none")
    axes.set(
        title="Learning by cost: a point an epoch, the best one ringed",
        xlabel="vectors read forward and backward",
        ylabel="held-out Hit@5 after the epoch",
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=2)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def report_picture(report: Report, path: Path) -> None:
    """A line a held-out set: Hit@5 of every row, best on top, and the paired differences."""
    tallest = max(max(len(one.rows), len(_hit_at_5(one))) for one in report.sets)
    figure = Figure(figsize=(15, len(report.sets) * (1.6 + 0.42 * tallest)), layout="constrained")
    grid = figure.subplots(len(report.sets), 2, squeeze=False)
    for (left, right), one in zip(grid, report.sets, strict=True):
        _bars(left, one)
        _forest(right, one)
    figure.savefig(path, dpi=100)


def _bars(axes: Axes, one: SetReport) -> None:
    """Models coloured, rules grey; hatched where the model was trained on the documents.

    Models whose figures were withheld for that stand at the bottom, without a bar.
    """
    withheld = [row.name for row in one.rows if row.figures is None]
    axes.barh(withheld, [0.0] * len(withheld))
    for place in range(len(withheld)):
        axes.text(0, place, "  not held out for this model", va="center", color="#d62728")
    scored = [(row, row.figures["hit_at_5"]) for row in one.rows if row.figures is not None]
    scored.sort(key=lambda pair: pair[1].value)
    hits = [hit for _, hit in scored]
    bars = axes.barh(
        [row.name + (" (SEEN)" if row.seen else "") for row, _ in scored],
        [hit.value for hit in hits],
        xerr=_errors(hits),
        color=["#1f77b4" if row.kind == "model" else "#bdbdbd" for row, _ in scored],
        error_kw={"capsize": 4, "ecolor": "#333333"},
    )
    for bar, (row, _) in zip(bars, scored, strict=True):
        bar.set_hatch("//" if row.seen else "")
    edge = max(hit.high for hit in hits)
    for place, hit in enumerate(hits, start=len(withheld)):
        axes.text(hit.high + 0.01 * edge, place, f" {hit.value:.1%}", va="center")
    axes.axvline(one.pool.chance_hit_at_5, color="#d62728", linestyle=":", label="chance")
    axes.set_xlim(0, 1.2 * edge)
    axes.set(
        title=f"Held out: {one.name}, {len(one.documents)} documents",
        xlabel=f"Hit@5 in a pool of {one.pool}",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="lower right")
    axes.grid(axis="x", alpha=0.3)


def _forest(axes: Axes, one: SetReport) -> None:
    """Hit@5 differences; blue and red where the interval leaves 0 out."""
    items = _hit_at_5(one)[::-1]
    if not items:
        axes.set_axis_off()
        return
    for place, item in enumerate(items):
        points = [100 * value for value in (item.figure.value, item.figure.low, item.figure.high)]
        gap = Interval(*points)
        colour = "#1f77b4" if gap.low > 0 else "#d62728" if gap.high < 0 else "#7f7f7f"
        axes.errorbar(gap.value, place, xerr=_errors([gap]), fmt="o", color=colour, capsize=4)
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_yticks(range(len(items)), [f"{item.a} − {item.b}" for item in items], fontsize=8)
    axes.set(title="Paired differences", xlabel="Hit@5, percentage points")
    axes.grid(axis="x", alpha=0.3)


def _hit_at_5(one: SetReport) -> list[Difference]:
    return [item for item in one.differences if item.metric == "hit_at_5"]


def _errors(figures: Sequence[Interval]) -> tuple[list[float], list[float]]:
    """Below and above; never negative, which a percentile interval could make it."""
    return (
        [max(0.0, item.value - item.low) for item in figures],
        [max(0.0, item.high - item.value) for item in figures],
    )
