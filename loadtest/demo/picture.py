"""The demo in one picture: an act a column, P95 above, who gets the traffic below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.demo import scenario
from loadtest.demo.run import ActRun
from loadtest.report.plots import COLOURS
from loadtest.report.request_log import by_version, p95_over_time
from loadtest.report.summary import RATIO_BOUND

_COLOURS = {scenario.STABLE: COLOURS["stable"], scenario.CANARY: COLOURS["canary"]}
_WINDOW = 8.0


def draw_demo(performances: Sequence[ActRun], path: Path) -> None:
    """Write the picture. Versions keep their colour through a promotion."""
    figure = Figure(figsize=(6.2 * len(performances), 7), layout="constrained")
    axes = figure.subplots(2, len(performances), sharex="col", squeeze=False)
    for column, played in enumerate(performances):
        _latency(axes[0][column], played, column + 1)
        _traffic(axes[1][column], played)
    figure.supxlabel(
        f"{scenario.STABLE} reads {scenario.WINDOWS[scenario.STABLE]} vectors, {scenario.CANARY} "
        f"{scenario.WINDOWS[scenario.CANARY]}. Dotted: the rollout starts; solid: its end. "
        "At each change of weight, sessions that move are primed once: a short peak, "
        "which the guardrail leaves out.",
        fontsize=8,
        color="#7f7f7f",
    )
    figure.savefig(path, dpi=120)


def _latency(axes: Axes, played: ActRun, number: int) -> None:
    points = p95_over_time(played.driver.records, _WINDOW, by=by_version)
    for version, colour in _COLOURS.items():
        own = [(point.at, point.p95[version] * 1000) for point in points if version in point.p95]
        if own:
            axes.plot(*zip(*own, strict=True), color=colour, label=version, linewidth=2)
    bound = [
        (point.at, point.p95[scenario.STABLE] * 1000 * RATIO_BOUND)
        for point in points
        if scenario.STABLE in point.p95
    ]
    if bound:
        axes.plot(
            *zip(*bound, strict=True),
            color="#d62728",
            linestyle="--",
            linewidth=1,
            label=f"allowed: {RATIO_BOUND} × {scenario.STABLE}",
        )
    axes.set_title(f"Act {number}: {played.act.title}", fontsize=11)
    axes.set_ylabel(f"P95 of the last {_WINDOW:g} s, ms")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize=9)
    _mark(axes, played)


def _traffic(axes: Axes, played: ActRun) -> None:
    # From the beginning: the first look comes a moment after it.
    at = [0.0, *(sample.at for sample in played.samples)]
    share = [0.0, *(scenario.canary_share(sample) for sample in played.samples)]
    axes.stackplot(
        at,
        share,
        [100 - value for value in share],
        colors=[_COLOURS[scenario.CANARY], _COLOURS[scenario.STABLE]],
        step="post",
        alpha=0.75,
    )
    axes.set(xlabel="seconds", ylabel="share of new requests, %", ylim=(0, 100))
    if played.samples:
        axes.set_xlim(0, max(at))
    _mark(axes, played)
    if played.ended is None:
        return
    decided = scenario.deciding_sample(played.samples)
    outcome = str(played.act.expected) if not played.problems else "not as it must"
    begin = played.started or 0.0
    took = played.ended - begin
    p95 = scenario.p95_by_version(played.driver.records, begin, played.ended)
    measured = f"\nP95 {p95[scenario.CANARY] / p95[scenario.STABLE]:.2f} ×" if len(p95) == 2 else ""
    evidence = "" if decided is None else f", guardrail: {decided.outcome}"
    axes.annotate(
        f"{scenario.CANARY} {outcome}\nafter {took:.0f} s{measured}{evidence}",
        (played.ended, 50),
        xytext=(-12, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "#7f7f7f"},
        fontsize=10,
    )


def _mark(axes: Axes, played: ActRun) -> None:
    for at, style in ((played.started, ":"), (played.ended, "-")):
        if at is not None:
            axes.axvline(at, color="black", linestyle=style, linewidth=1)
