"""Bootstrap intervals that resample whole documents.

Positions of one document are correlated. Resampling single positions would make the
interval too narrow (Davison & Hinkley 1997, §2.4 and §3.8).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.evaluation_report import Estimate

RESAMPLES = 10_000
INTERVAL = "95 % percentile bootstrap, 10,000 resamples of whole documents"

Floats = NDArray[np.float64]


class DocumentBootstrap:
    """Estimates from one fixed set of resamples.

    Everything measured at the same positions uses the same resampled documents, so the
    interval of a difference is a paired one.
    """

    def __init__(
        self, document: NDArray[np.int32], seed: int = 0, resamples: int = RESAMPLES
    ) -> None:
        """`document` `[n]` is the document of each position."""
        names, self._index = np.unique(document, return_inverse=True)
        self._documents = len(names)
        probabilities = np.full(self._documents, 1 / self._documents)
        counts = np.random.default_rng(seed).multinomial(self._documents, probabilities, resamples)
        # How often each resample contains each document: `[resamples, documents]`.
        self._counts = counts.astype(np.float64)
        self._positions = self._counts @ np.bincount(self._index)

    def estimates(self, values: Floats) -> list[Estimate]:
        """The mean over all positions of each column of `values` `[n, columns]`."""
        sums = np.stack(
            [
                np.bincount(self._index, column, minlength=self._documents)
                for column in np.asarray(values, np.float64).T
            ],
            axis=1,
        )
        means = self._counts @ sums / self._positions[:, None]
        low, high = np.percentile(means, [2.5, 97.5], axis=0)
        value = values.mean(axis=0)
        return [Estimate(*map(float, row)) for row in zip(value, low, high, strict=True)]

    def estimate(self, values: Floats) -> Estimate:
        """The mean of one column `[n]`."""
        return self.estimates(values[:, None])[0]
