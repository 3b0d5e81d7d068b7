"""The example plan, and a plan in words."""

from __future__ import annotations

import pytest

from service.cli import main
from service.commands.rollout_plan import EXAMPLE, example_plan, shortest_text, steps_text
from service.rollout.plan.plan_file import load_plan
from service.rollout.plan.rollout_plan import RolloutPlan


def test_the_example_is_a_plan(tmp_path, capsys):
    """It can be written to a file, checked, and shows its steps and its shortest time."""
    assert 0 == main(["rollout", "plan", "--example"])
    written = capsys.readouterr().out
    assert EXAMPLE == written
    file = tmp_path / "plan.yaml"
    file.write_text(written)
    assert example_plan() == load_plan(file)
    assert 0 == main(["rollout", "plan", str(file)])
    shown = capsys.readouterr().out
    assert "copies of requests" in shown
    assert "The plan is valid. It takes at least 11 min." in shown


def test_a_plan_in_words():
    plan = RolloutPlan()
    assert "copies of requests, 5 %, 10 %, 25 %, 50 %, 100 %, then stable" == steps_text(plan)
    assert "13 min" == shortest_text(plan)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: [{weight: 5}]\nratoi: 1.2\n", "there is no field 'ratoi'; did you mean 'ratio'?"),
        ("steps: [{wieght: 5}]\n", "steps.0.wieght: there is no field 'wieght'; did you mean"),
        ("steps: [{weight: 500}]\n", "steps.0.weight"),
    ],
)
def test_a_fault_names_the_field_and_the_known_ones(tmp_path, text, said):
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit) as refused:
        main(["rollout", "plan", str(file)])
    assert said in str(refused.value)
    assert "Value error" not in str(refused.value)
    assert "Extra inputs" not in str(refused.value)


def test_neither_a_file_nor_the_example():
    with pytest.raises(SystemExit, match="--example"):
        main(["rollout", "plan"])
