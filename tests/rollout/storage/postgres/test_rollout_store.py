"""A change is one compare-and-set, whoever makes it and whatever happens to the server."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from service.rollout.state.change_request import ChangeRequest, IdempotentResponse
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import RecordConflict, StoreError, StoreUnreadable
from tests.support.postgres_fleet import FleetOnPostgres

pytestmark = pytest.mark.slow


@pytest.fixture
async def fleet(postgres):
    made = FleetOnPostgres(postgres.url)
    yield made
    await made.close()


def record(generation):
    return RolloutRecord(RolloutState("a", generation=generation))


async def test_only_the_faster_of_two_replicas_changes_the_record(fleet):
    one, two = await fleet.join("one"), await fleet.join("two")
    await one.rollout.load()
    await one.rollout.save(record(1))
    await two.rollout.load()
    await one.rollout.save(record(2), [{"n": 2}])
    with pytest.raises(RecordConflict):
        await two.rollout.save(record(3), [{"n": 3}], [answer("k")])
    assert record(2) == await two.rollout.load()
    assert [2] == [row["n"] for row in await two.rollout.history(10)]
    assert await two.rollout.response("me", "k") is None
    await two.rollout.save(record(3))
    assert 3 == two.rollout.revision


async def test_only_one_replica_writes_the_first_record(fleet):
    replicas = [await fleet.join(str(number)) for number in range(4)]
    for replica in replicas:
        await replica.rollout.load()
    done = await asyncio.gather(
        *(replica.rollout.save(record(1)) for replica in replicas), return_exceptions=True
    )
    assert 1 == done.count(None)
    assert 3 == sum(isinstance(each, RecordConflict) for each in done)


async def test_changes_at_the_same_time_leave_no_gap_in_the_log(fleet):
    replicas = [await fleet.join(str(number)) for number in range(3)]
    await replicas[0].rollout.load()
    await replicas[0].rollout.save(record(0))

    async def work(replica):
        for _ in range(10):
            while True:
                found = await replica.rollout.load()
                generation = found.rollout.generation + 1
                try:
                    await replica.rollout.save(record(generation), [{"n": generation}])
                except RecordConflict:
                    continue
                break

    await asyncio.gather(*map(work, replicas))
    rows = await replicas[0].rollout.history(100)
    assert list(range(30, 0, -1)) == [row["n"] for row in rows] == [row["id"] for row in rows]


async def test_a_leader_without_its_lease_changes_nothing(fleet, postgres):
    """Although nobody else has changed the record."""
    one = await fleet.join("one")
    await one.rollout.load()
    await one.rollout.save(record(1))
    epoch = (await one.pulse()).epoch
    await one.rollout.save(record(2), epoch=epoch)
    with pytest.raises(RecordConflict):
        await one.rollout.save(record(3), epoch=epoch + 1)
    postgres.sql(f"UPDATE nextvec.lease SET expires = now() WHERE fleet = '{fleet.name}'")
    with pytest.raises(RecordConflict):
        await one.rollout.save(record(3), epoch=epoch)
    await one.rollout.save(record(3))


async def test_a_revision_is_above_every_one_that_was_seen(fleet):
    """So that a change after a restore counts for every replica."""
    one = await fleet.join("one")
    await one.rollout.load()
    await one.rollout.save(record(1))
    one.rollout.note_revision(41)
    await one.rollout.save(record(2))
    assert 42 == one.rollout.revision
    assert record(2) == await one.rollout.load()


def answer(key):
    return IdempotentResponse(ChangeRequest("me", key, "print"), {"text": "ok"})


async def test_a_record_that_cannot_be_read_is_kept_and_named(fleet, postgres):
    one = await fleet.join("one")
    await one.rollout.load()
    await one.rollout.save(record(1))
    postgres.sql(f"UPDATE nextvec.state SET record = '{{}}' WHERE fleet = '{fleet.name}'")
    with pytest.raises(StoreUnreadable, match="newer nextvec"):
        await one.rollout.load()
    with pytest.raises(StoreError, match="delete its row"):
        await one.rollout.set_aside()


@pytest.mark.parametrize("statement", ["DELETE FROM", "TRUNCATE"])
async def test_the_log_is_append_only(fleet, postgres, statement):
    one = await fleet.join("one")
    await one.rollout.load()
    await one.rollout.save(record(1), [{"n": 1}])
    with pytest.raises(AssertionError, match="append-only"):
        postgres.sql(f"{statement} nextvec.audit")


async def test_a_connection_that_the_server_ends_is_opened_again(fleet, postgres):
    one = await fleet.join("one")
    await one.rollout.load()
    postgres.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE application_name LIKE '%{fleet.name}%'"
    )
    with contextlib.suppress(StoreError):  # the driver may have noticed the end already
        await one.rollout.save(record(1))
    await one.rollout.load()
    await one.rollout.save(record(2))


async def test_a_full_disk_is_an_error_that_changes_nothing(fleet, postgres):
    """As a server says it: SQLSTATE 53100."""
    one = await fleet.join("one")
    await one.rollout.load()
    await one.rollout.save(record(1))
    postgres.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON nextvec.audit FOR EACH ROW "
        f"WHEN (NEW.fleet = '{fleet.name}') EXECUTE FUNCTION full_disk()"
    )
    try:
        with pytest.raises(StoreError, match="disk space"):
            await one.rollout.save(record(2), [{"n": 2}])
    finally:
        postgres.sql("DROP FUNCTION full_disk CASCADE")
    assert record(1) == await one.rollout.load()
    await one.rollout.save(record(2), [{"n": 2}])
