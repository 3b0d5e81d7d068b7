"""Pictures of a training run and of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.report import Report
from training.train import Epoch


def learning_curve(history: Sequence[Epoch], name: str, path: Path) -> None:
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


def hit_at_5_bars(report: Report, path: Path) -> None:
    """Hit@5 of every row, best on top, with its interval; models coloured, rules grey."""
    scores = sorted(report.scores, key=lambda score: score.figures.hit_at_5.value)
    hits = [score.figures.hit_at_5 for score in scores]
    figure = Figure(figsize=(8, 1.5 + 0.45 * len(scores)), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        [score.name for score in scores],
        [hit.value for hit in hits],
        xerr=(
            [max(0.0, hit.value - hit.low) for hit in hits],
            [max(0.0, hit.high - hit.value) for hit in hits],
        ),
        color=["#1f77b4" if score.kind == "model" else "#bdbdbd" for score in scores],
        error_kw={"capsize": 4, "ecolor": "#333333"},
    )
    edge = max(hit.high for hit in hits)
    for row, hit in enumerate(hits):
        axes.text(hit.high + 0.01 * edge, row, f" {hit.value:.1%}", va="center")
    axes.axvline(report.pool.chance_hit_at_5, color="#d62728", linestyle=":", label="chance")
    axes.set_xlim(0, 1.15 * edge)
    figure.supxlabel(
        f"Hit@5, pool of {report.pool.kind} in {report.data.held_out_documents} held-out "
        "documents, with 95 % intervals",
        fontsize="medium",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="lower right")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
