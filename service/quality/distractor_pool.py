"""What a prediction is ranked among: the last vectors of other sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.types import Vectors

OTHERS = 99
"""Vectors of other sessions that the true one is ranked among, so 100 in all; the
usual size where all of a catalogue cannot be ranked (He et al. 2017, *Neural
collaborative filtering*). Chance then hits 5 in 100 at Hit@5."""

ROUNDING = 1e-6
"""Between two sums of the same products, in float32 and another order."""

KEPT = 256
"""Vectors kept; `OTHERS` of them must not be the session's own. A session that sends
more than six in ten of all vectors is therefore not ranked."""

ROWS = 4
"""Predictions at a time: a product small enough (under 2^20 multiplications at 768) for
numpy's OpenBLAS not to wake its threads, which would take the cores from the engines."""


class DistractorPool:
    """A ring of the last vectors `[KEPT, dim]` of all sessions, unit length, with their owners.

    Of one thread.
    """

    def __init__(self, dim: int) -> None:
        self._rows = np.zeros((KEPT, dim), np.float32)
        self._owners = np.zeros(KEPT, np.int64)
        self._count = 0

    def ranks(
        self, predictions: Vectors, truths: Vectors, owners: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Cosine with the truth, and the truth's rank from 1, of each of `[n, dim]`.

        All of unit length; `owners` `[n]` says whose each is. The rank is 0 where
        fewer than `OTHERS` vectors of other owners are kept. Another vector that is
        just as near does not count against the true one: it may be the same.
        """
        cosines: NDArray[np.float32] = np.einsum("nd,nd->n", predictions, truths)
        ranks = np.zeros(len(predictions), np.int64)
        if self._count < OTHERS:
            return cosines, ranks
        newest_first = (self._count - 1 - np.arange(min(self._count, KEPT))) % KEPT
        for start in range(0, len(predictions), ROWS):
            part = slice(start, start + ROWS)
            nearness = predictions[part] @ self._rows.T
            other = self._owners[newest_first] != owners[part, None]
            among = other & (other.cumsum(axis=1) <= OTHERS)
            nearer = (nearness[:, newest_first] > cosines[part, None] + ROUNDING) & among
            ranks[part] = np.where(among.sum(axis=1) == OTHERS, 1 + nearer.sum(axis=1), 0)
        return cosines, ranks

    def add(self, vectors: Vectors, owners: NDArray[np.int64]) -> None:
        """Put in `[n, dim]` of unit length; the oldest go."""
        vectors, owners = vectors[-KEPT:], owners[-KEPT:]
        at: NDArray[Any] = (self._count + np.arange(len(vectors))) % KEPT
        self._rows[at], self._owners[at] = vectors, owners
        self._count += len(vectors)
