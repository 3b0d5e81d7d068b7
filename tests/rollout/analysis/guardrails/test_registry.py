"""The registry: a guardrail is one file, one class in the tuple, and one test file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from service.rollout.analysis.guardrails.registry import (
    GUARDRAIL_NAMES,
    GUARDRAILS,
    GuardrailConfigs,
)

each = pytest.mark.parametrize("guardrail", GUARDRAILS, ids=GUARDRAIL_NAMES)


def test_every_name_is_a_field_of_the_plan():
    assert len(set(GUARDRAIL_NAMES)) == len(GUARDRAIL_NAMES)
    assert set(GUARDRAIL_NAMES) == set(GuardrailConfigs.model_fields)


@each
def test_the_plans_default_is_the_guardrails_own(guardrail):
    assert guardrail.config_type() == GuardrailConfigs().of(guardrail.name)


@each
def test_a_guardrail_is_one_file_with_its_test_beside(guardrail):
    """Its config, its text and its proof; its state too, unless it inherits the test."""
    module = sys.modules[guardrail.__module__]
    assert guardrail.__module__ == guardrail.config_type.__module__
    assert guardrail.state_type.__module__ in {base.__module__ for base in guardrail.__mro__}
    assert module.__doc__
    name = Path(module.__file__).stem
    assert (Path(__file__).parent / f"test_{name}.py").exists()


@each
def test_every_field_of_a_config_is_described(guardrail):
    for name, field in guardrail.config_type.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_only_those_that_can_pass_may_be_required():
    everything = {name: {"enabled": True} for name in GUARDRAIL_NAMES}
    configs = GuardrailConfigs.model_validate(everything)
    assert set(GUARDRAIL_NAMES) == configs.enabled
    assert {g.name for g in GUARDRAILS if g.can_pass} == configs.able_to_pass
    assert configs.required < configs.able_to_pass


def test_one_that_is_off_is_neither_required_nor_able_to_pass():
    configs = GuardrailConfigs.model_validate({"latency": {"enabled": False, "required": True}})
    assert "latency" not in configs.enabled | configs.required | configs.able_to_pass
