"""What a replica tells of the changes that other replicas have made."""

from __future__ import annotations

import pytest

from tests.support.fleet_fakes import FleetWorld


@pytest.fixture
async def world():
    made = FleetWorld()
    yield made
    for replica in made.replicas:
        replica.kill()


async def test_the_outbox_of_every_replica_hears_of_a_change(world):
    """Whoever leads tells the webhooks, and need not be the one that was asked."""
    await world.begin()
    before = [replica.records_heard for replica in world.living]
    asked = next(replica for replica in world.living if not replica.member.leads)
    await asked.controller.changes.pause(asked.controller.generation, "operator")
    await world.pulse()
    heard = [replica.records_heard for replica in world.living]
    assert all(now > then for then, now in zip(before, heard, strict=True))
    await world.pulse()
    assert heard == [replica.records_heard for replica in world.living]
