"""Validation of the vectors that callers send."""

from __future__ import annotations

import numpy as np

from service.errors import Invalid
from service.types import Vectors


def validate_vectors(vectors: Vectors, dim: int, max_rows: int) -> None:
    """Raise `Invalid` unless these are `[n, dim]`, 1 ≤ n ≤ `max_rows`, finite and not zero."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise Invalid(f"vectors have shape {list(vectors.shape)}, not [n, {dim}]")
    if len(vectors) == 0:
        raise Invalid("there are no vectors")
    if len(vectors) > max_rows:
        raise Invalid(f"{len(vectors)} vectors are more than the {max_rows} allowed")
    # A NaN or Inf in a row makes its sum of squares NaN or Inf: one pass finds both.
    if len(vectors) == 1 and 0.0 < np.vdot(vectors, vectors) < np.inf:
        return
    norms = np.einsum("ij,ij->i", vectors, vectors)
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise Invalid(
            f"vector {row} has a NaN, an Inf, or values whose squares exceed the float32 range"
        )
    if not norms.all():
        raise Invalid(f"vector {int(np.flatnonzero(norms == 0)[0])} is all zeros")
