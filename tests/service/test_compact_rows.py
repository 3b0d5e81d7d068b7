"""Vectors in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from service.compact_rows import compact_into, compact_rows
from tests.support.fakes import unit_vectors


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_one_alone_is_what_it_is_among_others(size):
    """To the bit, and within 1/254 of its largest value."""
    vectors = unit_vectors(20, dim=768) * np.float32(size)
    values, scales = compact_rows(vectors)
    for vector, row, scale in zip(vectors, values, scales, strict=True):
        alone = np.empty(768, np.int8)
        assert scale == compact_into(alone, vector)
        np.testing.assert_array_equal(row, alone)
        np.testing.assert_allclose(vector, row * scale, rtol=0, atol=np.abs(vector).max() / 253)
