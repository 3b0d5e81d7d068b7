"""The pool of distractors that a prediction's true vector is ranked among."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.types import Vectors

DISTRACTORS = 99
"""Vectors of other sessions that the true one is ranked among, 100 in all: the usual size
where the whole catalogue cannot be ranked (He et al. 2017, *Neural collaborative
filtering*). A random prediction then has a Hit@5 of 5 %."""

ROUNDING = 1e-6
"""Difference between two float32 sums of the same products in another order."""

POOL_SIZE = 256
"""Vectors kept. `DISTRACTORS` of them must come from other sessions; a session that sends
more than six in ten of all vectors is therefore not ranked."""

RANK_BATCH = 64
"""Predictions ranked at a time: 9 µs each, where four at a time take 18. `service.blas_threads`
keeps numpy's OpenBLAS from waking its threads, which would take cores from the engines."""


class DistractorPool:
    """A ring of the last unit vectors `[POOL_SIZE, dim]` of all sessions, with their owners.

    Not thread-safe.
    """

    def __init__(self, dim: int) -> None:
        self._rows = np.zeros((POOL_SIZE, dim), np.float32)
        self._owners = np.zeros(POOL_SIZE, np.int64)
        self._count = 0

    def ranks(
        self, predictions: Vectors, truths: Vectors, owners: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The cosine of each prediction with its truth, and the truth's rank from 1.

        `predictions` and `truths` are unit vectors `[n, dim]`; `owners` `[n]` are their
        owners. A rank is 0 if the pool has fewer than `DISTRACTORS` vectors of other owners.
        A distractor at the same distance does not count against the truth: it may be the
        same vector.
        """
        cosines: NDArray[np.float32] = np.einsum("nd,nd->n", predictions, truths)
        ranks = np.zeros(len(predictions), np.int64)
        if self._count < DISTRACTORS:
            return cosines, ranks
        newest_first = (self._count - 1 - np.arange(min(self._count, POOL_SIZE))) % POOL_SIZE
        for start in range(0, len(predictions), RANK_BATCH):
            part = slice(start, start + RANK_BATCH)
            other = self._owners[newest_first] != owners[part, None]
            found = other.cumsum(axis=1)
            # With many sessions, little more than the newest 99 vectors are needed.
            enough = int(np.argmax(found.min(axis=0) >= DISTRACTORS)) + 1
            used = newest_first[: enough if found[:, -1].min() >= DISTRACTORS else None]
            among = (other & (found <= DISTRACTORS))[:, : len(used)]
            similarity = predictions[part] @ self._rows[used].T
            nearer = (similarity > cosines[part, None] + ROUNDING) & among
            ranks[part] = np.where(found[:, -1] >= DISTRACTORS, 1 + nearer.sum(axis=1), 0)
        return cosines, ranks

    def add(self, vectors: Vectors, owners: NDArray[np.int64]) -> None:
        """Add unit vectors `[n, dim]`; they replace the oldest ones."""
        vectors, owners = vectors[-POOL_SIZE:], owners[-POOL_SIZE:]
        at: NDArray[Any] = (self._count + np.arange(len(vectors))) % POOL_SIZE
        self._rows[at], self._owners[at] = vectors, owners
        self._count += len(vectors)
