"""Predictions of stateless callers, kept for the label that may come."""

from __future__ import annotations

from enum import Enum

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


class PredictionStore:
    """Predictions by caller and request id, for `ttl_seconds` and within `max_bytes`."""

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

    def find(self, caller: bytes, request_id: str) -> PendingPrediction | None:
        """The prediction that waits for its label; None if its label was counted before.

        Raises `Gone` if it has expired, and `NotFound` for an id that this caller never
        received, or that the split did not route.
        """
        self._evict()
        key = (caller, request_id)
        prediction = self._kept.get(key)
        if prediction is not None:
            return prediction
        fate = self._tombstones.get(key)
        if fate is _Fate.LABELED:
            return None
        if fate is _Fate.EXPIRED:
            raise Gone(
                f"the prediction {quoted(request_id)} is no longer kept; send labels sooner, "
                "or raise feedback.ttl_seconds or feedback.max_bytes",
                "prediction_gone",
            )
        raise NotFound(
            f"no prediction {quoted(request_id)} waits for a label: send the X-Request-Id of a "
            "response of /v1/predict that did not set X-Variant, with the same credentials",
            "prediction_not_found",
        )

    def mark_labeled(self, caller: bytes, request_id: str) -> None:
        """Note that the label was counted: further labels change nothing."""
        key = (caller, request_id)
        self._kept.pop(key)
        self._add_tombstone(key, _Fate.LABELED)

    def _evict(self) -> None:
        for key, _ in self._kept.expire(self._clock.monotonic()) + self._kept.shrink():
            self._add_tombstone(key, _Fate.EXPIRED)

    def _add_tombstone(self, key: PredictionKey, fate: _Fate) -> None:
        self._tombstones.put(key, fate)
        self._tombstones.shrink()
