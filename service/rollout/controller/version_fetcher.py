"""Loads what the fleet's record gives requests to, where this replica lacks it."""

from __future__ import annotations

import asyncio
import logging

from service.clock import Clock
from service.errors import NextvecError
from service.rollout.controller import fleet_rules
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.versions import VersionsPort
from service.rollout.state.events import LIVE, Phase
from service.rollout.storage.fleet_store import FleetView

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
"""Between two tries to load a version that could not be loaded."""


class VersionFetcher:
    """Until a version is loaded, the executor gives it no request.

    `failure` says why the last one could not be loaded; blank otherwise.
    """

    def __init__(
        self,
        executor: ChangeExecutor,
        versions: VersionsPort,
        loader: CanaryLoader,
        clock: Clock,
    ) -> None:
        self.failure = ""
        self._executor = executor
        self._versions = versions
        self._loader = loader
        self._clock = clock
        self._failed_at = clock.monotonic() - RETRY_SECONDS
        self._task: asyncio.Task[None] | None = None
        self._others: set[str] = set()

    def fetch_missing(self) -> None:
        """Load a version that is missing, in the background."""
        rollout, there = self._executor.rollout, self._versions.digests()
        wanted = [rollout.stable]
        if rollout.canary is not None and rollout.phase in LIVE | {Phase.PROMOTING}:
            wanted.append(rollout.canary)
        missing = [version for version in wanted if version not in there]
        if not missing:
            self.failure = ""
            return
        waiting = self._clock.monotonic() - self._failed_at < RETRY_SECONDS
        if (self._task is None or self._task.done()) and not waiting:
            self._task = asyncio.create_task(self._fetch(missing[0]), name="fetch-version")

    async def close(self) -> None:
        """Cancel the current load."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def note_other_files(self, view: FleetView, fleet: str) -> None:
        """Write a line when a replica serves other files of stable. A canary is not started on
        such replicas."""
        stable, own = self._executor.rollout.stable, self._versions.digests()
        others = {
            each.report.replica
            for each in fleet_rules.living(view)
            if stable in own and each.report.versions.get(stable, own[stable]) != own[stable]
        }
        if others - self._others:
            log.error(
                "other files of %s than here are served by %s; are two fleets called %s?",
                stable,
                ", ".join(sorted(others)),
                fleet,
            )
        self._others = others

    async def _fetch(self, version: str) -> None:
        try:
            await self._versions.prepare(version)
        except NextvecError as error:
            self._fail(str(error))
            log.error("this replica cannot serve %s, and withholds it: %s", version, error)  # noqa: TRY400  its text says all
            return
        except Exception as error:
            self._fail(repr(error))
            log.exception("this replica cannot load %s, and withholds it", version)
            return
        async with self._executor.lock:
            self._loader.expect_metrics(self._executor.rollout)
            self._executor.route()

    def _fail(self, reason: str) -> None:
        self.failure, self._failed_at = reason, self._clock.monotonic()
