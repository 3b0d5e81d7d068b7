"""Retrieval metrics: the rank of each target among candidates, and Hit@K."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def ranks(predicted: Vectors, candidates: Vectors) -> NDArray[np.int64]:
    """The rank (1 is best) of candidate i for prediction i, by cosine.

    Unit vectors `[n, dim]` both. Ties count against the prediction, so that a
    constant answer cannot score, and neither can NaN.
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
    """The rank of each target's vector among the candidates'; both are places in `stream`.

    As `ranks`, for pools that are not the targets themselves. A target that is no
    candidate takes the last one's place, so that every pool has the same size.
    Scores within 1e-6 tie.
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
