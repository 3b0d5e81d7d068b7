"""The picture of the demo: one column per act, P95 at the top, the traffic split below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.demo import scenario
from loadtest.demo.run import ActRun
from loadtest.report.latency import by_version, p95_over_time
from loadtest.report.plots import COLOURS
from loadtest.report.summary import RATIO_BOUND

_COLOURS = {scenario.STABLE: COLOURS["stable"], scenario.CANARY: COLOURS["canary"]}
_WINDOW = 8.0


def draw_demo(act_runs: Sequence[ActRun], path: Path) -> None:
    """Write the picture. A version keeps its colour after a promotion."""
    figure = Figure(figsize=(6.2 * len(act_runs), 7), layout="constrained")
    axes = figure.subplots(2, len(act_runs), sharex="col", squeeze=False)
    for column, act_run in enumerate(act_runs):
        _draw_latency(axes[0][column], act_run, column + 1)
        _draw_traffic(axes[1][column], act_run)
    figure.supxlabel(
        f"{scenario.STABLE} reads {scenario.WINDOWS[scenario.STABLE]} vectors, {scenario.CANARY} "
        f"{scenario.WINDOWS[scenario.CANARY]}. "
        "Dotted line: start of the rollout; solid line: its end. "
        "A change of weight moves sessions to another version, which reads their context "
        "once: a short peak that is not evidence.",
        fontsize=8,
        color="#7f7f7f",
    )
    figure.savefig(path, dpi=120)


def _draw_latency(axes: Axes, act_run: ActRun, number: int) -> None:
    points = p95_over_time(act_run.driver.requests, _WINDOW, by=by_version)
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
            label=f"limit: {RATIO_BOUND} × {scenario.STABLE}",
        )
    axes.set_title(f"Act {number}: {act_run.act.title}", fontsize=11)
    axes.set_ylabel(f"P95 of the last {_WINDOW:g} s, ms")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize=9)
    _mark_rollout(axes, act_run)


def _draw_traffic(axes: Axes, act_run: ActRun) -> None:
    # Starts at 0, because the first sample comes a moment later.
    at = [0.0, *(sample.at for sample in act_run.samples)]
    share = [0.0, *(scenario.canary_share(sample) for sample in act_run.samples)]
    axes.stackplot(
        at,
        share,
        [100 - value for value in share],
        colors=[_COLOURS[scenario.CANARY], _COLOURS[scenario.STABLE]],
        step="post",
        alpha=0.75,
    )
    axes.set(xlabel="time, s", ylabel="share of new requests, %", ylim=(0, 100))
    if act_run.samples:
        axes.set_xlim(0, max(at))
    _mark_rollout(axes, act_run)
    if act_run.ended is None:
        return
    deciding = scenario.deciding_sample(act_run.samples)
    outcome = str(act_run.act.expected) if not act_run.problems else "did not end as expected"
    begin = act_run.started or 0.0
    duration = act_run.ended - begin
    p95 = scenario.p95_by_version(act_run.driver.requests, begin, act_run.ended)
    ratio = f"\nP95 {p95[scenario.CANARY] / p95[scenario.STABLE]:.2f} ×" if len(p95) == 2 else ""
    verdict = "" if deciding is None else f", guardrail: {deciding.outcome}"
    axes.annotate(
        f"{scenario.CANARY} {outcome}\nafter {duration:.0f} s{ratio}{verdict}",
        (act_run.ended, 50),
        xytext=(-12, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "#7f7f7f"},
        fontsize=10,
    )


def _mark_rollout(axes: Axes, act_run: ActRun) -> None:
    for at, style in ((act_run.started, ":"), (act_run.ended, "-")):
        if at is not None:
            axes.axvline(at, color="black", linestyle=style, linewidth=1)
