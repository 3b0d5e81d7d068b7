"""Totals of what each version has done, for the statistics of the Open Inference Protocol.

The histograms have the same totals, but to sum them takes as long as to render them.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DurationTotal:
    """A count of events, and their total duration in seconds."""

    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _RunningTotal:
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def read(self) -> DurationTotal:
        return DurationTotal(self.count, self.seconds)


@dataclass(frozen=True)
class Usage:
    """What a version has done: requests, predictions, and runs of its engine."""

    succeeded: DurationTotal
    failed: DurationTotal
    queue: DurationTotal
    inference: DurationTotal
    runs: int


@dataclass(slots=True)
class _VersionTotals:
    succeeded: _RunningTotal = field(default_factory=_RunningTotal)
    failed: _RunningTotal = field(default_factory=_RunningTotal)
    queue: _RunningTotal = field(default_factory=_RunningTotal)
    inference: _RunningTotal = field(default_factory=_RunningTotal)
    runs: int = 0


class UsageTotals:
    """The totals of every version. Requests are added on the event loop."""

    def __init__(self) -> None:
        self._versions: defaultdict[str, _VersionTotals] = defaultdict(_VersionTotals)
        self._runs_lock = threading.Lock()

    def add_request(self, version: str, seconds: float, *, succeeded: bool) -> None:
        """Count a request."""
        totals = self._versions[version]
        (totals.succeeded if succeeded else totals.failed).add(seconds)

    def add_prediction(self, version: str, queue_seconds: float, seconds: float) -> None:
        """Count a prediction with its time in the queue and in the engine."""
        totals = self._versions[version]
        totals.queue.add(queue_seconds)
        totals.inference.add(seconds)

    def add_run(self, version: str) -> None:
        """Count a run of the version's engine, from any thread."""
        with self._runs_lock:
            self._versions[version].runs += 1

    def forget(self, version: str) -> None:
        """Drop the totals of an unloaded version."""
        self._versions.pop(version, None)

    def read(self, version: str) -> Usage:
        """The totals of `version`, since it was loaded."""
        totals = self._versions.get(version) or _VersionTotals()
        return Usage(
            totals.succeeded.read(),
            totals.failed.read(),
            totals.queue.read(),
            totals.inference.read(),
            totals.runs,
        )
