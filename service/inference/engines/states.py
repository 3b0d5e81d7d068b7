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
    states do not change. A row whose next state is on the host and not finite has a NaN as its
    prediction. A state on a device is not fetched to be checked: a NaN in any layer reaches
    every later prediction. Raises `EngineFault`.
    """
    # hasattr, because isinstance with a protocol takes as long as all the rest of this.
    stateful = cast("StatefulEngine", engine) if hasattr(engine, "advance") else None
    if stateful is not None:
        return stateful.advance(vectors, lengths, states)
    # Side by side, which is a third of the work of `np.stack`.
    rows = np.concatenate([np.asarray(state) for state in states], axis=1)
    stacked = rows.reshape(len(rows), len(states), -1)
    predicted, after = engine.run(vectors, lengths, stacked)
    if predicted.shape != vectors.shape[1:] or after.shape != stacked.shape:
        raise EngineFault(
            f"the engine returned shapes {predicted.shape} and {after.shape}, "
            f"not {vectors.shape[1:]} and {stacked.shape}"
        )
    # A sum of squares of the whole batch: a GRU's values lie within ±1, so it cannot overflow.
    if not math.isfinite(np.vdot(after, after)):
        faulty = np.logical_not(np.isfinite(after).all(axis=(0, 2)))
        predicted = np.where(faulty[:, None], np.float32(math.nan), predicted)
    # Copies: a view would keep the whole batch alive in a session.
    return predicted, [after[:, row].copy() for row in range(len(states))]
