"""The committed dashboard is what its builder writes, and has the form that Grafana reads."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from deploy.grafana import build_dashboard
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.events import Phase
from service.settings import Settings
from tests.support.expressions import DASHBOARD, dashboard, panels

PANELS = panels()
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
KINDS = {"heatmap", "row", "stat", "state-timeline", "table", "timeseries"}
UNITS = {"bytes", "dtdurations", "percentunit", "reqps", "s", "short"}

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
        if override["matcher"]["id"] == "byName" or override["properties"][0]["id"] != "color":
            continue
        colour = override["properties"][0]["value"]["fixedColor"]
        assert pattern.startswith("/"), "without slashes Grafana matches whole names"
        assert pattern.endswith("/")
        re.compile(pattern.strip("/"))
        for variant, hue in (("stable", "blue"), ("canary", "orange")):
            assert variant not in pattern or colour.endswith(hue)


def test_the_lines_drawn_are_the_plans_and_the_settings_defaults():
    """The plan of the rollout draws its own limit. A changed default must change its line too."""
    for title in ("P95 ratio with its interval, canary over stable", "P95 per variant"):
        (drawn,) = (t for t in titled(title)["targets"] if t["legendFormat"] == "limit")
        assert "nextvec_guardrail_ratio_limit" in drawn["expr"]
        assert f"or vector({RolloutPlan().ratio})" in drawn["expr"]
    assert 1 == limit("Evidence of each guardrail, from pass to fail")
    assert RolloutPlan().alpha == 0.01
    assert Settings().sessions.max_bytes == limit("Memory of sessions")


def test_the_first_row_answers_the_question():
    assert "Is the canary fit?" == PANELS[0]["title"]
    first = [panel["title"] for panel in PANELS if panel["gridPos"]["y"] == 1]
    assert "Verdict" == first[0]
    assert {"Time to a decision", "Errors", "Quality, Hit@5", "Canary weight"} <= set(first)


def test_only_rare_rows_are_collapsed():
    rows = {panel["title"]: panel["collapsed"] for panel in PANELS if panel["type"] == "row"}
    rare = [title for title, collapsed in rows.items() if collapsed]
    assert ["Shadow step", "Webhooks", "Fleet"] == rare
    assert ["Latency", "Traffic and errors", "Quality", "Engine"] == list(rows)[1:5]


@each_chart
def test_every_query_is_of_the_chosen_instances(panel):
    for target in panel["targets"]:
        names = re.findall(r"\bnextvec_\w+", target["expr"])
        assert len(names) == target["expr"].count('instance=~"$instance"')


def test_latency_has_a_logarithmic_axis_and_traces():
    """10 ms and 10 s share an axis; a slow request leads to its trace."""
    for title in ("P95 per variant", "P50, P95, P99: stable", "P50, P95, P99: canary"):
        panel = titled(title)
        scale = panel["fieldConfig"]["defaults"]["custom"]["scaleDistribution"]
        assert {"type": "log", "log": 10} == scale
        assert "min" not in panel["fieldConfig"]["defaults"], "0 is on no logarithmic axis"
        assert panel["targets"][0]["exemplar"]


def colours_of(title):
    return {
        override["matcher"]["options"].strip("/^$"): override["properties"][0]["value"]
        for override in titled(title)["fieldConfig"]["overrides"]
        if override["properties"][0]["id"] == "color"
    }


def test_every_guardrail_has_a_colour_of_its_own():
    found = colours_of("Evidence of each guardrail, from pass to fail")
    colours = [found[name]["fixedColor"] for name in GUARDRAIL_NAMES]
    assert len(colours) == len(set(colours))
    assert not set(colours) & {"blue", "orange"}, "these are the variants'"


def test_every_phase_has_a_colour_and_only_an_end_is_red():
    found = {phase: value["fixedColor"] for phase, value in colours_of("Phase").items()}
    assert {phase.value for phase in Phase} == found.keys()
    assert {"Aborting", "RolledBack"} == {name for name, hue in found.items() if "red" in hue}


def test_links_lead_to_the_console_and_the_runbook():
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    for link in dashboard()["links"]:
        assert variables[link["url"].strip("${}")]["query"].startswith("http")
    assert {"Console", "Runbook"} == {link["title"] for link in dashboard()["links"]}
