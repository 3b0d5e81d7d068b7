"""The jobs that wait for an engine, and which of them run next. Pure: no threads, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from service.inference.scheduling.job import Job


class JobQueue:
    """Two first-in-first-out queues: steps (one vector) and prefills (contexts).

    A batch has up to `max_steps` steps or up to `max_prefills` prefills.
    """

    def __init__(self, max_steps: int, max_prefills: int) -> None:
        self._max_steps = max_steps
        self.max_prefills = max_prefills
        self.steps: deque[Job] = deque()
        self.prefills: deque[Job] = deque()
        # In the engine for one chunk, and then back at the head of their queue.
        self._running_prefills: Sequence[Job] = ()

    @property
    def waiting(self) -> int:
        """Jobs in the queues; the batch in the engine is not counted."""
        return len(self.steps) + len(self.prefills)

    @property
    def prefill_vectors(self) -> int:
        """Vectors of contexts that are still to run, those in the engine included."""
        return sum(job.remaining for job in (*self._running_prefills, *self.prefills))

    @property
    def prefill_jobs(self) -> int:
        """Contexts that are not finished, those in the engine included."""
        return len(self._running_prefills) + len(self.prefills)

    def add(self, job: Job) -> None:
        """Queue the job behind the others of its kind."""
        (self.steps if len(job.vectors) == 1 else self.prefills).append(job)

    def withdraw(self, job: Job) -> None:
        """Remove a job whose caller has gone; its place is free for another one."""
        for queue in (self.steps, self.prefills):
            with suppress(ValueError):
                queue.remove(job)

    def take_steps(self) -> list[Job]:
        """The next batch of steps, removed from the queue."""
        return _take(self.steps, self._max_steps)

    def take_prefills(self) -> list[Job]:
        """The next batch of prefills. Call `put_back` after its chunk has run."""
        taken = _take(self.prefills, self.max_prefills)
        self._running_prefills = taken
        return taken

    def put_back(self, prefills: Sequence[Job]) -> None:
        """Queue the taken prefills again, in order and first, unless they are finished."""
        unfinished = [job for job in prefills if job.remaining and not job.future.done()]
        self._running_prefills = ()
        self.prefills.extendleft(reversed(unfinished))

    def clear(self) -> list[Job]:
        """Remove all waiting jobs, and return them."""
        removed = [*self.steps, *self.prefills]
        self.steps.clear()
        self.prefills.clear()
        return removed


def _take(queue: deque[Job], limit: int) -> list[Job]:
    """Up to `limit` jobs in order; those whose callers have gone are dropped."""
    taken: list[Job] = []
    while queue and len(taken) < limit:
        job = queue.popleft()
        if not job.future.done():
            taken.append(job)
    return taken
