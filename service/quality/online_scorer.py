"""Predictions held against the vectors that came, off every caller's path."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from service.clock import Clock
from service.metrics import HIT_RANKS, Metrics
from service.quality.distractor_pool import OTHERS, DistractorPool
from service.quality.key_shares import KeyShares, Share
from service.rollout.routing.traffic_split import TrafficSplit
from service.types import Variant, Vector

logger = logging.getLogger(__name__)

JUDGED_RANK = 5
"""The k of the Hit@k that is judged."""

MAX_WAITING = 2048
"""Predictions that wait to be scored, some 6 KiB each at 768; the next is dropped."""

BATCH = 64
PAUSE_SECONDS = 0.1
"""Between two times of scoring what came: waking for each would cost callers more."""

__all__ = ["JUDGED_RANK", "MAX_WAITING", "OTHERS", "PendingPrediction", "Scorer"]


class PendingPrediction(NamedTuple):
    """A prediction that waits for its truth: who made it, for whom, under which split.

    `key` is what chance assigned the variant to, `owner` whose stream it is of.
    `alone`: the key was drawn for this prediction and comes never again.
    """

    vector: Vector
    variant: Variant
    version: str
    split: TrafficSplit
    key: str
    owner: str
    alone: bool = False


class _Scored(NamedTuple):
    """A prediction with the vector that came, and the split at that time."""

    prediction: PendingPrediction
    truth: Vector
    split: TrafficSplit


class Scorer:
    """A bounded queue, and what is done with it in a thread.

    `offer` is for the event loop and costs about a microsecond. `drain` is for one
    thread at a time.
    """

    def __init__(self, metrics: Metrics, clock: Clock, dim: int) -> None:
        self._metrics = metrics
        self._clock = clock
        self._pool = DistractorPool(dim)
        self._keys = KeyShares()
        self._queue: deque[_Scored] = deque()

    def offer(self, prediction: PendingPrediction, truth: Vector, split: TrafficSplit) -> bool:
        """Have it scored soon; False if too many wait, then it is counted as dropped.

        `truth` is copied: it may be a view of a large body.
        """
        if len(self._queue) >= MAX_WAITING:
            self._metrics.online_dropped.inc()
            return False
        self._queue.append(_Scored(prediction, truth.copy(), split))
        return True

    async def run(self) -> None:
        """Score what comes, until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await asyncio.to_thread(self.drain)
            except Exception:
                # Nobody may lose an answer to it; the guardrail sees no evidence then.
                logger.exception("predictions could not be scored")

    def drain(self) -> None:
        """Score all that wait, and let keys that have gone quiet have their say."""
        while self._queue:
            self._score([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])
        for share in self._keys.idle(self._clock.monotonic()):
            self._count(share)

    def _score(self, batch: Sequence[_Scored]) -> None:
        truths = np.stack([scored.truth for scored in batch])
        truths /= np.linalg.norm(truths, axis=1, keepdims=True)
        predictions = np.stack([scored.prediction.vector for scored in batch])
        owners = np.array([hash(scored.prediction.owner) for scored in batch], np.int64)
        cosines, ranks = self._pool.ranks(predictions, truths, owners)
        self._pool.add(truths, owners)
        now = self._clock.monotonic()
        for scored, cosine, rank in zip(batch, cosines.tolist(), ranks.tolist(), strict=True):
            # Not below 0: the sum of a histogram must not fall, or it looks like a restart.
            near = max(0.0, cosine)
            self._metrics.online_cosine.labels(scored.prediction.variant).observe(near)
            if rank:
                self._note(scored, rank, now)

    def _note(self, scored: _Scored, rank: int, now: float) -> None:
        made = scored.prediction
        self._metrics.online_predictions.labels(made.variant).inc()
        for k in HIT_RANKS:
            if rank <= k:
                self._metrics.online_hits.labels(made.variant, k).inc()
        # Of an earlier split, or of one without two arms: nothing to compare with.
        if made.split != scored.split or made.split.weight_bp == 0:
            return
        share = self._keys.note(
            made.split,
            made.key,
            made.variant,
            made.version,
            now,
            hit=rank <= JUDGED_RANK,
            last=made.alone,
        )
        if share is not None:
            self._count(share)

    def _count(self, share: Share) -> None:
        self._metrics.online_key_share.labels(share.variant, share.version).observe(share.share)
