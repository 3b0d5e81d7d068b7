"""Decisions made twice, as an audit log shows them."""

from __future__ import annotations

import pytest

from loadtest.fleet.drill.rollout import GUARDRAILS, PLAN, decisions_made_twice
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from service.rollout.plan.rollout_plan import RolloutPlan


def row(generation, source, target, step=0, canary="b"):
    return {
        "generation": generation, "from": source, "to": target, "step": step, "canary": canary,
    }  # fmt: skip


LOG = [
    row(1, "Healthy", "Pending"),
    row(2, "Pending", "WarmingUp"),
    row(3, "WarmingUp", "Progressing"),
    row(4, "Progressing", "Progressing", step=1),
    row(5, "Progressing", "Promoting", step=1),
    row(6, "Promoting", "Healthy", step=1),
]


def test_a_chain_of_decisions_is_fine():
    assert [] == decisions_made_twice(LOG)
    assert [] == decisions_made_twice([])


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ([*LOG[:4], LOG[3], *LOG[4:]], "twice"),
        ([*LOG[:4], row(5, "Progressing", "Aborting", step=1), LOG[4]], "begins at Progressing"),
        ([*LOG[:5], row(4, "Promoting", "Healthy")], "begins at Promoting"),
    ],
    ids=["a row again", "two ends of one rollout", "an older generation"],
)
def test_two_writers_are_found(log, said):
    (found,) = decisions_made_twice(log)
    assert said in found


def test_the_drills_plan_is_valid_and_needs_the_errors_of_all_replicas():
    plan = RolloutPlan.model_validate(PLAN)
    assert [20, 40, 70] == [step.weight for step in plan.steps]
    assert set(GUARDRAIL_NAMES) == set(GUARDRAILS)
    enabled = {name for name, config in plan.guardrails if config.enabled}
    assert {"errors"} == enabled
