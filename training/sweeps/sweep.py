"""The result of a sweep: one series for each model and baseline, with intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from service.evaluation_report import Estimate
from training.bootstrap import INTERVAL


@dataclass(frozen=True)
class SweepPoint:
    """`x` is the plotted coordinate and `label` its tick.

    `gap` is the paired difference from the series' reference point, and `cosine` that between
    the two predictions; None without a reference.
    """

    x: float
    label: str
    hit_at_5: Estimate
    positions: int
    gap: Estimate | None = None
    cosine: Estimate | None = None


@dataclass(frozen=True)
class SweepSeries:
    """`kind` is `model` or `rule`."""

    name: str
    kind: str
    points: tuple[SweepPoint, ...]


@dataclass(frozen=True)
class Sweep:
    """`log` selects a logarithmic axis; `note` says what was held constant."""

    name: str
    title: str
    x_label: str
    log: bool
    gap_from: str
    note: str
    series: tuple[SweepSeries, ...]

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "interval": INTERVAL}

    def as_markdown(self) -> str:
        """A table with one row a point; equal neighbouring points of a series share a row."""
        has_cosine = any(point.cosine for series in self.series for point in series.points)
        head = ["", self.x_label, "positions", "Hit@5 %", f"points, minus {self.gap_from}"]
        head += ["cosine with its prediction"] if has_cosine else []
        lines = [self.title, "", _line(head), _line(["---"] * len(head))]
        for series in self.series:
            for label, point in _merge_equal(series.points):
                cells = [series.name, label, str(point.positions)]
                cells += [_percent(point.hit_at_5), _percent(point.gap, "+")]
                cells += [_number(point.cosine)] if has_cosine else []
                lines.append(_line(cells))
        return "\n".join([*lines, "", f"{self.note} In brackets: {INTERVAL}.", ""])


def _merge_equal(points: tuple[SweepPoint, ...]) -> list[tuple[str, SweepPoint]]:
    """Points with their labels; a point that equals the one before is merged into it."""
    merged: list[tuple[str, str, SweepPoint]] = []
    for point in points:
        if merged and replace(merged[-1][2], x=point.x, label=point.label) == point:
            merged[-1] = (merged[-1][0], point.label, point)
        else:
            merged.append((point.label, point.label, point))
    return [(a if a == b else f"{a} … {b}", point) for a, b, point in merged]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(figure: Estimate | None, sign: str = "") -> str:
    if figure is None:
        return "–"
    value, low, high = (100 * part + 0.0 for part in (figure.value, figure.low, figure.high))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _number(figure: Estimate | None) -> str:
    if figure is None:
        return "–"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
