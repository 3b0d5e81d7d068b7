"""Pictures of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

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
