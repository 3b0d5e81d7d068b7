"""What the demo shows on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadtest.demo import scenario
from loadtest.demo.run import ActRun
from loadtest.report.request_log import by_version, window_p95
from loadtest.report.summary import RATIO_BOUND
from loadtest.rollout_client import RolloutSample

_BAR = 24


class Narrator:
    """A live panel, and above it a line that stays for every change of phase."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._said: int | None = None

    def show(self, playing: ActRun) -> None:
        for sample in playing.samples:
            if self._said is None:
                self._said = sample.generation
            if sample.generation > self._said:
                self._said = sample.generation
                self._live.console.print(phase_row(sample), highlight=False)
        self._live.update(live_panel(playing), refresh=True)


def phase_row(sample: RolloutSample) -> RenderableType:
    """One change of phase; its words wrap beside it."""
    row = Table.grid(padding=(0, 2))
    row.add_column(no_wrap=True)
    row.add_column(style="dim")
    share = f"{scenario.CANARY} {scenario.canary_share(sample):3.0f} %"
    row.add_row(f"  {sample.at:5.1f} s  {sample.phase:<11}  {share}", sample.message)
    return row


def live_panel(playing: ActRun) -> RenderableType:
    """Where the act is: weight, P95s, ratio, evidence."""
    now = playing.driver.now()
    p95 = window_p95(playing.driver.records, now, 10.0, by=by_version)
    shown = "   ".join(
        f"{version} {p95[version] * 1000:.1f} ms" for version in scenario.WINDOWS if version in p95
    )
    lines = [
        (
            f"  {now:5.1f} s   {playing.rate:.1f} requests/s   "
            f"{len(playing.driver.records)} answers   P95 of 10 s: {shown or '-'}"
        )
    ]
    if (sample := playing.latest) is not None:
        share = scenario.canary_share(sample)
        lines.append(f"  {scenario.CANARY}'s share  {progress_bar(share, 100)} {share:.0f} %")
        if sample.bound is not None and playing.started is not None:
            lines += [
                (
                    f"  it is too slow   {progress_bar(sample.fail or 0, sample.bound)} "
                    f"ln E {sample.fail or 0:5.2f} of {sample.bound:.2f}"
                ),
                (
                    f"  it is fit        {progress_bar(sample.good or 0, sample.bound)} "
                    f"ln E {sample.good or 0:5.2f} of {sample.bound:.2f}"
                ),
            ]
    return Group(*(Text(line) for line in lines))


def progress_bar(value: float, whole: float, width: int = _BAR) -> str:
    """`value` of `whole` in blocks."""
    filled = round(width * min(1.0, max(0.0, value / whole)))
    return "█" * filled + "░" * (width - filled)


def act_results(performances: Sequence[ActRun]) -> list[dict[str, Any]]:
    """What an act showed, for a file: the same as the table, and the looks it came from."""
    return [
        {
            "title": played.act.title,
            "requests_per_second": played.rate,
            "plan": played.act.plan,
            "started": played.started,
            "ended": played.ended,
            "p95_seconds": scenario.p95_by_version(
                played.driver.records, played.started or 0.0, played.ended or 0.0
            ),
            "expected": str(played.act.expected),
            "problems": played.problems,
            "requests": len(played.driver.records),
            "samples": [asdict(sample) for sample in played.samples],
        }
        for played in performances
    ]


def results_table(performances: Sequence[ActRun]) -> RenderableType:
    """Both acts: what was measured and how long it took; the verdicts with their arithmetic."""
    table = Table(title="What happened", box=box.ROUNDED)
    table.add_column("act", justify="right")
    table.add_column(f"P95 {scenario.STABLE}", justify="right")
    table.add_column(f"P95 {scenario.CANARY}", justify="right")
    table.add_column(f"ratio (at most {RATIO_BOUND})", justify="right")
    table.add_column("ended", justify="center")
    table.add_column("after", justify="right")
    said = []
    for number, played in enumerate(performances, start=1):
        begin, end = played.started or 0.0, played.ended or 0.0
        p95 = scenario.p95_by_version(played.driver.records, begin, end)
        fine = not played.problems
        table.add_row(
            str(number),
            *(f"{p95[v] * 1000:.1f} ms" if v in p95 else "-" for v in scenario.WINDOWS),
            f"{p95[scenario.CANARY] / p95[scenario.STABLE]:.2f}" if len(p95) == 2 else "-",
            Text(
                str(played.act.expected) if fine else "not as it must", "green" if fine else "red"
            ),
            f"{end - begin:.0f} s",
        )
        decided = scenario.deciding_sample(played.samples)
        words = decided.verdict if decided else "none"
        said.append(Text.assemble((f"Act {number}, the service's verdict: ", "bold"), words))
    return Group("", table, *said)
