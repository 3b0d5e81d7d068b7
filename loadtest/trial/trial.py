"""One trial: a rollout under mixed traffic, and the check of how it ended."""

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
from loadtest.generator.request_log import RequestLog
from loadtest.rollout_client import RolloutClient, RolloutSample, watch_rollout
from loadtest.streams import Streams
from service.clock import Clock

STABLE, CANARY = "phase-2", "phase-2-again"
"""The same checkpoint under two names."""

PLAN: Mapping[str, Any] = {
    "steps": [
        {"weight": 10, "min_dwell_seconds": 120, "min_samples": 200},
        {"weight": 50, "min_dwell_seconds": 120, "min_samples": 500, "approval": True},
    ],
    "warm_up_seconds": 30,
}
"""The service's default guardrails. The plan ends in an approval that never comes, and the
guardrails continue to run while it waits."""

QUIET_SECONDS = 45.0
"""Traffic before the rollout, for stable's baseline."""

_SESSIONS, SESSION_LENGTH = 40, 60
SHORT_SESSION = 20
"""Session length for quality trials, where each session counts once whatever its length."""

_CONTEXTS, _CONTEXT = 2, 200
_POLL_SECONDS = 1.0


@dataclass
class Trial:
    """The progress of a trial. `started` is in seconds from `driver.epoch`."""

    expected_rollback: bool
    driver: OpenLoopDriver
    samples: list[RolloutSample] = field(default_factory=list)
    started: float = 0.0

    @property
    def requests(self) -> list[RequestLog]:
        return self.driver.requests

    @property
    def last(self) -> RolloutSample | None:
        return self.samples[-1] if self.samples else None

    @property
    def rolled_back(self) -> bool:
        """Whether the service rolled the canary back."""
        return any(s.phase in {"Aborting", "RolledBack"} for s in self.samples)

    @property
    def rollback_seconds(self) -> float | None:
        """Seconds from the start of the rollout to its rollback; None without a rollback."""
        at = next((s.at for s in self.samples if s.phase in {"Aborting", "RolledBack"}), None)
        return None if at is None else at - self.started

    def problems(self) -> list[str]:
        """Why the trial did not end as expected; empty if it did."""
        problems = []
        last = self.last
        if last is None:
            return ["the status of the rollout was never read"]
        if self.rolled_back is not self.expected_rollback:
            reason = last.verdict or last.message
            what = "was not rolled back" if self.expected_rollback else "was rolled back"
            problems.append(f"the canary {what}: {last.phase}: {reason}")
        failed = [request for request in self.requests if not request.ok]
        if failed:
            problems.append(f"{len(failed)} requests failed: {failed[0].error}")
        return problems


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
    """Run a rollout for `seconds` or until its rollback, at `rate` requests per second.

    Most requests are steps of sessions; one in twenty is a context of 200 vectors. Calls
    `show` at each poll. Raises `EnvironmentSetupError` if the server ends, and `AdminError`
    if it refuses.
    """
    client = HttpClient(server.url)
    key_prefix = secrets.token_hex(4)
    mixed_callers = [
        *callers.make_session_callers(client, streams, _SESSIONS, session_length, key_prefix),
        *callers.make_stateless_callers(client, streams, _CONTEXTS, _CONTEXT, key_prefix),
    ]
    trial = Trial(expected_rollback, OpenLoopDriver(mixed_callers, clock))
    admin = RolloutClient(server.url, server.token, trial.driver.now)
    stopped = asyncio.Event()
    traffic = asyncio.create_task(trial.driver.run(poisson_arrivals(rate, 1), stopped.is_set))
    watcher: asyncio.Task[None] | None = None
    try:
        await asyncio.sleep(QUIET_SECONDS)
        await admin.start(CANARY, PLAN)
        trial.started = trial.driver.now()
        watcher = asyncio.create_task(watch_rollout(admin, _POLL_SECONDS, trial.samples))
        while trial.driver.now() < trial.started + seconds and not trial.rolled_back:
            await asyncio.sleep(_POLL_SECONDS)
            server.check()
            show(trial)
        # Stop the watcher before the abort below, which is not a rollback by the service.
        await _cancel(watcher)
        if trial.last is not None and "abort" in trial.last.legal:
            await admin.abort()
    finally:
        if watcher is not None:
            await _cancel(watcher)
        stopped.set()
        try:
            await traffic
        finally:
            client.close()
            await admin.close()
    return trial


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
