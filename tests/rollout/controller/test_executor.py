"""The order of effects: traffic, record and cancellation."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import AbortNotStored, Conflict, Invalid
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.storage.errors import StoreError
from tests.support.rollout_fakes import SHADOWED, RolloutWorld


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def test_abort_beats_a_promotion_that_is_being_recorded(world):
    """The canary loses its traffic before the abort gets the lock."""
    await world.begin()
    await world.controller.changes.promote(world.controller.generation, "approver", force=True)
    promote = asyncio.create_task(
        world.controller.changes.promote(world.controller.generation, "approver", force=True)
    )
    while not world.controller._executor.lock.locked():
        await asyncio.sleep(0)
    abort = asyncio.create_task(world.controller.changes.abort(None, "operator"))
    await asyncio.sleep(0)
    assert world.traffic.current == TrafficSplit("phase-2")
    await asyncio.gather(promote, abort)
    assert world.phase == "RolledBack"
    assert world.traffic.current == TrafficSplit("phase-2")
    assert world.controller.status()["stable"] == "phase-2"


async def test_a_full_disk_cannot_keep_a_bad_canary_in_traffic(world):
    """The rollback takes effect at once; the status shows that it is recorded only later."""
    await world.begin()
    world.store.full = True
    status = await world.slow_ticks(10)
    assert status["phase"] == "RolledBack"
    assert status["recorded"] is False
    assert world.traffic.current.weight_bp == 0
    world.store.full = False
    assert (await world.tick())["recorded"] is True
    assert (await world.controller.history(1))[0]["to"] == "RolledBack"


async def test_a_weight_that_cannot_be_recorded_is_not_raised(world):
    await world.begin()
    generation = world.controller.generation
    world.store.full = True
    with pytest.raises(StoreError):
        await world.controller.changes.promote(generation, "approver", force=True)
    assert world.traffic.current.weight_bp == 1000
    assert world.controller.generation == generation


async def test_a_cancelled_request_leaves_no_change_half_done(world):
    await world.begin()
    task = asyncio.create_task(
        world.controller.changes.promote(world.controller.generation, "approver", force=True)
    )
    while not world.controller._executor.lock.locked():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with world.controller._executor.lock:
        assert world.traffic.current.weight_bp == 5000
        assert world.controller.status()["weight"]["set_percent"] == 50


async def test_shadow_copies_of_a_change_that_cannot_be_recorded_still_count(world):
    """They are taken from the runner only once."""
    world.use(SHADOWED)
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    world.shadow.ran(10)
    await world.tick(10)
    world.shadow.ran(100)
    world.store.full = True
    with pytest.raises(StoreError):
        await world.tick(10)
    assert world.traffic.current.shadow
    world.store.full = False
    status = await world.tick()
    assert (1, 100) == (status["step"], status["shadow"]["copies"]["answered"])


@pytest.mark.parametrize("part", ["_on_record", "_feed", "_metrics"])
async def test_a_stored_start_never_answers_an_error(world, monkeypatch, part):
    """Whatever reports it may fail: the rollout has begun, and the caller must learn that."""
    await world.controller.start()
    monkeypatch.setattr(world.controller._executor, part, None)
    status = await world.controller.changes.start("phase-3", None, "operator")
    assert status["phase"] == "Pending"
    assert world.store.load().rollout.canary == "phase-3"
    await world.controller.prepared()
    assert world.phase == "WarmingUp"


async def test_a_start_that_no_response_can_show_does_not_begin(world):
    await world.controller.start()
    huge = world.plan.model_copy(update={"warm_up_requests": 2**70})
    with pytest.raises(Invalid):
        await world.controller.changes.start("phase-3", huge, "operator")
    assert world.phase == "Healthy"
    assert world.store.load() is None


async def test_a_start_that_cannot_be_stored_does_not_begin(world):
    await world.controller.start()
    world.store.full = True
    with pytest.raises(StoreError):
        await world.controller.changes.start("phase-3", None, "operator")
    world.store.full = False
    await world.tick()
    assert world.phase == "Healthy"
    await world.restart()
    assert world.phase == "Healthy"


async def test_an_acknowledged_abort_survives_a_full_disk_and_a_kill(world):
    await world.begin()
    world.store.full = True
    status = await world.controller.changes.abort(None, "operator", "stop")
    assert (status["phase"], status["recorded"]) == ("RolledBack", False)
    await world.restart()
    assert world.traffic.current == TrafficSplit("phase-2")
    assert world.phase == "RolledBack"
    newest, before, *_ = await world.controller.history()
    assert (newest["to"], before["to"], before["reason"]) == ("RolledBack", "Aborting", "aborted")
    assert "could not be stored" in before["message"]


async def test_a_rollback_survives_a_full_disk_and_a_kill(world):
    await world.begin()
    world.store.full = True
    assert (await world.slow_ticks(10))["phase"] == "RolledBack"
    await world.restart()
    assert world.phase == "RolledBack"
    assert world.traffic.current == TrafficSplit("phase-2")


async def test_an_abort_that_nothing_can_keep_is_no_success(world, monkeypatch):
    """It takes effect all the same, and succeeds when it is repeated with room on the disk."""
    await world.begin()
    world.store.full = True

    def revoke():
        raise StoreError("a read-only file system")

    monkeypatch.setattr(world.store, "revoke_canary", revoke)
    for _ in range(2):
        with pytest.raises(AbortNotStored, match="in effect"):
            await world.controller.changes.abort(None, "operator", "stop")
        assert world.phase == "RolledBack"
        assert world.traffic.current == TrafficSplit("phase-2")
    world.store.full = False
    status = await world.controller.changes.abort(None, "operator", "again")
    assert (status["phase"], status["recorded"]) == ("RolledBack", True)
    with pytest.raises(Conflict):
        await world.controller.changes.abort(None, "operator")
    await world.restart()
    assert world.phase == "RolledBack"


async def test_a_start_after_an_abort_that_was_not_recorded(world):
    """It stores both, and a restart continues it."""
    await world.begin()
    world.store.full = True
    await world.controller.changes.abort(None, "operator")
    world.store.full = False
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    await world.restart()
    assert world.phase == "WarmingUp"


async def test_an_unchanged_record_is_not_loaded_again(world):
    """Or the result of an analysis run that is under way would be dropped."""
    await world.begin()
    await world.healthy_ticks(3)
    executor = world.controller._executor
    before = executor.record
    assert before.earlier is not None
    await executor.reload()
    assert executor.record is before


async def test_a_record_of_another_replica_keeps_the_pace(world):
    """The assessment before the new one is known, for the time of a rollback."""
    await world.begin()
    await world.healthy_ticks(2)
    executor = world.controller._executor
    older, stored = executor.record, await executor._store.load()
    await world.healthy_ticks(1)
    newer = await executor._store.load()
    executor.adopt(stored)
    executor.adopt(newer)
    assert older.analysed_at == executor.record.earlier.at
    assert older.assessment == executor.record.earlier.assessment
