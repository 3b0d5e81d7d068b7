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
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from service.clock import Clock
from service.errors import EngineFault, NotReady, QueueFull
from service.inference.engines.engine import Engine
from service.inference.scheduling.jobs import EngineResult, Job, outcome, run, settle, take
from service.types import State, Vectors

logger = logging.getLogger(__name__)

_UNLOADED = "the version is being unloaded"

_SHORT_SECONDS = 0.001
"""A run shorter than this may have the event loop's own thread: to hand it to another one
and back takes a tenth of it or more."""

PREFILLS = 4
"""Contexts that run side by side on a CPU: of more each takes as long as one of four (0.45,
0.29, 0.29 and 0.29 s for 500 vectors at batches of 1, 4, 8 and 32), and a run cannot be left."""

_SECONDS_PER_VECTOR = 0.0003
"""Of a context on a CPU, until the first ones have been measured."""

_PREFILL_NICENESS = 10
"""Of the contexts' own thread: about a tenth of a core's time when steps want it all."""


class Scheduler:
    """Runs jobs on `engine` from a thread of its own, or from two.

    `patience` (seconds) is how long a caller waits at most: a context is refused when
    those before it will take longer. `observe_batch(size)` is called from the threads
    for every batch run.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        max_batch: int,
        prefill_chunk: int,
        queue_limit: int,
        patience: float = math.inf,
        observe_batch: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._max_batch = max_batch
        self._prefill_chunk = prefill_chunk
        self._most_prefills = min(max_batch, PREFILLS) if engine.concurrent else max_batch
        self._queue_limit = queue_limit
        self._patience = patience
        self._observe_batch = observe_batch
        self._steps: deque[Job] = deque()
        self._prefills: deque[Job] = deque()
        # Those in the engine, between being taken and being put back.
        self._prefilling: Sequence[Job] = ()
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
        # What a vector of a context has lately taken.
        self._seconds_per_vector = _SECONDS_PER_VECTOR if engine.concurrent else 0.0
        # What a step has that ran by itself.
        self._lone_seconds = _SHORT_SECONDS
        # Whether a batch of steps is in the engine, and whether the last one was of one
        # step that nobody waited behind.
        self._stepping = False
        self._lonely = False
        # Whether a step has run on the event loop in its present turn.
        self._ran_here = False

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
        settle([(job, NotReady(_UNLOADED)) for job in left])
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
        exact: bool = False,
    ) -> EngineResult:
        """Run `vectors` `[n, dim]` from `state`, a cold one if None.

        `offset` is how many vectors of the context `state` stands for; with
        `keep_states` the prediction brings the states after each chunk. `exact`: as a
        context is read whole, also where single steps run in fewer bits.

        Raises `QueueFull`, `EngineFault`, `NotReady`. Cancelled, by a deadline or
        because the caller has gone, it drops the job.
        """
        loop = asyncio.get_running_loop()
        if state is None:
            sizes = self._engine.dimensions
            state = np.zeros((sizes.layers, sizes.hidden), np.float32)
        now, here = self._clock.monotonic(), False
        exact = exact and self._engine.precision != "fp32"
        job = Job(vectors, state, loop.create_future(), now, offset, keep_states, exact)
        with self._lock:
            if self._closed:
                raise NotReady(_UNLOADED)
            if self.waiting >= self._queue_limit:
                raise QueueFull(
                    f"{self.waiting} requests are waiting; try again later",
                    retry_after=self.waiting * self._seconds_per_job,
                )
            if len(vectors) > 1:
                self._refuse_if_late()
                self._prefills.append(job)
                self._prefill_came.notify()
            elif here := (not exact and self._may_run_here()):
                self._stepping = True
            else:
                self._steps.append(job)
                self._step_came.notify()
        if here:
            self._step_here(job, loop)
        try:
            return await job.future
        finally:
            if job.future.cancelled():
                self._withdraw(job)

    def _refuse_if_late(self) -> None:
        """Raise `QueueFull` for a context that could only end in its deadline: run all the
        same it would take the time of those that can be answered."""
        left = sum(job.remaining for job in (*self._prefilling, *self._prefills))
        late = left * self._seconds_per_vector - self._patience
        if late > 0:
            raise QueueFull(
                f"{left} vectors of contexts are to be read before; try again later",
                retry_after=late,
            )

    def _may_run_here(self) -> bool:
        """Whether a step had better run on the event loop's own thread.

        It had when it is short and alone: two wake-ups of sleeping threads and two
        turns of the interpreter's lock are saved. Of several callers the second is
        met in the same turn of the loop, or waits when the first is done: then they
        are left to the engine's thread, which runs what comes meanwhile together.
        """
        return (
            self._lonely
            and self._engine.concurrent
            and self._lone_seconds < _SHORT_SECONDS
            and not (self._ran_here or self._stepping or self._steps)
        )

    def _step_here(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._ran_here = True
        loop.call_soon(self._turn_ended)
        outcomes = self._outcomes([job], 1)
        with self._lock:
            self._stepping = False
        settle(outcomes)

    def _turn_ended(self) -> None:
        self._ran_here = False

    def _withdraw(self, job: Job) -> None:
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

    def _wait(self, came: threading.Condition, *queues: deque[Job]) -> bool:
        """Until one of `queues` has a job; False when it is time to end."""
        with came:
            while not (self._closed or any(queues)):
                came.wait()
            return not self._closed

    def _run_steps(self) -> None:
        with self._lock:
            steps = take(self._steps, self._max_batch)
            self._stepping = bool(steps)
        if steps:
            outcomes = []
            for exact in (False, True):  # the ends of contexts apart: they take another graph
                if batch := [job for job in steps if job.exact is exact]:
                    outcomes += self._outcomes(batch, 1)
            with self._lock:
                self._stepping = False
                self._lonely = len(steps) == 1 and not self._steps
            self._from_thread(settle, outcomes)

    def _run_chunk(self) -> None:
        with self._lock:
            self._prefilling = prefills = take(self._prefills, self._most_prefills)
        if prefills:
            self._from_thread(settle, self._outcomes(prefills, self._prefill_chunk))
            unfinished = [job for job in prefills if job.remaining and not job.future.done()]
            with self._lock:
                self._prefilling = ()
                self._prefills.extendleft(reversed(unfinished))

    def _refuse_prefills(self) -> None:
        # Contexts that were between two chunks when it closed.
        self._from_thread(settle, [(job, NotReady(_UNLOADED)) for job in self._prefills])

    def _outcomes(
        self, jobs: Sequence[Job], chunk: int
    ) -> list[tuple[Job, EngineResult | Exception]]:
        """One batch through the engine; what is to be told to those that are finished.

        Whatever goes wrong, these callers hear of it and the thread lives on: it
        is the only one for its kind of work.
        """
        try:
            left = sum(job.remaining for job in jobs)
            seconds = run(self._engine, self._clock, jobs, chunk)
            self._observe_batch(len(jobs))
            self._seconds_per_job += 0.1 * (seconds / len(jobs) - self._seconds_per_job)
            if chunk > 1:
                each = seconds / (left - sum(job.remaining for job in jobs))
                self._seconds_per_vector += 0.1 * (each - self._seconds_per_vector)
            elif len(jobs) == 1 and not jobs[0].exact:
                self._lone_seconds += 0.1 * (seconds - self._lone_seconds)
            now = self._clock.monotonic()
            return [(job, outcome(job, now)) for job in jobs if not job.remaining]
        except Exception as error:
            logger.exception("the engine failed")
            fault = error if isinstance(error, EngineFault) else EngineFault(str(error))
            for job in jobs:
                job.done = len(job.vectors)
            return [(job, fault) for job in jobs]

    def _from_thread(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _yield_the_core() -> None:
    """Lower the calling thread's priority, where the system has one a thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PREFILL_NICENESS)
