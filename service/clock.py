"""The clock as a dependency."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time. Tests pass a fake."""

    def monotonic(self) -> float:
        """Seconds that never decrease, for durations within one process."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC, for records that outlive the process."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def monotonic(self) -> float:
        return time.perf_counter()

    def time(self) -> float:
        return time.time()
