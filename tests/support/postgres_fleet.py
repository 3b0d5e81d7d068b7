"""Replicas' stores on a real PostgreSQL server."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from service.fleet.identity import FleetIdentity
from service.rollout.storage.fleet_store import ReplicaReport
from service.rollout.storage.postgres.address import parse_address
from service.rollout.storage.postgres.database import PostgresDatabase
from service.rollout.storage.postgres.fleet_store import PostgresFleetStore
from service.rollout.storage.postgres.rollout_store import PostgresRolloutStore


@dataclass
class ReplicaStores:
    """What one replica has of the store."""

    identity: FleetIdentity
    database: PostgresDatabase
    rollout: PostgresRolloutStore
    fleet: PostgresFleetStore

    def report(self, revision: int = 0, **versions: str) -> ReplicaReport:
        return ReplicaReport(self.identity.boot, self.identity.replica, revision, versions)

    async def pulse(self, *, lead: bool = True):
        return await self.fleet.pulse(self.report(), lead=lead)


class FleetOnPostgres:
    """A fleet with a name of its own on a server that other tests use too."""

    def __init__(self, url: str, name: str | None = None) -> None:
        self.url = url
        self.name = name or secrets.token_hex(8)
        self.replicas: list[ReplicaStores] = []

    async def join(self, replica: str, model: str = "model", url: str | None = None):
        identity = FleetIdentity(self.name, replica, secrets.token_hex(8))
        database = PostgresDatabase(parse_address(url or self.url), self.name, replica)
        made = ReplicaStores(
            identity,
            database,
            PostgresRolloutStore(database, identity.boot),
            PostgresFleetStore(database, identity, model),
        )
        self.replicas.append(made)
        await made.fleet.open()
        return made

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.database.close()
