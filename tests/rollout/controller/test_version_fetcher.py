"""A replica loads what it lacks, and waits between two tries whatever went wrong."""

from __future__ import annotations

import pytest

from service.errors import VersionError
from service.rollout.controller.version_fetcher import RETRY_SECONDS
from tests.support.fleet_fakes import FleetWorld, settle


@pytest.mark.parametrize("problem", [VersionError("damaged"), MemoryError("no room")])
async def test_a_version_that_cannot_be_loaded_is_tried_again_after_a_while(problem):
    world = FleetWorld(1)
    await world.begin()
    (replica,) = world.living
    tries = []

    async def prepare(version):
        tries.append(version)
        raise problem

    replica.versions.prepared.remove("phase-3")
    replica.versions.prepare = prepare
    for _ in range(3):
        replica.member._fetcher.fetch_missing()
        await settle()
    assert ["phase-3"] == tries
    assert str(problem) in replica.controller.status()["fleet"]["withheld"]
    world.clock.now += RETRY_SECONDS
    replica.member._fetcher.fetch_missing()
    await settle()
    assert ["phase-3", "phase-3"] == tries
