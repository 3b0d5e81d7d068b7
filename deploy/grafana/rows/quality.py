"""Quality of predictions, scored against the vectors that came next."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import GREEN, RED, query, time_series

_HITS = "nextvec_online_hits_total"
_RANKED = "nextvec_online_predictions_total"
_COSINE = "nextvec_online_cosine"
_KEY_SHARE = "nextvec_online_key_share"


def panels() -> list[Builder[Panel]]:
    return [*_scores(), *_volumes()]


def _scores() -> list[Builder[Panel]]:
    return [
        time_series(
            "Hit@k per variant",
            8,
            "The share of scored predictions whose true next vector was among the k nearest of "
            "100 candidates: the true vector and the latest 99 of other sessions. Chance is k in "
            "100. This is a hint only: it jumps when there are few sessions, and one busy session "
            "can dominate it.",
            [
                query(
                    f"sum by (variant, k) (rate({_HITS}[$window]))"
                    f" / on (variant) group_left sum by (variant) (rate({_RANKED}[$window]))",
                    "{{variant}} Hit@{{k}}",
                )
            ],
        ).unit("percentunit"),
        time_series(
            "Hit@5 by key, mean per variant",
            8,
            "Each routing key counts once in a step, by its first eight predictions. The "
            "guardrail compares this figure, so a busy key has no more weight than any other.",
            [query(_mean_increase(_KEY_SHARE), "{{variant}}")],
        ).unit("percentunit"),
        time_series(
            "Cosine with the next vector, mean per variant",
            8,
            "Cosine between each prediction and the vector that came next; negative values count "
            "as 0. The achievable value depends on the data: compare the variants with each other "
            "and with the past.",
            [
                query(
                    f"sum by (variant) (rate({_COSINE}_sum[$window]))"
                    f" / sum by (variant) (rate({_COSINE}_count[$window]))",
                    "{{variant}}",
                )
            ],
            from_zero=False,
        ).decimals(2),
    ]


def _volumes() -> list[Builder[Panel]]:
    return [
        time_series(
            "Predictions scored",
            12,
            "Predictions per second and variant. Scored but not ranked: too few vectors of other "
            "sessions are known yet. dropped: more predictions arrived than could be scored.",
            [
                query(f"sum by (variant) (rate({_COSINE}_count[$window]))", "{{variant}} scored"),
                query(f"sum by (variant) (rate({_RANKED}[$window]))", "{{variant}} ranked"),
                query("sum(rate(nextvec_online_dropped_total[$window]))", "dropped"),
            ],
            {
                "stable scored": "light-blue",
                "stable ranked": "blue",
                "canary scored": "light-orange",
                "canary ranked": "orange",
                "dropped": RED,
            },
        ).unit("reqps"),
        time_series(
            "Labels sent by callers",
            12,
            "Labels per second at /v1/feedback. repeated: already counted. prediction_gone: the "
            "label came too late, or too many predictions wait for one (feedback.ttl_seconds, "
            "feedback.max_bytes).",
            [query("sum by (result) (rate(nextvec_feedback_total[$window]))", "{{result}}")],
            {"counted": GREEN, "prediction_gone": RED},
        ).unit("reqps"),
    ]


def _mean_increase(metric: str) -> str:
    """The mean of a histogram's new observations, per variant."""
    return (
        f"sum by (variant) (increase({metric}_sum[$window]))"
        f" / sum by (variant) (increase({metric}_count[$window]))"
    )
