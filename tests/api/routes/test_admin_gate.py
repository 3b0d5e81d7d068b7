"""The offline gate over HTTP: 409 with every figure, and the override of an approver."""

from __future__ import annotations

import pytest

from tests.support.fakes import evaluated, put_version

PLAN = {
    "steps": [{"weight": 10, "approval": True}],
    "gate": {"min_hit5": 0.69, "non_inferiority_margin": 0.01, "max_step_p95_ms": 5},
}


@pytest.fixture
def models(tmp_path):
    """Phase-3 does not beat Phase-2, as in the shipped checkpoints."""
    reports = {"phase-2": (0.366, 0.316, 0.411), "phase-3": (0.359, 0.313, 0.400)}
    for version, figures in reports.items():
        report = evaluated(*figures, window=8)
        put_version(tmp_path / "models", version, window=8, evaluation=report)
    return tmp_path / "models"


async def begin(service, role="operator", plan=PLAN, **body):
    return await service.admin("POST", role=role, json={"canary": "phase-3", "plan": plan, **body})


async def test_a_start_that_misses_the_gate_is_refused_with_every_figure(service):
    """Text for people and figures for programs. Nothing has started."""
    answer = await begin(service)
    assert (409, "gate_missed") == (answer.status_code, answer.json()["code"])
    assert [
        ("min_hit5", 0.69, 0.359),
        ("non_inferiority_margin", 0.01, pytest.approx(-0.098)),
        ("max_step_p95_ms", 5.0, None),
    ] == [(miss["figure"], miss["wanted"], miss["found"]) for miss in answer.json()["missed"]]
    assert "35.9 % [31.3, 40] on 1000 candidates" in answer.json()["error"]
    assert 0 == service.controller.generation


async def test_only_an_approver_may_override_it(service):
    answer = await begin(service, override_gate=True, reason="known")
    assert (403, "forbidden") == (answer.status_code, answer.json()["code"])
    assert 0 == service.controller.generation


@pytest.mark.parametrize("reason", ["", " \t"])
async def test_an_override_says_why(service, reason):
    answer = await begin(service, "approver", override_gate=True, reason=reason)
    assert (422, "invalid") == (answer.status_code, answer.json()["code"])
    assert "reason" in answer.json()["error"]


async def test_an_override_starts_it_and_is_told_everywhere(service):
    answer = await begin(service, "approver", override_gate=True, reason="for the demo")
    assert 202 == answer.status_code
    assert answer.json()["gate"]["overridden"] is True
    await service.controller.prepared()
    seen = (await service.admin("GET", role="viewer")).json()
    assert ("WarmingUp", 3) == (seen["phase"], len(seen["gate"]["missed"]))
    begun = (await service.admin("GET", "/history")).json()[-1]
    assert "for the demo" == begun["note"]
    assert seen["gate"]["missed"] == begun["gate_missed"]
    assert "gate overridden" in begun["message"]


async def test_a_gate_that_is_met_lets_it_through(service):
    plan = {**PLAN, "gate": {"min_hit5": 0.35, "non_inferiority_margin": 0.1}}
    assert 202 == (await begin(service, plan=plan)).status_code


async def test_the_gate_of_the_services_plan_file_holds_for_every_start(start, tmp_path):
    """Also for a start whose own plan has no gate."""
    (tmp_path / "plan.json").write_text('{"gate": {"min_hit5": 0.69}}')
    rollout = {"database": tmp_path / "other.db", "plan": tmp_path / "plan.json"}
    async with start(rollout=rollout) as service:
        for body in ({}, {"plan": {"steps": [{"weight": 10}]}}):
            answer = await service.admin("POST", json={"canary": "phase-3", **body})
            assert (409, "gate_missed") == (answer.status_code, answer.json()["code"])
