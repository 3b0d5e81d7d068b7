"""The metrics of online quality: scores of predictions and labels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from service.histogram import Histogram
from service.types import SHARES

HIT_RANKS = (1, 5, 10)
"""The k of Hit@k."""

FEEDBACK_RESULTS = ("counted", "repeated", "prediction_not_found", "prediction_gone")
"""The results of a label; the last two are error codes."""

_COSINES = tuple(round(0.1 * i, 1) for i in range(11))


class QualityMetrics:
    """The metrics of online quality."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.cosine = Histogram(
            "nextvec_online_cosine",
            "Cosine of a prediction with the vector that came next; negative values count as 0.",
            ("variant",),
            buckets=_COSINES,
            registry=registry,
        )
        self.predictions = Counter(
            "nextvec_online_predictions_total",
            "Predictions that were ranked among other sessions' vectors.",
            ("variant",),
            registry=registry,
        )
        self.hits = Counter(
            "nextvec_online_hits_total",
            "Ranked predictions whose true vector was among the k nearest.",
            ("variant", "k"),
            registry=registry,
        )
        self.key_share = Histogram(
            "nextvec_online_key_share",
            "Routing keys by their Hit@5 over their first predictions in a step.",
            ("variant", "version"),
            buckets=SHARES,
            registry=registry,
        )
        self.dropped = Counter(
            "nextvec_online_dropped_total",
            "Predictions that were not scored because the queue was full.",
            registry=registry,
        )
        self.feedback = Counter(
            "nextvec_feedback_total",
            "Labels that callers sent.",
            ("result",),
            registry=registry,
        )
        for result in FEEDBACK_RESULTS:
            self.feedback.labels(result)

    def expect(self, variant: str, version: str) -> None:
        """Create the label sets of a version in a variant at 0."""
        self.cosine.labels(variant)
        self.predictions.labels(variant)
        for k in HIT_RANKS:
            self.hits.labels(variant, k)
        self.key_share.labels(variant, version)
