"""Carries out the faults of a schedule on a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from loadtest.fleet.drill.faults import Fault, FaultKind
from loadtest.fleet.drill.record import DrillRecord, FaultSpan
from loadtest.fleet.fleet import LocalFleet
from loadtest.fleet.process import FleetProcess

SETTLE_SECONDS = 1.5
"""After a replica is ready, until the load balancer's next check has seen it."""


class FaultInjector:
    """One fault at a time. The next one begins when all processes serve again."""

    def __init__(self, fleet: LocalFleet, record: DrillRecord) -> None:
        self._fleet = fleet
        self._record = record
        self._ended: set[str] = set()
        """Processes that the injector has ended, or is about to."""

    async def run(self, schedule: Sequence[Fault]) -> None:
        """Carry out the schedule. Raises `FleetError` if a process does not come back."""
        for fault in schedule:
            await asyncio.sleep(fault.quiet)
            begin = self._record.now()
            try:
                await self._inject(fault)
                await asyncio.sleep(SETTLE_SECONDS)
            finally:
                self._record.spans.append(FaultSpan(fault, begin, self._record.now()))

    async def watch(self) -> None:
        """Note each process that ends by itself, once, until cancelled."""
        noted: set[int] = set()
        while True:
            for process in self._fleet.processes:
                if process.is_running or process.name in self._ended or process.pid in noted:
                    continue
                noted.add(process.pid)
                text = f"{process.name} ended by itself: {process.read_tail()[-300:]}"
                self._record.deaths.append(text)
            await asyncio.sleep(0.1)

    async def _inject(self, fault: Fault) -> None:
        fleet = self._fleet
        match fault.kind:
            case FaultKind.KILL:
                await self._kill_replicas([fault.replica or 0], fault.hold)
            case FaultKind.ALL:
                await self._kill_replicas(range(len(fleet.replicas)), fault.hold)
            case FaultKind.STOP:
                replica = fleet.replicas[fault.replica or 0]
                replica.suspend()
                await asyncio.sleep(fault.hold)
                replica.resume()
            case FaultKind.REDIS:
                await self._kill(fleet.redis, fault.hold)
                fleet.redis.start()
                self._ended.discard(fleet.redis.name)
                await fleet.redis_ready()
            case FaultKind.POSTGRES:
                await self._kill(fleet.postgres, fault.hold)
                await fleet.start_postgres()
                self._ended.discard(fleet.postgres.name)
            case FaultKind.ROLLING:
                await self._roll()

    async def _kill_replicas(self, numbers: Sequence[int], hold: float) -> None:
        replicas = [self._fleet.replicas[number] for number in numbers]
        self._ended.update(replica.name for replica in replicas)
        for replica in replicas:
            replica.kill()
        await asyncio.sleep(hold)
        await self._start(numbers)

    async def _kill(self, process: FleetProcess, hold: float) -> None:
        self._ended.add(process.name)
        process.kill()
        await asyncio.sleep(hold)

    async def _roll(self) -> None:
        """Stop each replica as an operator does, with its drain, and start it again."""
        for number, replica in enumerate(self._fleet.replicas):
            self._ended.add(replica.name)
            status = await asyncio.to_thread(replica.stop)
            if status != 0:
                self._record.deaths.append(f"{replica.name} ended with status {status} on SIGTERM")
            await self._start([number])
            await asyncio.sleep(SETTLE_SECONDS)

    async def _start(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._fleet.replicas[number].start()
            self._ended.discard(self._fleet.replicas[number].name)
        for number in numbers:
            await self._fleet.replica_ready(number)
