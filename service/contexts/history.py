"""The last vectors of a session, in float32 or in 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.types import Vectors

_LEVELS = 127


class History:
    """The last `capacity` vectors of a stream, contiguous and in order.

    `compact` stores a vector as 8-bit integers and one float32 scale: a quarter of the
    memory (772 bytes at 768), with an error of at most 1/254 of the vector's largest value.
    Otherwise the vectors come back unchanged.
    """

    def __init__(self, capacity: int, dim: int, *, compact: bool = False) -> None:
        self._capacity = capacity
        self._rows: NDArray[Any] = np.empty((0, dim), np.int8 if compact else np.float32)
        self._scales = np.empty(0, np.float32) if compact else None
        # Spare rows over the capacity: fewer if compact, because small rows are cheap to move.
        self._max_rows = capacity + capacity // (64 if compact else 8)
        self._end = 0

    def append(self, vectors: Vectors) -> None:
        """Add vectors `[n, dim]`; the oldest ones over the capacity are dropped."""
        vectors = vectors[-self._capacity :]
        if self._end + len(vectors) > len(self._rows):
            self._make_room(len(vectors))
        new = slice(self._end, self._end + len(vectors))
        if self._scales is None:
            self._rows[new] = vectors
        else:
            self._rows[new], self._scales[new] = _quantise(vectors)
        self._end += len(vectors)

    def clear(self) -> None:
        """Drop all vectors."""
        self._rows, self._end = self._rows[:0].copy(), 0
        if self._scales is not None:
            self._scales = self._scales[:0].copy()

    def last(self, count: int) -> Vectors:
        """The newest vectors `[≤ count, dim]`, float32, perhaps as a view."""
        kept = slice(max(0, self._end - count), self._end)
        rows: Vectors = self._rows[kept]
        return rows if self._scales is None else rows * self._scales[kept, None]

    def __len__(self) -> int:
        return min(self._end, self._capacity)

    @property
    def nbytes(self) -> int:
        return self._rows.nbytes + (0 if self._scales is None else self._scales.nbytes)

    def _make_room(self, count: int) -> None:
        kept = slice(max(0, self._end - (self._capacity - count)), self._end)
        held = kept.stop - kept.start
        # Grow by half; once full, keep a few spare rows over the capacity.
        size = min((held + count) * 3 // 2, self._max_rows)
        size = max(size, held + count)
        rows = np.empty((size, self._rows.shape[1]), self._rows.dtype)
        rows[:held] = self._rows[kept]
        if self._scales is not None:
            scales = np.empty(size, np.float32)
            scales[:held] = self._scales[kept]
            self._scales = scales
        self._rows, self._end = rows, held


def _quantise(vectors: Vectors) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    scales = np.abs(vectors).max(axis=1) / np.float32(_LEVELS)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales
