"""The table of a benchmark: rows and goals, as JSON and as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.timings import Timings

HEADINGS = ("what", "P50 ms", "P95 ms", "per second", "B ms", "figure", "value", "goal", "")


@dataclass(frozen=True)
class BenchmarkGoal:
    """An upper bound, or with `at_least` a lower bound, on a figure."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True)
class BenchmarkRow:
    """One measurement: its timings, and a figure that is comparable between machines.

    `figure` says how `value` is computed. `b` is the P50 of the reference step around the
    measurement in seconds, None if the figure is not a ratio to it.
    """

    what: str
    figure: str
    value: float
    goal: BenchmarkGoal | None = None
    times: Timings | None = None
    b: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        return None if self.goal is None else self.goal.met(self.value)

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `HEADINGS`."""
        times = self.times
        shown = ("", "", "")
        if times is not None:
            rate = "" if math.isnan(times.rate) else f"{times.rate:.4g}"
            shown = (f"{times.p50 * 1000:.3g}", f"{times.p95 * 1000:.3g}", rate)
        verdict = {None: "", True: "met", False: "missed"}[self.met]
        goal = "" if self.goal is None else str(self.goal)
        b = "" if self.b is None else f"{self.b * 1000:.3g}"
        return (self.what, *shown, b, self.figure, f"{self.value:.3g}", goal, verdict)


@dataclass(frozen=True)
class BenchmarkTable:
    """A benchmark run. `settings` are its parameters; `notes` help to read it."""

    settings: dict[str, object]
    rows: tuple[BenchmarkRow, ...]
    notes: tuple[str, ...]


def write(table: BenchmarkTable, folder: Path) -> None:
    """Write `bench.json` and `bench.md` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": table.settings,
        "rows": [{**asdict(row), "met": row.met} for row in table.rows],
        "notes": list(table.notes),
    }
    text = json.dumps(_replace_nan(content), indent=2, ensure_ascii=False)
    (folder / "bench.json").write_text(text + "\n")
    (folder / "bench.md").write_text(as_markdown(table))


def as_markdown(table: BenchmarkTable) -> str:
    """The table, the notes and the settings."""
    lines = [_line(HEADINGS), _line(["---", *["---:"] * 4, "---", "---:", "---:", "---"])]
    lines += [_line(row.cells()) for row in table.rows]
    settings = ", ".join(f"{name} {value}" for name, value in table.settings.items())
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes), f"- {settings}", ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _replace_nan(value: object) -> object:
    """Replace NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _replace_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
