"""The connections of one replica to the fleet's database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from service.rollout.storage.errors import StoreError
from service.rollout.storage.postgres.address import PostgresAddress
from service.rollout.storage.postgres.connection import LastingError, PostgresConnection
from service.rollout.storage.postgres.schema import migrate

log = logging.getLogger(__name__)

START_SECONDS = 15.0
"""How long a start waits for a server that is not there yet."""


class PostgresDatabase:
    """Two connections: `changes` for what must be durable, `following` for the replica's pulse.

    A call that hangs on one does not hold up the other.
    """

    def __init__(self, address: PostgresAddress, fleet: str, replica: str) -> None:
        self.address = address
        self.fleet = fleet
        self.wake: Callable[[], None] = lambda: None
        name = f"nextvec {fleet} {replica}"[:63]
        self.changes = PostgresConnection(
            address, name, options={"synchronous_commit": "on"}, on_open=self._require_primary
        )
        # A pulse that a crash of the server loses is written again a second later.
        self.following = PostgresConnection(
            address, name, options={"synchronous_commit": "off"}, on_open=self._listen
        )

    @property
    def channel(self) -> str:
        """The fleet's channel of notifications. A fleet's name may have any case and length."""
        return f"nextvec_{hashlib.sha256(self.fleet.encode()).hexdigest()[:16]}"

    async def open(self, wait_seconds: float = START_SECONDS) -> None:
        """Connect and create the tables.

        A server that cannot be reached is tried again for `wait_seconds`. Raises `StoreError`.
        """
        loop = asyncio.get_running_loop()
        deadline, warned = loop.time() + wait_seconds, False
        while True:
            try:
                await self.changes.run(lambda connection: migrate(connection, self.address))
            except LastingError:
                raise
            except StoreError as error:
                if loop.time() >= deadline:
                    raise
                if not warned:
                    log.warning("%s (tried again for %g s)", error, wait_seconds)
                warned = True
            else:
                return
            await asyncio.sleep(0.5)

    async def close(self) -> None:
        """Close both connections."""
        await self.following.close()
        await self.changes.close()

    async def _listen(self, connection: Any) -> None:
        await connection.add_listener(self.channel, lambda *_: self.wake())

    async def _require_primary(self, connection: Any) -> None:
        if await connection.fetchval("SELECT pg_is_in_recovery()"):
            raise StoreError(
                f"{self.address} is a standby; rollout.url must lead to the primary server"
            )
