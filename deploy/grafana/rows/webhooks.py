"""Webhooks: what was delivered, and what waits."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import GREEN, RED, query, time_series


def panels() -> list[Builder[Panel]]:
    return [
        time_series(
            "Deliveries and backlog",
            24,
            "Transitions delivered to each webhook, and transitions that wait. A backlog that does "
            "not shrink means that the receiver refuses or is down; the log has its status. The "
            "rollout does not wait for deliveries.",
            [
                query("max by (webhook) (nextvec_webhook_backlog)", "{{webhook}} waiting"),
                query(
                    "sum by (webhook, result) "
                    "(increase(nextvec_webhook_deliveries_total[$window]))",
                    "{{webhook}} {{result}}",
                ),
            ],
            {"failed": RED, "dropped": RED, "delivered": GREEN},
        )
    ]
