"""Plots of a run: latency by variant, and P95, ratio and weight over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from loadtest.generator.request_log import RequestLog
from loadtest.report.latency import LatencyPoint, p95_over_time
from loadtest.report.summary import RATIO_BOUND
from loadtest.rollout_client import RolloutSample

COLOURS = {"stable": "#1f77b4", "canary": "#ff7f0e"}
_GREY = "#7f7f7f"
_RED = "#d62728"


def draw_run(
    requests: Sequence[RequestLog], samples: Sequence[RolloutSample], title: str, path: Path
) -> None:
    """Plot a run into a file. `samples` of the rollout add the ratio and the weight."""
    figure = Figure(figsize=(11, 4.5 if not samples else 7), layout="constrained")
    figure.suptitle(title)
    if not samples:
        left, right = figure.subplots(1, 2)
        draw_distribution(left, requests)
        draw_p95(right, requests)
    else:
        grid = figure.subplot_mosaic([["ecdf", "p95"], ["ratio", "weight"]])
        draw_distribution(grid["ecdf"], requests)
        draw_p95(grid["p95"], requests)
        draw_ratio(grid["ratio"], p95_over_time(requests))
        draw_weight(grid["weight"], samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def draw_distribution(axes: Axes, requests: Sequence[RequestLog]) -> None:
    """Plot the share of requests that completed within a time, and mark the P95."""
    for variant, colour in COLOURS.items():
        values = np.sort([r.latency * 1000 for r in requests if r.ok and r.variant == variant])
        if len(values) == 0:
            continue
        version = next(r.version for r in requests if r.ok and r.variant == variant)
        share = np.arange(1, len(values) + 1) / len(values)
        p95 = float(np.percentile(values, 95))
        label = f"{variant} {version}: P95 {p95:.3g} ms"
        axes.step(values, share, where="post", color=colour, label=label)
        axes.axvline(p95, color=colour, linestyle=":", linewidth=1)
    axes.axhline(0.95, color=_GREY, linestyle=":", linewidth=1)
    axes.set(xlabel="latency from the due time, ms", ylabel="share of requests", ylim=(0, 1.01))
    axes.set_xscale("log")
    _plain_numbers(axes, "x")
    axes.grid(alpha=0.3, which="both")
    axes.set_title("Latency by variant")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=8)


def draw_p95(axes: Axes, requests: Sequence[RequestLog], width: float = 10.0) -> None:
    """Plot the P95 by variant in a sliding window of `width` seconds."""
    points = p95_over_time(requests, width)
    for variant, colour in COLOURS.items():
        version = next((r.version for r in requests if r.ok and r.variant == variant), "")
        at = [point.at for point in points if variant in point.p95]
        values = [point.p95[variant] * 1000 for point in points if variant in point.p95]
        if at:
            axes.plot(at, values, ".-", color=colour, label=f"{variant} {version}", markersize=3)
    axes.set(xlabel="time, s", ylabel=f"P95 of the last {width:g} s, ms", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.set_title("P95 over time")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", fontsize=8)


def draw_ratio(axes: Axes, points: Sequence[LatencyPoint]) -> None:
    """Plot canary P95 over stable P95, and the guardrail's limit."""
    axes.plot([p.at for p in points], [p.ratio for p in points], ".-", color="black", markersize=3)
    axes.axhline(RATIO_BOUND, color=_RED, linestyle="--", label=f"limit {RATIO_BOUND}")
    axes.set(xlabel="time, s", ylabel="canary P95 / stable P95", ylim=(0, None))
    if points:
        axes.set_xlim(0, points[-1].at)
    axes.grid(alpha=0.3)
    axes.set_title("P95 ratio (the service's sequential test decides)")
    axes.legend(loc="lower right", fontsize=8)


def draw_weight(axes: Axes, samples: Sequence[RolloutSample]) -> None:
    """Plot the canary's share of new requests."""
    at = [sample.at for sample in samples]
    weight = [sample.weight for sample in samples]
    axes.step(at, weight, where="post", color=COLOURS["canary"])
    axes.fill_between(at, weight, step="post", color=COLOURS["canary"], alpha=0.2)
    axes.set(xlabel="time, s", ylabel="canary weight, %", ylim=(0, 105))
    axes.grid(alpha=0.3)
    axes.set_title("Canary weight")


def _plain_numbers(axes: Axes, which: str) -> None:
    """Label an axis 1, 10, 100 instead of with powers of ten."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
