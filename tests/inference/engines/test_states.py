"""Runs from states, with an engine that keeps them and one that does not."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import EngineFault
from service.inference.engines.states import advance
from tests.support.fakes import DIM, FakeEngine, unit_vectors


def test_rows_continue_from_their_own_states():
    """The given states do not change; the next states are copies."""
    engine = FakeEngine()
    vectors = unit_vectors(6)
    cold = np.zeros((1, DIM), np.float32)
    one, two = vectors[:4:2, None], vectors[1:5:2, None]
    block = np.concatenate([one, two], axis=1)
    _, states = advance(engine, block[:1], np.ones(2, np.int32), [cold, cold])
    predicted, after = advance(engine, block[1:], np.ones(2, np.int32), states)
    for row, stream in enumerate((one[:, 0], two[:, 0])):
        np.testing.assert_allclose(engine.expected(stream), predicted[row], atol=1e-6)
        np.testing.assert_allclose(np.asarray(states[row]), stream[:1], atol=1e-6)
        assert np.asarray(after[row]).base is None
    assert not cold.any()


def test_an_engine_that_keeps_states_gets_them_unchanged():
    """They are neither fetched nor stacked."""

    class StateKeepingEngine(FakeEngine):
        def advance(self, vectors, lengths, states):
            return vectors[-1], ["kept", *states]

    _, after = advance(StateKeepingEngine(), unit_vectors(1)[:, None], np.ones(1, np.int32), ["a"])
    assert ["kept", "a"] == after


def test_a_result_of_another_shape_is_an_engine_fault():
    class NarrowEngine(FakeEngine):
        def run(self, vectors, lengths, state):
            return super().run(vectors, lengths, state)[0][:, 1:], state

    cold = np.zeros((1, DIM), np.float32)
    with pytest.raises(EngineFault, match="the engine returned"):
        advance(NarrowEngine(), unit_vectors(1)[:, None], np.ones(1, np.int32), [cold])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_whose_state_is_not_finite_has_a_nan_as_its_prediction(bad):
    """The rows beside it keep theirs."""

    class LeakingEngine(FakeEngine):
        def run(self, vectors, lengths, state):
            predicted, after = super().run(vectors, lengths, state)
            after[:, 1, 2] = bad
            return predicted, after

    cold = np.zeros((1, DIM), np.float32)
    vectors = unit_vectors(3)[None]
    predicted, _ = advance(LeakingEngine(), vectors, np.ones(3, np.int32), [cold] * 3)
    assert [True, False, True] == np.isfinite(predicted).all(axis=1).tolist()
    np.testing.assert_allclose(predicted[2], FakeEngine().expected(vectors[:, 2]), atol=1e-6)
