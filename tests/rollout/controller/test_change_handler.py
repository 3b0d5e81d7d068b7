"""Requests: what is refused, what is recorded, and what beats what."""

from __future__ import annotations

import math

import pytest

from service.errors import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
)
from service.rollout.routing.traffic_split import TrafficSplit
from service.types import Variant
from tests.support.rollout_fakes import RolloutWorld, plan


def rows_bound(status):
    return status["guardrails"][0]["log_evidence"]["bound"]


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def test_a_promote_before_the_pass_needs_force_and_is_recorded_as_forced(world):
    await world.begin()
    with pytest.raises(Conflict) as caught:
        await world.controller.changes.promote(world.controller.generation, "approver")
    assert caught.value.code == "guardrails_not_passed"
    assert caught.value.details["phase"] == "Progressing"
    await world.controller.changes.promote(
        world.controller.generation, "approver", "I know", force=True
    )
    assert world.traffic.current.weight_bp == 5000
    (row,) = await world.controller.history(1)
    assert ("forced", "approver", "I know") == (row["reason"], row["actor"], row["note"])


async def test_a_step_with_approval_waits_for_a_person(world):
    """A resume is not an approval."""
    steps = [
        {"weight": 10, "min_dwell_seconds": 5, "min_samples": 100, "approval": True},
        {"weight": 100, "min_dwell_seconds": 5, "min_samples": 100, "approval": True},
    ]
    world.use(plan(steps=steps))

    await world.begin()
    status = await world.healthy_ticks(20)
    assert (status["phase"], status["reason"]) == ("Paused", "approval")
    assert status["legal"] == ["abort", "promote"]
    with pytest.raises(Conflict):
        await world.controller.changes.resume(world.controller.generation, "approver")
    await world.controller.changes.promote(world.controller.generation, "approver")
    assert world.traffic.current.weight_bp == 10_000
    for _ in range(5):
        world.evidence.serve(canary=[0.1] * 100)
        await world.tick()
    status = world.controller.status()
    assert (status["phase"], status["reason"], status["step"]) == ("Paused", "approval", 1)
    await world.controller.changes.promote(world.controller.generation, "approver")
    assert world.traffic.current == TrafficSplit("phase-3")


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "undo"])
async def test_a_request_needs_the_current_generation(world, verb):
    await world.begin()
    act = getattr(world.controller.changes, verb)
    with pytest.raises(PreconditionRequired):
        await act(None, "approver")
    with pytest.raises(PreconditionFailed):
        await act(world.controller.generation - 1, "approver")


async def test_a_start_that_is_refused_changes_nothing(world):
    await world.controller.start()
    before = world.controller.status()
    with pytest.raises(Invalid):
        await world.controller.changes.start("phase-2", None, "operator")
    with pytest.raises(NotFound):
        await world.controller.changes.start("phase-9", None, "operator")
    with pytest.raises(PreconditionFailed):
        await world.controller.changes.start("phase-3", None, "operator", expected_generation=7)
    with pytest.raises(Conflict) as caught:
        await world.controller.changes.abort(None, "operator")
    assert caught.value.details == {"legal": ["start"], "phase": "Healthy"}
    assert before == world.controller.status()
    assert [] == await world.controller.history()


async def test_a_restart_of_the_same_canary_has_a_smaller_share_of_alpha(world):
    await world.controller.start()
    bounds = []
    for _ in range(2):
        await world.controller.changes.start("phase-3", None, "operator")
        await world.controller.prepared()
        bounds.append(rows_bound(await world.tick()))
        await world.controller.changes.abort(None, "operator")
    assert bounds[1] - bounds[0] == pytest.approx(math.log(6))


async def test_overrides_reach_the_canary_only_while_it_is_served(world):
    await world.begin()
    route = world.traffic.current.route("k", Variant.CANARY, lambda: "x")
    assert ("phase-3", False) == (route.version, route.assigned)
    await world.controller.changes.abort(None, "operator")
    with pytest.raises(NotFound):
        world.traffic.current.route("k", Variant.CANARY, lambda: "x")


async def test_a_deadline_before_the_first_evaluation_is_refused(world):
    await world.controller.start()
    hurried = plan(
        deadline_seconds=5,
        warm_up_seconds=0,
        settle_seconds=0,
        steps=[{"weight": 10, "min_dwell_seconds": 0}],
    )
    with pytest.raises(Invalid, match=r"plan\.deadline_seconds is 5.*rollout\.interval_seconds, 5"):
        await world.controller.changes.start("phase-3", hurried, "operator")
    assert world.phase == "Healthy"
