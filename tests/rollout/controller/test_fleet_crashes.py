"""A whole fleet under kills, partitions, frozen processes and restores, at any moment.

Deterministic: one process, a database in memory with a clock of its own, and machines whose clocks
are an hour apart.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import NextvecError
from service.rollout.controller.weight_lease import UNREAD_SECONDS
from service.rollout.state.events import FINAL
from service.rollout.storage.errors import StoreError
from service.rollout.storage.record_json import load_record
from tests.support.fleet_fakes import FleetWorld, settle
from tests.support.rollout_fakes import QUICK, SHADOWED

acts = st.tuples(
    st.sampled_from(
        [
            *("good", "good", "good", "good", "slow", "wait", "wait", "tick", "pulse"),
            *("start", "force", "pause", "resume", "abort", "retry"),
            *("kill", "join", "cut", "heal", "freeze", "thaw", "freeze in save", "down", "up"),
            *("kill at save", "kill after save"),
        ]
    ),
    st.integers(0, 2),
)


class ProcessEnd(Exception):
    """The process is gone, and with it whatever it was about to do."""


class FleetStory:
    """What happens to a fleet, and what must hold after each act."""

    def __init__(self, plan) -> None:
        self.world = FleetWorld(3, plan)
        self.frozen: set[str] = set()
        self.aborted = False
        self.stuck: list[asyncio.Task[None]] = []

    async def do(self, act: str, number: int) -> None:
        living = [r for r in self.world.living if r.identity.boot not in self.frozen]
        if not living and act not in ("join", "thaw"):
            return
        replica = living[number % len(living)] if living else None
        handler = getattr(self, f"_{act.replace(' ', '_')}", None)
        if handler is not None:
            await handler(replica)
        else:
            await self._change(act, replica)
        await settle()
        for each in self._awake():
            each.member.guard.check()
        self._check()

    def _awake(self):
        return [r for r in self.world.living if r.identity.boot not in self.frozen]

    async def _good(self, _replica):
        await self._serve(0.1)

    async def _slow(self, _replica):
        await self._serve(0.5)

    async def _serve(self, canary):
        for replica in self._awake():
            split = replica.traffic.current
            if split.shadow:
                replica.shadow.ran(60)
            if not split.withheld:
                replica.counted.serve(
                    [0.1] * 95 + [0.2] * 5, [canary] * 100 if split.weight_bp else []
                )
        await self._wait(None, 5)

    async def _wait(self, _replica, seconds=12):
        for _ in range(seconds):
            self.world.clock.now += 1.0
            for replica in self._awake():
                await self._guarded(replica, replica.pulse())
            if int(self.world.clock.now) % 5 == 0:
                for replica in self._awake():
                    await self._guarded(replica, replica.tick())

    async def _guarded(self, replica, work):
        try:
            return await work
        except ProcessEnd:
            replica.kill()

    async def _tick(self, replica):
        await self._guarded(replica, replica.tick())

    async def _pulse(self, replica):
        await self._guarded(replica, replica.pulse())

    async def _kill(self, replica):
        if len(self.world.living) > 1:
            replica.kill()

    async def _kill_at_save(self, replica):
        def end(name):
            if name == "save":
                raise ProcessEnd

        replica.connection.on_call = end

    async def _kill_after_save(self, replica):
        def end():
            raise ProcessEnd

        replica.connection.after_write = end

    async def _join(self, _replica):
        if len(self.world.living) < 4:
            with suppress(StoreError):
                await self.world.join(f"r{len(self.world.replicas)}")

    async def _cut(self, replica):
        replica.connection.cut = True

    async def _heal(self, _replica):
        for each in self.world.living:
            each.connection.cut = False

    async def _freeze(self, replica):
        self.frozen.add(replica.identity.boot)

    async def _freeze_in_save(self, replica):
        """The process is frozen once it has decided, and before it has stored that. Others go
        on, and it wakes up with a decision of long ago."""
        await self._serve(0.5)
        replica.connection.thawed.clear()
        for act in (replica.tick(), self._pause(replica)):
            self.stuck.append(asyncio.create_task(self._guarded(replica, act)))
        await settle()
        self.frozen.add(replica.identity.boot)

    async def _pause(self, replica):
        with suppress(NextvecError):
            await replica.controller.changes.pause(replica.controller.generation, "frozen")

    async def _thaw(self, _replica):
        self.frozen.clear()
        for replica in self.world.replicas:
            replica.connection.thawed.set()
        await asyncio.gather(*self.stuck)
        self.stuck.clear()

    async def _down(self, _replica):
        self.world.database.down = True

    async def _up(self, _replica):
        self.world.database.down = False

    async def _change(self, verb, replica):
        changes, generation = replica.controller.changes, replica.controller.generation
        calls = {
            "start": lambda: changes.start("phase-3", None, "me"),
            "force": lambda: changes.promote(generation, "me", force=True),
            "pause": lambda: changes.pause(generation, "me"),
            "resume": lambda: changes.resume(generation, "me"),
            "retry": lambda: changes.retry(generation, "me"),
            "abort": lambda: changes.abort(None, "me"),
        }
        try:
            await calls[verb]()
        except ProcessEnd:
            replica.kill()
            return
        except NextvecError:
            return
        if verb in ("start", "retry"):
            self.aborted = False
        self.aborted = self.aborted or verb == "abort"

    def _check(self) -> None:
        there = self.world.database
        if not there.record:
            return
        record = load_record(there.record)
        assert not self.aborted or record.rollout.phase in FINAL
        self._check_log(record)
        self._check_leaders()
        for replica in self._awake():
            self._check_weight(replica)

    def _check_log(self, record) -> None:
        """No decision is there twice, and none is missing."""
        generations = [row["generation"] for row in self.world.database.audit]
        assert list(range(1, record.rollout.generation + 1)) == generations
        rows = self.world.database.audit
        assert all(a["to"] == b["from"] for a, b in pairwise(rows))

    def _check_leaders(self) -> None:
        """Nobody writes under another's lease, and every change has its own revision."""
        revisions = [revision for revision, _, _ in self.world.database.writes]
        assert sorted(set(revisions)) == revisions
        holders: dict[int, set[str]] = {}
        for _, boot, epoch in self.world.database.writes:
            if epoch is not None:
                holders.setdefault(epoch, set()).add(boot)
        assert all(len(boots) == 1 for boots in holders.values())
        assert sum(replica.member.leads for replica in self._awake()) <= 1

    def _check_weight(self, replica) -> None:
        """Never more than the record that it holds, and nothing once that is too old."""
        weight, rollout = replica.weight_bp, replica.executor.rollout
        assert weight in (0, rollout.weight_bp)
        shared = replica.member._parts.shared
        assert shared.revision <= self.world.database.revision
        unread = replica.machine.monotonic() - replica.member.guard.read_at
        if unread > UNREAD_SECONDS:
            assert weight == 0
        if weight and shared.revision == self.world.database.revision:
            assert weight == self.world.database.weight_bp()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(acts, max_size=30), st.sampled_from([QUICK, SHADOWED]))
async def test_a_fleet_stays_consistent_whatever_happens(story, plan):
    told = FleetStory(plan)
    try:
        await told.world.start()
        for act in [("wait", 0), ("start", 0), ("wait", 0), ("good", 0), *story]:
            await told.do(*act)
        await recover(told)
    finally:
        for replica in told.world.replicas:
            replica.kill()
        for task in told.stuck:
            task.cancel()


async def recover(told: FleetStory) -> None:
    """Once everything works again, all replicas follow the stored record."""
    world = told.world
    world.database.down = False
    await told.do("thaw", 0)
    for replica in world.living:
        replica.connection.cut = False
        replica.connection.on_call = lambda _name: None
        replica.connection.after_write = lambda: None
    if not world.living:
        await world.join("last")
    await told.do("wait", 0)
    await told.do("wait", 0)
    await told.do("pulse", 0)
    splits = {replica.traffic.current for replica in world.living}
    assert len(splits) == 1, splits
    (split,) = splits
    assert split.weight_bp == world.database.weight_bp()
    assert not split.withheld


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at", "after"])
async def test_no_decision_is_made_twice_in_a_hundred_stops_of_the_leader(moment):
    """The leader is killed before or after one of its saves, while it rolls a canary back."""
    for number in range(50):
        told = FleetStory(QUICK)
        await told.world.start()
        for act in ("wait", "start", "wait", "good", "good", "good"):
            await told.do(act, 0)
        for _ in range(number % 5):
            await told.do("slow", 0)
        leader = told.world.leader
        if leader is not None:
            await getattr(told, f"_kill_{'at' if moment == 'at' else 'after'}_save")(leader)
        for _ in range(8):
            await told.do("slow", 0)
        await recover(told)
        assert {"RolledBack"} == {replica.phase for replica in told.world.living}
        assert 1 == sum(row["to"] == "RolledBack" for row in told.world.database.audit)
        for replica in told.world.replicas:
            replica.kill()
