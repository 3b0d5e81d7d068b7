"""Degraded engines slow down or disturb predictions, and change nothing else."""

from __future__ import annotations

import numpy as np

from loadtest.trial.degraded_server import DelayedEngine, NoisyEngine
from tests.support.fakes import DIM, FakeClock, FakeEngine


class TimedEngine(FakeEngine):
    """An engine whose runs take two seconds."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def run(self, vectors, lengths, state):
        self.clock.advance(2.0)
        return super().run(vectors, lengths, state)


def test_a_delayed_engine_takes_longer_and_returns_the_same():
    """A factor of 1.5 adds half the duration of the run."""
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


def test_a_noisy_engine_disturbs_predictions_and_keeps_the_state():
    """The sum has unit length; the noise is random."""
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


def test_a_delayed_engine_has_the_properties_of_its_engine():
    """Its device, dimensions and concurrency."""
    engine = FakeEngine(concurrent=True)
    delayed = DelayedEngine(engine, 2.0)
    assert (engine.provider, engine.dimensions, True) == (
        delayed.provider,
        delayed.dimensions,
        delayed.concurrent,
    )
