"""What happens next, and when."""

from __future__ import annotations

import pytest

from tests.support.rollout_fakes import RolloutWorld, plan


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


def ahead(world):
    return world.controller.status()["next"]


async def test_nothing_without_a_rollout(world):
    await world.controller.start()
    found = ahead(world)
    assert ("none", [], None, None) == (
        found["action"],
        found["conditions"],
        found["deadline_at"],
        found["rollback"],
    )


async def test_a_step_waits_for_time_samples_and_guardrails(world):
    """The times follow from the pace; the deadline and the dwell are exact."""
    await world.begin()
    status = world.controller.status()
    found = status["next"]
    assert ("next_step", 50.0) == (found["action"], found["weight_percent"])
    assert found["waiting_for"] == [c["name"] for c in found["conditions"] if c["fraction"] < 1]
    assert {"canary_samples", "guardrail:latency", "guardrail:errors"} <= set(found["waiting_for"])
    assert status["since"] + 600 == found["deadline_at"]
    assert "pause" == found["on_deadline"]
    status = await world.healthy_ticks(1)
    found = status["next"]
    by_name = {c["name"]: c for c in found["conditions"]}
    assert by_name["canary_samples"]["current"] == status["guardrails"][0]["samples"]["canary"]
    assert by_name["canary_samples"]["met"]
    latency = by_name["guardrail:latency"]
    assert latency["required"] == status["guardrails"][0]["log_evidence"]["pass_bound"]
    assert latency["fraction"] == status["guardrails"][0]["progress"]["pass"]
    assert found["expected_at"] == max(
        c["expected_at"] for c in found["conditions"] if not c["met"]
    )
    assert world.clock.time() < found["expected_at"] < found["deadline_at"]


async def test_the_dwell_is_the_earliest_time(world):
    world.use(plan(steps=[{"weight": 10, "min_dwell_seconds": 300, "min_samples": 100}]))
    await world.begin()
    status = await world.healthy_ticks(20)
    found = status["next"]
    assert (["dwell"], "promotion", 100.0) == (
        found["waiting_for"],
        found["action"],
        found["weight_percent"],
    )
    assert status["step_since"] + 300 == found["earliest_at"] == found["expected_at"]


async def test_a_rollback_is_announced_with_its_time(world):
    await world.begin()
    await world.healthy_ticks(1)
    found = {}
    while (status := await world.slow_ticks(1))["phase"] != "RolledBack":
        if status["outlook"] == "leaning_to_fail":
            found = status["next"]
    assert ("roll_back", 0.0) == (found["action"], found["weight_percent"])
    assert found["rollback"]["guardrail"] == status["guardrails"][0]["name"] == "latency"
    assert 1 / 3 <= found["rollback"]["fraction"] < 1
    assert found["expected_at"] <= status["looked_at"] + 5, "it came when it was announced"
    assert {"dwell", "canary_samples"} <= {c["name"] for c in found["conditions"]}
    assert "Until then it has 10 % of new requests." in found["text"]
    assert ahead(world)["text"] == (
        "phase-2 has all traffic. Nothing is urgent: find the cause before you retry phase-3."
    )


async def test_a_pause_waits_for_a_person_until_its_deadline(world):
    await world.begin()
    await world.controller.changes.pause(world.controller.generation, "anna")
    status = world.controller.status()
    found = status["next"]
    assert ("person", ["resume"], "abort") == (
        found["action"],
        found["waiting_for"],
        found["on_deadline"],
    )
    assert status["since"] + 3600 == found["deadline_at"]
    assert found["text"].startswith("Resume step 1 of 2 (10 %), or abort.")


async def test_at_100_percent_only_time_and_the_canarys_samples_count(world):
    world.use(
        plan(
            steps=[
                {"weight": 10, "min_dwell_seconds": 10, "min_samples": 100},
                {"weight": 100, "min_dwell_seconds": 60, "min_samples": 100, "approval": True},
            ]
        )
    )
    await world.begin()
    while world.controller.status()["step"] == 0:
        await world.healthy_ticks(1)
    found = ahead(world)
    assert ("approval", ["dwell", "canary_samples"]) == (found["action"], found["waiting_for"])
