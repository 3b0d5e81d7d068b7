"""The engine: queue, inference time, batches, sessions, prefix cache, loaded versions."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import (
    GREEN,
    GREY,
    instant_query,
    limited,
    query,
    stat_panel,
    time_series,
)
from deploy.grafana.promql import quantile

_SESSION_BUDGET_BYTES = 2**30
"""Default of the setting sessions.max_bytes."""

_BATCH = "nextvec_batch_size"


def panels() -> list[Builder[Panel]]:
    return [*_execution(), *_memory(), _versions()]


def _execution() -> list[Builder[Panel]]:
    return [
        time_series(
            "Queue wait, P95",
            8,
            "Time from admission to the start of the engine. It is the first figure to grow when "
            "the machine is too small for the traffic.",
            [query(quantile(0.95, "nextvec_queue_duration_seconds"), "{{variant}}")],
        ).unit("s"),
        time_series(
            "Inference, P95",
            8,
            "Time in the engine for the batch that the request was part of. If this rises and the "
            "queue wait does not, the model or the device is slower; the traffic is not higher.",
            [query(quantile(0.95, "nextvec_inference_duration_seconds"), "{{variant}}")],
        ).unit("s"),
        time_series(
            "Mean batch size",
            8,
            "Requests that ran together. At 1 the engine keeps up; near the setting "
            "engine.max_batch it is saturated.",
            [
                query(
                    f"sum by (version) (rate({_BATCH}_sum[$window]))"
                    f" / sum by (version) (rate({_BATCH}_count[$window]))",
                    "{{version}}",
                )
            ],
            {},
        ).decimals(1),
        time_series(
            "Engine busy",
            8,
            "The share of the time in which a batch runs, by version. Near 1 the engine is "
            "saturated: more traffic only waits.",
            [
                query(
                    "sum by (version) (rate(nextvec_engine_busy_seconds_total[$window]))",
                    "{{version}}",
                )
            ],
            {},
        ).unit("percentunit"),
        time_series(
            "Queue length",
            8,
            "Requests that wait. At the setting engine.queue_limit the service refuses new "
            "requests with 429. When too many predictions are in progress, it refuses them before "
            "it reads them.",
            [
                query("sum by (version) (nextvec_queue_length)", "{{version}}"),
                query("sum(rate(nextvec_requests_refused_total[$window]))", "refused per second"),
            ],
            {},
        ),
    ]


def _memory() -> list[Builder[Panel]]:
    return [
        time_series(
            "Sessions",
            8,
            "Contexts kept on the server. A session expires after sessions.ttl_seconds without a "
            "request. When memory is short, the least recently used session is evicted first.",
            [query("sum(nextvec_sessions)", "sessions")],
            {},
        ),
        limited(
            time_series(
                "Memory of sessions",
                8,
                "The dashed line is the default of sessions.max_bytes, 1 GiB. At the budget the "
                "service evicts sessions; their callers get 410 and must send the context again.",
                [query("sum(nextvec_session_bytes)", "bytes")],
                {},
            ).unit("bytes"),
            _SESSION_BUDGET_BYTES,
        ),
        time_series(
            "Whole contexts: vectors known and run",
            8,
            "Vectors per second of requests that send their whole context. hit: known from an "
            "earlier request of the same caller, so not run again. miss: run. If callers send "
            "growing contexts and there are only misses, prefix_cache.max_bytes is too small.",
            [
                query(
                    "sum by (result) (rate(nextvec_prefix_cache_vectors_total[$window]))",
                    "{{result}}",
                )
            ],
            {"hit": GREEN, "miss": GREY},
        ),
    ]


def _versions() -> Builder[Panel]:
    return stat_panel(
        "Versions loaded",
        8,
        "The device and the step precision of each version. If two versions differ here, their "
        "latencies do not compare the models.",
        [
            instant_query(
                "max by (version, provider, precision) (nextvec_version_info == 1)",
                "{{version}}: {{precision}} on {{provider}}",
            )
        ],
        names=True,
    )
