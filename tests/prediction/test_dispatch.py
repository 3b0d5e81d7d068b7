"""A request's way: one decision, one record, and what counts as evidence."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from service.contexts.memory_store import MemorySessionStore
from service.contexts.session_store import SessionStart
from service.errors import Conflict, EngineFault, Invalid, NotFound
from service.inference.registry import LoadedVersion
from service.inference.scheduling.scheduler import Scheduler
from service.metrics import Metrics, new_registry
from service.prediction.deadline import CallerDeadlineExceeded
from service.prediction.dispatch import Dispatch
from service.prediction.request import RequestOptions
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.settings import LimitSettings
from service.types import Variant
from tests.support.fakes import DIM, FakeClock, FakeEngine, fault, manifest_of, unit_vectors

ALL_STABLE = TrafficSplit("phase-2", "phase-3", 0, "salt")
ALL_CANARY = TrafficSplit("phase-2", "phase-3", 10_000, "salt")


class RegistryStub:
    """A registry of two versions with fake engines."""

    def __init__(self, clock):
        self.engines = {"phase-2": FakeEngine(0.5), "phase-3": FakeEngine(0.9)}
        self.versions = {}
        for version, engine in self.engines.items():
            scheduler = Scheduler(engine, clock, max_batch=8, prefill_chunk=4, queue_limit=8)
            scheduler.start(version)
            manifest = manifest_of(version, 8, version)
            self.versions[version] = LoadedVersion(manifest, engine.provider, "fp32", scheduler)

    def get(self, version):
        if version not in self.versions:
            raise NotFound(version, "version_not_found")
        return self.versions[version]

    @property
    def loaded(self):
        return tuple(self.versions.values())


class DispatchWorld:
    def __init__(self):
        self.clock = FakeClock()
        self.registry = RegistryStub(self.clock)
        self.schedulers = [loaded.scheduler for loaded in self.registry.loaded]
        self.traffic = TrafficRouter(ALL_STABLE)
        self.metrics = Metrics(new_registry(), 10.0)
        self.sessions = MemorySessionStore(
            self.clock, max_bytes=10**7, ttl_seconds=60, history_vectors=16, dim=DIM
        )
        self.dispatch = Dispatch(
            self.traffic,
            self.registry,
            self.sessions,
            self.metrics,
            self.clock,
            limits=LimitSettings(),
        )

    async def append(self, vectors, session_id="s", options=None, **more):
        return await self.dispatch.append(session_id, vectors, options or RequestOptions(), **more)

    def counted(self):
        """The counted requests: {(variant, version, mode, outcome): count}."""
        found = {}
        for metric in self.metrics.requests.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total") and sample.value:
                    labels = ("variant", "version", "mode", "outcome")
                    found[tuple(sample.labels[name] for name in labels)] = int(sample.value)
        return found


@asynccontextmanager
async def new_world():
    world = DispatchWorld()
    try:
        yield world
    finally:
        for engine in world.registry.engines.values():
            engine.gate.set()
        for scheduler in world.schedulers:
            await scheduler.close()


async def held_append(world):
    """A first append that holds the session and its engine, and a second that waits for it."""
    engine = world.registry.engines["phase-2"]
    engine.gate.clear()
    first = asyncio.create_task(world.append(unit_vectors(2)))
    await asyncio.to_thread(engine.entered.acquire)
    second = asyncio.create_task(world.append(unit_vectors(1, 1)))
    while world.sessions._new["s"].users < 2:
        await asyncio.sleep(0)
    return engine, first, second


async def test_appends_are_counted_by_their_mode():
    async with new_world() as world:
        await world.append(unit_vectors(3))
        await world.append(unit_vectors(2))
        await world.append(unit_vectors(1))
        assert world.counted() == {
            ("stable", "phase-2", mode, "ok"): 1 for mode in ("prefill", "mixed", "step")
        }


async def test_an_append_that_waited_follows_the_split_in_force_at_its_turn():
    """It moves the session, so it is no evidence."""
    async with new_world() as world:
        engine, first, second = await held_append(world)
        world.traffic.set(ALL_CANARY)
        engine.gate.set()
        assert (await first).route.version == "phase-2"
        moved = await second
        assert (moved.route.variant, moved.route.version) == (Variant.CANARY, "phase-3")
        vectors = np.concatenate([unit_vectors(2), unit_vectors(1, 1)])
        expected = world.registry.engines["phase-3"].expected(vectors)
        np.testing.assert_allclose(expected, moved.vector, atol=1e-6)
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("unassigned", "phase-3", "step", "ok"): 1,
        }


async def test_an_append_that_gives_up_while_it_waits_counts_under_its_first_decision():
    """The caller's own deadline is not the version's fault."""
    async with new_world() as world:
        engine, first, second = await held_append(world)
        with pytest.raises(CallerDeadlineExceeded) as raised:
            await world.append(unit_vectors(1, 2), options=RequestOptions(timeout_seconds=0.001))
        assert (raised.value.variant, raised.value.version) == ("stable", "phase-2")
        assert world.counted() == {("stable", "phase-2", "step", "cancelled"): 1}
        engine.gate.set()
        await asyncio.gather(first, second)


async def test_a_version_unloaded_while_the_append_waits_is_not_found():
    """The session stays as it was."""
    async with new_world() as world:
        engine, first, second = await held_append(world)
        del world.registry.versions["phase-2"]
        engine.gate.set()
        await first
        with pytest.raises(NotFound):
            await second
        assert (await world.dispatch.session("s")).length == 2
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("stable", "phase-2", "step", "invalid"): 1,
        }


async def test_a_repeat_is_no_evidence_and_runs_nothing():
    async with new_world() as world:
        made = await world.append(unit_vectors(2), position=0)
        world.traffic.set(ALL_CANARY)
        again = await world.append(unit_vectors(2), position=0)
        assert again.vector is made.vector
        assert again.route.version == "phase-2"
        with pytest.raises(Conflict):
            await world.append(unit_vectors(1), position=0)
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("unassigned", "phase-3", "mixed", "ok"): 1,
            ("unassigned", "phase-3", "step", "invalid"): 1,
        }
        assert world.registry.engines["phase-3"].batches == []


@pytest.mark.parametrize("begin", [SessionStart.IF_UNKNOWN, SessionStart.RESTART])
async def test_a_failed_append_leaves_the_session_unchanged(begin):
    async with new_world() as world:
        await world.append(unit_vectors(2))
        session = world.sessions.get("s")
        before = (session.length, session.states, session.last, session.version)
        world.registry.engines["phase-2"].faults.append(fault())
        with pytest.raises(EngineFault):
            await world.append(unit_vectors(3), begin=begin)
        assert before == (session.length, session.states, session.last, session.version)


async def test_a_request_for_an_unknown_version_is_not_counted():
    """A caller's text must not become a label."""
    async with new_world() as world:
        options = RequestOptions(version="any text")
        with pytest.raises(NotFound) as raised:
            await world.dispatch.predict(unit_vectors(2), options)
        assert raised.value.version is None
        assert world.counted() == {}


async def test_an_invalid_request_counts_and_names_who_was_to_answer():
    async with new_world() as world:
        with pytest.raises(Invalid) as raised:
            await world.dispatch.predict(unit_vectors(2)[:, :2], RequestOptions())
        assert raised.value.version == "phase-2"
        assert world.counted() == {("stable", "phase-2", "prefill", "invalid"): 1}


async def test_a_batch_counts_as_one_request():
    async with new_world() as world:
        contexts = [unit_vectors(3, seed) for seed in range(4)]
        predictions = await world.dispatch.predict_batch(contexts, RequestOptions())
        engine = world.registry.engines["phase-2"]
        for context, prediction in zip(contexts, predictions, strict=True):
            np.testing.assert_allclose(engine.expected(context), prediction.vector, atol=1e-6)
        assert world.counted() == {("stable", "phase-2", "prefill", "ok"): 1}
        assert world.dispatch.last_predictions == {"phase-2": world.clock.time()}
