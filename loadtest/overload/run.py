"""The overload test: it measures capacity, exceeds it, and watches the recovery."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field

from loadtest.generator.callers import Caller, make_session_callers, make_stateless_callers
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.open_loop import OpenLoopDriver, arrivals_before, poisson_arrivals
from loadtest.generator.request_log import RequestLog
from loadtest.overload.probes import ProbeProcess, ProbeResult
from loadtest.streams import Streams
from service.clock import SystemClock

CAPACITY_SECONDS = 10.0
STEP_CALLERS = 32
CONTEXT_CALLERS = 4
IN_FLIGHT = 2048
RECOVERY_SECONDS = 5.0


@dataclass
class OverloadRun:
    """What was sent and what came of it. Rates are requests a second."""

    factor: float
    step_capacity: float
    context_capacity: float
    steps: list[RequestLog] = field(default_factory=list)
    contexts: list[RequestLog] = field(default_factory=list)
    probes: list[ProbeResult] = field(default_factory=list)
    started: float = 0.0
    recovery_seconds: float = float("nan")


async def run_overload(  # noqa: PLR0913 - the options of the command
    client: HttpClient,
    streams: Streams,
    *,
    address: tuple[str, int],
    factor: float,
    duration: float,
    context: int,
    session_length: int,
    seed: int,
    token: str | None,
) -> OverloadRun:
    """Measure the capacity with steps and contexts side by side, then send `factor` times it.

    Arrivals are open-loop: they do not wait for the server. Raises `ClientError`.
    """
    name = secrets.token_hex(4)

    def steps(count: int, part: str) -> list[Caller]:
        return make_session_callers(client, streams, count, session_length, f"{name}-{part}")

    def contexts(count: int, part: str) -> list[Caller]:
        return make_stateless_callers(client, streams, count, context, f"{name}-{part}")

    step_rate, context_rate = await asyncio.gather(
        _closed_loop_rate(steps(STEP_CALLERS, "a")),
        _closed_loop_rate(contexts(CONTEXT_CALLERS, "b")),
    )
    run = OverloadRun(factor, step_rate, context_rate)
    probing = await asyncio.to_thread(ProbeProcess, *address, token)
    try:
        run.started = time.time()
        step_driver = OpenLoopDriver(steps(IN_FLIGHT, "c"), SystemClock())
        context_driver = OpenLoopDriver(contexts(IN_FLIGHT, "d"), SystemClock())
        step_arrivals = poisson_arrivals(factor * step_rate, seed)
        context_arrivals = poisson_arrivals(factor * context_rate, seed + 1)
        sending = asyncio.gather(
            step_driver.run(arrivals_before(step_arrivals, duration)),
            context_driver.run(arrivals_before(context_arrivals, duration)),
        )
        await asyncio.sleep(duration)
        run.recovery_seconds = await _recovery(steps(1, "e")[0])
        await sending
    finally:
        run.probes = await asyncio.to_thread(probing.stop)
    run.steps, run.contexts = step_driver.requests, context_driver.requests
    return run


async def _closed_loop_rate(callers: list[Caller]) -> float:
    """Answers a second of `callers` that each wait for their response. Raises `ClientError`."""
    end = time.perf_counter() + CAPACITY_SECONDS
    answered = 0

    async def keep_calling(caller: Caller) -> None:
        nonlocal answered
        while time.perf_counter() < end:
            response = await caller.call()
            answered += response.status == 200

    await asyncio.gather(*[keep_calling(caller) for caller in callers])
    if not answered:
        raise ClientError("no request was answered while the capacity was measured")
    return answered / CAPACITY_SECONDS


async def _recovery(caller: Caller) -> float:
    """Seconds from now to the first step after which all steps are answered at once."""
    began = time.perf_counter()
    recovered = None
    while time.perf_counter() < began + RECOVERY_SECONDS:
        sent = time.perf_counter()
        try:
            good = (await caller.call()).status == 200 and time.perf_counter() - sent < 0.1
        except ClientError:
            good = False
        if not good:
            recovered = None
        elif recovered is None:
            recovered = time.perf_counter() - began
        await asyncio.sleep(0.05)
    return float("inf") if recovered is None else recovered
