"""What each version has done since the start, in all roles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DurationTotal:
    """A count of events, and their total duration in seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more event."""
        self.count += 1
        self.seconds += seconds


class VersionUsage:
    """A version's requests, predictions and runs of its engine."""

    __slots__ = ("failed", "inference", "queue", "runs", "succeeded")

    def __init__(self) -> None:
        self.succeeded = DurationTotal()
        self.failed = DurationTotal()
        self.queue = DurationTotal()
        self.inference = DurationTotal()
        self.runs = 0
