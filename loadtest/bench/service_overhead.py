"""Overhead of the service without HTTP and the engine, and the memory of a session.

The service's own objects run in this process, with a scheduler that returns at once. What
remains is routing, metrics, validation and the session look-up.
"""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass
from typing import cast

import numpy as np

from loadtest.streams import Streams
from loadtest.timings import Timings
from service.clock import Clock
from service.contexts.memory_store import MemorySessionStore
from service.contexts.session_store import SessionStore
from service.inference.registry import LoadedVersion, Registry
from service.inference.scheduling.job import EngineResult, Job, Waiter
from service.inference.scheduling.scheduler import Scheduler
from service.manifest import Manifest
from service.metrics import Metrics, new_registry
from service.metrics_page import PageFormat
from service.prediction.dispatch import Dispatch
from service.prediction.request import RequestOptions
from service.quality.online_scorer import OnlineScorer
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.settings import LimitSettings
from service.types import Mode, RequestOutcome, State, Variant, Vectors

_SESSIONS = 64

SCRAPED = PageFormat(openmetrics=True, gzipped=True)
"""What a Prometheus server asks for."""


@dataclass
class _InstantScheduler:
    """Returns at once, with a new state for each job as the real scheduler does."""

    manifest: Manifest

    def enter(self) -> _InstantScheduler:
        """Count no users."""
        return self

    def leave(self) -> None:
        """Count no users."""

    def add(self, waiter: Waiter, vectors: Vectors, state: State | None, **_options: object) -> Job:
        """Hand the result to the waiter before this returns."""
        result = self._result(vectors)
        job = Job(vectors, result.state if state is None else state, waiter, 0.0)
        waiter.set_result(result)
        return job

    async def submit(
        self, vectors: Vectors, _state: State | None, **_options: object
    ) -> EngineResult:
        return self._result(vectors)

    def _result(self, vectors: Vectors) -> EngineResult:
        sizes = self.manifest.dimensions
        state = np.zeros((sizes.layers, sizes.hidden), np.float32)
        return EngineResult(vectors[-1].copy(), state, 0.0, 0.0)


@dataclass
class _SingleVersionRegistry:
    """A registry with one loaded version."""

    loaded: LoadedVersion

    def get(self, _version: str) -> LoadedVersion:
        return self.loaded


def instant_dispatch(
    manifest: Manifest,
    clock: Clock,
    history: int,
    *,
    compact: bool = False,
    store: SessionStore | None = None,
) -> tuple[Dispatch, OnlineScorer]:
    """A dispatch whose engine returns at once, and its scorer. The default store is memory."""
    metrics = Metrics(new_registry(), LimitSettings().timeout_seconds)
    metrics.expect([(variant, manifest.version) for variant in Variant])
    scheduler = cast("Scheduler", _InstantScheduler(manifest))
    registry = _SingleVersionRegistry(LoadedVersion(manifest, "none", "fp32", scheduler))
    # Not `or`: an empty store is false.
    sessions: SessionStore = (
        MemorySessionStore(
            clock,
            max_bytes=1 << 40,
            ttl_seconds=3600.0,
            history_vectors=history,
            dim=manifest.dimensions.dim,
            compact=compact,
        )
        if store is None
        else store
    )
    # Half of the keys each way: the split's hash is part of the cost.
    traffic = TrafficRouter(TrafficSplit(manifest.version, manifest.version, 5000, "bench"))
    scorer = OnlineScorer(traffic, metrics, clock, manifest.dimensions.dim)
    dispatch = Dispatch(
        traffic,
        cast("Registry", registry),
        sessions,
        metrics,
        clock,
        limits=LimitSettings(),
        scorer=scorer,
    )
    return dispatch, scorer


async def time_appends(manifest: Manifest, streams: Streams, count: int, clock: Clock) -> Timings:
    """Time appends of one vector, without HTTP and the engine.

    Scoring, which the service does in a thread afterwards, is not included.
    """
    dispatch, scorer = instant_dispatch(manifest, clock, manifest.context_window)
    durations = []
    for i in range(count):
        number = i % _SESSIONS
        position = i // _SESSIONS
        rows = streams.read(number, position, 1)
        begin = clock.monotonic()
        await dispatch.append(f"session-{number}", rows, RequestOptions(), position=position)
        durations.append(clock.monotonic() - begin)
        if i % _SESSIONS == 0:
            scorer.drain()
    return Timings.of(durations[count // 10 :])


def time_scrapes(count: int, clock: Clock) -> Timings:
    """Time the rendering of the metrics page for two versions, each with new observations.

    Rendering takes the interpreter from requests that are processed at the same time.
    """
    metrics = Metrics(new_registry(), LimitSettings().timeout_seconds)
    versions = {Variant.STABLE: "phase-2", Variant.CANARY: "phase-3"}
    metrics.expect(list(versions.items()))
    metrics.page.render(SCRAPED)
    durations = []
    for _ in range(count):
        for variant, version in versions.items():
            metrics.observe_request(variant, version, Mode.STEP, RequestOutcome.OK, 0.003)
            metrics.observe_engine(variant, version, Mode.STEP, 0.001, 0.002)
        begin = clock.monotonic()
        metrics.page.render(SCRAPED)
        durations.append(clock.monotonic() - begin)
    return Timings.of(durations)


async def measure_session_bytes(
    manifest: Manifest, streams: Streams, length: int, clock: Clock, *, compact: bool = False
) -> float:
    """Bytes that Python and NumPy hold for a session of `length` vectors."""
    count = 20
    dispatch, scorer = instant_dispatch(manifest, clock, length, compact=compact)
    # The first session also allocates shared objects, which are not counted.
    await dispatch.append("first", streams.read(0, 0, length), RequestOptions())
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(count):
            for position, size in ((0, length - 1), (length - 1, 1)):
                rows = streams.read(number, position, size)
                await dispatch.append(f"s{number}", rows, RequestOptions(), position=position)
            scorer.drain()  # pending scores do not belong to a session
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held / count
