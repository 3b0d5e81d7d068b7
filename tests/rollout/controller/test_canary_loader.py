"""Loading a canary: damage, aborts and kills on the way."""

from __future__ import annotations

import pytest

from service.rollout.routing.traffic_split import TrafficSplit
from tests.support.rollout_fakes import RolloutWorld


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def test_a_damaged_canary_never_gets_traffic(world):
    world.versions.broken = {"phase-3"}
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    status = world.controller.status()
    assert (status["phase"], status["reason"]) == ("RolledBack", "prepare_failed")
    assert "damaged" in status["message"]
    assert world.traffic.current == TrafficSplit("phase-2")


async def test_abort_while_loading_wins_over_the_load(world):
    """A load that ends after the abort changes nothing."""
    await world.controller.start()
    world.versions.gate.clear()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.changes.abort(None, "operator", "never mind")
    assert world.phase == "RolledBack"
    world.versions.gate.set()
    await world.controller.prepared()
    assert world.phase == "RolledBack"
    assert world.traffic.current == TrafficSplit("phase-2")


async def test_a_kill_while_loading_loads_again(world):
    await world.controller.start()
    world.versions.gate.clear()
    await world.controller.changes.start("phase-3", None, "operator")
    world.controller._loader._task.cancel()
    world.versions.gate.set()
    await world.restart()
    await world.controller.prepared()
    assert world.phase == "WarmingUp"


async def test_a_canary_lost_over_a_restart_is_rolled_back(world):
    await world.begin()
    world.versions.broken = {"phase-3"}
    await world.restart()
    assert world.phase == "RolledBack"
    assert world.traffic.current == TrafficSplit("phase-2")
