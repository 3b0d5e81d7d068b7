"""When a process that has ended starts again. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartRule:
    """Delays in seconds: `first` after one end, twice as long after each further one, at most
    `longest`. A process that ran for `steady` seconds starts the count again. After `attempts`
    starts in a row of which none became ready, there are no more.
    """

    first: float
    longest: float
    steady: float
    attempts: int


ENGINE_RULE = RestartRule(first=0.5, longest=30.0, steady=60.0, attempts=8)
WORKER_RULE = RestartRule(first=0.05, longest=5.0, steady=10.0, attempts=5)


class RestartCounter:
    """Counts the ends of one process."""

    def __init__(self, rule: RestartRule) -> None:
        self._rule = rule
        self._ends = 0
        self._failed_starts = 0

    def delay(self, ran_seconds: float, *, was_ready: bool) -> float | None:
        """Return the seconds until the next start, None to give up.

        The process ran for `ran_seconds`; it `was_ready` if it had begun to serve.
        """
        rule = self._rule
        self._failed_starts = 0 if was_ready else self._failed_starts + 1
        if self._failed_starts >= rule.attempts:
            return None
        self._ends = 1 if was_ready and ran_seconds >= rule.steady else self._ends + 1
        return float(min(rule.longest, rule.first * 2.0 ** min(self._ends - 1, 32)))
