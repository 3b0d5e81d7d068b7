"""The metrics of a rollout: its state, its guardrails, shadow copies and webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from service.histogram import Histogram
from service.types import Mode


class RolloutMetrics:
    """The metrics of a rollout. `edges` are the bucket edges of durations, in seconds."""

    def __init__(self, registry: CollectorRegistry, edges: Sequence[float]) -> None:
        self.info = Gauge(
            "nextvec_rollout_info",
            "1 for the current phase and versions.",
            ("phase", "stable", "canary"),
            registry=registry,
        )
        self.reason = Gauge(
            "nextvec_rollout_reason_info",
            "1 for the reason of the last transition; a final phase keeps the one that led to it.",
            ("reason",),
            registry=registry,
        )
        self.outlook = Gauge(
            "nextvec_rollout_outlook_info",
            "1 for how the rollout stands, in the words of its status.",
            ("outlook",),
            registry=registry,
        )
        self.decision_timestamp = Gauge(
            "nextvec_rollout_decision_timestamp_seconds",
            "When the next decision falls, in epoch seconds: expected, earliest, and its deadline.",
            ("bound",),
            registry=registry,
        )
        self.weight = Gauge(
            "nextvec_rollout_weight_ratio",
            "Share of new requests, 0..1.",
            ("variant",),
            registry=registry,
        )
        self.transitions = Counter(
            "nextvec_rollout_transitions_total",
            "Changes of phase.",
            ("from", "to", "reason"),
            registry=registry,
        )
        self.guardrail_rollbacks = Counter(
            "nextvec_guardrail_rollbacks_total",
            "Rollbacks by the guardrail that failed.",
            ("guardrail",),
            registry=registry,
        )
        self.guardrail_log_evidence = Gauge(
            "nextvec_guardrail_log_evidence",
            "Log evidence (ln E) of the sequential test; it decides at its bound.",
            ("guardrail", "side"),
            registry=registry,
        )
        self.guardrail_log_bound = Gauge(
            "nextvec_guardrail_log_bound",
            "Log bound ln(1/alpha) at which the guardrail decides; 0 while it is off.",
            ("guardrail", "side"),
            registry=registry,
        )
        self.guardrail_ratio = Gauge(
            "nextvec_guardrail_ratio",
            "Last estimate of canary over stable; informative, not used by the verdict.",
            ("guardrail",),
            registry=registry,
        )
        self.guardrail_ratio_limit = Gauge(
            "nextvec_guardrail_ratio_limit",
            "The plan's limit on canary over stable; absent without a rollout.",
            ("guardrail",),
            registry=registry,
        )
        self.guardrail_interval = Gauge(
            "nextvec_guardrail_ratio_interval",
            "Ends of the interval of canary over stable that is valid at every evaluation.",
            ("guardrail", "end"),
            registry=registry,
        )

        self.webhook_deliveries = Counter(
            "nextvec_webhook_deliveries_total",
            "Webhook deliveries: delivered transitions, failed attempts, dropped transitions.",
            ("webhook", "result"),
            registry=registry,
        )
        self.webhook_backlog = Gauge(
            "nextvec_webhook_backlog",
            "Transitions that are not yet delivered to a webhook.",
            ("webhook",),
            registry=registry,
        )
        self.shadow_copies = Counter(
            "nextvec_shadow_copies_total",
            "Copies of requests that the canary ran in a shadow step, by result.",
            ("result",),
            registry=registry,
        )
        for result in ("answered", "failed", "dropped"):
            self.shadow_copies.labels(result)
        self.shadow_inference = Histogram(
            "nextvec_shadow_inference_duration_seconds",
            "Time in the engine of copies that were the same work for both versions.",
            ("version", "mode"),
            buckets=edges[::4],
            registry=registry,
        )
        self.shadow_agreement = Gauge(
            "nextvec_shadow_agreement_ratio",
            "Mean cosine of the canary's predictions with stable's in the shadow step, -1..1.",
            ("version",),
            registry=registry,
        )

    def expect_canary(self, version: str) -> None:
        """Create the label sets of a canary's shadow copies at 0."""
        for mode in Mode:
            self.shadow_inference.labels(version, mode.value)

    def expect_webhook(self, name: str) -> None:
        """Create the webhook's label sets at 0."""
        for result in ("delivered", "failed", "dropped"):
            self.webhook_deliveries.labels(name, result)
        self.webhook_backlog.labels(name)


class FleetMetrics:
    """The metrics of a replica of a fleet. They exist only where replicas share a rollout."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.is_up = True

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"nextvec_fleet_{name}", text, registry=registry)

        self._up = gauge("store_up", "1 while the store of the fleet answers this replica.")
        self._leader = gauge("leader", "1 on the replica that evaluates the rollout.")
        self._revision = gauge("revision", "Revision of the rollout's record on this replica.")
        self._age = gauge(
            "record_age_seconds", "Seconds since this replica read or confirmed the record."
        )
        self._replicas = gauge("replicas", "Living replicas of the fleet.")
        self._withheld = gauge(
            "canary_withheld", "1 while this replica keeps a canary out of traffic by itself."
        )
        self._outdated = gauge(
            "record_outdated", "1 while the store holds an older record than a replica has seen."
        )

    def publish(
        self,
        *,
        up: bool | None,
        leads: bool,
        revision: int,
        unread_seconds: float,
        replicas: int,
        withheld: bool,
        outdated: bool,
    ) -> None:
        """Set all metrics; `up` is None if the store was not asked."""
        self.is_up = self.is_up if up is None else up
        self._up.set(self.is_up)
        self._leader.set(leads)
        self._revision.set(revision)
        self._age.set(unread_seconds)
        self._replicas.set(replicas)
        self._withheld.set(withheld)
        self._outdated.set(outdated)
