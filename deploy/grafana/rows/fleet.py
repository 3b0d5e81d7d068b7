"""The fleet: who is there and who leads, and how the store of the sessions does."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import GREEN, GREY, RED, logarithmic, query, time_series
from deploy.grafana.promql import quantile

_STORE = "nextvec_session_store_duration_seconds"


def panels() -> list[Builder[Panel]]:
    return [*_rollout(), *_sessions()]


def _rollout() -> list[Builder[Panel]]:
    return [
        time_series(
            "Replicas, leader, withheld canaries",
            8,
            "Living replicas, those that lead (one, or none for at most ten seconds), and those "
            "that keep the canary out of traffic by themselves; their status says why.",
            [
                query("max(nextvec_fleet_replicas)", "living"),
                query("sum(nextvec_fleet_leader)", "leading"),
                query("sum(nextvec_fleet_canary_withheld)", "withholding the canary"),
                query("sum(nextvec_fleet_record_outdated)", "with an older record in the database"),
            ],
            {"^living": GREY, "^leading": GREEN, "^withholding": "orange", "^with an": RED},
        ),
        time_series(
            "Stores that replicas cannot reach",
            8,
            "Replicas without PostgreSQL serve stable alone; those without Redis refuse sessions, "
            "or serve those that they hold. Revisions behind: what some replicas have not read.",
            [
                query("count(nextvec_fleet_store_up == 0) or vector(0)", "without PostgreSQL"),
                query("count(nextvec_session_store_up == 0) or vector(0)", "without Redis"),
                query(
                    "max(nextvec_fleet_revision) - min(nextvec_fleet_revision)",
                    "revisions behind",
                ),
            ],
            {"^without": RED, "^revisions": GREY},
        ),
        time_series(
            "Age of the rollout's record",
            8,
            "Since each replica has read or confirmed the record in PostgreSQL. It is about a "
            "second; at nine, the replica gives the canary no traffic.",
            [query("max by (instance) (nextvec_fleet_record_age_seconds)", "{{instance}}")],
            {},
        ).unit("s"),
    ]


def _sessions() -> list[Builder[Panel]]:
    return [
        logarithmic(
            time_series(
                "Calls of the session store",
                8,
                "From a call to Redis to its reply, on all replicas. With durability sync an "
                "answer waits for it, beside the engine's step.",
                [
                    query(quantile(0.5, _STORE, "", ""), "P50"),
                    query(quantile(0.99, _STORE, "", ""), "P99"),
                ],
                {},
                from_zero=False,
            )
        ),
        time_series(
            "Sessions claimed per second",
            8,
            "begin: a new session. move: another replica had it, or nobody. Many moves without a "
            "change of the replicas mean that the load balancer does not hash by the session's id.",
            [
                query(
                    "sum by (reason) (rate(nextvec_session_claims_total[$window]))", "{{reason}}"
                ),
                query("sum(rate(nextvec_session_fenced_writes_total[$window]))", "writes refused"),
            ],
            {"^writes": RED},
        ),
        time_series(
            "Vectors that wait, vectors lost, failed calls",
            8,
            "Vectors that are answered and not stored yet, those that were given up over the "
            "chosen window, and calls that failed in it, by reason.",
            [
                query("sum(nextvec_session_backlog_vectors)", "waiting"),
                query("sum(increase(nextvec_session_lost_vectors_total[$window]))", "lost"),
                query(
                    "sum by (reason) (increase(nextvec_session_store_failures_total[$window]))",
                    "calls: {{reason}}",
                ),
            ],
            {"^lost": RED, "^waiting": GREY},
        ),
    ]
