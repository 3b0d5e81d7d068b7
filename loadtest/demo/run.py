"""Runs one act against a running server: traffic, rollout, approvals and the check at the end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from loadtest.demo import scenario
from loadtest.demo.environment import EnvironmentSetupError, ServerProcess
from loadtest.demo.scenario import Act, NextAction
from loadtest.generator import callers
from loadtest.generator.http_client import HttpClient
from loadtest.generator.open_loop import OpenLoopDriver, constant_arrivals, poisson_arrivals
from loadtest.rollout_client import AdminError, RolloutClient, RolloutSample, watch_rollout
from loadtest.streams import Streams
from loadtest.timings import percentile
from service.clock import Clock

QUIET_SECONDS = 4.0
"""Traffic before the start of the rollout, and after its end."""

_POLL_SECONDS = 0.5
_SEED = 1


@dataclass
class ActRun:
    """The progress of an act. Times are seconds from `driver.epoch`, None until they happen."""

    act: Act
    driver: OpenLoopDriver
    unloaded_latency: float = 0.0
    """Seconds that a request takes on this machine when nothing else runs."""
    rate: float = 0.0
    samples: list[RolloutSample] = field(default_factory=list)
    started: float | None = None
    ended: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def latest(self) -> RolloutSample | None:
        return self.samples[-1] if self.samples else None


async def run_act(
    act: Act,
    server: ServerProcess,
    streams: Streams,
    clock: Clock,
    seconds: float,
    show: Callable[[ActRun], None],
) -> ActRun:
    """Run `act` for at most `seconds`, and call `show` at each poll.

    Raises `EnvironmentSetupError` if the server ends, and `AdminError` if it refuses.
    """
    client = HttpClient(server.url)
    key_prefix = secrets.token_hex(4)
    act_run = ActRun(act, OpenLoopDriver(_make_callers(act, client, streams, key_prefix), clock))
    admin = RolloutClient(server.url, server.token, act_run.driver.now)
    act_run.unloaded_latency = await _probe(act, client, streams, clock)
    act_run.rate = scenario.choose_rate(act, act_run.unloaded_latency)
    watcher = asyncio.create_task(watch_rollout(admin, _POLL_SECONDS, act_run.samples))
    traffic = _BackgroundTraffic(act_run)
    try:
        await traffic.settle(show)
        act_run.started = act_run.driver.now()
        first = await admin.start(scenario.CANARY, act.plan)
        await _follow_rollout(act_run, admin, first.generation, seconds, server, show)
        act_run.ended = act_run.driver.now()
        await _show_for(QUIET_SECONDS, act_run, show)
        last = await admin.status()
        act_run.samples.append(last)
        if "abort" in last.legal:
            await admin.abort()  # it did not end in time; the next act needs an idle server
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        try:
            await traffic.stop()
        finally:
            client.close()
            await admin.close()
    later = [request for request in act_run.driver.requests if request.intended > act_run.ended]
    # What follows from a rollout that did not end is no news.
    act_run.problems = act_run.problems or scenario.find_problems(act, last, later)
    return act_run


class _BackgroundTraffic:
    """Requests at the rate of the act, from `start` to `stop`."""

    def __init__(self, act_run: ActRun) -> None:
        self._act_run = act_run
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        act, rate = self._act_run.act, self._act_run.rate
        arrivals = (
            poisson_arrivals(rate, _SEED) if act.arrivals == "poisson" else constant_arrivals(rate)
        )
        self._stopped = False
        run = self._act_run.driver.run(arrivals, lambda: self._stopped)
        self._task = asyncio.create_task(run)

    async def stop(self) -> None:
        """Send no more requests, and await all responses."""
        self._stopped = True
        if self._task is not None:
            await self._task

    async def settle(self, show: Callable[[ActRun], None]) -> None:
        """Start at the rate of the act, and restart at a lower rate while requests queue."""
        while True:
            begin = self._act_run.driver.now()
            self.start()
            await _show_for(QUIET_SECONDS, self._act_run, show)
            requests = self._act_run.driver.requests
            median = percentile([r.latency for r in requests if r.intended >= begin], 50)
            lower = scenario.reduced_rate(
                self._act_run.act, self._act_run.rate, self._act_run.unloaded_latency, median
            )
            if lower is None:
                return
            await self.stop()
            self._act_run.rate = lower


async def _follow_rollout(
    act_run: ActRun,
    admin: RolloutClient,
    generation: int,
    seconds: float,
    server: ServerProcess,
    show: Callable[[ActRun], None],
) -> None:
    """Approve when asked, until the rollout ends or the time is up."""
    while True:
        await asyncio.sleep(_POLL_SECONDS / 2)
        server.check()
        show(act_run)
        if act_run.driver.now() > seconds - QUIET_SECONDS:
            act_run.problems.append(
                f"the rollout did not end within {seconds:.0f} s at {act_run.rate:.1f} requests/s; "
                f"a single request takes {act_run.unloaded_latency * 1000:.0f} ms here. "
                "Try again when the machine is less busy"
            )
            return
        sample = act_run.latest
        if sample is None:
            continue
        match scenario.next_action(sample, generation):
            case NextAction.STOP:
                return
            case NextAction.PROMOTE:
                try:
                    act_run.samples.append(await admin.promote(sample.generation))
                except AdminError:
                    # Somebody may have pressed the button in the console first.
                    now = await admin.status()
                    if now.generation == sample.generation:
                        raise
                    act_run.samples.append(now)
            case NextAction.WAIT:
                continue


async def _show_for(seconds: float, act_run: ActRun, show: Callable[[ActRun], None]) -> None:
    until = act_run.driver.now() + seconds
    while act_run.driver.now() < until:
        await asyncio.sleep(_POLL_SECONDS / 2)
        show(act_run)


async def _probe(act: Act, client: HttpClient, streams: Streams, clock: Clock) -> float:
    """Median latency of a few requests sent one after the other, in seconds."""
    (caller,) = _make_callers(act, client, streams, f"probe-{secrets.token_hex(4)}", 1)
    latencies = []
    for _ in range(act.probes):
        begin = clock.monotonic()
        response = await caller.call()
        latencies.append(clock.monotonic() - begin)
        if response.status != 200:
            excerpt = response.body[:500].decode("utf-8", "replace")
            raise EnvironmentSetupError(f"the server sent status {response.status}: {excerpt}")
    return percentile(latencies, 50)


def _make_callers(
    act: Act, client: HttpClient, streams: Streams, key_prefix: str, count: int | None = None
) -> list[callers.Caller]:
    count = count or act.callers
    if act.mode == "stateless":
        context = max(scenario.WINDOWS.values())
        return callers.make_stateless_callers(client, streams, count, context, key_prefix)
    length = scenario.SESSION_LENGTH
    return callers.make_session_callers(client, streams, count, length, key_prefix)
