"""One trial: mixed traffic at a server, a rollout in it, and how the rollout ended."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from loadtest.demo.environment import ServerProcess
from loadtest.generator import callers
from loadtest.generator.http_client import HttpClient
from loadtest.generator.open_loop import OpenLoopDriver, poisson_arrivals
from loadtest.report.request_log import RequestLog
from loadtest.rollout_client import RolloutClient, RolloutSample, watch_rollout
from loadtest.streams import Streams
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
    driver: OpenLoopDriver
    samples: list[RolloutSample] = field(default_factory=list)
    started: float = 0.0

    @property
    def records(self) -> list[RequestLog]:
        return self.driver.records

    @property
    def last(self) -> RolloutSample | None:
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


async def run_trial(
    server: ServerProcess,
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
    Raises `EnvironmentSetupError` when the server is gone and `AdminError` when it refuses.
    """
    client = HttpClient(server.url)
    run = secrets.token_hex(4)
    who = [
        *callers.make_session_callers(client, streams, _SESSIONS, session_length, run),
        *callers.make_stateless_callers(client, streams, _CONTEXTS, _CONTEXT, run),
    ]
    trial = Trial(expected_rollback, OpenLoopDriver(who, clock))
    admin = RolloutClient(client, server.token, trial.driver.now)
    over = asyncio.Event()
    traffic = asyncio.create_task(trial.driver.run(poisson_arrivals(rate, 1), over.is_set))
    watching: asyncio.Task[None] | None = None
    try:
        await asyncio.sleep(QUIET_SECONDS)
        await admin.start(CANARY, PLAN)
        trial.started = trial.driver.now()
        watching = asyncio.create_task(watch_rollout(admin, _LOOK_SECONDS, trial.samples))
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
