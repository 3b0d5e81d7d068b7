"""What the documentation names exists, and what exists is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.api.errors import STATUS
from service.cli import COMMANDS
from service.metrics import Metrics, new_registry
from service.rollout.plan.gate import Gate
from service.rollout.plan.rollout_plan import GuardrailConfigs, Plan, Step

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("checkpoints/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "field",
    [
        *Plan.model_fields,
        *(f"steps[].{name}" for name in Step.model_fields),
        *(f"gate.{name}" for name in Gate.model_fields),
        *(
            f"{name}.{field}"
            for name, guardrail in GuardrailConfigs()
            for field in type(guardrail).model_fields
        ),
    ],
)
def test_every_field_of_a_plan_is_documented(field):
    assert f"| `{field}` |" in (REFERENCE / "rollout-plan.md").read_text()


@pytest.mark.parametrize("status", sorted(set(STATUS.values())))
def test_every_status_is_documented(status):
    table = re.findall(r"^\| ([\d, ]+) \|", (REFERENCE / "http-api.md").read_text(), re.MULTILINE)
    assert str(status) in {number for row in table for number in row.split(", ")}


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
