"""What the dispatch notes of each prediction, so that it can be scored when its truth comes."""

from __future__ import annotations

from service.contexts.session_store import Session
from service.errors import Gone, NotFound, QueueFull
from service.metrics import Metrics
from service.prediction.request import RequestOptions, check
from service.quality.online_scorer import PendingPrediction, Scorer
from service.quality.prediction_store import PredictionStore
from service.rollout.routing.traffic_split import Route, TrafficSplit
from service.types import Vector, Vectors


class Scoring:
    """Without `labels` those of stateless callers are not taken."""

    def __init__(self, scorer: Scorer, labels: PredictionStore | None, metrics: Metrics) -> None:
        self._scorer = scorer
        self._labels = labels
        self._metrics = metrics

    def appended(
        self,
        session: Session,
        truth: Vector,
        prediction: Vector,
        key: str | None,
        route: Route,
        split: TrafficSplit,
        *,
        assigned: bool,
    ) -> None:
        """`truth` came to the session, and `prediction` was made after it. What was not
        `assigned` by chance is no evidence."""
        if session.awaiting is not None:
            self._scorer.offer(session.awaiting, truth, split)
        session.awaiting = None
        if assigned and route.variant is not None:
            session.awaiting = PendingPrediction(
                prediction, route.variant, route.version, split, key or session.id, session.id
            )

    def predicted(
        self, prediction: Vector, preference: RequestOptions, route: Route, split: TrafficSplit
    ) -> None:
        """A stateless caller has got `prediction`, and may label it by its request's id."""
        request_id, caller = preference.request_id, preference.caller
        if self._labels is None or request_id is None or caller is None:
            return
        if route.assigned and route.variant is not None:
            # Without a key one was drawn for this request, which the id then stands for.
            alone = preference.key is None
            key = request_id if preference.key is None else preference.key
            made = PendingPrediction(
                prediction, route.variant, route.version, split, key, key, alone
            )
            self._labels.keep(caller, request_id, made)

    def label(self, caller: bytes, request_id: str, vectors: Vectors, split: TrafficSplit) -> bool:
        """Score what was predicted for that request of `caller`; False if it was before.

        `vectors` `[1, dim]` is the one that came. Raises `Invalid`, `NotFound`, `Gone`,
        and `QueueFull`: the label has then not been counted.
        """
        if self._labels is None:
            raise NotFound("this service takes no labels: its setting feedback.max_bytes is 0")
        try:
            made = self._labels.find(caller, request_id)
        except (NotFound, Gone) as error:
            self._metrics.feedback.labels(error.code).inc()
            raise
        if made is None:
            self._metrics.feedback.labels("repeated").inc()
            return False
        check(vectors, len(made.vector), 1)
        if not self._scorer.offer(made, vectors[0], split):
            raise QueueFull("too many predictions wait to be scored; send the label again", 1.0)
        self._labels.counted(caller, request_id)
        self._metrics.feedback.labels("counted").inc()
        return True
