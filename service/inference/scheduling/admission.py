"""Admission: refuses jobs that could only wait too long."""

from __future__ import annotations

from service.errors import QueueFull

SECONDS_PER_JOB = 0.01
"""Estimate before the first batch, for Retry-After."""

SECONDS_PER_VECTOR = 0.0003
"""Estimate for a context on a CPU, before the first one."""

SMOOTHING = 0.1
"""Weight of the newest batch in the moving averages."""


class Admission:
    """Bounds the queue by its length, and contexts by the time of those before them.

    `patience` is the longest that a caller waits, in seconds. `estimate_contexts` is false for
    an engine that cannot tell how long contexts take before it has run some.
    """

    def __init__(self, queue_limit: int, patience: float, *, estimate_contexts: bool) -> None:
        self._queue_limit = queue_limit
        self._patience = patience
        self._seconds_per_job = SECONDS_PER_JOB
        self._seconds_per_vector = SECONDS_PER_VECTOR if estimate_contexts else 0.0

    def check_queue(self, waiting: int) -> None:
        """Raise `QueueFull` if `waiting` jobs are as many as may wait."""
        if waiting >= self._queue_limit:
            raise QueueFull(
                f"{waiting} requests are waiting; try again later",
                retry_after=waiting * self._seconds_per_job,
            )

    def check_context(self, vectors_ahead: int) -> None:
        """Raise `QueueFull` for a context that would miss its deadline behind others.

        It would take the engine's time from contexts that can be answered in time.
        """
        late = vectors_ahead * self._seconds_per_vector - self._patience
        if late > 0:
            raise QueueFull(
                f"{vectors_ahead} vectors of other contexts come first; try again later",
                retry_after=late,
            )

    def observe(self, jobs: int, vectors: int, seconds: float, *, contexts: bool) -> None:
        """Note that a batch of `jobs` with `vectors` in all took `seconds` in the engine."""
        self._seconds_per_job += SMOOTHING * (seconds / jobs - self._seconds_per_job)
        if contexts:
            self._seconds_per_vector += SMOOTHING * (seconds / vectors - self._seconds_per_vector)
