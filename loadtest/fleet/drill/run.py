"""Runs a drill against a fleet."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx

from loadtest.fleet.drill.caller import DrillCaller
from loadtest.fleet.drill.faults import Fault
from loadtest.fleet.drill.injector import FaultInjector
from loadtest.fleet.drill.oracle import Oracle, Verification
from loadtest.fleet.drill.record import DrillRecord
from loadtest.fleet.drill.rollout import RolloutExercise, watch_weights
from loadtest.fleet.fleet import LocalFleet
from loadtest.generator.http_client import HttpClient
from loadtest.rollout_client import RolloutClient
from loadtest.streams import Streams
from service.clock import Clock

HISTORY_ROWS = 1000
_TIMEOUT = 30.0
_SHOW_SECONDS = 1.0
_ASK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class DrillOptions:
    """The load: `sessions` of `length` vectors each at a time, together `rate` appends a second.

    The run ends after the last fault, and not before `seconds`.
    """

    seconds: float
    sessions: int
    rate: float
    length: int
    versions: tuple[str, str] | None
    """The stable version and the canary of the rollouts; None for none."""


async def drive_sessions(
    url: str,
    streams: Streams,
    options: DrillOptions,
    record: DrillRecord,
    until: Callable[[], bool],
) -> None:
    """Append to sessions at `url` until `until`, which is asked ten times a second.

    Each caller ends by comparing the length of its last session.
    """
    client = HttpClient(url, _TIMEOUT)
    stopping = asyncio.Event()
    run = f"drill-{secrets.token_hex(4)}"
    gap = options.sessions / options.rate
    callers = [
        DrillCaller(client, streams, number, run, options.length, gap, record, stopping)
        for number in range(options.sessions)
    ]
    tasks = [asyncio.create_task(caller.call()) for caller in callers]
    try:
        # A caller that ends by itself has failed: `gather` raises its error.
        while not until() and not any(task.done() for task in tasks):  # noqa: ASYNC110
            await asyncio.sleep(_ASK_SECONDS)
        stopping.set()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client.close()


async def run_drill(
    fleet: LocalFleet,
    schedule: Sequence[Fault],
    streams: Streams,
    oracle: Oracle,
    options: DrillOptions,
    clock: Clock,
    show: Callable[[DrillRecord], None] = lambda _: None,
) -> tuple[DrillRecord, Verification]:
    """Run the drill on a fleet that serves. Raises `FleetError` if a process does not come back."""
    begun = clock.monotonic()
    record = DrillRecord(lambda: clock.monotonic() - begun)
    injector = FaultInjector(fleet, record)
    faults = asyncio.create_task(injector.run(schedule))
    admin = RolloutClient(fleet.url, fleet.token, record.now)
    background = [
        asyncio.create_task(injector.watch()),
        asyncio.create_task(watch_weights(fleet.replica_urls, fleet.token, record)),
        asyncio.create_task(_show(record, show)),
    ]
    if options.versions is not None:
        exercise = RolloutExercise(admin, options.versions, record)
        background.append(asyncio.create_task(exercise.run()))
    try:
        await drive_sessions(
            fleet.url,
            streams,
            options,
            record,
            lambda: faults.done() and record.now() >= options.seconds,
        )
        await faults
    finally:
        for task in [faults, *background]:
            task.cancel()
        await asyncio.gather(faults, *background, return_exceptions=True)
        await admin.close()
    ended = record.now()
    record.now = lambda: ended
    record.history += await read_history(fleet.url, fleet.token)
    return record, await asyncio.to_thread(oracle.verify, record.transcripts)


async def drive_only(
    url: str,
    streams: Streams,
    oracle: Oracle,
    options: DrillOptions,
    clock: Clock,
    show: Callable[[DrillRecord], None] = lambda _: None,
) -> tuple[DrillRecord, Verification]:
    """Drive sessions at `url` for the options' seconds, while somebody else causes the faults."""
    begun = clock.monotonic()
    record = DrillRecord(lambda: clock.monotonic() - begun)
    showing = asyncio.create_task(_show(record, show))
    try:
        await drive_sessions(url, streams, options, record, lambda: record.now() >= options.seconds)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
    ended = record.now()
    record.now = lambda: ended
    return record, await asyncio.to_thread(oracle.verify, record.transcripts)


async def read_history(url: str, token: str) -> list[dict[str, object]]:
    """The rollout's audit log, oldest first. Raises `httpx.HTTPError`."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        answer = await client.get(f"/admin/v1/rollout/history?limit={HISTORY_ROWS}")
        answer.raise_for_status()
        rows: list[dict[str, object]] = answer.json()
        return rows[::-1]


async def _show(record: DrillRecord, show: Callable[[DrillRecord], None]) -> None:
    while True:
        with suppress(BrokenPipeError):
            show(record)
        await asyncio.sleep(_SHOW_SECONDS)
