"""Validation of the vectors that callers send."""

from __future__ import annotations

import numpy as np

from service.errors import Invalid
from service.types import Vectors

LARGEST_VALUE = 1e6
"""Largest absolute value of a component. Sums of squares of such values are far within float32,
so that no layer of a graph can overflow because of an input: an overflow is the graph's fault."""

SMALLEST_LENGTH = 1e-3
"""Smallest Euclidean length of a vector. Unit vectors in float16 that are read as float32 have
lengths below it."""

_SMALLEST_SQUARE = SMALLEST_LENGTH**2
_LARGEST_SQUARE = LARGEST_VALUE**2


def validate_vectors(vectors: Vectors, dim: int, max_rows: int) -> None:
    """Raise `Invalid` unless these are `[n, dim]`, 1 ≤ n ≤ `max_rows`, within the bounds above."""
    validate_shape(vectors, dim, max_rows)
    validate_values(vectors)


def validate_shape(vectors: Vectors, dim: int, max_rows: int) -> None:
    """Raise `Invalid` unless these are `[n, dim]`, 1 ≤ n ≤ `max_rows`."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise Invalid(f"vectors have shape {list(vectors.shape)}, not [n, {dim}]")
    if len(vectors) == 0:
        raise Invalid("there are no vectors")
    if len(vectors) > max_rows:
        raise Invalid(f"{len(vectors)} vectors are more than the {max_rows} allowed")


def validate_values(vectors: Vectors, first: int = 0) -> None:
    """Raise `Invalid` unless these vectors are within the bounds above.

    They are a part of a context; the message counts from `first`, the number of the first one.
    """
    # A vector of length L has no component above L, and a NaN fails every comparison: one
    # pass over the values suffices for all vectors of a usual length.
    if len(vectors) == 1:
        if _SMALLEST_SQUARE <= np.vdot(vectors, vectors) <= _LARGEST_SQUARE:
            return
    else:
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if ((squares >= _SMALLEST_SQUARE) & (squares <= _LARGEST_SQUARE)).all():
            return
    _find_fault(vectors, first)


def _find_fault(vectors: Vectors, first: int) -> None:
    """Raise `Invalid` for the first vector that is out of bounds."""
    for number, vector in enumerate(vectors.astype(np.float64), first):
        if not np.isfinite(vector).all():
            raise Invalid(f"vector {number} has a NaN or an Inf")
        largest = float(np.abs(vector).max())
        if largest > LARGEST_VALUE:
            raise Invalid(
                f"vector {number} has a value of magnitude {largest:.3g}; "
                f"the largest allowed absolute value is {LARGEST_VALUE:g}"
            )
        if largest == 0:
            raise Invalid(f"vector {number} is all zeros")
        length = float(np.linalg.norm(vector))
        if length < SMALLEST_LENGTH:
            raise Invalid(
                f"vector {number} has length {length:.3g}; the smallest allowed is "
                f"{SMALLEST_LENGTH:g}. Send float32: float16 that is read as float32 looks "
                "like this"
            )
