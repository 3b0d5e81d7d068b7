"""A session in lower precision: how close it stays, where it is worst, and its Hit@5."""

from __future__ import annotations

import numpy as np
import pytest

from model_export import session_drift
from model_export.parity import ParityError
from tests.support.fakes import DIM, FakeEngine, unit_vectors


class DriftingEngine(FakeEngine):
    """Turns the prediction of one step by a right angle."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def run(self, vectors, lengths, state):
        predicted, state = super().run(vectors, lengths, state)
        if len(self.batches) == self.at:
            predicted = predicted[:, ::-1] * np.array([1, -1] * (DIM // 2), np.float32)
        return predicted, state


def test_the_worst_step_is_named():
    """Steps are counted from 1. The worst has the smallest cosine."""
    found = session_drift.compare(
        session_drift.predict_session(FakeEngine(), unit_vectors(20)),
        session_drift.predict_session(DriftingEngine(7), unit_vectors(20)),
        "CPU",
        floor=-1,
    )
    assert (20, 7, "CPU") == (found.steps, found.worst_step, found.provider)
    assert pytest.approx(0, abs=1e-6) == found.min_cosine
    assert pytest.approx(19 / 20, abs=1e-6) == found.mean_cosine


def test_the_state_is_carried():
    """The prediction after n vectors depends on all n."""
    stream = unit_vectors(9)
    carried = session_drift.predict_session(FakeEngine(), stream)
    np.testing.assert_allclose(carried[-1], FakeEngine().expected(stream), rtol=1e-5)


@pytest.mark.parametrize("engine", [DriftingEngine(7), FakeEngine()])
def test_a_precision_far_from_fp32_is_not_published(engine):
    """Neither is one with NaN. The message names the option to leave out."""
    if not isinstance(engine, DriftingEngine):
        engine.poison = True
    with pytest.raises(ParityError, match=r"int8: .* export without --int8"):
        session_drift.measure(FakeEngine(), {"int8": engine}, unit_vectors(20), 20)


def test_an_unequal_step_is_refused():
    """Element by element; the message states the difference."""
    session_drift.check_equal(FakeEngine(), FakeEngine(), unit_vectors(5))
    with pytest.raises(ParityError, match=r"fp32 step differs .* by .* the limit is 1e-05"):
        session_drift.check_equal(FakeEngine(), DriftingEngine(3), unit_vectors(5))


def test_every_precision_is_scored_on_the_same_pool():
    """An engine that answers alike scores alike; no drift of fp32 from itself."""
    found = session_drift.measure(
        FakeEngine(), {"int8": FakeEngine()}, unit_vectors(101, seed=3), 9, 100
    )
    assert ["fp32", "int8"] == list(found)
    assert None is found["fp32"].drift
    assert found["fp32"].hits == found["int8"].hits
    assert (100, 50) == (found["int8"].hits.steps, found["int8"].hits.pool)


def test_a_prediction_of_the_vector_itself_hits():
    """Row i is scored by the vector that follows it, not by its own."""
    stream = unit_vectors(41, dim=64)
    assert 1.0 == session_drift.hits(stream[1:], stream).hit_at_5
    assert session_drift.hits(stream[:40], stream).hit_at_5 < 0.5
