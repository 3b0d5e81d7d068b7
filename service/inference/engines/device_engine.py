"""An engine whose session states stay on the device between steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.engine import Engine
from service.inference.engines.state_pool import StatePool
from service.inference.engines.states import advance
from service.types import State


class DeviceEngine:
    """Runs steps on `pool`, and everything else on `full` with its states on the host.

    A session's state moves to the device with its first step. Not `concurrent`: one thread
    at a time.
    """

    concurrent = False

    def __init__(self, full: Engine, pool: StatePool) -> None:
        self._full = full
        self._pool = pool
        self.provider = full.provider
        self.precision = full.precision
        self.dimensions = full.dimensions

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        return self._full.run(vectors, lengths, state)

    def advance(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        states: Sequence[State],
    ) -> tuple[NDArray[np.float32], Sequence[State]]:
        """See `StatefulEngine.advance`."""
        if len(vectors) == 1:
            return self._pool.advance(vectors, states)
        return advance(self._full, vectors, lengths, states)
