"""Helpers for the tests of online scoring: splits, predictions, and counters."""

from __future__ import annotations

from service.metrics import Metrics, new_registry
from service.quality.distractor_pool import POOL_SIZE
from service.quality.online_scorer import OnlineScorer
from service.quality.pending_prediction import PendingPrediction
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.types import Variant
from tests.support.fakes import DIM, unit_vectors

SPLIT = TrafficSplit("phase-2", "phase-3", 5000, "salt")
ALL_STABLE = TrafficSplit("phase-2")


def prediction(vector, key="key", *, variant=Variant.STABLE, split=SPLIT, owner=None, **more):
    version = "phase-2" if variant is Variant.STABLE else "phase-3"
    return PendingPrediction(vector, variant, version, split, key, owner or key, **more)


class ScorerFixture:
    """A scorer with a full distractor pool, and its metrics; vectors have `fakes.DIM` elements."""

    def __init__(self, clock, *, full=True) -> None:
        self.metrics = Metrics(new_registry(), 10.0)
        self.traffic = TrafficRouter(SPLIT)
        self.scorer = OnlineScorer(self.traffic, self.metrics, clock, DIM)
        if full:
            for i, vector in enumerate(unit_vectors(POOL_SIZE, seed=99)):
                self.offer(vector, vector, key=f"before-{i}", split=ALL_STABLE)
            self.scorer.drain()

    def offer(self, made, truth, key="key", *, split=SPLIT, **more):
        """Offer a prediction made and labelled under `split`, which is the current one."""
        self.traffic.set(split)
        return self.scorer.offer(prediction(made, key, split=split, **more), truth, split)

    def count(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels)

    def shares(self, variant="stable", version="phase-2"):
        """The number of keys counted, and the sum of their shares of hits."""
        labels = {"variant": variant, "version": version}
        name = "nextvec_online_key_share"
        return self.count(f"{name}_count", **labels), self.count(f"{name}_sum", **labels)
