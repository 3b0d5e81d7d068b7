"""States on their way through an engine, wherever it keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from service.errors import EngineFault
from service.inference.engines.engine import Engine
from service.types import State


class KeepsStates(Protocol):
    """What an engine does besides `run` that keeps states where it computes."""

    def advance(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        states: Sequence[State],
    ) -> tuple[NDArray[np.float32], Sequence[State]]:
        """As the function `advance`."""
        ...


def advance(
    engine: Engine,
    vectors: NDArray[np.float32],
    lengths: NDArray[np.int32],
    states: Sequence[State],
) -> tuple[NDArray[np.float32], Sequence[State]]:
    """Run a batch as `Engine.run` does, its rows from `states`, one `[layers, hidden]` each.

    Returns the unit vectors predicted `[batch, dim]` and the next states, one a row;
    those given are left as they were. Raises `EngineFault`.
    """
    # Not isinstance: of a protocol it takes as long as all the rest of this.
    keeper = cast("KeepsStates", engine) if hasattr(engine, "advance") else None
    if keeper is not None:
        return keeper.advance(vectors, lengths, states)
    stacked = np.stack([np.asarray(state) for state in states], axis=1)
    predicted, after = engine.run(vectors, lengths, stacked)
    if predicted.shape != vectors.shape[1:] or after.shape != stacked.shape:
        raise EngineFault(
            f"the engine answered {predicted.shape} and {after.shape}, "
            f"not {vectors.shape[1:]} and {stacked.shape}"
        )
    # Copies: a view would keep the whole batch alive in a session.
    return predicted, [after[:, row].copy() for row in range(len(states))]


def is_finite(state: State) -> bool:
    """Whether no value is NaN or infinite, so far as it can be seen from here.

    One that is kept on a device is not fetched for this: a NaN in any layer is in
    every prediction that follows, and those are looked at.
    """
    # A sum of squares: of what a GRU carries, all within 1, it cannot overflow.
    return not isinstance(state, np.ndarray) or math.isfinite(np.vdot(state, state))
