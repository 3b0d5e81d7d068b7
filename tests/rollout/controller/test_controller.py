"""The shell: order of effects, conflicts, crashes, and a whole rollout without a sleep."""

from __future__ import annotations

import asyncio
import json
import math

import pytest

from service.errors import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    VersionError,
)
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.storage.database import Database, StoreError
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.types import Variant
from tests.support.rollout_fakes import SHADOWED, World, plan


def rows_bound(status):
    return status["guardrails"][0]["log_evidence"]["bound"]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "nextvec.db")
    yield made
    made.store.close()


def test_an_identical_canary_goes_through_all_steps_and_becomes_stable(world):
    """Pass, dwell, next step; the last one promotes; the old stable can be undone."""

    async def story():
        await world.begin()
        assert world.traffic.current.weight_bp == 1000
        await world.healthy_looks(30)
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
        await world.controller.undo(world.controller.generation, "approver")
        await world.controller.prepared()
        assert world.traffic.current == TrafficSplit("phase-2")
        assert world.phase == "Healthy"

    asyncio.run(story())


def test_a_slow_canary_is_rolled_back_with_its_arithmetic(world):
    """The weight is 0, and status, history and metrics say why."""

    async def story():
        await world.begin()
        status = await world.slow_looks(10)
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

    asyncio.run(story())


def test_a_canary_that_only_fails_is_rolled_back_during_warm_up(world):
    """A cold start excuses slowness, not errors."""

    async def story():
        await world.controller.start()
        await world.controller.start_rollout("phase-3", plan(warm_up_seconds=300), "operator")
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
        await world.controller.start_rollout("phase-3", plan(warm_up_seconds=300), "operator")
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
        await world.controller.start_rollout("phase-3", None, "operator")
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
        await world.controller.start_rollout("phase-3", None, "operator")
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


def test_a_restart_of_the_same_canary_has_a_smaller_share_of_alpha(world):
    async def story():
        await world.controller.start()
        bounds = []
        for _ in range(2):
            await world.controller.start_rollout("phase-3", None, "operator")
            await world.controller.prepared()
            bounds.append(rows_bound(await world.look()))
            await world.controller.abort(None, "operator")
        assert bounds[1] - bounds[0] == pytest.approx(math.log(6))

    asyncio.run(story())


def test_guardrails_run_while_paused(world):
    """A pause holds the weight, not the verdict."""

    async def story():
        await world.begin()
        await world.controller.pause(world.controller.generation, "operator", "lunch")
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


def test_a_pause_that_nobody_ends_is_aborted(world):
    async def story():
        await world.begin()
        await world.controller.pause(world.controller.generation, "operator")
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
        await world.controller.resume(world.controller.generation, "approver")
        assert (await world.healthy_looks(30))["phase"] == "Healthy"

    asyncio.run(story())


def test_a_promote_before_the_pass_needs_force_and_is_recorded_as_forced(world):
    async def story():
        await world.begin()
        with pytest.raises(Conflict) as caught:
            await world.controller.promote(world.controller.generation, "approver")
        assert caught.value.code == "guardrails_not_passed"
        assert caught.value.details["phase"] == "Progressing"
        await world.controller.promote(
            world.controller.generation, "approver", "I know", force=True
        )
        assert world.traffic.current.weight_bp == 5000
        (row,) = await world.controller.history(1)
        assert ("forced", "approver", "I know") == (row["reason"], row["actor"], row["note"])

    asyncio.run(story())


def test_a_step_with_approval_waits_for_a_person(world):
    """Resume is no approval."""
    steps = [
        {"weight": 10, "min_dwell_seconds": 5, "min_samples": 100, "approval": True},
        {"weight": 100, "min_dwell_seconds": 5, "min_samples": 100, "approval": True},
    ]
    world.controller._plan = plan(steps=steps)

    async def story():
        await world.begin()
        status = await world.healthy_looks(20)
        assert (status["phase"], status["reason"]) == ("Paused", "approval")
        assert status["legal"] == ["abort", "promote"]
        with pytest.raises(Conflict):
            await world.controller.resume(world.controller.generation, "approver")
        await world.controller.promote(world.controller.generation, "approver")
        assert world.traffic.current.weight_bp == 10_000
        for _ in range(5):
            world.evidence.serve(canary=[0.1] * 100)
            await world.look()
        status = world.controller.status()
        assert (status["phase"], status["reason"], status["step"]) == ("Paused", "approval", 1)
        await world.controller.promote(world.controller.generation, "approver")
        assert world.traffic.current == TrafficSplit("phase-3")

    asyncio.run(story())


def test_a_canary_that_turns_slow_at_100_percent_is_rolled_back(world):
    """There is no stable arm left; the percentile it last had still guards."""
    steps = [
        {"weight": 10, "min_dwell_seconds": 5, "min_samples": 100},
        {"weight": 100, "min_dwell_seconds": 300, "min_samples": 100, "approval": True},
    ]
    world.controller._plan = plan(steps=steps)

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


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "undo"])
def test_a_verb_needs_the_generation_that_is(world, verb):
    async def story():
        await world.begin()
        act = getattr(world.controller, verb)
        with pytest.raises(PreconditionRequired):
            await act(None, "approver")
        with pytest.raises(PreconditionFailed):
            await act(world.controller.generation - 1, "approver")

    asyncio.run(story())


def test_what_cannot_be_started_leaves_everything_as_it_was(world):
    async def story():
        await world.controller.start()
        before = world.controller.status()
        with pytest.raises(Invalid):
            await world.controller.start_rollout("phase-2", None, "operator")
        with pytest.raises(NotFound):
            await world.controller.start_rollout("phase-9", None, "operator")
        with pytest.raises(PreconditionFailed):
            await world.controller.start_rollout("phase-3", None, "operator", expected_generation=7)
        with pytest.raises(Conflict) as caught:
            await world.controller.abort(None, "operator")
        assert caught.value.details == {"legal": ["start"], "phase": "Healthy"}
        assert before == world.controller.status()
        assert [] == await world.controller.history()

    asyncio.run(story())


def test_a_damaged_canary_never_gets_traffic(world):
    async def story():
        world.versions.broken = {"phase-3"}
        await world.controller.start()
        await world.controller.start_rollout("phase-3", None, "operator")
        await world.controller.prepared()
        status = world.controller.status()
        assert (status["phase"], status["reason"]) == ("RolledBack", "prepare_failed")
        assert "damaged" in status["message"]
        assert world.traffic.current == TrafficSplit("phase-2")

    asyncio.run(story())


def test_abort_while_loading_wins_over_the_load(world):
    """A load that ends after the abort changes nothing."""

    async def story():
        await world.controller.start()
        world.versions.gate.clear()
        await world.controller.start_rollout("phase-3", None, "operator")
        await world.controller.abort(None, "operator", "never mind")
        assert world.phase == "RolledBack"
        world.versions.gate.set()
        await world.controller.prepared()
        assert world.phase == "RolledBack"
        assert world.traffic.current == TrafficSplit("phase-2")

    asyncio.run(story())


def test_abort_beats_a_promotion_that_is_being_recorded(world):
    """The weight goes before the abort's turn comes, and the promotion is not finished."""

    async def story():
        await world.begin()
        await world.controller.promote(world.controller.generation, "approver", force=True)
        promote = asyncio.create_task(
            world.controller.promote(world.controller.generation, "approver", force=True)
        )
        while not world.controller._machine.lock.locked():
            await asyncio.sleep(0)
        abort = asyncio.create_task(world.controller.abort(None, "operator"))
        await asyncio.sleep(0)
        assert world.traffic.current == TrafficSplit("phase-2")
        await asyncio.gather(promote, abort)
        assert world.phase == "RolledBack"
        assert world.traffic.current == TrafficSplit("phase-2")
        assert world.controller.status()["stable"] == "phase-2"

    asyncio.run(story())


def test_a_full_disk_cannot_keep_a_bad_canary_in_traffic(world):
    """The rollback takes effect, says that it is unrecorded, and is recorded later."""

    async def story():
        await world.begin()
        world.store.full = True
        status = await world.slow_looks(10)
        assert status["phase"] == "RolledBack"
        assert status["recorded"] is False
        assert world.traffic.current.weight_bp == 0
        world.store.full = False
        assert (await world.look())["recorded"] is True
        assert (await world.controller.history(1))[0]["to"] == "RolledBack"

    asyncio.run(story())


def test_a_weight_that_cannot_be_recorded_is_not_raised(world):
    async def story():
        await world.begin()
        generation = world.controller.generation
        world.store.full = True
        with pytest.raises(StoreError):
            await world.controller.promote(generation, "approver", force=True)
        assert world.traffic.current.weight_bp == 1000
        assert world.controller.generation == generation

    asyncio.run(story())


def test_after_a_kill_the_rollout_goes_on_where_it_was(world):
    """Same weight, phase, history and evidence; counts that start again at 0 count once."""

    async def story():
        await world.begin()
        await world.healthy_looks(3)
        before, history = world.controller.status(), await world.controller.history()
        split = world.traffic.current
        await world.restart()
        assert before == world.controller.status()
        assert history == await world.controller.history()
        assert split == world.traffic.current
        after = await world.look()
        assert before["guardrails"] == after["guardrails"]
        assert (await world.healthy_looks(40))["phase"] == "Healthy"

    asyncio.run(story())


def test_a_kill_while_loading_loads_again(world):
    async def story():
        await world.controller.start()
        world.versions.gate.clear()
        await world.controller.start_rollout("phase-3", None, "operator")
        world.controller._loader.task.cancel()
        world.versions.gate.set()
        await world.restart()
        await world.controller.prepared()
        assert world.phase == "WarmingUp"

    asyncio.run(story())


def test_a_canary_lost_over_a_restart_is_rolled_back(world):
    async def story():
        await world.begin()
        world.versions.broken = {"phase-3"}
        await world.restart()
        assert world.phase == "RolledBack"
        assert world.traffic.current == TrafficSplit("phase-2")

    asyncio.run(story())


def test_a_promoted_version_stays_stable_over_a_restart(world):
    async def story():
        await world.begin()
        await world.healthy_looks(30)
        await world.restart()
        assert world.traffic.current == TrafficSplit("phase-3")

    asyncio.run(story())


def test_the_configured_stable_counts_until_a_promotion_is_recorded(world):
    async def story():
        await world.begin()
        await world.controller.abort(None, "operator")
        world.stable = "phase-3"
        await world.restart()
        assert world.traffic.current == TrafficSplit("phase-3")

    asyncio.run(story())


def test_an_unreadable_record_means_all_traffic_to_stable(world, caplog):
    """The file is kept, and both log and audit say so."""

    async def story():
        await world.begin()
        world.store.close()
        world.path.write_bytes(b"not a database" * 1000)
        await world.restart()
        assert world.traffic.current == TrafficSplit("phase-2")
        assert world.phase == "Healthy"
        (row,) = await world.controller.history()
        assert row["reason"] == "store_unreadable"
        assert (world.path.parent / "nextvec.db.unreadable-1").read_bytes().startswith(b"not a")

    asyncio.run(story())
    assert any(record.levelname == "CRITICAL" for record in caplog.records)


def test_without_stable_it_does_not_start(world):
    async def story():
        world.versions.broken = {"phase-2"}
        with pytest.raises(VersionError):
            await world.controller.start()

    asyncio.run(story())


def test_a_second_service_on_the_same_file_is_refused(world):
    async def story():
        await world.controller.start()
        await world.controller.start_rollout("phase-3", None, "operator")
        other = SqliteRolloutStore(Database(world.path, wait_seconds=0.0))
        with pytest.raises(StoreError, match="in use"):
            other.load()
        await world.controller.prepared()

    asyncio.run(story())


def test_overrides_reach_the_canary_only_while_it_is_served(world):
    async def story():
        await world.begin()
        route = world.traffic.current.route("k", Variant.CANARY, lambda: "x")
        assert ("phase-3", False) == (route.version, route.assigned)
        await world.controller.abort(None, "operator")
        with pytest.raises(NotFound):
            world.traffic.current.route("k", Variant.CANARY, lambda: "x")

    asyncio.run(story())


def test_subscribers_get_the_status_and_then_every_move(world):
    async def story():
        await world.controller.start()
        events = world.controller.subscribe()
        assert (await anext(events))["event"] == "status"
        await world.controller.start_rollout("phase-3", None, "operator")
        await world.controller.prepared()
        assert [(await anext(events))["data"]["to"] for _ in range(2)] == ["Pending", "WarmingUp"]
        await world.look()
        assert (await anext(events))["event"] == "look"
        await world.controller.close()
        assert [] == [event async for event in events]

    asyncio.run(story())


def test_run_survives_a_look_that_raises_and_ends_on_close(world, monkeypatch):
    async def story():
        await world.controller.start()
        looks = []

        async def bad():
            looks.append(1)
            if len(looks) == 3:
                world.controller._closing.set()
            raise RuntimeError("a bug")

        monkeypatch.setattr(world.controller, "tick", bad)
        world.controller._interval = 0.001
        await world.controller.run()
        assert len(looks) == 3
        await world.controller.close()

    asyncio.run(story())


def test_a_caller_who_goes_away_leaves_no_half_made_move(world):
    async def story():
        await world.begin()
        task = asyncio.create_task(
            world.controller.promote(world.controller.generation, "approver", force=True)
        )
        while not world.controller._machine.lock.locked():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with world.controller._machine.lock:
            assert world.traffic.current.weight_bp == 5000
            assert world.controller.status()["weight"]["set_percent"] == 50

    asyncio.run(story())


def test_a_shadow_step_comes_before_any_weight(world):
    """Copies warm the canary up and are judged; only then does it get requests."""
    world.controller._plan = SHADOWED

    async def story():
        await world.controller.start()
        await world.controller.start_rollout("phase-3", None, "operator")
        await world.controller.prepared()
        split = world.traffic.current
        assert (split.shadow, split.weight_bp, split.canary) == (True, 0, "phase-3")
        world.shadow.ran(10)
        await world.look(10)
        status = world.controller.status()
        assert (status["phase"], status["step"]) == ("Progressing", 0)
        assert status["shadow"]["copies"]["answered"] == 0
        world.shadow.ran(99)
        assert (await world.look(10))["guardrails"][0]["outcome"] == "inconclusive"
        assert world.traffic.current.shadow
        world.shadow.ran(1)
        status = await world.look()
        assert (status["phase"], status["step"]) == ("Progressing", 1)
        assert (world.traffic.current.shadow, world.traffic.current.weight_bp) == (False, 1000)
        assert status["shadow"]["copies"]["answered"] == 100
        (row,) = await world.controller.history(1)
        assert (row["reason"], row["evidence"][0]["name"]) == ("step_passed", "shadow")
        assert (await world.healthy_looks(40))["phase"] == "Healthy"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("what", "said"), [({"faults": 3}, "copies failed"), ({"ratio": 9.0}, "P95 in the engine")]
)
def test_a_broken_canary_is_rolled_back_before_anybody_met_it(world, what, said):
    world.controller._plan = SHADOWED

    async def story():
        await world.controller.start()
        await world.controller.start_rollout("phase-3", None, "operator")
        await world.controller.prepared()
        world.shadow.ran(10)
        await world.look(10)
        world.shadow.ran(100, **what)
        status = await world.look()
        assert (status["phase"], status["reason"]) == ("RolledBack", "guardrail_failed")
        assert said in status["message"]
        assert all(row["weight_percent"] == 0 for row in await world.controller.history())

    asyncio.run(story())


def test_a_shadow_step_without_requests_waits_and_then_pauses(world):
    world.controller._plan = SHADOWED

    async def story():
        await world.controller.start()
        await world.controller.start_rollout("phase-3", None, "operator")
        await world.controller.prepared()
        world.shadow.ran(10)
        await world.look(10)
        await world.look(300)
        assert world.phase == "Progressing"
        await world.look(300)
        assert world.controller.status()["reason"] == "no_data"
        assert world.traffic.current.shadow

    asyncio.run(story())


def test_a_kill_in_a_shadow_step_keeps_what_was_seen_and_counts_it_once(world):
    world.controller._plan = world.plan = SHADOWED

    async def story():
        await world.controller.start()
        await world.controller.start_rollout("phase-3", None, "operator")
        await world.controller.prepared()
        world.shadow.ran(10)
        await world.look(10)
        world.shadow.ran(60)
        await world.look()
        before = world.controller.status()
        world.shadow.ran(20)
        await world.restart()
        assert before["shadow"] == world.controller.status()["shadow"]
        assert before["guardrails"] == world.controller.status()["guardrails"]
        assert world.traffic.current.shadow
        world.shadow.ran(39)
        assert (await world.look())["step"] == 0
        world.shadow.ran(1)
        assert (await world.look())["step"] == 1

    asyncio.run(story())
