"""Cuts a stream into sequences of a window and its targets, in random order for an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def sequences(vectors: Vectors, window: int, offset: int) -> Vectors:
    """Cut `vectors` `[n, dim]` into `[rows, window + 1, dim]`.

    The first `window` vectors of a row are inputs, the last `window` are targets. Neighbouring
    rows share one vector, so each vector is a target once.
    """
    rows: Vectors = vectors[sequence_positions(len(vectors), window, offset)]
    return rows


def sequence_positions(
    total: int, window: int, offset: int, stride: int | None = None
) -> NDArray[np.int64]:
    """The positions of each sequence's vectors in the stream: `[rows, window + 1]`.

    A row starts every `stride` vectors, by default every `window`. Raises `ValueError` if
    `total` vectors are too few for a row.
    """
    stride = stride or window
    rows = (total - offset - 1 - window) // stride + 1
    if rows < 1:
        raise ValueError(f"{total} vectors are too few for a window of {window}")
    starts = offset + stride * np.arange(rows)
    return starts[:, None] + np.arange(window + 1)


def epoch_positions(
    total: int, window: int, batch: int, rng: np.random.Generator, stride: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """One pass over a stream in random order: positions `[window + 1, batch]`, time-major.

    Rows start at a random offset, so that no position is always the first of its row. Rows that
    do not fill a batch are left out.
    """
    rows = sequence_positions(total, window, int(rng.integers(stride or window)), stride)
    order = rng.permutation(len(rows))
    for start in range(0, len(rows) - batch + 1, batch):
        yield np.ascontiguousarray(rows[order[start : start + batch]].T)


def batches_per_epoch(total: int, window: int, batch: int, stride: int | None = None) -> int:
    """The smallest number of batches that `epoch_positions` yields at any offset."""
    stride = stride or window
    return max(1, ((total - window - stride) // stride + 1) // batch)
