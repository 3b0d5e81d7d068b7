"""Notes on the server of what the replicas of a fleet are, so that two fleets do not mix."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from service.errors import StoreUnavailable, StoreUnusable
from service.redis.client import RedisClient
from service.redis.failures import RedisFailureError

TTL_SECONDS = 30.0
"""How long a note outlives the last replica: then another fleet may take the name."""


class FleetEnlistment:
    """Keeps the notes of `fleet` alive.

    One says what it `serves`: the model, and the width of its vectors. The other one names the
    database of its `rollout`; there is none without a shared rollout.
    """

    def __init__(
        self, client: RedisClient, fleet: str, serves: str, rollout: str | None = None
    ) -> None:
        self._client = client
        self._fleet = fleet
        self._notes = (
            {"fleet": serves} if rollout is None else {"fleet": serves, "rollout": rollout}
        )
        self._renewal: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the notes. Raises `StoreUnusable` if another fleet has this one's name."""
        for name, note in self._notes.items():
            try:
                found = (await self._enlist(name, note)).decode("utf-8", "replace")
            except RedisFailureError as error:
                raise StoreUnavailable(f"the session store is not available: {error}") from error
            if found != note:
                why = f"it serves {found}, and this one {note}"
                if name == "rollout":
                    why = "its rollout is in another database than this one's"
                raise StoreUnusable(
                    f"another fleet called {self._fleet} keeps sessions on {self._client.shown}: "
                    f"{why}. Set fleet.name to another name, or stop the other one "
                    f"{TTL_SECONDS:g} s before"
                )
        self._renewal = asyncio.create_task(self._renew(), name="enlistment")

    async def close(self) -> None:
        """Stop renewing the notes."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(TTL_SECONDS / 3)
            for name, note in self._notes.items():
                with suppress(RedisFailureError):
                    await self._enlist(name, note)

    def _enlist(self, name: str, note: str) -> asyncio.Future[bytes]:
        key = f"nv:{self._fleet}:{name}".encode()
        return self._client.call("enlist", (key,), round(TTL_SECONDS * 1000), note)
