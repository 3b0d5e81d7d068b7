"""The faster graph is chosen for each size of batch, by what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from service.inference.engines.buckets import BUCKETS
from service.inference.engines.step_engine import StepEngine
from service.inference.engines.step_timing import choose_precisions, time_steps
from tests.support.fakes import FakeClock, FakeEngine


class ClockedStepEngine(FakeEngine):
    """An engine whose runs take `cost(rows)` seconds of a fake clock."""

    def __init__(self, clock, cost, precision="fp32"):
        super().__init__()
        self.precision = precision
        self._clock, self._cost = clock, cost

    def run(self, vectors, lengths, state):
        self._clock.advance(self._cost(vectors.shape[1]))
        return super().run(vectors, lengths, state)


@pytest.mark.parametrize(
    ("exact", "quick", "expected"),
    [
        (1.0, 0.3, "int8"),
        (1.0, 1.0, "int8"),
        (0.96, 1.0, "int8"),
        (0.94, 1.0, "fp32"),
    ],
)
def test_fp32_replaces_8_bits_only_where_it_is_clearly_faster(exact, quick, expected):
    """Noise of a few per cent must not decide; 8 bits also read less memory."""
    assert {8: expected} == choose_precisions({8: (exact, quick)}, "int8")


def test_each_size_of_batch_is_measured_on_both_graphs():
    """As on a processor without 8-bit instructions: quicker alone, slower in batches."""
    clock = FakeClock()
    full = ClockedStepEngine(clock, lambda rows: 0.7 + 0.07 * rows)
    fast = ClockedStepEngine(clock, lambda rows: 0.2 + 0.13 * rows, "int8")
    times = time_steps(full, fast, clock)
    assert list(BUCKETS) == list(times)
    assert (pytest.approx(0.77), pytest.approx(0.33)) == times[1]
    precisions = choose_precisions(times, "int8")
    assert ["int8", "int8", "int8", "int8", "fp32", "fp32"] == list(precisions.values())


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, "step"), (3, "step"), (5, "full"), (40, "full")]
)
def test_a_step_runs_where_its_size_of_batch_says(rows, expected):
    """Between two sizes the next larger one counts; whole contexts always run on `full`."""
    full, step = FakeEngine(), FakeEngine()
    step.precision = "int8"
    engine = StepEngine(full, step, {b: "int8" if b <= 4 else "fp32" for b in BUCKETS})
    sizes = full.dimensions
    state = np.zeros((sizes.layers, rows, sizes.hidden), np.float32)
    vectors = np.ones((2, rows, sizes.dim), np.float32)
    engine.run(vectors[:1], np.ones(rows, np.int32), state)
    assert [expected] == [name for name, e in (("full", full), ("step", step)) if e.batches]
    engine.run(vectors, np.full(rows, 2, np.int32), state)
    assert [2] * rows == full.batches[-1]
