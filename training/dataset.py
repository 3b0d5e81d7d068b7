"""Batches of consecutive vectors with the next vector as the target at each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def sequences(vectors: Vectors, window: int, offset: int) -> Vectors:
    """Cut a stream into rows of `window` vectors and one more, the last target.

    `vectors` `[n, dim]` → `[rows, window + 1, dim]` (a view where possible);
    rows overlap by the one vector that is a target in one and an input in the
    next, so that each vector is a target once.
    """
    usable = len(vectors) - offset - 1
    rows = usable // window
    if rows < 1:
        raise ValueError(f"{len(vectors)} vectors are too few for a window of {window}")
    starts = offset + window * np.arange(rows)
    cut: Vectors = vectors[starts[:, None] + np.arange(window + 1)]
    return cut


def epoch(
    vectors: Vectors, window: int, batch: int, rng: np.random.Generator
) -> Iterator[tuple[Vectors, Vectors]]:
    """One pass in random order: inputs and targets, time-major `[window, batch, dim]`.

    The rows begin at a random offset, so that no position is always the first
    of its row. Rows that do not fill a batch wait for another epoch's order.
    """
    rows = sequences(vectors, window, int(rng.integers(window)))
    order = rng.permutation(len(rows))
    for start in range(0, len(rows) - batch + 1, batch):
        chosen = rows[order[start : start + batch]].transpose(1, 0, 2)
        yield np.ascontiguousarray(chosen[:-1]), np.ascontiguousarray(chosen[1:])


def batches_in_epoch(total: int, window: int, batch: int) -> int:
    """At least how many batches `epoch` yields, whatever the offset (for schedules)."""
    return max(1, (total - window - 1) // window // batch)
