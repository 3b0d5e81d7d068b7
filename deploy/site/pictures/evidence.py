"""How ln E grows with the canary's requests, from the traces of `nextvec simulate --traces`."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform

from deploy.site.pictures.canvas import BLUE, FAINT, GREEN, INK, ORANGE, RED, new_figure, styled

KINDS = {
    1.0: (BLUE, "as fast as stable"),
    1.1: (GREEN, "10 % slower, allowed"),
    1.4: (ORANGE, "40 % slower"),
    2.0: (RED, "twice as slow"),
}
"""Colour and name of the canaries, by their latency over stable's."""


@styled
def draw(traces: list[dict[str, Any]]) -> Figure:
    """The picture of a `traces.json`: evidence for a fail on the left, for a pass on the right."""
    figure = new_figure(8.6, 3.8)
    left, right = figure.subplots(1, 2)
    _side(left, traces, "log_fail", "fail_bound", "roll back")
    _side(right, traces, "log_pass", "pass_bound", "pass")
    left.set(
        ylabel="ln E of the guardrail latency", title="Evidence for a rollback", ylim=(-7.5, 10)
    )
    right.set(title="Evidence for the next step", ylim=(-6, 8))
    left.legend(loc="lower right", fontsize=9)
    return figure


def _side(axes: Axes, traces: list[dict[str, Any]], side: str, bound: str, word: str) -> None:
    named: set[float] = set()
    for trace in traces:
        colour, name = KINDS[trace["ratio"]]
        points = _until_bound(trace, side, bound)
        label = None if trace["ratio"] in named else name
        named.add(trace["ratio"])
        requests = [point["requests"] for point in points]
        evidence = [point[side] for point in points]
        axes.plot(requests, evidence, color=colour, linewidth=1.6, label=label)
        if evidence[-1] >= trace[bound]:
            axes.plot(requests[-1], evidence[-1], "o", color=colour, markersize=6)
    limit = traces[0][bound]
    axes.axhline(limit, color=INK, linestyle="--", linewidth=1)
    place, align = (0.99, "right") if side == "log_fail" else (0.01, "left")
    axes.text(
        place, limit, f"{word} at {limit:.2f}", va="bottom", ha=align, transform=_across(axes)
    )
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set(xscale="log", xlabel="canary's requests")
    axes.grid(visible=True)


def _until_bound(trace: dict[str, Any], side: str, bound: str) -> list[dict[str, Any]]:
    """The points with requests, up to the first that reaches the bound: there the verdict falls."""
    found: list[dict[str, Any]] = []
    for point in trace["points"]:
        if point["requests"] > 0:
            found.append(point)
            if point[side] >= trace[bound]:
                break
    return found


def _across(axes: Axes) -> Transform:
    """Across the axes from 0 to 1, upwards in units of the data."""
    return axes.get_yaxis_transform()
