"""States in a pool give the same predictions as states in arrays."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import EngineFault
from service.inference.engines.state_pool import MIN_SLOTS, PADDING, StatePool
from tests.support.array_device import ArrayDevice
from tests.support.fakes import DIM, FakeEngine, fault, unit_vectors

COLD = np.zeros((1, DIM), np.float32)


def step(pool, states, rows):
    """One vector of each row's stream."""
    return pool.advance(np.stack(rows)[None], states)


def test_a_state_is_copied_to_the_pool_once_and_then_continued():
    """After the first step only the vectors are copied."""
    device = ArrayDevice(MIN_SLOTS)
    pool, state = StatePool(device), COLD
    stream = unit_vectors(5)
    for row in stream:
        predicted, (state,) = step(pool, [state], [row])
    np.testing.assert_allclose(FakeEngine().expected(stream), predicted[0], atol=1e-5)
    assert ["write"] == [kind for kind, _ in device.moves]
    assert COLD.nbytes == state.nbytes
    assert not COLD.any()


def test_a_step_does_not_change_its_state():
    """A step whose caller has disconnected costs the session nothing."""
    pool = StatePool(ArrayDevice(MIN_SLOTS))
    rows = unit_vectors(3)
    _, (first,) = step(pool, [COLD], [rows[0]])
    before = np.asarray(first)
    answers = [step(pool, [first], [rows[1]])[0] for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    np.testing.assert_array_equal(before, np.asarray(first))


@pytest.mark.slow
def test_a_slot_is_free_again_when_nobody_holds_its_state():
    """On whichever thread the state is dropped."""
    pool = StatePool(ArrayDevice(MIN_SLOTS))
    _, states = step(pool, [COLD] * 3, unit_vectors(3))
    states = list(states)
    assert 3 == pool.held
    states.pop()
    thread = threading.Thread(target=states.pop)
    thread.start()
    thread.join()
    gc.collect()
    assert 1 == pool.held


def test_the_oldest_states_move_to_the_host_and_come_back():
    """In batches; no state in use is moved, and none is lost."""
    device = ArrayDevice(MIN_SLOTS)
    pool = StatePool(device)
    streams = np.stack([unit_vectors(3, seed) for seed in range(MIN_SLOTS + 50)])
    states = [COLD] * len(streams)
    for number in range(3):
        for row, stream in enumerate(streams):
            predicted, (states[row],) = step(pool, [states[row]], [stream[number]])
            if number == 2:
                expected = FakeEngine().expected(stream)
                np.testing.assert_allclose(expected, predicted[0], atol=1e-5)
    assert any(kind == "read" and len(slots) > 8 for kind, slots in device.moves)
    assert pool.held < MIN_SLOTS


def test_a_failed_step_keeps_states_and_slots():
    """Its target slots are free for the next step."""
    device = ArrayDevice(MIN_SLOTS)
    pool = StatePool(device)
    rows = unit_vectors(2)
    _, (state,) = step(pool, [COLD], [rows[0]])
    for _ in range(3 * MIN_SLOTS):
        device.faults = [fault()]
        with pytest.raises(EngineFault):
            step(pool, [state], [rows[1]])
    assert 1 == pool.held
    predicted, _ = step(pool, [state], [rows[1]])
    np.testing.assert_allclose(FakeEngine().expected(rows), predicted[0], atol=1e-5)


def test_a_state_of_another_pool_is_copied():
    """A version that was unloaded and loaded again has another pool."""
    pools = [StatePool(ArrayDevice(MIN_SLOTS)) for _ in range(2)]
    rows = unit_vectors(2)
    _, (state,) = step(pools[0], [COLD], [rows[0]])
    predicted, _ = step(pools[1], [state], [rows[1]])
    np.testing.assert_allclose(FakeEngine().expected(rows), predicted[0], atol=1e-5)


def test_a_batch_over_the_largest_size_runs_in_pieces():
    pool = StatePool(ArrayDevice(2 * MIN_SLOTS))
    rows = unit_vectors(70)
    predicted, states = step(pool, [COLD] * 70, rows)
    np.testing.assert_allclose(rows, predicted, atol=1e-5)
    assert (70, 70) == (len(states), pool.held)


def test_a_pool_that_cannot_hold_a_full_batch_is_refused():
    with pytest.raises(ValueError, match="needs at least 128 slots"):
        StatePool(ArrayDevice(MIN_SLOTS - 1))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(0, 199), min_size=1, max_size=40, unique=True), min_size=1, max_size=30
    ),
    st.sets(st.integers(0, 199)),
)
def test_sessions_do_not_affect_each_other(batches, leavers):
    """With more sessions than slots, in any order; no session gets the padding slot."""
    device = ArrayDevice(MIN_SLOTS)
    pool, engine = StatePool(device), FakeEngine()
    states, plain = {}, {}
    for number, batch in enumerate(batches):
        if number == len(batches) // 2:
            for name in leavers:
                states.pop(name, None), plain.pop(name, None)
        rows = unit_vectors(len(batch), seed=number)
        given = [states.get(name, COLD) for name in batch]
        predicted, after = step(pool, given, rows)
        stacked = np.stack([plain.get(name, COLD) for name in batch], axis=1)
        expected, kept = engine.run(rows[None], np.ones(len(batch), np.int32), stacked)
        np.testing.assert_array_equal(expected, predicted)
        states.update(zip(batch, after, strict=True))
        plain.update(zip(batch, kept.transpose(1, 0, 2), strict=True))
        del given, after
    for name, state in states.items():
        np.testing.assert_array_equal(plain[name], np.asarray(state))
    assert pool.held <= len(states)
    assert PADDING not in pool._owners
