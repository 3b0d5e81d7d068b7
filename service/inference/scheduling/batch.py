"""Runs one batch of jobs through an engine."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np

from service.clock import Clock
from service.compact_rows import CompactRow, compact_rows
from service.errors import EngineFault
from service.inference.engines.engine import Engine
from service.inference.engines.states import advance
from service.inference.scheduling.admission import Admission
from service.inference.scheduling.job import EngineResult, Job

logger = logging.getLogger(__name__)


class BatchRunner:
    """Runs batches, and reports their sizes and times. Raises nothing.

    With `compact`, the vectors of a batch of steps are put into 8 bits, for the histories of
    their sessions.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        admission: Admission,
        observe_batch: Callable[[int, float], None],
        *,
        compact: bool = False,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._admission = admission
        self._observe_batch = observe_batch
        self._compact = compact

    def run(
        self, jobs: Sequence[Job], chunk: int, since: float | None = None
    ) -> list[tuple[Job, EngineResult | Exception]]:
        """Run up to `chunk` vectors of each job; return the outcomes of the finished ones.

        `since` is when these jobs could have run, if other work came between; admission
        then counts the time from there.
        If anything goes wrong, all jobs of the batch end with the error. The thread that
        called must live on: it is the only one for its kind of work.
        """
        try:
            left = sum(job.remaining for job in jobs)
            seconds = run_batch(self._engine, self._clock, jobs, chunk)
            self._observe_batch(len(jobs), seconds)
            if self._compact and chunk == 1 and len(jobs) > 1:
                _compact_steps(jobs)
            vectors = left - sum(job.remaining for job in jobs)
            now = self._clock.monotonic()
            took = seconds if since is None else now - since
            self._admission.observe(len(jobs), vectors, took, contexts=chunk > 1)
            return [(job, _result(job, now)) for job in jobs if not job.remaining]
        except Exception as error:
            logger.exception("the engine failed")
            fault = error if isinstance(error, EngineFault) else EngineFault(str(error))
            for job in jobs:
                job.done = len(job.vectors)
            return [(job, fault) for job in jobs]


def run_batch(engine: Engine, clock: Clock, jobs: Sequence[Job], chunk: int) -> float:
    """Run the next chunk of each job, store the results in the jobs, return the seconds.

    Raises `EngineFault`, and whatever the engine raises.
    """
    runs = [job.next_run(chunk) for job in jobs]
    longest = max(runs)
    if longest == 1 and (chunk > 1 or jobs[0].exact):
        # A single vector would run as a step, whose graph may be an approximation. Padded
        # to two it runs as the end of a context.
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
    # A sum of squares checks the whole batch in one call; np.isfinite(...).all() takes two.
    all_finite = math.isfinite(np.vdot(predicted, predicted))
    for job, length, vector, state in zip(jobs, runs, predicted, states, strict=True):
        job.done += length
        job.inference_seconds += seconds
        # A copy: a view would keep the whole batch alive in a session.
        job.vector = vector.copy()
        job.failed |= not (all_finite or math.isfinite(np.vdot(vector, vector)))
        job.state = state
        if job.keep_states:
            job.states.append((job.offset + job.done, job.state))
    return seconds


def _compact_steps(jobs: Sequence[Job]) -> None:
    values, scales = compact_rows(np.concatenate([job.vectors for job in jobs]))
    for job, row, scale in zip(jobs, values, scales, strict=True):
        job.row = CompactRow(row, scale)


def _result(job: Job, now: float) -> EngineResult | EngineFault:
    """The outcome of a job whose vectors have all run."""
    if job.failed:
        return EngineFault("the engine returned NaN or Inf")
    assert job.vector is not None
    queued = max(0.0, now - job.submitted - job.inference_seconds)
    return EngineResult(
        job.vector, job.state, queued, job.inference_seconds, tuple(job.states), job.row
    )
