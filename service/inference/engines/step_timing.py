"""Which of two graphs steps faster, for each size of batch, on this machine.

8-bit weights are read in a quarter of the time, which decides a step of one row. Larger batches
read the weights once for all rows, and then the arithmetic decides: with 8-bit instructions
(VNNI) it is faster as well, without them it is slower. So it is measured when a version is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from service.clock import Clock
from service.inference.engines.buckets import BUCKETS
from service.inference.engines.engine import Engine
from service.manifest import Precision

SECONDS = 1.0
"""Spent on the whole measurement."""

MARGIN = 0.95
"""fp32 replaces 8 bits only where it takes less than this share of their time."""

_MIN_RUNS = 3


def time_steps(full: Engine, fast: Engine, clock: Clock) -> dict[int, tuple[float, float]]:
    """The shortest seconds of a step of `full` and of `fast`, by size of batch.

    The two alternate, so that other work of the machine affects both, and the shortest run is the
    one that was disturbed least. Raises `EngineFault`.
    """
    rng = np.random.default_rng(0)
    sizes = full.dimensions
    times = {}
    for batch in BUCKETS:
        vectors = rng.standard_normal((1, batch, sizes.dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        state = np.zeros((sizes.layers, batch, sizes.hidden), np.float32)
        lengths = np.ones(batch, np.int32)
        shortest = [float("inf"), float("inf")]
        end = clock.monotonic() + SECONDS / len(BUCKETS)
        runs = 0
        while runs < _MIN_RUNS or clock.monotonic() < end:
            for number, engine in enumerate((full, fast)):
                began = clock.monotonic()
                engine.run(vectors, lengths, state)
                shortest[number] = min(shortest[number], clock.monotonic() - began)
            runs += 1
        times[batch] = (shortest[0], shortest[1])
    return times


def choose_precisions(
    times: Mapping[int, tuple[float, float]], fast: Precision
) -> dict[int, Precision]:
    """The precision of a step by size of batch, from what `time_steps` measured. Pure."""
    return {
        batch: "fp32" if exact < MARGIN * quick else fast for batch, (exact, quick) in times.items()
    }
