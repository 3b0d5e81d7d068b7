"""A controller whose rollout is on a real PostgreSQL server."""

from __future__ import annotations

import secrets

from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.storage.errors import StoreError
from service.rollout.storage.postgres.address import parse_address
from service.rollout.storage.postgres.database import PostgresDatabase
from service.rollout.storage.postgres.rollout_store import PostgresRolloutStore
from tests.support.rollout_fakes import QUICK, RolloutWorld


class FlakyPostgresStore(PostgresRolloutStore):
    """A store that can fail as if the server's disk were full."""

    full = False

    def close(self) -> None:
        """As a killed process does: without a farewell."""
        self._database.changes.drop()

    async def save(self, record, audit=(), responses=(), *, epoch=None):
        if self.full:
            raise StoreError("the disk is full")
        await super().save(record, audit, responses, epoch=epoch)


class PostgresRolloutWorld(RolloutWorld):
    """A rollout of its own at `url`, of one process at a time."""

    def __init__(self, url: str, plan: RolloutPlan = QUICK) -> None:
        self.url, self.fleet = url, secrets.token_hex(8)
        super().__init__(None, plan)

    def _open(self):
        boot = secrets.token_hex(4)
        self.database = PostgresDatabase(parse_address(self.url), self.fleet, boot)
        self.store = FlakyPostgresStore(self.database, boot)
        return self.store


async def postgres_world(url: str, plan: RolloutPlan = QUICK) -> PostgresRolloutWorld:
    """A world on a server that has the tables."""
    world = PostgresRolloutWorld(url, plan)
    await world.database.open()
    return world
