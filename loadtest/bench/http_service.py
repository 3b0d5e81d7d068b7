"""Latency and throughput of the service over HTTP: steps, contexts, and both together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from loadtest.bench import bare_engine
from loadtest.bench.null_server import run_null_server
from loadtest.demo import environment
from loadtest.generator import closed_loop
from loadtest.generator.callers import Caller, SessionCaller, StatelessCaller, make_session_callers
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.open_loop import OpenLoopDriver, arrivals_before, constant_arrivals
from loadtest.generator.step_frames import StepFrameCaller
from loadtest.rollout_client import RolloutClient
from loadtest.streams import Streams
from loadtest.timings import Timings
from service.clock import Clock
from service.inference.engines.engine import Engine

SESSION_LENGTH = 400
"""Vectors in a session. It is shorter than every window, so each request is one step."""

_HOLDING_PLAN = {
    "steps": [{"weight": 1, "min_dwell_seconds": 3600, "approval": True}],
    "deadline_seconds": 7200.0,
}
"""A rollout that holds its first step, so that requests can name its canary."""


@dataclass(frozen=True)
class BenchmarkTarget:
    """The server under test, the streams to send, and seconds per measurement."""

    server: environment.ServerProcess
    streams: Streams
    clock: Clock
    seconds: float

    async def ready(self) -> HttpClient:
        """Wait for the server and return a client. Raises `EnvironmentSetupError`."""
        await self.server.ready(self.clock, 60.0)
        return HttpClient(self.server.url)


async def time_steps(target: BenchmarkTarget, count: int) -> Timings:
    """Time steps of one vector, `count` sessions at once."""
    client = await target.ready()
    try:
        callers = make_session_callers(
            client, target.streams, count, SESSION_LENGTH, f"steps-{count}"
        )
        return await closed_loop.run(callers, target.seconds, target.clock)
    finally:
        client.close()


async def time_step_frames(target: BenchmarkTarget, count: int, rows: int) -> Timings:
    """Time requests of `rows` steps each, `count` at once. The rate is that of steps."""
    client = await target.ready()
    try:
        callers = [
            StepFrameCaller(client, target.streams, number * rows, rows, "frames")
            for number in range(count)
        ]
        times = await closed_loop.run(callers, target.seconds, target.clock)
        return replace(times, rate=times.rate * rows)
    finally:
        client.close()


async def time_contexts(
    target: BenchmarkTarget, engines: Sequence[Engine], length: int
) -> list[Timings]:
    """Time contexts of `length` over HTTP and on each of the bare `engines`, in turn.

    They alternate, so that other work of the machine affects all of them.
    """
    client = await target.ready()
    results: list[list[float]] = [[] for _ in range(1 + len(engines))]
    try:
        deadline = target.clock.monotonic() + 2 * target.seconds
        number = 0
        while target.clock.monotonic() < deadline or number < 3:
            # A new stream each time, so that the prefix cache does not know it.
            stream = length + number
            caller = StatelessCaller(client, target.streams, stream, length, f"whole-{stream}")
            results[0].append(await closed_loop.time_request(caller, target.clock))
            for durations, engine in zip(results[1:], engines, strict=True):
                durations.append(
                    bare_engine.time_context(engine, target.streams, stream, length, target.clock)
                )
            number += 1
    finally:
        client.close()
    return [Timings.of(durations) for durations in results]


async def time_resent_context(target: BenchmarkTarget, length: int) -> Timings:
    """Time a context of `length` whose first `length - 1` vectors were just sent."""
    client = await target.ready()
    durations = []
    try:
        deadline = target.clock.monotonic() + target.seconds
        number = 0
        while target.clock.monotonic() < deadline or number < 3:
            for size in (length - 1, length):
                caller = StatelessCaller(client, target.streams, 2000 + number, size, "resent")
                seconds = await closed_loop.time_request(caller, target.clock)
            durations.append(seconds)
            number += 1
    finally:
        client.close()
    return Timings.of(durations)


async def time_steps_beside_contexts(
    target: BenchmarkTarget, rate: float, length: int
) -> tuple[Timings, Timings, float]:
    """Time steps at `rate` per second, alone and while contexts run one after the other.

    Returns the timings alone and beside contexts, and the contexts per second.
    """
    client = await target.ready()
    try:
        without = await _steps_at(target, client, rate, "without")
        heavy = StatelessCaller(client, target.streams, 3000, length, "heavy")
        background = asyncio.create_task(_repeat_forever(heavy))
        try:
            beside = await _steps_at(target, client, rate, "with")
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
        return without, beside, heavy.sent / target.seconds
    finally:
        client.close()


async def time_variants(target: BenchmarkTarget, rate: float) -> tuple[Timings, Timings]:
    """Time steps at `rate` per second, half of them per variant: stable's, then canary's."""
    client = await target.ready()
    admin = RolloutClient(target.server.url, target.server.token, target.clock.monotonic)
    try:
        await admin.start("phase-3", _HOLDING_PLAN)
        while (await admin.status()).phase == "Pending":  # noqa: ASYNC110  the state of another process
            await asyncio.sleep(0.1)
        callers: list[Caller] = []
        for number, caller in enumerate(_sessions(client, target.streams, 16, "variants")):
            caller.headers = {"X-Variant": ("stable", "canary")[number % 2]}
            callers.append(caller)
        driver = OpenLoopDriver(callers, target.clock)
        await driver.run(arrivals_before(constant_arrivals(rate), 4 * target.seconds))
        times = []
        for variant in ("stable", "canary"):
            latencies = [r.latency for r in driver.requests if r.ok and r.variant == variant]
            times.append(Timings.of(latencies[len(latencies) // 10 :]))
        _require_all_ok(driver)
        await admin.abort()
        return times[0], times[1]
    finally:
        client.close()
        await admin.close()


async def time_generator(streams: Streams, clock: Clock, seconds: float) -> tuple[Timings, Timings]:
    """Time the load generator against a server that does nothing: 1 caller, then 32."""
    async with run_null_server(4 * streams.vectors.shape[1]) as (url, _):
        client = HttpClient(url)
        try:
            results = []
            for count in (1, 32):
                callers = make_session_callers(client, streams, count, SESSION_LENGTH, "generator")
                results.append(await closed_loop.run(callers, seconds, clock))
            return results[0], results[1]
        finally:
            client.close()


async def _steps_at(target: BenchmarkTarget, client: HttpClient, rate: float, run: str) -> Timings:
    driver = OpenLoopDriver(_sessions(client, target.streams, 8, run), target.clock)
    await driver.run(arrivals_before(constant_arrivals(rate), target.seconds))
    _require_all_ok(driver)
    return Timings.of(
        [request.latency for request in driver.requests][len(driver.requests) // 10 :]
    )


def _sessions(
    client: HttpClient, streams: Streams, count: int, run: str
) -> Sequence[SessionCaller]:
    return [
        SessionCaller(client, streams, number, SESSION_LENGTH, run, remaining=SESSION_LENGTH)
        for number in range(count)
    ]


async def _repeat_forever(caller: Caller) -> None:
    while True:
        closed_loop.require_ok(await caller.call())


def _require_all_ok(driver: OpenLoopDriver) -> None:
    failed = [request for request in driver.requests if not request.ok]
    if failed:
        raise ClientError(f"{len(failed)} of {len(driver.requests)} failed: {failed[0].error}")
