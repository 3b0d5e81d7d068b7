"""Admission: refuses jobs that could only wait too long."""

from __future__ import annotations

from service.errors import QueueFull

SECONDS_PER_JOB = 0.01
"""Estimate before the first batch, for Retry-After."""

SECONDS_PER_VECTOR = 0.0003
"""Estimate for a context on a CPU, before the first one."""

SAFETY = 0.7
"""Share of a caller's patience in which a context is expected to end."""

SMOOTHING = 0.1
"""Weight of the newest batch in the moving average of jobs."""

CONTEXT_SMOOTHING = 0.3
"""The same of contexts. Their batches take up to seconds: ten of them are too long to learn that
the machine has become busy."""


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

    def check_context(
        self, vectors: int, ahead: int, beside: int, patience: float | None = None
    ) -> None:
        """Raise `QueueFull` for a context that would miss its deadline.

        It would take the engine's time from contexts that can be answered in time. It has
        `vectors`; `ahead` vectors of other contexts come first, and up to `beside` contexts
        that come later may run side by side with it, of which each takes as much time as
        itself. It must end within `SAFETY` of `patience`, the seconds that its caller waits
        (None: the longest). With nothing ahead, a context is never refused: the estimate
        may be wrong, and only a run can correct it.
        """
        longest = self._patience if patience is None else min(patience, self._patience)
        expected = (ahead + vectors * (1 + beside)) * self._seconds_per_vector
        late = expected - SAFETY * longest
        if ahead and late > 0:
            raise QueueFull(
                f"{ahead} vectors of other contexts come first: this one would take "
                f"{expected:.2g} s; try again later",
                retry_after=late,
            )

    def observe(self, jobs: int, vectors: int, seconds: float, *, contexts: bool) -> None:
        """Note that a batch of `jobs` with `vectors` in all took `seconds`."""
        self._seconds_per_job += SMOOTHING * (seconds / jobs - self._seconds_per_job)
        if contexts:
            difference = seconds / vectors - self._seconds_per_vector
            self._seconds_per_vector += CONTEXT_SMOOTHING * difference
