"""A note on the server of what the replicas of a fleet serve, so that two fleets do not mix."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from service.errors import StoreUnavailable, StoreUnusable
from service.redis.client import RedisClient
from service.redis.failures import RedisFailureError

TTL_SECONDS = 30.0
"""How long the note outlives the last replica: then another model may take the name."""


class FleetEnlistment:
    """Keeps the note `serves` (the model and the width of its vectors) of `fleet` alive."""

    def __init__(self, client: RedisClient, fleet: str, serves: str) -> None:
        self._client = client
        self._fleet = fleet
        self._serves = serves
        self._renewal: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the note. Raises `StoreUnusable` if a fleet of this name serves something else."""
        try:
            found = (await self._enlist()).decode("utf-8", "replace")
        except RedisFailureError as error:
            raise StoreUnavailable(f"the session store is not available: {error}") from error
        if found != self._serves:
            raise StoreUnusable(
                f"another fleet called {self._fleet} keeps sessions on {self._client.shown}: it "
                f"serves {found}, and this one {self._serves}. Set fleet.name to another name, or "
                f"stop the other one {TTL_SECONDS:g} s before"
            )
        self._renewal = asyncio.create_task(self._renew(), name="enlistment")

    async def close(self) -> None:
        """Stop renewing the note."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(TTL_SECONDS / 3)
            with suppress(RedisFailureError):
                await self._enlist()

    def _enlist(self) -> asyncio.Future[bytes]:
        key = f"nv:{self._fleet}:fleet".encode()
        return self._client.call("enlist", (key,), round(TTL_SECONDS * 1000), self._serves)
