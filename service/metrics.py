"""Every metric name, label and bucket, over an injected registry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from service.exposition import Exposition
from service.types import SHARES, Mode, RequestOutcome, Variant

BUCKET_RATIO = math.sqrt(1.2)
"""Two buckets are 1.2: for every edge τ, 1.2·τ is an edge too."""

UNASSIGNED = "unassigned"
"""The `variant` of requests the split did not place at random, or that were not the same
work for both: those that override it, that first move a session to another version, and
contexts of which one version remembers more. They are measured, and left out of the
evidence by this label."""


HIT_RANKS = (1, 5, 10)
"""The k of Hit@k."""

FEEDBACK_RESULTS = ("counted", "repeated", "prediction_not_found", "prediction_gone")
"""What became of a label; the last two are the errors' codes."""

_COSINES = tuple(round(0.1 * i, 1) for i in range(11))


@dataclass(frozen=True)
class Total:
    """How many, and how long they took in all."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Usage:
    """What a version has done: requests, predictions, and runs of its engine."""

    succeeded: Total
    failed: Total
    queue: Total
    inference: Total
    runs: int


def duration_buckets(top: float, bottom: float = 0.000_2) -> tuple[float, ...]:
    """Geometric edges in seconds from `bottom` to the first one above `top`."""
    count = math.ceil(math.log(top / bottom) / math.log(BUCKET_RATIO)) + 1
    return tuple(bottom * BUCKET_RATIO**i for i in range(count + 1))


def new_registry() -> CollectorRegistry:
    """A registry of one's own: nothing in this service is registered globally."""
    # One more series for each of some thousand label sets, which nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own gap
    return CollectorRegistry()


class Metrics:
    """The service's instruments.

    `timeout` (seconds) is the longest a request may take: the top bucket edge
    lies above it, or both variants would saturate there and compare as equal.
    """

    def __init__(self, registry: CollectorRegistry, timeout: float) -> None:
        self.registry = registry
        # The library looks a label set up under a lock, a dozen microseconds each.
        self._requests: dict[tuple[str, str, Mode, RequestOutcome], Histogram] = {}
        self._engines: dict[tuple[str, str, Mode], tuple[Histogram, Histogram]] = {}
        self.edges = duration_buckets(timeout)
        self.request_duration = Histogram(
            "nextvec_request_duration_seconds",
            "From the request's vectors at hand to its prediction ready.",
            ("variant", "version", "mode", "outcome"),
            buckets=self.edges,
            registry=registry,
        )
        self.queue_duration = Histogram(
            "nextvec_queue_duration_seconds",
            "Waiting for the engine.",
            ("variant", "version"),
            buckets=self.edges,
            registry=registry,
        )
        self.inference_duration = Histogram(
            "nextvec_inference_duration_seconds",
            "In the engine, the batch it was part of included.",
            ("variant", "version", "mode"),
            buckets=self.edges,
            registry=registry,
        )
        self.batch_size = Histogram(
            "nextvec_batch_size",
            "Requests that ran together.",
            ("version",),
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.sessions = Gauge("nextvec_sessions", "Sessions kept.", registry=registry)
        self.session_bytes = Gauge(
            "nextvec_session_bytes", "Memory of the sessions kept.", registry=registry
        )
        self.queue_length = Gauge(
            "nextvec_queue_length", "Requests waiting.", ("version",), registry=registry
        )
        self.version_info = Gauge(
            "nextvec_version_info",
            "1 for every version loaded: where it runs, and the precision of its steps.",
            ("version", "provider", "precision"),
            registry=registry,
        )
        self.prefix_cache = Counter(
            "nextvec_prefix_cache_vectors_total",
            "Vectors of whole contexts: known from an earlier one, or run.",
            ("result",),
            registry=registry,
        )
        self.prefix_hits = self.prefix_cache.labels("hit")
        self.prefix_misses = self.prefix_cache.labels("miss")
        self.online_cosine = Histogram(
            "nextvec_online_cosine",
            "Cosine of a prediction with the vector that came; below 0 it counts as 0.",
            ("variant",),
            buckets=_COSINES,
            registry=registry,
        )
        self.online_predictions = Counter(
            "nextvec_online_predictions_total",
            "Predictions ranked among other sessions' vectors.",
            ("variant",),
            registry=registry,
        )
        self.online_hits = Counter(
            "nextvec_online_hits_total",
            "Those whose true vector was among the k nearest.",
            ("variant", "k"),
            registry=registry,
        )
        self.online_key_share = Histogram(
            "nextvec_online_key_share",
            "Routing keys by the share of Hit@5 in their first predictions of a step.",
            ("variant", "version"),
            buckets=SHARES,
            registry=registry,
        )
        self.online_dropped = Counter(
            "nextvec_online_dropped_total",
            "Predictions not scored: more came than could be.",
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
        self.rollout_info = Gauge(
            "nextvec_rollout_info",
            "1 for the present phase and versions.",
            ("phase", "stable", "canary"),
            registry=registry,
        )
        self.rollout_weight = Gauge(
            "nextvec_rollout_weight_ratio",
            "Share of new requests, 0..1.",
            ("variant",),
            registry=registry,
        )
        self.rollout_transitions = Counter(
            "nextvec_rollout_transitions_total",
            "Changes of phase.",
            ("from", "to", "reason"),
            registry=registry,
        )
        self.guardrail_log_evidence = Gauge(
            "nextvec_guardrail_log_evidence",
            "ln E of the sequential test; the verdict falls at its bound.",
            ("guardrail", "side"),
            registry=registry,
        )
        self.guardrail_log_bound = Gauge(
            "nextvec_guardrail_log_bound",
            "Where the verdict falls: ln(1/alpha) for this guardrail's share; 0 while it is off.",
            ("guardrail", "side"),
            registry=registry,
        )
        self.guardrail_ratio = Gauge(
            "nextvec_guardrail_ratio",
            "Canary's figure over stable's, as last estimated; for people, not the verdict.",
            ("guardrail",),
            registry=registry,
        )

        self.webhook_deliveries = Counter(
            "nextvec_webhook_deliveries_total",
            "Transitions told to a webhook, failed tries, and transitions given up.",
            ("webhook", "result"),
            registry=registry,
        )
        self.webhook_backlog = Gauge(
            "nextvec_webhook_backlog",
            "Transitions that a webhook has not been told yet.",
            ("webhook",),
            registry=registry,
        )

        self.shadow_copies = Counter(
            "nextvec_shadow_copies_total",
            "Copies of requests for the canary in a shadow step.",
            ("result",),
            registry=registry,
        )
        for result in ("answered", "failed", "dropped"):
            self.shadow_copies.labels(result)
        self.shadow_inference = Histogram(
            "nextvec_shadow_inference_duration_seconds",
            "In the engine, of copies that were the same work for both versions.",
            ("version", "mode"),
            buckets=self.edges,
            registry=registry,
        )
        self.shadow_agreement = Gauge(
            "nextvec_shadow_agreement_ratio",
            "Mean cosine of the canary's predictions with stable's, -1..1, in the shadow step.",
            ("version",),
            registry=registry,
        )

        self._exposition = Exposition(registry)

    def render(self) -> bytes:
        """The registry as Prometheus text."""
        return self._exposition.render()

    def observe_request(
        self, variant: str, version: str, mode: Mode, outcome: RequestOutcome, seconds: float
    ) -> None:
        """Count one request. `variant` is a variant's name, or `UNASSIGNED`."""
        key = (variant, version, mode, outcome)
        series = self._requests.get(key)
        if series is None:
            series = self.request_duration.labels(variant, version, mode.value, outcome.value)
            self._requests[key] = series
        series.observe(seconds)

    def observe_engine(
        self, variant: str, version: str, mode: Mode, queue_seconds: float, seconds: float
    ) -> None:
        """Note how long one prediction waited for its engine, and was in it.

        `variant` is a variant's name, or `UNASSIGNED`.
        """
        key = (variant, version, mode)
        series = self._engines.get(key)
        if series is None:
            series = (
                self.queue_duration.labels(variant, version),
                self.inference_duration.labels(variant, version, mode.value),
            )
            self._engines[key] = series
        series[0].observe(queue_seconds)
        series[1].observe(seconds)

    def show_versions(self, loaded: Iterable[tuple[str, str, str]]) -> None:
        """Those that are loaded: version, provider, precision."""
        self.version_info.clear()
        for labels in loaded:
            self.version_info.labels(*labels).set(1)

    def expect(self, versions: Iterable[tuple[Variant | None, str]]) -> None:
        """Create every label set of these at 0, before its first event.

        No variant: a version that is loaded and has no part in the split. A
        series that appears at 1 has lost its first increment to whoever computes
        differences.
        """
        for variant, version in versions:
            for label in [UNASSIGNED] if variant is None else [variant.value, UNASSIGNED]:
                for mode in Mode:
                    for outcome in RequestOutcome:
                        self.request_duration.labels(label, version, mode.value, outcome.value)
                    self.inference_duration.labels(label, version, mode.value)
                self.queue_duration.labels(label, version)
            if variant is not None:
                self._expect_online(variant, version)
            if variant is Variant.CANARY:
                for mode in Mode:
                    self.shadow_inference.labels(version, mode.value)
            self.batch_size.labels(version)
            self.queue_length.labels(version)

    def expect_webhook(self, name: str) -> None:
        """Create its label sets at 0."""
        for result in ("delivered", "failed", "dropped"):
            self.webhook_deliveries.labels(name, result)
        self.webhook_backlog.labels(name)

    def _expect_online(self, variant: Variant, version: str) -> None:
        self.online_cosine.labels(variant.value)
        self.online_predictions.labels(variant.value)
        for k in HIT_RANKS:
            self.online_hits.labels(variant.value, k)
        self.online_key_share.labels(variant.value, version)

    def usage(self, version: str) -> Usage:
        """Of `version`, in all its roles, since the service began. Takes milliseconds."""

        def succeeded(labels: dict[str, str]) -> bool:
            return labels["outcome"] == RequestOutcome.OK

        return Usage(
            succeeded=_total(self.request_duration, version, succeeded),
            failed=_total(self.request_duration, version, lambda of: not succeeded(of)),
            queue=_total(self.queue_duration, version),
            inference=_total(self.inference_duration, version),
            runs=_total(self.batch_size, version).count,
        )


def _total(
    histogram: Histogram, version: str, wanted: Callable[[dict[str, str]], bool] = lambda _: True
) -> Total:
    found = {"count": 0.0, "sum": 0.0}
    for metric in histogram.collect():
        for sample in metric.samples:
            kind = sample.name.rpartition("_")[2]
            if kind in found and sample.labels["version"] == version and wanted(sample.labels):
                found[kind] += sample.value
    return Total(int(found["count"]), found["sum"])
