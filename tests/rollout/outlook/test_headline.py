"""One sentence for every state, from the evidence of the last analysis run."""

from __future__ import annotations

import pytest

from service.errors import VersionError
from tests.support.rollout_fakes import SHADOWED, RolloutWorld, plan


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def start(world, chosen=None):
    if chosen is not None:
        world.use(chosen)
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator", "try it")


def told(world) -> tuple[str, str]:
    status = world.controller.status()
    return status["outlook"], status["headline"]


async def test_without_a_rollout(world):
    await world.controller.start()
    assert ("idle", "No rollout: phase-2 has all traffic.") == told(world)


async def test_from_the_load_to_the_promotion(world):
    """Every phase has its outlook, and the sentence of each step is about that step."""
    await world.controller.start()
    world.versions.gate.clear()
    await world.controller.changes.start("phase-3", None, "operator", "try it")
    assert ("preparing", "phase-3 is being loaded; it has no traffic yet.") == told(world)
    world.versions.gate.set()
    await world.controller.prepared()
    await world.tick()
    assert told(world) == (
        "warming_up",
        (
            "phase-3 warms up on 10 % of new requests: 5 of 10 s warm-up "
            "and 0 of 10 warm-up requests."
        ),
    )
    for _ in range(4):
        world.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 19 + [0.2])
        await world.tick()
    outlook, text = told(world)
    assert outlook == "too_early"
    assert text.startswith("It is too early to judge phase-3 at 10 %: P95 latency has ")
    seen = []
    while (status := await world.healthy_ticks(1))["step"] == 0:
        seen.append(status)
    assert seen[-1]["outlook"] == "looks_good"
    assert seen[-1]["headline"].startswith("phase-3 looks good: its P95 is ")
    assert (
        "(up to 20 % higher is allowed); step 1 of 2 (10 %) ends in about" in seen[-1]["headline"]
    )
    assert told(world)[0] == "looks_good", "the step that has passed speaks for it"
    assert told(world)[1].startswith(
        "phase-3 looks good: it has passed step 1 of 2 (10 %), and nothing speaks against it so far"
    )
    await world.healthy_ticks(20)
    assert ("promoted", "phase-3 is stable and has all traffic.") == told(world)


async def test_a_forced_step_says_nothing_for_the_canary(world):
    await world.begin()
    await world.controller.changes.promote(world.controller.generation, "anna", "now", force=True)
    await world.tick()
    outlook, text = told(world)
    assert outlook == "too_early"
    assert text.startswith("It is too early to judge phase-3 at 50 %")


async def test_a_slow_canary_leans_to_fail_and_is_rolled_back(world):
    await world.begin()
    await world.healthy_ticks(1)
    seen = []
    while (status := await world.slow_ticks(1))["phase"] != "RolledBack":
        seen.append(status)
    leaning = next(each for each in seen if each["outlook"] == "leaning_to_fail")
    assert leaning["headline"].startswith("phase-3 looks too slow: its P95 is ")
    assert "; up to 1.2 times is allowed)" in leaning["headline"]
    assert "ms against " in leaning["headline"]
    assert status["outlook"] == "rolled_back"
    assert status["headline"].startswith(
        "phase-3 was rolled back in step 1 of 2 (10 %) because it was too slow: its P95 is "
    )
    await world.restart()
    assert status["headline"] == told(world)[1], "a restart says the same"


async def test_a_persons_abort_is_no_failure(world):
    await world.begin()
    await world.controller.changes.abort(None, "anna", "wrong version")
    assert told(world) == (
        "stopped",
        (
            "phase-3 was stopped by anna in step 1 of 2 (10 %), saying “wrong version”; "
            "phase-2 has all traffic."
        ),
    )


async def test_a_pause_by_hand(world):
    await world.begin()
    generation = world.controller.generation
    await world.controller.changes.pause(generation, "anna", "lunch")
    outlook, text = told(world)
    assert outlook == "paused"
    assert text == (
        "phase-3 is paused by anna in step 1 of 2 (10 %), saying “lunch”; "
        "without an answer it is rolled back in 1 h."
    )
    while (status := await world.slow_ticks(1))["phase"] == "Paused":
        outlook, text = status["outlook"], status["headline"]
    assert (outlook, status["outlook"]) == ("paused", "rolled_back")
    assert ", but phase-3 looks too slow: its P95 is " in text


@pytest.mark.parametrize(
    ("chosen", "ticks", "start_of_text"),
    [
        (
            plan(
                steps=[
                    {"weight": 10, "min_dwell_seconds": 10, "min_samples": 100, "approval": True},
                    {"weight": 50, "min_dwell_seconds": 10, "min_samples": 100},
                ]
            ),
            20,
            "phase-3 has passed step 1 of 2 (10 %) and waits for your approval; ",
        ),
        (
            plan(deadline_seconds=30, warm_up_seconds=10),
            0,
            "The rollout needs you: too few requests reached phase-3 in step 1 of 2 (10 %); ",
        ),
    ],
)
async def test_a_pause_that_needs_a_person(world, chosen, ticks, start_of_text):
    world.use(chosen)
    if ticks:
        await world.begin()
        await world.healthy_ticks(ticks)
    else:
        await start(world)
        await world.controller.prepared()
        for _ in range(10):
            await world.tick()
    outlook, text = told(world)
    assert outlook == "needs_you"
    assert text.startswith(start_of_text)


async def test_counts_that_cannot_be_read(world):
    await world.begin()
    world.evidence.error = OSError("no such host")
    await world.tick()
    assert ("blind", "phase-3 is not being judged: its requests cannot be counted.") == told(world)
    await world.tick()
    await world.tick()
    outlook, text = told(world)
    assert outlook == "needs_you"
    assert text.startswith("The rollout needs you: the requests of phase-3 cannot be counted; ")


async def test_no_traffic_reaches_the_canary(world):
    await world.begin()
    await world.tick(59)
    assert told(world)[0] != "blind"
    await world.tick(31)
    assert told(world) == (
        "blind",
        "phase-3 is not being judged: no request has reached it for 1 min 30 s.",
    )
    await world.healthy_ticks(1)
    assert told(world)[0] != "blind"


async def test_a_canary_that_cannot_be_loaded(world):
    world.versions.broken.add("phase-3")
    await start(world)
    await world.controller.prepared()
    outlook, text = told(world)
    assert outlook == "rolled_back"
    assert text.startswith("phase-3 was not started: phase-3 cannot be served: ")
    assert str(VersionError("phase-3 is damaged; export it again")) in text


async def test_an_undo(world):
    await world.begin()
    await world.healthy_ticks(30)
    await world.controller.changes.undo(world.controller.generation, "anna")
    await world.controller.prepared()
    assert ("promoted", "phase-2 is stable again and has all traffic.") == told(world)


async def test_a_shadow_step(world):
    await start(world, SHADOWED)
    await world.controller.prepared()
    world.shadow.ran(10)
    await world.tick(10)
    world.shadow.ran(60)
    await world.tick()
    assert told(world)[1] == (
        "phase-3 works on copies of requests: its P95 in the engine is level with stable's "
        "on the same requests (up to 5 times is allowed); step 1 of 3 (copies of requests) ends in "
        "about 5 s."
    )


async def test_every_row_of_the_audit_log_has_the_headline_after_it(world):
    await world.begin()
    await world.controller.changes.abort(None, "anna", "wrong version")
    rows = await world.controller.history()
    assert rows[0]["headline"] == rows[1]["headline"] == told(world)[1]
    assert "phase-3 is being loaded; it has no traffic yet." == rows[-1]["headline"]
