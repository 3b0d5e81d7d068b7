"""The history keeps the last vectors in order, exactly or in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.compact_rows import CompactRow, compact_rows
from service.contexts.history import History, decode_rows, encode_rows
from tests.support.fakes import unit_vectors

WIDTH = 16


@pytest.mark.parametrize("compact", [False, True])
@given(st.lists(st.integers(1, 12), max_size=30), st.integers(1, 9))
def test_it_keeps_the_last_vectors_in_order(compact, sizes, capacity):
    """For any pieces; in 8 bits each value is within 1/254 of the largest."""
    history = History(capacity, WIDTH, compact=compact)
    everything = unit_vectors(sum(sizes), dim=WIDTH)
    position = 0
    for size in sizes:
        history.append(everything[position : position + size])
        position += size
        expected = everything[:position][-capacity:]
        got = history.last(capacity)
        assert np.float32 == got.dtype
        tolerance = np.abs(expected).max() / 253 if compact else 0
        np.testing.assert_allclose(expected, got, atol=tolerance, rtol=0)
        assert len(expected) == len(history)
    assert history.nbytes <= max(1.5 * capacity, 1) * (WIDTH + 4 if compact else WIDTH * 4)


@pytest.mark.parametrize("compact", [False, True])
def test_a_cleared_history_is_empty(compact):
    history = History(4, WIDTH, compact=compact)
    history.append(unit_vectors(9, dim=WIDTH))
    history.clear()
    assert (0, 0) == (len(history), len(history.last(4)))
    history.append(unit_vectors(2, dim=WIDTH))
    assert len(history.last(4)) == 2


def test_a_full_compact_history_of_width_768_takes_under_800_kb():
    """A thousand vectors, with the spare rows."""
    history = History(1000, 768, compact=True)
    for _ in range(3):
        history.append(unit_vectors(700, dim=768))
    assert history.nbytes < 0.8e6


def test_vectors_one_by_one_are_kept_as_vectors_together_are():
    """In 8 bits as well, where one vector takes a shorter way."""
    vectors = unit_vectors(20, dim=64)
    together, one_by_one = (History(32, 64, compact=True) for _ in range(2))
    together.append(vectors)
    for vector in vectors:
        one_by_one.append(vector[None])
    np.testing.assert_array_equal(together.last(20), one_by_one.last(20))


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_rows_for_a_store_are_those_of_the_history(compact, count):
    """Encoded before or after they are kept, and read back as the history has them."""
    vectors = unit_vectors(count, dim=WIDTH)
    history = History(16, WIDTH, compact=compact)
    history.append(unit_vectors(3, seed=5, dim=WIDTH))
    history.append(vectors)
    rows = encode_rows(vectors, compact=compact)
    assert history.encoded(count) == rows
    assert {len(row) for row in rows} == {4 + WIDTH if compact else 4 * WIDTH}
    np.testing.assert_array_equal(history.last(count), decode_rows(rows, WIDTH))


def test_rows_of_both_forms_are_read_together():
    """The setting may have changed in between."""
    vectors = unit_vectors(4, dim=WIDTH)
    rows = encode_rows(vectors[:2], compact=True) + encode_rows(vectors[2:], compact=False)
    found = decode_rows(rows, WIDTH)
    np.testing.assert_allclose(vectors, found, atol=0.01)
    np.testing.assert_array_equal(vectors[2:], found[2:])
    assert decode_rows([], WIDTH).shape == (0, WIDTH)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="bytes, not"):
        decode_rows(encode_rows(unit_vectors(2, dim=WIDTH + 1), compact=True), WIDTH)


def test_a_row_that_is_in_8_bits_already_is_kept_as_its_vector_would_be():
    """Also over the capacity."""
    vectors = unit_vectors(40, dim=64)
    given, made = (History(16, 64, compact=True) for _ in range(2))
    values, scales = compact_rows(vectors)
    for vector, row, scale in zip(vectors, values, scales, strict=True):
        made.append(vector[None])
        given.append_row(CompactRow(row, scale))
        np.testing.assert_array_equal(made.last(16), given.last(16))
        assert len(made) == len(given)
