"""Plans from YAML and JSON files, and errors that name the file and the field."""

from __future__ import annotations

import pytest

from service.errors import Invalid
from service.rollout.plan.plan_file import MAX_BYTES, load_plan
from service.rollout.plan.rollout_plan import RolloutPlan

YAML = """
# Two steps; `often` is shared by both.
steps:
  - &often {weight: 5, min_dwell_seconds: 300}
  - {<<: *often, weight: 25, approval: yes}
alpha: 1e-3
"""
JSON = """{
\t"steps": [
\t\t{"weight": 5, "min_dwell_seconds": 300},
\t\t{"weight": 25, "min_dwell_seconds": 300, "approval": true}
\t],
\t"alpha": 0.001
}"""
WRITTEN = RolloutPlan.model_validate(
    {
        "steps": [
            {"weight": 5, "min_dwell_seconds": 300},
            {"weight": 25, "min_dwell_seconds": 300, "approval": True},
        ],
        "alpha": 0.001,
    }
)


@pytest.mark.parametrize(
    ("name", "text"),
    [("plan.yaml", YAML), ("plan.yml", YAML), ("plan", YAML), ("plan.json", JSON)],
)
def test_both_formats_give_the_same_plan(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert WRITTEN == load_plan(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("plan.json", "{", "the file is not valid JSON: .* line 1"),
        ("plan.json", '{"alpha": 3}', "alpha: "),
        ("plan.json", '{"alpha": 0.1, "alpha": 0.01}', "'alpha' is given twice"),
        ("plan.json", '{"steps": [{"weight": 9}, {"weight": 3}]}', r"steps\.1\.weight: "),
        ("plan.json", "[" * 60_000, "not valid JSON"),
        ("plan.yaml", "steps: [", "the file is not valid YAML: line 1, column 9"),
        ("plan.yaml", "a: b: c", "the file is not valid YAML: line 1"),
        ("plan.yaml", "\x07", "the file is not valid YAML"),
        ("plan.yaml", "alpha: .nan", "alpha: "),
        ("plan.yaml", "alpha: lots", "alpha: "),
        ("plan.yaml", "alpha: 0.1\nalpha: 0.01", "line 2, column 1: 'alpha' is given twice"),
        (
            "plan.yaml",
            "steps:\n- weight: 9\n- weight: 3",
            r"steps\.1\.weight: must exceed the previous weight, 9",
        ),
        ("plan.yaml", "speed: 3", "speed: there is no field 'speed'"),
        ("plan.yaml", "alhpa: 0.1", "alhpa: .*did you mean 'alpha'"),
        (
            "plan.yaml",
            "steps:\n- {weight: 9, min_dwell: 5}",
            r"steps\.0\.min_dwell: .*did you mean 'min_dwell_seconds'",
        ),
        ("plan.yaml", "gate: {min_hit_5: 0.7}", r"gate\.min_hit_5: .*did you mean 'min_hit5'"),
        (
            "plan.yaml",
            "guardrails: {latncy: {}}",
            r"guardrails\.latncy: .*did you mean 'latency'",
        ),
        (
            "plan.yaml",
            "steps:\n- weight: 010",
            "line 2, column 11: YAML reads 010 as 8; write the number in decimal digits",
        ),
        ("plan.yaml", "deadline_seconds: 1:30", "YAML reads 1:30 as 90"),
        ("plan.yaml", "deadline_seconds: 1:30.5", r"YAML reads 1:30.5 as 90.5"),
        ("plan.yaml", "deadline_seconds: 0x10", "YAML reads 0x10 as 16"),
        ("plan.yaml", "steps: [{weight: 0.05}]", "may mean 0.05 % or 5 %"),
        ("plan.json", '{"steps": [{"weight": 0.05}]}', "may mean 0.05 % or 5 %"),
        ("plan.json", '{"warm_up_requests": 1e300}', "warm_up_requests: "),
        ("plan.json", '{"warm_up_requests": 9999999999999999999999}', "warm_up_requests: "),
        ("plan.yaml", "1: 3", "1: "),
        ("plan.yaml", "[a]: 3", "not valid YAML"),
        ("plan.yaml", "&a [*a]", "a list"),
        ("plan.yaml", "!!python/object/apply:os.getpid []", "not valid YAML"),
        ("plan.yaml", "", "empty"),
        ("plan.yaml", "- weight: 5", "a list; it must have fields"),
        ("plan.yaml", "#" * (MAX_BYTES + 1), "bytes"),
    ],
)
def test_an_error_names_the_file_and_the_field(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(Invalid, match=rf"plan\.(json|yaml): .*{message}"):
        load_plan(path)


def test_every_fault_is_named_once(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("warmup_seconds: 1\nsteps: [{wieght: 5}]")
    with pytest.raises(Invalid) as caught:
        load_plan(path)
    assert "mean 'weight'?; warmup_seconds: there is no field" in str(caught.value)
    assert "Tuple" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match="not valid YAML"):
        load_plan(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Invalid, match="cannot read the plan"):
        load_plan(tmp_path / "none.yaml")
    with pytest.raises(Invalid, match="cannot read the plan"):
        load_plan(tmp_path)


def test_no_file_is_the_default_plan():
    assert RolloutPlan() == load_plan(None)
