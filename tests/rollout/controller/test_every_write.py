"""A kill at every write of a whole rollout, just before and just after it is stored."""

from __future__ import annotations

from contextlib import suppress
from itertools import count, pairwise

import pytest

from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficSplit
from tests.support.postgres_world import postgres_world
from tests.support.rollout_fakes import SHADOWED, RolloutWorld

ONE_STEP = RolloutPlan.model_validate(
    {
        **SHADOWED.model_dump(),
        "steps": [
            {"shadow": True, "min_dwell_seconds": 5, "min_samples": 100},
            {"weight": 50, "min_dwell_seconds": 5, "min_samples": 100},
        ],
    }
)
TICKS = 60


class ProcessKill(Exception):
    """The process is gone, and its memory with it."""


class WriteKiller:
    """Kills at write number `number`, before it is stored, or after it with `late`."""

    def __init__(self, world: RolloutWorld, number: int, *, late: bool) -> None:
        self.recorded_bp = 0
        self.done = False
        self.writes = count(1)
        save = world.port.save

        async def doomed(record, audit=(), responses=(), *, epoch=None):
            if self.done:
                raise ProcessKill
            last = next(self.writes) == number
            if not last or late:
                await save(record, audit, responses, epoch=epoch)
                self.recorded_bp = record.rollout.weight_bp
            if last:
                self.done = True
                raise ProcessKill

        world.port.save = doomed


async def live(world: RolloutWorld, doom: WriteKiller | None = None) -> None:
    """Continue under healthy traffic to the promotion, or to the kill of `doom`."""
    for _ in range(TICKS):
        if doom is not None and doom.done:
            return  # the kill came in a background task
        status = world.controller.status()
        if status["stable"] == "phase-3":
            return
        if status["phase"] == "Healthy":
            await world.controller.changes.start("phase-3", None, "operator")
            await world.controller.prepared()
        if world.traffic.current.shadow:
            world.shadow.ran(120)
        world.evidence.serve([0.1] * 190 + [0.2] * 10, [0.1] * 200)
        await world.tick()
        await world.controller.prepared()
    pytest.fail(f"not promoted after {TICKS} ticks: {world.controller.status()['message']}")


async def survive(world: RolloutWorld, number: int, *, late: bool) -> bool:
    """Kill at a write, restart and finish. Returns False if the rollout has fewer writes."""
    await world.controller.start()
    doom = WriteKiller(world, number, late=late)
    with suppress(ProcessKill):
        await live(world, doom)
    if not doom.done:
        world.store.close()
        return False
    await world.restart()
    await world.controller.prepared()
    after = world.controller.status()
    assert world.traffic.current.weight_bp <= doom.recorded_bp
    if after["phase"] in ("Healthy", "RolledBack"):
        assert world.traffic.current == TrafficSplit(after["stable"])
    await check_log(world)
    await live(world)
    await check_log(world)
    world.store.close()
    return True


async def check_log(world: RolloutWorld) -> None:
    rows = (await world.controller.history(1000))[::-1]
    assert list(range(1, len(rows) + 1)) == [row["generation"] for row in rows]
    assert len(rows) == world.controller.status()["generation"]
    assert all(earlier["to"] == later["from"] for earlier, later in pairwise(rows))


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_the_rollout_goes_on_after_a_kill_at_any_write(request, tmp_path, store, late):
    """It ends in the promotion, never with more weight than recorded or a gap in the log."""

    async def make(number):
        if store == "sqlite":
            return RolloutWorld(tmp_path / f"{number}.db", ONE_STEP)
        return await postgres_world(request.getfixturevalue("postgres").url, ONE_STEP)

    writes = 0
    while await survive(await make(writes), writes + 1, late=late):
        writes += 1
    assert writes >= 10
