"""Callers' vectors on their way through an engine: gathered into batches, and handed back."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.clock import Clock
from service.errors import EngineFault
from service.inference.engines.engine import Engine
from service.inference.engines.states import advance, is_finite
from service.types import State, Vector, Vectors


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What came of one job; durations in seconds.

    `states` are those after each chunk, with how many vectors of the whole
    context they stand for; only of a job that asked for them.
    """

    vector: Vector
    state: State
    queue_seconds: float
    inference_seconds: float
    states: tuple[tuple[int, State], ...] = ()


@dataclass(eq=False, slots=True)
class Job:
    """One caller's vectors on their way through the engine.

    Cancelling `future` is how a job is dropped, by its caller or its deadline.
    """

    vectors: Vectors
    state: State
    future: asyncio.Future[EngineResult]
    submitted: float
    offset: int = 0
    keep_states: bool = False
    exact: bool = False
    done: int = 0
    inference_seconds: float = 0.0
    vector: Vector | None = None
    states: list[tuple[int, State]] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        return len(self.vectors) - self.done

    def next_run(self, chunk: int) -> int:
        """How many vectors to run next; chunks end at multiples of `chunk` of the context."""
        return min(chunk - (self.offset + self.done) % chunk, self.remaining)


def take(queue: deque[Job], most: int) -> list[Job]:
    """Up to `most` jobs whose callers still wait, in order; the gone are dropped."""
    taken: list[Job] = []
    while queue and len(taken) < most:
        job = queue.popleft()
        if not job.future.done():
            taken.append(job)
    return taken


def run(engine: Engine, clock: Clock, jobs: Sequence[Job], chunk: int) -> float:
    """The next chunk of each job through the engine; the results go into the jobs.

    Returns the seconds it took. Raises `EngineFault`, and whatever an engine does.
    """
    runs = [job.next_run(chunk) for job in jobs]
    longest = max(runs)
    if longest == 1 and (chunk > 1 or jobs[0].exact):
        # One vector by itself is a step, which may have a graph of its own that is only
        # near; padded it is the end of a context.
        longest = 2
    if longest == 1:
        vectors = np.concatenate([job.vectors[job.done : job.done + 1] for job in jobs])[None]
    elif len(jobs) == 1 and runs[0] == longest:
        job = jobs[0]
        vectors = job.vectors[job.done : job.done + longest, None]  # a view: nothing to pad
    else:
        vectors = np.zeros((longest, len(jobs), jobs[0].vectors.shape[1]), np.float32)
        for column, (job, length) in enumerate(zip(jobs, runs, strict=True)):
            vectors[:length, column] = job.vectors[job.done : job.done + length]
    began = clock.monotonic()
    predicted, states = advance(
        engine, vectors, np.array(runs, np.int32), [job.state for job in jobs]
    )
    seconds = clock.monotonic() - began
    for job, length, vector, state in zip(jobs, runs, predicted, states, strict=True):
        job.done += length
        job.inference_seconds += seconds
        # A copy: a view would keep the whole batch alive in a session.
        job.vector = vector.copy()
        job.state = state
        if job.keep_states:
            job.states.append((job.offset + job.done, job.state))
    return seconds


def outcome(job: Job, now: float) -> EngineResult | EngineFault:
    """What a job whose vectors have all run is answered."""
    vector = job.vector
    assert vector is not None
    # A sum of squares says it in one call, where looking at each value takes two.
    if not (math.isfinite(np.vdot(vector, vector)) and is_finite(job.state)):
        return EngineFault("the engine answered NaN or Inf")
    queued = max(0.0, now - job.submitted - job.inference_seconds)
    return EngineResult(vector, job.state, queued, job.inference_seconds, tuple(job.states))


def settle(outcomes: Sequence[tuple[Job, EngineResult | Exception]]) -> None:
    """Tell the callers who still wait; on the event loop."""
    for job, found in outcomes:
        if job.future.done():
            continue
        if isinstance(found, Exception):
            job.future.set_exception(found)
        else:
            job.future.set_result(found)
