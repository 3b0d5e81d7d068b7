"""A request in the service's own words, whatever protocol it came by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.errors import Invalid
from service.rollout.routing.traffic_split import Route
from service.types import Variant, Vector, Vectors

MAX_KEY = 1024
"""Characters of a routing key: it is kept for as long as its prediction waits to be scored."""


@dataclass(frozen=True)
class RequestOptions:
    """What a caller says about who answers, and by when; all of it may be left out.

    `version` names a loaded version past the split; such a request is
    unassigned. `timeout_seconds` can only shorten the service's own. `caller`
    tells callers apart who must not share what is remembered of their contexts;
    None: nothing of this one is remembered. `request_id` names the prediction for a
    label that may come.

    Raises `Invalid` for a key of more than `MAX_KEY` characters.
    """

    key: str | None = None
    override: Variant | None = None
    version: str | None = None
    timeout_seconds: float | None = None
    caller: bytes | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key) > MAX_KEY:
            raise Invalid(
                f"the routing key has {len(self.key)} characters; send {MAX_KEY} at most, "
                "its hash for instance"
            )


@dataclass(frozen=True)
class Prediction:
    """One prediction and where it came from; durations in seconds.

    `length` is the session's length after the append, None for a single call.
    """

    vector: Vector
    route: Route
    queue_seconds: float
    inference_seconds: float
    length: int | None = None


def check(vectors: Vectors, dim: int, max_rows: int) -> None:
    """Whether these can be predicted from: `[n, dim]`, 1 ≤ n ≤ `max_rows`. Raises `Invalid`."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise Invalid(f"vectors have shape {list(vectors.shape)}, not [n, {dim}]")
    if len(vectors) == 0:
        raise Invalid("there are no vectors")
    if len(vectors) > max_rows:
        raise Invalid(f"{len(vectors)} vectors are more than the {max_rows} allowed")
    # A NaN or Inf in a row makes its sum of squares NaN or Inf; one pass.
    if len(vectors) == 1 and 0.0 < np.vdot(vectors, vectors) < np.inf:
        return
    norms = np.einsum("ij,ij->i", vectors, vectors)
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise Invalid(f"vector {row} has a NaN, an Inf or values beyond float32's squares")
    if not norms.all():
        raise Invalid(f"vector {int(np.flatnonzero(norms == 0)[0])} is all zeros")
