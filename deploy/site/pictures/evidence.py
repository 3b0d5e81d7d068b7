"""How ln E grows with the canary's requests, from the traces of `nextvec simulate --traces`."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from deploy.site.pictures.canvas import BLUE, FAINT, GREEN, INK, ORANGE, RED, new_figure, styled

KINDS = {1.0: (BLUE, "equal"), 1.1: (GREEN, "10 % slower, allowed")}
SLOW = {1.4: (ORANGE, "40 % slower"), 2.0: (RED, "twice as slow")}


@styled
def draw(traces: list[dict[str, Any]]) -> Figure:
    """The picture of a `traces.json`: evidence for a fail on the left, for a pass on the right."""
    figure = new_figure(8.6, 3.8)
    left, right = figure.subplots(1, 2)
    _side(left, traces, "log_fail", "fail_bound", "Evidence for a rollback", "roll back")
    _side(right, traces, "log_pass", "pass_bound", "Evidence for the next step", "pass")
    left.set_ylabel("ln E of the guardrail latency")
    return figure


def _side(
    axes: Any, traces: list[dict[str, Any]], side: str, bound: str, title: str, word: str
) -> None:
    named: set[float] = set()
    for trace in traces:
        colour, name = (KINDS | SLOW)[trace["ratio"]]
        points = [point for point in trace["points"] if point["requests"] > 0]
        label = None if trace["ratio"] in named else name
        named.add(trace["ratio"])
        axes.plot(
            [point["requests"] for point in points],
            [point[side] for point in points],
            color=colour,
            linewidth=1.6,
            label=label,
        )
        if trace["ending"] == "rolled back" and side == "log_fail":
            axes.plot(points[-1]["requests"], points[-1][side], "o", color=colour, markersize=5)
    limit = traces[0][bound]
    axes.axhline(limit, color=INK, linestyle="--", linewidth=1)
    axes.text(
        1.0, limit, f"{word} at {limit:.2f} ", va="bottom", ha="right", transform=_across(axes)
    )
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set(xscale="log", xlabel="canary's requests", title=title, ylim=(-6, 1.45 * limit))
    axes.grid(visible=True)
    axes.legend(loc="lower left", fontsize=9)


def _across(axes: Any) -> Any:
    """Across the axes from 0 to 1, upwards in units of the data."""
    return axes.get_yaxis_transform()
