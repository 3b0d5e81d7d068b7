"""Batches of consecutive vectors with the next vector as the target at each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def sequences(vectors: Vectors, window: int, offset: int) -> Vectors:
    """Cut a stream into rows of `window` vectors and one more, the last target.

    `vectors` `[n, dim]` → `[rows, window + 1, dim]`; rows overlap by the one vector
    that is a target in one and an input in the next, so that each vector is a target once.
    """
    cut: Vectors = vectors[places(len(vectors), window, offset)]
    return cut


def places(total: int, window: int, offset: int, stride: int | None = None) -> NDArray[np.int64]:
    """As `sequences`, where in the stream each vector is: `[rows, window + 1]`.

    A row begins every `stride` vectors, every `window` unless told.
    """
    stride = stride or window
    rows = (total - offset - 1 - window) // stride + 1
    if rows < 1:
        raise ValueError(f"{total} vectors are too few for a window of {window}")
    starts = offset + stride * np.arange(rows)
    return starts[:, None] + np.arange(window + 1)


def epoch(
    total: int, window: int, batch: int, rng: np.random.Generator, stride: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """One pass over a stream in random order: places `[window + 1, batch]`, time-major.

    All but the last are inputs, all but the first are targets. The rows begin at a
    random offset, so that no position is always the first of its row. Rows that do
    not fill a batch wait for another epoch's order.
    """
    rows = places(total, window, int(rng.integers(stride or window)), stride)
    order = rng.permutation(len(rows))
    for start in range(0, len(rows) - batch + 1, batch):
        yield np.ascontiguousarray(rows[order[start : start + batch]].T)


def batches_in_epoch(total: int, window: int, batch: int, stride: int | None = None) -> int:
    """At least how many batches `epoch` yields, whatever the offset (for schedules)."""
    stride = stride or window
    return max(1, ((total - window - stride) // stride + 1) // batch)
