"""Retrieval metrics: the rank of each target among candidates, and Hit@K."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def ranks(predicted: Vectors, candidates: Vectors) -> NDArray[np.int64]:
    """The rank by cosine (1 is best) of candidate i for prediction i.

    Both are unit vectors `[n, dim]`. Ties count against the prediction, so that a constant
    prediction or a NaN gets the worst rank.
    """
    scores = predicted @ candidates.T
    own = np.diagonal(scores)[:, None]
    ranked: NDArray[np.int64] = (~(scores < own)).sum(axis=1)
    return ranked


def ranks_among(
    predicted: Vectors,
    stream: Vectors,
    targets: NDArray[np.int64],
    candidates: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The rank of each target among `candidates`; both are positions in `stream` `[n, dim]`.

    Like `ranks`, for pools other than the targets. A target that is not a candidate replaces the
    last one, so that all pools have the same size. Scores within 1e-6 are ties.
    """
    own = (predicted * stream[targets]).sum(axis=1, keepdims=True)
    at_least = ~(predicted @ stream[candidates].T < own - 1e-6)
    itself = candidates == targets[:, None]
    at_least &= ~itself
    at_least[~itself.any(axis=1), -1] = False
    ranked: NDArray[np.int64] = 1 + at_least.sum(axis=1)
    return ranked


def hit_at(ranked: NDArray[np.int64], k: int) -> float:
    """The share of ranks within the first `k`, in 0..1."""
    return float((ranked <= k).mean())
