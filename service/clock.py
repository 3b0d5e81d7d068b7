"""Time, as something that can be handed in."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings; tests hand in a fake."""

    def monotonic(self) -> float:
        """Seconds that never go back; for durations within one process."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; for records that outlive the process."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.perf_counter()

    def time(self) -> float:
        return time.time()
