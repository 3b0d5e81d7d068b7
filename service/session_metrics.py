"""The metrics of the shared store of sessions; they exist only where there is one."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from service.histogram import Histogram

CLAIM_REASONS = ("begin", "move", "fenced", "mismatch")
"""Why a session was claimed: it is new, this replica did not hold it, another one has claimed it
since, or a caller named another position than the copy in memory."""

FAILURES = ("timeout", "down", "memory_full", "refused")
"""How a call to the store fails."""


class SessionStoreMetrics:
    """The metrics of the shared store of sessions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.duration = Histogram(
            "nextvec_session_store_duration_seconds",
            "Time from a call to the shared store of sessions to its reply.",
            (),
            buckets=tuple(0.000_1 * 2.0**i for i in range(14)),
            registry=registry,
        )
        self.observe = self.duration.labels().observe
        self.failures = Counter(
            "nextvec_session_store_failures_total",
            "Calls to the shared store of sessions that failed.",
            ("reason",),
            registry=registry,
        )
        self.claims = Counter(
            "nextvec_session_claims_total",
            "Sessions that this replica has claimed.",
            ("reason",),
            registry=registry,
        )
        self.fenced = Counter(
            "nextvec_session_fenced_writes_total",
            "Writes that the store refused, because another replica had claimed the session.",
            registry=registry,
        )
        self.lost = Counter(
            "nextvec_session_lost_vectors_total",
            "Vectors that were answered and never stored (durability async or when_store_down "
            "serve). The next append to their session is told the true position.",
            registry=registry,
        )
        self.backlog = Gauge(
            "nextvec_session_backlog_vectors",
            "Vectors that are answered and not stored yet.",
            registry=registry,
        )
        self.up = Gauge(
            "nextvec_session_store_up",
            "1 while the shared store of sessions can be reached.",
            registry=registry,
        )
        for reason in CLAIM_REASONS:
            self.claims.labels(reason)
        for reason in FAILURES:
            self.failures.labels(reason)

    def count_failure(self, kind: str) -> None:
        """Count a failed call: `timeout`, `down`, or the first word of the server's refusal."""
        reason = "memory_full" if kind == "OOM" else kind
        self.failures.labels(reason if reason in FAILURES else "refused").inc()

    def watch(self, up: Callable[[], bool], backlog: Callable[[], int]) -> None:
        """Read two gauges from where they are known."""
        self.up.set_function(lambda: float(up()))
        self.backlog.set_function(backlog)
