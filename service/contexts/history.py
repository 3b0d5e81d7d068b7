"""The last vectors of a session, in float32 or in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.compact_rows import CompactRow, compact_into, compact_rows
from service.types import Vectors


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
        elif len(vectors) == 1:
            self._scales[self._end] = compact_into(self._rows[self._end], vectors[0])
        else:
            self._rows[new], self._scales[new] = compact_rows(vectors)
        self._end += len(vectors)

    def append_row(self, row: CompactRow) -> None:
        """Add one vector that is in 8 bits already; for a compact history."""
        assert self._scales is not None
        if self._end == len(self._rows):
            self._make_room(1)
            assert self._scales is not None
        self._rows[self._end], self._scales[self._end] = row
        self._end += 1

    @property
    def is_compact(self) -> bool:
        """Whether vectors are kept in 8 bits."""
        return self._scales is not None

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

    def encoded(self, count: int) -> list[bytes]:
        """The newest vectors, at most `count`, each in the form of `encode_rows`."""
        kept = slice(max(0, self._end - count), self._end)
        if self._scales is None:
            return [row.tobytes() for row in self._rows[kept]]
        return _join(self._rows[kept], self._scales[kept])

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


def encode_rows(vectors: Vectors, *, compact: bool) -> list[bytes]:
    """Vectors `[n, dim]` for a store: little-endian float32, or a float32 scale and 8-bit integers.

    The number of bytes tells which: 4·dim, or 4 + dim.
    """
    if not compact:
        return [row.astype("<f4", copy=False).tobytes() for row in vectors]
    if len(vectors) == 1:
        row = np.empty(4 + vectors.shape[1], np.uint8)
        row[:4].view("<f4")[0] = compact_into(row[4:].view(np.int8), vectors[0])
        return [row.tobytes()]
    return _join(*compact_rows(vectors))


def decode_rows(rows: Sequence[bytes], dim: int) -> Vectors:
    """Vectors `[n, dim]` from rows of `encode_rows`. Raises `ValueError` for another length."""
    if not rows:
        return np.empty((0, dim), np.float32)
    size = len(rows[0])
    if size not in {4 * dim, 4 + dim}:
        raise ValueError(f"a stored vector has {size} bytes, not {4 * dim} or {4 + dim}")
    if any(len(row) != size for row in rows):  # written under two settings of compact_history
        return np.concatenate([decode_rows([row], dim) for row in rows])
    joined = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), size)
    if size == 4 * dim:
        return joined.view("<f4").astype(np.float32)
    scales = joined[:, :4].copy().view("<f4").astype(np.float32)
    return joined[:, 4:].view(np.int8) * scales


def _join(rows: NDArray[np.int8], scales: NDArray[np.float32]) -> list[bytes]:
    if len(rows) == 1:
        return [scales.astype("<f4").tobytes() + rows[0].tobytes()]
    joined = np.empty((len(rows), 4 + rows.shape[1]), np.uint8)
    joined[:, :4] = scales.astype("<f4")[:, None].view(np.uint8)
    joined[:, 4:] = rows.view(np.uint8)
    return [row.tobytes() for row in joined]
