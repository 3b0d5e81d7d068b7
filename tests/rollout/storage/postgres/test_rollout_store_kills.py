"""The server is killed while replicas save: what was acknowledged is there, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import RecordConflict, StoreError
from tests.support import postgres_server
from tests.support.postgres_fleet import FleetOnPostgres
from tests.support.tools import require


@pytest.mark.slow
async def test_a_killed_server_has_lost_no_acknowledged_change_and_made_none_twice():
    """Two replicas change the record in turns, through three kills of the server."""
    require("postgres")
    with postgres_server.running() as server:
        fleet = FleetOnPostgres(server.url)
        replicas = [await fleet.join(name) for name in ("one", "two")]
        await replicas[0].rollout.load()
        await replicas[0].rollout.save(RolloutRecord(RolloutState("a")))
        acknowledged, done = [], asyncio.Event()
        writers = [asyncio.create_task(write(replica, acknowledged, done)) for replica in replicas]
        for _ in range(3):
            enough = len(acknowledged) + 20
            while len(acknowledged) < enough:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        done.set()
        await asyncio.gather(*writers)
        found = await replicas[0].rollout.load()
        rows = await replicas[0].rollout.history(10_000)
        await fleet.close()
    written = [row["generation"] for row in rows][::-1]
    assert list(range(1, found.rollout.generation + 1)) == written
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= set(written)
    # What was stored and not acknowledged was under way when the server died.
    assert len(written) - len(acknowledged) <= 3 * len(replicas)


async def write(replica, acknowledged, done):
    """Raise the generation by one, again and again."""
    while not done.is_set():
        try:
            found = await replica.rollout.load()
            generation = found.rollout.generation + 1
            record = RolloutRecord(RolloutState("a", generation=generation))
            await replica.rollout.save(record, [{"generation": generation}])
        except RecordConflict:
            continue
        except StoreError:
            await asyncio.sleep(0.01)
        else:
            acknowledged.append(generation)
