"""Scores predictions by the vectors that follow them, off the request path."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.clock import Clock
from service.errors import Gone, NotFound, QueueFull
from service.metrics import Metrics
from service.quality.distractor_pool import DistractorPool
from service.quality.key_shares import KeyShare, KeyShares
from service.quality.pending_prediction import PendingPrediction
from service.quality.prediction_store import PredictionStore
from service.quality_metrics import HIT_RANKS
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.types import Variant, Vector, Vectors
from service.validation import validate_vectors

logger = logging.getLogger(__name__)

GUARDRAIL_RANK = 5
"""The k of the Hit@k that the quality guardrail tests."""

MAX_WAITING = 2048
"""Predictions that wait to be scored, about 6 KiB each at width 768; more are dropped."""

BATCH = 64
PAUSE_SECONDS = 0.1
"""Time between two rounds of scoring: one wake-up for each prediction would cost callers more."""


class _ScoringJob(NamedTuple):
    """A prediction, the vector that came, and the split in force when it came."""

    prediction: PendingPrediction
    truth: Vector
    split: TrafficSplit


class OnlineScorer:
    """A bounded queue of predictions with their truths, and the thread that scores them.

    Call `offer`, `await_label` and `label` from the event loop; `offer` costs about a
    microsecond. `drain` runs in one thread at a time. Without `labels`, no labels of
    stateless callers are accepted.
    """

    def __init__(
        self,
        traffic: TrafficRouter,
        metrics: Metrics,
        clock: Clock,
        dim: int,
        labels: PredictionStore | None = None,
    ) -> None:
        self._traffic = traffic
        self._metrics = metrics
        self._clock = clock
        self._labels = labels
        self._dim = dim
        self._pool = DistractorPool(dim)
        self._keys = KeyShares()
        self._queue: deque[_ScoringJob] = deque()

    def offer(self, prediction: PendingPrediction, truth: Vector, split: TrafficSplit) -> bool:
        """Queue the prediction for scoring. False if the queue is full: it is dropped.

        `truth` `[dim]` is copied, because it may be a view of a large body.
        """
        if len(self._queue) >= MAX_WAITING:
            self._metrics.quality.dropped.inc()
            return False
        self._queue.append(_ScoringJob(prediction, truth.copy(), split))
        return True

    def await_label(self, caller: bytes, request_id: str, prediction: PendingPrediction) -> None:
        """Keep a stateless caller's prediction until its label comes."""
        if self._labels is not None:
            self._labels.keep(caller, request_id, prediction)

    async def label(
        self, caller: bytes, request_id: str, vectors: Vectors, split: TrafficSplit
    ) -> bool:
        """Score the prediction of the caller's request; False if it was labeled before.

        `vectors` `[1, dim]` is the true vector. Raises `Invalid`, `QueueFull` if the label could
        not be counted, and what `PredictionStore.take` raises.
        """
        if self._labels is None:
            raise NotFound("this service accepts no labels: its setting feedback.max_bytes is 0")
        # Before the prediction is taken: it can be taken once.
        validate_vectors(vectors, self._dim, 1)
        if len(self._queue) >= MAX_WAITING:
            raise QueueFull("too many predictions wait to be scored; send the label again", 1.0)
        try:
            prediction = await self._labels.take(caller, request_id)
        except (NotFound, Gone) as error:
            self._metrics.quality.feedback.labels(error.code).inc()
            raise
        if prediction is None:
            self._metrics.quality.feedback.labels("repeated").inc()
            return False
        self.offer(prediction, vectors[0], split)
        self._metrics.quality.feedback.labels("counted").inc()
        return True

    async def run(self) -> None:
        """Score what was offered, until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await asyncio.to_thread(self.drain)
            except Exception:
                # Requests must not fail for it; the guardrail then has no evidence.
                logger.exception("scoring predictions failed")

    def drain(self) -> None:
        """Score all that is queued, and close the keys that are idle."""
        while self._queue:
            self._score([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])
        for share in self._keys.close_idle(self._traffic.current, self._clock.monotonic()):
            self._observe_share(share)

    def _score(self, batch: Sequence[_ScoringJob]) -> None:
        truths = np.stack([job.truth for job in batch])
        truths /= np.linalg.norm(truths, axis=1, keepdims=True)
        predictions = np.stack([job.prediction.vector for job in batch])
        owners = np.array([hash(job.prediction.owner) for job in batch], np.int64)
        cosines, ranks = self._pool.ranks(predictions, truths, owners)
        self._pool.add(truths, owners)
        self._observe_scores([job.prediction.variant for job in batch], cosines, ranks)
        now = self._clock.monotonic()
        for job, rank in zip(batch, ranks.tolist(), strict=True):
            if rank:
                self._count_key(job, rank, now)

    def _observe_scores(
        self,
        variants: Sequence[Variant],
        cosines: NDArray[np.float32],
        ranks: NDArray[np.int64],
    ) -> None:
        """Count cosines and hits; each series once for the whole batch."""
        quality = self._metrics.quality
        for variant, cosine in zip(variants, cosines.tolist(), strict=True):
            # Not below 0: a histogram's sum must not fall, or it looks like a restart.
            quality.cosine.labels(variant).observe(max(0.0, cosine))
        for variant in set(variants):
            own = ranks[[each is variant for each in variants]]
            ranked = own[own > 0]
            if len(ranked):
                quality.predictions.labels(variant).inc(len(ranked))
            for k in HIT_RANKS:
                if hits := int((ranked <= k).sum()):
                    quality.hits.labels(variant, k).inc(hits)

    def _count_key(self, job: _ScoringJob, rank: int, now: float) -> None:
        prediction = job.prediction
        # Made under an earlier split, or under one without two arms: nothing to compare.
        current = self._traffic.current
        if current.weight_bp == 0 or job.split != current or prediction.split != job.split:
            return
        share = self._keys.count(
            prediction.split,
            prediction.key,
            prediction.variant,
            prediction.version,
            now,
            hit=rank <= GUARDRAIL_RANK,
            last=prediction.single_use,
        )
        if share is not None:
            self._observe_share(share)

    def _observe_share(self, share: KeyShare) -> None:
        self._metrics.quality.key_share.labels(share.variant, share.version).observe(share.share)
