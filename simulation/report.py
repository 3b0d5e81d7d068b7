"""The report: rows as table cells, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from simulation.simulation_row import SimulationRow, TimePercentiles

HEADINGS = ("rule", "canary", "rolled back, %", "delay", "since traffic", "passed", "promoted")
NOTES = (
    "Canary: its latencies as a multiple of stable's, and the share of its requests that fail. "
    "Rolled back: with the 95 % interval. Times are medians/90th percentiles in seconds over all "
    "rollouts; – means that fewer rollouts got there. Delay: until the rollback, from the first "
    "evaluation after which the fault could be judged (after warm-up and settling; with failing "
    "requests, the first one). Passed: how long a step below 100 % took to pass. Promoted: how "
    "many, and how long after the first traffic."
)


def cells(row: SimulationRow) -> tuple[str, ...]:
    """A row's table cells, one for each of `HEADINGS`."""
    errors = f", {row.error_rate:.0%} fail" if row.error_rate else ""
    promoted = f"{row.promoted}: {_times(row.promotion)}" if row.promoted else "0"
    return (
        row.rule,
        f"{row.ratio:g}×{errors}",
        f"{100 * row.rate:.1f} ({100 * row.low:.1f}–{100 * row.high:.1f})",
        _times(row.delay),
        _times(row.total),
        _times(row.passing),
        "" if row.promotion is None else promoted,
    )


def as_json(settings: Mapping[str, object], rows: Sequence[SimulationRow]) -> bytes:
    """Indented JSON; times in seconds, null where fewer rollouts got there."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    found = {"settings": settings, "rows": [asdict(row) | {"rate": row.rate} for row in rows]}
    return orjson.dumps(found, option=option)


def markdown(settings: Mapping[str, object], rows: Sequence[SimulationRow]) -> str:
    """The table, its notes and the settings."""
    table = [HEADINGS, ("---",) * len(HEADINGS), *(cells(row) for row in rows)]
    lines = ["# Simulated rollouts", "", *(f"| {' | '.join(line)} |" for line in table)]
    listed = "; ".join(f"{name} {value}" for name, value in settings.items() if name != "plan")
    return "\n".join([*lines, "", NOTES, "", f"Settings: {listed}.", ""])


def write(settings: Mapping[str, object], rows: Sequence[SimulationRow], directory: Path) -> None:
    """Write `report.json` and `report.md`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_bytes(as_json(settings, rows))
    (directory / "report.md").write_text(markdown(settings, rows), encoding="utf-8")


def _times(times: TimePercentiles | None) -> str:
    if times is None:
        return ""
    found = ["–" if t is None else f"{t:.0f}" for t in (times.median, times.p90)]
    return "–" if found == ["–", "–"] else "/".join(found)
