"""Many simulated rollouts of canaries that predict worse, and their table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import orjson

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation.batches import BATCH_SIZE
from simulation.process_pool import map_in_processes
from simulation.quality_rollout import SimulatedQualityRollout, simulate_quality_rollouts
from simulation.sessions import SessionTraffic
from simulation.simulation_row import TimePercentiles, wilson_interval

RATIOS = (1.0, 0.9, 0.8, 0.7, 0.5)
HEADINGS = ("units", "canary's Hit@5", "rolled back, %", "predictions", "keys", "s", "passed, s")
NOTES = (
    "Units: what counts once: a routing key, as in the service, or every prediction, for "
    "comparison. Canary's Hit@5: as a multiple of stable's, after the version's name if hits were "
    "recorded. Rolled back: with the 95 % interval. "
    "Predictions, keys: the canary's until the rollback, as median/90th percentile of the rolled "
    "back rollouts. s: seconds until the rollback, over all rollouts. Passed: seconds until the "
    "first pass, over all rollouts."
)


@dataclass(frozen=True, slots=True)
class SimulatedCanary:
    """A canary to simulate: its Hit@5 as a multiple of stable's, and the sessions it serves.

    `version` is its name if hits were recorded, else empty.
    """

    ratio: float
    sessions: SessionTraffic
    version: str = ""


@dataclass(frozen=True, slots=True)
class QualityRow:
    """The results of many rollouts of one canary.

    `version` is the canary's name if hits were recorded, else empty. `predictions` and `keys`:
    median and 90th percentile of the rollouts that were rolled back, None without any. Times are
    in seconds over all rollouts.
    """

    by_key: bool
    version: str
    ratio: float
    rollouts: int
    rolled_back: int
    low: float
    high: float
    predictions: tuple[int, int] | None
    keys: tuple[int, int] | None
    seconds: TimePercentiles
    passed: TimePercentiles

    @classmethod
    def of(
        cls,
        canary: SimulatedCanary,
        rollouts: Sequence[SimulatedQualityRollout],
        *,
        by_key: bool,
    ) -> QualityRow:
        back = [p for p in rollouts if p.rolled_back]
        low, high = wilson_interval(len(back), len(rollouts))
        return cls(
            by_key=by_key,
            version=canary.version,
            ratio=canary.ratio,
            rollouts=len(rollouts),
            rolled_back=len(back),
            low=low,
            high=high,
            predictions=_percentiles([p.predictions for p in back]),
            keys=_percentiles([p.keys for p in back]),
            seconds=TimePercentiles.of([p.seconds if p.rolled_back else None for p in rollouts]),
            passed=TimePercentiles.of([p.passed for p in rollouts]),
        )


def run(
    canaries: Sequence[SimulatedCanary],
    plan: RolloutPlan,
    *,
    compare: bool,
    rollouts: int,
    seed: int,
    processes: int,
    advanced: Callable[[int], None],
) -> list[QualityRow]:
    """One row for each canary, and with `compare` one more with predictions as units.

    `advanced` is called with the number of rollouts that have just finished.
    """
    kinds = [
        (by_key, canary) for by_key in ([True, False] if compare else [True]) for canary in canaries
    ]
    starts = range(0, rollouts, BATCH_SIZE)
    tasks = [
        partial(
            simulate_quality_rollouts,
            canary.sessions,
            plan,
            min(BATCH_SIZE, rollouts - start),
            (seed, i, start),
            by_key=by_key,
        )
        for i, (by_key, canary) in enumerate(kinds)
        for start in starts
    ]
    done: list[SimulatedQualityRollout] = []
    for batch in map_in_processes(_call, tasks, processes):
        done += batch
        advanced(len(batch))
    return [
        QualityRow.of(canary, done[i * rollouts : (i + 1) * rollouts], by_key=by_key)
        for i, (by_key, canary) in enumerate(kinds)
    ]


def cells(row: QualityRow) -> tuple[str, ...]:
    """A row's table cells, one for each of `HEADINGS`."""
    return (
        "keys" if row.by_key else "predictions",
        f"{row.version} {row.ratio:.3g}×".lstrip(),
        f"{100 * row.rolled_back / row.rollouts:.1f} ({100 * row.low:.1f}–{100 * row.high:.1f})",
        _pair(row.predictions),
        _pair(row.keys),
        _times(row.seconds),
        _times(row.passed),
    )


def write(settings: Mapping[str, object], rows: Sequence[QualityRow], directory: Path) -> None:
    """Write `quality.json` and `quality.md`."""
    directory.mkdir(parents=True, exist_ok=True)
    found = {"settings": settings, "rows": [asdict(row) for row in rows]}
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    (directory / "quality.json").write_bytes(orjson.dumps(found, option=option))
    table = [HEADINGS, ("---",) * len(HEADINGS), *(cells(row) for row in rows)]
    listed = "; ".join(f"{name} {value}" for name, value in settings.items())
    lines = [f"| {' | '.join(line)} |" for line in table]
    text = ["# Simulated quality", "", *lines, "", NOTES, "", f"Settings: {listed}.", ""]
    (directory / "quality.md").write_text("\n".join(text), encoding="utf-8")


def _call(task: Callable[[], list[SimulatedQualityRollout]]) -> list[SimulatedQualityRollout]:
    return task()


def _percentiles(counts: Sequence[int]) -> tuple[int, int] | None:
    ordered = sorted(counts)
    if not ordered:
        return None
    median, p90 = (ordered[math.ceil(q * len(ordered)) - 1] for q in (0.5, 0.9))
    return median, p90


def _pair(pair: tuple[int, int] | None) -> str:
    return "–" if pair is None else f"{pair[0]}/{pair[1]}"


def _times(times: TimePercentiles) -> str:
    found = ["–" if t is None else f"{t:.0f}" for t in (times.median, times.p90)]
    return "–" if found == ["–", "–"] else "/".join(found)
