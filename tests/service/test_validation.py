"""Bounds of the vectors that callers send."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import Invalid
from service.validation import LARGEST_VALUE, SMALLEST_LENGTH, validate_vectors
from tests.support.fakes import unit_vectors

DIM = 768


def with_value(value, rows=1, row=0):
    vectors = unit_vectors(rows, dim=DIM)
    vectors[row, 5] = value
    return vectors


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "vector {} has a NaN or an Inf"),
        (-np.inf, "vector {} has a NaN or an Inf"),
        (1.84e19, "largest allowed absolute value is 1e\\+06"),
        (-LARGEST_VALUE * 1.01, "largest allowed absolute value"),
        (3e38, "largest allowed absolute value"),
    ],
)
def test_a_value_out_of_bounds_is_named(rows, value, said):
    """The message names the vector and the bound."""
    with pytest.raises(Invalid, match=said.format(rows - 1)):
        validate_vectors(with_value(value, rows, rows - 1), DIM, 10)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-25, SMALLEST_LENGTH * 0.9])
def test_a_vector_that_is_too_short_is_refused(rows, scale):
    vectors = unit_vectors(rows, dim=DIM)
    vectors[-1] *= np.float32(scale)
    with pytest.raises(Invalid, match=f"vector {rows - 1} (is all zeros|has length)"):
        validate_vectors(vectors, DIM, 10)


@pytest.mark.parametrize("scale", [SMALLEST_LENGTH * 1.01, 1.0, 50.0, LARGEST_VALUE / 2])
def test_other_lengths_are_taken(scale):
    """The model sees the direction; the length is the caller's."""
    validate_vectors(unit_vectors(3, dim=DIM) * np.float32(scale), DIM, 10)
    validate_vectors(np.full((1, DIM), LARGEST_VALUE, np.float32), DIM, 10)


def test_float16_rows_that_are_read_as_float32_are_refused():
    """An even number of float16 rows has the size of half as many float32 rows."""
    half = unit_vectors(2000, dim=DIM).astype("<f2")
    for pair in half.reshape(-1, 2 * DIM):
        with pytest.raises(Invalid, match="float16"):
            validate_vectors(pair.view("<f4")[None], DIM, 10)
