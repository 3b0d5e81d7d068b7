"""The interface of an engine: one version on one device."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.manifest import Dimensions, Precision


class Engine(Protocol):
    """Runs batches, one at a time unless it is `concurrent`."""

    @property
    def provider(self) -> str:
        """The execution provider in use, e.g. `CPUExecutionProvider`."""
        ...

    @property
    def precision(self) -> Precision:
        """The precision of steps. If it is int8, whole contexts run in fp32."""
        ...

    @property
    def dimensions(self) -> Dimensions:
        """Sizes of the tensors below."""
        ...

    @property
    def concurrent(self) -> bool:
        """Whether two threads may call `run` at once, each at the full speed of a core."""
        ...

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run a batch.

        `vectors` is `[time, batch, dim]`, padded after each of `lengths` `[batch]`
        (1 ≤ length ≤ time). `state` is `[layers, batch, hidden]`, zeros for a cold state.
        Returns the predicted unit vectors `[batch, dim]` and the next states
        `[layers, batch, hidden]`. Raises `EngineFault`.
        """
        ...
