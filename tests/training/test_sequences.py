"""Sequences: every vector a target once, and the target is the next vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import sequences


def _stream(total: int) -> sequences.Vectors:
    """Vectors that are their own position."""
    return np.arange(total, dtype=np.float32)[:, None]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), window=st.integers(1, 12), total=st.integers(2, 150))
def test_every_vector_is_a_target_once(data: st.DataObject, window: int, total: int) -> None:
    """Except the first ones and a remainder that is shorter than a row."""
    offset = data.draw(st.integers(0, window - 1))
    if total - offset - 1 < window:
        with pytest.raises(ValueError, match="too few"):
            sequences.sequences(_stream(total), window, offset)
        return
    rows = sequences.sequences(_stream(total), window, offset)[:, :, 0]
    targets = rows[:, 1:].ravel().tolist()
    assert list(range(offset + 1, offset + 1 + len(targets))) == targets
    assert window > total - offset - 1 - len(targets)
    assert (rows[1:, 0] == rows[:-1, -1]).all()


def test_an_epoch_pairs_each_vector_with_the_next() -> None:
    """Time-major, with the rows in random order and none repeated."""
    rng = np.random.default_rng(0)
    batches = list(sequences.epoch_positions(101, window=5, batch=4, rng=rng))
    seen: list[int] = []
    for places in batches:
        assert (6, 4) == places.shape
        np.testing.assert_array_equal(places[:-1] + 1, places[1:])
        seen += places[1:].ravel().tolist()
    assert len(seen) == len(set(seen))
    assert seen != sorted(seen)
    assert len(batches) >= sequences.batches_per_epoch(101, window=5, batch=4)


def test_epochs_begin_at_different_offsets() -> None:
    """No position is always the first of its row."""
    rng = np.random.default_rng(0)
    firsts = {
        int(places[0, 0]) % 5
        for _ in range(20)
        for places in sequences.epoch_positions(101, window=5, batch=1, rng=rng)
    }
    assert {0, 1, 2, 3, 4} == firsts
