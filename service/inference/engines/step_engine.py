"""An engine of two graphs: a fast one for steps, and one for everything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.engine import Engine


class StepEngine:
    """Runs batches of single vectors on `step` and all others on `full`, with shared states."""

    def __init__(self, full: Engine, step: Engine) -> None:
        self._full = full
        self._step = step
        self.provider = full.provider
        self.precision = step.precision
        self.dimensions = full.dimensions
        self.concurrent = full.concurrent

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        engine = self._step if len(vectors) == 1 else self._full
        return engine.run(vectors, lengths, state)
