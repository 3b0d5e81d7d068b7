"""Closed loops: every caller sends its next request when it has the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from loadtest.bench.timings import Timings
from loadtest.generator.callers import Caller
from loadtest.generator.http_client import ClientError, HttpResponse
from service.clock import Clock


async def run(callers: Sequence[Caller], seconds: float, clock: Clock) -> Timings:
    """All `callers` at once for `seconds`, after a tenth of it that is not counted.

    Raises `ClientError` at the first answer that is not good: a benchmark of
    errors says nothing.
    """
    begin = clock.monotonic() + 0.1 * seconds
    end = begin + seconds
    took: list[float] = []

    async def loop(caller: Caller) -> None:
        while (sent := clock.monotonic()) < end:
            response = await caller.call()
            now = clock.monotonic()
            require_ok(response)
            if begin <= sent and now <= end:
                took.append(now - sent)

    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(loop(caller))
    if not took:
        raise ClientError(f"nothing was answered within {seconds:g} s; give it more --seconds")
    return Timings.of(took, len(took) / seconds)


async def time_request(caller: Caller, clock: Clock) -> float:
    """Seconds of one request. Raises as `run`."""
    sent = clock.monotonic()
    response = await caller.call()
    took = clock.monotonic() - sent
    require_ok(response)
    return took


def require_ok(response: HttpResponse) -> None:
    """Raise `ClientError` unless the answer is good."""
    if response.status != 200:
        said = response.body[:300].decode("utf-8", "replace")
        raise ClientError(f"status {response.status}: {said}")
