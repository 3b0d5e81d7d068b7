"""The terminal output of the demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadtest.demo import scenario
from loadtest.demo.run import ActRun
from loadtest.report.latency import by_version, window_p95
from loadtest.report.summary import RATIO_BOUND
from loadtest.rollout_client import RolloutSample
from service.commands.progress import LiveView

_BAR = 24


class Narrator:
    """A live panel. Each change of phase prints a permanent line above it."""

    def __init__(self, live: LiveView) -> None:
        self._live = live
        self._shown_generation: int | None = None

    def show(self, act_run: ActRun) -> None:
        for sample in act_run.samples:
            if self._shown_generation is None:
                self._shown_generation = sample.generation
            if sample.generation > self._shown_generation:
                self._shown_generation = sample.generation
                self._live.console.print(phase_row(sample), highlight=False)
        self._live.show(lambda: speed_line(act_run), lambda: live_panel(act_run))


def phase_row(sample: RolloutSample) -> RenderableType:
    """A change of phase, with its message wrapped in a column."""
    row = Table.grid(padding=(0, 2))
    row.add_column(no_wrap=True)
    row.add_column(style="dim")
    share = f"{scenario.CANARY} {scenario.canary_share(sample):3.0f} %"
    row.add_row(f"  {sample.at:5.1f} s  {sample.phase:<11}  {share}", sample.message)
    return row


def speed_line(act_run: ActRun) -> str:
    """The time since the start of the act, its rate, and the P95 by version."""
    now = act_run.driver.now()
    p95 = window_p95(act_run.driver.requests, now, 10.0, by=by_version)
    shown = "   ".join(
        f"{version} {p95[version] * 1000:.1f} ms" for version in scenario.WINDOWS if version in p95
    )
    return (
        f"  {now:5.1f} s   {act_run.rate:.1f} requests/s   "
        f"{len(act_run.driver.requests)} responses   P95 over 10 s: {shown or '-'}"
    )


def live_panel(act_run: ActRun) -> RenderableType:
    """The state of the act: rate, P95 by version, weight and evidence."""
    lines = [speed_line(act_run)]
    if (sample := act_run.latest) is not None:
        share = scenario.canary_share(sample)
        lines.append(f"  {scenario.CANARY} share   {progress_bar(share, 100)} {share:.0f} %")
        if sample.bound is not None and act_run.started is not None:
            lines += [
                (
                    f"  evidence: fail  {progress_bar(sample.fail or 0, sample.bound)} "
                    f"ln E {sample.fail or 0:5.2f} of {sample.bound:.2f}"
                ),
                (
                    f"  evidence: pass  {progress_bar(sample.good or 0, sample.bound)} "
                    f"ln E {sample.good or 0:5.2f} of {sample.bound:.2f}"
                ),
            ]
    return Group(*(Text(line) for line in lines))


def progress_bar(value: float, whole: float, width: int = _BAR) -> str:
    """A bar of `width` characters, filled to `value / whole`."""
    filled = round(width * min(1.0, max(0.0, value / whole)))
    return "█" * filled + "░" * (width - filled)


def act_results(act_runs: Sequence[ActRun]) -> list[dict[str, Any]]:
    """The results of the acts for a JSON file: the table's figures and all samples."""
    return [
        {
            "title": act_run.act.title,
            "requests_per_second": act_run.rate,
            "plan": act_run.act.plan,
            "started": act_run.started,
            "ended": act_run.ended,
            "p95_seconds": scenario.p95_by_version(
                act_run.driver.requests, act_run.started or 0.0, act_run.ended or 0.0
            ),
            "expected": str(act_run.act.expected),
            "problems": act_run.problems,
            "requests": len(act_run.driver.requests),
            "samples": [asdict(sample) for sample in act_run.samples],
        }
        for act_run in act_runs
    ]


def results_table(act_runs: Sequence[ActRun]) -> RenderableType:
    """A table of the acts, and the service's verdicts with their arithmetic."""
    table = Table(title="Results", box=box.ROUNDED)
    table.add_column("act", justify="right")
    table.add_column(f"P95 {scenario.STABLE}", justify="right")
    table.add_column(f"P95 {scenario.CANARY}", justify="right")
    table.add_column(f"ratio (limit {RATIO_BOUND})", justify="right")
    table.add_column("result", justify="center")
    table.add_column("after", justify="right")
    verdicts = []
    for number, act_run in enumerate(act_runs, start=1):
        begin, end = act_run.started or 0.0, act_run.ended or 0.0
        p95 = scenario.p95_by_version(act_run.driver.requests, begin, end)
        expected = not act_run.problems
        table.add_row(
            str(number),
            *(f"{p95[v] * 1000:.1f} ms" if v in p95 else "-" for v in scenario.WINDOWS),
            f"{p95[scenario.CANARY] / p95[scenario.STABLE]:.2f}" if len(p95) == 2 else "-",
            Text(
                str(act_run.act.expected) if expected else "unexpected",
                "green" if expected else "red",
            ),
            f"{end - begin:.0f} s",
        )
        deciding = scenario.deciding_sample(act_run.samples)
        verdict = deciding.verdict if deciding else "none"
        verdicts.append(Text.assemble((f"Act {number}, verdict of the service: ", "bold"), verdict))
    return Group("", table, *verdicts)
