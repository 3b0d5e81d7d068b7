"""A trial slows the engine that it says, and its end is judged rightly."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.generator.open_loop import OpenLoopDriver
from loadtest.report.request_log import RequestLog
from loadtest.rollout_client import parse_sample
from loadtest.trial.degraded_server import DelayedEngine, NoisyEngine
from loadtest.trial.trial import PLAN, Trial
from service.rollout.plan.rollout_plan import RolloutPlan
from tests.support.fakes import DIM, FakeClock, FakeEngine
from tests.support.rollout_status import status


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


@pytest.mark.parametrize(
    ("phases", "expected_rollback", "after", "problem"),
    [
        (["Progressing", "Paused"], False, None, None),
        (["Progressing", "RolledBack"], True, 2.0, None),
        (["Progressing", "RolledBack"], False, 2.0, "the canary was rolled back"),
        (["Progressing", "Paused"], True, None, "the canary was not rolled back"),
        ([], True, None, "never seen"),
    ],
)
def test_a_trial_ends_as_it_must_or_says_why_not(phases, expected_rollback, after, problem):
    """A rollback is right for a slowed canary alone."""
    trial = Trial(expected_rollback, OpenLoopDriver([], FakeClock()), started=1.0)
    trial.samples += [parse_sample(status(phase=p), 2.0 + i) for i, p in enumerate(phases)]
    assert after == trial.rollback_seconds
    assert (problem or "") in " ".join(trial.problems())
    assert (problem is None) is (not trial.problems())


def test_a_failed_request_is_a_problem():
    """Nothing may be lost on the way."""
    trial = Trial(expected_rollback=False, driver=OpenLoopDriver([], FakeClock()))
    trial.samples.append(parse_sample(status(phase="Progressing"), 1.0))
    trial.records.append(RequestLog(1.0, 0.0, 0.1, 500, error="boom"))
    assert ["1 requests failed: boom"] == trial.problems()


def test_the_trials_plan_is_one_the_service_takes():
    """With the service's own test and its own waits between looks."""
    plan = RolloutPlan.model_validate(PLAN)
    assert (RolloutPlan().alpha, RolloutPlan().ratio) == (plan.alpha, plan.ratio)
