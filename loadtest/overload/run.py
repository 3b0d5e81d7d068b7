"""The overload test: it measures capacity, exceeds it, and watches the recovery."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field

from loadtest.generator.callers import Caller, make_session_callers
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.open_loop import arrivals_before, poisson_arrivals
from loadtest.generator.request_log import RequestLog
from loadtest.overload.flood import Flood
from loadtest.overload.flood_requests import ContextRequests, FloodTarget, SessionRequests
from loadtest.overload.probes import ProbeProcess, ProbeResult
from loadtest.streams import Streams
from service.clock import SystemClock

CAPACITY_SECONDS = 10.0
STEP_CALLERS = 32
CONTEXT_CALLERS = 4
IN_FLIGHT = 2048
RECOVERY_SECONDS = 5.0
_LAST_RESPONSE_SECONDS = 30.0


@dataclass
class OverloadRun:
    """What was sent and what came of it. Rates are requests a second.

    `lags` says by how many seconds the generator was behind the due time of each request.
    """

    factor: float
    step_capacity: float
    context_capacity: float
    steps: list[RequestLog] = field(default_factory=list)
    contexts: list[RequestLog] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    probes: list[ProbeResult] = field(default_factory=list)
    started: float = 0.0
    recovery_seconds: float = float("nan")


async def run_overload(  # noqa: PLR0913 - the options of the command
    client: HttpClient,
    streams: Streams,
    *,
    target: FloodTarget,
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
    address = (target.host, target.port)

    def steps(part: str, most: int) -> Flood:
        def source(number: int) -> SessionRequests:
            return SessionRequests(streams, target, number, session_length, f"{name}-{part}")

        return Flood(address, source, SystemClock(), most)

    def contexts(part: str, most: int) -> Flood:
        def source(number: int) -> ContextRequests:
            return ContextRequests(streams, target, number, context, f"{name}-{part}")

        return Flood(address, source, SystemClock(), most)

    step_rate, context_rate = await _capacity(
        steps("a", STEP_CALLERS), contexts("b", CONTEXT_CALLERS)
    )
    run = OverloadRun(factor, step_rate, context_rate)
    probing = await asyncio.to_thread(ProbeProcess, *address, token)
    step_flood, context_flood = steps("c", IN_FLIGHT), contexts("d", IN_FLIGHT)
    try:
        run.started = time.time()
        step_arrivals = poisson_arrivals(factor * step_rate, seed)
        context_arrivals = poisson_arrivals(factor * context_rate, seed + 1)
        await asyncio.gather(
            step_flood.run(arrivals_before(step_arrivals, duration)),
            context_flood.run(arrivals_before(context_arrivals, duration)),
        )
        # The last request has been sent, so the overload ends here.
        run.recovery_seconds = await _recovery(
            make_session_callers(client, streams, 1, session_length, f"{name}-e")[0]
        )
        await asyncio.gather(
            step_flood.finish(_LAST_RESPONSE_SECONDS), context_flood.finish(_LAST_RESPONSE_SECONDS)
        )
    finally:
        await asyncio.gather(step_flood.close(), context_flood.close())
        run.probes = await asyncio.to_thread(probing.stop)
    run.steps, run.contexts = step_flood.requests, context_flood.requests
    run.lags = step_flood.lags + context_flood.lags
    return run


async def _capacity(steps: Flood, contexts: Flood) -> tuple[float, float]:
    """Answers a second of callers that each wait for their response. Raises `ClientError`."""
    try:
        step_rate, context_rate = await asyncio.gather(
            steps.run_closed(STEP_CALLERS, CAPACITY_SECONDS),
            contexts.run_closed(CONTEXT_CALLERS, CAPACITY_SECONDS),
        )
    finally:
        await asyncio.gather(steps.close(), contexts.close())
    if not step_rate or not context_rate:
        statuses = {request.status for request in (*steps.requests, *contexts.requests)}
        raise ClientError(
            "no request was answered while the capacity was measured; statuses seen: "
            f"{sorted(statuses)}"
        )
    return step_rate, context_rate


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
