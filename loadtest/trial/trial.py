"""One trial: mixed traffic at a server, a rollout in it, and how the rollout ended."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from loadtest import callers
from loadtest.client import Client
from loadtest.driver import Driver, poisson
from loadtest.record import Record
from loadtest.stage import Server
from loadtest.streams import Streams
from loadtest.watch import Admin, Sample, watch
from service.clock import Clock

STABLE, CANARY = "phase-2", "phase-2-again"
"""One checkpoint under two names."""

PLAN: Mapping[str, Any] = {
    "steps": [
        {"weight": 10, "min_dwell_seconds": 120, "min_samples": 200},
        {"weight": 50, "min_dwell_seconds": 120, "min_samples": 500, "approval": True},
    ],
    "warm_up_seconds": 30,
}
"""The service's own figures; in the end it waits for an approval that does not come, and
guardrails go on while it waits."""

QUIET_SECONDS = 45.0
"""Traffic before the rollout: stable's past."""

_SESSIONS, SESSION_LENGTH = 40, 60
SHORT_SESSION = 20
"""Where quality is tried: each session counts once, however long it is."""

_CONTEXTS, _CONTEXT = 2, 200
_LOOK_SECONDS = 1.0


@dataclass
class Trial:
    """A trial as it goes on. `started`: seconds from `driver.epoch`."""

    expected_rollback: bool
    driver: Driver
    samples: list[Sample] = field(default_factory=list)
    started: float = 0.0

    @property
    def records(self) -> list[Record]:
        return self.driver.records

    @property
    def last(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    @property
    def rolled_back(self) -> bool:
        """By the service, not by a person."""
        return any(s.phase in {"Aborting", "RolledBack"} for s in self.samples)

    @property
    def rollback_seconds(self) -> float | None:
        """From the start of the rollout; None if there was none."""
        at = next((s.at for s in self.samples if s.phase in {"Aborting", "RolledBack"}), None)
        return None if at is None else at - self.started

    def problems(self) -> list[str]:
        """Why the trial did not end as it must; empty when it did."""
        found = []
        last = self.last
        if last is None:
            return ["the rollout was never seen"]
        if self.rolled_back is not self.expected_rollback:
            said = last.verdict or last.message
            what = "was not rolled back" if self.expected_rollback else "was rolled back"
            found.append(f"the canary {what}: {last.phase}: {said}")
        failed = [record for record in self.records if not record.ok]
        if failed:
            found.append(f"{len(failed)} requests failed: {failed[0].error}")
        return found


async def play(
    server: Server,
    streams: Streams,
    clock: Clock,
    *,
    rate: float,
    seconds: float,
    expected_rollback: bool,
    session_length: int = SESSION_LENGTH,
    show: Callable[[Trial], None],
) -> Trial:
    """`seconds` of a rollout under `rate` requests a second, or until it is rolled back.

    Most requests are steps of sessions, one in twenty a context of 200 vectors.
    Raises `StageError` when the server is gone and `AdminError` when it refuses.
    """
    client = Client(server.url)
    run = secrets.token_hex(4)
    who = [
        *callers.sessions(client, streams, _SESSIONS, session_length, run),
        *callers.stateless(client, streams, _CONTEXTS, _CONTEXT, run),
    ]
    trial = Trial(expected_rollback, Driver(who, clock))
    admin = Admin(client, server.token, trial.driver.now)
    over = asyncio.Event()
    traffic = asyncio.create_task(trial.driver.run(poisson(rate, 1), over.is_set))
    watching: asyncio.Task[None] | None = None
    try:
        await asyncio.sleep(QUIET_SECONDS)
        await admin.start(CANARY, PLAN)
        trial.started = trial.driver.now()
        watching = asyncio.create_task(watch(admin, _LOOK_SECONDS, trial.samples))
        while trial.driver.now() < trial.started + seconds and not trial.rolled_back:
            await asyncio.sleep(_LOOK_SECONDS)
            server.check()
            show(trial)
        # Before the abort that ends it: that is no rollback by the service.
        await _end(watching)
        if trial.last is not None and "abort" in trial.last.legal:
            await admin.abort()
    finally:
        if watching is not None:
            await _end(watching)
        over.set()
        try:
            await traffic
        finally:
            client.close()
    return trial


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
