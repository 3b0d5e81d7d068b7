"""What a session costs by its length, from `measure_sessions`."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from deploy.site.pictures.canvas import BLUE, RED, new_figure, styled


@styled
def draw(measured: dict[str, Any]) -> Figure:
    """The picture: time of one more vector on the left, memory on the right."""
    costs = measured["costs"]
    lengths = [cost["vectors"] for cost in costs]
    figure = new_figure(8.6, 3.4)
    left, right = figure.subplots(1, 2)
    left.plot(lengths, [cost["context_ms"] for cost in costs], "o-", color=RED)
    left.plot(lengths, [cost["step_ms"] for cost in costs], "o-", color=BLUE)
    last = costs[-1]
    left.text(
        lengths[-3],
        costs[-3]["context_ms"] * 1.9,
        "whole context",
        color=RED,
        ha="right",
        weight="bold",
    )
    left.text(lengths[-1], last["step_ms"] * 1.5, "session", color=BLUE, ha="right", weight="bold")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="vectors so far",
        ylabel="ms in the engine",
        title="One more vector",
    )
    right.plot(lengths, [cost["session_bytes"] / 1024 for cost in costs], "o-", color=BLUE)
    right.set(xlabel="vectors so far", ylabel="KiB", title="Memory of a session", ylim=(0, None))
    for axes in (left, right):
        axes.grid(visible=True)
    return figure
