"""Bootstrap intervals that resample whole documents.

Positions of one document are alike; resampling them one by one would make an
interval too narrow (Davison & Hinkley 1997, §2.4 and §3.8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
INTERVAL = "95 % percentile bootstrap, 10,000 resamples of whole documents"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


class DocumentBootstrap:
    """The same resamples of documents for everything measured at the same positions.

    So a difference's interval is paired: both sides of it meet the same documents.
    """

    def __init__(
        self, document: NDArray[np.int32], seed: int = 0, resamples: int = RESAMPLES
    ) -> None:
        """`document` `[n]` says which document each position is of."""
        names, self._index = np.unique(document, return_inverse=True)
        self._documents = len(names)
        chance = np.full(self._documents, 1 / self._documents)
        times = np.random.default_rng(seed).multinomial(self._documents, chance, resamples)
        # How often each resample has each document, `[resamples, documents]`.
        self._times = times.astype(np.float64)
        self._positions = self._times @ np.bincount(self._index)

    def figures(self, values: Floats) -> list[Figure]:
        """Of each column of `values` `[n, columns]`, the mean over all positions."""
        sums = np.stack(
            [
                np.bincount(self._index, column, minlength=self._documents)
                for column in np.asarray(values, np.float64).T
            ],
            axis=1,
        )
        means = self._times @ sums / self._positions[:, None]
        low, high = np.percentile(means, [2.5, 97.5], axis=0)
        value = values.mean(axis=0)
        return [Figure(*map(float, row)) for row in zip(value, low, high, strict=True)]

    def figure(self, values: Floats) -> Figure:
        """As `figures`, of one column `[n]`."""
        return self.figures(values[:, None])[0]
