"""Retrieval figures: a pool of candidates, ranks in it, Hit@K, intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """Positions whose vectors are both the targets and the candidates.

    A score means nothing without its pool: halving it alone lifts Hit@5.
    """

    targets: NDArray[np.int64]
    kind: str

    @property
    def size(self) -> int:
        return len(self.targets)


def random_pool(total: int, size: int, seed: int, first: int = 1) -> Pool:
    """`size` distinct positions in `first .. total - 1`, ascending."""
    if not 1 <= size <= total - first:
        raise ValueError(
            f"a pool of {size} cannot be drawn from {total} vectors; "
            f"choose from 1 to {max(0, total - first)}"
        )
    rng = np.random.default_rng(seed)
    chosen = first + rng.choice(total - first, size, replace=False)
    return Pool(np.sort(chosen), f"{size} random positions")


def ranks(predicted: Vectors, candidates: Vectors) -> NDArray[np.int64]:
    """The rank (1 is best) of candidate i for prediction i, by cosine.

    Unit vectors `[n, dim]` both. Ties count against the prediction, so that a
    constant answer cannot score, and neither can NaN.
    """
    scores = predicted @ candidates.T
    own = np.diagonal(scores)[:, None]
    ranked: NDArray[np.int64] = (~(scores < own)).sum(axis=1)
    return ranked


def hit_at(ranked: NDArray[np.int64], k: int) -> float:
    """The share of ranks within the first `k`, in 0..1."""
    return float((ranked <= k).mean())


def interval_by_document(
    values: NDArray[np.float64], document: NDArray[np.int32], seed: int = 0, resamples: int = 2000
) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval of the mean, resampling whole documents.

    Positions of one document are alike; resampling them one by one would make
    the interval too narrow (Davison & Hinkley 1997, §2.4 and §3.8).
    """
    names, index = np.unique(document, return_inverse=True)
    sums = np.bincount(index, weights=values)
    counts = np.bincount(index)
    chosen = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
