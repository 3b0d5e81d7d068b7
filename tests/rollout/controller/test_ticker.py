"""Ticks: what is measured and when, without a sleep."""

from __future__ import annotations

import pytest

from tests.support.rollout_fakes import RolloutWorld, plan


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def test_a_canary_that_only_fails_is_rolled_back_during_warm_up(world):
    """A cold start excuses slowness, not errors."""
    await world.controller.start()
    await world.controller.changes.start("phase-3", plan(warm_up_seconds=300), "operator")
    await world.controller.prepared()
    await world.tick()
    for _ in range(8):
        world.evidence.serve([0.1] * 100, canary_faults=10)
        await world.tick()
    assert world.phase == "RolledBack"
    message = world.controller.status()["message"]
    assert "errors fail: " in message
    assert "canary: 20 of 20 requests failed, stable: 0 of 200" in message


async def test_errors_count_from_the_canarys_first_request(world):
    """The counters are read before the canary serves any, so two runs are enough."""
    await world.controller.start()
    await world.controller.changes.start("phase-3", plan(warm_up_seconds=300), "operator")
    await world.controller.prepared()
    for _ in range(2):
        world.evidence.serve([0.1] * 100, canary_faults=10)
        await world.tick()
    assert world.phase == "RolledBack"


async def test_after_a_warm_up_the_first_step_is_judged_at_once(world):
    """The weight has not changed, so nothing has to settle."""
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    while world.phase != "Progressing":
        world.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 19 + [0.2])
        await world.tick()
    world.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 20)
    status = await world.tick()
    assert status["guardrails"][0]["samples"] == {"canary": 20, "stable": 100}


async def test_a_stable_that_slows_down_with_the_canary_is_a_rollback(world):
    """The versions are equally slow; only stable's past, which survives a kill, shows it."""
    await world.controller.start()
    for _ in range(3):
        world.evidence.serve([0.1] * 200)
        await world.tick()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    for _ in range(4):
        world.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 19 + [0.2])
        await world.tick()
    await world.restart()
    for _ in range(20):
        world.evidence.serve([0.5] * 200, [0.5] * 50)
        await world.tick()
    status = world.controller.status()
    assert status["phase"] == "RolledBack"
    assert "interference fail: " in status["message"]


async def test_guardrails_run_while_paused(world):
    """A pause holds the weight, not the verdict."""
    await world.begin()
    await world.controller.changes.pause(world.controller.generation, "operator", "lunch")
    assert world.traffic.current.weight_bp == 1000
    assert (await world.slow_ticks(10))["phase"] == "RolledBack"


async def test_no_traffic_neither_passes_nor_fails(world):
    """The rollout pauses at the deadline, and the message says what is missing."""
    await world.begin()
    for _ in range(100):
        await world.tick()
    assert world.phase == "Progressing"
    for _ in range(30):
        await world.tick()
    status = world.controller.status()
    assert (status["phase"], status["reason"]) == ("Paused", "no_data")
    assert world.traffic.current.weight_bp == 1000


async def test_a_pause_is_aborted_at_its_deadline(world):
    await world.begin()
    await world.controller.changes.pause(world.controller.generation, "operator")
    await world.tick(3599)
    assert world.phase == "Paused"
    await world.tick(1)
    assert world.phase == "RolledBack"
    assert world.controller.status()["reason"] == "pause_deadline"


async def test_unreadable_evidence_holds_and_then_pauses(world):
    """Three failed runs in a row pause; the rollout continues once the source is back."""
    await world.begin()
    world.evidence.error = OSError("connection refused")
    await world.tick()
    await world.tick()
    assert world.phase == "Progressing"
    assert world.controller.status()["guardrails"][0]["outcome"] == "error"
    await world.tick()
    status = world.controller.status()
    assert (status["phase"], status["reason"]) == ("Paused", "evidence_error")
    assert "connection refused" in status["message"]
    world.evidence.error = None
    await world.controller.changes.resume(world.controller.generation, "approver")
    assert (await world.healthy_ticks(30))["phase"] == "Healthy"


async def test_a_canary_that_turns_slow_at_100_percent_is_rolled_back(world):
    """Stable serves nothing any more; its last percentile is still the reference."""
    steps = [
        {"weight": 10, "min_dwell_seconds": 5, "min_samples": 100},
        {"weight": 100, "min_dwell_seconds": 300, "min_samples": 100, "approval": True},
    ]
    world.use(plan(steps=steps))

    await world.begin()
    while world.traffic.current.weight_bp < 10_000:
        await world.healthy_ticks(1)
    await world.tick()
    await world.tick()
    for _ in range(12):
        world.evidence.serve(canary=[0.1] * 100 + [0.5] * 100)
        await world.tick()
    assert world.phase == "RolledBack"


async def test_run_continues_after_a_tick_that_raises_and_ends_on_stop(world, monkeypatch):
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


async def test_a_measurement_across_a_change_is_dropped(world, monkeypatch):
    """The next analysis run counts its requests, at the weight that they had."""
    await world.begin()
    read = world.evidence.read

    async def read_and_pause(stable, canary):
        snapshot = await read(stable, canary)
        await world.controller.changes.pause(world.controller.generation, "operator")
        return snapshot

    before = world.controller.status()
    monkeypatch.setattr(world.evidence, "read", read_and_pause)
    status = await world.slow_ticks(1)
    assert (before["looked_at"], before["guardrails"]) == (
        status["looked_at"],
        status["guardrails"],
    )
    monkeypatch.setattr(world.evidence, "read", read)
    status = await world.tick()
    assert status["guardrails"][0]["samples"] != before["guardrails"][0]["samples"]
