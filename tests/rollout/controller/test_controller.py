"""Whole rollouts, restarts and subscriptions."""

from __future__ import annotations

import json

import pytest

from service.errors import (
    VersionError,
)
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.storage.database import Database
from service.rollout.storage.errors import StoreError
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from tests.support.rollout_fakes import RolloutWorld


def rows_bound(status):
    return status["guardrails"][0]["log_evidence"]["bound"]


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def test_an_identical_canary_goes_through_all_steps_and_becomes_stable(world):
    """Every step passes and dwells, the last one promotes, and undo brings the old version back."""
    await world.begin()
    assert world.traffic.current.weight_bp == 1000
    await world.healthy_ticks(30)
    assert world.controller.status()["phase"] == "Healthy"
    assert world.controller.status()["reason"] == "plan_passed"
    assert world.traffic.current == TrafficSplit("phase-3")
    assert world.controller.status()["previous"] == "phase-2"
    moves = [(row["from"], row["to"]) for row in await world.controller.history()]
    assert moves[::-1] == [
        ("Healthy", "Pending"),
        ("Pending", "WarmingUp"),
        ("WarmingUp", "Progressing"),
        ("Progressing", "Progressing"),
        ("Progressing", "Promoting"),
        ("Promoting", "Healthy"),
    ]
    await world.controller.changes.undo(world.controller.generation, "approver")
    await world.controller.prepared()
    assert world.traffic.current == TrafficSplit("phase-2")
    assert world.phase == "Healthy"


async def test_a_slow_canary_is_rolled_back_with_its_arithmetic(world):
    """The weight is 0; status, history and metrics say why."""
    await world.begin()
    status = await world.slow_ticks(10)
    assert status["phase"] == "RolledBack"
    assert status["reason"] == "guardrail_failed"
    assert status["weight"] == {"set_percent": 0.0, "actual_percent": None}
    assert "latency fail: ln E = " in status["message"]
    needed = rows_bound(status)
    assert f"= {needed:.2f} after" in status["message"], "this guardrail's share of alpha"
    assert status["guardrails"][0]["outcome"] == "fail"
    assert world.traffic.current == TrafficSplit("phase-2")
    rows = await world.controller.history(2)
    assert [row["reason"] for row in rows] == ["applied", "guardrail_failed"]
    assert rows[1]["evidence"][0]["log_evidence"]["fail"] > 4.6
    value = world.metrics.registry.get_sample_value
    labels = {"from": "Progressing", "to": "Aborting", "reason": "guardrail_failed"}
    assert value("nextvec_rollout_transitions_total", labels) == 1
    assert value("nextvec_rollout_weight_ratio", {"variant": "canary"}) == 0
    info = {"phase": "RolledBack", "stable": "phase-2", "canary": "phase-3"}
    assert value("nextvec_rollout_info", info) == 1
    json.dumps(status, allow_nan=False)


async def test_after_a_kill_the_rollout_continues_where_it_was(world):
    """Weight, phase, history and evidence are the same; counters that restart at 0 count once."""
    await world.begin()
    await world.healthy_ticks(3)
    before, history = world.controller.status(), await world.controller.history()
    split = world.traffic.current
    await world.restart()
    assert before == world.controller.status()
    assert history == await world.controller.history()
    assert split == world.traffic.current
    after = await world.tick()
    assert before["guardrails"] == after["guardrails"]
    assert (await world.healthy_ticks(40))["phase"] == "Healthy"


async def test_a_promoted_version_stays_stable_over_a_restart(world):
    await world.begin()
    await world.healthy_ticks(30)
    await world.restart()
    assert world.traffic.current == TrafficSplit("phase-3")


async def test_the_configured_stable_counts_until_a_promotion_is_recorded(world):
    await world.begin()
    await world.controller.changes.abort(None, "operator")
    world.stable = "phase-3"
    await world.restart()
    assert world.traffic.current == TrafficSplit("phase-3")


async def test_another_configured_stable_is_a_change_like_any_other(world):
    """Status, audit log and generation agree about it."""
    await world.begin()
    await world.controller.changes.abort(None, "operator")
    before = world.controller.generation
    world.stable = "phase-3"
    await world.restart()
    status = world.controller.status()
    assert (status["phase"], status["stable"], status["canary"]) == ("Healthy", "phase-3", None)
    assert status["message"] == (
        "phase-3 is stable by the service's settings; it was phase-2 before"
    )
    assert "retry" not in status["legal"]
    assert status["generation"] == before + 1
    newest = (await world.controller.history())[0]
    assert (newest["reason"], newest["from"], newest["to"]) == (
        "configured",
        "RolledBack",
        "Healthy",
    )
    await world.restart()
    assert world.controller.generation == before + 1


async def test_an_unreadable_record_means_all_traffic_to_stable(world, caplog):
    """The file is kept; the log and the audit log say so."""
    await world.begin()
    world.store.close()
    world.path.write_bytes(b"not a database" * 1000)
    await world.restart()
    assert world.traffic.current == TrafficSplit("phase-2")
    assert world.phase == "Healthy"
    (row,) = await world.controller.history()
    assert row["reason"] == "store_unreadable"
    assert (world.path.parent / "nextvec.db.unreadable-1").read_bytes().startswith(b"not a")
    assert any(record.levelname == "CRITICAL" for record in caplog.records)


async def test_without_stable_it_does_not_start(world):
    world.versions.broken = {"phase-2"}
    with pytest.raises(VersionError):
        await world.controller.start()


async def test_a_second_service_on_the_same_file_is_refused(world):
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    other = SqliteRolloutStore(Database(world.path, wait_seconds=0.0))
    with pytest.raises(StoreError, match="in use"):
        other.load()
    await world.controller.prepared()


async def test_subscribers_get_the_status_and_then_every_transition(world):
    await world.controller.start()
    events = world.controller.subscribe()
    assert (await anext(events))["event"] == "status"
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    assert [(await anext(events))["data"]["to"] for _ in range(2)] == ["Pending", "WarmingUp"]
    await world.tick()
    assert (await anext(events))["event"] == "look"
    await world.controller.close()
    assert [] == [event async for event in events]
