"""Continuous batching for one version: a queue, and the thread that owns its engine.

When the engine is free it takes what waits; nothing is held back by a timer.
Steps go first. Longer contexts run in chunks between them, several side by
side, so that neither a step nor a second context waits for a whole one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from service.clock import Clock
from service.errors import EngineFault, NotReady, QueueFull
from service.inference.engine import Engine
from service.types import State, Vector, Vectors

logger = logging.getLogger(__name__)

_UNLOADED = "the version is being unloaded"


@dataclass(frozen=True)
class Prediction:
    """What came of one job; durations in seconds."""

    vector: Vector
    state: State
    queue_seconds: float
    inference_seconds: float


@dataclass(eq=False)
class _Job:
    """One caller's vectors on their way through the engine.

    Cancelling `future` is how a job is dropped, by its caller or its deadline.
    """

    vectors: Vectors
    state: State
    future: asyncio.Future[Prediction]
    submitted: float
    done: int = 0
    inference_seconds: float = 0.0
    vector: Vector | None = field(default=None)

    @property
    def remaining(self) -> int:
        return len(self.vectors) - self.done


class Scheduler:
    """Runs jobs on `engine` from a thread of its own.

    `observe_batch(size)` is called from that thread for every batch run.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        max_batch: int,
        prefill_chunk: int,
        queue_limit: int,
        observe_batch: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._max_batch = max_batch
        self._prefill_chunk = prefill_chunk
        self._queue_limit = queue_limit
        self._observe_batch = observe_batch
        self._steps: deque[_Job] = deque()
        self._prefills: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Seconds a job has lately held the engine, for Retry-After.
        self._seconds_per_job = 0.01

    def start(self, name: str) -> None:
        """Begin to serve; called from the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name=f"engine-{name}", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Finish the batch in the engine; refuse what still waits."""
        with self._wake:
            self._closed = True
            left = [*self._steps, *self._prefills]
            self._steps.clear()
            self._prefills.clear()
            self._wake.notify()
        _fail(left, NotReady(_UNLOADED))
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    @property
    def waiting(self) -> int:
        """Jobs in the queue; those of the batch in the engine are not counted."""
        return len(self._steps) + len(self._prefills)

    async def submit(self, vectors: Vectors, state: State | None) -> Prediction:
        """Run `vectors` `[n, dim]` from `state`, a cold one if None.

        Raises `QueueFull`, `EngineFault`, `NotReady`. Cancelled, by a deadline or
        because the caller has gone, it drops the job.
        """
        loop = asyncio.get_running_loop()
        if state is None:
            sizes = self._engine.dimensions
            state = np.zeros((sizes.layers, sizes.hidden), np.float32)
        job = _Job(vectors, state, loop.create_future(), self._clock.monotonic())
        with self._wake:
            if self._closed:
                raise NotReady(_UNLOADED)
            if self.waiting >= self._queue_limit:
                raise QueueFull(
                    f"{self.waiting} requests are waiting; try again later",
                    retry_after=self.waiting * self._seconds_per_job,
                )
            (self._steps if len(vectors) == 1 else self._prefills).append(job)
            self._wake.notify()
        try:
            return await job.future
        finally:
            if job.future.cancelled():
                self._withdraw(job)

    def _withdraw(self, job: _Job) -> None:
        """Its caller has gone: it gives its place in the queue to one who is there."""
        with self._wake:
            for queue in (self._steps, self._prefills):
                with suppress(ValueError):
                    queue.remove(job)

    def _serve(self) -> None:
        while True:
            with self._wake:
                while not (self._steps or self._prefills or self._closed):
                    self._wake.wait()
                if self._closed:
                    break
                steps = _take(self._steps, self._max_batch)
            if steps:
                self._run(steps, 1)
            with self._wake:
                prefills = _take(self._prefills, self._max_batch)
            if prefills:
                self._run(prefills, self._prefill_chunk)
                unfinished = [job for job in prefills if job.remaining and not job.future.done()]
                with self._wake:
                    self._prefills.extendleft(reversed(unfinished))
        # Contexts that were between two chunks when it closed.
        self._from_thread(_fail, list(self._prefills), NotReady(_UNLOADED))

    def _run(self, jobs: Sequence[_Job], chunk: int) -> None:
        """One batch through the engine; those that are finished get their answers.

        Whatever goes wrong, these callers hear of it and the thread lives on: it
        is the only one this version has.
        """
        try:
            self._advance(jobs, chunk)
            self._deliver([job for job in jobs if not job.remaining])
        except Exception as error:
            logger.exception("the engine failed")
            fault = error if isinstance(error, EngineFault) else EngineFault(str(error))
            self._fail_later(jobs, fault)

    def _advance(self, jobs: Sequence[_Job], chunk: int) -> None:
        """The next chunk of each job; the results go into the jobs."""
        lengths = np.array([min(chunk, job.remaining) for job in jobs], np.int32)
        vectors = np.zeros((int(lengths.max()), len(jobs), jobs[0].vectors.shape[1]), np.float32)
        for column, (job, length) in enumerate(zip(jobs, lengths, strict=True)):
            vectors[:length, column] = job.vectors[job.done : job.done + length]
        states = np.stack([job.state for job in jobs], axis=1)
        began = self._clock.monotonic()
        predicted, next_states = self._engine.run(vectors, lengths, states)
        seconds = self._clock.monotonic() - began
        if predicted.shape != vectors.shape[1:] or next_states.shape != states.shape:
            raise EngineFault(
                f"the engine answered {predicted.shape} and {next_states.shape}, "
                f"not {vectors.shape[1:]} and {states.shape}"
            )
        self._observe_batch(len(jobs))
        self._seconds_per_job += 0.1 * (seconds / len(jobs) - self._seconds_per_job)
        for column, (job, length) in enumerate(zip(jobs, lengths, strict=True)):
            job.done += int(length)
            job.inference_seconds += seconds
            # Copies: a view would keep the whole batch alive in a session.
            job.vector = predicted[column].copy()
            job.state = next_states[:, column].copy()

    def _deliver(self, jobs: Sequence[_Job]) -> None:
        finished = self._clock.monotonic()
        answers: list[tuple[_Job, Prediction]] = []
        for job in jobs:
            assert job.vector is not None
            if not (np.isfinite(job.vector).all() and np.isfinite(job.state).all()):
                self._fail_later([job], EngineFault("the engine answered NaN or Inf"))
                continue
            queued = max(0.0, finished - job.submitted - job.inference_seconds)
            answers.append((job, Prediction(job.vector, job.state, queued, job.inference_seconds)))
        self._from_thread(_answer, answers)

    def _fail_later(self, jobs: Sequence[_Job], error: Exception) -> None:
        for job in jobs:
            job.done = len(job.vectors)
        self._from_thread(_fail, jobs, error)

    def _from_thread(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _take(queue: deque[_Job], most: int) -> list[_Job]:
    """Up to `most` jobs whose callers still wait, in order; the gone are dropped."""
    taken: list[_Job] = []
    while queue and len(taken) < most:
        job = queue.popleft()
        if not job.future.done():
            taken.append(job)
    return taken


def _answer(answers: Sequence[tuple[_Job, Prediction]]) -> None:
    for job, prediction in answers:
        if not job.future.done():
            job.future.set_result(prediction)


def _fail(jobs: Sequence[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
