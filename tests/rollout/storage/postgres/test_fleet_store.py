"""Pulse, lease, evidence and news of a fleet, on a real server."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_report import EvidenceReport
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import StoreError
from tests.support.postgres_fleet import FleetOnPostgres
from tests.support.rollout_fakes import EDGES, bucket_counts

pytestmark = pytest.mark.slow


@pytest.fixture
async def fleet(postgres):
    made = FleetOnPostgres(postgres.url)
    yield made
    await made.close()


async def test_replicas_see_each_other(fleet):
    one, two = await fleet.join("one"), await fleet.join("two")
    await one.fleet.pulse(one.report(7, **{"phase-2": "digest"}), lead=True)
    view = await two.pulse()
    assert ["one", "two"] == [each.report.replica for each in view.replicas]
    assert view.replicas[0].report == one.report(7, **{"phase-2": "digest"})
    assert all(each.living(view.now) for each in view.replicas)
    assert (None, one.identity.boot) == (view.epoch, view.leader)


async def test_the_lead_changes_hands_by_a_farewell_or_by_silence(fleet, postgres):
    one, two = await fleet.join("one"), await fleet.join("two")
    assert (1, None) == ((await one.pulse()).epoch, (await two.pulse()).epoch)
    assert 1 == (await one.pulse()).epoch
    await one.fleet.depart(one.identity.boot)
    view = await two.pulse()
    assert (2, two.identity.boot) == (view.epoch, view.leader)
    assert not view.replicas[0].living(view.now)
    # As if two had been silent for longer than a lease.
    postgres.sql(
        f"UPDATE nextvec.lease SET expires = now() - interval '1 ms' WHERE fleet = '{fleet.name}'"
    )
    assert 3 == (await one.pulse()).epoch
    assert (await two.pulse()).epoch is None


async def test_a_free_lease_goes_to_one_of_many(fleet):
    replicas = [await fleet.join(str(number)) for number in range(4)]
    views = await asyncio.gather(*(replica.pulse() for replica in replicas))
    assert 1 == sum(view.epoch is not None for view in views)


async def test_a_process_that_takes_anothers_name_supersedes_it(fleet):
    first = await fleet.join("one")
    await first.pulse()
    second = await fleet.join("one")
    view = await second.pulse()
    assert [True, False] == [each.superseded for each in view.replicas]
    assert [False, True] == [each.living(view.now) for each in view.replicas]


async def test_a_fleet_of_another_model_with_the_same_name_is_refused(fleet, postgres):
    one = await fleet.join("one", model="the model a")
    await one.pulse()
    with pytest.raises(StoreError, match=r"one serves the model a, and this one the model b"):
        await fleet.join("two", model="the model b")
    other = FleetOnPostgres(postgres.url)
    await other.join("two", model="the model b")
    await other.close()
    await one.fleet.depart(one.identity.boot)
    await fleet.join("three", model="the model b")


async def test_the_place_is_that_of_the_database_whatever_its_address(fleet, postgres):
    one = await fleet.join("one")
    two = await fleet.join("two", url=postgres.url.replace("127.0.0.1", "localhost"))
    assert await one.fleet.place() == await two.fleet.place()
    name = f"place_{secrets.token_hex(4)}"
    postgres.sql(f"CREATE DATABASE {name}")
    three = await fleet.join("three", url=f"{postgres.url.rpartition('/')[0]}/{name}")
    assert await one.fleet.place() != await three.fleet.place()
    postgres.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    user = f"user_{secrets.token_hex(4)}"
    postgres.sql(
        f"CREATE USER {user} PASSWORD 'x'; GRANT USAGE ON SCHEMA nextvec TO {user};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA nextvec TO {user}"
    )
    four = await fleet.join("four", url=f"postgresql://{user}:x@127.0.0.1:{postgres.port}/nextvec")
    assert await four.fleet.place() is None
    postgres.sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")


async def test_fleets_in_one_database_do_not_mix(fleet, postgres):
    one = await fleet.join("one")
    other = FleetOnPostgres(postgres.url)
    two = await other.join("two")
    await one.rollout.load()
    await one.rollout.save(RolloutRecord(RolloutState("a")), [{"at": 1.0, "n": 1}])
    await one.fleet.put_evidence(one.identity.boot, report("split"))
    assert 1 == (await one.pulse()).epoch
    assert 1 == (await two.pulse()).epoch
    assert await two.rollout.load() is None
    assert [] == await two.rollout.history(10)
    assert {} == await two.fleet.evidence("split")
    assert ["two"] == [each.report.replica for each in (await two.pulse()).replicas]
    await other.close()


def report(split, seconds=0.1):
    counts = CountsByArm(bucket_counts([seconds] * 3), bucket_counts([seconds], faults=1))
    return EvidenceReport(
        split,
        EDGES,
        Counters({"step": counts}, {"step": counts}),
        {"step": counts.stable},
        ShadowStats(EDGES, {"step": counts}, answered=1, cosine_sum=0.1 + 0.2),
    )


async def test_evidence_comes_back_exactly_by_process_and_split(fleet):
    one, two = await fleet.join("one"), await fleet.join("two")
    await one.fleet.put_evidence("boot-1", report("first"))
    await one.fleet.put_evidence("boot-1", report("first", 0.2))
    await two.fleet.put_evidence("boot-2", report("first"))
    await two.fleet.put_evidence("boot-2", report("second"))
    assert {"boot-1": report("first", 0.2), "boot-2": report("first")} == (
        await two.fleet.evidence("first")
    )
    assert {"boot-2": report("second")} == await one.fleet.evidence("second")


async def test_a_change_is_told_to_every_replica(fleet):
    one, two = await fleet.join("one"), await fleet.join("two")
    told = asyncio.Event()
    two.fleet.on_change(told.set)
    await two.pulse()
    await one.rollout.load()
    await one.rollout.save(RolloutRecord(RolloutState("a")), [{"at": 1.0, "n": 1}])
    await asyncio.wait_for(told.wait(), 10)
    assert [{"id": 1, "at": 1.0, "n": 1}] == await two.fleet.rows_after(0)
    assert [] == await two.fleet.rows_after(1)
    assert 1 == await two.fleet.last_row()
    assert 1 == (await two.pulse()).revision


async def test_the_stores_clock_is_the_servers(fleet, postgres):
    one = await fleet.join("one")
    before = float(postgres.sql("SELECT extract(epoch FROM clock_timestamp())"))
    now = await one.fleet.time()
    view = await one.pulse()
    after = float(postgres.sql("SELECT extract(epoch FROM clock_timestamp())"))
    assert before <= now <= view.now <= after
