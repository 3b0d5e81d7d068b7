"""Durations are what really passed, whatever the system clock does."""

from __future__ import annotations

import pytest

from tests.support.rollout_fakes import RolloutWorld, plan

DAY = 86_400.0


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def pause(world: RolloutWorld) -> None:
    await world.begin()
    await world.controller.changes.pause(world.controller.generation, "operator")


@pytest.mark.parametrize("step", [700.0, -700.0, 2 * DAY, -2 * DAY])
async def test_a_warm_up_takes_its_time(world, step):
    world.use(plan(warm_up_seconds=300))
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    world.clock.wrong = step
    for _ in range(59):
        world.evidence.serve([0.1] * 20, [0.1] * 20)
        assert (await world.tick())["phase"] == "WarmingUp"
    await world.tick()
    assert (await world.tick())["phase"] == "Progressing"


@pytest.mark.parametrize("step", [2 * DAY, -2 * DAY])
async def test_a_pause_lasts_until_its_deadline(world, step):
    await pause(world)
    world.clock.wrong = step
    assert (await world.tick(world.plan.pause_deadline_seconds - 10))["phase"] == "Paused"
    world.clock.wrong = 0.0
    assert (await world.tick(5))["phase"] == "Paused"
    assert (await world.tick(10))["phase"] == "RolledBack"


@pytest.mark.slow
async def test_a_clock_that_creeps_adds_up_to_nothing(world):
    """Each step is below the threshold; together they are hours."""
    await pause(world)
    for _ in range(1000):
        world.clock.wrong += 0.9 * 10
        await world.tick(0.0)
    assert world.phase == "Paused"
    since = world.controller.status()["since"]
    assert abs(world.clock.time() - since) < 20


async def test_a_command_after_a_step_is_dated_by_the_clock(world):
    await pause(world)
    world.clock.wrong = DAY
    await world.controller.changes.resume(world.controller.generation, "approver")
    assert (await world.controller.history(1))[0]["at"] == world.clock.time()
    assert world.controller.status()["since"] == world.clock.time()


@pytest.mark.parametrize("away", [3 * DAY, -3 * DAY])
async def test_time_without_a_service_does_not_count(world, away):
    """Nor does a clock that was set while the service was stopped."""
    await pause(world)
    await world.tick(100)
    world.clock.now += away
    await world.restart()
    assert (await world.tick(5))["phase"] == "Paused"
    assert (await world.tick(world.plan.pause_deadline_seconds - 120))["phase"] == "Paused"
    assert (await world.tick(20))["phase"] == "RolledBack"


async def test_a_dwell_is_not_over_after_a_long_stop(world):
    world.use(plan(steps=[{"weight": 10, "min_dwell_seconds": 500, "min_samples": 100}]))
    await world.begin()
    world.clock.now += DAY
    await world.restart()
    status = await world.healthy_ticks(40)
    assert status["phase"] == "Progressing"
    assert status["guardrails"][0]["outcome"] == "pass"
    assert (await world.healthy_ticks(60))["phase"] == "Healthy"
