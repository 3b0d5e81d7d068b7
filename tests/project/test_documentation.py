"""Everything the documentation names exists, and everything public is documented."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from service.api.errors import STATUS
from service.api.openapi.errors import ERRORS
from service.cli import COMMANDS
from service.metrics import Metrics, new_registry
from service.rollout.plan.gate import Gate
from service.rollout.plan.rollout_plan import GuardrailConfigs, PlanStep, RolloutPlan

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PLAN_PAGE = (REFERENCE / "rollout-plan.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("checkpoints/*.md")])


def anchors(page):
    """GitHub's anchor of every heading outside code blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page):
    """`(path, anchor)` of every link that names no host; either may be empty."""
    return re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page):
    for path, anchor in links(page):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_folders_that_a_page_names_exist(page):
    folders = "service|architectures|corpora|model_export|training|loadtest|simulation|deploy|tests"
    named = re.findall(rf"`((?:{folders}|docs)/[\w./-]*)`", page.read_text())
    assert [] == [path for path in named if not (ROOT / path).exists()]


def test_every_page_is_reachable_from_the_index():
    index = ROOT / "docs" / "index.md"
    reached, waiting = {index}, [index]
    while waiting:
        page = waiting.pop()
        for path, _ in links(page):
            target = (page.parent / path).resolve()
            if target.suffix == ".md" and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert set() == set(ROOT.glob("docs/**/*.md")) - reached


def test_the_newest_release_in_the_changelog_is_the_packages_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    releases = re.findall(
        r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)$",
        (ROOT / "CHANGELOG.md").read_text(),
        re.MULTILINE,
    )
    assert project["version"] == releases[0][0]


def plan_fields():
    """`(name in the documentation, field)` of everything a plan may say."""
    guardrails = ((name, type(config)) for name, config in GuardrailConfigs())
    models = [("", RolloutPlan), ("steps[].", PlanStep), ("gate.", Gate)]
    models += [(f"{name}.", config) for name, config in guardrails]
    return [
        (f"{prefix}{name}", field)
        for prefix, model in models
        for name, field in model.model_fields.items()
    ]


@pytest.mark.parametrize(("name", "field"), plan_fields(), ids=[name for name, _ in plan_fields()])
def test_every_field_of_a_plan_is_documented_with_its_default(name, field):
    rows = re.findall(r"^\| `([^`]+)` \|([^|]*)\|", PLAN_PAGE, re.MULTILINE)
    default = dict(rows)[name].strip(" `")
    if name == "interference.ratio":
        assert f"{field.default:.3f}" == default
    elif isinstance(field.default, bool | int | float | str):
        assert (str(field.default) if name != "steps[].weight" else "") == default


@pytest.mark.parametrize("status", sorted(set(STATUS.values())))
def test_every_status_is_documented(status):
    table = re.findall(r"^\| ([\d, ]+) \|", (REFERENCE / "http-api.md").read_text(), re.MULTILINE)
    assert str(status) in {number for row in table for number in row.split(", ")}


@pytest.mark.parametrize("code", ERRORS)
def test_every_error_code_is_documented_with_its_status_a_cause_and_a_remedy(code):
    page = (REFERENCE / "errors.md").read_text()
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (\d+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    found = {
        (name.strip("`"), int(status))
        for names, status, cause, remedy in rows
        for name in names.split(", ")
        if cause and remedy
    }
    assert (code, ERRORS[code][0]) in found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_documentation(name):
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]
    assert any(f"nextvec {name}" in page.read_text() for page in pages) or name == "demo"


def test_every_metric_is_documented():
    registry = new_registry()
    Metrics(registry, timeout=10.0)
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in registry.collect()
    }
    page = (REFERENCE / "metrics.md").read_text()
    assert set() == {name for name in names if f"`{name}`" not in page}


def test_the_changelog_has_the_form_of_keep_a_changelog():
    """Releases from new to old; in each, the six kinds of changes, each at most once."""
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    text = (ROOT / "CHANGELOG.md").read_text()
    releases = re.split(r"^## \[", text, flags=re.MULTILINE)[1:]
    assert releases[0].startswith("Unreleased]")
    dates = [re.search(r"\] - (\d{4}-\d\d-\d\d)$", each, re.MULTILINE)[1] for each in releases[1:]]
    assert sorted(dates, reverse=True) == dates
    for release in releases:
        found = re.findall(r"^### (.+)$", release, re.MULTILINE)
        assert found
        assert set(found) <= kinds
        assert len(set(found)) == len(found)
