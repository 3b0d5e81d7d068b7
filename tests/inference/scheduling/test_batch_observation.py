"""What a batch runner reports of each batch, and of each job in it."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import EngineFault
from service.inference.scheduling.admission import Admission
from service.inference.scheduling.batch import BatchRunner
from service.inference.scheduling.job import Job
from tests.support.fakes import DIM, FakeClock, FakeEngine, fault, unit_vectors


class QuarterEngine(FakeEngine):
    """Each run takes a quarter of a second of `clock`."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def run(self, vectors, lengths, state):
        self.clock.advance(0.25)
        return super().run(vectors, lengths, state)


async def test_a_batch_is_observed_with_its_size_and_its_seconds_in_the_engine():
    """A failed batch is not."""
    clock, observed = FakeClock(), []
    engine = QuarterEngine(clock)
    admission = Admission(8, 10.0, estimate_contexts=True)
    runner = BatchRunner(engine, clock, admission, lambda *batch: observed.append(batch))

    def jobs(count):
        state = np.zeros((1, DIM), np.float32)
        return [Job(unit_vectors(1), state, None, 0.0) for _ in range(count)]

    runner.run(jobs(3), 1)
    engine.faults.append(fault())
    runner.run(jobs(2), 1)
    assert [(3, 0.25)] == observed


async def test_a_nan_in_one_row_fails_that_job_alone():
    class FaultyRowEngine(FakeEngine):
        def run(self, vectors, lengths, state):
            predicted, after = super().run(vectors, lengths, state)
            predicted[1, 0] = np.nan
            return predicted, after

    engine, clock = FaultyRowEngine(), FakeClock()
    admission = Admission(8, 10.0, estimate_contexts=True)
    runner = BatchRunner(engine, clock, admission, lambda _jobs, _seconds: None)
    state = np.zeros((1, DIM), np.float32)
    jobs = [Job(unit_vectors(1, seed), state, None, 0.0) for seed in range(3)]
    outcomes = [outcome for _, outcome in runner.run(jobs, 1)]
    assert [False, True, False] == [isinstance(each, EngineFault) for each in outcomes]


@pytest.mark.parametrize(
    ("compact", "lengths", "chunk", "expected"),
    [
        (True, (1, 1, 1), 1, True),
        (True, (1,), 1, False),
        (True, (2, 3), 4, False),
        (False, (1, 1), 1, False),
    ],
)
async def test_the_vectors_of_a_batch_of_steps_are_put_into_8_bits(
    compact, lengths, chunk, expected
):
    """For histories in 8 bits. A single one is left to its history: there is nothing to save."""
    admission = Admission(8, 10.0, estimate_contexts=True)
    runner = BatchRunner(
        FakeEngine(), FakeClock(), admission, lambda _jobs, _seconds: None, compact=compact
    )
    state = np.zeros((1, DIM), np.float32)
    jobs = [Job(unit_vectors(n, n), state, None, 0.0) for n in lengths]
    rows = [outcome.row for _, outcome in runner.run(jobs, chunk)]
    assert [expected] * len(lengths) == [row is not None for row in rows]
    for job, row in zip(jobs, rows, strict=True):
        if row is not None:
            np.testing.assert_allclose(job.vectors[0], row.values * row.scale, atol=0.005)
