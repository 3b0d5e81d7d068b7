"""The service over HTTP: closed loops, whole contexts, and steps while contexts run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest import stage
from loadtest.bench import bare, closed
from loadtest.bench.times import Times
from loadtest.callers import Caller, SessionCaller, StatelessCaller, sessions
from loadtest.client import Client, ClientError
from loadtest.driver import Driver, constant, until
from loadtest.streams import Streams
from loadtest.watch import Admin
from service.clock import Clock
from service.inference.engines.engine import Engine

SESSION_LENGTH = 400
"""Vectors a session; short of every window, so that each request is one step."""

_HOLDING_PLAN = {
    "steps": [{"weight": 1, "min_dwell_seconds": 3600, "approval": True}],
    "deadline_seconds": 7200.0,
}
"""A rollout that waits: its canary can be asked for by name meanwhile."""


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: a server, real streams, and for how long (seconds)."""

    server: stage.Server
    streams: Streams
    clock: Clock
    seconds: float

    async def ready(self) -> Client:
        """A client of the server, once it serves. Raises `StageError`."""
        await self.server.ready(self.clock, 60.0)
        return Client(self.server.url)


async def steps(bench: Bench, count: int) -> Times:
    """One vector a request, `count` sessions at once."""
    client = await bench.ready()
    try:
        callers = sessions(client, bench.streams, count, SESSION_LENGTH, f"steps-{count}")
        return await closed.run(callers, bench.seconds, bench.clock)
    finally:
        client.close()


async def contexts(bench: Bench, engines: Sequence[Engine], length: int) -> list[Times]:
    """Whole contexts of `length`, over HTTP and through each of the bare `engines`, in turn.

    In turn, so that whatever else the machine does falls on all.
    """
    client = await bench.ready()
    found: list[list[float]] = [[] for _ in range(1 + len(engines))]
    try:
        until_ = bench.clock.monotonic() + 2 * bench.seconds
        number = 0
        while bench.clock.monotonic() < until_ or number < 3:
            # Another stream each time and for each length: nothing of it was seen before.
            who = length + number
            caller = StatelessCaller(client, bench.streams, who, length, f"whole-{who}")
            found[0].append(await closed.timed(caller, bench.clock))
            for took, engine in zip(found[1:], engines, strict=True):
                took.append(bare.context(engine, bench.streams, who, length, bench.clock))
            number += 1
    finally:
        client.close()
    return [Times.of(took) for took in found]


async def resent(bench: Bench, length: int) -> Times:
    """A context of `length` whose first `length - 1` vectors were sent just before."""
    client = await bench.ready()
    took = []
    try:
        until_ = bench.clock.monotonic() + bench.seconds
        number = 0
        while bench.clock.monotonic() < until_ or number < 3:
            for size in (length - 1, length):
                caller = StatelessCaller(client, bench.streams, 2000 + number, size, "resent")
                seconds = await closed.timed(caller, bench.clock)
            took.append(seconds)
            number += 1
    finally:
        client.close()
    return Times.of(took)


async def mixed(bench: Bench, rate: float, length: int) -> tuple[Times, Times, float]:
    """Steps at `rate` a second: without, then with whole contexts one after the other.

    Returns the steps' times without and with, and the contexts answered a second.
    """
    client = await bench.ready()
    try:
        without = await _steps_at(bench, client, rate, "without")
        heavy = StatelessCaller(client, bench.streams, 3000, length, "heavy")
        background = asyncio.create_task(_without_end(heavy))
        try:
            beside = await _steps_at(bench, client, rate, "with")
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
        return without, beside, heavy.sent / bench.seconds
    finally:
        client.close()


async def variants(bench: Bench, rate: float) -> tuple[Times, Times]:
    """Steps at `rate` a second, every other one of each variant: stable's times, canary's."""
    client = await bench.ready()
    admin = Admin(client, bench.server.token, bench.clock.monotonic)
    try:
        await admin.start("phase-3", _HOLDING_PLAN)
        while (await admin.status()).phase == "Pending":  # noqa: ASYNC110  of another process
            await asyncio.sleep(0.1)
        callers: list[Caller] = []
        for number, caller in enumerate(_sessions(client, bench.streams, 16, "variants")):
            caller.headers = {"X-Variant": ("stable", "canary")[number % 2]}
            callers.append(caller)
        driver = Driver(callers, bench.clock)
        await driver.run(until(constant(rate), 4 * bench.seconds))
        times = []
        for variant in ("stable", "canary"):
            latencies = [r.latency for r in driver.records if r.ok and r.variant == variant]
            times.append(Times.of(latencies[len(latencies) // 10 :]))
        _check(driver)
        await admin.abort()
        return times[0], times[1]
    finally:
        client.close()


async def generator(streams: Streams, clock: Clock, seconds: float) -> tuple[Times, Times]:
    """The load generator against a server that does nothing: 1 caller, and 32."""
    port = stage.free_port()
    command = [
        sys.executable,
        "-m",
        "loadtest.bench.trivial",
        str(port),
        str(4 * streams.vectors.shape[1]),
    ]
    process = subprocess.Popen(command)  # noqa: ASYNC220, S603  our own command, before anything is timed
    client = Client(f"http://127.0.0.1:{port}")
    try:
        await _listening(client, process)
        found = []
        for count in (1, 32):
            callers = sessions(client, streams, count, SESSION_LENGTH, "trivial")
            found.append(await closed.run(callers, seconds, clock))
        return found[0], found[1]
    finally:
        client.close()
        process.terminate()
        process.wait()


async def _listening(client: Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        try:
            await client.request("GET", "/")
        except ClientError:
            if process.poll() is not None:
                break
            await asyncio.sleep(0.1)
        else:
            return
    raise stage.StageError("the trivial server does not answer")


async def _steps_at(bench: Bench, client: Client, rate: float, run: str) -> Times:
    driver = Driver(_sessions(client, bench.streams, 8, run), bench.clock)
    await driver.run(until(constant(rate), bench.seconds))
    _check(driver)
    return Times.of([record.latency for record in driver.records][len(driver.records) // 10 :])


def _sessions(client: Client, streams: Streams, count: int, run: str) -> Sequence[SessionCaller]:
    return [
        SessionCaller(client, streams, number, SESSION_LENGTH, run, remaining=SESSION_LENGTH)
        for number in range(count)
    ]


async def _without_end(caller: Caller) -> None:
    while True:
        closed.check(await caller.call())


def _check(driver: Driver) -> None:
    failed = [record for record in driver.records if not record.ok]
    if failed:
        raise ClientError(f"{len(failed)} of {len(driver.records)} failed: {failed[0].error}")
