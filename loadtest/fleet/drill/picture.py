"""The plot of a drill: appends, waits and weights over time, with the faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loadtest.fleet.drill.faults import FaultKind
from loadtest.fleet.drill.record import DrillRecord

_COLORS = {
    FaultKind.KILL: "#c1272d",
    FaultKind.STOP: "#e08214",
    FaultKind.REDIS: "#7b3294",
    FaultKind.POSTGRES: "#2166ac",
    FaultKind.ROLLING: "#4d9221",
    FaultKind.ALL: "#000000",
}
_BIN_SECONDS = 0.5
_REPLICA_COLORS = ("#1b9e77", "#d95f02", "#7570b3")


def draw_drill(record: DrillRecord, path: Path) -> None:
    """Write the plot to `path`."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    rate, waits, weights = figure.subplots(3, 1, sharex=True)
    seconds = max(record.now(), _BIN_SECONDS)
    edges = np.arange(0, seconds + _BIN_SECONDS, _BIN_SECONDS)
    _draw_rate(rate, record, edges)
    _draw_waits(waits, record)
    _draw_weights(weights, record)
    for axes in (rate, waits, weights):
        axes.grid(alpha=0.3)
        for span in record.spans:
            color = _COLORS[span.fault.kind]
            axes.axvspan(span.begin, span.end, color=color, alpha=0.15, linewidth=0)
            axes.axvline(span.begin, color=color, linewidth=0.8)
    kinds = {span.fault.kind for span in record.spans}
    handles = [
        Line2D([], [], color=color, linewidth=4, label=kind.value)
        for kind, color in _COLORS.items()
        if kind in kinds
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    weights.set(xlabel="seconds", xlim=(0, seconds))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_rate(axes: Axes, record: DrillRecord, edges: np.ndarray) -> None:
    for times, label, color in (
        ([timing.at for timing in record.appends], "appends", "#1f77b4"),
        ([failed.at for failed in record.failures], "failed requests", "#d62728"),
    ):
        counts, _ = np.histogram(times, edges)
        axes.stairs(counts / _BIN_SECONDS, edges, label=label, color=color)
    axes.set_ylabel("per second")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left", fontsize=9)


def _draw_waits(axes: Axes, record: DrillRecord) -> None:
    for moved, color, label in ((False, "#9ecae1", "same replica"), (True, "#08306b", "moved")):
        found = [timing for timing in record.appends if timing.moved is moved]
        axes.plot(
            [timing.at for timing in found],
            [max(timing.waited, 1e-4) * 1000 for timing in found],
            linestyle="none",
            marker=".",
            markersize=4 if moved else 2,
            color=color,
            label=label,
        )
    axes.set_yscale("log")
    axes.set_ylabel("wait for an answer, ms")
    axes.legend(loc="upper left", fontsize=9)


def _draw_weights(axes: Axes, record: DrillRecord) -> None:
    for replica in sorted({sample.replica for sample in record.weights}):
        found = [sample for sample in record.weights if sample.replica == replica]
        axes.step(
            [sample.at for sample in found],
            [np.nan if sample.weight is None else sample.weight for sample in found],
            where="post",
            linewidth=3.0 - 0.8 * replica if replica < 3 else 0.6,
            color=_REPLICA_COLORS[replica % len(_REPLICA_COLORS)],
            label=f"replica {replica + 1}",
        )
    axes.set_ylabel("canary's weight, %")
    axes.set_ylim(-3, 103)
    if record.weights:
        axes.legend(loc="upper left", fontsize=9)
