"""Plots of training runs and of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from service.evaluation_report import Estimate, EvaluationReport, HeldOutSection, PairedDifference
from training.curves import LearningCurve
from training.report_markdown import pool_text
from training.trainer import EpochMetrics


def learning_curve(history: Sequence[EpochMetrics], name: str, path: Path) -> None:
    """Plot the training loss (left axis) and the held-out Hit@5 (right axis) of every epoch."""
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
    """Plot held-out Hit@5 against vectors read: one line a run, the best epoch ringed."""
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
        title="Hit@5 by training cost: one point an epoch, the best one ringed",
        xlabel="vectors read forward and backward",
        ylabel="held-out Hit@5 after the epoch",
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=2)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def report_picture(report: EvaluationReport, path: Path) -> None:
    """Plot Hit@5 of every row, best on top, and the paired differences: one line a held-out set."""
    tallest = max(max(len(one.scores), len(_hit_at_5(one))) for one in report.sets)
    figure = Figure(figsize=(15, len(report.sets) * (1.6 + 0.42 * tallest)), layout="constrained")
    grid = figure.subplots(len(report.sets), 2, squeeze=False)
    for (left, right), one in zip(grid, report.sets, strict=True):
        _bars(left, one)
        _draw_forest(right, one)
    figure.savefig(path, dpi=100)


def _bars(axes: Axes, one: HeldOutSection) -> None:
    """Models in colour, baselines in grey; hatched if the model has seen the documents.

    Models whose metrics were withheld for that reason stand at the bottom without a bar.
    """
    withheld = [score.name for score in one.scores if score.hit_at_5 is None]
    axes.barh(withheld, [0.0] * len(withheld))
    for place in range(len(withheld)):
        axes.text(0, place, "  not held out for this model", va="center", color="#d62728")
    scored = [(score, score.hit_at_5) for score in one.scores if score.hit_at_5 is not None]
    scored.sort(key=lambda pair: pair[1].value)
    hits = [hit for _, hit in scored]
    bars = axes.barh(
        [score.name + (" (SEEN)" if score.seen_documents else "") for score, _ in scored],
        [hit.value for hit in hits],
        xerr=_errors(hits),
        color=["#1f77b4" if score.kind == "model" else "#bdbdbd" for score, _ in scored],
        error_kw={"capsize": 4, "ecolor": "#333333"},
    )
    for bar, (score, _) in zip(bars, scored, strict=True):
        bar.set_hatch("//" if score.seen_documents else "")
    edge = max(hit.high for hit in hits)
    for place, hit in enumerate(hits, start=len(withheld)):
        axes.text(hit.high + 0.01 * edge, place, f" {hit.value:.1%}", va="center")
    axes.axvline(one.pool.chance_hit_at_5 or 0.0, color="#d62728", linestyle=":", label="chance")
    axes.set_xlim(0, 1.2 * edge)
    axes.set(
        title=f"Held out: {one.name}, {len(one.documents)} documents",
        xlabel=f"Hit@5 in a pool of {pool_text(one.pool)}",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="lower right")
    axes.grid(axis="x", alpha=0.3)


def _draw_forest(axes: Axes, one: HeldOutSection) -> None:
    """Differences in Hit@5; blue or red if the interval excludes 0."""
    items = _hit_at_5(one)[::-1]
    if not items:
        axes.set_axis_off()
        return
    for place, item in enumerate(items):
        points = [100 * value for value in (item.difference, item.low, item.high)]
        gap = Estimate(*points)
        colour = "#1f77b4" if gap.low > 0 else "#d62728" if gap.high < 0 else "#7f7f7f"
        axes.errorbar(gap.value, place, xerr=_errors([gap]), fmt="o", color=colour, capsize=4)
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_yticks(range(len(items)), [f"{item.a} − {item.b}" for item in items], fontsize=8)
    axes.set(title="Paired differences", xlabel="Hit@5, percentage points")
    axes.grid(axis="x", alpha=0.3)


def _hit_at_5(one: HeldOutSection) -> list[PairedDifference]:
    return [item for item in one.differences if item.metric == "hit_at_5"]


def _errors(figures: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Lengths of the error bars below and above; a percentile interval may exclude its value."""
    return (
        [max(0.0, item.value - item.low) for item in figures],
        [max(0.0, item.high - item.value) for item in figures],
    )
