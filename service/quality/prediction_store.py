"""Predictions of stateless callers, kept for the label that may come."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from service.bounded_store import BoundedStore
from service.clock import Clock
from service.errors import Gone, NotFound, quoted
from service.quality.pending_prediction import PendingPrediction

OVERHEAD_BYTES = 1024
"""Python's own memory for an entry: tuple, keys, dictionary; a rough measurement."""

TOMBSTONES = 100_000
"""Ids remembered after their prediction, to tell a repeated label and an expired prediction
from an id that never existed."""

PredictionKey = tuple[bytes, str]
"""A caller's digest and its request id: nobody can label the prediction of another caller."""


class _Fate(Enum):
    """What became of a prediction that is no longer kept."""

    LABELED = "its label was counted"
    EXPIRED = "it was evicted before a label came"


class PredictionStore(Protocol):
    """The port to the place where predictions wait for their labels."""

    def keep(self, caller: bytes, request_id: str, prediction: PendingPrediction) -> None:
        """Keep the prediction until its label comes; it replaces one under the same id."""
        ...

    async def take(self, caller: bytes, request_id: str) -> PendingPrediction | None:
        """Take the prediction for its label; None if it was taken before.

        Raises `Gone` if it has expired, `NotFound` for an id that this caller never received, or
        that the split did not route, and `StoreUnavailable`.
        """
        ...


def expired_prediction(request_id: str) -> Gone:
    """The error for a label that comes too late."""
    return Gone(
        f"the prediction {quoted(request_id)} is no longer kept; send labels sooner, "
        "or raise feedback.ttl_seconds or feedback.max_bytes",
        "prediction_gone",
    )


def unknown_prediction(request_id: str) -> NotFound:
    """The error for an id without a prediction."""
    return NotFound(
        f"no prediction {quoted(request_id)} waits for a label: send the X-Request-Id of a "
        "response of /v1/predict that did not set X-Variant, with the same credentials",
        "prediction_not_found",
    )


class MemoryPredictionStore:
    """Predictions in this process, for `ttl_seconds` and within `max_bytes`."""

    def __init__(self, clock: Clock, *, max_bytes: int, ttl_seconds: float) -> None:
        self._clock = clock
        self._kept: BoundedStore[PredictionKey, PendingPrediction] = BoundedStore(
            max_size=max_bytes, max_age=ttl_seconds
        )
        self._tombstones: BoundedStore[PredictionKey, _Fate] = BoundedStore(max_size=TOMBSTONES)

    @property
    def nbytes(self) -> int:
        """Memory of all predictions."""
        return self._kept.size

    @property
    def tombstones(self) -> int:
        """Ids remembered after their prediction."""
        return len(self._tombstones)

    def keep(self, caller: bytes, request_id: str, prediction: PendingPrediction) -> None:
        """Keep the prediction until its label comes; it replaces one under the same id."""
        key = (caller, request_id)
        self._tombstones.pop(key)
        size = OVERHEAD_BYTES + prediction.vector.nbytes
        self._kept.put(key, prediction, size=size, now=self._clock.monotonic())
        self._evict()

    async def take(self, caller: bytes, request_id: str) -> PendingPrediction | None:
        """Take the prediction; see `PredictionStore.take`."""
        self._evict()
        key = (caller, request_id)
        prediction = self._kept.pop(key)
        if prediction is not None:
            self._add_tombstone(key, _Fate.LABELED)
            return prediction
        fate = self._tombstones.get(key)
        if fate is _Fate.LABELED:
            return None
        if fate is _Fate.EXPIRED:
            raise expired_prediction(request_id)
        raise unknown_prediction(request_id)

    def _evict(self) -> None:
        for key, _ in self._kept.expire(self._clock.monotonic()) + self._kept.shrink():
            self._add_tombstone(key, _Fate.EXPIRED)

    def _add_tombstone(self, key: PredictionKey, fate: _Fate) -> None:
        self._tombstones.put(key, fate)
        self._tombstones.shrink()
