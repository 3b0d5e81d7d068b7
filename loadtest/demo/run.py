"""One act, played against a running server."""

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
from loadtest.report.request_log import percentile
from loadtest.rollout_client import RolloutClient, RolloutSample, watch_rollout
from loadtest.streams import Streams
from service.clock import Clock

QUIET_SECONDS = 6.0
"""Traffic before the rollout, and after its end."""

_LOOK_SECONDS = 0.5
_SEED = 1


@dataclass
class ActRun:
    """An act as it goes on. Times in seconds from `driver.epoch`; `ended` None until it has."""

    act: Act
    driver: OpenLoopDriver
    alone: float = 0.0
    """Seconds that a request takes here when nothing else runs."""
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
    """Play `act` in at most `seconds`; `show` is called at every look.

    Raises `EnvironmentSetupError` when the server is gone and `AdminError` when it refuses.
    """
    client = HttpClient(server.url)
    run = secrets.token_hex(4)
    playing = ActRun(act, OpenLoopDriver(_callers(act, client, streams, run), clock))
    admin = RolloutClient(client, server.token, playing.driver.now)
    playing.alone = await _probe(act, client, streams, clock)
    playing.rate = scenario.choose_rate(act, playing.alone)
    watching = asyncio.create_task(watch_rollout(admin, _LOOK_SECONDS, playing.samples))
    traffic = _BackgroundTraffic(playing)
    try:
        await traffic.settle(show)
        playing.started = playing.driver.now()
        begun = await admin.start(scenario.CANARY, act.plan)
        await _play(playing, admin, begun.generation, seconds, server, show)
        playing.ended = playing.driver.now()
        await _show_for(QUIET_SECONDS, playing, show)
        last = await admin.status()
        playing.samples.append(last)
        if "abort" in last.legal:
            await admin.abort()  # it hung; the next act needs a service at rest
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        try:
            await traffic.stop()
        finally:
            client.close()
    later = [record for record in playing.driver.records if record.intended > playing.ended]
    playing.problems += scenario.find_problems(act, last, later)
    return playing


class _BackgroundTraffic:
    """Requests at the act's rate, from `begin` until `stop`."""

    def __init__(self, playing: ActRun) -> None:
        self._playing = playing
        self._over = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        act, rate = self._playing.act, self._playing.rate
        arrivals = (
            poisson_arrivals(rate, _SEED) if act.arrivals == "poisson" else constant_arrivals(rate)
        )
        self._over = False
        run = self._playing.driver.run(arrivals, lambda: self._over)
        self._task = asyncio.create_task(run)

    async def stop(self) -> None:
        """Send no more, and await every answer."""
        self._over = True
        if self._task is not None:
            await self._task

    async def settle(self, show: Callable[[ActRun], None]) -> None:
        """Begin at the act's rate, and again at a lower one while requests are held up."""
        while True:
            begun = self._playing.driver.now()
            self.begin()
            await _show_for(QUIET_SECONDS, self._playing, show)
            records = self._playing.driver.records
            median = percentile([r.latency for r in records if r.intended >= begun], 50)
            lower = scenario.reduced_rate(
                self._playing.act, self._playing.rate, self._playing.alone, median
            )
            if lower is None:
                return
            await self.stop()
            self._playing.rate = lower


async def _play(
    playing: ActRun,
    admin: RolloutClient,
    generation: int,
    seconds: float,
    server: ServerProcess,
    show: Callable[[ActRun], None],
) -> None:
    """From the start of the rollout to its end, or to the limit."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS / 2)
        server.check()
        show(playing)
        if playing.driver.now() > seconds - QUIET_SECONDS:
            playing.problems.append(
                f"no end within {seconds:.0f} s at {playing.rate:.1f} requests/s, as one alone "
                f"takes {playing.alone * 1000:.0f} ms here; try again when the machine is quieter"
            )
            return
        sample = playing.latest
        if sample is None:
            continue
        match scenario.next_action(sample, generation):
            case NextAction.STOP:
                return
            case NextAction.PROMOTE:
                playing.samples.append(await admin.promote(sample.generation))
            case NextAction.WAIT:
                continue


async def _show_for(seconds: float, playing: ActRun, show: Callable[[ActRun], None]) -> None:
    until = playing.driver.now() + seconds
    while playing.driver.now() < until:
        await asyncio.sleep(_LOOK_SECONDS / 2)
        show(playing)


async def _probe(act: Act, client: HttpClient, streams: Streams, clock: Clock) -> float:
    """Seconds that a request takes on this machine when it is alone: the median of a few."""
    (caller,) = _callers(act, client, streams, f"probe-{secrets.token_hex(4)}", 1)
    took = []
    for _ in range(act.probes):
        begin = clock.monotonic()
        response = await caller.call()
        took.append(clock.monotonic() - begin)
        if response.status != 200:
            said = response.body[:500].decode("utf-8", "replace")
            raise EnvironmentSetupError(f"the server answered status {response.status}: {said}")
    return percentile(took, 50)


def _callers(
    act: Act, client: HttpClient, streams: Streams, run: str, count: int | None = None
) -> list[callers.Caller]:
    count = count or act.callers
    if act.mode == "stateless":
        context = max(scenario.WINDOWS.values())
        return callers.make_stateless_callers(client, streams, count, context, run)
    return callers.make_session_callers(client, streams, count, scenario.SESSION_LENGTH, run)
