"""The contract of an engine: one version, on one device."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.manifest import Dimensions, Precision


class Engine(Protocol):
    """Runs batches; one at a time unless it is `concurrent`."""

    @property
    def provider(self) -> str:
        """The execution provider that was got, e.g. `CPUExecutionProvider`."""
        ...

    @property
    def precision(self) -> Precision:
        """Of its steps; where it differs, whole contexts run in fp32."""
        ...

    @property
    def dimensions(self) -> Dimensions:
        """Sizes of the tensors below."""
        ...

    @property
    def concurrent(self) -> bool:
        """Whether two threads may `run` it at once, each as fast as a core goes."""
        ...

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run a batch.

        `vectors` `[time, batch, dim]`, padded past each of `lengths` `[batch]`
        (1 ≤ length ≤ time); `state` `[layers, batch, hidden]`, zeros where cold.
        Returns the unit vectors predicted `[batch, dim]` and the next states
        `[layers, batch, hidden]`. Raises `EngineFault`.
        """
        ...
