"""Each alert has a severity, a summary, advice, a runbook section and a rule test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.rollout.plan.rollout_plan import RolloutPlan
from service.settings import Settings
from tests.support import yaml_files
from tests.support.expressions import DEPLOY, rules

RULES = rules()
TESTS = yaml_files.load((DEPLOY / "prometheus" / "alerts.test.yml").read_text(encoding="utf-8"))
RUNBOOK = (Path(DEPLOY).parent / "docs" / "how-to" / "runbook.md").read_text(encoding="utf-8")

each_alert = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


def expression(name):
    return next(rule["expr"] for rule in RULES if rule["alert"] == name)


@each_alert
def test_an_alert_has_severity_summary_and_what_to_do(rule):
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["description"]) > 60


@each_alert
def test_an_alerts_runbook_section_exists(rule):
    file, anchor = rule["annotations"]["runbook"].split("#")
    headings = {title.lower() for title in re.findall(r"^#+ (\S+)$", RUNBOOK, re.MULTILINE)}

    assert "docs/how-to/runbook.md" == file
    assert rule["alert"].lower() == anchor
    assert anchor in headings


@each_alert
def test_an_alert_has_a_rule_test_in_which_it_fires(rule):
    """promtool runs the tests; this checks that each alert has one."""
    fires = [
        expected["expr"]
        for test in TESTS["tests"]
        for expected in test.get("promql_expr_test", [])
        if expected["exp_samples"]
    ]

    assert any(f'"{rule["alert"]}"' in expr for expr in fires)


@each_alert
def test_an_alert_has_a_rule_test_in_which_it_ends(rule):
    """It does not outlive its cause: later in a test in which it fires, it is silent."""
    name = rule["alert"]
    ends = [
        test["name"]
        for test in TESTS["tests"]
        for moments in [_moments(test, name)]
        if any(fired and not later for k, fired in enumerate(moments) for later in moments[k + 1 :])
    ]

    assert ends, f"no test of {name} shows that it ends"


def _moments(test, name):
    """Whether the alert fires at each moment of the test that mentions it, in order of time."""
    expected = [
        (_minutes(each["eval_time"]), bool(each["exp_samples"]))
        for each in test.get("promql_expr_test", [])
        if f'"{name}"' in each["expr"]
        or each["expr"] == "ALERTS"
        or any(f'"{name}"' in sample["labels"] for sample in each["exp_samples"])
    ]
    return [fires for _, fires in sorted(expected)]


def _minutes(time):
    minutes, _, seconds = time.removesuffix("s").partition("m")
    return float(minutes) + float(seconds or 0) / 60


def test_alerts_have_distinct_names():
    names = [rule["alert"] for rule in RULES]

    assert len(names) == len(set(names))


def test_thresholds_are_the_defaults_of_the_service():
    """A changed default must change its alert too."""
    assert f"0.9 * {Settings().sessions.max_bytes}" in expression("NextvecSessionMemory")
    assert f"> {RolloutPlan().ratio}\n" in expression("NextvecCanarySlow")
    assert 1000 == RolloutPlan().baseline_samples, "the text of NextvecGuardrailSilent says 1,000"
