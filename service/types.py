"""Words that every layer shares."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""`[n, dim]` float32, one vector a row."""

Vector = NDArray[np.float32]
"""`[dim]` float32."""

KEY_SAMPLE = 8
"""Scored predictions of one routing key that make up its say on quality."""

SHARES = tuple(sorted({hits / n for n in range(1, KEY_SAMPLE + 1) for hits in range(n + 1)}))
"""Every share of hits, 0..1, that up to `KEY_SAMPLE` predictions can have."""


class State(Protocol):
    """What the GRU carries: `[layers, hidden]` float32, an array or a handle to one.

    Never changed: a step makes a new one.
    """

    @property
    def nbytes(self) -> int: ...

    def __array__(self, dtype: Any = ..., /) -> NDArray[Any]: ...


class Variant(StrEnum):
    """The role a version plays in a rollout."""

    STABLE = "stable"
    CANARY = "canary"


class Mode(StrEnum):
    """What a request asked for, known before a variant is chosen.

    `PREFILL`: a whole context. `STEP`: one more vector of a session. `MIXED`:
    several more vectors of a session. It says nothing of what the version then
    had to do (a step past the window may recompute all of it): variants are
    compared within a mode, and a mode that depended on the variant would hide
    just such a cost.
    """

    PREFILL = "prefill"
    STEP = "step"
    MIXED = "mixed"


class RequestOutcome(StrEnum):
    """How a request ended. `ERROR` and `TIMEOUT` are the service's fault."""

    OK = "ok"
    INVALID = "invalid"
    REJECTED = "rejected"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
