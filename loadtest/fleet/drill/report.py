"""What a drill found: the figures, and the promises that were broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.fleet.drill.faults import OUTAGES, FaultKind
from loadtest.fleet.drill.oracle import Verification
from loadtest.fleet.drill.record import (
    DrillRecord,
    FailedRequest,
    FaultSpan,
    SessionFault,
    WeightSample,
)
from loadtest.fleet.drill.rollout import decisions_made_twice

AFTER_SECONDS = 5.0
"""How long after a fault its consequences may show: the load balancer's tries and pauses."""

_KILLING = {FaultKind.KILL, FaultKind.REDIS, FaultKind.ALL}


@dataclass(frozen=True)
class Promises:
    """What the chosen settings promise."""

    durability: str
    when_store_down: str
    most_failed: int = 0


@dataclass(frozen=True)
class DrillReport:
    """The figures of one drill. Times in milliseconds, NaN without any; counts else."""

    seconds: float
    appends: int
    faults: dict[str, int]
    failed: int
    failed_expected: int
    lost: int
    lost_silently: int
    doubled: int
    not_repeated: int
    wrong: int
    distance: float
    longest_wait_ms: float
    takeovers: int
    takeover_p50_ms: float
    takeover_p99_ms: float
    moved_wait_p99_ms: float
    rollouts: int
    transitions: int
    resumed: int
    decided_twice: int
    weights: tuple[tuple[float, float], ...]
    """When all replicas that answered came to one weight: seconds and per cent."""
    problems: tuple[str, ...]


def make_report(record: DrillRecord, checked: Verification, promises: Promises) -> DrillReport:
    """Sum up a run, and compare it with what was promised."""
    unexpected = [
        failed for failed in record.failures if not _is_expected(failed, record, promises)
    ]
    twice = decisions_made_twice(record.history)
    moved = [timing for timing in record.appends if timing.moved]
    counts = {kind.value: 0 for kind in FaultKind}
    for span in record.spans:
        counts[span.fault.kind.value] += 1
    return DrillReport(
        seconds=record.now(),
        appends=len(record.appends),
        faults={kind: count for kind, count in counts.items() if count},
        failed=len(unexpected),
        failed_expected=len(record.failures) - len(unexpected),
        lost=_vectors(record.lost),
        lost_silently=_vectors(record.lost_silently),
        doubled=_vectors(record.doubled),
        not_repeated=len(record.not_repeated),
        wrong=len(checked.wrong),
        distance=checked.distance,
        longest_wait_ms=_percentile([timing.waited for timing in record.appends], 100),
        takeovers=len(moved),
        takeover_p50_ms=_percentile([timing.service for timing in moved], 50),
        takeover_p99_ms=_percentile([timing.service for timing in moved], 99),
        moved_wait_p99_ms=_percentile([timing.waited for timing in moved], 99),
        rollouts=record.rollouts,
        transitions=len(record.history),
        resumed=record.resumed,
        decided_twice=len(twice),
        weights=tuple(weight_changes(record.weights)),
        problems=tuple(_problems(record, checked, promises, unexpected, twice)),
    )


def weight_changes(samples: Sequence[WeightSample]) -> list[tuple[float, float]]:
    """When the replicas agreed on another weight than before, and on which."""
    changes: list[tuple[float, float]] = []
    known: dict[int, float] = {}
    for sample in samples:
        if sample.weight is None:
            known.pop(sample.replica, None)
        else:
            known[sample.replica] = sample.weight
        agreed = set(known.values())
        if len(agreed) == 1:
            (weight,) = agreed
            if not changes or changes[-1][1] != weight:
                changes.append((sample.at, weight))
    return changes


def _problems(
    record: DrillRecord,
    checked: Verification,
    promises: Promises,
    unexpected: Sequence[FailedRequest],
    twice: Sequence[str],
) -> list[str]:
    found = []
    if not record.appends:
        found.append("no append succeeded")
    if len(unexpected) > promises.most_failed:
        first = unexpected[0]
        found.append(
            f"{len(unexpected)} requests failed: the first at {first.at:.1f} s, "
            f"status {first.status}, {first.text}"
        )
    found += _losses(record, promises)
    for title, faults in (
        ("lost without a word", record.lost_silently),
        ("stored twice", record.doubled),
        ("stored, and refused when sent again", record.not_repeated),
    ):
        if faults:
            found.append(f"{_vectors(faults)} vectors {title}: {_first(faults)}")
    if checked.wrong:
        wrong = checked.wrong[0]
        found.append(
            f"{len(checked.wrong)} wrong answers: session {wrong.session} after "
            f"{wrong.answer.length} vectors, version {wrong.answer.version}, "
            f"1 − cos = {wrong.distance:.2g}"
        )
    if checked.answers < len(record.appends):
        found.append(f"only {checked.answers} of {len(record.appends)} answers were compared")
    if twice:
        found.append(f"{len(twice)} decisions made twice: {twice[0]}")
    found += record.deaths
    return found


def _losses(record: DrillRecord, promises: Promises) -> list[str]:
    """`sync` loses nothing. `async` loses what was in flight at a kill, and says so."""
    if not record.lost:
        return []
    if promises.durability == "sync":
        return [f"{_vectors(record.lost)} vectors lost: {_first(record.lost)}"]
    apart = [fault for fault in record.lost if _near(fault.at, record.spans, _KILLING) is None]
    if apart:
        return [f"{_vectors(apart)} vectors lost without a kill: {_first(apart)}"]
    return []


def _is_expected(failed: FailedRequest, record: DrillRecord, promises: Promises) -> bool:
    """Whether no setting promised an answer at that moment."""
    if _near(failed.at, record.spans, OUTAGES) is not None:
        return True
    # While Redis is down, all are refused, or only the sessions that no replica holds.
    refused = promises.when_store_down == "refuse" or not failed.begun
    down = _near(failed.at, record.spans, {FaultKind.REDIS}) is not None
    return refused and down and failed.status in {503, 504}


def _near(
    at: float, spans: Sequence[FaultSpan], kinds: frozenset[FaultKind] | set[FaultKind]
) -> FaultSpan | None:
    for span in spans:
        if span.fault.kind in kinds and span.begin <= at <= span.end + AFTER_SECONDS:
            return span
    return None


def _vectors(faults: Sequence[SessionFault]) -> int:
    return sum(fault.vectors for fault in faults)


def _first(faults: Sequence[SessionFault]) -> str:
    return f"session {faults[0].session} at {faults[0].at:.1f} s, {faults[0].text}"


def _percentile(seconds: Sequence[float], percent: float) -> float:
    return float(np.percentile(seconds, percent)) * 1000 if seconds else float("nan")
