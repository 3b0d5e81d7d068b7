"""Copies for the canary: off the request path, dropped under load, timed only if comparable."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.contexts.history import History
from service.contexts.session import Session
from service.errors import NotFound
from service.inference.scheduling.job import EngineResult
from service.inference.scheduling.scheduler import Scheduler
from service.metrics import Metrics
from service.prediction.shadow_runner import IDLE_SECONDS, MAX_SESSIONS, REST, ShadowRunner
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.types import Mode
from tests.support.fakes import DIM, FakeClock, FakeEngine, fault, manifest_of, unit_vectors

SPLIT = TrafficSplit("phase-2", "phase-3", 0, "salt", shadow=True)


class ClockedEngine(FakeEngine):
    """Each run takes a second by the clock."""

    def __init__(self, clock, decay):
        super().__init__(decay)
        self.clock, self.seconds = clock, 1.0

    def run(self, vectors, lengths, state):
        self.clock.advance(self.seconds)
        return super().run(vectors, lengths, state)


class ShadowWorld:
    def __init__(self, window=16, policy="exact"):
        self.clock = FakeClock()
        self.traffic = TrafficRouter(SPLIT)
        self.metrics = Metrics(CollectorRegistry(), 10.0)
        self.engines, self.loaded = {}, {}
        for version, size in (("phase-2", 8), ("phase-3", window)):
            engine = ClockedEngine(self.clock, 0.9)
            scheduler = Scheduler(engine, self.clock, max_batch=8, prefill_chunk=64, queue_limit=8)
            scheduler.start(version)
            manifest = manifest_of(version, size, version, policy)
            self.engines[version] = engine
            self.loaded[version] = SimpleNamespace(
                manifest=manifest, scheduler=scheduler, digest=version
            )
        self.shadow = ShadowRunner(self.traffic, self, self.metrics, self.clock, 5.0)

    def get(self, version):
        if version not in self.loaded:
            raise NotFound(version)
        return self.loaded[version]

    @property
    def engine(self):
        return self.engines["phase-3"]

    async def settle(self):
        """Wait until the copy and the rest after it are over."""
        if self.shadow._running is not None:
            await asyncio.gather(self.shadow._running, return_exceptions=True)
        self.clock.advance(REST * 100)

    def answer(self, vectors, seconds=1.0):
        """Stable's result for a context."""
        found = self.engines["phase-2"].expected(vectors)
        return EngineResult(found, np.zeros((1, DIM), np.float32), 0.0, seconds)

    def append(self, session, vectors, mode=Mode.STEP):
        session.history.append(vectors)
        session.length += len(vectors)
        stable = self.answer(session.history.last(100))
        self.shadow.copy_append(session, len(vectors), mode, stable, SPLIT)

    async def close(self):
        await self.shadow.close()
        for loaded in self.loaded.values():
            await loaded.scheduler.close()


@asynccontextmanager
async def new_world(**options):
    world = ShadowWorld(**options)
    try:
        yield world
    finally:
        await world.close()


def session(number=0):
    return Session(f"s{number}", History(100, DIM))


async def test_a_context_is_copied_and_its_prediction_compared():
    async with new_world() as world:
        context = unit_vectors(6)
        world.shadow.copy_context(context, world.answer(context), SPLIT, known=0)
        await world.settle()
        seen = world.shadow.take()
        assert (1, 0, 0) == (seen.answered, seen.faults, seen.dropped)
        assert 1.0 == pytest.approx(seen.agreement, abs=1e-6)
        assert 1 == seen.modes["prefill"].canary.total == seen.modes["prefill"].stable.total
        assert 0 == world.shadow.take().total
        value = world.metrics.registry.get_sample_value
        assert 1 == value("nextvec_shadow_copies_total", {"result": "answered"})
        labels = {"version": "phase-3", "mode": "prefill"}
        assert 1 == value("nextvec_shadow_inference_duration_seconds_count", labels)


async def test_the_next_canary_starts_with_empty_statistics():
    """An abort comes between two evaluations; statistics that were not taken are dropped."""
    async with new_world() as world:
        context = unit_vectors(6)
        world.engine.faults = [fault()]
        world.shadow.copy_context(context, world.answer(context), SPLIT, known=0)
        await world.settle()
        world.traffic.set(TrafficSplit("phase-2"))
        world.traffic.set(TrafficSplit("phase-2", "phase-3", 0, "another salt", shadow=True))
        assert 0 == world.shadow.take().faults


async def test_a_version_with_other_predictions_does_not_agree():
    async with new_world() as world:
        context = unit_vectors(6)
        stable = world.answer(context)
        opposite = EngineResult(-stable.vector, stable.state, 0.0, 1.0)
        world.shadow.copy_context(context, opposite, SPLIT, known=0)
        await world.settle()
        assert -1.0 == pytest.approx(world.shadow.take().agreement, abs=1e-6)


async def test_a_context_with_a_known_prefix_is_compared_but_not_timed():
    async with new_world() as world:
        context = unit_vectors(6)
        world.shadow.copy_context(context, world.answer(context), SPLIT, known=4)
        await world.settle()
        seen = world.shadow.take()
        assert (1, {}) == (seen.answered, seen.modes)


@pytest.mark.parametrize("policy", ["exact", "anchored"])
async def test_a_session_is_followed_step_by_step(policy):
    """One vector a copy within the window, always with the recomputed prediction."""
    async with new_world(window=100, policy=policy) as world:
        one, vectors = session(), unit_vectors(12)
        for n in range(12):
            world.append(one, vectors[n : n + 1])
            await world.settle()
        seen = world.shadow.take()
        assert (12, 12) == (seen.answered, seen.modes["step"].canary.total)
        assert 1.0 == pytest.approx(seen.agreement, abs=1e-5)
        assert all(batch == [1] for batch in world.engine.batches)


async def test_an_existing_session_is_primed_once():
    """From its history; that copy is compared but not timed."""
    async with new_world() as world:
        one, vectors = session(), unit_vectors(12)
        one.history.append(vectors[:10])
        one.length = 10
        for n in (10, 11):
            world.append(one, vectors[n : n + 1])
            await world.settle()
        seen = world.shadow.take()
        assert [[11], [1]] == world.engine.batches
        assert (2, 1) == (seen.answered, seen.modes["step"].canary.total)
        assert 1.0 == pytest.approx(seen.agreement, abs=1e-5)


async def test_the_next_copy_makes_up_for_a_dropped_one():
    """It is compared but not timed, because it is more work than stable's."""
    async with new_world() as world:
        one, vectors = session(), unit_vectors(4)
        world.append(one, vectors[:1])
        await world.settle()
        world.shadow._rests_until = world.clock.now + 1
        world.append(one, vectors[1:2])
        world.clock.advance(10)
        world.append(one, vectors[2:3])
        await world.settle()
        world.append(one, vectors[3:4])
        await world.settle()
        seen = world.shadow.take()
        assert [[1], [2], [1]] == world.engine.batches
        assert (3, 1, 2) == (seen.answered, seen.dropped, seen.modes["step"].canary.total)
        assert 1.0 == pytest.approx(seen.agreement, abs=1e-5)


@pytest.mark.parametrize("length", [2, 5])
async def test_a_restarted_session_is_followed_from_its_beginning(length):
    """Also if its first append is longer than the session before."""
    async with new_world() as world:
        one, vectors = session(), unit_vectors(8)
        world.append(one, vectors[:3], Mode.PREFILL)
        await world.settle()
        one.clear()
        world.append(one, vectors[3 : 3 + length], Mode.PREFILL)
        await world.settle()
        assert [[3], [length]] == world.engine.batches
        assert 1.0 == pytest.approx(world.shadow.take().agreement, abs=1e-5)


async def test_copies_run_one_at_a_time_with_rests():
    """At most a quarter of one engine's time."""
    async with new_world() as world:
        context = unit_vectors(3)
        stable = world.answer(context)
        offer = lambda: world.shadow.copy_context(context, stable, SPLIT, known=0)  # noqa: E731
        offer()
        offer()
        await asyncio.gather(world.shadow._running)
        finished = world.clock.now
        offer()
        world.clock.now = finished + REST - 0.01
        offer()
        seen = world.shadow.take()
        assert (1, 3) == (seen.answered, seen.dropped)
        world.clock.now = finished + REST
        offer()
        await world.settle()
        assert 1 == world.shadow.take().answered


@pytest.mark.parametrize("busy", ["phase-2", "phase-3"])
async def test_nothing_is_copied_while_a_request_waits(busy):
    async with new_world() as world:
        engine, scheduler = world.engines[busy], world.loaded[busy].scheduler
        engine.gate.clear()
        work = [asyncio.ensure_future(scheduler.submit(unit_vectors(1), None)) for _ in range(2)]
        await asyncio.to_thread(engine.entered.acquire)
        work.append(asyncio.ensure_future(scheduler.submit(unit_vectors(1), None)))
        await asyncio.sleep(0)
        assert scheduler.waiting
        context = unit_vectors(3)
        stable = EngineResult(context[0], np.zeros((1, DIM), np.float32), 0.0, 1.0)
        world.shadow.copy_context(context, stable, SPLIT, known=0)
        assert 1 == world.shadow.take().dropped
        engine.gate.set()
        await asyncio.gather(*work)


async def test_the_caller_never_waits():
    """The call returns while the canary's engine hangs."""
    async with new_world() as world:
        world.engine.gate.clear()
        context = unit_vectors(3)
        world.shadow.copy_context(context, world.answer(context), SPLIT, known=0)
        assert world.shadow._running is not None
        world.engine.gate.set()
        await world.settle()


@pytest.mark.parametrize("how", ["fault", "nan"])
async def test_a_copy_that_fails_is_the_canarys_fault(how):
    async with new_world() as world:
        if how == "fault":
            world.engine.faults = [fault()]
        else:
            world.engine.poison = True
        context = unit_vectors(3)
        world.shadow.copy_context(context, world.answer(context), SPLIT, known=0)
        await world.settle()
        seen = world.shadow.take()
        assert (0, 1) == (seen.answered, seen.faults)


async def test_a_copy_that_takes_too_long_is_a_fault_too():
    async with new_world() as world:
        world.shadow._timeout = 0.0
        world.engine.gate.clear()
        context = unit_vectors(3)
        world.shadow.copy_context(context, world.answer(context), SPLIT, known=0)
        await asyncio.gather(world.shadow._running)
        world.engine.gate.set()
        assert 1 == world.shadow.take().faults


async def test_a_copy_of_an_earlier_step_does_not_count():
    """Its rollout may have been aborted, and another one started."""
    async with new_world() as world:
        world.engine.gate.clear()
        context = unit_vectors(3)
        world.shadow.copy_context(context, world.answer(context), SPLIT, known=0)
        world.traffic.set(TrafficSplit("phase-2", "phase-3", 0, "another", shadow=True))
        world.engine.gate.set()
        await world.settle()
        assert 0 == world.shadow.take().total


@pytest.mark.parametrize(
    "split",
    [
        TrafficSplit("phase-2"),
        TrafficSplit("phase-2", "phase-3", 500, "salt"),
        TrafficSplit("phase-2", "gone", 0, "salt", shadow=True),
    ],
)
async def test_outside_a_shadow_step_nothing_is_copied(split):
    async with new_world() as world:
        context = unit_vectors(3)
        world.shadow.copy_context(context, world.answer(context), split, known=0)
        one = session()
        one.history.append(context)
        one.length = 3
        world.shadow.copy_append(one, 3, Mode.PREFILL, world.answer(context), split)
        assert world.shadow._running is None
        assert (0, 0) == (world.shadow.take().total, len(world.shadow._followed))


async def test_the_number_of_followed_sessions_is_bounded():
    """An idle one makes room."""
    async with new_world() as world:
        world.engine.seconds = 0.0
        vector = unit_vectors(1)
        for number in range(MAX_SESSIONS):
            world.append(session(number), vector)
            await asyncio.gather(world.shadow._running)
        world.append(session(MAX_SESSIONS), vector)
        assert world.shadow._running is None
        assert MAX_SESSIONS == len(world.shadow._followed)
        world.clock.advance(IDLE_SECONDS)
        world.append(session(MAX_SESSIONS + 1), vector)
        await asyncio.gather(world.shadow._running)
        assert MAX_SESSIONS == len(world.shadow._followed)
        assert "s0" not in world.shadow._followed
