"""The service's floor: no plan of a request can demand less."""

from __future__ import annotations

import pytest

from service.errors import Invalid

QUICK = {"steps": [{"weight": 90, "min_samples": 1, "min_dwell_seconds": 0}]}
APPROVED = {"steps": [{"weight": 90, "min_dwell_seconds": 0, "approval": True}]}


async def begin(service, plan, role, **query):
    return await service.admin(
        "POST", role=role, json={"canary": "phase-3", "plan": plan}, params=query
    )


@pytest.mark.parametrize("query", [{}, {"dryRun": "All"}])
async def test_an_operator_alone_cannot_make_a_version_stable(service, query):
    """A plan without an approval would promote the canary by itself."""
    answer = await begin(service, QUICK, "operator", **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "below_floor")
    assert "plan.steps.0.approval" in answer.json()["error"]
    assert "rollout.floor.approval" in answer.json()["error"]
    assert service.controller.generation == 0


async def test_an_operator_starts_a_plan_that_waits_for_an_approval(service):
    assert (await begin(service, APPROVED, "operator")).status_code == 202
    assert (await service.admin("POST", "/promote", role="operator")).status_code == 403


async def test_an_approver_may_start_a_plan_without_an_approval(service):
    assert (await begin(service, QUICK, "approver")).status_code == 202


async def test_an_operator_cannot_retry_what_only_an_approver_may_start(service):
    await begin(service, QUICK, "approver")
    await service.admin("POST", "/abort", role="operator")
    answer = await service.admin("POST", "/retry", role="operator")
    assert (answer.status_code, answer.json()["code"]) == (422, "below_floor")
    assert (await service.admin("POST", "/retry", role="approver")).status_code == 202


async def test_the_configuration_can_lower_the_floor(start, tmp_path):
    rollout = {"database": tmp_path / "other.db", "floor": {"approval": False}}
    async with start(rollout=rollout) as service:
        assert (await begin(service, QUICK, "operator")).status_code == 202


@pytest.mark.parametrize("role", ["operator", "approver"])
async def test_a_raised_floor_holds_for_everybody_and_names_both_sides(start, tmp_path, role):
    floor = {"min_dwell_seconds": 60, "min_samples": 400, "required_guardrails": ["latency"]}
    async with start(rollout={"database": tmp_path / "other.db", "floor": floor}) as service:
        loose = {"steps": [{**QUICK["steps"][0], "approval": True, "must_pass": ["errors"]}]}
        answer = await begin(service, loose, role)
        assert (answer.status_code, answer.json()["code"]) == (422, "below_floor")
        for name in ("min_dwell_seconds", "min_samples"):
            assert f"plan.steps.0.{name}" in answer.json()["error"]
        for name in floor:
            assert f"rollout.floor.{name}" in answer.json()["error"]
        assert (await service.admin("POST", json={"canary": "phase-3"})).status_code == 202


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ({"required_guardrails": ["latancy"]}, "did you mean 'latency'"),
        ({"min_samples": 501}, "rollout.floor.min_samples"),
    ],
)
async def test_a_floor_that_the_services_own_plan_misses_stops_the_start(
    start, tmp_path, floor, message
):
    with pytest.raises(Invalid, match=message):
        async with start(rollout={"database": tmp_path / "other.db", "floor": floor}):
            pass
