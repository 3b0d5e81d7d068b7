"""The rollout at a glance: phase, weight, the P95 ratio, evidence, shadow copies, webhooks."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import (
    GREEN,
    GREY,
    HUES,
    RED,
    instant_query,
    limited,
    query,
    stacked,
    stat_panel,
    state_timeline,
    table_panel,
    time_series,
)
from deploy.grafana.promql import P95_RATIO, answered_quantile

RATIO_LIMIT = 1.2

_SMALL = 5
"""Height of the panels that are read only at times."""


def panels() -> list[Builder[Panel]]:
    return [*_status(), *_latency_and_evidence(), *_progress(), *_shadow(), _webhooks()]


def _status() -> list[Builder[Panel]]:
    return [
        stat_panel(
            "Rollout",
            6,
            "The current phase and the two versions. The phase panel below and "
            "`nextvec rollout history` show how the rollout got here.",
            [
                instant_query(
                    "max by (phase, stable, canary) (nextvec_rollout_info == 1)",
                    "{{phase}}: stable {{stable}}, canary {{canary}}",
                )
            ],
            names=True,
        ),
        stat_panel(
            "Last reason",
            4,
            "Why the rollout last changed its phase or step. A final phase keeps the reason that "
            "led to it.",
            [instant_query("max by (reason) (nextvec_rollout_reason_info)", "{{reason}}")],
            names=True,
        ),
        stat_panel(
            "Canary weight",
            4,
            "The share of new requests that the split sends to the canary.",
            [instant_query('max(nextvec_rollout_weight_ratio{variant="canary"})', "canary")],
        ).unit("percentunit"),
        stat_panel(
            "P95, canary over stable",
            4,
            "Computed over the chosen window; red above 1.2. This is a hint only: it jumps when "
            "there are few requests. The guardrail's own test decides; see the evidence below.",
            [instant_query(P95_RATIO, "ratio")],
            limit=RATIO_LIMIT,
        ).decimals(2),
        table_panel(
            "Alerts firing",
            6,
            "The alerts that fire now; an empty table is good. docs/how-to/runbook.md explains "
            "each of them.",
            'max by (alertname, severity) (ALERTS{alertstate="firing"})',
        ),
    ]


def _latency_and_evidence() -> list[Builder[Panel]]:
    return [
        time_series(
            "P95 per variant",
            12,
            "95th percentile of the duration of answered requests over the chosen window. The "
            "variants share the machine, so a slow canary can slow down stable too: compare "
            "stable with its P95 before the rollout.",
            [query(answered_quantile(), "{{variant}} P95")],
        ).unit("s"),
        limited(
            time_series(
                "P95 ratio, canary over stable",
                12,
                "Below the dashed line at 1.2 the canary meets the guardrail. 'over the window' "
                "is computed from the metrics; 'guardrail' is the service's estimate over the "
                "current step. Neither is the verdict: a single point above the line is often "
                "chance.",
                [
                    query(P95_RATIO, "over the window"),
                    query(
                        "max by (guardrail) "
                        '(nextvec_guardrail_ratio{guardrail=~"latency|inference"})',
                        "guardrail {{guardrail}}",
                    ),
                ],
                {"window": HUES["canary"], "guardrail": "purple"},
            ),
            RATIO_LIMIT,
        ),
        limited(
            time_series(
                "Evidence as a share of the verdict bound",
                12,
                "ln E of each guardrail's sequential test, divided by the bound that its share of "
                "alpha sets. A line that reaches the dashed line at 1 is a verdict: 'fail' rolls "
                "back; 'pass' lets the plan continue once every required guardrail has passed. "
                "Between the bounds there is no verdict yet. A flat line while the canary has "
                "traffic means that the test is still learning stable's P95 (it needs 1,000 "
                "stable requests) or that the guardrail does not run.",
                [
                    query(
                        "max by (guardrail, side) (nextvec_guardrail_log_evidence "
                        "/ clamp_min(nextvec_guardrail_log_bound, 1))",
                        "{{guardrail}} {{side}}",
                    )
                ],
                {"fail$": RED, "pass$": GREEN},
                from_zero=False,
            ).decimals(2),
            1,
        ),
    ]


def _progress() -> list[Builder[Panel]]:
    return [
        stacked(
            time_series(
                "Weight per variant",
                12,
                "The split of new requests, stacked to 100 %. A step up comes from the plan or a "
                "person. A fall of the canary to 0 is an abort or a rollback.",
                [query("max by (variant) (nextvec_rollout_weight_ratio)", "{{variant}}")],
            )
            .unit("percentunit")
            .max(1)
        ),
        state_timeline(
            "Phase",
            24,
            "One lane for each phase of the rollout. The annotations show the reasons.",
            [query("max by (phase) (nextvec_rollout_info == 1)", "{{phase}}")],
        ).height(_SMALL),
    ]


def _shadow() -> list[Builder[Panel]]:
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
        )
        .unit("reqps")
        .height(_SMALL),
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
        )
        .unit("s")
        .height(_SMALL),
        time_series(
            "Shadow: agreement with stable",
            8,
            "Mean cosine between the canary's predictions and stable's over the shadow step. The "
            "expected value depends on the versions: close to 1 for the same model, lower for a "
            "different one.",
            [query("max by (version) (nextvec_shadow_agreement_ratio)", "{{version}}")],
            {},
            from_zero=False,
        )
        .height(_SMALL)
        .decimals(3),
    ]


def _webhooks() -> Builder[Panel]:
    return time_series(
        "Webhooks",
        24,
        "Transitions delivered to each webhook, and transitions that wait. A backlog that does "
        "not shrink means that the receiver refuses or is down; the log has its status. The "
        "rollout does not wait for deliveries.",
        [
            query("max by (webhook) (nextvec_webhook_backlog)", "{{webhook}} waiting"),
            query(
                "sum by (webhook, result) (increase(nextvec_webhook_deliveries_total[$window]))",
                "{{webhook}} {{result}}",
            ),
        ],
        {"failed": RED, "dropped": RED, "delivered": GREEN},
    ).height(_SMALL)
