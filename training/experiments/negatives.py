"""Hard negatives: training vectors that are near a target and are not it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora.retrieval_metrics import Vectors

CHUNK = 1000
"""Targets compared at once: their cosines with 80,000 vectors are 0.3 GB."""


@dataclass(frozen=True)
class HardNegatives:
    """`rows` `[targets, k]` are places in `bank` `[m, dim]`; -1 where a target has no more."""

    bank: Vectors
    rows: NDArray[np.int64]

    def __call__(self, targets: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.bool_]]:
        """Of each target, its negatives `[n, k, dim]` and which of them there are `[n, k]`."""
        chosen = self.rows[targets]
        return self.bank[np.maximum(chosen, 0)], chosen >= 0

    @property
    def share(self) -> float:
        """Of the targets, those that have any."""
        return float((self.rows[:, 0] >= 0).mean())


def mine(targets: Vectors, bank: Vectors, low: float, high: float, most: int) -> HardNegatives:
    """For each target, the nearest `most` of `bank` at a cosine in `low .. high` with it.

    Nearer ones than `high` are left out: they say the same, and to call them wrong
    would teach the model that its target is.
    """
    rows = np.full((len(targets), most), -1, np.int64)
    for first in range(0, len(targets), CHUNK):
        cosine = targets[first : first + CHUNK] @ bank.T
        # Few pairs are this near, so that only those are sorted.
        target, other = np.nonzero((cosine >= low) & (cosine <= high))
        order = np.lexsort((-cosine[target, other], target))
        target, other = target[order], other[order]
        place = np.arange(len(target)) - np.searchsorted(target, target)
        kept = place < most
        rows[first + target[kept], place[kept]] = other[kept]
    return HardNegatives(bank, rows)
