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
    woken = []
    for replica in world.living:
        replica.on_record = lambda name=replica.name: woken.append(name)
    asked = next(replica for replica in world.living if not replica.member.leads)
    await asked.controller.changes.pause(asked.controller.generation, "operator")
    assert [asked.name] == woken
    await world.pulse()
    others = [replica.name for replica in world.living if replica is not asked]
    assert sorted([asked.name, asked.name, *others]) == sorted(woken)
    await world.pulse()
    assert 4 == len(woken)
