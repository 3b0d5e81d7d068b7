"""The shadow step: copies, their time in the engine, their agreement with stable."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import GREEN, GREY, RED, query, time_series


def panels() -> list[Builder[Panel]]:
    return [
        time_series(
            "Shadow: copies",
            8,
            "Copies per second during a shadow step. dropped is not a fault: copies give way to "
            "callers' requests. failed: the canary could not answer; three failures roll it back.",
            [
                query(
                    "sum by (result) (rate(nextvec_shadow_copies_total[$window]))",
                    "{{result}}",
                )
            ],
            {"failed": RED, "answered": GREEN, "dropped": GREY},
        ).unit("reqps"),
        time_series(
            "Shadow: P95 in the engine",
            8,
            "The canary's inference time for copies that were the same work for both versions. "
            "Compare it with stable's inference P95: the shadow step fails when the canary takes "
            "several times as long.",
            [
                query(
                    "histogram_quantile(0.95, sum by (version, mode, le) "
                    "(rate(nextvec_shadow_inference_duration_seconds_bucket[$window])))",
                    "{{version}} {{mode}}",
                )
            ],
            {},
        ).unit("s"),
        time_series(
            "Shadow: agreement with stable",
            8,
            "Mean cosine between the canary's predictions and stable's over the shadow step. The "
            "expected value depends on the versions: close to 1 for the same model, lower for a "
            "different one.",
            [query("max by (version) (nextvec_shadow_agreement_ratio)", "{{version}}")],
            {},
            from_zero=False,
        ).decimals(3),
    ]
