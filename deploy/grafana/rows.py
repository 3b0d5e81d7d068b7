# ruff: noqa: INP001 - a script's folder, not a package
"""The dashboard's rows: what each panel asks, and how to read it."""

from __future__ import annotations

from parts import GREEN, GREY, HUES, RED, Json, now, panel, query, stat
from promql import ARMS, FAULTS, P95_RATIO, SERVED, TIMED, answered, quantile, requests

RATIO_LIMIT = 1.2

SESSION_BUDGET = 2**30
"""The setting sessions.max_bytes, by default."""

# Light to dark, so that the lines of one variant stay one colour.
SHADES = {"P50": "light-", "P95": "", "P99": "dark-"}
MODE_SHADES = {"mixed": "light-", "step": "", "prefill": "dark-"}


def fit() -> list[Json]:
    return [
        stat(
            "Rollout",
            10,
            "The present phase and the two versions. Its history is in the phase panel below "
            "and in `nextvec rollout history`.",
            [
                now(
                    "max by (phase, stable, canary) (nextvec_rollout_info == 1)",
                    "{{phase}}: stable {{stable}}, canary {{canary}}",
                )
            ],
            text="name",
        ),
        stat(
            "Canary weight",
            4,
            "The share of new requests that the split gives to the canary.",
            [now('max(nextvec_rollout_weight_ratio{variant="canary"})', "canary")],
            unit="percentunit",
        ),
        stat(
            "P95, canary over stable",
            4,
            "Over the chosen window. Red over 1.2. A hint: it jumps with few requests, and the "
            "verdict is the guardrail's own test, shown as evidence below.",
            [now(P95_RATIO, "ratio")],
            limit=RATIO_LIMIT,
            defaults={"decimals": 2},
        ),
        panel(
            "table",
            "Alerts firing",
            6,
            "What Prometheus says is wrong now; empty is good. Each is explained in "
            "docs/how-to/runbook.md.",
            [now('max by (alertname, severity) (ALERTS{alertstate="firing"})', "", format="table")],
            height=4,
            colours={},
            options={"showHeader": False},
        ),
        panel(
            "timeseries",
            "P95 per variant",
            12,
            "Duration of answered requests, 95th percentile over the chosen window, per variant. "
            "The two share the machine: a slow canary can slow stable as well, so look also at "
            "where stable was before the rollout.",
            [query(answered(), "{{variant}} P95")],
            unit="s",
        ),
        panel(
            "timeseries",
            "P95 ratio, canary over stable",
            12,
            "Below the dashed line at 1.2 the canary is within the guardrail. 'over the window' "
            "is drawn from the metrics, 'guardrail' is the service's estimate over the present "
            "step. Neither is the verdict: one point over the line is often chance.",
            [
                query(P95_RATIO, "over the window"),
                query(
                    'max by (guardrail) (nextvec_guardrail_ratio{guardrail=~"latency|inference"})',
                    "guardrail {{guardrail}}",
                ),
            ],
            limit=RATIO_LIMIT,
            colours={"window": HUES["canary"], "guardrail": "purple"},
        ),
        panel(
            "timeseries",
            "Evidence, of what a verdict takes",
            12,
            "ln E of each guardrail's sequential test over the bound its share of alpha gives it. "
            "The verdict falls where a line reaches the dashed one at 1: 'fail' rolls back, 'pass' "
            "lets the plan go on once all that must have passed. In between it is not decided. A "
            "flat line under canary traffic means that the test still learns stable's P95 (it "
            "wants 1,000 stable requests) or that nobody looks.",
            [
                query(
                    "max by (guardrail, side) (nextvec_guardrail_log_evidence "
                    "/ clamp_min(nextvec_guardrail_log_bound, 1))",
                    "{{guardrail}} {{side}}",
                )
            ],
            limit=1,
            colours={"fail$": RED, "pass$": GREEN},
            defaults={"min": None, "decimals": 2},
        ),
        panel(
            "timeseries",
            "Weight per variant",
            12,
            "The split of new requests, stacked to 100 %. Steps up are the plan or a person, a "
            "fall of the canary to 0 is an abort or a rollback.",
            [query("max by (variant) (nextvec_rollout_weight_ratio)", "{{variant}}")],
            unit="percentunit",
            stack=True,
            defaults={"max": 1},
        ),
        panel(
            "state-timeline",
            "Phase",
            24,
            "One lane for each phase the rollout was in; the annotations carry the reasons.",
            [query("max by (phase) (nextvec_rollout_info == 1)", "{{phase}}")],
            height=5,
            colours={},
            options={"showValue": "never", "legend": {"showLegend": False}},
        ),
        panel(
            "timeseries",
            "Shadow: copies",
            8,
            "A second, in a shadow step. dropped is no fault: there was other work, and copies go "
            "first. failed: the canary could not answer; three of them roll it back.",
            [
                query(
                    "sum by (result) (rate(nextvec_shadow_copies_total[$window]))",
                    "{{result}}",
                )
            ],
            height=5,
            unit="reqps",
            colours={"failed": RED, "answered": GREEN, "dropped": GREY},
        ),
        panel(
            "timeseries",
            "Shadow: P95 in the engine",
            8,
            "Of the canary, on copies that were the same work for both versions. Compare with the "
            "inference P95 of stable: many times over that fails the shadow step.",
            [
                query(
                    "histogram_quantile(0.95, sum by (version, mode, le) "
                    "(rate(nextvec_shadow_inference_duration_seconds_bucket[$window])))",
                    "{{version}} {{mode}}",
                )
            ],
            height=5,
            unit="s",
            colours={},
        ),
        panel(
            "timeseries",
            "Shadow: agreement with stable",
            8,
            "Mean cosine of the canary's predictions with stable's, over the shadow step. How high "
            "it should be depends on the versions: near 1 for the same model, less for another.",
            [query("max by (version) (nextvec_shadow_agreement_ratio)", "{{version}}")],
            height=5,
            colours={},
            defaults={"min": None, "decimals": 3},
        ),
        panel(
            "timeseries",
            "Webhooks",
            24,
            "Transitions told to each webhook, and those that wait. A backlog that stays: the "
            "receiver refuses or is down, and the log has its status. Nothing waits for it.",
            [
                query("max by (webhook) (nextvec_webhook_backlog)", "{{webhook}} waiting"),
                query(
                    "sum by (webhook, result) "
                    "(increase(nextvec_webhook_deliveries_total[$window]))",
                    "{{webhook}} {{result}}",
                ),
            ],
            height=5,
            colours={"failed": RED, "dropped": RED, "delivered": GREEN},
        ),
    ]


def latency() -> list[Json]:
    percentiles = [
        panel(
            "timeseries",
            f"P50, P95, P99: {variant}",
            12,
            f"Duration of requests answered by {variant}, over the chosen window. P99 far from "
            "P95 points to queueing or to long contexts among short ones.",
            [
                query(answered(f'variant="{variant}"', "variant", q), f"{{{{variant}}}} {name}")
                for name, q in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))
            ],
            unit="s",
            colours={f"{variant} {name}": f"{shade}{hue}" for name, shade in SHADES.items()},
        )
        for variant, hue in HUES.items()
    ]
    return [
        *percentiles,
        panel(
            "timeseries",
            "P95 by mode",
            12,
            "prefill is a whole context, step one vector from a kept state, mixed several. "
            "Compare the variants within a mode, as the guardrail does: a different mix of modes "
            "moves the P95 of all requests without anything being slower.",
            [query(answered(by="variant, mode"), "{{variant}} {{mode}}")],
            unit="s",
            colours={
                f"{variant} {mode}": f"{shade}{hue}"
                for variant, hue in HUES.items()
                for mode, shade in MODE_SHADES.items()
            },
        ),
        panel(
            "heatmap",
            "Duration of all answered requests",
            12,
            "Requests by duration, both variants together. Two bands are two modes or two "
            "versions; a band that rises is a queue.",
            [
                query(
                    "sum by (le) (increase(nextvec_request_duration_seconds_bucket"
                    f"{{{ARMS}, {TIMED}}}[$__rate_interval]))",
                    "{{le}}",
                    format="heatmap",
                )
            ],
            colours={},
            options={
                "calculate": False,
                "yAxis": {"unit": "s"},
                "cellGap": 0,
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
                "filterValues": {"le": 1e-9},
                "tooltip": {"mode": "single"},
            },
        ),
    ]


def traffic() -> list[Json]:
    return [
        panel(
            "timeseries",
            "Requests per variant",
            12,
            "Requests a second, stacked. 'unassigned' are those that the split did not place: "
            "they named a variant, or moved a session to another version. They are served and "
            "left out of the evidence.",
            [query(requests('outcome=~".+"', "variant"), "{{variant}}")],
            unit="reqps",
            stack=True,
        ),
        panel(
            "timeseries",
            "Requests by outcome",
            12,
            "invalid and cancelled are the callers' doing; rejected is the queue's bound (429); "
            "error and timeout are the service's fault and count against the canary.",
            [query(requests('outcome=~".+"', "variant, outcome"), "{{variant}} {{outcome}}")],
            unit="reqps",
            colours={},
        ),
        panel(
            "timeseries",
            "Error ratio per variant",
            12,
            "Errors and timeouts over all requests that reached the engine. The dashed line, 1 %, "
            "is where the alert NextvecErrors begins.",
            [
                query(
                    f"{requests(FAULTS, 'variant')} / {requests(SERVED, 'variant')}",
                    "{{variant}}",
                )
            ],
            unit="percentunit",
            limit=0.01,
        ),
        panel(
            "timeseries",
            "Rejected, timed out, cancelled",
            12,
            "Rejected: the queue was full, callers were told to come back (429, Retry-After). "
            "Timed out: over the deadline (504). Cancelled: the caller left first (499), often "
            "because its own timeout is shorter.",
            [query(requests('outcome=~"rejected|timeout|cancelled"', "outcome"), "{{outcome}}")],
            unit="reqps",
            colours={"rejected": RED, "timeout": "purple", "cancelled": GREY},
        ),
    ]


def quality() -> list[Json]:
    hits, ranked = "nextvec_online_hits_total", "nextvec_online_predictions_total"
    cosine, share = "nextvec_online_cosine", "nextvec_online_key_share"
    return [
        panel(
            "timeseries",
            "Hit@k per variant",
            8,
            "Of the predictions whose true next vector has come, the share that had it among the "
            "k nearest of 100: the true one and the last 99 of other sessions. Chance is k in "
            "100. A hint: few sessions make it jump, and a heavy one can carry it.",
            [
                query(
                    f"sum by (variant, k) (rate({hits}[$window]))"
                    f" / on (variant) group_left sum by (variant) (rate({ranked}[$window]))",
                    "{{variant}} Hit@{{k}}",
                )
            ],
            unit="percentunit",
        ),
        panel(
            "timeseries",
            "Hit@5 by key, mean per variant",
            8,
            "Each routing key once in a step, by its first eight predictions. This is what the "
            "guardrail compares: a key that sends more does not weigh more.",
            [
                query(
                    f"sum by (variant) (increase({share}_sum[$window]))"
                    f" / sum by (variant) (increase({share}_count[$window]))",
                    "{{variant}}",
                )
            ],
            unit="percentunit",
        ),
        panel(
            "timeseries",
            "Cosine with what came, mean per variant",
            8,
            "Between each prediction and the vector that came next, below 0 as 0. How high it can "
            "be depends on the data: compare the variants, and with the past.",
            [
                query(
                    f"sum by (variant) (rate({cosine}_sum[$window]))"
                    f" / sum by (variant) (rate({cosine}_count[$window]))",
                    "{{variant}}",
                )
            ],
            defaults={"decimals": 2, "min": None},
        ),
        panel(
            "timeseries",
            "Predictions scored",
            12,
            "A second, per variant. Cosines without ranked ones: too few vectors of other "
            "sessions are known yet. dropped: more came than could be scored.",
            [
                query(f"sum by (variant) (rate({cosine}_count[$window]))", "{{variant}} scored"),
                query(f"sum by (variant) (rate({ranked}[$window]))", "{{variant}} ranked"),
                query("sum(rate(nextvec_online_dropped_total[$window]))", "dropped"),
            ],
            unit="reqps",
            colours={
                "stable scored": "light-blue",
                "stable ranked": "blue",
                "canary scored": "light-orange",
                "canary ranked": "orange",
                "dropped": RED,
            },
        ),
        panel(
            "timeseries",
            "Labels sent by callers",
            12,
            "Labels a second at /v1/feedback. repeated: counted before; prediction_gone: too late, "
            "or too many predictions wait (feedback.ttl_seconds, feedback.max_bytes).",
            [query("sum by (result) (rate(nextvec_feedback_total[$window]))", "{{result}}")],
            unit="reqps",
            colours={"counted": GREEN, "prediction_gone": RED},
        ),
    ]


def engine() -> list[Json]:
    per_variant = [
        panel(
            "timeseries",
            title,
            8,
            reading,
            [query(quantile(0.95, metric), "{{variant}}")],
            unit="s",
        )
        for title, metric, reading in (
            (
                "Queue wait, P95",
                "nextvec_queue_duration_seconds",
                (
                    "From being taken to the engine's start. It grows before anything else does "
                    "when the machine is too small for the traffic."
                ),
            ),
            (
                "Inference, P95",
                "nextvec_inference_duration_seconds",
                (
                    "In the engine, with the batch a request was part of. If this rises and the "
                    "queue does not, the model or the device is slower, not the traffic higher."
                ),
            ),
        )
    ]
    batch = "nextvec_batch_size"
    return [
        *per_variant,
        panel(
            "timeseries",
            "Mean batch size",
            8,
            "Requests that ran together. 1 means that the engine keeps up; near the setting "
            "engine.max_batch it is saturated.",
            [
                query(
                    f"sum by (version) (rate({batch}_sum[$window]))"
                    f" / sum by (version) (rate({batch}_count[$window]))",
                    "{{version}}",
                )
            ],
            colours={},
            defaults={"decimals": 1},
        ),
        panel(
            "timeseries",
            "Queue length",
            8,
            "Requests waiting. At the setting engine.queue_limit new ones are refused with 429.",
            [query("sum by (version) (nextvec_queue_length)", "{{version}}")],
            colours={},
        ),
        panel(
            "timeseries",
            "Sessions",
            8,
            "Contexts kept on the server. They go after sessions.ttl_seconds without a request, "
            "or when memory is short, the least recent first.",
            [query("sum(nextvec_sessions)", "sessions")],
            colours={},
        ),
        panel(
            "timeseries",
            "Memory of sessions",
            8,
            "Against sessions.max_bytes, 1 GiB by default (dashed). At the budget sessions are "
            "evicted, and their callers get 410 and must prime them again.",
            [query("sum(nextvec_session_bytes)", "bytes")],
            unit="bytes",
            limit=SESSION_BUDGET,
            colours={},
        ),
        panel(
            "timeseries",
            "Whole contexts: vectors known and run",
            8,
            "Vectors a second of requests that bring their whole context. hit: known from an "
            "earlier request of the same caller, so not run again; miss: run. Only misses, and "
            "callers who send a growing context: prefix_cache.max_bytes is too small.",
            [
                query(
                    "sum by (result) (rate(nextvec_prefix_cache_vectors_total[$window]))",
                    "{{result}}",
                )
            ],
            colours={"hit": GREEN, "miss": GREY},
        ),
        stat(
            "Versions loaded",
            8,
            "Where each version runs and in which precision its steps do. Two versions that differ "
            "here do not run alike, and their latencies do not compare as models.",
            [
                now(
                    "max by (version, provider, precision) (nextvec_version_info == 1)",
                    "{{version}}: {{precision}} on {{provider}}",
                )
            ],
            text="name",
        ),
    ]


ROWS = {
    "Is the canary fit?": fit,
    "Latency": latency,
    "Traffic and errors": traffic,
    "Quality": quality,
    "Engine": engine,
}
