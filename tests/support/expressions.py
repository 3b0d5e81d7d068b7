"""The PromQL expressions in deploy/, and their metrics, matchers and groupings."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.histogram import Histogram
from service.metrics import Metrics
from service.rollout_metrics import FleetMetrics
from service.session_metrics import SessionStoreMetrics
from tests.support import yaml_files

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "nextvec.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

ALWAYS = {"instance", "job"}
"""Labels that Prometheus adds to every series it scrapes."""

PROMETHEUS_OWN = {"up": ALWAYS, "ALERTS": {"alertname", "alertstate", "severity"}}

_STRING = re.compile(r'"[^"]*"|\'[^\']*\'')
_METRIC = re.compile(r"\b(nextvec_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def dashboard() -> dict:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def panels() -> list[dict]:
    """Every panel and row, also those inside collapsed rows."""
    return [each for panel in dashboard()["panels"] for each in (panel, *panel.get("panels", ()))]


def queries() -> dict[str, str]:
    """Every query of the dashboard, annotations included, by its panel and letter."""
    whole = dashboard()
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel.get("targets", [])
    }
    notes = {f"annotation {a['name']}": a["expr"] for a in whole["annotations"]["list"]}
    return found | notes


def rules() -> list[dict]:
    groups = yaml_files.load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def everything() -> dict[str, str]:
    return queries() | {rule["alert"]: rule["expr"] for rule in rules()}


def filled(expr: str, window: str = "1m") -> str:
    """The query with Grafana's variables replaced, as Grafana sends it."""
    for variable, value in {
        "$window": window,
        "$__rate_interval": window,
        "$instance": ".*",
    }.items():
        expr = expr.replace(variable, value)
    return expr


def registered(*, fleet: bool = False) -> dict[str, set[str]]:
    """Every series name that every service can emit, with its labels; with `fleet` also those of
    a replica that shares its rollout and its sessions."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, timeout=10.0)
    labels: dict[str, set[str]] = {}
    groups: list[object] = [metrics, metrics.quality, metrics.rollout]
    if fleet:
        groups += [FleetMetrics(registry), SessionStoreMetrics(registry)]
    values = [value for group in groups for value in vars(group).values()]
    instruments = {value: label_names(value) for value in values if hasattr(value, "describe")}
    for instrument, names in instruments.items():
        own = {*names, *ALWAYS}
        for family in instrument.describe():
            labels |= {
                "counter": {f"{family.name}_total": own},
                "gauge": {family.name: own},
                "histogram": {
                    f"{family.name}_bucket": own | {"le"},
                    f"{family.name}_sum": own,
                    f"{family.name}_count": own,
                },
            }[family.type]
    return labels


def label_names(instrument):
    """The library's metrics have them under a private name."""
    if isinstance(instrument, Histogram):
        return instrument.label_names
    return instrument._labelnames


def selectors(expr: str) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Each metric in `expr` with its matchers: label → (operator, value)."""
    return [
        (name, {label: (op, value) for label, op, value in _MATCHER.findall(braces or "")})
        for name, braces in _METRIC.findall(expr)
    ]


def groupings(expr: str) -> set[str]:
    """Labels in `by (…)`, `on (…)` and the like."""
    bare = _STRING.sub('""', expr)
    return {
        label.strip()
        for group in _GROUPING.findall(bare)
        for label in group.split(",")
        if label.strip()
    }
