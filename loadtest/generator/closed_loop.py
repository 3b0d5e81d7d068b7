"""Closed-loop load: each caller sends its next request when it has the last response."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from loadtest.generator.callers import Caller
from loadtest.generator.http_client import ClientError, HttpResponse
from loadtest.timings import Timings
from service.clock import Clock


async def run(callers: Sequence[Caller], seconds: float, clock: Clock) -> Timings:
    """Run all `callers` at once for `seconds`, and summarise. Raises like `collect`."""
    durations = await collect(callers, seconds, clock)
    return Timings.of(durations, len(durations) / seconds)


async def collect(callers: Sequence[Caller], seconds: float, clock: Clock) -> list[float]:
    """Run all `callers` at once for `seconds`, after a warm-up of a tenth of that time.

    Returns the seconds that each request took. Raises `ClientError` at the first failed request,
    because latencies of errors are not comparable, or if no request completes in time.
    """
    begin = clock.monotonic() + 0.1 * seconds
    end = begin + seconds
    durations: list[float] = []
    error: BaseException | None = None

    async def loop(caller: Caller) -> None:
        while (sent := clock.monotonic()) < end:
            response = await caller.call()
            now = clock.monotonic()
            require_ok(response)
            if begin <= sent and now <= end:
                durations.append(now - sent)

    try:
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(loop(caller))
    except* ClientError as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        error = first
    if error is not None:
        raise error
    if not durations:
        raise ClientError(f"no request completed within {seconds:g} s; increase --seconds")
    return durations


async def time_request(caller: Caller, clock: Clock) -> float:
    """Seconds that one request takes. Raises `ClientError` if it fails."""
    sent = clock.monotonic()
    response = await caller.call()
    seconds = clock.monotonic() - sent
    require_ok(response)
    return seconds


def require_ok(response: HttpResponse) -> None:
    """Raise `ClientError` unless the status is 200."""
    if response.status != 200:
        excerpt = response.body[:300].decode("utf-8", "replace")
        raise ClientError(f"status {response.status}: {excerpt}")
