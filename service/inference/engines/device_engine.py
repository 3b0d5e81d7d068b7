"""An engine whose sessions' states stay on the device between their steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.engine import Engine
from service.inference.engines.state_pool import StatePool
from service.inference.engines.states import advance
from service.types import State


class DeviceEngine:
    """Steps on `pool`; everything else on `full`, its states on the host.

    A context's state comes to the device with the session's first step. One thread
    at a time: `concurrent` is off.
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
        """See `KeepsStates.advance`."""
        if len(vectors) == 1:
            return self._pool.advance(vectors, states)
        return advance(self._full, vectors, lengths, states)
