"""Replicas that share a store of sessions, or have one each, with a fake engine.

Appends go through `Dispatch`, as those of callers do.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np

from service.clock import SystemClock
from service.contexts.memory_store import MemorySessionStore
from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import SessionStart
from service.fleet.identity import FleetIdentity
from service.metrics import Metrics, new_registry
from service.prediction.dispatch import Dispatch
from service.prediction.request import RequestOptions
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.settings import LimitSettings, SessionSettings
from service.shared_sessions import SharedSessions
from tests.support.dispatch_world import RegistryStub
from tests.support.fakes import DIM, FakeClock, FakeEngine

WINDOW, HISTORY = 16, 64


class Replica:
    """One replica: its store, and its dispatch."""

    def __init__(self, store, clock, metrics, policy="exact"):
        self.store, self.metrics = store, metrics
        self.registry = RegistryStub(clock, WINDOW, policy, queue_limit=64)
        self.traffic = TrafficRouter(TrafficSplit("phase-2"))
        self.dispatch = Dispatch(
            self.traffic, self.registry, store, metrics, clock, limits=LimitSettings()
        )

    @property
    def engine(self):
        return self.registry.engines["phase-2"]

    async def append(
        self, session_id, vectors, position=None, *, begin=SessionStart.IF_UNKNOWN, **more
    ):
        end = more.pop("end", False)
        return await self.dispatch.append(
            session_id, vectors, RequestOptions(**more), position=position, begin=begin, end=end
        )

    async def length(self, session_id, owner: SessionQuota | None = None):
        return (await self.store.read(session_id, owner)).length

    def value(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels)

    async def close(self):
        await self.store.close()
        await self.close_engines()

    async def close_engines(self):
        for engine in self.registry.engines.values():
            engine.gate.set()
            engine.prefill_gate.set()
        for loaded in self.registry.loaded:
            await loaded.scheduler.close()


def expected(vectors, decay=0.5, policy="exact"):
    """The prediction after all `vectors`, computed from the last window of them."""
    assert policy == "exact"
    return FakeEngine(decay).expected(np.asarray(vectors)[-WINDOW:])


def check(prediction, vectors, **options):
    """The prediction is that of the whole context."""
    np.testing.assert_allclose(expected(vectors, **options), prediction.vector, atol=1e-5)


def memory_replica(clock=None, **settings):
    clock = clock or FakeClock()
    kept = {"max_bytes": 10**7, "ttl_seconds": 60.0, "history_vectors": HISTORY, "dim": DIM}
    store = MemorySessionStore(clock, **{**kept, **settings})
    return Replica(store, clock, Metrics(new_registry(), 10.0))


async def redis_replica(url, name="a", *, policy="exact", fleet="tests", rollout=None, **settings):
    """A connected replica. `rollout` names the database of its rollout."""
    clock, metrics = SystemClock(), Metrics(new_registry(), 10.0)
    kept = {
        "max_bytes": 10**7,
        "ttl_seconds": 60.0,
        "history_vectors": HISTORY,
        "compact_history": False,
        "durability": "sync",
    }
    shared = SharedSessions(
        SessionSettings.model_validate({"url": url, **kept, **settings}),
        FleetIdentity(fleet, name, name),
        clock,
        metrics,
    )
    await shared.connect()
    try:
        store = await shared.open_store("fake", DIM, rollout)
    except BaseException:
        await shared.client.close()
        raise
    return Replica(store, clock, metrics, policy)


@contextlib.asynccontextmanager
async def replicas(url, *names, **settings):
    """Connected replicas by name; those whose loop is gone are not closed."""
    made = {name: await redis_replica(url, name, **settings) for name in names}
    try:
        yield SimpleNamespace(**made)
    finally:
        for replica in made.values():
            await replica.close()
