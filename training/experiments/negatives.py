"""Hard negatives: training vectors that are similar to a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora.retrieval_metrics import Vectors

CHUNK = 1000
"""Targets compared at once: their cosines with 80,000 vectors are 0.3 GB."""


@dataclass(frozen=True)
class HardNegatives:
    """`rows` `[targets, k]` are positions in `bank` `[m, dim]`, or -1 for none."""

    bank: Vectors
    rows: NDArray[np.int64]

    def __call__(self, targets: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.bool_]]:
        """The negatives of each target `[n, k, dim]`, and a mask `[n, k]` of those that exist."""
        chosen = self.rows[targets]
        return self.bank[np.maximum(chosen, 0)], chosen >= 0

    @property
    def share(self) -> float:
        """The share of targets with a hard negative."""
        return float((self.rows[:, 0] >= 0).mean())


def mine(targets: Vectors, bank: Vectors, low: float, high: float, most: int) -> HardNegatives:
    """For each target, the nearest `most` vectors of `bank` with a cosine in `low .. high`.

    Vectors above `high` mean the same as the target; as negatives they would push the model away
    from it.
    """
    rows = np.full((len(targets), most), -1, np.int64)
    for first in range(0, len(targets), CHUNK):
        cosine = targets[first : first + CHUNK] @ bank.T
        # Few pairs are in the range, so only those are sorted.
        target, other = np.nonzero((cosine >= low) & (cosine <= high))
        order = np.lexsort((-cosine[target, other], target))
        target, other = target[order], other[order]
        rank = np.arange(len(target)) - np.searchsorted(target, target)
        kept = rank < most
        rows[first + target[kept], rank[kept]] = other[kept]
    return HardNegatives(bank, rows)
