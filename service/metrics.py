"""The service's metrics with their names, labels and buckets, in an injected registry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
)
from prometheus_client import Histogram as LockedHistogram

from service.histogram import Histogram, HistogramSeries
from service.metrics_page import MetricsPage
from service.quality_metrics import QualityMetrics
from service.rollout_metrics import RolloutMetrics
from service.types import TIMED, Mode, RequestOutcome, Variant
from service.usage import UsageTotals

_RequestKey = tuple[str, str, Mode, RequestOutcome]
_EngineKey = tuple[str, str, Mode]

BUCKET_RATIO = math.sqrt(1.2)
"""Two buckets make a factor of 1.2: for every edge τ, 1.2·τ is an edge too."""

UNASSIGNED = "unassigned"
"""The `variant` label of requests that are measured but are not evidence: those that
override the split, those that move a session to another version, and contexts whose
prefix the other version has cached further."""


LOGIN_FAILURES = {
    "admin": ("missing", "unknown", "invalid", "expired", "no_role"),
    "predictions": ("missing", "unknown"),
}
"""Why a log-in fails, for the admin routes and for predictions."""


def duration_buckets(top: float, bottom: float = 0.000_2) -> tuple[float, ...]:
    """Geometric edges in seconds from `bottom` to the first one above `top`."""
    count = math.ceil(math.log(top / bottom) / math.log(BUCKET_RATIO)) + 1
    return tuple(bottom * BUCKET_RATIO**i for i in range(count + 1))


def coarse_buckets(top: float, bottom: float = 0.000_2) -> tuple[float, ...]:
    """Edges in seconds a factor of two apart, for durations that no verdict reads."""
    count = math.ceil(math.log2(top / bottom)) + 1
    return tuple(bottom * 2.0**i for i in range(count + 1))


def new_registry() -> CollectorRegistry:
    """A new registry: the service registers nothing globally."""
    # The `_created` series would double some thousand label sets, and nobody reads them.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own gap
    return CollectorRegistry()


class Metrics:
    """The service's metrics.

    `timeout` is the longest a request may take, in seconds. The top bucket edge lies above
    it; otherwise both variants would saturate there and compare as equal.
    """

    def __init__(self, registry: CollectorRegistry, timeout: float) -> None:
        self.registry = registry
        self.usage = UsageTotals()
        # Cached, because the library looks up a label set under a lock, in about 12 µs.
        self._requests: dict[_RequestKey, tuple[Counter, HistogramSeries | None]] = {}
        self._engines: dict[_EngineKey, tuple[HistogramSeries, HistogramSeries | None]] = {}
        self._expected: set[str] = set()
        self._unloaded: set[str] = set()
        self.edges = duration_buckets(timeout)
        coarse = coarse_buckets(timeout)
        self.requests = Counter(
            "nextvec_requests",
            "Requests by how they ended.",
            ("variant", "version", "mode", "outcome"),
            registry=registry,
        )
        self.request_duration = Histogram(
            "nextvec_request_duration_seconds",
            "Time from the arrival of a request's vectors to its prediction, or to the caller's "
            "leaving.",
            ("variant", "version", "mode"),
            buckets=self.edges,
            registry=registry,
        )
        self.unassigned_duration = Histogram(
            "nextvec_unassigned_duration_seconds",
            "The same for requests that are not evidence.",
            ("version", "mode"),
            buckets=coarse,
            registry=registry,
        )
        self.queue_duration = Histogram(
            "nextvec_queue_duration_seconds",
            "Time a prediction waited for the engine.",
            ("variant", "version"),
            buckets=coarse,
            registry=registry,
        )
        self.inference_duration = Histogram(
            "nextvec_inference_duration_seconds",
            "Time in the engine, for the whole batch of a prediction that is evidence.",
            ("variant", "version", "mode"),
            buckets=self.edges,
            registry=registry,
        )
        self.batch_size = LockedHistogram(  # the threads of all schedulers observe it
            "nextvec_batch_size",
            "Jobs that ran in one batch.",
            ("version",),
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.engine_busy = Counter(
            "nextvec_engine_busy_seconds_total",
            "Seconds in which a batch ran in the engine. Its rate is how busy the engine is.",
            ("version",),
            registry=registry,
        )
        self.refused = Counter(
            "nextvec_requests_refused_total",
            "Predictions refused before they were read, because too many were in progress.",
            registry=registry,
        )
        self.sessions = Gauge("nextvec_sessions", "Sessions in memory.", registry=registry)
        self.session_bytes = Gauge(
            "nextvec_session_bytes", "Memory of all sessions.", registry=registry
        )
        self.queue_length = Gauge(
            "nextvec_queue_length",
            "Jobs waiting for the engine.",
            ("version",),
            registry=registry,
        )
        self.version_info = Gauge(
            "nextvec_version_info",
            "1 for each loaded version, its execution provider, and the precision of its steps.",
            ("version", "provider", "precision"),
            registry=registry,
        )
        self.prefix_cache = Counter(
            "nextvec_prefix_cache_vectors_total",
            "Vectors of whole contexts: found in the prefix cache (hit), or run (miss).",
            ("result",),
            registry=registry,
        )
        self.prefix_hits = self.prefix_cache.labels("hit")
        self.prefix_misses = self.prefix_cache.labels("miss")
        self.failed_logins = Counter(
            "nextvec_failed_logins_total",
            "Requests without a valid token or API key.",
            ("surface", "reason"),
            registry=registry,
        )
        for surface, reasons in LOGIN_FAILURES.items():
            for reason in reasons:
                self.failed_logins.labels(surface, reason)
        self.caller_limited = Counter(
            "nextvec_caller_limited_total",
            "Requests of an API key that were refused because of a limit of the key.",
            ("caller", "limit"),
            registry=registry,
        )

        self.quality = QualityMetrics(registry)
        self.rollout = RolloutMetrics(registry, self.edges)

        self.page = MetricsPage(registry)
        self._by_version: tuple[Counter | Gauge | Histogram | LockedHistogram, ...] = (
            self.requests,
            self.request_duration,
            self.unassigned_duration,
            self.queue_duration,
            self.inference_duration,
            self.batch_size,
            self.engine_busy,
            self.queue_length,
            self.quality.key_share,
            self.rollout.shadow_inference,
            self.rollout.shadow_agreement,
        )

    def observe_request(
        self,
        variant: str,
        version: str,
        mode: Mode,
        outcome: RequestOutcome,
        seconds: float,
        exemplar: dict[str, str] | None = None,
    ) -> None:
        """Count one request. `variant` is a variant's name, or `UNASSIGNED`.

        Its duration is observed if the outcome is one of `TIMED`. `exemplar` is the trace
        that it belongs to.
        """
        key = (variant, version, mode, outcome)
        series = self._requests.get(key)
        if series is None:
            if version in self._unloaded:
                return
            series = self._requests[key] = self._request_series(*key)
        count, duration = series
        count.inc()
        if duration is not None:
            duration.observe(seconds, exemplar)
        self.usage.add_request(version, seconds, succeeded=outcome is RequestOutcome.OK)

    def observe_engine(
        self,
        variant: str,
        version: str,
        mode: Mode,
        queue_seconds: float,
        seconds: float,
        exemplar: dict[str, str] | None = None,
    ) -> None:
        """Observe one prediction's time in the queue and in the engine, in seconds.

        `variant` is a variant's name, or `UNASSIGNED`; then only the queue is observed.
        """
        key = (variant, version, mode)
        series = self._engines.get(key)
        if series is None:
            if version in self._unloaded:
                return
            series = self._engines[key] = (
                self.queue_duration.labels(variant, version),
                None
                if variant == UNASSIGNED
                else self.inference_duration.labels(variant, version, mode.value),
            )
        queue, inference = series
        queue.observe(queue_seconds, exemplar)
        if inference is not None:
            inference.observe(seconds, exemplar)
        self.usage.add_prediction(version, queue_seconds, seconds)

    def show_versions(self, loaded: Iterable[tuple[str, str, str]]) -> None:
        """Set the loaded versions: (version, provider, precision). Forget all others."""
        loaded = list(loaded)
        self.version_info.clear()
        for labels in loaded:
            self.version_info.labels(*labels).set(1)
        versions = {version for version, _, _ in loaded}
        self._unloaded -= versions
        for version in self._expected - versions:
            self._forget(version)

    def expect(self, versions: Iterable[tuple[Variant | None, str]]) -> None:
        """Create every label set of these versions at 0, before its first event.

        The variant is None for a loaded version outside the split. A series that first
        appears at 1 loses its first increment for everybody who computes differences.
        """
        for variant, version in versions:
            self._expected.add(version)
            self._unloaded.discard(version)
            for label in [UNASSIGNED] if variant is None else [variant.value, UNASSIGNED]:
                for mode in Mode:
                    for outcome in RequestOutcome:
                        self._request_series(label, version, mode, outcome)
                    if label != UNASSIGNED:
                        self.inference_duration.labels(label, version, mode.value)
                self.queue_duration.labels(label, version)
            if variant is not None:
                self.quality.expect(variant.value, version)
            if variant is Variant.CANARY:
                self.rollout.expect_canary(version)
            self.batch_size.labels(version)
            self.engine_busy.labels(version)
            self.queue_length.labels(version)

    def expect_caller(self, name: str) -> None:
        """Create the label sets of an API key's holder at 0."""
        for limit in ("requests", "vectors", "sessions"):
            self.caller_limited.labels(name, limit)

    def observe_batch(self, version: str) -> Callable[[int, float], None]:
        """A function that observes size and seconds of a batch of `version`, from any thread."""
        observe = self.batch_size.labels(version).observe
        add_seconds = self.engine_busy.labels(version).inc

        def observe_run(jobs: int, seconds: float) -> None:
            observe(jobs)
            add_seconds(seconds)
            self.usage.add_run(version)

        return observe_run

    def _request_series(
        self, variant: str, version: str, mode: Mode, outcome: RequestOutcome
    ) -> tuple[Counter, HistogramSeries | None]:
        """A label set's counter, and its histogram if durations are observed."""
        duration = None
        if outcome in TIMED:
            if variant == UNASSIGNED:
                duration = self.unassigned_duration.labels(version, mode.value)
            else:
                duration = self.request_duration.labels(variant, version, mode.value)
        return self.requests.labels(variant, version, mode.value, outcome.value), duration

    def _forget(self, version: str) -> None:
        """Remove the series of an unloaded version. Requests that still end are not counted."""
        self._expected.discard(version)
        self._unloaded.add(version)
        self.usage.forget(version)
        self._requests = {k: kept for k, kept in self._requests.items() if k[1] != version}
        self._engines = {k: kept for k, kept in self._engines.items() if k[1] != version}
        for metric in self._by_version:
            metric.remove_by_labels({"version": version})
