"""Runs a batch from states on the host or on a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from service.errors import EngineFault
from service.inference.engines.engine import Engine
from service.types import State


class StatefulEngine(Protocol):
    """An engine that can also keep states on its device."""

    def advance(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        states: Sequence[State],
    ) -> tuple[NDArray[np.float32], Sequence[State]]:
        """See the function `advance`."""
        ...


def advance(
    engine: Engine,
    vectors: NDArray[np.float32],
    lengths: NDArray[np.int32],
    states: Sequence[State],
) -> tuple[NDArray[np.float32], Sequence[State]]:
    """Run a batch as `Engine.run` does, each row from its own state `[layers, hidden]`.

    Returns the predicted unit vectors `[batch, dim]` and one next state a row. The given
    states do not change. Raises `EngineFault`.
    """
    # hasattr, because isinstance with a protocol takes as long as all the rest of this.
    stateful = cast("StatefulEngine", engine) if hasattr(engine, "advance") else None
    if stateful is not None:
        return stateful.advance(vectors, lengths, states)
    stacked = np.stack([np.asarray(state) for state in states], axis=1)
    predicted, after = engine.run(vectors, lengths, stacked)
    if predicted.shape != vectors.shape[1:] or after.shape != stacked.shape:
        raise EngineFault(
            f"the engine returned shapes {predicted.shape} and {after.shape}, "
            f"not {vectors.shape[1:]} and {stacked.shape}"
        )
    # Copies: a view would keep the whole batch alive in a session.
    return predicted, [after[:, row].copy() for row in range(len(states))]


def is_finite(state: State) -> bool:
    """Whether no value is NaN or infinite. A state on a device counts as finite.

    It is not fetched for this check: a NaN in any layer reaches every later prediction, and
    predictions are checked.
    """
    # A sum of squares cannot overflow, because a GRU's state values lie within ±1.
    return not isinstance(state, np.ndarray) or math.isfinite(np.vdot(state, state))
