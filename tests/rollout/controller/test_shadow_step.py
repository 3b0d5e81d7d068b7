"""A rollout whose plan begins with a shadow step."""

from __future__ import annotations

import pytest

from tests.support.rollout_fakes import SHADOWED, RolloutWorld


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def test_a_shadow_step_comes_before_any_weight(world):
    """The canary warms up on copies and is judged by them; only then does it serve requests."""
    world.use(SHADOWED)

    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    split = world.traffic.current
    assert (split.shadow, split.weight_bp, split.canary) == (True, 0, "phase-3")
    world.shadow.ran(10)
    await world.tick(10)
    status = world.controller.status()
    assert (status["phase"], status["step"]) == ("Progressing", 0)
    assert status["shadow"]["copies"]["answered"] == 0
    world.shadow.ran(99)
    assert (await world.tick(10))["guardrails"][0]["outcome"] == "inconclusive"
    assert world.traffic.current.shadow
    world.shadow.ran(1)
    status = await world.tick()
    assert (status["phase"], status["step"]) == ("Progressing", 1)
    assert (world.traffic.current.shadow, world.traffic.current.weight_bp) == (False, 1000)
    assert status["shadow"]["copies"]["answered"] == 100
    (row,) = await world.controller.history(1)
    assert (row["reason"], row["evidence"][0]["name"]) == ("step_passed", "shadow")
    assert (await world.healthy_ticks(40))["phase"] == "Healthy"


@pytest.mark.parametrize(
    ("change", "message"), [({"faults": 3}, "copies failed"), ({"ratio": 9.0}, "P95 in the engine")]
)
async def test_a_broken_canary_is_rolled_back_before_it_serves_a_request(world, change, message):
    world.use(SHADOWED)

    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    world.shadow.ran(10)
    await world.tick(10)
    world.shadow.ran(100, **change)
    status = await world.tick()
    assert (status["phase"], status["reason"]) == ("RolledBack", "guardrail_failed")
    assert message in status["message"]
    assert all(row["weight_percent"] == 0 for row in await world.controller.history())


async def test_a_shadow_step_without_requests_waits_and_then_pauses(world):
    world.use(SHADOWED)

    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    world.shadow.ran(10)
    await world.tick(10)
    await world.tick(300)
    assert world.phase == "Progressing"
    await world.tick(300)
    assert world.controller.status()["reason"] == "no_data"
    assert world.traffic.current.shadow


async def test_a_kill_in_a_shadow_step_counts_every_copy_once(world):
    world.use(SHADOWED)

    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    world.shadow.ran(10)
    await world.tick(10)
    world.shadow.ran(60)
    await world.tick()
    before = world.controller.status()
    world.shadow.ran(20)
    await world.restart()
    assert before["shadow"] == world.controller.status()["shadow"]
    assert before["guardrails"] == world.controller.status()["guardrails"]
    assert world.traffic.current.shadow
    world.shadow.ran(39)
    assert (await world.tick())["step"] == 0
    world.shadow.ran(1)
    assert (await world.tick())["step"] == 1
