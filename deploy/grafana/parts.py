# ruff: noqa: INP001 - a script's folder, not a package
"""The parts of a Grafana dashboard, as the plain JSON it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
"""Columns of Grafana's grid."""

HUES = {"stable": "blue", "canary": "orange"}
RED, GREEN, GREY = "red", "green", "#8e8e8e"

VARIANT_COLOURS = {
    "^(?!.*P(50|99)).*stable": HUES["stable"],
    "^(?!.*P(50|99)).*canary": HUES["canary"],
    "unassigned": GREY,
}


def query(expr: str, legend: str, **more: Any) -> Json:
    """One query of a panel."""
    return {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "range": True, **more}


def now(expr: str, legend: str, **more: Any) -> Json:
    """One query that asks for the present value alone."""
    return query(expr, legend, range=False, instant=True, **more)


def panel(
    kind: str, title: str, width: int, reading: str, queries: list[Json], **config: Any
) -> Json:
    """A panel; `reading` says how to read it. `config`: unit, limit, stack, colours, defaults,
    options. `limit` draws a line and colours what lies over it."""
    defaults: Json = {"unit": config.get("unit", "short"), "color": {"mode": "palette-classic"}}
    if kind == "timeseries":
        stack = "normal" if config.get("stack") else "none"
        defaults["custom"] = {
            "lineWidth": 2,
            "fillOpacity": 40 if config.get("stack") else 0,
            "stacking": {"mode": stack, "group": "A"},
            "spanNulls": 15_000,
            "showPoints": "never",
        }
        defaults["min"] = 0
        options: Json = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    else:
        options = {}
    if "limit" in config:
        steps = [{"color": GREEN, "value": None}, {"color": RED, "value": config["limit"]}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if kind == "timeseries":
            defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    overrides = [
        {
            "matcher": {"id": "byRegexp", "options": f"/{pattern}/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for pattern, colour in config.get("colours", VARIANT_COLOURS).items()
    ]
    return {
        "type": kind,
        "title": title,
        "description": reading,
        "datasource": SOURCE,
        "targets": [{**q, "refId": chr(ord("A") + i)} for i, q in enumerate(queries)],
        "fieldConfig": {
            "defaults": {**defaults, **config.get("defaults", {})},
            "overrides": overrides,
        },
        "options": {**options, **config.get("options", {})},
        "gridPos": {"w": width, "h": config.get("height", 8)},
    }


def stat(title: str, width: int, reading: str, queries: list[Json], **config: Any) -> Json:
    """A number, or a name, in large letters."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": config.pop("text", "value"),
        "colorMode": "value" if "limit" in config else "none",
        "graphMode": "none",
    }
    if "limit" in config:
        config["defaults"] = {"color": {"mode": "thresholds"}, **config.get("defaults", {})}
    config = {"colours": {}, "options": options, "height": 4, **config}
    return panel("stat", title, width, reading, queries, **config)


def layout(rows: Mapping[str, list[Json]]) -> list[Json]:
    """All panels of the rows by title, each with an id and a place.

    From left to right; a new line where one is full.
    """
    placed: list[Json] = []
    y = 0

    def place(item: Json, x: int, y: int) -> None:
        at = {**item["gridPos"], "x": x, "y": y}
        placed.append({**item, "id": len(placed) + 1, "gridPos": at})

    for title, panels in rows.items():
        row = {"type": "row", "title": title, "collapsed": False, "panels": []}
        place({**row, "gridPos": {"w": WIDTH, "h": 1}}, 0, y)
        y += 1
        x = height = 0
        for item in panels:
            if x + item["gridPos"]["w"] > WIDTH:
                x, y, height = 0, y + height, 0
            place(item, x, y)
            x += item["gridPos"]["w"]
            height = max(height, item["gridPos"]["h"])
        y += height
    return placed


def annotation(name: str, expr: str, title: str, text: str, colour: str) -> Json:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "expr": expr,
        "step": "5s",
        "titleFormat": title,
        "textFormat": text,
        "iconColor": colour,
    }
