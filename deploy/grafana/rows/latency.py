"""Request durations: percentiles per variant and mode, and the distribution."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import HUES, heatmap_panel, logarithmic, query, time_series, traced_query
from deploy.grafana.promql import ARMS, answered_quantile, quantile

# From light to dark, so that all lines of a variant have the same hue.
_QUANTILE_SHADES = {"P50": "light-", "P95": "", "P99": "dark-"}
_MODE_SHADES = {"mixed": "light-", "step": "", "prefill": "dark-"}


def panels() -> list[Builder[Panel]]:
    return [
        *(_percentiles(variant, hue) for variant, hue in HUES.items()),
        logarithmic(
            time_series(
                "P95 by mode",
                12,
                "prefill is a whole context, step is one vector from a kept state, mixed is "
                "several vectors from a kept state. Compare the variants within a mode, as the "
                "guardrail does: a different mix of modes changes the P95 of all requests although "
                "nothing became slower. 'unassigned' requests are not evidence.",
                [
                    query(answered_quantile(by="variant, mode"), "{{variant}} {{mode}}"),
                    query(
                        quantile(0.95, "nextvec_unassigned_duration_seconds", "mode", ""),
                        "unassigned {{mode}}",
                    ),
                ],
                {
                    f"{variant} {mode}": f"{shade}{hue}"
                    for variant, hue in HUES.items()
                    for mode, shade in _MODE_SHADES.items()
                },
                from_zero=False,
            )
        ),
        heatmap_panel(
            "Duration of all answered requests",
            12,
            "Requests by duration, both variants together. Two bands are two modes or two "
            "versions. A band that rises shows that a queue builds up.",
            "sum by (le) (increase(nextvec_request_duration_seconds_bucket"
            f"{{{ARMS}}}[$__rate_interval]))",
        ),
    ]


def _percentiles(variant: str, hue: str) -> Builder[Panel]:
    return logarithmic(
        time_series(
            f"P50, P95, P99: {variant}",
            12,
            f"Duration of requests answered by {variant}, over the chosen window. A P99 far above "
            "the P95 points to queueing, or to long contexts among short ones.",
            [
                traced_query(
                    answered_quantile(f'variant="{variant}"', "variant", q),
                    f"{{{{variant}}}} {name}",
                )
                for name, q in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))
            ],
            {f"{variant} {name}": f"{shade}{hue}" for name, shade in _QUANTILE_SHADES.items()},
            from_zero=False,
        )
    )
