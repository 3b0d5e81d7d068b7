"""Degraded engines slow down or disturb predictions, and change nothing else."""

from __future__ import annotations

import numpy as np

from loadtest.trial.degraded_server import DelayedEngine, NoisyEngine
from tests.support.fakes import DIM, FakeClock, FakeEngine


class TimedEngine(FakeEngine):
    """Takes two seconds a run."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def run(self, vectors, lengths, state):
        self.clock.advance(2.0)
        return super().run(vectors, lengths, state)


def test_a_delayed_engine_takes_longer_and_answers_the_same():
    """Half as long again at 1.5, whatever a run takes."""
    clock = FakeClock()
    vectors, lengths = np.ones((1, 1, DIM), np.float32), np.ones(1, np.int32)
    state = np.zeros((1, 1, DIM), np.float32)
    expected = FakeEngine().run(vectors, lengths, state)
    delayed = DelayedEngine(TimedEngine(clock), 1.5, clock.monotonic, clock.advance)
    began = clock.now
    answer = delayed.run(vectors, lengths, state)
    assert 3.0 == clock.now - began
    for wanted, got in zip(expected, answer, strict=True):
        np.testing.assert_array_equal(wanted, got)


def test_a_noisy_engine_is_off_by_as_much_as_it_says_and_keeps_its_state():
    """What is added is of that length, and the sum of unit length."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((3, 2, DIM)).astype(np.float32)
    lengths, state = np.array([3, 2], np.int32), np.zeros((1, 2, DIM), np.float32)
    clean, wanted = FakeEngine().run(vectors, lengths, state)
    noisy = NoisyEngine(FakeEngine(), 0.5)
    predicted, after = noisy.run(vectors, lengths, state)
    np.testing.assert_array_equal(wanted, after)
    np.testing.assert_allclose(np.ones(2), np.linalg.norm(predicted, axis=1), rtol=1e-5)
    assert (np.sum(predicted * clean, axis=1) > 0.86).all()
    again, _ = noisy.run(vectors, lengths, state)
    assert not np.allclose(predicted, again)


def test_a_delayed_engine_is_otherwise_the_engine_it_delays():
    """On the same device, with the same sizes."""
    engine = FakeEngine(concurrent=True)
    delayed = DelayedEngine(engine, 2.0)
    assert (engine.provider, engine.dimensions, True) == (
        delayed.provider,
        delayed.dimensions,
        delayed.concurrent,
    )
