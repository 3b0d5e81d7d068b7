"""How long a change of the rollout takes to reach all replicas of a fleet.

    python -m loadtest.bench.rollout_propagation --url postgresql://nextvec@127.0.0.1/nextvec

Replicas of the service's own store follow one record, as `nextvec serve` does. From the moment a
change begins to be stored until a replica has read it and could route by it. Without
notifications, replicas look once a second.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from service.fleet.identity import FleetIdentity
from service.rollout.controller.fleet_member import PULSE_SECONDS
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.events import Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.fleet_store import ReplicaReport
from service.rollout.storage.postgres.address import parse_address
from service.rollout.storage.postgres.database import PostgresDatabase
from service.rollout.storage.postgres.fleet_store import PostgresFleetStore
from service.rollout.storage.postgres.rollout_store import PostgresRolloutStore


@dataclass(frozen=True)
class PropagationTimes:
    """Seconds of each change until it was stored, and until each replica had read it."""

    stored: list[float]
    read: list[float]


class FollowingReplica:
    """One replica that reads what changes."""

    def __init__(self, url: str, fleet: str, name: str) -> None:
        self.database = PostgresDatabase(parse_address(url), fleet, name)
        identity = FleetIdentity(fleet, name, secrets.token_hex(8))
        self.rollout = PostgresRolloutStore(self.database, identity.boot)
        self.fleet = PostgresFleetStore(self.database, identity, "bench")
        self.seen: dict[int, float] = {}
        self.news = asyncio.Event()
        self._report = ReplicaReport(identity.boot, name, 0, {})
        self._wake = asyncio.Event()

    async def open(self, *, notify: bool) -> None:
        await self.fleet.open()
        if notify:
            self.fleet.on_change(self._wake.set)
        await self.fleet.pulse(self._report, lead=True)

    async def follow(self) -> None:
        """Read the record at each notification, and each second; until cancelled."""
        while True:
            view = await self.fleet.pulse(self._report, lead=True)
            if view.revision != self.rollout.revision:
                record = await self.rollout.load()
                if record is not None:
                    record.rollout.split()
                    self.seen[record.rollout.generation] = time.perf_counter()
                    self.news.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), PULSE_SECONDS)
            self._wake.clear()


async def measure(url: str, replicas: int, changes: int, *, notify: bool) -> PropagationTimes:
    """Change the weight `changes` times, with `replicas` following."""
    fleet = f"bench-{secrets.token_hex(4)}"
    writer = FollowingReplica(url, fleet, "writer")
    readers = [FollowingReplica(url, fleet, f"reader-{number}") for number in range(replicas)]
    for each in (writer, *readers):
        await each.open(notify=notify)
    following = [asyncio.create_task(reader.follow()) for reader in readers]
    times = PropagationTimes([], [])
    await writer.rollout.load()
    for generation in range(1, changes + 1):
        began = time.perf_counter()
        await writer.rollout.save(_record(generation), [{"at": 0.0, "generation": generation}])
        times.stored.append(time.perf_counter() - began)
        for reader in readers:
            while generation not in reader.seen:
                reader.news.clear()
                await reader.news.wait()
        times.read.extend(reader.seen[generation] - began for reader in readers)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    for each in (writer, *readers):
        await each.database.close()
    return times


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _record(generation: int) -> RolloutRecord:
    plan = RolloutPlan()
    step = generation % len(plan.steps)
    return RolloutRecord(
        RolloutState("stable", Phase.PROGRESSING, generation, canary="canary", plan=plan, step=step)
    )


def main(
    url: Annotated[
        str, typer.Option(help="The database, such as postgresql://nextvec@host/nextvec.")
    ],
    replicas: Annotated[int, typer.Option(min=1, help="Replicas that follow.")] = 5,
    changes: Annotated[int, typer.Option(min=1, help="Changes that are measured.")] = 200,
) -> None:
    """Print how long a change takes to be stored, and to be read by every replica."""
    table = Table(title=f"A change of the rollout, {replicas} replicas, ms")
    for name in ("", "P50", "P99", "longest"):
        table.add_column(name, justify="right" if name else "left")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(measure(url, replicas, changes, notify=True))
        # Each takes up to a second.
        polled = runner.run(measure(url, replicas, min(changes, 10), notify=False))
    for name, values in (
        ("stored", told.stored),
        ("read by a replica", told.read),
        ("read without notifications", polled.read),
    ):
        figures = (percentile(values, 0.5), percentile(values, 0.99), max(values))
        table.add_row(name, *(f"{1000 * value:.1f}" for value in figures))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
