"""Ticks: what is measured and when, without a sleep."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.rollout_fakes import World, plan


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "nextvec.db")
    yield made
    made.store.close()


def test_a_canary_that_only_fails_is_rolled_back_during_warm_up(world):
    """A cold start excuses slowness, not errors."""

    async def story():
        await world.controller.start()
        await world.controller.changes.start("phase-3", plan(warm_up_seconds=300), "operator")
        await world.controller.prepared()
        await world.look()
        for _ in range(8):
            world.evidence.serve([0.1] * 100, canary_faults=10)
            await world.look()
        assert world.phase == "RolledBack"
        message = world.controller.status()["message"]
        assert "errors fail: " in message
        assert "canary: 20 of 20 requests failed, stable: 0 of 200" in message

    asyncio.run(story())


def test_errors_count_from_the_canarys_first_request(world):
    """The counters are read before it gets any: two looks are enough."""

    async def story():
        await world.controller.start()
        await world.controller.changes.start("phase-3", plan(warm_up_seconds=300), "operator")
        await world.controller.prepared()
        for _ in range(2):
            world.evidence.serve([0.1] * 100, canary_faults=10)
            await world.look()
        assert world.phase == "RolledBack"

    asyncio.run(story())


def test_after_a_warm_up_the_first_step_is_judged_at_once(world):
    """The weight was there already: nothing has to settle."""

    async def story():
        await world.controller.start()
        await world.controller.changes.start("phase-3", None, "operator")
        await world.controller.prepared()
        while world.phase != "Progressing":
            world.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 19 + [0.2])
            await world.look()
        world.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 20)
        status = await world.look()
        assert status["guardrails"][0]["samples"] == {"canary": 20, "stable": 100}

    asyncio.run(story())


def test_a_stable_that_slows_down_with_the_canary_is_a_rollback(world):
    """The two look alike then; stable's past, which a kill does not lose, tells."""

    async def story():
        await world.controller.start()
        for _ in range(3):
            world.evidence.serve([0.1] * 200)
            await world.look()
        await world.controller.changes.start("phase-3", None, "operator")
        await world.controller.prepared()
        for _ in range(4):
            world.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 19 + [0.2])
            await world.look()
        await world.restart()
        for _ in range(20):
            world.evidence.serve([0.5] * 200, [0.5] * 50)
            await world.look()
        status = world.controller.status()
        assert status["phase"] == "RolledBack"
        assert "interference fail: " in status["message"]

    asyncio.run(story())


def test_guardrails_run_while_paused(world):
    """A pause holds the weight, not the verdict."""

    async def story():
        await world.begin()
        await world.controller.changes.pause(world.controller.generation, "operator", "lunch")
        assert world.traffic.current.weight_bp == 1000
        assert (await world.slow_looks(10))["phase"] == "RolledBack"

    asyncio.run(story())


def test_no_traffic_neither_passes_nor_fails(world):
    """It pauses at the deadline, and says what is missing."""

    async def story():
        await world.begin()
        for _ in range(100):
            await world.look()
        assert world.phase == "Progressing"
        for _ in range(30):
            await world.look()
        status = world.controller.status()
        assert (status["phase"], status["reason"]) == ("Paused", "no_data")
        assert world.traffic.current.weight_bp == 1000

    asyncio.run(story())


def test_a_pause_is_aborted_at_its_deadline(world):
    async def story():
        await world.begin()
        await world.controller.changes.pause(world.controller.generation, "operator")
        await world.look(3599)
        assert world.phase == "Paused"
        await world.look(1)
        assert world.phase == "RolledBack"
        assert world.controller.status()["reason"] == "pause_deadline"

    asyncio.run(story())


def test_unreadable_evidence_holds_and_then_pauses(world):
    """Three looks in a row; one good one in between starts the count again."""

    async def story():
        await world.begin()
        world.evidence.error = OSError("connection refused")
        await world.look()
        await world.look()
        assert world.phase == "Progressing"
        assert world.controller.status()["guardrails"][0]["outcome"] == "error"
        await world.look()
        status = world.controller.status()
        assert (status["phase"], status["reason"]) == ("Paused", "evidence_error")
        assert "connection refused" in status["message"]
        world.evidence.error = None
        await world.controller.changes.resume(world.controller.generation, "approver")
        assert (await world.healthy_looks(30))["phase"] == "Healthy"

    asyncio.run(story())


def test_a_canary_that_turns_slow_at_100_percent_is_rolled_back(world):
    """There is no stable arm left; the percentile it last had still guards."""
    steps = [
        {"weight": 10, "min_dwell_seconds": 5, "min_samples": 100},
        {"weight": 100, "min_dwell_seconds": 300, "min_samples": 100, "approval": True},
    ]
    world.use(plan(steps=steps))

    async def story():
        await world.begin()
        while world.traffic.current.weight_bp < 10_000:
            await world.healthy_looks(1)
        await world.look()
        await world.look()
        for _ in range(12):
            world.evidence.serve(canary=[0.1] * 100 + [0.5] * 100)
            await world.look()
        assert world.phase == "RolledBack"

    asyncio.run(story())


def test_run_continues_after_a_tick_that_raises_and_ends_on_stop(world, monkeypatch):
    async def story():
        await world.controller.start()
        looks = []

        async def bad():
            looks.append(1)
            if len(looks) == 3:
                world.controller._ticker.stop()
            raise RuntimeError("a bug")

        monkeypatch.setattr(world.controller._ticker, "tick", bad)
        world.controller._ticker._interval = 0.001
        await world.controller.run()
        assert len(looks) == 3
        await world.controller.close()

    asyncio.run(story())
