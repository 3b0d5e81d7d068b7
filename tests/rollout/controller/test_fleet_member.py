"""Replicas that share a rollout: what reaches all, what only one does, and who withholds."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import AbortNotStored
from service.rollout.controller import fleet_member
from service.rollout.storage.errors import StoreError
from tests.support.fleet_fakes import FleetWorld, settle


@pytest.fixture
async def world():
    made = FleetWorld()
    yield made
    for replica in made.replicas:
        replica.kill()


async def test_every_replica_routes_by_the_same_record(world):
    """Also with machines whose clocks are an hour apart."""
    await world.begin()
    assert len({replica.traffic.current for replica in world.living}) == 1
    assert {1000} == {replica.weight_bp for replica in world.living}
    assert 1 == sum(replica.member.leads for replica in world.living)


async def test_a_canary_is_promoted_by_the_evidence_of_all(world):
    await world.begin()
    for _ in range(40):
        await world.serve()
        await world.wait(5)
        if world.living[0].controller.status()["stable"] == "phase-3":
            break
    assert {"phase-3"} == {r.controller.status()["stable"] for r in world.living}
    assert 1 == len({replica.traffic.current for replica in world.living})
    generations = [row["generation"] for row in world.database.audit]
    assert list(range(1, len(generations) + 1)) == generations


async def test_an_abort_on_any_replica_reaches_all(world):
    await world.begin()
    await world.living[2].controller.changes.abort(None, "operator", "stop")
    assert world.living[2].weight_bp == 0
    await world.pulse()
    assert {("RolledBack", 0)} == {(r.phase, r.weight_bp) for r in world.living}


async def test_a_canary_serves_once_all_living_replicas_have_loaded_it(world):
    await world.start()
    await world.wait(1)
    slow = world.living[1]
    slow.versions.gate.clear()
    await world.living[0].controller.changes.start("phase-3", None, "operator")
    await world.wait(8)
    assert {"Pending"} == {replica.phase for replica in world.living}
    slow.versions.gate.set()
    await settle()
    await world.wait(3)
    assert {"WarmingUp"} == {replica.phase for replica in world.living}


async def test_a_replica_that_cannot_load_the_canary_ends_the_start(world):
    await world.start()
    await world.wait(1)
    world.living[2].versions.broken.add("phase-3")
    await world.living[0].controller.changes.start("phase-3", None, "operator")
    await world.wait(3)
    assert {"RolledBack"} == {replica.phase for replica in world.living}
    assert "damaged" in world.living[0].controller.status()["message"]


async def test_replicas_with_other_files_of_the_canary_do_not_serve_it(world):
    await world.start()
    await world.wait(1)
    other = world.living[2].versions
    other.digests = lambda: dict.fromkeys(other.prepared, "e" * 64)
    await world.living[0].controller.changes.start("phase-3", None, "operator")
    await world.wait(3)
    assert "other files" in world.living[0].controller.status()["message"]


async def test_replicas_with_other_files_of_stable_are_told_apart(world, caplog):
    """Perhaps two fleets have one name."""
    await world.start()
    other = world.living[2].versions
    other.digests = lambda: dict.fromkeys(other.prepared, "e" * 64)
    await world.wait(3)
    lines = [r.message for r in caplog.records if "other files of phase-2" in r.message]
    assert 3 == len(lines)
    assert 2 == sum("served by c; are two fleets called fleet?" in line for line in lines)


async def test_a_new_replica_serves_the_rollout_that_is_under_way(world):
    await world.begin()
    new = await world.join("d")
    assert new.weight_bp == 1000
    assert "phase-3" in new.versions.prepared


async def test_a_new_replica_without_the_canary_withholds_it(world):
    """The rollout goes on where it can."""
    await world.begin()
    new = world._add("d")
    new.versions.broken.add("phase-3")
    await new.controller.start()
    assert (new.weight_bp, new.traffic.current.withheld) == (0, True)
    await world.serve()
    await world.wait(5)
    assert {1000} == {replica.weight_bp for replica in world.living[:3]}
    new.versions.broken.clear()
    await world.wait(12)
    assert new.weight_bp == 1000


async def test_another_replica_leads_when_the_leader_dies(world):
    await world.begin()
    first = world.leader
    first.kill()
    await world.wait(12)
    assert world.leader not in {None, first}
    await world.serve(canary=0.4)
    for _ in range(10):
        await world.serve(canary=0.4)
        await world.wait(5)
    assert {"RolledBack"} == {replica.phase for replica in world.living}


async def test_a_replica_without_the_store_withholds_within_ten_seconds_and_comes_back(world):
    await world.begin()
    cut = next(replica for replica in world.living if not replica.member.leads)
    cut.connection.cut = True
    await world.wait(9)
    world.clock.now += 0.5
    cut.member.guard.check()
    assert (cut.weight_bp, cut.traffic.current.withheld) == (0, True)
    assert "could not be read" in cut.controller.status()["fleet"]["withheld"]
    assert {1000} == {r.weight_bp for r in world.living if r is not cut}
    cut.connection.cut = False
    await cut.pulse()
    assert cut.weight_bp == 1000


async def test_each_reason_of_a_loss_is_logged_once(world, caplog):
    """A server that is back with another password is no server that is away."""
    await world.begin()
    one = world.living[0]
    for reason in ("refused", "refused", "wrong password", "wrong password"):
        one.member.note_loss(StoreError(reason))
    await one.pulse()
    one.member.note_loss(StoreError("wrong password"))
    logged = [
        record.args[0].args[0]
        for record in caplog.records
        if record.args and "does not answer" in record.msg
    ]
    assert ["refused", "wrong password", "wrong password"] == logged


async def test_without_a_database_all_withhold_and_nothing_is_judged(world):
    await world.begin()
    generation = world.living[0].controller.generation
    world.database.down = True
    await world.wait(60)
    assert {0} == {replica.weight_bp for replica in world.living}
    with pytest.raises(StoreError):
        await world.living[0].controller.changes.pause(generation, "operator")
    world.database.down = False
    await world.wait(15)
    assert {("Progressing", 1000)} == {(r.phase, r.weight_bp) for r in world.living}
    assert generation == world.living[0].controller.generation


async def test_a_short_outage_is_no_error_of_the_evidence(world):
    """Three of those in a row would pause the rollout until a person resumes it."""
    await world.begin()
    leader = world.leader
    world.database.down = True
    for _ in range(4):
        await leader.tick()  # before the next pulse tells it
    await world.wait(5)
    world.database.down = False
    await world.wait(6)
    assert {"Progressing"} == {replica.phase for replica in world.living}
    assert 0 == leader.executor.rollout.errors


async def test_an_abort_without_a_database_takes_effect_and_is_recorded_later(world):
    await world.begin()
    world.database.down = True
    with pytest.raises(AbortNotStored):
        await world.living[1].controller.changes.abort(None, "operator", "stop")
    assert world.living[1].weight_bp == 0
    await world.wait(20)
    world.database.down = False
    await world.wait(3)
    assert {("RolledBack", 0)} == {(r.phase, r.weight_bp) for r in world.living}
    assert [("RolledBack", "applied"), ("Aborting", "aborted")] == [
        (row["to"], row["reason"]) for row in world.database.audit[:-3:-1]
    ]


async def test_what_cannot_be_stored_is_not_undone_by_what_is(world):
    """A full disk can be read, and holds the rollout that was aborted."""
    await world.begin()
    one = world.living[1]
    one.connection.full = True
    for _ in range(2):
        with pytest.raises(AbortNotStored):
            await one.controller.changes.abort(None, "operator", "stop")
    with pytest.raises(StoreError):
        await one.controller.changes.pause(one.controller.generation, "operator")
    await one.pulse()
    assert ("RolledBack", 0) == (one.phase, one.weight_bp)
    one.connection.full = False
    await world.wait(2)
    assert {("RolledBack", 0)} == {(r.phase, r.weight_bp) for r in world.living}


async def test_an_older_record_than_one_seen_before_is_not_followed(world):
    """A backup was restored: an abort is forgotten, but not by the replicas."""
    await world.begin()
    kept = world.database.backup()
    await world.living[0].controller.changes.abort(None, "operator")
    await world.pulse()
    world.database.restore(kept)
    await world.serve()
    await world.wait(20)
    assert {("Progressing", 0)} == {(r.phase, r.weight_bp) for r in world.living}
    assert "backup" in world.living[2].controller.status()["fleet"]["withheld"]
    # Subscribers hear of what follows, although the log has become shorter.
    told = []
    world.living[2].controller._feed.send = lambda event, data: told.append(data.get("to"))
    # Also for a replica that is new.
    assert (await world.join("d")).weight_bp == 0
    await world.living[1].controller.changes.abort(None, "operator")
    await world.wait(2)
    assert ["Aborting", "RolledBack"] == [phase for phase in told if phase]
    assert {("RolledBack", None)} == {
        (r.phase, r.controller.status()["fleet"]["withheld"]) for r in world.living
    }


async def test_a_newer_record_is_no_restore_while_it_is_read(world, caplog):
    """The other replicas have seen it already: the one in memory is older for a moment."""
    await world.begin()
    one, two = world.living[:2]
    await two.controller.changes.pause(two.controller.generation, "operator")
    await two.pulse()
    checked = []

    def check(name):
        if name == "load":
            one.member.guard.check()
            checked.append((one.member.guard.outdated, one.weight_bp))

    one.connection.on_call = check
    await one.pulse()
    assert [(False, 1000)] == checked
    assert "Paused" == one.phase
    assert "withheld" not in caplog.text


async def test_a_database_whose_clock_is_set_back_changes_no_duration(world):
    """After a failover to another machine, for example."""
    await world.begin()
    step_since = world.living[0].controller.status()["step_since"]
    for replica in world.replicas:
        replica.machine.jump = 3600.0
    world.clock.now -= 3600.0
    await world.wait(2)
    assert {1000} == {replica.weight_bp for replica in world.living}
    since = {replica.controller.status()["step_since"] for replica in world.living}
    assert all(abs(each - (step_since - 3600.0)) < 1 for each in since)


async def test_two_deaths_after_a_rise_pause_the_rollout(world):
    await world.begin()
    await world.wait(20)
    leader = world.leader
    victims = [replica for replica in world.living if replica is not leader]
    for victim in victims:
        victim.kill()
    await world.wait(12)
    status = leader.controller.status()
    assert ("Paused", "replicas_died") == (status["phase"], status["reason"])
    assert all(victim.name in status["message"] for victim in victims)


async def test_a_farewell_is_no_death(world):
    await world.begin()
    await world.wait(20)
    leader = world.leader
    for replica in [each for each in world.living if each is not leader]:
        replica.alive = False
        await replica.controller.close()
    await world.wait(20)
    assert leader.phase == "Progressing"


async def test_a_leader_that_leaves_hands_over_at_once(world):
    await world.begin()
    leader = world.leader
    leader.alive = False
    await leader.controller.close()
    await world.wait(1)
    assert world.leader not in {None, leader}


async def test_subscribers_of_every_replica_see_every_transition(world):
    await world.start()
    await world.wait(1)
    seen = []
    for replica in world.living:
        replica.controller._feed.send = lambda event, data, name=replica.name: seen.append(
            (name, event, data.get("to"))
        )
    await world.living[1].controller.changes.start("phase-3", None, "operator")
    await world.wait(3)
    for name in "abc":
        transitions = [to for who, event, to in seen if (who, event) == (name, "transition")]
        assert ["Pending", "WarmingUp"] == transitions


async def test_a_check_of_the_lease_that_fails_is_not_the_last_one(world, monkeypatch):
    await world.begin()
    member, checks = world.living[0].member, []

    def check():
        checks.append(None)
        if len(checks) == 1:
            raise RuntimeError("a bug")

    monkeypatch.setattr(fleet_member, "CHECK_SECONDS", 0)
    monkeypatch.setattr(member.guard, "check", check)
    watch = asyncio.create_task(member._watch())
    while len(checks) < 2 and not watch.done():
        await asyncio.sleep(0)
    watch.cancel()
    assert len(checks) >= 2
