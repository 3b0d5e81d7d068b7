"""What a batch runner reports of each batch."""

from __future__ import annotations

import numpy as np

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
