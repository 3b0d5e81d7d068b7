"""Types that every layer shares."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""`[n, dim]` float32, one vector per row."""

Vector = NDArray[np.float32]
"""`[dim]` float32."""

KEY_SAMPLE = 8
"""Scored predictions of one routing key that form one observation of quality."""

SHARES = tuple(sorted({hits / n for n in range(1, KEY_SAMPLE + 1) for hits in range(n + 1)}))
"""Every possible share of hits, 0 to 1, among up to `KEY_SAMPLE` predictions."""


class State(Protocol):
    """The GRU's hidden state: `[layers, hidden]` float32, an array or a handle to one.

    It is immutable: a step returns a new one.
    """

    @property
    def nbytes(self) -> int: ...

    def __array__(self, dtype: Any = ..., /) -> NDArray[Any]: ...


class Variant(StrEnum):
    """The role a version plays in a rollout."""

    STABLE = "stable"
    CANARY = "canary"


class Mode(StrEnum):
    """The kind of a request, known before a variant is chosen.

    `PREFILL`: a whole context. `STEP`: one more vector of a session. `MIXED`: several
    more vectors of a session. The mode does not depend on the work of the version (a
    step past the window may recompute all of it): variants are compared within a mode,
    and a mode that depended on the variant would hide that cost.
    """

    PREFILL = "prefill"
    STEP = "step"
    MIXED = "mixed"


class RequestOutcome(StrEnum):
    """How a request ended. `ERROR` and `TIMEOUT` are faults of the service."""

    OK = "ok"
    INVALID = "invalid"
    REJECTED = "rejected"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


FAULTS = (RequestOutcome.ERROR, RequestOutcome.TIMEOUT)
"""The version's own failures, counted whatever they took."""

TIMED = (RequestOutcome.OK, RequestOutcome.CANCELLED)
"""Counted by their duration. A caller who leaves has waited at least that long. Without
those requests, a canary so slow that nobody waits for it would look fine. `INVALID` and
`REJECTED` say nothing about a version and are not evidence."""
