"""Continuous batching for one version: jobs come in, and threads run them through the engine.

A free engine takes what waits; no timer holds a job back. Contexts run in chunks, several side
by side, so that the second one does not wait for the whole of the first. Steps go first. On a
device that runs one batch at a time they run between two chunks. An engine that two threads
may run at once has a second thread for contexts. That thread yields its core to the steps and
to the event loop, so that a step waits for no chunk.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from service.clock import Clock
from service.errors import NotReady
from service.inference.engines.engine import Engine
from service.inference.scheduling.admission import Admission
from service.inference.scheduling.batch import BatchRunner
from service.inference.scheduling.inline_steps import InlineSteps
from service.inference.scheduling.job import EngineResult, Job, Waiter, settle
from service.inference.scheduling.job_queue import JobQueue
from service.types import State, Vectors

MAX_CPU_PREFILLS = 4
"""Contexts that run side by side on a CPU. With more, each takes as long as in a batch of four
(0.45, 0.29, 0.29 and 0.29 s for 500 vectors in batches of 1, 4, 8 and 32), and a batch cannot
be interrupted."""

_PREFILL_NICENESS = 10
"""Niceness of the contexts' own thread: about a tenth of a core if steps want it all."""

_UNLOADED = "the version is being unloaded"


class Scheduler:
    """Queues the jobs of one engine and runs them, in one thread or two.

    `max_batch` bounds the jobs of a batch, `prefill_chunk` the vectors of a context that run
    at a time, `queue_limit` the jobs that wait. `patience` is the longest that a caller waits,
    in seconds. `observe_batch(size, seconds)` is called from the threads for every batch.
    `compact` is as for `BatchRunner`.
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
        observe_batch: Callable[[int, float], None] = lambda _size, _seconds: None,
        compact: bool = False,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._prefill_chunk = prefill_chunk
        self._admission = Admission(queue_limit, patience, estimate_contexts=engine.concurrent)
        self._queue = JobQueue(
            max_batch, min(max_batch, MAX_CPU_PREFILLS) if engine.concurrent else max_batch
        )
        self._runner = BatchRunner(engine, clock, self._admission, observe_batch, compact=compact)
        self._inline = InlineSteps(enabled=engine.concurrent)
        self._lock = threading.Lock()
        # Two conditions if there are two threads: each wakes for its own jobs only.
        self._step_added = threading.Condition(self._lock)
        self._prefill_added = (
            threading.Condition(self._lock) if engine.concurrent else self._step_added
        )
        self._closed = False
        # The end of the last chunk if contexts still waited then. For the thread that runs them.
        self._waiting_since: float | None = None
        self._wake_due = False
        self._users = 0
        self._unused: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []

    def start(self, name: str) -> None:
        """Start the threads. Call it from the event loop that will submit jobs."""
        self._loop = asyncio.get_running_loop()
        targets = {"engine": self._serve_steps, "prefill": self._serve_prefills}
        if not self._engine.concurrent:
            targets = {"engine": self._serve_all}
        for kind, target in targets.items():
            thread = threading.Thread(target=target, name=f"{kind}-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    async def close(self) -> None:
        """Finish the batch in the engine, and refuse the jobs that still wait."""
        with self._lock:
            self._closed = True
            refused = self._queue.clear()
            self._step_added.notify()
            self._prefill_added.notify()
        settle((job, NotReady(_UNLOADED)) for job in refused)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    @property
    def waiting(self) -> int:
        """Jobs in the queue; those of the batch in the engine are not counted."""
        return self._queue.waiting

    async def submit(self, vectors: Vectors, state: State | None, **options: Any) -> EngineResult:
        """Run `vectors` `[n, dim]` from `state`, or from a cold state if None.

        `options` are those of `add`. Raises what it raises, and `EngineFault`. A cancelled call, by
        a deadline or because its caller has gone, drops the job.
        """
        future: asyncio.Future[EngineResult] = asyncio.get_running_loop().create_future()
        job = self.add(future, vectors, state, **options)
        try:
            return await future
        finally:
            if future.cancelled():
                self.withdraw(job)

    def add(
        self,
        waiter: Waiter,
        vectors: Vectors,
        state: State | None,
        *,
        offset: int = 0,
        keep_states: bool = False,
        exact: bool = False,
        patience: float | None = None,
    ) -> Job:
        """Queue `vectors` `[n, dim]` from `state`, or from a cold state if None.

        `waiter` gets the outcome, perhaps before this returns. `offset` is the number of context
        vectors that `state` stands for. `keep_states` asks for the states after each chunk.
        `exact` asks for the precision of whole contexts, even where single steps run in fewer
        bits. `patience` is the number of seconds in which the caller needs the result, if fewer
        than the scheduler's own.

        Raises `QueueFull` and `NotReady`.
        """
        loop = self._loop
        assert loop is not None
        if state is None:
            sizes = self._engine.dimensions
            state = np.zeros((sizes.layers, sizes.hidden), np.float32)
        exact = exact and self._engine.precision != "fp32"
        inline = False
        job = Job(vectors, state, waiter, self._clock.monotonic(), offset, keep_states, exact)
        with self._lock:
            if self._closed:
                raise NotReady(_UNLOADED)
            self._admission.check_queue(self._queue.waiting)
            if len(vectors) > 1:
                self._check_context(len(vectors), patience)
                self._queue.add(job)
                self._prefill_added.notify()
            elif not exact and self._inline.begin(len(self._queue.steps)):
                inline = True
            else:
                self._queue.add(job)
                if not self._wake_due:
                    self._wake_due = True
                    loop.call_soon(self._wake_for_steps)
        if inline:
            self._run_inline(job, loop)
        return job

    def withdraw(self, job: Job) -> None:
        """Take a job whose waiter has gone out of the queue, if it is still there."""
        with self._lock:
            self._queue.withdraw(job)

    def enter(self) -> Scheduler:
        """Count a request that may submit jobs, until it calls `leave`. For `drain`."""
        self._users += 1
        return self

    def leave(self) -> None:
        """Count a request less."""
        self._users -= 1
        if self._unused is not None and not self._users:
            self._unused.set()

    async def drain(self, seconds: float) -> None:
        """Wait until no request uses the scheduler, or for `seconds`."""
        if self._users:
            self._unused = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._unused.wait(), seconds)

    def _wake_for_steps(self) -> None:
        """Wake the thread for the steps that came in this turn of the event loop.

        With the first of them, it would compete with the others for the interpreter, and then
        run a batch of one.
        """
        with self._lock:
            self._wake_due = False
            self._step_added.notify()

    def _check_context(self, vectors: int, patience: float | None) -> None:
        side_by_side = self._queue.max_prefills
        beside = side_by_side - 1 - self._queue.prefill_jobs % side_by_side
        self._admission.check_context(vectors, self._queue.prefill_vectors, beside, patience)

    def _run_inline(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        """Run a step on the event loop's own thread."""
        loop.call_soon(self._inline.end_turn)
        outcomes = self._runner.run([job], 1)
        with self._lock:
            self._inline.end(_step_seconds(outcomes))
        settle(outcomes)

    def _serve_all(self) -> None:
        """The only thread of an engine that runs one batch at a time."""
        while self._wait(self._step_added, lambda: self._queue.waiting > 0):
            self._run_steps()
            self._run_chunk()
        self._refuse_prefills()

    def _serve_steps(self) -> None:
        while self._wait(self._step_added, lambda: len(self._queue.steps) > 0):
            self._run_steps()

    def _serve_prefills(self) -> None:
        _lower_priority()
        while self._wait(self._prefill_added, lambda: len(self._queue.prefills) > 0):
            self._run_chunk()
        self._refuse_prefills()

    def _wait(self, added: threading.Condition, has_jobs: Callable[[], bool]) -> bool:
        """Wait for a job. False if the thread has to end."""
        with added:
            while not (self._closed or has_jobs()):
                added.wait()
            return not self._closed

    def _run_steps(self) -> None:
        with self._lock:
            steps = self._queue.take_steps()
            self._inline.begin_batch(len(steps))
        if steps:
            outcomes: list[tuple[Job, EngineResult | Exception]] = []
            for exact in (False, True):  # apart, because exact ones take another graph
                if batch := [job for job in steps if job.exact is exact]:
                    outcomes += self._runner.run(batch, 1)
            with self._lock:
                seconds = _step_seconds(outcomes) if len(steps) == 1 else None
                self._inline.end_batch(len(steps), len(self._queue.steps), seconds)
            self._settle(outcomes)

    def _run_chunk(self) -> None:
        with self._lock:
            prefills = self._queue.take_prefills()
        if prefills:
            self._settle(self._runner.run(prefills, self._prefill_chunk, self._waiting_since))
            with self._lock:
                self._queue.put_back(prefills)
                more = bool(self._queue.prefills)
            self._waiting_since = self._clock.monotonic() if more else None

    def _refuse_prefills(self) -> None:
        # Contexts that were between two chunks when the scheduler closed.
        self._settle([(job, NotReady(_UNLOADED)) for job in self._queue.prefills])

    def _settle(self, outcomes: Sequence[tuple[Job, EngineResult | Exception]]) -> None:
        """Settle from a thread, on the event loop."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle, outcomes)


def _step_seconds(outcomes: Sequence[tuple[Job, EngineResult | Exception]]) -> float | None:
    """The engine's time for a single step; None for a failed or an exact one."""
    job, outcome = outcomes[0]
    if job.exact or isinstance(outcome, Exception):
        return None
    return outcome.inference_seconds


def _lower_priority() -> None:
    """Lower the calling thread's priority, on systems where threads have one."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PREFILL_NICENESS)
