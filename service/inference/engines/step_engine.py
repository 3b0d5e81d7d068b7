"""An engine of two graphs: a fast one for steps, and one for everything else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.buckets import BUCKETS, bucket_of
from service.inference.engines.engine import Engine
from service.manifest import Precision


class StepEngine:
    """Runs steps on `step` and everything else on `full`, with shared states.

    With `step_precisions`, by size of batch, steps of a size that has the precision of `full`
    run there as well.
    """

    def __init__(
        self, full: Engine, step: Engine, step_precisions: Mapping[int, Precision] | None = None
    ) -> None:
        self._full = full
        self._step = step
        self.step_precisions = step_precisions or dict.fromkeys(BUCKETS, step.precision)
        self.provider = full.provider
        self.precision = self.step_precisions[BUCKETS[0]]
        self.dimensions = full.dimensions
        self.concurrent = full.concurrent

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        engine = self._engine(vectors.shape[1]) if len(vectors) == 1 else self._full
        return engine.run(vectors, lengths, state)

    def _engine(self, rows: int) -> Engine:
        bucket = bucket_of(min(rows, BUCKETS[-1]))
        chosen = self.step_precisions[bucket]
        return self._step if chosen == self._step.precision else self._full
