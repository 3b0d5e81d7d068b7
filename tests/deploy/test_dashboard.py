"""The committed dashboard is what its builder writes, and has the form that Grafana reads."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from deploy.grafana import build_dashboard
from service.rollout.plan.rollout_plan import RolloutPlan
from service.settings import Settings
from tests.support.expressions import DASHBOARD, dashboard

PANELS = dashboard()["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
KINDS = {"heatmap", "row", "stat", "state-timeline", "table", "timeseries"}
UNITS = {"bytes", "percentunit", "reqps", "s", "short"}

each_chart = pytest.mark.parametrize("panel", CHARTS, ids=[p["title"] for p in CHARTS])


def titled(title):
    return next(panel for panel in CHARTS if panel["title"] == title)


def limit(title):
    return titled(title)["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]


def test_the_committed_file_is_the_builders_output():
    """If this fails: python -m deploy.grafana.build_dashboard"""
    assert build_dashboard.render() == DASHBOARD.read_text(encoding="utf-8")


def test_the_dashboard_has_what_provisioning_needs():
    whole = dashboard()

    assert "nextvec" == whole["uid"]
    assert whole["schemaVersion"] >= 39
    assert "id" not in whole, "an id belongs to the database of one Grafana"


def test_panels_have_distinct_ids():
    ids = [panel["id"] for panel in PANELS]

    assert len(ids) == len(set(ids))


def test_panels_lie_on_the_grid_and_do_not_overlap():
    boxes = {panel["title"]: panel["gridPos"] for panel in PANELS}
    assert len(PANELS) == len(boxes), "two panels have the same title"

    for box in boxes.values():
        assert box["x"] >= 0
        assert box["x"] + box["w"] <= 24
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, (one, other)


@each_chart
def test_a_panel_has_a_description_and_a_unit(panel):
    assert panel["type"] in KINDS
    assert len(panel["description"]) > 40
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


@each_chart
def test_a_panel_queries_the_chosen_data_source_with_distinct_letters(panel):
    refs = [target["refId"] for target in panel["targets"]]

    assert refs
    assert len(refs) == len(set(refs))
    for target in panel["targets"]:
        assert {"type": "prometheus", "uid": "${datasource}"} == target["datasource"]
        assert target.get("instant", False) != target["range"]


@each_chart
def test_a_legend_names_labels_that_the_query_keeps(panel):
    """`{{variant}}` of a query that sums over variants would be empty."""
    for target in panel["targets"]:
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", target["expr"])


@each_chart
def test_stable_is_blue_and_canary_orange(panel):
    """If several patterns match a series, Grafana applies the last."""
    overrides = panel["fieldConfig"]["overrides"]
    for override in overrides:
        pattern = override["matcher"]["options"]
        colour = override["properties"][0]["value"]["fixedColor"]
        assert pattern.startswith("/"), "without slashes Grafana matches whole names"
        assert pattern.endswith("/")
        re.compile(pattern.strip("/"))
        for variant, hue in (("stable", "blue"), ("canary", "orange")):
            assert variant not in pattern or colour.endswith(hue)


def test_the_lines_drawn_are_the_plans_and_the_settings_defaults():
    """A changed default must change its line too."""
    assert RolloutPlan().ratio == limit("P95 ratio, canary over stable")
    assert RolloutPlan().ratio == limit("P95, canary over stable")
    assert 1 == limit("Evidence as a share of the verdict bound")
    assert RolloutPlan().alpha == 0.01
    assert Settings().sessions.max_bytes == limit("Memory of sessions")


def test_the_first_row_answers_the_question():
    assert "Is the canary healthy?" == PANELS[0]["title"]
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert ["Is the canary healthy?", "Latency", "Traffic and errors", "Quality", "Engine"] == rows
