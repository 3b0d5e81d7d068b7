"""The gate in a rollout: at the start, after the load, overridden, and after a restart."""

from __future__ import annotations

import pytest

from service.errors import Conflict
from service.rollout.plan.gate import Gate
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.state.change_request import ChangeOptions
from tests.support.fakes import evaluated, manifest_of
from tests.support.rollout_fakes import RolloutWorld, plan

GATE = {"min_hit5": 0.69}


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db", plan(gate=GATE))
    set_hit5(made, 0.359)
    yield made
    made.store.close()


def set_hit5(world, hit5):
    """Set the Hit@5 in phase-3's manifest."""
    report = evaluated(hit5, hit5 - 0.01, hit5 + 0.01)
    world.versions.manifests["phase-3"] = manifest_of("phase-3", 8, "f" * 64, evaluation=report)


def start(world, **options):
    return world.controller.changes.start("phase-3", None, "approver", "why", **options)


async def test_a_canary_that_misses_the_gate_is_not_loaded(world):
    """The error has the figure, and nothing has started."""
    await world.controller.start()
    with pytest.raises(Conflict, match=r"35.9 % .* 69 % required") as refused:
        await start(world)
    assert ("gate_missed", 0.359) == (
        refused.value.code,
        refused.value.details["missed"][0]["found"],
    )
    assert (0, []) == (world.controller.generation, await world.controller.history())
    assert ["phase-2"] == world.versions.prepared


async def test_a_canary_that_meets_the_gate_starts_with_or_without_an_override(world):
    """An override that was not needed is not recorded."""
    await world.controller.start()
    set_hit5(world, 0.7)
    await start(world, override_gate=True)
    await world.controller.prepared()
    assert "WarmingUp" == world.phase
    assert {"overridden": False, "missed": []} == world.controller.status()["gate"]


async def test_the_plan_of_a_start_cannot_loosen_the_services_gate(world):
    """It can only be stricter; a plan without a gate gets the service's."""
    await world.controller.start()
    for own in (plan(), plan(gate={"min_hit5": 0.1})):
        with pytest.raises(Conflict, match="69 % required"):
            await world.controller.changes.start("phase-3", own, "operator")
    set_hit5(world, 0.7)
    own = plan(gate={"min_hit5": 0.9})
    with pytest.raises(Conflict, match="90 % required"):
        await world.controller.changes.start("phase-3", own, "operator")
    status = await world.controller.changes.start("phase-3", plan(), "operator")
    assert Gate(**GATE).model_dump() == status["plan"]["gate"]


async def test_an_override_is_recorded_with_what_was_missed(world):
    """It is in the status and the audit log, and a restart does not check the gate again."""
    await world.controller.start()
    await start(world, override_gate=True)
    await world.controller.prepared()
    assert "WarmingUp" == world.phase
    await world.restart()
    assert "WarmingUp" == world.phase
    gate = world.controller.status()["gate"]
    assert (True, [0.359]) == (gate["overridden"], [miss["found"] for miss in gate["missed"]])
    begun = (await world.controller.history())[-1]
    assert ("start", "approver", "why") == (begun["reason"], begun["actor"], begun["note"])
    assert gate["missed"] == begun["gate_missed"]
    assert "gate overridden: phase-3's Hit@5 is 35.9 %" in begun["message"]


async def test_the_gate_is_checked_again_on_what_was_loaded(world):
    """Files that were swapped between the start and the load get no traffic."""
    await world.controller.start()
    set_hit5(world, 0.7)
    world.versions.gate.clear()
    await start(world)
    set_hit5(world, 0.359)
    world.versions.gate.set()
    await world.controller.prepared()
    status = world.controller.status()
    assert ("RolledBack", "gate_missed") == (status["phase"], status["reason"])
    assert "35.9 %" in status["message"]
    assert TrafficSplit("phase-2") == world.traffic.current


async def test_a_version_swapped_before_a_restart_is_rolled_back(world):
    """Stable has all traffic, and the status has the reason."""
    await world.controller.start()
    set_hit5(world, 0.7)
    await start(world)
    await world.controller.prepared()
    set_hit5(world, 0.359)
    await world.restart()
    status = world.controller.status()
    assert ("RolledBack", "gate_missed") == (status["phase"], status["reason"])


async def test_the_gate_applies_to_a_dry_run_and_a_retry(world):
    """A retry does not inherit an override; only a new start can override the gate."""
    await world.controller.start()
    with pytest.raises(Conflict, match="69 % required"):
        await start(world, options=ChangeOptions(dry_run=True))
    await start(world, override_gate=True)
    await world.controller.prepared()
    await world.controller.changes.abort(None, "operator")
    with pytest.raises(Conflict, match="69 % required"):
        await world.controller.changes.retry(world.controller.generation, "operator")


async def test_an_undo_needs_no_gate(world):
    """A version that was stable before needs no gate."""
    world.plan = plan()
    await world.restart()
    await world.begin()
    await world.healthy_ticks(30)
    assert "phase-3" == world.controller.status()["stable"]
    world.plan = plan(gate=GATE)
    await world.restart()
    await world.controller.changes.undo(world.controller.generation, "approver")
    await world.controller.prepared()
    assert "phase-2" == world.controller.status()["stable"]
