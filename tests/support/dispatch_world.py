"""A dispatch over two versions with fake engines."""

from __future__ import annotations

from contextlib import asynccontextmanager

from service.contexts.memory_store import MemorySessionStore
from service.errors import NotFound
from service.inference.registry import LoadedVersion
from service.inference.scheduling.scheduler import Scheduler
from service.metrics import Metrics, new_registry
from service.prediction.dispatch import Dispatch
from service.prediction.request import RequestOptions
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.settings import LimitSettings
from tests.support.fakes import DIM, FakeClock, FakeEngine, manifest_of

ALL_STABLE = TrafficSplit("phase-2", "phase-3", 0, "salt")
ALL_CANARY = TrafficSplit("phase-2", "phase-3", 10_000, "salt")


class RegistryStub:
    """A registry of two versions with fake engines, of this window and policy."""

    def __init__(self, clock, window=8, policy="exact", queue_limit=8):
        self.engines = {"phase-2": FakeEngine(0.5), "phase-3": FakeEngine(0.9)}
        self.versions = {}
        for version, engine in self.engines.items():
            scheduler = Scheduler(
                engine, clock, max_batch=8, prefill_chunk=4, queue_limit=queue_limit
            )
            scheduler.start(version)
            manifest = manifest_of(version, window, version, policy)
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
