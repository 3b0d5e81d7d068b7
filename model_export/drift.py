"""How far a session drifts when its steps run with fewer bits: the state is carried."""

from __future__ import annotations

import numpy as np

from model_export.parity import ParityError
from service.inference.engine import Engine
from service.manifest import StepParity
from service.types import Vectors

BOUND = 0.9999
"""The smallest cosine with fp32 that is let through, at any step."""

STEPS = 2000


def measure(full: Engine, step: Engine, stream: Vectors, bound: float = BOUND) -> StepParity:
    """Carry one session over `stream` `[n, dim]` on both engines, `STEPS` vectors at most.

    Raises `ParityError` when a prediction's cosine falls below `bound`.
    """
    sizes = full.dimensions
    exact = fast = np.zeros((sizes.layers, 1, sizes.hidden), np.float32)
    one = np.ones(1, np.int32)
    cosines = []
    for row in stream[:STEPS]:
        expected, exact = full.run(row[None, None], one, exact)
        got, fast = step.run(row[None, None], one, fast)
        cosines.append(float(np.vdot(expected[0], got[0])))
    # Not `<`: a NaN is below every bound.
    if not min(cosines) >= bound:
        raise ParityError(
            f"after {int(np.argmin(cosines)) + 1} steps with 8-bit weights the prediction has "
            f"cosine {min(cosines):.6f} with fp32's; at least {bound} is let through: leave out "
            "--int8"
        )
    return StepParity(
        steps=len(cosines), min_cosine=min(cosines), mean_cosine=float(np.mean(cosines))
    )
