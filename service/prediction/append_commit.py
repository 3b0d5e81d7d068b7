"""What an append changes once the engine has run it."""

from __future__ import annotations

from collections.abc import Sequence

from service.contexts.session import AppendPlan, Session
from service.inference.scheduling.job import EngineResult
from service.prediction.request import Prediction, RequestOptions
from service.prediction.routing import RoutingDecision
from service.prediction.shadow_runner import ShadowRunner
from service.quality.online_scorer import OnlineScorer
from service.quality.pending_prediction import PendingPrediction
from service.types import Mode, Vector, Vectors


class AppendCommitter:
    """Applies an append to its session, copies it for the canary, scores the last prediction and
    notes the new one."""

    def __init__(self, scorer: OnlineScorer | None, shadow: ShadowRunner | None) -> None:
        self._scorer = scorer
        self._shadow = shadow

    def commit(
        self,
        session: Session,
        plan: AppendPlan,
        results: Sequence[EngineResult],
        decision: RoutingDecision,
        mode: Mode,
        options: RequestOptions,
    ) -> Prediction:
        """Commit `plan` with the results of its runs, in order, and return the prediction."""
        result, route, vectors = results[0], decision.route, plan.vectors
        states = [each.state for each in results]
        session.commit(plan, states, result.vector, route.variant, route.version, result.row)
        if self._shadow is not None and decision.is_shadowed:
            self._shadow.copy_append(session, len(vectors), mode, result, decision.split)
        if self._scorer is not None:
            if session.pending is not None:
                self._scorer.offer(session.pending, vectors[0], decision.split)
            key = options.key or session.id
            session.pending = pending_prediction(result.vector, decision, key, session.id)
        return Prediction(
            result.vector, route, result.queue_seconds, result.inference_seconds, session.length
        )


def append_mode(length: int, vectors: Vectors) -> Mode:
    """The mode of an append of `vectors` to a session of `length`."""
    if len(vectors) == 1:
        return Mode.STEP
    return Mode.MIXED if length else Mode.PREFILL


def pending_prediction(
    vector: Vector, decision: RoutingDecision, key: str, owner: str, *, single_use: bool = False
) -> PendingPrediction | None:
    """The prediction to be scored; None if it is not evidence."""
    variant, version = decision.route.variant, decision.route.version
    if variant is None or not decision.is_evidence:
        return None
    return PendingPrediction(vector, variant, version, decision.split, key, owner, single_use)
