"""Request rates by variant and outcome, and error ratios."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import GREY, RED, limited, query, stacked, time_series
from deploy.grafana.promql import FAULTS, SERVED, request_rate

_ERROR_LIMIT = 0.01


def panels() -> list[Builder[Panel]]:
    return [
        stacked(
            time_series(
                "Requests per variant",
                12,
                "Requests per second, stacked. The split did not place the 'unassigned' "
                "requests: they named a variant, or moved a session to another version. They "
                "are served, but are not evidence.",
                [query(request_rate('outcome=~".+"', "variant"), "{{variant}}")],
            ).unit("reqps")
        ),
        time_series(
            "Requests by outcome",
            12,
            "Callers cause invalid and cancelled. rejected means that the queue was full (429). "
            "error and timeout are faults of the service and count against the canary.",
            [query(request_rate('outcome=~".+"', "variant, outcome"), "{{variant}} {{outcome}}")],
            {},
        ).unit("reqps"),
        limited(
            time_series(
                "Error ratio per variant",
                12,
                "Errors and timeouts as a share of all requests that reached the engine. The "
                "alert NextvecErrors fires above the dashed line at 1 %.",
                [
                    query(
                        f"{request_rate(FAULTS, 'variant')} / {request_rate(SERVED, 'variant')}",
                        "{{variant}}",
                    )
                ],
            ).unit("percentunit"),
            _ERROR_LIMIT,
        ),
        time_series(
            "Rejected, timed out, cancelled",
            12,
            "Rejected: the queue was full, and the caller was asked to try again (429, "
            "Retry-After). Timed out: the request exceeded its deadline (504). Cancelled: the "
            "caller left first (499), often because its own timeout is shorter.",
            [
                query(
                    request_rate('outcome=~"rejected|timeout|cancelled"', "outcome"),
                    "{{outcome}}",
                )
            ],
            {"rejected": RED, "timeout": "purple", "cancelled": GREY},
        ).unit("reqps"),
        time_series(
            "Refused callers",
            12,
            "Requests without a valid token or API key, by reason (401), and requests of an API "
            "key above one of its limits (429). The log names the addresses of failed log-ins.",
            [
                query(
                    "sum by (surface, reason) (rate(nextvec_failed_logins_total[$window]))",
                    "{{surface}}: {{reason}} token",
                ),
                query(
                    "sum by (caller, limit) (rate(nextvec_caller_limited_total[$window]))",
                    "{{caller}}: {{limit}}",
                ),
            ],
        ).unit("reqps"),
    ]
