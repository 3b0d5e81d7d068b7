"""What an overload test has shown: figures, targets and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from matplotlib.figure import Figure

from loadtest.generator.request_log import RequestLog
from loadtest.overload.run import OverloadRun

REFUSAL_TARGET = 0.1
PROBE_TARGET = 0.2
RECOVERY_TARGET = 1.0
LAG_LIMIT = 0.02
"""With a P95 above it the generator measures itself: it did not keep up with its schedule."""


@dataclass(frozen=True)
class OverloadFigure:
    """One figure of the run; `met` is None for a figure without a target."""

    name: str
    value: str
    met: bool | None = None


def figures(run: OverloadRun) -> list[OverloadFigure]:
    """Return the figures of `run`, with the targets that they meet or miss."""
    both = [*run.steps, *run.contexts]
    late = sum(request.status == 504 for request in both)
    failed = sum(request.status not in {200, 429, 504} for request in both)
    refused = [request.latency - request.late for request in both if request.status == 429]
    found = [
        OverloadFigure(
            "capacity", f"{run.step_capacity:.0f} steps/s and {run.context_capacity:.1f} contexts/s"
        ),
        OverloadFigure(
            "generator behind its schedule, P95",
            _milliseconds(run.lags, 95),
            _within(run.lags, 95, LAG_LIMIT),
        ),
        *_kind("steps", run.steps),
        *_kind("contexts", run.contexts),
        OverloadFigure("accepted but late (504)", str(late), late == 0),
        OverloadFigure("other failures", str(failed), failed == 0),
        OverloadFigure(
            "time to 429, P95", _milliseconds(refused, 95), _within(refused, 95, REFUSAL_TARGET)
        ),
    ]
    for name in sorted({probe.name for probe in run.probes}):
        times = [
            probe.seconds if probe.status else 60.0 for probe in run.probes if probe.name == name
        ]
        found.append(
            OverloadFigure(
                f"{name} on a new connection, P50 / P95 / max",
                f"{_milliseconds(times, 50)} / {_milliseconds(times, 95)} / "
                f"{_milliseconds(times, 100)}",
                _within(times, 95, PROBE_TARGET),
            )
        )
    found.append(
        OverloadFigure(
            "recovery", f"{run.recovery_seconds:.2f} s", run.recovery_seconds <= RECOVERY_TARGET
        )
    )
    return found


def write(run: OverloadRun, out: Path) -> Path:
    """Write `overload.json` and `overload.png` into `out`; return the plot's path."""
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "factor": run.factor,
        "step_capacity": run.step_capacity,
        "context_capacity": run.context_capacity,
        "figures": [asdict(figure) for figure in figures(run)],
    }
    (out / "overload.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    path = out / "overload.png"
    _draw(run, path)
    return path


def _kind(name: str, requests: Sequence[RequestLog]) -> list[OverloadFigure]:
    accepted = [request.latency for request in requests if request.ok]
    seconds = max((request.intended for request in requests), default=0.0) or 1.0
    return [
        OverloadFigure(
            f"{name} sent / answered / refused",
            f"{len(requests)} / {len(accepted)} / {sum(r.status == 429 for r in requests)}",
        ),
        OverloadFigure(f"goodput of {name}", f"{len(accepted) / seconds:.1f}/s"),
        OverloadFigure(f"accepted {name}, P95", _milliseconds(accepted, 95)),
    ]


def _within(seconds: Sequence[float], percentile: float, target: float) -> bool | None:
    return bool(np.percentile(seconds, percentile) <= target) if seconds else None


def _milliseconds(seconds: Sequence[float], percentile: float) -> str:
    return f"{np.percentile(seconds, percentile) * 1000:.0f} ms" if seconds else "none"


def _draw(run: OverloadRun, path: Path) -> None:
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(f"{run.factor:g} times the capacity, open loop, steps and contexts")
    left, right, below, probes = figure.subplots(2, 2).flat
    for axes, title, requests in ((left, "steps", run.steps), (right, "contexts", run.contexts)):
        ends = int(max((request.end for request in requests), default=0)) + 1
        for status, colour in ((200, "tab:blue"), (429, "tab:orange"), (504, "tab:red")):
            counts, _ = np.histogram(
                [request.end for request in requests if request.status == status], ends, (0, ends)
            )
            axes.plot(counts, color=colour, label=str(status))
        axes.set(title=f"responses to {title}", xlabel="time, s", ylabel="per second")
        axes.legend(fontsize=8)
    for status, colour in ((200, "tab:blue"), (429, "tab:orange")):
        shown = [request for request in (*run.steps, *run.contexts) if request.status == status]
        below.plot(
            [request.intended for request in shown],
            [max(request.latency, 1e-4) for request in shown],
            ",",
            color=colour,
        )
    below.axhline(REFUSAL_TARGET, color="tab:orange", linestyle=":")
    below.set(title="latency of 200 and 429", xlabel="time, s", ylabel="s", yscale="log")
    for name in sorted({probe.name for probe in run.probes}):
        shown_probes = [probe for probe in run.probes if probe.name == name]
        probes.plot(
            [probe.at - run.started for probe in shown_probes],
            [probe.seconds for probe in shown_probes],
            ".",
            label=name,
            markersize=3,
        )
    probes.axhline(PROBE_TARGET, color="grey", linestyle=":")
    probes.set(title="probes on new connections", xlabel="time, s", ylabel="s", yscale="log")
    probes.legend(fontsize=8)
    for axes in (left, right, below, probes):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
