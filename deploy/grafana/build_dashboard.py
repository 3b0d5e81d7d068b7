# ruff: noqa: INP001 - a script's folder, not a package
"""Writes `dashboards/nextvec.json`: `python deploy/grafana/build_dashboard.py`.

The dashboard is changed here and not in Grafana; a test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path

from parts import Json, annotation, layout
from rows import ROWS

OUTPUT = Path(__file__).parent / "dashboards" / "nextvec.json"


def dashboard() -> Json:
    """The whole dashboard, as Grafana reads it from a file."""
    windows = ["30s", "1m", "5m", "15m"]
    return {
        "uid": "nextvec",
        "title": "nextvec",
        "description": "Two versions of a next-vector model, and whether the new one is fit.",
        "tags": ["nextvec"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {"text": "Prometheus", "value": "prometheus"},
                },
                {
                    "name": "window",
                    "label": "Window",
                    "description": "Percentiles and rates are taken over this long.",
                    "type": "custom",
                    "query": ",".join(windows),
                    "current": {"text": "1m", "value": "1m"},
                    "options": [{"text": w, "value": w, "selected": w == "1m"} for w in windows],
                },
            ]
        },
        "annotations": {
            "list": [
                annotation(
                    "Rollout transitions",
                    "increase(nextvec_rollout_transitions_total[15s]) > 0",
                    "{{from}} → {{to}}",
                    "{{reason}}",
                    "purple",
                ),
                annotation(
                    "Model versions",
                    "max by (stable, canary) (nextvec_rollout_info == 1)"
                    " unless max by (stable, canary) (nextvec_rollout_info offset 15s == 1)",
                    "Model versions",
                    "stable {{stable}}, canary {{canary}}",
                    "super-light-blue",
                ),
            ]
        },
        "panels": layout({title: panels() for title, panels in ROWS.items()}),
    }


def render() -> str:
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(render(), encoding="utf-8")
