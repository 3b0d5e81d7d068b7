"""Continuous batching for one version: a queue, and the thread that owns its engine.

When the engine is free it takes what waits; nothing is held back by a timer.
Longer contexts run in chunks, several side by side, so that a second context
does not wait for a whole one. Steps go first: on a device that runs one batch
at a time they run between two chunks; an engine that two threads may run has a
second thread for the contexts, which yields its core to the steps and to the
event loop, so that a step waits for no chunk at all.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from service.clock import Clock
from service.errors import EngineFault, NotReady, QueueFull
from service.inference.engine import Engine
from service.inference.states import advance, is_finite
from service.types import State, Vector, Vectors

logger = logging.getLogger(__name__)

_UNLOADED = "the version is being unloaded"

_PREFILL_NICENESS = 10
"""Of the contexts' own thread: about a tenth of a core's time when steps want it all."""


@dataclass(frozen=True)
class Prediction:
    """What came of one job; durations in seconds.

    `states` are those after each chunk, with how many vectors of the whole
    context they stand for; only of a job that asked for them.
    """

    vector: Vector
    state: State
    queue_seconds: float
    inference_seconds: float
    states: tuple[tuple[int, State], ...] = ()


@dataclass(eq=False)
class _Job:
    """One caller's vectors on their way through the engine.

    Cancelling `future` is how a job is dropped, by its caller or its deadline.
    """

    vectors: Vectors
    state: State
    future: asyncio.Future[Prediction]
    submitted: float
    offset: int = 0
    keep_states: bool = False
    done: int = 0
    inference_seconds: float = 0.0
    vector: Vector | None = field(default=None)
    states: list[tuple[int, State]] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        return len(self.vectors) - self.done

    def next_run(self, chunk: int) -> int:
        """How many vectors to run next; chunks end at multiples of `chunk` of the context."""
        return min(chunk - (self.offset + self.done) % chunk, self.remaining)


class Scheduler:
    """Runs jobs on `engine` from a thread of its own, or from two.

    `observe_batch(size)` is called from those threads for every batch run.
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
        self._lock = threading.Lock()
        # Two, or a thread would wake for every job that is another's.
        self._step_came = threading.Condition(self._lock)
        self._prefill_came = (
            threading.Condition(self._lock) if engine.concurrent else self._step_came
        )
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        # Seconds a job has lately held the engine, for Retry-After.
        self._seconds_per_job = 0.01

    def start(self, name: str) -> None:
        """Begin to serve; called from the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        lanes = {"engine": self._serve_steps, "prefill": self._serve_prefills}
        if not self._engine.concurrent:
            lanes = {"engine": self._serve_both}
        for lane, serve in lanes.items():
            thread = threading.Thread(target=serve, name=f"{lane}-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    async def close(self) -> None:
        """Finish the batch in the engine; refuse what still waits."""
        with self._lock:
            self._closed = True
            left = [*self._steps, *self._prefills]
            self._steps.clear()
            self._prefills.clear()
            self._step_came.notify()
            self._prefill_came.notify()
        _fail(left, NotReady(_UNLOADED))
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    @property
    def waiting(self) -> int:
        """Jobs in the queue; those of the batch in the engine are not counted."""
        return len(self._steps) + len(self._prefills)

    async def submit(
        self,
        vectors: Vectors,
        state: State | None,
        *,
        offset: int = 0,
        keep_states: bool = False,
    ) -> Prediction:
        """Run `vectors` `[n, dim]` from `state`, a cold one if None.

        `offset` is how many vectors of the context `state` stands for; with
        `keep_states` the prediction brings the states after each chunk.

        Raises `QueueFull`, `EngineFault`, `NotReady`. Cancelled, by a deadline or
        because the caller has gone, it drops the job.
        """
        loop = asyncio.get_running_loop()
        if state is None:
            sizes = self._engine.dimensions
            state = np.zeros((sizes.layers, sizes.hidden), np.float32)
        now = self._clock.monotonic()
        job = _Job(vectors, state, loop.create_future(), now, offset, keep_states)
        with self._lock:
            if self._closed:
                raise NotReady(_UNLOADED)
            if self.waiting >= self._queue_limit:
                raise QueueFull(
                    f"{self.waiting} requests are waiting; try again later",
                    retry_after=self.waiting * self._seconds_per_job,
                )
            if len(vectors) == 1:
                self._steps.append(job)
                self._step_came.notify()
            else:
                self._prefills.append(job)
                self._prefill_came.notify()
        try:
            return await job.future
        finally:
            if job.future.cancelled():
                self._withdraw(job)

    def _withdraw(self, job: _Job) -> None:
        """Its caller has gone: it gives its place in the queue to one who is there."""
        with self._lock:
            for queue in (self._steps, self._prefills):
                with suppress(ValueError):
                    queue.remove(job)

    def _serve_both(self) -> None:
        while self._wait(self._step_came, self._steps, self._prefills):
            self._run_steps()
            self._run_chunk()
        self._refuse_prefills()

    def _serve_steps(self) -> None:
        while self._wait(self._step_came, self._steps):
            self._run_steps()

    def _serve_prefills(self) -> None:
        _yield_the_core()
        while self._wait(self._prefill_came, self._prefills):
            self._run_chunk()
        self._refuse_prefills()

    def _wait(self, came: threading.Condition, *queues: deque[_Job]) -> bool:
        """Until one of `queues` has a job; False when it is time to end."""
        with came:
            while not (self._closed or any(queues)):
                came.wait()
            return not self._closed

    def _run_steps(self) -> None:
        with self._lock:
            steps = _take(self._steps, self._max_batch)
        if steps:
            self._run(steps, 1)

    def _run_chunk(self) -> None:
        with self._lock:
            prefills = _take(self._prefills, self._max_batch)
        if prefills:
            self._run(prefills, self._prefill_chunk)
            unfinished = [job for job in prefills if job.remaining and not job.future.done()]
            with self._lock:
                self._prefills.extendleft(reversed(unfinished))

    def _refuse_prefills(self) -> None:
        # Contexts that were between two chunks when it closed.
        self._from_thread(_fail, list(self._prefills), NotReady(_UNLOADED))

    def _run(self, jobs: Sequence[_Job], chunk: int) -> None:
        """One batch through the engine; those that are finished get their answers.

        Whatever goes wrong, these callers hear of it and the thread lives on: it
        is the only one for its kind of work.
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
        lengths = np.array([job.next_run(chunk) for job in jobs], np.int32)
        vectors = np.zeros((int(lengths.max()), len(jobs), jobs[0].vectors.shape[1]), np.float32)
        for column, (job, length) in enumerate(zip(jobs, lengths, strict=True)):
            vectors[:length, column] = job.vectors[job.done : job.done + length]
        states = [job.state for job in jobs]
        began = self._clock.monotonic()
        predicted, next_states = advance(self._engine, vectors, lengths, states)
        seconds = self._clock.monotonic() - began
        self._observe_batch(len(jobs))
        self._seconds_per_job += 0.1 * (seconds / len(jobs) - self._seconds_per_job)
        for column, (job, length) in enumerate(zip(jobs, lengths, strict=True)):
            job.done += int(length)
            job.inference_seconds += seconds
            # A copy: a view would keep the whole batch alive in a session.
            job.vector = predicted[column].copy()
            job.state = next_states[column]
            if job.keep_states:
                job.states.append((job.offset + job.done, job.state))

    def _deliver(self, jobs: Sequence[_Job]) -> None:
        finished = self._clock.monotonic()
        answers: list[tuple[_Job, Prediction]] = []
        for job in jobs:
            assert job.vector is not None
            if not (np.isfinite(job.vector).all() and is_finite(job.state)):
                self._fail_later([job], EngineFault("the engine answered NaN or Inf"))
                continue
            queued = max(0.0, finished - job.submitted - job.inference_seconds)
            took, states = job.inference_seconds, tuple(job.states)
            answers.append((job, Prediction(job.vector, job.state, queued, took, states)))
        self._from_thread(_answer, answers)

    def _fail_later(self, jobs: Sequence[_Job], error: Exception) -> None:
        for job in jobs:
            job.done = len(job.vectors)
        self._from_thread(_fail, jobs, error)

    def _from_thread(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _yield_the_core() -> None:
    """Lower the calling thread's priority, where the system has one a thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PREFILL_NICENESS)


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
