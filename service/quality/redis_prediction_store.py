"""Predictions that wait for their labels on a server: any replica takes the label."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict

import numpy as np

from service.errors import StoreUnavailable
from service.quality.pending_prediction import PendingPrediction
from service.quality.prediction_store import expired_prediction, unknown_prediction
from service.redis.client import RedisClient
from service.redis.failures import RedisFailureError
from service.rollout.routing.traffic_split import TrafficSplit
from service.types import Variant


class RedisPredictionStore:
    """Predictions of `fleet` on a server, for `ttl_seconds`, some 2 kB each.

    A prediction that cannot be stored takes no label: its callers lose nothing by it.
    """

    def __init__(self, client: RedisClient, fleet: str, ttl_seconds: float) -> None:
        self._client = client
        self._fleet = fleet
        self._ttl = max(1, round(ttl_seconds * 1000))

    def keep(self, caller: bytes, request_id: str, prediction: PendingPrediction) -> None:
        """Send the prediction; see `PredictionStore.keep`."""
        self._client.send(
            "await", self._keys(caller, request_id), (self._ttl, encode(prediction)), _ignore
        )

    async def take(self, caller: bytes, request_id: str) -> PendingPrediction | None:
        """Take the prediction; see `PredictionStore.take`."""
        # The call may be sent twice: a taker is known by its token.
        token = secrets.token_bytes(16)
        try:
            status, *content = await self._client.call(
                "take", self._keys(caller, request_id), self._ttl, token
            )
        except RedisFailureError as error:
            raise StoreUnavailable(f"the session store is not available: {error}") from error
        if status == b"repeated":
            return None
        if status == b"gone":
            raise expired_prediction(request_id)
        prediction = decode(content[0]) if status == b"taken" else None
        if prediction is None:
            raise unknown_prediction(request_id)
        return prediction

    def _keys(self, caller: bytes, request_id: str) -> tuple[bytes]:
        # A digest: request ids are the callers' own, and may have any character.
        name = hashlib.blake2b(caller + request_id.encode("utf-8", "replace"), digest_size=16)
        return (f"nv:{self._fleet}:{{{name.hexdigest()}}}:p".encode(),)


def encode(prediction: PendingPrediction) -> bytes:
    """The prediction in bytes; its vector in half precision, which does not change a rank."""
    head = prediction._asdict() | {"vector": None, "split": asdict(prediction.split)}
    return json.dumps(head).encode() + b"\n" + prediction.vector.astype("<f2").tobytes()


def decode(content: bytes) -> PendingPrediction | None:
    """What `encode` wrote; None for what another release wrote."""
    head, _, vector = content.partition(b"\n")
    try:
        fields = json.loads(head)
        fields["split"] = TrafficSplit(**fields["split"])
        fields["variant"] = Variant(fields["variant"])
        fields["vector"] = np.frombuffer(vector, "<f2").astype(np.float32)
        return PendingPrediction(**fields)
    except (ValueError, TypeError, KeyError):
        return None


def _ignore(_outcome: object) -> None:
    """Do nothing: see `RedisPredictionStore`."""
