"""The whole controller under random traffic, requests, clock jumps, full disks and kills."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import NextvecError
from service.rollout.storage.errors import StoreError
from tests.support.postgres_world import postgres_world
from tests.support.rollout_fakes import QUICK, SHADOWED, RolloutWorld

acts = st.sampled_from(
    [
        *("good", "good", "good", "slow", "faults", "quiet", "unreadable", "back", "late"),
        *("start", "promote", "force", "pause", "resume", "abort", "retry", "undo"),
        *("full", "room", "kill", "kill", "clock set"),
    ]
)


BEGINNINGS = ("start", "retry", "undo")


stories = st.lists(acts, max_size=25), st.sampled_from([QUICK, SHADOWED])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(*stories)
async def test_the_record_stays_consistent_whatever_happens(story, chosen):
    with tempfile.TemporaryDirectory() as folder:
        world = RolloutWorld(Path(folder) / "nextvec.db", chosen)
        try:
            await live(world, ["start", *story])
        finally:
            world.store.close()


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(*stories)
async def test_the_same_on_postgresql(postgres, story, chosen):
    world = await postgres_world(postgres.url, chosen)
    try:
        await live(world, ["start", *story])
    finally:
        world.store.close()


async def live(world: RolloutWorld, story: list[str]) -> None:
    await world.controller.start()
    aborted = False
    for act in story:
        done = await do(world, act)
        await world.controller.prepared()
        if done and act in BEGINNINGS:
            aborted = False
        aborted = aborted or (done and act == "abort")
        # An abort that was acknowledged holds over every full disk and every kill.
        assert not aborted or world.phase == "RolledBack"
        status, split = world.controller.status(), world.traffic.current
        assert split.weight_bp == status["weight"]["set_percent"] * 100
        assert split.stable == status["stable"]
        assert not (split.shadow and split.weight_bp)
        if status["recorded"] and not world.store.full:
            await check_log(world, status)
    world.store.full = False
    await world.tick()


async def do(world: RolloutWorld, act: str) -> bool:
    """Returns whether it was done: False for a request that was refused."""
    controller = world.controller
    world.evidence.error = OSError("gone") if act == "unreadable" else None
    verbs = {
        "promote": lambda: controller.changes.promote(controller.generation, "me"),
        "force": lambda: controller.changes.promote(controller.generation, "me", force=True),
        "pause": lambda: controller.changes.pause(controller.generation, "me"),
        "resume": lambda: controller.changes.resume(controller.generation, "me"),
        "retry": lambda: controller.changes.retry(controller.generation, "me"),
        "undo": lambda: controller.changes.undo(controller.generation, "me"),
        "abort": lambda: controller.changes.abort(None, "me"),
        "start": lambda: controller.changes.start(
            next(iter({"phase-2", "phase-3"} - {controller.status()["stable"]})), None, "me"
        ),
    }
    if act in verbs:
        try:
            await verbs[act]()
        except StoreError:
            assert world.store.full
            return False
        except NextvecError:
            return False
    elif act in ("full", "room"):
        world.store.full = act == "full"
    elif act == "clock set":
        world.clock.wrong = 100_000.0 if world.clock.wrong <= 0 else -100_000.0
    elif act == "kill":
        await kill(world)
    else:
        serve = {
            "good": ([0.1] * 190 + [0.2] * 10, [0.1] * 200),
            "slow": ([0.1] * 190 + [0.2] * 10, [0.5] * 200),
        }.get(act, ([], []))
        # Requests reach the canary by the split, copies in a shadow step alone.
        if world.traffic.current.shadow:
            ratio = 9.0 if act == "slow" else 1.0
            copies = 120 if act in ("good", "slow") else 0
            world.shadow.ran(copies, faults=3 if act == "faults" else 0, ratio=ratio)
        world.evidence.serve(*serve, canary_faults=30 if act == "faults" else 0)
        try:
            await world.tick({"back": -5000.0, "late": 5000.0}.get(act, 10.0))
        except StoreError:
            assert world.store.full
    return True


async def kill(world: RolloutWorld) -> None:
    """Lose everything in memory. The weight afterwards is never above the recorded one."""
    recorded = world.controller.status()["recorded"]
    before, weight = world.controller.status(), world.traffic.current.weight_bp
    await world.restart()
    await world.controller.prepared()
    if recorded and before["phase"] not in ("Pending", "Promoting"):
        after = world.controller.status()
        assert (before["phase"], before["generation"]) == (after["phase"], after["generation"])
        assert weight == world.traffic.current.weight_bp


async def check_log(world: RolloutWorld, status: dict) -> None:
    """The audit log is in order, has no gap, and ends where the status is."""
    rows = (await world.controller.history(10_000))[::-1]
    assert list(range(1, len(rows) + 1)) == [row["generation"] for row in rows]
    assert len(rows) == status["generation"]
    for earlier, later in pairwise(rows):
        assert earlier["to"] == later["from"]
