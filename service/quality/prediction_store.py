"""PredictionStore of stateless callers, kept for the label that may come."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from service.clock import Clock
from service.errors import Gone, NotFound
from service.quality.online_scorer import PendingPrediction

OVERHEAD_BYTES = 1024
"""Python's own for an entry: tuple, keys, dictionary; measured roughly."""

TOMBSTONES = 100_000
"""Ids remembered after their prediction: so that a repeat and an expired one are told
from one that never was."""

Name = tuple[bytes, str]
"""A caller's digest and its request id: nobody labels what another has asked."""


class _Past(Enum):
    """What became of a prediction that is no longer kept."""

    COUNTED = "its label has been counted"
    EXPIRED = "it was kept for a while, and no label came"


class PredictionStore:
    """By caller and request id, for `ttl_seconds` and within `max_bytes`; the oldest go."""

    def __init__(self, clock: Clock, *, max_bytes: int, ttl_seconds: float) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._ttl = ttl_seconds
        self._kept: OrderedDict[Name, tuple[PendingPrediction, float]] = OrderedDict()
        self._past: OrderedDict[Name, _Past] = OrderedDict()
        self._nbytes = 0

    def keep(self, caller: bytes, request_id: str, prediction: PendingPrediction) -> None:
        """Await its label. A later prediction under the same id takes its place."""
        name = (caller, request_id)
        self._drop(name)
        self._past.pop(name, None)
        self._kept[name] = (prediction, self._clock.monotonic())
        self._nbytes += _size(prediction)
        self._expire()

    def find(self, caller: bytes, request_id: str) -> PendingPrediction | None:
        """The prediction that waits for its label; None if that was counted before.

        Raises `Gone` if it was kept and has expired, `NotFound` for an id that this
        caller has not had, or not from the split.
        """
        self._expire()
        name = (caller, request_id)
        if name in self._kept:
            return self._kept[name][0]
        past = self._past.get(name)
        if past is _Past.COUNTED:
            return None
        if past is _Past.EXPIRED:
            raise Gone(
                f"the prediction {request_id!r} is no longer kept; send labels sooner, "
                "or raise feedback.ttl_seconds or feedback.max_bytes",
                "prediction_gone",
            )
        raise NotFound(
            f"no prediction {request_id!r} waits for a label: take the X-Request-Id of an "
            "answer to /v1/predict that did not set X-Variant, and send the same credentials",
            "prediction_not_found",
        )

    def counted(self, caller: bytes, request_id: str) -> None:
        """Its label has been taken: another changes nothing."""
        self._bury((caller, request_id), _Past.COUNTED)

    def _expire(self) -> None:
        oldest = self._clock.monotonic() - self._ttl
        while self._kept:
            name, (_, since) = next(iter(self._kept.items()))
            if since > oldest and self._nbytes <= self._max_bytes:
                return
            self._bury(name, _Past.EXPIRED)

    def _bury(self, name: Name, past: _Past) -> None:
        self._drop(name)
        self._past[name] = past
        if len(self._past) > TOMBSTONES:
            self._past.popitem(last=False)

    def _drop(self, name: Name) -> None:
        found = self._kept.pop(name, None)
        if found is not None:
            self._nbytes -= _size(found[0])


def _size(prediction: PendingPrediction) -> int:
    return OVERHEAD_BYTES + prediction.vector.nbytes
