"""The table of a drill, and its progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.fleet.drill.record import DrillRecord
from loadtest.fleet.drill.report import DrillReport, Promises
from loadtest.fleet.sizing import FleetLoad, FleetSize

_EVERY_SECONDS = 10.0
_WEIGHTS_SHOWN = 12
_FAILURES_TOLD = 10


def print_report(console: Console, report: DrillReport, promises: Promises) -> None:
    """Print the figures."""
    shown = Table(
        title=f"{report.seconds:.0f} s, durability {promises.durability}, "
        f"{promises.when_store_down} while Redis is down",
        box=box.SIMPLE,
        show_header=False,
    )
    shown.add_column()
    shown.add_column(justify="right")
    for title, value in rows(report).items():
        shown.add_row(title, value)
    console.print(shown)


def rows(report: DrillReport) -> dict[str, str]:
    """The rows of the table."""
    faults = ", ".join(f"{count} × {kind}" for kind, count in report.faults.items()) or "none"
    return {
        "faults": faults,
        "appends": f"{report.appends:,}",
        "failed requests": f"{report.failed:,}",
        "refused while a store was down": f"{report.failed_expected:,}",
        "vectors lost, and said so": f"{report.lost:,}",
        "vectors lost silently": f"{report.lost_silently:,}",
        "vectors stored twice": f"{report.doubled:,}",
        "repeats without their answer": f"{report.not_repeated:,}",
        "wrong answers": f"{report.wrong:,}",
        "largest 1 − cos of a right one": f"{report.distance:.1e}",
        "longest wait": _ms(report.longest_wait_ms),
        "takeovers": f"{report.takeovers:,}",
        "takeover P50 / P99": f"{_ms(report.takeover_p50_ms)} / {_ms(report.takeover_p99_ms)}",
        "wait of a taken-over session, P99": _ms(report.moved_wait_p99_ms),
        "rollouts, transitions": f"{report.rollouts:,}, {report.transitions:,}",
        "weight, % at s": _weights(report.weights),
        "resumed after deaths": f"{report.resumed:,}",
        "decisions made twice": f"{report.decided_twice:,}",
    }


def print_size(console: Console, load: FleetLoad, size: FleetSize) -> None:
    """Print what a load needs."""
    shown = Table(
        title=f"{load.sessions:,} sessions, {load.steps:,.0f} steps a second",
        box=box.SIMPLE,
        show_header=False,
    )
    shown.add_column()
    shown.add_column(justify="right")
    for title, value in {
        "replicas": f"{size.replicas:,}",
        "Redis servers, by calls": f"{size.redis_by_calls:,}",
        "Redis servers, by memory": f"{size.redis_by_memory:,}",
        "a session in Redis": f"{size.session_bytes / 1e3:,.0f} kB",
        "all sessions in Redis": f"{size.all_session_bytes / 1e9:,.1f} GB",
        "written to Redis": f"{size.redis_bytes_per_second / 1e6:,.1f} MB/s",
        "to and from callers": f"{size.caller_bytes_per_second / 1e6:,.1f} MB/s",
        "PostgreSQL, busy with evidence": f"{size.postgres_share:.1%}",
        "sessions of one replica": f"{size.sessions_per_replica:,.0f}",
        "claims after its death, at first": f"{size.claims_per_second:,.0f}/s",
        "each Redis, busy with them": f"{size.claim_share:.1%}",
        "read for all of them": f"{size.claim_bytes / 1e9:,.1f} GB",
    }.items():
        shown.add_row(title, value)
    console.print(shown)


def progress(console: Console) -> Callable[[DrillRecord], None]:
    """A function that prints a line now and then, and each kind of failure when it is new."""
    next_at = _EVERY_SECONDS
    told: set[tuple[int, str]] = set()

    def show(record: DrillRecord) -> None:
        nonlocal next_at
        for failed in record.failures:
            kind = (failed.status, failed.text[:40])
            if kind not in told and len(told) < _FAILURES_TOLD:
                told.add(kind)
                text = f"{failed.at:4.0f} s  a request failed: {failed.status} {failed.text}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)
        if record.now() < next_at:
            return
        next_at += _EVERY_SECONDS
        weights = {sample.weight for sample in record.weights[-9:] if sample.weight is not None}
        shown = "/".join(f"{weight:g}" for weight in sorted(weights)) or "–"
        lost = len(record.lost) + len(record.lost_silently) + len(record.doubled)
        console.print(
            f"{record.now():4.0f} s  {len(record.appends):7,} appends"
            f"  {len(record.failures)} failed"
            f"  {lost} lost or doubled  {len(record.spans)} faults  weight {shown} %",
            markup=False,
            highlight=False,
        )

    return show


def _weights(changes: Sequence[tuple[float, float]]) -> str:
    shown = [f"{weight:g} at {at:.0f}" for at, weight in changes]
    if len(shown) > _WEIGHTS_SHOWN:
        shown = [*shown[:_WEIGHTS_SHOWN], "…"]
    return ", ".join(shown) or "–"


def _ms(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.1f} ms"
