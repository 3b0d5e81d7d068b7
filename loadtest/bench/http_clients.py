"""Compares HTTP clients for the load generator: CPU time per request and accuracy under a stall.

    python -m loadtest.bench.http_clients

Every client drives the same open loop at the same server. docs/adr/ has the result.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

import aiohttp
import httpx

from loadtest.bench.null_server import run_null_server
from loadtest.generator.callers import Caller
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError, HttpClient, HttpResponse
from loadtest.generator.open_loop import OpenLoopDriver, arrivals_before, constant_arrivals
from loadtest.timings import percentile
from service.clock import SystemClock

_BODY = bytes(4 * 768)
"""One vector, as a step of a session sends it."""

_RATE = 200.0
_SECONDS = 10.0
_STALL_SECONDS = 1.0
_CALLERS = 256
_ROUNDS = 3


@dataclass
class NullCaller:
    """The load generator's own client."""

    client: HttpClient

    async def call(self) -> HttpResponse:
        return await self.client.request("POST", "/v1/sessions/s/vectors", body=_BODY)


@dataclass
class HttpxCaller:
    """httpx, with the pool's limits lifted."""

    client: httpx.AsyncClient

    async def call(self) -> HttpResponse:
        try:
            response = await self.client.post("/v1/sessions/s/vectors", content=_BODY)
        except httpx.HTTPError as error:
            raise ClientError(str(error)) from error
        return HttpResponse(response.status_code, response.headers, response.content)


@dataclass
class AiohttpCaller:
    """aiohttp, with the pool's limit lifted."""

    session: aiohttp.ClientSession

    async def call(self) -> HttpResponse:
        try:
            async with self.session.post("/v1/sessions/s/vectors", data=_BODY) as response:
                return HttpResponse(response.status, {}, await response.read())
        except aiohttp.ClientError as error:
            raise ClientError(str(error)) from error


@asynccontextmanager
async def open_caller(name: str, url: str) -> AsyncIterator[Caller]:
    """A caller over the client `name`: own, httpx or aiohttp."""
    if name == "httpx":
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=url, limits=limits, timeout=30.0, trust_env=False
        ) as client:
            yield HttpxCaller(client)
    elif name == "aiohttp":
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(url, connector=connector) as session:
            yield AiohttpCaller(session)
    else:
        own = HttpClient(url)
        try:
            yield NullCaller(own)
        finally:
            own.close()


@dataclass(frozen=True)
class ClientMeasurement:
    """One client in one round: CPU seconds per request, and latencies in seconds."""

    cpu: float
    p50: float
    p95: float
    stalled_p95: float


async def measure_client(name: str) -> ClientMeasurement:
    """A quiet run and a run with a frozen server. Raises `ClientError` if a request fails."""
    async with run_null_server(len(_BODY)) as (url, process), open_caller(name, url) as caller:
        began = time.process_time()
        quiet = await _drive(caller)
        cpu = time.process_time() - began
        run = asyncio.create_task(_drive(caller))
        await asyncio.sleep(_SECONDS / 2)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(_STALL_SECONDS)
        process.send_signal(signal.SIGCONT)
        stalled = await run
    return ClientMeasurement(
        cpu / len(quiet), percentile(quiet, 50), percentile(quiet, 95), percentile(stalled, 95)
    )


async def _drive(caller: Caller) -> Sequence[float]:
    driver = OpenLoopDriver([caller] * _CALLERS, SystemClock())
    await driver.run(arrivals_before(constant_arrivals(_RATE), _SECONDS))
    failed = [request for request in driver.requests if not request.ok]
    if failed:
        raise ClientError(f"{len(failed)} requests failed: {failed[0].error}")
    return [request.latency for request in driver.requests]


def main() -> None:
    """Measure all clients in turn, several times, and print the medians."""
    measured: dict[str, list[ClientMeasurement]] = {"own": [], "aiohttp": [], "httpx": []}
    for _ in range(_ROUNDS):
        for name, measurements in measured.items():
            measurements.append(run_fast(measure_client(name)))
    print("| client | CPU ms per request | P50 ms | P95 ms | P95 ms, server frozen 1 s |")
    print("|---|---:|---:|---:|---:|")
    for name, measurements in measured.items():
        columns = zip(*((m.cpu, m.p50, m.p95, m.stalled_p95) for m in measurements), strict=True)
        print(f"| {name} | " + " | ".join(f"{median(c) * 1000:.3g}" for c in columns) + " |")


if __name__ == "__main__":
    main()
