"""Batches of consecutive vectors with the next vector as the target at each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def sequences(vectors: Vectors, window: int, offset: int, stride: int | None = None) -> Vectors:
    """Cut a stream into rows of `window` vectors and one more, the last target.

    `vectors` `[n, dim]` → `[rows, window + 1, dim]`; a row begins every `stride`
    vectors. Without one, rows overlap by the one vector that is a target in one
    and an input in the next, so that each vector is a target once.
    """
    starts = _starts(len(vectors), window, offset, stride or window)
    cut: Vectors = vectors[starts[:, None] + np.arange(window + 1)]
    return cut


def epoch(
    vectors: Vectors, window: int, batch: int, rng: np.random.Generator, stride: int | None = None
) -> Iterator[tuple[Vectors, Vectors]]:
    """One pass in random order: inputs and targets, time-major `[window, batch, dim]`.

    The rows begin at a random offset, so that no position is always the first
    of its row. Rows that do not fill a batch wait for another epoch's order.
    """
    stride = stride or window
    starts = _starts(len(vectors), window, int(rng.integers(stride)), stride)
    order = rng.permutation(starts)
    for first in range(0, len(order) - batch + 1, batch):
        rows = vectors[order[first : first + batch] + np.arange(window + 1)[:, None]]
        yield rows[:-1], rows[1:]


def batches_in_epoch(total: int, window: int, batch: int, stride: int | None = None) -> int:
    """At least how many batches `epoch` yields, whatever the offset (for schedules)."""
    stride = stride or window
    return max(1, ((total - window - stride) // stride + 1) // batch)


def _starts(total: int, window: int, offset: int, stride: int) -> NDArray[np.int64]:
    """Where rows begin; the last one's last target is within the stream."""
    rows = (total - offset - 1 - window) // stride + 1
    if rows < 1:
        raise ValueError(f"{total} vectors are too few for a window of {window}")
    return offset + stride * np.arange(rows)
