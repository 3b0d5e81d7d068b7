"""Tells this replica's subscribers, and its webhooks, what other replicas have changed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.rollout.controller.executor import ChangeExecutor
from service.rollout.notifications.event_feed import EventFeed
from service.rollout.storage.fleet_store import FleetStore

log = logging.getLogger(__name__)


class FleetNews:
    """Follows the audit log. What this replica has changed is told by the executor already."""

    def __init__(
        self,
        store: FleetStore,
        executor: ChangeExecutor,
        feed: EventFeed,
        on_record: Callable[[], None],
    ) -> None:
        """`on_record` is called when another replica has made the audit log grow."""
        self._on_record = on_record
        self._store = store
        self._executor = executor
        self._feed = feed
        self._last_row = 0

    async def begin(self) -> None:
        """Start with what is changed from now on. Raises `StoreError`."""
        self._last_row = await self._store.last_row()
        self._executor.told_generation = self._executor.rollout.generation

    async def send(self) -> None:
        """Send the transitions since the last call. Raises `StoreError`."""
        rows = await self._store.rows_after(self._last_row)
        for row in rows:
            self._last_row, generation = int(str(row["id"])), int(str(row["generation"]))
            if generation <= self._executor.told_generation:
                continue
            self._executor.told_generation = generation
            log.info(
                "rollout, by another replica: %s -> %s (%s): %s",
                row["from"],
                row["to"],
                row["reason"],
                row["message"],
            )
            self._feed.send(
                "transition", {name: value for name, value in row.items() if name != "id"}
            )
        if rows:
            self._on_record()

    def send_status(self) -> None:
        """Send the status, which another replica has changed."""
        self._feed.send("look", self._executor.status())
